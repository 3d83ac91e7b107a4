"""The JSON documents, on the file system of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from lifecycles import Embedded, Volume

from praisonai_persistence.testing import ConversationStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_json:JSONConversationStore",
    "async_": "praisonai_persistence_json:AsyncJSONConversationStore",
}


class TestJSON(Embedded, ConversationStoreSuite):
    backend = "json"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("conversation", **STORES, options={"path": str(tmp_path / "sessions")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a directory")
        return StoreSpec("conversation", **STORES, options={"path": str(in_the_way / "sessions")})

    @pytest.fixture
    def server(self, tmp_path: Path) -> Volume:
        return Volume(tmp_path / "sessions")
