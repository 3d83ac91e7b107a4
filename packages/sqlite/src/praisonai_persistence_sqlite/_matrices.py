"""Embeddings of a collection in memory, for searches of a file that nobody writes meanwhile.

A search reads every embedding from its row, which takes most of its time. So a connection that has searched a
collection a few times, while nobody wrote to the file, keeps the embeddings as one array of numpy. The array is used as
long as ``PRAGMA data_version``, asked within the transaction of the search, says that the file is as it was: SQLite
itself keeps or drops its pages by that. All arrays of a process together have a limit.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from array import array

__all__ = ["LIMIT", "SEARCHES", "Matrix", "Table", "keep", "table_of"]

LIMIT = 64 * 2**20
"""Bytes of all arrays in a process."""
SEARCHES = 3
"""The search of an unchanged file that makes an array, which takes as long as two or three searches."""

_lock = threading.RLock()
_kept: list[weakref.ref[Table]] = []  # the one that was made first is the first to go


class Matrix:
    """All embeddings of a collection, none of which has a length that 32-bit floats overflow or lose.

    Args:
        rows: ``row_id``, length and embedding (32-bit floats, little-endian) of each document.
        dimension: of the embeddings.
    """

    def __init__(self, rows: list[tuple[int, float, bytes]], dimension: int) -> None:
        self.ids = np.array([row[0] for row in rows], dtype=np.int64)
        self.lengths = np.array([row[1] for row in rows], dtype=np.float32)
        self.longest = float(self.lengths.max())
        self.numbers = np.frombuffer(b"".join([row[2] for row in rows]), dtype="<f4").reshape(len(rows), dimension)
        self.size: int = self.numbers.nbytes + self.ids.nbytes + self.lengths.nbytes

    def ranks(self, distance: str, query: array[float], length: float) -> Any:
        """Return an array with the rank of each document, lower is better, in the order of ``ids``.

        Args:
            distance: the collection's.
            query: 32-bit floats.
            length: the query's.
        """
        numbers = np.frombuffer(query, dtype=np.float32)
        with np.errstate(all="ignore"):  # also where a program has it raise
            if distance == "euclidean":
                apart = self.numbers - numbers
                return np.sqrt(np.einsum("ij,ij->i", apart, apart))
            # @ would start threads, which cost more than they do.
            products = np.einsum("ij,j->i", self.numbers, numbers)
            return -products if distance == "dot" else -products / (self.lengths * np.float32(length))


class Table:
    """What a connection knows of a collection's table in one state of the file.

    Attributes:
        version: the state, of ``PRAGMA data_version``.
        searches: how many there were in this state.
        matrix: the embeddings, if they are kept.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self.searches = 0
        self.matrix: Matrix | None = None


def table_of(memory: dict[str, Table], name: str, version: int) -> Table:
    """Return what is known of a table in this state of the file; what is known of other states is forgotten."""
    for other in [other for other, known in memory.items() if known.version != version]:
        del memory[other]
    return memory.setdefault(name, Table(version))


def keep(table: Table, matrix: Matrix) -> None:
    """Keep an array; the oldest of this process go until all of them are within the limit."""
    with _lock:
        known = [one for one in (found() for found in _kept) if one is not None and one.matrix is not None]
        total = matrix.size + sum(one.matrix.size for one in known if one.matrix is not None)
        while known and total > LIMIT:
            oldest = known.pop(0)
            total -= oldest.matrix.size if oldest.matrix is not None else 0
            oldest.matrix = None
        _kept[:] = map(weakref.ref, [*known, table])
        table.matrix = matrix  # last: an interrupt leaves none that is not counted
