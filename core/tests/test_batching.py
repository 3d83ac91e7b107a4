"""Calls that would wait for each other go together, and each keeps an outcome of its own."""

from __future__ import annotations

import asyncio

import pytest

from praisonai_persistence.stores.batching import Batching, Outcome, _Queue


class Road:
    """Where calls go; what has gone stands in ``trips``, and nothing arrives before its gate is opened."""

    def __init__(self, fit=100):
        self.trips = []
        self.ended = []
        self.gates = {}
        self.outcomes = lambda items: [Outcome(f"{item}!") for item in items]
        self.batching = Batching(self.one, self.many, lambda items: min(len(items), fit))

    def gate(self, item):
        return self.gates.setdefault(item, asyncio.Event())

    async def one(self, key, item):
        self.trips.append((key, item))
        await asyncio.sleep(0)  # nothing is done before the next turn of the loop, as with any driver
        await self.gate(item).wait()
        self.ended.append(item)
        if isinstance(item, float):
            raise ZeroDivisionError(item)
        return item

    async def many(self, key, items):
        self.trips.append((key, *items))
        try:
            await self.gate(items[0]).wait()
        finally:
            await asyncio.sleep(0)  # as a driver that undoes what it had begun
            self.ended.append(items[0])
        return self.outcomes(items)

    def go(self, item, key="k"):
        return asyncio.ensure_future(self.batching.call(key, item))

    async def gone(self, count):
        """Wait until so many trips have begun."""
        while len(self.trips) < count:
            await asyncio.sleep(0)

    def open(self, *items):
        for item in items:
            self.gate(item).set()


def test_the_first_goes_at_once_and_those_that_come_meanwhile_go_together():
    async def main():
        road = Road()
        first, second, third = road.go(1), road.go(2), road.go(3)
        await road.gone(1)
        for _ in range(10):
            await asyncio.sleep(0)
        assert road.trips == [("k", 1)]
        road.open(1)
        assert await first == 1
        await road.gone(2)
        road.open(2)
        assert await asyncio.gather(second, third) == ["2!", "3!"]
        assert road.trips == [("k", 1), ("k", 2, 3)]
        last = road.go(4)  # nobody is under way any more
        await road.gone(3)
        road.open(4)
        assert await last == 4

    asyncio.run(main())


def test_callers_that_come_back_at_once_stay_together():
    async def main():
        road = Road()
        road.open(*range(30))

        async def caller(number):
            for turn in range(10):
                await road.batching.call("k", number + 3 * turn)

        await asyncio.gather(*map(caller, range(3)))
        assert sorted(item for _, *items in road.trips for item in items) == list(range(30))
        # The first call goes alone; then no two callers are ever apart again.
        assert [len(items) for _, *items in road.trips][:-1] == [1, *[3] * 9]

    asyncio.run(main())


def test_keys_do_not_wait_for_each_other():
    async def main():
        road = Road()
        calls = [road.go(number, key=number) for number in range(5)]
        await road.gone(5)
        road.open(*range(5))
        assert await asyncio.gather(*calls) == list(range(5))

    asyncio.run(main())


def test_no_more_than_fit_go_at_once():
    async def main():
        road = Road(fit=2)
        calls = [road.go(number) for number in range(6)]
        road.open(*range(6))
        await asyncio.gather(*calls)
        assert road.trips == [("k", 0), ("k", 1, 2), ("k", 3, 4), ("k", 5)]

    asyncio.run(main())


@pytest.mark.parametrize("alone", [True, False])
def test_an_error_is_that_of_its_own_caller(alone):
    async def main():
        road = Road()
        road.outcomes = lambda items: [
            Outcome(None, ZeroDivisionError(item)) if item == 2 else Outcome(item) for item in items
        ]
        calls = [road.go(0.5 if alone else 0), road.go(2), road.go(3)]
        road.open(0, 0.5, 2)
        first, second, third = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(first, ZeroDivisionError) is alone
        assert isinstance(second, ZeroDivisionError)
        assert third == 3

    asyncio.run(main())


def test_what_a_trip_raises_all_of_its_callers_get():
    async def main():
        road = Road()

        def outcomes(_):
            raise ConnectionError("gone")

        road.outcomes = outcomes
        calls = [road.go(number) for number in range(3)]
        road.open(0, 1)
        first, *others = await asyncio.gather(*calls, return_exceptions=True)
        assert first == 0
        assert [type(other) for other in others] == [ConnectionError] * 2
        road.open(7)
        assert await road.go(7) == 7

    asyncio.run(main())


def test_calls_that_cannot_go_together_are_done_one_by_one():
    async def main():
        road = Road()
        road.outcomes = lambda _: None
        calls = [road.go(number) for number in (0, 1, 2, 3.5)]
        road.open(0, 1, 2, 3.5)
        *answers, error = await asyncio.gather(*calls, return_exceptions=True)
        assert answers == [0, 1, 2]
        assert isinstance(error, ZeroDivisionError)
        assert road.trips[:2] == [("k", 0), ("k", 1, 2, 3.5)]
        assert sorted(road.trips[2:]) == [("k", 1), ("k", 2), ("k", 3.5)]

    asyncio.run(main())


def test_a_cancelled_call_that_waits_does_not_go():
    async def main():
        road = Road()
        first, second, third = road.go(1), road.go(2), road.go(3)
        await road.gone(1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        road.open(1, 3)
        assert await asyncio.gather(first, third) == [1, 3]
        assert road.trips == [("k", 1), ("k", 3)]

    asyncio.run(main())


def test_a_cancelled_first_call_takes_nobody_along():
    async def main():
        road = Road()
        first, second, third = road.go(1), road.go(2), road.go(3)
        await road.gone(1)
        first.cancel()
        road.open(2)
        assert await asyncio.gather(second, third) == ["2!", "3!"]
        assert first.cancelled()

    asyncio.run(main())


def test_a_call_that_is_cancelled_on_its_way_has_ended_when_its_caller_hears_of_it():
    async def main():
        road = Road()
        first, second, third = road.go(1), road.go(2), road.go(3)
        road.open(1)
        await first
        await road.gone(2)
        second.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        second.cancel()  # impatience does not help
        assert not second.done()
        road.open(2)
        assert await third == "3!"
        with pytest.raises(asyncio.CancelledError):
            await second
        assert road.ended == [1, 2]

    asyncio.run(main())


def test_a_trip_that_nobody_waits_for_is_cancelled_and_the_next_one_goes():
    async def main():
        road = Road()
        first, second, third = road.go(1), road.go(2), road.go(3)
        road.open(1)
        await first
        await road.gone(2)
        fourth = road.go(4)
        road.open(4)
        second.cancel()
        third.cancel()
        answers = await asyncio.gather(second, third, return_exceptions=True)  # the gate of 2 is never opened
        assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2
        assert road.ended[:2] == [1, 2]
        assert await fourth == 4

    asyncio.run(main())


def test_a_cancelled_caller_waits_for_its_batch_no_longer_than_the_patience():
    async def main():
        road = Road()
        road.batching = Batching(road.one, road.many, len, patience=0.05, abandoned=lambda: EOFError("given up"))
        first, second, third = road.go(1), road.go(2), road.go(3)
        road.open(1)
        await first
        await road.gone(2)
        fourth = road.go(4)
        road.open(4)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second  # the gate of 2 is never opened
        with pytest.raises(EOFError, match="given up"):
            await third
        assert road.ended[:2] == [1, 2]
        assert await fourth == 4

    asyncio.run(main())


def test_an_interrupt_of_the_loop_stops_no_later_call():
    """A signal handler's exception may end the loop anywhere; who runs it again finds nothing under way for ever."""
    road = Road()
    loop = asyncio.new_event_loop()

    async def interrupted(key, item):
        raise KeyboardInterrupt

    async def call(item):
        return await road.batching.call("k", item)

    try:
        road.batching = Batching(interrupted, road.many, len)
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(call(1))
        # As if the interrupt had come just before the end was noticed.
        road.batching._queues[loop, "k"] = _Queue(asyncio.ensure_future(asyncio.sleep(0), loop=loop))
        loop.run_until_complete(road.batching._queues[loop, "k"].task)
        road.batching._one = road.one
        road.open(2)
        assert loop.run_until_complete(asyncio.wait_for(call(2), 10)) == 2
    finally:
        loop.close()


def test_calls_that_are_cancelled_before_their_trip_has_begun():
    async def main():
        road = Road()
        first, second, third = road.go(1), road.go(2), road.go(3)
        await road.gone(1)
        road.open(1)
        while not any(task.get_coro().__name__ == "_run" for task in asyncio.all_tasks()):
            await asyncio.sleep(0)
        second.cancel()
        third.cancel()
        await asyncio.wait([first, second, third])
        road.open(4)
        assert await asyncio.wait_for(road.go(4), 10) == 4

    asyncio.run(main())


def test_the_end_of_the_loop_ends_all_calls_and_leaves_nothing_for_the_next_one():
    road = Road()
    calls = []

    async def main():
        calls.extend(road.go(number) for number in range(4))
        road.open(0)
        await calls[0]
        await road.gone(2)

    asyncio.run(main())  # cancels what is left
    assert [call.cancelled() for call in calls] == [False, True, True, True]
    assert road.batching._queues == {}

    async def again():
        road.gates.clear()
        road.open(9)
        return await road.go(9)

    assert asyncio.run(again()) == 9
