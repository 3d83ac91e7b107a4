"""The entry points of what is installed, read from its metadata; nothing is imported.

This is ``importlib.metadata.entry_points()`` for a process that only lists backends: importing that module takes longer
than all the rest of such a process. Folders on ``sys.path``, where distributions live, are read here; when the path
holds anything else (zip files, eggs) or a finder of another tool, ``importlib.metadata`` is asked for all of it.
"""

from __future__ import annotations

import os
import sys
from functools import cache, cached_property, partial

from praisonai_persistence._declare import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["EntryPoint", "Provider", "forget", "load", "normalise", "select"]


def normalise(name: str) -> str:
    """Return the one spelling of a distribution's name."""
    parts = name.replace("_", "-").replace(".", "-").split("-")
    if "" not in parts:
        return "-".join(parts).lower()
    import re

    return re.sub(r"[-_.]+", "-", name).lower()


class Provider:
    """An installed distribution. Its metadata are read when something of them is asked for.

    Args:
        stem: its name and version as its folder says them; the metadata win.
        read: gives the text of a metadata file, or None where there is none.
    """

    def __init__(self, stem: str, read: Callable[[str], str | None]) -> None:
        self._stem = stem
        self._read = read

    @property
    def key(self) -> str:
        """Its name in the one spelling, without reading anything."""
        return normalise(self._stem.partition("-")[0])

    @cached_property
    def name(self) -> str:
        """Its name."""
        return next(self._headers("name"), self._stem.partition("-")[0])

    @cached_property
    def version(self) -> str:
        """Its version."""
        return next(self._headers("version"), self._stem.partition("-")[2])

    @property
    def requirements(self) -> list[str]:
        """What it needs, one requirement each."""
        return list(self._headers("requires-dist"))

    @cached_property
    def entry_points(self) -> str:
        """The text of ``entry_points.txt``, empty without one."""
        return self._read("entry_points.txt") or ""

    @cached_property
    def _metadata(self) -> str:
        return self._read("METADATA") or self._read("PKG-INFO") or ""

    def _headers(self, wanted: str) -> Iterator[str]:
        for line in self._metadata.splitlines():
            if not line:  # what follows is the description
                return
            name, _, value = line.partition(":")
            if name.lower() == wanted and value.strip():
                yield value.strip()


class Provided:
    """Something that a distribution provides."""

    provider: Provider

    @property
    def distribution(self) -> str:
        return self.provider.name

    @property
    def version(self) -> str:
        return self.provider.version


class EntryPoint(NamedTuple):
    """A name, the reference of its object, and the distribution that says so."""

    name: str
    value: str
    provider: Provider


def select(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, in the order of the path.

    Of two installations of one distribution the first counts, as for imports. What is installed is read once for a
    process.
    """
    return [
        EntryPoint(name, value, provider)
        for provider in _installed()
        if group in provider.entry_points
        for name, value in _section(provider.entry_points, group)
    ]


def forget() -> None:
    """Let the next use read anew what is installed."""
    _installed.cache_clear()


def load(value: str) -> Any:
    """Return the object of a reference ``module:attribute.path``; extras behind it are ignored.

    Raises:
        ValueError: it is no reference.
    """
    module, attribute = _parts(value)
    __import__(module)
    found = sys.modules[module]
    for part in attribute.split("."):
        found = getattr(found, part) if part else found
    return found


def _parts(value: str) -> tuple[str, str]:
    module, _, attribute = value.partition(":")
    if all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        return module, attribute
    import re  # not for the usual ``module:Class``: importing it takes longer than the rest of this module

    match = re.fullmatch(_REFERENCE, value)
    if match is None:
        raise ValueError(f"{value!r} is no reference of the form module:object")
    return match[1], match[2] or ""


_REFERENCE = r"(\w+(?:\.\w+)*)\s*(?::\s*(\w+(?:\.\w+)*)\s*)?(?:\[.*\]\s*)?"


@cache
def _installed() -> tuple[Provider, ...]:
    unique: dict[str, Provider] = {}
    found = None if _has_other_finders() else _folders()
    for provider in _asked() if found is None else found:
        unique.setdefault(provider.key, provider)
    return tuple(provider for provider in unique.values() if provider.entry_points)


def _section(text: str, group: str) -> Iterator[tuple[str, str]]:
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and not line.startswith(("#", ";")):
            name, equals, value = line.partition("=")
            if equals:
                yield name.strip(), value.strip()


def _has_other_finders() -> bool:
    """Whether the finder of another tool knows distributions; of the interpreter's own only ``PathFinder`` does."""
    own = getattr(sys.modules.get("_frozen_importlib_external"), "PathFinder", None)  # as importlib.machinery has it
    return any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not own)


def _paths() -> list[str]:
    entries: list[object] = [*sys.path]
    return list(dict.fromkeys(path or "." for path in entries if isinstance(path, str)))


def _folders() -> list[Provider] | None:
    """Return the distributions in the folders of the path; None: something on it is no folder, or an egg."""
    found = []
    for path in _paths():
        try:
            if path.endswith(".egg"):
                return None
            names = os.listdir(path)
        except NotADirectoryError:
            return None
        except (OSError, ValueError):  # ValueError: NUL in a path
            continue
        found += [
            Provider(name[: name.rindex(".")], partial(_read, os.path.join(path, name)))
            for name in names
            if name[-10:].lower() == ".dist-info" or name[-9:].lower() == ".egg-info"
        ]
    return found


def _read(folder: str, name: str) -> str | None:
    # Every distribution of the environment is asked, and file objects take several times as long as these calls.
    try:
        descriptor = os.open(f"{folder}{os.sep}{name}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:  # also where the distribution is one file, as those without entry points may be
        return None
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("utf-8", "replace")


def _asked() -> Iterator[Provider]:
    from importlib.metadata import distributions

    for distribution in distributions():
        name = Provider("", distribution.read_text).name
        if name:  # remains of an installation have none
            yield Provider(normalise(name).replace("-", "_"), distribution.read_text)
