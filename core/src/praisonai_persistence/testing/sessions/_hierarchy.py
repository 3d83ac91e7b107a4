"""Forks, snapshots and exports."""

from __future__ import annotations

from typing import Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
    PersistenceError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_OBJECTS,
    HOSTILE_TEXTS,
    identical,
)
from praisonai_persistence.testing.harness import OpenStore, Race, Unsupported, split
from praisonai_persistence.testing.sessions._common import (
    HIERARCHY,
    fill,
    missing,
    texts_of,
)

__all__ = ["Hierarchy"]


class Hierarchy:
    """Forks, snapshots and exports."""

    # ------------------------------------------------------------------------------------------------------- hierarchy

    async def test_sessions_are_made_with_their_titles_and_parents(self, store: Any, unsupported: Unsupported) -> None:
        if await missing(store, unsupported, *HIERARCHY):
            return
        root = await store.create_session("root", title="Main", agent_name="helper", metadata={"a": [1]})
        made = [await store.create_session(parent_id=root) for _ in range(2)]
        leaf = await store.create_session(title="leaf", parent_id=made[0])
        assert root == "root"
        assert len({root, *made, leaf}) == 4
        assert await store.get_children("root") == made
        assert await store.get_parent(leaf) == made[0]
        assert await store.get_parent("root") is None
        assert await store.get_chat_history(leaf) == []
        session = await store.get_session("root")
        assert (session.title, session.agent_name, session.metadata) == ("Main", "helper", {"a": [1]})
        await fill(store, leaf, "one")
        assert await store.get_session_tree("root") == {
            "session_id": "root",
            "title": "Main",
            "message_count": 0,
            "children": [
                {
                    "session_id": made[0],
                    "title": None,
                    "message_count": 0,
                    "children": [{"session_id": leaf, "title": "leaf", "message_count": 1, "children": []}],
                },
                {"session_id": made[1], "title": None, "message_count": 0, "children": []},
            ],
        }
        await store.delete_session(made[0])
        assert await store.get_children("root") == [made[1]]
        with pytest.raises(SessionExistsError):
            await store.create_session("root", title="Other")
        with pytest.raises(SessionNotFoundError):
            await store.create_session("new", parent_id="nobody")
        with pytest.raises(InvalidValueError):
            await store.create_session("own", parent_id="own")
        assert await store.session_exists("new") is await store.session_exists("own") is False
        assert (await store.get_session("root")).title == "Main"

    async def test_a_fork_is_a_copy_of_its_own(self, store: Any, unsupported: Unsupported) -> None:
        if await missing(store, unsupported, *HIERARCHY):
            return
        await store.create_session("s", title="Main", metadata={"a": {"b": 1}})
        await fill(store, "s", "0", "1", "2", "3")
        whole = await store.fork_session("s")
        part = await store.fork_session("s", from_message_index=1, title="Part")
        await fill(store, "s", "of the parent")
        await fill(store, part, "of the fork")
        assert texts_of(await store.get_chat_history("s")) == ["0", "1", "2", "3", "of the parent"]
        assert texts_of(await store.get_chat_history(whole)) == ["0", "1", "2", "3"]
        assert texts_of(await store.get_chat_history(part)) == ["0", "1", "of the fork"]
        assert await store.get_children("s") == [whole, part]
        assert await store.get_children(part) == []
        assert await store.get_parent(part) == "s"
        found = await store.get_session(part)
        assert (found.title, found.metadata, found.parent_id) == ("Part", {"a": {"b": 1}}, "s")
        assert (await store.get_session(whole)).title == "Fork of Main"
        for index in (5, 10**30, -1, "1", True):
            with pytest.raises(InvalidValueError):
                await store.fork_session("s", index)
        with pytest.raises(SessionNotFoundError):
            await store.fork_session("nobody")
        with pytest.raises(SessionNotFoundError):
            await store.fork_session("nobody", 0)
        assert await store.get_children("s") == [whole, part]

    async def test_a_session_goes_back_to_a_snapshot(self, store: Any, unsupported: Unsupported) -> None:
        if await missing(store, unsupported, *HIERARCHY):
            return
        await fill(store, "s", "0", "1")
        early = await store.create_snapshot("s", label="early", metadata={"a": 1})
        await fill(store, "s", "2", "3")
        late = await store.create_snapshot("s")
        assert await store.revert_to_snapshot("s", early) is True
        assert texts_of(await store.get_chat_history("s")) == ["0", "1"]
        await fill(store, "s", "other")
        assert await store.revert_to_snapshot("s", late) is True
        assert texts_of(await store.get_chat_history("s")) == ["0", "1", "2", "3"]
        await store.clear_session("s")
        for _ in range(2):
            assert await store.revert_to_snapshot("s", early) is True
            assert texts_of(await store.get_chat_history("s")) == ["0", "1"]
        await fill(store, "s", "goes on")
        assert texts_of(await store.get_chat_history("s")) == ["0", "1", "goes on"]
        found = [(item.id, item.label, item.message_index, item.metadata) for item in await store.get_snapshots("s")]
        assert found == [(early, "early", 1, {"a": 1}), (late, None, 3, {})]
        assert await store.revert_to_snapshot("s", "nothing") is False
        assert await store.revert_to_snapshot("nobody", early) is False
        with pytest.raises(SessionNotFoundError):
            await store.create_snapshot("nobody")
        assert [item["session_id"] for item in await store.list_sessions()] == ["s"]
        assert await store.session_exists("nobody") is False

    async def test_a_session_goes_back_to_a_message(self, store: Any, unsupported: Unsupported) -> None:
        if await missing(store, unsupported, "revert_to_message"):
            return
        await fill(store, "s", "0", "1", "2")
        for index in (3, 10**30):
            assert await store.revert_to_message("s", index) is False
        assert await store.revert_to_message("nobody", 0) is False
        with pytest.raises(InvalidValueError):
            await store.revert_to_message("s", -1)
        assert await store.revert_to_message("s", 2) is True
        assert texts_of(await store.get_chat_history("s")) == ["0", "1", "2"]
        assert await store.revert_to_message("s", 0) is True
        await fill(store, "s", "3")
        assert texts_of(await store.get_chat_history("s")) == ["0", "3"]

    async def test_a_session_is_shared_and_has_a_title(self, store: Any, unsupported: Unsupported) -> None:
        if await missing(store, unsupported, "share_session", "set_title"):
            return
        await fill(store, "s", "0")
        assert await store.is_shared("s") is await store.is_shared("nobody") is False
        await store.share_session("s")
        assert await store.is_shared("s") is True
        for title in (*HOSTILE_TEXTS, None):
            await store.set_title("s", title)
            assert (await store.get_session("s")).title == title
        await store.unshare_session("s")
        assert await store.is_shared("s") is False
        assert texts_of(await store.get_chat_history("s")) == ["0"]
        assert await store.session_exists("nobody") is False

    async def test_an_exported_session_is_imported_as_it_was(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if await missing(store, unsupported, "import_session"):
            return
        parent = await store.create_session("parent")
        await store.create_session("s", title="Main", parent_id=parent, agent_name="helper")
        await store.update_session_metadata("s", model="m", cost=0.5, user_id="ada", nested={"a": [1, None]})
        await store.set_runtime_state("s", "native", "turn-1", {"calls": ["c1"]})
        for number, value in enumerate(HOSTILE_OBJECTS):
            await store.add_message("s", "assistant", f"{number}", value, [{"id": f"c{number}", "value": value}])
            await store.add_message("s", "tool", "found", tool_call_id=f"c{number}")
        await store.create_snapshot("s", "all")
        await store.add_message("s", "user", "last")
        await store.append_compaction_checkpoint("s", "what was said")
        await store.add_message("s", "user", "after it")
        exported = await store.export_session("s")
        assert await store.import_session(exported, "copy") == "copy"
        again = await store.export_session("copy")
        for document in (exported, again):
            for snapshot in document["snapshots"]:
                snapshot.pop("session_id")
            for name in ("session_id", "updated_at", "parent_id"):
                document.pop(name, None)
        assert identical(again, exported)
        assert await store.get_parent("copy") is None
        assert await store.get_chat_history("copy", 1_000) == await store.get_chat_history("s", 1_000)
        assert texts_of(await store.get_working_history("copy")) == ["what was said", "after it"]
        (snapshot,) = await store.get_snapshots("copy")
        assert await store.revert_to_snapshot("copy", snapshot.id) is True
        assert len(await store.get_chat_history("copy", 1_000)) == 2 * len(HOSTILE_OBJECTS)
        assert texts_of(await store.get_chat_history("s", 1)) == ["after it"]

    async def test_what_is_no_exported_session_is_refused(self, store: Any, unsupported: Unsupported) -> None:
        if await missing(store, unsupported, "import_session"):
            return
        await fill(store, "taken", "0")
        with pytest.raises(SessionExistsError):
            await store.import_session({"messages": [{"role": "user", "content": "x"}]}, "taken")
        wrong: list[Any] = [
            None,
            [],
            "x",
            {"messages": "x"},
            {"messages": ["x"]},
            {"messages": [{"role": 1, "content": "x"}]},
            {"messages": [{"role": "user", "content": 1}]},
            {"messages": [{"role": "user", "content": "x", "timestamp": "now"}]},
            {"metadata": []},
            {"metadata": {"a": float("nan")}},
            {"title": 1},
            {"snapshots": {}},
            {"snapshots": [{"id": "x", "transcript": {"messages": [{"content": "without a role"}]}}]},
        ]
        for data in wrong:
            with pytest.raises(PersistenceError):
                await store.import_session(data, "new")
        with pytest.raises(PersistenceError):
            await store.export_session("nobody")
        assert await store.session_exists("new") is False
        assert [item["session_id"] for item in await store.list_sessions()] == ["taken"]
        assert texts_of(await store.get_chat_history("taken")) == ["0"]

    async def test_threads_that_fork_and_add_lose_nothing(
        self, store: Any, race: Race, unsupported: Unsupported
    ) -> None:
        if await missing(store, unsupported, *HIERARCHY):
            return
        await fill(store, "s", "first")

        async def body(worker: int) -> Any:
            if worker % 2:
                await store.add_message("s", "user", str(worker))
                await store.update_session_metadata("s", **{f"key{worker}": worker})
                return None
            return await store.fork_session("s"), await store.create_snapshot("s", str(worker))

        results, _ = split(await race(body))
        made = [result for result in results if result]
        assert sorted(await store.get_children("s")) == sorted(fork for fork, _ in made)
        assert sorted(item.id for item in await store.get_snapshots("s")) == sorted(item for _, item in made)
        assert sorted(texts_of(await store.get_chat_history("s"))) == ["1", "3", "5", "7", "first"]
        assert (await store.get_session("s")).metadata == {f"key{worker}": worker for worker in (1, 3, 5, 7)}
        for fork, _ in made:
            assert texts_of(await store.get_chat_history(fork))[0] == "first"
