"""Cassandra against the conformance kit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Queue
from urllib.parse import urlsplit

import cassandra as cassandra_driver
import pytest
from cassandra import InvalidRequest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import RoundRobinPolicy
from cassandra.protocol import ConfigurationException, ServerError
from lifecycles import Networked
from writers import assert_large_texts_are_kept

from praisonai_persistence import ConversationMessage, ConversationSession, open_knowledge_store, open_state_store
from praisonai_persistence.errors import (
    ConflictError,
    ConnectionFailedError,
    SchemaError,
    SessionExistsError,
    SessionNotFoundError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence.vectors import pack, score
from praisonai_persistence_cassandra import CassandraConversationStore, CassandraKnowledgeStore, CassandraStateStore
from praisonai_persistence_cassandra._driver import Ask, Asks, Batches, CassandraDriver, Each, _table_id
from praisonai_persistence_cassandra.engine import SPREAD, CassandraEngine


class OnCassandra(Networked):
    backend = "cassandra"
    kind: str

    def spec_with(self, options) -> StoreSpec:
        name = f"Cassandra{self.kind.capitalize()}Store"
        module = "praisonai_persistence_cassandra"
        return StoreSpec(self.kind, sync=f"{module}:{name}", async_=f"{module}:Async{name}", options=options)

    @pytest.fixture
    def spec(self, cassandra) -> Iterator[StoreSpec]:
        with cassandra.space() as options:
            yield self.spec_with(options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return self.spec_with({"url": "cassandra://127.0.0.1:9", "timeout": 2, "connect_timeout": 2})

    @pytest.fixture
    def server(self, cassandra):
        return cassandra


class TestCassandra(OnCassandra, KnowledgeStoreSuite):
    kind = "knowledge"

    @pytest.fixture
    def spec(self, cassandra, request) -> Iterator[StoreSpec]:
        # A keyspace of its own has what is about the first call, which makes it, and what chooses prefixes itself. To
        # drop the table of a collection takes longer than to make it: those of the other tests stay.
        own = request.node.name.startswith("test_l") or "prefix" in request.node.name
        with cassandra.space() if own else cassandra.prefix() as options:
            yield self.spec_with(options)


class OfDocuments(OnCassandra):
    """Conversations and state have a table of a kind, which the tests share: each has a prefix of its own."""

    @pytest.fixture
    def spec(self, cassandra) -> Iterator[StoreSpec]:
        with cassandra.prefix() as options:
            yield self.spec_with(options)


class TestCassandraConversations(OfDocuments, ConversationStoreSuite):
    kind = "conversation"


@pytest.mark.quick_operations
class TestCassandraState(OfDocuments, StateStoreSuite):
    kind = "state"
    many = 200  # pages have a test of their own
    at_once = 200
    overlapping = 3  # each mark is a transaction, and those of one partition wait for each other


def make(name, vector=(1.0, 2.0), content="", **metadata):
    return KnowledgeDocument(name, content, list(vector), metadata)


@pytest.fixture
def options(cassandra):
    with cassandra.space() as options:
        yield options


def test_conditional_and_other_writes_keep_their_order(options):
    """Cassandra lets the later stamp win, and clocks that stamp differently would lose what was acknowledged."""
    with CassandraKnowledgeStore(**options) as store:
        store.create_collection("docs", 2)
        for number in range(100):
            store.insert("docs", [make("a", content="inserted")])
            assert store.get("docs", ["a"])[0].content == "inserted"
            store.upsert("docs", [make("a", content=str(number))])
            assert store.get("docs", ["a"])[0].content == str(number)
            assert store.delete("docs", ["a"]) == 1
            assert store.get("docs", ["a"]) == []


def test_racing_deletes_count_a_document_once(options):
    with CassandraKnowledgeStore(**options) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(number)) for number in range(50)])
        with ThreadPoolExecutor(4) as pool:
            counts = pool.map(lambda _: store.delete("docs", [str(number) for number in range(50)]), range(4))
            assert sum(counts) == 50


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_collections_with_an_index_of_vectors(options, distance):
    draw = random.Random(7)
    vectors = [[draw.gauss(0, 1) for _ in range(8)] for _ in range(1_300)]
    documents = [make(str(number), vector, part=number % 2) for number, vector in enumerate(vectors)]
    with CassandraKnowledgeStore(**options, vector_index=True) as store:
        store.create_collection("docs", 8, distance)
        for start in range(0, len(documents), 650):
            store.upsert("docs", documents[start : start + 650])
        query = [draw.gauss(0, 1) for _ in range(8)]
        best = sorted(range(len(vectors)), key=lambda number: -score(distance, query, pack(vectors[number])))
        found = store.search("docs", query, limit=10)  # beyond 1,000: by the index
        assert len({item.id for item in found} & {str(number) for number in best[:10]}) >= 8
        # 650 documents match: every vector is compared.
        odd = [str(number) for number in best if number % 2][:10]
        assert [item.id for item in store.search("docs", query, limit=10, filters={"part": 1})] == odd
        assert [item.id for item in store.search("docs", query, limit=10, filters={"part": {"$gt": 0}})] == odd
        assert len(store.search("docs", query, limit=1_200)) == 1_200
        assert store.delete("docs", [str(number) for number in range(400)]) == 400
        left = [str(number) for number in best if number >= 400][:10]
        assert [item.id for item in store.search("docs", query, limit=10)] == left
        store.insert("docs", [make("zero", [0.0] * 8)])
        assert store.get("docs", ["zero"])[0].embedding == [0.0] * 8


def test_calls_take_the_requests_that_the_readme_says(options, monkeypatch):
    taken = []
    perform = CassandraDriver.perform

    def counted(driver, on, request):
        taken.append(len(request.rows) if isinstance(request, Each) else 1)
        return perform(driver, on, request)

    monkeypatch.setattr(CassandraDriver, "perform", counted)
    with CassandraKnowledgeStore(**options) as store:
        store.list_collections()

        def requests(work):
            taken.clear()
            work()
            return sum(taken)

        assert requests(lambda: store.create_collection("docs", 2)) == 5
        documents = [make(f"{number:03}", [1.0, number], part=number % 2) for number in range(600)]
        assert requests(lambda: store.upsert("docs", documents)) == 600 + 1  # and the collection is looked up
        assert requests(lambda: store.insert("docs", [make("a"), make("b")])) == 1 + 2
        assert requests(lambda: store.get("docs", ["a", "b"])) == 1
        assert requests(lambda: store.count("docs")) == 1
        assert requests(lambda: store.count("docs", {"part": 1})) == 1
        assert requests(lambda: store.search("docs", [1.0, 0.0], 10, {"part": 1})) == 1 + 1
        assert requests(lambda: store.search("docs", [1.0, 0.0], 10)) == 1 + 1
        assert requests(lambda: store.delete("docs", ["a", "b", "none"])) == 1 + 2
        assert requests(lambda: store.delete("docs", filters={"part": 1})) == 1 + 300
        assert requests(lambda: store.delete_collection("docs")) == 3


@pytest.mark.parametrize(
    ("error", "says"),
    [
        # Of Cassandra 4, which does not know storage-attached indexes.
        (ConfigurationException(0, "Unable to find custom indexer class 'StorageAttachedIndex'", {}), "Cassandra 5.0"),
        # Of a server that was told not to make indexes for this account.
        (
            InvalidRequest("Guardrail secondary_indexes violated: Creating secondary indexes is not allowed"),
            "guardrail",
        ),
    ],
)
def test_a_server_that_makes_no_such_index(cassandra, options, monkeypatch, error, says):
    """The table that was made for the collection does not stay."""
    keyspace, perform = urlsplit(options["url"]).path[1:], CassandraDriver._performed

    def refusing(driver, on, request):
        if isinstance(request, Ask) and request.cql.startswith("CREATE CUSTOM INDEX"):
            raise error
        return perform(driver, on, request)

    monkeypatch.setattr(CassandraDriver, "_performed", refusing)
    with CassandraKnowledgeStore(**options) as store:
        with pytest.raises(UnsupportedOperationError, match=says):
            store.create_collection("docs", 2)
        assert store.list_collections() == []
    tables = cassandra.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", keyspace)
    assert tables == [("praisonai_collections",)]


def test_a_collection_of_somebody_elses_table_is_refused(cassandra, options):
    keyspace = urlsplit(options["url"]).path[1:]
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cassandra.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    cassandra.execute(f"CREATE TABLE {keyspace}.praisonai_collections (id int PRIMARY KEY)")
    with CassandraKnowledgeStore(**options) as store, pytest.raises(SchemaError, match="keyspace"):
        store.list_collections()


def test_the_tables_of_a_keyspace_have_the_ids_that_every_process_gives_them(cassandra):
    with cassandra.space() as options:
        name = urlsplit(options["url"]).path[1:]

        def use(number: int) -> None:
            with CassandraStateStore(**options) as state, CassandraKnowledgeStore(**options) as knowledge:
                state.set(f"k{number}", number)
                assert knowledge.list_collections() == []

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(use, range(4)))
        query = "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = %s"
        tables = ("praisonai_collections", "praisonai_state")
        assert dict(cassandra.execute(query, name)) == {table: _table_id(name, table) for table in tables}
        with CassandraStateStore(**options) as state:
            assert sorted(state.keys()) == ["k0", "k1", "k2", "k3"]


def test_a_store_that_must_exist_makes_nothing(cassandra, options):
    keyspace = urlsplit(options["url"]).path[1:]
    with open_knowledge_store(options["url"], must_exist=True) as store, pytest.raises(StoreNotFoundError):
        store.list_collections()
    assert cassandra.tables(keyspace) == []


def test_calls_on_the_clients_own_thread_are_refused(options):
    """Python may run a ``__del__`` there, and a call would wait for an answer that only this thread could bring."""
    address = urlsplit(options["url"])
    arrived: Queue[object] = Queue()
    with CassandraKnowledgeStore(**options) as store:
        store.create_collection("docs", 2)

        def call(_) -> None:
            try:
                arrived.put(store.count("docs"))
            except Exception as error:
                arrived.put(error)

        profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy())
        with Cluster(
            [address.hostname],
            port=address.port,
            protocol_version=5,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        ) as cluster:
            query = "SELECT release_version FROM system.local"
            cluster.connect().execute_async(query).add_callback(call)
            assert isinstance(arrived.get(timeout=30), UnsupportedOperationError)
        assert store.count("docs") == 0


@pytest.fixture
def shared(cassandra):
    """Options of a store with a prefix of its own, in a keyspace that tests share."""
    with cassandra.prefix() as options:
        yield options


@pytest.fixture
def requests_of(monkeypatch):
    """Returns the requests that a call makes, by class and how many of them at once."""
    made = []
    perform = CassandraDriver.perform

    def counted(driver, on, request):
        made.append((type(request).__name__, len(request[0]) if isinstance(request, (Asks, Batches)) else 1))
        return perform(driver, on, request)

    monkeypatch.setattr(CassandraDriver, "perform", counted)

    def requests(call):
        made.clear()
        call()
        return made[:]

    return requests


ASK, WRITE = ("Ask", 1), ("Batches", 1)


def test_requests_of_calls_on_state(shared, requests_of):
    with CassandraStateStore(**shared) as store:
        store.set("a", 1, ttl=1000)  # connects, and sweeps
        for read in (store.get, store.exists, store.ttl):
            assert requests_of(lambda read=read: read("a")) == [ASK]
        assert requests_of(lambda: store.set("a", 1)) == [ASK, WRITE]
        assert requests_of(lambda: store.incr("a")) == [ASK, WRITE]
        assert requests_of(lambda: store.set_if_absent("a", 1)) == [ASK]
        assert requests_of(lambda: store.keys("a*")) == [("Asks", SPREAD)]
        assert requests_of(lambda: store.delete("a")) == [ASK, WRITE]
        some = {str(number): number for number in range(100)}
        taken = requests_of(lambda: store.set_many(some))
        assert taken == [("Asks", SPREAD), ("Batches", SPREAD), WRITE, ("Batches", SPREAD), WRITE]
        assert requests_of(lambda: store.get_many(list(some))) == [("Asks", SPREAD)]


def test_requests_of_calls_on_conversations(shared, requests_of):
    with CassandraConversationStore(**shared) as store:
        store.create_session(ConversationSession("s", user_id="ann"))
        assert requests_of(lambda: store.add_message("s", ConversationMessage(content="x"))) == [ASK, ASK, WRITE]
        some = [ConversationMessage(content=str(number)) for number in range(40)]
        assert requests_of(lambda: store.add_messages("s", some)) == [ASK, ("Asks", 1), WRITE]
        assert requests_of(lambda: store.get_messages("s", limit=3)) == [ASK, ("Asks", 1)]
        assert requests_of(lambda: store.count_messages("s")) == [ASK]
        for number in range(20):
            store.create_session(ConversationSession(str(number), user_id="bob"))
        # Of another user's sessions nothing is read.
        assert requests_of(lambda: store.list_sessions(user_id="ann")) == [("Asks", 1), ASK]
        assert len(store.list_sessions()) == 21


def test_sessions_of_a_user_follow_changes(shared):
    with CassandraConversationStore(**shared) as store:
        store.create_session(ConversationSession("s", user_id="ann"))
        store.update_session(ConversationSession("s", user_id="bob"))
        assert store.list_sessions(user_id="ann") == []
        assert [session.session_id for session in store.list_sessions(user_id="bob")] == ["s"]
        store.update_session(ConversationSession("s", user_id="ann"))
        session = store.get_session("s")
        store.rewrite_session(session, [ConversationMessage(content="new")], expected_version=session.version)
        assert [session.session_id for session in store.list_sessions(user_id="ann")] == ["s"]
        store.delete_session("s")
        store.create_session(ConversationSession("s", user_id="ann"))
        assert [session.session_id for session in store.list_sessions(user_id="ann")] == ["s"]
        assert len(store.list_sessions()) == 1


def test_a_session_is_a_partition(cassandra, shared):
    with CassandraConversationStore(**shared) as store:
        store.create_session(ConversationSession("s"))
        for number in range(5):
            store.add_message("s", ConversationMessage(content=str(number)))
        table = f"{urlsplit(shared['url']).path[1:]}.praisonai_conversation"
        rows = [part for (part,) in cassandra.execute(f"SELECT part FROM {table}") if shared["table_prefix"] in part]
        assert max(map(rows.count, rows)) == 1 + 2 * 5  # the head, an entry and its id for each
        store.delete_session("s")
        rows = [part for (part,) in cassandra.execute(f"SELECT part FROM {table}") if shared["table_prefix"] in part]
        assert ["/notes/" in part for part in rows] == [True]  # for an append that may be late


def test_the_server_deletes_what_has_expired(cassandra, shared):
    with CassandraStateStore(**shared) as store:
        store.set("a", 1, ttl=3600)
        store.set("b", 1, ttl=3600)
        store.expire("b", 7200)
        store.set("c", 1, ttl=3600)
        store.set("c", 1)
        table = f"{urlsplit(shared['url']).path[1:]}.praisonai_state"
        rows = cassandra.execute(f"SELECT part, key, TTL(text), TTL(v) FROM {table}")
        left = {key: times for part, key, *times in rows if shared["table_prefix"] in part}
        assert 3500 < min(left["keys/a"]) <= 3600 < 7100 < min(left["keys/b"]) <= 7200
        assert left["keys/c"] == [None, None]


def test_a_write_whose_answer_was_lost_counts_once(shared, monkeypatch):
    """The server's answer is lost, after the work was done, or before it was begun."""
    perform = CassandraDriver.perform
    lose: list[bool] = []

    def losing(driver, on, request):
        if isinstance(request, Batches) and lose:
            if lose.pop():
                perform(driver, on, request)
            raise cassandra_driver.WriteTimeout("lost", write_type=cassandra_driver.WriteType.CAS)
        return perform(driver, on, request)

    monkeypatch.setattr(CassandraDriver, "perform", losing)
    with CassandraStateStore(**shared) as state, CassandraConversationStore(**shared) as conversations:
        state.set("n", 0)
        conversations.create_session(ConversationSession("s"))
        for turn, done in enumerate([True, False, True], 1):
            lose.append(done)
            assert state.incr("n") == turn
            lose.append(done)
            assert conversations.add_message("s", ConversationMessage(content="x")).seq == turn
            lose.append(done)
            state.set_many({"a": turn, "b": turn})
            assert state.get_many(["a", "b"]) == {"a": turn, "b": turn}
            lose.append(done)
            assert state.delete("a")
            assert not lose
        assert conversations.count_messages("s") == 3


def test_a_lost_write_that_others_overtook(shared, monkeypatch):
    """It is found among the last versions; where these are gone, the error says that the outcome is not known."""
    perform = CassandraDriver.perform
    overtake: list[Callable[[], object]] = []

    def losing(driver, on, request):
        if isinstance(request, Batches) and overtake:
            perform(driver, on, request)
            overtake.pop()()
            raise cassandra_driver.WriteTimeout("lost", write_type=cassandra_driver.WriteType.CAS)
        return perform(driver, on, request)

    monkeypatch.setattr(CassandraDriver, "perform", losing)
    with CassandraStateStore(**shared) as state, CassandraStateStore(**shared) as other:
        state.set("n", 0)
        overtake.append(lambda: [other.incr("n") for _ in range(10)])
        assert state.incr("n") == 1
        assert state.get("n") == 11
        overtake.append(lambda: (other.delete("n"), other.set("n", 5)))
        with pytest.raises(ConnectionFailedError, match="look before you repeat it"):
            state.incr("n")
        assert state.get("n") == 5


@pytest.fixture
def give_up(monkeypatch):
    """Returns a list: while there is something in it, the server gives up where it fits, after the work or before."""
    perform = CassandraDriver._performed
    left: list[tuple[Callable[[object], bool], bool]] = []

    def giving_up(driver, on, request):
        for at, (fits, done) in enumerate(left):
            if fits(request):
                del left[at]
                if done:
                    perform(driver, on, request)
                raise ServerError(0, "given up", {})
        return perform(driver, on, request)

    monkeypatch.setattr(CassandraDriver, "_performed", giving_up)
    return left


def begins(words):
    return lambda request: isinstance(request, Ask) and request.cql.startswith(words) and " IF " in request.cql


def test_a_collection_whose_answer_was_lost(cassandra, options, give_up):
    """Its table is not removed if it was registered; a removal that was done goes on."""
    keyspace = urlsplit(options["url"]).path[1:]
    with CassandraKnowledgeStore(**options) as store:
        store.list_collections()
        give_up.append((begins("INSERT"), True))
        store.create_collection("docs", 2)
        store.insert("docs", [make("a")])
        give_up.append((begins("DELETE"), False))
        with pytest.raises(ConnectionFailedError, match="what became of a write"):
            store.delete_collection("docs")
        assert store.count("docs") == 1
        give_up.append((begins("DELETE"), True))
        store.delete_collection("docs")
        assert not give_up
        assert store.list_collections() == []
    tables = f"SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'"
    assert [name for (name,) in cassandra.execute(tables)] == ["praisonai_collections"]


def test_a_document_that_the_server_gave_up(shared, give_up):
    with CassandraStateStore(**shared) as store:
        store.set("n", 0)
        for turn, done in enumerate([True, False], 1):
            give_up.append((lambda request: isinstance(request, Batches), done))
            assert store.incr("n") == turn
        reads = iter([False, True])  # the value is read, then whether it was written
        give_up.append((lambda request: isinstance(request, Batches), True))
        give_up.append((lambda request: isinstance(request, Ask) and next(reads), False))
        with pytest.raises(ConnectionFailedError, match="look before you repeat it"):
            store.incr("n")
        assert not give_up
        assert store.get("n") == 3


UPDATED = ConversationSession("s", user_id="bob")


@pytest.mark.parametrize(
    ("call", "meanwhile", "left"),
    [
        (lambda store: store.update_session(UPDATED), lambda store: store.delete_session("s"), 0),
        # The row of the user who had the session before.
        (lambda store: store.delete_session("s"), lambda store: store.update_session(UPDATED), 1),
    ],
    ids=["update", "delete"],
)
def test_a_change_that_meets_a_deletion_leaves_no_rows_in_lists(cassandra, shared, monkeypatch, call, meanwhile, left):
    table = f"{urlsplit(shared['url']).path[1:]}.praisonai_conversation"
    perform = CassandraDriver._performed
    others = [meanwhile]

    def overtaken(driver, on, request):
        if isinstance(request, Batches) and others:
            others.pop()(other)
        return perform(driver, on, request)

    with CassandraConversationStore(**shared) as store, CassandraConversationStore(**shared) as other:
        store.create_session(ConversationSession("s", user_id="ann"))
        monkeypatch.setattr(CassandraDriver, "_performed", overtaken)
        with suppress(SessionNotFoundError):
            call(store)
        assert not others
        assert store.get_session("s") is None
    found = cassandra.execute(f"SELECT part, key FROM {table}")
    rows = [key for part, key in found if shared["table_prefix"] in part and "/notes/" not in part]
    assert len(rows) == left


def test_sessions_that_were_refused_leave_nothing(cassandra, shared, monkeypatch):
    table = f"{urlsplit(shared['url']).path[1:]}.praisonai_conversation"

    def rows():
        found = cassandra.execute(f"SELECT part, key FROM {table}")
        return sorted(key for part, key in found if shared["table_prefix"] in part and "/notes/" not in part)

    with CassandraConversationStore(**shared) as store, CassandraConversationStore(**shared) as other:
        store.create_session(ConversationSession("s", user_id="ann"))
        before = rows()
        assert len(before) == 3
        with pytest.raises(SessionExistsError):
            store.create_session(ConversationSession("s", user_id="bob"))
        assert rows() == before

        session = store.get_session("s")
        perform = CassandraDriver._performed
        meanwhile = [lambda: other.update_session(ConversationSession("s", user_id="ann"))]

        def overtaken(driver, on, request):
            if isinstance(request, Batches) and meanwhile:
                meanwhile.pop()()
            return perform(driver, on, request)

        monkeypatch.setattr(CassandraDriver, "_performed", overtaken)
        with pytest.raises(ConflictError):
            store.rewrite_session(session, [ConversationMessage(content="x")], expected_version=session.version)
        assert not meanwhile
        assert rows() == before
        meanwhile.append(lambda: other.create_session(ConversationSession("t", user_id="ann")))
        with pytest.raises(SessionExistsError):
            store.fork_session("s", new_session_id="t")
        assert not meanwhile
        assert len(rows()) == len(before) + 3


def test_pages_of_several_partitions(shared, monkeypatch):
    monkeypatch.setattr(CassandraEngine, "max_batch", 20)
    names = [f"{letter}{number:03}" for letter in "abc" for number in range(100)]
    with CassandraStateStore(**shared) as store:
        store.set_many(dict.fromkeys(names, 1))
        assert sorted(store.keys()) == names
        assert list(store.scan_prefix("b")) == names[100:200]
        assert store.delete_many(names[:250:2]) == 125
        assert list(store.scan_prefix("c")) == [*names[201:250:2], *names[250:]]
        assert store.clear() == 175


def test_large_texts_are_split(shared):
    text = "é0123456789" * 300_000
    with CassandraStateStore(**shared) as state, CassandraConversationStore(**shared) as conversations:
        assert_large_texts_are_kept(state, conversations, text)


def test_stores_of_documents_that_must_exist_make_nothing(cassandra, options):
    keyspace = urlsplit(options["url"]).path[1:]
    with open_state_store(options["url"], must_exist=True) as store, pytest.raises(StoreNotFoundError):
        store.get("a")
    assert cassandra.tables(keyspace) == []
