"""What the conformance kit does not ask of LanceDB's store: options, compaction, indexes, leftovers of the killed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from dataclasses import replace

import lancedb
import pytest

from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidIdentifierError,
    InvalidValueError,
)
from praisonai_persistence.filters import parse
from praisonai_persistence.locks import FileLock
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence_lancedb import AsyncLanceDBKnowledgeStore, LanceDBKnowledgeStore
from praisonai_persistence_lancedb.knowledge import SQLTokens, _ordered


def documents(count, dimension=3, start=0):
    chance = random.Random(start)
    return [
        KnowledgeDocument(
            f"d{number}",
            f"content {number}",
            [chance.gauss(0, 1) for _ in range(dimension)],
            {"number": number, "even": number % 2 == 0},
        )
        for number in range(start, start + count)
    ]


def entries(path):
    return sorted(entry.name for entry in path.iterdir())


def plain(path):
    """The one table, opened without the store."""
    (name,) = (entry.name for entry in path.iterdir() if entry.suffix == ".lance")
    return lancedb.connect(str(path)).open_table(name.removesuffix(".lance"))


def test_importing_the_package_imports_no_engine():
    code = (
        "import sys, praisonai_persistence_lancedb as p; p.LanceDBKnowledgeStore(path='x'); "
        "assert not {'lancedb', 'pyarrow', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "lancedb:///a", "path": "a"},
        {"path": ""},
        {"path": "a\0b"},
        {"path": 5},
        {"path": "s3://bucket/a"},
        {"url": "lancedb:///a?x=1"},
        {"url": "sqlite:///a"},
        {"path": "a", "index": "hnsw"},
        {"path": "a", "probes": 0},
        {"path": "a", "refine": True},
        {"path": "a", "lock_timeout": 0},
    ],
)
def test_refused_options(options):
    with pytest.raises(ConfigurationError):
        LanceDBKnowledgeStore(**options)


def test_a_url_leads_to_the_folder(tmp_path):
    with LanceDBKnowledgeStore(f"lancedb:///{tmp_path}/a b".replace(" ", "%20")) as store:
        store.create_collection("docs", 3)
    assert [name for name in entries(tmp_path / "a b") if name.startswith("praison_.docs.")]


def test_compaction_keeps_every_document_and_removes_files_and_versions(tmp_path):
    with LanceDBKnowledgeStore(path=tmp_path, table_prefix="") as store:
        store.create_collection("docs", 3, "euclidean")
        everything = documents(60)
        for start in range(0, 60, 3):
            store.insert("docs", everything[start : start + 3])
        store.delete("docs", ["d0"])
        before = [item.to_dict() for item in store.search("docs", [0.1, 0.2, 0.3], 100, {"even": True})]
        stored = [item.to_dict() for item in store.get("docs", [item.id for item in everything])]
        assert len(plain(tmp_path).list_versions()) > 20
        assert plain(tmp_path).stats()["fragment_stats"]["num_fragments"] == 20
        store.compact("docs", keep_versions_for=0)
        store.compact("docs", keep_versions_for=0)  # what the first one made, and replaced in the same millisecond
        assert len(plain(tmp_path).list_versions()) == 1
        assert plain(tmp_path).stats()["fragment_stats"]["num_fragments"] == 1
        assert [item.to_dict() for item in store.search("docs", [0.1, 0.2, 0.3], 100, {"even": True})] == before
        assert [item.to_dict() for item in store.get("docs", [item.id for item in everything])] == stored
        assert store.count("docs") == 59
        store.upsert("docs", everything[:2])
        assert store.count("docs") == 60


def test_many_small_writes_leave_few_files_whoever_did_them(tmp_path):
    everything = documents(100)
    with LanceDBKnowledgeStore(path=tmp_path, table_prefix="") as store:
        store.create_collection("docs", 3)
    for start in range(0, 100, 10):  # each process writes less than what makes a compaction due
        with LanceDBKnowledgeStore(path=tmp_path, table_prefix="") as store:
            for item in everything[start : start + 10]:
                store.upsert("docs", [item])
    assert plain(tmp_path).stats()["fragment_stats"]["num_fragments"] < 40
    with LanceDBKnowledgeStore(path=tmp_path, table_prefix="") as store:
        assert store.count("docs") == 100
        for item in everything:
            store.delete("docs", [item.id])
            store.insert("docs", [item])
        assert plain(tmp_path).stats()["fragment_stats"]["num_fragments"] < 40
        assert sorted(item.id for item in store.search("docs", [1, 0, 0], 200)) == sorted(d.id for d in everything)


@pytest.fixture
def files_of_a_megabyte():
    """Larger files cannot be written: what is merged does not fit, and a single write does."""
    resource = pytest.importorskip("resource", reason="there are no limits of files on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("files_of_a_megabyte")
def test_a_compaction_that_fails_is_logged_and_the_write_goes_on(tmp_path, caplog):
    with LanceDBKnowledgeStore(path=tmp_path) as store:
        store.create_collection("docs", 3)
        for item in documents(40):
            store.insert("docs", [replace(item, content=random.randbytes(50_000).hex())])
        assert store.count("docs") == 40
    [failure] = [record.getMessage() for record in caplog.records]
    assert failure.startswith(f"could not compact {tmp_path}")


def test_upserts_replace_what_is_there_whoever_wrote_it(tmp_path):
    """New documents are added without a merge, so what is new must be seen anew each time."""
    with LanceDBKnowledgeStore(path=tmp_path) as store, LanceDBKnowledgeStore(path=tmp_path) as other:
        store.create_collection("docs", 3)
        everything = documents(12)
        for end in (3, 6, 6, 9, 12):
            for writer in (store, other):
                writer.upsert("docs", [replace(item, content=f"{end}") for item in everything[end - 3 : end]])
                assert store.count("docs") == other.count("docs") == end
        other.delete("docs", ["d0"])
        store.upsert("docs", everything[:2])
        assert store.count("docs") == 12
        assert [item.content for item in store.get("docs", ["d0", "d5", "d11"])] == [everything[0].content, "6", "12"]


def test_a_reader_goes_on_when_another_store_compacts(tmp_path):
    with LanceDBKnowledgeStore(path=tmp_path) as store, LanceDBKnowledgeStore(path=tmp_path) as other:
        store.create_collection("docs", 3)
        for item in documents(5):
            store.insert("docs", [item])
        assert other.count("docs") == 5
        store.compact("docs", keep_versions_for=0)
        assert other.count("docs", {"even": True}) == 3
        assert len(other.search("docs", [1, 0, 0], 9)) == 5


def test_compact_and_create_index_check_their_arguments(tmp_path):
    with LanceDBKnowledgeStore(path=tmp_path) as store:
        for call in (store.compact, store.create_index):
            with pytest.raises(CollectionNotFoundError):
                call("docs")
            with pytest.raises(InvalidIdentifierError):
                call("../docs")
        for age in (-1, 1.5, "1", None):
            with pytest.raises(InvalidValueError):
                store.compact("docs", age)


@pytest.mark.parametrize("index", ["none", "ivf_flat", "ivf_hnsw_sq"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_an_index_finds_nearly_all_of_the_nearest_and_what_came_later(tmp_path, index, distance):
    everything = documents(11_000, 8)
    with (
        LanceDBKnowledgeStore(path=tmp_path, index=index) as store,
        LanceDBKnowledgeStore(path=tmp_path) as exact,
    ):
        store.create_collection("docs", 8, distance)
        store.insert("docs", everything)
        store.create_index("docs")
        kinds = {item.index_type for item in plain(tmp_path).list_indices()}
        assert {"LabelList", "BTree"} <= kinds
        assert len(kinds) == (2 if index == "none" else 3)
        hits = 0
        for item in everything[:20]:
            wanted = [found.id for found in exact.search("docs", item.embedding, 10)]
            hits += len(set(wanted) & {found.id for found in store.search("docs", item.embedding, 10)})
            found = store.search("docs", item.embedding, 1, {"number": item.metadata["number"]})
            assert [one.id for one in found] == [item.id]
        assert hits >= 190
        later = KnowledgeDocument("later", "x", [50.0, 1, 1, 1, 1, 1, 1, 1], {"number": -1})
        store.insert("docs", [later])
        assert store.search("docs", later.embedding, 1)[0].id == "later"
        assert store.count("docs", {"number": -1}) == 1
        store.compact("docs")
        assert store.search("docs", later.embedding, 1)[0].id == "later"
        assert store.count("docs", {"even": True}) == 5_500


def test_what_a_killed_process_left_half_made_is_no_collection_and_is_swept(tmp_path):
    with LanceDBKnowledgeStore(path=tmp_path) as store:
        store.create_collection("docs", 3)
        half = tmp_path / "praison_.0123456789abcdef.lance"
        (half / "data").mkdir(parents=True)
        of_others = tmp_path / "other_.0123456789abcdef.lance"
        of_others.mkdir()
        assert store.list_collections() == ["docs"]
        store.create_collection("more", 3)
        assert not half.exists()
        assert of_others.exists()
        assert store.list_collections() == ["docs", "more"]


def test_somebody_elses_table_is_not_taken_for_ours(tmp_path):
    lancedb.connect(str(tmp_path)).create_table("praison_.docs.1", [{"id": "a", "vector": [1.0]}])
    with LanceDBKnowledgeStore(path=tmp_path) as store, pytest.raises(BackendError):
        store.count("docs")


def test_writers_wait_for_the_lock_and_give_up_in_time(tmp_path):
    with LanceDBKnowledgeStore(path=tmp_path, lock_timeout=0.05) as store:
        store.create_collection("docs", 3)
        lock = FileLock(str(tmp_path / "praison_.lock"))
        lock.acquire(5)
        with pytest.raises(ConnectionFailedError, match="lock_timeout"):
            store.insert("docs", documents(1))
        lock.release()
        store.insert("docs", documents(1))


def test_filters_become_sql_of_hexadecimal_digits_alone():
    evil = "x') OR 1=1--"
    compiled = SQLTokens().compile(
        parse({"$or": [{evil: evil}, {evil: {"$gt": 1.5}}, {"$not": {evil: {"$in": [evil, 1]}}}]})
    )
    assert "OR 1=1" not in compiled.expression
    assert "x'" not in compiled.expression


def test_numbers_in_order_have_digits_in_order():
    numbers = [-1.7976931348623157e308, -2.5, -1e-300, 0.0, 5e-324, 1.0, 1.5, 2.0**53, 1.7976931348623157e308]
    assert sorted(numbers, key=_ordered) == numbers


def test_the_async_store_has_the_same_extras(tmp_path):
    async def main():
        async with AsyncLanceDBKnowledgeStore(path=tmp_path, index="ivf_flat") as store:
            await store.create_collection("docs", 3)
            await store.insert("docs", documents(300))
            await store.create_index("docs")
            await store.compact("docs", 0)
            return await store.count("docs", {"number": {"$lt": 100}})

    assert asyncio.run(main()) == 100
