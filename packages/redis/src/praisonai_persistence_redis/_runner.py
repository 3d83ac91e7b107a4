"""Runners on the driver's two clients: connect, look at the server, repeat what is safe, say errors in our words.

A step yields a function of the client, ``lambda client: client.execute_command(...)``; the sync runner calls it, the
async one awaits what it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from redis.backoff import ExponentialWithJitterBackoff

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import ConfigurationError, StoreClosedError
from praisonai_persistence.steps import Steps, is_write, run, run_async
from praisonai_persistence.stores import AsyncRunner, Runner
from praisonai_persistence.stores.together import Together
from praisonai_persistence_redis._errors import DRIVER_ERRORS, classify, translate
from praisonai_persistence_redis._exchange import Command, exchange, exchange_all, exchange_async, fit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from praisonai_persistence.stores.together import Outcome
    from praisonai_persistence_redis._settings import Settings

__all__ = ["AsyncRedisRunner", "RedisRunner"]

P = ParamSpec("P")
T = TypeVar("T")

_BACKOFF = ExponentialWithJitterBackoff(cap=1.0, base=0.01)


class _Attempts:
    """How long to wait before an operation is tried again; one object for one operation."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._failures = 0

    def wait(self, error: Exception, operation: Callable[..., Any], *, worked: bool) -> float | None:
        """Return the seconds to wait, or None to give up."""
        kind = classify(error)
        again = kind == "repeat" or (worked and (kind == "unsent" or (kind == "lost" and not is_write(operation))))
        self._failures += 1
        wait = _BACKOFF.compute(self._failures)
        return wait if again and time.monotonic() + wait < self._end else None


def _parts(client: Any) -> list[Any]:
    """Return the client with those of the sentinels that it asks."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [client] if manager is None else [client, *manager.sentinels]


class _Common:
    """What both colours are given.

    Args:
        settings: how to connect; None with a ``client``.
        client: the caller's own, which is not closed.
        probe: an operation that looks at the server, with the first connection.
        retry_timeout: seconds to go on trying, while the server is away, what is safe to repeat.
    """

    _asynchronous: bool

    def __init__(
        self, settings: Settings | None, client: Any, probe: Callable[[], Steps[None]], retry_timeout: float
    ) -> None:
        if client is not None and inspect.iscoroutinefunction(client.execute_command) is not self._asynchronous:
            wanted = "redis.asyncio" if self._asynchronous else "redis"
            raise ConfigurationError(f"this store needs a client of {wanted}, not {type(client).__module__}")
        self._settings = settings
        self._injected = client
        self._probe = probe
        self._retry_timeout = retry_timeout
        self._plain = settings is not None and not settings.cluster
        self._where = "the given client's address" if settings is None else settings.where
        self._closed = False

    def _new_client(self) -> Any:
        return self._injected if self._settings is None else self._settings.client(asynchronous=self._asynchronous)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreClosedError("this store is closed")


class RedisRunner(_Common, Runner):
    """Runs operations on ``redis.Redis`` or ``redis.RedisCluster``."""

    _asynchronous = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._client: Any = None
        self._ready = False
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        if self._injected is None:  # the parent's connections stay the parent's
            self._client, self._ready = None, False

    def connect(self) -> None:
        """See [Runner.connect][]."""
        self._refuse_if_closed()
        if self._ready:
            return
        with self._lock:
            self._refuse_if_closed()
            if not self._ready:
                self._attempts(self._probe)
                self._ready = True

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        if not self._ready or self._closed:
            self.connect()
        return self._attempts(operation, *args, **kwargs)

    def close(self) -> None:
        """See [Runner.close][]."""
        with self._lock:
            client, self._client, self._closed = self._client, None, True
        if client is not None and self._injected is None:
            for each in _parts(client):
                each.close()
            if hasattr(client, "connection_pool"):
                client.connection_pool.disconnect()

    def _attempts(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        attempts: _Attempts | None = None
        while True:
            try:
                return run(operation(*args, **kwargs), self._perform)
            except DRIVER_ERRORS as error:
                attempts = attempts or _Attempts(self._retry_timeout)
                wait = attempts.wait(error, operation, worked=self._ready)
                if wait is None:
                    raise translate(error, self._where) from error
            time.sleep(wait)

    def _perform(self, request: Callable[[Any], Any]) -> Any:
        client = self._client
        if client is None:
            self._refuse_if_closed()
            client = self._client = self._new_client()  # only under the lock of connect
        return exchange(client, request) if self._plain and type(request) is Command else request(client)


class _Loop:
    """The client of one event loop."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.lock = asyncio.Lock()
        self.ready = False


async def _to_its_end(answer: Awaitable[T]) -> T:
    task = asyncio.ensure_future(answer)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # The server has the command, or may have: whoever cancelled hears of it when it is done.
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # so that nobody complains that it was not looked at
        raise


async def _exchange(here: _Loop, command: Command) -> Any:
    return await _to_its_end(exchange_async(here.client, command))


async def _exchange_all(here: _Loop, commands: list[Command]) -> list[Outcome]:
    return await _to_its_end(exchange_all(here.client, commands))


class AsyncRedisRunner(_Common, AsyncRunner):
    """Runs operations on ``redis.asyncio.Redis`` or its ``RedisCluster``; each event loop has a client of its own.

    Commands that come while another one is under way go together: a connection takes many at once, and the server
    does one after the other whatever the number of connections.
    """

    _asynchronous = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self._commands: Together[_Loop, Command, Any] = Together(_exchange, _exchange_all, fit)

    def _here(self) -> _Loop:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            # What belongs to a loop that has ended cannot be closed any more, only let go of.
            self._loops = {other: its for other, its in self._loops.items() if not other.is_closed()}
            here = self._loops[loop] = _Loop(self._new_client())
        return here

    async def connect(self) -> None:
        """See [AsyncRunner.connect][]."""
        self._refuse_if_closed()
        here = self._here()
        if here.ready:
            return
        async with here.lock:
            self._refuse_if_closed()
            if not here.ready:
                await self._attempts(here, self._initialise)
                await self._attempts(here, self._probe)
                here.ready = True

    @staticmethod
    def _initialise() -> Steps[None]:
        # A cluster's client has to know its nodes before it can be asked for the one of a key.
        yield lambda client: client.initialize()

    async def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [AsyncRunner.run][]."""
        self._refuse_if_closed()
        here = self._here()
        if not here.ready:
            await self.connect()
        return await self._attempts(here, operation, *args, **kwargs)

    async def close(self) -> None:
        """See [AsyncRunner.close][]."""
        if self._closed:
            return
        self._closed = True
        here, self._loops = self._loops.get(asyncio.get_running_loop()), {}
        if here is not None and self._injected is None:
            for each in _parts(here.client):
                await each.aclose()
            if hasattr(here.client, "connection_pool"):
                await here.client.connection_pool.disconnect()

    async def _attempts(self, here: _Loop, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        async def perform(request: Callable[[Any], Any]) -> Any:
            if self._plain and type(request) is Command:
                return await self._commands.go(here, request)
            return await _to_its_end(request(here.client))

        attempts: _Attempts | None = None
        while True:
            try:
                return await run_async(operation(*args, **kwargs), perform)
            except DRIVER_ERRORS as error:
                attempts = attempts or _Attempts(self._retry_timeout)
                wait = attempts.wait(error, operation, worked=here.ready)
                if wait is None:
                    raise translate(error, self._where) from error
            await asyncio.sleep(wait)
