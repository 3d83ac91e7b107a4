"""Operations of adapters to frameworks: written once, done for sync and async callers over sync and async stores."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from praisonai_persistence import ConversationMessage, KnowledgeDocument
from praisonai_persistence.errors import (
    ConfigurationError,
    DimensionError,
    FilterError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.frameworks import (
    Call,
    NoCopies,
    all_documents,
    append,
    ask,
    both,
    class_named,
    function_call,
    has,
    named,
    nearest_of,
    need_store,
    put,
    read_call,
    remove_all,
    remove_at,
    replace,
    session_ids,
)
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


@modes
@pytest.mark.parametrize("cls", [MemoryConversationStore, AsyncMemoryConversationStore])
def test_messages_are_replaced_and_removed(mode: str, cls: Any) -> None:
    store = cls()

    def give(texts: str) -> Any:
        messages = [ConversationMessage(content=text) for text in texts]
        yield from replace(store, "s", messages, lambda old, place: old.content == texts[place], user_id="ada")
        return (yield Call(store, "get_messages", ("s",)))

    first = run(give, mode, "abc")
    assert [message.content for message in first] == list("abc")
    assert run(give, mode, "abc") == first
    more = run(give, mode, "abxyz")
    assert more[:2] == first[:2]
    assert [message.content for message in more] == list("abxyz")
    assert run(remove_at, mode, store, "s", 1).content == "b"
    assert run(remove_at, mode, store, "s", -1).content == "z"
    assert run(remove_at, mode, store, "s", 3) is None
    assert run(remove_at, mode, store, "s", -4) is None
    assert run(remove_at, mode, store, "unknown", 0) is None
    assert [message.content for message in run(remove_all, mode, store, "s")] == list("axy")
    assert run(remove_all, mode, store, "s") == []
    assert run(remove_all, mode, store, "unknown") is None
    assert run(session_ids, mode, store, user_id="ada") == ["s"]
    assert run(session_ids, mode, store, user_id="grace") == []


def test_each_message_is_removed_by_one_caller() -> None:
    store = MemoryConversationStore()
    run(append, "sync", store, "s", [ConversationMessage(content=f"{number}") for number in range(100)])
    with ThreadPoolExecutor(8) as pool:
        gone = list(pool.map(lambda number: run(remove_at, "sync", store, "s", -(number % 2)).content, range(100)))
    assert len(set(gone)) == 100
    assert run(remove_at, "sync", store, "s", 0) is None


@modes
@pytest.mark.parametrize("cls", [MemoryKnowledgeStore, AsyncMemoryKnowledgeStore])
def test_documents_are_found_by_id_and_filter(mode: str, cls: Any) -> None:
    store = cls()
    place = (store, "c")
    assert run(ask, mode, *place, "count") is None
    assert run(all_documents, mode, *place, None) == []
    assert run(named, mode, *place, ["a"], None) == []
    assert run(nearest_of, mode, *place, ["a"], [1.0], None, 3) == []
    documents = [KnowledgeDocument(f"{number}", "", [float(number), 1.0], {"n": number}) for number in range(5)]
    run(put, mode, *place, documents, "euclidean")
    odd = {"n": {"$in": [1, 3]}}

    def ids(found: list[KnowledgeDocument]) -> str:
        return "".join(document.id for document in found)

    assert ids(run(all_documents, mode, *place, None)) == "01234"
    assert ids(run(all_documents, mode, *place, odd)) == "13"
    assert ids(run(named, mode, *place, ["3", "x", "1", "2", "3"], odd)) == "31"
    assert ids(run(nearest_of, mode, *place, list("43210"), [2.0, 1.0], None, 3)) == "213"
    assert ids(run(nearest_of, mode, *place, list("40"), [2.0, 1.0], {"n": {"$gt": 0}}, 3)) == "4"
    searched = run(ask, mode, *place, "search", [2.0, 1.0], 5)
    scores = [document.score for document in run(nearest_of, mode, *place, list("43210"), [2.0, 1.0], None, 5)]
    assert scores == [document.score for document in searched]
    with pytest.raises(DimensionError):
        run(nearest_of, mode, *place, ["1"], [1.0], None, 3)
    with pytest.raises(FilterError):
        run(named, mode, *place, ["1"], {"$near": 1})


def test_an_object_with_an_open_store_is_not_copied() -> None:
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(UnsupportedOperationError, match="open the store again"):
            copied(NoCopies())


def test_whether_json_has_everything_that_other_json_has() -> None:
    assert has({"a": 1, "b": [{"c": 2, "more": 3}]}, {"a": 1.0, "b": [{"c": 2}]})
    for stored in ({"b": 1}, {"a": 2}, {"a": [1]}, {"a": {"x": 1}}, [1]):
        assert not has({"a": 1}, stored)
    assert not has([1], [1, 2])


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


def test_a_class_is_found_by_its_stored_name():
    class Message:
        pass

    class Spoken(Message):
        pass

    class Sung(Spoken):
        pass

    def name_of(cls: type[Any]) -> str:
        return cls.__name__.lower()

    assert [class_named(Message, name, name_of) for name in ("spoken", "sung")] == [Spoken, Sung]
    for other in ("message", "Sung", "os.path", None, 3, ["sung"]):
        assert class_named(Message, other, name_of) is None
