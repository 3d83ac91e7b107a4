"""Session stores over conversation stores, the session store of a process, and the names that the module hands out."""

from __future__ import annotations

import os
import signal
import sys
import threading
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, sessions
from praisonai_persistence.errors import (
    BackendNotInstalledError,
    ConfigurationError,
    InvalidValueError,
    PersistenceError,
    SerializationError,
    SessionNotFoundError,
    StoreClosedError,
)
from praisonai_persistence.memory import AsyncMemoryConversationStore, MemoryConversationStore, MemoryStateStore
from praisonai_persistence.sessions import (
    RESERVED_KEY,
    SessionStoreProtocol,
    StoreBackedSessionStore,
    bot_session_key,
    get_default_session_store,
    set_default_session_store,
)
from praisonai_persistence.stores.sessions import first_kept, latest
from praisonai_persistence.testing import SessionStoreSuite, StoreSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Site


def texts(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["content"] for message in messages]


# ---------------------------------------------------------------------------------------------------------- the suite


class FiveMethods:
    """As small as a session store can be."""

    def __init__(self) -> None:
        self._turns: dict[str, list[dict[str, str]]] = {}
        self._lock = threading.Lock()

    def add_message(self, session_id, role, content, metadata=None):
        with self._lock:
            self._turns.setdefault(session_id, []).append({"role": role, "content": content})
        return True

    def get_chat_history(self, session_id, max_messages=None):
        turns = self._turns.get(session_id, [])
        return turns[-max_messages:] if max_messages else list(turns)

    def clear_session(self, session_id):
        self._turns[session_id] = []
        return True

    def delete_session(self, session_id):
        self._turns.pop(session_id, None)
        return True

    def session_exists(self, session_id):
        return session_id in self._turns


class WithoutFork(MemoryConversationStore):
    """A store that cannot copy a session by itself."""

    capabilities = MemoryConversationStore.capabilities - {"fork"}

    def fork_session(self, *args: Any, **kwargs: Any) -> Any:
        self._unsupported("fork a session", "fork")


def over_memory(name: str) -> StoreBackedSessionStore:
    return StoreBackedSessionStore(MemoryConversationStore(name=name), max_messages=1_000)


def over_store_without_fork(name: str) -> StoreBackedSessionStore:
    return StoreBackedSessionStore(WithoutFork(name=name), max_messages=1_000)


def over_documents(name: str) -> StoreBackedSessionStore:
    from cas_engine import MemoryConversations

    return StoreBackedSessionStore(MemoryConversations(name), max_messages=1_000)


def over_async_memory(name: str) -> StoreBackedSessionStore:
    return StoreBackedSessionStore(AsyncMemoryConversationStore(name=name), max_messages=1_000)


class TestFiveMethods(SessionStoreSuite):
    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec("session", sync=f"{__name__}:FiveMethods")


class TestOverMemory(SessionStoreSuite):
    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec("session", sync=f"{__name__}:over_memory", options={"name": str(uuid.uuid4())})


class TestOverAStoreWithoutFork(SessionStoreSuite):
    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec("session", sync=f"{__name__}:over_store_without_fork", options={"name": str(uuid.uuid4())})


class TestOverDocuments(SessionStoreSuite):
    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec("session", sync=f"{__name__}:over_documents", options={"name": str(uuid.uuid4())})


class TestOverAnAsyncStore(SessionStoreSuite):
    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec("session", sync=f"{__name__}:over_async_memory", options={"name": str(uuid.uuid4())})


# ---------------------------------------------------------------------------------------------------------- protocol


def test_any_class_with_the_five_methods_is_a_session_store() -> None:
    assert isinstance(FiveMethods(), SessionStoreProtocol)
    assert isinstance(StoreBackedSessionStore(MemoryConversationStore()), SessionStoreProtocol)
    methods = {name for name in vars(SessionStoreProtocol) if not name.startswith("_")}
    assert methods == {"add_message", "get_chat_history", "clear_session", "delete_session", "session_exists"}
    for name in methods:
        rest = {other: vars(FiveMethods)[other] for other in methods - {name}}
        assert not isinstance(type("Four", (), rest)(), SessionStoreProtocol), name


# ------------------------------------------------------------------------------------------------------------- limits

CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "c"}]}
RESULT = {"role": "tool", "content": "r", "tool_call_id": "c"}
UNNAMED = {"role": "tool", "content": "r"}
USER = {"role": "user", "content": "u"}


@pytest.mark.parametrize(
    ("messages", "limit", "given", "kept"),
    [
        ([USER, USER], 0, 0, 0),
        ([USER, USER], 1, 1, 1),
        ([USER, USER], 2, 2, 2),
        ([USER, CALL, RESULT], 2, 2, 2),
        ([USER, CALL, RESULT], 1, 0, 2),
        ([CALL, RESULT, USER], 2, 1, 3),
        ([CALL, UNNAMED, UNNAMED, USER], 2, 1, 4),
        ([CALL, USER, RESULT, USER], 2, 1, 4),
        ([CALL, USER, RESULT, USER], 3, 1, 4),
        ([CALL, RESULT, CALL, RESULT], 2, 2, 2),
        ([CALL, RESULT, CALL, RESULT], 3, 2, 4),
        ([RESULT, USER, USER], 2, 2, 2),  # its call was never there
        ([USER, RESULT, USER], 2, 1, 2),
        ([USER, RESULT, USER], 3, 3, 3),
    ],
)
def test_limits_and_tool_exchanges(messages: list[Any], limit: int, given: int, kept: int) -> None:
    assert latest(messages, limit) == messages[len(messages) - given :]
    assert len(messages) - first_kept(messages, limit) == kept


# ------------------------------------------------------------------------------------------------ over a store's data


@pytest.fixture
def conversations() -> Iterator[MemoryConversationStore]:
    with MemoryConversationStore(name=str(uuid.uuid4())) as store:
        yield store


@pytest.fixture
def store(conversations: MemoryConversationStore) -> StoreBackedSessionStore:
    return StoreBackedSessionStore(conversations)


def test_messages_are_messages_of_the_store(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore
) -> None:
    conversations.create_session(ConversationSession("s", user_id="ada", name="Main", state={"step": 2}))
    conversations.add_message("s", ConversationMessage(id="m1", role="user", content="Hello", created_at=5.0))
    store.add_message("s", "assistant", "Hi", {"a": 1})
    store.set_title("s", "Renamed")
    assert texts(store.get_chat_history("s")) == ["Hello", "Hi"]
    found = conversations.get_messages("s")
    assert [(item.seq, item.role, item.content, item.metadata) for item in found] == [
        (1, "user", "Hello", None),
        (2, "assistant", "Hi", {"a": 1}),
    ]
    session = conversations.get_session("s")
    assert session is not None
    assert (session.user_id, session.name, session.state, session.metadata) == ("ada", "Renamed", {"step": 2}, None)
    fork = conversations.get_session(store.fork_session("s"))
    assert fork is not None
    assert (fork.user_id, fork.state) == ("ada", {"step": 2})


def test_what_records_have_no_field_for_is_under_one_key(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore
) -> None:
    store.set_agent_info("s", agent_name="helper", user_id="ada")
    store.update_session_metadata("s", mode="red", agent_id="a-1")
    session = conversations.get_session("s")
    assert session is not None
    assert (session.user_id, session.agent_id) == ("ada", "a-1")
    own = session.metadata.pop(RESERVED_KEY) if session.metadata else None
    assert (session.metadata, own) == ({"mode": "red", "agent_id": "a-1"}, {"agent_name": "helper"})
    with pytest.raises(InvalidValueError):
        store.update_session_metadata("s", **{RESERVED_KEY: 1})
    with pytest.raises(InvalidValueError):
        store.add_message("s", "user", "x", {RESERVED_KEY: 1})
    assert store.get_session("s").metadata == {"mode": "red", "agent_id": "a-1"}


def test_a_limit_reads_no_more_than_it_needs(conversations: MemoryConversationStore) -> None:
    store = StoreBackedSessionStore(conversations, max_messages=3)
    read = []
    get_messages = conversations.get_messages
    conversations.get_messages = lambda *args, **kwargs: read.append(kwargs) or get_messages(*args, **kwargs)  # type: ignore[assignment,func-returns-value]
    for number in range(10):
        store.add_user_message("s", str(number))
    assert texts(store.get_chat_history("s")) == ["7", "8", "9"]
    assert texts(store.get_chat_history("s", 5)) == ["5", "6", "7", "8", "9"]
    assert store.get_chat_history("s", 0) == []
    assert read == [{"limit": 4}, {"limit": 6}]
    # Nothing is trimmed: a limit is one of reading.
    assert len(get_messages("s")) == 10
    assert len(StoreBackedSessionStore(conversations, max_messages=None).get_chat_history("s")) == 10


def test_deleting_a_session_deletes_its_snapshots(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore
) -> None:
    store.add_user_message("s", "x")
    store.create_snapshot("s")
    store.create_snapshot("s")
    assert len(conversations.list_sessions()) == 3
    store.delete_session("s")
    assert conversations.list_sessions() == []


def test_a_fork_that_was_not_finished_does_no_harm(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore
) -> None:
    store.add_user_message("s", "x")
    snapshot = store.create_snapshot("s")
    conversations.fork_session("s", None, "half")  # all that a killed process had done
    assert store.get_chat_history("half") == store.get_chat_history("s")
    store.delete_session("half")
    store.clear_session("s")
    assert store.revert_to_snapshot("s", snapshot) is True
    assert texts(store.get_chat_history("s")) == ["x"]


def test_a_snapshot_of_what_is_deleted_meanwhile_leaves_nothing(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_user_message("s", "x")
    hide = store._hide

    def slow(kept_in: str, session_id: str, transcript: dict[str, Any]) -> None:
        hide(kept_in, session_id, transcript)
        conversations.delete_session(session_id)

    monkeypatch.setattr(store, "_hide", slow)
    with pytest.raises(SessionNotFoundError):
        store.create_snapshot("s")
    assert conversations.list_sessions() == []


def test_sessions_of_any_time_are_sessions(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore
) -> None:
    for number, created_at in enumerate((-1e10, 0.0, 1e308)):
        conversations.create_session(ConversationSession(str(number), created_at=created_at))
        store.add_user_message(str(number), "x")
        store.set_title(str(number), "title")
        session = conversations.get_session(str(number))
        assert session is not None
        assert session.created_at == created_at
    assert len(store.list_sessions()) == 3


def test_what_a_killed_process_left_of_snapshots_is_swept(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_user_message("s", "x")
    kept = store.create_snapshot("s")
    store._hide("left by an import", "gone", {"messages": [], "archived_messages": [], "last_compaction": None})
    store._hide("left by a snapshot", "s", {"messages": []})
    store.create_session("looks like one", agent_name="praisonai_session:snapshot")
    conversations.create_session(ConversationSession("another", agent_id="praisonai_session:snapshot"))
    assert len(conversations.list_sessions()) == 6
    again = StoreBackedSessionStore(conversations)
    again.create_snapshot("s")  # what is new may be about to be named
    assert len(conversations.list_sessions()) == 7
    monkeypatch.setattr(sessions, "_GRACE", -1.0)
    again.create_snapshot("s")  # it looks now and then only
    assert len(conversations.list_sessions()) == 8
    StoreBackedSessionStore(conversations).create_snapshot("s")
    left = {session.session_id for session in conversations.list_sessions()}
    assert len(left) == 7
    assert left >= {"s", "looks like one", "another"}
    assert len(store.get_snapshots("s")) == 4
    assert store.revert_to_snapshot("s", kept) is True


def test_a_head_and_messages_that_are_read_belong_together(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_user_message("s", "old")
    read = conversations.get_messages

    def slow(session_id: str, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        found = read(session_id, *args, **kwargs)
        StoreBackedSessionStore(conversations).rename_session("s", "new")
        store.set_chat_history("s", [{"role": "user", "content": "new"}])
        return found

    monkeypatch.setattr(conversations, "get_messages", slow)
    session = store.get_session("s")
    assert (session.metadata["title"], [message.content for message in session.messages]) == ("new", ["new"])


def test_an_import_is_not_hidden(store: StoreBackedSessionStore) -> None:
    copy = store.import_session({"snapshot_of": "s", "snapshots": [{"id": "x", "kept_in": "s", "transcript": {}}]})
    assert [item["session_id"] for item in store.list_sessions()] == [copy]


@pytest.mark.parametrize("nothing", [{}, {"other": 1}, {"snapshot_of": "s"}])
def test_what_is_no_exported_session_makes_none(store: StoreBackedSessionStore, nothing: dict[str, object]) -> None:
    with pytest.raises(SerializationError, match="no exported session"):
        store.import_session(nothing)
    assert store.list_sessions() == []


def test_an_import_that_fails_leaves_nothing(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore
) -> None:
    store.add_user_message("s", "x")
    store.create_snapshot("s")
    exported = store.export_session("s")
    with pytest.raises(PersistenceError):
        store.import_session(exported, "s")
    assert len(conversations.list_sessions()) == 2


def test_going_back_deletes_what_came_after_and_nothing_else(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore
) -> None:
    for number in range(3):
        store.add_user_message("s", str(number))
    snapshot = store.create_snapshot("s")
    before = [(item.id, item.seq) for item in conversations.get_messages("s")]
    store.add_user_message("s", "3")
    store.revert_to_snapshot("s", snapshot)
    assert [(item.id, item.seq) for item in conversations.get_messages("s")] == before


def test_it_closes_what_it_opened_and_nothing_else(conversations: MemoryConversationStore, tmp_path: Path) -> None:
    with StoreBackedSessionStore(conversations) as store:
        store.add_user_message("s", "x")
    with pytest.raises(StoreClosedError):
        store.get_chat_history("s")
    assert conversations.count_messages("s") == 1
    with StoreBackedSessionStore.open(f"memory://{uuid.uuid4()}", max_messages=2) as opened:
        opened.add_user_message("s", "x")
        inner = opened._store
    with pytest.raises(StoreClosedError):
        inner.count_messages("s")


@pytest.mark.parametrize("wrong", [None, "sqlite:///x.db", {}, MemoryStateStore(), FiveMethods()])
def test_only_conversation_stores_hold_sessions(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="a conversation store is needed"):
        StoreBackedSessionStore(wrong)


def test_it_declares_what_its_store_can() -> None:
    class Both(MemoryConversationStore):
        capabilities = frozenset({"durable", "shared", "search"})

    assert StoreBackedSessionStore(Both()).capabilities == {"checks", "durable", "hierarchy", "shared", "tool_calls"}


# ------------------------------------------------------------------------------------- what agents and bots also call


def test_a_compaction_stands_for_what_was_before_it(store: StoreBackedSessionStore) -> None:
    for number in range(4):
        store.add_user_message("s", str(number))
    assert texts(store.get_working_history("s")) == ["0", "1", "2", "3"]
    assert store.append_compaction_checkpoint("s", "  ") is False
    assert store.append_compaction_checkpoint("s", "so far", tokens_before=9, metadata={"a": 1}) is True
    store.add_user_message("s", "4")
    store.add_user_message("s", "5")
    assert texts(store.get_working_history("s")) == ["so far", "4", "5"]
    assert texts(store.get_working_history("s", 2)) == ["so far", "5"]
    assert texts(store.get_working_history("s", 1)) == ["so far"]
    assert store.get_working_history("s", 0) == []
    assert texts(store.get_chat_history("s")) == ["0", "1", "2", "3", "4", "5"]
    checkpoint = store.get_session("s").last_compaction
    assert checkpoint is not None
    assert (checkpoint.message_index, checkpoint.tokens_before, checkpoint.metadata) == (4, 9, {"a": 1})
    store.revert_to_message("s", 1)
    assert texts(store.get_working_history("s")) == ["so far"]
    store.clear_session("s")
    store.add_user_message("s", "new")
    assert texts(store.get_working_history("s")) == ["new"]


def test_an_unfinished_answer_is_one_message(store: StoreBackedSessionStore) -> None:
    store.add_user_message("s", "question")
    for text in ("an", "an ans", "an answer"):
        store.upsert_partial_assistant_message("s", text)
        assert texts(store.get_chat_history("s")) == ["question", text]
    store.upsert_partial_assistant_message("s", "an answer.", finalize=True)
    assert store.get_session("s").messages[-1].metadata == {}
    store.upsert_partial_assistant_message("s", "another")
    store.discard_partial_assistant_message("s")
    store.discard_partial_assistant_message("s")
    store.upsert_partial_assistant_message("s", "", finalize=True)
    store.upsert_partial_assistant_message("s", "whole", finalize=True)
    store.upsert_partial_assistant_message("s", "")
    store.upsert_partial_assistant_message("s", "", finalize=True)
    assert texts(store.get_chat_history("s")) == ["question", "an answer.", "whole"]
    store.discard_partial_assistant_message("nobody")
    assert store.session_exists("nobody") is False


def test_a_history_is_replaced(store: StoreBackedSessionStore) -> None:
    store.add_user_message("s", "0")
    store.append_compaction_checkpoint("s", "so far")
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}
    result = {"role": "tool", "content": "r", "tool_call_id": "c", "timestamp": 7.0, "metadata": {"a": 1}}
    assert store.set_chat_history("s", [{"content": "1"}, call, result]) is True
    assert store.get_chat_history("s") == [
        {"role": "user", "content": "1"},
        {**call, "content": ""},
        {"role": "tool", "content": "r", "tool_call_id": "c"},
    ]
    message = store.get_session("s").messages[-1]
    assert (message.timestamp, message.metadata) == (7.0, {"a": 1})
    assert len(store.get_working_history("s")) == 3
    for wrong in ("text", [1], [{"role": "user", "content": 5}], [{"role": 5, "content": ""}], None):
        with pytest.raises(PersistenceError):
            store.set_chat_history("s", wrong)  # type: ignore[arg-type]
    assert len(store.get_chat_history("s")) == 3


def test_metadata_are_merged(store: StoreBackedSessionStore) -> None:
    store.update_session_metadata("s", model="m", cost=None, user_id="ada")
    store.update_session_metadata("s", model="n", total_tokens=3)
    store.merge_session_metadata_map("s", "map", {"a": 1}, defaults={"a": 0, "b": 0})
    store.merge_session_metadata_map("s", "map", {"c": 3}, defaults={"a": 0, "d": 0})
    session = store.get_session("s")
    assert session.user_id == "ada"
    assert session.metadata == {
        "model": "n",
        "user_id": "ada",
        "total_tokens": 3,
        "map": {"a": 1, "b": 0, "c": 3, "d": 0},
    }
    assert store.update_session_metadata("t") is True
    assert store.session_exists("t") is False
    for wrong in ({"a": float("nan")}, {"user_id": "\0"}, {"agent_name": 5}, {"a": object()}):
        with pytest.raises(PersistenceError):
            store.update_session_metadata("t", **wrong)
    assert store.session_exists("t") is False


def test_the_model_is_that_of_the_session_or_of_its_latest_message(store: StoreBackedSessionStore) -> None:
    assert store.get_session_model("s") is None
    store.add_message("s", "assistant", "x", {"model": "old", "reasoning_effort": "low"})
    store.add_message("s", "assistant", "y", {"model": "new"})
    store.add_message("s", "user", "z")
    assert (store.get_session_model("s"), store.get_session_reasoning_effort("s")) == ("new", "low")
    store.update_session_metadata("s", llm="chosen", reasoning_effort="high")
    assert (store.get_session_model("s"), store.get_session_reasoning_effort("s")) == ("chosen", "high")


def test_sessions_are_found_by_agent_and_gateway(store: StoreBackedSessionStore) -> None:
    for number, agent in enumerate(("ann", "bob", "ann")):
        store.set_agent_info(f"s{number}", agent_name=agent)
        store.add_user_message(f"s{number}", f"of s{number}")
    store.set_gateway_info("s1", gateway_session_id="g", agent_id="a")
    store.rename_session("s1", " Title ")
    assert store.list_sessions_by_agent("ann") == ["s2", "s0"]
    assert store.list_sessions_by_agent("ann", limit=1) == ["s2"]
    assert [session.session_id for session in store.get_sessions_by_agent("ann")] == ["s2", "s0"]
    assert store.get_agent_chat_history("bob") == [
        {"role": "user", "content": "of s1", "session_id": "s1", "agent_name": "bob"}
    ]
    assert store.list_sessions_by_gateway_agent("a") == ["s1"]
    linked = store.get_by_gateway_session("g")
    assert linked is not None
    assert linked.session_id == "s1"
    assert store.get_by_gateway_session("nothing") is None
    first = store.list_sessions(limit=1)[0]
    assert (first["session_id"], first["title"], first["message_count"]) == ("s1", "Title", 1)
    assert len(store.list_sessions()) == 3
    assert store.list_sessions(0) == []
    store.rename_session("s1", "")
    assert store.list_sessions(1)[0]["title"] is None
    for wrong in (-1, 1.5, "1"):
        with pytest.raises(InvalidValueError):
            store.list_sessions(wrong)  # type: ignore[arg-type]


def test_listing_goes_beyond_one_page(store: StoreBackedSessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_PAGE", 3)
    for number in range(10):
        store.add_user_message(f"s{number}", "x")
    assert [item["session_id"] for item in store.list_sessions(7)] == [f"s{number}" for number in range(9, 2, -1)]


def test_runtimes_keep_their_states(store: StoreBackedSessionStore) -> None:
    store.set_runtime_state("s", "native", "t1", {"a": 1})
    store.set_runtime_state("s", "native", "t2", {"a": 2})
    store.set_runtime_state("s", "other", "t1", {"a": 3})
    store.set_runtime_state("t", "other", "t1", {"a": 3}, mirror_enabled=False)
    assert store.get_runtime_state("s", "native") == {"t1": {"a": 1}, "t2": {"a": 2}}
    assert store.get_runtime_state("s", "native", "t2") == {"a": 2}
    assert store.get_runtime_state("s", "native", "t3") == store.get_runtime_state("t", "other") == {}
    assert store.session_exists("t") is False
    store.clear_runtime_state("s", "native")
    assert store.get_runtime_state("s", "native") == {}
    assert store.get_runtime_state("s", "other") == {"t1": {"a": 3}}
    store.clear_runtime_state("s")
    store.clear_runtime_state("t")
    assert store.get_runtime_state("s", "other") == {}
    assert store.session_exists("t") is False


def test_a_tree_that_bites_its_tail_is_reported(
    store: StoreBackedSessionStore, conversations: MemoryConversationStore
) -> None:
    parent = store.create_session("parent")
    child = store.create_session("child", parent_id=parent)
    store._edit(parent, lambda document: document.update(parent_id=child))
    store._edit(child, lambda document: document.update(children_ids=[parent]))
    with pytest.raises(InvalidValueError, match="its own descendant"):
        store.get_session_tree(parent)


def test_a_deep_tree_is_no_problem(store: StoreBackedSessionStore) -> None:
    parent = store.create_session("0")
    for number in range(1, 1_200):
        parent = store.create_session(str(number), parent_id=parent)
    node, depth = store.get_session_tree("0"), 0
    while node["children"]:
        (node,), depth = node["children"], depth + 1
    assert depth == 1_199


# ----------------------------------------------------------------------------------------------------- bots, defaults


def test_keys_of_bots() -> None:
    assert bot_session_key("telegram", 12345) == bot_session_key("telegram", "12345") == "bot_telegram_12345"
    assert bot_session_key("some_chat", "a b_c") == "bot_some_chat_a b_c"
    for platform, user in (
        ("", 1),
        (None, 1),
        ("x", ""),
        ("x", None),
        ("x", True),
        ("x", 1.5),
        ("x", "\0"),
    ):
        with pytest.raises(InvalidValueError):
            bot_session_key(platform, user)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    pytest.importorskip("praisonai_persistence_json")
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path))
    yield tmp_path
    set_default_session_store(None)


def test_a_process_has_one_session_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(8)
    found: list[Any] = []

    def get() -> None:
        barrier.wait(30)
        found.append(get_default_session_store())

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(store) for store in found}) == 1
    found[0].add_message(bot_session_key("telegram", 12345), "user", "Hello")
    assert (home / "sessions" / "bot_telegram_12345.json").exists()
    monkeypatch.setenv("PRAISONAI_HOME", str(home / "moved"))
    assert get_default_session_store() is not found[0]
    assert get_default_session_store().session_exists("bot_telegram_12345") is False


def test_another_store_can_be_chosen(home: Path) -> None:
    chosen = FiveMethods()
    set_default_session_store(chosen)
    assert get_default_session_store() is chosen
    with pytest.raises(InvalidValueError):
        set_default_session_store(object())  # type: ignore[arg-type]
    assert get_default_session_store() is chosen
    set_default_session_store(None)
    assert isinstance(get_default_session_store(), sessions.DefaultSessionStore)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_gets_its_session_store_while_a_thread_makes_one(home: Path) -> None:
    with sessions._default._lock:  # as the child finds it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that we fork with threads is the point
            child = os.fork()
        if not child:
            signal.alarm(60)  # a deadlock ends the child, and the test fails
            code = 1
            try:
                get_default_session_store().add_message("s", "user", "of the child")
                code = 0
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert texts(get_default_session_store().get_chat_history("s")) == ["of the child"]


def test_file_stores_are_handed_out(home: Path) -> None:
    import praisonai_persistence_json.sessions as files

    assert sessions.DefaultSessionStore is files.DefaultSessionStore
    assert sessions.HierarchicalSessionStore is files.HierarchicalSessionStore
    with pytest.raises(AttributeError, match="has no attribute 'RedisSessionStore'"):
        _ = sessions.RedisSessionStore


def test_without_its_package_a_file_store_says_what_to_install(
    bare_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "praisonai_persistence_json"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("DefaultSessionStore", "HierarchicalSessionStore"):
        with pytest.raises(BackendNotInstalledError, match="pip install praisonai-persistence-json"):
            getattr(sessions, name)
    with pytest.raises(ImportError, match="pip install praisonai-persistence-json"):
        get_default_session_store()


def test_an_argument_that_there_is_not_is_answered_by_the_nearest():
    from praisonai_persistence.errors import UnknownOptionError

    with pytest.raises(UnknownOptionError, match="StoreBackedSessionStore has no argument 'max_message'; did you mean"):
        StoreBackedSessionStore(MemoryConversationStore(), max_message=3)
    with pytest.raises(UnknownOptionError, match="no argument 'sesion_dir'"):
        StoreBackedSessionStore(sesion_dir="x")
