"""What the bases for engines of versioned documents cost, what they leave behind, and batches of keys in any order."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from cas_engine import (
    BareEngine,
    BatchEngine,
    Client,
    Engine,
    FileConversations,
    FileState,
    MemoryConversations,
    MemoryState,
    TransactionEngine,
    named,
    perform,
)

from praisonai_persistence import ConversationMessage as Message
from praisonai_persistence import ConversationSession as Session
from praisonai_persistence.errors import BackendError, WrongTypeError
from praisonai_persistence.payload import MessageRow, SessionRow
from praisonai_persistence.steps import Pause, run
from praisonai_persistence.stores import (
    DocumentConversationSteps,
    DocumentStateSteps,
    MovedError,
    _document_keys,
    document_engine,
)
from praisonai_persistence.stores.conversation import Selection
from praisonai_persistence.stores.document_engine import Attempts, Documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Costs:
    """Counts the requests of a call."""

    def __init__(self, name: str) -> None:
        self.client = named(name)

    def __call__(self, call: Callable[[], Any]) -> int:
        before = self.client.requests.total()
        call()
        return self.client.requests.total() - before


@pytest.fixture
def costs(request: pytest.FixtureRequest) -> Costs:
    return Costs(request.node.name)


@pytest.fixture
def conversations(request: pytest.FixtureRequest) -> Iterator[MemoryConversations]:
    with MemoryConversations(request.node.name) as store:
        yield store


@pytest.fixture
def state(request: pytest.FixtureRequest) -> Iterator[MemoryState]:
    with MemoryState(request.node.name) as store:
        store.set("first", 1, ttl=1000)  # the first of some writes also looks at what may be swept
        yield store


# --------------------------------------------------------------------------------------------------------------- costs


def test_requests_of_conversations(conversations: MemoryConversations, costs: Costs) -> None:
    store = conversations
    assert costs(lambda: store.create_session(Session("s"))) == 1
    assert costs(lambda: store.upsert_session(Session("t"))) == 2
    assert costs(lambda: store.upsert_session(Session("s"))) == 2
    assert costs(lambda: store.update_session(Session("s"))) == 2
    assert costs(lambda: store.get_session("s")) == 1
    for number in range(3):
        message = Message(id=f"{number}")
        assert costs(lambda message=message: store.add_message("s", message)) == 5
    assert costs(lambda: store.add_message("s", Message(id="1"))) == 3  # once more
    batch = [Message(id=f"batch-{number}") for number in range(10)]
    assert costs(lambda: store.add_messages("s", batch)) == 3 + 2 * 10
    assert costs(lambda: store.count_messages("s")) == 1
    assert costs(lambda: store.get_messages("s")) == 2
    assert costs(lambda: store.list_sessions()) == 1
    assert costs(lambda: store.get_messages("unknown")) == 1


def test_the_latest_messages_cost_the_same_in_a_long_session(conversations: MemoryConversations, costs: Costs) -> None:
    conversations.create_session(Session("s"))
    for number in range(1_500):
        conversations.add_message("s", Message(id=str(number), content=str(number)))
    found: list[Message] = []
    assert costs(lambda: found.extend(conversations.get_messages("s", limit=20))) == 2
    assert [message.id for message in found] == [str(number) for number in range(1_480, 1_500)]
    assert costs(lambda: conversations.get_messages("s", limit=20, before_seq=300)) <= 4
    assert costs(lambda: conversations.add_message("s", Message())) == 5


def test_a_cursor_into_batches_is_found_by_halves(conversations: MemoryConversations, costs: Costs) -> None:
    conversations.create_session(Session("s"))
    for batch in range(64):
        conversations.add_messages("s", [Message(id=f"{batch}-{part}") for part in range(3)])
    found: list[Message] = []
    assert costs(lambda: found.extend(conversations.get_messages("s", limit=2, before_seq=50))) <= 10
    assert [message.seq for message in found] == [48, 49]


def test_bytes_of_a_message(conversations: MemoryConversations, costs: Costs) -> None:
    conversations.create_session(Session("s", state={"much": "x" * 100_000}))
    for number in range(3):
        conversations.add_message("s", Message(id=f"{number}"))
    before = costs.client.written
    conversations.add_message("s", Message(id="more", content="y" * 1_000))
    assert costs.client.written - before - 1_000 < 1_300  # and not what the session holds


def test_requests_of_state(state: MemoryState, costs: Costs) -> None:
    assert costs(lambda: state.set("key", 1)) == 2
    assert costs(lambda: state.set("key", 1, ttl=100)) == 2
    assert costs(lambda: state.incr("key")) == 2
    assert costs(lambda: state.compare_and_set("key", 2, 3)) == 2
    assert costs(lambda: state.set_if_absent("other", 2)) == 2
    assert costs(lambda: state.hset("hash", "field", 2)) == 2
    assert costs(lambda: state.hdel("hash", "field")) == 2
    assert costs(lambda: state.expire("key", 100)) == 2
    for read in (lambda: state.get("key"), lambda: state.exists("key"), lambda: state.ttl("key")):
        assert costs(read) == 1
    assert costs(lambda: state.set_many(dict.fromkeys("abcde", 1))) == 3 * 5 + 2
    assert costs(lambda: state.get_many(list("abcde"))) == 5
    assert costs(lambda: state.keys()) == 1
    assert costs(lambda: state.delete_many(list("abcde"))) == 3 * 5 + 2
    assert costs(lambda: state.delete("key")) == 2


def test_requests_of_an_engine_with_batches(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(client: Any, request: Any) -> Any:
        asked.append(request[0])
        return perform(client, request)

    monkeypatch.setattr("cas_engine.perform", note)
    with FileConversations(str(tmp_path / "conversations.db")) as store:
        store.create_session(Session("s"))
        asked.clear()
        store.add_messages("s", [Message(id=str(number)) for number in range(200)])
        assert asked == ["read", "read_many", "put", "put_many", "put"]
    with FileState(str(tmp_path / "state.db")) as state:
        state.set("first", 1, ttl=1000)
        asked.clear()
        state.set_many({str(number): number for number in range(200)})
        assert asked == ["read_many", "put_many", "put", "put_many", "delete"]
        asked.clear()
        assert state.delete_many(map(str, range(200))) == 200
        assert asked == ["read_many", "put_many", "put", "delete_many", "delete"]
        long = "0123456789" * 500_000
        state.set("long", long)
        asked.clear()
        assert state.get("long") == long
        assert asked == ["read", "read_many", "read_many"]  # 4 MB at once


def test_requests_of_an_engine_with_transactions(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(client: Any, request: Any) -> Any:
        asked.append(request[0])
        return perform(client, request)

    monkeypatch.setattr("cas_engine.perform", note)
    with FileConversations(str(tmp_path / "conversations.db"), "transactions") as store:
        store.create_session(Session("s"))
        asked.clear()
        store.add_messages("s", [Message(id=str(number)) for number in range(20)])
        assert asked == ["read", "read_many", "write_all"]
    with FileState(str(tmp_path / "state.db"), "transactions") as state:
        state.set("first", 1, ttl=1000)
        asked.clear()
        state.set_many({str(number): number for number in range(20)})
        assert state.delete_many(map(str, range(5, 30))) == 15
        assert asked == ["read_many", "write_all"] * 2
        assert len(state.keys()) == 6


def test_a_key_that_was_seen_is_written_without_being_read(request: pytest.FixtureRequest) -> None:
    name = request.node.name
    costs = Costs(name)
    with MemoryState(name, engine="remembering") as state, MemoryState(name, engine="remembering") as other:
        state.set("first", 1, ttl=1000)
        assert costs(lambda: state.set("key", 1)) == 2
        for write in (
            lambda: state.set("key", 1),
            lambda: state.incr("key"),
            lambda: state.compare_and_set("key", 2, 3),
            lambda: state.expire("key", 100),
            lambda: state.delete("key"),
        ):
            assert costs(write) == 1
        other.set("key", 5)
        assert state.get("key") == 5
        assert costs(lambda: state.incr("key")) == 1
        assert costs(lambda: other.incr("key")) == 3  # its document has moved
        assert costs(lambda: other.incr("key")) == 2  # and may do so again
        assert costs(lambda: other.incr("key")) == 1
        assert state.get("key") == 9


def test_what_was_seen_decides_nothing(request: pytest.FixtureRequest) -> None:
    """Whatever another store has done meanwhile counts."""
    name = request.node.name
    with MemoryState(name, engine="remembering") as state, MemoryState(name, engine="remembering") as other:

        def seen(key: str, change: Callable[[], Any]) -> None:
            state.set(key, 1)
            change()

        seen("a", lambda: other.delete("a"))
        assert state.set_if_absent("a", 2) is True
        seen("b", lambda: other.set("b", 2))
        assert state.compare_and_set("b", 1, 3) is False
        seen("b", lambda: other.set("b", 2))
        assert state.compare_and_set("b", 2, 3) is True
        seen("c", lambda: other.delete("c"))
        assert (state.delete("c"), state.expire("c", 10), state.get("c")) == (False, False, None)
        seen("d", lambda: (other.delete("d"), other.hset("d", "field", 1)))
        for write in (lambda: state.set("d", 2), lambda: state.incr("d"), lambda: state.set_if_absent("d", 1)):
            with pytest.raises(WrongTypeError):
                write()
        state.hset("e", "field", 1)
        other.delete("e")
        other.set("e", 1)
        state.set("e", 2)
        state.hset("f", "field", 1)
        other.hset("f", "other", 2)
        assert state.hdel("f", "other") == 1
        seen("g", lambda: other.set_many({"g": 2, "h": 2}))
        assert (state.incr("g"), state.get_many(["e", "g"])) == (3, {"e": 2, "g": 3})
        state.set("h", 1, ttl=0.001)
        time.sleep(0.002)
        assert (state.delete("h"), state.incr("h"), state.ttl("h")) == (False, 1, None)


# ------------------------------------------------------------------------------------------------------- nothing stays


def test_a_deleted_session_leaves_a_note_alone(request: pytest.FixtureRequest) -> None:
    name = request.node.name
    with MemoryConversations(name, "bare") as store:
        store.create_session(Session("s", state={"long": "x" * 10_000}))
        store.add_messages("s", [Message(id=str(number), content="y" * 500) for number in range(20)])
        store.update_session(Session("s", state={"long": "z" * 10_000}))
        assert store.delete_messages("s", ["3", "4", "19"]) == 3
        store.fork_session("s", new_session_id="fork")
        assert store.delete_session("s")
        assert len(store.get_messages("fork")) == 17
        assert store.delete_session("fork")
    folders = {key.split("/")[1] for key in named(name).documents}
    assert folders == {"notes"}


def test_long_texts_leave_nothing(request: pytest.FixtureRequest) -> None:
    name = request.node.name
    with MemoryState(name, "bare") as state:
        for value in ("a" * 10_000, "\u00e9\U0001f600" * 3_000, 1, "b" * 9_000):
            state.set("key", value)
            assert state.get("key") == value
        state.set_many({"key": "c" * 5_000, "other": "d" * 5_000})
        assert state.get_many(["key", "other"]) == {"key": "c" * 5_000, "other": "d" * 5_000}
        state.hset("hash", "field", "e" * 5_000)
        assert state.clear() == 3
    assert named(name).documents == {}


def test_what_a_dead_process_left_is_swept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    client = named(request.node.name)
    monkeypatch.setattr(document_engine, "GRACE", -1.0)
    steps = DocumentStateSteps(BareEngine())
    # It dies between the parts of a text and the document that names them.
    writing = steps.set("key", json.dumps("x" * 10_000), None, 0.0)
    request_ = next(writing)
    while not (
        request_[0] == "put" and any("/parts/" in key for key in client.documents) and len(client.documents) > 4
    ):
        request_ = writing.send(perform(client, request_))
    writing.close()
    assert client.documents
    run(DocumentStateSteps(BareEngine()).sweep(0.0), lambda one: perform(client, one))
    assert client.documents == {}


def test_a_session_deleted_half_is_swept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    name = request.node.name
    client = named(name)
    with MemoryConversations(name) as store:
        store.create_session(Session("s"))
        store.add_messages("s", [Message(), Message()])
        deleting = store._steps.delete_session("s")
        asked = next(deleting)
        while asked[0] != "delete":
            asked = deleting.send(perform(client, asked))
        deleting.send(perform(client, asked))  # the head is deleted, and the process dies
        deleting.close()
        assert store.get_session("s") is None
        assert {key.split("/")[1] for key in client.documents} == {"entries", "ids", "notes"}
        monkeypatch.setattr(document_engine, "GRACE", -1.0)
    with MemoryConversations(name) as store:
        store.delete_session("another")
    assert client.documents == {}


@pytest.mark.parametrize("written", ["an entry", "a head"])
def test_parts_that_nobody_names_are_swept(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """The process dies between the parts and the document that names them; those of others stay."""
    name = request.node.name
    client = named(name)
    long = "x" * 300_000
    with MemoryConversations(name) as store:
        store.create_session(Session("s", state={"long": long}))
        store.add_message("s", Message(content=long))
        before = set(client.documents)
        assert not any("/notes/" in key for key in before)
        now = 1_000.0
        if written == "an entry":
            row = MessageRow("late", "user", long, None, None, None, now)
            writing: Any = store._steps.add_message("s", row, now)
        else:
            text = json.dumps({"other": long})
            session = SessionRow("s", None, None, None, text, None, now, now)
            writing = store._steps.update_session(session, None, now)
        asked = next(writing)
        while not (asked[0] == "put" and any("/parts/" in key for key in client.documents.keys() - before)):
            asked = writing.send(perform(client, asked))
        writing.close()
        left = {key.split("/")[1] for key in client.documents.keys() - before}
        assert left == {"notes", "parts"}
        store.add_message("s", Message(content=long))
        assert {key for key in client.documents if "/notes/" in key}  # it may be under way
        monkeypatch.setattr(document_engine, "GRACE", -1.0)
    with MemoryConversations(name) as store:
        store.add_message("s", Message(content=long))
        assert [message.content for message in store.get_messages("s")] == [long] * 3
        assert store.get_session("s").state == {"long": long}
        count = len([key for key in client.documents if "/parts/" in key])
        assert not any("/notes/" in key for key in client.documents)
        for message in store.get_messages("s"):
            store.delete_messages("s", [message.id])
        assert len([key for key in client.documents if "/parts/" in key]) < count
        assert store.delete_session("s")
        assert not any("/parts/" in key for key in client.documents)


class Forgetful(Engine):
    """Its first write in a folder succeeds, but is reported as if somebody else had been faster."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.told = False

    def put(self, key: str, document: Any, version: Any) -> Any:
        new = yield from super().put(key, document, version)
        if self.folder in key and not self.told:
            self.told = True
            raise MovedError(key)
        return new


@pytest.mark.parametrize("folder", ["/entries/", "/ids/", "/sessions/"])
def test_an_append_finds_what_it_has_written_itself(folder: str) -> None:
    client = Client()
    now = 1_000.0

    def do(operation: Any) -> Any:
        return run(operation, lambda one: None if isinstance(one, Pause) else perform(client, one))

    do(DocumentConversationSteps(Engine()).create_session(SessionRow("s", None, None, None, None, None, now, now)))
    engine = Forgetful(folder)
    rows = [MessageRow(item, "user", "", None, None, None, now) for item in "ab"]
    stored = do(DocumentConversationSteps(engine).add_messages("s", rows, now))
    assert engine.told
    assert [(message.id, message.seq) for message in stored] == [("a", 1), ("b", 2)]
    found = do(DocumentConversationSteps(Engine()).get_messages("s", Selection(None, None, None, None, None)))
    assert found == stored
    assert do(DocumentConversationSteps(Engine()).count_messages("s")) == 2


@pytest.mark.parametrize("folder", ["/keys/", "/batches/"])
def test_a_batch_finds_what_it_has_written_itself(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_document_keys, "UNDECIDED", 0.0)
    client = Client()

    def do(operation: Any) -> Any:
        return run(operation, lambda one: None if isinstance(one, Pause) else perform(client, one))

    engine = Forgetful(folder)
    do(DocumentStateSteps(engine).set_many({"a": "1", "b": "2"}, None, 0.0))
    assert engine.told
    assert do(DocumentStateSteps(Engine()).get_many(["a", "b"], 0.0)) == {"a": "1", "b": "2"}
    assert [key for key in client.documents if "/batches/" in key] == []


def test_a_batch_whose_writer_died_is_read_as_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """And as what it is to be, once that is written; whoever writes next waits for a while, then goes on."""
    monkeypatch.setattr(_document_keys, "UNDECIDED", 0.0)
    for died_after, expected in (("put /keys/", "1"), ("put /batches/", "2")):
        client = Client()

        def do(operation: Any, client: Client = client) -> Any:
            return run(operation, lambda one: None if isinstance(one, Pause) else perform(client, one))

        steps = DocumentStateSteps(Engine())
        do(steps.set_many({"a": "1", "b": "1"}, None, 0.0))
        batch = steps.set_many({"a": "2", "b": "2"}, None, 0.0)
        asked = next(batch)
        folder = died_after.split()[1]
        before = dict(client.documents)
        while not any(folder in key and before.get(key) != stored for key, stored in client.documents.items()):
            asked = batch.send(perform(client, asked))
        batch.close()
        assert do(steps.get_many(["a", "b"], 0.0)) == {"a": expected, "b": expected}
        assert do(steps.incr("a", 1, 0.0)) == int(expected) + 1
        assert do(steps.get("b", 0.0)) == expected
        assert do(steps.delete(["a", "b"], 0.0)) == 2
        assert do(steps.scan("", None, 0.0)) == ([], None)


def test_an_operation_does_not_try_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_engine, "PATIENCE", -1.0)
    with pytest.raises(BackendError, match="the key kept changing"):
        run(Attempts("the key").wait(), lambda request: None)


def test_waits_are_requests() -> None:
    waits: list[float] = []
    attempts = Attempts("the key")
    for _ in range(12):
        run(attempts.wait(), lambda request: waits.append(request.seconds))
    assert all(0 <= wait <= 0.1 for wait in waits)


# ---------------------------------------------------------------------------------------------------------------- keys


def test_ids_have_keys_of_their_own() -> None:
    documents = Documents(BareEngine(), "space")
    folder = documents.folder("keys")
    ids = ["a", "A", "=61", "a/b", "a=b", "../x", ".", "\u00e9", "e\u0301", "k" * 1024, "k" * 1023, "\U0001f600" * 255]
    ids += ["K" * 200, "k" * 200, "a ", "a_"]
    keys = [documents.encode(item, folder) for item in ids]
    assert len(set(keys)) == len(ids)
    allowed = BareEngine.key_characters | {"="}
    for item, key in zip(ids, keys, strict=True):
        assert len(key) <= BareEngine.max_key_bytes
        assert allowed.issuperset(key.removeprefix(folder))
        for length in range(len(item)):
            assert key.startswith(documents.encode_prefix(item[:length], folder))


# ----------------------------------------------------------------------------------------- batches in random schedules

KEYS = ["a", "b", "c"]


def schedule(seed: int, steps_class: type[DocumentStateSteps], engine: type[Engine] = Engine) -> None:
    """Let workers set and delete the same three keys as batches, one request at a time; some stop for ever."""
    chance = random.Random(seed)
    client = named(f"schedule-{seed}-{steps_class.__name__}")
    client.documents.clear()
    counted = crashed_counts = 0
    deleted: list[int] = []

    def operations(worker: int) -> Iterator[Any]:
        for turn in range(3):
            own = chance.sample(KEYS, 3)
            steps = steps_class(engine())
            choice = chance.random()
            if choice < 0.5:
                yield "set", steps.set_many(dict.fromkeys(own, f'"{worker}-{turn}"'), None, 0.0)
            elif choice < 0.7:
                yield "delete", steps.delete(own, 0.0)
            else:
                yield "incr", steps.incr("n", 1, 0.0)

    workers = []
    for worker in range(3):
        program = list(operations(worker))
        workers.append([program, None, None])
    limit = 5_000
    while workers:
        limit -= 1
        assert limit, "the workers do not come to an end"
        worker = chance.choice(workers)
        program, current, asked = worker
        try:
            if current is None:
                worker[1] = current = program.pop(0)
                worker[2] = next(current[1])
            elif chance.random() < 0.02:
                crashed_counts += current[0] == "incr"
                workers.remove(worker)
            else:
                worker[2] = current[1].send(None if isinstance(asked, Pause) else perform(client, asked))
        except StopIteration as stop:
            worker[1] = None
            counted += current[0] == "incr"
            if current[0] == "delete":
                deleted.append(stop.value)
            if not program:
                workers.remove(worker)

    def at_once(operation: Any) -> Any:
        return run(operation, lambda one: None if isinstance(one, Pause) else perform(client, one))

    assert {0, 3}.issuperset(deleted), f"batches of three: {deleted} of them were there"
    final = steps_class(engine())
    one_by_one = {text for key in KEYS if (text := at_once(final.get(key, 0.0))) is not None}
    found = at_once(final.get_many(KEYS, 0.0))
    assert set(found.values()) == one_by_one
    assert len(found) in {0, 3}, f"half a batch: {found}"
    assert len(one_by_one) <= 1, f"of two batches: {found}"
    number = int(at_once(final.get("n", 0.0)) or 0)
    assert counted <= number <= counted + crashed_counts
    assert at_once(final.delete([*KEYS, "n"], 0.0)) == len(found) + (number > 0)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of the dead are given up at once, so that a schedule takes no time."""
    monkeypatch.setattr(_document_keys, "UNDECIDED", 0.0005)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("engine", [Engine, BatchEngine, TransactionEngine])
def test_batches_are_all_or_none_in_any_order(engine: type[Engine]) -> None:
    for seed in range(1_500 if engine is Engine else 500):
        try:
            schedule(seed, DocumentStateSteps, engine)
        except Exception as error:
            raise AssertionError(f"in the schedule of seed {seed}") from error


class OneByOne(DocumentStateSteps):
    """Writes the keys of a batch one after the other."""

    def change_all(self, texts: Any, ends: float | None, now: float) -> Any:
        count = 0
        for key, text in texts.items():
            if text is None:
                count += yield from self.delete([key], now)
            else:
                yield from self.set(key, text, None, now)
        return count


class IgnoresBatches(DocumentStateSteps):
    """Takes a document that is in a batch for what it was before."""

    def _state_of(self, document: Any) -> Any:
        state, before = yield from super()._state_of({**document, "pending": "none"})
        return ("off" if state == "open" else state), before


class CommitsLate(DocumentStateSteps):
    """Writes into the documents before the batch itself is written."""

    def _mark(self, token: str, texts: Any, now: float, marked: Any) -> Any:
        count = yield from super()._mark(token, texts, now, marked)
        yield from self._fill(marked, texts, None)
        return count


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("mutant", [OneByOne, IgnoresBatches, CommitsLate])
def test_the_schedules_of_batches_find(mutant: type[DocumentStateSteps]) -> None:
    with pytest.raises(AssertionError):
        for seed in range(1_500):
            schedule(seed, mutant)
