"""This project on SQLite, as it comes, and with the durability of products that have less of it."""

from __future__ import annotations

from _ours import Ours
from base import sqlite_durability

from praisonai_persistence_sqlite import AsyncSQLiteConversationStore, SQLiteConversationStore


class OnSQLite(Ours):
    """Its defaults."""

    name = "praisonai-persistence (sqlite)"
    engine = "sqlite"
    role = "ours"
    packages = ("sqlite",)
    imports = "from praisonai_persistence_sqlite import SQLiteConversationStore"
    synchronous = "FULL"

    def make(self) -> SQLiteConversationStore:
        return SQLiteConversationStore(path=self.place, synchronous=self.synchronous)

    def make_async(self) -> AsyncSQLiteConversationStore:
        return AsyncSQLiteConversationStore(path=self.place, synchronous=self.synchronous)

    def durability(self) -> str:
        return sqlite_durability(self.place)


class OnSQLiteNormal(OnSQLite):
    """For a comparison at equal durability; it runs only beside a product that syncs no more."""

    name = "praisonai-persistence (sqlite, NORMAL)"
    synchronous = "NORMAL"
    on_demand = True
