"""Calls that would wait for each other go together.

Where one call at a time is under way whatever the callers do (commits to a file, appends to a session, whose row is a
lock), those that come meanwhile need not follow one by one: they are done as one when their turn has come.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Hashable, Sequence

__all__ = ["Outcome", "Together"]

Item = TypeVar("Item")
K = TypeVar("K", bound="Hashable")
T = TypeVar("T")


class Outcome(NamedTuple):
    """What became of a call: its answer, or the error that its caller gets."""

    answer: Any
    error: Exception | None = None


_APART = Outcome(None)


class _Call(Generic[Item]):
    """A call that did not go at once."""

    __slots__ = ("item", "outcome", "trip")

    def __init__(self, item: Item, outcome: asyncio.Future[Outcome]) -> None:
        self.item = item
        self.outcome = outcome
        self.trip: _Trip[Item] | None = None


class _Trip(Generic[Item]):
    """Calls that went together."""

    __slots__ = ("calls", "given_up", "task")

    def __init__(self, calls: list[_Call[Item]]) -> None:
        self.calls = calls
        self.given_up = False
        self.task: asyncio.Task[None]

    async def end(self) -> None:
        """Wait for its end, for a caller that was cancelled; if all of them were, it is cancelled too, once."""
        import asyncio

        if not self.given_up and all(call.outcome.cancelled() for call in self.calls):
            self.given_up = True
            self.task.cancel()
        while not self.task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self.task])


class Together(Generic[K, Item, T]):
    """Does calls under a key one at a time; the first goes at once, and who came meanwhile goes together.

    A call that is alone pays nothing for it. A caller that is cancelled takes nobody along: its call does not go if it
    was still waiting; if it had gone with others, the caller gets its ``CancelledError`` once they have ended. Calls of
    several event loops do not go together.

    Args:
        one: does the call of one item.
        many: does the calls of two or more, in order, and returns the outcome of each; None: nothing was done, and
            each has to be done as ``one``. What it raises, all of the callers get.
        fit: how many of the items that wait, from the first on, may go together: at least 1.
    """

    def __init__(
        self,
        one: Callable[[K, Item], Awaitable[T]],
        many: Callable[[K, list[Item]], Awaitable[Sequence[Outcome] | None]],
        fit: Callable[[list[Item]], int],
    ) -> None:
        self._one = one
        self._many = many
        self._fit = fit
        self._waiting: dict[tuple[asyncio.AbstractEventLoop, K], list[_Call[Item]]] = {}  # while something is under way

    async def go(self, key: K, item: Item) -> T:
        """Do a call, alone or with others, and return its answer."""
        import asyncio

        loop = asyncio.get_running_loop()
        place = (loop, key)
        waiting = self._waiting.get(place)
        if waiting is None:
            self._waiting[place] = waiting = []
            try:
                return await self._one(key, item)
            finally:
                if waiting and not loop.is_closed():
                    loop.call_soon(self._start, place)
                else:
                    del self._waiting[place]
        call = _Call(item, loop.create_future())
        waiting.append(call)
        try:
            outcome = await call.outcome
        except asyncio.CancelledError:
            if call.trip is not None:
                await call.trip.end()
            elif call in waiting:
                waiting.remove(call)
            raise
        if outcome is _APART:
            return await self._one(key, item)
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer  # type: ignore[no-any-return]

    def _start(self, place: tuple[asyncio.AbstractEventLoop, K]) -> None:
        """Let those who wait go next; if there are none, who comes next goes at once.

        Called behind the callers that go on now, so who calls again at once is in time.
        """
        waiting = self._waiting[place]
        waiting[:] = [call for call in waiting if not call.outcome.done()]  # cancelled, and not yet told
        if not waiting:
            del self._waiting[place]
            return
        fit = self._fit([call.item for call in waiting])
        trip = _Trip(waiting[:fit])
        del waiting[:fit]
        for call in trip.calls:
            call.trip = trip
        trip.task = place[0].create_task(self._travel(place[1], trip.calls))
        trip.task.add_done_callback(partial(self._arrived, place, trip.calls))

    async def _travel(self, key: K, calls: list[_Call[Item]]) -> None:
        outcomes: Sequence[Outcome] | None
        try:
            if len(calls) > 1:
                outcomes = await self._many(key, [call.item for call in calls])
            else:
                outcomes = [Outcome(await self._one(key, calls[0].item))]
        except Exception as error:  # noqa: BLE001 - raised where the calls were made
            outcomes = [Outcome(None, error)] * len(calls)
        for call, outcome in zip(calls, outcomes or [_APART] * len(calls), strict=True):
            if not call.outcome.done():  # cancelled
                call.outcome.set_result(outcome)

    def _arrived(self, place: tuple[asyncio.AbstractEventLoop, K], calls: list[_Call[Item]], _: object) -> None:
        for call in calls:
            call.outcome.cancel()  # of those that have none, because the trip itself was cancelled
        self._start(place)
