"""Knowledge in Chroma: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps, loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores.projection import TokenCompiler, product_distance, project, ranked_vectors
from praisonai_persistence.stores.vector_documents import (
    collection_facts,
    collection_info,
    document_candidate,
    document_facts,
    pages,
)
from praisonai_persistence.stores.vector_engine import MarkedSteps
from praisonai_persistence.stores.vector_errors import GoneError
from praisonai_persistence.vectors import unpack

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence_chroma._driver import Client

__all__ = ["ChromaSteps"]

T = TypeVar("T")
Where = dict[str, Any]

_FACTS = "praisonai"  # the metadata entry that holds, as JSON, all that has to come back
_TOKENS = "tokens"
_ANY = "any"  # a token of every document
_NONE = "none"  # a token of no document
_FULL = ["documents", "metadatas", "embeddings"]
_WIDTH = 1_001
"""How many candidates Chroma is asked for at least: in a collection of fewer the search is exhaustive, and known to be,
and in a larger one the width makes up for what its index leaves out."""
_PAGE = 1_000  # ids in one request, and collections in one answer
_SPACES = {"dot": "ip", "euclidean": "l2"}


class WhereCompiler(TokenCompiler[Where]):
    """To Chroma's ``where``, which has no negation: that of a token, or of several, is all that is needed."""

    def has(self, tokens: Sequence[str]) -> Where:
        parts = [{_TOKENS: {"$contains": token}} for token in tokens]
        return parts[0] if len(parts) == 1 else {"$or": parts}

    def bound(self, name: str, number: float, *, upper: bool) -> Where:
        return {f"n{name}": {"$lte" if upper else "$gte": number}}

    def all_of(self, parts: Sequence[Where]) -> Where:
        return {"$and": list(parts)}

    def any_of(self, parts: Sequence[Where]) -> Where:
        return {"$or": list(parts)}

    def negate(self, part: Where) -> Where:
        if "$or" in part:
            return {"$and": [self.negate(item) for item in part["$or"]]}
        ((operator, token),) = part[_TOKENS].items()
        return {_TOKENS: {"$not_contains" if operator == "$contains" else "$contains": token}}

    def nothing(self) -> Where:
        return {_TOKENS: {"$contains": _NONE}}


class Collection(NamedTuple):
    """An opened collection.

    Attributes:
        info: what it was created with.
        chroma: Chroma's own object.
    """

    info: CollectionInfo
    chroma: Any


class ChromaSteps(MarkedSteps[Collection, Where]):
    """Knowledge in Chroma.

    Args:
        prefix: the ``table_prefix``.
        settings: of the vector index of new collections.
        shared: whether other processes write too.
    """

    def __init__(self, prefix: str, settings: dict[str, Any], *, shared: bool) -> None:
        super().__init__(WhereCompiler(), shared=shared)
        # Chroma's names begin and end with a letter or a digit; neither prefixes nor collections hold dots.
        self._prefix = f"x{prefix}."
        self._settings = settings

    def _name(self, name: str) -> str:
        return f"{self._prefix}{name}.x"

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        def names(client: Client) -> list[str]:
            found: list[str] = []
            while True:
                page = client.chroma.list_collections(limit=_PAGE, offset=len(found))
                found += [item.name for item in page]
                if len(page) < _PAGE:
                    return found

        found = yield from _ask(names)
        mine = (name for name in found if name.startswith(self._prefix) and name.endswith(".x"))
        return sorted(name[len(self._prefix) : -2] for name in mine)

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        client: Client = yield lambda client: client
        opened: Collection | None = client.opened.get(name)
        if fresh or opened is None:
            try:
                found = yield lambda client: client.chroma.get_collection(self._name(name), embedding_function=None)
            except GoneError:
                client.opened.pop(name, None)
                return None
            opened = client.opened[name] = Collection(collection_info(name, loads(found.metadata[_FACTS])), found)
        return opened

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        yield lambda client: client.chroma.create_collection(
            self._name(info.name),
            metadata={_FACTS: dumps(collection_facts(info, metadata))},
            embedding_function=None,
            configuration={"hnsw": {**self._settings, "space": _SPACES[product_distance(info.distance)]}},
        )

    def _drop(self, opened: Collection) -> Steps[None]:
        def drop(client: Client) -> None:
            client.opened.pop(opened.info.name, None)
            client.chroma.delete_collection(self._name(opened.info.name))

        yield drop

    # ------------------------------------------------------------------------------------------------------- documents

    def _taken(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        return [key for key, _ in (yield from self._scan(opened, ids, None))]

    def _put(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write_all(opened.chroma.upsert, opened.info, rows, None)

    def _put_new(self, opened: Collection, rows: Sequence[DocumentRow], mark: str | None) -> Steps[None]:
        yield from self._write_all(opened.chroma.add, opened.info, rows, mark)

    def _marked(self, opened: Collection, ids: Sequence[str], mark: str) -> Steps[Sequence[str]]:
        mine: list[str] = []
        for some in pages(ids, _PAGE):
            found = yield lambda _, some=some: opened.chroma.get(ids=some, include=["metadatas"])
            entries = zip(found["ids"], found["metadatas"], strict=True)
            mine += [key for key, entry in entries if json.loads(entry[_FACTS])["writer"] == mark]
        return mine

    def _write_all(
        self, call: Callable[..., Any], info: CollectionInfo, rows: Sequence[DocumentRow], mark: str | None
    ) -> Steps[None]:
        most = yield lambda client: client.chroma.get_max_batch_size()
        for some in pages(rows, most):
            yield lambda _, some=some: call(**_records(some, info, mark))

    def _rank(
        self, opened: Collection, query: array[float], limit: int, expression: Where | None
    ) -> Steps[Sequence[Candidate]]:
        def rank(_: Client) -> list[Candidate]:
            best = self._best(opened, query, limit, expression)
            found = {row.id: row for row in _read(opened, best)}
            return [found[key] for key in best if key in found]

        return (yield from _ask(rank))

    def _best(self, opened: Collection, query: array[float], limit: int, expression: Where | None) -> list[str]:
        """Return the ids of the nearest documents, best first."""
        import numpy as np

        chroma = opened.chroma
        wanted = max(limit, _WIDTH)
        if limit > _WIDTH:
            wanted = max(_WIDTH, min(wanted, chroma.count()))
        vector = np.frombuffer(query, dtype=np.float32)
        found: list[str] = chroma.query(
            query_embeddings=[vector], n_results=wanted, where=expression, include=["distances"]
        )["ids"][0]
        if len(found) < wanted:
            # An index may leave out documents, the more so under a filter. If it did, each of them is looked at.
            every = chroma.get(where=expression, include=[], limit=len(found) + 1)["ids"]
            if len(every) > len(found):
                found = self._exhaustive(opened, vector, expression)
        return found[:limit]

    @staticmethod
    def _exhaustive(opened: Collection, vector: Any, expression: Where | None) -> list[str]:
        import numpy as np

        found = opened.chroma.get(where=expression, include=["embeddings"])
        vectors = np.asarray(found["embeddings"], dtype=np.float64)
        if product_distance(opened.info.distance) == "dot":
            ranks = -(vectors @ vector)
        else:
            ranks = np.linalg.norm(vectors - vector, axis=1)
        return [found["ids"][number] for number in np.argsort(ranks, kind="stable")]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[Candidate]]:
        return (yield from _ask(lambda _: _read(opened, ids)))

    def _scan(
        self, opened: Collection, ids: Sequence[str] | None, expression: Where | None
    ) -> Steps[Sequence[tuple[str, str | None]]]:
        def scan(_: Client) -> list[tuple[str, str | None]]:
            rows: list[tuple[str, str | None]] = []
            for some in [None] if ids is None else pages(ids, _PAGE):
                found = opened.chroma.get(ids=some, where=expression, include=["metadatas"])
                entries = (json.loads(entry[_FACTS]) for entry in found["metadatas"])
                rows += zip(found["ids"], (entry["metadata"] for entry in entries), strict=True)
            return rows

        return (yield from _ask(scan))

    def _count(self, opened: Collection, expression: Where | None) -> Steps[int]:
        if expression is None:
            return (yield from _ask(lambda _: int(opened.chroma.count())))
        return (yield from _ask(lambda _: len(opened.chroma.get(where=expression, include=[])["ids"])))

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Where | None) -> Steps[int]:
        def remove(_: Client) -> int:
            chroma = opened.chroma
            if ids is None:
                return int(chroma.delete(where=expression or {_TOKENS: {"$contains": _ANY}})["deleted"])
            gone = 0
            for some in pages(ids, _PAGE):  # of ids Chroma counts unknown ones too
                found = chroma.get(ids=some, where=expression, include=[])["ids"]
                if found:
                    chroma.delete(ids=found)
                gone += len(found)
            return gone

        return (yield from _ask(remove))


def _records(rows: Sequence[DocumentRow], info: CollectionInfo, mark: str | None) -> dict[str, Any]:
    """Return documents as Chroma takes them."""
    import numpy as np

    vectors, entries = [], []
    for row, vector in zip(rows, ranked_vectors(info.distance, [row.embedding for row in rows]), strict=True):
        values, items, keys, numbers = project(row.metadata)
        vectors.append(np.frombuffer(vector, dtype=np.float32))
        entries.append(
            {
                _FACTS: json.dumps(document_facts(row, vector, mark), ensure_ascii=False),
                _TOKENS: [_ANY, *values, *items, *keys],
                **{f"n{name}": number for name, number in numbers.items()},
            }
        )
    return {
        "ids": [row.id for row in rows],
        "embeddings": vectors,
        "documents": [row.content for row in rows],
        "metadatas": entries,
    }


def _read(opened: Collection, ids: Sequence[str]) -> list[Candidate]:
    """Return the documents that there are."""
    rows: list[Candidate] = []
    for some in pages(ids, _PAGE):
        found = opened.chroma.get(ids=some, include=_FULL)
        rows += map(_candidate, found["ids"], found["documents"], found["embeddings"], found["metadatas"])
    return rows


def _candidate(key: str, content: str | None, vector: Any, entry: dict[str, Any]) -> Candidate:
    import numpy as np

    facts = json.loads(entry[_FACTS])
    return document_candidate(key, content or "", facts, lambda: unpack(np.asarray(vector, dtype="<f4").tobytes()))


def _ask(request: Callable[[Client], T]) -> Steps[T]:
    return (yield request)  # type: ignore[no-any-return]
