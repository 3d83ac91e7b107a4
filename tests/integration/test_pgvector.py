"""pgvector against the conformance kit, and what the kit does not ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import engines
import psycopg
import psycopg_pool
import pytest
from lifecycles import Networked

from praisonai_persistence import KnowledgeDocument, open_knowledge_store
from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConfigurationError,
    DimensionError,
    PersistenceError,
    SchemaError,
)
from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec
from praisonai_persistence_pgvector import AsyncPgvectorKnowledgeStore, PgvectorKnowledgeStore

MODULE = "praisonai_persistence_pgvector"
DIMENSION = 8
MANY = 1_200
"""More than are searched one by one, with ``index_from`` below it."""


def spec_of(url: str, **options: Any) -> StoreSpec:
    name = "PgvectorKnowledgeStore"
    return StoreSpec(
        "knowledge", sync=f"{MODULE}:{name}", async_=f"{MODULE}:Async{name}", options={"url": url, **options}
    )


class TestPgvector(Networked, KnowledgeStoreSuite):
    backend = "pgvector"
    largest_dimension = 16_000

    @pytest.fixture
    def spec(self, pgvector):
        with pgvector.space() as options:
            yield spec_of(**options, retry_timeout=1)

    @pytest.fixture
    def unreachable_spec(self):
        url = f"postgresql://u:p4ssw0rd-x@127.0.0.1:{engines.free_port()}/d"
        return spec_of(url, connect_timeout=1, retry_timeout=1)

    @pytest.fixture
    def server(self, pgvector):
        return pgvector


# ------------------------------------------------------------------------------------------------- beside the kit


@pytest.fixture
def options(pgvector):
    with pgvector.space() as options:
        yield {**options, "index_from": 1_100}


@pytest.fixture
def open_sync(options):
    """Opens sync stores on the data of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **more: stack.enter_context(PgvectorKnowledgeStore(**{**options, **more}))


def in_loop(body: Callable[[AsyncPgvectorKnowledgeStore], Awaitable[Any]], **options: Any) -> Any:
    """Run a coroutine function with an async store."""

    async def main() -> Any:
        async with AsyncPgvectorKnowledgeStore(**options) as store:
            return await body(store)

    return asyncio.run(main())


def documents(number: int, dimension: int = DIMENSION, start: int = 0) -> list[KnowledgeDocument]:
    chance = random.Random(start)
    return [
        KnowledgeDocument(
            f"d{n:05d}", f"text {n}", [chance.gauss(0, 1) for _ in range(dimension)], {"n": n, "ten": n % 10}
        )
        for n in range(start, start + number)
    ]


def padded(number: int, dimension: int, start: int = 0) -> list[KnowledgeDocument]:
    """Documents whose embeddings are large, and cheap to compute."""
    some = documents(number, 4, start)
    for item in some:
        item.embedding = [*item.embedding, *[0.0] * (dimension - 4)]
    return some


def indexes(engine: Any, schema: str) -> dict[str, str]:
    """The indexes of a schema's collections, by the ends of their names."""
    found = engine.execute("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = %s", schema)
    return {name.rpartition("_")[2]: sql for name, sql in found if "_documents_" in name}


def plan(store: PgvectorKnowledgeStore, query: list[float], limit: int = 10, **more: Any) -> str:
    """How the server does the search that the store has just asked for: in the same session, by the same words."""
    pool, said = store._runner._pool, []
    with pool.lend() as connection:
        kind, perform = type(connection), type(connection).perform

    def spying(self: Any, request: Any) -> Any:
        if "<" in getattr(request, "sql", "") and request.sql.startswith("SELECT id"):
            asked = type(request)(f"EXPLAIN {request.sql}", request.parameters)
            said.append("\n".join(row[0] for row in perform(self, asked)))
        return perform(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "perform", spying)
        store.search("docs", query, limit, **more)
    return "\n".join(said)


class TestIndex:
    @pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
    def test_a_collection_that_has_grown_is_searched_by_an_index(self, open_sync, options, pgvector, distance):
        dimension = 800  # where there are few small ones, it is faster to look at all
        store = open_sync(m=4, ef_construction=40, ef_search=40)
        store.create_collection("docs", dimension, distance)
        store.insert("docs", padded(1_000, dimension))
        assert "hnsw" not in indexes(pgvector, options["schema"])
        store.upsert("docs", padded(200, dimension, start=1_000))
        ops = {"cosine": "vector_cosine_ops", "dot": "vector_ip_ops", "euclidean": "vector_l2_ops"}[distance]
        assert ops in indexes(pgvector, options["schema"])["hnsw"]
        pgvector.execute(f'ANALYZE "{options["schema"]}".praison_documents_1')
        query = padded(1, dimension, start=9_999)[0].embedding
        exact = open_sync(exact=True).search("docs", query, 10)
        assert "Index Scan using praison_documents_1_hnsw" in plan(store, query)
        found = store.search("docs", query, 10)
        assert len({item.id for item in found} & {item.id for item in exact}) >= 9
        assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
        assert "hnsw" not in plan(open_sync(exact=True), query)

    def test_one_store_makes_it_and_all_use_it(self, open_sync, options):
        one, other = open_sync(), open_sync(index="none")
        one.create_collection("docs", DIMENSION)
        other.insert("docs", documents(MANY))
        assert other.search("docs", [1.0] * DIMENSION, 1)
        assert other._steps._known["docs"].indexed is False
        assert one.build_index("docs") is True
        other.search("docs", [1.0] * DIMENSION, 1)  # is exact, and told of the index
        assert other._steps._known["docs"].indexed is True

        async def body(store):
            assert len(await store.search("docs", [1.0] * DIMENSION, 7, {"ten": 3})) == 7
            assert store._steps._known["docs"].indexed is True

        in_loop(body, **options)

    def test_with_filters_all_that_match_are_found(self, open_sync, options):
        store = open_sync(max_scan_tuples=50)
        store.create_collection("docs", DIMENSION)
        store.insert("docs", documents(MANY))
        query = [1.0] * DIMENSION
        assert store._steps._known["docs"].indexed
        assert len(store.search("docs", query, 20, {"n": {"$gte": MANY - 15}})) == 15
        assert [item.id for item in store.search("docs", query, 3, {"n": 7})] == ["d00007"]
        assert store.search("docs", query, 3, {"n": -1}) == []
        assert len(store.search("docs", query, 500)) == 500, "more than ef_search"
        assert len(store.search("docs", query, 5_000)) == MANY

        async def body(store):
            assert len(await store.search("docs", query, 20, {"n": {"$gte": MANY - 15}})) == 15
            assert len(await store.search("docs", query, 500)) == 500

        in_loop(body, **options)

    def test_what_the_index_cannot_rank_is_found(self, open_sync):
        store = open_sync()
        odd = {
            "zero": [0.0] * DIMENSION,
            "tiny": [1e-30] * DIMENSION,
            "huge": [1e30] * DIMENSION,
            "enormous": [3e38] * DIMENSION,
        }
        for distance in ("cosine", "dot", "euclidean"):
            store.create_collection(distance, DIMENSION, distance)
            store.insert(distance, documents(MANY))
            store.upsert(distance, [KnowledgeDocument(name, name, vector) for name, vector in odd.items()])
            assert store._steps._known[distance].indexed
        ones = [1.0] * DIMENSION
        scores = {item.id: item.score for item in store.search("cosine", ones, 4)}
        assert {name: scores[name] for name in ("tiny", "huge", "enormous")} == pytest.approx(
            dict.fromkeys(("tiny", "huge", "enormous"), 1.0)
        )
        found = {item.id: item.score for item in store.search("cosine", [-1.0] * DIMENSION, MANY)}
        assert found["zero"] == 0.0
        best = store.search("dot", ones, 2)
        assert [item.id for item in best] == ["enormous", "huge"]
        assert best[0].score == pytest.approx(3e38 * DIMENSION, rel=1e-6)
        assert store.search("dot", [3e38] * DIMENSION, 1)[0].score == pytest.approx(9e76 * DIMENSION, rel=1e-6)
        assert store.search("euclidean", odd["huge"], 1)[0].id == "huge"

    def test_a_collection_that_has_shrunk_is_searched_exactly(self, open_sync, options, pgvector):
        store, other = open_sync(), open_sync()
        store.create_collection("docs", DIMENSION)
        store.insert("docs", documents(MANY))
        other.search("docs", [1.0] * DIMENSION)
        assert store.delete("docs", filters={"n": {"$lt": MANY - 1_001}}) == MANY - 1_001
        assert "hnsw" in indexes(pgvector, options["schema"])
        assert store.delete("docs", [f"d{MANY - 1:05d}"]) == 1
        assert "hnsw" not in indexes(pgvector, options["schema"])
        assert other._steps._known["docs"].indexed is True, "it does not know yet"
        assert len(other.search("docs", [1.0] * DIMENSION, 10)) == 10
        assert other._steps._known["docs"].indexed is False

    @pytest.mark.parametrize(("dimension", "kind"), [(2_000, "vector"), (2_001, "halfvec"), (4_000, "halfvec")])
    def test_large_embeddings(self, open_sync, options, pgvector, dimension, kind):
        store = open_sync()
        store.create_collection("docs", dimension, "dot")
        some = padded(MANY, dimension)
        store.insert("docs", some)
        assert f"{kind}_ip_ops" in indexes(pgvector, options["schema"])["hnsw"]
        pgvector.execute(f'ANALYZE "{options["schema"]}".praison_documents_1')
        query = some[3].embedding
        assert "Index Scan using praison_documents_1_hnsw" in plan(store, query)
        exact = open_sync(exact=True).search("docs", query, 5, with_embeddings=True)
        found = store.search("docs", query, 5, with_embeddings=True)
        assert found[0].score == exact[0].score, "computed from what was given, not from 16-bit floats"
        assert len({item.id for item in found} & {item.id for item in exact}) >= 4

    def test_beyond_what_an_index_takes(self, open_sync, options, pgvector):
        store = open_sync(index_from=1_001)
        store.create_collection("docs", 4_001, "dot")
        some = padded(1_010, 4_001)
        store.insert("docs", some)
        assert store.build_index("docs") is False
        assert "hnsw" not in indexes(pgvector, options["schema"])
        assert len(store.search("docs", some[0].embedding, 3)) == 3
        store.create_collection("largest", 16_000)
        store.insert("largest", [KnowledgeDocument("a", "", [1.0] * 16_000)])
        assert store.get("largest", ["a"])[0].embedding == [1.0] * 16_000
        with pytest.raises(DimensionError, match="16,000"):
            store.create_collection("larger", 16_001)
        assert store.list_collections() == ["docs", "largest"]

    def test_without_the_right_to_make_an_index_writes_go_on(self, open_sync, options, pgvector, caplog):
        open_sync().create_collection("docs", DIMENSION)
        role, schema = f"r_{options['schema']}", options["schema"]
        pgvector.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'wr1te'")
        try:
            pgvector.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO {role}')
            pgvector.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO {role}')
            parts = urlsplit(options["url"])
            url = f"postgresql://{role}:wr1te@{parts.hostname}:{parts.port}{parts.path}"
            store = open_sync(url=url, create_schema=False)
            with caplog.at_level(logging.WARNING):
                store.insert("docs", documents(MANY))
            assert "without an index" in caplog.text
            caplog.clear()
            store.insert("docs", documents(10, start=MANY))
            assert caplog.text == "", "said once"
            assert store.count("docs") == MANY + 10
            assert len(store.search("docs", [1.0] * DIMENSION, 20)) == 20
        finally:
            pgvector.execute(f'DROP OWNED BY "{role}"')
            pgvector.execute(f"DROP ROLE {role}")

    def test_racing_writers_make_one_index(self, open_sync, options, pgvector):
        stores = [open_sync() for _ in range(4)]
        stores[0].create_collection("docs", DIMENSION)
        threads = [
            threading.Thread(target=store.insert, args=("docs", documents(500, start=500 * number)))
            for number, store in enumerate(stores)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stores[0].count("docs") == 2_000
        assert "hnsw" in indexes(pgvector, options["schema"])


class TestTrouble:
    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"index": "ivfflat"},
            {"index_from": 1_000},
            {"iterative_scan": "sometimes"},
            {"m": 1},
            {"m": True},
            {"m": 40},
            {"ef_construction": 0},
            {"ef_search": 1_001},
            {"max_scan_tuples": 0},
        ],
    )
    def test_options_that_cannot_be(self, wrong):
        where = {"host": "127.0.0.1"} if wrong else {}
        for store in (PgvectorKnowledgeStore, AsyncPgvectorKnowledgeStore):
            with pytest.raises(ConfigurationError):
                store(**where, **wrong)

    def test_the_extension_is_not_to_be_had(self, postgres_without):
        """Not for this role to make, or not in its sight."""
        for schema, words in ((None, "administrator"), ("elsewhere", "search_path")):
            with postgres_without(schema) as url:
                with PgvectorKnowledgeStore(url) as store, pytest.raises(SchemaError, match=words):
                    store.connect()
                with pytest.raises(SchemaError, match=words):
                    in_loop(lambda store: store.connect(), url=url)

    @pytest.fixture
    def postgres_without(self, pgvector):
        """A database without the extension, or with it in a schema, and a role that may make tables in it."""

        @contextlib.contextmanager
        def make(schema: str | None) -> Any:
            name = f"t{os.urandom(5).hex()}"
            parts = urlsplit(pgvector.url)
            admin = f"postgresql://{parts.username}:{parts.password}@{parts.hostname}:{parts.port}/{name}"
            pgvector.execute(f"CREATE DATABASE {name}")
            pgvector.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'r'")
            try:
                with psycopg.connect(admin, autocommit=True) as connection:
                    connection.execute(f"GRANT CREATE ON SCHEMA public TO {name}")
                    if schema is not None:
                        connection.execute(f"CREATE SCHEMA {schema}")
                        connection.execute(f"CREATE EXTENSION vector SCHEMA {schema}")
                yield f"postgresql://{name}:r@{parts.hostname}:{parts.port}/{name}"
            finally:
                pgvector.execute(f"DROP DATABASE {name} WITH (FORCE)")
                pgvector.execute(f"DROP ROLE {name}")

        return make

    @pytest.mark.slow
    def test_an_engine_that_stops_in_a_batch_leaves_all_or_nothing(self, open_sync, pgvector):
        if not pgvector.restartable:
            pytest.skip("the server is not ours to restart")
        store = open_sync(retry_timeout=30)
        store.create_collection("docs", DIMENSION)
        began, restarted, batches, written = threading.Event(), threading.Event(), [], []

        def write() -> None:
            while not restarted.is_set():
                number = len(batches)
                batches.append(number)
                some = documents(400, start=400 * number)
                with contextlib.suppress(PersistenceError):  # nobody knows whether that one was written
                    store.insert("docs", some)
                    written.append(number)
                    began.set()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            assert began.wait(120)
            pgvector.restart()
        finally:
            restarted.set()
            thread.join(120)
        assert not thread.is_alive()
        for number in batches:
            here = store.count("docs", {"n": {"$gte": 400 * number, "$lt": 400 * (number + 1)}})
            assert here in ({400} if number in written else {0, 400})


class TestHandedIn:
    def test_a_pool(self, options, pgvector):
        given = {name: value for name, value in options.items() if name != "url"}
        with psycopg_pool.ConnectionPool(pgvector.url, min_size=1, open=True) as pool:
            with PgvectorKnowledgeStore(pool=pool, **given) as store:
                self._use(store)
            with pool.connection() as connection:
                assert connection.autocommit is False, "as it was"
                assert connection.execute("SHOW hnsw.ef_search").fetchone() == ("40",), "as it was"

    def _use(self, store):
        store.create_collection("docs", DIMENSION)
        store.insert("docs", documents(MANY))
        assert store._steps._known["docs"].indexed
        assert len(store.search("docs", [1.0] * DIMENSION, 10, {"ten": 1}, with_embeddings=True)) == 10
        store.delete_collection("docs")
        with pytest.raises(CollectionNotFoundError):
            store.search("docs", [1.0] * DIMENSION)

    def test_an_async_pool(self, options, pgvector):
        given = {name: value for name, value in options.items() if name != "url"}

        async def main():
            async with asyncpg.create_pool(pgvector.url, min_size=1) as pool:
                async with AsyncPgvectorKnowledgeStore(pool=pool, **given) as store:
                    await store.create_collection("docs", DIMENSION)
                    await store.insert("docs", documents(MANY))
                    assert store._steps._known["docs"].indexed
                    query = [1.0] * DIMENSION
                    assert len(await store.search("docs", query, 10, {"ten": 1}, with_embeddings=True)) == 10
                    assert (await store.get("docs", ["d00001"]))[0].content == "text 1"
                assert await pool.fetchval("SELECT '[1,2]'::vector") == "[1,2]", "it was taught nothing"

        asyncio.run(main())

    def test_connection_factories(self, options, pgvector):
        given = {name: value for name, value in options.items() if name != "url"}
        with PgvectorKnowledgeStore(connection_factory=lambda: psycopg.connect(pgvector.url), **given) as store:
            self._use(store)

        async def connect():
            return await asyncpg.connect(pgvector.url)

        async def body(store):
            await store.create_collection("docs", 3)
            await store.insert("docs", [KnowledgeDocument("a", "", [1.0, 2.0, 3.0])])
            assert (await store.get("docs", ["a"]))[0].embedding == [1.0, 2.0, 3.0]

        in_loop(body, connection_factory=connect, **given)


def test_large_batches_are_atomic(open_sync):
    """Those, too, that take several statements."""
    store = open_sync()
    store.create_collection("docs", 3, "dot")
    text = "x" * 5_000_000
    batch = [KnowledgeDocument(f"d{n}", text, [1.0, 0.0, float(n)]) for n in range(8)]
    with pytest.raises(PersistenceError, match="d5"):
        store.insert("docs", [KnowledgeDocument("d5", "", [1.0, 0.0, 0.0])])
        store.insert("docs", batch)
    assert store.count("docs") == 1
    store.upsert("docs", batch)
    assert [item.content == text for item in store.get("docs", [item.id for item in batch])] == [True] * 8


def test_names_and_schemes_lead_here(options):
    for scheme in ("postgres", "postgresql", "pgvector"):
        with open_knowledge_store(options["url"].replace("postgresql", scheme), schema=options["schema"]) as store:
            assert isinstance(store, PgvectorKnowledgeStore)
            store.connect()
    assert isinstance(open_knowledge_store(options["url"], mode="async"), AsyncPgvectorKnowledgeStore)
    assert isinstance(
        open_knowledge_store(options["url"].replace("postgresql", "postgresql+asyncpg")), AsyncPgvectorKnowledgeStore
    )
