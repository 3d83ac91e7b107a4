"""What SQL stores on a server promise about their connections, tried through a proxy; a class for each server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import pytest
from proxy import Proxy

from praisonai_persistence.errors import ConnectionFailedError, PersistenceError, StoreClosedError

SECONDS = 1.0
"""Both deadlines of the stores here."""
SLACK = 4.0
"""Seconds that a busy machine may take on top; psycopg waits for a connection for two seconds at least."""


class SoftTimeLimit(Exception):
    """What a job queue raises in its workers."""


class LifecycleTests:
    """A subclass names the stores, and the fixture ``options`` that opens one on data of its own."""

    sync: ClassVar[type[Any]]
    async_: ClassVar[type[Any]]

    @pytest.fixture
    def proxied(self, options: dict[str, Any]) -> Iterator[tuple[Proxy, dict[str, Any]]]:
        """A proxy before the server, and options that lead through it, with short deadlines."""
        parts = urlsplit(options["url"])
        with Proxy(parts.hostname or "127.0.0.1", parts.port or 0) as proxy:
            user = parts.netloc.rpartition("@")[0]
            url = urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}"))
            yield proxy, {**options, "url": url, "timeout": SECONDS, "connect_timeout": SECONDS}

    @pytest.fixture
    def alarm(self) -> Iterator[Callable[[float, BaseException], None]]:
        """Has an exception raised in the main thread after so many seconds."""
        raised: list[BaseException] = []

        def handler(*_: object) -> None:
            raise raised.pop()

        before = signal.signal(signal.SIGALRM, handler)

        def start(seconds: float, error: BaseException) -> None:
            raised.append(error)
            signal.setitimer(signal.ITIMER_REAL, seconds)

        yield start
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    # ------------------------------------------------------------------------------------------------- deadlines

    def test_a_server_that_goes_silent_is_given_up(self, proxied):
        proxy, options = proxied
        with self.sync(**options) as store:
            store.set("a", 1)
            proxy.hold()
            for call in (lambda: store.get("a"), lambda: store.incr("n"), lambda: store.set("a", 2)):
                begun = time.monotonic()
                with pytest.raises(ConnectionFailedError):
                    call()
                assert time.monotonic() - begun < 2 * SECONDS + SLACK
            proxy.release()
            assert store.get("a") in {1, 2}

    def test_a_server_that_goes_silent_is_given_up_async(self, proxied):
        proxy, options = proxied

        async def main() -> None:
            async with self.async_(**options) as store:
                await store.set("a", 1)
                proxy.hold()
                for call in (lambda: store.get("a"), lambda: store.incr("n")):
                    begun = time.monotonic()
                    with pytest.raises(ConnectionFailedError):
                        await call()
                    assert time.monotonic() - begun < 2 * SECONDS + SLACK
                proxy.release()
                assert await store.get("a") == 1

        asyncio.run(main())

    def test_a_server_that_never_spoke_is_given_up(self, proxied):
        proxy, options = proxied
        proxy.hold()
        begun = time.monotonic()
        with self.sync(**options) as store, pytest.raises(ConnectionFailedError):
            store.get("a")

        async def main() -> None:
            async with self.async_(**options) as store:
                with pytest.raises(ConnectionFailedError):
                    await store.get("a")

        asyncio.run(main())
        assert time.monotonic() - begun < 2 * (2 * SECONDS + SLACK)
        proxy.release()

    def test_a_cancelled_call_is_heard_of_in_time(self, proxied):
        proxy, options = proxied

        async def main() -> None:
            async with self.async_(**{**options, "timeout": 2.0}) as store:
                await store.set("a", 1)
                proxy.hold()
                begun = time.monotonic()
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(store.get("a"), 0.2)
                assert time.monotonic() - begun < 2.2 + SLACK
                proxy.release()
                assert await store.get("a") == 1

        asyncio.run(main())

    def test_what_was_cancelled_is_not_under_way_any_more(self, options):
        async def main() -> None:
            async with self.async_(**options) as store:
                await store.set("n", 0)
                for pause in range(20):
                    task = asyncio.create_task(store.incr("n"))
                    for _ in range(pause):
                        await asyncio.sleep(0.0002)
                    task.cancel()
                    await asyncio.wait([task])
                    now = await store.get("n")
                    await asyncio.sleep(0.005)
                    assert await store.get("n") == now

        asyncio.run(main())

    # ------------------------------------------------------------------------------------------------- interrupts

    @pytest.mark.parametrize("kind", [SoftTimeLimit, TimeoutError, ValueError, KeyboardInterrupt])
    def test_what_a_handler_raises_arrives_and_leaves_the_store_whole(self, proxied, alarm, kind):
        proxy, options = proxied
        with self.sync(**{**options, "timeout": 20.0, "connect_timeout": 20.0}, max_size=1, pool_timeout=1) as store:
            for key in ("a", "b"):
                store.set(key, key)
            for call in (lambda: store.get("a"), lambda: store.incr("n"), lambda: store.set("c", 1)):
                proxy.hold()
                error = kind("from outside")
                alarm(0.1, error)
                with pytest.raises(kind) as caught:
                    call()
                assert caught.value is error
                proxy.release()
                assert store.get("b") == "b"
                assert store.get_many(["a", "b"]) == {"a": "a", "b": "b"}

    def test_what_a_handler_raises_while_it_connects(self, proxied, alarm):
        proxy, options = proxied
        proxy.hold()
        with self.sync(**{**options, "timeout": 20.0, "connect_timeout": 20.0}, max_size=1, pool_timeout=1) as store:
            error = TimeoutError("from outside")
            alarm(0.1, error)
            with pytest.raises(TimeoutError) as caught:
                store.get("a")
            assert caught.value is error
            proxy.release()
            assert store.get("a") is None

    # ------------------------------------------------------------------------------------------- close, loops, forks

    def test_close_waits_and_nothing_goes_on_after_it(self, proxied):
        proxy, options = proxied
        store = self.sync(**{**options, "timeout": 20.0}, max_size=1)
        store.set("a", 1)
        proxy.hold()
        with ThreadPoolExecutor(3) as pool:
            under_way = pool.submit(store.get, "a")
            end = time.monotonic() + 10
            while not store._runner._pool._lender._owners:
                assert time.monotonic() < end
                time.sleep(0.001)
            waiting = pool.submit(store.get, "a")
            while not store._runner._pool._lender._waiting:
                assert time.monotonic() < end
                time.sleep(0.001)
            closing = pool.submit(store.close)
            with pytest.raises(StoreClosedError):
                waiting.result(10)
            assert not closing.done()
            proxy.release()
            assert under_way.result(10) == 1
            closing.result(10)
        store.close()
        for call in (lambda: store.get("a"), store.connect):
            with pytest.raises(StoreClosedError):
                call()

    def test_close_under_load(self, options):
        store = self.sync(**options, max_size=3)
        store.set("a", 1)
        start = threading.Barrier(9)

        def work(_: int) -> list[BaseException]:
            start.wait(10)
            errors: list[BaseException] = []
            for _ in range(2000):
                try:
                    store.get("a")
                except StoreClosedError:
                    return errors
                except BaseException as error:
                    errors.append(error)
            return errors

        with ThreadPoolExecutor(9) as pool:
            workers = [pool.submit(work, number) for number in range(8)]
            start.wait(10)
            time.sleep(0.1)
            store.close()
            assert [worker.result(30) for worker in workers] == [[]] * 8

    def test_loops_in_several_threads_at_once(self, options):
        store = self.async_(**options, max_size=2)
        start = threading.Barrier(4)

        async def work(number: int) -> None:
            start.wait(10)
            await asyncio.gather(*(store.set(f"{number}.{n}", n) for n in range(10)))
            assert [await store.get(f"{number}.{n}") for n in range(10)] == list(range(10))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: asyncio.run(work(number)), range(4)))
        assert not store._runner._pool._lender._loops, "loops that have ended leave nothing behind"
        asyncio.run(store.close())

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_child_says_no_good_bye_for_its_parent(self, options):
        """The child ends as a program does, with all finalizers."""
        with self.sync(**options, max_size=1) as store:
            store.set("a", 1)
            with (loan := store._runner._pool.lend()) as before:
                loan.end()
            child = os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    store.incr("n")
                    before.raw.close()
                    os._exit(0)
                os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            with (loan := store._runner._pool.lend()) as after:
                loan.end()
            assert after is before
            assert store.get("n") == 1

    # ------------------------------------------------------------------------------------------------------ errors

    def test_a_password_without_its_escapes_is_in_no_message(self, options):
        for password, secret in (("s3cr@t/zebra9", "zebra9"), ("12345/zebra9", "zebra9"), ("12#zebra9", "zebra9")):
            url = options["url"].partition("://")[0] + f"://app:{password}@127.0.0.1:1/agents"
            for kind in (self.sync, self.async_):
                with pytest.raises(PersistenceError) as caught:
                    kind(url)
                assert secret not in str(caught.value)
                assert "%40" in str(caught.value)
