"""ClickHouse's format ``RowBinary``: lengths in groups of seven bits, the lowest first; numbers little-endian.

It is read as ``RowBinaryWithNames``: the names of the columns stand before the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.vectors import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["rows", "size", "text", "texts"]


def size(number: int) -> bytes:
    """Return a length."""
    if number < 128:
        return bytes((number,))
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def text(value: str) -> bytes:
    """Return text."""
    data = value.encode()
    return size(len(data)) + data


def texts(values: Sequence[str]) -> bytes:
    """Return an array of text."""
    return size(len(values)) + b"".join(map(text, values))


_READ: dict[str, Callable[[bytes], Any]] = {
    "s": bytes.decode,
    "v": unpack,
    "n": lambda part: int.from_bytes(part, "little"),
}


def _length(data: bytes, place: int) -> tuple[int, int]:
    length = shift = 0
    while True:
        byte, place = data[place], place + 1
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return length, place


def rows(data: bytes, kinds: str) -> list[Any]:
    """Return rows whose columns are text (``s``), ``UInt64`` (``n``) or 32-bit floats (``v``).

    Raises:
        ConnectionFailedError: not even the names are there. The answer was cut off within its headers, which the client
            takes for one without a body.
    """
    if not data:
        raise ConnectionFailedError("ClickHouse's answer was cut off")
    found = []
    number, place = _length(data, 0)
    for _ in range(number):
        length, place = _length(data, place)
        place += length
    while place < len(data):
        row: list[Any] = []
        for kind in kinds:
            length, place = (8, place) if kind == "n" else _length(data, place)
            length *= 4 if kind == "v" else 1
            part, place = data[place : place + length], place + length
            row.append(_READ[kind](part))
        found.append(tuple(row))
    return found
