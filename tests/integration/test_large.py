"""Values and messages that are larger than a document of the engine."""

from __future__ import annotations

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, create_conversation_store, payload
from praisonai_persistence import create_state_store as create
from praisonai_persistence.errors import SerializationError
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import document_engine

FIVE = "0123456789é" * 450_000
ENGINES = {"mongodb": 13_000_000, "dynamodb": 5_000_000, "firestore": 5_000_000}
"""By name, and of how many bytes is split there."""


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture
def state(engine, request):
    with request.getfixturevalue(engine).space() as options, create(engine, **options) as store:
        store.set("ready", 1, ttl=1000)
        yield store


@pytest.fixture
def conversations(engine, request):
    with request.getfixturevalue(engine).space() as options, create_conversation_store(engine, **options) as store:
        store.create_session(ConversationSession("s"))
        yield store


def parts_of(store):
    """Return the keys of all parts, and of all notes about them."""
    documents = store._steps.documents

    @reads
    def listed():
        found = []
        for name in ("parts", "notes"):
            folder = documents.folder(name)
            if name == "notes" or not hasattr(documents.engine, "key_of"):
                found += yield from documents.engine.peek(folder, folder, documents.engine.max_batch)
        return [key for key, _ in found]

    return store._runner.run(listed)


def messages(*contents):
    return [ConversationMessage(content=content) for content in contents]


def test_values_of_five_megabytes(state):
    state.set_many({"a": FIVE, "b": 1})
    assert state.get_many(["a", "b"]) == {"a": FIVE, "b": 1}
    assert state.compare_and_set("a", FIVE, {"text": FIVE}) is True
    assert state.get("a") == {"text": FIVE}
    state.hset("h", "f", FIVE)
    state.hset("h", "g", 1)
    assert state.hgetall("h") == {"f": FIVE, "g": 1}
    assert state.delete_many(["a", "h"]) == 2


def test_messages_of_five_megabytes(conversations):
    """Equal ones stay separate."""
    conversations.add_messages("s", messages(FIVE, "small", FIVE))
    conversations.add_message("s", messages(FIVE)[0])
    found = conversations.get_messages("s")
    assert [(message.seq, message.content) for message in found] == [(1, FIVE), (2, "small"), (3, FIVE), (4, FIVE)]
    assert len({message.id for message in found}) == 4
    assert conversations.get_messages("s", limit=1)[0].content == FIVE
    assert conversations.add_messages("s", found[2:]) == found[2:]


def test_what_is_too_large_is_refused_before_anything_is_written(conversations, state):
    too_large = "x" * payload.MAX_BYTES
    with pytest.raises(SerializationError):
        conversations.add_messages("s", messages("small", too_large))
    assert conversations.get_messages("s") == []
    for write in (lambda: state.set("a", too_large), lambda: state.set_many({"a": too_large, "b": 1})):
        with pytest.raises(SerializationError):
            write()
    assert state.get_many(["a", "b"]) == {}
    assert parts_of(state) == parts_of(conversations) == []


class Died(BaseException):
    """Stands for the end of a process."""


@pytest.fixture
def dying(monkeypatch):
    """Lets a store die before the document is written that names the parts."""

    def prepare(store):
        engine = store._steps.engine
        put = engine.put

        def before(key, document, version):
            if "/parts/" not in key and "/notes/" not in key:
                raise Died
            return (yield from put(key, document, version))

        def at_once(changes):
            raise Died
            yield

        monkeypatch.setattr(engine, "put", before)
        monkeypatch.setattr(engine, "write_all", at_once)

        def later():
            """An hour."""
            monkeypatch.undo()
            monkeypatch.setattr(document_engine, "GRACE", -1.0)
            store._steps.documents._next_sweep = 0.0

        return later

    return prepare


def test_parts_of_a_value_that_nobody_names_are_swept(state, engine, dying):
    later = dying(state)
    with pytest.raises(Died):
        state.set("large", "x" * ENGINES[engine])
    assert state.get("large") is None
    assert parts_of(state) != []
    later()
    state.set("other", 1, ttl=100)
    assert parts_of(state) == []


def test_parts_of_a_message_that_nobody_names_are_swept(conversations, engine, dying):
    conversations.create_session(ConversationSession("other"))
    later = dying(conversations)
    with pytest.raises(Died):
        conversations.add_message("s", messages("x" * ENGINES[engine])[0])
    assert conversations.get_messages("s") == []
    assert parts_of(conversations) != []
    later()
    conversations.delete_session("other")
    assert [key for key in parts_of(conversations) if "/parts/" in key] == []
    assert conversations.count_messages("s") == 0
