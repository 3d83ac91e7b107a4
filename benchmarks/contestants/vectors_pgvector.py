"""Documents with embeddings in PostgreSQL with pgvector: this project's store, and psycopg."""

from __future__ import annotations

import json
from typing import Any

from base import Vectors, living, postgres_durability
from vectors import NAME, Ours


class OursOnPgvector(Ours):
    """This project."""

    name = "praisonai-persistence (pgvector)"
    engine = "vectors"
    role = "ours"
    server = "pgvector"
    packages = ("pgvector",)
    imports = "from praisonai_persistence_pgvector import PgvectorKnowledgeStore"

    def make(self) -> Any:
        from praisonai_persistence_pgvector import PgvectorKnowledgeStore

        return PgvectorKnowledgeStore(self.place)

    def durability(self) -> str:
        import psycopg

        connection = next(one for one in living(psycopg.Connection) if not one.closed)
        return postgres_durability(lambda query: connection.execute(query).fetchone()[0])


class BarePgvector(Vectors):
    """psycopg: one statement for a batch, one for a search, and an index over the metadata; none over the vectors."""

    name = "bare driver (psycopg, pgvector)"
    engine = "vectors"
    role = "bare"
    server = "pgvector"
    beside = "OursOnPgvector"
    requirements = ("psycopg[binary]>=3.2",)
    imports = "import psycopg"

    def open(self) -> None:
        import psycopg

        self.connection = psycopg.connect(self.place, autocommit=True)
        self.connection.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def close(self) -> None:
        self.connection.close()

    def durability(self) -> str:
        return postgres_durability(lambda query: self.connection.execute(query).fetchone()[0])

    def create(self, dimension: int) -> None:
        columns = f"id text PRIMARY KEY, content text, metadata jsonb, embedding vector({dimension})"
        self.connection.execute(f"DROP TABLE IF EXISTS {NAME}; CREATE TABLE {NAME} ({columns})")
        self.connection.execute(f"CREATE INDEX ON {NAME} USING gin (metadata jsonb_path_ops)")

    def upsert(self, documents: list[tuple[str, str, list[float], int]]) -> None:
        query = (
            f"INSERT INTO {NAME} SELECT * FROM unnest(%s::text[], %s::text[], %s::jsonb[], %s::vector[]) "  # noqa: S608
            "ON CONFLICT (id) DO UPDATE SET content = excluded.content, metadata = excluded.metadata, "
            "embedding = excluded.embedding"
        )
        columns = (
            [document[0] for document in documents],
            [document[1] for document in documents],
            [json.dumps({"group": document[3]}) for document in documents],
            [str(document[2]) for document in documents],
        )
        self.connection.execute(query, columns)

    def search(self, embedding: list[float], count: int, group: int | None) -> list[str]:
        where = "" if group is None else "WHERE metadata @> %(filter)s::jsonb"
        query = f"SELECT * FROM {NAME} {where} ORDER BY embedding <=> %(vector)s::vector LIMIT %(count)s"  # noqa: S608
        values = {"vector": str(embedding), "filter": json.dumps({"group": group}), "count": count}
        return [row[0] for row in self.connection.execute(query, values).fetchall()]
