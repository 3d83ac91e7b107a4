"""Custom stores: a class with the abstract methods of PraisonAI's interface, and no other, is a store everywhere."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import replace

import pytest
import upstream

from praisonai_persistence import (
    AsyncConversationStore,
    CollectionNotFoundError,
    ConflictError,
    ConversationMessage,
    ConversationSession,
    ConversationStore,
    KnowledgeDocument,
    KnowledgeStore,
    PersistenceOrchestrator,
    SerializationError,
    SessionNotFoundError,
    StateStore,
    StoreRegistry,
    UnsupportedOperationError,
    WrongTypeError,
    as_async,
    as_sync,
    create_conversation_store,
    db,
)
from praisonai_persistence._custom import EXTENDED
from praisonai_persistence.memory import (
    AsyncMemoryConversationStore,
    MemoryConversationStore,
    MemoryKnowledgeStore,
    MemoryStateStore,
)
from praisonai_persistence.sessions import StoreBackedSessionStore

Conversations = upstream.custom_class(ConversationStore, "conversation", MemoryConversationStore)
AsyncConversations = upstream.custom_class(
    AsyncConversationStore, "conversation", AsyncMemoryConversationStore, asynchronous=True
)
Knowledge = upstream.custom_class(KnowledgeStore, "knowledge", MemoryKnowledgeStore)
State = upstream.custom_class(StateStore, "state", MemoryStateStore)

EACH_MODE = pytest.mark.parametrize("make", [Conversations, AsyncConversations])


class Plain(ConversationStore):
    """As somebody writes it in an afternoon: dicts, no versions, no numbers, no errors."""

    def __init__(self):
        self.sessions, self.messages = {}, {}

    def create_session(self, session):
        self.sessions[session.session_id] = session
        self.messages[session.session_id] = []
        return session

    def get_session(self, session_id):
        return self.sessions.get(session_id)

    def update_session(self, session):
        self.sessions[session.session_id] = session
        return session

    def delete_session(self, session_id):
        self.messages.pop(session_id, None)
        return self.sessions.pop(session_id, None) is not None

    def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        found = [session for session in self.sessions.values() if user_id in (None, session.user_id)]
        return found[offset : offset + limit]

    def add_message(self, session_id, message):
        self.messages.setdefault(session_id, []).append(message)
        return message

    def get_messages(self, session_id, limit=None, before=None, after=None):
        found = list(self.messages.get(session_id, ()))
        return found[-limit:] if limit else found

    def delete_messages(self, session_id, message_ids=None):
        before = self.messages.get(session_id, [])
        self.messages[session_id] = [one for one in before if message_ids is not None and one.id not in message_ids]
        return len(before) - len(self.messages[session_id])

    def close(self):
        pass


@pytest.mark.parametrize(
    ("interface", "kind"),
    [
        (ConversationStore, "conversation"),
        (AsyncConversationStore, "conversation"),
        (KnowledgeStore, "knowledge"),
        (StateStore, "state"),
    ],
)
def test_an_interface_asks_for_nothing_that_praisonai_does_not_ask_for(interface, kind):
    assert interface.__abstractmethods__ <= set(upstream.ABSTRACT[kind])
    for name, arguments in upstream.ABSTRACT[kind].items():
        own = set(inspect.signature(getattr(interface, name)).parameters) - {"self"}
        theirs = {part.strip("*") for part in upstream.passed(arguments).split(", ") if part}
        assert theirs <= own, name
        assert own - theirs == set(EXTENDED[kind].get(name, ())), name


def test_every_class_can_be_made_and_declares_no_more_than_it_can():
    for make in (Conversations, AsyncConversations, Knowledge, State, Plain):
        assert make().capabilities == frozenset()
    assert "atomic_batch" in MemoryConversationStore.capabilities & AsyncMemoryConversationStore.capabilities
    assert "atomic" in MemoryStateStore.capabilities


@EACH_MODE
def test_what_the_interface_has_beyond_is_made_of_the_rest(make):
    store = as_sync(make())
    session = store.upsert_session(ConversationSession("s"))
    assert store.upsert_session(replace(session, name="n")).name == "n"
    sent = [ConversationMessage(id=str(n), content=str(n)) for n in range(5)]
    assert [message.seq for message in store.add_messages("s", sent)] == [1, 2, 3, 4, 5]
    assert store.count_messages("s") == 5
    assert [m.content for m in store.get_messages("s", limit=2, before_seq=4)] == ["1", "2"]
    assert [m.content for m in store.get_messages("s", after_seq=3)] == ["3", "4"]
    assert store.get_messages("s", limit=0, after_seq=1) == []
    stored = store.get_session("s")
    assert store.update_session(replace(stored, name="m"), expected_version=stored.version).name == "m"
    with pytest.raises(ConflictError):
        store.update_session(stored, expected_version=stored.version)
    with pytest.raises(SessionNotFoundError):
        store.update_session(ConversationSession("nobody"), expected_version=1)
    rewritten = store.rewrite_session(store.get_session("s"), expected_version=stored.version + 1, remove=["0"])
    assert (rewritten.name, store.count_messages("s")) == ("m", 4)
    for capability in ("search_messages", "fork_session"):
        with pytest.raises(UnsupportedOperationError):
            getattr(store, capability)("s")


@EACH_MODE
def test_an_adapter_takes_it(make):
    store = make()
    adapter = db(conversation_store=store, state_store=State())
    assert adapter.on_agent_start("agent", "s", user_id="u") == []
    adapter.on_user_message("s", "hello")
    adapter.on_tool_call("s", "look", {"at": 1}, "seen")
    adapter.on_agent_message("s", "good day")
    adapter.on_run_start("s", "r", "hello")
    adapter.on_run_end("s", "r", "good day")
    adapter.on_trace_start("t", "s")
    adapter.on_span_start("p", "t", "look")
    adapter.on_agent_end("s", {"done": True})
    assert [run.status for run in adapter.get_runs("s")] == ["completed"]
    assert [span.name for span in adapter.get_traces("s")[0].spans] == ["look"]
    exported = adapter.export_session("s")
    adapter.close()
    again = db(conversation_store=store)
    assert [m.role for m in again.on_agent_start("other", "s")] == ["user", "assistant", "tool", "assistant"]
    assert as_sync(store).get_session("s").metadata["done"] is True
    assert db(conversation_store=make(), state_store=State()).import_session(exported) == "s"


@EACH_MODE
def test_an_awaited_adapter_and_the_orchestrator_take_it(make):
    async def work(store):
        async with db.aio(conversation_store=store) as adapter:
            await adapter.on_agent_start("agent", "s")
            await adapter.on_user_message("s", "hello")
        async with PersistenceOrchestrator(conversation_store=store, state_store=State()) as orchestrator:
            await orchestrator.aon_message("s", "assistant", "good day")
            await orchestrator.aset_state("k", [1])
            await orchestrator.aon_agent_end(None, "s")
            assert await orchestrator.aget_state("k") == [1]
            return [m.content for m in await orchestrator.aon_agent_start(None, "s")]

    assert asyncio.run(work(make())) == ["hello", "good day"]
    with PersistenceOrchestrator(conversation_store=make(), knowledge_store=Knowledge()) as orchestrator:
        orchestrator.on_agent_start(None, "s")
        orchestrator.on_message("s", "user", "hello", message_id="m")
        assert orchestrator.build_context("s")["history"] == [{"role": "user", "content": "hello"}]
        with pytest.raises(CollectionNotFoundError):
            orchestrator.retrieve_knowledge([1.0], "none")


@EACH_MODE
def test_a_session_store_stands_on_it(make):
    sessions = StoreBackedSessionStore(make())
    for n in range(4):
        sessions.add_message("s", "user", str(n))
    assert [m["content"] for m in sessions.get_chat_history("s", 2)] == ["2", "3"]
    child = sessions.fork_session("s", 1)
    assert [m["content"] for m in sessions.get_chat_history(child)] == ["0", "1"]
    snapshot = sessions.create_snapshot("s")
    sessions.set_chat_history("s", [{"role": "user", "content": "new"}])
    assert sessions.revert_to_snapshot("s", snapshot)
    assert [m["content"] for m in sessions.get_chat_history("s")] == ["0", "1", "2", "3"]
    sessions.update_session_metadata("s", colour="red")
    assert sessions.get_session("s").metadata["colour"] == "red"


def test_a_registry_makes_it_in_both_modes():
    registry = StoreRegistry("conversation")
    registry.register("mine", lambda url=None, **options: Conversations(), aliases=["my"])
    assert isinstance(create_conversation_store("my", mode="sync", registry=registry), Conversations)
    bridged = create_conversation_store("mine", mode="async", registry=registry)
    assert isinstance(bridged, AsyncConversationStore)

    async def work():
        async with bridged:
            await bridged.create_session(ConversationSession("s"))
            await bridged.add_messages("s", [ConversationMessage(content="x")])
            return [m.content for m in await bridged.get_messages("s", after_seq=0)]

    assert asyncio.run(work()) == ["x"]


def test_a_store_without_versions_and_numbers_is_enough():
    store = Plain()
    kept = store.upsert_session(ConversationSession("s", user_id="u", created_at=1.0))
    assert store.upsert_session(replace(kept, name="n")).created_at == 1.0
    adapter = db(conversation_store=store)
    adapter.on_user_message("s", "one")
    adapter.on_agent_message("s", "two")
    adapter.on_agent_end("s", {"x": 1})
    assert [(m.content, m.seq) for m in store.get_messages("s")] == [("one", 1), ("two", 2)]
    assert [m.content for m in store.get_messages("s", after_seq=1)] == ["two"]
    assert [m.seq for m in store.messages["s"]] == [0, 0]  # its own records stay as they are
    assert store.get_session("s").metadata["x"] == 1
    sessions = StoreBackedSessionStore(store)
    sessions.add_message("s", "user", "three")
    assert [m["content"] for m in sessions.get_chat_history("s")] == ["one", "two", "three"]


class AsyncPlain(AsyncConversationStore):
    """The same, awaited."""

    def __init__(self):
        self.plain = Plain()


for _name in AsyncConversationStore.__abstractmethods__:

    async def _method(self, *args, _name=_name, **kwargs):
        return getattr(self.plain, _name)(*args, **kwargs)

    setattr(AsyncPlain, _name, _method)
AsyncPlain.__abstractmethods__ = frozenset()


@pytest.mark.parametrize("make", [Plain, AsyncPlain, Conversations, AsyncConversations])
def test_a_store_that_keeps_messages_of_unknown_sessions_has_every_session_all_the_same(make):
    sessions = StoreBackedSessionStore(make())
    sessions.add_message("s", "user", "one")
    assert sessions.session_exists("s")
    assert [found["session_id"] for found in sessions.list_sessions()] == ["s"]
    assert sessions.clear_session("s")
    assert sessions.get_chat_history("s") == []
    store = make()
    adapter = db(conversation_store=store)  # no agent was started
    adapter.on_user_message("a", "one")
    adapter.on_tool_call("b", "look", {}, 1)
    with PersistenceOrchestrator(conversation_store=store) as orchestrator:
        orchestrator.on_message("c", "user", "hello")
    assert {session.session_id for session in as_sync(store).list_sessions()} == {"a", "b", "c"}


def test_methods_of_a_class_beside_the_interface_are_completed_too():
    class Methods:
        def update_session(self, session):
            return Plain.update_session.__wrapped__(self, session)

    class Mixed(Methods, Plain):
        pass

    store = Mixed()
    store.create_session(ConversationSession("s"))
    with pytest.raises(ConflictError):
        store.update_session(ConversationSession("s"), expected_version=7)


def test_knowledge():
    store = Knowledge()
    store.create_collection("c", 2)
    documents = [KnowledgeDocument(id=str(n), embedding=[1.0, n], metadata={"n": n}) for n in range(3)]
    assert store.insert("c", documents) == ["0", "1", "2"]
    assert [d.embedding for d in store.search("c", [1.0, 0.0], 1, with_embeddings=True)] == [[1.0, 0.0]]
    assert [d.embedding for d in store.search("c", [1.0, 0.0], 1)] == [None]
    assert (store.count("c"), store.delete("c", ["0"])) == (3, 1)
    for call in (
        lambda: store.count("c", {"n": 1}),
        lambda: store.get_collection("c"),
        lambda: store.clear_collection("c"),
    ):
        with pytest.raises(UnsupportedOperationError):
            call()
    with pytest.raises(CollectionNotFoundError):
        store.get_collection("none")
    bridged = as_async(store)
    assert asyncio.run(bridged.collection_exists("c"))


def test_collections_can_be_cleared_where_it_is_known_what_they_were_created_with():
    class Knowing(Knowledge):
        def get_collection(self, name):
            return self.inner.get_collection(name)

    store = Knowing()
    store.create_collection("c", 2, "dot", {"m": 1})
    store.insert("c", [KnowledgeDocument(embedding=[1.0, 2.0])])
    assert store.clear_collection("c") == 1
    assert (store.count("c"), store.get_collection("c").distance) == (0, "dot")
    assert store.collection_exists("c")
    assert not store.collection_exists("d")


def test_state():
    store = State()
    assert store.get("k", 1) == 1
    assert store.set_if_absent("k", None)
    assert not store.set_if_absent("k", 2)
    assert (store.get("k", 1), store.get_many(["k", "none"])) == (None, {"k": None})
    assert not store.compare_and_set("none", None, 1)
    assert store.compare_and_set("k", None, {"a": 1})
    assert not store.compare_and_set("k", {"a": 2}, 1)
    assert store.get_json("k") == {"a": 1}
    assert (store.incr("n"), store.incr("n", 4), store.incr("n", by=-2)) == (1, 5, 3)
    store.set("n", 1, ttl=100)
    store.incr("n")
    assert 90 < store.ttl("n") <= 100
    with pytest.raises(WrongTypeError):
        store.incr("k")
    store.set_many({"a*b": 1, "a*c": 2, "axd": 3})
    assert sorted(store.scan_prefix("a*")) == ["a*b", "a*c"]
    assert sorted(store.scan_prefix("a")) == sorted(store.list_keys("a*")) == ["a*b", "a*c", "axd"]
    store.hset("h", "f", None)
    assert (store.hget("h", "f", 1), store.hget("h", "g", 1)) == (None, 1)
    assert store.delete_many(["a*b", "a*b", "none"]) == 1
    assert store.clear() == 5
    assert store.keys() == []


class Texts(StateStore):
    """As somebody writes one over a table whose column is text."""

    def __init__(self):
        self.rows = {}

    def get(self, key):
        return self.rows.get(key)

    def set(self, key, value, ttl=None):
        assert type(value) is str
        self.rows[key] = value

    def delete(self, key):
        return self.rows.pop(key, None) is not None

    def exists(self, key):
        return key in self.rows

    def keys(self, pattern="*"):
        return list(self.rows)

    def ttl(self, key):
        return None

    def expire(self, key, ttl):
        return key in self.rows

    def hget(self, key, field):
        return None

    hset = hgetall = hdel = hget

    def close(self):
        pass


@pytest.mark.parametrize("value", [{"a": [1, None, "é"]}, [], "text", 1.5, None, True])
def test_json_is_text_in_a_state_store_that_was_written_for_praisonai(value):
    store = Texts()
    store.set_json("k", value, ttl=5)
    assert store.rows == {"k": json.dumps(value)}
    assert store.get_json("k") == value
    assert store.get_json("none") is None
    assert store.get_json("none", 3) == 3

    async def work():
        async with as_async(store) as bridged:
            await bridged.set_json("k2", value)
            return await bridged.get_json("k2")

    assert asyncio.run(work()) == value
    assert store.rows["k2"] == json.dumps(value)


def test_what_is_not_json_is_said_to_be_so():
    store = Texts()
    store.set("k", "no JSON")
    for call in (lambda: store.get_json("k"), *(lambda v=v: store.set_json("n", v) for v in ({1, 2}, float("nan")))):
        with pytest.raises(SerializationError):
            call()
    assert store.rows == {"k": "no JSON"}


def test_json_methods_of_its_own_stay_what_they_are():
    class Own(Texts):
        def get_json(self, key):
            return "own"

    class New(StateStore):
        def get(self, key, default=None):
            return default

    assert Own().get_json("k") == "own"
    assert New.set_json is StateStore.set_json


def test_state_whose_scan_returns_a_list_can_be_awaited():
    class Listing(State):
        def scan_prefix(self, prefix):
            return [key for key in self.keys() if key.startswith(prefix)]

    store = Listing()
    store.set_many({f"k{n}": n for n in range(250)})

    async def work():
        async with as_async(store) as bridged:
            return [key async for key in bridged.scan_prefix("k")]

    assert len(asyncio.run(work())) == 250


class Redacting(MemoryConversationStore):
    """Does something with each message."""

    def add_message(self, session_id, message):
        return super().add_message(session_id, replace(message, content="***"))


class AsyncRedacting(AsyncMemoryConversationStore):
    """The same, async."""

    async def add_message(self, session_id, message):
        return await super().add_message(session_id, replace(message, content="***"))


class Derived(Redacting):
    """Has nothing of its own."""


@pytest.mark.parametrize("kind", [Redacting, AsyncRedacting, Derived])
def test_no_message_is_stored_past_an_add_message_that_is_overridden(kind):
    store = kind()
    assert "atomic_batch" not in store.capabilities
    assert "atomic_batch" in MemoryConversationStore.capabilities
    with db(conversation_store=store) as one:
        one.on_agent_start("A", "s")
        one.on_user_message("s", "my secret")
        one.on_agent_message("s", "another secret")
    sync = as_sync(store) if kind is AsyncRedacting else store
    sync.add_messages("s", [ConversationMessage(content="one"), ConversationMessage(content="two")])
    assert [message.content for message in sync.get_messages("s")] == ["***"] * 4
