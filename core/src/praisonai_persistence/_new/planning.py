"""What to write, and where."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from praisonai_persistence import get_default_registry
from praisonai_persistence._known import KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BASES", "CORE", "KINDS", "LIBRARIES", "LONGEST", "Plan", "RefusedError", "clone_around", "plan"]

CORE = "praisonai-persistence"
KINDS = ("conversation", "knowledge", "state")
BASES = {
    "entries": KINDS,
    "document": ("conversation", "state"),
    "vector": ("knowledge",),
    "sql": ("conversation", "state"),
}
"""The kinds of store that each base can make."""
LIBRARIES = ("cli", "mysqlcore", "pg", "rediscore", "sql")
"""Distributions of this project that are no backends, without the common prefix."""
LONGEST = 24
"""Characters of a name: with more, lines of the templates become too long."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_DIST = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_.][A-Za-z0-9]+)*")
_TITLE = re.compile(r"[A-Z][A-Za-z0-9]*")
_IN_WORDS = {"conversation": "Conversations", "knowledge": "Knowledge", "state": "State"}


class RefusedError(Exception):
    """What was asked for cannot be; nothing was written."""


@dataclass(frozen=True)
class Plan:
    """What to write, and where; made by [plan][].

    Attributes:
        name: of the backend: ``mydb``.
        kinds: which kinds of store it has.
        base: on what its operations stand, one of ``BASES``.
        server: whether the engine is a server; otherwise it is embedded, in a folder or file.
        title: the name as it is written in prose and in names of classes: ``MyDB``.
        native: whether the client has an async sister; otherwise the async stores work on threads.
        dist: the distribution.
        folder: where it goes.
        clone: the clone of the project's repository of which it becomes a package; None: a project of its own.
    """

    name: str
    kinds: tuple[str, ...]
    base: str
    server: bool
    title: str
    native: bool
    dist: str
    folder: Path
    clone: Path | None

    @property
    def package(self) -> str:
        """The name to import."""
        return re.sub(r"[-_.]+", "_", self.dist).lower()

    @property
    def integration(self) -> Path | None:
        """Where the repository wants its test of conformance; None for a project of its own."""
        return None if self.clone is None else self.clone / f"tests/integration/test_{self.name}.py"

    @property
    def words(self) -> str:
        """The kinds in words: ``Conversations, knowledge and state``."""
        *most, last = [_IN_WORDS[kind] for kind in self.kinds]
        return f"{', '.join(most)} and {last}".capitalize() if most else last

    @property
    def pin(self) -> str:
        """Which versions of the core it needs: from this minor version to below the next major one."""
        major, minor, *_ = _version(self.clone).split(".")
        return f">={major}.{minor},<{int(major) + 1}"


def _version(clone: Path | None) -> str:
    if clone is not None:
        found = re.search(
            r'^version = "(.+)"$', (clone / "core/pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
        )
        if found:
            return found[1]
    from importlib.metadata import version

    return version(CORE)


def clone_around(folder: Path) -> Path | None:
    """Return the clone of the project's repository that a folder lies in, or None."""
    for place in (folder, *folder.parents):
        project = place / "core/pyproject.toml"
        if (place / "packages").is_dir() and project.is_file():
            return place if f'name = "{CORE}"' in project.read_text(encoding="utf-8") else None
    return None


def plan(
    name: str,
    kinds: Iterable[str],
    *,
    base: str = "entries",
    server: bool = False,
    title: str = "",
    native: bool = False,
    into: Path | None = None,
    dist: str = "",
    clone: Path | None = None,
) -> Plan:
    """Decide what to write; touches nothing.

    Args:
        name: of the backend.
        kinds: which kinds of store it has.
        base: as in [Plan][].
        server: as in [Plan][].
        title: as in [Plan][]; by default the name with capitals.
        native: as in [Plan][].
        into: the folder in which to make a project of its own; None: the working directory, or a package of the clone.
        dist: the distribution of a project of its own.
        clone: the clone in which the command runs, if any.

    Raises:
        RefusedError: a name that cannot be one, or that is taken; a folder that exists, or one that does not.
    """
    _check_name(name, clone)
    folder = name.replace("_", "-")
    inside = clone is not None and into is None
    if dist and inside:
        raise RefusedError(
            "in this repository the folder names the distribution; with --into it can be called otherwise"
        )
    dist = dist or f"{CORE}-{folder}"
    made = Plan(
        name=name,
        kinds=tuple(sorted(set(kinds))),
        base=base,
        server=server,
        title=title or "".join(part.capitalize() for part in name.split("_")),
        native=native,
        dist=dist,
        folder=clone / "packages" / folder if clone is not None and inside else (into or Path()) / dist,
        clone=clone if inside else None,
    )
    _check_base(made)
    if not _TITLE.fullmatch(made.title) or len(made.title) > LONGEST:
        raise RefusedError(f"{made.title!r} cannot be a title: letters and digits, a capital first, as in MyDB")
    if not _DIST.fullmatch(dist) or len(dist) > 2 * LONGEST or keyword.iskeyword(made.package):
        raise RefusedError(f"{dist!r} cannot be the name of a distribution")
    if importlib.util.find_spec(made.package) is not None:
        raise RefusedError(f"{made.package} can be imported already; the distribution needs another name (--dist)")
    for path in filter(None, (made.folder, made.integration)):
        if not path.parent.is_dir():
            raise RefusedError(f"there is no folder {path.parent}")
        if os.path.lexists(path):
            raise RefusedError(f"{path} exists")
    return made


def _check_base(made: Plan) -> None:
    if not made.kinds or not set(made.kinds) <= set(KINDS):
        raise RefusedError(f"kinds are some of {','.join(KINDS)}")
    if made.base not in BASES:
        raise RefusedError(f"a base is one of {', '.join(BASES)}")
    if wrong := set(made.kinds) - set(BASES[made.base]):
        fitting = [base for base, kinds in BASES.items() if wrong <= set(kinds)]
        raise RefusedError(
            f"the base {made.base} makes {' and '.join(BASES[made.base])} stores; for {' and '.join(sorted(wrong))} "
            f"take {' or '.join(fitting)}"
        )
    if made.native and not made.server:
        raise RefusedError("--async is for clients of a server; the async stores of an embedded engine work on threads")
    if made.native and made.base == "sql":
        raise RefusedError(
            "--async: async SQL drivers have pools of their own; see praisonai_persistence_sql.AsyncSQLRunner"
        )


def _check_name(name: str, clone: Path | None) -> None:
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise RefusedError(
            f"{name!r} cannot be a backend's name: lower case letters, digits and single underscores, a letter first, "
            f"at most {LONGEST} characters"
        )
    if keyword.iskeyword(name):
        raise RefusedError(f"{name!r} is a word of the language Python")
    if name.startswith("async_"):
        raise RefusedError(f"leave out async_: {name!r} is what the async store of a backend is called")
    if name in {"all", "core", "testing"}:
        raise RefusedError(f"{name!r} would be confused with what the core calls so")
    for taken in (name, f"async_{name}"):
        if owner := _owner(taken, clone):
            raise RefusedError(f"the name {taken!r} is taken by {owner}")


def _owner(name: str, clone: Path | None) -> str:
    """Who has this name already: a package of this project, or what is installed; else nobody."""
    folder = name.replace("_", "-")
    if name in LIBRARIES or (clone is not None and (clone / "packages" / folder / "pyproject.toml").is_file()):
        return f"{CORE}-{folder}"
    for kind in KINDS:
        if name in KNOWN[kind]:
            return KNOWN[kind][name][0]
        if get_default_registry(kind).has(name):
            return CORE if name.endswith("memory") else f"an installed {kind} backend"
    return ""
