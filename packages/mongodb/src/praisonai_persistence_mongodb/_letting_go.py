"""Letting go of clients that nobody can close in peace."""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from praisonai_persistence._loops import hang_up
from praisonai_persistence.drivers.background import Background

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["bound_selection", "close", "close_unconnected", "forget_sessions", "hold", "let_go", "take_end"]

_kept: list[Any] = []
"""Clients of a parent process. They are not finalised: their sockets are the parent's."""
_held: dict[int, Any] = {}
"""Open async clients. One that became garbage would be finalised before its loop could close it."""
_closing: set[Any] = set()
"""Tasks that close a client; the loop alone would not keep them."""


def hold(client: Any) -> Any:
    """Keep an async client until it is closed or let go of."""
    _forget_ended()
    _held[id(client)] = client
    return client


def bound_selection(client: Any, seconds: float) -> None:
    """Have a client that is connected look for a server no longer than that, within the deadline of a request.

    With ``pymongo.timeout`` PyMongo looks for one until the deadline, and not up to its ``serverSelectionTimeoutMS``.
    """
    topology = client._topology
    until_deadline = topology.get_server_selection_timeout
    topology.get_server_selection_timeout = lambda: min(until_deadline(), seconds)


def forget_sessions(client: Any) -> None:
    """Have a client not end its sessions when it is closed: it would wait for a server that is silent.

    They are those of single requests, which a server forgets by itself.
    """
    topology = client._topology
    if topology is not None:
        topology.pop_all_sessions()


async def close(client: Any) -> None:
    """Close an async client that is held."""
    forget_sessions(client)
    tasks = _monitoring(client)
    try:
        await client.close()
    except asyncio.CancelledError:  # the loop ends, and the tasks of the client were cancelled as well
        _hang_up(client)
        raise
    _held.pop(id(client), None)
    for task in tasks:
        if task.done():
            take_end(task)


def _hang_up(client: Any) -> None:
    """End the connections of an async client: a task that was cancelled twice leaves the one that it used open."""
    from pymongo.asynchronous.pool import AsyncConnection

    options = {id(pool.opts) for pool in _pools(client)}
    for item in gc.get_objects():
        if type(item) is AsyncConnection and id(item.opts) in options and not item.closed:
            hang_up(item.conn.get_conn.transport)


def _pools(client: Any) -> Iterator[Any]:
    for server in getattr(client._topology, "_servers", {}).values():
        yield from (server.pool, server._monitor._pool, server._monitor._rtt_monitor._pool)


def _monitoring(client: Any) -> list[asyncio.Task[Any]]:
    """Return the tasks that watch the servers of a client."""
    servers = getattr(client._topology, "_servers", {}).values()
    monitors = [server._monitor for server in servers]
    executors = [one._executor for monitor in monitors for one in (monitor, monitor._rtt_monitor)]
    return [executor._task for executor in executors if executor._task is not None]


def take_end(task: asyncio.Task[Any]) -> None:
    """Take note of the end of a task that nobody waits for."""
    try:
        task.exception()
    except asyncio.CancelledError as error:
        close_unconnected(error)


def close_unconnected(error: BaseException | None) -> None:
    """Close the socket that was being connected when a task was cancelled: PyMongo leaves it open."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_name == "_async_create_connection":
                with suppress(KeyError):
                    frame.f_locals["sock"].close()
        error = error.__context__


@atexit.register
def _forget_ended() -> None:
    """Forget the clients whose loops have ended."""
    for client in list(_held.values()):
        loop = client._loop
        if loop is not None and loop.is_closed():
            del _held[id(client)]
            _forget(client, loop)


def let_go(client: Any, pid: int, *, asynchronous: bool) -> None:
    """Close a client in the background, or forget it.

    Args:
        client: a client of PyMongo.
        pid: the process that opened it.
        asynchronous: whether it is an async client.
    """
    loop = getattr(client, "_loop", None)
    if pid != os.getpid() or not asynchronous or loop is None or not loop.is_running():
        _held.pop(id(client), None)
    if pid != os.getpid():
        _kept.append(client)
    elif not asynchronous:
        client._closed = True  # the process may end before it is, and it would complain
        forget_sessions(client)
        Background(client.close).start()
    elif loop is None:
        client._closed = True  # it has connected to nothing
    elif loop.is_running():
        with suppress(RuntimeError):  # it ends right now
            loop.call_soon_threadsafe(_start_closing, client, loop)
    else:
        _forget(client, loop)


async def _close_left(client: Any) -> None:
    try:
        await close(client)
    finally:
        _hang_up(client)


def _start_closing(client: Any, loop: asyncio.AbstractEventLoop) -> None:
    task = loop.create_task(_close_left(client))
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # if the loop ends before, _forget_ended sees to it
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def _forget(client: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Let go of a client whose loop has ended: it can do nothing any more, and would say so when it is finalised."""
    from pymongo.network_layer import PyMongoProtocol
    from pymongo.periodic_executor import AsyncPeriodicExecutor

    client._closed = True
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        code = getattr(task.get_coro(), "cr_code", None)
        if code is not None and f"{os.sep}pymongo{os.sep}" in code.co_filename:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
    for item in gc.get_objects():  # by type(): what is a proxy of a dead object cannot be asked for its class
        if type(item) is AsyncPeriodicExecutor and item._task in tasks:
            item._task = None  # it cannot be cancelled any more
        elif type(item) is PyMongoProtocol:
            transport: Any = item.transport
            with suppress(AttributeError):
                if transport._loop is loop:
                    transport._sock.close()
                    transport._sock = None
