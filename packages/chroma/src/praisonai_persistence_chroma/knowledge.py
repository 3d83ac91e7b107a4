"""Knowledge in Chroma: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from praisonai_persistence.filters import ObjectCompiler
from praisonai_persistence.payload import dumps, loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores.projection import TokenCompiler, product_distance, project_rows, ranked
from praisonai_persistence.stores.vector_documents import (
    collection_facts,
    collection_info,
    document_candidate,
    encoded_facts,
    own_names,
    pages,
)
from praisonai_persistence.stores.vector_engine import Collection, MarkedSteps
from praisonai_persistence.vectors import unpack
from praisonai_persistence_chroma._driver import FULL, PAGE, collection_names, the_client

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked
    from praisonai_persistence_chroma._driver import ChromaOptions, Client

__all__ = ["ChromaSteps"]

Where = dict[str, Any]

_FACTS = "praisonai"  # the metadata entry that holds, as JSON, all that has to come back
_TOKENS = "tokens"
_ANY = "any"  # a token of every document
_NONE = "none"  # a token of no document
_WIDTH = 1_001
"""How many candidates a search looks at at least: in a collection of fewer it is exhaustive, and known to be, and in a
larger one the width makes up for what the index leaves out."""
_SPACES = {"dot": "ip", "euclidean": "l2"}


class WhereCompiler(ObjectCompiler, TokenCompiler[Where]):
    """To Chroma's ``where``, which has no negation: that of a token, or of several, is all that is needed."""

    most_parts = 500  # the time that Chroma takes grows with their square

    def has(self, tokens: Sequence[str]) -> Where:
        return self.any_of([{_TOKENS: {"$contains": token}} for token in tokens])

    def bound(self, name: str, number: float, *, upper: bool) -> Where:
        return {f"n{name}": {"$lte" if upper else "$gte": number}}

    def negate(self, part: Where) -> Where:
        if "$or" in part:
            return self.all_of([self.negate(item) for item in part["$or"]])
        ((operator, token),) = part[_TOKENS].items()
        return {_TOKENS: {"$not_contains" if operator == "$contains" else "$contains": token}}

    def nothing(self) -> Where:
        return {_TOKENS: {"$contains": _NONE}}


class ChromaSteps(MarkedSteps[Collection, Where]):
    """Knowledge in Chroma.

    Args:
        options: of the store.
    """

    spare = 1
    most_ids = PAGE

    def __init__(self, options: ChromaOptions) -> None:
        super().__init__(WhereCompiler(), shared=options.host is not None)
        # Chroma's names begin and end with a letter or a digit; neither prefixes nor collections hold dots.
        self._prefix = f"x{options.table_prefix}."
        self._settings = dict(options.hnsw)

    def _name(self, name: str) -> str:
        return f"{self._prefix}{name}.x"

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return own_names((yield collection_names), self._prefix, ".x")

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        own = self._name(name)
        client: Client = yield the_client
        if fresh or own not in client.opened:
            found = yield lambda _: client.chroma.get_collection(own, embedding_function=None)
            client.opened[own] = Collection(collection_info(name, loads(found.metadata[_FACTS])), found)
        return client.opened[own]  # type: ignore[no-any-return]

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        index = {"ef_search": _WIDTH, **self._settings, "space": _SPACES[product_distance(info.distance)]}
        yield lambda client: client.chroma.create_collection(
            self._name(info.name),
            metadata={_FACTS: dumps(collection_facts(info, metadata))},
            embedding_function=None,
            configuration={"hnsw": index},
        )

    def _drop(self, opened: Collection) -> Steps[None]:
        yield lambda client: client.chroma.delete_collection(opened.engine.name)

    # ------------------------------------------------------------------------------------------------------- documents

    def _entries(
        self, opened: Collection, ids: Sequence[str] | None, expression: Where | None
    ) -> Steps[Sequence[tuple[str, Mapping[str, Any]]]]:
        found = yield lambda _: opened.engine.get(ids=ids, where=expression, include=["metadatas"])
        return list(zip(found["ids"], (loads(entry[_FACTS]) for entry in found["metadatas"]), strict=True))

    def _store(self, opened: Collection, rows: Sequence[DocumentRow], mark: str | None, *, new: bool) -> Steps[None]:
        write = opened.engine.add if new else opened.engine.upsert
        most = yield lambda client: client.chroma.get_max_batch_size()
        for some in pages(rows, most):
            yield lambda _, some=some: write(**_records(some, opened.info, mark))

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: Where | None) -> Ranked:
        def rank(client: Client) -> list[Candidate]:
            # Where there are many documents, the width of the index is enough, and one request.
            if limit < _WIDTH and self._is_large(client, opened):
                found = _query(opened, query, limit, expression, FULL)
                if len(found["ids"]) == limit or not _has_more(opened, expression, len(found["ids"])):
                    return _candidates(found)
            best = _best(opened, query, limit, expression)
            rows = {row.id: row for row in _read(opened, best)}
            return [rows[key] for key in best if key in rows]

        return (yield rank)  # type: ignore[no-any-return]

    def _is_large(self, client: Client, opened: Collection) -> bool:
        """Whether there are many documents, and the index is as wide however few it is asked for."""
        if ((opened.engine.configuration_json.get("hnsw") or {}).get("ef_search") or 0) < _WIDTH:
            return False
        large = None if self._shared else client.large.get(opened.engine.id)
        if not large:
            # Who deletes documents takes the list away, also while they are counted here.
            large = client.large[opened.engine.id] = []
            large += [True] * (opened.engine.count() >= _WIDTH)
        return bool(large)

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Ranked:
        return (yield lambda _: _read(opened, ids))  # type: ignore[no-any-return]

    def _count(self, opened: Collection, expression: Where | None) -> Steps[int]:
        if expression is None:
            return int((yield lambda _: opened.engine.count()))
        return len((yield lambda _: opened.engine.get(where=expression, include=[]))["ids"])

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Where | None) -> Steps[int]:
        def delete(client: Client, **chosen: Any) -> int:
            try:
                return int(opened.engine.delete(**chosen)["deleted"])
            finally:
                client.large.pop(opened.engine.id, None)

        if ids is None:
            every = expression or {_TOKENS: {"$contains": _ANY}}
            return int((yield lambda client: delete(client, where=every)))
        # Of ids Chroma counts unknown ones too.
        found = (yield lambda _: opened.engine.get(ids=ids, where=expression, include=[]))["ids"]
        if found:
            yield lambda client: delete(client, ids=found)
        return len(found)


def _best(opened: Collection, query: array[float], limit: int, expression: Where | None) -> list[str]:
    """Return the ids of the nearest documents, best first."""
    wanted = _WIDTH if limit <= _WIDTH else max(_WIDTH, min(limit, opened.engine.count()))
    found: list[str] = _query(opened, query, wanted, expression, ["distances"])["ids"]
    if len(found) < wanted and _has_more(opened, expression, len(found)):
        every = opened.engine.get(where=expression, include=["embeddings"])  # each document is looked at
        found = ranked(opened.info.distance, query, every["ids"], every["embeddings"])
    return found[:limit]


def _query(opened: Collection, query: array[float], limit: int, where: Where | None, include: list[str]) -> Any:
    """Return what Chroma finds nearest, best first, as its ``get`` would return it."""
    import numpy as np

    found = opened.engine.query([np.frombuffer(query, np.float32)], n_results=limit, where=where, include=include)
    return {name: found[name][0] for name in ("ids", *include)}


def _has_more(opened: Collection, where: Where | None, number: int) -> bool:
    """Whether more documents match: an index may leave out some, the more so under a filter."""
    return len(opened.engine.get(where=where, include=[], limit=number + 1)["ids"]) > number


def _records(rows: Sequence[DocumentRow], info: CollectionInfo, mark: str | None) -> dict[str, Any]:
    """Return documents as Chroma takes them."""
    import numpy as np

    ids, vectors, contents, entries = [], [], [], []
    for row, vector, projection in project_rows(info.distance, rows):
        ids.append(row.id)
        vectors.append(np.frombuffer(vector, dtype=np.float32))
        contents.append(row.content)
        entry = {f"n{name}": number for name, number in projection.numbers.items()}
        entries.append({_FACTS: encoded_facts(row, vector, mark), _TOKENS: [_ANY, *projection.tokens], **entry})
    return {"ids": ids, "embeddings": vectors, "documents": contents, "metadatas": entries}


def _read(opened: Collection, ids: Sequence[str]) -> list[Candidate]:
    """Return the documents that there are."""
    return [row for some in pages(ids, PAGE) for row in _candidates(opened.engine.get(ids=some, include=FULL))]


def _candidates(found: Any) -> list[Candidate]:
    import numpy as np

    vectors = np.asarray(found["embeddings"], dtype="<f4")
    columns = zip(found["ids"], found["documents"], found["metadatas"], vectors, strict=True)
    return [
        document_candidate(key, content or "", loads(entry[_FACTS]), partial(unpack, vector.tobytes()))
        for key, content, entry, vector in columns
    ]
