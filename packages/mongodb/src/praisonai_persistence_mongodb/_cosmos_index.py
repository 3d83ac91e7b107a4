"""Vector indexes of Azure Cosmos DB for MongoDB vCore, which is Azure DocumentDB by now (``cosmosSearch``).

Their definitions, stages and limits are those of Microsoft's page "Integrated vector store in Azure DocumentDB", and of
"Exact Nearest Neighbor Vector Search" for ``exact``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from praisonai_persistence_mongodb._vector_documents import Opened

__all__ = ["KINDS", "MOST_DIMENSION", "MOST_FOUND", "command", "stage"]

KINDS = ("vector-diskann", "vector-hnsw", "vector-ivf")
MOST_DIMENSION = 2_000
"""Without compression, which the store asks for none of."""
MOST_FOUND = 1_000
"""The most that a search returns: DiskANN has a list of up to 1,000 candidates (``lSearch``), and returns no more."""
_LISTS = {"vector-diskann": "lSearch", "vector-hnsw": "efSearch"}
_DOCUMENTED = frozenset({"$and", "$in", "$nin"})


def command(opened: Opened) -> dict[str, Any]:
    """Return the command that makes a collection's index, and those of the fields that filters name."""
    metric = "IP" if opened.info.distance == "cosine" else "L2"  # of unit vectors
    how: dict[str, Any] = {"kind": opened.kind, "similarity": metric, "dimensions": opened.info.dimension}
    if opened.kind == "vector-ivf":
        how["numLists"] = 1  # more of them would have to be found in vectors that are not there yet
    vectors = {"name": opened.search_index, "key": {opened.embedding: "cosmosSearch"}, "cosmosSearchOptions": how}
    plain = [{"name": f"{field}_filter", "key": {field: 1}} for field in ("tokens", "batch")]
    return {"createIndexes": opened.engine, "indexes": [vectors, *plain]}


def stage(opened: Opened, query: list[float], how: dict[str, Any]) -> dict[str, Any]:
    """Return the stage of a search.

    Args:
        opened: the collection.
        query: a vector.
        how: ``limit``; ``numCandidates`` or ``exact``; maybe a ``filter``. One with operators that are not documented
            is left out, so that more is found.
    """
    search: dict[str, Any] = {"vector": query, "path": opened.embedding, "k": how["limit"]}
    if how.get("exact"):
        search["exact"] = True
    elif opened.kind in _LISTS:
        search[_LISTS[opened.kind]] = how["numCandidates"]
    if "filter" in how and _operators(how["filter"]) <= _DOCUMENTED:
        search["filter"] = how["filter"]
    return {"$search": {"cosmosSearch": search, "returnStoredSource": True}}


def _operators(tree: Any) -> set[str]:
    if isinstance(tree, list):
        return set().union(*map(_operators, tree)) if tree else set()
    if not isinstance(tree, dict):
        return set()
    found = {name for name in tree if name.startswith("$")}
    return found.union(*map(_operators, tree.values()))
