"""What asyncpg has to learn: the type ``vector``."""

from __future__ import annotations

from typing import Any

from praisonai_persistence_pg.on_asyncpg import AsyncpgConnection, InjectedPool
from praisonai_persistence_pg.on_asyncpg import OwnPool as _OwnPool
from praisonai_persistence_pgvector.knowledge import UseVectors

__all__ = ["InjectedPool", "OwnPool", "VectorConnection"]

_SCHEMA = (
    "SELECT n.nspname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = 'vector'::regtype"
)
_ARRAY = "SELECT NULL::vector[]"  # the driver looks the type up now, not within the first write


class VectorConnection(AsyncpgConnection):
    """A connection that takes vectors in their binary form: numbers one by one take fifty times as long.

    Arguments as for [AsyncpgConnection][].
    """

    _taught = False

    async def _perform(self, request: Any) -> Any:
        if not isinstance(request, UseVectors):
            return await super()._perform(request)
        if not self._taught:
            if self.pooler and not self._open:
                await self._by_itself(self._learn)
            else:
                await self._learn()
            self._taught = True
        return not self.pooler

    async def _learn(self) -> None:
        schema = await self.raw.fetchval(_SCHEMA)
        self._watch.start()  # each of these is a request with several round trips
        await self.raw.set_type_codec("vector", schema=schema, encoder=bytes, decoder=bytes, format="binary")
        self._watch.start()
        await self.raw.fetchval(_ARRAY)


class OwnPool(_OwnPool):
    """Connections of our own, which know the type."""

    kind = VectorConnection
