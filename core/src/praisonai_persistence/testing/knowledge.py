"""The suite of knowledge stores: clauses K01 to K12."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from praisonai_persistence.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    ConnectionFailedError,
    DimensionError,
    DocumentExistsError,
    FilterError,
    InvalidIdentifierError,
    InvalidValueError,
    PersistenceError,
    SerializationError,
    StoreClosedError,
)
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.memory import MemoryKnowledgeStore
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing._filter_cases import (
    FILTERS,
    KEYS,
    POOL,
    REFUSED_FILTERS,
    VALUES,
    escaped,
    single_filters,
)
from praisonai_persistence.testing._knowledge_bodies import document, script
from praisonai_persistence.testing._schema import check_schema
from praisonai_persistence.testing._watch import Watch
from praisonai_persistence.testing.clauses import MODEL
from praisonai_persistence.testing.corpus import (
    HOSTILE_IDS,
    HOSTILE_OBJECTS,
    HOSTILE_TEXTS,
    LARGE_TEXTS,
    REFUSED_IDENTIFIERS,
    REFUSED_IDS,
    REFUSED_JSON,
    REFUSED_NUMBERS,
    identical,
    nested,
    shorten,
)
from praisonai_persistence.testing.harness import (
    Moments,
    OpenStore,
    Race,
    Spawn,
    Unsupported,
    declares,
    needs_fixture,
    only,
    raw,
    settled,
    split,
)
from praisonai_persistence.testing.lifecycle import LifecycleSuite
from praisonai_persistence.testing.spec import StoreSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["KnowledgeStoreSuite"]

BODIES = "praisonai_persistence.testing._knowledge_bodies"
DISTANCES = ("cosine", "dot", "euclidean")
ALL = 1_000_000
"""A limit above every number of documents."""
MANY = 1_000
TOLERANCE = 1e-5
"""How far a score may be off; for inner products, in units of the product of the lengths."""

NO_EMBEDDING: list[Any] = [None, [], ()]
NO_NUMBERS: list[Any] = [
    *([number, 1.0, 1.0] for number in REFUSED_NUMBERS),
    [1e39, 0.0, 0.0],
    [0.0, 10**400, 0.0],
    ["1", "2", "3"],
    [None, 1.0, 1.0],
    "abc",
    b"123456789012",
    5,
    object(),
]
NO_COUNTS: list[Any] = [-1, 1.5, True, "1", None]

SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


# ------------------------------------------------------------------------------------------------------------- oracles


def rounded(vector: Iterable[float]) -> list[float]:
    """Return the vector as 32-bit floats keep it."""
    return [struct.unpack("<f", struct.pack("<f", number))[0] for number in vector]


def true_score(distance: str, query: Sequence[float], vector: Sequence[float]) -> float:
    """Return the score in 64 bits, of what 32 bits keep."""
    a, b = rounded(query), rounded(vector)
    if distance == "euclidean":
        return 1 / (1 + math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))))
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    if distance == "dot":
        return product
    lengths = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(y * y for y in b))
    return product / lengths if lengths else 0.0


def unit(distance: str, query: Sequence[float], vector: Sequence[float]) -> float:
    """Return what scores are measured in."""
    return max(1.0, math.hypot(*query) * math.hypot(*vector)) if distance == "dot" else 1.0


def assert_best(
    distance: str,
    query: Sequence[float],
    vectors: Mapping[str, Sequence[float]],
    found: Sequence[KnowledgeDocument],
    limit: int,
) -> None:
    """The documents found are truly the nearest of ``vectors``, best first; near ties may change places."""
    truth = {name: true_score(distance, query, vector) for name, vector in vectors.items()}
    tolerance = TOLERANCE * max((unit(distance, query, vector) for vector in vectors.values()), default=1.0)
    names = [item.id for item in found]
    assert len(names) == len(set(names)) == min(limit, len(vectors))
    scores: list[float] = []
    for item in found:
        assert item.score is not None
        assert item.score == pytest.approx(truth[item.id], abs=tolerance), f"{item.id} has a wrong score"
        scores.append(item.score)
    assert scores == sorted(scores, reverse=True), "not best first"
    if names:
        worst = sorted(truth.values(), reverse=True)[len(names) - 1]
        missed = [name for name, score in truth.items() if score > worst + 2 * tolerance and name not in names]
        assert not missed, f"missed {missed}"
        wrong = [name for name in names if truth[name] < worst - 2 * tolerance]
        assert not wrong, f"{wrong} are not among the nearest"


def same(found: KnowledgeDocument, given_document: KnowledgeDocument, *, embedding: bool = True) -> bool:
    """Whether a document came back as it was given, but for the score."""
    vector = found.embedding == rounded(given_document.embedding or []) if embedding else found.embedding is None
    return vector and all(
        identical(getattr(found, name), getattr(given_document, name))
        for name in ("id", "content", "metadata", "content_hash", "created_at")
    )


def make(name: str, vector: Sequence[float] = (1.0, 0.0, 0.0), **fields: Any) -> KnowledgeDocument:
    """Return a document."""
    return KnowledgeDocument(name, embedding=list(vector), **{"created_at": 5.0, **fields})


def ids(documents: Iterable[KnowledgeDocument]) -> list[str]:
    """Return the ids."""
    return [item.id for item in documents]


async def everything(store: Any, collection: str = "docs") -> dict[str, KnowledgeDocument]:
    """Return all documents of a collection, with their embeddings."""
    found = await _look(store, collection)
    assert len(found) == await store.count(collection)
    return {item.id: item for item in found}


async def survivors(store: Any) -> dict[str, KnowledgeDocument]:
    """Return the same, of a collection that a process wrote to that was killed."""

    async def look() -> tuple[int, list[KnowledgeDocument]]:
        return await store.count("docs"), await _look(store, "docs")

    counted, found = await settled(look)
    assert len(found) == counted
    return {item.id: item for item in found}


async def _look(store: Any, collection: str) -> list[KnowledgeDocument]:
    dimension = (await store.get_collection(collection)).dimension
    found: list[KnowledgeDocument] = await store.search(collection, [1.0] * dimension, ALL, with_embeddings=True)
    for item in found:
        item.score = None
    return found


# ----------------------------------------------------------------------------------------------------------- the model

_IDS = ["a", "A", "a ", "\U0001f600"]
_NAMES = st.sampled_from(_IDS)
# Small whole numbers: their inner products and distances are the same in 32 bits as in 64, and so are ties.
_VECTORS = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0]), min_size=2, max_size=2)
_METADATA = st.none() | st.dictionaries(
    st.sampled_from(["x", "y"]), st.sampled_from([None, True, 1, 1.0, "1", "", [1], {"a": 1}]), max_size=2
)
_DOCUMENTS = st.builds(
    KnowledgeDocument,
    id=_NAMES,
    content=st.sampled_from(["", "text", "\0\ud800"]),
    embedding=_VECTORS,
    metadata=_METADATA,
    content_hash=st.sampled_from([None, "", "hash"]),
    created_at=st.sampled_from([0.0, 1.5]),
)
_SMALL_FILTERS = st.sampled_from(
    [
        None,
        {},
        {"x": 1},
        {"x": True},
        {"x": {"$ne": 1}},
        {"x": {"$exists": False}},
        {"y": {"$gt": 0}},
        {"$or": [{"x": "1"}, {"y": None}]},
        {"$not": {"y": {"$contains": 1}}},
        {"x": {"$in": [1, ""]}, "y": {"$exists": True}},
    ]
)
_COLLECTIONS = st.sampled_from([*["docs"] * 12, "other", "docs-2"])  # most steps should find something to do
# No call is wrong in two ways at once: which of them is told first is not promised.
_COMMANDS = st.one_of(
    st.tuples(
        st.just("create_collection"),
        _COLLECTIONS,
        st.sampled_from([2, 2, 3]),
        st.sampled_from(["dot", "euclidean"]),
        st.sampled_from([None, {}, {"a": 1}]),
    ),
    st.tuples(st.just("delete_collection"), st.sampled_from(["docs", "other", "other", "docs-2"])),
    st.tuples(st.just("collection_exists"), _COLLECTIONS),
    st.tuples(st.just("list_collections")),
    st.tuples(st.just("insert"), _COLLECTIONS, st.lists(_DOCUMENTS, max_size=3, unique_by=lambda item: item.id)),
    st.tuples(st.just("upsert"), _COLLECTIONS, st.lists(_DOCUMENTS, max_size=3)),
    st.tuples(st.just("upsert"), _COLLECTIONS, st.lists(_DOCUMENTS, min_size=1, max_size=2)),
    st.tuples(
        st.just("search"),
        _COLLECTIONS,
        _VECTORS,
        st.sampled_from([0, 1, 2, 100]),
        _SMALL_FILTERS,
        st.sampled_from([None, None, 0.25, -1.0]),
    ),
    st.tuples(st.just("get"), _COLLECTIONS, st.lists(_NAMES, max_size=3)),
    st.tuples(st.just("count"), _COLLECTIONS, _SMALL_FILTERS),
    st.tuples(st.just("delete"), _COLLECTIONS, st.lists(_NAMES, max_size=2), _SMALL_FILTERS),
    st.tuples(st.just("delete"), _COLLECTIONS, st.none(), _SMALL_FILTERS.filter(bool)),
    st.tuples(st.just("clear_collection"), _COLLECTIONS),
)


def _plain(name: str, result: Any) -> Any:
    """Return a result in a form that can be compared; scores apart."""
    if name in {"search", "get"}:
        return [[item.to_dict()[key] for key in item.to_dict() if key != "score"] for item in result]
    return result


def _scores(name: str, result: Any) -> list[float]:
    return [item.score for item in result] if name == "search" else []


def model_call(model: MemoryKnowledgeStore, name: str, *arguments: Any) -> tuple[str, Any]:
    """Return what the reference returned or raised."""
    try:
        return "returned", getattr(model, name)(*arguments)
    except PersistenceError as error:
        return "raised", type(error)


async def call(store: Any, name: str, *arguments: Any) -> tuple[str, Any]:
    """Return what the store returned or raised."""
    try:
        return "returned", await getattr(store, name)(*arguments)
    except PersistenceError as error:
        return "raised", type(error)


class KnowledgeStoreSuite(LifecycleSuite, suite=True):
    """What a knowledge store promises; see ``harness`` for how to use it."""

    kind = "knowledge"

    @pytest.fixture
    async def docs(self, store: Any) -> Any:
        """The store, with a collection ``docs`` of three dimensions and inner products."""
        await store.create_collection("docs", 3, "dot")
        return store

    # -------------------------------------------------------------------------------------------------- K01 collections

    async def test_k01_collections_are_created_listed_and_deleted(self, store: Any) -> None:
        """And known by what they were created with."""
        assert await store.list_collections() == []
        assert await store.collection_exists("one") is False
        assert await store.create_collection("one", 3) is None
        await store.create_collection("two", 4, "dot", {"a": [1, None]})
        await store.create_collection("three", 1, distance="euclidean", metadata={})
        assert await store.list_collections() == ["one", "three", "two"]
        assert await store.collection_exists("one") is True
        for name, dimension, distance, metadata in (
            ("one", 3, "cosine", None),
            ("two", 4, "dot", {"a": [1, None]}),
            ("three", 1, "euclidean", {}),
        ):
            info = await store.get_collection(name)
            assert (info.name, info.dimension, info.distance) == (name, dimension, distance)
            assert identical(info.metadata, metadata)
        assert await store.delete_collection("two") is None
        assert await store.collection_exists("two") is False
        assert await store.list_collections() == ["one", "three"]
        with pytest.raises(CollectionNotFoundError):
            await store.delete_collection("two")

    async def test_k01_creating_again_with_the_same_arguments_does_nothing(self, store: Any) -> None:
        """Documents stay; metadata are compared as JSON."""
        await store.create_collection("docs", 3, "dot", {"a": 1, "b": [None, True]})
        await store.insert("docs", [make("d")])
        await store.create_collection("docs", 3, "dot", {"a": 1, "b": [None, True]})
        await store.create_collection("docs", 3, "dot", {"b": [None, True], "a": 1.0})
        assert await store.count("docs") == 1
        assert await store.list_collections() == ["docs"]

    async def test_k01_creating_again_with_others_is_refused(self, store: Any) -> None:
        """Whichever argument differs; the collection stays as it is."""
        await store.create_collection("docs", 3, "dot", {"a": 1})
        await store.create_collection("none", 3)
        await store.insert("docs", [make("d")])
        for name, *arguments in (
            ("docs", 4, "dot", {"a": 1}),
            ("docs", 3, "cosine", {"a": 1}),
            ("docs", 3, "euclidean", {"a": 1}),
            ("docs", 3, "dot", {"a": 2}),
            ("docs", 3, "dot", {"a": True}),
            ("docs", 3, "dot", {"a": "1"}),
            ("docs", 3, "dot", {}),
            ("docs", 3, "dot"),
            ("none", 3, "cosine", {}),
            ("none", 3, "cosine", {"a": None}),
        ):
            with pytest.raises(CollectionExistsError):
                await store.create_collection(name, *arguments)
                pytest.fail(f"create_collection took {name}, {arguments}")
        info = await store.get_collection("docs")
        assert (info.dimension, info.distance, info.metadata) == (3, "dot", {"a": 1})
        assert await store.count("docs") == 1

    async def test_k01_metadata_of_collections_come_back(self, store: Any) -> None:
        """The hostile corpus, and as copies."""
        for number, metadata in enumerate(HOSTILE_OBJECTS):
            await store.create_collection(f"c{number}", 2, metadata=metadata)
            found = (await store.get_collection(f"c{number}")).metadata
            assert identical(found, metadata), f"{shorten(metadata)} came back as {shorten(found)}"
            await store.create_collection(f"c{number}", 2, metadata=metadata)
        given_metadata: dict[str, Any] = {"list": [1]}
        await store.create_collection("copy", 2, metadata=given_metadata)
        given_metadata["list"].append(2)
        (await store.get_collection("copy")).metadata["list"].append(3)
        (await store.get_collection("c0")).metadata["x"] = 1
        assert (await store.get_collection("copy")).metadata == {"list": [1]}
        assert (await store.get_collection("c0")).metadata == {}

    async def test_k01_refused_arguments(self, store: Any) -> None:
        """Nothing is created."""
        for dimension in (0, -1, 1.0, True, "3", None, math.nan):
            with pytest.raises(InvalidValueError):
                await store.create_collection("docs", dimension)
                pytest.fail(f"create_collection took the dimension {dimension!r}")
        for distance in ("", "Cosine", "l2", "ip", None, 1, ["dot"]):
            with pytest.raises(InvalidValueError):
                await store.create_collection("docs", 3, distance)
                pytest.fail(f"create_collection took the distance {distance!r}")
        for value in REFUSED_JSON:
            with pytest.raises(SerializationError):
                await store.create_collection("docs", 3, "dot", {"a": value})
                pytest.fail(f"create_collection took the metadata {shorten(value)}")
        not_objects: list[Any] = ["text", 1, [], True, [("a", 1)]]
        for value in not_objects:
            with pytest.raises(ValueError, match="metadata"):
                await store.create_collection("docs", 3, "dot", value)
        assert await store.list_collections() == []

    @pytest.mark.clause("K12")
    async def test_k01_refused_names(self, store: Any) -> None:
        """By every call, as identifiers."""
        for name in [*REFUSED_IDENTIFIERS, "", "-a", "a" * 49, None]:
            for method, arguments in (("create_collection", (3,)), ("collection_exists", ()), *self._calls()):
                with pytest.raises(InvalidIdentifierError):
                    await getattr(store, method)(name, *arguments)
                    pytest.fail(f"{method} took the collection {shorten(name)}")
        assert await store.list_collections() == []

    async def test_k01_names_are_all_different(self, store: Any) -> None:
        """Also those that an engine's own names would mix up, and its reserved words."""
        names = ["a-b", "a_b", "ab", "a__b", "a-b-", "_", "__", "_a", "select", "table", "order", "documents", "docs"]
        names += ["sqlite_master", "metadata", "a" * 48, "a" * 47, "a" * 47 + "b", "pg_class", "null", "x1"]
        for number, name in enumerate(names):
            await store.create_collection(name, 1 + number % 3, "dot")
            await store.insert(
                name,
                [make("d", [1.0] * (1 + number % 3), content=name), make(f"only {name}", [0.0] * (1 + number % 3))],
            )
        assert await store.list_collections() == sorted(names)
        for number, name in enumerate(names):
            assert (await store.get_collection(name)).dimension == 1 + number % 3
            assert (await store.get(name, ["d"]))[0].content == name
            assert sorted(ids(await store.search(name, [1.0] * (1 + number % 3), ALL))) == ["d", f"only {name}"]
            assert await store.clear_collection(name) == 2
        for name in names[::2]:
            await store.delete_collection(name)
        assert await store.list_collections() == sorted(names[1::2])

    async def test_k01_names_may_differ_in_case_alone(self, store: Any) -> None:
        """Or the second is refused, rather than mixed up with the first."""
        await store.create_collection("docs", 1, "dot")
        await store.insert("docs", [make("lower", [1.0])])
        try:
            await store.create_collection("Docs", 1, "dot")
        except InvalidIdentifierError:
            return
        assert await store.count("Docs") == 0
        await store.insert("Docs", [make("upper", [1.0])])
        assert ids(await store.search("docs", [1.0])) == ["lower"]
        await store.delete_collection("Docs")
        assert await store.list_collections() == ["docs"]

    async def test_k01_a_deleted_collection_leaves_nothing(self, store: Any) -> None:
        """It can be created anew, with another dimension."""
        await store.create_collection("docs", 3, "dot")
        await store.create_collection("other", 3, "dot")
        await store.insert("docs", [make("a", metadata={"x": 1}), make("b")])
        await store.insert("other", [make("a")])
        await store.delete_collection("docs")
        with pytest.raises(CollectionNotFoundError):
            await store.count("docs")
        await store.create_collection("docs", 2, "euclidean", {"new": True})
        assert await store.count("docs") == 0
        assert await store.get("docs", ["a", "b"]) == []
        assert await store.search("docs", [1.0, 0.0], ALL) == []
        assert await store.insert("docs", [make("a", [1.0, 1.0])]) == ["a"]
        assert ids(await store.search("docs", [1.0, 1.0], filters={"x": {"$exists": False}})) == ["a"]
        assert ids(await store.get("other", ["a"])) == ["a"]

    async def test_k01_racing_creators(self, store: Any, race: Race) -> None:
        """Equal ones all succeed, of others one kind does."""

        async def equal(worker: int) -> None:
            await store.create_collection("same", 3, "dot", {"a": 1})

        split(await race(equal))

        async def different(worker: int) -> int:
            await store.create_collection("docs", 1 + worker % 2, "dot")
            return 1 + worker % 2

        dimensions, refused = split(await race(different), CollectionExistsError)
        assert len(set(dimensions)) == 1
        assert len(dimensions) == len(refused) == 4
        assert (await store.get_collection("docs")).dimension == dimensions[0]
        assert await store.list_collections() == ["docs", "same"]

    # ------------------------------------------------------------------------------------------------------ K02 writing

    async def test_k02_insert_and_upsert_return_the_ids_in_order(self, docs: Any) -> None:
        """As given."""
        assert await docs.insert("docs", [make("b"), make("a"), make("c")]) == ["b", "a", "c"]
        assert await docs.upsert("docs", [make("d"), make("a"), make("0")]) == ["d", "a", "0"]
        assert await docs.insert("docs", []) == []
        assert await docs.upsert("docs", []) == []
        assert await docs.insert("docs", (make("t"),)) == ["t"]
        assert await docs.count("docs") == 6

    async def test_k02_every_field_comes_back(self, docs: Any) -> None:
        """From get and from search."""
        given_documents = [
            KnowledgeDocument("full", "content", [0.1, -2.5, 3e10], {"a": [1, {"b": None}]}, "hash", 1605398400.123456),
            KnowledgeDocument("empty", "", [0.0, 0.0, 0.0], {}, "", 0.0),
            KnowledgeDocument("none", "", [1.0, 2.0, 3.0], None, None, -1.5),
            KnowledgeDocument("far", "x", [1e-30, -1e-30, 1.0], None, None, 4e9),
        ]
        await docs.insert("docs", given_documents)
        for item in given_documents:
            found = (await docs.get("docs", [item.id]))[0]
            assert same(found, item), f"{item} came back as {found}"
            assert found.score is None
        for found in await docs.search("docs", [1.0, 1.0, 1.0], with_embeddings=True):
            assert same(found, next(item for item in given_documents if item.id == found.id))

    async def test_k02_insert_of_an_existing_id_is_refused(self, docs: Any) -> None:
        """With all of its batch; what is stored stays."""
        await docs.insert("docs", [make("a", content="first", metadata={"n": 1})])
        for batch in (
            [make("a", content="second")],
            [make("b"), make("a", content="second")],
            [make("a", content="second"), make("b")],
            [make("b"), make("c"), make("a"), make("d")],
        ):
            with pytest.raises(DocumentExistsError):
                await docs.insert("docs", batch)
            assert await docs.count("docs") == 1
            assert same((await docs.get("docs", ["a"]))[0], make("a", content="first", metadata={"n": 1}))

    async def test_k02_an_id_may_not_stand_twice_in_an_insert(self, docs: Any) -> None:
        """Nothing is written."""
        with pytest.raises(DocumentExistsError):
            await docs.insert("docs", [make("a"), make("b"), make("a")])
        assert await docs.count("docs") == 0

    async def test_k02_upsert_replaces_all_of_a_document(self, docs: Any) -> None:
        """And the others stay; of an id that stands twice the last one stays."""
        await docs.insert("docs", [make("a", [1, 0, 0], content="old", metadata={"n": 1}, content_hash="h"), make("b")])
        new = KnowledgeDocument("a", "new", [0.0, 1.0, 0.0], {"m": 2}, None, 9.0)
        assert await docs.upsert("docs", [make("c"), new]) == ["c", "a"]
        assert same((await docs.get("docs", ["a"]))[0], new)
        assert await docs.count("docs") == 3
        assert ids(await docs.search("docs", [0.0, 1.0, 0.0], 1)) == ["a"]
        assert await docs.count("docs", {"n": 1}) == 0
        assert await docs.count("docs", {"m": 2}) == 1
        twice = [make("a", content="first"), make("d"), make("a", [0, 0, 1], content="last")]
        assert await docs.upsert("docs", twice) == ["a", "d", "a"]
        assert same((await docs.get("docs", ["a"]))[0], twice[2])
        assert await docs.count("docs") == 4

    async def test_k02_an_equal_upsert_changes_nothing(self, docs: Any) -> None:
        """However often."""
        for _ in range(3):
            await docs.upsert("docs", [make("a", content="x", metadata={"n": 1})])
        assert await docs.count("docs") == 1
        assert same((await docs.get("docs", ["a"]))[0], make("a", content="x", metadata={"n": 1}))

    async def test_k02_large_batches(self, docs: Any) -> None:
        """More than an engine takes as parameters of one statement."""
        batch = [document("d", number, 1) for number in range(3_000)]
        assert await docs.insert("docs", batch) == ids(batch)
        assert await docs.count("docs") == 3_000
        changed = [document("d", number, 2) for number in range(3_000)]
        assert await docs.upsert("docs", changed) == ids(changed)
        assert await docs.count("docs", {"turn": 2}) == 3_000
        found = await docs.get("docs", ids(reversed(batch)))
        assert ids(found) == ids(reversed(batch))
        assert all(item.content == "content 2" for item in found)
        assert await docs.delete("docs", ids(batch[:2_000])) == 2_000
        assert len(await docs.search("docs", [1.0, 0.0, 0.0], ALL)) == 1_000

    async def test_k02_documents_are_copies(self, docs: Any) -> None:
        """Neither what was given nor what was returned is the stored one; a record is never changed."""
        given_document = make("a", [1.0, 2.0, 3.0], metadata={"list": [1]}, content="x")
        before = KnowledgeDocument.from_dict(given_document.to_dict())
        await docs.insert("docs", [given_document])
        assert given_document == before
        given_document.metadata["list"].append(2)  # type: ignore[index]
        given_document.embedding[0] = 9.0  # type: ignore[index]
        given_document.content = "y"
        wanted = make("a", [1.0, 2.0, 3.0], metadata={"list": [1]}, content="x")
        found = (await docs.get("docs", ["a"]))[0]
        assert same(found, wanted)
        found.metadata["list"].append(3)
        found.embedding[0] = 8.0
        found = (await docs.search("docs", [1.0, 0.0, 0.0], with_embeddings=True))[0]
        assert same(found, wanted)
        found.metadata["x"] = 1
        found.embedding[1] = 7.0
        assert same((await docs.get("docs", ["a"]))[0], wanted)

    async def test_k02_of_racing_inserts_of_an_id_one_wins(self, docs: Any, race: Race) -> None:
        """And what is stored is all the winner's, its batch included."""
        for turn in range(5):

            async def body(worker: int, turn: int = turn) -> int:
                own = [document(f"{turn}-own-{worker}", 0, worker), document(f"{turn}-common", 0, worker)]
                await docs.insert("docs", own)
                return worker

            winners, losers = split(await race(body, workers=6), DocumentExistsError)
            assert len(winners) == 1
            assert len(losers) == 5
            assert same((await docs.get("docs", [f"{turn}-common-0"]))[0], document(f"{turn}-common", 0, winners[0]))
            written = [item for item in await everything(docs) if item.startswith(f"{turn}-")]
            assert sorted(written) == sorted([f"{turn}-common-0", f"{turn}-own-{winners[0]}-0"])

    async def test_k02_racing_upserts_of_an_id_leave_one_whole_document(self, docs: Any, race: Race) -> None:
        """Whoever is last."""

        async def body(worker: int) -> None:
            for turn in range(5):
                await docs.upsert("docs", [document("same", number, worker * 10 + turn) for number in range(3)])

        split(await race(body))
        assert await docs.count("docs") == 3
        for number in range(3):
            found = (await docs.get("docs", [f"same-{number}"]))[0]
            turn = found.metadata["turn"]
            assert turn % 10 == 4
            assert same(found, document("same", number, turn))
            assert await docs.count("docs", {"turn": turn, "number": number}) == 1

    # ----------------------------------------------------------------------------------------------------- K03 refusals

    def _calls(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Every call that names a collection, what comes after its name."""
        return [
            ("delete_collection", ()),
            ("get_collection", ()),
            ("insert", ([make("a")],)),
            ("insert", ([],)),
            ("upsert", ([make("a")],)),
            ("upsert", ([],)),
            ("search", ([1.0, 0.0, 0.0],)),
            ("search", ([1.0, 0.0, 0.0], 0)),
            ("search", ([1.0], 3, {"a": 1})),
            ("get", (["a"],)),
            ("get", ([],)),
            ("count", ()),
            ("count", ({"a": 1},)),
            ("delete", (["a"],)),
            ("delete", ([],)),
            ("delete", (None, {"a": 1})),
            ("clear_collection", ()),
        ]

    async def test_k03_an_unknown_collection_is_refused_by_every_call(self, store: Any) -> None:
        """Also with nothing to do."""
        await store.create_collection("other", 3)
        await store.create_collection("deleted", 3)
        await store.delete_collection("deleted")
        for name in ("docs", "deleted", "othe", "other_"):
            assert await store.collection_exists(name) is False
            for method, arguments in self._calls():
                with pytest.raises(CollectionNotFoundError) as caught:
                    await getattr(store, method)(name, *arguments)
                    pytest.fail(f"{method}{arguments} worked on an unknown collection")
                assert isinstance(caught.value, KeyError)
        assert await store.list_collections() == ["other"]
        assert await store.count("other") == 0

    async def test_k03_a_wrong_dimension_is_refused_before_the_write(self, docs: Any) -> None:
        """Wherever in the batch it stands."""
        await docs.insert("docs", [make("old", content="old")])
        for vector in ([1.0], [1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [0.0] * 300):
            for method in ("insert", "upsert"):
                for batch in (
                    [make("a", vector)],
                    [make("a"), make("b"), make("c", vector)],
                    [make("c", vector), make("a"), make("b")],
                    [make("a"), make("old" if method == "upsert" else "c", vector, content="new")],
                ):
                    with pytest.raises(DimensionError) as caught:
                        await getattr(docs, method)("docs", batch)
                        pytest.fail(f"{method} took {len(vector)} numbers")
                    assert isinstance(caught.value, ValueError)
            with pytest.raises(DimensionError):
                await docs.search("docs", vector)
                pytest.fail(f"search took {len(vector)} numbers")
        assert ids((await everything(docs)).values()) == ["old"]
        assert (await docs.get("docs", ["old"]))[0].content == "old"

    async def test_k03_a_missing_embedding_is_refused_before_the_write(self, docs: Any) -> None:
        """None and no numbers."""
        for vector in NO_EMBEDDING:
            for method in ("insert", "upsert"):
                with pytest.raises(DimensionError):
                    await getattr(docs, method)("docs", [make("a"), KnowledgeDocument("b", embedding=vector)])
                    pytest.fail(f"{method} took {vector!r}")
            with pytest.raises(DimensionError):
                await docs.search("docs", vector)
                pytest.fail(f"search took {vector!r}")
        assert await docs.count("docs") == 0

    async def test_k03_what_is_no_number_is_refused_before_the_write(self, docs: Any) -> None:
        """NaN, infinities, and what 32 bits cannot hold."""
        for vector in NO_NUMBERS:
            for method in ("insert", "upsert"):
                with pytest.raises(InvalidValueError) as caught:
                    await getattr(docs, method)("docs", [make("a"), KnowledgeDocument("b", embedding=vector)])
                    pytest.fail(f"{method} took {vector!r}")
                assert isinstance(caught.value, ValueError)
            with pytest.raises(InvalidValueError):
                await docs.search("docs", vector)
                pytest.fail(f"search took {vector!r}")
        assert await docs.count("docs") == 0

    async def test_k03_other_fields_are_checked_before_the_write(self, docs: Any) -> None:
        """Content and hash are text, metadata a JSON object, times are times."""
        wrong: list[dict[str, Any]] = [
            *({"content": value} for value in (None, 1, b"x", ["x"])),
            *({"content_hash": value} for value in (1, b"x", ["x"])),
            *({"metadata": value} for value in ("text", 1, [], True, [("a", 1)])),
            *({"metadata": {"a": value}} for value in REFUSED_JSON),
            *({"metadata": {"a": [1, {"b": value}]}} for value in REFUSED_JSON),
            *({"created_at": value} for value in [*REFUSED_NUMBERS, None, "now", True, 10**400]),
        ]
        for fields in wrong:
            for method in ("insert", "upsert"):
                with pytest.raises((InvalidValueError, SerializationError)):
                    await getattr(docs, method)("docs", [make("a"), make("b", **fields)])
                    pytest.fail(f"{method} took {shorten(fields)}")
        assert await docs.count("docs") == 0

    # ------------------------------------------------------------------------------------------------------- K04 search

    @pytest.mark.parametrize("distance", DISTANCES)
    async def test_k04_scores_mean_the_same_everywhere(self, store: Any, distance: str) -> None:
        """Higher is better: cosine similarity, inner product, or 1/(1+distance)."""
        await store.create_collection("docs", 3, distance)
        vectors: dict[str, Sequence[float]] = {
            "same": [1.0, 2.0, 3.0],
            "longer": [10.0, 20.0, 30.0],
            "shorter": [0.01, 0.02, 0.03],
            "opposite": [-1.0, -2.0, -3.0],
            "orthogonal": [3.0, 0.0, -1.0],
            "near": [1.1, 2.0, 2.9],
            "far": [100.0, -50.0, 3.0],
            "zero": [0.0, 0.0, 0.0],
            "small": [1e-4, 1e-4, 0.0],
            "negative": [-0.5, 0.1, 0.0],
            "unrounded": [0.1, 0.2, 0.3],
        }
        await store.insert("docs", [make(name, vector) for name, vector in vectors.items()])
        for query in ([1.0, 2.0, 3.0], [-1.0, 0.0, 0.5], [0.1, 0.1, 0.1], [0.0, 0.0, 0.0], [1000.0, 1.0, 0.0]):
            for limit in (ALL, 4, 1):
                found = await store.search("docs", query, limit)
                assert_best(distance, query, vectors, found, limit)
        scores = {item.id: item.score for item in await store.search("docs", [1.0, 2.0, 3.0], ALL)}
        assert all(type(score) is float for score in scores.values())
        if distance == "cosine":
            assert scores["same"] == pytest.approx(1, abs=TOLERANCE)
            assert scores["longer"] == pytest.approx(1, abs=TOLERANCE)
            assert scores["opposite"] == pytest.approx(-1, abs=TOLERANCE)
            assert scores["orthogonal"] == pytest.approx(0, abs=TOLERANCE)
            assert scores["zero"] == 0
        elif distance == "dot":
            assert scores["same"] == pytest.approx(14, abs=1e-4)
            assert scores["longer"] == pytest.approx(140, abs=1e-3)
            assert scores["opposite"] == pytest.approx(-14, abs=1e-4)
            assert scores["zero"] == 0
        else:
            assert scores["same"] == 1
            assert scores["opposite"] == pytest.approx(1 / (1 + 2 * math.sqrt(14)), abs=TOLERANCE)
            assert scores["zero"] == pytest.approx(1 / (1 + math.sqrt(14)), abs=TOLERANCE)

    @pytest.mark.parametrize("distance", DISTANCES)
    async def test_k04_many_dimensions(self, store: Any, distance: str) -> None:
        """As many as today's models give."""
        chance = random.Random(distance)
        vectors = {f"d{number}": [chance.gauss(0, 0.05) for _ in range(1536)] for number in range(12)}
        await store.create_collection("docs", 1536, distance)
        await store.insert("docs", [make(name, vector) for name, vector in vectors.items()])
        query = [chance.gauss(0, 0.05) for _ in range(1536)]
        assert_best(distance, query, vectors, await store.search("docs", query, 7), 7)
        assert (await store.get("docs", ["d3"]))[0].embedding == rounded(vectors["d3"])

    async def test_k04_equal_scores_come_by_id(self, store: Any) -> None:
        """So that a limit cuts at the same place every time."""
        names = ["b", "a", "B", "aa", "\U0001f600", "\uffff", "0", "\u00e9", "z", "_"]
        for distance in DISTANCES:
            await store.create_collection(distance, 3, distance)
            await store.insert(distance, [make(name, [1.0, 2.0, 3.0]) for name in names])
            await store.insert(distance, [make("best", [5.0, 10.0, 14.9])])
            await store.insert(distance, [make("worst", [-1.0, -2.0, -3.0])])
            query = [5.0, 10.0, 14.9]
            found = await store.search(distance, query, ALL)
            assert ids(found) == ["best", *sorted(names), "worst"], distance
            for limit in range(len(found) + 1):
                assert ids(await store.search(distance, query, limit)) == ids(found)[:limit], distance

    async def test_k04_a_zero_query_matches_everything_alike(self, store: Any) -> None:
        """By cosine and by inner product its score is 0."""
        for distance in ("cosine", "dot"):
            await store.create_collection(distance, 3, distance)
            await store.insert(distance, [make("b", [1, 2, 3]), make("c", [0, 0, 0]), make("a", [-1, 0, 0])])
            found = await store.search(distance, [0.0, 0.0, 0.0])
            assert [(item.id, item.score) for item in found] == [("a", 0.0), ("b", 0.0), ("c", 0.0)]
            assert len(await store.search(distance, [0.0, 0.0, 0.0], score_threshold=0.0)) == 3

    async def test_k04_limit(self, docs: Any) -> None:
        """Five unless told otherwise; never more than there are."""
        await docs.insert("docs", [make(f"d{number}", [float(number), 0.0, 0.0]) for number in range(9)])
        query = [1.0, 0.0, 0.0]
        assert ids(await docs.search("docs", query)) == ["d8", "d7", "d6", "d5", "d4"]
        for limit in (0, 1, 3, 9):
            assert ids(await docs.search("docs", query, limit)) == [f"d{8 - number}" for number in range(limit)]
        assert len(await docs.search("docs", query, 10)) == 9
        assert len(await docs.search("docs", query, limit=ALL)) == 9
        for limit in NO_COUNTS:
            with pytest.raises(InvalidValueError):
                await docs.search("docs", query, limit)
                pytest.fail(f"search took limit={limit!r}")

    @pytest.mark.parametrize("distance", DISTANCES)
    async def test_k04_the_threshold_is_inclusive(self, store: Any, distance: str) -> None:
        """A document with exactly that score is in, one just below is out; negative thresholds too."""
        await store.create_collection("docs", 3, distance)
        chance = random.Random(7)
        await store.insert("docs", [make(f"d{n}", [chance.uniform(-1, 1) for _ in range(3)]) for n in range(12)])
        query = [0.3, -0.5, 0.8]
        everyone = await store.search("docs", query, ALL)
        assert len(everyone) == 12
        for item in everyone:
            found = await store.search("docs", query, ALL, score_threshold=item.score)
            assert ids(found) == [other.id for other in everyone if other.score >= item.score]
            found = await store.search("docs", query, ALL, None, math.nextafter(item.score, math.inf))
            assert ids(found) == [other.id for other in everyone if other.score > item.score]
            found = await store.search("docs", query, 2, score_threshold=item.score)
            assert ids(found) == [other.id for other in everyone if other.score >= item.score][:2]
        assert await store.search("docs", query, ALL, score_threshold=everyone[0].score + 0.1) == []
        assert len(await store.search("docs", query, ALL, score_threshold=-1000)) == 12
        for threshold in [*REFUSED_NUMBERS, "1", True, [1]]:
            with pytest.raises(InvalidValueError):
                await store.search("docs", query, score_threshold=threshold)
                pytest.fail(f"search took score_threshold={threshold!r}")

    async def test_k04_the_threshold_comes_before_the_limit_and_after_no_filter(self, docs: Any) -> None:
        """All conditions hold together."""
        await docs.insert("docs", [make(f"d{n}", [float(n), 0, 0], metadata={"even": n % 2 == 0}) for n in range(10)])
        found = await docs.search("docs", [1.0, 0.0, 0.0], 3, {"even": True}, 3.0)
        assert ids(found) == ["d8", "d6", "d4"]
        found = await docs.search("docs", [1.0, 0.0, 0.0], 10, {"even": False}, 3.0)
        assert ids(found) == ["d9", "d7", "d5", "d3"]

    async def test_k04_embeddings_come_on_request(self, docs: Any) -> None:
        """As 32-bit floats keep them."""
        vector = [0.1, 1 / 3, 2.0**20 + 0.3]
        await docs.insert("docs", [make("a", vector)])
        query = [1.0, 0.0, 0.0]
        assert (await docs.search("docs", query))[0].embedding is None
        assert (await docs.search("docs", query, with_embeddings=False))[0].embedding is None
        found = (await docs.search("docs", query, with_embeddings=True))[0].embedding
        assert type(found) is list
        assert found == rounded(vector)
        assert (await docs.get("docs", ["a"]))[0].embedding == rounded(vector)

    async def test_k04_content_and_metadata_come_back(self, docs: Any) -> None:
        """And created_at and the hash."""
        wanted = make("a", content="text", metadata={"n": [1.0, None]}, content_hash="h", created_at=12.5)
        await docs.insert("docs", [wanted])
        for with_embeddings in (False, True):
            found = await docs.search("docs", [1.0, 0.0, 0.0], with_embeddings=with_embeddings)
            assert same(found[0], wanted, embedding=with_embeddings)
            assert found[0].score == 1.0

    async def test_k04_an_empty_collection(self, docs: Any) -> None:
        """Has nothing to find."""
        assert await docs.search("docs", [1.0, 0.0, 0.0]) == []
        assert await docs.search("docs", [1.0, 0.0, 0.0], 3, {"a": 1}, 0.5, with_embeddings=True) == []

    # ------------------------------------------------------------------------------------------------ K05, K06 filters

    async def _fill(self, store: Any) -> None:
        """Store the pool of metadata, once."""
        if await store.collection_exists("docs"):
            return
        await store.create_collection("docs", 3, "dot")
        await store.insert("docs", [make(str(n), [float(n % 5), 1.0, 0.0], metadata=m) for n, m in enumerate(POOL)])

    async def _assert_selects(self, store: Any, filters: Any) -> None:
        """Search and count agree with the reference."""
        tree = parse(filters)
        wanted = {str(number) for number, metadata in enumerate(POOL) if matches(tree, metadata)}
        found = await store.search("docs", [1.0, 0.0, 0.0], ALL, filters)
        assert len(found) == len(wanted), f"{shorten(filters, 200)} found {len(found)}, not {len(wanted)}"
        wrong = {item.id for item in found} ^ wanted
        assert not wrong, f"{shorten(filters, 200)} is wrong about " + ", ".join(
            shorten(POOL[int(number)]) for number in sorted(wrong)[:3]
        )
        assert await store.count("docs", filters) == len(wanted), f"count of {shorten(filters, 200)}"

    async def test_k05_every_operator_with_every_operand(self, store: Any) -> None:
        """On values of all types, against the reference."""
        await self._fill(store)
        for filters in single_filters():
            await self._assert_selects(store, filters)

    async def test_k05_keys_are_any_text(self, store: Any) -> None:
        """Taken whole; those of dollars and backslashes are escaped."""
        await self._fill(store)
        for key in KEYS:
            name = escaped(key)
            some = [metadata[key] for metadata in POOL if metadata and key in metadata]
            assert some, "the pool has every key"
            for filters in (
                {name: {"$exists": True}},
                {name: {"$exists": False}},
                {name: some[0]},
                {name: {"$ne": some[0]}},
                {name: {"$in": some}},
                {name: {"$nin": some[1:]}},
                {name: {"$gt": ""}},
                {name: {"$lte": 1}},
                {name: {"$contains": 1}},
                {name: {"$startswith": "a"}},
                {"$not": {name: {"$lt": "a"}}},
                {"$or": [{name: some[-1]}, {"v": 1}]},
            ):
                await self._assert_selects(store, filters)

    @pytest.mark.clause("K06")
    async def test_k05_combinations(self, store: Any) -> None:
        """Of ``$and``, ``$or`` and ``$not``, one inside the other, and side by side."""
        await self._fill(store)
        some: list[dict[str, Any]] = [
            {"v": {"$gte": 0}},
            {"v": {"$lt": 2}},
            {"V": {"$exists": True}},
            {"v": {"$in": [1, "a", None]}},
        ]
        names = ("$and", "$or")
        for a, b, c in itertools.permutations(some, 3):
            for outer, inner in itertools.product(names, names):
                await self._assert_selects(store, {outer: [a, {inner: [b, c]}]})
                await self._assert_selects(store, {"$not": {outer: [a, {"$not": {inner: [b, {"$not": c}]}}]}})
            await self._assert_selects(store, {"$or": [a, b], "$not": c})
            await self._assert_selects(store, {**a, "$or": [b, c], "$and": [{"$or": [c, a]}]})
            await self._assert_selects(store, {"$not": {"$not": {**a, "$not": {**b, **c}}}})
        conditions: list[dict[str, Any]] = [{"$gte": 0}, {"$lt": 2}, {"$ne": 1}, {"$startswith": "a"}]
        for one, other in itertools.permutations(conditions, 2):
            await self._assert_selects(store, {"v": {**one, "$not": other}})
            await self._assert_selects(store, {"v": {"$not": {**one, **other}}})
            await self._assert_selects(store, {"v": {"$not": {**one, "$not": {"$not": other}}}})
        trivial: list[dict[str, Any]] = [{"$and": [{}]}, {"$or": [{}, {"v": 1}]}, {"$not": {}}, {"v": 1, "$not": {}}]
        for filters in trivial:
            await self._assert_selects(store, filters)

    async def test_k05_examples(self, docs: Any) -> None:
        """Spelled out, without the reference."""
        metadata: dict[str, Any] = {
            "none": None,
            "empty": {},
            "int": {"a": 1},
            "float": {"a": 1.0},
            "true": {"a": True},
            "text": {"a": "1"},
            "null": {"a": None},
            "two": {"a": 2, "b": 1},
            "ten": {"a": 10, "b": "x"},
            "Ten": {"a": "10", "b": "X"},
            "list": {"a": [1, "x"]},
            "object": {"a": {"b": 1}},
            "dotted": {"a.b": 1},
        }
        await docs.insert("docs", [make(name, metadata=value) for name, value in metadata.items()])
        examples: list[tuple[Any, str]] = [
            (None, " ".join(metadata)),
            ({}, " ".join(metadata)),
            ({"a": 1}, "int float"),
            ({"a": 1.0}, "int float"),
            ({"a": True}, "true"),
            ({"a": "1"}, "text"),
            ({"a": None}, "null"),
            ({"a": {"b": 1}}, "object"),
            ({"a.b": 1}, "dotted"),
            ({"a": {"$ne": 1}}, "none empty true text null two ten Ten list object dotted"),
            ({"a": {"$gt": 1}}, "two ten"),
            ({"a": {"$gte": 1}}, "int float two ten"),
            ({"a": {"$lt": 10}}, "int float two"),
            ({"a": {"$gt": "1"}}, "Ten"),
            ({"a": {"$lte": "10"}}, "text Ten"),
            ({"a": {"$in": [1, "10"]}}, "int float Ten"),
            ({"a": {"$in": []}}, ""),
            ({"a": {"$nin": [1, None]}}, "none empty true text two ten Ten list object dotted"),
            ({"a": {"$nin": []}}, " ".join(metadata)),
            ({"a": {"$exists": False}}, "none empty dotted"),
            ({"b": {"$exists": True}}, "two ten Ten"),
            ({"a": {"$contains": 1}}, "list"),
            ({"a": {"$contains": "x"}}, "list"),
            ({"a": {"$contains": True}}, ""),
            ({"a": {"$startswith": "1"}}, "text Ten"),
            ({"b": {"$startswith": "x"}}, "ten"),
            ({"a": {"$not": {"$gt": 1}}}, "none empty int float true text null Ten list object dotted"),
            ({"a": {"$gt": 1, "$lt": 10}}, "two"),
            ({"a": 2, "b": 1}, "two"),
            ({"a": 2, "b": 2}, ""),
            ({"$or": [{"a": 2}, {"b": "x"}]}, "two ten"),
            ({"$and": [{"a": {"$gt": 1}}, {"b": {"$exists": True}}]}, "two ten"),
            ({"$not": {"$or": [{"a": {"$exists": True}}, {"a.b": 1}]}}, "none empty"),
        ]
        for filters, wanted in examples:
            found = await docs.search("docs", [1.0, 0.0, 0.0], ALL, filters)
            assert sorted(ids(found)) == sorted(wanted.split()), filters
            assert await docs.count("docs", filters) == len(wanted.split()), filters

    async def test_k05_refused_filters(self, docs: Any) -> None:
        """By every call that takes one; nothing is deleted."""
        await docs.insert("docs", [make("a", metadata={"v": 1})])
        for filters in REFUSED_FILTERS:
            for method, arguments in (
                ("search", ([1.0, 0.0, 0.0], 5, filters)),
                ("search", ([1.0, 0.0, 0.0], 0, filters)),
                ("count", (filters,)),
                ("delete", (None, filters)),
                ("delete", (["a"], filters)),
            ):
                with pytest.raises(FilterError) as caught:
                    await getattr(docs, method)("docs", *arguments)
                    pytest.fail(f"{method} took the filter {shorten(filters)}")
                assert isinstance(caught.value, ValueError)
        assert await docs.count("docs") == 1

    @pytest.mark.clause("K05")
    @settings(SETTINGS, max_examples=150)
    @given(filters=FILTERS)
    async def test_k06_search_and_count_agree_with_the_reference(self, store: Any, filters: dict[str, Any]) -> None:
        """For filters of all shapes."""
        await self._fill(store)
        await self._assert_selects(store, filters)

    @pytest.mark.clause("K05", "K08")
    @settings(SETTINGS, max_examples=40)
    @given(filters=FILTERS, some=st.lists(st.sampled_from([m for m in POOL if m]), min_size=1, max_size=8))
    async def test_k06_delete_agrees_with_the_reference(self, store: Any, filters: Any, some: list[Any]) -> None:
        """It removes exactly what search would find."""
        await store.create_collection("few", 3, "dot")
        await store.clear_collection("few")
        await store.insert("few", [make(str(number), metadata=metadata) for number, metadata in enumerate(some)])
        tree = parse(filters)
        if tree is None:
            with pytest.raises(InvalidValueError):
                await store.delete("few", filters=filters)
        left = [str(number) for number, metadata in enumerate(some) if not matches(tree, metadata)]
        if tree is not None:
            assert await store.delete("few", filters=filters) == len(some) - len(left)
            assert sorted(await everything(store, "few")) == sorted(left)

    async def test_k06_a_filter_selects_before_the_limit_cuts(self, docs: Any) -> None:
        """Also when what matches is far away and rare."""
        await docs.insert("docs", [make(f"near {n}", [100.0 - n, 0, 0], metadata={"kind": "near"}) for n in range(300)])
        await docs.insert("docs", [make(f"far {n}", [-float(n), 0, 0], metadata={"kind": "far"}) for n in range(7)])
        found = await docs.search("docs", [1.0, 0.0, 0.0], 5, {"kind": "far"})
        assert ids(found) == [f"far {n}" for n in range(5)]
        found = await docs.search("docs", [1.0, 0.0, 0.0], 50, {"kind": {"$ne": "near"}})
        assert ids(found) == [f"far {n}" for n in range(7)]
        assert await docs.search("docs", [1.0, 0.0, 0.0], 5, {"kind": "none"}) == []

    async def test_k06_filters_follow_every_write(self, docs: Any) -> None:
        """What was replaced or deleted matches no more."""
        await docs.insert("docs", [make("a", metadata={"n": 1, "tags": ["x"]}), make("b", metadata={"n": 1})])
        await docs.upsert("docs", [make("a", metadata={"n": 2})])
        assert ids(await docs.search("docs", [1.0, 0.0, 0.0], filters={"n": 1})) == ["b"]
        assert await docs.count("docs", {"tags": {"$exists": True}}) == 0
        await docs.delete("docs", ["b"])
        assert await docs.count("docs", {"n": 1}) == 0
        await docs.upsert("docs", [make("b")])
        assert await docs.count("docs", {"n": {"$exists": False}}) == 1

    async def test_k06_filters_see_metadata_only(self, docs: Any) -> None:
        """Not the fields of the document."""
        await docs.insert("docs", [make("a", content="text", content_hash="h", metadata={"x": 1})])
        for name in (
            "id",
            "content",
            "content_hash",
            "created_at",
            "embedding",
            "score",
            "metadata",
            "collection",
            "rowid",
        ):
            assert await docs.count("docs", {name: {"$exists": True}}) == 0
            assert await docs.count("docs", {name: "a"}) == 0
        assert await docs.count("docs", {"x": 1}) == 1

    # ---------------------------------------------------------------------------------------------------------- K07 get

    async def test_k07_documents_come_in_the_order_asked(self, docs: Any) -> None:
        """Unknown ids are skipped, one asked twice comes twice."""
        await docs.insert("docs", [make(name, content=name) for name in "abcdef"])
        for asked in (
            ["f", "a", "c"],
            ["a", "c", "f"],
            ["c", "unknown", "b", "A"],
            ["e"],
            [],
            ["unknown"],
            list("fedcba"),
        ):
            found = await docs.get("docs", asked)
            assert ids(found) == [name for name in asked if name in set("abcdef")]
            assert all(item.content == item.id for item in found)
            assert all(item.score is None for item in found)
        assert ids(await docs.get("docs", ["b", "a", "b"])) == ["b", "a", "b"]
        assert ids(await docs.get("docs", ("b", "a"))) == ["b", "a"]

    async def test_k07_refused_ids(self, docs: Any) -> None:
        """One text is no list of ids."""
        await docs.insert("docs", [make("a"), make("b")])
        for name in REFUSED_IDS:
            for method in ("get", "delete"):
                with pytest.raises(InvalidValueError):
                    await getattr(docs, method)("docs", ["a", name])
                    pytest.fail(f"{method} took the id {shorten(name)}")
            for method in ("insert", "upsert"):
                with pytest.raises(InvalidValueError):
                    await getattr(docs, method)("docs", [make("c"), make(name)])
                    pytest.fail(f"{method} took the id {shorten(name)}")
        for method in ("get", "delete"):
            with pytest.raises(InvalidValueError):
                await getattr(docs, method)("docs", "ab")
        assert sorted(await everything(docs)) == ["a", "b"]

    async def test_k07_count(self, docs: Any) -> None:
        """All, or those that match."""
        assert await docs.count("docs") == 0
        await docs.insert("docs", [make(f"d{n}", metadata={"n": n}) for n in range(7)])
        assert await docs.count("docs") == 7
        assert await docs.count("docs", None) == 7
        assert await docs.count("docs", {}) == 7
        assert await docs.count("docs", {"n": {"$lt": 3}}) == 3
        assert await docs.count("docs", filters={"n": -1}) == 0
        await docs.delete("docs", ["d0"])
        assert await docs.count("docs") == 6

    # ------------------------------------------------------------------------------------------------------- K08 delete

    async def test_k08_delete_by_ids(self, docs: Any) -> None:
        """Each counts once, unknown ones not at all."""
        await docs.insert("docs", [make(name) for name in "abcdef"])
        assert await docs.delete("docs", ["a", "unknown", "a", "c"]) == 2
        assert sorted(await everything(docs)) == ["b", "d", "e", "f"]
        assert await docs.delete("docs", ["a"]) == 0
        assert await docs.delete("docs", ("b",)) == 1
        assert sorted(await everything(docs)) == ["d", "e", "f"]
        assert await docs.insert("docs", [make("a", content="again")]) == ["a"]

    async def test_k08_delete_by_filter(self, docs: Any) -> None:
        """And by both: the ids that match."""
        await docs.insert("docs", [make(f"d{n}", metadata={"n": n}) for n in range(8)])
        assert await docs.delete("docs", filters={"n": {"$gte": 6}}) == 2
        assert await docs.delete("docs", filters={"n": {"$gte": 6}}) == 0
        assert await docs.delete("docs", ["d0", "d5", "d7", "unknown"], {"n": {"$lt": 3}}) == 1
        assert sorted(await everything(docs)) == ["d1", "d2", "d3", "d4", "d5"]
        assert await docs.delete("docs", ["d1", "d2"], {}) == 2
        assert await docs.delete("docs", ["d3"], None) == 1
        assert sorted(await everything(docs)) == ["d4", "d5"]

    async def test_k08_with_neither_nothing_is_deleted(self, docs: Any) -> None:
        """``{}`` is no filter; no ids are none."""
        await docs.insert("docs", [make("a", metadata={"n": 1}), make("b")])
        nothing: list[tuple[Any, ...]] = [(), (None,), (None, None), (None, {})]
        for arguments in nothing:
            with pytest.raises(InvalidValueError) as caught:
                await docs.delete("docs", *arguments)
                pytest.fail(f"delete{arguments} worked")
            assert isinstance(caught.value, ValueError)
        assert await docs.delete("docs", []) == 0
        assert await docs.delete("docs", [], {"n": 1}) == 0
        assert await docs.delete("docs", [], {}) == 0
        assert await docs.count("docs") == 2

    async def test_k08_clear_collection(self, docs: Any) -> None:
        """Removes every document and keeps the collection."""
        assert await docs.clear_collection("docs") == 0
        await docs.create_collection("other", 3)
        await docs.insert("other", [make("a")])
        await docs.insert("docs", [make("a"), make("b")])
        assert await docs.clear_collection("docs") == 2
        assert await docs.clear_collection("docs") == 0
        assert await docs.search("docs", [1.0, 0.0, 0.0]) == []
        assert await docs.count("docs") == 0
        info = await docs.get_collection("docs")
        assert (info.dimension, info.distance) == (3, "dot")
        assert await docs.insert("docs", [make("a")]) == ["a"]
        assert await docs.count("other") == 1

    # ------------------------------------------------------------------------------------------------------- K09 recall

    @pytest.mark.parametrize("distance", DISTANCES)
    async def test_k09_the_true_nearest_are_found(self, store: Any, distance: str) -> None:
        """Of 1,000 documents the top 10, in clusters and not, after changes too."""
        chance = random.Random(distance)
        dimension = 24

        def somewhere(number: int) -> list[float]:
            center = 3 * (number % 4) if number % 3 else 0
            return [chance.gauss(center if axis % 4 == number % 4 else 0, 1) for axis in range(dimension)]

        vectors: dict[str, Sequence[float]] = {f"d{number}": somewhere(number) for number in range(MANY)}
        await store.create_collection("docs", dimension, distance)

        def documents(names: Iterable[str]) -> list[KnowledgeDocument]:
            return [make(name, vectors[name], metadata={"group": int(name[1:]) % 10}) for name in names]

        await store.insert("docs", documents(vectors))
        queries = [somewhere(number) for number in range(12)]
        for query in queries:
            assert_best(distance, query, vectors, await store.search("docs", query, 10), 10)
        for query in queries[:4]:
            group = {name: vector for name, vector in vectors.items() if int(name[1:]) % 10 == 3}
            found = await store.search("docs", query, 10, {"group": 3})
            assert_best(distance, query, group, found, 10)
        gone = [f"d{number}" for number in range(0, MANY, 3)]
        assert await store.delete("docs", gone) == len(gone)
        for name in gone:
            del vectors[name]
        moved = list(vectors)[::4]
        for name in moved:
            vectors[name] = somewhere(int(name[1:]) + 1)
        await store.upsert("docs", documents(moved))
        for query in queries:
            assert_best(distance, query, vectors, await store.search("docs", query, 10), 10)

    async def test_k09_each_document_is_nearest_to_itself(self, store: Any) -> None:
        """None is out of reach of an index."""
        chance = random.Random(3)
        vectors = {f"d{number}": [chance.gauss(0, 1) for _ in range(8)] for number in range(300)}
        await store.create_collection("docs", 8, "euclidean")
        for start in range(0, 300, 50):  # in several batches, as documents come
            await store.insert("docs", [make(name, vectors[name]) for name in list(vectors)[start : start + 50]])
        for name, vector in vectors.items():
            found = await store.search("docs", vector, 1)
            assert (ids(found), found[0].score) == ([name], 1.0)

    # ----------------------------------------------------------------------------------------------------- K10 metadata

    async def test_k10_metadata_come_back_equal(self, docs: Any) -> None:
        """The hostile corpus, types of numbers included, from get and from search."""
        objects = [
            *HOSTILE_OBJECTS,
            {"deep": nested(49)},
            *({"v": value} for value in VALUES),
            *(m or {} for m in POOL),
        ]
        await docs.insert("docs", [make(str(number), metadata=value) for number, value in enumerate(objects)])
        searched = await docs.search("docs", [1.0, 0.0, 0.0], ALL)
        read = await docs.get("docs", [str(number) for number in range(len(objects))])
        assert len(searched) == len(read) == len(objects)
        for found in itertools.chain(searched, read):
            wanted = objects[int(found.id)]
            assert identical(found.metadata, wanted), f"{shorten(wanted)} came back as {shorten(found.metadata)}"

    async def test_k10_none_and_empty_metadata_stay_what_they_are(self, docs: Any) -> None:
        """Both from get and from search."""
        await docs.insert("docs", [make("none", metadata=None), make("empty", metadata={})])
        assert [item.metadata for item in await docs.get("docs", ["none", "empty"])] == [None, {}]
        found = {item.id: item.metadata for item in await docs.search("docs", [1.0, 0.0, 0.0])}
        assert found == {"none": None, "empty": {}}

    async def test_k10_deep_metadata_come_back_or_are_refused(self, docs: Any) -> None:
        """50 levels are promised."""
        for depth in (60, 100, 190, 250):
            try:
                await docs.upsert("docs", [make("a", metadata={"x": nested(depth, depth)})])
            except SerializationError:
                break
            assert identical((await docs.get("docs", ["a"]))[0].metadata, {"x": nested(depth, depth)})

    # --------------------------------------------------------------------------------------------------- K11 visibility

    async def test_k11_a_write_is_visible_to_the_next_search(self, docs: Any) -> None:
        """Every kind of write, every time."""
        query = [1.0, 0.0, 0.0]
        for turn in range(25):
            name = f"d{turn}"
            await docs.insert("docs", [make(name, [float(turn), 0, 0], metadata={"turn": turn})])
            assert ids(await docs.search("docs", query, 1)) == [name]
            assert await docs.count("docs") == turn + 1
            await docs.upsert("docs", [make(name, [turn + 0.5, 0, 0], metadata={"turn": -turn})])
            found = (await docs.search("docs", query, 1, {"turn": -turn}))[0]
            assert (found.id, found.score) == (name, turn + 0.5)
            await docs.insert("docs", [make("best", [1000.0, 0, 0])])
            assert ids(await docs.search("docs", query, 1)) == ["best"]
            assert await docs.delete("docs", ["best"]) == 1
            assert ids(await docs.search("docs", query, 1)) == [name]
        await docs.clear_collection("docs")
        assert await docs.search("docs", query) == []

    # ------------------------------------------------------------------------------------------- K12 as conversations

    async def test_k12_every_text_comes_back(self, docs: Any) -> None:
        """As content and as hash."""
        batch = [
            make(str(n), content=text, content_hash=text, metadata={"n": n}) for n, text in enumerate(HOSTILE_TEXTS)
        ]
        await docs.insert("docs", batch)
        for found in await docs.get("docs", ids(batch)):
            wanted = HOSTILE_TEXTS[int(found.id)]
            assert found.content == wanted, f"{shorten(wanted)} came back as {shorten(found.content)}"
            assert found.content_hash == wanted
        for found in await docs.search("docs", [1.0, 0.0, 0.0], ALL):
            assert found.content == HOSTILE_TEXTS[int(found.id)]

    async def test_k12_large_texts(self, docs: Any) -> None:
        """Megabytes."""
        batch = [make(str(number), content=text, metadata={"copy": text}) for number, text in enumerate(LARGE_TEXTS)]
        await docs.insert("docs", batch)
        for found, wanted in zip(await docs.get("docs", ids(batch)), batch, strict=True):
            assert found.content == wanted.content
            assert found.metadata == wanted.metadata
        assert ids(await docs.search("docs", [1.0, 0.0, 0.0], filters={"copy": LARGE_TEXTS[0]})) == ["0"]

    async def test_k12_up_to_the_size_limit(self, docs: Any) -> None:
        """10 MB, or what the store declares; more is refused."""
        limit: int | None = getattr(docs, "max_document_bytes", None)
        size = 10_000_000 if limit is None else min(10_000_000, limit - 1_000)
        content = "x" * (size - 100_000) + "\u00fc" * 49_000
        await docs.upsert("docs", [make("a", content=content)])
        assert (await docs.get("docs", ["a"]))[0].content == content
        await docs.upsert("docs", [make("a", content="small")])
        if limit is None:
            return
        for fields in ({"content": "x" * (limit + 1)}, {"metadata": {"a": "x" * limit}}):
            for method in ("insert", "upsert"):
                with pytest.raises(SerializationError):
                    await getattr(docs, method)("docs", [make("b"), make("c", **fields)])
                    pytest.fail(f"{method} took more than {limit} bytes")
        assert sorted(await everything(docs)) == ["a"]

    async def test_k12_any_text_is_an_id_and_all_are_different(self, docs: Any) -> None:
        """For every call."""
        batch = [make(name, content=str(number), metadata={"n": number}) for number, name in enumerate(HOSTILE_IDS)]
        assert await docs.insert("docs", batch) == HOSTILE_IDS
        assert ids(await docs.get("docs", HOSTILE_IDS)) == HOSTILE_IDS
        assert ids(await docs.search("docs", [1.0, 0.0, 0.0], ALL)) == sorted(HOSTILE_IDS)
        for number, name in enumerate(HOSTILE_IDS):
            found = await docs.get("docs", [name])
            assert [item.content for item in found] == [str(number)], shorten(name)
            await docs.upsert("docs", [make(name, content=f"new {number}")])
        assert await docs.count("docs") == len(HOSTILE_IDS)
        for number, name in enumerate(HOSTILE_IDS):
            assert (await docs.get("docs", [name]))[0].content == f"new {number}", shorten(name)
            assert await docs.delete("docs", [name]) == 1, shorten(name)
            assert await docs.count("docs") == len(HOSTILE_IDS) - number - 1

    async def test_k12_one_store_can_be_shared(self, docs: Any, race: Race) -> None:
        """Every worker finds what it wrote; nothing is lost."""

        async def body(worker: int) -> None:
            own = f"w{worker}"
            for turn in range(8):
                await docs.insert("docs", [document(own, 2 * turn, turn, own), document(own, 2 * turn + 1, turn, own)])
                await docs.upsert("docs", [document(own, 0, turn, own)])
                assert await docs.count("docs", {"own": own}) == 2 * turn + 2
                found = await docs.search("docs", [0.0, 1.0, 0.0], 1, {"own": own})
                assert ids(found) == [f"{own}-{2 * turn + 1}"]
                assert (await docs.get("docs", [f"{own}-0"]))[0].metadata["turn"] == turn
            assert await docs.delete("docs", filters={"own": own, "number": {"$gte": 10}}) == 6

        split(await race(body))
        assert await docs.count("docs") == 8 * 10

    async def test_k12_two_stores_on_the_same_data(self, store: Any, open_store: OpenStore) -> None:
        """Each sees at once what the other wrote."""
        other = open_store()
        assert await other.list_collections() == []
        await store.create_collection("docs", 3, "dot")
        assert await other.list_collections() == ["docs"]
        query = [1.0, 0.0, 0.0]
        for turn in range(5):
            await store.insert("docs", [make(f"s{turn}", [turn, 0, 0])])
            assert ids(await other.search("docs", query, 1)) == [f"s{turn}"]
            await other.upsert("docs", [make(f"s{turn}", [turn + 0.5, 0, 0], metadata={"turn": turn})])
            assert (await store.search("docs", query, 1))[0].score == turn + 0.5
            assert await store.count("docs", {"turn": turn}) == 1
        assert await other.delete("docs", ["s4"]) == 1
        assert ids(await store.search("docs", query, 1)) == ["s3"]
        with pytest.raises(DocumentExistsError):
            await other.insert("docs", [make("s0")])
        await other.delete_collection("docs")
        assert await store.collection_exists("docs") is False
        with pytest.raises(CollectionNotFoundError):
            await store.insert("docs", [make("a")])
        await other.create_collection("docs", 1, "euclidean")
        with pytest.raises(DimensionError):
            await store.insert("docs", [make("a")])
        assert await store.insert("docs", [make("a", [1.0])]) == ["a"]
        assert (await other.search("docs", [0.0]))[0].score == pytest.approx(0.5)

    async def _is_shared(self, store: Any, spawn: Spawn) -> bool:
        """Whether a child and the test see each other's writes, tried."""
        child = await spawn(f"{BODIES}:obey")
        child.go()
        await store.create_collection("mine", 1)
        child.send(["create_collection", "theirs", 1])
        await child.report()
        child.send(["collection_exists", "mine"])
        reply = await child.report()
        child.send(None)
        await child.result()
        shared = reply == {"returned": True} and await store.collection_exists("theirs")
        await store.delete_collection("mine")
        if shared:
            await store.delete_collection("theirs")
        return bool(shared)

    async def test_k12_two_processes(self, docs: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        """Each sees at once what the other wrote."""
        shared = await self._is_shared(docs, spawn)
        assert shared == declares(docs, "shared"), f"'shared' is declared: {not shared}; it works: {shared}"
        if not shared:
            unsupported("two processes")
            return
        child = await spawn(f"{BODIES}:obey")
        child.go()

        async def there(method: str, *arguments: Any) -> Any:
            child.send([method, *arguments])
            return await child.report()

        query = [1.0, 0.0, 0.0]
        for turn in range(4):
            await docs.insert("docs", [make(f"s{turn}", [turn, 0, 0])])
            reply = await there("search", "docs", query, 1)
            assert reply["returned"][0]["id"] == f"s{turn}"
            replaced = make(f"s{turn}", [turn + 0.5, 0, 0], metadata={"turn": turn}).to_dict()
            assert await there("upsert", "docs", [replaced]) == {"returned": [f"s{turn}"]}
            found = (await docs.search("docs", query, 1, {"turn": turn}))[0]
            assert (found.id, found.score) == (f"s{turn}", turn + 0.5)
        assert await there("insert", "docs", [make("s0").to_dict()]) == {"raised": "DocumentExistsError"}
        assert await there("delete", "docs", ["s3"]) == {"returned": 1}
        assert ids(await docs.search("docs", query, 1)) == ["s2"]
        await docs.delete_collection("docs")
        assert await there("count", "docs") == {"raised": "CollectionNotFoundError"}
        child.send(None)
        await child.result()

    @pytest.mark.clause("K02")
    async def test_k12_races_between_processes(self, docs: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        """Nothing is lost, and an id is inserted once."""
        if not declares(docs, "shared"):
            assert not await self._is_shared(docs, spawn)
            unsupported("two processes")
            return
        names = [f"first-{number}" for number in range(20)]
        inserting = [await spawn(f"{BODIES}:insert_first", collection="docs", names=names, number=n) for n in range(2)]
        upserting = [await spawn(f"{BODIES}:upsert_times", collection="docs", name=n, times=20) for n in ("x", "y")]
        for child in itertools.chain(inserting, upserting):
            child.go()
        won = [await child.result() for child in inserting]
        for child in upserting:
            await child.result()
        assert sorted(won[0] + won[1]) == sorted(names)
        for number, mine in enumerate(won):
            for found in await docs.get("docs", [f"{name}-0" for name in mine]):
                assert same(found, document(found.id.removesuffix("-0"), 0, number))
        assert await docs.count("docs") == 20 + 2 * 20 + 1
        common = (await docs.get("docs", ["common-0"]))[0]
        assert same(common, document("common", 0, 19, common.metadata["own"]))

    @pytest.mark.crash
    @pytest.mark.parametrize("writers", [1, 4])
    async def test_k12_what_was_acknowledged_survives_a_kill(
        self, docs: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported, writers: int
    ) -> None:
        """And a batch that was not is there whole or not at all, where that is declared."""
        await docs.insert("docs", [make("before")])
        if not declares(docs, "durable"):
            child = await spawn(f"{BODIES}:obey")
            child.go()
            child.send(["create_collection", "theirs", 1])
            assert await child.report() == {"returned": None}
            await child.kill_after(0)
            assert await open_store().collection_exists("theirs") is False, "it survives, so declare 'durable'"
            unsupported("durable")
            return
        whole = declares(docs, "atomic_batch")
        await docs.close()
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{BODIES}:write_forever", name=f"trial-{trial}", writers=writers)
            child.go()
            acknowledged = await child.kill_after(reports, delay)
            one = open_store()
            found = await survivors(one)
            for worker in range(writers):
                done = max((number for who, number in acknowledged if who == worker), default=0)
                self._assert_survived(found, f"trial-{trial}-{worker}", done, whole)
            assert "before" in found
            await one.upsert("docs", [make("before", content=str(trial))])
            await one.close()
        if not whole:
            unsupported("atomic_batch")

    def _assert_survived(
        self, everyone: dict[str, KnowledgeDocument], own: str, acknowledged: int, whole: bool
    ) -> None:
        """The script was followed so far, or one call further, and that one whole or, if it may be, in part."""
        found = {name: item for name, item in everyone.items() if name.startswith(f"{own}:")}
        states = []
        with MemoryKnowledgeStore() as model:
            model.create_collection("docs", 3, "dot")
            calls = script(own)
            for method, arguments in itertools.islice(calls, acknowledged):
                getattr(model, method)(*arguments)
            states.append({item.id: item for item in model.search("docs", [1.0] * 3, ALL, with_embeddings=True)})
            method, arguments = next(calls)
            getattr(model, method)(*arguments)
            states.append({item.id: item for item in model.search("docs", [1.0] * 3, ALL, with_embeddings=True)})

        def right(name: str, state: dict[str, KnowledgeDocument]) -> bool:
            if name not in found or name not in state:
                return name not in found and name not in state
            return same(found[name], state[name])

        names = {*found, *states[0], *states[1]}
        lost = [name for name in names if not right(name, states[0]) and not right(name, states[1])]
        assert not lost, f"after {acknowledged} acknowledged calls, {method} under way, wrong: {sorted(lost)[:5]}"
        if whole:
            assert any(all(right(name, state) for name in names) for state in states), f"half of a batch ({method})"

    async def test_k12_data_outlive_their_store(
        self, docs: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Closing and opening again finds all of it, where the engine persists."""
        await docs.create_collection("other", 2, "euclidean", {"a": [1, None, "\0"]})
        await docs.insert(
            "docs", [make(str(n), [n, 0.1, 0], metadata=m, content="\0\ud800") for n, m in enumerate(POOL)]
        )
        before = await everything(docs)
        await docs.close()
        again = open_store()
        if not declares(docs, "durable"):
            await again.create_collection("another", 1)
            assert await again.collection_exists("another") is True
            unsupported("durable")
            return
        assert await again.list_collections() == ["docs", "other"]
        info = await again.get_collection("other")
        assert (info.dimension, info.distance, info.metadata) == (2, "euclidean", {"a": [1, None, "\0"]})
        after = await everything(again)
        assert after.keys() == before.keys()
        assert all(same(after[name], before[name]) for name in before)
        assert ids(await again.search("docs", [1.0, 0.0, 0.0], 1)) == [str(len(POOL) - 1)]
        assert await again.count("docs", {"v": 1}) == await again.count("docs", {"v": 1.0}) > 0

    async def test_k12_a_closed_store_says_so(self, docs: Any, open_store: OpenStore) -> None:
        """Whatever is asked of it."""
        unused = open_store()
        for closed in (docs, unused):
            await closed.close()
            await closed.close()
            calls: list[tuple[str, tuple[Any, ...]]] = [
                ("connect", ()),
                ("list_collections", ()),
                ("create_collection", ("new", 3)),
                ("collection_exists", ("docs",)),
            ]
            calls += [(method, ("docs", *arguments)) for method, arguments in self._calls()]
            for method, arguments in calls:
                with pytest.raises(StoreClosedError):
                    await getattr(closed, method)(*arguments)
                    pytest.fail(f"{method}{arguments} worked on a closed store")
            await closed.close()

    async def test_k12_closing_one_store_leaves_the_others_open(self, docs: Any, open_store: OpenStore) -> None:
        """Each closes what it opened itself."""
        other = open_store()
        await other.insert("docs", [make("a")])
        await other.close()
        assert await docs.count("docs") == 1
        await docs.insert("docs", [make("b")])
        assert len(await docs.search("docs", [1.0, 0.0, 0.0])) == 2

    async def test_k12_a_store_is_a_context_manager(self, open_store: OpenStore) -> None:
        """It is closed at the end, also by an exception."""
        one, other = open_store(), open_store()
        async with one as entered:
            assert raw(entered) is raw(one)
            await entered.create_collection("docs", 1)
        with pytest.raises(ZeroDivisionError):
            async with other:
                raise ZeroDivisionError
        for closed in (one, other):
            with pytest.raises(StoreClosedError):
                await closed.list_collections()

    async def test_k12_connecting_is_harmless(self, store: Any, race: Race) -> None:
        """As often as one likes, and by many at once."""

        async def body(worker: int) -> None:
            await store.connect()

        split(await race(body, workers=4))
        await store.create_collection("docs", 3)
        await store.connect()
        assert await store.list_collections() == ["docs"]

    @only("async")
    async def test_k12_cancelled_calls_leave_the_store_working(self, docs: Any) -> None:
        """A call is done or not done, and the ones after it get their own answers."""
        query = [1.0, 0.0, 0.0]
        await docs.insert("docs", [make("best", [1000.0, 0, 0])])
        acknowledged = set()
        for turn in range(24):
            batch = [make(f"d{turn}-{part}", [turn, 0, 0], metadata={"turn": turn}) for part in range(3)]
            task = asyncio.ensure_future(docs.insert("docs", batch))
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
                acknowledged.add(turn)
            except asyncio.CancelledError:
                pass
            assert ids(await docs.search("docs", query, 1)) == ["best"]
            assert ids(await docs.get("docs", ["best", "unknown"])) == ["best"]
        written = [(item.metadata or {})["turn"] for item in (await everything(docs)).values() if item.id != "best"]
        assert acknowledged <= set(written)
        assert all(written.count(turn) == 3 for turn in acknowledged)
        if declares(docs, "atomic_batch"):
            assert all(written.count(turn) == 3 for turn in written)
        await docs.clear_collection("docs")
        assert await docs.insert("docs", [make("a")]) == ["a"]

    def _assert_no_prefixes(self, open_store: OpenStore) -> None:
        with pytest.raises((TypeError, PersistenceError)):
            open_store(table_prefix="other_")

    async def test_k12_prefixes_see_nothing_of_each_other(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Not even where prefix and collection together read the same."""
        if not declares(store, "prefix"):
            self._assert_no_prefixes(open_store)
            unsupported("prefix")
            return
        prefixes = ["", "a_", "a_b_", "aa_", "a"]
        stores = [open_store(table_prefix=prefix) for prefix in prefixes]
        names = ["docs", "b_docs", "_docs", "a_docs"]
        for one, prefix in zip(stores, prefixes, strict=True):
            assert await one.list_collections() == []
            for name in names:
                await one.create_collection(name, 1, "dot", {"prefix": prefix})
                await one.insert(name, [make("d", [1.0], content=f"{prefix}|{name}")])
        for one, prefix in zip(stores, prefixes, strict=True):
            assert await one.list_collections() == sorted(names)
            for name in names:
                assert (await one.get_collection(name)).metadata == {"prefix": prefix}
                assert [item.content for item in await one.search(name, [1.0])] == [f"{prefix}|{name}"]
                assert await one.count(name) == 1
        await stores[0].delete_collection("a_docs")
        await stores[1].clear_collection("b_docs")
        await stores[2].delete("docs", ["d"])
        await stores[4].delete_collection("_docs")
        wanted: list[list[int | None]] = [[1, 1, 1, None], [1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1], [1, 1, None, 1]]
        for one, numbers in zip(stores, wanted, strict=True):
            for name, number in zip(names, numbers, strict=True):
                assert await one.collection_exists(name) is (number is not None)
                assert number is None or await one.count(name) == number

    async def test_k12_prefixes_may_differ_in_case_alone(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Or the second is refused, rather than mixed up with the first."""
        if not declares(store, "prefix"):
            self._assert_no_prefixes(open_store)
            unsupported("prefix")
            return
        await open_store(table_prefix="kit_").create_collection("docs", 1)
        try:
            upper = open_store(table_prefix="KIT_")
            found = await upper.list_collections()
        except InvalidIdentifierError:
            return
        assert found == []

    async def test_k12_identifiers_are_validated_before_connecting(
        self, store: Any, open_store: OpenStore, unreachable_spec: StoreSpec | None, unsupported: Unsupported
    ) -> None:
        """The constructor refuses a prefix, and a call refuses a collection, that must not reach DDL."""
        names = [*REFUSED_IDENTIFIERS, "", "-a", "a" * 49]
        one = open_store(unreachable_spec) if unreachable_spec else open_store()
        for name in names:
            with pytest.raises(InvalidIdentifierError):
                await one.create_collection(name, 3)
        if not declares(store, "prefix"):
            self._assert_no_prefixes(open_store)
            unsupported("prefix")
            return
        for prefix in REFUSED_IDENTIFIERS:
            with Watch() as watch, pytest.raises(InvalidIdentifierError):
                open_store(table_prefix=prefix)
                pytest.fail(f"the prefix {shorten(prefix)} was taken")
            assert watch.events == []

    def test_k12_constructing_touches_nothing(self, spec: StoreSpec, colour: str) -> None:
        """No connection, no file, no folder."""
        spec.open(colour)  # what is imported with the first one does not count
        with Watch() as watch:
            spec.open(colour)
        assert watch.events == []

    @needs_fixture("unreachable_spec")
    async def test_k12_an_engine_out_of_reach_is_reported(
        self, unreachable_spec: StoreSpec, open_store: OpenStore
    ) -> None:
        """By every call, in time; constructing and closing say nothing."""
        one = open_store(unreachable_spec)
        begin = time.monotonic()
        for method, arguments in (
            ("connect", ()),
            ("list_collections", ()),
            ("create_collection", ("docs", 3)),
            ("insert", ("docs", [make("a")])),
            ("search", ("docs", [1.0, 0.0, 0.0])),
            ("count", ("docs",)),
            ("connect", ()),
        ):
            with pytest.raises(ConnectionFailedError) as caught:
                await getattr(one, method)(*arguments)
                pytest.fail(f"{method} worked on an engine out of reach")
            assert isinstance(caught.value, ConnectionError)
        assert time.monotonic() - begin < 90
        await one.close()
        with pytest.raises(StoreClosedError):
            await one.list_collections()

    @needs_fixture("server")
    async def test_k12_the_same_store_works_after_a_restart(self, docs: Any, server: Any) -> None:
        """Nothing of it has to be opened again."""
        await docs.insert("docs", [make("a")])
        server.stop()
        for method, arguments in (("count", ()), ("insert", ([make("b")],)), ("search", ([1.0, 0.0, 0.0],))):
            with pytest.raises(ConnectionFailedError):
                await getattr(docs, method)("docs", *arguments)
                pytest.fail(f"{method} worked without a server")
        server.start()
        assert ids(await docs.search("docs", [1.0, 0.0, 0.0])) == ["a"]
        await docs.insert("docs", [make("b")])
        assert await docs.count("docs") == 2

    async def test_k12_the_schema_is_told_and_changed(self, store: Any) -> None:
        """Without losing anything."""

        async def write() -> None:
            await store.create_collection("docs", 3)

        await check_schema(store, write, lambda: store.collection_exists("docs"))

    # -------------------------------------------------------------------------------------------------------- the model

    @pytest.mark.clause(MODEL)
    @settings(SETTINGS, max_examples=40)
    @given(commands=st.lists(_COMMANDS, min_size=15, max_size=40))
    async def test_random_walks_agree_with_the_reference(self, store: Any, commands: list[tuple[Any, ...]]) -> None:
        """Every call returns or raises what the in-memory store does."""
        for name in await store.list_collections():
            await store.delete_collection(name)
        with MemoryKnowledgeStore() as model:
            for name, *arguments in [("create_collection", "docs", 2, "dot", None), *commands]:
                wanted, found = model_call(model, name, *arguments), await call(store, name, *arguments)
                told = f"{name}{tuple(arguments)} {found[0]} {found[1]}, the reference {wanted[0]} {wanted[1]}"
                assert wanted[0] == found[0], told
                if wanted[0] == "raised":
                    assert wanted[1] is found[1], told
                    continue
                assert identical(_plain(name, found[1]), _plain(name, wanted[1])), told
                assert _scores(name, found[1]) == pytest.approx(_scores(name, wanted[1]), abs=TOLERANCE), told
                # What a step left behind, before another one can cover it up.
                if name in {"insert", "upsert", "delete", "clear_collection"} and wanted[0] == "returned":
                    left = await store.get(arguments[0], _IDS)
                    assert identical(_plain("get", left), _plain("get", model.get(arguments[0], _IDS))), told
            names = model.list_collections()
            assert await store.list_collections() == names
            for name in names:
                assert sorted(await everything(store, name)) == sorted(ids(model.get(name, _IDS)))
