"""The runner of drivers with an async client: cancellation, deadlines, several loops, closing."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time

import pytest

from praisonai_persistence.drivers import AsyncDriverRunner, Driver, DriverRunner, make_runner
from praisonai_persistence.errors import (
    BackendError,
    BackendNotInstalledError,
    ConnectionFailedError,
    StoreClosedError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import Pause, reads, writes
from praisonai_persistence.stores import ThreadRunner

LIMIT = 10.0


class Client:
    def __init__(self):
        self.open = True

    async def call(self, function):
        if not self.open:
            raise RuntimeError("the client is closed")
        return await function()


class ToyDriver(Driver):
    where = "the toy"
    asynchronous = True

    def __init__(self, **facts):
        self.__dict__.update(facts)
        self.clients, self.closed, self.abandoned = [], [], []

    async def open(self, deadline):
        await asyncio.sleep(0)
        self.clients.append(Client())
        return self.clients[-1]

    async def close(self, client):
        assert client.open
        client.open = False
        self.closed.append(client)

    def abandon(self, client):
        client.open = False
        self.abandoned.append(client)


async def nothing():
    return None


@reads
def ask(function=nothing):
    return (yield lambda client: client.call(function))


@writes
def change(function=nothing):
    return (yield lambda client: client.call(function))


@pytest.fixture
def toy():
    return ToyDriver()


def run(main):
    return asyncio.run(asyncio.wait_for(main(), LIMIT))


def test_many_tasks_open_one_client_which_close_closes(toy):
    async def main():
        runner = AsyncDriverRunner(toy)
        assert toy.clients == []
        await asyncio.gather(*[runner.run(ask) for _ in range(16)])
        assert len(toy.clients) == 1
        await runner.close()
        await runner.close()
        assert toy.closed == toy.clients
        for call in (runner.connect, lambda: runner.run(ask)):
            with pytest.raises(StoreClosedError):
                await call()

    run(main)


def test_close_waits_for_the_calls_that_are_under_way(toy):
    async def main():
        runner = AsyncDriverRunner(toy)
        inside, go = asyncio.Event(), asyncio.Event()

        async def work():
            inside.set()
            await go.wait()
            return toy.clients[0].open

        call = asyncio.create_task(runner.run(ask, work))
        await inside.wait()
        closing = asyncio.create_task(runner.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        go.set()
        assert await call is True
        await closing
        assert toy.closed == toy.clients

    run(main)


def test_a_cancelled_caller_hears_of_it_when_the_call_has_ended(toy):
    async def main():
        runner = AsyncDriverRunner(toy)
        inside, go, done = asyncio.Event(), asyncio.Event(), []

        async def work():
            inside.set()
            await go.wait()
            done.append(1)

        call = asyncio.create_task(runner.run(change, work))
        await inside.wait()
        call.cancel()
        await asyncio.sleep(0.01)
        assert not call.done()
        call.cancel()  # again: an impatient caller hears nothing sooner
        await asyncio.sleep(0.01)
        assert not call.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert done == [1]
        await runner.close()

    run(main)


def test_a_cancelled_call_that_does_not_end_is_called_off_and_its_client_let_go(toy):
    async def main():
        toy.timeout = 0.05
        runner = AsyncDriverRunner(toy)
        inside, forever, ended = asyncio.Event(), asyncio.Event(), []

        async def work():
            inside.set()
            try:
                await forever.wait()
            finally:
                ended.append(1)

        call = asyncio.create_task(runner.run(change, work))
        await inside.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ended == [1]
        await runner.run(ask)
        assert toy.abandoned == toy.clients[:1]
        await runner.close()

    run(main)


def test_an_answer_that_does_not_come_is_an_error_within_the_timeout(toy):
    async def main():
        toy.timeout = 0.05
        runner = AsyncDriverRunner(toy)
        with pytest.raises(ConnectionFailedError, match=r"within 0\.05 seconds"):
            await runner.run(ask, asyncio.Event().wait)
        await runner.run(ask)
        assert toy.abandoned == toy.clients[:1]
        await runner.close()

    run(main)


def test_a_connection_that_does_not_come_is_an_error_within_the_timeout(toy):
    async def main():
        toy.connect_timeout = 0.05

        async def never(deadline):
            await asyncio.Event().wait()

        toy.open = never
        runner = AsyncDriverRunner(toy)
        outcomes = await asyncio.gather(*[runner.run(ask) for _ in range(20)], return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ConnectionFailedError}

    run(main)


def test_others_keep_a_client_until_they_are_done(toy):
    async def main():
        runner = AsyncDriverRunner(toy)
        inside, go = asyncio.Event(), asyncio.Event()

        async def work():
            inside.set()
            await go.wait()
            return toy.clients[0].open

        call = asyncio.create_task(runner.run(ask, work))
        await inside.wait()
        runner._heres[asyncio.get_running_loop()].held.broken = True
        await runner.run(ask)
        assert len(toy.clients) == 2
        assert toy.abandoned == []
        go.set()
        assert await call is True
        assert toy.abandoned == toy.clients[:1]
        await runner.close()

    run(main)


def on_a_loop(call):
    """Run a call on a loop that is closed without what ``asyncio.run`` does at its end."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(call)
    loop.close()


def test_each_loop_has_a_client_which_is_closed_when_the_loop_ends(toy):
    runner = AsyncDriverRunner(toy)
    for number in range(1, 4):
        asyncio.run(runner.run(ask))
        assert len(toy.clients) == number
        assert toy.closed == toy.clients
    asyncio.run(runner.close())
    assert toy.abandoned == []


def test_what_belongs_to_a_loop_that_was_only_closed_is_let_go(toy):
    runner = AsyncDriverRunner(toy)
    for _ in range(3):
        on_a_loop(runner.run(ask))
    assert len(toy.clients) == 3
    assert toy.abandoned == toy.clients[:2]
    asyncio.run(runner.close())
    assert toy.abandoned == toy.clients


def test_the_clients_of_a_runner_that_was_dropped_are_let_go(toy):
    runner = AsyncDriverRunner(toy)
    on_a_loop(runner.run(ask))
    del runner
    gc.collect()
    assert toy.abandoned == toy.clients

    async def main():
        await AsyncDriverRunner(toy).run(ask)
        gc.collect()
        while toy.clients[-1].open:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), LIMIT))
    assert toy.closed == toy.clients[1:], "on a loop that runs they are closed"


def test_a_client_that_was_dropped_just_before_its_loop_stopped_is_let_go(toy):
    async def main():
        await AsyncDriverRunner(toy).run(ask)
        gc.collect()

    on_a_loop(main())  # which stops before the client can be closed
    assert toy.closed == toy.abandoned == []
    on_a_loop(main())
    assert toy.abandoned == toy.clients[:1]


@pytest.mark.parametrize("turns", range(8))
def test_a_loop_that_stops_while_a_dropped_client_is_being_closed_leaves_nothing(toy, turns, caplog):
    class Slow(ToyDriver):
        async def close(self, client):
            for _ in range(3):
                await asyncio.sleep(0)
            await super().close(client)

    driver = Slow()

    async def main():
        await AsyncDriverRunner(driver).run(ask)
        gc.collect()
        for _ in range(turns):
            await asyncio.sleep(0)

    on_a_loop(main())
    asyncio.run(AsyncDriverRunner(toy).run(ask))  # which looks for what was left
    gc.collect()
    assert driver.closed + driver.abandoned == driver.clients
    assert [record.getMessage() for record in caplog.records] == []


def test_a_loop_that_stands_still_when_the_store_is_closed_has_nothing_left_to_do(toy, caplog):
    runner = AsyncDriverRunner(toy)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(runner.run(ask))
    asyncio.run(runner.close())
    assert toy.abandoned == toy.clients
    del runner
    gc.collect()
    loop.close()
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == []


def test_several_loops_at_once_and_a_close_from_one_of_them(toy):
    runner = AsyncDriverRunner(toy)
    ready, go, outcomes = threading.Barrier(5), threading.Event(), []

    def work():
        async def main():
            for _ in range(20):
                await runner.run(ask)
            ready.wait(LIMIT)
            while not go.is_set():
                try:
                    await runner.run(ask)
                except StoreClosedError:
                    break
            outcomes.append("ended")

        asyncio.run(main())

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait(LIMIT)
    asyncio.run(runner.close())
    go.set()
    for thread in threads:
        thread.join(LIMIT)
    assert outcomes == ["ended"] * 4
    assert len(toy.clients) == 4
    assert [client for client in toy.clients if client.open] == []


class Limit(Exception):
    """As a task queue raises it."""


Limit.__module__ = "somewhere.else"


def test_errors_of_the_client_are_ours_and_others_pass(toy):
    async def main():
        runner = AsyncDriverRunner(toy)

        async def fail():
            return {}["what was to be stored"]

        async def limit():
            raise Limit

        with pytest.raises(BackendError) as caught:
            await runner.run(ask, fail)
        assert "stored" not in str(caught.value)
        with pytest.raises(Limit):
            await runner.run(ask, limit)
        await runner.close()

    run(main)


@pytest.mark.parametrize("hook", ["open", "begin", "probe", "repeats"])
def test_a_hook_that_raises_is_named(toy, hook):
    def fail(*_, **__):
        raise ZeroDivisionError

    setattr(toy, hook, fail)

    async def work():
        raise ConnectionFailedError("so that it may be repeated")

    async def main():
        with pytest.raises(BackendError, match=hook):
            await AsyncDriverRunner(toy).run(ask, work)

    run(main)


@pytest.mark.parametrize(("hook", "wrong"), [("open", None), ("begin", 7), ("probe", 7)])
def test_a_hook_that_returns_a_wrong_thing_is_named(toy, hook, wrong):
    setattr(toy, hook, lambda *_, **__: wrong)

    async def main():
        with pytest.raises(BackendError, match=hook):
            await AsyncDriverRunner(toy).run(ask)

    run(main)


def test_a_failed_probe_closes_the_client(toy):
    outcomes = [ConnectionFailedError("asleep"), None]

    def probe():
        def steps():
            error = outcomes.pop(0)
            if error:
                raise error
            yield Pause(0)

        return steps()

    toy.probe = probe

    async def main():
        runner = AsyncDriverRunner(toy)
        with pytest.raises(ConnectionFailedError):
            await runner.run(ask)
        assert toy.closed == toy.clients
        await runner.run(ask)
        await runner.close()

    run(main)


def test_turns_are_taken(toy):
    toy.turns = "writes"

    async def main():
        runner = AsyncDriverRunner(toy)
        inside, most = [], []

        async def work():
            inside.append(1)
            most.append(len(inside))
            await asyncio.sleep(0)
            inside.pop()

        await asyncio.gather(*[runner.run(change, work) for _ in range(20)])
        assert max(most) == 1
        await asyncio.gather(*[runner.run(ask, work) for _ in range(20)])
        assert max(most) > 1
        await runner.close()

    run(main)


def test_nothing_is_left_of_an_interrupted_loop(toy):
    runner = AsyncDriverRunner(toy)

    async def main():
        task = asyncio.create_task(runner.run(ask, asyncio.Event().wait))
        await asyncio.sleep(0.01)
        assert not task.done()

    asyncio.run(main())  # which cancels what is left
    asyncio.run(runner.run(ask))
    asyncio.run(runner.close())
    gc.collect()
    assert [client for client in toy.clients if client.open] == []


def test_the_runner_fits_driver_and_callers():
    assert isinstance(make_runner(ToyDriver(), asynchronous=True), AsyncDriverRunner)
    sync = ToyDriver(asynchronous=False)
    assert isinstance(make_runner(sync), DriverRunner)
    assert isinstance(make_runner(sync, asynchronous=True), ThreadRunner)


def test_a_forked_child_is_refused_where_the_engine_does_not_survive(toy):
    toy.forks = "refuse"
    runner = AsyncDriverRunner(toy)
    on_a_loop(runner.run(ask))
    runner._renew()  # what a forked child does
    with pytest.raises(UnsupportedOperationError, match="spawn"):
        asyncio.run(runner.run(ask))


def test_a_client_whose_closing_is_cancelled_is_let_go(toy):
    closing = asyncio.Event()

    async def close(client):
        closing.set()
        await asyncio.Event().wait()

    toy.close = close

    async def main():
        runner = AsyncDriverRunner(toy)
        await runner.run(ask)
        task = asyncio.create_task(runner.close())
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert toy.abandoned == toy.clients

    run(main)


def test_a_store_that_must_exist_is_not_opened_where_there_is_none(tmp_path):
    driver = ToyDriver(path=str(tmp_path / "data"))
    runner = AsyncDriverRunner(driver)
    runner.expect_existing()

    async def main():
        with pytest.raises(StoreNotFoundError):
            await runner.connect()
        assert driver.clients == []
        (tmp_path / "data").mkdir()
        await runner.connect()
        await runner.close()

    asyncio.run(main())


def test_a_thread_runner_hands_it_on(tmp_path):
    driver = ToyDriver(path=str(tmp_path / "data"), asynchronous=False)
    runner = make_runner(driver, asynchronous=True)
    assert isinstance(runner, ThreadRunner)
    runner.expect_existing()
    with pytest.raises(StoreNotFoundError):
        asyncio.run(runner.connect())


# -------------------------------------------------------------------------------------------- opening, and half of it


def test_modules_are_imported_beside_the_loop(toy, tmp_path, monkeypatch):
    """A client whose import takes seconds does not hold up the other tasks."""
    gate = threading.Event()
    monkeypatch.setattr(threading, "gate_of_this_test", gate, raising=False)
    (tmp_path / "slow_client.py").write_text("import threading\nassert threading.gate_of_this_test.wait(5)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    toy.imports, toy.connect_timeout = ("slow_client",), 0.1

    async def main():
        runner = AsyncDriverRunner(toy)
        calls = [asyncio.create_task(runner.run(ask)) for _ in range(3)]
        await asyncio.sleep(0.2)  # the time to import is not that to connect
        gate.set()
        await asyncio.gather(*calls)
        assert len(toy.clients) == 1
        await runner.close()

    try:
        run(main)
    finally:
        sys.modules.pop("slow_client", None)


def test_a_module_that_is_missing_is_told(toy):
    toy.imports = ("json", "no_such_module_here")

    async def main():
        with pytest.raises(BackendNotInstalledError, match="no_such_module_here"):
            await AsyncDriverRunner(toy).run(ask)

    run(main)


class HalfDriver(ToyDriver):
    """Opens in two steps, of which the second one may take its time."""

    async def open(self, deadline):
        client = Client()
        self.clients.append(client)
        try:
            await self.second_step()
        except BaseException:
            await self.close(client)
            raise
        return client


def test_a_client_that_is_half_open_is_closed_when_its_time_is_up():
    async def main():
        toy = HalfDriver(connect_timeout=0.05, second_step=asyncio.Event().wait)
        with pytest.raises(ConnectionFailedError, match="0.05 seconds"):
            await AsyncDriverRunner(toy).run(ask)
        assert len(toy.clients) == 1
        assert toy.closed == toy.clients

    run(main)


def test_a_client_that_is_half_open_is_closed_when_the_caller_is_cancelled():
    async def main():
        begun, forever = asyncio.Event(), asyncio.Event()

        async def second_step():
            begun.set()
            await forever.wait()

        toy = HalfDriver(timeout=0.05, second_step=second_step)
        runner = AsyncDriverRunner(toy)
        call = asyncio.create_task(runner.run(ask))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert toy.closed == toy.clients != []
        toy.second_step = nothing
        await runner.run(ask)
        await runner.close()
        assert toy.closed == toy.clients

    run(main)


@pytest.mark.parametrize("steps", range(6))
def test_calls_that_wait_for_a_client_are_called_off_at_once(steps):
    """Whoever opens it, and whoever waits for that; the next call opens another."""

    async def main():
        toy = HalfDriver(second_step=asyncio.Event().wait)
        runner = AsyncDriverRunner(toy)
        calls = [asyncio.create_task(runner.run(ask)) for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        start = time.monotonic()
        await asyncio.wait(calls)
        assert time.monotonic() - start < 2
        assert all(call.cancelled() for call in calls)
        assert toy.closed == toy.clients
        toy.second_step = nothing
        await runner.run(ask)
        await runner.close()

    run(main)


def test_a_half_open_client_that_cannot_be_closed_holds_nobody_up():
    async def main():
        toy = HalfDriver(connect_timeout=0.05, second_step=asyncio.Event().wait)
        toy.close = lambda client: asyncio.Event().wait()
        start = time.monotonic()
        with pytest.raises(ConnectionFailedError, match="0.05 seconds"):
            await AsyncDriverRunner(toy).run(ask)
        assert time.monotonic() - start < 2

    run(main)


def test_an_answer_that_comes_when_its_time_is_up_counts_and_nothing_stays_cancelled():
    async def second_step():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def main():
        toy = HalfDriver(connect_timeout=0.05, second_step=second_step)
        runner = AsyncDriverRunner(toy)
        await runner.run(ask)
        await runner.close()

    run(main)
