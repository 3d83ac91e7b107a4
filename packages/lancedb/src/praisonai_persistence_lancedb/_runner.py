"""The runner: locks, retries and errors."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from praisonai_persistence.errors import BackendError, PersistenceError, StoreClosedError
from praisonai_persistence.steps import is_write, run
from praisonai_persistence.stores import Runner
from praisonai_persistence_lancedb._database import wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_lancedb._database import Database

__all__ = ["LanceRunner"]

P = ParamSpec("P")
T = TypeVar("T")


class LanceRunner(Runner):
    """Runs operations whose steps yield functions, or coroutine functions, of a [Database][].

    Writers come one by one, also those of other processes. Readers wait for nobody; each request sees the newest
    version.

    Args:
        database: where.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connected = False
        self._closed = False

    def connect(self) -> None:
        """See [Runner.connect][]."""
        if self._closed:
            raise StoreClosedError("this store is closed")
        if not self._connected:
            self._database.connect()
            self._connected = True

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        self.connect()
        if is_write(operation):
            with self._database.lock():
                return run(operation(*args, **kwargs), self._perform)
        self._database.check()
        try:
            return run(operation(*args, **kwargs), self._perform)
        except BackendError:
            # Another process may have dropped or compacted what was being read.
            self._database.forget()
            return run(operation(*args, **kwargs), self._perform)

    def _perform(self, request: Callable[[Database], Any]) -> Any:
        try:
            answer = request(self._database)
            return wait(answer) if inspect.iscoroutine(answer) else answer
        except PersistenceError:
            raise
        except Exception as error:
            self._database.check()
            # No text of the error: it may quote what was to be stored.
            raise BackendError(f"LanceDB failed in {self._database.path}: {type(error).__name__}") from error

    def close(self) -> None:
        """See [Runner.close][]."""
        self._closed = True
        self._database.forget()
