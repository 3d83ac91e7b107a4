"""Sync callers of async stores and the reverse: from scripts, threads, running loops, and after forks."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from praisonai_persistence import (
    AsyncConversationStore,
    AsyncKnowledgeStore,
    AsyncStateStore,
    ConversationMessage,
    ConversationSession,
    ConversationStore,
    InvalidValueError,
    KnowledgeDocument,
    KnowledgeStore,
    SessionNotFoundError,
    StateStore,
    StoreClosedError,
    StoreNotFoundError,
    UnsupportedOperationError,
    as_async,
    as_sync,
)
from praisonai_persistence.bridge import Threads, _bridge, _Loop, run_sync
from praisonai_persistence.memory import (
    AsyncMemoryConversationStore,
    AsyncMemoryKnowledgeStore,
    AsyncMemoryStateStore,
    MemoryConversationStore,
    MemoryKnowledgeStore,
    MemoryStateStore,
)
from praisonai_persistence.memory._data import Data
from praisonai_persistence.memory.state import MemoryStateSteps
from praisonai_persistence.stores import AsyncStepStateStore, DirectRunner, StepStateStore, ThreadRunner

LIMIT = 60.0
"""Seconds; only a deadlock takes as long."""


# In its debug mode asyncio warns of what is slow, as much is on a busy machine.
QUIET = "import logging; logging.getLogger('asyncio').setLevel(logging.ERROR)\n"


def python(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", QUIET + textwrap.dedent(code), *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        **options,
    )


# --------------------------------------------------------------------------------------------------------------- stores


@pytest.mark.parametrize(
    ("store", "interface"),
    [
        (AsyncMemoryConversationStore, ConversationStore),
        (AsyncMemoryKnowledgeStore, KnowledgeStore),
        (AsyncMemoryStateStore, StateStore),
    ],
)
def test_what_stands_for_an_async_store_is_a_sync_store(store, interface):
    bridged = as_sync(store())
    assert isinstance(bridged, interface)
    assert bridged.kind == store.kind
    assert bridged.backend == store.backend
    assert bridged.capabilities == store().capabilities
    assert as_sync(bridged) is bridged
    for name in dir(interface):
        if not name.startswith("_") and inspect.isfunction(getattr(interface, name)):
            assert not inspect.iscoroutinefunction(getattr(bridged, name)), name
            assert inspect.signature(getattr(bridged, name)) is not None
    bridged.close()


@pytest.mark.parametrize(
    ("store", "interface"),
    [
        (MemoryConversationStore, AsyncConversationStore),
        (MemoryKnowledgeStore, AsyncKnowledgeStore),
        (MemoryStateStore, AsyncStateStore),
    ],
)
def test_what_stands_for_a_sync_store_is_an_async_store(store, interface):
    bridged = as_async(store())
    assert isinstance(bridged, interface)
    assert (bridged.kind, bridged.backend) == (store.kind, store.backend)
    assert bridged.capabilities == store().capabilities
    assert as_async(bridged) is bridged
    assert inspect.iscoroutinefunction(bridged.close)
    asyncio.run(bridged.close())


def test_what_is_no_store_is_refused():
    for wrong in (None, "memory://", object(), dict):
        with pytest.raises(InvalidValueError, match="is no store"):
            as_sync(wrong)
        with pytest.raises(InvalidValueError, match="is no store"):
            as_async(wrong)
    with pytest.raises(InvalidValueError, match="threads must be above 0"):
        as_async(MemoryStateStore(), threads=0)


def test_calls_iterations_and_errors_cross_to_an_async_store():
    with as_sync(AsyncMemoryStateStore()) as state:
        state.set_many({f"key {number:03}": number for number in range(250)})
        assert sorted(state.scan_prefix("key ")) == sorted(state.keys())
        some = state.scan_prefix("")
        assert next(some).startswith("key ")
        some.close()
        assert list(state.scan_prefix("other")) == []
        with pytest.raises(InvalidValueError):
            state.get("")
    with pytest.raises(StoreClosedError):
        state.get("key 001")
    with pytest.raises(StoreClosedError):
        list(state.scan_prefix("key"))
    state.close()


def test_calls_iterations_and_errors_cross_to_a_sync_store():
    async def main():
        async with as_async(MemoryStateStore(), threads=2) as state:
            await state.set_many({f"key {number:03}": number for number in range(250)})
            assert sorted([key async for key in state.scan_prefix("key ")]) == sorted(await state.keys())
            assert [key async for key in state.scan_prefix("other")] == []
            with pytest.raises(InvalidValueError):
                await state.get("")
        with pytest.raises(StoreClosedError):
            await state.get("key 001")
        with pytest.raises(StoreClosedError):
            [key async for key in state.scan_prefix("key")]
        await state.close()

    asyncio.run(main())


def test_what_is_raised_in_the_midst_of_an_iteration_comes_behind_its_items():
    class Failing(MemoryStateStore):
        def scan_prefix(self, prefix):
            yield from ("a", "b")
            raise InvalidValueError("enough")

    class AsyncFailing(AsyncMemoryStateStore):
        async def scan_prefix(self, prefix):
            for key in ("a", "b"):
                yield key
            raise InvalidValueError("enough")

    async def main():
        seen = []
        with pytest.raises(InvalidValueError, match="enough"):
            async for key in as_async(Failing()).scan_prefix(""):
                seen.append(key)
        assert seen == ["a", "b"]

    asyncio.run(main())
    seen = []
    with pytest.raises(InvalidValueError, match="enough"):
        for key in as_sync(AsyncFailing()).scan_prefix(""):
            seen.append(key)
    assert seen == ["a", "b"]


def test_what_a_backend_has_beyond_its_kind_is_bridged_too():
    class Extra(AsyncMemoryStateStore):
        answer = 42

        async def more(self, add):
            return self.answer + add

    class SyncExtra(MemoryStateStore):
        def more(self, add):
            return threading.get_ident(), add

    bridged = as_sync(Extra())
    assert (bridged.answer, bridged.more(add=1)) == (42, 43)
    with pytest.raises(AttributeError):
        bridged.less()
    thread, add = asyncio.run(as_async(SyncExtra()).more(add=2))
    assert (thread != threading.get_ident(), add) == (True, 2)
    bridged.close()
    with pytest.raises(StoreClosedError):
        bridged.more(1)


def test_a_conversation_and_knowledge_over_the_bridge():
    store = as_sync(AsyncMemoryConversationStore())
    with pytest.raises(SessionNotFoundError) as caught:
        store.add_message("s", ConversationMessage(content="x"))
    assert "test_bridge.py" in str(caught.traceback[0].path)
    store.upsert_session(ConversationSession("s"))
    store.add_messages("s", [ConversationMessage(content=str(number)) for number in range(3)])
    assert [message.content for message in store.get_messages("s", limit=2)] == ["1", "2"]
    assert store.count_messages("s") == 3
    assert store.fork_session("s", 1, "t").session_id == "t"
    knowledge = as_sync(AsyncMemoryKnowledgeStore())
    knowledge.create_collection("c", 2)
    knowledge.insert("c", [KnowledgeDocument("d", "text", [1.0, 0.0])])
    assert [found.id for found in knowledge.search("c", [1.0, 0.0], with_embeddings=True)] == ["d"]


# ------------------------------------------------------------------------------------------------------- where it works


def test_inside_a_running_loop():
    """A web handler or a notebook: the thread's own loop runs while a sync method is called."""
    store = as_sync(AsyncMemoryStateStore())

    async def main():
        for _ in range(10):
            store.incr("n")
        return store.get("n")

    assert asyncio.run(main()) == 10
    assert asyncio.run(main()) == 20  # another loop
    store.close()


def test_from_many_threads_at_once():
    store = as_sync(AsyncMemoryStateStore())
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait(LIMIT)
        return [store.incr("n") for _ in range(50)]

    with ThreadPoolExecutor(8) as pool:
        given = [number for numbers in pool.map(work, range(8)) for number in numbers]
    assert sorted(given) == list(range(1, 401))
    assert sum(thread.name == "praisonai-persistence-bridge" for thread in threading.enumerate()) == 1


def test_on_threads_of_a_running_loop():
    store = as_sync(AsyncMemoryStateStore())

    async def main():
        return sorted(await asyncio.gather(*(asyncio.to_thread(store.incr, "n") for _ in range(20))))

    assert asyncio.run(main()) == list(range(1, 21))


def test_on_its_own_loop_it_refuses_instead_of_waiting_for_itself():
    store = as_sync(AsyncMemoryStateStore())

    async def inside():
        return store.get("key")

    with pytest.raises(UnsupportedOperationError, match="would wait for itself"):
        run_sync(inside)
    assert store.get("key") is None  # and it goes on working

    async def on_a_thread():
        return await asyncio.to_thread(store.get, "key", "works")

    assert run_sync(on_a_thread) == "works"


def test_what_a_cancelled_task_starts_has_ended_before_the_loop(leftovers):
    loop = _Loop()
    loop.run(leftovers.begin, (), {})
    running = loop._running()
    loop._stop()
    assert running.is_closed()
    assert leftovers.seen == ["asked", "followed", "asked again"]
    assert all(task.done() for task in leftovers.tasks)


def test_a_plain_script_leaves_nothing_behind():
    ended = python(
        """
        import atexit
        from praisonai_persistence import as_sync, create_state_store
        store = create_state_store("async_memory", mode="auto")
        bridged = as_sync(store)
        bridged.set("key", 1)
        atexit.register(lambda: print("at exit", bridged.get("key")))
        print(bridged.get("key"))
        """
    )
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "1\nat exit 1\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_its_own_loop():
    store = as_sync(AsyncMemoryStateStore(name="test-bridge-fork"))
    store.set("key", "before")
    going_on = threading.Event()

    async def wait():
        while not going_on.is_set():
            await asyncio.sleep(0.005)

    busy = threading.Thread(target=run_sync, args=(wait,))
    busy.start()
    child = os.fork()
    if child == 0:
        signal.alarm(int(LIMIT))
        status = 1
        try:
            store.set("key", "in the child")
            status = 0 if store.get("key") == "in the child" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    going_on.set()
    busy.join(LIMIT)
    assert not busy.is_alive()
    assert store.get("key") == "before"


# ------------------------------------------------------------------------------------------- contexts, errors, the end


def test_context_variables_go_over_and_do_not_come_back():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("caller's")

    async def change():
        seen = variable.get()
        variable.set("changed")
        await asyncio.sleep(0)
        return seen, variable.get()

    def change_now():
        seen = variable.get()
        variable.set("changed")
        return seen, variable.get()

    assert run_sync(change) == ("caller's", "changed")
    assert variable.get() == "caller's"

    async def main():
        threads = Threads(1)
        try:
            return await threads.run(change_now), variable.get()
        finally:
            await threads.close()

    assert asyncio.run(main()) == (("caller's", "changed"), "caller's")


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), asyncio.CancelledError(), TimeoutError()])
def test_exceptions_are_the_callers(error):
    async def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        run_sync(fail)
    assert caught.value is error

    async def fine():
        return "and the loop goes on"

    assert run_sync(fine) == "and the loop goes on"


def test_a_timeout_inside_a_call():
    async def late():
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)

    with pytest.raises(asyncio.TimeoutError):
        run_sync(late)


def test_an_interrupt_calls_off_what_it_waits_for():
    """The interrupt comes at the moment at which the call says that it runs; the process then ends by itself."""
    ended = python(
        """
        import asyncio, os, signal
        from praisonai_persistence.bridge import run_sync

        async def wait():
            try:
                print("waiting", flush=True)
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.Event().wait()
            finally:
                print("called off", flush=True)

        async def fine():
            return "goes on"

        try:
            run_sync(wait)
        except KeyboardInterrupt:
            print("interrupted")
        print(run_sync(fine))
        """
    )
    assert (ended.returncode, ended.stdout.split("\n")) == (0, ["waiting", "called off", "interrupted", "goes on", ""])


def test_another_call_at_every_place_of_a_call():
    """As a signal handler makes one: also at the places of the standard library that the call comes through."""
    done = python(
        """
        import faulthandler, sys
        from praisonai_persistence.bridge import run_sync

        async def work():
            pass

        faulthandler.dump_traceback_later(120, exit=True)
        places = 0

        def call_at(place):
            seen = 0

            def trace(frame, event, argument):
                nonlocal seen
                if seen == place:
                    sys.settrace(None)
                    run_sync(work)
                seen += 1
                return trace

            sys.settrace(trace)
            run_sync(work)
            sys.settrace(None)
            return seen > place

        run_sync(work)
        while call_at(places):
            places += 1
        print(places)
        """
    )
    assert not done.stderr
    assert int(done.stdout) > 20


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_while_the_call_is_handed_over(monkeypatch, begun):
    loop = _bridge._running()
    hand_over = loop.call_soon_threadsafe
    started, called_off = threading.Event(), []

    async def wait():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            called_off.append(True)

    def interrupted(callback, *args, **options):
        monkeypatch.undo()
        if begun:
            hand_over(callback, *args, **options)
            assert started.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_sync(wait)
    assert called_off == [True] * begun


def test_a_cancelled_caller_of_a_sync_store_waits_for_what_has_begun():
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    class Slow(MemoryStateStore):
        def get(self, key, default=None):
            began.set()
            assert go_on.wait(LIMIT)
            ended.set()
            return default

    async def main():
        store = as_async(Slow())
        call = asyncio.create_task(store.get("key"))
        await asyncio.to_thread(began.wait, LIMIT)
        call.cancel()
        done, _ = await asyncio.wait([call], timeout=0.05)
        assert not done
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ended.is_set()
        await store.close()

    asyncio.run(main())


def test_the_callers_loop_goes_on_while_a_sync_store_works():
    go_on = threading.Event()

    class Slow(MemoryStateStore):
        def get(self, key, default=None):
            assert go_on.wait(LIMIT)
            return "done"

    async def main():
        store = as_async(Slow(), threads=1)
        call = asyncio.create_task(store.get("key"))
        await asyncio.sleep(0)
        go_on.set()  # reached only if nobody blocks the loop
        return await call

    assert asyncio.run(main()) == "done"


def test_a_bridged_store_must_exist_where_the_other_has_to():
    def steps():
        return MemoryStateSteps(Data(), "p_")

    store = as_sync(AsyncStepStateStore(steps(), ThreadRunner(DirectRunner(exists=lambda: False))))
    store.expect_existing()
    with pytest.raises(StoreNotFoundError):
        store.get("key")
    store.close()

    async def main():
        other = as_async(StepStateStore(steps(), DirectRunner(exists=lambda: False)))
        other.expect_existing()
        with pytest.raises(StoreNotFoundError):
            await other.get("key")
        await other.close()

    asyncio.run(main())
