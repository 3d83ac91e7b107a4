"""Runners on the driver's connections: look at the server, repeat what is safe, say errors in our words.

A step yields a function of the client, ``lambda client: client.execute_command(...)``; the sync runner calls it, the
async one awaits what it returns.
"""

from __future__ import annotations

import inspect
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from redis.backoff import ExponentialWithJitterBackoff

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import ConfigurationError, PersistenceError, StoreClosedError
from praisonai_persistence.steps import Pause, Steps, is_write, run
from praisonai_persistence.stores import Runner
from praisonai_persistence_redis._errors import DRIVER_ERRORS, classify, is_silence, raised_outside, translate
from praisonai_persistence_redis._lending import lender_of
from praisonai_persistence_rediscore import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence_redis._connections import Line
    from praisonai_persistence_redis._settings import Settings

__all__ = ["Attempts", "Common", "RedisRunner"]

P = ParamSpec("P")
T = TypeVar("T")

_BACKOFF = ExponentialWithJitterBackoff(cap=1.0, base=0.01)

_of_parents: list[Any] = []
"""What belongs to the process that we were forked from; kept, so that nobody closes it here."""


class Attempts:
    """How long to wait before an operation is tried again; one object for one operation.

    Args:
        seconds: how long to go on trying.
        patient: whether what has met silence is tried again, too: the next attempt may go to another server.
    """

    def __init__(self, seconds: float, *, patient: bool) -> None:
        self._end = time.monotonic() + seconds
        self._patient = patient
        self._failures = 0

    def wait(self, error: Exception, operation: Callable[..., Any], *, worked: bool) -> float | None:
        """Return the seconds to wait, or None to give up."""
        kind = classify(error)
        again = kind == "repeat" or (worked and (kind == "unsent" or (kind == "lost" and not is_write(operation))))
        if is_silence(error) and not self._patient:
            again = False  # the caller has waited for as long as was said
        self._failures += 1
        wait = _BACKOFF.compute(self._failures)
        return wait if again and time.monotonic() + wait < self._end else None


class Common:
    """What the sync and the async runner are given.

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
        self._where = "the given client's address" if settings is None else settings.where
        self._closed = False

    def _new_attempts(self) -> Attempts:
        return Attempts(self._retry_timeout, patient=self._settings is not None and self._settings.service is not None)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreClosedError("this store is closed")


def _perform(line: Line, request: Callable[[Any], Any]) -> Any:
    return line.exchange(request.arguments) if type(request) is Command else _ask(line, request)


def _ask(client: Any, request: Any) -> Any:
    return time.sleep(request.seconds) if type(request) is Pause else request(client)


class RedisRunner(Common, Runner):
    """Runs operations on connections of ``redis``, or on a client of its clusters. An operation has one for itself."""

    _asynchronous = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._ready = False
        self._lender = lender_of(self._settings, self._injected)
        lines = self._settings is not None and not self._settings.cluster
        self._perform: Callable[[Any, Any], Any] = _perform if lines else _ask
        renew_in_child(self)

    def _renew(self) -> None:
        _of_parents.append(self._lender)
        self._ready = self._ready and self._injected is not None
        self._lender = lender_of(self._settings, self._injected)
        if self._closed:
            self._lender.close()

    def connect(self) -> None:
        """See [Runner.connect][]."""
        self._refuse_if_closed()
        # Not under a lock: whoever waits for another one's attempt would wait for two timeouts, or for eight.
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
        self._closed = True
        self._lender.close()

    def _attempts(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        attempts: Attempts | None = None
        perform = self._perform

        def work(client: Any) -> T:
            return run(operation(*args, **kwargs), partial(perform, client))

        while True:
            try:
                return self._lender.use(work)
            except PersistenceError:  # some are an OSError, too
                raise
            except DRIVER_ERRORS as error:
                outside = raised_outside(error)
                if outside is not None:
                    raise outside from None
                if is_silence(error):
                    self._lender.forget_idle()
                attempts = attempts or self._new_attempts()
                wait = attempts.wait(error, operation, worked=self._ready)
                if wait is None:
                    raise translate(error, self._where) from error
            time.sleep(wait)
