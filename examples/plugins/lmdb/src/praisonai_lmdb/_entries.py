"""Entries of LMDB: bytes under keys of at most 511 bytes, in order."""

from __future__ import annotations

import hashlib
from itertools import islice, takewhile
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lmdb

__all__ = ["key_of", "page", "prefix_of"]

_MOST = 511
_HASH = 32


def key_of(space: str, key: str) -> bytes:
    """Return the key of an entry; long ones are cut, and told apart by their SHA-256. So the entry has its key, too."""
    whole = f"{space}{key}".encode()
    if len(whole) < _MOST - _HASH:
        return whole
    return whole[: _MOST - _HASH] + hashlib.sha256(whole).digest()


def prefix_of(space: str, prefix: str) -> bytes:
    """Return what the entries' keys of all keys with a prefix start with; those of others may, too."""
    return f"{space}{prefix}".encode()[: _MOST - _HASH]


def page(transaction: lmdb.Transaction, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    """Return the first entries whose keys start with ``prefix`` and come after ``after``, in order."""
    cursor = transaction.cursor()
    if not cursor.set_range(max(prefix, after + b"\0" if after else b"")):
        return []
    entries = takewhile(lambda entry: entry[0].startswith(prefix), cast("Iterator[tuple[bytes, bytes]]", cursor))
    return list(islice(entries, limit))
