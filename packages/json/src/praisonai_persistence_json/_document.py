"""A session as a JSON document: what the package's README describes under "The file".

Text is stored as ``payload.encode_text`` gives it, everywhere in the document, so that it is valid UTF-8 whatever it
holds. ``state``, ``metadata`` and ``tool_calls`` are nested JSON, where that rule holds for their texts and keys, too.

Documents are laid out by [render][]: one field a line, one message a line. [read_head][] and [newest_first][] rely on
it to read a part of a file; a file that an editor has laid out anew is read whole, by [parse][]. A checksum over the
messages tells a writer whether it may take them over as they stand, without reading them: [parse_around][].
"""

from __future__ import annotations

import io
import json
import sys
import zlib
from itertools import pairwise
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from praisonai_persistence.errors import SchemaError
from praisonai_persistence.payload import MessageRow, SessionRow, decode_text, dumps, encode_text, loads
from praisonai_persistence.stores.conversation import WholeSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

__all__ = [
    "FORMAT",
    "CorruptError",
    "Head",
    "converted",
    "newest_first",
    "parse",
    "parse_around",
    "read_head",
    "render",
]

FORMAT = 1
"""The version of the format that this module writes; it reads this one and older ones."""

_NONE = type(None)
_OBJECT: tuple[type, ...] = (dict, _NONE)
_CALLS: tuple[type, ...] = (list, _NONE)
_TEXT: tuple[type, ...] = (str, _NONE)
_TIME: tuple[type, ...] = (float, int)
# In the order of the rows' fields: what each may be in the document.
_SESSION: dict[str, tuple[type, ...]] = {
    "session_id": (str,),
    "user_id": _TEXT,
    "agent_id": _TEXT,
    "name": _TEXT,
    "state": _OBJECT,
    "metadata": _OBJECT,
    "created_at": _TIME,
    "updated_at": _TIME,
    "version": (int,),
}
_MESSAGE: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "role": (str,),
    "content": _TEXT,
    "tool_calls": _CALLS,
    "tool_call_id": _TEXT,
    "metadata": _OBJECT,
    "created_at": _TIME,
    "seq": (int,),
}
_MARK = b'\n  "messages": ['
_TAIL = b"\n  ]\n}\n"
_BLOCK = 64 * 1024


class CorruptError(Exception):
    """The file is no document of ours; the message says why, without any content."""


class Head(NamedTuple):
    """What stands before the messages, and the offset in the file where they begin."""

    row: SessionRow
    last_seq: Any
    checksum: Any
    start: int


def _refuse(name: str) -> NoReturn:
    raise CorruptError(f"it holds {name}, which is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _quote(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


def converted(value: Any, convert: Callable[[str], str]) -> Any:
    """Return a JSON value with every text and key converted."""
    if isinstance(value, str):
        return convert(value)
    if isinstance(value, list):
        return [converted(item, convert) for item in value]
    if isinstance(value, dict):
        return {convert(key): converted(item, convert) for key, item in value.items()}
    return value


# ------------------------------------------------------------------------------------------------------------- writing


def _nested(text: str | None) -> str:
    """Return JSON text of a row as it stands in the document."""
    if text is None:
        return "null"
    if "\x1a" in text or "\\u001a" in text:  # raw: dumps has encoded a surrogate; escaped: the value itself holds one
        return _compact(converted(loads(text), encode_text))
    return text


def _line(row: MessageRow) -> str:
    return (
        f'\n    {{"seq": {row.seq}, "id": {_quote(row.id)}, "role": {_quote(row.role)}, '
        f'"content": {_quote(row.content)}, "tool_calls": {_nested(row.tool_calls)}, '
        f'"tool_call_id": {_quote(row.tool_call_id)}, "metadata": {_nested(row.metadata)}, '
        f'"created_at": {row.created_at!r}}}'
    )


def _checksum(messages: bytes, last_seq: int) -> int:
    return zlib.crc32(b"%d" % last_seq, zlib.crc32(messages))


def render(session: WholeSession, kept: bytes = b"") -> bytes:
    """Return the document of a session; ``kept`` are messages before its own, as [parse_around][] returned them."""
    row = session.row
    added = ",".join(map(_line, session.messages)).encode()
    messages = b"".join((kept, b"," if kept and added else b"", added))
    head = (
        f'{{\n  "format": {FORMAT},\n'
        f'  "session_id": {_quote(row.session_id)},\n'
        f'  "user_id": {_quote(row.user_id)},\n'
        f'  "agent_id": {_quote(row.agent_id)},\n'
        f'  "name": {_quote(row.name)},\n'
        f'  "state": {_nested(row.state)},\n'
        f'  "metadata": {_nested(row.metadata)},\n'
        f'  "created_at": {row.created_at!r},\n'
        f'  "updated_at": {row.updated_at!r},\n'
        f'  "version": {row.version},\n'
        f'  "last_seq": {session.last_seq},\n'
        f'  "checksum": {_checksum(messages, session.last_seq)},'
    )
    return b"".join((head.encode(), _MARK, messages, _TAIL))


# ------------------------------------------------------------------------------------------------------------- reading


def _values(item: Any, shape: dict[str, tuple[type, ...]]) -> list[Any]:
    """Return the fields of a row, checked, with nested JSON as ``dumps`` writes it."""
    if not isinstance(item, dict):
        raise CorruptError("a message is no JSON object")
    values = []
    for name, types in shape.items():
        value = item.get(name, ...)
        if type(value) not in types:
            raise CorruptError(f"the field {name!r} is missing or of the wrong type")
        if types is _TIME:
            if not abs(value) <= sys.float_info.max:
                raise CorruptError(f"the field {name!r} is no finite number")
            value = float(value)
        elif value is not None and (types is _OBJECT or types is _CALLS):
            if types is _CALLS and not all(isinstance(call, dict) for call in value):
                raise CorruptError("'tool_calls' holds something that is no JSON object")
            text = _compact(value)
            value = dumps(converted(value, decode_text)) if "\\u001a" in text else encode_text(text)
        values.append(value)
    return values


def _session(item: Any) -> SessionRow:
    version = item.get("format") if isinstance(item, dict) else None
    if type(version) is not int:
        raise CorruptError("it has no format version")
    if version > FORMAT:
        raise SchemaError(
            f"a session document has format {version}, this version reads up to {FORMAT}: "
            f"pip install --upgrade praisonai-persistence-json"
        )
    return SessionRow(*_values(item, _SESSION))


def _loads(raw: bytes) -> Any:
    try:
        return _decode(raw.decode().removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise CorruptError(f"it is not JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise CorruptError(f"it is not UTF-8: {error.reason} at byte {error.start}") from None


def parse(raw: bytes) -> WholeSession:
    """Return the session of a document.

    Raises:
        CorruptError: it is no document of ours.
        SchemaError: a newer version of this package wrote it.
        ValueError: it may be right, but holds a number that this interpreter does not convert.
        RecursionError: it may be right, but is nested deeper than this interpreter goes.
    """
    item = _loads(raw)
    row = _session(item)
    messages, last_seq = item.get("messages"), item.get("last_seq")
    if not isinstance(messages, list) or type(last_seq) is not int:
        raise CorruptError("the field 'messages' or 'last_seq' is missing or of the wrong type")
    session = WholeSession(row, [MessageRow(*_values(message, _MESSAGE)) for message in messages], last_seq)
    seqs = [0, *(message.seq for message in session.messages)]
    if any(a >= b for a, b in pairwise(seqs)) or seqs[-1] > last_seq:
        raise CorruptError("its messages are not numbered upwards from 1 to 'last_seq'")
    if len(session.by_id) != len(messages):
        raise CorruptError("two of its messages have one id")
    return session


def parse_around(raw: bytes, ids: Iterable[str] = ()) -> tuple[WholeSession, bytes] | None:
    """Return the session of a document without its messages, and these as they stand there.

    None: the document must be parsed, because it was edited by hand, or because a message of ``ids`` may be in it.

    Raises:
        SchemaError: a newer version of this package wrote it.
    """
    head = read_head(io.BytesIO(raw))
    if head is None or type(head.last_seq) is not int:
        return None
    messages = raw[head.start : -len(_TAIL)]
    if head.checksum != _checksum(messages, head.last_seq):
        return None
    if any(f'"id": {_quote(name)}, "role": '.encode() in messages for name in ids):
        return None
    return WholeSession(head.row, (), head.last_seq), messages


def read_head(file: BinaryIO) -> Head | None:
    """Read no more of a file than what stands before the messages; None: not laid out by [render][], read it whole.

    Raises:
        SchemaError: a newer version of this package wrote it.
    """
    raw = b""
    ended = False
    while (end := raw.find(_MARK)) < 0:
        if ended:
            return None
        wanted = max(4096, len(raw))
        block = file.read(wanted)
        ended = len(block) < wanted
        raw += block
    start = end + len(_MARK)
    try:
        item = _loads(raw[:start] + b"]}")
        head = Head(_session(item), item.get("last_seq"), item.get("checksum"), start)
    except CorruptError:
        return None
    if not ended:
        file.seek(-len(_TAIL), 2)
        raw = file.read()
    return head if raw.endswith(_TAIL) else None


def newest_first(file: BinaryIO, start: int) -> Iterator[MessageRow]:
    """Read the messages of a file from its end, no more of it than is asked for. ``start`` is the head's.

    Raises:
        CorruptError: a line is no message: read the file whole.
    """
    last = 0
    for line in _lines_from_end(file, start + 1, file.seek(-len(_TAIL), 2)):
        row = MessageRow(*_values(_loads(line.rstrip(b",")), _MESSAGE))
        if last and row.seq >= last:
            raise CorruptError("its messages are not numbered upwards")
        last = row.seq
        yield row


def _lines_from_end(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    rest = b""
    while end > start:
        begin = max(start, end - max(_BLOCK, len(rest)))  # twice as much for a long line: it is not copied too often
        file.seek(begin)
        rest, *lines = (file.read(end - begin) + rest).split(b"\n")
        yield from reversed(lines)
        end = begin
    if rest:
        yield rest
