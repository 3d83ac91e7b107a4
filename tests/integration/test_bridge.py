"""The bridge against the suites: a sync store over an async one, and an async store over a sync one."""

from __future__ import annotations

import uuid

import pytest

from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StateStoreSuite, StoreSpec


def _spec(kind: str) -> StoreSpec:
    options = {"name": uuid.uuid4().hex}
    return StoreSpec(kind, sync=f"bridged:sync_{kind}", async_=f"bridged:async_{kind}", options=options)


class TestBridgedConversation(ConversationStoreSuite):
    backend = "bridge"

    @pytest.fixture
    def spec(self):
        return _spec("conversation")


class TestBridgedState(StateStoreSuite):
    backend = "bridge"

    @pytest.fixture
    def spec(self):
        return _spec("state")


class TestBridgedKnowledge(KnowledgeStoreSuite):
    backend = "bridge"

    @pytest.fixture
    def spec(self):
        return _spec("knowledge")
