"""LlamaIndex's vector stores as knowledge stores: what they are asked, what the sidecar keeps, and errors."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQueryResult

from praisonai_persistence import KnowledgeDocument, create_knowledge_store
from praisonai_persistence.errors import BackendError, ConfigurationError, FilterError
from praisonai_persistence.knowledge import MemoryKnowledgeStore, SQLiteKnowledgeStore
from praisonai_persistence_llamaindex import (
    AsyncLlamaIndexKnowledgeStore,
    LlamaIndexKnowledgeStore,
    PersistentVectorStore,
)


class Watched(SimpleVectorStore):
    """Counts what it is asked."""

    asked: list[int] = []  # noqa: RUF012 - pydantic copies it

    def query(self, query: Any, **kwargs: Any) -> VectorStoreQueryResult:
        self.asked.append(query.similarity_top_k)
        return super().query(query, **kwargs)


class Least(BasePydanticVectorStore):
    """Has what is abstract, and returns nodes without ids beside them."""

    stores_text: bool = True
    inner: Any = None

    @property
    def client(self):
        return None

    def add(self, nodes, **kwargs):
        return self.inner.add(nodes)

    def delete(self, ref_doc_id, **kwargs):
        self.inner.delete(ref_doc_id)

    def query(self, query, **kwargs):
        return VectorStoreQueryResult(nodes=self.inner.query(query).nodes)


def documents(count=60, seed=1):
    chance = random.Random(seed)
    return [
        KnowledgeDocument(
            f"{number:03}",
            f"text {number}",
            [chance.uniform(-1, 1) for _ in range(3)],
            {"n": number, "deep": {"x": [None]}},
            "hash",
        )
        for number in range(count)
    ]


def filled(store, *, distance="cosine"):
    store.create_collection("c", 3, distance)
    store.insert("c", documents())
    store.create_collection("other", 3, distance)
    store.insert("other", documents(seed=2))
    return store


QUERIES = [
    ([0.3, -0.2, 0.9], 5, None),
    ([0.3, -0.2, 0.9], 5, {"n": {"$gt": 50}}),
    ([-1.0, 0.0, 0.1], 60, None),
    ([-1.0, 0.0, 0.1], 3, {"$not": {"deep": {"x": [None]}}}),
    ([0.0, 0.0, 0.0], 4, None),
]


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_searches_are_those_of_the_reference(distance):
    vectors = Watched()
    with (
        filled(MemoryKnowledgeStore(), distance=distance) as reference,
        filled(LlamaIndexKnowledgeStore(vector_store=vectors), distance=distance) as store,
    ):
        for query, limit, filters in QUERIES:
            wanted = reference.search("c", query, limit, filters)
            found = store.search("c", query, limit, filters)
            assert [(item.id, item.score, item.metadata) for item in found] == [
                (item.id, item.score, item.metadata) for item in wanted
            ]
        assert bool(vectors.asked) is (distance == "cosine")  # by which it ranks


def test_the_wrapped_store_ranks_and_has_no_more_than_there_is():
    vectors = Watched()
    with filled(LlamaIndexKnowledgeStore(vector_store=vectors)) as store:
        assert len(vectors.data.embedding_dict) == 120
        store.upsert("c", documents()[:10])
        assert len(vectors.data.embedding_dict) == 120
        assert store.delete("c", filters={"n": {"$lt": 50}}) == 50
        store.delete_collection("other")
        assert len(vectors.data.embedding_dict) == 10
        assert [item.id for item in store.search("c", documents()[55].embedding, 1)] == ["055"]
        assert vectors.asked
        assert store.clear_collection("c") == 10
        assert vectors.data.embedding_dict == {}


def test_documents_that_the_wrapped_store_has_lost_are_found_all_the_same():
    vectors = SimpleVectorStore()
    with filled(LlamaIndexKnowledgeStore(vector_store=vectors)) as store:
        vectors.clear()
        assert [item.id for item in store.search("c", documents()[7].embedding, 1)] == ["007"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_over_a_store_of_our_own(asynchronous, tmp_path):
    with SQLiteKnowledgeStore(path=tmp_path / "k.db") as below:
        wrapped = PersistentVectorStore(below, distance="dot")
        options = {"vector_store": wrapped, "sidecar": f"sqlite:///{tmp_path}/sidecar.db"}
        if asynchronous:

            async def work():
                async with AsyncLlamaIndexKnowledgeStore(**options) as store:
                    await store.create_collection("c", 3, "dot")
                    await store.insert("c", documents())
                    return await store.search("c", [1.0, 0.0, 0.0], 3, {"n": {"$gt": 9}})

            found = asyncio.run(work())
        else:
            with LlamaIndexKnowledgeStore(**options) as store:
                store.create_collection("c", 3, "dot")
                store.insert("c", documents())
                found = store.search("c", [1.0, 0.0, 0.0], 3, {"n": {"$gt": 9}})
        best = sorted(documents()[10:], key=lambda item: -item.embedding[0])
        assert [item.id for item in found] == [item.id for item in best[:3]]
        with LlamaIndexKnowledgeStore(**options) as store:
            assert store.count("c") == below.count("llamaindex") == 60
            assert store.get("c", ["003"])[0].content_hash == "hash"


def test_the_least_that_a_vector_store_has():
    below = MemoryKnowledgeStore()
    least = Least(inner=PersistentVectorStore(below))
    with filled(
        LlamaIndexKnowledgeStore(vector_store=least, distance="cosine", sidecar=MemoryKnowledgeStore())
    ) as store:
        assert [item.id for item in store.search("c", documents()[7].embedding, 1)] == ["007"]
        assert store.delete("c", ["007"]) == 1
        assert below.count("llamaindex") == 119


def test_what_is_asked_for():
    with pytest.raises(ConfigurationError, match="distance='cosine'"):
        LlamaIndexKnowledgeStore(vector_store=Least(), sidecar=MemoryKnowledgeStore())
    with pytest.raises(ConfigurationError, match="sidecar='sqlite"):
        LlamaIndexKnowledgeStore(vector_store=Least(), distance="dot")
    for wrong in (object(), "milvus", SimpleVectorStore):
        with pytest.raises(ConfigurationError, match="vector_store must be"):
            LlamaIndexKnowledgeStore(vector_store=wrong)
    with pytest.raises(ConfigurationError, match="vector_store_cls"):
        LlamaIndexKnowledgeStore(vector_store_cls=object)
    with pytest.raises(ConfigurationError, match="in memory"):
        LlamaIndexKnowledgeStore(vector_store=SimpleVectorStore(), sidecar="sqlite:///x.db")
    with pytest.raises(ConfigurationError, match="distance"):
        LlamaIndexKnowledgeStore(vector_store=SimpleVectorStore(), distance="manhattan")


def test_errors_are_translated_and_nothing_is_written():
    with LlamaIndexKnowledgeStore(vector_store=Least(), distance="dot", sidecar=MemoryKnowledgeStore()) as store:
        store.create_collection("c", 3, "dot")
        with pytest.raises(BackendError, match="the Least failed"):
            store.insert("c", documents())
        assert store.count("c") == 0
        with pytest.raises(FilterError):
            store.search("c", [1.0, 0.0, 0.0], 1, {"$near": 1})


def test_it_is_found_by_its_names():
    for name in ("llamaindex", "llama_index", "llamaindex_adapter"):
        with create_knowledge_store(name, vector_store=SimpleVectorStore()) as store:
            assert type(store) is LlamaIndexKnowledgeStore
            assert store.list_collections() == []
