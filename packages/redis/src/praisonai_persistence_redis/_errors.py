"""What the driver's errors mean."""

from __future__ import annotations

from typing import Literal

from redis import exceptions

from praisonai_persistence.drivers.outside import outsider
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    WrongTypeError,
)
from praisonai_persistence_rediscore import without_arguments

__all__ = ["DRIVER_ERRORS", "classify", "is_silence", "raised_outside", "translate"]

DRIVER_ERRORS = (exceptions.RedisError, exceptions.RedisClusterException, OSError)

_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
# The server, or the client's own pool, said so before anything was done.
_AGAIN = (
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.MaxConnectionsError,
    exceptions.TryAgainError,
)
_NETWORK = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.RedisClusterException, OSError)
_HINTS: tuple[tuple[str, str], ...] = (
    ("WRONGPASS", "check user and password"),
    ("invalid username-password", "check user and password"),
    ("invalid password", "check user and password"),
    ("NOAUTH", "give a password: redis://:password@host"),
    ("Authentication required", "give a password: redis://:password@host"),
    ("without any password", "the server wants no password"),
    ("DB index is out of range", "the server has no database of that number"),
    ("maxmemory", "the server is full: raise its maxmemory, or remove data; nothing was written"),
    ("read only replica", "this server is a replica: connect to the primary, or through redis+sentinel://"),
    ("READONLY", "this server is a replica: connect to the primary, or through redis+sentinel://"),
    ("No connection available", "all connections are in use: raise max_size or pool_timeout"),
    ("has no permissions", "grant the user the command and the keys (ACL SETUSER)"),
    ("No permissions", "grant the user the command and the keys (ACL SETUSER)"),
    ("loading", "the server reads its data; raise retry_timeout to wait for that"),
    ("max number of clients", "the server takes no more clients: lower max_size, or raise its maxclients"),
)


def classify(error: Exception) -> Literal["repeat", "unsent", "lost", "other"]:
    """Say what an error means.

    Returns:
        ``repeat``: nothing was done, and later it may be; ``unsent``: there was no connection, so nothing was done;
        ``lost``: nobody knows whether it was done; ``other``: refused, for a reason that stays.
    """
    if isinstance(error, _REFUSED):
        return "other"
    if isinstance(error, _AGAIN) or "max number of clients" in str(error) or str(error).startswith("BUSY "):
        return "repeat"
    if isinstance(error, _NETWORK):
        return "unsent" if getattr(error, "unsent", False) else "lost"
    return "other"


def is_silence(error: Exception) -> bool:
    """Whether the server was waited for to the end of a timeout. Whoever repeats then waits as long again."""
    return isinstance(error, (exceptions.TimeoutError, TimeoutError))


def raised_outside(error: BaseException) -> BaseException | None:
    """Return what was raised into the driver from outside, if that is what an error comes from.

    What a signal handler raises while the driver waits for its socket is taken for an error of that socket when it is
    an ``OSError``, as ``TimeoutError`` is.
    """
    return outsider(error, ("redis",))


def translate(error: Exception, where: str) -> PersistenceError:
    """Return the error in our words.

    Args:
        error: the driver's, or the operating system's.
        where: the address, without secrets.
    """
    # Servers repeat the arguments of a command that they do not know, and those hold what was to be stored.
    message = without_arguments(str(error))
    if message != str(error):
        error.args = (message,)  # it is the cause of ours, and printed with it
    # Of sentinels that know no master the driver shows every object that it has.
    message = message.partition(" : <")[0].strip() or type(error).__name__
    if "WRONGTYPE" in message:
        return WrongTypeError(
            "a key holds a hash where a plain value is asked for, or the reverse; nothing was changed"
        )
    if isinstance(error, exceptions.MovedError):
        return ConfigurationError(f"the server at {where} is one of a cluster: use redis+cluster://, or cluster=True")
    if "luster mode is not enabled" in message or "cluster support disabled" in message:
        return ConfigurationError(f"the server at {where} is no cluster: leave out cluster")
    hint = next((hint for words, hint in _HINTS if words in message), None)
    text = f"Redis at {where}: {message}" + (f"; {hint}" if hint else "")
    refused = isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError))
    if refused or isinstance(error, (*_NETWORK, *_AGAIN)) or "DB index" in message or "max number of" in message:
        return ConnectionFailedError(text)
    return BackendError(text)
