"""Lending connections."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from praisonai_persistence.errors import ConnectionFailedError, StoreClosedError
from praisonai_persistence_sql import AsyncLender, Lender


class Item:
    def __init__(self) -> None:
        self.alive = True
        self.closed = False

    def close(self) -> None:
        self.closed = True


def make(made: list[Item], max_size: int = 2, timeout: float = 0.2, max_idle: float = 300.0) -> Lender[Item]:
    def connect() -> Item:
        made.append(Item())
        return made[-1]

    return Lender(connect, lambda item: item.alive, Item.close, max_size=max_size, timeout=timeout, max_idle=max_idle)


def test_the_last_used_is_lent_first_and_none_is_made_too_many():
    made: list[Item] = []
    lender = make(made)
    first, second = lender.acquire(), lender.acquire()
    lender.release(first)
    lender.release(second)
    assert lender.acquire() is second
    assert made == [first, second]


def test_callers_wait_and_then_are_told():
    lender = make([], max_size=1)
    held = lender.acquire()
    start = time.monotonic()
    with pytest.raises(ConnectionFailedError, match="max_size"):
        lender.acquire()
    assert time.monotonic() - start >= 0.19
    threading.Timer(0.05, lender.release, [held]).start()
    assert lender.acquire() is held


def test_what_broke_is_closed_and_replaced():
    made: list[Item] = []
    lender = make(made)
    item = lender.acquire()
    lender.release(item, broken=True)
    idle = lender.acquire()
    lender.release(idle)
    idle.alive = False
    assert lender.acquire() is made[2]
    assert item.closed
    assert idle.closed


def test_a_connection_that_cannot_be_made_takes_no_place():
    lender = make([], max_size=1)
    connect, lender._connect = lender._connect, lambda: 1 / 0
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            lender.acquire()
    lender._connect = connect
    lender.acquire()


def test_idle_ones_are_closed_after_a_time():
    made: list[Item] = []
    lender = make(made, max_idle=0.05)
    items = [lender.acquire(), lender.acquire()]
    for item in items:
        lender.release(item)
    time.sleep(0.1)
    lender.release(lender.acquire())
    assert [item.closed for item in made] == [True, False]


def test_close_closes_idle_ones_now_and_others_later():
    lender = make([])
    held, idle = lender.acquire(), lender.acquire()
    lender.release(idle)
    lender.close()
    assert idle.closed
    assert not held.closed
    with pytest.raises(StoreClosedError):
        lender.acquire()
    lender.release(held)
    assert held.closed


def test_many_threads_share_few():
    made: list[Item] = []
    lender = make(made, max_size=3, timeout=10)
    used: list[int] = []

    def work(_: int) -> None:
        item = lender.acquire()
        used.append(1)
        time.sleep(0.0005)
        lender.release(item)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(300)))
    assert len(used) == 300
    assert len(made) <= 3


def make_async(made: list[Item], max_size: int = 2, timeout: float = 0.2) -> AsyncLender[Item]:
    async def connect() -> Item:
        await asyncio.sleep(0)
        made.append(Item())
        return made[-1]

    async def close(item: Item) -> None:
        item.close()

    return AsyncLender(connect, lambda item: item.alive, close, Item.close, max_size=max_size, timeout=timeout)


def test_many_tasks_share_few_in_order():
    made: list[Item] = []
    lender = make_async(made, timeout=10)
    order: list[int] = []

    async def work(number: int) -> None:
        item = await lender.acquire()
        order.append(number)
        await asyncio.sleep(0.0005)
        await lender.release(item)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(50)))

    asyncio.run(main())
    assert order == list(range(50))
    assert len(made) == 2


def test_tasks_wait_and_then_are_told_and_cancelled_ones_leave_the_queue():
    async def main() -> None:
        lender = make_async([], max_size=1)
        held = await lender.acquire()
        with pytest.raises(ConnectionFailedError, match="max_size"):
            await lender.acquire()
        waiting = asyncio.create_task(lender.acquire())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        next_one = asyncio.create_task(lender.acquire())
        await asyncio.sleep(0)
        await lender.release(held)
        assert await next_one is held

    asyncio.run(main())


def test_a_turn_that_comes_with_a_cancellation_is_passed_on():
    async def main() -> None:
        lender = make_async([], max_size=1, timeout=5)
        held = await lender.acquire()
        cancelled, patient = asyncio.create_task(lender.acquire()), asyncio.create_task(lender.acquire())
        await asyncio.sleep(0)
        await lender.release(held)
        cancelled.cancel()
        assert await asyncio.wait_for(patient, 2) is held

    asyncio.run(main())


def test_closing_that_is_called_off_closes_the_others_all_the_same():
    made: list[Item] = []

    async def connect() -> Item:
        made.append(Item())
        return made[-1]

    async def main() -> None:
        closing = asyncio.Event()

        async def close(item: Item) -> None:
            closing.set()
            try:
                await asyncio.Event().wait()  # the server does not answer
            finally:
                item.close()

        lender = AsyncLender(connect, lambda item: item.alive, close, Item.close, max_size=3, timeout=5)
        for item in [await lender.acquire() for _ in range(3)]:
            await lender.release(item)
        task = asyncio.create_task(lender.close())
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [item.closed for item in made] == [True, True, True]


def test_another_loop_gets_its_own():
    made: list[Item] = []
    lender = make_async(made)

    async def use() -> None:
        await lender.release(await lender.acquire())

    asyncio.run(use())
    asyncio.run(use())
    assert [item.closed for item in made] == [True, False]
