"""The table of backends in the README, made from the packages.

Run with `--write` to put it into README.md; without, it is printed. `check_repo.py` fails when the two differ.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import repo

WORDS = ("live", "emulator", "fake", "none")
"""What the tests of a backend run on: the engine, its vendor's emulator, our own server that speaks its protocol."""

BEGIN, END = "<!-- backends:begin -->", "<!-- backends:end -->"


_WORD = f"(?:{'|'.join(WORDS)})\\b"


def _readme(dist: repo.Dist) -> str:
    path = dist.path / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def evidence(dist: repo.Dist) -> str:
    """The words after `**Evidence:**` in the README of a distribution, such as `live, fake`; empty without."""
    match = re.search(rf"^\*\*Evidence:\*\* ({_WORD}(?:, {_WORD})*)", _readme(dist), re.MULTILINE)
    return match[1] if match else ""


def has_details(dist: repo.Dist) -> bool:
    """Whether the README of a distribution has a section `## Evidence` that is not empty."""
    return re.search(r"^## Evidence\n\s*[^#\s]", _readme(dist), re.MULTILINE) is not None


def _names(dist: repo.Dist, by_kind: dict[str, dict[str, str]]) -> str:
    """Names in code spans; one that only some kinds of the distribution have says which."""
    cells = []
    for name in sorted({name for names in by_kind.values() for name in names}):
        kinds = [kind for kind in dist.kinds if name in by_kind[kind]]
        cells.append(f"`{name}`" + (f" ({', '.join(kinds)})" if kinds != dist.kinds else ""))
    return ", ".join(cells)


def table(root: Path = repo.ROOT) -> str:
    """The table in Markdown: one line per distribution that offers a store."""
    lines = ["| Distribution | Kinds | Backends | Aliases | Evidence |", "|---|---|---|---|---|"]
    for dist in repo.dists(root):
        if dist.kinds:
            cells = [
                f"[`{dist.name}`]({dist.folder})",
                ", ".join(dist.kinds),
                _names(dist, {kind: dist.backends(kind) for kind in dist.kinds}),
                _names(dist, {kind: dist.aliases(kind) for kind in dist.kinds}),
                f"[{evidence(dist)}]({dist.folder}/README.md#evidence)" if has_details(dist) else evidence(dist),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def current(readme: str) -> str | None:
    """What stands between the markers of a README; None without exactly one pair of them."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        return None
    return readme.split(BEGIN)[1].split(END)[0].strip()


def replaced(readme: str, new: str) -> str:
    """The README with `new` between the markers."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Prints the table, or writes it to README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table between the markers of README.md")
    if not parser.parse_args().write:
        print(table())
        return
    path = repo.ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    if current(readme) is None:
        raise SystemExit(f"README.md needs one line {BEGIN} and after it one line {END}")
    path.write_text(replaced(readme, table()), encoding="utf-8")


if __name__ == "__main__":
    main()
