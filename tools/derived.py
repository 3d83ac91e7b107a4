"""What is derived from the packages, and written by nobody: `python tools/derived.py --write` brings it up to date.

* `core/src/praisonai_persistence/_known.py`: names and aliases of the backends, for the pip lines in errors;
* the extras of the core in its `pyproject.toml`, and `[project.urls]` in that of every package;
* the tables of options in the packages' READMEs, between `<!-- options MODULE:CLASS -->` and `<!-- options end -->`;
* the table of backends in the README;
* `docs/compatibility.md`, see `compatibility.py`.

`check_repo.py` fails when one of them is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import compatibility
import readme_table
import repo

_KNOWN = '''\
"""The backends of this project, so that an error can name the distribution that is missing.

Kind -> name or alias -> (distribution, object reference). Written by tools/derived.py, from the packages' entry points.
"""

from __future__ import annotations

__all__ = ["KNOWN"]

KNOWN: dict[str, dict[str, tuple[str, str]]] = {
'''
_EXTRAS = re.compile(r"\[project\.optional-dependencies\]\n(?P<lines>(?:(?!\n?\[).*\n)*?)(?=\n*\[project\.|\Z)")
_URLS = re.compile(r"\n\[project\.urls\]\n(?:[^\[#\n].*\n)*")
_TABLE = re.compile(r"\n\[project\.")
_OPTIONS = re.compile(r"<!-- options (?P<of>[\w.]+:\w+) -->\n(?P<table>.*?)<!-- options end -->", re.DOTALL)


def known(root: Path) -> str:
    """The text of `_known.py`."""
    lines = [_KNOWN]
    for kind in repo.KINDS:
        lines.append(f'    "{kind}": {{\n')
        for dist in repo.dists(root)[1:]:
            for name, value in sorted({**dist.backends(kind), **dist.aliases(kind)}.items()):
                lines.append(f'        "{name}": ("{dist.name}", "{value}"),\n')
        lines.append("    },\n")
    return "".join([*lines, "}\n"])


def extras(root: Path) -> str:
    """The lines of the core's extras, without the table's head."""
    core, *others = repo.dists(root)
    backends = [dist for dist in others if dist.kinds]
    own = core.project["optional-dependencies"].get("testing", [])
    lines = ["testing = [" + ", ".join(f'"{requirement}"' for requirement in own) + "]", "all = ["]
    lines += [f'    "{dist.name}{dist.pin}",' for dist in backends]
    lines += ["]", *(f'{dist.short} = ["{dist.name}{dist.pin}"]' for dist in backends)]
    return "\n".join(lines) + "\n"


def urls(dist: repo.Dist, text: str) -> str:
    """The text of a `pyproject.toml` with the table of the distribution's addresses, before its other tables."""
    table = f"\n{repo.toml_table('project.urls', dist.urls)}"
    if _URLS.search(text):
        return _URLS.sub(lambda _: table, text, count=1)
    other = _TABLE.search(text, text.index("[project]"))
    place = other.start() if other else len(text)
    return f"{text[:place]}{table}{text[place:]}"


def options(root: Path, reference: str) -> str:
    """The table of an options class, which is imported from the sources."""
    for dist in repo.dists(root):
        source = str(dist.path / "src")
        if source not in sys.path:
            sys.path.insert(0, source)
    module, _, name = reference.partition(":")
    return "\n".join(getattr(import_module(module), name).table()) + "\n"


def derived(root: Path = repo.ROOT) -> Iterator[tuple[Path, str]]:
    """The files that hold something derived, and what they should hold."""
    core = repo.dists(root)[0]
    yield core.source / "_known.py", known(root)
    for dist in repo.dists(root):
        path = dist.path / "pyproject.toml"
        text = path.read_text(encoding="utf-8")
        if dist.is_core:
            text = _EXTRAS.sub(lambda match: match[0].replace(match["lines"], extras(root)), text, count=1)
        yield path, text if dist.is_core else urls(dist, text)
    for dist in repo.dists(root)[1:]:
        path = dist.path / "README.md"
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        yield (
            path,
            _OPTIONS.sub(
                lambda match: f"<!-- options {match['of']} -->\n{options(root, match['of'])}<!-- options end -->", text
            ),
        )
    path = root / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if readme_table.current(text) is not None:
        yield path, readme_table.replaced(text, readme_table.table(root))
    if (core.source / "_praisonai.py").is_file():
        yield root / "docs" / "compatibility.md", compatibility.page(root)


def outdated(root: Path = repo.ROOT) -> Iterator[str]:
    """The files that are not what they should be, relative to the root."""
    for path, text in derived(root):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            yield path.relative_to(root).as_posix()


def main() -> None:
    """Lists what is out of date, or writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="bring it up to date")
    write = parser.parse_args().write
    for path, text in derived():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(path.relative_to(repo.ROOT).as_posix())
            if write:
                path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
