"""SurrealDB's stores on the embedded engine: options, tables, places, and vector indexes."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import pytest

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    DimensionLimitError,
    SchemaError,
    StoreNotFoundError,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence_surrealdb import (
    SurrealConversationOptions,
    SurrealDBConversationStore,
    SurrealDBStateStore,
    SurrealDBVectorKnowledgeStore,
    SurrealOptions,
    SurrealVectorOptions,
    knowledge,
)


def message(number: int) -> ConversationMessage:
    return ConversationMessage(f"m{number}", "s", "user", f"text {number}")


def engine(path: Path, *place: str):
    from surrealdb.connections.blocking_embedded import BlockingEmbeddedSurrealConnection

    client = BlockingEmbeddedSurrealConnection(f"surrealkv://{path}")
    client.use(*(place or ("praisonai", "conversations")))
    return client


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (None, "ws://localhost:8000"),
        ("ws://localhost:8000/rpc", "ws://localhost:8000"),
        ("WS://localhost:8000/rpc", "ws://localhost:8000"),
        ("wss://db.example.org/rpc/", "wss://db.example.org:8000"),
        ("http://[::1]:8001", "http://[::1]:8001"),
        ("https://db:443/rpc", "https://db:443"),
        ("surrealdb://db", "ws://db:8000"),
        ("surrealdb://db?transport=http", "http://db:8000"),
    ],
)
def test_a_server_can_be_written_in_all_ways(url, address):
    assert SurrealOptions(url).address == address


def test_user_and_password_may_be_in_the_url_and_are_shown_nowhere():
    options = SurrealOptions("ws://me:s3cret%2Fx@db:8000/rpc?namespace=n&database=d&auth_level=database")
    assert options.sign_in == {"namespace": "n", "database": "d", "username": "me", "password": "s3cret/x"}
    assert "s3cret" not in repr(options) + options.where
    assert SurrealOptions("ws://me:s3cret@db").sign_in == {"username": "me", "password": "s3cret"}


def test_a_record_access_is_shown_its_variables():
    options = SurrealOptions("ws://db", access="people", variables={"email": "a@b.c"})
    place = {"namespace": "praisonai", "database": "praisonai"}
    assert options.sign_in == {**place, "access": "people", "variables": {"email": "a@b.c"}}


@pytest.mark.parametrize("url", ["mem://", "memory", "surrealdb://", "surrealdb:///:memory:"])
def test_memory_can_be_written_in_all_ways(url):
    assert SurrealOptions(url).path == ":memory:"


def test_a_folder_can_be_written_in_all_ways(tmp_path):
    assert SurrealOptions(f"surrealkv://{tmp_path}/x").path == f"{tmp_path}/x"
    assert SurrealOptions(f"file://{tmp_path}/x").path == f"{tmp_path}/x"
    assert SurrealOptions(f"surrealdb:///{tmp_path}/x").path == f"{tmp_path}/x"
    assert SurrealOptions(path=tmp_path / "x").path == f"{tmp_path}/x"


@pytest.mark.parametrize(
    "given",
    [
        {"url": "ws://db", "username": "me"},
        {"url": "ws://db", "username": "me", "password": "x", "token": "a.b.c"},
        {"url": "ws://db", "access": "people", "token": "a.b.c"},
        {"url": "ws://db", "variables": ["email"]},
        {"url": "ws://db", "namespace": "a`b"},
        {"url": "ws://db", "database": ""},
        {"url": "ws://db", "transport": "ftp"},
        {"url": "mem://", "path": "/tmp/x"},
        {"url": "mem://", "username": "me", "password": "x"},
        {"url": "ws://db", "path": "/tmp/x"},
    ],
)
def test_what_cannot_be_is_refused(given):
    with pytest.raises(ConfigurationError) as caught:
        SurrealOptions(**given)
    assert "a.b.c" not in str(caught.value)


def test_databases_are_those_of_praisonai():
    assert SurrealConversationOptions("ws://db").database == "conversations"
    assert SurrealVectorOptions("ws://db").database == "vectors"


# -------------------------------------------------------------------------------------------------------------- tables


def test_a_table_of_somebody_else_is_refused_and_left_alone(tmp_path):
    client = engine(tmp_path)
    client.query("CREATE praison_messages:1 SET text = 'theirs'")
    del client
    with SurrealDBConversationStore(path=tmp_path) as store, pytest.raises(SchemaError, match="table_prefix"):
        store.create_session(ConversationSession("s"))
    assert "praison_sessions" not in engine(tmp_path).query("INFO FOR DB")["tables"]


def test_a_table_of_a_later_release_is_refused(tmp_path):
    with SurrealDBStateStore(path=tmp_path) as store:
        store.set("key", 1)
    client = engine(tmp_path, "praisonai", "state")
    client.query("DEFINE TABLE OVERWRITE praison_state SCHEMALESS COMMENT 'praisonai-persistence state 2'")
    del client
    with SurrealDBStateStore(path=tmp_path) as store, pytest.raises(SchemaError, match="pip install -U"):
        store.get("key")


def test_a_store_that_must_exist_is_not_made(tmp_path):
    with SurrealDBStateStore(path=tmp_path / "none") as store:
        store.expect_existing()
        with pytest.raises(StoreNotFoundError):
            store.get("key")
    assert not (tmp_path / "none").exists()
    with SurrealDBConversationStore(path=tmp_path / "other") as store:
        store.create_session(ConversationSession("s"))
    with SurrealDBStateStore(path=tmp_path / "other") as store:
        store.expect_existing()
        with pytest.raises(StoreNotFoundError):
            store.get("key")


def test_nothing_is_written_where_a_session_is_missing():
    with SurrealDBConversationStore("mem://") as store:
        store.create_session(ConversationSession("s"))
        store.add_messages("s", [message(1), message(2)])
        # One that is there, one that is new: numbered behind the others, and the first is not written again.
        assert [item.seq for item in store.add_messages("s", [message(2), message(3)])] == [2, 3]
        assert store.count_messages("s") == 3


# -------------------------------------------------------------------------------------------------------------- places


def test_stores_of_a_process_share_a_folder_and_have_a_database_each(tmp_path):
    with (
        SurrealDBConversationStore(path=tmp_path) as conversations,
        SurrealDBStateStore(path=tmp_path) as state,
        SurrealDBStateStore(path=tmp_path, database="other") as other,
    ):
        conversations.create_session(ConversationSession("s"))
        state.set("key", 1)
        other.set("key", 2)
        conversations.add_message("s", message(1))
        assert (state.get("key"), other.get("key"), conversations.count_messages("s")) == (1, 2, 1)


def test_a_folder_that_another_process_has_open_is_refused(tmp_path):
    code = (
        "import sys\n"
        "from praisonai_persistence_surrealdb import SurrealDBStateStore\n"
        "store = SurrealDBStateStore(path=sys.argv[1])\n"
        "store.set('key', 'of the child')\n"
        "print('open', flush=True)\n"
        "sys.stdin.readline()\n"
        "store.close()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        store = SurrealDBStateStore(path=tmp_path)
        with pytest.raises(ConnectionFailedError, match="another process"):
            store.get("key")
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.wait(30) == 0
    assert store.get("key") == "of the child"
    store.close()


def test_a_folder_of_something_else_is_a_typed_error(tmp_path):
    (tmp_path / "manifest").write_text("not a folder")
    with SurrealDBStateStore(path=tmp_path) as store, pytest.raises(ConnectionFailedError, match="SurrealDB's"):
        store.get("key")


def test_memory_is_shared_by_the_stores_of_a_process_until_the_last_one_is_closed():
    with SurrealDBStateStore("mem://") as one, SurrealDBStateStore("mem://") as other:
        one.set("key", 1)
        assert other.get("key") == 1
    with SurrealDBStateStore("mem://") as store:
        assert store.get("key") is None


# ------------------------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "dot"])
def test_an_index_finds_what_a_search_of_all_finds(monkeypatch, distance):
    monkeypatch.setattr(knowledge, "EXACT", 0)  # as if there were many
    numbers = random.Random(7)
    vectors = [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(200)]
    documents = [KnowledgeDocument(f"d{i}", "", vector, {"even": i % 2 == 0}) for i, vector in enumerate(vectors)]
    with (
        SurrealDBVectorKnowledgeStore("mem://", index="hnsw") as indexed,
        SurrealDBVectorKnowledgeStore("mem://", database="other") as exact,
    ):
        for store in (indexed, exact):
            store.create_collection("docs", 8, distance)
            store.insert("docs", documents)
        for query in vectors[:5]:
            for filters in (None, {"even": True}):
                found = [item.id for item in indexed.search("docs", query, 10, filters)]
                wanted = [item.id for item in exact.search("docs", query, 10, filters)]
                assert len(set(found) & set(wanted)) >= 9
        # What is written over or removed is not found any more.
        indexed.upsert("docs", [KnowledgeDocument("d0", "", [-value for value in vectors[0]])])
        indexed.delete("docs", ["d1"])
        assert indexed.search("docs", vectors[0], 1)[0].id != "d0"
        assert indexed.search("docs", vectors[1], 1)[0].id != "d1"
        assert indexed.count("docs") == 199
        assert len(indexed.search("docs", vectors[0], 300)) == 199  # more than an index looks at


def test_an_index_has_a_largest_dimension():
    with SurrealDBVectorKnowledgeStore("mem://", index="hnsw") as store:
        with pytest.raises(DimensionLimitError, match="65,535"):
            store.create_collection("docs", 65_536)
        assert store.list_collections() == []
        store.create_collection("docs", 65_535)
        store.insert("docs", [KnowledgeDocument("a", "", [1.0] * 65_535)])
        assert [item.id for item in store.search("docs", [1.0] * 65_535)] == ["a"]


def test_a_vector_of_zeros_and_the_largest_ones_are_ranked():
    with SurrealDBVectorKnowledgeStore("mem://") as store:
        store.create_collection("docs", 2)
        vectors = {"zero": [0.0, 0.0], "long": [1e30, 0.0], "short": [1e-30, 1e-30]}
        store.insert("docs", [KnowledgeDocument(name, "", vector) for name, vector in vectors.items()])
        found = {item.id: item.score for item in store.search("docs", [1.0, 0.0], 3)}
        assert found == {"long": pytest.approx(1), "short": pytest.approx(math.sqrt(0.5)), "zero": 0.0}


def test_the_tables_of_a_deleted_collection_are_gone(tmp_path):
    with SurrealDBVectorKnowledgeStore(path=tmp_path, index="hnsw") as store:
        store.create_collection("docs", 2)
        store.insert("docs", [KnowledgeDocument("a", "", [1.0, 0.0])])
        store.delete_collection("docs")
    client = engine(tmp_path, "praisonai", "vectors")
    assert list(client.query("INFO FOR DB")["tables"]) == ["praison_collections"]


# -------------------------------------------------------------------------------------------------------------- engine


def test_a_scan_in_a_transaction_that_deleted_ends_early():
    """What ``state`` works around; once this fails, the engine is mended."""
    with SurrealDBStateStore("mem://") as store:
        store.connect()
        query = (
            "{ CREATE t:['a', 1]; CREATE t:['a', 2] }; "
            "{ DELETE t:['a', 1]; RETURN (SELECT VALUE id FROM t:['a', 0]..['a', 9]) }"
        )
        from praisonai_persistence_surrealdb._driver import ask

        def steps():
            return (yield from ask(1, query))

        assert store._runner.run(steps) == []


def test_errors_name_no_values():
    with SurrealDBStateStore("mem://") as store:
        from praisonai_persistence_surrealdb._driver import ask

        def steps():
            return (yield from ask(1, "CREATE t:[$name]; CREATE t:[$name]", name="a secret"))

        with pytest.raises(BackendError) as caught:
            store._runner.run(steps)
        assert "a secret" not in str(caught.value)
