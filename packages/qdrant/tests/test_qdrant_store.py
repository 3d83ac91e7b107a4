"""What the conformance kit does not ask of Qdrant's store: options, the clients' two modes, races on a server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import uuid
import warnings

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    DocumentExistsError,
    InvalidValueError,
    StoreClosedError,
)
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.stores.vector_errors import GoneError, TakenError
from praisonai_persistence.testing._filter_cases import POOL, single_filters
from praisonai_persistence_qdrant import AsyncQdrantKnowledgeStore, QdrantKnowledgeStore
from praisonai_persistence_qdrant._driver import QdrantDriver, QdrantOptions
from praisonai_persistence_qdrant.knowledge import _point


def make(name, vector=(1.0, 2.0), content="", **metadata):
    return KnowledgeDocument(name, content, list(vector), metadata)


def test_importing_the_package_imports_no_client():
    code = (
        "import sys, praisonai_persistence_qdrant as p; p.QdrantKnowledgeStore('qdrant://localhost'); "
        "assert not {'qdrant_client', 'httpx', 'numpy', 'grpc'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_url_is_taken_apart_and_options_win():
    found = QdrantOptions("qdrant://:s3cret%2F@Host:7000?https=true&prefer_grpc=1&grpc_port=7001")
    assert found.host == "host"
    assert (found.port, found.grpc_port, found.https, found.prefer_grpc) == (7000, 7001, True, True)
    assert found.api_key == "s3cret/"
    assert "s3cret" not in repr(found) + found.where
    assert QdrantOptions("qdrant://host:7000", port=1).port == 1
    assert QdrantOptions("qdrant://host").port == 6333
    assert QdrantOptions("qdrant://").path == ":memory:"
    assert QdrantOptions("qdrant:////a/b").path == "/a/b"
    assert QdrantOptions(host="host").host == "host"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "qdrant://host", "path": "a"},
        {"path": "a", "host": "b"},
        {"path": "a", "api_key": "x"},
        {"path": ""},
        {"path": "a\0b"},
        {"host": ""},
        {"host": "h", "port": 0},
        {"host": "h", "port": "6333"},
        {"host": "h", "https": 1},
        {"host": "h", "api_key": ""},
        {"host": "h", "timeout": 0},
        {"url": "https://host"},
        {"url": "qdrant://user:s3cret@host"},
        {"url": "qdrant://host/path"},
        {"url": "qdrant://host?https=maybe"},
        {"url": "qdrant://host?grpc_port=x"},
        {"url": "qdrant://host?x=1"},
        {"client": object(), "path": "a"},
    ],
)
def test_refused_options(options):
    with pytest.raises(ConfigurationError) as caught:
        QdrantKnowledgeStore(**options)
    assert "s3cret" not in str(caught.value)


def test_nobody_at_the_address_is_reported_without_the_key():
    with QdrantKnowledgeStore("qdrant://:s3cret@127.0.0.1:9", timeout=2) as store:
        with pytest.warns(UserWarning, match="insecure"), pytest.raises(ConnectionFailedError) as caught:
            store.connect()
        assert "s3cret" not in str(caught.value)
        with pytest.warns(UserWarning, match="insecure"), pytest.raises(ConnectionFailedError):
            store.list_collections()

    async def main():
        async with AsyncQdrantKnowledgeStore("qdrant://127.0.0.1:9", timeout=2) as store:
            with pytest.raises(ConnectionFailedError):
                await store.connect()
            with pytest.raises(ConnectionFailedError):
                await store.create_collection("docs", 3)

    asyncio.run(main())


def test_stores_in_memory_have_data_of_their_own():
    with QdrantKnowledgeStore("qdrant://") as one, QdrantKnowledgeStore(path=":memory:") as other:
        one.create_collection("docs", 2)
        assert other.list_collections() == []
        assert one.capabilities == {"prefix"}


def test_a_folder_is_one_process_at_a_time(tmp_path):
    code = (
        "import sys\nfrom praisonai_persistence import ConnectionFailedError\n"
        "from praisonai_persistence_qdrant import QdrantKnowledgeStore\n"
        "try:\n    QdrantKnowledgeStore(path=sys.argv[1]).list_collections()\n"
        "except ConnectionFailedError:\n    sys.exit(42)\n"
    )
    with QdrantKnowledgeStore(path=tmp_path / "q") as store:
        store.create_collection("docs", 2)
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "q")], timeout=120).returncode == 42
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "q")], timeout=120).returncode == 0


def _damage(points):
    points.write_bytes(b"not what it was" * 100)


def _hide(points):
    points.rename(points.with_name("elsewhere"))
    points.mkdir()


@pytest.mark.parametrize(("do", "says"), [(_damage, "damaged"), (_hide, "may not write there")])
def test_a_folder_that_cannot_be_opened_says_so_and_is_tried_again(tmp_path, do, says):
    with QdrantKnowledgeStore(path=tmp_path / "q") as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a")])
    [points] = (tmp_path / "q").rglob("*.sqlite")
    kept = points.read_bytes()
    do(points)
    with QdrantKnowledgeStore(path=tmp_path / "q") as store:
        with pytest.raises(ConnectionFailedError, match=says):
            store.count("docs")
        if points.is_dir():
            points.rmdir()
        points.write_bytes(kept)
        assert store.count("docs") == 1


def test_a_client_that_was_handed_in_stays_open():
    client = QdrantClient(":memory:")
    with QdrantKnowledgeStore(client=client) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a")])
    with pytest.raises(StoreClosedError):
        store.count("docs")
    with QdrantKnowledgeStore(client=client) as again:
        assert again.count("docs") == 1
    assert [item.name for item in client.get_collections().collections] == ["praison_.docs"]
    client.close()


def test_the_native_async_client_does_the_same():
    """The local mode behind it stands in for a server: the requests, and what is awaited, are the same."""

    async def main():
        client = AsyncQdrantClient(":memory:")
        async with AsyncQdrantKnowledgeStore(client=client) as store:
            await store.create_collection("docs", 2, "cosine", {"a": [1, None]})
            await store.create_collection("docs", 2, "cosine", {"a": [1.0, None]})
            documents = [make(str(n), [n % 7, 1.0], f"c{n}") for n in range(len(POOL))]
            for item, metadata in zip(documents, POOL, strict=True):
                item.metadata = metadata
            await store.insert("docs", documents)
            with pytest.raises(DocumentExistsError):
                await store.insert("docs", [make("new"), make("3")])
            await store.upsert("docs", [make("0", [6.0, 1.0], "changed")])
            assert (await store.get("docs", ["0", "nobody", "1"]))[0].content == "changed"
            documents[0].metadata = {}
            for filters in single_filters()[::7]:
                tree = parse(filters)
                wanted = {item.id for item in documents if matches(tree, item.metadata)}
                assert {item.id for item in await store.search("docs", [1, 0], 500, filters)} == wanted, filters
                assert await store.count("docs", filters) == len(wanted)
            assert await store.delete("docs", ["0", "1", "nobody"]) == 2
            assert await store.delete("docs", filters={"v": {"$gt": 0}}) > 3
            assert await store.clear_collection("docs") > 3
            await store.delete_collection("docs")
            assert await store.list_collections() == []
        assert (await client.get_collections()).collections == []
        await client.close()

    asyncio.run(main())


def overtaken(store, other):
    """Let another writer come between the look and the write of an insert."""
    look = store._steps._taken

    def look_and_be_overtaken(opened, ids):
        found = yield from look(opened, ids)
        other.insert("docs", [make("common", content="first")])
        return found

    store._steps._taken = look_and_be_overtaken


def test_an_insert_that_came_second_takes_its_part_back():
    client = QdrantClient(":memory:")
    with QdrantKnowledgeStore(client=client) as one, QdrantKnowledgeStore(client=client) as other:
        one.create_collection("docs", 2)
        overtaken(one, other)
        with pytest.raises(DocumentExistsError):
            one.insert("docs", [make("mine", content="second"), make("common", content="second")])
        assert [item.content for item in other.get("docs", ["mine", "common"])] == ["first"]
    client.close()


def test_a_collection_that_was_created_meanwhile():
    client = QdrantClient(":memory:")
    with QdrantKnowledgeStore(client=client) as one, QdrantKnowledgeStore(client=client) as other:
        look, looks = one._steps._find, []

        def look_and_be_overtaken(name, *, fresh):
            found = yield from look(name, fresh=fresh)
            if not looks:
                looks.append(name)
                other.create_collection(name, 2)
            return found

        one._steps._find = look_and_be_overtaken
        one.create_collection("docs", 2)
        assert one.list_collections() == ["docs"]
    client.close()


def test_large_batches_are_split_by_their_size(monkeypatch):
    from praisonai_persistence_qdrant import knowledge

    monkeypatch.setattr(knowledge.QdrantSteps, "most_bytes", 1_000)
    with QdrantKnowledgeStore("qdrant://") as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(n), content="x" * 400) for n in range(7)] + [make("long", content="y" * 5_000)])
        assert store.count("docs") == 8


def test_payload_indexes_are_asked_for():
    client = QdrantClient(":memory:")
    asked = []
    client.create_payload_index = lambda name, **fields: asked.append((name, fields["field_name"]))
    with QdrantKnowledgeStore(client=client) as store:
        store.create_collection("docs", 2)
        store.create_payload_index("docs", "year")
        with pytest.raises(InvalidValueError):
            store.create_payload_index("docs", 5)
    assert [name for name, _ in asked] == ["praison_.docs"] * 4
    assert [field for _, field in asked[:3]] == ["values", "items", "keys"]
    assert asked[3][1].startswith("numbers.n")
    client.close()


def test_ids_become_uuids_one_to_one():
    names = ["a", "A", "a ", "\U0001f600", "x" * 255, str(uuid.UUID(int=5)), "5"]
    points = {_point(name) for name in names}
    assert len(points) == len(names)
    assert all(str(uuid.UUID(point)) == point for point in points)


def test_errors_are_translated_without_their_text():
    from httpx import Headers
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    driver = QdrantDriver(QdrantOptions("qdrant://host"), asynchronous=False)

    def answer(code):
        return UnexpectedResponse(code, "reason", b"the content of a document", Headers())

    for error, kind in (
        (answer(404), GoneError),
        (ValueError("Collection x not found"), GoneError),
        (answer(409), TakenError),
        (ValueError("Collection x already exists"), TakenError),
        (answer(401), ConnectionFailedError),
        (answer(503), ConnectionFailedError),
        (answer(408), ConnectionFailedError),
        (ResponseHandlingException(OSError("refused")), ConnectionFailedError),
        (ResponseHandlingException(ValueError("not the answer of a document")), BackendError),
        (answer(400), BackendError),
        (ValueError("something else"), BackendError),
    ):
        found = driver.translate(error)
        assert type(found) is kind, error
        assert "document" not in str(found)


def test_a_local_payload_index_changes_nothing():
    with QdrantKnowledgeStore("qdrant://") as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a", year=2024)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client says itself that it has no indexes
            store.create_payload_index("docs", "year")
        assert store.count("docs", {"year": {"$gte": 2024}}) == 1


def connection_of(store):
    """The SQLite connection of a collection in a folder, as the client has it between two operations."""
    (collection,) = store._runner._ready.client._client.collections.values()
    return collection.storage.storage


def commits(store, call):
    said = []
    connection_of(store).set_trace_callback(said.append)
    call()
    connection_of(store).set_trace_callback(None)
    return said.count("COMMIT")


def test_a_call_is_one_transaction_in_a_folder(tmp_path):
    """By itself the client commits each point. This fails when it keeps them in another way."""
    documents = [make(str(n), n=n) for n in range(50)]
    with QdrantKnowledgeStore(path=tmp_path / "folder") as store:
        store.create_collection("docs", 2)
        assert commits(store, lambda: store.insert("docs", documents)) == 1
        assert commits(store, lambda: store.upsert("docs", documents)) == 1
        assert commits(store, lambda: store.delete("docs", filters={"n": {"$gte": 40}})) == 1
        assert commits(store, lambda: store.delete("docs", [str(n) for n in range(30)], {"n": {"$gte": 10}})) == 1
        assert commits(store, lambda: store.delete("docs", [str(n) for n in range(5)])) == 1
        assert commits(store, lambda: store.search("docs", [1.0, 2.0])) == 0
    with QdrantKnowledgeStore(path=tmp_path / "folder") as store:
        assert store.count("docs") == 15


def test_a_call_that_fails_in_a_folder_leaves_nothing_behind(tmp_path):
    """Neither in the file nor in memory, and the store goes on."""
    with (
        QdrantKnowledgeStore(path=tmp_path / "folder") as store,
        QdrantKnowledgeStore(path=tmp_path / "folder") as other,
    ):
        store.create_collection("docs", 2)
        store.insert("docs", [make("a", content="first")])
        assert other.count("docs") == 1
        pages = connection_of(store).execute("PRAGMA page_count").fetchone()[0]
        connection_of(store).execute(f"PRAGMA max_page_count = {pages + 20}")  # what a full disk does
        with pytest.raises(BackendError):
            store.upsert("docs", [make("a", content="second"), *(make(f"{n}", content="x" * 5_000) for n in range(50))])
        for each in (store, other):
            assert [item.content for item in each.search("docs", [1.0, 2.0])] == ["first"]
        store.upsert("docs", [make("b")])
        assert other.count("docs") == 2


def test_calls_that_wait_behind_one_that_fails_go_on_with_another_client(tmp_path):
    with QdrantKnowledgeStore(path=tmp_path / "folder") as store:
        store.create_collection("docs", 2)
        connection_of(store).execute("PRAGMA max_page_count = 20")
        outcomes = []

        def write(number):
            try:
                store.upsert("docs", [make(f"{number}-{n}", content="x" * 5_000, of=number) for n in range(50)])
            except BackendError:
                outcomes.append((number, 0))
            else:
                outcomes.append((number, 50))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(count for _, count in outcomes) == [0, 50, 50, 50]
        assert all(store.count("docs", {"of": number}) == count for number, count in outcomes)
