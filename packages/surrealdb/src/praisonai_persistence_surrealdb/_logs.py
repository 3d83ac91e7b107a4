"""Damage in the files of a folder, of which the engine says nothing.

The engine keeps its data in logs, ``clog/*.clog``: records, each with a checksum. Where it finds one that is damaged it
writes the last log anew when it opens the folder, up to there, and removes the old one: what stood behind is gone. That
is right at a torn end, where a process died in the middle of a write, and a loss anywhere else. So the log has a second
name while the folder is opened. If the engine has replaced it, and records behind the damage were intact, it is kept.

Of a record: its CRC-32, then version, transaction, time, the length of its marks (16, 64, 64 and 16 bits, like all
numbers of the format with the highest byte first); the marks; key and value, each behind its length (32 bits).
"""

from __future__ import annotations

import logging
import os
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from praisonai_persistence.errors import ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from praisonai_persistence.integrity import Integrity

__all__ = ["check_integrity", "hold", "settle"]

_log = logging.getLogger("praisonai_persistence_surrealdb")

_HELD, _DAMAGED = "praisonai.held.", "damaged."  # followed by the name of a log
_HEAD, _LENGTH = struct.Struct(">IHQQH"), struct.Struct(">I")
# What the engine takes the checksum of: the fields as they are in memory.
_OF_KEY, _OF_VALUE, _OF_MARKS = struct.Struct("<QQHIQ"), struct.Struct("<IQ"), struct.Struct("<QQ")
_MARKS = {
    b"": bytes(8),
    b"\0\0": _OF_MARKS.pack(1, 0),  # removed, with all that it was before
    b"\1\1": _OF_MARKS.pack(1, 1),  # removed
}
_BEGINS = b"\0\1\0\0"  # a record behind its checksum: version 1, and a number below 2 ** 48
_AT_ONCE = 1000  # intact records between two looks at the clock
_LONGEST = 10.0  # seconds that opening a folder may take longer, to see whether intact records stand behind a damage
_MOST = 20  # problems that are told


class _Found(NamedTuple):
    """What is wrong in a log.

    Attributes:
        damage: where the first record is that is not intact; None: nowhere.
        lost: whether an intact one stands behind it.
        complete: whether the time sufficed.
    """

    damage: int | None = None
    lost: bool = False
    complete: bool = True


def _end_of_record(data: bytes, place: int) -> int | None:
    """Return where the intact record ends that is there; None: there is none."""
    try:
        checksum, version, number, at, length = _HEAD.unpack_from(data, place)
        key = place + _HEAD.size + length
        marks = _MARKS.get(data[place + _HEAD.size : key])
        (of_key,) = _LENGTH.unpack_from(data, key)
        key += _LENGTH.size
        (of_value,) = _LENGTH.unpack_from(data, key + of_key)
    except struct.error:
        return None
    value = key + of_key + _LENGTH.size
    end = value + of_value
    if marks is None or not number or end > len(data):
        return None
    found = crc32(_OF_KEY.pack(number, at, version, of_key, of_key) + data[key : key + of_key])
    found = crc32(data[value:end], crc32(marks + _OF_VALUE.pack(of_value, of_value), found))
    return end if found == checksum else None


def _look(path: str, until: float) -> _Found:
    """Look through a log, up to a time of ``time.monotonic()``.

    Raises:
        OSError: it cannot be read.
    """
    try:
        # Not mapped: where a disk is damaged, that would end the process. It has 512 MB at the most.
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:  # meanwhile
        return _Found()
    place, size, count = _LENGTH.size, len(data), 0
    if size == 0:
        return _Found()
    if size >= _LENGTH.size:
        place += _LENGTH.unpack_from(data)[0]  # of the header
    while place < size:
        end = _end_of_record(data, place)
        if end is None:
            break
        place, count = end, count + 1
        if count % _AT_ONCE == 0 and time.monotonic() > until:
            return _Found(complete=False)
    if place == size:
        return _Found()
    damage = min(place, size)
    place = damage if place <= size else 0  # the length of the header itself is damaged
    while (place := data.find(_BEGINS, place)) >= 0:
        if place >= _LENGTH.size and _end_of_record(data, place - _LENGTH.size) is not None:
            return _Found(damage, lost=True)
        place += 1
        if time.monotonic() > until:  # each may be as long as all that stands behind it
            return _Found(damage, complete=False)
    return _Found(damage)


def _logs(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(os.path.join(folder, "clog")) if name.endswith(".clog"))


def hold(folder: str) -> None:
    """Give the last log a second name, as long as the engine opens the folder; where that cannot be, go on without."""
    settle(folder)  # somebody may have died in between
    with suppress(OSError):
        for name in _logs(folder)[-1:]:
            os.link(os.path.join(folder, "clog", name), os.path.join(folder, _HELD + name))


def settle(folder: str) -> None:
    """Remove that name again; or keep the log, if the engine has written another one in its place and lost records.

    A log that cannot be read now keeps its second name, for the next who opens the folder.
    """
    until = time.monotonic() + _LONGEST
    with suppress(OSError):
        for held in [name for name in os.listdir(folder) if name.startswith(_HELD)]:
            with suppress(OSError):
                _settle(folder, held, until)


def _settle(folder: str, held: str, until: float) -> None:
    path, name = os.path.join(folder, held), held.removeprefix(_HELD)
    if _is_replaced(path, os.path.join(folder, "clog", name)):
        found = _look(path, until)
        if found.lost or not found.complete:
            kept = f"{_DAMAGED}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.{name}"
            os.rename(path, os.path.join(folder, kept))
            _log.warning(
                "SurrealDB in %s: a file was damaged, and the engine removed what stood behind the damage; "
                "the file as it was is kept as %s",
                folder,
                kept,
            )
            return
    os.remove(path)


def _is_replaced(held: str, there: str) -> bool:
    try:
        return not os.path.samefile(held, there)
    except FileNotFoundError:
        return True


def check_integrity(folder: str, seconds: float) -> Integrity:
    """Look through the files of a folder, for so many seconds at the most; what is not there has no faults.

    Raises:
        ConnectionFailedError: it is no folder, or it cannot be read.
    """
    from praisonai_persistence.integrity import Integrity

    problems, complete = [], True
    try:
        for text in _problems(folder, time.monotonic() + seconds):
            complete = complete and bool(text)
            problems += [text] if text else []
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConnectionFailedError(f"{folder} cannot be looked through: {error.strerror}") from error
    return Integrity(tuple(problems[:_MOST]), complete)


def _problems(folder: str, until: float) -> Iterator[str]:
    """Yield what is wrong; nothing, as a text, where the time does not suffice."""
    for name in sorted(name for name in os.listdir(folder) if name.startswith(_DAMAGED)):
        yield (
            f"{name} is a damaged file, of which the engine has removed what stood behind the damage: keep a copy of "
            f"it, take a backup of the folder, and remove this file to be told no more"
        )
    for name in _logs(folder):
        try:
            found = _look(os.path.join(folder, "clog", name), until)
        except OSError as error:
            yield f"clog/{name} could not be read: {error.strerror}"
            continue
        if not found.complete:
            yield ""
        elif found.lost:
            yield f"clog/{name} is damaged behind byte {found.damage}, and intact records stand behind the damage"
