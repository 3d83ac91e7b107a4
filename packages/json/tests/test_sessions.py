"""The session files, on the file system of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from praisonai_persistence.testing import SessionStoreSuite, StoreSpec

FILES = "praisonai_persistence_json.sessions"
SQLITE = "praisonai_persistence_json.sqlite_sessions"


class TestDefault(SessionStoreSuite):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        options = {"session_dir": str(tmp_path / "sessions"), "max_messages": 1_000, "lock_timeout": 30}
        return StoreSpec("session", sync=f"{FILES}:DefaultSessionStore", options=options)


class TestHierarchical(SessionStoreSuite):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        options = {"session_dir": str(tmp_path / "sessions"), "max_messages": 1_000, "lock_timeout": 30}
        return StoreSpec("session", sync=f"{FILES}:HierarchicalSessionStore", options=options)


class TestIndexed(SessionStoreSuite):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        options = {"session_dir": str(tmp_path / "sessions"), "max_messages": 1_000, "lock_timeout": 30}
        return StoreSpec("session", sync=f"{SQLITE}:SqliteSessionStore", options=options)


class TestTranscripts(SessionStoreSuite):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        options = {"db_path": str(tmp_path / "sessions.db"), "max_messages": 1_000, "lock_timeout": 30}
        return StoreSpec("session", sync=f"{SQLITE}:SqliteTranscriptStore", options=options)


class TestTranscriptsInMemory(SessionStoreSuite):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        options = {"session_dir": str(tmp_path), "db_path": ":memory:", "max_messages": 1_000}
        return StoreSpec("session", sync=f"{SQLITE}:SqliteTranscriptStore", options=options)


class TestWithoutSyncs(SessionStoreSuite):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        options = {"session_dir": str(tmp_path / "sessions"), "max_messages": 1_000, "lock_timeout": 30, "sync": False}
        return StoreSpec("session", sync=f"{FILES}:HierarchicalSessionStore", options=options)


class TestBackedByJSON(SessionStoreSuite):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        options = {"url": f"json:///{tmp_path}/sessions", "max_messages": 1_000}
        return StoreSpec("session", sync="praisonai_persistence.sessions:StoreBackedSessionStore.open", options=options)
