"""What the conformance kit does not ask of Chroma's store, and what needs no server."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys

import pytest

from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence_chroma import ChromaKnowledgeStore
from praisonai_persistence_chroma._driver import ChromaOptions


def make(name, vector=(1.0, 2.0), content="", **metadata):
    return KnowledgeDocument(name, content, list(vector), metadata)


def test_importing_the_package_imports_no_engine():
    code = (
        "import sys, praisonai_persistence_chroma as p; p.ChromaKnowledgeStore('chroma://localhost'); "
        "assert not {'chromadb', 'httpx', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_url_is_taken_apart_and_options_win():
    found = ChromaOptions("chroma://Host:9000?ssl=true&tenant=t&database=d", headers={"X-Chroma-Token": "s3cret"})
    assert (found.host, found.port, found.ssl, found.tenant, found.database) == ("host", 9000, True, "t", "d")
    assert "s3cret" not in repr(found) + found.where
    assert ChromaOptions("chroma://host:9000", port=1).port == 1
    assert ChromaOptions("chroma://host").port == 8000
    assert ChromaOptions("chroma://").path == ":memory:"
    assert ChromaOptions("chromadb:////a/b").path == "/a/b"
    assert ChromaOptions(path=":memory:").path == ":memory:"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "chroma://host", "path": "a"},
        {"path": "a", "host": "b"},
        {"path": "a", "headers": {"a": "b"}},
        {"path": "a", "port": 5},
        {"path": ""},
        {"path": "a\0b"},
        {"path": 5},
        {"host": ""},
        {"host": "h", "port": 0},
        {"host": "h", "ssl": "yes"},
        {"host": "h", "headers": {"a": 1}},
        {"host": "h", "tenant": ""},
        {"host": "h", "timeout": 0},
        {"host": "h", "connect_timeout": True},
        {"url": "http://host"},
        {"url": "chroma://token@host"},
        {"url": "chroma://host/path"},
        {"url": "chroma://host?ssl=maybe"},
        {"url": "chroma://host?x=1"},
        {"path": "a", "hnsw": {"space": "l2"}},
    ],
)
def test_refused_options(options):
    with pytest.raises(ConfigurationError):
        ChromaKnowledgeStore(**options)


def test_capabilities_are_those_of_the_place(tmp_path):
    assert ChromaKnowledgeStore(path=tmp_path).capabilities == {"durable", "prefix"}
    assert ChromaKnowledgeStore("chroma://").capabilities == {"prefix"}
    assert ChromaKnowledgeStore("chroma://localhost").capabilities == {"durable", "prefix", "shared"}


def test_a_folder_is_one_process_at_a_time(tmp_path):
    code = (
        "import sys\nfrom praisonai_persistence import ConnectionFailedError\n"
        "from praisonai_persistence_chroma import ChromaKnowledgeStore\n"
        "try:\n    ChromaKnowledgeStore(path=sys.argv[1]).list_collections()\n"
        "except ConnectionFailedError:\n    sys.exit(42)\n"
    )

    def elsewhere():
        return subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=120).returncode

    with ChromaKnowledgeStore(path=tmp_path) as store, ChromaKnowledgeStore(path=tmp_path) as other:
        store.create_collection("docs", 2)
        other.insert("docs", [make("a")])
        store.close()
        assert elsewhere() == 42
        assert other.count("docs") == 1
    assert elsewhere() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_disk_that_is_nearly_full_is_left_to_those_who_read(tmp_path, monkeypatch):
    """Chroma's engine may stop the whole process where it finds the disk full, so it must not get there."""
    with ChromaKnowledgeStore(path=tmp_path) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a")])
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: type(usage)(usage.total, usage.used, 2**23 - 1))
        for write in (lambda: store.upsert("docs", [make("b")]), lambda: store.delete("docs", ["a"])):
            with pytest.raises(BackendError, match="disk is full"):
                write()
        assert [found.id for found in store.search("docs", [1.0, 2.0])] == ["a"]
        with ChromaKnowledgeStore(path=tmp_path, table_prefix="other_") as opened:
            assert opened.list_collections() == []
        monkeypatch.undo()
        store.upsert("docs", [make("b")])
        assert store.count("docs") == 2


def test_a_forked_child_is_told(tmp_path):
    code = (
        "import os, sys\nfrom praisonai_persistence import UnsupportedOperationError\n"
        "from praisonai_persistence_chroma import ChromaKnowledgeStore\n"
        "store = ChromaKnowledgeStore(path=sys.argv[1])\nstore.create_collection('docs', 2)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    try:\n        store.list_collections()\n"
        "    except UnsupportedOperationError:\n        os._exit(42)\n"
        "    os._exit(1)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "assert store.list_collections() == ['docs']\nsys.exit(code)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=120).returncode == 42


def test_what_the_index_leaves_out_is_found(tmp_path):
    """With the narrowest of indexes, asked for more than it gives."""
    chance = random.Random(5)
    documents = [make(f"d{n}", [chance.gauss(0, 1) for _ in range(8)], even=n % 2 == 0) for n in range(400)]
    with ChromaKnowledgeStore(path=tmp_path, hnsw={"max_neighbors": 2, "ef_construction": 2, "ef_search": 2}) as store:
        store.create_collection("docs", 8, "euclidean")
        store.insert("docs", documents)
        assert store.delete("docs", [f"d{n}" for n in range(0, 400, 3)]) == 134
        left = [item for item in documents if int(item.id[1:]) % 3]
        assert {item.id for item in store.search("docs", [0.0] * 8, 1000)} == {item.id for item in left}
        for item in left[::20]:
            assert store.search("docs", item.embedding, 1)[0].id == item.id
        even = {item.id for item in left if item.metadata["even"]}
        assert {item.id for item in store.search("docs", [0.0] * 8, 1000, {"even": True})} == even


def test_a_limit_above_the_width_and_batches_above_the_engines(tmp_path):
    with ChromaKnowledgeStore(path=tmp_path) as store:
        store.create_collection("docs", 2)
        assert store.insert("docs", [make(str(n), [1.0, n]) for n in range(6_000)])[-1] == "5999"
        assert len(store.search("docs", [1.0, 1.0], 3_000)) == 3_000
        assert store.count("docs") == 6_000


def test_somebody_elses_collections_are_left_alone(tmp_path):
    import chromadb
    from chromadb.config import Settings

    with ChromaKnowledgeStore(path=tmp_path) as store:
        store.create_collection("docs", 2)
        client = chromadb.PersistentClient(str(tmp_path), Settings(anonymized_telemetry=False))
        client.create_collection("notes", embedding_function=None)
        assert store.list_collections() == ["docs"]
        assert store.collection_exists("notes") is False
        client.close()
        assert store.list_collections() == ["docs"]


def test_nobody_at_the_address_is_reported():
    with (
        ChromaKnowledgeStore("chroma://127.0.0.1:9", headers={"X-Chroma-Token": "s3cret"}, connect_timeout=2) as store,
        pytest.raises(ConnectionFailedError) as caught,
    ):
        store.connect()
    assert "s3cret" not in str(caught.value)


def test_stores_with_other_prefixes_share_a_folder_and_no_collection(tmp_path):
    with ChromaKnowledgeStore(path=tmp_path) as store, ChromaKnowledgeStore(path=tmp_path, table_prefix="b_") as other:
        store.create_collection("docs", 2)
        other.create_collection("docs", 3)
        store.upsert("docs", [make("a")])
        other.upsert("docs", [make("b", [1.0, 2.0, 3.0])])
        assert [item.id for item in store.get("docs", ["a", "b"])] == ["a"]
        assert [item.id for item in other.get("docs", ["a", "b"])] == ["b"]
        store.delete_collection("docs")
        assert other.count("docs") == 1


def test_stores_with_other_tenants_share_a_folder_and_no_collection(tmp_path):
    import chromadb
    from chromadb.config import Settings

    with ChromaKnowledgeStore(path=tmp_path) as store:
        store.create_collection("docs", 2)
        admin = chromadb.AdminClient(
            Settings(anonymized_telemetry=False, is_persistent=True, persist_directory=str(tmp_path))
        )
        admin.create_tenant("acme")
        admin.create_database("notes", "acme")
        with ChromaKnowledgeStore(path=tmp_path, tenant="acme", database="notes") as other:
            assert other.list_collections() == []
            other.create_collection("docs", 3)
            other.upsert("docs", [make("a", [1.0, 2.0, 3.0])])
            assert store.count("docs") == 0
            with (
                ChromaKnowledgeStore(path=tmp_path, tenant="nobody") as stranger,
                pytest.raises(ConnectionFailedError, match="tenant"),
            ):
                stranger.connect()
            store.close()
            assert other.count("docs") == 1


def test_many_values_of_in(tmp_path):
    """Chroma nests a row of conditions, and SQLite takes a thousand levels."""
    with ChromaKnowledgeStore(path=tmp_path) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(n), n=n) for n in range(4)])
        assert store.count("docs", {"n": {"$in": list(range(2, 3_000))}}) == 2
        assert store.count("docs", {"n": {"$nin": list(range(2, 3_000))}}) == 2
        assert store.count("docs", {"$or": [{"n": number} for number in range(3, 3_000)]}) == 1


def test_a_large_collection_that_becomes_small_is_searched_exhaustively(tmp_path):
    """One request is enough for many documents; up to 1,000 each of them is looked at."""
    chance = random.Random(5)
    documents = [make(f"d{n}", [chance.gauss(0, 1) for _ in range(8)], even=n % 2 == 0) for n in range(1_200)]
    narrow = {"max_neighbors": 2, "ef_construction": 2}
    with ChromaKnowledgeStore(path=tmp_path, hnsw=narrow) as store, ChromaKnowledgeStore(path=tmp_path) as other:
        store.create_collection("docs", 8, "euclidean")
        store.insert("docs", documents)
        assert len(store.search("docs", [0.0] * 8, 10)) == 10
        assert other.delete("docs", [item.id for item in documents[400:]]) == 800
        for item in documents[:400:7]:
            assert store.search("docs", item.embedding, 1)[0].id == item.id
        assert len(store.search("docs", [0.0] * 8, 500, {"even": True})) == 200


@pytest.mark.parametrize("options", [{"headers": "abc"}, {"hnsw": 5}])
def test_options_that_are_no_mappings_are_refused(options):
    with pytest.raises(ConfigurationError):
        ChromaKnowledgeStore("chroma://localhost", **options)
