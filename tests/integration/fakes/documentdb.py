"""Vector search of Azure DocumentDB (Cosmos DB for MongoDB vCore) for tests, as ``documentdb.md`` says it is.

It is a proxy before a server without vector search, as ``atlas.py`` is, of which it takes all but the commands: indexes
are made by ``createIndexes``, and asked by the stage ``$search``.
"""

from __future__ import annotations

import uuid
from typing import Any

import bson
from atlas import Atlas, Refusal, check, check_filter, main

_KINDS = {
    "vector-ivf": ({"numLists"}, "nProbes", 4_000),
    "vector-hnsw": ({"m", "efConstruction"}, "efSearch", 4_000),
    "vector-diskann": ({"maxDegree", "lBuild"}, "lSearch", 16_000),
}
"""By kind: options of the index, that of a search, and the most dimensions, which take compression above 2,000."""
_METRICS = {"COS": "cosine", "IP": "dotProduct", "L2": "euclidean"}
_OPERATORS = {"$and", "$eq", "$neq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$regex", "$geoWithin"}
_NO_INDEX = "Similarity index was not found for a vector similarity search query."
_UNKNOWN = "BSON field '$vectorSearch.exact' is an unknown field"
MOST_DIMENSION = 2_000
MOST_LISTED = 1_000


class DocumentDB(Atlas):
    """The service."""

    small = False

    def answer(self, command: dict[str, Any]) -> dict[str, Any] | None:
        name, database = next(iter(command)), command.get("$db", "")
        space = f"{database}.{command[name]}"
        try:
            with self._turn:
                if name == "createSearchIndexes":
                    raise Refusal("Command createSearchIndexes not supported", 115)
                if name == "createIndexes" and any("cosmosSearch" in one["key"].values() for one in command["indexes"]):
                    return self._make(database, command[name], command["indexes"])
                pipeline = command.get("pipeline") if name == "aggregate" else None
                kinds = [next(iter(stage), "") for stage in pipeline or ()]
                if kinds[:1] == ["$vectorSearch"]:
                    check("exact" not in pipeline[0]["$vectorSearch"], _UNKNOWN, 40415)
                    raise Refusal(_NO_INDEX)
                check("$search" not in kinds[1:], "$search is only valid as the first stage", 40602)
                if kinds[:1] == ["$search"]:
                    found = self._near(database, command[name], pipeline)
                    return {"ok": 1.0, "cursor": {"id": bson.Int64(0), "ns": space, "firstBatch": found}}
        except Refusal as refusal:
            return {"ok": 0.0, "errmsg": refusal.message, "code": refusal.code}
        return super().answer(command)

    def order(self, name: str, value: Any) -> Any:
        """Beside those of ``Atlas``: ``small``, whether the cluster is one below M30."""
        if name == "small":
            self.small = value
            return None
        return super().order(name, value)

    def _make(self, database: str, collection: str, wanted: list[dict[str, Any]]) -> dict[str, Any]:
        space = f"{database}.{collection}"
        check(collection in self._server[database].list_collection_names(), "no such collection", 26)
        plain = [one for one in wanted if "cosmosSearch" not in one["key"].values()]
        (one,) = [one for one in wanted if one not in plain]
        options = one.get("cosmosSearchOptions", {})
        known, _, _ = _KINDS.get(options.get("kind"), (set(), "", 0))
        check(known, f"kind is one of {sorted(_KINDS)}", 2)
        check(set(options) <= {"kind", "similarity", "dimensions", *known}, "unknown option", 2)
        check(options["similarity"] in _METRICS, f"similarity is one of {sorted(_METRICS)}", 2)
        check(not self.small or options["kind"] == "vector-ivf", f"{options['kind']} needs a cluster of M30", 115)
        dimensions = options["dimensions"]
        check(isinstance(dimensions, int) and 1 <= dimensions <= MOST_DIMENSION, "dimensions", 2)
        (path,) = one["key"]
        named = self._indexes.setdefault(space, {})
        check(not named, "there is one vector index for each path", 86)
        similarity = _METRICS[options["similarity"]]
        vector = {"type": "vector", "path": path, "numDimensions": dimensions, "similarity": similarity}
        fields = [{"type": "filter", "path": field} for other in plain for field in other["key"]]
        about = {"id": uuid.uuid4().hex[:24], "name": one["name"], "definition": {"fields": [vector, *fields]}}
        named[one["name"]] = self._new(space, {**about, "kind": options["kind"]}, 0)
        self._keep()
        if plain:
            self._server[database].command({"createIndexes": collection, "indexes": plain})
        return {"ok": 1.0, "numIndexesBefore": 1, "numIndexesAfter": 1 + len(wanted)}

    def _near(self, database: str, collection: str, pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
        check(
            set(pipeline[0]["$search"]) <= {"cosmosSearch", "returnStoredSource"}, "this fake knows cosmosSearch only"
        )
        asked = pipeline[0]["$search"]["cosmosSearch"]
        self.asked.append({name: value for name, value in asked.items() if name != "vector"})
        if self.busy:
            self.busy -= 1
            raise Refusal("too many requests", 462)
        index = next(iter(self._indexes.get(f"{database}.{collection}", {}).values()), None)
        if index is None or index.vector["path"] != asked.get("path"):
            raise Refusal(_NO_INDEX)
        _, breadth, _ = _KINDS[index.about["kind"]]
        check(set(asked) <= {"vector", "path", "k", "filter", "exact", breadth}, f"unknown field in {sorted(asked)}")
        k, listed = asked["k"], asked.get(breadth, 40)
        check(isinstance(k, int) and k > 0, "k is a positive int")
        if not asked.get("exact") and breadth != "nProbes":
            check(10 <= listed <= MOST_LISTED, f"{breadth} is 10 to {MOST_LISTED}")
            check(k <= listed, f"k is at most {breadth}")
        stage = {"queryVector": asked["vector"], "limit": k}
        if "filter" in asked:
            check(_operators(asked["filter"]) <= _OPERATORS, "this operator of filters is not documented")
            check_filter(asked["filter"], index.filters)
            stage["filter"] = asked["filter"]
        return self._found(database, collection, dict(index.rank(stage)), pipeline[1:], "searchScore")


def _operators(tree: Any) -> set[str]:
    if isinstance(tree, dict):
        return {name for name in tree if name.startswith("$")}.union(*map(_operators, tree.values()))
    return set().union(*map(_operators, tree)) if isinstance(tree, list) else set()


if __name__ == "__main__":
    main(DocumentDB)
