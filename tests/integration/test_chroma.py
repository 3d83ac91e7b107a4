"""Chroma against the conformance kit: a server, a folder, and the memory of the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lifecycles import Embedded, Networked

from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

SYNC = {"sync": "praisonai_persistence_chroma:ChromaKnowledgeStore"}
ASYNC = {"async_": "praisonai_persistence_chroma:AsyncChromaKnowledgeStore"}


class TestChromaServer(Networked, KnowledgeStoreSuite):
    backend = "chroma"

    @pytest.fixture
    def spec(self, chroma) -> Iterator[StoreSpec]:
        with chroma.space() as options:
            yield StoreSpec("knowledge", **SYNC, **ASYNC, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **SYNC, **ASYNC, options={"url": "chroma://127.0.0.1:9", "connect_timeout": 1})

    @pytest.fixture
    def server(self, chroma):
        if not chroma.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return chroma


class TestChromaFolder(Embedded, KnowledgeStoreSuite):
    backend = "chroma (folder)"
    modes = ("sync",)

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **SYNC, options={"path": str(tmp_path / "knowledge")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec("knowledge", **SYNC, options={"path": str(in_the_way / "knowledge")})


@pytest.mark.quick_lifecycle
class TestChromaMemory(KnowledgeStoreSuite):
    backend = "chroma (memory)"
    modes = ("async",)

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **ASYNC, options={"path": ":memory:"})


def test_a_database_that_is_not_there_is_reported(chroma) -> None:
    from praisonai_persistence_chroma import ChromaKnowledgeStore

    with (
        ChromaKnowledgeStore(chroma.url, database="nowhere") as store,
        pytest.raises(ConnectionFailedError, match="database"),
    ):
        store.list_collections()


def test_an_insert_that_came_second_takes_its_part_back(chroma) -> None:
    """Chroma itself passes over documents that exist; here another writer comes between the look and the write."""
    from praisonai_persistence.errors import DocumentExistsError
    from praisonai_persistence_chroma import ChromaKnowledgeStore

    def make(name: str, content: str) -> KnowledgeDocument:
        return KnowledgeDocument(name, content, [1.0, 2.0])

    with (
        chroma.space() as options,
        ChromaKnowledgeStore(**options) as one,
        ChromaKnowledgeStore(**options) as other,
    ):
        one.create_collection("docs", 2)
        look = one._steps._taken

        def look_and_be_overtaken(opened, ids):
            found = yield from look(opened, ids)
            other.insert("docs", [make("common", "first")])
            return found

        one._steps._taken = look_and_be_overtaken
        with pytest.raises(DocumentExistsError):
            one.insert("docs", [make("mine", "second"), make("common", "second")])
        assert [item.content for item in other.get("docs", ["mine", "common"])] == ["first"]
