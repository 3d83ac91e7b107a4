"""Session stores over databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.testing import SessionStoreSuite, StoreSpec

if TYPE_CHECKING:
    from pathlib import Path

OPEN = "praisonai_persistence.sessions:StoreBackedSessionStore.open"


class Sessions(SessionStoreSuite):
    """In a store with full-text search."""

    async def test_a_search_finds_what_all_its_words_were_said_in(self, store: Any) -> None:
        for session_id, text in (
            ("a", "Ships sail"),
            ("b", "ships rest"),
            ("c", "sail away"),
            ("d", "ships, then sail"),
        ):
            await store.add_message(session_id, "user", text)
        assert {hit.session_id for hit in await store.search("SHIPS sail")} == {"a", "d"}
        await store.add_message("b", "assistant", "the ships sail")
        await store.delete_session("a")
        assert {hit.session_id for hit in await store.search("ships sail")} == {"b", "d"}


class TestSessionsInSQLite(Sessions):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("session", sync=OPEN, options={"url": f"sqlite:///{tmp_path}/s.db", "max_messages": 1_000})


class TestSessionsInPostgres(Sessions):
    @pytest.fixture
    def spec(self, postgres):
        with postgres.space() as options:
            yield StoreSpec("session", sync=OPEN, options={**options, "max_messages": 1_000})


class TestSessionsInMySQL(Sessions):
    @pytest.fixture
    def spec(self, mariadb):
        with mariadb.space() as options:
            yield StoreSpec("session", sync=OPEN, options={**options, "max_messages": 1_000})


class TestSessionsInTurso(Sessions):
    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("session", sync=OPEN, options={"url": f"turso:///{tmp_path}/s.db", "max_messages": 1_000})
