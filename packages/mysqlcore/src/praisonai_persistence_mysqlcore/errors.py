"""What the drivers' errors mean; PyMySQL and aiomysql raise the same ones."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pymysql.err import MySQLError, OperationalError

from praisonai_persistence.errors import BackendError, ConnectionFailedError, PersistenceError, SerializationError
from praisonai_persistence.urls import mask
from praisonai_persistence_sql import SilentError

__all__ = [
    "DUPLICATE",
    "INSIDERS",
    "NO_SUCH_TABLE",
    "DriverError",
    "UndoneError",
    "classify",
    "is_lost",
    "no_answer",
    "number_of",
    "refused",
    "timed_out",
    "translate",
]

DriverError = MySQLError
INSIDERS = frozenset({"pymysql", "aiomysql", "singlestoredb", "cryptography", "uvloop"})
"""Where errors of the drivers are raised; others came from outside."""
DUPLICATE = 1062
NO_SUCH_TABLE = 1146

_UNDONE = frozenset({1020, 1205, 1213})  # changed since last read, lock wait timeout, deadlock
# The connection broke, the server shuts down or has killed it, or it was closed here.
_LOST = frozenset({0, 1053, 1079, 1152, 1158, 1159, 1160, 1161, 1927, 2006, 2013, 2014, 2055, 4031})
_UNREACHABLE = frozenset({1040, 1129, 1130, 1203, 1226, 2001, 2002, 2003, 2004, 2005, 2012})
_REFUSED = {
    1044: "the user has no right to this database",
    1045: "wrong user or password",
    1049: "there is no such database: create it first, this package creates tables only",
    1130: "the server takes no connections from this host",
    1040: "the server has no connection left: lower max_size, or raise its max_connections",
    1698: "wrong user or password",
    2026: "TLS: the server has none, or its certificate is not trusted (see the option tls)",
    2059: "the server asks for an authentication plugin that the driver does not have",
}
_DENIED = {
    1142: "the user lacks a right on the tables (create_schema=False needs no CREATE)",
    1227: "the user lacks a right",
    1290: "the server is read-only",
    1836: "the server is read-only",
    1792: "the server is read-only",
}
_TOO_LARGE = frozenset({1118, 1153, 1301, 1406, 2020})


class UndoneError(OperationalError):  # type: ignore[misc]  # has no types
    """There is no connection, or it was lost before its transaction was told to commit: nothing of it happened."""


def number_of(error: BaseException) -> int:
    """Return the server's or client's number of an error; -1: it has none."""
    number: Any = error.args[0] if error.args else -1
    if isinstance(number, int):
        return number
    return 0 if "Not connected" in str(number) or "Cancelled" in str(number) else -1  # aiomysql, of a closed one


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone."""
    if isinstance(error, UndoneError):
        return True
    if isinstance(error, MySQLError):
        return number_of(error) in _LOST
    return isinstance(error, (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError))


def timed_out(error: BaseException) -> bool:
    """Whether PyMySQL waited for the server for too long."""
    while True:
        if isinstance(error, TimeoutError) or isinstance(getattr(error, "original_exception", None), TimeoutError):
            return True
        inner = error.__cause__ or error.__context__
        if not isinstance(error, MySQLError) or inner is None:
            return False
        error = inner


def no_answer(place: str, seconds: float, *, sent: bool) -> SilentError:
    """Return the error for a server that did not answer.

    Args:
        place: the server.
        seconds: it was waited for.
        sent: whether a request was under way.
    """
    return SilentError(f"{place} did not answer within {seconds:g} seconds", sent=sent)


def classify(error: Exception) -> Literal["repeat", "lost", "other"]:
    """Say what an error means."""
    number = number_of(error) if isinstance(error, MySQLError) else -1
    if isinstance(error, UndoneError) or number in _UNDONE:
        return "repeat"
    return "lost" if is_lost(error) else "other"


def refused(error: Exception, place: str, *, was_there: bool) -> Exception:
    """Return what to raise ``from`` an error of connecting.

    A server that was there before may be restarting, and nothing was sent to it, so all may be repeated. One that never
    answered may be somewhere else: no use to try again.
    """
    if was_there and (is_lost(error) or number_of(error) in _UNREACHABLE):
        return UndoneError(*error.args)
    return translate(error, place)


def translate(error: Exception, place: str) -> PersistenceError:
    """Return an error in our words; what the server says is kept, but for what looks like a secret or a statement."""
    number = number_of(error) if isinstance(error, MySQLError) else -1
    if number in _REFUSED:
        return ConnectionFailedError(f"{place} refused the connection ({number}): {_REFUSED[number]}")
    if number in _UNREACHABLE or is_lost(error):
        return ConnectionFailedError(f"{place} does not answer, or went away ({_text(error)})")
    if number in _DENIED:
        return BackendError(f"{place}: {_DENIED[number]} ({number})")
    if number in _TOO_LARGE:
        return SerializationError(f"{place} takes no value of that size ({number}); nothing was written")
    return BackendError(f"{place}: {type(error).__name__} {number if number >= 0 else ''}".rstrip())


def _text(error: Exception) -> str:
    return mask(str(error.args[-1] if error.args else type(error).__name__))
