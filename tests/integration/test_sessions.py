"""Session stores over databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from praisonai_persistence.testing import SessionStoreSuite, StoreSpec

OPEN = "praisonai_persistence.sessions:StoreBackedSessionStore.open"


class TestSessionsInSQLite(SessionStoreSuite):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("session", sync=OPEN, options={"url": f"sqlite:///{tmp_path}/s.db", "max_messages": 1_000})


class TestSessionsInPostgres(SessionStoreSuite):
    @pytest.fixture
    def spec(self, postgres):
        with postgres.space() as options:
            yield StoreSpec("session", sync=OPEN, options={**options, "max_messages": 1_000})
