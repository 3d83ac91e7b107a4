"""MongoDB against the conformance kit, and what is particular to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar

import pymongo
import pytest
from lifecycles import Networked
from pymongo.monitoring import CommandListener
from writers import RaceTests

from praisonai_persistence import payload
from praisonai_persistence.errors import ConfigurationError, SerializationError
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.testing import ConversationStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence_mongodb import (
    AsyncMongoDBConversationStore,
    MongoDBConversationStore,
    MongoDBStateStore,
    _driver,
)

STATE = {
    "sync": "praisonai_persistence_mongodb:MongoDBStateStore",
    "async_": "praisonai_persistence_mongodb:AsyncMongoDBStateStore",
}

CONVERSATION = {
    "sync": "praisonai_persistence_mongodb:MongoDBConversationStore",
    "async_": "praisonai_persistence_mongodb:AsyncMongoDBConversationStore",
}


class _Server(Networked):
    """A server whose tests take the fixture of this name."""

    engine = "mongodb"
    kind: str
    stores: ClassVar[dict[str, str]]

    @pytest.fixture
    def _engine(self, request):
        return request.getfixturevalue(self.engine)

    @pytest.fixture
    def spec(self, _engine) -> Iterator[StoreSpec]:
        with _engine.space() as options:
            yield StoreSpec(self.kind, **self.stores, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec(self.kind, **self.stores, options={"url": "mongodb://127.0.0.1:9", "connect_timeout": 0.2})

    @pytest.fixture
    def server(self, _engine):
        if not _engine.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return _engine


class TestMongoDBConversation(_Server, ConversationStoreSuite):
    backend, kind, stores = "mongodb", "conversation", CONVERSATION


@pytest.mark.quick_operations
class TestMongoDBState(_Server, StateStoreSuite):
    backend, kind, stores = "mongodb", "state", STATE


@pytest.mark.quick_operations
class TestNX27017Conversation(_Server, ConversationStoreSuite):
    backend, kind, stores, engine = "mongodb (NX-27017)", "conversation", CONVERSATION, "nx27017"


class Commands(CommandListener):
    """Counts what is sent to a server."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event):
        self.names.append(event.command_name)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def store(mongodb, commands) -> Iterator[MongoDBStateStore]:
    with (
        mongodb.space() as options,
        MongoDBStateStore(**options, client_options={"event_listeners": [commands]}) as store,
    ):
        store.set_many({"number": 1, "text": "text", "other": 1})  # connects, and sweeps for the first time
        store.hset("hash", "field", 1)
        store.hset("hash", "field 2", 1)
        yield store


@pytest.mark.parametrize(
    ("method", "arguments", "most"),
    [
        ("get", ["text"], 1),
        ("exists", ["text"], 1),
        ("ttl", ["text"], 1),
        ("hget", ["hash", "field"], 1),
        ("hgetall", ["hash"], 1),
        ("get_many", [[f"key {number}" for number in range(1_000)]], 1),
        ("set", ["text", 2], 1),
        ("set", ["new", 2, 100], 1),
        ("incr", ["number"], 1),
        ("incr", ["new"], 1),
        ("hset", ["hash", "field", 2], 1),
        ("hset", ["new", "a.$b", 2], 1),
        ("set_if_absent", ["new", 1], 1),
        ("set_if_absent", ["text", 1], 2),
        ("delete", ["text"], 1),
        ("delete", ["unknown"], 2),
        ("compare_and_set", ["number", 1, 2], 2),
        ("expire", ["text", 100], 2),
        ("hdel", ["hash", "field"], 2),
        ("hdel", ["hash", "field", "field 2"], 2),
        ("set_many", [{f"key {number}": number for number in range(1_000)}], 5),
        ("delete_many", [["text", "number", "other"]], 5),
        ("keys", [], 1),
    ],
)
def test_a_call_makes_as_many_requests_as_the_readme_says(store, commands, method, arguments, most):
    commands.names.clear()
    getattr(store, method)(*arguments)
    assert len(commands.names) <= most, commands.names


def test_keys_reads_the_range_of_its_prefix_without_values(store, mongodb, monkeypatch):
    asked = []
    find = pymongo.collection.Collection.find
    monkeypatch.setattr(
        pymongo.collection.Collection, "find", lambda *given, **named: asked.append(given[1:]) or find(*given, **named)
    )
    assert store.keys("te*") == ["text"]
    [(condition, fields)] = asked
    assert condition["_id"] == {"$gte": "state/keys/te", "$lt": "state/keys/tf"}
    assert fields == {"text": 0, "_h": 0, "_n": 0}


@pytest.mark.parametrize("size", [5_000_000, 13_000_000])
def test_large_values(store, size):
    for value in ("x" * size, "y" * size):
        store.set("large", value)
        assert store.get("large") == value
    assert store.get_many(["large", "number"]) == {"large": "y" * size, "number": 1}
    assert store.delete("large") is True
    assert store.get("large") is None


def test_numbers_that_the_server_counts_keep_their_type(store):
    store.set("number", 2**62 - 1)
    assert [store.incr("number") for _ in range(3)] == [2**62, 2**62 + 1, 2**62 + 2]
    assert store.incr("number", 2**64) == 2**62 + 2 + 2**64
    store.set("number", 1.0)
    assert type(store.get("number")) is float


def test_a_collation_is_refused(mongodb, monkeypatch):
    """Under some of them ``a`` and ``A`` are one key."""
    with mongodb.space() as options:
        from praisonai_persistence_mongodb import _driver

        listed = [{"name": "praison_state", "options": {"collation": {"locale": "en", "strength": 2}}}]
        monkeypatch.setattr(_driver, "_list", lambda collection: listed)  # the emulator does not tell of collations
        with MongoDBStateStore(**options) as store, pytest.raises(ConfigurationError, match="collation"):
            store.get("key")


@pytest.fixture
def conversations(mongodb, commands) -> Iterator[MongoDBConversationStore]:
    with (
        mongodb.space() as options,
        MongoDBConversationStore(**options, client_options={"event_listeners": [commands]}) as store,
    ):
        store.create_session(ConversationSession("session", user_id="ada"))
        store.add_message("session", ConversationMessage(content="first"))
        yield store


@pytest.mark.parametrize(
    ("method", "arguments", "most"),
    [
        ("add_message", ["session", ConversationMessage(content="second")], 5),
        ("add_messages", ["session", [ConversationMessage(content=str(number)) for number in range(1_000)]], 5),
        ("get_messages", ["session", 200], 2),
        ("count_messages", ["session"], 1),
        ("get_session", ["session"], 1),
        ("create_session", [ConversationSession("new")], 1),
        ("update_session", [ConversationSession("session")], 2),
        ("upsert_session", [ConversationSession("session")], 2),
        ("list_sessions", ["ada"], 1),
    ],
)
def test_a_call_of_a_conversation_makes_as_many_requests_as_the_readme_says(
    conversations, commands, method, arguments, most
):
    commands.names.clear()
    getattr(conversations, method)(*arguments)
    assert len(commands.names) <= most, commands.names


@pytest.mark.parametrize("size", [5_000_000, 13_000_000])
def test_large_messages(conversations, size):
    """Also in a batch; equal messages stay separate."""
    large = ["x" * size, "x" * size]
    conversations.add_messages("session", [ConversationMessage(content=text) for text in large])
    found = conversations.get_messages("session")
    assert [(message.seq, message.content) for message in found] == [(1, "first"), (2, large[0]), (3, large[1])]


def test_what_is_too_large_is_refused_before_the_write(conversations, commands):
    commands.names.clear()
    batch = [ConversationMessage(content="small"), ConversationMessage(content="x" * payload.MAX_BYTES)]
    with pytest.raises(SerializationError, match="at most 67108864"):
        conversations.add_messages("session", batch)
    assert commands.names == []


@pytest.fixture(params=["mongodb", "nx27017"])
def shared(request) -> Iterator[dict[str, str]]:
    """Where several stores meet."""
    with request.getfixturevalue(request.param).space() as options:
        yield options


@pytest.fixture
def with_transactions(nx27017, commands, monkeypatch):
    """Opens stores on NX-27017 as on a replica set.

    It has transactions, and says that it is a single server, which has none. Only one may be under way there: others
    see what it writes.
    """
    monkeypatch.setattr(_driver, "has_transactions", lambda client: True)
    with nx27017.space() as options:
        more = {"client_options": {"event_listeners": [commands]}}
        yield {"sync": lambda: MongoDBConversationStore(**options, **more), "options": {**options, **more}}


def test_only_replica_sets_and_sharded_clusters_have_transactions(mongodb, nx27017):
    for server in (mongodb, nx27017):
        with pymongo.MongoClient(server.url) as client:
            client.admin.command("ping")
            kind = next(iter(client.topology_description.server_descriptions().values())).server_type_name
            assert _driver.has_transactions(client) is (kind != "Standalone")


def test_an_append_is_one_transaction_where_there_are_some(with_transactions, commands):
    with with_transactions["sync"]() as store:
        store.create_session(ConversationSession("session"))
        for batch in (["a"], ["b", "c", "d"], [str(number) for number in range(900)]):
            commands.names.clear()
            store.add_messages("session", [ConversationMessage(content=content) for content in batch])
            assert commands.names == ["find", "find", "insert", "update", "commitTransaction"]
        assert [message.seq for message in store.get_messages("session")] == list(range(1, 905))
        commands.names.clear()
        store.add_messages("session", [ConversationMessage(content=str(number)) for number in range(1_500)])
        assert "commitTransaction" not in commands.names
        assert store.count_messages("session") == 2_404


def test_a_transaction_that_comes_late_is_called_off(with_transactions, commands):
    """Another append is written between what it has read and its writes: nothing of it is left, and it goes on."""
    with with_transactions["sync"]() as store, with_transactions["sync"]() as other:
        store.create_session(ConversationSession("session"))
        put, wrote = store._steps.engine.write_all, []

        def late(changes):
            if not wrote:
                wrote.append(other.add_message("session", ConversationMessage(id="other", content="first")))
            commands.names.clear()
            yield from put(changes)

        store._steps.engine.write_all = late
        added = store.add_messages("session", [ConversationMessage(id=item, content="x") for item in ("a", "b")])
        assert "abortTransaction" in commands.names
        assert [message.seq for message in added] == [2, 3]
        assert [message.id for message in other.get_messages("session")] == ["other", "a", "b"]
        assert other.add_messages("session", added) == added


def test_a_transaction_of_an_async_store(with_transactions, commands):
    async def main():
        async with AsyncMongoDBConversationStore(**with_transactions["options"]) as store:
            await store.create_session(ConversationSession("session"))
            commands.names.clear()
            await store.add_messages("session", [ConversationMessage(content=content) for content in "abc"])
            assert commands.names == ["find", "find", "insert", "update", "commitTransaction"]
            return [message.content for message in await store.get_messages("session")]

    assert asyncio.run(main()) == ["a", "b", "c"]


def test_a_writer_that_dies_in_a_transaction_leaves_nothing(with_transactions, commands):
    with with_transactions["sync"]() as store:
        store.create_session(ConversationSession("session"))

        class Ended(BaseException):
            pass

        def die(event):
            commands.names.append(event.command_name)
            if event.command_name == "update":
                raise Ended

        started = commands.started
        commands.started = die
        with pytest.raises(Ended):
            store.add_messages("session", [ConversationMessage(content=content) for content in "abc"])
        commands.started = started
        assert commands.names[-1] == "abortTransaction"
        assert store.get_messages("session") == []
        database = pymongo.MongoClient(with_transactions["options"]["url"])
        with database:
            names = [
                one["_id"].split("/")[1] for one in database.get_default_database()["praison_conversations"].find()
            ]
        assert names == ["sessions"]


class TestRaces(RaceTests):
    backend, state, conversation = "async_mongodb", MongoDBStateStore, MongoDBConversationStore

    @pytest.fixture
    def place(self, shared):
        return shared
