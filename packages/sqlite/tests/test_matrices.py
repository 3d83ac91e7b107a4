"""Searches of an unchanged file use embeddings in memory: what they find is what stands in the file."""

from __future__ import annotations

import importlib
import math
import random
import sqlite3
import subprocess
import sys
import threading

import pytest

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.vectors import score
from praisonai_persistence_sqlite import SQLiteKnowledgeStore

np = pytest.importorskip("numpy", reason="numpy is not installed, and searches use it where a program has imported it")
_matrices = importlib.import_module("praisonai_persistence_sqlite._matrices")

DIMENSION = 6
DISTANCES = ("cosine", "dot", "euclidean")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "k.db"


@pytest.fixture
def store(path):
    with SQLiteKnowledgeStore(path=path) as opened:
        yield opened


def vector(seed):
    numbers = random.Random(seed)
    return [numbers.uniform(-1, 1) for _ in range(DIMENSION)]


def documents(count, start=0):
    return [KnowledgeDocument(f"d{n:04}", f"text {n}", vector(n)) for n in range(start, start + count)]


def kept():
    """The arrays of this process."""
    tables = [found() for found in _matrices._kept]
    return [table.matrix for table in tables if table is not None and table.matrix is not None]


def warm(store, name="c", times=_matrices.SEARCHES + 1):
    """Search so often that the embeddings are in memory."""
    for _ in range(times):
        store.search(name, vector("warm"), 3)


def rounded(numbers):
    return np.array(numbers, dtype=np.float32).tolist()


def expected(distance, query, found, limit):
    scored = [(score(distance, rounded(query), rounded(one.embedding)), one.id) for one in found]
    return sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:limit]


def check(store, distance, found, limit=10, query=None):
    query = vector("query") if query is None else query
    best = store.search("c", query, limit)
    wanted = expected(distance, query, found, limit)
    assert [one.id for one in best] == [id_ for _, id_ in wanted]
    assert [one.score for one in best] == pytest.approx([value for value, _ in wanted], abs=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_what_is_found_is_the_same(store, distance):
    docs = documents(300)
    store.create_collection("c", DIMENSION, distance)
    store.insert("c", docs)
    queries = [vector(f"query {n}") for n in range(20)]
    before = [store.search("c", query, limit) for query in queries[:2] for limit in (1, 7, 290, 1000)]
    warm(store)
    assert len(kept()) == 1
    assert before == [store.search("c", query, limit) for query in queries[:2] for limit in (1, 7, 290, 1000)]
    for query in queries:
        check(store, distance, docs, query=query)
    best = store.search("c", queries[0], 10, with_embeddings=True)
    assert [rounded(one.embedding) == rounded(docs[int(one.id[1:])].embedding) for one in best] == [True] * 10
    assert store.search("c", queries[0], 10, score_threshold=best[4].score) == store.search("c", queries[0], 5)
    assert store.search("c", queries[0], 0) == []


@pytest.mark.parametrize("distance", ["cosine", "dot"])
def test_sums_of_many_small_numbers_beside_a_large_one_are_exact_enough(store, distance):
    """In 32-bit floats a sum loses them if the large one comes first, and keeps them if it comes last."""
    dimension, numbers = 3072, random.Random(1)
    query = [0.7071, *[1e-3] * (dimension - 2), 0.7071]
    docs = []
    for n in range(60):
        small = [1e-3 * numbers.uniform(0.9, 1.1)] * (dimension - 1)
        docs.append(KnowledgeDocument(f"d{n:04}", "text", [1.0, *small] if n < 20 else [*small, 1.0]))
    store.create_collection("c", dimension, distance)
    store.insert("c", docs)
    for _ in range(_matrices.SEARCHES + 1):
        check(store, distance, docs, limit=5, query=query)
    assert kept()


def test_a_program_that_has_numpy_raise_finds_the_same(store):
    docs = [KnowledgeDocument("a", "text", [1.0, 1e-25]), KnowledgeDocument("b", "text", [1e-20, 1.0])]
    store.create_collection("c", 2)
    store.insert("c", docs)
    with np.errstate(all="raise"):
        for _ in range(_matrices.SEARCHES + 1):
            check(store, "cosine", docs, query=[1e-20, 1.0])


def test_numpy_that_cannot_be_imported_is_not_used(store, monkeypatch):
    """A program may have refused its import, as ``None`` in its place does."""
    docs = documents(20)
    store.create_collection("c", DIMENSION)
    store.insert("c", docs)
    wanted = [name for _, name in expected("cosine", vector("query"), docs, 10)]
    monkeypatch.setitem(sys.modules, "numpy", None)
    for _ in range(_matrices.SEARCHES + 1):
        assert [one.id for one in store.search("c", vector("query"), 10)] == wanted
    assert not kept()


@pytest.mark.parametrize("distance", DISTANCES)
def test_many_that_are_alike(store, distance):
    docs = [KnowledgeDocument(f"d{n:04}", "text", [0.5] * DIMENSION) for n in range(200)]
    store.create_collection("c", DIMENSION, distance)
    store.insert("c", docs[::-1])
    warm(store)
    assert kept()
    check(store, distance, docs)


@pytest.mark.parametrize("length", [0.0, 1e-20, 1e20])
def test_lengths_beyond_32_bit_floats_are_not_kept(store, length):
    docs = [*documents(30), KnowledgeDocument("odd", "text", [length] + [0.0] * (DIMENSION - 1))]
    store.create_collection("c", DIMENSION)
    store.insert("c", docs)
    warm(store)
    assert not kept()
    check(store, "cosine", docs, 31)


OTHER = """
import sys
from praisonai_persistence import KnowledgeDocument
from praisonai_persistence_sqlite import SQLiteKnowledgeStore
with SQLiteKnowledgeStore(path=sys.argv[1]) as store:
    for line in sys.stdin:
        store.upsert("c", [KnowledgeDocument(line.strip(), "theirs", [float(line[1:])] * 6)])
        print("written", flush=True)
"""


def test_each_write_of_another_process_is_seen_at_once(store, path):
    docs = {one.id: one for one in documents(100)}
    store.create_collection("c", DIMENSION, "dot")
    store.insert("c", list(docs.values()))
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as other:
        for number in range(12):
            warm(store, times=1 + number % 6)
            id_ = f"d{number:04}"
            other.stdin.write(f"{id_}\n")
            other.stdin.flush()
            assert other.stdout.readline() == "written\n"
            docs[id_] = KnowledgeDocument(id_, "theirs", [float(number)] * DIMENSION)
            check(store, "dot", docs.values(), query=[1.0] * DIMENSION)
        other.stdin.close()


def test_each_kind_of_write_is_seen_at_once(store, path):
    docs = documents(100)
    store.create_collection("c", DIMENSION)
    store.insert("c", docs)
    query = vector("query")

    def same():
        check(store, "cosine", docs, query=query)

    with SQLiteKnowledgeStore(path=path) as second:
        for writer in (store, second):
            warm(store)
            assert kept()
            docs[0] = KnowledgeDocument(docs[0].id, "nearest", query)
            writer.upsert("c", [docs[0]])
            same()
            warm(store)
            assert kept()
            writer.delete("c", [docs.pop(0).id])
            same()
            warm(store)
            docs += documents(1, 1000 + len(docs))
            writer.insert("c", docs[-1:])
            same()
            warm(store)
            docs = documents(50, 2000)
            writer.delete_collection("c")
            writer.create_collection("c", DIMENSION)
            writer.insert("c", docs)
            same()
            warm(store)
            docs = []
            writer.clear_collection("c")
            same()
            docs = documents(100)
            writer.insert("c", docs)


def test_a_transaction_that_is_open_or_given_up_changes_nothing(store, path):
    docs = documents(100)
    store.create_collection("c", DIMENSION)
    store.insert("c", docs)
    warm(store)
    with sqlite3.connect(path) as other:
        (table,) = other.execute("SELECT name FROM sqlite_master WHERE name LIKE '%documents_1'").fetchone()
        other.execute(f"DELETE FROM {table} WHERE id >= 'd0050'")
        check(store, "cosine", docs)
        other.rollback()
        check(store, "cosine", docs)
        other.execute(f"DELETE FROM {table} WHERE id >= 'd0050'")
        other.commit()
        check(store, "cosine", docs[:50])
    other.close()


def test_threads_that_write_and_search(store):
    """What a thread has written, it finds, whatever others do."""
    store.create_collection("c", DIMENSION)
    store.insert("c", documents(100))
    wrong = []

    def work(name):
        for number in range(12):
            mine = [float(number + 1), *vector(name)[1:]]
            store.upsert("c", [KnowledgeDocument(name, "mine", mine)])
            for _ in range(5):
                found = store.search("c", mine, 200)
                scores = {one.id: one.score for one in found}
                if not math.isclose(scores.get(name, 0.0), 1.0, abs_tol=1e-9):
                    wrong.append((name, number))

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_all_arrays_together_have_a_limit(store, monkeypatch):
    size = 100 * (4 * DIMENSION + 12)
    monkeypatch.setattr(_matrices, "LIMIT", 3 * size)
    for n in range(6):
        store.create_collection(f"c{n}", DIMENSION)
        store.insert(f"c{n}", documents(100, n))
    for n in range(6):
        warm(store, f"c{n}")
        assert sum(matrix.size for matrix in kept()) == min(n + 1, 3) * size
    store.create_collection("c", DIMENSION)
    store.insert("c", documents(300))
    warm(store)  # more than half of the limit: read from the file as before
    assert kept() == []
    check(store, "cosine", documents(300))


def test_arrays_end_with_their_store(path):
    with SQLiteKnowledgeStore(path=path) as store:
        store.create_collection("c", DIMENSION)
        store.insert("c", documents(20))
        warm(store)
        assert kept()
    assert not kept()


def test_in_memory_nothing_is_kept():
    with SQLiteKnowledgeStore(path=":memory:") as store:
        store.create_collection("c", DIMENSION)
        store.insert("c", documents(20))
        warm(store)
        assert not kept()
        store.upsert("c", [KnowledgeDocument("new", "text", vector("query"))])
        assert store.search("c", vector("query"), 1)[0].id == "new"


def test_a_file_that_is_replaced(store, path, tmp_path):
    store.create_collection("c", DIMENSION)
    store.insert("c", documents(20))
    warm(store)
    docs = documents(20, 100)
    with SQLiteKnowledgeStore(path=tmp_path / "other.db") as other:
        other.create_collection("c", DIMENSION)
        other.insert("c", docs)
    (tmp_path / "other.db").replace(path)
    threading.Event().wait(0.01)  # a read trusts for a millisecond that the file is still the same
    check(store, "cosine", docs)
