"""PostgreSQL: deadlines, interrupts, cancellation, loops, forks and closing."""

from __future__ import annotations

import asyncio

import asyncpg
import psycopg_pool
import pytest
from sql_lifecycle import LifecycleTests, SoftTimeLimit

from praisonai_persistence_postgres import AsyncPostgresStateStore, PostgresStateStore


@pytest.fixture
def options(postgres):
    with postgres.space() as options:
        yield options


class TestLifecycle(LifecycleTests):
    sync, async_ = PostgresStateStore, AsyncPostgresStateStore

    def test_a_pool_that_was_handed_in_gets_its_connections_back(self, options, proxied, alarm):
        proxy, through = proxied
        url = through["url"]
        with psycopg_pool.ConnectionPool(url, min_size=1, max_size=1, timeout=10, open=True) as pool:
            with PostgresStateStore(pool=pool, schema=options["schema"], timeout=20) as store:
                store.set("a", 1)
                proxy.hold()
                alarm(0.1, SoftTimeLimit())
                with pytest.raises(SoftTimeLimit):
                    store.get("a")
                proxy.release()
                assert store.get("a") == 1
            with pool.connection() as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
                assert not connection.autocommit
                assert "wait" not in vars(connection)

    def test_an_async_pool_that_was_handed_in_survives_a_cancelled_call(self, options, proxied):
        proxy, through = proxied

        async def main() -> None:
            async with asyncpg.create_pool(through["url"], min_size=1, max_size=1) as pool:
                store = AsyncPostgresStateStore(pool=pool, schema=options["schema"], timeout=1)
                await store.set("a", 1)
                proxy.hold()
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(store.get("a"), 0.1)
                proxy.release()
                assert await store.get("a") == 1
                await store.close()

        asyncio.run(main())
