"""The end of an event loop of our own."""

from __future__ import annotations

import asyncio

__all__ = ["drain"]

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
