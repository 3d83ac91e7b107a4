"""Which distribution a release tag means, and whether its version is right.

    python tools/release_version.py praisonai-persistence-sqlite-v0.1.0

Prints `folder=`, `dist=` and `version=` lines, the form in which a workflow step hands values on. Exits with 1 when no
distribution has that name, or when its `pyproject.toml` states another version.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import repo


def resolve(tag: str, root: Path = repo.ROOT) -> repo.Dist:
    """The distribution of the tag `<dist>-v<version>`.

    Raises:
        ValueError: the tag has another form, names no distribution, or not the version of its `pyproject.toml`.
    """
    name, separator, version = tag.rpartition("-v")
    known = repo.by_name(repo.dists(root))
    if not separator or name not in known:
        raise ValueError(f"tag {tag!r} is not <distribution>-v<version>; distributions are {', '.join(known)}")
    if known[name].version != version:
        raise ValueError(f"tag {tag!r} says {version}, {known[name].folder}/pyproject.toml says {known[name].version}")
    return known[name]


def main() -> None:
    """Prints what the tag resolves to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag")
    try:
        dist = resolve(parser.parse_args().tag)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"folder={dist.folder}\ndist={dist.name}\nversion={dist.version}")


if __name__ == "__main__":
    main()
