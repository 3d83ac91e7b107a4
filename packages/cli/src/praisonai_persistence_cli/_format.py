r"""The file that ``export`` writes: JSON lines that say by themselves whether they are whole.

    {"type": "header", "format": "praisonai-persistence", "version": 1, ...}
    {"type": "session", "session_id": ..., ...}           every field of the session
    {"type": "message", "id": ..., ...}                   its messages, in order, every field but session_id
    {"type": "end", "session_id": ..., "messages": 2, "digest": ...}
    {"type": "trailer", "sessions": 1, "messages": 2, "digest": ...}

That is a file of conversations. Files of state and of knowledge are made in the same way: see ``_format_stores``.

Text that no UTF-8 can hold (lone surrogates) is written as ``payload.encode_text`` writes it, U+001A and four
hexadecimal digits, in every string and key of the line; U+001A itself is written so, too.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import zlib
from typing import IO, TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.payload import decode_text, encode_message, encode_session, encode_text
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence_cli._reading import SessionDigest, Total, canonical_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["BaseReader", "BaseWriter", "BrokenFileError", "Lines", "Reader", "Spooled", "Writer", "pages_of", "spool"]

T = TypeVar("T")

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


class BaseWriter:
    """Writes such a file.

    Args:
        file: binary.
        head: more for the first line.

    Attributes:
        units: how many sessions, keys or collections were written.
        items: how many messages or documents in them; keys are their own.
    """

    kind: ClassVar[str]
    unit: ClassVar[str]
    names: ClassVar[tuple[str, str]]
    """Of units and items, in the plural; the same where units have no items."""

    def __init__(self, file: IO[bytes], head: dict[str, Any]) -> None:
        self._file = file
        self._total = Total()
        self.items = 0
        self._line({"type": "header", "format": FORMAT, "version": VERSION, "kind": self.kind, **head})

    @property
    def units(self) -> int:
        """How many were written."""
        return self._total.count

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(_line(value))

    def _written(self, digest: str, items: int) -> None:
        self._total.add(digest)
        self.items += items

    def finish(self) -> str:
        """Write the last line; return the digest of everything."""
        digest = self._total.hexdigest()
        self._line({"type": "trailer", **counted(self.names, self.units, self.items), "digest": digest})
        self._file.flush()
        return digest


def counted(names: tuple[str, str], units: int, items: int) -> dict[str, int]:
    """Return the numbers by their names."""
    return {names[0]: units} if names[0] == names[1] else {names[0]: units, names[1]: items}


class Lines:
    """The lines of such a file.

    Args:
        file: binary; need not be seekable.
        name: for messages.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file = file
        self.name = name
        self.number = 0
        self.context = "nothing of it was imported"
        self._header: dict[str, Any] | None = None

    def header(self) -> dict[str, Any]:
        """Return the fields of the first line."""
        if self._header is None:
            line = self.read()
            try:
                fields = _parse(line.removeprefix(b"\xef\xbb\xbf"))
            except (ValueError, RecursionError):
                fields = None
            if isinstance(fields, dict) and "type" not in fields and isinstance(fields.get("messages"), list):
                self._convert(fields)
                return self.header()
            if not isinstance(fields, dict) or fields.get("type") != "header" or fields.get("format") != FORMAT:
                raise self.broken(f"no header: only what {FORMAT} export wrote can be imported")
            if fields.get("version") != VERSION:
                raise self.broken(f"format version {fields.get('version')!r}, this release reads {VERSION}: upgrade it")
            self._header = fields
        return self._header

    def _convert(self, document: dict[str, Any]) -> None:
        """Go on with the lines of a session that PraisonAI's own export wrote, which is one line with all of it."""
        from praisonai_persistence._exported import ExportedSession

        self.check_end()
        try:
            exported = ExportedSession(document)
        except PersistenceError as error:
            raise self.broken(f"no session that PraisonAI exported: {error}") from error
        if exported.records or exported.spans:
            raise self.broken("it has runs or traces, which only import_session of db(...) reads")
        converted = io.BytesIO()
        writer = Writer(converted, {})
        writer.session(exported.session, [exported.messages] if exported.messages else [])
        writer.finish()
        converted.seek(0)
        self.file, self.number = converted, 0

    def next(self) -> tuple[bytes, dict[str, Any]]:
        """Return the next line, as it is and as an object."""
        line = self.read()
        try:
            fields = _parse(line)
        except (ValueError, RecursionError) as error:
            # Neither quotes anything of the line.
            why = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise self.broken(f"no JSON in UTF-8: {why}") from error
        if not isinstance(fields, dict):
            raise self.broken("no JSON object")
        return line, fields

    def read(self) -> bytes:
        """Return the next line, with its end."""
        line = self._readline(_LONGEST)
        if not line.endswith(b"\n"):
            # Also a last line that looks whole: it may be the beginning of a longer number or text.
            if len(line) == _LONGEST:
                raise self.broken("too long")
            if not line or not line.rstrip().endswith(b"}"):
                where = f"behind line {self.number}" if not line else f"in line {self.number + 1}"
                raise BrokenFileError(f"{self.name} was cut short {where}; {self.context}")
        self.number += 1
        return line if line.endswith(b"\n") else line + b"\n"

    def check_end(self) -> None:
        """Refuse what stands behind the last line."""
        if self._readline(64).strip():
            raise BrokenFileError(f"{self.name} goes on behind its last line; {self.context}")

    def _readline(self, most: int) -> bytes:
        try:
            return self.file.readline(most)
        except EOFError as error:  # of a compressed file
            raise BrokenFileError(f"{self.name} was cut short behind line {self.number}; {self.context}") from error
        except (OSError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk
                raise
            raise self.broken("the compressed data are damaged") from error

    def broken(self, what: str) -> BrokenFileError:
        """Return the error of the line that was read last."""
        return BrokenFileError(f"{self.name}, line {self.number}: {what}; {self.context}")


class BaseReader(Generic[T]):
    """Reads such a file, unit by unit; memory does not grow with their number.

    Args:
        file: binary, or its lines, of which the header may have been read.
        name: for messages.

    Raises:
        BrokenFileError: anything that is not as it was written; whole units before it were yielded.
    """

    unit: ClassVar[str]
    names: ClassVar[tuple[str, str]]

    def __init__(self, file: IO[bytes] | Lines, name: str = "") -> None:
        self.lines = file if isinstance(file, Lines) else Lines(file, name)
        self._total = Total()
        self._items = 0
        self._inside(None)

    def __iter__(self) -> Iterator[T]:
        self.lines.header()
        while True:
            line, fields = self.lines.next()
            kind = fields.get("type")
            if kind == "trailer":
                break
            if kind != self.unit:
                what = f"a line of the type {str(kind)[:40]!r} where a {self.unit} or the trailer should be"
                raise self.lines.broken(what)
            yield from self._units(line, fields)
        found = {**counted(self.names, self._total.count, self._items), "digest": self._total.hexdigest()}
        if any(fields.get(name) != value for name, value in found.items()):
            units, items = self.names
            written, here = ((f"{one.get(units)!r} {units}", f"{one.get(items)!r}") for one in (fields, found))
            more = ("", "") if units == items else (f" with {written[1]} {items}", f" with {here[1]}")
            count = f"{self._total.count}{more[1]}"
            raise self.lines.broken(f"{written[0]}{more[0]} were written, here are {count}")
        self.lines.check_end()

    def _units(self, line: bytes, fields: dict[str, Any]) -> Iterator[T]:
        raise NotImplementedError

    def _inside(self, name: str | None) -> None:
        """Say in errors of which unit nothing was imported; None: of none."""
        before = f"whole {self.names[0]} before it: {self._total.count}"
        inside = "" if name is None else f"nothing of {self.unit} {name!r} was imported; "
        self.lines.context = inside + before

    def _read(self, digest: str, items: int) -> None:
        self._total.add(digest)
        self._items += items
        self._inside(None)

    def _items_of(self, name: str, item: str, check: Callable[[dict[str, Any]], None], spooled: IO[bytes]) -> int:
        """Put the lines of a unit aside, up to its end; return how many they are.

        Args:
            name: of the unit.
            item: the type of the lines.
            check: raises if the fields are no item.
            spooled: where they go.
        """
        begun, count = self.lines.number, 0
        self._inside(name)
        while True:
            line, fields = self.lines.next()
            kind = fields.get("type")
            if kind == "end":
                self._end = fields
                return count
            if kind != item:
                raise self.lines.broken(
                    f"a line of the type {str(kind)[:40]!r} inside {self.unit} {name!r}, which begins in line {begun}: "
                    "lines are missing"
                )
            try:
                check(fields)
            except (PersistenceError, TypeError, ValueError) as error:
                raise self.lines.broken(f"no {item}: {error}") from error
            spooled.write(line)
            count += 1

    def _check_end(self, id_name: str, name: str, count: int, digest: str) -> None:
        items, end = self.names[1], self._end
        if (end.get(id_name), end.get(items), end.get("digest")) != (name, count, digest):
            raise self.lines.broken(
                f"{self.unit} {name!r} has {count} {items} here, {end.get(items)!r} were written; or it was changed "
                "since"
            )
        self._read(digest, count)


def spool() -> IO[bytes]:
    """Return a place for the lines of a unit: in memory, or in a temporary file if they are many."""
    return tempfile.SpooledTemporaryFile(_SPOOL)


def pages_of(lines: IO[bytes], item: Callable[[dict[str, Any]], T], most: int = _MOST) -> Iterator[list[T]]:
    """Yield the items of a unit, in order, in pages of some megabytes."""
    lines.seek(0)
    page: list[T] = []
    size = 0
    for line in lines:
        page.append(item(_parse(line)))
        size += len(line)
        if size >= _PAGE or len(page) == most:
            yield page
            page, size = [], 0
    if page:
        yield page


# -------------------------------------------------------------------------------------------------------- conversation


class _Sessions:
    kind: ClassVar[str] = "conversation"
    unit: ClassVar[str] = "session"
    names: ClassVar[tuple[str, str]] = ("sessions", "messages")


class Writer(_Sessions, BaseWriter):
    """Writes a file of sessions."""

    def session(self, session: ConversationSession, pages: Iterable[list[ConversationMessage]]) -> None:
        """Write a session with all its messages."""
        digest = SessionDigest(session)
        self._line({"type": "session", **session.to_dict()})
        for page in pages:
            for message in page:
                fields = message.to_dict()
                del fields["session_id"]
                self._line({"type": "message", **fields})
                digest.add(canonical_message(message))
        end = {"session_id": session.session_id, "messages": digest.messages, "digest": digest.hexdigest()}
        self._line({"type": "end", **end})
        self._written(digest.hexdigest(), digest.messages)


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
        return pages_of(self.lines, _message)


def _message(fields: dict[str, Any]) -> ConversationMessage:
    return ConversationMessage.from_dict({**fields, "session_id": ""})


class Reader(_Sessions, BaseReader[Spooled]):
    """Reads a file of sessions."""

    def _units(self, line: bytes, fields: dict[str, Any]) -> Iterator[Spooled]:
        try:
            session = ConversationSession.from_dict(fields)
            if "session_id" not in fields or "created_at" not in fields:
                raise ValueError("it lacks session_id or created_at")
            encode_session(session)
            digest = SessionDigest(session)
        except (PersistenceError, TypeError, ValueError) as error:
            raise self.lines.broken(f"no session: {error}") from error

        def check(fields: dict[str, Any]) -> None:
            if not {"id", "role", "content", "created_at"} <= fields.keys():
                raise ValueError("it lacks id, role, content or created_at")
            message = _message(fields)
            encode_message(session.session_id, message)
            digest.add(canonical_message(message))

        with spool() as lines:
            count = self._items_of(session.session_id, "message", check, lines)
            self._check_end("session_id", session.session_id, count, digest.hexdigest())
            yield Spooled(session, count, digest.hexdigest(), lines)
