"""The suite for session stores: five methods, and what a store declares beyond them.

::

    class TestMySessions(SessionStoreSuite):
        @pytest.fixture
        def spec(self, tmp_path):
            return StoreSpec("session", sync="my_sessions:MyStore", options={"path": str(tmp_path)})

A class with nothing but the five methods is tested for what these promise. What more it does it declares in an
attribute ``capabilities``, whose names stand in ``praisonai_persistence.stores.sessions``. The store of ``spec`` must
give 1,000 messages of a session, so one with a smaller limit is opened with a larger one.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
    PersistenceError,
    SessionExistsError,
    SessionNotFoundError,
    StoreClosedError,
)
from praisonai_persistence.sessions import SessionStoreProtocol
from praisonai_persistence.testing._facade import awaitable
from praisonai_persistence.testing.corpus import (
    HOSTILE_IDS,
    HOSTILE_OBJECTS,
    HOSTILE_TEXTS,
    LARGE_TEXTS,
    REFUSED_IDS,
    REFUSED_JSON,
    identical,
    shorten,
)
from praisonai_persistence.testing.harness import Moments, OpenStore, Race, Spawn, StoreSuite, Unsupported, raw, split
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["SessionStoreSuite"]

_BODIES = "praisonai_persistence.testing._session_bodies"
_HIERARCHY = ("create_session", "fork_session", "create_snapshot", "revert_to_snapshot", "export_session")


def _declares(store: Any, capability: str) -> bool:
    return capability in getattr(raw(store), "capabilities", ())


def _texts(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["content"] for message in messages]


async def _fill(store: Any, session_id: str, *texts: str) -> None:
    for text in texts:
        assert await store.add_message(session_id, "user", text) is True


async def _missing(store: Any, unsupported: Unsupported, *methods: str) -> bool:
    """Whether a store does not declare a hierarchy, which then has none of the methods either."""
    if _declares(store, "hierarchy"):
        return False
    found = [name for name in methods if hasattr(raw(store), name)]
    assert not found, f"it has {found}, but does not declare 'hierarchy'"
    unsupported("hierarchy")
    return True


def _exchanges(chance: random.Random, length: int) -> list[dict[str, Any]]:
    """Return a history with tool calls: answered at once or later, one or several together, ids used again."""
    messages: list[dict[str, Any]] = []
    while len(messages) < length:
        messages.append({"role": "user", "content": f"question {len(messages)}"})
        for _ in range(chance.randint(0, 2)):
            calls = [f"call-{chance.randint(0, 3)}-{number}" for number in range(chance.randint(1, 3))]
            messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": call} for call in calls]})
            for number, call in enumerate(calls):
                if number and chance.random() < 0.3:
                    messages.append({"role": "assistant", "content": "still working"})
                messages.append({"role": "tool", "content": f"result of {call}", "tool_call_id": call})
        messages.append({"role": "assistant", "content": "answer"})
    return messages


def _orphans(messages: list[dict[str, Any]]) -> list[str]:
    """Return the ids of calls whose results are there without them."""
    asked: set[str] = set()
    orphans = []
    for message in messages:
        if message.get("tool_call_id") is not None and message["tool_call_id"] not in asked:
            orphans.append(message["tool_call_id"])
        asked |= {call["id"] for call in message.get("tool_calls") or ()}
    return orphans


class SessionStoreSuite(StoreSuite, suite=True):
    """What session stores promise; see the module."""

    kind: ClassVar[str] = "session"
    colours: ClassVar[tuple[str, ...]] = ("sync",)

    @pytest.fixture
    async def open_store(self, spec: StoreSpec, colour: str) -> AsyncIterator[OpenStore]:
        """Open stores; those that can be closed are closed afterwards."""
        opened: list[Any] = []

        def open_store(other: StoreSpec | None = None, **options: Any) -> Any:
            store = awaitable((other or spec).with_options(**options).open(colour))
            opened.append(store)
            return store

        yield open_store
        for store in reversed(opened):
            if hasattr(raw(store), "close"):
                await store.close()

    # ----------------------------------------------------------------------------------------------- the five methods

    async def test_it_has_the_five_methods(self, store: Any) -> None:
        assert isinstance(raw(store), SessionStoreProtocol)

    async def test_an_unknown_session_is_empty(self, store: Any) -> None:
        assert await store.session_exists("nobody") is False
        assert await store.get_chat_history("nobody") == []
        assert await store.get_chat_history("nobody", 5) == []
        assert await store.session_exists("nobody") is False, "reading made a session"

    async def test_messages_come_back_in_order(self, store: Any) -> None:
        sent = [
            {"role": role, "content": f"{number}"}
            for number, role in enumerate(["system", "user", "assistant", "user", "assistant"] * 4)
        ]
        for message in sent:
            assert await store.add_message("s", message["role"], message["content"], {"n": 1}) is True
        assert await store.get_chat_history("s") == sent
        assert await store.session_exists("s") is True

    async def test_sessions_are_apart(self, store: Any) -> None:
        await _fill(store, "a", "of a")
        await _fill(store, "b", "of b")
        assert _texts(await store.get_chat_history("a")) == ["of a"]
        assert _texts(await store.get_chat_history("b")) == ["of b"]

    async def test_a_limit_means_the_latest(self, store: Any) -> None:
        texts = [str(number) for number in range(30)]
        await _fill(store, "s", *texts)
        for limit in (1, 2, 7, 29, 30, 31, 10**6):
            assert _texts(await store.get_chat_history("s", limit)) == texts[-limit:]
            assert _texts(await store.get_chat_history("s", max_messages=limit)) == texts[-limit:]
        assert _texts(await store.get_chat_history("s", None)) == texts

    async def test_clearing_keeps_the_session(self, store: Any) -> None:
        await _fill(store, "s", "one", "two")
        await _fill(store, "other", "stays")
        assert await store.clear_session("s") is True
        assert await store.get_chat_history("s") == []
        assert await store.session_exists("s") is True
        await _fill(store, "s", "three")
        assert _texts(await store.get_chat_history("s")) == ["three"]
        assert _texts(await store.get_chat_history("other")) == ["stays"]

    async def test_deleting_removes_the_session(self, store: Any) -> None:
        await _fill(store, "s", "one", "two")
        await _fill(store, "other", "stays")
        assert await store.delete_session("s") is True
        assert await store.session_exists("s") is False
        assert await store.get_chat_history("s") == []
        await _fill(store, "s", "three")
        assert _texts(await store.get_chat_history("s")) == ["three"]
        assert _texts(await store.get_chat_history("other")) == ["stays"]

    async def test_what_is_not_there_can_be_cleared_and_deleted(self, store: Any) -> None:
        for method in (store.clear_session, store.delete_session):
            assert isinstance(await method("nobody"), bool)
            assert await store.get_chat_history("nobody") == []

    async def test_every_text_comes_back(self, store: Any) -> None:
        for text in HOSTILE_TEXTS:
            await store.add_message("s", "user", text)
        found = _texts(await store.get_chat_history("s", 1_000))
        wrong = [shorten(text) for text, got in zip(HOSTILE_TEXTS, found, strict=True) if text != got]
        assert not wrong

    async def test_large_texts_come_back(self, store: Any) -> None:
        for text in LARGE_TEXTS:
            await store.add_message("s", "user", text)
        found = _texts(await store.get_chat_history("s"))
        assert [text == got for text, got in zip(LARGE_TEXTS, found, strict=True)] == [True] * len(LARGE_TEXTS)

    async def test_every_text_is_a_role(self, store: Any) -> None:
        for role in HOSTILE_TEXTS:
            await store.add_message("s", role, "x")
        # Whether a role that is called "tool" has to follow a call is another matter.
        assert [message["role"] for message in await store.get_chat_history("s", 1_000)] == HOSTILE_TEXTS

    async def test_every_text_is_an_id_and_all_differ(self, store: Any) -> None:
        for session_id in HOSTILE_IDS:
            assert await store.session_exists(session_id) is False, shorten(session_id)
            await store.add_message(session_id, "user", session_id)
        for session_id in HOSTILE_IDS:
            assert _texts(await store.get_chat_history(session_id)) == [session_id], shorten(session_id)
        for session_id in HOSTILE_IDS[::2]:
            await store.delete_session(session_id)
        for number, session_id in enumerate(HOSTILE_IDS):
            assert await store.session_exists(session_id) is bool(number % 2), shorten(session_id)

    async def test_what_was_given_and_what_was_returned_belong_to_the_caller(self, store: Any) -> None:
        metadata = {"list": [1]}
        await store.add_message("s", "user", "one", metadata)
        metadata["list"].append(2)
        found = await store.get_chat_history("s")
        found.append({"role": "user", "content": "never said"})
        assert _texts(await store.get_chat_history("s")) == ["one"]

    async def test_threads_lose_nothing(self, store: Any, race: Race) -> None:
        async def body(worker: int) -> None:
            for number in range(20):
                await store.add_message("s", "user", f"{worker} {number}")

        split(await race(body))
        found = _texts(await store.get_chat_history("s", 1_000))
        assert len(found) == 160
        for worker in range(8):
            mine = [text for text in found if text.startswith(f"{worker} ")]
            assert mine == [f"{worker} {number}" for number in range(20)]

    async def test_threads_make_one_session(self, store: Any, race: Race) -> None:
        for session in range(10):

            async def body(worker: int, session: int = session) -> None:
                await store.add_message(f"s{session}", "user", str(worker))

            split(await race(body))
            assert sorted(_texts(await store.get_chat_history(f"s{session}"))) == list("01234567")

    # --------------------------------------------------------------------------------------------------- bad arguments

    async def test_what_is_no_id_is_refused(self, store: Any, unsupported: Unsupported) -> None:
        if not _declares(store, "checks"):
            assert await store.add_message("", "user", "x") is True
            unsupported("checks")
            return
        calls = {
            "add_message": ("user", "x"),
            "get_chat_history": (),
            "clear_session": (),
            "delete_session": (),
            "session_exists": (),
        }
        for session_id in [*REFUSED_IDS, None]:
            for name, arguments in calls.items():
                with pytest.raises(InvalidValueError):
                    await getattr(store, name)(session_id, *arguments)

    async def test_what_cannot_be_stored_is_refused_before_anything_is_written(
        self, store: Any, unsupported: Unsupported
    ) -> None:
        if not _declares(store, "checks"):
            assert await store.add_message("s", "user", 5) is True
            unsupported("checks")
            return
        await _fill(store, "s", "one")
        for session_id in ("s", "new"):
            for value in (None, 1, 1.5, True, b"x", ["x"], {"x": 1}, object()):
                with pytest.raises(PersistenceError):
                    await store.add_message(session_id, "user", value)
                with pytest.raises(PersistenceError):
                    await store.add_message(session_id, value, "x")
            for value in (*({"x": value} for value in REFUSED_JSON), [], "x", 1):
                with pytest.raises(PersistenceError):
                    await store.add_message(session_id, "user", "x", value)
        assert await store.session_exists("new") is False
        assert _texts(await store.get_chat_history("s")) == ["one"]

    async def test_what_is_no_limit_is_refused(self, store: Any, unsupported: Unsupported) -> None:
        if not _declares(store, "checks"):
            unsupported("checks")
            return
        await _fill(store, "s", "one")
        for limit in (-1, -(10**30), 1.5, "1", True, [1]):
            with pytest.raises(InvalidValueError):
                await store.get_chat_history("s", limit)
        assert await store.get_chat_history("s", 0) == []

    async def test_a_closed_store_says_so(self, store: Any, open_store: OpenStore, unsupported: Unsupported) -> None:
        if not _declares(store, "checks"):
            unsupported("checks")
            return
        other = open_store()
        await other.add_message("s", "user", "x")
        await other.close()
        await other.close()
        with pytest.raises(StoreClosedError):
            await other.add_message("s", "user", "x")
        for name in ("get_chat_history", "clear_session", "delete_session", "session_exists"):
            with pytest.raises(StoreClosedError):
                await getattr(other, name)("s")

    # ------------------------------------------------------------------------------------------------------ tool calls

    async def test_tool_calls_survive(self, store: Any, unsupported: Unsupported) -> None:
        if not _declares(store, "tool_calls"):
            with pytest.raises(TypeError):
                await store.add_message("s", "assistant", "", tool_calls=[{"id": "c1"}])
            unsupported("tool_calls")
            return
        calls = [
            {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra": extra}
            for number, extra in enumerate(HOSTILE_OBJECTS)
        ]
        await store.add_message("s", "user", "what is there?")
        await store.add_message("s", "assistant", "", None, calls)
        for call in calls:
            await store.add_message("s", "tool", "found", tool_call_id=call["id"])
        await store.add_message("s", "assistant", None, tool_calls=calls[:1])
        found = await store.get_chat_history("s")
        assert identical(found[1], {"role": "assistant", "content": "", "tool_calls": calls})
        assert [message["tool_call_id"] for message in found[2:-1]] == [call["id"] for call in calls]
        assert identical(found[-1], {"role": "assistant", "content": None, "tool_calls": calls[:1]})
        assert found[0] == {"role": "user", "content": "what is there?"}

    async def test_tool_fields_are_checked(self, store: Any, unsupported: Unsupported) -> None:
        if not _declares(store, "tool_calls") or not _declares(store, "checks"):
            unsupported("tool_calls")
            return
        for calls in ("x", {"id": "c"}, ["x"], [{"id": float("nan")}], [{1: 2}]):
            with pytest.raises(PersistenceError):
                await store.add_message("s", "assistant", "", tool_calls=calls)
        for call_id in (1, b"x", ["c"]):
            with pytest.raises(PersistenceError):
                await store.add_message("s", "tool", "x", tool_call_id=call_id)
        assert await store.session_exists("s") is False

    async def test_a_limit_splits_no_tool_exchange(self, store: Any, unsupported: Unsupported) -> None:
        if not _declares(store, "tool_calls"):
            unsupported("tool_calls")
            return
        chance = random.Random("exchanges")
        for trial in range(6):
            session_id, sent = f"s{trial}", _exchanges(chance, 24)
            for message in sent:
                tools = {key: value for key, value in message.items() if key.startswith("tool_")}
                await store.add_message(session_id, message["role"], message["content"], **tools)
            assert await store.get_chat_history(session_id) == sent
            for limit in range(1, len(sent) + 1):
                found = await store.get_chat_history(session_id, limit)
                assert len(found) <= limit
                assert found == sent[len(sent) - len(found) :]
                assert not _orphans(found), f"with a limit of {limit}"
                # Nothing is left out without need: one message more would not do.
                more = len(found) + 1
                while more <= limit:
                    assert _orphans(sent[-more:]), f"a limit of {limit} leaves room for {more} messages"
                    more += 1

    # ------------------------------------------------------------------------------------------------------- processes

    async def test_another_store_object_sees_it_at_once(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if not _declares(store, "shared"):
            unsupported("shared")
            return
        other = open_store()
        await _fill(store, "s", "one")
        assert _texts(await other.get_chat_history("s")) == ["one"]
        await _fill(other, "s", "two")
        assert _texts(await store.get_chat_history("s")) == ["one", "two"]
        await other.clear_session("s")
        assert await store.get_chat_history("s") == []
        await other.delete_session("s")
        assert await store.session_exists("s") is False

    async def test_processes_lose_nothing(self, store: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        if not _declares(store, "shared"):
            unsupported("shared")
            return
        children = [
            await spawn(f"{_BODIES}:add_many", session_id="s", writer=writer, times=40) for writer in ("one", "two")
        ]
        for child in children:
            child.go()
        for number in range(20):
            await store.add_message("s", "user", f"here {number}")
        for child in children:
            await child.result()
        found = _texts(await store.get_chat_history("s", 1_000))
        assert len(found) == 100
        for writer, times in (("one", 40), ("two", 40), ("here", 20)):
            assert [text for text in found if text.startswith(writer)] == [f"{writer} {n}" for n in range(times)]

    @pytest.mark.crash
    async def test_what_was_acknowledged_survives_a_killed_process(
        self, store: Any, spawn: Spawn, moments: Moments, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if not _declares(store, "durable"):
            unsupported("durable")
            return
        for trial, (reports, delay) in enumerate(moments):
            session_id, padding = f"s{trial}", 20_000
            child = await spawn(f"{_BODIES}:add_for_ever", session_id=session_id, padding=padding)
            child.go()
            acknowledged = await child.kill_after(reports, delay)
            found = _texts(await open_store().get_chat_history(session_id, 1_000))
            # All of it, in order, each message whole, and at most the one that was being written.
            assert found == [f"{number} {'x' * padding}" for number in range(len(found))]
            assert len(acknowledged) <= len(found) <= len(acknowledged) + 1
            await _fill(store, session_id, "goes on")
            assert _texts(await store.get_chat_history(session_id, 1)) == ["goes on"]

    # ------------------------------------------------------------------------------------------------------- hierarchy

    async def test_sessions_are_made_with_their_titles_and_parents(self, store: Any, unsupported: Unsupported) -> None:
        if await _missing(store, unsupported, *_HIERARCHY):
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
        await _fill(store, leaf, "one")
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
        if await _missing(store, unsupported, *_HIERARCHY):
            return
        await store.create_session("s", title="Main", metadata={"a": {"b": 1}})
        await _fill(store, "s", "0", "1", "2", "3")
        whole = await store.fork_session("s")
        part = await store.fork_session("s", from_message_index=1, title="Part")
        await _fill(store, "s", "of the parent")
        await _fill(store, part, "of the fork")
        assert _texts(await store.get_chat_history("s")) == ["0", "1", "2", "3", "of the parent"]
        assert _texts(await store.get_chat_history(whole)) == ["0", "1", "2", "3"]
        assert _texts(await store.get_chat_history(part)) == ["0", "1", "of the fork"]
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
        if await _missing(store, unsupported, *_HIERARCHY):
            return
        await _fill(store, "s", "0", "1")
        early = await store.create_snapshot("s", label="early", metadata={"a": 1})
        await _fill(store, "s", "2", "3")
        late = await store.create_snapshot("s")
        assert await store.revert_to_snapshot("s", early) is True
        assert _texts(await store.get_chat_history("s")) == ["0", "1"]
        await _fill(store, "s", "other")
        assert await store.revert_to_snapshot("s", late) is True
        assert _texts(await store.get_chat_history("s")) == ["0", "1", "2", "3"]
        await store.clear_session("s")
        for _ in range(2):
            assert await store.revert_to_snapshot("s", early) is True
            assert _texts(await store.get_chat_history("s")) == ["0", "1"]
        await _fill(store, "s", "goes on")
        assert _texts(await store.get_chat_history("s")) == ["0", "1", "goes on"]
        found = [(item.id, item.label, item.message_index, item.metadata) for item in await store.get_snapshots("s")]
        assert found == [(early, "early", 1, {"a": 1}), (late, None, 3, {})]
        assert await store.revert_to_snapshot("s", "nothing") is False
        assert await store.revert_to_snapshot("nobody", early) is False
        with pytest.raises(SessionNotFoundError):
            await store.create_snapshot("nobody")
        assert [item["session_id"] for item in await store.list_sessions()] == ["s"]
        assert await store.session_exists("nobody") is False

    async def test_a_session_goes_back_to_a_message(self, store: Any, unsupported: Unsupported) -> None:
        if await _missing(store, unsupported, "revert_to_message"):
            return
        await _fill(store, "s", "0", "1", "2")
        for index in (3, 10**30):
            assert await store.revert_to_message("s", index) is False
        assert await store.revert_to_message("nobody", 0) is False
        with pytest.raises(InvalidValueError):
            await store.revert_to_message("s", -1)
        assert await store.revert_to_message("s", 2) is True
        assert _texts(await store.get_chat_history("s")) == ["0", "1", "2"]
        assert await store.revert_to_message("s", 0) is True
        await _fill(store, "s", "3")
        assert _texts(await store.get_chat_history("s")) == ["0", "3"]

    async def test_a_session_is_shared_and_has_a_title(self, store: Any, unsupported: Unsupported) -> None:
        if await _missing(store, unsupported, "share_session", "set_title"):
            return
        await _fill(store, "s", "0")
        assert await store.is_shared("s") is await store.is_shared("nobody") is False
        await store.share_session("s")
        assert await store.is_shared("s") is True
        for title in (*HOSTILE_TEXTS, None):
            await store.set_title("s", title)
            assert (await store.get_session("s")).title == title
        await store.unshare_session("s")
        assert await store.is_shared("s") is False
        assert _texts(await store.get_chat_history("s")) == ["0"]
        assert await store.session_exists("nobody") is False

    async def test_an_exported_session_is_imported_as_it_was(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if await _missing(store, unsupported, "export_session", "import_session"):
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
        assert identical(exported, again)
        assert await store.get_parent("copy") is None
        assert await store.get_chat_history("copy", 1_000) == await store.get_chat_history("s", 1_000)
        assert _texts(await store.get_working_history("copy")) == ["what was said", "after it"]
        (snapshot,) = await store.get_snapshots("copy")
        assert await store.revert_to_snapshot("copy", snapshot.id) is True
        assert len(await store.get_chat_history("copy", 1_000)) == 2 * len(HOSTILE_OBJECTS)
        assert _texts(await store.get_chat_history("s", 1)) == ["after it"]

    async def test_what_is_no_exported_session_is_refused(self, store: Any, unsupported: Unsupported) -> None:
        if await _missing(store, unsupported, "export_session", "import_session"):
            return
        await _fill(store, "taken", "0")
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
        assert _texts(await store.get_chat_history("taken")) == ["0"]

    async def test_threads_that_fork_and_add_lose_nothing(
        self, store: Any, race: Race, unsupported: Unsupported
    ) -> None:
        if await _missing(store, unsupported, *_HIERARCHY):
            return
        await _fill(store, "s", "first")

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
        assert sorted(_texts(await store.get_chat_history("s"))) == ["1", "3", "5", "7", "first"]
        assert (await store.get_session("s")).metadata == {f"key{worker}": worker for worker in (1, 3, 5, 7)}
        for fork, _ in made:
            assert _texts(await store.get_chat_history(fork))[0] == "first"
