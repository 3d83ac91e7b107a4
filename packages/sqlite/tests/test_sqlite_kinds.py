"""What is SQLite's own in the three kinds: plans, the full-text index, expired keys, both ways to score."""

from __future__ import annotations

import random
import sqlite3

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence_sqlite import SQLiteConversationStore, SQLiteKnowledgeStore, SQLiteStateStore, _connection


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "agent.db")


@pytest.fixture
def store(path):
    with SQLiteConversationStore(path=path) as store:
        store.create_session(ConversationSession("s", user_id="u"))
        yield store


def plan(path, sql, count):
    with sqlite3.connect(path) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("x",) * count).fetchall()
    connection.close()
    return " / ".join(row[3] for row in rows)


def statements(store, call):
    """Return the statements that a call runs on the reading connection."""
    seen = []
    store.get_session("s")
    database = store._runner._database
    database._readers[-1][0].set_trace_callback(seen.append)
    call()
    database._readers[-1][0].set_trace_callback(None)
    return seen


def test_resume_and_listing_read_an_index_and_sort_nothing(store, path):
    for number in range(20):
        store.add_message("s", ConversationMessage(str(number)))
    for call in (
        lambda: store.get_messages("s", 5),
        lambda: store.get_messages("s", 5, before_seq=10),
        lambda: store.list_sessions("u", limit=20),
        lambda: store.list_sessions(limit=20),
    ):
        (sql,) = statements(store, call)
        found = plan(path, sql, 0)
        assert "USING INDEX" in found
        assert "SCAN praison_messages" not in found
        assert "TEMP B-TREE" not in found


def texts(store, query, **filters):
    return [item.content for item in store.search_messages(query, **filters)]


def test_the_full_text_index_follows_appends_deletes_and_numbers_given_again(store, path):
    for number, text in enumerate(["red apple", "green apple", "red pear"]):
        store.add_message("s", ConversationMessage(str(number), content=text, created_at=number))
    assert texts(store, "apple") == ["green apple", "red apple"]
    store.delete_messages("s", ["2"])  # the newest row: SQLite will give its number again
    store.add_message("s", ConversationMessage("3", content="blue plum", created_at=3))
    assert texts(store, "pear") == []
    assert texts(store, "plum") == ["blue plum"]
    store.delete_messages("s")
    assert texts(store, "apple") == []
    store.add_message("s", ConversationMessage("4", content="apple again", created_at=4))
    store.create_session(ConversationSession("t"))
    store.add_message("t", ConversationMessage("1", content="apple there", created_at=5))
    assert texts(store, "APPLE") == ["apple there", "apple again"]
    assert texts(store, "apple", user_id="u") == ["apple again"]
    store.delete_session("t")
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("VACUUM")
    connection.execute("INSERT INTO praison_search_words (praison_search_words) VALUES ('integrity-check')")
    connection.close()
    with SQLiteConversationStore(path=path) as again:
        assert texts(again, "apple") == ["apple again"]


def test_the_first_search_of_a_long_history_indexes_all_of_it(store):
    store.add_messages("s", [ConversationMessage(str(n), content=f"word{n} common") for n in range(4500)])
    assert len(store.search_messages("common", limit=10_000)) == 4500
    assert texts(store, "word4321") == ["word4321 common"]


def test_words_that_full_text_queries_would_misread(store):
    for number, text in enumerate(["a AND b", 'he said "hi"', "x NEAR y", "col:umn", "star*", "nul\0word", "e = mc^2"]):
        store.add_message("s", ConversationMessage(str(number), content=text))
    for query, found in (
        ("and", "a AND b"),
        ('"hi"', 'he said "hi"'),
        ("NEAR(x y)", "x NEAR y"),
        ("col:umn", "col:umn"),
        ("star*", "star*"),
        ("word", "nul\0word"),
        ("mc^2 OR", None),
        ("***", None),
    ):
        assert texts(store, query) == ([] if found is None else [found])


def test_expired_keys_do_not_pile_up(path, monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr("praisonai_persistence.stores.state.time.time", lambda: now[0])
    with SQLiteStateStore(path=path) as store:
        for number in range(100):
            store.set(f"key{number}", number, ttl=1.0)
            now[0] += 2.0
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT COUNT(*) FROM praison_state").fetchone()[0] <= 2
        connection.close()
        assert store.keys() == []


@pytest.fixture(params=["sqlite-vec", "python"])
def knowledge(request, path, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(_connection, "_load_vectors", lambda connection: False)
    elif not hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.skip("the sqlite3 module of this Python was built without extensions")
    with SQLiteKnowledgeStore(path=path) as store:
        yield store


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_lengths_that_single_precision_cannot_square(knowledge, distance):
    """1e-30 squared is 0 in 32 bits, and 1e30 squared is infinite; the order must not suffer."""
    knowledge.create_collection("c", 3, distance)
    generator = random.Random(7)
    scales = [1e-44, 1e-30, 1e-10, 1.0, 1e10, 1e30, 0.0]
    documents = [
        KnowledgeDocument(f"{index}-{part}", embedding=[generator.uniform(-1, 1) * scale for _ in range(3)])
        for index, scale in enumerate(scales)
        for part in range(8)
    ]
    knowledge.insert("c", documents)
    for query in ([1.0, 0.5, -0.25], [1e-30, 0.0, 1e-30], [1e25, -1e25, 0.0], [0.0, 0.0, 0.0]):
        everything = knowledge.search("c", query, limit=1000)
        assert len(everything) == len(documents)
        order = [(-item.score, item.id) for item in everything]
        assert order == sorted(order)
        assert [item.id for item in knowledge.search("c", query, limit=5)] == [item.id for item in everything[:5]]


def test_collections_of_other_prefixes_and_hostile_names_are_apart(path):
    with SQLiteKnowledgeStore(path=path) as a, SQLiteKnowledgeStore(path=path, table_prefix="other_") as b:
        a.create_collection("Docs-1", 2)
        a.create_collection("docs-1", 3)
        assert a.list_collections() == ["Docs-1", "docs-1"]
        assert b.list_collections() == []
        a.insert("docs-1", [KnowledgeDocument("x", embedding=[1, 2, 3])])
        a.delete_collection("Docs-1")
        assert a.count("docs-1") == 1
