"""SQLite against the conformance kit: all three kinds, in files."""

from __future__ import annotations

import subprocess
import sys

import pytest
from adoption import KEPT, FileAdoptionTests, Old, message, session
from lifecycles import Embedded

from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence_sqlite import AsyncSQLiteConversationStore, SQLiteConversationStore


def _spec(kind: str, path: str, **options: object) -> StoreSpec:
    name = f"SQLite{kind.capitalize()}Store"
    return StoreSpec(
        kind,
        sync=f"praisonai_persistence_sqlite:{name}",
        async_=f"praisonai_persistence_sqlite:Async{name}",
        options={"path": path, **options},
    )


class TestSQLiteConversation(Embedded, ConversationStoreSuite):
    backend = "sqlite"

    @pytest.fixture
    def spec(self, tmp_path):
        return _spec("conversation", str(tmp_path / "agent.db"))


class TestSQLiteState(Embedded, StateStoreSuite):
    backend = "sqlite"

    @pytest.fixture
    def spec(self, tmp_path):
        return _spec("state", str(tmp_path / "agent.db"))


class TestSQLiteKnowledge(Embedded, KnowledgeStoreSuite):
    backend = "sqlite"

    @pytest.fixture
    def spec(self, tmp_path):
        return _spec("knowledge", str(tmp_path / "agent.db"))


class TestAdoption(FileAdoptionTests):
    """Of files that PraisonAI wrote; a column may hold anything there."""

    sync, async_ = SQLiteConversationStore, AsyncSQLiteConversationStore

    def test_broken_json_and_odd_ids_are_kept(self, place, store):
        old = Old(self, place)
        long = "x" * 300
        old.add(
            "sessions",
            session(long, name="cut", state='{"cut', metadata="NaN"),
            session("s", agent_id="a\0b", name="N\0"),
        )
        old.add("sessions", {"session_id": None, "name": "no id", "created_at": "yesterday"})
        old.add("messages", message("s", 1, id=None), message("s", 2, id="", content="\0\x1a"), message(long, 3))
        old.execute(
            "INSERT INTO praison_messages (id, session_id, role, content, created_at) "
            "VALUES ('bytes', 's', 'user', CAST(x'ff41' AS TEXT), 1e999)"
        )
        assert store("adopt_legacy").messages == 4
        by_name = {item.name: item for item in store("list_sessions")}
        cut = by_name["cut"]
        assert cut.metadata == {KEPT: {"session_id": long, "state": '{"cut', "metadata": "NaN"}}
        assert len(cut.session_id) <= 255
        (third,) = store("get_messages", cut.session_id)
        assert (third.content, third.metadata) == ("text 3", {KEPT: {"id": f"{long}-0003"}})
        assert by_name["N\0"].metadata == {KEPT: {"agent_id": "a\0b"}}
        assert by_name["no id"].metadata == {KEPT: {"created_at": "yesterday"}}
        assert by_name["no id"].created_at == 0.0
        found = store("get_messages", "s")
        assert [item.content for item in found] == ["text 1", "\0\x1a", "\udcffA"]
        assert found[1].metadata == {KEPT: {"id": ""}}
        assert found[2].metadata == {KEPT: {"created_at": "inf"}}

    def test_asking_makes_no_file(self, place, store, tmp_path):
        assert store("schema_status").version == 0
        assert store("migrate_schema", dry_run=True).statements
        assert store("adopt_legacy", dry_run=True) is None
        assert list(tmp_path.iterdir()) == []


def test_twenty_processes_migrate_once(tmp_path):
    path = str(tmp_path / "agent.db")
    code = (
        "import sys\n"
        "from praisonai_persistence_sqlite import SQLiteConversationStore\n"
        "sys.stdin.readline()\n"
        "with SQLiteConversationStore(path=sys.argv[1]) as store:\n"
        "    print(len(store.migrate_schema().statements))\n"
    )
    start = [sys.executable, "-c", code, path]
    children = [subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(20)]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    statements = sorted(int(child.communicate(timeout=120)[0]) for child in children)
    assert statements[:19] == [0] * 19
    assert statements[19] > 0
