"""Lending connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
from interrupts import Interrupt, interrupted

from praisonai_persistence.errors import ConnectionFailedError, StoreClosedError, UnsupportedOperationError
from praisonai_persistence_sql import AsyncLender, Lender, Loan


class Item:
    def __init__(self) -> None:
        self.alive = True
        self.closed = False

    def close(self) -> None:
        self.closed = True


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def make(made: list[Item], max_size: int = 2, timeout: float = 0.2, max_idle: float = 300.0) -> Lender[Item]:
    def connect() -> Item:
        made.append(Item())
        return made[-1]

    return Lender(connect, lambda item: item.alive, Item.close, max_size=max_size, timeout=timeout, max_idle=max_idle)


def loan_of(lender: Lender[Item]) -> Loan[Item]:
    return Loan(lender.acquire, lender.release)


def use(lender: Lender[Item], *, broken: bool = False) -> Item:
    with (loan := loan_of(lender)) as item:
        loan.end(broken=broken)
    return item


@contextmanager
def holding(lender: Lender[Item]) -> Iterator[Item]:
    """Hold a connection in another thread."""
    got, done = SimpleQueue[Item](), threading.Event()

    def hold() -> None:
        with (loan := loan_of(lender)) as item:
            got.put(item)
            done.wait(30)
            loan.end()

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        try:
            yield got.get(timeout=10)
        finally:
            done.set()
            holder.result(10)


def test_the_last_used_is_lent_first_and_none_is_made_too_many():
    made: list[Item] = []
    lender = make(made)
    with (outer := loan_of(lender)) as first:
        second = use(lender)
        outer.end()
    assert use(lender) is first
    assert made == [first, second]


def test_callers_wait_and_then_are_told():
    lender = make([], max_size=1)
    with ThreadPoolExecutor(1) as pool:
        with holding(lender) as held:
            start = time.monotonic()
            with pytest.raises(ConnectionFailedError, match="max_size"):
                use(lender)
            assert time.monotonic() - start >= 0.19
            lender._timeout = 10
            waiting = pool.submit(use, lender)
            wait_until(lambda: lender._waiting)
        assert waiting.result(5) is held


def test_what_broke_is_closed_and_replaced():
    made: list[Item] = []
    lender = make(made)
    item = use(lender, broken=True)
    assert item.closed
    idle = use(lender)
    idle.alive = False
    assert use(lender) is made[2]
    assert idle.closed


def test_a_connection_that_cannot_be_made_takes_no_place():
    lender = make([], max_size=1)
    connect, lender._connect = lender._connect, lambda: 1 / 0
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            use(lender)
    lender._connect = connect
    use(lender)


def test_idle_ones_are_closed_after_a_time():
    made: list[Item] = []
    lender = make(made, max_idle=0.05)
    with (outer := loan_of(lender)) as first:
        use(lender)
        outer.end()
    time.sleep(0.1)
    assert use(lender) is first
    assert [item.closed for item in made] == [False, True]


def test_some_are_opened_before_they_are_needed():
    made: list[Item] = []
    lender = make(made)
    lender.fill(5)
    assert len(made) == 2
    use(lender)
    assert len(made) == 2


def test_close_waits_for_who_works_and_closes_all():
    made: list[Item] = []
    lender = make(made)
    with ThreadPoolExecutor(2) as pool:
        with holding(lender) as held:
            idle = use(lender)
            closing = pool.submit(lender.close)
            wait_until(lambda: idle.closed or lender._closed)
            with pytest.raises(StoreClosedError):
                use(lender)
            assert not closing.done()
            assert not held.closed
        closing.result(5)
    assert [item.closed for item in made] == [True, True]
    lender.close()
    with pytest.raises(StoreClosedError):
        use(lender)


def test_who_waits_while_it_is_closed_is_told():
    lender = make([], max_size=1, timeout=30)
    with ThreadPoolExecutor(2) as pool, holding(lender):
        waiting = pool.submit(use, lender)
        wait_until(lambda: lender._waiting)
        closing = pool.submit(lender.close)
        with pytest.raises(StoreClosedError):
            waiting.result(5)
    closing.result(5)


def test_close_waits_only_so_long():
    lender = make([])
    lender._close_timeout = 0.1
    with holding(lender) as held:
        lender.close()
        assert not held.closed
    assert held.closed


def test_close_in_the_middle_of_an_operation_of_the_same_thread():
    lender = make([])
    with (loan := loan_of(lender)) as item:
        lender.close()
        assert not item.closed
        loan.end()
    assert item.closed


def test_a_connection_that_is_made_while_it_is_closed_is_closed():
    made: list[Item] = []
    lender = make(made)
    connect = lender._connect

    def slowly() -> Item:
        lender.close()
        return connect()

    lender._connect = slowly
    with pytest.raises(StoreClosedError):
        use(lender)
    assert made[0].closed


def test_a_call_in_the_middle_of_another_one_is_told_at_once_that_there_is_no_place():
    lender = make([], max_size=1, timeout=30)
    with (loan := loan_of(lender)):
        with pytest.raises(UnsupportedOperationError, match="max_size"):
            use(lender)
        loan.end()
    use(lender)


def test_many_threads_share_few():
    made: list[Item] = []
    lender = make(made, max_size=3, timeout=10)
    used: list[int] = []

    def work(_: int) -> None:
        with (loan := loan_of(lender)):
            used.append(1)
            time.sleep(0.0005)
            loan.end()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(300)))
    assert len(used) == 300
    assert len(made) <= 3


def test_who_leaves_without_a_word_leaves_its_place():
    made: list[Item] = []
    lender = make(made, max_size=1)
    with pytest.raises(KeyboardInterrupt), loan_of(lender):
        raise KeyboardInterrupt
    assert use(lender) is made[1]
    assert made[0].closed


def test_threads_that_find_a_place_left_behind_do_not_share_it():
    made: list[Item] = []
    lender = make(made, max_size=1, timeout=10)
    at_work: list[int] = []

    def work(number: int) -> None:
        with contextlib.suppress(KeyboardInterrupt), (loan := loan_of(lender)):
            at_work.append(number)
            time.sleep(0.0002)
            assert at_work == [number]
            at_work.remove(number)
            if number % 2:
                raise KeyboardInterrupt
            loan.end()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="knows the byte code of CPython 3.11")
@pytest.mark.parametrize("connected", [True, False])
def test_an_interrupt_at_any_place_loses_nothing(connected):
    place, left = 0, True
    while left:
        made: list[Item] = []
        lender = make(made, max_size=1)
        if connected:
            use(lender)
        place += 1
        error = interrupted(lambda lender=lender: use(lender), place)
        left = error is not None
        assert isinstance(error, Interrupt | None), place
        lender._timeout = 0  # nobody has to wait
        item = use(lender)
        assert not item.closed, place
        # One that was lost on its way from the driver to its place is closed by the driver's finalizer.
        assert not connected or len([item for item in made if not item.closed]) == 1, place
    assert place > 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_its_own_and_disowns_the_parents():
    made: list[Item] = []
    lender = make(made)
    disowned: list[Item] = []
    lender._disown = disowned.append
    with (loan := loan_of(lender)):
        use(lender)
        child = os.fork()
        if child == 0:
            loan.end()
            fresh = use(lender), use(lender)
            lender.close()
            right = fresh[0] is fresh[1] is made[2] and disowned == made[:2] and not (made[0].closed or made[1].closed)
            os._exit(0 if right else 1)
        loan.end()
    assert os.waitpid(child, 0)[1] == 0
    assert use(lender) in made[:2]


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


def test_another_loop_gets_its_own_and_one_that_ends_leaves_nothing():
    made: list[Item] = []
    lender = make_async(made)

    async def use() -> None:
        await lender.release(await lender.acquire())
        assert not made[-1].closed

    asyncio.run(use())
    assert made[0].closed, "asyncio.run has it closed"
    asyncio.run(use())
    assert [item.closed for item in made] == [True, True]
    assert not lender._loops


def test_a_loop_that_ends_without_a_word_is_found_by_the_next_one():
    made: list[Item] = []
    lender = make_async(made)

    async def use() -> None:
        await lender.release(await lender.acquire())

    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    loop.close()
    assert not made[0].closed
    asyncio.run(use())
    assert made[0].closed


def test_loops_in_several_threads_at_once():
    made: list[Item] = []
    lender = make_async(made, max_size=1, timeout=10)
    both = threading.Barrier(4)

    async def work() -> None:
        async def once() -> asyncio.AbstractEventLoop:
            item = await lender.acquire()
            await asyncio.sleep(0.0005)
            await lender.release(item)
            return item

        both.wait(10)
        items = await asyncio.gather(*(once() for _ in range(20)))
        assert len(set(items)) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: asyncio.run(work()), range(4)))
    assert len(made) == 4
    assert all(item.closed for item in made)


def test_closing_waits_for_who_works_and_tells_who_waits():
    made: list[Item] = []

    async def main() -> None:
        lender = make_async(made, max_size=1, timeout=10)
        held = await lender.acquire()
        waiting = asyncio.create_task(lender.acquire())
        await asyncio.sleep(0)
        closing = asyncio.create_task(lender.close())
        with pytest.raises(StoreClosedError):
            await waiting
        with pytest.raises(StoreClosedError):
            await lender.acquire()
        assert not closing.done()
        assert not held.closed
        await lender.release(held)
        await asyncio.wait_for(closing, 5)
        assert held.closed
        await lender.close()

    asyncio.run(main())


def test_closing_reaches_the_loops_of_other_threads():
    made: list[Item] = []
    lender = make_async(made, max_size=2, timeout=10)
    ready, done = threading.Event(), threading.Event()

    async def other() -> None:
        held = await lender.acquire()
        await lender.release(await lender.acquire())
        ready.set()
        while not done.is_set():
            await asyncio.sleep(0.001)
        assert not held.closed
        await lender.release(held)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, other())
        assert ready.wait(10)
        asyncio.run(lender.close())
        wait_until(lambda: made[1].closed)
        done.set()
        running.result(10)
    assert [item.closed for item in made] == [True, True]
