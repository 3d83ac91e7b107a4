"""What the server's error codes mean, for both drivers.

The codes are those of PostgreSQL's manual, appendix "PostgreSQL Error Codes".
"""

from __future__ import annotations

from typing import Literal

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    SchemaError,
)

__all__ = [
    "Errors",
    "NotConnectedError",
    "check_encoding",
    "classify",
    "refuses_settings",
    "state_of",
    "translate",
]

_REPEAT = {
    "40001",  # serialization_failure: CockroachDB's way to say "again"
    "40P01",  # deadlock_detected
    "53300",  # too_many_connections
    "55P03",  # lock_not_available
    "57P03",  # cannot_connect_now: the server starts up or shuts down
}
_LOST = {
    "57P01",
    "57P02",
    "57P05",
}  # the server ended the session: shutdown, crash of another session, idle for too long
_WORDS = {  # of refusals, for a driver that hands on no code before there is a connection
    "password authentication failed": "28P01",
    "pg_hba.conf": "28000",
    "too many": "53300",
    "connection slots": "53300",
    "starting up": "57P03",
    "shutting down": "57P03",
    "recovery mode": "57P03",
    "not yet accepting": "57P03",
}
_POOLER = (
    "if this is a connection pooler (PgBouncer, Pgpool, RDS Proxy, those of Neon and Supabase), open the store with "
    "pooler=True, or add pooler=true to the URL; a pool or connections of your own must not prepare statements "
    "(psycopg: prepare_threshold=None, asyncpg: statement_cache_size=0), and options of the URL have to be among its "
    "ignore_startup_parameters"
)
_HINTS = {
    "26000": _POOLER,
    "42P05": _POOLER,
    "28000": "the server does not let this user in: see its pg_hba.conf",
    "28P01": "check user and password",
    "3D000": "create the database first (createdb)",
    "53300": "the server has no connection left: lower max_size, or raise its max_connections",
    "25006": "this server, or this role, is read-only: connect to the primary, with a role that may write",
    "42501": "grant the role the rights on the tables (SELECT, INSERT, UPDATE, DELETE), and CREATE on the schema to "
    "the one that makes them",
    "42P01": "the tables are gone; open a new store with create_schema=True to make them again",
    "57014": "it took longer than statement_timeout, or somebody cancelled it",
}


class NotConnectedError(Exception):
    """The server that was there before did not take a connection; nothing was sent, so all may be repeated."""


def state_of(message: str) -> str | None:
    """Return the SQLSTATE of a refused connection by the server's words, where they are English."""
    if 'database "' in message and "does not exist" in message:
        return "3D000"
    return next((state for words, state in _WORDS.items() if words in message), None)


def classify(state: str | None, *, connection_error: bool) -> Literal["repeat", "lost", "other"]:
    """Say what an error means.

    Args:
        state: the SQLSTATE, if the server sent one.
        connection_error: the driver's own word for a connection that broke.
    """
    if state in _REPEAT:
        return "repeat"
    if connection_error or state in _LOST or (state or "").startswith("08"):
        return "lost"
    return "other"


def translate(state: str | None, message: str, where: str, *, connection_error: bool) -> PersistenceError:
    """Return the error in our words.

    Args:
        state: the SQLSTATE, if the server sent one.
        message: the server's own, without the details, which may hold what was to be stored.
        where: the address, without secrets.
        connection_error: the driver's own word for a connection that broke.
    """
    if "MULE_INTERNAL" in message:  # the server cannot change it to UTF8, so it takes no connection
        return _lacking("MULE_INTERNAL", where)
    hint = _POOLER if refuses_settings(message) or "bind message supplies" in message else _HINTS.get(state or "")
    text = f"PostgreSQL at {where}: {message.strip()}" + (f"; {hint}" if hint else "")
    refused = state in {"28000", "28P01", "3D000", "53300", "57P03"}
    if refused or connection_error or classify(state, connection_error=False) == "lost":
        return ConnectionFailedError(text)
    return BackendError(text)


def refuses_settings(message: str) -> bool:
    """Whether a pooler refused a connection for its settings, by its words."""
    return "unsupported startup parameter" in message or "command-line options" in message


def check_encoding(server: str | None, client: str | None, where: str) -> None:
    """See whether a database takes every text; both names are None where the server did not tell.

    Raises:
        SchemaError: it does not.
        ConfigurationError: the connection, which somebody handed in, does not.
    """
    if server is not None and server not in {"UTF8", "SQL_ASCII"}:  # the latter stores bytes as they come
        raise _lacking(server, where)
    if client is not None and client.upper().replace("-", "") not in {"UTF8", "UNICODE"}:
        raise ConfigurationError(
            f"the connection that was handed in has the client_encoding {client}: give UTF8 where it is made "
            "(client_encoding=UTF8)"
        )


def _lacking(encoding: str, where: str) -> SchemaError:
    return SchemaError(
        f"PostgreSQL at {where} has the encoding {encoding}, which lacks most characters: use a database in UTF8 "
        "(CREATE DATABASE agents ENCODING 'UTF8' TEMPLATE template0)"
    )


class Errors:
    """What a driver's errors mean: the part of a pool that is the same in both modes, mixed in before it.

    Args:
        where: the address, without secrets.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def _facts(self, error: BaseException | None) -> tuple[str | None, str, bool]:
        """Return SQLSTATE, message without details, and whether the driver says that the connection broke."""
        raise NotImplementedError

    def classify(self, error: Exception) -> Literal["repeat", "lost", "other"]:
        if isinstance(error, NotConnectedError):
            return "repeat"
        state, _, broken = self._facts(error)
        return classify(state, connection_error=broken)

    def translate(self, error: Exception) -> PersistenceError:
        cause = error.__cause__ if isinstance(error, NotConnectedError) else error
        state, message, broken = self._facts(cause)
        return translate(state, message, self._where, connection_error=broken or cause is not error)

    def refused(self, error: Exception, *, worked: bool) -> Exception:
        """Return what to raise ``from`` an error of connecting; ``worked``: there were connections before."""
        if worked or self.classify(error) == "repeat":
            return NotConnectedError()
        return self.translate(error)  # it may never have been there: no use to try again
