"""The vector store: searches, filters, nodes of every class, and errors."""

from __future__ import annotations

import asyncio
import copy
import itertools

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.conversation import MemoryConversationStore
from praisonai_persistence.errors import (
    ConfigurationError,
    DimensionError,
    FilterError,
    InvalidIdentifierError,
    InvalidValueError,
    SerializationError,
    UnsupportedOperationError,
)
from praisonai_persistence.knowledge import (
    AsyncMemoryKnowledgeStore,
    AsyncSQLiteKnowledgeStore,
    MemoryKnowledgeStore,
    SQLiteKnowledgeStore,
)
from praisonai_persistence_llamaindex import PersistentVectorStore

STORES = {
    "memory": lambda path: MemoryKnowledgeStore(),
    "sqlite": lambda path: SQLiteKnowledgeStore(path=path / "k.db"),
    "async memory": lambda path: AsyncMemoryKnowledgeStore(),
    "async sqlite": lambda path: AsyncSQLiteKnowledgeStore(path=path / "k.db"),
}
PLACES = {
    "east": [1.0, 0.0],
    "north": [0.0, 1.0],
    "west": [-1.0, 0.0],
    "nearly east": [0.875, 0.125],
    "far": [3.0, 0.0],
}
METADATA = [
    {"n": 0, "side": "e", "tags": ["a", "b"], "null": None, "$odd": 1},
    {"n": 1, "side": "n", "tags": [], "flag": True, "empty": ""},
    {"n": 2.5, "side": "w", "tags": ["b", "c"], "null": 1},
    {"n": 3, "side": "nn"},
    {"side": "f", "tags": ["c"], "mixed": ["1", 1]},
]


@pytest.fixture(params=STORES)
def opened(request, tmp_path):
    store = STORES[request.param](tmp_path)
    yield store
    closed = store.close()
    if closed is not None:
        asyncio.run(closed)


def places():
    """Return nodes a to e, the first three of which are from the document x, the others from y."""
    return [
        TextNode(
            id_="abcde"[number],
            text=text,
            embedding=vector,
            metadata=METADATA[number],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="x" if number < 3 else "y")},
        )
        for number, (text, vector) in enumerate(PLACES.items())
    ]


@pytest.fixture
def vectors(opened, call):
    made = PersistentVectorStore(opened, collection="places")
    assert call(made, "add", places()) == list("abcde")
    return made


def query(text="east", k=9, **more):
    return VectorStoreQuery(query_embedding=PLACES[text], similarity_top_k=k, **more)


def one(key, operator, value=None):
    return MetadataFilter(key=key, operator=operator, value=value)


def group(condition, *filters):
    return MetadataFilters(filters=list(filters), condition=condition)


def test_queries(vectors, call):
    found = call(vectors, "query", query("east", 3))
    assert found.ids == ["a", "e", "d"]
    assert [node.text for node in found.nodes] == ["east", "far", "nearly east"]
    assert found.similarities == pytest.approx([1, 1, 0.9899495])
    (node,) = call(vectors, "query", query("north", 1)).nodes
    assert node == places()[1].model_copy(update={"embedding": None})
    assert call(vectors, "query", query(k=0)).ids == []
    assert call(vectors, "query", query(doc_ids=["y"])).ids == ["e", "d"]
    assert call(vectors, "query", query(node_ids=["b", "d", "unknown", "b"])).ids == ["d", "b"]
    few = query(k=1, node_ids=["b", "d"], filters=group("and", one("n", "<", 2)))
    assert call(vectors, "query", few).ids == ["b"]
    assert call(vectors, "query", query(doc_ids=[])).ids == []
    assert len(call(vectors, "query", query(node_ids=[])).ids) == 5  # what a retriever gives that names no nodes


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_named_nodes_have_the_similarities_of_a_search(opened, call, distance):
    made = PersistentVectorStore(opened, distance=distance)
    call(made, "add", places())
    whole = call(made, "query", query("nearly east"))
    named = call(made, "query", query("nearly east", node_ids=list("edcba")))
    assert named.ids == whole.ids
    assert named.similarities == pytest.approx(whole.similarities)
    assert whole.similarities == sorted(whole.similarities, reverse=True)


def test_what_is_diverse(vectors, call):
    mode = VectorStoreQueryMode.MMR
    assert call(vectors, "query", query(k=3, mode=mode, mmr_threshold=1.0)).ids == ["a", "e", "d"]
    diverse = call(vectors, "query", query(k=2, mode=mode), mmr_threshold=0.2)
    assert diverse.ids == [node.node_id for node in diverse.nodes] == ["a", "c"]
    assert [type(similarity) for similarity in diverse.similarities] == [float] * 2


CONDITIONS = [
    one("side", "==", "e"),
    one("n", "==", 1),
    one("n", "==", 1.0),
    one("n", "!=", 1),
    one("n", ">", 1),
    one("n", ">=", 1),
    one("n", "<", 2.5),
    one("n", "<=", 2.5),
    one("side", ">", "e"),
    one("side", "in", ["e", "w", "x"]),
    one("n", "in", [0, 3]),
    one("side", "nin", ["e", "w"]),
    one("side", "in", []),
    one("tags", "contains", "b"),
    one("tags", "any", ["a", "c"]),
    one("tags", "all", ["b", "c"]),
    one("tags", "is_empty"),
    one("null", "is_empty"),
    one("empty", "is_empty"),
    one("nowhere", "is_empty"),
    one("nowhere", "==", 1),
    one("nowhere", "!=", 1),
    one("nowhere", "nin", [1]),
    one("null", "!=", 1),
    one("$odd", "==", 1),
]


def reference(filters):
    """Return the ids that LlamaIndex's own evaluator selects."""
    metadata = {node.node_id: node.metadata for node in places()}
    return [id_ for id_ in "abcde" if build_metadata_filter_fn(metadata.__getitem__, filters)(id_)]


def ids(nodes):
    return [node.node_id for node in nodes]


def test_operators_select_what_llamaindex_does(vectors, call):
    for condition in CONDITIONS:
        filters = group("and", condition)
        wanted = reference(filters)
        assert sorted(call(vectors, "query", query(filters=filters)).ids) == wanted, condition
        assert ids(call(vectors, "get_nodes", None, filters)) == wanted, condition


def test_conditions_select_what_llamaindex_does(vectors):
    for condition in FilterCondition:
        for parts in itertools.combinations(CONDITIONS[:12], 2):
            filters = group(condition, *parts)
            assert sorted(vectors.query(query(filters=filters)).ids) == reference(filters), filters


def test_nested_conditions(vectors, call):
    """LlamaIndex's own evaluator refuses them."""
    east, low, high = one("side", "==", "e"), one("n", "<", 2), one("n", ">", 2)

    def found(filters):
        return "".join(sorted(call(vectors, "query", query(filters=filters)).ids))

    assert found(group("and", group("or", east, high), low)) == "a"
    assert found(group("or", group("and", east, low), group("and", high, one("side", "==", "w")))) == "ac"
    assert found(group("not", group("or", east, high))) == "be"
    assert found(group("not", group("not", east))) == "a"
    assert found(group("and", group("not", east, low), one("tags", "contains", "c"))) == "ce"
    assert found(group(None, east, low)) == "a"
    assert found(group("or")) == "abcde"


def test_types_are_kept_apart(vectors, call):
    def found(*condition):
        return "".join(sorted(call(vectors, "query", query(filters=group("and", one(*condition)))).ids))

    assert found("flag", "==", 1) == ""  # True is not 1
    assert found("n", "==", "1") == ""
    assert found("n", ">", "0") == ""
    assert found("mixed", "contains", 1) == "e"


def test_the_source_document_is_found_by_the_names_that_llamaindex_gives_it(vectors, call):
    for key in ("doc_id", "document_id", "ref_doc_id"):
        assert sorted(call(vectors, "query", query(filters=group("and", one(key, "==", "y")))).ids) == ["d", "e"]


def test_filters_that_are_refused(vectors, call):
    nested = group("and", one("n", "==", 1))
    for _ in range(60):
        nested = group("and", nested)
    refused = [
        group("and", one("side", "text_match", "e")),
        group("or", one("n", "==", 1), one("side", "text_match_insensitive", "E")),
        group("and", one("n", "==")),
        group("not", one("n", "in")),
        group("and", one("side", "in", "e")),
        group("and", one("tags", "any", "a")),
        group("and", one("tags", "all", [])),
        group("and", one("n", ">", [1])),
        group("or", one("n", "==", 1), group("and")),
        nested,
        {"n": 1},
        "n = 1",
    ]
    for filters in refused:
        for name, arguments in (
            ("query", (query(filters=filters),)),
            ("query", (query(filters=filters, node_ids=["a"]),)),
            ("get_nodes", (None, filters)),
            ("delete_nodes", (["a"], filters)),
        ):
            with pytest.raises(FilterError):
                call(vectors, name, *arguments)
    assert len(call(vectors, "get_nodes")) == 5
    assert set(FilterOperator) == {condition.operator for condition in CONDITIONS} | {
        FilterOperator.TEXT_MATCH,
        FilterOperator.TEXT_MATCH_INSENSITIVE,
    }


def test_a_keyword_that_is_not_known_is_no_filter_that_is_ignored(vectors, call):
    for name in ("where", "filter", "qdrant_filters"):
        with pytest.raises(TypeError, match=name):
            call(vectors, "query", query(), **{name: {"n": 1}})
        with pytest.raises(TypeError, match=name):
            call(vectors, "delete_nodes", ["a"], **{name: {"n": 1}})


def test_nodes_and_deletion(vectors, call):
    assert call(vectors, "get_nodes", ["c", "unknown", "a", "c"]) == [places()[2], places()[0]]
    assert call(vectors, "get_nodes", list("abc"), group("and", one("n", ">", 0))) == places()[1:3]
    assert call(vectors, "get_nodes") == places()
    call(vectors, "delete_nodes", ["a", "unknown"])
    call(vectors, "delete_nodes", None, group("and", one("n", ">", 2)))
    assert ids(call(vectors, "get_nodes")) == ["b", "e"]
    call(vectors, "delete_nodes", ["b"], group("and", one("n", ">", 2)))
    call(vectors, "delete_nodes", [])
    with pytest.raises(InvalidValueError):
        call(vectors, "delete_nodes")
    call(vectors, "delete", "x")
    call(vectors, "delete", "unknown")
    assert ids(call(vectors, "get_nodes")) == ["e"]
    call(vectors, "clear")
    assert call(vectors, "get_nodes") == []


def test_before_anything_is_added(opened, call):
    made = PersistentVectorStore(opened)
    assert call(made, "query", query()).ids == []
    assert call(made, "query", query(node_ids=["a"])).nodes == []
    assert call(made, "query", query(mode=VectorStoreQueryMode.MMR)).ids == []
    assert call(made, "get_nodes") == []
    assert call(made, "get_nodes", ["a"]) == []
    assert call(made, "add", []) == []
    call(made, "delete", "x")
    call(made, "delete_nodes", ["a"])
    call(made, "clear")
    with pytest.raises(FilterError):
        call(made, "query", query(filters=group("and", one("n", "=="))))


class MyNode(TextNode):
    """A class of the caller's own."""

    colour: str = "red"


SOURCE = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d", metadata={"a": 1}, hash="h")}
PNG = b"\x89PNG\r\n\x1a\n0000"
NODES = [
    TextNode(text="plain"),
    TextNode(text="", metadata={}),
    TextNode(
        text="NUL \x00, half \ud83d, \x1a",
        metadata={"k\x00": "\ud83d", "deep": [{"a": [None, 1.5]}], "doc_id": "mine", "ref_doc_id": 3},
        relationships={**SOURCE, NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c")]},
        excluded_llm_metadata_keys=["deep"],
        start_char_idx=3,
        text_template="{content}",
    ),
    TextNode(text="reserved", metadata={"llamaindex": {"class": "Node", "data": 1}}),
    ImageNode(text="caption", image="aGVsbG8=", image_mimetype="image/png"),
    IndexNode(text="index", index_id="i", obj=TextNode(id_="o", text="object")),
    Node(text_resource=MediaResource(text="resource"), image_resource=MediaResource(data=PNG)),
    Node(image_resource=MediaResource(data=PNG)),
    Document(text="document", metadata={"ref_doc_id": "x"}),
    Document(text=""),
    ImageDocument(image="aGVsbG8=", metadata={"a": 1}),
    MyNode(text="mine", colour="blue", relationships=SOURCE),
]


def test_every_class_of_node_comes_back_as_it_was(opened, call):
    made = PersistentVectorStore(opened)
    for node in NODES:
        node.embedding = [1.0, 0.0]
    before = copy.deepcopy(NODES)
    call(made, "add", NODES)
    assert before == NODES
    found = call(made, "get_nodes", [node.node_id for node in NODES])
    assert found == NODES
    assert [type(node) for node in found] == [type(node) for node in NODES]
    assert found[6].image_resource.data == NODES[6].image_resource.data
    call(made, "add", found)
    assert call(made, "get_nodes", [node.node_id for node in NODES]) == NODES


def test_a_newer_class_and_newer_fields_are_kept_whole(tmp_path):
    with SQLiteKnowledgeStore(path=tmp_path / "k.db") as store:
        made = PersistentVectorStore(store)
        made.add([TextNode(id_="a", text="hi", embedding=[1.0, 0.0], metadata={"n": 1}, relationships=SOURCE)])
        (stored,) = store.get("llamaindex", ["a"])
        own = stored.metadata["llamaindex"]
        newer = [
            {**own, "class": "HologramNode", "data": {**own["data"], "rays": [1, 2]}},
            {**own, "data": {**own["data"], "rays": [1, 2]}},
            {**own, "class": "HologramNode", "data": {"relationships": {"99": {"node_id": "d"}}}},
        ]
        for number, kind in enumerate(newer):
            stored.id, stored.metadata["llamaindex"] = f"{number}", kind
            store.upsert("llamaindex", [stored])
        before = store.get("llamaindex", ["0", "1", "2"])
        found = made.get_nodes(["0", "1", "2"])
        assert [(node.text, node.metadata, node.embedding) for node in found] == [("hi", {"n": 1}, [1.0, 0.0])] * 3
        assert [node.ref_doc_id for node in found[:2]] == ["d", "d"]
        made.add(found)
        after = store.get("llamaindex", ["0", "1", "2"])
        for one_before, one_after in zip(before, after, strict=True):
            kept = one_before.metadata["llamaindex"]
            assert one_after.metadata["llamaindex"]["class"] == kept["class"]
            assert one_after.metadata["llamaindex"]["data"].items() >= kept["data"].items()
            assert (one_after.content, one_after.metadata["n"]) == ("hi", 1)


def test_other_readers_find_text_and_metadata_and_the_reverse(tmp_path):
    with SQLiteKnowledgeStore(path=tmp_path / "k.db") as store:
        made = PersistentVectorStore(store, collection="places")
        made.add(places())
        (found,) = store.search("places", [1.0, 0.0], 1, {"n": 0, "ref_doc_id": "x"})
        assert (found.id, found.content, found.metadata["tags"]) == ("a", "east", ["a", "b"])
        store.upsert("places", [KnowledgeDocument("z", "south", [0.0, -1.0], {"n": 9})])
        (node,) = made.query(VectorStoreQuery(query_embedding=[0.0, -1.0], similarity_top_k=1)).nodes
        assert node == TextNode(id_="z", text="south", metadata={"n": 9})


def test_an_index_on_it(vectors, call):
    index = VectorStoreIndex.from_vector_store(vectors, embed_model=MockEmbedding(embed_dim=2))
    retriever = index.as_retriever(similarity_top_k=2, filters=group("and", one("n", ">", 1)))
    assert sorted(found.node_id for found in call(retriever, "retrieve", "anything")) == ["c", "d"]
    index.insert_nodes([TextNode(id_="new", text="new")])
    assert ids(call(vectors, "get_nodes", ["new"])) == ["new"]
    index.delete_nodes(["new"])
    index.delete_ref_doc("x")
    assert ids(call(vectors, "get_nodes")) == ["d", "e"]
    storage = StorageContext.from_defaults(vector_store=vectors)
    VectorStoreIndex([TextNode(id_="n", text="n")], storage_context=storage, embed_model=MockEmbedding(embed_dim=2))
    assert ids(call(vectors, "get_nodes")) == ["d", "e", "n"]


def test_bad_input(opened, call):
    made = PersistentVectorStore(opened)
    with pytest.raises(DimensionError):
        call(made, "add", [TextNode(text="no embedding")])
    for wrong in ("text", None, KnowledgeDocument()):
        with pytest.raises(InvalidValueError, match="llama_index"):
            call(made, "add", [wrong])
    for value in (object(), float("nan"), {1}):
        with pytest.raises(SerializationError):
            call(made, "add", [TextNode(text="x", embedding=[1.0], metadata={"x": value})])
    with pytest.raises(InvalidValueError):
        call(made, "add", [TextNode(id_="x" * 300, text="x", embedding=[1.0])])
    call(made, "add", [TextNode(text="x", embedding=[1.0])])
    with pytest.raises(DimensionError):
        call(made, "query", query())
    with pytest.raises(DimensionError):
        call(made, "query", query(node_ids=["a"]))
    with pytest.raises(InvalidValueError, match="query_embedding"):
        call(made, "query", VectorStoreQuery(query_str="east"))
    for mode in set(VectorStoreQueryMode) - {VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR}:
        with pytest.raises(UnsupportedOperationError, match="MMR"):
            call(made, "query", query(mode=mode))


def test_what_is_no_store():
    for wrong in (MemoryConversationStore(), "sqlite:///k.db", None):
        with pytest.raises(ConfigurationError, match="open_knowledge_store"):
            PersistentVectorStore(wrong)
    store = MemoryKnowledgeStore()
    with pytest.raises(InvalidValueError, match="cosine"):
        PersistentVectorStore(store, distance="manhattan")
    with pytest.raises(InvalidIdentifierError):
        PersistentVectorStore(store, collection="a; drop table")
    made = PersistentVectorStore(store)
    assert isinstance(made, BasePydanticVectorStore)
    assert made.client is store
    assert made.model_dump() == {
        "stores_text": True,
        "is_embedding_query": True,
        "class_name": "PersistentVectorStore",
    }
