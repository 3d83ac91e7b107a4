"""Knowledge in Cosmos DB: a partition for each collection, and one that says which there are."""

from __future__ import annotations

import json
import threading
import uuid
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Pauses
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.fields import copies
from praisonai_persistence.stores.namespaced import record_key
from praisonai_persistence.stores.projection import bounded_query, product_distance, ranked_vectors
from praisonai_persistence.stores.vector_engine import Collection, GoneError, TakenError
from praisonai_persistence.stores.versioned import Entry, VersionedSteps
from praisonai_persistence_cosmosdb._filters import FilterCompiler
from praisonai_persistence_cosmosdb._tokens import newer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked
    from praisonai_persistence_cosmosdb._driver import CosmosDBOptions

__all__ = ["CosmosDBSteps"]

_METRICS = {"dot": "dotproduct", "euclidean": "euclidean"}
_MOST_DIMENSION = {"flat": 505, "quantizedFlat": 4_096, "diskANN": 4_096}
_INSTEAD = {"flat": "the other kinds of vector_index take up to 4,096"}
_MOST_ITEM = 2_000_000
_MOST_BATCH = 100
_CLOCK = "clock"
_Item = dict[str, Any]


class _Place(NamedTuple):
    """Where a collection is: a container, and the value of its partition key."""

    container: str
    partition: str


class CosmosDBSteps(VersionedSteps[Collection, str]):
    """Knowledge in Cosmos DB.

    All documents of a collection are in one partition, so that a batch of them is written whole, and a query asks one
    partition. A write returns a session token, and a read with that token sees the write. A write of one small item
    returns the newest token of its partition, with which a read sees what all others have written before.

    Args:
        options: of the store.
    """

    most_ids = 1_000

    def __init__(self, options: CosmosDBOptions) -> None:
        super().__init__(FilterCompiler())
        self._options = options
        self.patience = options.timeout
        self._catalog = _Place(options.collection, f"{options.table_prefix}collections")
        self._tokens: dict[_Place, str | None] = {}
        self._lock = threading.Lock()
        self._strong = False

    def look(self) -> Steps[None]:
        """Ask the service for the first time."""
        level = yield from self._ask(lambda clients: clients.account())
        if level in {"Eventual", "ConsistentPrefix"}:
            raise ConfigurationError(
                f"the account's consistency is {level}, with which a store does not see its own writes: set Session, "
                f"or a stronger one"
            )
        self._strong = level == "Strong"

    def _ask(self, request: Callable[[Any], Any]) -> Steps[Any]:
        return Pauses(self._options.timeout).ask(request)

    # --------------------------------------------------------------------------------------------------------- requests

    def _fresh(self, place: _Place, *, newest: bool = False) -> Steps[str | None]:
        """Return the session token of a read.

        Args:
            place: where it reads.
            newest: whether it has to see all writes, whatever ``freshness`` is.
        """
        if (newest or self._options.freshness == "all") and not self._strong:
            item = {"id": _CLOCK, "collection": place.partition}
            token: str | None = yield from self._ask(lambda clients: clients.write(place.container, item))
            self._note(place, token)
            if token is not None:
                return token
        return self._tokens.get(place)

    def _note(self, place: _Place, token: str | None) -> None:
        """Keep the session token of a write, unless one is kept of a later write, which was answered before."""
        with self._lock:
            self._tokens[place] = newer(self._tokens.get(place), token)

    def _forget(self, container: str) -> None:
        """Forget the session tokens of a container that is no longer there: those of a new one begin anew."""
        with self._lock:
            for place in [one for one in self._tokens if one.container == container]:
                del self._tokens[place]

    def _query(self, place: _Place, text: str, **parameters: Any) -> Steps[list[Any]]:
        token = yield from self._fresh(place)
        named = {f"@{name}": value for name, value in parameters.items()}
        return (  # type: ignore[no-any-return]
            yield from self._ask(lambda clients: clients.query(place.container, text, place.partition, token, named))
        )

    def _batch(self, place: _Place, operations: list[Any]) -> Steps[list[str | None]]:
        """Do all of some writes or none; return the version of each item that was written."""
        token, etags = yield from self._ask(lambda clients: clients.batch(place.container, operations, place.partition))
        self._note(place, token)
        return etags  # type: ignore[no-any-return]

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        try:
            return sorted(
                (yield from self._query(self._catalog, "SELECT VALUE c.name FROM c WHERE IS_DEFINED(c.name)"))
            )
        except GoneError:  # no container yet
            return []

    def _found_item(self, name: str) -> Steps[_Item]:
        place = self._catalog
        token = yield from self._fresh(place)
        key = record_key(name)
        return (  # type: ignore[no-any-return]
            yield from self._ask(lambda clients: clients.read(place.container, key, place.partition, token))
        )

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        facts = (yield from self._found_item(name))["facts"]
        return Collection(documents.collection_info(name, facts), _Place(*facts["place"]))

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        options, metric = self._options, _METRICS[product_distance(info.distance)]
        index = options.vector_index
        documents.check_dimension(f"Cosmos DB's index {index}", info, _MOST_DIMENSION[index], _INSTEAD.get(index, ""))
        path = f"/{options.embedding_field}"
        policy = {"path": path, "dataType": "float32", "dimensions": info.dimension, "distanceFunction": metric}
        plain = [f"/{options.text_field}/?", "/facts/*", '/"_etag"/?']
        indexing = {"indexingMode": "consistent", "automatic": True, "includedPaths": [{"path": "/*"}]}
        catalog = {**indexing, "excludedPaths": [{"path": one} for one in plain]}
        vectors = {
            **indexing,
            "excludedPaths": [{"path": one} for one in [f"{path}/*", *plain]],
            "vectorIndexes": [{"path": path, "type": index}],
        }
        container = f"{options.collection}-{info.dimension}-{metric}"
        yield from self._make(options.collection, indexing_policy=catalog)
        yield from self._make(
            container, indexing_policy=vectors, vector_embedding_policy={"vectorEmbeddings": [policy]}
        )
        yield from self._check(container, policy)
        place = [container, f"{options.table_prefix}{uuid.uuid4().hex}"]
        facts = {**documents.collection_facts(info, metadata), "place": place}
        item = {"id": record_key(info.name), "collection": self._catalog.partition, "name": info.name, "facts": facts}
        self._note(
            self._catalog,
            (yield from self._ask(lambda clients: clients.write(self._catalog.container, item, new=True))),
        )

    def _make(self, name: str, **more: Any) -> Steps[None]:
        """Make a container, unless it is there; and the database."""
        try:
            yield from self._ask(lambda clients: clients.properties(name))
            return
        except GoneError:
            self._forget(name)
        with suppress(TakenError):  # it is there, or somebody else was first
            yield from self._ask(lambda clients: clients.make_database())
        with suppress(TakenError):
            yield from self._ask(lambda clients: clients.make(name, **more))

    def _check(self, name: str, policy: _Item) -> Steps[None]:
        found = yield from self._ask(lambda clients: clients.properties(name))
        policies = (found.get("vectorEmbeddingPolicy") or {}).get("vectorEmbeddings", [])
        paths = (found.get("partitionKey") or {}).get("paths")
        if paths != ["/collection"] or not any(policy.items() <= one.items() for one in policies):
            raise ConfigurationError(
                f"the container {name!r} has another partition key or vector policy than this collection needs: give "
                f"another collection=..., or delete it"
            )

    def _drop(self, opened: Collection) -> Steps[None]:
        item = yield from self._found_item(opened.info.name)
        anew = GoneError("the collection was deleted and made anew meanwhile")
        if _Place(*item["facts"]["place"]) != opened.engine:
            raise anew
        try:
            yield from self._batch(self._catalog, [_deletion(item["id"], item["_etag"])])
        except TakenError:
            raise anew from None
        yield from self._remove(opened, None, None)
        with suppress(GoneError):  # nobody has read with it
            yield from self._batch(opened.engine, [("delete", (_CLOCK,))])
        with self._lock:
            self._tokens.pop(opened.engine, None)

    # ---------------------------------------------------------------------------------------------------------- writes

    def _portions(self, opened: Collection, rows: Sequence[DocumentRow]) -> list[list[Any]]:
        """Return items, as many together as go into one batch; what is too large is refused before."""
        vectors = ranked_vectors(opened.info.distance, [row.embedding for row in rows])
        made = [self._item(opened, row, vector) for row, vector in zip(rows, vectors, strict=True)]
        return documents.packed(made, _MOST_ITEM, _MOST_BATCH)

    def _item(self, opened: Collection, row: DocumentRow, vector: array[float]) -> tuple[_Item, int]:
        """Return an item, and how many bytes it has in a request."""
        item = {
            "id": record_key(row.id),
            "collection": opened.engine.partition,
            "name": row.id,
            self._options.text_field: row.content,
            self._options.embedding_field: vector.tolist(),
            "facts": documents.document_facts(row, vector),
            **copies(row.metadata),
        }
        size = len(json.dumps(item, ensure_ascii=False).encode())
        documents.check_size("Cosmos DB", row.id, size, _MOST_ITEM)
        return item, size + 100

    def _put(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        for some in self._portions(opened, rows):
            yield from self._batch(opened.engine, [("upsert", (item,)) for item in some])

    def _insert(self, opened: Collection, rows: Sequence[_Item]) -> Steps[list[tuple[str, Any]]]:
        try:
            etags = yield from self._batch(opened.engine, [("create", (item,)) for item in rows])
        except TakenError:
            return []
        return [(item["name"], etag) for item, etag in zip(rows, etags, strict=True)]

    def _unstore(self, opened: Collection, written: Sequence[tuple[str, Any]]) -> Steps[list[bool | None]]:
        done: list[bool | None] = []
        for some in documents.pages(written, _MOST_BATCH):
            deletions = [_deletion(record_key(name), etag) for name, etag in some]
            try:
                yield from self._batch(opened.engine, deletions)
                done += [True] * len(some)
            except (GoneError, TakenError):  # others removed one of them meanwhile, or wrote it: nothing was done
                for one in deletions:
                    done.append((yield from self._delete(opened.engine, one)))
        if False in done:
            yield from self._fresh(opened.engine, newest=True)  # what is read next has what others wrote
        return done

    def _delete(self, place: _Place, deletion: Any) -> Steps[bool | None]:
        try:
            yield from self._batch(place, [deletion])
        except GoneError:
            return None
        except TakenError:
            return False
        return True

    def _entries(self, opened: Collection, ids: Sequence[str] | None, expression: str | None) -> Steps[list[Entry]]:
        found = yield from self._select(opened, "c.name, c._etag, c.facts.metadata AS metadata", ids, expression)
        return [Entry(item["name"], item["metadata"], item["_etag"]) for item in found]

    def _versions(self, opened: Collection, ids: Sequence[str] | None, expression: str | None) -> Steps[list[Entry]]:
        found = yield from self._select(opened, "c.name, c._etag", ids, expression)  # of few request units
        return [Entry(item["name"], None, item["_etag"]) for item in found]

    # ----------------------------------------------------------------------------------------------------------- reads

    def _where(self, ids: Sequence[str] | None, expression: str | None) -> str:
        keys = ", ".join(f"'{record_key(one)}'" for one in ids or ())
        chosen = "IS_DEFINED(c.name)" if ids is None else f"c.id IN ({keys})"
        return chosen if expression is None else f"{chosen} AND {expression}"

    def _select(
        self, opened: Collection, what: str, ids: Sequence[str] | None, expression: str | None
    ) -> Steps[list[Any]]:
        chosen = self._where(ids, expression)  # of hashes and numbers
        return (yield from self._query(opened.engine, f"SELECT {what} FROM c WHERE {chosen}"))  # noqa: S608

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: str | None) -> Ranked:
        chosen, field = self._where(None, expression), self._options.embedding_field
        text = f"SELECT TOP @limit * FROM c WHERE {chosen} ORDER BY VectorDistance(c.{field}, @q)"  # noqa: S608
        near = bounded_query(opened.info.distance, query)
        found = yield from self._query(opened.engine, text, q=near, limit=limit)
        return [self._candidate(item) for item in found]

    def _candidate(self, item: _Item) -> Candidate:
        options = self._options
        return documents.document_candidate(
            item["name"], item[options.text_field], item["facts"], lambda: array("f", item[options.embedding_field])
        )

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Ranked:
        return [self._candidate(item) for item in (yield from self._select(opened, "*", ids, None))]

    def _taken(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        return (yield from self._select(opened, "VALUE c.name", ids, None))

    def _count(self, opened: Collection, expression: str | None) -> Steps[int]:
        return int((yield from self._select(opened, "VALUE COUNT(1)", None, expression))[0])


def _deletion(key: str, etag: str | None) -> Any:
    return "delete", (key,), {"if_match_etag": etag}
