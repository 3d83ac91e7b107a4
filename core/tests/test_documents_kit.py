"""The conformance kit on the bases for engines of versioned documents."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from praisonai_persistence.testing import ConversationStoreSuite, StateStoreSuite, StoreSpec

if TYPE_CHECKING:
    from pathlib import Path


def _spec(kind: str, store: str, **options: object) -> StoreSpec:
    return StoreSpec(kind, sync=f"cas_engine:{store}", async_=f"cas_engine:Async{store}", options=options)


class TestConversations(ConversationStoreSuite):
    backend = "documents"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return _spec("conversation", "MemoryConversations", name=uuid.uuid4().hex)


@pytest.mark.quick_operations
class TestConversationsInSmallDocuments(ConversationStoreSuite):
    """Of an engine that can hold 3,000 bytes in a document."""

    backend = "documents_small"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return _spec("conversation", "MemoryConversations", name=uuid.uuid4().hex, engine="bare")


class TestConversationsInFile(ConversationStoreSuite):
    backend = "documents_file"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return _spec("conversation", "FileConversations", path=str(tmp_path / "documents.db"))


@pytest.mark.quick_operations
class TestConversationsWithTransactions(ConversationStoreSuite):
    backend = "documents_transactions"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return _spec("conversation", "MemoryConversations", name=uuid.uuid4().hex, engine="transactions")


class TestState(StateStoreSuite):
    backend = "documents"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return _spec("state", "MemoryState", name=uuid.uuid4().hex)


@pytest.mark.quick_operations
class TestStateInSmallDocuments(StateStoreSuite):
    """Of an engine that can hold 3,000 bytes in a document."""

    backend = "documents_small"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return _spec("state", "MemoryState", name=uuid.uuid4().hex, engine="bare")


class TestStateInFile(StateStoreSuite):
    backend = "documents_file"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return _spec("state", "FileState", path=str(tmp_path / "documents.db"))


@pytest.mark.quick_operations
class TestStateWithTransactions(StateStoreSuite):
    backend = "documents_transactions"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return _spec("state", "MemoryState", name=uuid.uuid4().hex, engine="transactions")


@pytest.mark.quick_operations
class TestStateThatIsRemembered(StateStoreSuite):
    """Of an engine whose stores write without reading what they have seen before."""

    backend = "documents_remembered"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return _spec("state", "MemoryState", name=uuid.uuid4().hex, engine="remembering")
