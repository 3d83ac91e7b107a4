"""What psycopg has to learn: the type ``vector``."""

from __future__ import annotations

import struct
from typing import Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

from praisonai_persistence_pg.on_psycopg import InjectedPool, PsycopgConnection
from praisonai_persistence_pg.on_psycopg import OwnPool as _OwnPool
from praisonai_persistence_pgvector._tables import Vector, Vectors
from praisonai_persistence_pgvector.knowledge import UseVectors

__all__ = ["InjectedPool", "OwnPool", "VectorConnection"]


class _VectorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Vector) -> bytes:
        return obj


class _VectorsDumper(Dumper):
    format = Format.BINARY
    item = 0
    """The number of the type ``vector`` in this database."""

    def dump(self, obj: Vectors) -> bytes:
        parts = [struct.pack(">iiIii", 1, 0, self.item, len(obj), 1)]
        for vector in obj:
            parts += (len(vector).to_bytes(4, "big"), vector)
        return b"".join(parts)


class VectorConnection(PsycopgConnection):
    """A connection that takes vectors in their binary form: to read numbers one by one takes a server much longer.

    Arguments as for [PsycopgConnection][].
    """

    _taught = False

    def perform(self, request: Any) -> Any:
        if not isinstance(request, UseVectors):
            return super().perform(request)
        if not self._taught:
            sql = "SELECT oid::int8, typarray::int8 FROM pg_type WHERE oid = 'vector'::regtype"
            one, many = self._cursor.execute(sql).fetchall()[0]
            adapters = self._cursor.adapters
            adapters.register_dumper(Vector, type("VectorDumper", (_VectorDumper,), {"oid": one}))
            adapters.register_dumper(Vectors, type("VectorsDumper", (_VectorsDumper,), {"oid": many, "item": one}))
            self._taught = True
        return not self.pooler


class OwnPool(_OwnPool):
    """Connections of our own, which know the type."""

    kind = VectorConnection
