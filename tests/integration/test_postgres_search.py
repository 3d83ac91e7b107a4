"""PostgreSQL's full-text index while it is being filled."""

from __future__ import annotations

import contextlib

import pytest
from sql_search import ServerSearchTests

from praisonai_persistence_postgres import PostgresConversationStore


class TestSearch(ServerSearchTests):
    @pytest.fixture
    def open_store(self, postgres):
        with postgres.space() as options, contextlib.ExitStack() as stack:
            yield lambda: stack.enter_context(PostgresConversationStore(**options, timeout=10.0))
