"""Where a store's file is, and how it is opened."""

from __future__ import annotations

from praisonai_persistence._checks import SECONDS, is_seconds
from praisonai_persistence._declare import NamedTuple
from praisonai_persistence._paths import local_path
from praisonai_persistence.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any

__all__ = ["Location", "locate"]

_SCHEMES = ("sqlite", "async_sqlite", "aiosqlite", "sqlite_async")


class Location(NamedTuple):
    """What stores of one process must agree on to share their connections.

    Attributes:
        path: absolute; None: a database in memory.
        synchronous: ``FULL`` or ``NORMAL``.
        lock_timeout: seconds to wait for other processes' write transactions.
    """

    path: str | None
    synchronous: str
    lock_timeout: float


def locate(url: str | None, path: str | os.PathLike[str] | None, synchronous: str, lock_timeout: float) -> Location:
    """Check what a store was given; touches no file.

    Raises:
        ConfigurationError: neither or both of url and path, a malformed URL, or an option that cannot be.
    """
    if (url is None) == (path is None):
        raise ConfigurationError(
            "give either url='sqlite:///agent.db' or path='agent.db' ('sqlite://' and ':memory:' stay in memory)"
        )
    name: Any
    if url is not None:
        from praisonai_persistence.urls import check_parameters, file_path

        name, parameters = file_path(url, _SCHEMES)
        synchronous = parameters.pop("synchronous", synchronous)
        given = parameters.pop("lock_timeout", lock_timeout)
        try:
            lock_timeout = float(given)
        except ValueError:
            raise ConfigurationError("lock_timeout in the URL must be a number of seconds") from None
        if parameters:
            check_parameters("sqlite", sorted(parameters), ("synchronous", "lock_timeout"))
        if name == "":
            name = ":memory:"
    else:
        name = path
    file = None if name == ":memory:" else local_path(name)
    synchronous = str(synchronous).upper()
    if synchronous not in {"FULL", "NORMAL"}:
        raise ConfigurationError(
            "synchronous must be FULL (durable) or NORMAL (may lose the last commits on power loss)"
        )
    if not is_seconds(lock_timeout):
        raise ConfigurationError(f"lock_timeout must be {SECONDS}")
    return Location(file, synchronous, float(lock_timeout))
