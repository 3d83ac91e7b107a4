"""SQLite against the conformance kit: all three kinds, in files."""

from __future__ import annotations

import pytest

from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StateStoreSuite, StoreSpec


def _spec(kind: str, path: str, **options: object) -> StoreSpec:
    name = f"SQLite{kind.capitalize()}Store"
    return StoreSpec(
        kind,
        sync=f"praisonai_persistence_sqlite:{name}",
        async_=f"praisonai_persistence_sqlite:Async{name}",
        options={"path": path, **options},
    )


class TestSQLiteConversation(ConversationStoreSuite):
    backend = "sqlite"

    @pytest.fixture
    def spec(self, tmp_path):
        return _spec("conversation", str(tmp_path / "agent.db"))


class TestSQLiteState(StateStoreSuite):
    backend = "sqlite"

    @pytest.fixture
    def spec(self, tmp_path):
        return _spec("state", str(tmp_path / "agent.db"))


class TestSQLiteKnowledge(KnowledgeStoreSuite):
    backend = "sqlite"

    @pytest.fixture
    def spec(self, tmp_path):
        return _spec("knowledge", str(tmp_path / "agent.db"))
