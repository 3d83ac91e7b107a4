"""The stores of PostgreSQL behind PgBouncer, which lends them another connection to the server for each transaction."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence_pgvector import AsyncPgvectorKnowledgeStore, PgvectorKnowledgeStore
from praisonai_persistence_postgres import (
    AsyncPostgresConversationStore,
    AsyncPostgresStateStore,
    PostgresConversationStore,
    PostgresStateStore,
)

AT_ONCE, CALLS = 8, 60
"""Callers, who are more than PgBouncer has connections, and their calls."""
WAYS: dict[str, dict[str, Any]] = {
    "found out by what it refuses": {},
    "found out by its answers": {"statement_timeout": None},
    "said": {"pooler": True},
    "said, with a limit": {"pooler": True, "statement_timeout": 20, "min_size": 4},
}


@pytest.fixture(params=list(WAYS))
def options(request, pgbouncer):
    with pgbouncer.space() as options:
        yield {**options, "retry_timeout": 1, **WAYS[request.param]}


@pytest.fixture
def lenient(pgbouncer):
    """Options of stores behind a PgBouncer that takes every setting and forgets it."""
    if not pgbouncer.restartable:
        pytest.skip("the PgBouncer of the environment's URL is not ours to configure")
    pgbouncer.set("ignore_startup_parameters", "options,statement_timeout,jit,hnsw.ef_search,hnsw.iterative_scan")
    with pgbouncer.space() as options:
        yield {**options, "retry_timeout": 1}
    pgbouncer.set("ignore_startup_parameters", "")


def texts(messages: list[ConversationMessage]) -> list[str]:
    return sorted(message.content or "" for message in messages)


def talk(options: dict[str, Any]) -> None:
    """Append and read from several threads at once."""
    with PostgresConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))

        def call(n: int) -> None:
            store.add_message("s", ConversationMessage(role="user", content=f"word {n}", id=f"m{n}"))
            assert store.get_messages("s", limit=5)
            assert store.get_session("s") is not None

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(call, range(CALLS)))
        store.add_message("s", ConversationMessage(role="user", content="word 0", id="m0"))
        store.add_messages("s", [ConversationMessage(role="user", content="x" * 3, id=f"b{n}") for n in range(150)])
        assert texts(store.get_messages("s"))[:CALLS] == texts(
            [ConversationMessage(role="user", content=f"word {n}") for n in range(CALLS)]
        )
        assert len(store.search_messages("word", limit=1000)) == CALLS


def test_conversations_sync(options):
    talk(options)


def test_conversations_behind_one_that_forgets_settings(lenient):
    talk(lenient)


async def talk_async(options: dict[str, Any]) -> None:
    """Append and read from several tasks at once."""
    async with AsyncPostgresConversationStore(**options) as store:
        await store.create_session(ConversationSession("s"))

        async def call(n: int) -> None:
            await store.add_message("s", ConversationMessage(role="user", content=f"word {n}", id=f"m{n}"))
            assert await store.get_messages("s", limit=5)
            assert await store.get_session("s") is not None

        for first in range(0, CALLS, AT_ONCE):
            await asyncio.gather(*map(call, range(first, min(CALLS, first + AT_ONCE))))
        await store.add_message("s", ConversationMessage(role="user", content="word 0", id="m0"))
        many = [ConversationMessage(role="user", content="x" * 3, id=f"b{n}") for n in range(150)]
        await store.add_messages("s", many)
        assert len(await store.get_messages("s")) == CALLS + 150
        assert len(await store.search_messages("word", limit=1000)) == CALLS


def test_conversations_async(options):
    asyncio.run(talk_async(options))


def test_async_conversations_behind_one_that_forgets_settings(lenient):
    asyncio.run(talk_async(lenient))


def test_state(options):
    with PostgresStateStore(**options) as store, ThreadPoolExecutor(AT_ONCE) as pool:
        assert sorted(pool.map(lambda _: store.incr("n"), range(CALLS))) == list(range(1, CALLS + 1))
        store.set_many({f"k{n}": n for n in range(700)})
        assert len(list(store.keys("k*"))) == 700

    async def main() -> None:
        async with AsyncPostgresStateStore(**options) as store:
            found = await asyncio.gather(*(store.incr("n") for _ in range(CALLS)))
            assert sorted(found) == list(range(CALLS + 1, 2 * CALLS + 1))
            assert await store.get("k699") == 699

    asyncio.run(main())


def test_knowledge(options):
    more = {**options, "index_from": 1_100}
    documents = [KnowledgeDocument(f"d{n:04}", f"text {n}", [1.0, n / 1000, 0.0], {"n": n}) for n in range(1_200)]
    with PgvectorKnowledgeStore(**more) as store, ThreadPoolExecutor(AT_ONCE) as pool:
        store.create_collection("c", dimension=3)
        store.insert("c", documents)  # which makes the index
        found = list(pool.map(lambda _: store.search("c", [1.0, 0.0, 0.0], limit=3), range(CALLS)))
        assert {tuple(item.id for item in items) for items in found} == {("d0000", "d0001", "d0002")}

    async def main() -> None:
        async with AsyncPgvectorKnowledgeStore(**more) as store:
            searches = (store.search("c", [1.0, 0.0, 0.0], limit=3, filters={"n": {"$gte": 5}}) for _ in range(CALLS))
            found = await asyncio.gather(*searches)
            assert {tuple(item.id for item in items) for items in found} == {("d0005", "d0006", "d0007")}
            assert await store.upsert("c", documents[:10]) == [item.id for item in documents[:10]]

    asyncio.run(main())


def test_what_a_pooler_refuses_names_the_ways_out(pgbouncer):
    url = f"{pgbouncer.url}?options=-c%20work_mem%3D8MB"
    ways = r"pooler=True.*ignore_startup_parameters"
    for more in ({}, {"pooler": True}, {"pooler": False}):
        with (
            PostgresStateStore(url, **more, retry_timeout=0.2) as store,
            pytest.raises(ConnectionFailedError, match=ways),
        ):
            store.get("a")

    async def main() -> None:
        async with AsyncPostgresStateStore(url, retry_timeout=0.2) as store:
            await store.get("a")

    with pytest.raises(ConnectionFailedError, match=ways):
        asyncio.run(main())


def test_a_server_itself_is_not_taken_for_one(pgvector):
    with pgvector.space() as options, PostgresStateStore(**options) as store:
        store.set("a", 1)
        with store._runner._pool.lend() as connection:
            assert connection.pooler is False
            assert connection.raw.execute("SHOW statement_timeout").fetchone() == ("25s",)


def test_the_url_says_it(pgbouncer):
    with pgbouncer.space() as options:
        join = "&" if urlsplit(options["url"]).query else "?"
        with PostgresStateStore(options["url"] + f"{join}pgbouncer=true", schema=options["schema"]) as store:
            store.set("a", 1)
            with store._runner._pool.lend() as connection:
                assert connection.pooler is True
