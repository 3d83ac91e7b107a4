"""The vector store: what LangChain's own suites do not ask of it, and its errors."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import VectorStore

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.conversation import MemoryConversationStore
from praisonai_persistence.errors import (
    ConfigurationError,
    DimensionError,
    FilterError,
    InvalidIdentifierError,
    InvalidValueError,
    SerializationError,
)
from praisonai_persistence.knowledge import (
    AsyncMemoryKnowledgeStore,
    AsyncSQLiteKnowledgeStore,
    MemoryKnowledgeStore,
    SQLiteKnowledgeStore,
)
from praisonai_persistence_langchain import PersistentVectorStore

STORES = {
    "memory": lambda path: MemoryKnowledgeStore(),
    "sqlite": lambda path: SQLiteKnowledgeStore(path=path / "k.db"),
    "async memory": lambda path: AsyncMemoryKnowledgeStore(),
    "async sqlite": lambda path: AsyncSQLiteKnowledgeStore(path=path / "k.db"),
}
PLACES = {"east": [1.0, 0.0], "north": [0.0, 1.0], "west": [-1.0, 0.0], "nearly east": [0.9, 0.1], "far": [3.0, 0.0]}


class Compass(Embeddings):
    """A model that knows directions; its async methods are not its sync ones."""

    def embed_documents(self, texts):
        return [PLACES[text] for text in texts]

    def embed_query(self, text):
        return PLACES[text]

    async def aembed_documents(self, texts):
        await asyncio.sleep(0)
        return self.embed_documents(texts)

    async def aembed_query(self, text):
        await asyncio.sleep(0)
        return self.embed_query(text)


@pytest.fixture(params=STORES)
def opened(request, tmp_path):
    store = STORES[request.param](tmp_path)
    yield store
    closed = store.close()
    if closed is not None:
        asyncio.run(closed)


@pytest.fixture(params=["sync", "async"])
def call(request):
    """Call a method by its sync name."""

    def call(on, name, *args, **kwargs):
        if request.param == "sync":
            return getattr(on, name)(*args, **kwargs)

        async def work():
            return await getattr(on, f"a{name}")(*args, **kwargs)

        return asyncio.run(work())

    return call


@pytest.fixture
def vectors(opened, call):
    made = PersistentVectorStore(opened, Compass(), collection="places")
    metadatas = [{"n": number, "side": name[0]} for number, name in enumerate(PLACES)]
    assert call(made, "add_texts", list(PLACES), metadatas, ids=list("abcde")) == list("abcde")
    return made


def contents(documents):
    return [document.page_content for document in documents]


def test_searches(vectors, call):
    assert contents(call(vectors, "similarity_search", "east", k=3)) == ["east", "far", "nearly east"]
    found = call(vectors, "similarity_search", "east", k=1)
    assert found == [Document("east", id="a", metadata={"n": 0, "side": "e"})]
    assert contents(call(vectors, "similarity_search_by_vector", [0.0, 2.0], k=1)) == ["north"]
    scored = call(vectors, "similarity_search_with_score", "west", 5)
    assert scored[0][0].page_content == "west"
    assert [score for _, score in scored] == pytest.approx([1, 0, -0.9938837, -1, -1])
    assert call(vectors, "similarity_search", "east", k=0) == []


def test_filters(vectors, call):
    def found(**kwargs):
        return sorted(document.id for document in call(vectors, "similarity_search", "east", k=9, **kwargs))

    assert found(filter={"n": {"$gte": 3}}) == ["d", "e"]
    assert found(filter={"$or": [{"side": "w"}, {"$not": {"n": {"$in": [0, 1, 2, 3]}}}]}) == ["c", "e"]
    assert found(filter={"n": "0"}) == []
    assert found(filter={}, score_threshold=0.999) == ["a", "e"]
    for wrong in ({"$near": 1}, "n = 1", lambda document: True):
        with pytest.raises(FilterError):
            found(filter=wrong)
    for name in ("where", "filters", "pre_filter"):  # of other stores
        with pytest.raises(TypeError, match=name):
            found(**{name: {"n": 1}})
        with pytest.raises(TypeError, match=name):
            call(vectors, "add_texts", ["east"], **{name: {"n": 1}})


def test_what_is_diverse(vectors, call):
    nearest = contents(call(vectors, "max_marginal_relevance_search", "east", k=3, fetch_k=5, lambda_mult=1.0))
    assert nearest == ["east", "far", "nearly east"]
    diverse = contents(call(vectors, "max_marginal_relevance_search", "east", k=3, fetch_k=5, lambda_mult=0.3))
    assert diverse[0] == "east"
    assert "far" not in diverse
    again = call(vectors, "max_marginal_relevance_search_by_vector", [1.0, 0.0], k=3, fetch_k=5, lambda_mult=0.3)
    assert contents(again) == diverse
    only = {"n": {"$lt": 2}}
    assert contents(call(vectors, "max_marginal_relevance_search", "west", k=3, filter=only)) == ["north", "east"]


def test_retrievers(vectors, call):
    plain = vectors.as_retriever(search_kwargs={"k": 1, "filter": {"side": "n"}})
    assert contents(call(plain, "invoke", "east")) == ["nearly east"]
    good = vectors.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.999})
    assert contents(call(good, "invoke", "east")) == ["east", "far"]
    diverse = vectors.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 5, "lambda_mult": 1.0})
    assert contents(call(diverse, "invoke", "north")) == ["north", "nearly east"]


@pytest.mark.parametrize(("distance", "best"), [("cosine", 1.0), ("euclidean", 1.0), ("dot", 3.0)])
def test_distances(opened, call, distance, best):
    made = PersistentVectorStore(opened, Compass(), distance=distance)
    call(made, "add_texts", list(PLACES))
    scored = call(made, "similarity_search_with_score", "east", 5)
    assert scored[0][1] == pytest.approx(best)
    assert [score for _, score in scored] == sorted((score for _, score in scored), reverse=True)


def test_relevance_is_between_0_and_1(vectors, call):
    scored = call(vectors, "similarity_search_with_relevance_scores", "east", 5)
    assert [round(score, 3) for _, score in scored] == [1, 1, 0.994, 0, 0]


def test_ids_and_deletion(vectors, call):
    assert contents(call(vectors, "get_by_ids", ["c", "unknown", "a", "c"])) == ["west", "east", "west"]
    more = call(vectors, "add_documents", [Document("far"), Document("far", id="a"), Document("far")])
    assert (more[1], len({*more}), None in more) == ("a", 3, False)
    assert contents(call(vectors, "get_by_ids", more)) == ["far"] * 3
    assert call(vectors, "delete", [more[0], "unknown"]) is True
    assert call(vectors, "get_by_ids", more[:1]) == []
    assert call(vectors, "delete", filter={"n": {"$exists": True}}) is True
    assert contents(call(vectors, "similarity_search", "far", k=9)) == ["far"] * 2
    assert call(vectors, "delete", ["a", more[2]], filter={"n": 7}) is True
    assert len(call(vectors, "similarity_search", "far", k=9)) == 2
    assert call(vectors, "delete", []) is True
    assert len(call(vectors, "similarity_search", "far", k=9)) == 2
    assert call(vectors, "delete") is True
    assert call(vectors, "similarity_search", "far", k=9) == []


def test_before_anything_is_added(opened, call):
    made = PersistentVectorStore(opened, Compass())
    assert call(made, "similarity_search", "east") == []
    assert call(made, "max_marginal_relevance_search", "east") == []
    assert call(made, "get_by_ids", ["a"]) == []
    assert call(made, "delete", ["a"]) is True
    assert call(made, "delete") is True
    assert call(made, "add_texts", []) == []
    with pytest.raises(FilterError):
        call(made, "similarity_search", "east", filter={"$near": 1})


def test_made_from_texts(opened, call):
    made = call(PersistentVectorStore, "from_texts", ["east"], Compass(), [{"n": 1}], ids=["x"], store=opened)
    assert isinstance(made, VectorStore)
    assert call(made, "similarity_search", "east") == [Document("east", id="x", metadata={"n": 1})]
    documents = [Document("north", id="y")]
    other = call(PersistentVectorStore, "from_documents", documents, Compass(), store=opened, collection="other")
    assert call(other, "get_by_ids", ["x", "y"]) == documents
    with pytest.raises(ConfigurationError, match="open_knowledge_store"):
        call(PersistentVectorStore, "from_texts", ["east"], Compass())


def test_the_store_reads_what_langchain_wrote_and_the_reverse(tmp_path):
    with SQLiteKnowledgeStore(path=tmp_path / "k.db") as store:
        made = PersistentVectorStore(store, Compass(), collection="places")
        made.add_texts(["east"], [{"n": 1}], ids=["a"])
        store.upsert("places", [KnowledgeDocument("b", "north", [0.0, 1.0])])
        (found,) = store.search("places", [1.0, 0.0], 1)
        assert (found.id, found.content, found.metadata) == ("a", "east", {"n": 1})
        assert made.similarity_search("north", 1) == [Document("north", id="b")]


def test_bad_input(opened, call):
    made = PersistentVectorStore(opened, Compass())
    with pytest.raises(InvalidValueError, match="as many as the texts"):
        call(made, "add_texts", ["east", "north"], [{}])
    with pytest.raises(InvalidValueError, match="as many as the texts"):
        call(made, "add_texts", ["east", "north"], ids=["a"])
    with pytest.raises(SerializationError):
        call(made, "add_texts", ["east"], [{"n": object()}])
    call(made, "add_texts", ["east"])
    wider = PersistentVectorStore(opened, DeterministicFakeEmbedding(size=3))
    with pytest.raises(DimensionError):
        call(wider, "add_texts", ["east"])
    with pytest.raises(DimensionError):
        call(wider, "similarity_search", "east")


def test_what_is_no_store_and_no_model():
    store = MemoryKnowledgeStore()
    for wrong in (MemoryConversationStore(), "sqlite:///k.db", None):
        with pytest.raises(ConfigurationError, match="open_knowledge_store"):
            PersistentVectorStore(wrong, Compass())
    for wrong in (None, len, "text-embedding"):
        with pytest.raises(ConfigurationError, match="Embeddings"):
            PersistentVectorStore(store, wrong)
    with pytest.raises(InvalidValueError, match="cosine"):
        PersistentVectorStore(store, Compass(), distance="manhattan")
    with pytest.raises(InvalidIdentifierError):
        PersistentVectorStore(store, Compass(), collection="a; drop table")
