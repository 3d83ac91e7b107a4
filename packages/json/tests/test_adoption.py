"""Conversations that PraisonAI's own JSON store wrote."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.errors import ConfigurationError, StoreNotFoundError
from praisonai_persistence_json import AsyncJSONConversationStore, JSONConversationStore, _adoption


def message(number: int, **fields: object) -> dict:
    common = {"id": f"m{number}", "session_id": "s", "role": "user", "content": f"text {number} é"}
    return {**common, "tool_calls": None, "tool_call_id": None, "metadata": None, "created_at": 1000.5, **fields}


def session(session_id: str, **fields: object) -> dict:
    common = {"session_id": session_id, "user_id": "ada", "agent_id": None, "name": "Name", "state": {"a": 1}}
    return {**common, "metadata": {"m": [2]}, "created_at": 1000.25, "updated_at": 2000.75, **fields}


def write(folder: Path, name: str, document: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "conversations"
    calls = [{"id": "c", "function": {"name": "f"}}]
    messages = [message(1), message(2, role="assistant", content="", tool_calls=calls), message(3, tool_call_id="c")]
    write(folder, "s.json", {"session": session("s"), "messages": messages})
    write(folder, "_sessions_index.json", {"sessions": {"s": {}}})
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_sessions_and_messages_are_taken_over(folder):
    before = files(folder)
    with JSONConversationStore(path=folder, adopt_legacy=True) as store:
        assert store.list_sessions() == [
            ConversationSession("s", "ada", None, "Name", {"a": 1}, {"m": [2]}, 1000.25, 2000.75, 1)
        ]
        first, second, third = store.get_messages("s")
        assert (first.id, first.content, first.created_at, first.seq) == ("m1", "text 1 é", 1000.5, 1)
        assert (second.tool_calls, third.tool_call_id) == ([{"id": "c", "function": {"name": "f"}}], "c")
        assert store.add_message("s", ConversationMessage(role="user", content="more")).seq == 4
        store.delete_session("s")
    with JSONConversationStore(path=folder, adopt_legacy=True) as store:
        assert store.list_sessions() == []
    assert files(folder) == before
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["praison_"]


def test_async(folder):
    async def main() -> None:
        async with AsyncJSONConversationStore(path=folder, adopt_legacy=True) as store:
            assert len(await store.get_messages("s")) == 3

    asyncio.run(main())


def test_only_when_asked_and_only_where_there_is_nothing(folder):
    with JSONConversationStore(path=folder) as store:
        assert store.list_sessions() == []
    with JSONConversationStore(path=folder, adopt_legacy=True) as store:
        assert store.list_sessions() == []
    with JSONConversationStore(path=folder, table_prefix="other_", adopt_legacy=True) as store:
        store.expect_existing()
        with pytest.raises(StoreNotFoundError):
            store.list_sessions()
    with pytest.raises(ConfigurationError, match="adopt_legacy"):
        JSONConversationStore(path=folder, adopt_legacy="yes")


def test_what_cannot_be_taken_over_as_it_is_is_kept_as_text(folder):
    odd = [message(1, metadata={"n": float("nan")}), message(1), "no object", message(2, content=5)]
    write(folder, "t.json", {"session": session("t", state=float("inf")), "messages": odd})
    with JSONConversationStore(path=folder, adopt_legacy=True) as store:
        found = store.get_session("t")
        assert (found.state, json.loads(found.metadata["praisonai_legacy"])["user_id"]) == (None, "ada")
        messages = store.get_messages("t")
        assert [item.content for item in messages] == ["text 1 é", "text 1 é", "", "5"]
        assert len({item.id for item in messages}) == 4
        assert "NaN" in messages[0].metadata["praisonai_legacy"]
        assert "no object" in messages[2].metadata["praisonai_legacy"]


def test_other_files_are_left_alone(folder, tmp_path, caplog):
    write(folder, "broken.json", "{")
    write(folder, "list.json", "[]")
    write(folder, "session-file.json", {"session_id": "x", "messages": []})
    (folder / "link.json").symlink_to(tmp_path / "elsewhere.json")
    with JSONConversationStore(path=folder, adopt_legacy=True) as store:
        assert [item.session_id for item in store.list_sessions()] == ["s"]
    assert "broken.json" in caplog.text
    assert "link.json" in caplog.text
    assert "session-file.json" not in caplog.text


def test_nothing_to_take_over(tmp_path):
    with JSONConversationStore(path=tmp_path / "new", adopt_legacy=True) as store:
        assert store.list_sessions() == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["praison_"]


def test_many_at_once(folder):
    for number in range(5):
        write(folder, f"n{number}.json", {"session": session(f"n{number}"), "messages": [message(1, session_id="")]})
    together, found = threading.Barrier(4), []

    def work() -> None:
        with JSONConversationStore(path=folder, adopt_legacy=True) as store:
            together.wait()
            found.append(len(store.list_sessions()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [6] * 4
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["praison_"]


def test_an_error_in_the_middle_leaves_nothing(folder, monkeypatch):
    write(folder, "t.json", {"session": session("t"), "messages": []})
    render, left = _adoption.render, [1]

    def failing(*arguments):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return render(*arguments)

    monkeypatch.setattr(_adoption, "render", failing)
    with JSONConversationStore(path=folder, adopt_legacy=True) as store:
        with pytest.raises(KeyboardInterrupt):
            store.list_sessions()
        assert not [name for name in os.listdir(folder) if name.startswith("praison_")]
        monkeypatch.setattr(_adoption, "render", render)
        assert len(store.list_sessions()) == 2
