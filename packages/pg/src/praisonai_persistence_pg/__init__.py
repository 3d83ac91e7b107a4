"""What the PostgreSQL backends share: settings, errors, connections of both drivers, and how a store is put together.

A library: it registers no backend. The modules ``on_psycopg`` and ``on_asyncpg`` import their drivers.
"""

from praisonai_persistence_pg.dialect import Postgres
from praisonai_persistence_pg.requests import CopyIn
from praisonai_persistence_pg.settings import Settings, settings
from praisonai_persistence_pg.store import PostgresStore

__all__ = ["CopyIn", "Postgres", "PostgresStore", "Settings", "settings"]
