"""Sync callers of async stores, async callers of sync stores.

[as_sync][] makes a store with awaited methods usable from anywhere: plain scripts, threads, and code that a running
event loop has called (a web handler, a notebook). Its calls run on the one event loop of the bridge, in a thread of its
own; the loop of the caller, if there is one, stands still meanwhile, as in any sync call. [as_async][] is the reverse:
whole calls run on threads, and the caller's loop goes on.

Both return real stores of their kind, so ``isinstance`` decides about them as about any other.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from praisonai_persistence._closing import AsyncClosing
from praisonai_persistence._forks import renew_in_child
from praisonai_persistence._latch import Latch
from praisonai_persistence._loops import drain
from praisonai_persistence._store import AsyncStore, BaseStore, SyncStore
from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
from praisonai_persistence.drivers.driver import GRACE
from praisonai_persistence.errors import InvalidValueError, StoreClosedError, UnsupportedOperationError
from praisonai_persistence.knowledge import AsyncKnowledgeStore, KnowledgeStore
from praisonai_persistence.state import AsyncStateStore, StateStore
from praisonai_persistence.stores.runners import Runner, ThreadRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

__all__ = ["Threads", "as_async", "as_sync", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")

_PART = 100
"""How many items of an iteration cross the bridge at a time."""
_LAST_WAIT = 5.0
"""Seconds that the end of the process waits for the end of the loop."""


# -------------------------------------------------------------------------------------------------- the loop's thread


class _Loop:
    """One event loop in one daemon thread, started by the first call; a forked child starts its own."""

    def __init__(self) -> None:
        self._left_behind: list[asyncio.AbstractEventLoop] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._renew()
        renew_in_child(self)
        atexit.register(self._stop)

    def _renew(self) -> None:
        if self._loop is not None:
            # Its thread is the parent's, and so is what its selector watches: it is neither used nor closed here.
            self._left_behind.append(self._loop)
        self._lock = threading.RLock()  # a finalizer may call while this thread starts the loop
        self._loop = self._thread = None

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is not None:
            return loop
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_serve, args=(loop,), name="praisonai-persistence-bridge", daemon=True)
                try:
                    thread.start()
                    if self._thread is not None:  # a finalizer's call inside of this one was first
                        loop.call_soon_threadsafe(loop.stop)
                    else:
                        self._thread, self._loop = thread, loop
                except RuntimeError as error:
                    loop.close()
                    raise UnsupportedOperationError(
                        "no thread can be started for the bridge: the process is about to end"
                    ) from error
                except BaseException:  # an interrupt; if the thread has started, it ends
                    loop.call_soon_threadsafe(loop.stop)
                    raise
            return cast("asyncio.AbstractEventLoop", self._loop)

    def _stop(self) -> None:
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_LAST_WAIT)

    def run(self, function: Callable[..., Awaitable[T]], args: Any, kwargs: Any) -> T:
        """See [run_sync][]."""
        loop = self._running()
        thread = self._thread
        if thread is not None and thread.ident == threading.get_ident():
            raise UnsupportedOperationError(
                "a sync method of an async store was called on the bridge's own event loop, where it would wait for "
                "itself: await the async store there"
            )
        call = _Call(loop, function, args, kwargs)
        try:
            # An interrupt may come as soon as the call is handed over, before this line has ended.
            # A context of its own: what the call sets in it stays there, as in any task.
            loop.call_soon_threadsafe(call.begin, context=contextvars.copy_context())
            return cast("T", call.answer())
        except BaseException:
            # An interrupted wait: KeyboardInterrupt, or a signal handler that raises. What was begun is called off and
            # waited for: afterwards it is done or not done, unless it does not end in the time that there is for that.
            if not call.ended.is_set():
                loop.call_soon_threadsafe(call.cancel)
                call.ended.wait(GRACE)
            raise


class _Call:
    """One call on its way over the bridge."""

    __slots__ = ("_args", "_error", "_function", "_kwargs", "_loop", "_result", "_task", "ended")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, function: Callable[..., Awaitable[Any]], args: Any, kwargs: Any
    ) -> None:
        self.ended = Latch()
        self._error: BaseException | None = None
        self._result: Any = None
        self._loop = loop
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._task: asyncio.Task[None] | None = None

    def answer(self) -> Any:
        """Wait for the end; return the result or raise the error."""
        self.ended.wait()
        try:
            if self._error is not None:
                raise self._error
        finally:
            self._error = None  # its traceback holds the frame that holds this
        return self._result

    def begin(self) -> None:
        """Start it; on the loop."""
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._after)

    def cancel(self) -> None:
        """Call it off; on the loop, after ``begin`` or instead of it."""
        if self._task is None:
            self._called_off()
        else:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            self._result = await self._function(*self._args, **self._kwargs)
        except BaseException as error:  # noqa: BLE001  it is the caller's; SystemExit would end the loop for all
            self._error = error
        self.ended.set()

    def _after(self, task: asyncio.Task[None]) -> None:
        if not self.ended.is_set():  # called off before its first step
            self._called_off()

    def _called_off(self) -> None:
        self._error = asyncio.CancelledError()
        self.ended.set()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        drain(loop)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


_bridge = _Loop()


def run_sync(function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a coroutine function on the bridge's loop and return what it returns.

    Works in any thread, also inside a running event loop. It sees a copy of the caller's context variables; its
    exceptions are raised here. An interrupted wait cancels it, and returns once it has ended, or after 10 seconds.

    Raises:
        UnsupportedOperationError: called on the bridge's own loop, where waiting would never end; or when the process
            is ending.
    """
    return _bridge.run(function, args, kwargs)


# -------------------------------------------------------------------------------------------------------- the threads


class _Calls(Runner):
    """Takes plain functions where a runner takes operations, so that ``ThreadRunner`` can carry them."""

    def __init__(self, on_close: Callable[[], None]) -> None:
        self._on_close = on_close

    def connect(self) -> None:
        return

    def run(self, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return operation(*args, **kwargs)

    def close(self) -> None:
        self._on_close()


class Threads(AsyncClosing):
    """Runs sync functions for async callers on threads of its own, with the caller's context variables.

    A function that has begun cannot be stopped: a cancelled caller gets its ``CancelledError`` once it has ended, or
    after 10 seconds.

    Args:
        threads: how many may run at the same time.
        on_close: called on a thread by the first ``close``.
    """

    def __init__(self, threads: int = 8, on_close: Callable[[], None] = lambda: None) -> None:
        if threads < 1:
            raise InvalidValueError(f"threads must be above 0, not {threads!r}")
        self._runner = ThreadRunner(_Calls(on_close), threads)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns.

        Raises:
            StoreClosedError: after ``close``.
        """
        context: Any = contextvars.copy_context().run
        return cast("T", await self._runner.run(context, function, *args, **kwargs))

    async def close(self) -> None:
        """End the threads. Calling it again is harmless."""
        await self._runner.close()


# ------------------------------------------------------------------------------------------------------- the bridged


class _Over:
    """A store of one mode over a store of the other."""

    def __init__(self, store: SyncStore | AsyncStore) -> None:
        self._store: Any = store
        self.capabilities = store.capabilities
        self.backend = store.backend

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._store!r}>"

    def expect_existing(self) -> None:
        self._store.expect_existing()

    def __getattr__(self, name: str) -> Any:
        # What a backend has beyond its kind, such as the methods of a schema.
        if name.startswith("_"):
            raise AttributeError(name)
        return self._in_this_mode(getattr(self._store, name))

    def _in_this_mode(self, found: Any) -> Any:
        """Return an attribute of the other store; a method in this store's mode."""
        raise NotImplementedError


class _OverAsync(_Over, SyncStore):
    """A sync store whose methods run those of an async one on the bridge's loop."""

    def __init__(self, store: AsyncStore) -> None:
        super().__init__(store)
        self._closed = False

    def _in_this_mode(self, found: Any) -> Any:
        return _to_sync(self, found)

    def _call(self, name: str, args: Any, kwargs: Any) -> Any:
        if name == "close":
            self._closed = True
        elif self._closed:
            raise StoreClosedError("this store is closed")
        return run_sync(getattr(self._store, name), *args, **kwargs)

    def _iterate(self, name: str, args: Any, kwargs: Any) -> Iterator[Any]:
        if self._closed:
            raise StoreClosedError("this store is closed")
        items: AsyncIterator[Any] = getattr(self._store, name)(*args, **kwargs)
        try:
            while True:
                part, ended = run_sync(_async_part, items)
                yield from part
                if ended is not None:
                    raise ended
                if len(part) < _PART:
                    return
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                run_sync(close)


class _OverSync(_Over, AsyncStore):
    """An async store whose methods run those of a sync one on threads."""

    def __init__(self, store: SyncStore, threads: int) -> None:
        super().__init__(store)
        self._threads = Threads(threads, store.close)

    def _in_this_mode(self, found: Any) -> Any:
        return _to_async(self._threads, found)

    async def _call(self, name: str, args: Any, kwargs: Any) -> Any:
        if name == "close":
            return await self._threads.close()
        return await self._threads.run(getattr(self._store, name), *args, **kwargs)

    async def _iterate(self, name: str, args: Any, kwargs: Any) -> AsyncIterator[Any]:
        items: Iterator[Any] = iter(await self._threads.run(getattr(self._store, name), *args, **kwargs))
        try:
            while True:
                part, ended = await self._threads.run(_sync_part, items)
                for item in part:
                    yield item
                if ended is not None:
                    raise ended
                if len(part) < _PART:
                    return
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                with contextlib.suppress(StoreClosedError):  # meanwhile; its iterations ended with it
                    await self._threads.run(close)


async def _async_part(items: AsyncIterator[Any]) -> tuple[list[Any], Exception | None]:
    """Return the next items, fewer than a part at the end, and what was raised after them."""
    part: list[Any] = []
    try:
        async for item in items:
            part.append(item)
            if len(part) == _PART:
                break
    except Exception as error:  # noqa: BLE001  raised behind the items
        return part, error
    return part, None


def _sync_part(items: Iterator[Any]) -> tuple[list[Any], Exception | None]:
    part: list[Any] = []
    try:
        for item in items:
            part.append(item)
            if len(part) == _PART:
                break
    except Exception as error:  # noqa: BLE001  raised behind the items
        return part, error
    return part, None


def _to_sync(store: _OverAsync, value: Any) -> Any:
    if not inspect.iscoroutinefunction(value):
        return value

    @functools.wraps(value)
    def method(*args: Any, **kwargs: Any) -> Any:
        return store._call(value.__name__, args, kwargs)

    return method


def _to_async(threads: Threads, value: Any) -> Any:
    if not inspect.isroutine(value):
        return value

    @functools.wraps(value)
    async def method(*args: Any, **kwargs: Any) -> Any:
        return await threads.run(value, *args, **kwargs)

    return method


def _bridged(name: str, base: type[Any], over: type[Any], asynchronous: type[Any]) -> type[Any]:
    """Return a class of the interface ``base`` whose every method goes through ``over._call`` or ``over._iterate``."""

    def bridge(method: str) -> Callable[..., Any]:
        iterates = not inspect.iscoroutinefunction(getattr(asynchronous, method))

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return self._iterate(method, args, kwargs) if iterates else self._call(method, args, kwargs)

        async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await self._call(method, args, kwargs)

        own = acall if over is _OverSync and not iterates else call
        functools.update_wrapper(own, getattr(base, method), updated=())
        return own

    methods = {
        method: bridge(method)
        for method in dir(base)
        if not method.startswith("_") and not hasattr(BaseStore, method) and inspect.isfunction(getattr(base, method))
    }
    space = {"__module__": __name__, "__doc__": over.__doc__, **methods}
    return type(name, (over, base), space)


_SYNC: dict[Any, type[Any]] = {
    AsyncConversationStore: _bridged("SyncConversationStore", ConversationStore, _OverAsync, AsyncConversationStore),
    AsyncKnowledgeStore: _bridged("SyncKnowledgeStore", KnowledgeStore, _OverAsync, AsyncKnowledgeStore),
    AsyncStateStore: _bridged("SyncStateStore", StateStore, _OverAsync, AsyncStateStore),
}
_ASYNC: dict[Any, type[Any]] = {
    ConversationStore: _bridged("ThreadConversationStore", AsyncConversationStore, _OverSync, AsyncConversationStore),
    KnowledgeStore: _bridged("ThreadKnowledgeStore", AsyncKnowledgeStore, _OverSync, AsyncKnowledgeStore),
    StateStore: _bridged("ThreadStateStore", AsyncStateStore, _OverSync, AsyncStateStore),
}


@overload
def as_sync(store: ConversationStore | AsyncConversationStore) -> ConversationStore: ...
@overload
def as_sync(store: KnowledgeStore | AsyncKnowledgeStore) -> KnowledgeStore: ...
@overload
def as_sync(store: StateStore | AsyncStateStore) -> StateStore: ...
@overload
def as_sync(store: SyncStore | AsyncStore) -> SyncStore: ...
def as_sync(store: Any) -> Any:
    """Return a sync store on the data of ``store``: itself if it is one, else one over the bridge's loop.

    What is returned and ``store`` are one: closing one closes the other. An async driver belongs to one loop, so use
    ``store`` itself on no other loop any more.

    Raises:
        InvalidValueError: ``store`` is no store.
    """
    return _in_mode(store, SyncStore, _SYNC, ())


@overload
def as_async(store: ConversationStore | AsyncConversationStore, threads: int = 8) -> AsyncConversationStore: ...
@overload
def as_async(store: KnowledgeStore | AsyncKnowledgeStore, threads: int = 8) -> AsyncKnowledgeStore: ...
@overload
def as_async(store: StateStore | AsyncStateStore, threads: int = 8) -> AsyncStateStore: ...
@overload
def as_async(store: SyncStore | AsyncStore, threads: int = 8) -> AsyncStore: ...
def as_async(store: Any, threads: int = 8) -> Any:
    """Return an async store on the data of ``store``: itself if it is one, else one that runs its calls on threads.

    What is returned and ``store`` are one: closing one closes the other.

    Args:
        store: of any kind.
        threads: how many calls may run at the same time.

    Raises:
        InvalidValueError: ``store`` is no store, or ``threads`` is not above 0.
    """
    return _in_mode(store, AsyncStore, _ASYNC, (threads,))


def _in_mode(store: Any, wanted: type[Any], classes: dict[Any, type[Any]], arguments: Any) -> Any:
    if isinstance(store, wanted):
        return store
    for interface, over in classes.items():
        if isinstance(store, interface):
            return over(store, *arguments)
    raise InvalidValueError(f"{type(store).__name__} is no store of this project's interfaces")
