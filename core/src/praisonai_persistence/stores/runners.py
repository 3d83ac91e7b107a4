"""Runners: what stands between a store's steps and its driver.

A runner owns the connections, the transaction around an operation, retries, and closing. The stores of this package
call nothing else.

Only async runners import asyncio and thread pools, because that takes longer than all other imports here.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from functools import partial

from praisonai_persistence._closing import Single
from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import (
    ConnectionFailedError,
    StoreClosedError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import Any, Generic, ParamSpec, TypeVar

    from praisonai_persistence.steps import Steps

    P = ParamSpec("P")
    T = TypeVar("T")
    S = TypeVar("S")
    R = TypeVar("R", bound="Expecting")
else:
    S = R = None

    class Generic:
        """As in ``typing``, which takes long to import: parameters are for type checkers only."""

        def __class_getitem__(cls, parameters: object) -> type:
            return cls


__all__ = ["AsyncRunner", "AsyncStepStore", "DirectRunner", "Runner", "StepStore", "ThreadRunner"]


class Expecting:
    """Whether the store must exist, for runners of both modes.

    Attributes:
        must_exist: whether a store that does not exist must not be created.
    """

    must_exist = False

    def expect_existing(self) -> None:
        """Do not create a store that does not exist, from now on; see ``BaseStore.expect_existing``."""
        self.must_exist = True


class Runner(Expecting, Single, ABC):
    """Runs operations for sync callers; safe to share between threads."""

    @abstractmethod
    def connect(self) -> None:
        """Connect if that has not happened yet.

        Raises:
            ConnectionFailedError: the engine cannot be reached or refuses us.
            StoreClosedError: after ``close``.
        """

    @abstractmethod
    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation, all of it or nothing, connecting first if need be.

        ``steps.is_write(operation)`` tells whether it may change something. The operation may be started again
        if it is safe to repeat.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what was opened here, and nothing that was handed in. Harmless when repeated."""


class AsyncRunner(Expecting, Single, ABC):
    """[Runner][] for async callers; safe to share between the tasks of a loop."""

    @abstractmethod
    async def connect(self) -> None:
        """See [Runner.connect][]."""

    @abstractmethod
    async def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""

    @abstractmethod
    async def close(self) -> None:
        """See [Runner.close][]."""


class _OnRunner(Generic[S, R]):
    """What step stores of all kinds and both modes have.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

    def __init__(self, steps: S, runner: R) -> None:
        self._steps = steps
        self._runner = runner

    def expect_existing(self) -> None:
        self._runner.expect_existing()


class StepStore(_OnRunner[S, Runner]):
    """What step stores of all kinds have beside the methods of their kind; mixed in before its interface."""

    def connect(self) -> None:
        self._runner.connect()

    def close(self) -> None:
        self._runner.close()


class AsyncStepStore(_OnRunner[S, AsyncRunner]):
    """[StepStore][] for async callers."""

    async def connect(self) -> None:
        await self._runner.connect()

    async def close(self) -> None:
        await self._runner.close()


def _nothing_to_perform(request: Any) -> Any:
    raise TypeError(f"a step asked for {type(request).__name__}, but this store has no driver to perform it")


class DirectRunner(Runner):
    """For steps that ask for nothing, because they do their work themselves: memory, files.

    Args:
        on_connect: called once, before the first operation.
        on_close: called once, by the first ``close``.
        exists: whether there is a store already. None: connecting makes nothing.
        where: what errors call the place.
    """

    def __init__(
        self,
        on_connect: Callable[[], None] | None = None,
        on_close: Callable[[], None] | None = None,
        exists: Callable[[], bool] | None = None,
        where: str = "this place",
    ) -> None:
        self._on_connect = on_connect
        self._on_close = on_close
        self._exists = exists
        self._where = where
        self._connected = False
        self._closed = False
        self._released = False
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._under_way: dict[int, Any] = {}  # a lock for each thread, held by it during its operations

    def refuse_if_closed(self) -> None:
        """Raise an error after ``close``.

        Raises:
            StoreClosedError: it was called.
        """
        if self._closed:
            raise StoreClosedError("this store is closed")

    def connect(self) -> None:
        """See [Runner.connect][]."""
        self.refuse_if_closed()
        if self._connected:
            return
        with self._lock:
            if self._closed:  # meanwhile
                raise StoreClosedError("this store is closed")
            if not self._connected:  # another thread may have been first
                if self.must_exist and self._exists is not None and not self._exists():
                    raise StoreNotFoundError(f"there is no store yet: {self._where}")
                if self._on_connect is not None:
                    self._on_connect()
                self._connected = True

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        thread = threading.get_ident()
        with self._under_way.get(thread) or self._under_way.setdefault(thread, threading.RLock()):
            self.connect()
            return run(operation(*args, **kwargs), _nothing_to_perform)

    def close(self) -> None:
        """See [Runner.close][]. Called in the middle of an operation of its own thread, it waits for no other."""
        self._closed = True
        own = self._under_way.get(threading.get_ident())
        if own is None or not own._is_owned():
            for lock in list(self._under_way.values()):
                with lock:
                    pass
        with self._lock:
            if not self._released and self._on_close is not None:
                self._on_close()
            self._released = True


class ThreadRunner(AsyncRunner):
    """Runs whole operations of a sync runner on threads of its own, for engines that have no async driver.

    An operation that has begun cannot be stopped, so a cancelled caller gets its ``CancelledError`` once it has ended:
    what was cancelled is done or not done, and never still under way. The deadlines are those of the sync client.

    Args:
        runner: does the work; closed with this one.
        threads: how many operations may run at the same time.
    """

    def __init__(self, runner: Runner, threads: int = 8) -> None:
        self._runner = runner
        self._threads = threads
        self._closed = False
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None  # its threads do not survive a fork

    def _submit(self, function: Callable[[], T]) -> Future[T]:
        try:
            from concurrent.futures import ThreadPoolExecutor
        except OSError as error:
            raise ConnectionFailedError(
                f"no thread can be started, for the process can open no more files ({error.strerror})"
            ) from error

        with self._lock:  # which ``close`` takes before the threads end
            if self._closed:
                raise StoreClosedError("this store is closed")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="praisonai-persistence")
            try:
                return self._pool.submit(function)
            except RuntimeError as error:
                raise UnsupportedOperationError("no thread can be started: the process is about to end") from error

    def expect_existing(self) -> None:
        """See [Runner][]: it is the sync runner that connects."""
        super().expect_existing()
        self._runner.expect_existing()

    async def _offload(self, function: Callable[[], T]) -> T:
        import asyncio
        import contextlib

        job = self._submit(function)
        answer = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            job.cancel()  # if it has not begun
            while not answer.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([answer])
            if not answer.cancelled():
                answer.exception()  # so that nobody complains that it was not looked at
            raise

    async def connect(self) -> None:
        """See [Runner.connect][]."""
        await self._offload(self._runner.connect)

    async def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        return await self._offload(partial(self._runner.run, operation, *args, **kwargs))

    async def close(self) -> None:
        """See [Runner.close][]."""
        if self._closed:
            return
        try:
            await self._offload(self._runner.close)
        finally:
            with self._lock:
                self._closed = True
                pool, self._pool = self._pool, None
            if pool is not None:
                pool.shutdown(wait=False)
