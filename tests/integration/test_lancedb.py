"""LanceDB, in folders of this machine, against the conformance kit."""

from __future__ import annotations

from pathlib import Path

import pytest
from lifecycles import Embedded

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_lancedb:LanceDBKnowledgeStore",
    "async_": "praisonai_persistence_lancedb:AsyncLanceDBKnowledgeStore",
}


class Volume:
    """What comes nearest to a server: a volume that is unmounted and mounted again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._away = path.with_name("unmounted")

    def stop(self) -> None:
        self._path.rename(self._away)

    def start(self) -> None:
        self._away.rename(self._path)


class TestLanceDB(Embedded, KnowledgeStoreSuite):
    backend = "lancedb"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"path": str(tmp_path / "knowledge")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec("knowledge", **STORES, options={"path": str(in_the_way / "knowledge")})

    @pytest.fixture
    def server(self, tmp_path: Path) -> Volume:
        return Volume(tmp_path / "knowledge")
