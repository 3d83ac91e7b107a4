"""LMDB against the conformance kit."""

from __future__ import annotations

from pathlib import Path

import pytest

from praisonai_persistence.testing import StateStoreSuite, StoreSpec


class TestLMDBState(StateStoreSuite):
    backend = "lmdb"

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "data"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec(
            "state",
            sync="praisonai_lmdb:LMDBStateStore",
            async_="praisonai_lmdb:AsyncLMDBStateStore",
            options={"path": str(tmp_path / "data")},
        )
