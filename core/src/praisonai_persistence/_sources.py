"""Where an adapter's stores come from, and how its steps are run on them, sync and async."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence._paths import make_private
from praisonai_persistence._reach import Reach
from praisonai_persistence._requests import Has, StoreCall
from praisonai_persistence._run_hooks import RunHooks
from praisonai_persistence._store import AsyncStore, SyncStore
from praisonai_persistence.bridge import as_async, as_sync
from praisonai_persistence.errors import (
    BackendNotInstalledError,
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    StoreClosedError,
    UnknownBackendError,
    UnsupportedOperationError,
)
from praisonai_persistence.opening import check_options, mode_in
from praisonai_persistence.registry import (
    create_conversation_store,
    create_knowledge_store,
    create_state_store,
    open_conversation_store,
    open_knowledge_store,
    open_state_store,
)
from praisonai_persistence.steps import run, run_async

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from typing import Literal

    from praisonai_persistence.steps import Steps

__all__ = [
    "Given",
    "Runs",
    "Source",
    "Stores",
    "answer_later",
    "answer_now",
    "close_later",
    "close_now",
    "default_path",
    "later",
    "now",
    "source_of",
    "without_variant",
]

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", bound=RunHooks)

_CREATE: dict[str, Callable[..., Any]] = {
    "conversation": create_conversation_store,
    "knowledge": create_knowledge_store,
    "state": create_state_store,
}
_OPEN: dict[str, Callable[..., Any]] = {
    "conversation": open_conversation_store,
    "knowledge": open_knowledge_store,
    "state": open_state_store,
}


def default_path() -> Path:
    """Return where everything is kept when no database is named: ``praisonai/persistence.db`` among the user's data.

    That is in ``$XDG_DATA_HOME`` or ``~/.local/share``, on macOS in ``~/Library/Application Support``, on Windows in
    ``%LOCALAPPDATA%``; where ``PRAISONAI_HOME`` is set, ``persistence.db`` in that folder.
    """
    own = os.environ.get("PRAISONAI_HOME", "")
    if own:
        return Path(own).expanduser() / "persistence.db"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", ""))
        if not base.is_absolute():  # the specification says to ignore such a value
            base = Path.home() / ".local" / "share"
    return base / "praisonai" / "persistence.db"


# ------------------------------------------------------------------------------------------------------------- stores


class Source(NamedTuple):
    """Where a store comes from.

    Attributes:
        kind: of store.
        backend: its name, or None to take it from the URL.
        url: or None.
        options: for the backend.
        optional: whether the backend may lack this kind.
    """

    kind: str
    backend: str | None
    url: str | None
    options: Mapping[str, Any]
    optional: bool = False

    def check(self, mode: Literal["sync", "async"], also: Iterable[str] = ()) -> None:
        """Find what makes it impossible to open the store; see ``opening.check_options``."""
        check_options(self.kind, self.backend, self.url, mode, self.options, also)

    def open(self, mode: Literal["sync", "async"]) -> Any:
        options = mode_in(self.options)[1]  # what calls it decides, and both are possible
        try:
            if self.backend is not None:
                return _CREATE[self.kind](self.backend, self.url, mode, **options)
            if self.url is not None:
                return _OPEN[self.kind](self.url, mode, **options)
        except BackendNotInstalledError:
            raise
        except UnknownBackendError:
            if self.optional:
                return None
            raise
        try:
            path = default_path()
            make_private(str(path.parent))
        except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
            raise ConfigurationError(
                "no database was named, and there is no folder for the default one (no home directory, or no right to "
                "write there): give database_url, or set PRAISONAI_HOME to a folder that can be written"
            ) from error
        return _CREATE[self.kind]("sqlite", None, mode, **{"path": str(path), **options})


class Given(NamedTuple):
    """A store that was handed in."""

    kind: str
    store: Any

    def check(self, mode: Literal["sync", "async"], also: Iterable[str] = ()) -> None:
        """There is nothing to find."""

    def open(self, mode: Literal["sync", "async"]) -> Any:
        return as_sync(self.store) if mode == "sync" else as_async(self.store)


class Stores:
    """The stores of an adapter, sync or async: constructed once, by the first of many threads that need one.

    Args:
        mode: ``sync`` or ``async``.
        sources: of the kinds that there are.
        longest_wait: seconds between two tries to reach a server that stays away, at most.
    """

    def __init__(
        self, mode: Literal["sync", "async"], sources: Mapping[str, Source | Given], longest_wait: float = 30.0
    ) -> None:
        self._mode = mode
        self._sources = dict(sources)
        self._reach = {kind: Reach(f"the {kind} store", most=longest_wait) for kind in sources}
        self._stores: dict[str, Any] = {}
        self._closed = False
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()  # a finalizer may call the adapter while this thread opens a store

    def get(self, kind: str) -> Any:
        """Return the store of a kind, or None.

        Raises:
            StoreClosedError: after ``close``.
        """
        if self._closed:
            raise StoreClosedError("this adapter is closed")
        if kind in self._stores:
            return self._stores[kind]
        source = self._sources.get(kind)
        if source is None:
            return None
        with self._lock:
            if self._closed:  # meanwhile
                raise StoreClosedError("this adapter is closed")
            if kind not in self._stores:
                store = source.open(self._mode)
                if self._closed:  # by a call inside of this one
                    raise StoreClosedError("this adapter is closed")
                # Such a call may also have opened one: then that is used. This one holds nothing yet.
                return self._stores.setdefault(kind, store)
            return self._stores[kind]

    def given(self, kind: str) -> Any:
        """Return the store of a kind that was handed in, as it was; None: there is none."""
        source = self._sources.get(kind)
        return source.store if isinstance(source, Given) else None

    @property
    def opened(self) -> bool:
        """Whether there is anything to close."""
        return any(
            store is not None and isinstance(self._sources[kind], Source) for kind, store in self._stores.items()
        )

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def close(self) -> Steps[None]:
        """Close what was opened here, and let nothing be opened any more; asks for functions to be called."""
        self._closed = True
        with self._lock:  # whoever opens a store has ended
            kinds = list(self._stores)
        errors: list[Exception] = []
        for kind in kinds:
            store = self._stores.get(kind)
            if store is not None and isinstance(self._sources[kind], Source):
                try:
                    yield store.close
                except Exception as error:  # noqa: BLE001  the others are closed first
                    errors.append(error)
            # Only now: if this call is interrupted, the next one closes what is left.
            self._stores.pop(kind, None)
        if errors:
            # What was raised into this call from outside goes before what a store raised.
            raise next((error for error in errors if not isinstance(error, PersistenceError)), errors[0])

    def answer(self, request: StoreCall | Has) -> Steps[Any]:
        """Do what the hooks ask for; asks for functions to be called, and for numbers of seconds to be waited."""
        store = self.get(request.kind)
        if isinstance(request, Has):
            has = store is not None and (request.capability is None or request.capability in store.capabilities)
            return has and (request.test is None or request.test(store))
        if store is None:
            raise UnsupportedOperationError(f"this adapter has no {request.kind} store")
        reach, attempt, began = self._reach[request.kind], 0, time.monotonic()
        while True:
            number = reach.begin()
            try:
                found = yield functools.partial(getattr(store, request.method), *request.args, **request.kwargs)
            except ConnectionFailedError as error:
                pause = reach.failed(number, attempt, error, time.monotonic() - began)
                if pause is None:
                    raise
                yield pause
                attempt += 1
            except PersistenceError as error:
                if not isinstance(error, ValueError):  # those are refusals, which need no server
                    reach.succeeded()
                raise
            else:
                reach.succeeded()
                return found


def answer_now(stores: Stores, request: StoreCall | Has) -> Any:
    """Do what the hooks ask for, on sync stores."""

    def perform(wanted: Any) -> Any:
        if isinstance(wanted, float):
            return time.sleep(wanted)
        found = wanted()
        return list(found) if hasattr(found, "__next__") else found

    return run(stores.answer(request), perform)


async def answer_later(stores: Stores, request: StoreCall | Has) -> Any:
    """Do what the hooks ask for, on async stores."""

    async def perform(wanted: Any) -> Any:
        if isinstance(wanted, float):
            return await asyncio.sleep(wanted)
        found = wanted()
        return [item async for item in found] if hasattr(found, "__anext__") else await found

    return await run_async(stores.answer(request), perform)


def close_now(stores: Stores) -> None:
    """Close sync stores; all of them, also when one cannot be closed."""
    run(stores.close(), lambda close: close())


async def close_later(stores: Stores) -> None:
    """Close async stores; all of them, also when one cannot be closed."""
    await run_async(stores.close(), lambda close: close())


# ----------------------------------------------------------------------------------------------------- methods of steps


class Runs(Protocol):
    """What has steps and runs them."""

    _hooks: Any

    def _run(self, steps: Steps[T]) -> T: ...

    async def _arun(self, steps: Steps[T]) -> T: ...


def now(steps: Callable[Concatenate[H, P], Steps[T]]) -> Callable[Concatenate[Any, P], T]:
    """Return a method that does the steps at once."""

    @functools.wraps(steps)
    def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(steps(self._hooks, *args, **kwargs))

    return method


def later(steps: Callable[Concatenate[H, P], Steps[T]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Return a method that does the steps when it is awaited."""

    @functools.wraps(steps)
    async def method(self: Runs, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._arun(steps(self._hooks, *args, **kwargs))

    return method


def source_of(source: Source, store: Any) -> Source | Given | None:
    """Return a source, or the store that was given instead; None when there is neither.

    Raises:
        ConfigurationError: both, or the store is of another kind.
    """
    named = source.url is not None or source.backend is not None
    if store is None:
        return source if named else None
    if named:
        raise ConfigurationError(f"the {source.kind} store was given, and a URL or a backend for another one")
    if not isinstance(store, SyncStore | AsyncStore) or store.kind != source.kind:
        raise ConfigurationError(f"{type(store).__name__} is no {source.kind} store")
    return Given(source.kind, store)


def without_variant(url: str) -> str:
    """Return the URL without what stands behind ``+`` in its scheme, for that names a driver of conversations."""
    scheme, separator, rest = url.partition("://")
    return scheme.partition("+")[0] + separator + rest if separator else url
