"""Vector search indexes, as MongoDB Atlas has them: making one, asking it, waiting until it has what was written."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import Pauses, ThrottledError
from praisonai_persistence.errors import BackendError, UnsupportedOperationError
from praisonai_persistence_mongodb import _cosmos_index
from praisonai_persistence_mongodb._driver import listed
from praisonai_persistence_mongodb._vector_documents import Opened, ask, sibling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_mongodb._driver import MongoVectorOptions

__all__ = ["SearchIndexes", "most_found", "present"]

_MOST_CANDIDATES = 10_000
"""The most that a search in an index of Atlas looks at, and returns."""
_MOST_DIMENSION = 8_192
_UNSETTLED = 100
"""Batches of which a store remembers that it has not looked for them."""


class SearchIndexes:
    """The vector search indexes of a store's collections.

    Args:
        options: of the store.
    """

    def __init__(self, options: MongoVectorOptions) -> None:
        self._options = options
        self._unsettled: dict[str, dict[str, list[str]]] = {}
        self._lock = threading.Lock()

    def make(self, opened: Opened) -> Steps[Opened]:
        """Give a new collection an index, and wait until it can be used; none where the server has none, or cannot.

        Raises:
            UnsupportedOperationError: the server has none, and it must.
            BackendError: the index cannot be made.
            ConnectionFailedError: it is not ready in time.
        """
        name, seconds = self._options.index_name, self._options.index_timeout
        info = opened.info
        # The inner products of vectors of any length are none of what these indexes rank by.
        if self._options.vector_search == "exact" or info.distance == "dot":
            return opened
        if self._options.vector_search == "cosmos":
            return opened if info.dimension > _cosmos_index.MOST_DIMENSION else (yield from self._make_cosmos(opened))
        if info.dimension > _MOST_DIMENSION:
            return opened
        made = opened._replace(search_index=name)
        try:  # a server that has vector search finds nothing; not every other one refuses to make an index
            yield from self.nearest(made, _unit(info.dimension), {"exact": True, "limit": 1})
        except UnsupportedOperationError:
            if self._options.vector_search == "atlas":
                raise
            return opened
        similarity = "dotProduct" if info.distance == "cosine" else "euclidean"  # of unit vectors
        ranked = {"path": opened.embedding, "numDimensions": info.dimension, "similarity": similarity}
        fields = [
            {"type": "vector", **ranked},
            {"type": "filter", "path": "tokens"},
            {"type": "filter", "path": "batch"},
        ]
        model = {"name": name, "type": "vectorSearch", "definition": {"fields": fields}}
        try:
            yield from ask(opened, lambda documents: documents.create_search_index(model))
        except (BackendError, UnsupportedOperationError) as error:
            raise BackendError(
                f"the vector search index was refused ({error}): a small cluster has room for few of them, and each "
                f"collection has one; delete one, take a larger cluster, or vector_search='exact'"
            ) from error
        end = Pauses(seconds, 0.5)
        while True:
            for index in (yield from ask(opened, lambda documents: listed(documents.list_search_indexes(name)))):
                if index.get("queryable"):
                    return made
                if index.get("status") == "FAILED":
                    raise BackendError("the vector search index could not be built: see the console of Atlas")
            yield from end.wait(
                ThrottledError(
                    f"the vector search index was not ready within {seconds:g} seconds: raise index_timeout, or take "
                    f"vector_search='exact'"
                )
            )

    def _make_cosmos(self, opened: Opened) -> Steps[Opened]:
        made = opened._replace(search_index=self._options.index_name, kind=self._options.cosmos_index)
        command = _cosmos_index.command(made)
        try:
            yield from ask(opened, lambda documents: documents.database.command(command))
        except (BackendError, UnsupportedOperationError) as error:
            raise BackendError(
                f"the index {made.kind} was refused ({error}): on Azure a cluster below M30 has vector-ivf only, take "
                f"cosmos_index='vector-ivf', or vector_search='exact'; other servers have no such index, take "
                f"vector_search='auto'"
            ) from error
        try:  # not every server without such indexes refuses to make one
            yield from self.nearest(made, _unit(opened.info.dimension), {"exact": True, "limit": 1})
        except UnsupportedOperationError as error:
            raise UnsupportedOperationError(
                f"{self._options.where} has no vector search of Azure DocumentDB (cosmosSearch): take "
                f"vector_search='auto', which makes an index where the server has those of Atlas, or "
                f"vector_search='exact'"
            ) from error
        return made

    def nearest(self, opened: Opened, query: list[float], how: dict[str, Any]) -> Steps[list[str]]:
        """Return the ids that a search in the index finds."""
        if opened.kind is None:
            asked = {"index": opened.search_index, "path": opened.embedding, "queryVector": query, **how}
            stage: dict[str, Any] = {"$vectorSearch": asked}
        else:
            stage = _cosmos_index.stage(opened, query, how)
        pipeline = [stage, {"$project": {"_id": 1}}]
        pauses = Pauses(self._options.timeout)
        found = yield from pauses.ask(lambda collection: listed(sibling(collection, opened.engine).aggregate(pipeline)))
        return [one["_id"] for one in found]

    def wrote(self, opened: Opened, batch: str, ids: list[str]) -> Steps[None]:
        """See to it that a batch, which was just written, is found by the next search."""
        if opened.search_index is None:
            return
        if self._options.freshness == "own":
            with self._lock:
                unsettled = self._unsettled.setdefault(opened.engine, {})
                unsettled[batch] = ids
                if len(unsettled) <= _UNSETTLED:
                    return
        yield from self._wait(opened, batch, ids)

    def settle(self, opened: Opened) -> Steps[None]:
        """Wait until the index has what this store wrote."""
        with self._lock:
            unsettled = list(self._unsettled.get(opened.engine, {}).items())
        for batch, ids in unsettled:
            yield from self._wait(opened, batch, ids)

    def _wait(self, opened: Opened, batch: str, ids: list[str]) -> Steps[None]:
        """Wait until the index has a batch, apart from what others have written over."""
        how = {"exact": True, "filter": {"batch": batch}, "limit": len(ids)}
        end = Pauses(self._options.freshness_timeout, 0.05)
        while True:
            found = set((yield from self.nearest(opened, _unit(opened.info.dimension), how)))
            if len(found) == len(ids) or found.issuperset((yield from present(opened, ids, batch))):
                with self._lock:
                    self._unsettled.get(opened.engine, {}).pop(batch, None)
                return
            yield from end.wait(self._options.unseen())

    def forget(self, opened: Opened) -> None:
        """Forget a collection that was deleted."""
        with self._lock:
            self._unsettled.pop(opened.engine, None)


def most_found(opened: Opened) -> int:
    """Return how many documents one search in a collection's index returns at the most."""
    return _MOST_CANDIDATES if opened.kind is None else _cosmos_index.MOST_FOUND


def present(opened: Opened, ids: Sequence[str], batch: str) -> Steps[list[str]]:
    """Return those of the ids whose documents were written by a batch, and by nobody since."""
    wanted = {"_id": {"$in": list(ids)}, "batch": batch}
    found = yield from ask(opened, lambda documents: documents.find(wanted, {"_id": 1}).to_list())
    return [one["_id"] for one in found]


def _unit(dimension: int) -> list[float]:
    return [1.0] + [0.0] * (dimension - 1)
