"""What the tests of knowledge in services share, which run on a fake or on the service itself.

A module of tests gives its names; fixtures find the engine by them::

    options = space_of("mydb")
    fake = told("mydb", {"delay": 0.01, "busy": 0})

    class TestMyDB(OnService, KnowledgeStoreSuite):
        backend = "mydb"
        ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from typing import Any, ClassVar

import engines
import pytest
from lifecycles import Networked

from praisonai_persistence import KnowledgeStore
from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import ConnectionFailedError, DocumentExistsError, PersistenceError
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

__all__ = [
    "FreshnessTests",
    "OnService",
    "OwnFreshness",
    "RefusalTests",
    "assert_own_writes_are_seen",
    "ids",
    "make",
    "space_of",
    "told",
]


def make(name: str, vector: tuple[float, ...] = (1.0, 2.0), content: str = "", **metadata: Any) -> KnowledgeDocument:
    """Return a document."""
    return KnowledgeDocument(name, content, list(vector), metadata)


def ids(documents: list[KnowledgeDocument]) -> list[str]:
    """Return the documents' ids."""
    return [document.id for document in documents]


def space_of(engine: str) -> Any:
    """Return a fixture: the options of a store in a space of the test's own."""

    @pytest.fixture
    def options(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
        with request.getfixturevalue(engine).space() as options:
            yield options

    return options


def told(engine: str, usual: Mapping[str, Any]) -> Any:
    """Return a fixture: the fake, told what to do by a test; afterwards as it was, which ``usual`` says."""

    @pytest.fixture
    def fake(request: pytest.FixtureRequest) -> Iterator[Any]:
        found = request.getfixturevalue(engine)
        if not found.restartable:
            pytest.skip("this is the service itself, which nobody can tell to be slow, busy or full")
        yield found
        for name, value in usual.items():
            found.order(name, value)

    return fake


class OwnFreshness:
    """K11 where a write waits for nobody; before ``KnowledgeStoreSuite``, whose other tests have the default."""

    async def test_k11_a_write_is_visible_with_freshness_own(self, open_store: Any) -> None:
        """The kit's own test, on a store that waits before it reads instead of after it has written."""
        store = open_store(freshness="own")
        await store.create_collection("docs", 3, "dot")
        await KnowledgeStoreSuite.test_k11_a_write_is_visible_to_the_next_search(self, store)  # type: ignore[arg-type]


class OnService(OwnFreshness, Networked):
    """Stores of the backend ``backend``, whose engine has the same name; before ``KnowledgeStoreSuite``."""

    backend: ClassVar[str]
    stores: ClassVar[dict[str, str]]
    """The classes, as a [StoreSpec][] is given them."""
    away: ClassVar[str]
    """A URL where ``{port}`` stands for a port at which nobody listens."""

    @pytest.fixture
    def server(self, request: pytest.FixtureRequest) -> Any:
        return request.getfixturevalue(self.backend)

    @pytest.fixture
    def spec(self, server: Any) -> Iterator[StoreSpec]:
        with server.space() as options:
            yield StoreSpec("knowledge", **self.stores, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        options = {"url": self.away.format(port=engines.free_port()), "connect_timeout": 1}
        return StoreSpec("knowledge", **self.stores, options=options)


class RefusalTests:
    """Wrong keys, throttling, other servers; a module gives ``fake``, ``options`` and ``wrong_url``."""

    sync: ClassVar[Any]
    async_: ClassVar[Any]
    key: ClassVar[str]
    """The option that the key is given by."""
    refused: ClassVar[str]
    busy: ClassVar[str]
    """What errors say, as regular expressions."""
    patience: ClassVar[float] = 0.3
    """Seconds of ``timeout`` in which a store has given up on a service that stays busy."""

    @pytest.fixture
    def wrong_url(self) -> tuple[str, str]:
        """A URL with a wrong key, and a part of the key that no error may show."""
        raise NotImplementedError

    def test_a_wrong_key(self, wrong_url: tuple[str, str]) -> None:
        url, part = wrong_url

        async def main() -> Any:
            async with self.async_(url) as store:
                with pytest.raises(ConnectionFailedError, match=self.refused) as caught:
                    await store.list_collections()
                return caught.value

        with self.sync(url) as store:
            for call in (store.connect, store.list_collections, lambda: store.create_collection("docs", 2)):
                with pytest.raises(ConnectionFailedError, match=self.refused) as caught:
                    call()
                assert part not in str(caught.value) + repr(store)
        assert part not in str(asyncio.run(main()))

    def test_throttling(self, fake: Any, options: dict[str, Any]) -> None:
        fake.order("busily", (429, {}))  # it does not say how long to wait
        with self.sync(**options) as store:
            store.create_collection("docs", 2)
            fake.order("busy", 3)
            store.insert("docs", [make("a")])
            fake.order("busy", 3)
            assert store.count("docs") == 1
        with self.sync(**options, timeout=self.patience) as store:
            store.connect()
            fake.order("busy", 1_000)
            with pytest.raises(ConnectionFailedError, match=self.busy):
                store.upsert("docs", [make("b")])
            fake.order("busy", 0)

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_a_service_that_says_when_to_come_again(self, fake: Any, options: dict[str, Any], form: str) -> None:
        """It is asked once more, and not before."""
        with self.sync(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            usual = self._requests(fake, lambda: store.count("docs"))
            fake.order("busily", self.later(2 if form == "date" else 1, form))
            fake.order("busy", 1)
            started = time.monotonic()
            assert self._requests(fake, lambda: store.count("docs")) == usual + 1
            assert time.monotonic() - started > 0.99  # a date has whole seconds

    def test_an_async_store_comes_again_when_the_service_says(self, fake: Any, options: dict[str, Any]) -> None:
        async def main() -> None:
            async with self.async_(**options) as store:
                await store.create_collection("docs", 2)
                fake.order("busily", self.later(1))
                fake.order("busy", 1)
                started = time.monotonic()
                await store.insert("docs", [make("a")])
                assert time.monotonic() - started > 0.99
                assert await store.count("docs") == 1
                fake.order("busily", self.later(60))
                fake.order("busy", 1)
                with pytest.raises(ThrottledError, match="asks to wait 60 seconds"):
                    await store.upsert("docs", [make("b")])

        asyncio.run(main())

    def test_a_service_that_asks_to_wait_longer_than_the_timeout(self, fake: Any, options: dict[str, Any]) -> None:
        with self.sync(**options, timeout=5) as store:
            store.create_collection("docs", 2)
            fake.order("busily", self.later(60))
            fake.order("busy", 1)
            fake.order("asked")
            started = time.monotonic()
            with pytest.raises(ThrottledError, match=f"{self.busy}.*; the service asks to wait 60 seconds") as caught:
                store.upsert("docs", [make("b")])
            assert (len(fake.order("asked")), caught.value.retry_after) == (1, 60.0)
            assert time.monotonic() - started < 2

    def test_a_write_of_a_service_that_is_out_of_order_is_not_repeated(
        self, fake: Any, options: dict[str, Any]
    ) -> None:
        """It may have been done, whatever the service says of the next one."""
        with self.sync(**options) as store:
            store.create_collection("docs", 2)
            store.upsert("docs", [make("a")])
            fake.order("busily", (503, {"Retry-After": "0"}))
            fake.order("busy", 1)
            fake.order("asked")
            with pytest.raises(
                ConnectionFailedError, match="out of service for now, and asks to wait 0 seconds"
            ) as caught:
                store.upsert("docs", [make("a")])
            assert (type(caught.value), len(fake.order("asked"))) == (ConnectionFailedError, 1)

    @staticmethod
    def later(seconds: int, form: str = "seconds") -> tuple[int, dict[str, str]]:
        """Return a status and headers with which a service asks to come again after so many seconds."""
        if form == "date":
            return 429, {"Retry-After": formatdate(time.time() + seconds, usegmt=True)}
        return 429, {"Retry-After": str(seconds)}

    @staticmethod
    def _requests(fake: Any, call: Callable[[], Any]) -> int:
        fake.order("asked")
        call()
        return len(fake.order("asked"))

    def test_a_server_of_another_kind(self, gcs: Any) -> None:
        with self.sync(gcs.url, **{self.key: "a2V5"}) as store:
            with pytest.raises(PersistenceError) as caught:
                store.create_collection("docs", 2)
            assert "a2V5" not in str(caught.value)


def assert_own_writes_are_seen(store: KnowledgeStore) -> None:
    """Write to the collection ``docs``, of two dimensions and ``dot``; each next read sees it."""
    store.insert("docs", [make("a", n=1)])
    assert ids(store.search("docs", [1.0, 0.0])) == ["a"]
    store.upsert("docs", [make("a", (3.0, 0.0), n=2), make("b")])
    assert (store.search("docs", [1.0, 0.0])[0].score, store.count("docs", {"n": 1})) == (3.0, 0)
    assert store.delete("docs", ["a"]) == 1
    assert (ids(store.get("docs", ["a", "b"])), store.count("docs")) == (["b"], 1)
    with pytest.raises(DocumentExistsError):
        store.insert("docs", [make("b")])


class FreshnessTests:
    """K11 with each setting, where reads see a write some time after it was stored."""

    sync: ClassVar[Any]
    late: ClassVar[str]
    """What an error says of a write that nobody sees in time, as a regular expression."""

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_a_write_is_visible_to_the_next_read_of_the_same_store(
        self, fake: Any, options: dict[str, Any], freshness: str
    ) -> None:
        with self.sync(**options, freshness=freshness) as store:
            store.create_collection("docs", 2, "dot")
            fake.order("delay", 0.2)
            assert_own_writes_are_seen(store)

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_waiting_has_an_end_and_the_error_says_that_it_is_stored(
        self, fake: Any, options: dict[str, Any], freshness: str
    ) -> None:
        with self.sync(**options, freshness=freshness, freshness_timeout=0.2) as store:
            store.create_collection("docs", 2, "dot")
            fake.order("delay", 1.5)
            with pytest.raises(ConnectionFailedError, match=self.late):
                store.upsert("docs", [make("a")])
                store.search("docs", [1.0, 0.0])
            with self.sync(**options) as patient:
                patient.upsert("docs", [make("b")])
                assert patient.count("docs") == 2
