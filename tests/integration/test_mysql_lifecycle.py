"""MySQL and MariaDB: deadlines, interrupts, cancellation, loops, forks and closing."""

from __future__ import annotations

import uuid

import pytest
from sql_lifecycle import LifecycleTests

from praisonai_persistence_mysql import AsyncMySQLStateStore, MySQLStateStore


@pytest.fixture
def options(mariadb):
    prefix = f"t{uuid.uuid4().hex[:10]}_"
    yield {"url": mariadb.url, "table_prefix": prefix}
    if tables := mariadb.tables(prefix):
        mariadb.execute(f"DROP TABLE {', '.join(tables)}")


class TestLifecycle(LifecycleTests):
    sync, async_ = MySQLStateStore, AsyncMySQLStateStore
