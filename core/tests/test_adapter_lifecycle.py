"""Interrupts, re-entry, closing, forks and copies of the adapter, the orchestrator, session stores and the bridge."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import pickle
import threading

import pytest

from praisonai_persistence import bridge, db
from praisonai_persistence._reach import Reach
from praisonai_persistence.drivers import AsyncDriverRunner, Driver, Options, make_runner, option
from praisonai_persistence.errors import (
    ConnectionFailedError,
    PersistenceError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.memory import AsyncMemoryStateStore, MemoryConversationStore, MemoryStateStore
from praisonai_persistence.orchestrator import PersistenceOrchestrator
from praisonai_persistence.sessions import StoreBackedSessionStore
from praisonai_persistence.stores.runners import DirectRunner, Runner, ThreadRunner
from praisonai_persistence.testing._places import Watched, Worker, visit


class SoftLimitError(Exception):
    """As celery's: an ``Exception``, raised by a signal handler."""


def raise_soft_limit():
    raise SoftLimitError


def adapter():
    return db(conversation_store=MemoryConversationStore(), state_store=MemoryStateStore())


def use_adapter(one, session_id):
    one.on_agent_start("agent", session_id)
    one.on_run_start(session_id, "run", "hello")
    one.on_user_message(session_id, "hello", message_id="m1")
    one.on_run_end(session_id, "run", "done")
    return [message.content for message in one.on_agent_start("agent", session_id)]


def use_orchestrator(one, session_id):
    one.on_agent_start(None, session_id)
    one.on_message(session_id, "user", "hello", message_id="m1")
    one.set_state(session_id, 1)
    return [message.content for message in one.get_messages(session_id)]


def use_sessions(one, session_id):
    one.set_agent_info(session_id, "agent")
    one.set_chat_history(session_id, [{"role": "user", "content": "hello"}])
    return [message["content"] for message in one.get_chat_history(session_id)]


PLACES = {
    "adapter": (adapter, use_adapter),
    "orchestrator": (
        lambda: PersistenceOrchestrator(MemoryConversationStore(), state_store=MemoryStateStore()),
        use_orchestrator,
    ),
    "sessions": (lambda: StoreBackedSessionStore(MemoryConversationStore()), use_sessions),
}


@pytest.fixture(params=list(PLACES))
def place(request):
    return PLACES[request.param]


def every_place(make, use, act):
    """Yield for each place: its store, its session and what came of it, when ``act(store)`` is done there."""
    first = make()
    count = visit(lambda: use(first, "s"), Watched(first), None, lambda: None).places
    assert count > 50
    one = make()
    for number in range(1, count + 1, 3):
        session_id = f"s{number}"
        found = visit(lambda s=session_id: use(one, s), Watched(one), number, lambda: act(one))
        yield one, session_id, found


def test_an_exception_from_outside_goes_out_unchanged_at_every_place_and_the_next_call_works(place):
    make, use = place

    def sweep():
        raised = 0
        for one, session_id, found in every_place(make, use, lambda _: raise_soft_limit()):
            if found.error is not None:
                assert type(found.error) is SoftLimitError, found
                raised += 1
            assert use(one, session_id) == ["hello"], found.where
        return raised

    assert Worker().do(sweep, 60) > 10


def test_a_call_in_the_middle_of_another_one_works_at_every_place(place):
    make, use = place

    def sweep():
        for _one, _session_id, found in every_place(make, use, lambda one: use(one, "inner")):
            assert found.error is None, found
            assert found.result == ["hello"], found.where

    Worker().do(sweep, 60)


def test_closing_in_the_middle_of_a_call_ends_it_with_a_typed_error_or_lets_it_end(place):
    make, use = place

    def sweep():
        first = make()
        count = visit(lambda: use(first, "s"), Watched(first), None, lambda: None).places
        for number in range(1, count + 1, 5):
            one = make()
            found = visit(lambda one=one: use(one, "s"), Watched(one), number, one.close)
            assert found.error is None or type(found.error) is StoreClosedError, found
            with pytest.raises(StoreClosedError):
                use(one, "s")

    Worker().do(sweep, 60)


class WithPassword(Options):
    title, schemes, servers = "Toy", ("toy",), True
    default_host, default_port = "localhost", 7
    password = option("a secret", "text", "lets in")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize(
    "make",
    [
        *(make for make, _ in PLACES.values()),
        lambda: db.aio("sqlite:///x.db"),
        lambda: bridge.as_sync(AsyncMemoryStateStore()),
        lambda: bridge.as_async(MemoryStateStore()),
        bridge.Threads,
        Driver,
        lambda: make_runner(Driver()),
        lambda: make_runner(Driver(), asynchronous=True),
        lambda: AsyncDriverRunner(Driver()),
        DirectRunner,
        WithPassword,
    ],
)
def test_nothing_that_holds_connections_is_copied(make, copied):
    with pytest.raises(UnsupportedOperationError, match="cannot be pickled or copied"):
        copied(make())


def test_a_close_that_was_interrupted_is_completed_by_the_next_one(monkeypatch):
    closed = []

    class Conversations(MemoryConversationStore):
        def close(self):
            closed.append("conversation")
            if len(closed) == 1:
                raise KeyboardInterrupt
            super().close()

    class States(MemoryStateStore):
        def close(self):
            closed.append("state")
            super().close()

    from praisonai_persistence import _sources

    monkeypatch.setitem(_sources._OPEN, "conversation", lambda url, mode, **options: Conversations())
    monkeypatch.setitem(_sources._OPEN, "state", lambda url, mode, **options: States())
    one = db("x://")
    use_adapter(one, "s")
    with pytest.raises(KeyboardInterrupt):
        one.close()
    with pytest.raises(StoreClosedError):
        one.on_agent_start("agent", "s")
    one.close()
    assert closed == ["conversation", "conversation", "state"]


def test_a_store_is_opened_once_also_by_a_call_inside_of_the_opening(monkeypatch):
    from praisonai_persistence import _sources

    made = []

    def make(url, mode, **options):
        made.append(MemoryConversationStore())
        if len(made) == 1:
            inner.append(one.conversation)  # as a finalizer does
        return made[-1]

    inner = []
    monkeypatch.setitem(_sources._OPEN, "conversation", make)
    one = db("x://")
    outer = Worker().do(lambda: one.conversation, 10)
    assert outer is inner[0] is one.conversation


def test_a_server_may_be_called_in_the_middle_of_what_is_noted_about_it():
    reach = Reach("the store", retries=0, spread=lambda low, high: inner() or high)
    calls = []

    def inner():
        if not calls:
            calls.append(1)
            reach.begin()
        return 0.0

    def outer():
        with pytest.raises(ConnectionFailedError):
            for _ in range(3):
                reach.failed(reach.begin(), 0, ConnectionFailedError("gone"))

    Worker().do(outer, 10)
    assert calls


def test_an_interrupted_call_over_the_bridge_is_waited_for_until_its_deadline(monkeypatch):
    monkeypatch.setattr(bridge, "GRACE", 0.05)
    release = threading.Event()
    begun = threading.Event()

    async def stubborn():
        begun.set()
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    class Interrupted(bridge.Latch):
        def wait(self, timeout=None):
            if timeout is not None:
                return super().wait(timeout)
            begun.wait(10)
            raise KeyboardInterrupt

    monkeypatch.setattr(bridge, "Latch", Interrupted)

    def call():
        with pytest.raises(KeyboardInterrupt):
            bridge.run_sync(stubborn)

    try:
        Worker().do(call, 5)
    finally:
        release.set()


class Direct(Runner):
    def connect(self):
        return

    def run(self, operation, *args, **kwargs):
        return operation(*args, **kwargs)

    def close(self):
        return


def test_calls_on_threads_that_meet_the_close_get_typed_errors():
    async def calls(runner, errors):
        for _ in range(200):
            try:
                await runner.run(lambda: None)
            except PersistenceError as error:
                errors.append(error)
                return

    for _ in range(20):
        runner, errors, raw = ThreadRunner(Direct()), [], []

        def loop(runner=runner, errors=errors, raw=raw):
            try:
                asyncio.run(calls(runner, errors))
            except BaseException as error:
                raw.append(error)  # noqa: B023  the name of the handler itself

        threads = [threading.Thread(target=loop) for _ in range(3)]
        for thread in threads:
            thread.start()
        asyncio.run(runner.close())
        for thread in threads:
            thread.join(30)
        assert not raw
        assert {type(error) for error in errors} <= {StoreClosedError}


def _in_child(use, queue):
    queue.put(use())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_bridge_and_an_adapter_work_in_a_forked_child():
    store = bridge.as_sync(AsyncMemoryStateStore())
    store.set("a", 1)
    one = adapter()
    use_adapter(one, "s")
    asyncio.run(one.aon_agent_start("agent", "s"))

    def use():
        store.set("b", 2)
        asyncio.run(one.aon_user_message("s", "more", message_id="m2"))
        return store.get("b"), use_adapter(one, "other")

    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(use, queue))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == (2, ["hello"])


def test_one_adapter_serves_several_loops_at_once():
    one = adapter()
    barrier = threading.Barrier(4)
    raised = []

    async def talk(name):
        await one.aon_agent_start("agent", name)
        for number in range(20):
            await one.aon_user_message(name, "hello", message_id=f"m{number}")

    def loop(name):
        barrier.wait(10)
        try:
            asyncio.run(talk(name))
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=loop, args=(f"s{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not raised
    assert [len(one.on_agent_start("agent", f"s{number}")) for number in range(4)] == [20] * 4
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("praisonai-persistence_")]) <= 8
    asyncio.run(one.aclose())
