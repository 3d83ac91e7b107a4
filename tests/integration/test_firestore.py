"""Google Firestore against the conformance kit, and what the kit does not ask."""

from __future__ import annotations

from urllib.parse import urlsplit

import engines
import pytest
from writers import RaceTests, assert_large_texts_are_kept

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.errors import BackendError
from praisonai_persistence.testing import ConversationStoreSuite, Endpoint, StateStoreSuite, StoreSpec
from praisonai_persistence_firestore import FirestoreConversationStore, FirestoreStateStore
from praisonai_persistence_firestore._driver import FirestoreDriver

_PACKAGE = "praisonai_persistence_firestore"


class OnFirestore:
    """What both kinds have in common."""

    backend = "firestore"
    kind: str
    stores: dict[str, str]

    @pytest.fixture
    def spec(self, firestore):
        with firestore.space() as options:
            yield StoreSpec(self.kind, **self.stores, options=options)

    @pytest.fixture
    def unreachable_spec(self):
        at = f"127.0.0.1:{engines.free_port()}"
        options = {"url": "firestore://nowhere", "emulator_host": at, "connect_timeout": 1}
        return StoreSpec(self.kind, **self.stores, options=options)

    @pytest.fixture
    def server(self, firestore):
        return firestore

    @pytest.fixture
    def spec_through(self, spec):
        server = urlsplit(spec.options["emulator_host"])
        return Endpoint(
            server.hostname, server.port, lambda host, port: spec.with_options(emulator_host=f"{host}:{port}")
        )


@pytest.mark.quick_operations
class TestFirestoreState(OnFirestore, StateStoreSuite):
    kind = "state"
    stores = {"sync": f"{_PACKAGE}:FirestoreStateStore", "async_": f"{_PACKAGE}:AsyncFirestoreStateStore"}  # noqa: RUF012
    many = 1_100  # a page has 1,000
    overlapping = 10  # each batch is a transaction, and the emulator repeats those that meet


class TestFirestoreConversations(OnFirestore, ConversationStoreSuite):
    kind = "conversation"
    stores = {  # noqa: RUF012
        "sync": f"{_PACKAGE}:FirestoreConversationStore",
        "async_": f"{_PACKAGE}:AsyncFirestoreConversationStore",
    }


@pytest.fixture
def options(firestore):
    with firestore.space() as options:
        yield options


@pytest.fixture
def requests_of(monkeypatch):
    """Returns how many requests a call makes: each that the driver is given is one of the service's."""
    made = []
    perform = FirestoreDriver.perform
    monkeypatch.setattr(FirestoreDriver, "perform", lambda *given: made.append(1) or perform(*given))

    def count(call):
        made.clear()
        call()
        return len(made)

    return count


def test_requests_of_each_call(requests_of, options):
    """The table in the README."""
    with FirestoreStateStore(**options) as store:
        store.set("ready", 1, ttl=1000)  # connects, and sweeps
        assert requests_of(lambda: store.set("a", 1)) == 2
        for read in (store.get, store.exists, store.ttl):
            assert requests_of(lambda read=read: read("a")) == 1
        assert requests_of(lambda: store.compare_and_set("a", 2, 4)) == 1
        assert requests_of(lambda: store.set_if_absent("a", 1)) == 1
        for write in (
            lambda: store.set("a", 1),
            lambda: store.incr("a"),
            lambda: store.expire("a", 50),
            lambda: store.compare_and_set("a", 2, 4),
            lambda: store.delete("a"),
        ):
            store.set("a", 2)
            store._steps._known.clear()  # what it has neither read nor written yet
            assert requests_of(write) == 2
            store.set("a", 2)
            assert requests_of(write) == 1
        assert requests_of(lambda: store.hset("h", "f", 1)) == 2
        assert requests_of(lambda: store.hget("h", "f")) == requests_of(lambda: store.hgetall("h")) == 1
        assert requests_of(lambda: store.hset("h", "g", 1)) == requests_of(lambda: store.hdel("h", "f")) == 1
        store.set("a", 1)
        with FirestoreStateStore(**options) as other:
            other.set("a", 2)
        assert requests_of(lambda: store.set("a", 3)) == 3  # its document has moved
        store.set("long", "x" * 9_000)
        assert requests_of(lambda: store.set("long", "x" * 9_000)) == 2  # such a text is not remembered
        few = {f"k{number}": number for number in range(10)}
        assert requests_of(lambda: store.set_many(few)) == 2
        assert requests_of(lambda: store.get_many(list(few))) == 1
        assert requests_of(lambda: store.keys("k*")) == 1
        assert requests_of(lambda: store.delete_many(list(few))) == 2
        more = {f"k{number}": number for number in range(300)}
        assert requests_of(lambda: store.set_many(more)) == 2 * 3 + 2
        assert requests_of(lambda: store.get_many(list(more))) == 2
        assert requests_of(lambda: store.delete_many(list(more))) == 2 * 3 + 2
        store.set("large", "x" * 2_000_000)
        assert requests_of(lambda: store.get("large")) == 2
        assert requests_of(lambda: store.set("large", "y" * 2_000_000)) <= 2 + 3 + 2 + 2 + 3


def test_requests_of_each_call_about_conversations(requests_of, options):
    with FirestoreConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        assert requests_of(lambda: store.add_message("s", ConversationMessage(content="x"))) == 3
        some = [ConversationMessage(content=str(number)) for number in range(4)]
        assert requests_of(lambda: store.add_messages("s", some)) == 3
        assert requests_of(lambda: store.get_session("s")) == requests_of(lambda: store.count_messages("s")) == 1
        assert requests_of(lambda: store.get_messages("s", limit=3)) == 2


def test_large_values_and_messages(options):
    text = "é0123456789" * 500_000
    with FirestoreStateStore(**options) as state, FirestoreConversationStore(**options) as conversations:
        assert_large_texts_are_kept(state, conversations, text)


def test_documents_of_others_are_refused(firestore, options):
    project = options["url"].partition("//")[2]
    with FirestoreStateStore(**options) as store:
        store.set("a", 1)
        path = f"/v1/projects/{project}/databases/(default)/documents/praisonai_state/k.praison_state.keys.b"
        firestore.execute(f"PATCH {path}", {"fields": {"other": {"stringValue": "x"}}})
        with pytest.raises(BackendError, match="not one of this store's"):
            store.get("b")
        assert store.get("a") == 1


def test_documents_say_when_the_service_may_delete_them(firestore, options):
    project = options["url"].partition("//")[2]
    with FirestoreStateStore(**options) as store:
        store.set("a/é", 1, ttl=3600)
    path = f"/v1/projects/{project}/databases/(default)/documents/praisonai_state/k.praison_state.keys.a=2f=c3=a9"
    fields = firestore.execute(f"GET {path}")[0][0]["fields"]
    assert fields["expires"]["timestampValue"] > "20"
    assert fields["fields"]["mapValue"]["fields"]["key"]["stringValue"] == "a/é"


class TestRaces(RaceTests):
    backend, state, conversation = "async_firestore", FirestoreStateStore, FirestoreConversationStore

    @pytest.fixture
    def place(self, options):
        return options
