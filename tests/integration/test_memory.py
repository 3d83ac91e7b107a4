"""The in-memory reference against its own suites."""

from __future__ import annotations

import uuid

import pytest

from praisonai_persistence.testing import (
    ConversationStoreSuite,
    KnowledgeStoreSuite,
    StateStoreSuite,
    StoreSpec,
)


def _spec(kind: str) -> StoreSpec:
    name = f"Memory{kind.capitalize()}Store"
    return StoreSpec(
        kind,
        sync=f"praisonai_persistence.memory:{name}",
        async_=f"praisonai_persistence.memory:Async{name}",
        options={"name": uuid.uuid4().hex},
    )


class TestMemoryConversation(ConversationStoreSuite):
    backend = "memory"

    @pytest.fixture
    def spec(self):
        return _spec("conversation")


class TestMemoryState(StateStoreSuite):
    backend = "memory"

    @pytest.fixture
    def spec(self):
        return _spec("state")


class TestMemoryKnowledge(KnowledgeStoreSuite):
    backend = "memory"

    @pytest.fixture
    def spec(self):
        return _spec("knowledge")
