"""Knowledge in Pinecone: a namespace for each collection, and one that says which there are."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Pauses, ThrottledError
from praisonai_persistence.errors import BackendError, ConfigurationError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.namespaced import NamespacedSteps, Record, filled
from praisonai_persistence.stores.projection import product_distance
from praisonai_persistence.stores.vector_engine import Collection, GoneError, TakenError
from praisonai_persistence_pinecone._filters import FilterCompiler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_pinecone._driver import PineconeOptions

__all__ = ["PineconeSteps"]

_METRICS = {"dot": "dotproduct", "euclidean": "euclidean"}
_STEP = 128  # dimensions of the indexes that this store makes are multiples of it, so that few of them do
_MOST_DIMENSION = 20_000
_ANSWER = 4_000_000  # bytes of one answer


class _Place(NamedTuple):
    """Where a collection is: the host of an index, a namespace, and how many numbers a vector has there."""

    host: str
    namespace: str
    size: int


class _Index(NamedTuple):
    host: str
    dimension: int
    metric: str


class PineconeSteps(NamespacedSteps[dict[str, Any]]):
    """Knowledge in Pinecone.

    A write gets a number (LSN) in its namespace, and a query says up to which number it has seen the writes. So each
    query that has not seen this store's last write there is made again. That also makes claims certain: of two writers,
    the one whose claim has the higher number sees both.

    Args:
        options: of the store.
    """

    spare = 2  # an answer has some 20 bytes for each number of a vector
    most_bytes = 1_900_000
    most_metadata = 40_960

    def __init__(self, options: PineconeOptions) -> None:
        super().__init__(FilterCompiler(), options.timeout)
        self._options = options
        self._only = options.index_name or options.index_host
        self._space = f"{options.namespace}{options.table_prefix}"
        self._indexes: dict[str, _Index] = {}
        self._written: dict[_Place, int] = {}
        self._lock = threading.Lock()

    def look(self) -> Steps[None]:
        """Ask the service for the first time."""
        yield from self._catalog()

    # --------------------------------------------------------------------------------------------------------- indexes

    def _index(self, dimension: int, metric: str, *, make: bool) -> Steps[_Index | None]:
        """Return the index for vectors; None if there is none, unless it is to be made."""
        name = self._only or f"praisonai-{dimension}-{metric}"
        found = self._indexes.get(name)
        if found is None:
            found = yield from (self._hosted(name) if self._options.index_host else self._named(name))
            if found is None and make:
                yield from self._make_index(name, dimension, metric)
                found = yield from self._named(name)
            if found is not None:
                self._indexes[name] = found
        return found

    def _hosted(self, host: str) -> Steps[_Index]:
        stats = yield from self._ask(lambda clients: clients.index(host).describe_index_stats())
        return _Index(host, int(stats.dimension), str(stats.metric))

    def _named(self, name: str) -> Steps[_Index | None]:
        """Return an index as soon as it is ready; None if there is none."""
        end = Pauses(self._options.index_timeout, 1.0)
        while True:
            try:
                found = yield from self._ask(lambda clients: clients.control.indexes.describe(name))
            except GoneError:
                return None
            field, state = found.schema.fields.get("_values"), found.status.state
            if field is None:
                raise ConfigurationError(f"the index {name!r} is none of dense vectors: give another index_name")
            if found.status.ready:
                return _Index(found.host, field.dimension, field.metric)
            if state in {"InitializationFailed", "Terminating", "Disabled"}:
                raise BackendError(f"the index {name!r} cannot be used, its state is {state}: see Pinecone's console")
            yield from end.wait(
                ThrottledError(f"the index {name!r} is not ready: try again later, or raise index_timeout")
            )

    def _make_index(self, name: str, dimension: int, metric: str) -> Steps[None]:
        options = self._options
        where = {"deployment_type": "managed", "cloud": options.cloud, "region": options.region}
        if options.environment is not None:
            where = {"deployment_type": "pod", "environment": options.environment, "pod_type": options.pod_type}
        schema = {"fields": {"_values": {"type": "dense_vector", "dimension": dimension, "metric": metric}}}
        with suppress(TakenError):  # somebody else was first
            yield from self._ask(
                lambda clients: clients.control.indexes.create(name=name, schema=schema, deployment=where, timeout=-1)
            )

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        self._indexes.clear()
        return (yield from super().list_collections())

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        if fresh:  # somebody may have deleted an index, and made it anew
            self._indexes.clear()
        return (yield from super()._find(name, fresh=fresh))

    def _catalog(self) -> Steps[Collection | None]:
        index = yield from self._index(_STEP, "dotproduct", make=False)
        if index is None:
            return None
        place = _Place(index.host, f"{self._space}collections", index.dimension)
        return Collection(CollectionInfo("", 1, "dot", None), place)

    def _new_place(self, info: CollectionInfo) -> Steps[list[Any]]:
        metric = _METRICS[product_distance(info.distance)]
        documents.check_dimension("Pinecone", info, _MOST_DIMENSION)
        wanted = info.dimension if self._only else min(-(-info.dimension // _STEP) * _STEP, _MOST_DIMENSION)
        found = yield from self._index(wanted, metric, make=True)
        if found is None or (found.dimension, found.metric) != (wanted, metric):
            has = "is gone" if found is None else f"has the dimension {found.dimension} and the metric {found.metric}"
            raise ConfigurationError(
                f"the index {self._only!r} {has}, and this collection needs {wanted} and {metric}: give another "
                f"index_name, or none, so that indexes that fit are made"
            )
        if not self._only:
            yield from self._index(_STEP, "dotproduct", make=True)
        return [found.host, f"{self._space}c-{uuid.uuid4().hex}", found.dimension]

    def _open_place(self, info: CollectionInfo, place: list[Any]) -> Collection:
        return Collection(info, _Place(*place))

    def _drop_place(self, opened: Collection) -> Steps[None]:
        host, namespace, _ = opened.engine
        self._written.pop(opened.engine, None)
        with suppress(GoneError):  # nothing has been written to it
            if self._options.environment is None:
                yield from self._ask(lambda clients: clients.index(host).delete_namespace(name=namespace))
            else:  # pods have no such request
                yield from self._ask(lambda clients: clients.delete(host, {"deleteAll": True, "namespace": namespace}))

    # --------------------------------------------------------------------------------------------------------- records

    def _upsert(self, opened: Collection, records: Sequence[Record]) -> Steps[None]:
        host, namespace, size = opened.engine
        made = [
            {"id": record.id, "values": filled(record.vector, size), "metadata": record.metadata} for record in records
        ]
        answer = yield from self._ask(lambda clients: clients.index(host).upsert(vectors=made, namespace=namespace))
        self._note(opened, answer.response_info.lsn_committed)

    def _delete(self, opened: Collection, ids: Sequence[str]) -> Steps[None]:
        host, namespace, _ = opened.engine
        answer = yield from self._ask(lambda clients: clients.delete(host, {"ids": ids, "namespace": namespace}))
        self._note(opened, answer.lsn_committed)

    def _note(self, opened: Collection, number: int | None) -> None:
        """Remember a write, of which pods give no number."""
        if number is not None:
            with self._lock:
                self._written[opened.engine] = max(number, self._written.get(opened.engine, 0))

    def _settle(self, opened: Collection) -> Steps[None]:
        if self._options.freshness == "all":
            yield from self._query(opened, self._base(None), 1)

    def _query(
        self,
        opened: Collection,
        chosen: dict[str, Any],
        limit: int,
        vector: list[float] | None = None,
        *,
        whole: bool = False,
    ) -> Steps[list[Record]]:
        host, namespace, size = opened.engine
        near, end = filled(vector or [1.0], size), Pauses(self._options.freshness_timeout, 0.02)
        while True:
            found = yield from self._ask(
                lambda clients: clients.index(host).query(
                    vector=near,
                    top_k=limit,
                    namespace=namespace,
                    filter=chosen,
                    include_values=whole,
                    include_metadata=whole,
                )
            )
            written = self._written.get(opened.engine)
            if written is None or found.response_info.is_reconciled(written):
                return [Record(match.id, match.values or (), match.metadata or {}) for match in found.matches]
            yield from end.wait(self._options.unseen())

    def _whole(self, opened: Collection) -> int:
        return max(1, _ANSWER // (self.most_metadata + 1_000 + 26 * int(opened.engine.size)))

    def _all(self, opened: Collection, chosen: dict[str, Any]) -> Steps[list[Record]]:
        (host, namespace, _), token = opened.engine, None
        found: list[Record] = []
        while True:
            page = yield from self._ask(
                lambda clients, token=token: clients.index(host).fetch_by_metadata(
                    filter=chosen, namespace=namespace, limit=self._whole(opened), pagination_token=token
                )
            )
            found += [Record(one.id, one.values, one.metadata or {}) for one in page.vectors.values()]
            token = page.pagination.next if page.pagination else None
            if not token:
                return found
