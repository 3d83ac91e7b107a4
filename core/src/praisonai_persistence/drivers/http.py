"""Errors of services that are spoken to by HTTP or gRPC."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers.throttling import ThrottledError, retry_after
from praisonai_persistence.errors import BackendError, ConnectionFailedError, PersistenceError, SerializationError
from praisonai_persistence.stores.vector_errors import GoneError, TakenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["HttpErrors", "asked_to_wait", "close", "close_session", "hang_up", "hang_up_aiohttp"]

_NAMES = {
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "RESOURCE_EXHAUSTED": 429,
}
_SILENT = frozenset({408, 502, 503, 504})


class HttpErrors:
    """What a status or a gRPC code means, in our words.

    Args:
        where: what errors call the service.
        login: what to check when it does not let us in: ``check its API key``.
        too_large: what to do when a request is too large; None: a ``BackendError`` as any other.
        gone: texts in errors which say that a collection is not there, where their codes do not.
        taken: texts in errors which say that it is there already, where their codes do not.
    """

    def __init__(
        self,
        where: str,
        login: str = "check its credentials",
        too_large: str | None = None,
        *,
        gone: Sequence[str] = (),
        taken: Sequence[str] = (),
    ) -> None:
        self._where = where
        self._login = login
        self._too_large = too_large
        self._gone = gone
        self._taken = taken

    def error(self, code: int | str | None, error: Exception) -> PersistenceError:
        """Return our error.

        Args:
            code: an HTTP status, or the name of a gRPC code; None: neither.
            error: the client's, whose class is named.

        Returns:
            ``GoneError`` for 404, ``TakenError`` for 409, ``ThrottledError`` for 429, ``ConnectionFailedError`` where
            the service does not let us in or does not answer, else ``BackendError``. A 503 is no ``ThrottledError``,
            also where it says when to come again: the request may have been done.
        """
        status = _NAMES.get(code) if isinstance(code, str) else code
        where, kind = self._where, type(error).__name__
        if status == 404:
            return GoneError(f"{where} has no such collection")
        if status == 409:
            return TakenError(f"{where} has such a collection already")
        if status in {401, 403}:
            return ConnectionFailedError(f"{where} does not let this client in: {self._login}")
        if status == 429:
            return ThrottledError(f"{where} has had too many requests for now; try again later", asked_to_wait(error))
        if status == 503 and (asked := asked_to_wait(error)) is not None:
            return ConnectionFailedError(f"{where} is out of service for now, and asks to wait {asked:g} seconds")
        if status in _SILENT:
            return self.silent(error)
        if status == 413 and self._too_large is not None:
            return SerializationError(f"{where} does not take a request as large as this: {self._too_large}")
        return BackendError(f"{where} failed: {kind}" + ("" if code is None else f" {code}"))

    def read(self, error: Exception, *silent: type[Exception]) -> PersistenceError:
        """Return our error for one of the client's, by its class, its text, and its HTTP status or gRPC code.

        Looked at are also the errors for which it was raised, or in whose handling.

        Args:
            error: the client's.
            silent: the classes of the client's errors of a service that does not answer.
        """
        reasons = [error.__cause__, error.__context__, error]
        if any(isinstance(reason, silent) for reason in reasons):
            return self.silent(error)
        text = str(error)
        if any(part in text for part in self._gone):
            return self.error(404, error)
        if any(part in text for part in self._taken):
            return self.error(409, error)
        return self.error(next((code for code in map(_code, reasons) if code is not None), None), error)

    def strange(self, title: str, check: str = "the URL", asked: str = "") -> ConnectionFailedError:
        """Return the error of something that answers, but not as the service of this name does.

        Args:
            title: the service's.
            check: what says where it is.
            asked: what it was asked to do, where it does not know that.
        """
        to = f" to {asked}" if asked else ""
        return ConnectionFailedError(f"{self._where} does not answer{to} as {title} does; check {check}")

    def late(self) -> ConnectionFailedError:
        """Return the error of an answer that has not come in time, of a service whose writes can be repeated."""
        return ConnectionFailedError(
            f"{self._where} has not answered in time; a write may have been done all the same, and can be repeated"
        )

    def silent(self, error: Exception) -> ConnectionFailedError:
        """Return the error of a service that does not answer."""
        return ConnectionFailedError(
            f"{self._where} does not answer ({type(error).__name__}): is it up, and are host and port right?"
        )


def asked_to_wait(error: BaseException) -> float | None:
    """Return how many seconds the answer asks to wait for which a client raised an error; None: it does not ask.

    Looked at are the headers of the error or of its response, and of the errors for which it was raised.
    """
    for one in (error, error.__cause__, error.__context__):
        headers = getattr(one, "headers", None) or getattr(getattr(one, "response", None), "headers", None)
        if headers is not None and hasattr(headers, "items"):
            return retry_after(headers)
    return None


def _code(error: BaseException | None) -> int | str | None:
    """Return the HTTP status of an error, or the name of its gRPC code."""
    code = getattr(error, "status_code", None) or getattr(error, "code", None)
    if callable(code):  # of gRPC
        code = getattr(code(), "name", None)
    return code if isinstance(code, (int, str)) else None


def hang_up(client: Any) -> None:
    """End the connections of an ``httpx.AsyncClient`` without a word; its event loop may have ended.

    Its own ``aclose`` has to be awaited on the loop, and a transport that nobody closes warns about it later.
    """
    _end(_transports(client))


def hang_up_aiohttp(sessions: Iterable[Any]) -> None:
    """End the connections of each ``aiohttp.ClientSession`` without a word; its event loop may have ended."""
    transports = []
    for session in sessions:
        connector = session.connector
        session.detach()  # or it warns that nobody closed it
        if connector is None or connector.closed:
            continue
        protocols = [*connector._acquired, *(one for pool in connector._conns.values() for one, _ in pool)]
        transports += [protocol.transport for protocol in protocols if protocol.transport is not None]
        connector._conns.clear()
    _end(transports)


async def close(client: Any) -> None:
    """Close an ``httpx.AsyncClient``, and its connections also when the event loop ends in the middle of it."""
    transports = _transports(client)  # the client forgets them before it closes them
    try:
        await client.aclose()
    finally:
        _end(transports)


def _transports(client: Any) -> list[Any]:
    pool = getattr(getattr(client, "_transport", None), "_pool", None)
    found = []
    for connection in list(getattr(pool, "connections", ())):
        stream = getattr(getattr(connection, "_connection", None), "_network_stream", None)
        while stream is not None and not hasattr(stream, "_transport"):  # of anyio, inside of TLS inside of httpcore
            stream = getattr(stream, "_stream", None) or getattr(stream, "transport_stream", None)
        if stream is not None:
            found.append(stream._transport)
    return found


def _end(transports: list[Any]) -> None:
    from praisonai_persistence import _loops

    for transport in transports:
        if transport._loop is not None:  # else it is closed already
            _loops.on_its_loop(transport._loop, partial(_loops.hang_up, transport))


def close_session(session: Any) -> None:
    """Close a session of requests with its sockets.

    Its own ``close`` leaves those to finalisers, which no longer run when a process ends with threads at work.
    """
    for adapter in session.adapters.values():
        pools = adapter.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118 - it is no mapping that could be iterated
            if (pool := pools.get(key)) is not None:
                pool.close()
    session.close()
