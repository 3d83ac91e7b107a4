"""The packages that a change affects: those it touches, and those that depend on them.

    python tools/affected.py origin/main                  folders, one a line
    python tools/affected.py origin/main --integration    names of integration tests, as JSON

The change is everything between the merge base of BASE and the working tree. Documentation affects nothing, an
integration test itself alone; whatever belongs to no single package (the core, the tools, configuration) affects all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import repo


def changed_files(base: str, root: Path = repo.ROOT) -> list[str]:
    """Paths that differ from the merge base of `base`, new files included.

    Raises:
        subprocess.CalledProcessError: git does not know `base`.
    """

    def git(*arguments: str) -> list[str]:
        output = subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE).stdout
        return [name.decode() for name in output.split(b"\0") if name]

    start = git("merge-base", base, "HEAD")[0].strip()
    # A rename counts as a deletion and an addition: both packages are affected.
    return git("diff", "--name-only", "--no-renames", "-z", start) + git(
        "ls-files", "--others", "--exclude-standard", "-z"
    )


def affected(paths: Iterable[str], root: Path = repo.ROOT) -> list[repo.Dist]:
    """The distributions that changes of these files affect, dependents included."""
    everything = repo.dists(root)
    by_folder = {dist.folder: dist for dist in everything}
    tests = {_test_file(name) for name in repo.integration_tests(root)}
    changed = []
    for path in paths:
        folder = "/".join(path.split("/")[:2])
        if path.startswith("docs/") or path.endswith(".md") or path in tests:
            continue
        if folder not in by_folder:
            return everything
        changed.append(by_folder[folder])
    return repo.dependents(changed, everything)


def affected_tests(paths: Iterable[str], root: Path = repo.ROOT) -> list[str]:
    """The integration tests that changes of these files affect: by a package that they need, or in their own file."""
    paths = list(paths)
    dists = affected(paths, root)
    return [
        name
        for name, needed in repo.integration_tests(root).items()
        if _test_file(name) in paths or any(dist in dists for dist in needed)
    ]


def _test_file(name: str) -> str:
    return f"tests/integration/test_{name}.py"


def main() -> None:
    """Prints what the change since BASE affects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="a commit, branch or tag")
    parser.add_argument("--integration", action="store_true", help="print the integration tests to run, as JSON")
    arguments = parser.parse_args()
    paths = changed_files(arguments.base)
    if arguments.integration:
        print(json.dumps(affected_tests(paths)))
    else:
        print("\n".join(dist.folder for dist in affected(paths)))


if __name__ == "__main__":
    main()
