"""ClickHouse against the conformance kit."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import clickhouse_connect
import pytest
from engines import PASSWORD, USER
from proxy import Proxy

from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConfigurationError,
    ConnectionFailedError,
    DocumentExistsError,
    SchemaError,
)
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import Endpoint, KnowledgeStoreSuite, StoreSpec
from praisonai_persistence_clickhouse import AsyncClickHouseKnowledgeStore, ClickHouseKnowledgeStore, knowledge
from praisonai_persistence_clickhouse._driver import ClickHouseDriver

STORES = {
    "sync": "praisonai_persistence_clickhouse:ClickHouseKnowledgeStore",
    "async_": "praisonai_persistence_clickhouse:AsyncClickHouseKnowledgeStore",
}


class TestClickHouse(KnowledgeStoreSuite):
    backend = "clickhouse"

    @pytest.fixture
    def spec(self, clickhouse) -> Iterator[StoreSpec]:
        with clickhouse.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "clickhouse://127.0.0.1:9", "connect_timeout": 2})

    @pytest.fixture
    def server(self, clickhouse):
        return clickhouse

    @pytest.fixture
    def spec_through(self, spec: StoreSpec) -> Endpoint:
        server = urlsplit(spec.options["url"])

        def spec_at(host: str, port: int) -> StoreSpec:
            return spec.with_options(url=f"clickhouse://{USER}:{PASSWORD}@{host}:{port}{server.path}")

        return Endpoint(server.hostname, server.port, spec_at)


def make(name, vector=(1.0, 2.0), content="", **metadata):
    return KnowledgeDocument(name, content, list(vector), metadata)


@pytest.fixture
def options(clickhouse):
    with clickhouse.space() as options:
        yield options


@pytest.fixture
def database(options):
    return urlsplit(options["url"]).path[1:]


@pytest.fixture
def place(options):
    """Of the server, for a client of ClickHouse's own."""
    parts = urlsplit(options["url"])
    place = {"host": parts.hostname, "port": parts.port, "username": USER, "password": PASSWORD}
    return {**place, "compress": False, "autogenerate_session_id": False}


class TestAServer:
    """What the kit does not ask."""

    @pytest.mark.parametrize("password", [None, "s3cret-but-wr0ng"])
    def test_without_the_right_password_nobody_gets_in(self, place, password):
        given = {"host": place["host"], "port": place["port"], "username": USER, "password": password}
        with ClickHouseKnowledgeStore(**given) as store:
            for call in (store.connect, store.list_collections, lambda: store.create_collection("docs", 2)):
                with pytest.raises(ConnectionFailedError, match="username and password") as caught:
                    call()
                assert "s3cret" not in str(caught.value)

    def test_what_somebody_else_made_is_not_touched(self, clickhouse, options, database):
        clickhouse.execute(f"CREATE DATABASE `{database}`")
        clickhouse.execute(f"CREATE TABLE `{database}`.`praison_.docs` (a String) ENGINE = MergeTree ORDER BY a")
        with ClickHouseKnowledgeStore(**options) as store:
            assert store.list_collections() == []
            for call in (store.get_collection, store.delete_collection, lambda name: store.create_collection(name, 2)):
                with pytest.raises(SchemaError, match="table_prefix"):
                    call("docs")
        assert clickhouse.execute(f"SHOW TABLES FROM `{database}`") == [("praison_.docs",)]

    @pytest.mark.parametrize("change", ["another table", "a column dropped"])
    def test_what_somebody_changes_under_an_open_store_is_told(self, clickhouse, options, database, change):
        place = f"`{database}`.`praison_.docs`"
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            if change == "another table":
                clickhouse.execute(f"DROP TABLE {place} SYNC")
                clickhouse.execute(f"CREATE TABLE {place} (a String) ENGINE = MergeTree ORDER BY a")
            else:
                clickhouse.execute(f"ALTER TABLE {place} DROP COLUMN tokens")
            for call in (
                lambda: store.search("docs", [1.0, 0.0], filters={"a": 1}),
                lambda: store.upsert("docs", [make("a")]),
            ):
                with pytest.raises(SchemaError, match="table_prefix"):
                    call()

    def test_claims_of_somebody_else_are_not_taken_for_ours(self, clickhouse, options, database):
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            clickhouse.execute(f"CREATE TABLE `{database}`.`praison_:claims` (a String) ENGINE = MergeTree ORDER BY a")
            with pytest.raises(SchemaError, match="claims"):
                store.insert("docs", [make("a")])
            assert store.count("docs") == 0

    def test_a_database_that_is_dropped_takes_its_collections_along(self, clickhouse, options, database):
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            clickhouse.drop(database)
            assert store.list_collections() == []
            with pytest.raises(CollectionNotFoundError):
                store.count("docs")
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            assert store.count("docs") == 1

    def test_a_setting_that_the_server_does_not_know(self, options):
        with (
            ClickHouseKnowledgeStore(**options, settings={"no_such_setting": 1}) as store,
            pytest.raises(ConfigurationError, match="settings"),
        ):
            store.list_collections()

    def test_a_user_who_may_only_read_is_told_so(self, options):
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
        with ClickHouseKnowledgeStore(**options, settings={"readonly": 1}) as store:
            assert store.list_collections() == ["docs"]
            with pytest.raises(ConfigurationError, match="may set"):
                store.upsert("docs", [make("a")])

    def test_a_collection_that_another_made_anew_is_not_the_one_that_was_opened(self, options):
        with ClickHouseKnowledgeStore(**options) as one, ClickHouseKnowledgeStore(**options) as two:
            for dimension in (2, 3, 4):
                one.create_collection("docs", dimension)
                vector = [1.0] * dimension
                two.upsert("docs", [make(f"{dimension}", vector)])
                assert [found.id for found in two.search("docs", vector)] == [f"{dimension}"]
                assert two.count("docs") == two.delete("docs", filters={"x": {"$exists": False}}) == 1
                assert two.get("docs", [f"{dimension}"]) == []
                one.delete_collection("docs")
                with pytest.raises(CollectionNotFoundError):
                    two.count("docs")
                with pytest.raises(CollectionNotFoundError):
                    two.upsert("docs", [make("late", vector)])

    def test_a_batch_is_one_part_of_its_table(self, clickhouse, options, database):
        """So it is there as a whole or not at all."""
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            clickhouse.execute(f"SYSTEM STOP MERGES `{database}`.`praison_.docs`")
            store.upsert("docs", [make(str(n), content="x" * 10_000) for n in range(5_000)])
            found = (
                f"SELECT rows FROM system.parts WHERE active AND database = '{database}' AND table = 'praison_.docs'"
            )
            assert clickhouse.execute(found) == [("5000",)]

    def test_merges_change_nothing(self, clickhouse, options, database):
        """Versions decide, whichever rows have been merged."""
        chance, held = random.Random(3), dict[str, int]()
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            for turn in range(60):
                key = str(chance.randrange(4))
                action = chance.choice(["insert", "upsert", "delete", "merge"])
                if action == "merge":
                    clickhouse.execute(f"OPTIMIZE TABLE `{database}`.`praison_.docs` FINAL")
                elif action == "delete":
                    assert store.delete("docs", [key]) == (held.pop(key, None) is not None)
                elif action == "insert" and key in held:
                    with pytest.raises(DocumentExistsError):
                        store.insert("docs", [make(key, turn=turn)])
                else:
                    getattr(store, action)("docs", [make(key, turn=turn)])
                    held[key] = turn
                found = store.get("docs", ["0", "1", "2", "3"])
                assert {item.id: item.metadata["turn"] for item in found} == held
                assert store.count("docs") == len(held)

    @pytest.mark.parametrize("before", [False, True], ids=["new", "deleted before"])
    def test_an_insert_does_not_cover_an_upsert_that_came_between(self, options, monkeypatch, before):
        """It was upserted after the insert had looked whether it is there."""
        original = knowledge.ClickHouseSteps._store
        with ClickHouseKnowledgeStore(**options) as store, ClickHouseKnowledgeStore(**options) as other:
            store.create_collection("docs", 2)
            if before:
                store.upsert("docs", [make("a", by="nobody")])
                store.delete("docs", ["a"])

            def between(self, opened, rows):
                monkeypatch.undo()
                other.upsert("docs", [make("a", by="upsert")])
                yield from original(self, opened, rows)

            monkeypatch.setattr(knowledge.ClickHouseSteps, "_store", between)
            store.insert("docs", [make("a", by="insert")])
            assert [item.metadata for item in other.get("docs", ["a"])] == [{"by": "upsert"}]

    def test_racing_inserts_have_one_winner(self, options):
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            won: list[int] = []

            def body(worker: int) -> None:
                with contextlib.suppress(DocumentExistsError):
                    store.insert("docs", [make("a", by=worker), make(f"own{worker}")])
                    won.append(worker)

            threads = [threading.Thread(target=body, args=(worker,)) for worker in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(won) == 1
            assert store.get("docs", ["a"])[0].metadata == {"by": won[0]}
            assert store.count("docs") == 2

    @pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
    def test_many_documents_get_an_index(self, clickhouse, options, database, distance):
        chance = random.Random(5)
        vectors = [[chance.gauss(0, 1) for _ in range(8)] for _ in range(300)]
        with (
            ClickHouseKnowledgeStore(**options, index_above=200) as store,
            ClickHouseKnowledgeStore(**options, index_above=200) as reader,
        ):
            store.create_collection("docs", 8, distance)
            indexes = f"SELECT type FROM system.data_skipping_indices WHERE database = '{database}'"
            store.upsert("docs", [make(str(n), vector) for n, vector in enumerate(vectors[:200])])
            assert len(reader.search("docs", vectors[0], 3)) == 3
            assert clickhouse.execute(indexes) == []
            store.upsert("docs", [make(str(n + 200), vector) for n, vector in enumerate(vectors[200:])])
            assert clickhouse.execute(indexes) == [("vector_similarity",)]
            # What was near is far away, or gone: the index still has its place.
            store.upsert("docs", [make(str(n), [-part for part in vectors[n]]) for n in range(20)])
            assert store.delete("docs", [str(n) for n in range(20, 40)]) == 20
            clickhouse.execute(
                f"ALTER TABLE `{database}`.`praison_.docs` MATERIALIZE INDEX nearest SETTINGS mutations_sync = 2"
            )
            with ClickHouseKnowledgeStore(**options, index_above=1_000_000) as exact:
                for query in [*vectors[:50], *vectors[250:]]:
                    wanted = exact.search("docs", query, 10, {"x": {"$exists": False}})
                    for one in (store, reader):
                        found = one.search("docs", query, 10)
                        assert len({item.id for item in found} & {item.id for item in wanted}) >= 9
                        assert not {item.id for item in found} & {str(n) for n in range(20, 40)}

    def test_a_server_without_such_an_index_is_searched_exactly(self, clickhouse, options, database, monkeypatch):
        """The server is asked for an index of a kind that it does not know, as older ones are."""
        refused, perform = [], ClickHouseDriver.perform

        def unknown(driver, on, request):
            if "vector_similarity" in request.sql:
                refused.append(request.sql)
                request = request._replace(sql=request.sql.replace("vector_similarity", "of_later_versions"))
            return perform(driver, on, request)

        monkeypatch.setattr(ClickHouseDriver, "perform", unknown)
        chance = random.Random(5)
        vectors = [[chance.gauss(0, 1) for _ in range(8)] for _ in range(300)]
        with ClickHouseKnowledgeStore(**options, index_above=100) as store:
            store.create_collection("docs", 8)
            for start in range(0, 300, 100):
                store.upsert("docs", [make(str(n), vectors[n]) for n in range(start, start + 100)])
            assert len(refused) == 2
            for n in range(300):
                assert [item.id for item in store.search("docs", vectors[n], 1)] == [str(n)]
        indexes = f"SELECT type FROM system.data_skipping_indices WHERE database = '{database}'"
        assert clickhouse.execute(indexes) == []

    def test_vectors_of_many_numbers(self, options):
        """A server takes 128 KiB in each parameter."""
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 20_000)
            vectors = [[0.1] * 20_000, [-0.1] * 19_000 + [0.1] * 1_000]
            store.insert("docs", [make(str(n), vector) for n, vector in enumerate(vectors)])
            assert [item.id for item in store.search("docs", vectors[1])] == ["1", "0"]

    def test_clients_of_the_callers_own_stay_open(self, options, place, database):
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)

        async def main(given):
            async with AsyncClickHouseKnowledgeStore(client=given, database=database) as store:
                await store.upsert("docs", [make("b", kind="x")])
                assert [found.id for found in await store.search("docs", [1.0, 2.0], 5, {"kind": "x"})] == ["b"]
                assert await store.delete("docs", ["b"]) == 1

        with contextlib.closing(clickhouse_connect.get_client(**place)) as client:
            with ClickHouseKnowledgeStore(client=client, database=database) as store:
                assert store.count("docs") == 0
            asyncio.run(main(client))
            assert client.command("SELECT 1") == 1

        async def with_async_client():
            client = await clickhouse_connect.get_async_client(**place)
            try:
                await main(client)
                assert await client.command("SELECT 1") == 1
            finally:
                await client.close()

        asyncio.run(with_async_client())

    def test_a_write_that_is_not_answered_says_what_to_do(self, options, database):
        """It is taken, and may have been done."""
        with ClickHouseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            server = urlsplit(options["url"])
            with Proxy(server.hostname, server.port) as proxy:
                url = f"clickhouse://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}/{database}"
                with ClickHouseKnowledgeStore(url, timeout=1) as through:
                    assert through.count("docs") == 0
                    proxy.swallow()
                    with pytest.raises(ConnectionFailedError, match="can be repeated"):
                        through.upsert("docs", [make("a")])
            store.upsert("docs", [make("a")])
            assert store.count("docs") == 1
