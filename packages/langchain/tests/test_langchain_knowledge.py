"""LangChain's vector stores as knowledge stores: what they are asked, what the sidecar keeps, and errors."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from praisonai_persistence import KnowledgeDocument, create_knowledge_store
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    FilterError,
    InvalidIdentifierError,
    InvalidValueError,
    UnsupportedOperationError,
)
from praisonai_persistence.knowledge import AsyncMemoryKnowledgeStore, MemoryKnowledgeStore, SQLiteKnowledgeStore
from praisonai_persistence_langchain import (
    AsyncLangChainKnowledgeStore,
    LangChainKnowledgeStore,
    PersistentVectorStore,
)

PLACES = {"east": [1.0, 0.0], "north": [0.0, 1.0], "west": [-1.0, 0.0], "nearly east": [0.75, 0.25]}


class Compass(Embeddings):
    """A model that knows directions."""

    def embed_documents(self, texts):
        return [PLACES[text] for text in texts]

    def embed_query(self, text):
        return PLACES[text]


def documents():
    return [
        KnowledgeDocument(id_, text, vector, {"n": number, "deep": [{"x": None}]}, "hash" if number else None)
        for number, (id_, (text, vector)) in enumerate(zip("abcd", PLACES.items(), strict=True))
    ]


def filled(**options):
    store = LangChainKnowledgeStore(**(options or {"vectorstore": InMemoryVectorStore(Compass())}))
    store.create_collection("places", 2)
    store.insert("places", documents())
    return store


def ids(found):
    return "".join(document.id for document in found)


def test_texts_are_ranked_by_the_wrapped_store_and_filtered_exactly():
    with filled() as store:
        assert ids(store.similarity_search("east")) == "adbc"
        assert [document.score for document in store.similarity_search("east", 2)] == pytest.approx([1.0, 0.9486833])
        assert ids(store.similarity_search("east", 1, {"n": {"$in": [1, 2]}})) == "b"
        assert ids(store.similarity_search("east", 9, {"$not": {"deep": [{"x": None}]}})) == ""
        assert store.similarity_search("east", 0) == []
        (found,) = store.similarity_search("north", 1)
        assert found.to_dict() == {**store.get("places", ["b"])[0].to_dict(), "embedding": None, "score": found.score}
        with pytest.raises(FilterError):
            store.similarity_search("east", 1, {"$near": 1})
        for wrong in (None, 3, b"east"):
            with pytest.raises(InvalidValueError, match="query_text"):
                store.similarity_search(wrong)


def test_collections_are_apart_and_the_latest_writing_counts():
    with filled() as store:
        store.create_collection("other", 2)
        store.insert("other", [KnowledgeDocument("a", "west", [0.0, 1.0])])
        assert sorted(ids(store.similarity_search("west", 2))) == ["a", "c"]
        assert ids(store.similarity_search("west", 9, collection="other")) == "a"
        store.upsert("places", [KnowledgeDocument("a", "west", [-1.0, 0.0])])
        assert sorted(ids(store.similarity_search("west", 2, collection="places"))) == ["a", "c"]
        store.delete("places", ["c"])
        store.delete_collection("other")
        assert ids(store.similarity_search("west", 9)) == "abd"
        assert store.list_collections() == ["places"]


def test_what_others_put_into_the_wrapped_store_is_left_alone():
    vectors = InMemoryVectorStore(Compass())
    vectors.add_texts(["east"] * 30, ids=[f"{number}" for number in range(30)])
    with filled(vectorstore=vectors) as store:
        assert ids(store.similarity_search("east", 2)) == "ad"
        assert store.count("places") == 4
        assert store.clear_collection("places") == 4
    assert len(vectors.store) == 30


def test_documents_in_memory_live_as_long_as_the_wrapped_store():
    vectors = InMemoryVectorStore(Compass())
    filled(vectorstore=vectors).close()
    with LangChainKnowledgeStore(vectorstore=vectors) as store:
        assert store.get("places", ["a"])[0].content == "east"
        with LangChainKnowledgeStore(vectorstore=vectors, table_prefix="mine_") as mine:
            assert mine.list_collections() == []


@pytest.mark.parametrize("how", ["url", "store", "async store"])
def test_a_sidecar(how, tmp_path):
    with SQLiteKnowledgeStore(path=tmp_path / "wrapped.db") as below:
        sidecar = {
            "url": f"sqlite:///{tmp_path}/sidecar.db",
            "store": MemoryKnowledgeStore(),
            "async store": AsyncMemoryKnowledgeStore(),
        }[how]
        with filled(vectorstore=PersistentVectorStore(below, Compass()), sidecar=sidecar) as store:
            assert ids(store.similarity_search("east", 2)) == "ad"
            assert store.search("places", [0.0, 1.0], 1)[0].id == "b"
            assert ("prefix" in store.capabilities) is (how == "url")
            assert below.count("langchain") == 4
        again = LangChainKnowledgeStore(vectorstore=PersistentVectorStore(below, Compass()), sidecar=sidecar)
        assert again.get("places", ["b"])[0].content_hash == "hash"
        again.close()
        if how == "store":
            assert sidecar.count("places") == 4  # it stays open


def test_a_class_and_its_arguments(tmp_path):
    made = []

    class Mine(InMemoryVectorStore):
        def __init__(self, embedding):
            made.append(embedding)
            super().__init__(embedding)

    options = {"vectorstore_cls": Mine, "vectorstore_kwargs": {"embedding": Compass()}}
    with pytest.raises(ConfigurationError, match="sidecar"):
        LangChainKnowledgeStore(**options)
    with filled(**options, sidecar=MemoryKnowledgeStore()) as store:
        assert ids(store.similarity_search("east", 1)) == "a"
        assert len(made) == 1
    LangChainKnowledgeStore(**options, sidecar=MemoryKnowledgeStore())
    assert len(made) == 1  # nothing is made before the first call


def test_for_async_callers():
    async def work():
        async with AsyncLangChainKnowledgeStore(vectorstore=InMemoryVectorStore(Compass())) as store:
            await store.create_collection("places", 2)
            await store.insert("places", documents())
            assert ids(await store.similarity_search("east", 2, {"n": {"$gt": 0}})) == "db"

    asyncio.run(work())


class Distances(InMemoryVectorStore):
    """Returns distances, as many stores do."""

    def similarity_search_with_score(self, query, k=4, **kwargs):
        return [(document, 1.0 - score) for document, score in super().similarity_search_with_score(query, k)]


class Unknown(VectorStore):
    """A store that is nowhere near memory, and says nothing of its scores."""

    @classmethod
    def from_texts(cls, *args, **kwargs):
        raise NotImplementedError

    def similarity_search(self, query, k=4, **kwargs):
        raise NotImplementedError

    def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
        raise RuntimeError("no model")


def test_scores_that_are_distances():
    with filled(vectorstore=Distances(Compass()), scores="distance") as store:
        found = store.similarity_search("east", 2)
        assert [(document.id, document.score) for document in found] == [
            ("a", pytest.approx(1.0)),
            ("d", pytest.approx(1 / (2 - 0.9486833))),
        ]


def test_what_is_asked_for():
    memory = MemoryKnowledgeStore()
    with pytest.raises(ConfigurationError, match="scores='similarity'"):
        LangChainKnowledgeStore(vectorstore=Unknown(), sidecar=memory)
    with pytest.raises(ConfigurationError, match="sidecar='sqlite"):
        LangChainKnowledgeStore(vectorstore=Unknown(), scores="distance")
    with LangChainKnowledgeStore(vectorstore=Unknown(), scores="distance", sidecar=memory) as store:
        store.create_collection("places", 2)
        with pytest.raises(ConfigurationError, match="no embedding function"):
            store.insert("places", documents())
        assert store.count("places") == 0
    for wrong in (object(), Compass(), "faiss", InMemoryVectorStore):
        with pytest.raises(ConfigurationError, match="vectorstore must be"):
            LangChainKnowledgeStore(vectorstore=wrong)
    for wrong in (object, "InMemoryVectorStore", InMemoryVectorStore(Compass())):
        with pytest.raises(ConfigurationError, match="vectorstore_cls"):
            LangChainKnowledgeStore(vectorstore_cls=wrong)
    with pytest.raises(ConfigurationError, match="vectorstore="):
        LangChainKnowledgeStore()
    with pytest.raises(ConfigurationError, match="no URL"):
        LangChainKnowledgeStore("langchain://x")
    vectors = InMemoryVectorStore(Compass())
    for wrong in (object(), vectors, 3):
        with pytest.raises(ConfigurationError, match="sidecar"):
            LangChainKnowledgeStore(vectorstore=vectors, sidecar=wrong)


def test_a_sidecar_that_outlives_the_wrapped_store_is_refused(tmp_path):
    with (
        SQLiteKnowledgeStore(path=tmp_path / "k.db") as sidecar,
        pytest.raises(ConfigurationError, match="in memory"),
    ):
        LangChainKnowledgeStore(vectorstore=InMemoryVectorStore(Compass()), sidecar=sidecar)


def test_errors_of_the_wrapped_store_are_translated_and_nothing_is_written():
    with filled() as store:
        with pytest.raises(BackendError, match="InMemoryVectorStore"):
            store.insert("places", [KnowledgeDocument("e", "nowhere", [1.0, 1.0])])
        assert store.count("places") == 4
        with pytest.raises(InvalidIdentifierError):
            store.create_collection("wrapped_ids", 1)


def test_it_is_found_by_its_names():
    for name in ("langchain", "langchain_adapter"):
        with create_knowledge_store(name, vectorstore=InMemoryVectorStore(DeterministicFakeEmbedding(size=3))) as store:
            assert type(store) is LangChainKnowledgeStore
            assert store.list_collections() == []


def test_copies_are_refused():
    import pickle

    with filled() as store, pytest.raises(UnsupportedOperationError):
        pickle.dumps(store)
