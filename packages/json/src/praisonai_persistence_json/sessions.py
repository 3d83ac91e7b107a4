"""Session files: one JSON document per session, in the folder and in the shape that PraisonAI uses.

Both may use a folder at once: files have the same names, the same lock (``flock`` of ``<file>.lock``, on Windows
``msvcrt.locking`` of its first byte), and are replaced in one step. See the package's README, "Session files".
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from contextlib import suppress
from json.encoder import encode_basestring
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence._arguments import named_arguments
from praisonai_persistence._paths import local_path
from praisonai_persistence.errors import ConfigurationError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.payload import check_count, decode_text
from praisonai_persistence.stores.sessions import (
    MIRRORED,
    Document,
    HierarchicalSessions,
    Message,
    SessionStoreBase,
    first_kept,
    new_document,
    next_updated_at,
)
from praisonai_persistence_json._document import converted
from praisonai_persistence_json._errors import CorruptDocumentError
from praisonai_persistence_json._files import (
    LINK_ERRORS,
    RESERVED_NAMES,
    Change,
    change,
    file_stem,
    is_temporary,
    make_directory,
    read,
    translated,
)
from praisonai_persistence_json._location import check_switch, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "DefaultSessionStore",
    "HierarchicalSessionStore",
    "default_session_dir",
    "from_environment",
    "parse",
    "serialise",
]

T = TypeVar("T")

_log = logging.getLogger("praisonai_persistence_json")

RETENTIONS = ("compact", "truncate", "keep_all")
_DEFAULT_MAX = 100
_OLD = 3600.0  # seconds after which a temporary file is nobody's
_LONGEST = 255  # bytes that a file's name has on common file systems


def default_session_dir() -> str:
    """Return the folder where PraisonAI keeps sessions: ``$PRAISONAI_HOME/sessions``, or ``~/.praisonai/sessions``.

    As there, ``~/.praison`` is taken if only that exists, and ``$XDG_DATA_HOME/praisonai`` if neither does.

    Raises:
        ConfigurationError: there is no home directory.
    """
    from pathlib import Path

    try:
        if home := os.environ.get("PRAISONAI_HOME"):
            return str(Path(home).expanduser() / "sessions")
        own, old = Path.home() / ".praisonai", Path.home() / ".praison"
        data = os.environ.get("XDG_DATA_HOME")
        if own.exists() or not (old.exists() or (data and os.path.isabs(data))):
            return str(own / "sessions")
        return str((old if old.exists() else Path(str(data)) / "praisonai") / "sessions")
    except (OSError, RuntimeError) as error:
        raise ConfigurationError("the home directory is not known, or out of reach: give session_dir") from error


# --------------------------------------------------------------------------------------------------------------- names

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)


def _is_plain(session_id: str) -> bool:
    return _PLAIN.fullmatch(session_id) is not None and session_id.lower() not in RESERVED_NAMES


def _common_name(session_id: str) -> str | None:
    """Return the name that PraisonAI gives the file of a session, without ``.json``; other ids may have the same one.

    None: no file system takes it.
    """
    name = "".join(character if character.isalnum() or character in "-_" else "_" for character in session_id)
    return name if len(f"{name}.json.lock".encode()) <= _LONGEST else None


def _own_name(session_id: str) -> str:
    """Return a name that no other id has, on any file system, and that PraisonAI gives to none."""
    return f"~{file_stem(session_id)}"


# ------------------------------------------------------------------------------------------------------------- content

_MARK = "escaped_texts"
_PAIR = re.compile("[\ud800-\udbff](?=[\udc00-\udfff])")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPECIAL = re.compile("\x1a|[\ud800-\udbff](?=[\udc00-\udfff])")


def serialise(document: Document) -> bytes:
    """Return a document as PraisonAI lays it out, whatever text it holds.

    JSON writes a lone surrogate as an escape; but two of them, one after the other, would be read as the one character
    that they are in UTF-16. A document that holds such two says so, and has them written with U+001A.
    """
    text = _laid_out(document)
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    if _PAIR.search(text):
        escaped = converted(document, lambda item: _SPECIAL.sub(lambda match: f"\x1a{ord(match[0]):04x}", item))
        text = _laid_out({**escaped, _MARK: True})
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


_encode = json.JSONEncoder(ensure_ascii=False).encode
_decode = json.JSONDecoder().decode


def _laid_out(value: Any, line: str = "\n") -> str:
    """Return what ``json.dumps(value, indent=2, ensure_ascii=False)`` returns, in little more than half the time."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, (dict, list)):
        # Loops, because comprehensions would halve the depth that Python goes to.
        inner, parts, ends = f"{line}  ", [], "[]"
        if isinstance(value, dict):
            ends = "{}"
            for key, item in value.items():
                parts.append(f"{encode_basestring(key)}: {_laid_out(item, inner)}")
        else:
            for item in value:
                parts.append(_laid_out(item, inner))  # noqa: PERF401
        return f"{ends[0]}{inner}{f',{inner}'.join(parts)}{line}{ends[1]}" if parts else ends
    if value is None:
        return "null"
    return repr(value) if type(value) is float and isfinite(value) else _encode(value)


_KINDS: dict[str, type[Any]] = {
    name: type(value)
    for name, value in new_document("-").items()
    if name not in {"session_id", "created_at", "updated_at"}  # these are not known, if they do not stand there
}


def parse(raw: bytes, path: str) -> Document:
    """Return the document of a file.

    Raises:
        CorruptDocumentError: it is none.
    """
    try:
        document = _decode(raw.decode().removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "it is not JSON"
        raise _corrupt(path, reason) from None
    if not isinstance(document, dict):
        raise _corrupt(path, "it is no JSON object")
    found: Document = converted(document, decode_text) if document.pop(_MARK, None) is True else document
    session_id = found.get("session_id")
    if not isinstance(session_id, str) or not session_id:
        found["session_id"] = os.path.basename(path).removesuffix(".json")
    for name, kind in _KINDS.items():
        value = found.get(name)
        if value is None:
            found[name] = kind()
        elif kind is dict:
            if not isinstance(value, dict):
                raise _corrupt(path, f"{name!r} is no JSON object")
        # A message without a role or a text is one all the same; what is no object is none, and must not get lost.
        elif kind is list and not (isinstance(value, list) and {dict}.issuperset(map(type, value))):
            raise _corrupt(path, f"{name!r} is no list of JSON objects")
    return found


def _corrupt(path: str, reason: str) -> CorruptDocumentError:
    return CorruptDocumentError(f"a session's document cannot be read: {reason}; it is kept as {path}", path)


# --------------------------------------------------------------------------------------------------------------- store


_COUNT = re.compile("0*[0-9]{1,9}", re.ASCII)
_MEANT = {"retention": f"one of {', '.join(RETENTIONS)}", "active_window": "a number of messages, or 0"}


def from_environment() -> dict[str, Any]:
    """Return what the environment says about the default store: ``retention`` and ``active_window``, where it does.

    As in PraisonAI, a value that is wrong is left out, with a warning in the log.
    """
    found: dict[str, Any] = {}
    for name, good in (("retention", RETENTIONS.__contains__), ("active_window", _COUNT.fullmatch)):
        variable = f"PRAISONAI_SESSION_{name.upper()}"
        value = os.environ.get(variable, "").strip()
        if value and good(value):
            found[name] = value if name == "retention" else int(value)
        elif value:
            _log.warning("%s is not used: it must be %s", variable, _MEANT[name])
    return found


@named_arguments
class DefaultSessionStore(SessionStoreBase):
    """Sessions as files that PraisonAI reads and writes as well.

    The folder is made with the first write. Objects are safe to share between threads, and between a process and its
    forked children; any number of processes may use one folder.

    Args:
        session_dir: the folder; by default PraisonAI's own, ``~/.praisonai/sessions``, or below ``PRAISONAI_HOME``.
        max_messages: how many messages a session keeps at hand. A tool result is never separated from its call: where
            the limit would do that, the whole exchange stays.
        lock_timeout: seconds to wait for another writer of the session before ``BackendError``.
        retention: what becomes of older messages. ``compact``: they move to the document's ``archived_messages``.
            ``truncate``: they are dropped. ``keep_all``: they stay. By default ``compact``, or ``truncate`` when
            ``max_messages`` is given; PraisonAI decides so, too.
        active_window: overrides ``max_messages`` as the number of messages to keep at hand; 0: all of them.
        mirror: an object with ``append(session_id, records)``, which is given a copy of every message after it is
            stored, on another thread; see ``SessionMirrorProtocol``. It is not closed.
        cache_maxsize: PraisonAI's number of sessions in memory; not used, for every call reads the file.
        sync: True: what was acknowledged survives a power failure. False: it survives the death of the process; a power
            failure may take the last writes and damage the documents that they were made to. PraisonAI does not sync.
    """

    capabilities = frozenset({"atomic", "checks", "durable", "shared", "tool_calls"})

    def __init__(
        self,
        session_dir: str | os.PathLike[str] | None = None,
        max_messages: int = _DEFAULT_MAX,
        lock_timeout: float = 5.0,
        retention: str | None = None,
        active_window: int | None = None,
        mirror: Any = None,
        cache_maxsize: int = 256,
        *,
        sync: bool = True,
    ) -> None:
        check_count(cache_maxsize, "cache_maxsize")
        check_timeout(lock_timeout)
        check_switch(sync, "sync")
        if retention is None:
            retention = "compact" if max_messages == _DEFAULT_MAX else "truncate"
        if retention not in RETENTIONS:
            raise ConfigurationError(f"retention must be one of {', '.join(RETENTIONS)}")
        self.session_dir = local_path(default_session_dir() if session_dir is None else session_dir, "session_dir")
        self.max_messages = check_count(max_messages, "max_messages")
        self.active_window = check_count(active_window, "active_window", self.max_messages)
        if not self.max_messages:
            raise ConfigurationError("max_messages must be 1 or more; active_window=0 keeps all messages at hand")
        self.lock_timeout = lock_timeout
        self.retention = retention
        self._sync = sync
        self._swept = False
        self._mirror_to(mirror)

    # Where a session is.

    def _path(self, name: str) -> str:
        return f"{self.session_dir}{os.sep}{name}.json"

    def _read(self, name: str) -> Document | None:
        path = self._path(name)
        try:
            raw = read(path)
        except OSError as error:
            if error.errno in LINK_ERRORS:
                raise _corrupt(path, "it is a symbolic link") from error
            raise
        return None if raw is None else parse(raw, path)

    def _find(self, session_id: str) -> tuple[str, Document | None]:
        """Return the file of a session, or where it belongs, and its document, if there is one."""
        plain, common, own = _is_plain(session_id), _common_name(session_id), _own_name(session_id)
        free = plain
        for name in (common, own) if plain else (own, common):
            document = None if name is None else self._read(name)
            if document is None:
                continue
            if document["session_id"] == session_id:
                return self._path(str(name)), document
            if name == own:
                raise _corrupt(self._path(own), "it holds another session than its name says")
            # PraisonAI gives one name to several ids, and some file systems take X for x.
            free = False
        return self._path(str(common) if free else own), None

    def _lock_path(self, session_id: str) -> str:
        """Return the file to lock: by PraisonAI's name, so that it is the same whichever file holds the session."""
        return self._path(_common_name(session_id) or _own_name(session_id)) + ".lock"

    # What the base asks for.

    def _load(self, session_id: str) -> Document | None:
        with translated("the session files"):
            return self._find(session_id)[1]

    def _change(self, session_id: str, work: Callable[[Change], T]) -> T:
        """Call ``work`` while the session's lock is held."""
        with translated("the session files"):
            make_directory(self.session_dir, sync=self._sync)
            if not self._swept:
                self._sweep(os.listdir(self.session_dir))
                self._swept = True
            return change(self._lock_path(session_id), self.lock_timeout, work, private=True, sync=self._sync)

    def _edit(
        self, session_id: str, change: Callable[[Document], T], *, create: bool = True, history: bool = False
    ) -> T:
        def work(step: Change) -> T:
            path, document = self._find(session_id)
            if document is None:
                if not create:
                    raise SessionNotFoundError(f"there is no session {session_id!r}")
                document = new_document(session_id, self._hierarchy)
            before = list(document["messages"])
            result = change(document)
            self._write(path, document, before, step)
            return result

        return self._change(session_id, work)

    def _create(self, document: Document) -> None:
        session_id = document["session_id"]

        def work(step: Change) -> None:
            path, found = self._find(session_id)
            if found is not None:
                raise SessionExistsError(f"there is a session {session_id!r} already")
            self._write(path, document, document["messages"], step)

        self._change(session_id, work)

    def _write(self, path: str, document: Document, before: list[Message], step: Change) -> None:
        step.replace(path, serialise(self._changed(document, before)))

    def _changed(self, document: Document, before: list[Message]) -> Document:
        """Return a changed document as it is stored."""
        _invalidate_positions(document, before)
        document["updated_at"] = next_updated_at(document.get("updated_at"))
        # PraisonAI looks for these in both places.
        document.update({name: document["metadata"][name] for name in MIRRORED if name in document["metadata"]})
        return document

    def _erase(self, session_id: str) -> None:
        def work(step: Change) -> None:
            path, document = self._find(session_id)
            if document is not None:
                with suppress(FileNotFoundError):  # PraisonAI deletes without the lock
                    step.unlink(path)

        with translated("the session files"):
            if not os.path.isdir(self.session_dir):
                return
        self._change(session_id, work)

    def _sweep(self, names: list[str]) -> None:
        """Remove what killed writers have left. Whose it is cannot be told, so it has to be old."""
        for name in names:
            if is_temporary(name):
                with suppress(OSError):
                    path = os.path.join(self.session_dir, name)
                    if time.time() - os.stat(path, follow_symlinks=False).st_mtime > _OLD:
                        os.unlink(path)

    def _heads(self) -> Iterator[Document]:
        return self._documents(strict=False)

    def _whole(self) -> Iterator[Document]:
        return self._documents(strict=True)

    def _documents(self, *, strict: bool) -> Iterator[Document]:
        """Return what the files hold; one that is corrupt is an error, or left out."""
        with translated("the session files"):
            names = os.listdir(self.session_dir) if os.path.isdir(self.session_dir) else []
            self._sweep(names)
            for name in names:
                if name.endswith(".json"):
                    try:
                        document = self._read(name.removesuffix(".json"))
                    except CorruptDocumentError as error:
                        if strict:
                            raise
                        _log.warning("%s", error)
                        continue
                    if document is not None:
                        yield document

    def _trim(self, document: Document) -> None:
        """Let only the latest messages stay at hand."""
        messages = document["messages"]
        if self.retention == "keep_all" or not self.active_window or len(messages) <= self.active_window:
            return
        # What PraisonAI has put first to stand for what it archived stays first.
        summaries = 1 if _is_summary(messages[0]) else 0
        start = max(summaries, first_kept(messages, self.active_window))
        if self.retention == "compact":
            document["archived_messages"] = [*document["archived_messages"], *messages[summaries:start]]
        document["messages"] = [*messages[:summaries], *messages[start:]]
        checkpoint = document.get("last_compaction")
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get("message_index"), int):
            checkpoint["message_index"] = max(0, checkpoint["message_index"] - (start - summaries))


class HierarchicalSessionStore(HierarchicalSessions, DefaultSessionStore):
    """The same files with forks, snapshots, shares and titles; arguments as for [DefaultSessionStore][].

    Opening a folder of [DefaultSessionStore][] with it is fine, and the other way round.
    """

    capabilities = DefaultSessionStore.capabilities | {"hierarchy"}

    def _whole(self) -> Iterator[Document]:
        found = (self._exported(document["session_id"]) for document in super()._whole())
        return (document for document in found if document is not None)


def _is_summary(message: Message) -> bool:
    metadata = message.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("compaction"))


def _invalidate_positions(document: Document, before: list[Message]) -> None:
    """Mark the snapshots of old versions, which only note a position, when other messages stand there now."""
    snapshots = document.get("snapshots")
    for snapshot in snapshots if isinstance(snapshots, list) else ():
        if not isinstance(snapshot, dict) or "transcript" in snapshot or "transcript_refs" in snapshot:
            continue
        index = snapshot.get("message_index")
        if isinstance(index, int) and index >= 0 and before[: index + 1] != document["messages"][: index + 1]:
            snapshot["invalidated"] = True
