"""Cassandra against the conformance kit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from urllib.parse import urlsplit

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import RoundRobinPolicy
from lifecycles import Networked

from praisonai_persistence import open_knowledge_store
from praisonai_persistence.errors import SchemaError, StoreNotFoundError, UnsupportedOperationError
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence.vectors import pack, score
from praisonai_persistence_cassandra import CassandraKnowledgeStore
from praisonai_persistence_cassandra._driver import CassandraDriver, Each

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
    many = 1_100  # a page has 1,000
    at_once = 300
    overlapping = 5  # each mark is a transaction, and those of one partition wait for each other


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
        assert requests(lambda: store.search("docs", [1.0, 0.0], 10)) == 2 + 1
        assert requests(lambda: store.delete("docs", ["a", "b", "none"])) == 1 + 2
        assert requests(lambda: store.delete("docs", filters={"part": 1})) == 1 + 300
        assert requests(lambda: store.delete_collection("docs")) == 3


def test_a_collection_of_somebody_elses_table_is_refused(cassandra, options):
    keyspace = urlsplit(options["url"]).path[1:]
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cassandra.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    cassandra.execute(f"CREATE TABLE {keyspace}.praisonai_collections (id int PRIMARY KEY)")
    with CassandraKnowledgeStore(**options) as store, pytest.raises(SchemaError, match="keyspace"):
        store.list_collections()


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
