"""Knowledge that PraisonAI itself wrote into Qdrant, for ``copy --from-layout praisonai``.

Its release 4.7 keeps collections under their own names, and a document's fields and metadata side by side in the
payload. Points are numbered within each batch, so that a later batch has replaced an earlier one, and an id may stand
at several points: the newest by its time counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.stores.foreign import ForeignDocument, ForeignKnowledgeSteps, UnprefixedStore
from praisonai_persistence_qdrant._driver import PAGE, QdrantDriver, QdrantOptions, scrolled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.vector_engine import Collection

__all__ = ["PraisonAIKnowledgeStore"]

_NAMED = ["doc_id", "created_at"]


class _Steps(ForeignKnowledgeSteps):
    distances: ClassVar = {"Cosine": "cosine", "Dot": "dot", "Euclid": "euclidean"}
    most_ids = PAGE

    def __init__(self) -> None:
        self._points: dict[str, dict[str, Any]] = {}  # of a collection: document id -> point

    def _names(self) -> Steps[Sequence[str]]:
        return [item.name for item in (yield lambda client: client.get_collections()).collections]

    def _open(self, name: str) -> Steps[Collection | None]:
        vectors = (yield lambda client: client.get_collection(name)).config.params.vectors
        distance = getattr(getattr(vectors, "distance", None), "value", None)
        if distance not in self.distances:
            raise UnsupportedOperationError(
                f"collection {name!r} has several vectors for each document, or a distance that stores do not have"
            )
        return self._collection(name, vectors.size, distance, name)

    def _ids(self, opened: Collection) -> Steps[Sequence[str]]:
        points: dict[str, tuple[float, Any]] = {}
        for point in (yield from scrolled(opened.engine, None, PAGE, _NAMED)):
            key, time = point.payload.get("doc_id"), point.payload.get("created_at") or 0.0
            if isinstance(key, str) and time >= points.get(key, (time,))[0]:
                points[key] = time, point.id
        self._points[opened.engine] = {key: point for key, (_, point) in points.items()}
        return list(points)

    def _documents(self, opened: Collection, ids: Sequence[str]) -> Steps[Iterable[ForeignDocument]]:
        if opened.engine not in self._points:
            yield from self._ids(opened)
        points = self._points[opened.engine]
        wanted = [points[key] for key in ids if key in points]
        found = yield lambda client: client.retrieve(opened.engine, wanted, with_payload=True, with_vectors=True)
        return [_document(dict(point.payload), point.vector) for point in found]


def _document(fields: dict[str, Any], vector: Sequence[float]) -> ForeignDocument:
    facts = {name: fields.pop(name, None) for name in ("content", "content_hash", "created_at")}
    return ForeignDocument(fields.pop("doc_id"), embedding=list(vector), metadata=fields, **facts)


class PraisonAIKnowledgeStore(UnprefixedStore):
    """Reads what PraisonAI wrote; takes the options of ``QdrantKnowledgeStore`` but a prefix."""

    options_class = QdrantOptions
    backend: ClassVar[str] = "qdrant"

    def _make(self, options: QdrantOptions) -> tuple[_Steps, QdrantDriver]:
        return _Steps(), QdrantDriver(options, asynchronous=False)
