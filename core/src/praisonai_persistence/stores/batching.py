"""Batching of async calls that would otherwise wait for each other.

Some calls are done one at a time whatever the callers do: commits to a file, appends to a session (its row is a lock),
commands on a connection. Calls that arrive while one of these is under way wait, and are then done as one batch.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from praisonai_persistence.errors import ConnectionFailedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Hashable, Sequence

__all__ = ["Batching", "Outcome"]

Item = TypeVar("Item")
K = TypeVar("K", bound="Hashable")
T = TypeVar("T")


class Outcome(NamedTuple):
    """The result of one call of a batch: its answer, or the error that its caller gets."""

    answer: Any
    error: Exception | None = None


_ONE_BY_ONE = Outcome(None)
"""The batch did nothing, and its calls have to be done separately."""


def _abandoned() -> Exception:
    return ConnectionFailedError(
        "the batch of this call was given up, there was no answer in time: it may be done or not"
    )


class _Call(Generic[Item]):
    """A call that waits for its turn."""

    __slots__ = ("batch", "item", "outcome")

    def __init__(self, item: Item, outcome: asyncio.Future[Outcome]) -> None:
        self.item = item
        self.outcome = outcome
        self.batch: _Batch[Item] | None = None


class _Batch(Generic[Item]):
    """Calls that are done as one."""

    __slots__ = ("calls", "given_up", "patience", "task")

    def __init__(self, calls: list[_Call[Item]], patience: float | None) -> None:
        self.calls = calls
        self.patience = patience
        self.given_up = False
        self.task: asyncio.Task[None]

    async def end(self) -> None:
        """Wait for the end of the batch, on behalf of a caller that was cancelled.

        The batch is cancelled, once, when all of its callers were, or when the patience is at its end.
        """
        import asyncio

        clock = asyncio.get_running_loop().time
        until = None if self.patience is None else clock() + self.patience
        while not self.task.done():
            if not self.given_up and (
                all(call.outcome.cancelled() for call in self.calls) or (until is not None and clock() >= until)
            ):
                self.given_up = True
                self.task.cancel()
            left = None if until is None or self.given_up else max(0.0, until - clock())
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self.task], timeout=left)


class _Queue(Generic[Item]):
    """What waits under one key of one loop. It exists while a call or a batch is under way."""

    __slots__ = ("calls", "task")

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self.calls: list[_Call[Item]] = []
        self.task = task
        """Does what is under way; None when that has ended, and the next batch was not started yet."""


class Batching(Generic[K, Item, T]):
    """Does the calls under a key one at a time. The first starts at once; calls that arrive meanwhile become a batch.

    A call that meets no other costs nothing more. Calls of different event loops are never in one batch, and a loop
    that has ended leaves nothing behind.

    Cancelling a caller does not cancel the other calls of its batch. A call that was still waiting is not done. If it
    was under way in a batch, the caller gets its ``CancelledError`` when the batch has ended. A batch that lasts for
    ``patience`` seconds more is cancelled, and its other callers get the error of ``abandoned``.

    Args:
        one: does the call of one item. It decides itself what its cancellation means.
        many: does the calls of two or more, in order, and returns the outcome of each. None: nothing was done, and each
            has to be done by ``one``. An exception is raised in all of the callers.
        fit: how many of the waiting items, counted from the first, may be in one batch: at least 1.
        patience: seconds that a cancelled caller waits for the end of its batch; None: until the batch ends by itself.
        abandoned: makes the error of the other callers when a batch is cancelled.
    """

    def __init__(
        self,
        one: Callable[[K, Item], Awaitable[T]],
        many: Callable[[K, list[Item]], Awaitable[Sequence[Outcome] | None]],
        fit: Callable[[list[Item]], int],
        *,
        patience: float | None = None,
        abandoned: Callable[[], Exception] = _abandoned,
    ) -> None:
        self._one = one
        self._many = many
        self._fit = fit
        self._patience = patience
        self._abandoned = abandoned
        self._queues: dict[tuple[asyncio.AbstractEventLoop, K], _Queue[Item]] = {}

    async def call(self, key: K, item: Item) -> T:
        """Do a call, alone or in a batch, and return its answer."""
        import asyncio

        loop = asyncio.get_running_loop()
        place = (loop, key)
        queue = self._queues.get(place)
        if queue is None:
            self._queues[place] = queue = _Queue(asyncio.current_task())
            try:
                return await self._one(key, item)
            finally:
                queue.task = None
                if queue.calls and not loop.is_closed():
                    loop.call_soon(self._start, place, queue)
                else:
                    self._queues.pop(place, None)
        call = _Call(item, loop.create_future())
        queue.calls.append(call)
        if queue.task is None or queue.task.done():
            # Its end was not noticed (an exception of a signal handler that stopped the loop just then), or will be.
            loop.call_soon(self._start, place, queue)
        try:
            outcome = await call.outcome
        except asyncio.CancelledError:
            if call.batch is not None:
                await call.batch.end()
            elif call in queue.calls:
                queue.calls.remove(call)
            raise
        if outcome is _ONE_BY_ONE:
            return await self._one(key, item)
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer  # type: ignore[no-any-return]

    def _start(self, place: tuple[asyncio.AbstractEventLoop, K], queue: _Queue[Item]) -> None:
        """Start the next batch, if none is under way; forget the queue when nobody waits in it.

        Scheduled behind the callers that have just got their answers, so their next calls are in time for the batch.
        """
        if self._queues.get(place) is not queue or (queue.task is not None and not queue.task.done()):
            return
        queue.calls[:] = [call for call in queue.calls if not call.outcome.done()]  # cancelled, and not yet told
        if not queue.calls:
            del self._queues[place]
            return
        fit = self._fit([call.item for call in queue.calls])
        batch = _Batch(queue.calls[:fit], self._patience)
        del queue.calls[:fit]
        for call in batch.calls:
            call.batch = batch
        queue.task = batch.task = place[0].create_task(self._run(place[1], batch))
        batch.task.add_done_callback(partial(self._ended, place, queue, batch))

    async def _run(self, key: K, batch: _Batch[Item]) -> None:
        calls = batch.calls
        outcomes: Sequence[Outcome] | None
        try:
            if len(calls) > 1:
                outcomes = await self._many(key, [call.item for call in calls])
            else:
                outcomes = [Outcome(await self._one(key, calls[0].item))]
        except Exception as error:  # noqa: BLE001 - raised where the calls were made
            outcomes = [Outcome(None, error)] * len(calls)
        for call, outcome in zip(calls, outcomes or [_ONE_BY_ONE] * len(calls), strict=True):
            if not call.outcome.done():  # cancelled
                call.outcome.set_result(outcome)

    def _ended(
        self, place: tuple[asyncio.AbstractEventLoop, K], queue: _Queue[Item], batch: _Batch[Item], _: object
    ) -> None:
        for call in batch.calls:
            if not call.outcome.done():  # the batch itself was cancelled
                if batch.given_up:
                    call.outcome.set_result(Outcome(None, self._abandoned()))
                else:
                    call.outcome.cancel()
        self._start(place, queue)
