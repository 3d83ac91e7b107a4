"""Random walks through all operations of a knowledge store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from praisonai_persistence.memory import MemoryKnowledgeStore
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing.clauses import MODEL
from praisonai_persistence.testing.corpus import (
    identical,
)
from praisonai_persistence.testing.harness import full_only

if TYPE_CHECKING:
    pass
from praisonai_persistence.testing._compare import call, model_call
from praisonai_persistence.testing.knowledge._common import SETTINGS, TOLERANCE, everything, ids

__all__ = ["Model"]

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
    st.tuples(st.just("document_ids"), _COLLECTIONS, _SMALL_FILTERS),
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


class Model:
    """Random walks through all operations of a knowledge store."""

    @full_only
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
