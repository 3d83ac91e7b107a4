"""What becomes of a Redis store when calls are interrupted, cancelled or not answered, when it is forked or closed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as driver
import redis.asyncio as async_driver
from proxy import Proxy
from redis_use import free_ports, in_loop, servers, until, url_with

import praisonai_persistence
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.testing._places import Visit, Watched, visit
from praisonai_persistence_redis import AsyncRedisStateStore, RedisKnowledgeStore, RedisStateStore

TIMEOUT = 0.5
SLACK = 2.0
"""Seconds that a busy machine may take for what takes none."""


@pytest.fixture
def options(redis):
    with redis.space() as options:
        yield options


@pytest.fixture
def proxy(options) -> Iterator[Proxy]:
    target = urlsplit(options["url"])
    with Proxy(target.hostname, target.port) as proxy:
        yield proxy


@pytest.fixture
def url(options, proxy) -> str:
    return through(options, proxy)


def through(options: dict[str, Any], proxy: Proxy) -> str:
    return url_with(options["url"], hostname="127.0.0.1", port=proxy.port)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds + SLACK


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start a function in a thread; calling what comes back gives its result, or raises its error."""
    box: list[Any] = []

    def work() -> None:
        try:
            box.append((function(), None))
        except BaseException as error:
            box.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(30)
        assert box, "the thread has not ended"
        answer, error = box[0]
        if error is not None:
            raise error
        return answer

    result.running = thread.is_alive  # type: ignore[attr-defined]
    return result


# --------------------------------------------------------------------------------------------------------- interrupts

_own = Watched(None)  # this project's frames


def _watched(frame: Any) -> bool:
    """Whether a frame is ours or the driver's; not in a finalizer, which tells nobody of what was raised in it."""
    if not _own(frame) and frame.f_globals.get("__name__", "").partition(".")[0] != "redis":
        return False
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is None


class Stop(KeyboardInterrupt):
    """What is raised from outside."""


class SoftTimeLimit(Exception):
    """What is raised from outside, of a class that code may catch by accident."""


def visit_at(number: int, action: Callable[[], None], call: Callable[[], Any]) -> Visit:
    """Do a call, and ``action`` at its place of that number, in our own code and in the driver's."""
    gc.collect()  # no finalizer of an earlier turn runs in this one, where nobody would hear of the error
    gc.disable()
    try:
        return visit(call, _watched, number, action)
    finally:
        gc.enable()


def at_place(number: int, action: Callable[[], None], call: Callable[[], Any]) -> tuple[str | None, Any]:
    """Do a call, and ``action`` at its place of that number.

    Returns:
        Where that was, None if the call has fewer places; and the answer.
    """
    found = visit_at(number, action, call)
    if found.error is not None:
        raise found.error
    return found.where, found.result


def raising(error: type[BaseException]) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def interrupted_everywhere(
    call: Callable[[], Any], check: Callable[[str], None], error: type[BaseException], step: int = 1
) -> int:
    """Interrupt a call at each of its places, one after the other; ``check`` is told where. Returns how many."""
    for number in range(1, 10_000, step):
        found = visit_at(number, raising(error), call)
        if found.where is None:
            if found.error is not None:
                raise found.error
            return number
        if not isinstance(found.error, error):
            raise AssertionError(f"what was raised at {found.where} did not arrive") from found.error
        check(f"place {number}, {found.where}")
    raise AssertionError("the call has no end")


# A socket that an interrupt kept the driver from storing anywhere is closed by its finalizer, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
class TestInterrupts:
    @pytest.fixture(autouse=True)
    def _few_objects(self):
        """For the many collections."""
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()

    @pytest.fixture
    def url(self, options):
        """The answer is never there before the interrupted call has ended."""
        target = urlsplit(options["url"])
        with Proxy(target.hostname, target.port, latency=0.001) as proxy:
            yield through(options, proxy)

    @pytest.mark.parametrize("error", [Stop, SoftTimeLimit])
    @pytest.mark.parametrize("connected", [True, False])
    def test_no_answer_is_anothers_and_no_place_is_lost(self, url, error, connected):
        with RedisStateStore(url, max_size=1, pool_timeout=1) as store:
            store.set_many({"a": "A", "b": "B"})

            def call() -> None:
                store.get("a")

            def check(where: str) -> None:
                assert [store.get("b"), store.get("a")] == ["B", "A"], where
                assert not store._runner._lender._places[0].lock._is_owned(), where
                if not connected:
                    store._runner._lender.forget_idle()

            if not connected:
                store._runner._lender.forget_idle()
            places = interrupted_everywhere(call, check, error, 1 if connected else 5)
            assert places > (100 if connected else 300)

    def test_a_write_is_done_or_not_done(self, url):
        with RedisStateStore(url, max_size=1, pool_timeout=1) as store:
            store.set("n", 0)
            low = 0

            def check(where: str) -> None:
                nonlocal low
                found = store.get("n")
                assert found in {low, low + 1}, where
                low = found

            def call() -> None:
                nonlocal low
                low = store.incr("n") - 1

            assert interrupted_everywhere(call, check, Stop) > 50

    def test_a_knowledge_store(self, url):
        """Scripts, and answers of several requests."""
        with RedisKnowledgeStore(url, max_size=1, pool_timeout=1) as store:
            store.create_collection("docs", 2)
            document = praisonai_persistence.KnowledgeDocument(id="a", content="x", embedding=[1.0, 0.0])
            store.insert("docs", [document])

            def check(where: str) -> None:
                assert store.count("docs") == 1, where
                assert [item.id for item in store.search("docs", [1.0, 0.0])] == ["a"], where

            interrupted_everywhere(lambda: store.upsert("docs", [document]), check, Stop, step=7)

    def test_a_client_that_is_handed_in(self, url):
        with driver.Redis.from_url(url) as client, RedisStateStore(client=client) as store:
            store.set_many({"a": "A", "b": "B"})

            def check(where: str) -> None:
                assert [store.get("b"), store.get("a")] == ["B", "A"], where

            assert interrupted_everywhere(lambda: store.get("a"), check, Stop, step=3) > 100

    @pytest.mark.slow
    def test_a_cluster(self, redis):
        """Of one node: what is tried is the driver's client, and its pools."""
        (port,) = free_ports(1)
        script = (
            f"redis-server $reach --port {port} --cluster-enabled yes --cluster-config-file n{port} --save '' "
            f"--cluster-announce-ip 127.0.0.1 &"
        )
        with servers(redis, script, [port]):
            with driver.Redis(port=port, protocol=2) as node:
                until(node.ping)
                node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                until(lambda: b"cluster_state:ok" in node.execute_command("CLUSTER", "INFO"))
            with RedisStateStore(f"redis+cluster://127.0.0.1:{port}", max_size=1) as store:
                store.set_many({"a": "A", "b": "B"})

                def check(where: str) -> None:
                    with within(1):
                        assert [store.get("b"), store.get("a")] == ["B", "A"], where

                assert interrupted_everywhere(lambda: store.get("a"), check, Stop, step=7) > 100

    def test_close(self, url):
        for number in range(1, 10_000, 5):
            store = RedisStateStore(url, max_size=2)
            store.set("a", "A")
            try:
                where, _ = at_place(number, raising(Stop), store.close)
            except Stop:
                store.close()
            else:
                assert where is None
                return
            with pytest.raises(StoreClosedError):
                store.get("a")

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no such timer here")
    @pytest.mark.parametrize("error", [SoftTimeLimit, TimeoutError, ConnectionResetError, KeyboardInterrupt])
    def test_what_a_signal_handler_raises_arrives(self, url, proxy, options, error):
        raised = error("soft limit")

        def handler(*_: Any) -> None:
            raise raised

        before = signal.signal(signal.SIGALRM, handler)
        try:
            with RedisStateStore(through(options, proxy), max_size=1) as store:
                store.set_many({"a": "A", "b": "B"})
                proxy.hold()
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(error) as caught:
                    store.get("a")
                assert caught.value is raised
                proxy.release()
                assert [store.get("b"), store.get("a")] == ["B", "A"]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    @pytest.mark.parametrize("size", [1, 3])
    def test_a_call_in_the_middle_of_another_one(self, url, size):
        """As a finalizer or a signal handler makes it."""
        with RedisStateStore(url, max_size=size, pool_timeout=1) as store:
            store.set_many({"a": "A", "b": "B"})
            for number in range(1, 10_000):
                found: list[Any] = []
                where, answer = at_place(
                    number, lambda found=found: found.append(store.get("b")), lambda: store.get("a")
                )
                assert answer == "A", where
                if where is None:
                    break
                assert found == ["B"], where

    def test_close_in_the_middle_of_a_call(self, url):
        for number in range(1, 10_000, 3):
            store = RedisStateStore(url, max_size=1)
            store.set("a", "A")
            with contextlib.suppress(StoreClosedError):
                where, answer = at_place(number, store.close, lambda store=store: store.get("a"))
                assert answer == "A", where
                if where is None:
                    break
            assert store._runner._lender._places[0].line is None, "its connection was closed"
            with pytest.raises(StoreClosedError):
                store.get("a")
        store.close()


# ---------------------------------------------------------------------------------------------- silence, cancellation


class TestDeadlines:
    def test_an_endpoint_that_goes_silent(self, url, proxy):
        with RedisStateStore(url, timeout=TIMEOUT, connect_timeout=TIMEOUT) as store:
            store.set("a", "A")
            proxy.hold()
            for call in (lambda: store.get("a"), lambda: store.set("a", "x" * 10_000_000), lambda: store.incr("n")):
                with within(2 * TIMEOUT), pytest.raises(ConnectionFailedError):
                    call()
            proxy.release()
            assert store.exists("a")

        async def body(store):
            await store.set("a", "A")
            proxy.hold()
            large = "x" * 10_000_000
            for count, call in (
                (20, lambda: store.get("a")),
                (2, lambda: store.set("a", large)),
                (20, lambda: store.incr("n")),
            ):
                with within(2 * TIMEOUT):
                    found = await asyncio.gather(*(call() for _ in range(count)), return_exceptions=True)
                assert {type(error) for error in found} == {ConnectionFailedError}
            proxy.release()
            assert await store.exists("a")

        in_loop(body, url=url, timeout=TIMEOUT, connect_timeout=TIMEOUT)

    def test_an_endpoint_that_accepts_and_says_nothing(self, url, proxy):
        """Not even while connecting: that has a deadline of its own, which holds for the handshake."""
        proxy.hold()
        with RedisStateStore(url, connect_timeout=TIMEOUT) as store, within(2 * TIMEOUT):
            calls = [in_thread(lambda: store.get("a")) for _ in range(8)]
            for call in calls:
                with pytest.raises(ConnectionFailedError):
                    call()

        async def body(store):
            with within(2 * TIMEOUT):
                found = await asyncio.gather(*(store.get("a") for _ in range(30)), return_exceptions=True)
            assert {type(error) for error in found} == {ConnectionFailedError}

        in_loop(body, url=url, connect_timeout=TIMEOUT)

    def test_tls_with_an_endpoint_that_says_nothing(self, url, proxy):
        proxy.hold()
        secure = url.replace("redis://", "rediss://")
        with (
            RedisStateStore(secure, connect_timeout=TIMEOUT) as store,
            within(2 * TIMEOUT),
            pytest.raises(ConnectionFailedError),
        ):
            store.get("a")

        async def body(store):
            with within(2 * TIMEOUT), pytest.raises(ConnectionFailedError):
                await store.get("a")

        in_loop(body, url=secure, connect_timeout=TIMEOUT)

    def test_sentinels_that_say_nothing(self, proxy):
        proxy.hold()
        url = f"redis+sentinel://127.0.0.1:{proxy.port},127.0.0.1:{proxy.port},127.0.0.1:{proxy.port}/agents/0"
        with (
            RedisStateStore(url, connect_timeout=TIMEOUT, retry_timeout=0.1) as store,
            within(2 * TIMEOUT),
            pytest.raises(ConnectionFailedError),
        ):
            store.get("a")

        async def body(store):
            with within(2 * TIMEOUT), pytest.raises(ConnectionFailedError):
                await store.get("a")

        in_loop(body, url=url, connect_timeout=TIMEOUT, retry_timeout=0.1)

    def test_a_full_pool(self, url, proxy):
        with RedisStateStore(url, max_size=1, pool_timeout=TIMEOUT) as store:
            store.set("a", "A")
            proxy.hold()
            first = in_thread(lambda: store.get("a"))
            while not any(place.line is None for place in store._runner._lender._places):
                time.sleep(0.001)
            with within(TIMEOUT), pytest.raises(ConnectionFailedError, match="pool_timeout"):
                store.get("a")
            proxy.release()
            assert first() == "A"

        async def body(store):
            await store.set("a", "A")
            proxy.hold()
            # Not a command that would become part of a batch.
            first = asyncio.create_task(store.set_if_absent("a", 1))
            await asyncio.sleep(0.05)
            with within(TIMEOUT), pytest.raises(ConnectionFailedError, match="pool_timeout"):
                await store.set_if_absent("a", 1)
            proxy.release()
            assert await first is False

        in_loop(body, url=url, max_size=1, pool_timeout=TIMEOUT)

    def test_the_names_of_the_option(self, url):
        with pytest.raises(ConfigurationError, match="another name"):
            RedisStateStore(url, timeout=1, command_timeout=1)
        for given, expected in (({}, 30.0), ({"timeout": 2}, 2.0), ({"command_timeout": 3}, 3.0)):
            assert RedisStateStore(url, **given)._runner._settings.timeout == expected


class TestCancellation:
    def test_what_was_sent_is_done_when_the_caller_hears_of_it(self, url, proxy):
        async def body(store):
            await store.set("n", 0)
            proxy.hold()
            call = asyncio.create_task(store.incr("n"))
            await asyncio.sleep(0.05)
            call.cancel()
            for _ in range(20):
                await asyncio.sleep(0)
            assert not call.done()
            proxy.release()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await store.get("n") == 1

        in_loop(body, url=url)

    @pytest.mark.parametrize("count", [1, 5])
    def test_a_silent_server_holds_no_cancelled_caller(self, url, proxy, monkeypatch, count):
        """Those whose commands were sent with it hear of it: writes may be done, reads are repeated."""
        monkeypatch.setattr("praisonai_persistence_redis._async_runner._PATIENCE", TIMEOUT)

        async def body(store):
            await store.set("a", "A")
            proxy.hold()
            first = asyncio.create_task(store.get("a"))
            await asyncio.sleep(0.05)
            others = [asyncio.create_task(store.incr(f"n{number}")) for number in range(count - 1)]
            reader = asyncio.create_task(store.get("a"))
            await asyncio.sleep(0.05)
            if count > 1:
                first.cancel()  # its end lets the batch go
                with within(TIMEOUT), pytest.raises(asyncio.CancelledError):
                    await first
                await asyncio.sleep(0.05)
                others[0].cancel()
                with within(TIMEOUT), pytest.raises(asyncio.CancelledError):
                    await others[0]
                found = await asyncio.gather(*others[1:], return_exceptions=True)
                assert {type(error) for error in found} == {ConnectionFailedError}
                proxy.release()
                assert await reader == "A"
            else:
                with within(TIMEOUT), pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(first, 0.1)
                proxy.release()
                assert await reader == "A"
            assert await store.get("a") == "A"
            assert store._runner._here().own._used == 0, "every place was given back"

        in_loop(body, url=url, max_size=2)


# ------------------------------------------------------------------------------------------------ loops, forks, close


def connections(admin: Any, name: str) -> int:
    return sum(client["name"] == name for client in admin.client_list())


def eventually(question: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not question():
        assert time.monotonic() < end
        time.sleep(0.01)


class TestLoops:
    def test_several_at_once_and_none_leaves_anything(self, options):
        name = "several-loops"
        store = AsyncRedisStateStore(**options, client_options={"client_name": name})
        barrier = threading.Barrier(4)

        async def use(worker: int) -> None:
            await store.set(f"k{worker}", worker)
            await asyncio.to_thread(barrier.wait, 10)
            for _ in range(50):
                assert await asyncio.gather(*(store.get(f"k{worker}") for _ in range(5))) == [worker] * 5
                await store.incr("n")

        calls = [in_thread(functools.partial(asyncio.run, use(worker))) for worker in range(4)]
        for call in calls:
            call()
        with driver.Redis.from_url(options["url"], decode_responses=True) as admin:
            eventually(lambda: connections(admin, name) == 0)
        assert store._runner._commands._queues == {}

        async def last():
            assert await store.get("n") == 200
            await store.close()

        asyncio.run(last())

    def test_close_in_one_loop_ends_the_others(self, options):
        name = "close-elsewhere"
        store = AsyncRedisStateStore(**options, client_options={"client_name": name})
        used, closed = threading.Event(), threading.Event()

        async def user() -> None:
            await store.set("a", 1)
            used.set()
            await asyncio.to_thread(closed.wait, 10)
            with pytest.raises(StoreClosedError):
                await store.get("a")

        call = in_thread(lambda: asyncio.run(user()))
        assert used.wait(10)
        asyncio.run(store.close())
        with driver.Redis.from_url(options["url"], decode_responses=True) as admin:
            eventually(lambda: connections(admin, name) == 0)
        closed.set()
        call()

    def test_a_client_of_another_loop_is_refused(self, options):
        async def main() -> None:
            async with async_driver.Redis.from_url(options["url"]) as client:
                store = AsyncRedisStateStore(client=client)
                await store.set("a", 1)

                def elsewhere() -> None:
                    with pytest.raises(UnsupportedOperationError, match="event loop"):
                        asyncio.run(store.get("a"))

                await asyncio.to_thread(elsewhere)
                assert await store.get("a") == 1
                await store.close()

        asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestForks:
    def child(self, work: Callable[[], None]) -> None:
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                work()
                gc.collect()
                status = 0
            os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0

    def test_a_child_never_uses_or_ends_the_parents_connections(self, options):
        name = "forked"
        with (
            RedisStateStore(**options, client_options={"client_name": name}) as store,
            driver.Redis.from_url(options["url"], decode_responses=True) as admin,
        ):
            store.set("n", 1)
            (before,) = [client["id"] for client in admin.client_list() if client["name"] == name]

            def work() -> None:
                assert store.incr("n") == 2
                store.close()
                with pytest.raises(StoreClosedError):
                    store.get("n")

            self.child(work)
            assert store.incr("n") == 3
            assert [client["id"] for client in admin.client_list() if client["name"] == name] == [before]

    def test_a_child_of_a_process_with_a_running_loop(self, options):
        name = "forked-async"

        async def body(store):
            await store.set("n", 1)
            with driver.Redis.from_url(options["url"], decode_responses=True) as admin:
                (before,) = [client["id"] for client in admin.client_list() if client["name"] == name]

                def work() -> None:
                    async def use() -> None:
                        assert await store.incr("n") == 2
                        await store.close()

                    asyncio._set_running_loop(None)
                    asyncio.run(use())

                self.child(work)
                assert await store.incr("n") == 3
                assert [client["id"] for client in admin.client_list() if client["name"] == name] == [before]

        in_loop(body, **options, client_options={"client_name": name})


class TestClose:
    def test_it_waits_for_what_is_under_way(self, url, proxy):
        store = RedisStateStore(url)
        store.set("a", "A")
        proxy.hold()
        call = in_thread(lambda: store.get("a"))
        while not any(
            place.line is None and place.lock.acquire(False) is False for place in store._runner._lender._places
        ):
            time.sleep(0.001)
        closing = in_thread(store.close)
        with pytest.raises(StoreClosedError):
            while True:
                store.exists("a")
        assert closing.running()
        proxy.release()
        assert call() == "A"
        closing()
        store.close()
        for again in (store.connect, lambda: store.get("a")):
            with pytest.raises(StoreClosedError):
                again()

        async def main() -> None:
            store = AsyncRedisStateStore(url)
            await store.set("a", "A")
            proxy.hold()
            call = asyncio.create_task(store.get("a"))
            await asyncio.sleep(0.05)
            closing = asyncio.create_task(store.close())
            await asyncio.sleep(0.05)
            assert not closing.done()
            with pytest.raises(StoreClosedError):
                await store.get("a")
            proxy.release()
            assert await call == "A"
            await closing
            await store.close()
            for again in (store.connect, lambda: store.get("a")):
                with pytest.raises(StoreClosedError):
                    await again()

        asyncio.run(main())

    def test_many_callers_while_it_is_closed(self, options):
        """Each gets an answer or a StoreClosedError, and nothing is opened any more."""
        name = "closing"
        with driver.Redis.from_url(options["url"], decode_responses=True) as admin:
            for _ in range(10):
                store = RedisStateStore(**options, max_size=3, client_options={"client_name": name})
                barrier = threading.Barrier(9)

                def use(store=store, barrier=barrier) -> None:
                    barrier.wait(10)
                    while True:
                        store.incr("n")

                calls = [in_thread(use) for _ in range(8)]
                barrier.wait(10)
                store.close()
                for call in calls:
                    with pytest.raises(StoreClosedError):
                        call()
                eventually(lambda: connections(admin, name) == 0)


def test_a_constructor_opens_nothing():
    """Not even a socket that is not connected."""
    opened = []
    sys.addaudithook(
        lambda event, _: opened.append(event) if event.startswith(("socket.", "open", "_thread")) else None
    )
    opened.clear()
    for store in (RedisStateStore, AsyncRedisStateStore):
        for url in ("redis://h", "rediss://h", "redis+cluster://h", "redis+sentinel://h,i/agents/0"):
            store(url)
    assert not opened


def test_errors_hold_no_values(options):
    """Not in their causes either: servers repeat the arguments of a command that they do not know."""
    with RedisStateStore(**options) as store, pytest.raises(BackendError) as caught:
        store._runner.run(lambda: (yield lambda client: client.execute_command("NOSUCH", "key", "t0p-s3cret")))
    error: BaseException | None = caught.value
    while error is not None:
        assert "t0p-s3cret" not in repr(error)
        error = error.__cause__ or error.__context__
