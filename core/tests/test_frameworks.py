"""Operations of adapters to frameworks: written once, done for sync and async callers over sync and async stores."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from praisonai_persistence import ConversationMessage, KnowledgeDocument
from praisonai_persistence.errors import ConfigurationError, DimensionError, StoreClosedError
from praisonai_persistence.frameworks import Call, append, both, function_call, need_store, put, read_call
from praisonai_persistence.memory import (
    AsyncMemoryConversationStore,
    AsyncMemoryKnowledgeStore,
    AsyncMemoryStateStore,
    MemoryConversationStore,
    MemoryKnowledgeStore,
    MemoryStateStore,
)


def run(operation: Any, mode: str, *args: Any, **kwargs: Any) -> Any:
    method, amethod = both(operation)
    if mode == "sync":
        return method(*args, **kwargs)
    return asyncio.run(amethod(*args, **kwargs))


modes = pytest.mark.parametrize("mode", ["sync", "async"])


class Model:
    """An object of a framework, with methods of both modes."""

    def embed(self, text: str) -> str:
        return f"sync {text}"

    async def aembed(self, text: str) -> str:
        await asyncio.sleep(0)
        return f"async {text}"

    def where(self) -> int:
        return threading.get_ident()


@modes
@pytest.mark.parametrize("cls", [MemoryStateStore, AsyncMemoryStateStore])
def test_an_operation_over_stores_of_both_modes(mode: str, cls: Any) -> None:
    store = cls()

    def count(key: str, by: int = 1) -> Any:
        """Count."""
        before = yield Call(store, "get", (key, 0))
        yield Call(store, "set", (key, before + by), {"ttl": 60})
        return (yield Call(store, "get", (key,)))

    assert run(count, mode, "n") == 1
    assert run(count, mode, "n", by=4) == 5
    method, amethod = both(count, str)
    assert (method.__doc__, amethod.__doc__) == ("Count.", "Count.")
    assert method("n") == "6"


@modes
def test_methods_of_a_frameworks_objects(mode: str) -> None:
    def work() -> Any:
        text = yield Call(Model(), "embed", ("x",), amethod="aembed")
        thread = yield Call(Model(), "where")
        return text, thread == threading.get_ident()

    assert run(work, mode) == (f"{mode} x", mode == "sync")


@modes
@pytest.mark.parametrize("cls", [MemoryStateStore, AsyncMemoryStateStore])
def test_errors_reach_the_operation_and_its_caller(mode: str, cls: Any) -> None:
    store = cls()
    closed = store.close()
    if closed is not None:
        asyncio.run(closed)

    def work() -> Any:
        try:
            yield Call(store, "get", ("k",))
        except StoreClosedError:
            caught = True
        with pytest.raises(AttributeError):
            yield Call(store, "no_such_method")
        yield Call(store, "get", ("k",))
        return caught

    with pytest.raises(StoreClosedError):
        run(work, mode)


@modes
@pytest.mark.parametrize("cls", [MemoryConversationStore, AsyncMemoryConversationStore])
def test_append_creates_the_session_once(mode: str, cls: Any) -> None:
    store = cls()

    def work(writer: int) -> Any:
        yield from append(store, "s", [ConversationMessage(content=f"{writer}")], user_id="ada", agent_id="helper")

    def read() -> Any:
        messages = yield Call(store, "get_messages", ("s",))
        return [message.content for message in messages], (yield Call(store, "get_session", ("s",)))

    assert run(append, mode, store, "s", []) is None
    assert run(read, mode) == ([], None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda writer: run(work, mode, writer), range(8)))
    texts, session = run(read, mode)
    assert sorted(texts) == list("01234567")
    assert (session.user_id, session.agent_id) == ("ada", "helper")


@modes
@pytest.mark.parametrize("cls", [MemoryKnowledgeStore, AsyncMemoryKnowledgeStore])
def test_put_creates_the_collection(mode: str, cls: Any) -> None:
    store = cls()
    with pytest.raises(DimensionError):
        run(put, mode, store, "c", [KnowledgeDocument("a")], "dot")
    assert run(put, mode, store, "c", [KnowledgeDocument("a", "x", [1.0, 2.0])], "dot") == ["a"]
    assert run(put, mode, store, "c", [KnowledgeDocument("b", "y", [1.0, 2.0])], "cosine") == ["b"]

    def read() -> Any:
        info = yield Call(store, "get_collection", ("c",))
        return info.dimension, info.distance, (yield Call(store, "count", ("c",)))

    assert run(read, mode) == (2, "dot", 2)


def test_a_store_of_the_kind_is_needed() -> None:
    for store in (MemoryStateStore(), AsyncMemoryStateStore()):
        assert need_store(store, "state") is store
        with pytest.raises(ConfigurationError, match="open_knowledge_store"):
            need_store(store, "knowledge")
    for wrong in (None, "sqlite:///x.db", MemoryStateStore):
        with pytest.raises(ConfigurationError, match="open_state_store"):
            need_store(wrong, "state")


def test_tool_calls() -> None:
    call = function_call("c", "weather", {"city": "Évora"})
    assert call == {
        "id": "c",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Évora"}'},
    }
    assert read_call(call) == ("c", "weather", {"city": "Évora"})
    assert read_call(function_call(None, None, '{"city')) == (None, None, '{"city')
    assert read_call(function_call("c", "f", None)) == ("c", "f", {})
    assert read_call({"id": 1, "name": "f", "args": {"a": 1}}) == (None, "f", {"a": 1})
    assert read_call({"id": "c", "function": "f"}) == ("c", None, {})
    assert read_call({"name": "f", "arguments": [1]}) == (None, "f", "[1]")
    assert read_call({"name": "f", "arguments": ""}) == (None, "f", {})
