"""The end of event loops, and of what belonged to them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["drain", "hang_up", "on_its_loop"]

_ROUNDS = 4
_ROUND = 1.0
"""Seconds from asking the tasks to end until asking again."""


def drain(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks and the asynchronous generators that are left on a loop, which stands still and can be closed then.

    A cancelled task may start another one: asyncpg does, to have the server stop a request. So what is started
    meanwhile has a second to end by itself, and is cancelled after that, as is what did not heed the first time. What
    has not ended after four seconds is left.
    """
    loop.run_until_complete(_end_tasks())
    loop.run_until_complete(loop.shutdown_asyncgens())


async def _end_tasks() -> None:
    own = asyncio.current_task()
    clock = asyncio.get_running_loop().time
    for _ in range(_ROUNDS):
        for task in asyncio.all_tasks():
            if task is not own:
                task.cancel()
        end = clock() + _ROUND
        while left := [task for task in asyncio.all_tasks() if task is not own]:
            if clock() >= end:
                break
            done, _ = await asyncio.wait(left, timeout=end - clock())
            for task in done:
                if not task.cancelled():
                    task.exception()  # nobody waits for it any more, so it is not logged as forgotten
        else:
            return


def on_its_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Call a function that touches what belongs to a loop: there if the loop runs in another thread, else here."""
    if loop.is_running() and asyncio._get_running_loop() is not loop:
        with contextlib.suppress(RuntimeError):  # it ends just now
            loop.call_soon_threadsafe(function)
            return
    function()


def hang_up(transport: Any) -> None:
    """End a connection at once, also when its loop was closed, which leaves the socket open and warns about it later.

    Args:
        transport: of asyncio, with TLS or without.
    """
    while transport is not None:
        below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        with contextlib.suppress(Exception):  # the loop is closed
            transport.abort()
        loop = getattr(transport, "_loop", None)
        if loop is not None and loop.is_closed() and getattr(transport, "_sock", None) is not None:
            with contextlib.suppress(Exception):  # what the loop would have called next
                transport._call_connection_lost(None)
        transport = below
