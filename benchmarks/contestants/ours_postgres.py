"""This project on PostgreSQL."""

from __future__ import annotations

import psycopg
from _ours import Ours
from base import living, postgres_durability

from praisonai_persistence_postgres import AsyncPostgresConversationStore, PostgresConversationStore


class OnPostgres(Ours):
    """Its defaults."""

    name = "praisonai-persistence (postgres)"
    engine = "postgres"
    role = "ours"
    packages = ("postgres",)
    imports = "from praisonai_persistence_postgres import PostgresConversationStore"

    def make(self) -> PostgresConversationStore:
        return PostgresConversationStore(self.place)

    def make_async(self) -> AsyncPostgresConversationStore:
        return AsyncPostgresConversationStore(self.place)

    def durability(self) -> str:
        connection = next(one for one in living(psycopg.Connection) if not one.closed)
        return postgres_durability(lambda query: connection.execute(query).fetchone()[0])
