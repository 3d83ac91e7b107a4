"""MySQL's full-text index while it is being filled, on MariaDB."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from sql_search import ServerSearchTests

from praisonai_persistence_mysql import MySQLConversationStore


class TestSearch(ServerSearchTests):
    @pytest.fixture
    def open_store(self, mariadb):
        prefix = f"t{uuid.uuid4().hex[:10]}_"
        with contextlib.ExitStack() as stack:
            yield lambda: stack.enter_context(MySQLConversationStore(mariadb.url, table_prefix=prefix, timeout=10.0))
        if made := mariadb.tables(prefix):
            mariadb.execute(f"DROP TABLE {', '.join(made)}")
