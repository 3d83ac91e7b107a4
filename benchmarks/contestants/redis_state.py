"""Keys and values in Redis: this project, redis-py with JSON, and py-key-value."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from base import State


class OursOnRedis(State):
    """This project's store."""

    name = "praisonai-persistence (redis)"
    engine = "redis"
    role = "ours"
    packages = ("redis",)
    requirements = ("hiredis>=3",)
    imports = "from praisonai_persistence_redis import RedisStateStore"
    tasks = True

    def open(self) -> None:
        from praisonai_persistence_redis import RedisStateStore

        self.store = RedisStateStore(self.place)

    def close(self) -> None:
        self.store.close()

    async def open_async(self) -> None:
        from praisonai_persistence_redis import AsyncRedisStateStore

        self.async_store = AsyncRedisStateStore(self.place)

    async def close_async(self) -> None:
        await self.async_store.close()

    def set(self, key: str, value: dict[str, Any]) -> None:
        self.store.set(key, value)

    def get(self, key: str) -> Any:
        return self.store.get(key)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    async def set_async(self, key: str, value: dict[str, Any]) -> None:
        await self.async_store.set(key, value)

    async def get_async(self, key: str) -> Any:
        return await self.async_store.get(key)


class BareRedis(State):
    """redis-py; its ``set`` overwrites whatever is there. For tasks a pool that waits, as large as this project's."""

    name = "bare driver (redis-py)"
    engine = "redis"
    role = "bare"
    requirements = ("redis[hiredis]>=5",)
    imports = "import redis"
    tasks = True

    def open(self) -> None:
        import redis

        self.client = redis.Redis.from_url(self.place)

    def close(self) -> None:
        self.client.close()

    async def open_async(self) -> None:
        import redis.asyncio

        pool = redis.asyncio.BlockingConnectionPool.from_url(self.place, max_connections=10)
        self.async_client: Any = redis.asyncio.Redis(connection_pool=pool)

    async def close_async(self) -> None:
        await self.async_client.aclose()

    def set(self, key: str, value: dict[str, Any]) -> None:
        self.client.set(f"bare:{key}", json.dumps(value))

    def get(self, key: str) -> Any:
        return json.loads(self.client.get(f"bare:{key}"))

    def delete(self, key: str) -> None:
        self.client.delete(f"bare:{key}")

    async def set_async(self, key: str, value: dict[str, Any]) -> None:
        await self.async_client.set(f"bare:{key}", json.dumps(value))

    async def get_async(self, key: str) -> Any:
        return json.loads(await self.async_client.get(f"bare:{key}"))


class KeyValueOnRedis(State):
    """py-key-value, whose interface is coroutines: without tasks they run on a loop that is kept open."""

    name = "py-key-value RedisStore"
    engine = "redis"
    requirements = ("py-key-value-aio[redis]>=0.5", "hiredis>=3")
    imports = "from key_value.aio.stores.redis import RedisStore"
    threads = False
    tasks = True

    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.open_async())

    def close(self) -> None:
        self.loop.run_until_complete(self.close_async())
        self.loop.close()

    async def open_async(self) -> None:
        from key_value.aio.stores.redis import RedisStore

        self.store = RedisStore(url=self.place)

    async def close_async(self) -> None:
        await self.store.close()

    def set(self, key: str, value: dict[str, Any]) -> None:
        self.loop.run_until_complete(self.set_async(key, value))

    def get(self, key: str) -> Any:
        return self.loop.run_until_complete(self.get_async(key))

    def delete(self, key: str) -> None:
        self.loop.run_until_complete(self.store.delete(key))

    async def set_async(self, key: str, value: dict[str, Any]) -> None:
        await self.store.put(key, value)

    async def get_async(self, key: str) -> Any:
        return await self.store.get(key)
