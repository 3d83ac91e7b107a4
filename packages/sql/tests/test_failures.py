"""Interrupts, servers that stay silent, and whose error it was."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest
from interrupts import interrupted
from sqlite_pools import PlainSQLite, SyncPool

from praisonai_persistence.errors import ConnectionFailedError, StoreClosedError, UnsupportedOperationError
from praisonai_persistence.steps import reads, writes
from praisonai_persistence_sql import Execute, Fetch, Retry, SilentError, SQLRunner, SQLStateSteps, Watch
from praisonai_persistence_sql.failures import from_outside

handlers: dict[str, object] = {"__name__": "somebody"}
exec(  # a module of somebody else
    "class SoftTimeLimit(Exception): pass\n"
    "def handler(kind): raise kind('soft limit')\n"
    "def swallow(read):\n"
    "    try: read()\n"
    "    except Exception as error: raise\n",
    handlers,
)
SoftTimeLimit: type[Exception] = handlers["SoftTimeLimit"]  # type: ignore[assignment]


def driver(source: str) -> dict[str, object]:
    """A module of a driver that calls what it is given."""
    module: dict[str, object] = {"__name__": "thedriver.io", "handler": handlers["handler"], "kind": None}
    exec(source, module)
    return module


HERE = __name__.partition(".")[0]


class DriverError(Exception):
    """What a driver makes of an error of the socket."""


# ------------------------------------------------------------------------------------------------- whose error it was


@pytest.mark.parametrize("kind", [TimeoutError, ValueError, SoftTimeLimit])
def test_what_a_handler_raised_is_told_from_the_drivers_own(kind):
    read = driver("def read(kind): handler(kind)")["read"]
    with pytest.raises(kind) as caught:
        read(kind)
    assert from_outside(caught.value, {"thedriver", HERE}) is caught.value
    assert from_outside(caught.value, {"thedriver", HERE, "somebody"}) is None


def test_what_a_handler_raised_is_found_in_the_drivers_error():
    module = driver(
        "def read(kind):\n    try: handler(kind)\n    except OSError as error: raise DriverError(str(error))\n"
    )
    module["DriverError"] = DriverError
    with pytest.raises(DriverError) as caught:
        module["read"](TimeoutError)
    hidden = from_outside(caught.value, {"thedriver", HERE})
    assert isinstance(hidden, TimeoutError)


def test_what_the_caller_was_busy_with_is_nobodys_business():
    module = driver("def read(): raise ValueError('of the driver')")
    with pytest.raises(ValueError, match="of the driver") as caught:
        try:
            handlers["handler"](KeyError)
        except KeyError:
            module["read"]()
    assert isinstance(caught.value.__context__, KeyError)
    assert from_outside(caught.value, {"thedriver"}) is None  # this module is the caller here, not part of the driver


def test_a_timeout_of_the_drivers_own_is_no_cancellation():
    read = driver("async def read(event): await event.wait()")["read"]

    async def main() -> BaseException | None:
        with pytest.raises(asyncio.TimeoutError) as caught:
            await asyncio.wait_for(read(asyncio.Event()), 0.01)
        return from_outside(caught.value, {"thedriver", HERE})

    assert asyncio.run(main()) is None


def test_a_cancellation_is_found_in_the_drivers_error():
    module = driver(
        "async def read(event):\n    try: await event.wait()\n    except BaseException: raise DriverError('lost')\n"
    )
    module["DriverError"] = DriverError

    async def main() -> BaseException | None:
        task = asyncio.ensure_future(module["read"](asyncio.Event()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(DriverError) as caught:
            await task
        return from_outside(caught.value, {"thedriver", HERE})

    assert isinstance(asyncio.run(main()), asyncio.CancelledError)


# -------------------------------------------------------------------------------------------------------- the runner


KINDS = KeyboardInterrupt, SoftTimeLimit


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="knows the byte code of CPython 3.11")
def test_an_interrupt_at_any_place_of_a_call(tmp_path):
    """It arrives as it is, the operation is done or not done, and nothing is lost by it; one kind, and the other."""
    interrupt_everywhere(tmp_path, *KINDS)


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="knows the byte code of CPython 3.11")
def test_an_interrupt_of_the_other_kind_at_any_place_of_a_call(tmp_path):
    interrupt_everywhere(tmp_path, *reversed(KINDS))


def interrupt_everywhere(folder, odd, even):
    """Interrupt a call at each of its places: at the first, third and so on by ``odd``, at the others by ``even``."""
    steps = SQLStateSteps(PlainSQLite(), "p_")
    pool = SyncPool(str(folder / "x.db"), max_size=1, timeout=0.5)
    runner = SQLRunner(pool, steps.migrations, Retry(0.1))
    runner.connect()
    expected, place, left = 0, 0, True
    while left:
        place += 1
        kind = odd if place % 2 else even
        error = interrupted(lambda: runner.run(steps.incr, "n", 1, time.time()), place, kind)
        left = error is not None
        assert error is None or type(error) is kind, (place, error)
        pool.lender._timeout = 0  # the place is free: nobody has to wait for it
        now = runner.run(steps.incr, "n", 0, time.time())
        pool.lender._timeout = 0.5
        assert now in ({expected, expected + 1} if left else {expected + 1}), place
        expected = now
    assert place > 30
    assert len(pool.lender._owners) == 0
    runner.close()


def test_a_silent_server_is_asked_twice_at_the_most(tmp_path):
    pool = SyncPool(str(tmp_path / "x.db"))
    runner = SQLRunner(pool, None, Retry(30))
    runner.connect()
    asked = []

    @reads
    def look():
        asked.append("look")
        yield Fetch("SELECT 1")
        raise SilentError("it did not answer", sent=True)

    @writes
    def change():
        asked.append("change")
        yield Fetch("SELECT 1")
        raise SilentError("it did not answer", sent=True)

    for operation in (look, change):
        opened = pool.opened
        with pytest.raises(ConnectionFailedError, match="did not answer"):
            runner.run(operation)
        assert pool.opened - opened <= 1
    assert asked == ["look", "look", "change"]
    runner.close()


def test_a_write_in_the_middle_of_another_one_does_not_wait_for_it(tmp_path):
    pool = SyncPool(str(tmp_path / "x.db"), max_size=2)
    runner = SQLRunner(pool, None, Retry(0.1))

    @writes
    def inner():
        yield Execute("CREATE TABLE IF NOT EXISTS t (a INTEGER)")

    @writes
    def outer():
        yield Execute("CREATE TABLE IF NOT EXISTS t (a INTEGER)")
        runner._writing[threading.get_ident()][1].holds_locks = lambda: True
        with pytest.raises(UnsupportedOperationError, match="in the middle"):
            runner.run(inner)
        return "done"

    assert runner.run(outer) == "done"
    runner.run(inner)
    runner.close()


def test_nothing_opens_a_closed_runner_again(tmp_path):
    pool = SyncPool(str(tmp_path / "x.db"))
    runner = SQLRunner(pool, None, Retry(5))
    runner.connect()

    @reads
    def look():
        yield Fetch("SELECT 1")
        runner._closed = True
        runner._pool.lender._closed = True
        raise SilentError("it did not answer", sent=True)

    opened = pool.opened
    with pytest.raises(StoreClosedError):
        runner.run(look)
    assert pool.opened == opened


# --------------------------------------------------------------------------------------------------------- the watch


def test_a_watch_cuts_what_is_silent_and_nothing_else():
    async def main() -> None:
        cut, clock = asyncio.Event(), [0.0]
        watch = Watch(0.05, cut.set)
        watch._now = lambda: clock[0]  # however long the loop takes, an answer takes 40 ms here
        for _ in range(20):
            watch.start()
            clock[0] += 0.04
            await asyncio.sleep(0.005)
            watch.stop()
            clock[0] += 1
        await asyncio.sleep(0.1)
        assert not watch.silent
        watch.start()
        clock[0] += 0.06
        await asyncio.wait_for(cut.wait(), 5)
        assert watch.silent

    asyncio.run(main())


def test_a_watch_that_is_told_to_hurry():
    async def main() -> None:
        cut = asyncio.Event()
        watch = Watch(60, cut.set)
        watch.hurry(0)
        assert not watch.running
        watch.start()
        watch.hurry(0.01)
        await asyncio.wait_for(cut.wait(), 5)
        watch.end()

    asyncio.run(main())
