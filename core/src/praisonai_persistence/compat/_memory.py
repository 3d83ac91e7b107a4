"""The state store in memory that keeps a copy in a file, as PraisonAI's ``MemoryStateStore(path=...)`` does."""

from __future__ import annotations

import atexit
import json
import os
import tempfile
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence._paths import local_path
from praisonai_persistence.errors import BackendError, ConfigurationError
from praisonai_persistence.memory._data import open_data
from praisonai_persistence.memory.state import Entries, Entry, MemoryStateSteps, MemoryStateStore
from praisonai_persistence.payload import check_prefix, dumps, loads
from praisonai_persistence.steps import is_write, writes
from praisonai_persistence.stores import DirectRunner, StepStateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["FileMemoryStateStore"]

T = TypeVar("T")


class _Either(str):
    """The text of an object that PraisonAI wrote: a plain value or a hash, which its file does not say."""

    __slots__ = ()


class _Entries(Entries):
    def fields(self, key: str, now: float) -> dict[str, str] | None:
        entry = self.live(key, now)
        if entry is not None and isinstance(entry.value, _Either):
            return {name: dumps(item) for name, item in loads(entry.value).items()}
        return super().fields(key, now)

    def make_hash(self, key: str, now: float) -> None:
        """Let a key be a hash that may be one."""
        entry, fields = self.get(key), self.fields(key, now)
        if entry is not None and fields is not None and isinstance(entry.value, _Either):
            self[key] = Entry(fields, entry.ends)


class _Steps(MemoryStateSteps):
    _entries: _Entries

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        self._make_hash(key, now)
        return super().hset(key, field, text, now)

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        self._make_hash(key, now)
        return super().hdel(key, fields, now)

    def _make_hash(self, key: str, now: float) -> None:
        with self._data.lock:
            self._entries.make_hash(key, now)


class _File:
    """The copy of a store's entries: read when the store is first used, written whole, in the place of the old one.

    The document is PraisonAI's, ``{"data": {key: value}, "ttls": {key: end in Unix seconds}}``, and beside them it has
    the names of the keys that are hashes, as ``hashes``, and of those that may be, because PraisonAI wrote them, as
    ``either``: they answer as both until one or the other is written.
    """

    def __init__(self, path: str, entries: Entries, lock: Any, interval: float | None) -> None:
        self.path = path
        self._entries = entries
        self._data_lock = lock
        self._interval = interval
        self._lock = threading.RLock()
        self._saved_at = time.monotonic()
        self._changed = False

    def load(self) -> None:
        try:
            with open(self.path, encoding="utf-8") as file:
                document = json.load(file)
        except FileNotFoundError:
            return
        except ValueError as error:
            raise BackendError(f"{self.path} is no document of a state store; it is left as it is") from error
        except OSError as error:
            raise BackendError(f"{self.path} cannot be read: {type(error).__name__}") from error
        data, ends = (document.get(name) if isinstance(document, dict) else None for name in ("data", "ttls"))
        if not isinstance(data, dict) or not isinstance(ends, dict):
            raise BackendError(f"{self.path} is no document of a state store; it is left as it is")
        hashes, either = document.get("hashes"), document.get("either", ())
        for key, value in data.items():
            stored: str | dict[str, str] = dumps(value)
            if isinstance(value, dict):
                if not isinstance(hashes, list) or key in either:
                    stored = _Either(stored)
                elif key in hashes:
                    stored = {name: dumps(item) for name, item in value.items()}
            self._entries.setdefault(key, Entry(stored, ends.get(key)))

    def changed(self) -> None:
        """Note that entries have changed, and write them if the last time was long enough ago."""
        self._changed = True
        _unsaved.add(self)
        if self._interval is not None and time.monotonic() - self._saved_at >= self._interval:
            self.save()

    def save(self) -> None:
        """Write the file, if there is anything new."""
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            try:
                self._write(self._document())
            except BaseException as error:
                self._changed = True
                if isinstance(error, OSError):
                    raise BackendError(f"{self.path} cannot be written: {type(error).__name__}") from error
                raise
            self._saved_at = time.monotonic()
            if not self._changed:
                _unsaved.discard(self)

    def _document(self) -> dict[str, Any]:
        now = time.time()
        with self._data_lock:
            entries = {key: (entry.value, entry.ends) for key, entry in self._entries.items()}
        live = {key: pair for key, pair in entries.items() if pair[1] is None or pair[1] > now}
        return {
            "data": {
                key: {name: loads(text) for name, text in value.items()} if isinstance(value, dict) else loads(value)
                for key, (value, _) in live.items()
            },
            "ttls": {key: ends for key, (_, ends) in live.items() if ends is not None},
            "hashes": [key for key, (value, _) in live.items() if isinstance(value, dict)],
            "either": [key for key, (value, _) in live.items() if isinstance(value, _Either)],
        }

    def _write(self, document: dict[str, Any]) -> None:
        folder, name = os.path.split(self.path)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # readable by its owner alone
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise


_unsaved: set[_File] = set()


@atexit.register
def _save_all() -> None:
    for file in list(_unsaved):
        with suppress(BackendError):
            file.save()


class _FileRunner(DirectRunner):
    def __init__(self, file: _File) -> None:
        super().__init__(on_connect=file.load, on_close=file.save)
        self._file = file

    def run(self, operation: Callable[..., Steps[T]], *args: Any, **kwargs: Any) -> T:
        result = super().run(operation, *args, **kwargs)
        if is_write(operation):
            self._file.changed()
        return result


class FileMemoryStateStore(MemoryStateStore):
    """State in memory, with a copy in a file if a path is given.

    Args:
        url: ``memory://`` or ``memory://name``; not beside a path.
        path: of the file, which is made with the first change. It is read with the first call. Only one process at a
            time can use it.
        auto_save: whether a change writes the file, if ``save_interval`` seconds have passed since it was written. The
            end of the process, ``close`` and ``flush`` write it in any case.
        save_interval: seconds; 0: every change.
        name: stores of one name share their data in this process; not beside a path.
        table_prefix: separates stores of one name.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        auto_save: bool = True,
        save_interval: float = 60,
        name: str | None = None,
        table_prefix: str = "praison_",
    ) -> None:
        seconds: Any = save_interval
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ConfigurationError("save_interval must be a number of seconds, 0 or above")
        self._file: _File | None = None
        if path is None:
            super().__init__(url, name=name, table_prefix=table_prefix)
            return
        if url is not None or name is not None:
            raise ConfigurationError("give a path, or a url or a name of memory that is shared, not both")
        data, prefix = open_data(None, None), check_prefix(table_prefix)
        place = local_path(os.fspath(path))
        data.tables[Entries, prefix] = entries = _Entries()
        self._file = _File(place, entries, data.lock, float(seconds) if auto_save else None)
        StepStateStore.__init__(self, _Steps(data, prefix), _FileRunner(self._file))

    def flush(self) -> None:
        """Write the file now, if there is one and anything has changed.

        Raises:
            StoreClosedError: the store is closed.
        """
        self.connect()
        if self._file is not None:
            self._file.save()
