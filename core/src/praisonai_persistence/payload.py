"""What may be stored, and how it becomes text.

Every store accepts the same values and refuses the same values, because every store comes through here:

* **Text** (content, names, roles) is any ``str``, NUL and lone surrogates included. Engines refuse those two, so
  [encode_text][] writes them, and its own escape character U+001A, as U+001A and four hexadecimal digits. All
  other text is stored as it is: readable and searchable.
* **JSON** (state, metadata, tool calls, values) is written by [dumps][]: compact, not sorted, numbers as Python writes
  them (so ``1``, ``1.0``, ``-0.0`` and ``10**30`` come back as what they were). What is not JSON is refused.
* **Ids** and **keys** are stricter: see [check_id][] and [check_key][].

Everything here raises before anything is written. Errors name the argument, never its content.
"""

from __future__ import annotations

import time

from praisonai_persistence._checks import (
    MAX_ID_CHARACTERS,
    MAX_INTEGER,
    MAX_KEY_BYTES,
    SCALARS,
    UPDATED_AT_STEP,
    check_bound,
    check_count,
    check_id,
    check_identifier,
    check_json,
    check_key,
    check_many,
    check_optional_id,
    check_optional_ttl,
    check_prefix,
    check_record,
    check_seconds,
    check_time,
    check_ttl,
    next_updated_at,
    plain,
)
from praisonai_persistence._declare import NamedTuple
from praisonai_persistence.errors import DuplicateMessageError, InvalidValueError, SerializationError
from praisonai_persistence.records import ConversationMessage, ConversationSession, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

__all__ = [
    "DOCUMENT_DEPTH",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_ID_CHARACTERS",
    "MAX_INTEGER",
    "MAX_KEY_BYTES",
    "RESERVED_KEY",
    "UPDATED_AT_STEP",
    "MessageRow",
    "SessionRow",
    "check_bound",
    "check_count",
    "check_id",
    "check_identifier",
    "check_key",
    "check_many",
    "check_optional_id",
    "check_optional_ttl",
    "check_prefix",
    "check_record",
    "check_seconds",
    "check_size",
    "check_time",
    "check_ttl",
    "copy",
    "decode_message",
    "decode_messages",
    "decode_session",
    "decode_text",
    "dumps",
    "encode_message",
    "encode_messages",
    "encode_session",
    "encode_text",
    "equal",
    "loads",
    "match_stored",
    "next_updated_at",
    "plain",
]

MAX_BYTES = 64 * 1024 * 1024
"""Largest message, session or value in bytes of UTF-8, unless a store declares less."""
MAX_DEPTH = 200
"""Deepest nesting of JSON that is accepted."""
DOCUMENT_DEPTH = MAX_DEPTH + 8
"""The same for documents that hold such values deep inside, as exported sessions do."""
RESERVED_KEY = "praisonai_session"
"""Where session stores keep, in metadata, what sessions and messages have no field for."""

# ---------------------------------------------------------------------------------------------------------------- text

_ESCAPE = "\x1a"


def encode_text(text: str) -> str:
    """Return ``text`` as every engine can store it; [decode_text][] is the inverse."""
    if text.isascii():
        if "\0" not in text and _ESCAPE not in text:
            return text
    elif "\0" not in text and _ESCAPE not in text and _has_no_surrogates(text):
        return text
    import re  # what follows is rare; most processes never need it

    return re.sub("[\x00\x1a\ud800-\udfff]", lambda match: f"{_ESCAPE}{ord(match[0]):04x}", text)


def _has_no_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode_text(text: str) -> str:
    """Return the text that [encode_text][] was given."""
    if _ESCAPE not in text:
        return text
    import re

    return re.sub("\x1a([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text)


def _encode_given(text: Any, what: str) -> str:
    if type(text) is not str:
        text = plain(text)
        if type(text) is not str:
            raise SerializationError(f"{what} must be text or None, not {type(text).__name__}")
    return encode_text(text)


# ---------------------------------------------------------------------------------------------------------------- JSON


def _encode_first(value: Any) -> str:
    """Write the first JSON of the process: only then is ``json`` imported."""
    global _encode_json  # noqa: PLW0603
    _encode_json = _make_encode()
    return _encode_json(value)


def _make_encode() -> Callable[[Any], str]:
    """Return the encoder's ``encode``, or what does the same without making a C encoder anew for every value.

    To make one takes longer than to encode what a message usually has.
    """
    import json.encoder

    # What is asked for the default passed the check: only scalars of numpy are no JSON for the encoder.
    encoder = json.JSONEncoder(
        default=plain, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    )
    try:
        module: Any = json.encoder
        quote, colon, comma = module.encode_basestring, encoder.key_separator, encoder.item_separator
        chunks = module.c_make_encoder(None, encoder.default, quote, None, colon, comma, False, False, False)

        def encode(value: Any) -> str:
            return "".join(chunks(value, 0))

        sample = {"a": ['\x00\u2028"é', 1, -0.0, 10**30, 1.5, True, None, {}, []]}
        if encode(sample) == encoder.encode(sample):
            return encode
    except (AttributeError, TypeError):  # an interpreter that has none, or another one
        pass
    return encoder.encode


def _scan_first(text: str, index: int) -> tuple[Any, int]:
    global _scan_json  # noqa: PLW0603
    import json

    _scan_json = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in typeshed
    return _scan_json(text, index)


def _decode_json(text: str) -> Any:
    import json

    return json.loads(text)


_encode_json: Callable[[Any], str] = _encode_first
_scan_json: Callable[[str, int], tuple[Any, int]] = _scan_first


def dumps(value: Any, what: str = "value", limit: int = MAX_BYTES, depth: int = MAX_DEPTH) -> str:
    """Return ``value`` as JSON text that every engine can store and [loads][] gives back equal, types included.

    Args:
        value: any JSON value: None, bool, int of any size, finite float, str, list, dict with text keys.
        what: the name of the argument, for the error.
        limit: the largest size in bytes of UTF-8.
        depth: the deepest nesting.

    Raises:
        SerializationError: it is not JSON, or too large, or nested deeper than that.
    """
    if type(value) not in SCALARS:
        check_json(value, what, depth)
    try:
        text = _encode_json(value)
    except ValueError as error:  # NaN, an infinity, or an integer of more digits than Python converts
        raise SerializationError(f"{what} holds a number that JSON cannot hold: {error}") from None
    # JSON escapes control characters itself, so only surrogates are left for encode_text.
    text = encode_text(text)
    if len(text) * 4 > limit:
        check_size(what, limit, text)
    return text


def loads(text: str) -> Any:
    """Return the value of [dumps][]' text, or of other JSON text.

    Raises:
        ValueError: it is not JSON.
    """
    if _ESCAPE in text:
        text = decode_text(text)
    try:
        value, end = _scan_json(text, 0)  # what dumps wrote has no white space around it, so this is all it takes
    except StopIteration:
        return _decode_json(text)
    return value if end == len(text) else _decode_json(text)


def copy(value: Any) -> Any:
    """Return a deep copy of a JSON value that was checked already; its scalars are [plain][]."""
    if type(value) in SCALARS:
        return value
    if isinstance(value, dict):
        return {plain(key): copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy(item) for item in value]
    return plain(value)


def equal(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal: numbers by value (1 equals 1.0), but True is not 1 and "1" is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(item, b[key]) for key, item in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def check_size(what: str, limit: int, *texts: str | None) -> None:
    """Compare what encoded texts take together, in bytes of UTF-8, with a limit.

    Raises:
        SerializationError: it is more.
    """
    length = 0
    for text in texts:
        if text is not None:
            length += len(text)
    if length * 4 <= limit:  # UTF-8 takes at most four bytes a character: no need to count
        return
    size = sum(len(text.encode()) for text in texts if text is not None)
    if size > limit:
        raise SerializationError(f"{what} has {size} bytes; this store takes at most {limit}")


# ---------------------------------------------------------------------------------------------------------------- rows


class SessionRow(NamedTuple):
    """A session as engines store it: text is encoded, ``state`` and ``metadata`` are JSON text or None."""

    session_id: str
    user_id: str | None
    agent_id: str | None
    name: str | None
    state: str | None
    metadata: str | None
    created_at: float
    updated_at: float
    version: int = 1


class MessageRow(NamedTuple):
    """A message as engines store it: text is encoded, ``tool_calls`` and ``metadata`` are JSON text or None."""

    id: str
    role: str
    content: str | None
    tool_calls: str | None
    tool_call_id: str | None
    metadata: str | None
    created_at: float
    seq: int = 0


def _encode_object(value: Any, what: str, limit: int) -> str:
    if not isinstance(value, dict):
        raise SerializationError(f"{what} must be a JSON object or None, not {type(value).__name__}")
    return dumps(value, what, limit, DOCUMENT_DEPTH if RESERVED_KEY in value else MAX_DEPTH)


def encode_session(session: ConversationSession, limit: int = MAX_BYTES) -> SessionRow:
    """Check a session and return its row (version 1).

    ``updated_at`` is not later than now: it tells when a session was last written to, and the writes to come, whose
    times have to be later, are made by the clock.

    Raises:
        InvalidValueError: an id or a time that cannot be one.
        SerializationError: a value that is not JSON, or a session larger than ``limit`` bytes.
    """
    check_record(session, ConversationSession)
    row = SessionRow(
        check_id(session.session_id),
        check_optional_id(session.user_id, "user_id"),
        check_optional_id(session.agent_id, "agent_id"),
        None if session.name is None else _encode_given(session.name, "name"),
        None if session.state is None else _encode_object(session.state, "state", limit),
        None if session.metadata is None else _encode_object(session.metadata, "metadata", limit),
        check_time(session.created_at, "created_at"),
        min(check_time(session.updated_at, "updated_at"), time.time()),
    )
    check_size("the session", limit, row.name, row.state, row.metadata)
    return row


def decode_session(row: Sequence[Any]) -> ConversationSession:
    """Return the record of a [SessionRow][], or of a tuple in its order."""
    session_id, user_id, agent_id, name, state, metadata, created_at, updated_at, version = row
    return ConversationSession(
        session_id,
        user_id,
        agent_id,
        None if name is None else decode_text(name),
        None if state is None else loads(state),
        None if metadata is None else loads(metadata),
        created_at,
        updated_at,
        version,
    )


_PARTS_KEY = "praisonai_parts"
_PARTS = f'{{"{_PARTS_KEY}":'
"""How stored metadata begin that hold the parts of the content (or null) and, under ``metadata``, what was given.

The column of the content has the text of the parts, so that every engine and other readers of the tables find that.
Metadata that begin like this themselves are wrapped, too, so nothing is reserved.
"""


def _encode_parts(parts: list[Any], limit: int) -> str:
    if not all(isinstance(part, (str, dict)) for part in parts):
        raise SerializationError("content that is a list must hold JSON objects and texts only")
    return dumps(parts, "content", limit)


def encode_message(session_id: str, message: ConversationMessage, limit: int = MAX_BYTES) -> MessageRow:
    """Check a message and return its row (seq 0).

    Raises:
        InvalidValueError: an id or a time that cannot be one, or the message names another session.
        SerializationError: a value that is not JSON, or a message larger than ``limit`` bytes.
    """
    check_record(message, ConversationMessage)
    if message.session_id and message.session_id != session_id:
        raise InvalidValueError("the message names another session than the call")
    role: Any = message.role
    content: Any = message.content
    tool_calls: Any = message.tool_calls
    tool_call_id: Any = message.tool_call_id
    metadata: Any = message.metadata
    if role is None:
        raise SerializationError("role must be text, not NoneType")
    role = encode_text(role) if type(role) is str else _encode_given(role, "role")
    parts = None
    if type(content) is str:  # nearly always, and a call costs
        content = encode_text(content)
    elif isinstance(content, list):
        parts, content = _encode_parts(content, limit), encode_text(plain(text_of(content)))
    elif content is not None:
        content = _encode_given(content, "content")
    if tool_calls is not None:
        if not (isinstance(tool_calls, list) and all(isinstance(call, dict) for call in tool_calls)):
            raise SerializationError("tool_calls must be a list of JSON objects or None")
        tool_calls = dumps(tool_calls, "tool_calls", limit)
    if tool_call_id is not None:
        tool_call_id = _encode_given(tool_call_id, "tool_call_id")
    if metadata is not None:
        metadata = _encode_object(metadata, "metadata", limit)
        if _PARTS in metadata and metadata.startswith(_PARTS):  # the search costs less than the call
            parts = parts or "null"
    if parts is not None:
        metadata = f'{_PARTS}{parts},"metadata":{metadata or "null"}}}'
    check_size("the message", limit, role, content, tool_calls, tool_call_id, metadata)
    item = check_id(message.id, "message id")
    return MessageRow(
        item, role, content, tool_calls, tool_call_id, metadata, check_time(message.created_at, "created_at")
    )


def encode_messages(
    session_id: str, messages: Iterable[ConversationMessage], limit: int = MAX_BYTES
) -> list[MessageRow]:
    """[encode_message][] for a batch; an id that stands twice in it must stand for one and the same message.

    Raises:
        DuplicateMessageError: two messages of the batch share an id and differ.
    """
    rows = [encode_message(session_id, message, limit) for message in check_many(messages, "messages")]
    last = {row.id: row for row in rows}
    if len(last) != len(rows):
        for row in rows:
            match_stored(last[row.id], row)
    return rows


def decode_message(session_id: str, row: Sequence[Any]) -> ConversationMessage:
    """Return the record of a [MessageRow][], or of a tuple in its order."""
    return decode_messages(session_id, (row,))[0]


def decode_messages(session_id: str, rows: Iterable[Sequence[Any]]) -> list[ConversationMessage]:
    """[decode_message][] for many: the hot path of a resumed session, so it calls as little as it can."""
    return [
        ConversationMessage(
            id,
            session_id,
            role if _ESCAPE not in role else decode_text(role),
            content if content is None or _ESCAPE not in content else decode_text(content),
            None if tool_calls is None else loads(tool_calls),
            tool_call_id if tool_call_id is None or _ESCAPE not in tool_call_id else decode_text(tool_call_id),
            None if metadata is None else loads(metadata),
            created_at,
            seq,
        )
        if metadata is None or not metadata.startswith(_PARTS)
        else _decode_parts(session_id, (id, role, content, tool_calls, tool_call_id, metadata, created_at, seq))
        for id, role, content, tool_calls, tool_call_id, metadata, created_at, seq in rows  # noqa: A001
    ]


def _decode_parts(session_id: str, row: Sequence[Any]) -> ConversationMessage:
    """Return a message whose stored metadata hold the parts of its content."""
    stored = loads(row[5])
    message = decode_message(session_id, (*row[:5], None, *row[6:]))
    message.metadata = stored.get("metadata")
    if stored[_PARTS_KEY] is not None:
        message.content = stored[_PARTS_KEY]
    return message


def match_stored(stored: Sequence[Any], row: MessageRow) -> None:
    """Accept a repeated append: the row stored under the same id has equal role, content, tool calls and metadata.

    ``created_at`` is not compared: a retry that builds its message anew has another one.

    Raises:
        DuplicateMessageError: it differs.
    """
    # role, content, tool_calls, tool_call_id, metadata; 3 and 5 are JSON, equal also when written in another order
    for position in range(1, 6):
        a: Any = stored[position]
        b: Any = row[position]
        if a == b:
            continue
        if position in {3, 5} and a is not None and b is not None and equal(loads(a), loads(b)):
            continue
        raise DuplicateMessageError(
            f"a message with the id {row.id!r} and other content exists already in this session; nothing was written"
        )
