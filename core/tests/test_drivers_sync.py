"""The runner of drivers with a sync client: connecting, sharing, closing, interrupts, forks, hooks that fail."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from praisonai_persistence.drivers import Driver, DriverRunner, shared
from praisonai_persistence.drivers.guarded import on_own_thread, while_there
from praisonai_persistence.drivers.shared import identity
from praisonai_persistence.errors import (
    BackendError,
    BackendNotInstalledError,
    ConnectionFailedError,
    StoreClosedError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import Pause, reads, writes

LIMIT = 10.0


class Client:
    def __init__(self):
        self.open = True
        self.values = {}

    def call(self, function=lambda: None):
        if not self.open:
            raise RuntimeError("the client is closed")
        return function()


class ToyDriver(Driver):
    where = "the toy"

    def __init__(self, **facts):
        self.__dict__.update(facts)
        self.clients = []
        self.closed = []
        self.abandoned = []

    def open(self, deadline):
        client = Client()
        self.clients.append(client)
        return client

    def close(self, client):
        assert client.open
        client.open = False
        self.closed.append(client)

    def abandon(self, client):
        client.open = False
        self.abandoned.append(client)


@reads
def ask(function=lambda: None):
    return (yield lambda client: client.call(function))


@writes
def change(function=lambda: None):
    return (yield lambda client: client.call(function))


@pytest.fixture
def toy():
    return ToyDriver()


def in_thread(function):
    box = []

    def work():
        try:
            box.append(function())
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, box


def ended(thread, box):
    thread.join(LIMIT)
    assert not thread.is_alive()
    return box[0]


class TestConnecting:
    def test_the_constructor_opens_nothing_and_the_first_call_does(self, toy):
        runner = DriverRunner(toy)
        assert toy.clients == []
        runner.run(ask)
        runner.run(ask)
        assert len(toy.clients) == 1

    def test_many_threads_open_one_client(self, toy):
        runner = DriverRunner(toy)
        barrier = threading.Barrier(16)

        def work():
            barrier.wait()
            runner.run(ask)

        for thread, box in [in_thread(work) for _ in range(16)]:
            assert ended(thread, box) is None
        assert len(toy.clients) == 1

    def test_a_failure_is_not_repeated_by_those_who_waited_for_it(self, toy):
        attempts, first, go = [], threading.Event(), threading.Event()

        def fail(deadline):
            attempts.append(1)
            first.set()
            go.wait(LIMIT)
            raise ConnectionFailedError("no toy there")

        toy.open = fail
        runner = DriverRunner(toy)
        works = [in_thread(lambda: runner.run(ask)) for _ in range(1)]
        first.wait(LIMIT)
        works += [in_thread(lambda: runner.run(ask)) for _ in range(8)]
        while runner._slot.attempts < 1 or sum(thread.is_alive() for thread, _ in works) < 9:
            time.sleep(0.001)
        go.set()
        for thread, box in works:
            assert isinstance(ended(thread, box), ConnectionFailedError)
        assert len(attempts) <= 2  # theirs was under way when they came, so one of them tried again
        toy.open = lambda deadline: Client()
        runner.run(ask)

    def test_an_open_that_never_returns_is_told_with_the_hook(self, toy):
        forever = threading.Event()
        toy.open = lambda deadline: forever.wait(60)
        toy.connect_timeout = 0.1
        with pytest.raises(ConnectionFailedError, match=r"open\(\) or probe\(\) of ToyDriver"):
            DriverRunner(toy).run(ask)
        forever.set()

    def test_a_module_that_is_missing_is_told(self, toy):
        toy.imports = ("json", "no_such_module_here")
        with pytest.raises(BackendNotInstalledError, match="no_such_module_here"):
            DriverRunner(toy).run(ask)

    def test_a_client_that_comes_too_late_is_let_go(self, toy):
        go, gone = threading.Event(), threading.Event()

        def late(deadline):
            go.wait(LIMIT)
            return Client()

        toy.open = late
        toy.abandon = lambda client: gone.set()
        toy.connect_timeout = 0.1
        with pytest.raises(ConnectionFailedError):
            DriverRunner(toy).run(ask)
        go.set()
        assert gone.wait(LIMIT)

    def test_the_probe_runs_once_and_a_failed_one_closes_the_client(self, toy):
        outcomes = [ConnectionFailedError("asleep"), None]

        def probe():
            def steps():
                error = outcomes.pop(0)
                if error:
                    raise error
                yield lambda client: client.call()

            return steps()

        toy.probe = probe
        runner = DriverRunner(toy)
        with pytest.raises(ConnectionFailedError):
            runner.run(ask)
        assert toy.closed == toy.clients
        runner.run(ask)
        runner.run(ask)
        assert len(toy.clients) == 2

    def test_a_client_that_was_handed_in_is_used_and_not_closed(self, toy):
        toy.given = Client()
        runner = DriverRunner(toy)
        runner.run(ask)
        runner.close()
        assert toy.given.open
        assert toy.clients == []


class TestSharing:
    def test_stores_of_one_place_share_and_the_last_one_closes(self):
        one, two = ToyDriver(place="here"), ToyDriver(place="here")
        first, second = DriverRunner(one), DriverRunner(two)
        first.run(ask)
        second.run(ask)
        assert len(one.clients + two.clients) == 1
        first.close()
        second.run(ask)
        assert one.clients[0].open
        second.close()
        assert not one.clients[0].open

    def test_a_store_that_was_dropped_keeps_nobody(self):
        one, two = ToyDriver(place="dropped"), ToyDriver(place="dropped")
        first, second = DriverRunner(one), DriverRunner(two)
        first.run(ask)
        second.run(ask)
        del first
        gc.collect()
        second.close()
        assert not one.clients[0].open

    def test_turns_are_taken_across_the_stores_of_a_place(self):
        runners = [DriverRunner(ToyDriver(place="turns", turns="all")) for _ in range(4)]
        inside, most = [], []

        def work():
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.0005)
            inside.pop()

        for thread, box in [in_thread(lambda r=r: [r.run(change, work) for _ in range(20)]) for r in runners * 2]:
            assert len(ended(thread, box)) == 20
        assert max(most) == 1
        for runner in runners:
            runner.close()

    def test_readers_take_no_turns_where_only_writers_do(self):
        runner = DriverRunner(ToyDriver(turns="writes"))
        both = threading.Barrier(2)
        works = [in_thread(lambda: runner.run(ask, lambda: both.wait(LIMIT))) for _ in range(2)]
        for work in works:
            assert not isinstance(ended(*work), BaseException)


class TestClosing:
    def test_close_waits_for_the_call_that_is_under_way(self, toy):
        runner = DriverRunner(toy)
        inside, go = threading.Event(), threading.Event()

        def work():
            inside.set()
            go.wait(LIMIT)
            return "done"

        call = in_thread(lambda: runner.run(ask, work))
        inside.wait(LIMIT)
        closing = in_thread(runner.close)
        closing[0].join(0.05)
        assert closing[0].is_alive()
        assert toy.clients[0].open
        go.set()
        assert ended(*call) == "done"
        ended(*closing)
        assert toy.closed == toy.clients

    def test_nothing_opens_it_again(self, toy):
        runner = DriverRunner(toy)
        runner.run(ask)
        runner.close()
        runner.close()
        for call in (runner.connect, lambda: runner.run(ask)):
            with pytest.raises(StoreClosedError):
                call()
        assert len(toy.clients) == 1

    @pytest.mark.parametrize("attempt", range(30))
    def test_a_first_call_and_a_close_at_once_leave_nothing_open(self, toy, attempt):
        runner = DriverRunner(toy)
        barrier = threading.Barrier(3)

        def call():
            barrier.wait()
            return runner.run(ask)

        def close():
            barrier.wait()
            runner.close()

        works = [in_thread(call), in_thread(call), in_thread(close)]
        for work in works:
            outcome = ended(*work)
            assert outcome is None or isinstance(outcome, StoreClosedError)
        assert [client for client in toy.clients if client.open] == []

    def test_close_in_the_middle_of_a_call_happens_at_its_end(self, toy):
        runner = DriverRunner(toy)

        def work():
            runner.close()
            assert toy.clients[0].open
            return "done"

        assert runner.run(ask, work) == "done"
        assert toy.closed == toy.clients

    def test_a_call_in_the_middle_of_a_call_is_refused(self, toy):
        runner = DriverRunner(toy)
        with pytest.raises(UnsupportedOperationError, match="in the middle of another call"):
            runner.run(ask, lambda: runner.run(ask))
        runner.run(ask)

    def test_a_call_in_the_middle_of_a_call_works_where_the_driver_says_so(self, toy):
        toy.reentrant = True
        runner = DriverRunner(toy)
        assert runner.run(ask, lambda: runner.run(ask, lambda: 7)) == 7


def until(holds):
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


class Finalizer:
    """Garbage: when it is collected, it makes a call and notes what becomes of it."""

    def __init__(self, call):
        self.me = self
        self.call = call
        self.outcomes = []

    def __del__(self):
        try:
            self.outcomes.append(self.call())
        except Exception as error:
            self.outcomes.append(error)


def collected(call):
    """Have the garbage collector run a finalizer on this thread that makes a call; return what became of the call."""
    outcomes = Finalizer(call).outcomes
    gc.collect()
    return outcomes[0]


class Apart(ToyDriver):
    """Does each request on a new thread."""

    def perform(self, on, request):
        return on_own_thread(lambda: request(on))


class EachOne(ToyDriver):
    """The same, with a look at its folder meanwhile."""

    def perform(self, on, request):
        return while_there(lambda: request(on), self.place, identity(self.place), "the toy")


class OwnThread(ToyDriver):
    """Its engine has a thread, as that of an event loop, which knows nothing of calls."""

    own = threading.local()
    pool = ThreadPoolExecutor(1, initializer=lambda own=own: setattr(own, "thread", True))

    def is_own_thread(self):
        return hasattr(self.own, "thread")

    def perform(self, on, request):
        return self.pool.submit(request, on).result(LIMIT)


@pytest.mark.parametrize("kind", [Apart, EachOne, OwnThread])
class TestFinalizersOnThreadsThatWorkForACall:
    @pytest.mark.parametrize("inner", [ask, change])
    @pytest.mark.parametrize("outer", [ask, change])
    def test_a_call_is_refused(self, kind, outer, inner, tmp_path):
        runner = DriverRunner(kind(place=str(tmp_path), turns="all"))
        outcome = runner.run(outer, lambda: collected(lambda: runner.run(inner)))
        assert isinstance(outcome, UnsupportedOperationError)
        assert runner.run(inner, lambda: 7) == 7
        runner.close()

    def test_a_call_of_another_store_of_the_place_is_refused(self, kind, tmp_path):
        one, other = (DriverRunner(kind(place=str(tmp_path), turns="writes")) for _ in range(2))
        other.run(ask)
        outcome = one.run(change, lambda: collected(lambda: other.run(change)))
        assert isinstance(outcome, UnsupportedOperationError)
        one.close()
        other.close()

    def test_a_call_that_would_wait_for_the_lock_of_writers_is_refused(self, kind, tmp_path):
        path = str(tmp_path / "writers")

        def runner(place):
            os.makedirs(tmp_path / place)
            return DriverRunner(kind(place=str(tmp_path / place), lock_file=path, lock_timeout=2 * LIMIT))

        one, other = runner("one"), runner("other")
        other.run(ask)
        began = time.monotonic()
        outcome = one.run(change, lambda: collected(lambda: other.run(change)))
        assert isinstance(outcome, UnsupportedOperationError)
        assert time.monotonic() - began < LIMIT
        assert other.run(change, lambda: 7) == 7
        one.close()
        other.close()

    def test_a_close_is_done_when_the_call_has_ended(self, kind, tmp_path):
        driver = kind(place=str(tmp_path), turns="all")
        runner = DriverRunner(driver)
        assert runner.run(change, lambda: (collected(runner.close), driver.clients[0].open)) == (None, True)
        until(lambda: driver.closed == driver.clients)
        with pytest.raises(StoreClosedError):
            runner.run(ask)

    def test_another_store_is_closed_there(self, kind, tmp_path):
        driver = ToyDriver()
        runner, other = DriverRunner(kind(place=str(tmp_path))), DriverRunner(driver)
        other.run(ask)
        assert runner.run(change, lambda: collected(other.close)) is None
        until(lambda: driver.closed == driver.clients)
        runner.close()


class TestFinalizersOnThreadsThatOpenClients:
    def test_a_call_is_refused(self, toy):
        outcomes = []
        toy.open = lambda deadline: outcomes.append(collected(lambda: runner.run(ask))) or Client()
        runner = DriverRunner(toy)
        assert runner.run(ask, lambda: 7) == 7
        assert isinstance(outcomes[0], UnsupportedOperationError)

    def test_a_call_of_a_store_that_waits_for_the_opening_is_refused(self, toy):
        """A call of one store opens another; its finalizer calls the first one."""
        outcomes = []
        toy.open = lambda deadline: outcomes.append(collected(lambda: waiting.run(change))) or Client()
        waiting = DriverRunner(ToyDriver(turns="all"))
        assert waiting.run(change, lambda: DriverRunner(toy).run(ask, lambda: 7)) == 7
        assert isinstance(outcomes[0], UnsupportedOperationError)

    def test_a_store_is_closed_there(self, toy):
        driver = ToyDriver()
        other = DriverRunner(driver)
        other.run(ask)
        toy.open = lambda deadline: collected(other.close) or Client()
        DriverRunner(toy).run(ask)
        until(lambda: driver.closed == driver.clients)

    def test_a_child_of_a_fork_can_call_from_its_own_threads(self, toy):
        """Its first thread may have the number of the one that opens a client in the parent."""
        inside, go = threading.Event(), threading.Event()

        def wait(deadline):
            inside.set()
            go.wait(LIMIT)
            return Client()

        slow = ToyDriver()
        slow.open = wait
        opening = in_thread(lambda: DriverRunner(slow).run(ask))
        inside.wait(LIMIT)
        child = os.fork()
        if child == 0:
            try:
                works = [in_thread(lambda: DriverRunner(toy).run(ask, lambda: 7)) for _ in range(4)]
                os._exit(0 if [ended(*work) for work in works] == [7] * 4 else 1)
            finally:
                os._exit(2)
        go.set()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert ended(*opening) is None


class Limit(Exception):
    """As a task queue raises it."""


Limit.__module__ = "somewhere.else"


class TestOutside:
    @pytest.mark.parametrize("kind", [Limit, KeyboardInterrupt, SystemExit])
    def test_it_arrives_as_it_is_and_the_client_is_not_used_again(self, toy, kind):
        runner = DriverRunner(toy)
        error = kind("from outside")

        def work():
            raise error

        with pytest.raises(kind) as caught:
            runner.run(ask, work)
        assert caught.value is error
        runner.run(ask)
        assert toy.abandoned == toy.clients[:1]
        assert len(toy.clients) == 2

    def test_an_embedded_engine_is_closed_before_it_is_opened_anew(self):
        toy = ToyDriver(place="embedded")
        runner = DriverRunner(toy)
        with pytest.raises(Limit):
            runner.run(ask, lambda: (_ for _ in ()).throw(Limit()))
        runner.run(ask)
        assert toy.closed == toy.clients[:1]
        runner.close()

    def test_others_keep_the_client_until_they_are_done(self, toy):
        runner = DriverRunner(toy)
        inside, go = threading.Event(), threading.Event()

        def work():
            inside.set()
            go.wait(LIMIT)
            return toy.clients[0].open

        call = in_thread(lambda: runner.run(ask, work))
        inside.wait(LIMIT)
        with pytest.raises(Limit):
            runner.run(ask, lambda: (_ for _ in ()).throw(Limit()))
        runner.run(ask)
        assert toy.abandoned == []
        go.set()
        assert ended(*call) is True
        assert toy.abandoned == toy.clients[:1]

    def test_an_error_of_the_client_is_no_such_thing(self, toy):
        runner = DriverRunner(toy)
        with pytest.raises(BackendError) as caught:
            runner.run(ask, lambda: {}["what was to be stored"])
        assert isinstance(caught.value.__cause__, KeyError)
        assert "stored" not in str(caught.value)
        runner.run(ask)
        assert len(toy.clients) == 1


class TestHooks:
    @pytest.mark.parametrize("hook", ["open", "begin", "probe", "repeats"])
    def test_a_hook_that_raises_is_named(self, toy, hook):
        def fail(*_, **__):
            raise ZeroDivisionError

        setattr(toy, hook, fail)

        def work():
            raise ConnectionFailedError("so that it may be repeated")

        with pytest.raises(BackendError, match=hook):
            DriverRunner(toy).run(ask, work)

    @pytest.mark.parametrize(("hook", "wrong"), [("open", None), ("begin", 7), ("probe", 7)])
    def test_a_hook_that_returns_a_wrong_thing_is_named(self, toy, hook, wrong):
        setattr(toy, hook, lambda *_, **__: wrong)
        with pytest.raises(BackendError, match=hook):
            DriverRunner(toy).run(ask)

    def test_a_translation_that_fails_hides_nothing(self, toy):
        toy.translate = lambda error: {}[0]
        with pytest.raises(BackendError, match="ZeroDivisionError"):
            DriverRunner(toy).run(ask, lambda: 1 / 0)

    def test_a_close_that_fails_is_no_error(self, toy):
        def fail(client):
            raise OSError

        toy.close = fail
        runner = DriverRunner(toy)
        runner.run(ask)
        runner.close()

    def test_what_begin_gives_is_what_the_steps_work_on(self, toy):
        seen = []

        @contextmanager
        def begin(client, *, write):
            seen.append(write)
            try:
                yield "a connection"
            except Exception as error:
                seen.append(type(error))
                raise
            else:
                seen.append("commit")

        toy.begin = begin

        @writes
        def steps(fail):
            on = yield lambda connection: connection
            if fail:
                raise StoreClosedError("any of ours")
            return on

        runner = DriverRunner(toy)
        assert runner.run(steps, False) == "a connection"
        with pytest.raises(StoreClosedError):
            runner.run(steps, True)
        assert seen == [True, "commit", True, StoreClosedError]

    def test_a_failure_is_repeated_once_where_the_driver_allows_it(self, toy):
        toy.repeats = lambda error, write: not write
        runner = DriverRunner(toy)
        calls = []

        def work():
            calls.append(1)
            if len(calls) % 2:
                raise ConnectionFailedError("away")

        runner.run(ask, work)
        assert len(calls) == 2
        with pytest.raises(ConnectionFailedError):
            runner.run(change, work)
        assert len(calls) == 3

    @pytest.mark.parametrize("kind", [ConnectionFailedError, RuntimeError])
    def test_a_client_that_a_failure_spoiled_is_replaced(self, toy, kind):
        spoiled = []
        toy.spoiled = lambda client: client in spoiled
        runner = DriverRunner(toy)

        def fail():
            raise kind("the engine rolled back")

        with pytest.raises((ConnectionFailedError, BackendError)):
            runner.run(change, fail)
        assert len(toy.clients) == 1
        runner.run(ask)
        assert len(toy.clients) == 1
        spoiled.append(toy.clients[0])
        with pytest.raises((ConnectionFailedError, BackendError)):
            runner.run(change, fail)
        runner.run(ask)
        assert len(toy.clients) == 2

    @pytest.mark.parametrize("interrupt", [KeyboardInterrupt, None])
    def test_who_waits_for_a_turn_does_not_get_a_broken_client(self, interrupt):
        toy = ToyDriver(place=f"a toy and {interrupt}", turns="all", spoiled=lambda client: client is toy.clients[0])
        runner = DriverRunner(toy)
        begun, go = threading.Event(), threading.Event()

        def fail():
            begun.set()
            assert go.wait(LIMIT)
            raise (interrupt or ConnectionFailedError)("away")

        first, outcome = in_thread(lambda: runner.run(change, fail))
        assert begun.wait(LIMIT)
        second, used = in_thread(lambda: runner.run(ask, lambda: len(toy.clients)))
        while len(runner._ready.calls) < 2:  # it is registered, then it waits
            assert second.is_alive()
            time.sleep(0.001)
        go.set()
        assert isinstance(ended(first, outcome), interrupt or ConnectionFailedError)
        assert ended(second, used) == 2

    def test_a_pause_is_slept(self, toy):
        @reads
        def steps():
            yield Pause(0.01)
            return "awake"

        start = time.monotonic()
        assert DriverRunner(toy).run(steps) == "awake"
        assert time.monotonic() - start >= 0.01


class TestPlaces:
    @pytest.mark.parametrize("write", [True, False], ids=["by the next write", "by a read a millisecond later"])
    def test_a_folder_that_was_removed_or_replaced_is_opened_anew(self, tmp_path, monkeypatch, *, write):
        if not write:
            monkeypatch.setattr("praisonai_persistence.drivers.synchronous._GLANCE", 0.0)
        folder = tmp_path / "data"
        folder.mkdir()
        toy = ToyDriver(place=str(folder), path=str(folder))
        runner = DriverRunner(toy)
        runner.run(ask)
        runner.run(ask)
        assert len(toy.clients) == 1
        folder.rename(tmp_path / "old")
        folder.mkdir()
        runner.run(change if write else ask)
        assert len(toy.clients) == 2
        assert toy.closed == toy.clients[:1]
        runner.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestForks:
    @staticmethod
    def in_child(work):
        """Return what ``work`` returned in a forked child, as text."""
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                answer = str(work())
            except BaseException as error:
                answer = f"{type(error).__name__}: {error}"
            os.write(writer, answer.encode())
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as pipe:
            answer = pipe.read().decode()
        os.waitpid(pid, 0)
        return answer

    def test_the_child_opens_its_own_and_leaves_the_parents_alone(self, toy):
        runner = DriverRunner(toy)
        runner.run(ask)

        def work():
            runner.run(ask)
            return len(toy.clients), toy.closed, toy.abandoned

        assert self.in_child(work) == "(2, [], [])"
        runner.run(ask)
        assert len(toy.clients) == 1

    def test_the_child_is_refused_where_the_engine_does_not_survive(self, toy):
        toy.forks = "refuse"
        runner = DriverRunner(toy)
        runner.run(ask)
        assert "spawn" in self.in_child(lambda: runner.run(ask))
        assert self.in_child(lambda: (DriverRunner(toy).run(ask), "fresh")[1]) == "fresh"

    def test_a_fork_in_the_middle_of_another_threads_call(self, toy):
        runner = DriverRunner(toy)
        inside, go = threading.Event(), threading.Event()
        call = in_thread(lambda: runner.run(ask, lambda: (inside.set(), go.wait(LIMIT))))
        inside.wait(LIMIT)
        assert self.in_child(lambda: (runner.run(ask), runner.close(), "works")[-1]) == "works"
        go.set()
        ended(*call)

    @pytest.mark.parametrize("place", [None, "here"])
    def test_a_client_that_is_closed_before_a_fork(self, toy, place):
        toy.forks, toy.place = "close", place
        runner = DriverRunner(toy)
        runner.run(ask)
        in_use = [client.open for client in toy.clients]

        def work():
            runner.run(ask)
            return [client.open for client in toy.clients]

        assert (in_use, self.in_child(work)) == ([True], "[False, True]")
        runner.run(ask)
        assert [client.open for client in toy.clients] == [False, True]
        runner.close()

    @pytest.mark.parametrize("what", ["opening", "call"])
    def test_a_fork_waits_for_other_threads(self, toy, what):
        begun, go, make = threading.Event(), threading.Event(), toy.open

        def wait():
            begun.set()
            go.wait(LIMIT)

        def slowly(deadline):
            wait()
            return make(deadline)

        toy.forks, toy.place, toy.turns = "close", "here", "all"
        runner = DriverRunner(toy)
        if what == "opening":
            toy.open = slowly
            other = in_thread(lambda: runner.run(ask))
        else:
            other = in_thread(lambda: runner.run(ask, wait))
        assert begun.wait(LIMIT)
        threading.Timer(0.2, go.set).start()  # this thread waits in the fork by then
        assert self.in_child(lambda: (runner.run(ask), len(toy.clients), len(toy.closed))) == "(None, 2, 1)"
        ended(*other)
        runner.run(ask)
        assert (len(toy.clients), len(toy.closed)) == (2, 1)
        runner.close()

    def test_the_child_of_a_fork_in_the_middle_of_a_call_of_its_thread_is_refused(self, toy):
        toy.forks = "close"
        runner = DriverRunner(toy)
        assert "spawn" in runner.run(ask, lambda: self.in_child(lambda: runner.run(ask)))
        runner.run(ask)
        assert toy.closed == []
        runner.close()

    def test_a_fork_that_cannot_wait_is_made_all_the_same(self, toy, monkeypatch):
        monkeypatch.setattr(shared, "_FORK_WAIT", 0.05)
        toy.forks, go, inside = "close", threading.Event(), threading.Event()
        runner = DriverRunner(toy)
        call = in_thread(lambda: runner.run(ask, lambda: (inside.set(), go.wait(LIMIT))))
        assert inside.wait(LIMIT)
        assert "spawn" in self.in_child(lambda: runner.run(ask))
        go.set()
        ended(*call)
        runner.run(ask)
        assert len(toy.clients) == 2
        runner.close()


# ------------------------------------------------------------------------------------------- stores that must exist


def test_a_store_that_must_exist_is_not_opened_where_there_is_none(tmp_path):
    place = tmp_path / "data"
    driver = ToyDriver(path=str(place), place=str(place))
    runner = DriverRunner(driver)
    runner.expect_existing()
    for call in (runner.connect, lambda: runner.run(ask), lambda: runner.run(change)):
        with pytest.raises(StoreNotFoundError, match="there is no store yet: the toy"):
            call()
    assert driver.clients == []
    place.mkdir()
    runner.run(ask)
    place.rmdir()  # gone again: it is not made anew
    with pytest.raises(StoreNotFoundError):
        runner.run(change)
    assert len(driver.clients) == 1
    runner.close()


def test_a_driver_may_look_for_more_than_its_path(tmp_path):
    class Looking(ToyDriver):
        def exists(self):
            return os.path.exists(os.path.join(self.path, "marker"))

    driver = Looking(path=str(tmp_path), place=str(tmp_path))
    runner = DriverRunner(driver)
    runner.expect_existing()
    with pytest.raises(StoreNotFoundError):
        runner.connect()
    (tmp_path / "marker").touch()
    runner.connect()
    runner.close()


def test_an_exists_that_fails_is_a_backend_error():
    class Failing(ToyDriver):
        def exists(self):
            raise RuntimeError("text")

    runner = DriverRunner(Failing())
    runner.expect_existing()
    with pytest.raises(BackendError, match=r"exists\(\) of Failing"):
        runner.connect()


def test_a_server_has_nothing_to_look_for():
    runner = DriverRunner(ToyDriver())
    runner.expect_existing()
    runner.connect()
    runner.close()


# ----------------------------------------------------------------------------------------- dropped, and left to the end


def closes(client):
    end = time.monotonic() + LIMIT
    while client.open and time.monotonic() < end:
        time.sleep(0.001)  # it is closed on a thread
    return not client.open


def test_a_runner_that_was_dropped_in_a_cycle_has_its_client_closed(toy):
    """Python calls back no weak reference that is garbage together with what it refers to."""
    closed = threading.Event()
    toy.close = lambda client: closed.set()
    around = [DriverRunner(toy)]
    around[0].run(ask)
    around.append(around)
    del around
    gc.collect()
    assert closed.wait(LIMIT)


@pytest.mark.parametrize("place", [None, "here"])
def test_a_runner_that_was_dropped_has_its_client_closed(toy, place):
    toy.place = place
    runner, other = DriverRunner(toy), DriverRunner(toy)
    runner.run(ask)
    other.run(ask)
    del runner
    gc.collect()
    assert other.run(lambda: iter(())) is None
    if place is not None:
        assert [client.open for client in toy.clients] == [True], "another runner uses it"
    del other
    gc.collect()
    assert all(closes(client) for client in toy.clients)
    again = DriverRunner(toy)
    again.run(ask)
    assert toy.clients[-1].open
    again.close()


AT_THE_END = """
import atexit
import threading


@atexit.register
def last():  # behind what the core does at the end
    runner.run(ask)
    print("works")
    runner.close()
    go.set()
    thread.join()


from praisonai_persistence.drivers import Driver, DriverRunner
from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.steps import reads


class Toy(Driver):
    where = place = "the toy"

    def open(self, deadline):
        print("open")
        return self

    def close(self, client):
        print("close")


@reads
def ask():
    yield lambda client: None


def in_a_thread():
    go.wait()
    try:
        DriverRunner(Toy()).run(ask)
    except UnsupportedOperationError as error:
        print(error)


go = threading.Event()
thread = threading.Thread(target=in_a_thread, daemon=True)
thread.start()
runner = DriverRunner(Toy())
runner.run(ask)
"""


def test_the_end_of_a_process_closes_what_is_open():
    """A later handler opens it again; a daemon thread does not."""
    ran = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=30, check=True)
    refused = "the toy is not opened any more: the process is about to end"
    assert ran.stdout.splitlines() == ["open", "close", "open", "works", "close", refused]
    assert ran.stderr == ""


WHILE_IT_IS_OPENED = """
import sys, threading

from praisonai_persistence.drivers import Driver, DriverRunner
from praisonai_persistence.steps import reads


class Toy(Driver):
    where = "the toy"

    def open(self, deadline):
        opening.set()
        threading.Event().wait(0.2)
        print("open")
        return object()

    def close(self, client):
        threading.Event().wait(0.2)
        print("close")


@reads
def ask():
    yield lambda client: print("asked")


def forever():
    runner = DriverRunner(Toy())
    try:
        while True:
            runner.run(ask)
            if sys.argv[1] == "dropped":
                break
    except BaseException:
        pass
    del runner
    done.set()


opening, done = threading.Event(), threading.Event()
threading.Thread(target=forever, daemon=True).start()
opening.wait()
if sys.argv[1] == "dropped":
    done.wait()
"""


def test_the_end_of_a_process_waits_for_a_client_that_is_being_opened():
    """Python would end its thread within the engine's own code."""
    command = [sys.executable, "-c", WHILE_IT_IS_OPENED, "opening"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    said = ran.stdout.splitlines()
    assert said[0] == "open"
    assert said[-1] == "close"
    assert ran.stderr == ""


def test_the_end_of_a_process_waits_until_the_client_of_a_dropped_store_is_closed():
    command = [sys.executable, "-c", WHILE_IT_IS_OPENED, "dropped"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.splitlines() == ["open", "asked", "close"]
    assert ran.stderr == ""


def test_what_is_raised_into_translate_from_outside_reaches_the_caller(toy):
    limit = Limit()

    def translate(error):
        raise limit

    def fail():
        raise OSError("lost")

    toy.translate = translate
    runner = DriverRunner(toy)
    with pytest.raises(Limit) as raised:
        runner.run(ask, fail)
    assert raised.value is limit
    assert runner.run(ask) is None
    assert len(toy.clients) == 2, "the state of the first one is not known"


def test_a_client_that_is_connected_is_kept_after_a_failure(toy):
    toy.lost = "reopen"

    def fail(*_given):
        error = ConnectionFailedError("nobody knows what became of it")
        error.connected = True
        raise error

    runner = DriverRunner(toy)
    with pytest.raises(ConnectionFailedError):
        runner.run(ask, fail)
    runner.run(ask)
    assert len(toy.clients) == 1


@pytest.mark.parametrize(("lost", "clients"), [("keep", 1), ("reopen", 2)])
@pytest.mark.parametrize("place", ["a request", "begin()"])
def test_a_client_that_has_lost_its_server_is_replaced_where_the_driver_says_so(toy, lost, clients, place):
    toy.lost = lost
    toy.translate = lambda error: ConnectionFailedError("gone") if isinstance(error, OSError) else None
    begin = toy.begin

    def fail(*_given, **_named):
        raise OSError("lost")

    runner = DriverRunner(toy)
    runner.run(ask)
    toy.begin = fail if place == "begin()" else begin
    with pytest.raises(ConnectionFailedError):
        runner.run(ask, fail)
    toy.begin = begin
    with pytest.raises(BackendError):  # another failure changes nothing
        runner.run(ask, lambda: {}[0])
    runner.run(ask)
    assert len(toy.clients) == clients
