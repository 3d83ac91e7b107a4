"""Collections that are folders, each of its own, as embedded engines make them.

    <path>/<prefix>.<collection>.<unique><suffix>    a collection
    <path>/<prefix>.<unique><suffix>                 one that is being made, or removed

An empty prefix is written ``-``. A collection is there when its folder has its name, which it gets, and loses, in one
step, however many files the engine makes or removes. The unique part tells an old collection from a new one of the same
name.

If ``<path>`` goes away in the middle of a write, the engine may make the folder of that collection once more, with no
more in it than this write. So a folder that was made as a whole has a file in it that says so; without that it counts
as half made, and as no collection.
"""

from __future__ import annotations

import os
import shutil
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CollectionFolders"]

_WHOLE = "praisonai-whole"
"""The file in a folder that was made as a whole."""
_UNIQUE = "m"
"""What unique parts begin with; those of folders that were made before there was that file are hexadecimal digits."""


class CollectionFolders:
    """The folders of one store's collections.

    Args:
        path: the folder that they are in.
        prefix: the ``table_prefix``; neither it nor names of collections hold dots.
        suffix: what the engine's folders end with: ``.lance``.
    """

    def __init__(self, path: str, prefix: str, suffix: str) -> None:
        self.path = path
        self._prefix = prefix or "-"
        self._suffix = suffix

    def all(self) -> dict[str, str]:
        """Return the paths of the folders by the names of their collections."""
        found = ((os.path.join(self.path, entry), parts[1]) for entry, parts in self._entries(3))
        return {name: path for path, name in found if self.is_there(path)}

    @staticmethod
    def is_there(path: str) -> bool:
        """Whether a collection's folder is there, and whole."""
        unique = os.path.basename(path).split(".")[2]
        return os.path.exists(os.path.join(path, _WHOLE) if unique.startswith(_UNIQUE) else path)

    def make(self, collection: str, build: Callable[[str], None]) -> None:
        """Make a collection; the caller keeps other writers out.

        Args:
            collection: its name.
            build: makes a collection in the folder of the name that it is given, which is there and empty.
        """
        self._sweep()
        unique = f"{_UNIQUE}{uuid.uuid4().hex}{self._suffix}"
        os.mkdir(os.path.join(self.path, f"{self._prefix}.{unique}"), 0o700)  # else the engine would let others in
        build(f"{self._prefix}.{unique}")
        whole = os.path.join(self.path, f"{self._prefix}.{unique}", _WHOLE)
        os.close(os.open(whole, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._rename(f"{self._prefix}.{unique}", f"{self._prefix}.{collection}.{unique}")

    def remove(self, path: str) -> None:
        """Remove a collection's folder; the caller keeps other writers out."""
        self._rename(os.path.basename(path), f"{self._prefix}.{uuid.uuid4().hex}{self._suffix}")
        self._sweep()

    def _entries(self, count: int) -> list[tuple[str, list[str]]]:
        """Return the names of our folders that have so many parts, and the parts."""
        ours = [entry for entry in os.listdir(self.path) if entry.endswith(self._suffix)]
        found = [(entry, entry.removesuffix(self._suffix).split(".")) for entry in ours]
        return [(entry, parts) for entry, parts in found if len(parts) == count and parts[0] == self._prefix]

    def _rename(self, entry: str, new: str) -> None:
        os.rename(os.path.join(self.path, entry), os.path.join(self.path, new))

    def _sweep(self) -> None:
        """Remove what is half made or half removed; it may be a killed process' too."""
        halves = [entry for entry, _ in self._entries(3) if not self.is_there(os.path.join(self.path, entry))]
        for entry in [*halves, *(entry for entry, _ in self._entries(2))]:
            shutil.rmtree(os.path.join(self.path, entry), ignore_errors=True)
