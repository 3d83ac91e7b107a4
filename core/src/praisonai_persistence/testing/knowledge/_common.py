"""Documents, and the oracles of the tests of knowledge stores."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing._compare import Comparison
from praisonai_persistence.testing.corpus import (
    REFUSED_NUMBERS,
    identical,
)
from praisonai_persistence.testing.harness import (
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ALL",
    "BODIES",
    "COLLECTION_CALLS",
    "DISTANCES",
    "MANY",
    "NO_COUNTS",
    "NO_EMBEDDING",
    "NO_NUMBERS",
    "SETTINGS",
    "TOLERANCE",
    "assert_best",
    "everything",
    "ids",
    "make",
    "rounded",
    "same",
    "survivors",
    "true_score",
    "unit",
]

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


def same(found: KnowledgeDocument, given_document: KnowledgeDocument, *, embedding: bool = True) -> Comparison:
    """Whether a document came back as it was given, but for the score."""
    names = ("id", "content", "metadata", "content_hash", "created_at")
    expected = {name: getattr(given_document, name) for name in names}
    expected["embedding"] = rounded(given_document.embedding or []) if embedding else None
    return identical({name: getattr(found, name) for name in expected}, expected)


def make(name: str, vector: Sequence[float] = (1.0, 0.0, 0.0), **fields: Any) -> KnowledgeDocument:
    """Return a document."""
    return KnowledgeDocument(name, embedding=list(vector), **{"created_at": 5.0, **fields})


def ids(documents: Iterable[KnowledgeDocument]) -> list[str]:
    """Return the ids."""
    found = list(documents)
    assert None not in found, "found None in place of a document; unknown ones are left out"
    return [item.id for item in found]


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


COLLECTION_CALLS: list[tuple[str, tuple[Any, ...]]] = [
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
    ("document_ids", ()),
    ("delete", (["a"],)),
    ("delete", ([],)),
    ("delete", (None, {"a": 1})),
    ("clear_collection", ()),
]
"""Every call that names a collection, what comes after its name."""
