"""Knowledge in SurrealDB: a table for each collection, searched by token and, where there are many, by vector."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores.projection import project, ranked_vector
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.scanned import Entry, ScannedSteps, Selection, What
from praisonai_persistence.stores.vector_documents import (
    check_dimension,
    collection_facts,
    collection_info,
    vector_bytes,
)
from praisonai_persistence.stores.vector_engine import Collection, GoneError, TakenError
from praisonai_persistence.vectors import unpack
from praisonai_persistence_surrealdb._driver import ask
from praisonai_persistence_surrealdb._schema import Schema, define_table

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.vector_engine import Ranked
    from praisonai_persistence_surrealdb._driver import SurrealVectorOptions

__all__ = ["EXACT", "SurrealVectorSteps"]

EXACT = 10_000
"""In a collection of so many documents, or fewer, every vector is compared, also where there is an index."""
_INDEX = "HNSW DIMENSION {} DIST EUCLIDEAN TYPE F32"  # of unit vectors, this is also the order of their cosines
_MOST_DIMENSION = 65_535  # of the index
_ID = "record::id(id)[0]"
_DOCUMENT = f"[{_ID}, content, embedding, metadata, content_hash, created_at]"


def _candidate(row: Sequence[Any]) -> Candidate:
    key, content, embedding, metadata, content_hash, created_at = row
    return Candidate(key, content, unpack(embedding), metadata, content_hash, created_at)


_PAGES: dict[What, tuple[str, int, Callable[[Any], Any]]] = {
    "ids": (_ID, 10_000, str),
    "writers": (f"[{_ID}, metadata, writer]", 2_000, Entry._make),
    "vectors": (f"[{_ID}, metadata, embedding]", 2_000, Entry._make),
    "documents": (_DOCUMENT, 100, _candidate),
}
"""What is read, how many rows one answer has at the most, and what a row becomes."""


class SurrealVectorSteps(ScannedSteps[Collection]):
    """Knowledge in SurrealDB.

    The documents of a collection are in a table of a name of its own, so what is done on one that was deleted meanwhile
    never touches another one. The vectors of an index are in a second table: the engine takes longer to read the
    numbers of a vector than all the rest.

    Args:
        options: of the store.
    """

    remembers = True
    most_ids = 1_000

    def __init__(self, options: SurrealVectorOptions) -> None:
        super().__init__()
        self._options = options
        self._collections = f"{options.table_prefix}collections"
        self.schema = Schema("knowledge", (self._collections,))

    def _ask(self, text: str, /, **values: Any) -> Steps[Any]:
        return (yield from ask(self._options.timeout, text, **values))

    def _on_table(self, opened: Collection, text: str, /, **values: Any) -> Steps[Any]:
        """Do a query in a collection's table, if that is there."""
        name = opened.info.name
        there = f"IF (SELECT VALUE documents FROM ONLY {self._collections}:[$name]) != $documents {{ RETURN 'gone' }}"
        answer = yield from self._ask(f"{{ {there}; {text} }}", name=name, documents=opened.engine, **values)
        if answer == "gone":
            raise GoneError(f"the collection {name!r} is not there any more")
        return answer

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted((yield from self._ask(f"SELECT VALUE {_ID} FROM {self._collections}")))

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        text = f"SELECT VALUE [facts, documents] FROM ONLY {self._collections}:[$name]"
        found = yield from self._ask(text, name=name)
        return None if found is None else Collection(collection_info(name, loads(found[0])), found[1])

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        # A prefix holds no capital letter, so no other store's table has such a name.
        table = f"{self._options.table_prefix}D{uuid.uuid4().hex}{'R' if self._options.index == 'hnsw' else ''}"
        define = [define_table(table, "documents"), f"DEFINE INDEX tokens ON {table} FIELDS tokens"]
        if _is_ranked(table):
            check_dimension("SurrealDB's index", info, _MOST_DIMENSION, "without index='hnsw', collections have any")
            define += [
                define_table(f"{table}V", "vectors"),
                f"DEFINE INDEX ranked ON {table}V FIELDS ranked {_INDEX.format(info.dimension)}",
            ]
        yield from self._ask("; ".join(define))
        text = (
            f"{{ IF (SELECT VALUE id FROM ONLY {self._collections}:[$name]) != NONE {{ RETURN false }}; "
            f"CREATE {self._collections}:[$name] SET facts = $facts, documents = $documents RETURN NONE; RETURN true }}"
        )
        facts = json.dumps(collection_facts(info, metadata))
        if not (yield from self._ask(text, name=info.name, facts=facts, documents=table)):
            yield from self._ask(_remove(table))
            raise TakenError("somebody else made it meanwhile")

    def _drop(self, opened: Collection) -> Steps[None]:
        yield from self._on_table(opened, f"DELETE {self._collections}:[$name] RETURN NONE; RETURN 'done'")
        yield from self._ask(_remove(opened.engine))

    # ------------------------------------------------------------------------------------------------------- documents

    def _page(
        self, opened: Collection, what: What, ids: Sequence[str] | None, tokens: Sequence[str], place: Any
    ) -> Steps[tuple[Sequence[Any], Any]]:
        value, size, make = _PAGES[what]
        table = opened.engine
        if ids is not None or isinstance(place, list):
            wanted = self._records(table, ids or ()) if place is None else place
            rows = yield from self._on_table(opened, f"RETURN SELECT VALUE {value} FROM $ids", ids=wanted[:size])
            return list(map(make, rows)), wanted[size:] or None
        if tokens:
            having = " AND ".join(f"tokens CONTAINS $token{number}" for number in range(len(tokens)))
            values = {f"token{number}": token for number, token in enumerate(tokens)}
            text = (
                f"LET $found = (SELECT VALUE id FROM {table} WHERE {having}); "
                f"LET $first = array::slice($found, 0, $n); "
                f"RETURN [(SELECT VALUE {value} FROM $first), array::slice($found, $n)]"
            )
            rows, rest = yield from self._on_table(opened, text, n=size, **values)
            return list(map(make, rows)), rest or None
        begin = "[''].." if place is None else "[$place]>.."
        text = f"RETURN SELECT VALUE [{_ID}, {value}] FROM {table}:{begin}[{{}}] LIMIT $n"
        rows = yield from self._on_table(opened, text, n=size, place=place)
        return [make(row[1]) for row in rows], rows[-1][0] if len(rows) == size else None

    def _count(self, opened: Collection, expression: Selection | None) -> Steps[int]:
        if expression is not None:
            return (yield from super()._count(opened, expression))
        return int((yield from self._on_table(opened, f"RETURN {_count(opened.engine)}")))

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: Selection | None) -> Ranked:
        if expression is None and _is_ranked(opened.engine) and opened.info.distance != "dot":
            # The numbers of an index's operator cannot be bound.
            most = max(limit, self._options.ef)
            text = (
                f"IF {_count(opened.engine)} <= {EXACT} {{ RETURN NONE }}; RETURN SELECT VALUE {_ID} FROM "
                f"(SELECT id, vector::distance::knn() AS rank FROM {opened.engine}V "
                f"WHERE ranked <|{int(limit)},{int(most)}|> $vector ORDER BY rank)"
            )
            ids = yield from self._on_table(opened, text, vector=query.tolist())
            if ids is not None and len(ids) == limit:
                return (yield from self._current(opened, ids, None))
        return (yield from super()._rank(opened, query, limit, expression))

    def _store(
        self, opened: Collection, rows: Sequence[DocumentRow], writer: str, *, new: bool
    ) -> Steps[Sequence[bool]]:
        # All in one transaction, so a batch is all or none.
        table, ids = opened.engine, [row.id for row in rows]
        text = (
            "IF $new AND array::len((SELECT VALUE id FROM $ids)) > 0 { RETURN false }; "
            f"DELETE $ids RETURN NONE; INSERT INTO {table} $rows RETURN NONE; "
        )
        values = {"ids": self._records(table, ids), "rows": [_record(table, row, writer) for row in rows]}
        if _is_ranked(table):
            text += f"DELETE $vector_ids RETURN NONE; INSERT INTO {table}V $vectors RETURN NONE; "
            values["vector_ids"] = vector_ids = self._records(f"{table}V", ids)
            ranked = [ranked_vector(opened.info.distance, row.embedding).tolist() for row in rows]
            values["vectors"] = [{"id": a, "ranked": b} for a, b in zip(vector_ids, ranked, strict=True)]
        written = yield from self._on_table(opened, f"{text}RETURN true", new=new, **values)
        return [written] * len(rows)

    def _unstore(self, opened: Collection, written: Sequence[tuple[str, str]]) -> Steps[Sequence[bool | None]]:
        table = opened.engine
        vector = f"DELETE {table}V:[$one[0]] RETURN NONE; " if _is_ranked(table) else ""
        text = (
            f"LET $there = (SELECT VALUE [{_ID}, writer] FROM $ids); FOR $one IN $there {{ IF $one IN $written {{ "
            f"{vector}DELETE {table}:[$one[0]] RETURN NONE }} }}; RETURN $there"
        )
        ids = self._records(table, [key for key, _ in written])
        there = dict((yield from self._on_table(opened, text, ids=ids, written=[list(one) for one in written])))
        return [there[key] == writer if key in there else None for key, writer in written]

    @staticmethod
    def _records(table: str, ids: Sequence[str]) -> list[Any]:
        from surrealdb import RecordID

        return [RecordID(table, [item]) for item in ids]


def _record(table: str, row: DocumentRow, writer: str) -> dict[str, Any]:
    from surrealdb import RecordID

    return {
        "id": RecordID(table, [row.id]),
        "content": row.content,
        "embedding": vector_bytes(row.embedding),
        "metadata": row.metadata,
        "content_hash": row.content_hash,
        "created_at": row.created_at,
        "writer": writer,
        "tokens": project(row.metadata).tokens,
    }


def _is_ranked(table: str) -> bool:
    """Whether the vectors of a collection's table have an index."""
    return table.endswith("R")


def _count(table: str) -> str:
    return f"((SELECT count() FROM {table} GROUP ALL)[0].count ?? 0)"


def _remove(table: str) -> str:
    return f"REMOVE TABLE IF EXISTS {table}; REMOVE TABLE IF EXISTS {table}V"
