r"""The file that ``export`` writes: JSON lines that say by themselves whether they are whole.

    {"type": "header", "format": "praisonai-persistence", "version": 1, ...}
    {"type": "session", "session_id": ..., ...}           every field of the session
    {"type": "message", "id": ..., ...}                   its messages, in order, every field but session_id
    {"type": "end", "session_id": ..., "messages": 2, "digest": ...}
    {"type": "trailer", "sessions": 1, "messages": 2, "digest": ...}

Text that no UTF-8 can hold (lone surrogates) is written as ``payload.encode_text`` writes it, U+001A and four
hexadecimal digits, in every string and key of the line; U+001A itself is written so, too.
"""

from __future__ import annotations

import json
import re
import tempfile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.payload import decode_text, encode_message, encode_session, encode_text
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence_cli._reading import SessionDigest, Total, canonical_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BrokenFileError", "Reader", "Spooled", "Writer"]

FORMAT, VERSION = "praisonai-persistence", 1
_SPOOL = 8 * 1024 * 1024  # bytes of a session that stay in memory; what is more goes to a temporary file
_LONGEST = 512 * 1024 * 1024  # bytes of a line; the largest message is shorter
_PAGE = 4 * 1024 * 1024  # bytes of lines that make a page
_MOST = 1000  # messages in a page

_ESCAPED = re.compile("[\x1a\ud800-\udfff]")
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


class BrokenFileError(PersistenceError):
    """A file that cannot be imported; the message says which line, and what was imported before it."""


def _map_text(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _map_text(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_text(item, change) for item in value]
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _line(value: dict[str, Any]) -> bytes:
    text = _to_json(value)
    # Control characters stand in it as JSON escapes; U+0000 needs no other, since JSON can hold it.
    if "\\u001a" in text or _ESCAPED.search(text):
        text = _to_json(_map_text(value, _encode_some))
    return text.encode() + b"\n"


def _encode_some(text: str) -> str:
    return encode_text(text) if _ESCAPED.search(text) else text


def _parse(line: bytes) -> Any:
    value = json.loads(line.decode(), parse_constant=_no_constant)
    return _map_text(value, decode_text) if b"\\u001a" in line.lower() else value


class Writer:
    """Writes such a file.

    Args:
        file: binary.
        head: more for the first line.
    """

    def __init__(self, file: IO[bytes], head: dict[str, Any]) -> None:
        self._file = file
        self._total = Total()
        self.messages = 0
        file.write(_line({"type": "header", "format": FORMAT, "version": VERSION, **head}))

    @property
    def sessions(self) -> int:
        """How many were written."""
        return self._total.count

    def session(self, session: ConversationSession, pages: Iterable[list[ConversationMessage]]) -> None:
        """Write a session with all its messages."""
        digest = SessionDigest(session)
        self._file.write(_line({"type": "session", **session.to_dict()}))
        for page in pages:
            for message in page:
                fields = message.to_dict()
                del fields["session_id"]
                self._file.write(_line({"type": "message", **fields}))
                digest.add(canonical_message(message))
        end = {"session_id": session.session_id, "messages": digest.messages, "digest": digest.hexdigest()}
        self._file.write(_line({"type": "end", **end}))
        self._total.add(digest.hexdigest())
        self.messages += digest.messages

    def finish(self) -> str:
        """Write the last line; return the digest of everything."""
        digest = self._total.hexdigest()
        tail = {"sessions": self.sessions, "messages": self.messages, "digest": digest}
        self._file.write(_line({"type": "trailer", **tail}))
        self._file.flush()
        return digest


class Spooled(NamedTuple):
    """A session that was read whole and found in order.

    Attributes:
        session: its fields.
        messages: how many it has.
        digest: of it.
        lines: its messages' lines.
    """

    session: ConversationSession
    messages: int
    digest: str
    lines: IO[bytes]

    def pages(self) -> Iterator[list[ConversationMessage]]:
        """Yield its messages, in order, in pages of some megabytes."""
        self.lines.seek(0)
        page: list[ConversationMessage] = []
        size = 0
        for line in self.lines:
            page.append(_message(_parse(line)))
            size += len(line)
            if size >= _PAGE or len(page) == _MOST:
                yield page
                page, size = [], 0
        if page:
            yield page


def _message(fields: dict[str, Any]) -> ConversationMessage:
    return ConversationMessage.from_dict({**fields, "session_id": ""})


class Reader:
    """Reads such a file, session by session; memory does not grow with either.

    Args:
        file: binary; need not be seekable.
        name: for messages.

    Raises:
        BrokenFileError: anything that is not as it was written; whole sessions before it were yielded.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._number = 0
        self._total = Total()
        self._messages = 0

    def __iter__(self) -> Iterator[Spooled]:
        self._header()
        while True:
            _, fields = self._next()
            kind = fields.get("type")
            if kind == "trailer":
                self._check_trailer(fields)
                return
            if kind != "session":
                raise self._broken(f"a line of the type {str(kind)[:40]!r} where a session or the trailer should be")
            with tempfile.SpooledTemporaryFile(_SPOOL) as lines:
                yield self._session(fields, lines)

    def _header(self) -> None:
        line = self._read()
        try:
            fields = _parse(line.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or fields.get("type") != "header" or fields.get("format") != FORMAT:
            raise self._broken(f"no header: only what {FORMAT} export wrote can be imported")
        if fields.get("version") != VERSION:
            raise self._broken(f"format version {fields.get('version')!r}, this release reads {VERSION}: upgrade it")

    def _session(self, fields: dict[str, Any], lines: IO[bytes]) -> Spooled:
        begun = self._number
        try:
            session = ConversationSession.from_dict(fields)
            if "session_id" not in fields or "created_at" not in fields:
                raise ValueError("it lacks session_id or created_at")
            encode_session(session)
            digest = SessionDigest(session)
        except (PersistenceError, TypeError, ValueError) as error:
            raise self._broken(f"no session: {error}") from error
        while True:
            line, fields = self._next(session.session_id)
            kind = fields.get("type")
            if kind == "end":
                break
            if kind != "message":
                raise self._broken(
                    f"a line of the type {str(kind)[:40]!r} inside session {session.session_id!r}, which begins in "
                    f"line {begun}: lines are missing",
                    session.session_id,
                )
            try:
                if not {"id", "role", "content", "created_at"} <= fields.keys():
                    raise ValueError("it lacks id, role, content or created_at")
                message = _message(fields)
                encode_message(session.session_id, message)
                digest.add(canonical_message(message))
            except (PersistenceError, TypeError, ValueError) as error:
                raise self._broken(f"no message: {error}", session.session_id) from error
            lines.write(line)
        found = (session.session_id, digest.messages, digest.hexdigest())
        if (fields.get("session_id"), fields.get("messages"), fields.get("digest")) != found:
            raise self._broken(
                f"session {session.session_id!r} has {digest.messages} messages here, {fields.get('messages')!r} were "
                "written; or it was changed since",
                session.session_id,
            )
        self._total.add(digest.hexdigest())
        self._messages += digest.messages
        return Spooled(session, digest.messages, digest.hexdigest(), lines)

    def _check_trailer(self, fields: dict[str, Any]) -> None:
        found = (self._total.count, self._messages, self._total.hexdigest())
        if (fields.get("sessions"), fields.get("messages"), fields.get("digest")) != found:
            raise self._broken(
                f"{fields.get('sessions')!r} sessions with {fields.get('messages')!r} messages were written, here are "
                f"{self._total.count} with {self._messages}"
            )
        if self._file.readline(64).strip():
            raise BrokenFileError(f"{self._name} goes on behind its last line; {self._context()}")

    def _next(self, session_id: str | None = None) -> tuple[bytes, dict[str, Any]]:
        line = self._read(session_id)
        try:
            fields = _parse(line)
        except (ValueError, RecursionError) as error:
            # Neither quotes anything of the line.
            why = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise self._broken(f"no JSON in UTF-8: {why}", session_id) from error
        if not isinstance(fields, dict):
            raise self._broken("no JSON object", session_id)
        return line, fields

    def _read(self, session_id: str | None = None) -> bytes:
        line = self._file.readline(_LONGEST)
        if not line.endswith(b"\n"):
            # Also a last line that looks whole: it may be the beginning of a longer number or text.
            if len(line) == _LONGEST:
                raise self._broken("too long", session_id)
            if not line or not line.rstrip().endswith(b"}"):
                where = f"behind line {self._number}" if not line else f"in line {self._number + 1}"
                raise BrokenFileError(f"{self._name} was cut short {where}; {self._context(session_id)}")
        self._number += 1
        return line if line.endswith(b"\n") else line + b"\n"

    def _broken(self, what: str, session_id: str | None = None) -> BrokenFileError:
        return BrokenFileError(f"{self._name}, line {self._number}: {what}; {self._context(session_id)}")

    def _context(self, session_id: str | None = None) -> str:
        before = f"whole sessions before it: {self._total.count}"
        return before if session_id is None else f"nothing of session {session_id!r} was imported; {before}"
