"""Runners: connecting once, closing once, threads."""

import asyncio
import gc
import threading
import time

import pytest

from praisonai_persistence.errors import ConnectionFailedError, StoreClosedError
from praisonai_persistence.steps import done, reads
from praisonai_persistence.stores import DirectRunner, ThreadRunner


class Log(list):
    """Callables that write down that they were called."""

    def __getattr__(self, name):
        return lambda: self.append(name)


# -------------------------------------------------------------------------------------------------------------- direct


def test_nothing_happens_before_the_first_call():
    log = Log()
    DirectRunner(log.opened, log.closed)
    assert log == []


def test_the_first_call_connects_and_later_ones_do_not():
    log = Log()
    runner = DirectRunner(log.opened, log.closed)
    assert runner.run(done, 5) == 5
    assert runner.run(lambda a, *, b: done(a + b), 1, b=2) == 3
    runner.connect()
    assert log == ["opened"]


def test_closing_is_idempotent_and_final():
    log = Log()
    runner = DirectRunner(log.opened, log.closed)
    runner.connect()
    runner.close()
    runner.close()
    assert log == ["opened", "closed"]
    for call in (runner.connect, lambda: runner.run(done, 5)):
        with pytest.raises(StoreClosedError):
            call()
    assert log == ["opened", "closed"]


def test_a_runner_that_never_connected_can_be_closed():
    runner = DirectRunner()
    runner.close()
    with pytest.raises(StoreClosedError):
        runner.connect()


def test_a_failed_connection_is_tried_again():
    attempts = []

    def connect():
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionFailedError("not yet")

    runner = DirectRunner(connect)
    for _ in range(2):
        with pytest.raises(ConnectionFailedError):
            runner.run(done, 5)
    assert runner.run(done, 5) == 5
    assert len(attempts) == 3


def test_many_threads_connect_once():
    attempts = []
    started = threading.Barrier(9)

    def connect():
        attempts.append(1)
        time.sleep(0.02)  # widens the window in which another thread could connect too

    runner = DirectRunner(connect)
    results = []

    def work():
        started.wait()
        results.append(runner.run(done, len(attempts)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    for thread in threads:
        thread.join()
    assert attempts == [1]
    assert len(results) == 8


def test_a_connection_that_loses_against_close_is_not_made():
    log = Log()
    inside, go_on = threading.Event(), threading.Event()

    def slow_close():
        inside.set()
        go_on.wait(10)
        log.append("closed")

    runner = DirectRunner(log.opened, slow_close)
    closing = threading.Thread(target=runner.close)
    closing.start()
    inside.wait(10)
    refused = []

    def connect():
        try:
            runner.connect()
        except StoreClosedError:
            refused.append(1)

    connecting = threading.Thread(target=connect)
    connecting.start()
    go_on.set()
    closing.join()
    connecting.join()
    assert log == ["closed"]
    assert refused == [1]


def test_a_connection_waiting_behind_a_close_is_refused():
    log = Log()
    runner = DirectRunner(log.opened, log.closed)
    refused = []

    def connect():
        try:
            runner.connect()
        except StoreClosedError:
            refused.append(1)

    class Held:
        """The runner's lock, reporting that somebody waits for it."""

        def __init__(self):
            self.lock, self.waiting = threading.Lock(), threading.Event()

        def __enter__(self):
            self.waiting.set()
            self.lock.acquire()

        def __exit__(self, *error):
            self.lock.release()

    runner._lock = held = Held()
    held.lock.acquire()
    connecting = threading.Thread(target=connect)
    connecting.start()
    assert held.waiting.wait(10)  # it has seen an open runner, and waits
    runner._closed = True
    held.lock.release()
    connecting.join()
    assert (log, refused) == ([], [1])


def test_a_step_that_asks_for_something_is_a_mistake():
    def steps():
        yield "a query"

    with pytest.raises(TypeError, match="a step asked for str"):
        DirectRunner().run(steps)


# -------------------------------------------------------------------------------------------------------------- thread


def test_operations_run_on_other_threads_and_side_by_side():
    async def main():
        runner = ThreadRunner(DirectRunner(), threads=4)
        together = threading.Barrier(4)

        def operation(number):
            together.wait(10)  # passes only if four run at the same time
            return done((number, threading.current_thread()))

        results = await asyncio.gather(*(runner.run(operation, number) for number in range(4)))
        assert [number for number, _ in results] == [0, 1, 2, 3]
        assert threading.main_thread() not in {thread for _, thread in results}
        await runner.close()

    asyncio.run(main())


def test_errors_come_through():
    async def main():
        runner = ThreadRunner(DirectRunner())

        def operation():
            raise ZeroDivisionError("inside")

        with pytest.raises(ZeroDivisionError, match="inside"):
            await runner.run(operation)
        assert await runner.run(done, 5) == 5
        await runner.close()

    asyncio.run(main())


def test_a_cancelled_operation_has_ended_when_its_caller_hears_of_it():
    async def main():
        runner = ThreadRunner(DirectRunner(), threads=1)
        started, go_on, log = threading.Event(), threading.Event(), []

        def operation(name):
            started.set()
            go_on.wait(10)
            log.append(name)
            return done(None)

        begun = asyncio.ensure_future(runner.run(operation, "begun"))
        waiting = asyncio.ensure_future(runner.run(operation, "waiting"))
        await asyncio.to_thread(started.wait, 10)
        begun.cancel()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)
        begun.cancel()  # impatience does not help
        assert not begun.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await begun
        assert log == ["begun"]  # whole, and what had not begun never does
        assert await runner.run(done, 5) == 5
        assert log == ["begun"]
        await runner.close()

    asyncio.run(main())


def test_closing_a_thread_runner_is_idempotent_final_and_ends_its_threads():
    def own():
        return [thread for thread in threading.enumerate() if thread.name.startswith("praisonai-persistence")]

    async def main():
        log = Log()
        before = set(own())
        runner = ThreadRunner(DirectRunner(log.opened, log.closed))
        await runner.connect()
        assert await runner.run(done, 5) == 5
        assert set(own()) - before
        await runner.close()
        await runner.close()
        assert log == ["opened", "closed"]
        for call in (runner.connect, lambda: runner.run(done, 5)):
            with pytest.raises(StoreClosedError):
                await call()
        for thread in set(own()) - before:  # closing itself may have started one more
            await asyncio.to_thread(thread.join, 10)
        assert set(own()) - before == set()

    asyncio.run(main())


def test_a_thread_runner_works_in_one_loop_after_the_other():
    runner = ThreadRunner(DirectRunner())
    assert asyncio.run(runner.run(done, 1)) == 1
    assert asyncio.run(runner.run(done, 2)) == 2
    asyncio.run(runner.close())


def test_the_error_of_a_cancelled_call_is_not_reported_as_forgotten():
    inside, go = threading.Event(), threading.Event()

    @reads
    def fail():
        inside.set()
        go.wait(10)
        raise ConnectionFailedError("after the caller had gone")
        yield

    reported = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        runner = ThreadRunner(DirectRunner())
        task = asyncio.create_task(runner.run(fail))
        while not inside.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        await runner.close()

    asyncio.run(main())
    gc.collect()
    assert reported == []
