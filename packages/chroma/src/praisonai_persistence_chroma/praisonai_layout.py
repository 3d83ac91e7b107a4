"""Knowledge that PraisonAI itself wrote into Chroma, for ``copy --from-layout praisonai``.

Its release 4.7 keeps collections under their own names, the distance in their metadata under ``hnsw:space``; a
document's content hash and time stand among its metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.stores.foreign import ForeignDocument, ForeignKnowledgeSteps, UnprefixedStore
from praisonai_persistence_chroma._driver import FULL, PAGE, ChromaDriver, ChromaOptions, collection_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.vector_engine import Collection

__all__ = ["PraisonAIKnowledgeStore"]


class _Steps(ForeignKnowledgeSteps):
    distances: ClassVar = {"ip": "dot", "l2": "euclidean"}
    most_ids = PAGE

    def _names(self) -> Steps[Sequence[str]]:
        return (yield collection_names)  # type: ignore[no-any-return]

    def _open(self, name: str) -> Steps[Collection | None]:
        engine = yield lambda client: client.chroma.get_collection(name, embedding_function=None)
        first = yield lambda _: engine.get(limit=1, include=["embeddings"])
        if not len(first["ids"]):
            raise UnsupportedOperationError(
                f"collection {name!r} has no documents, and Chroma does not say for which dimension it was made: "
                f"delete it, or create it in the target"
            )
        metadata = dict(engine.metadata or {})
        distance = metadata.pop("hnsw:space", None)
        return self._collection(name, len(first["embeddings"][0]), distance, engine, metadata)

    def _ids(self, opened: Collection) -> Steps[Sequence[str]]:
        return (yield lambda _: opened.engine.get(include=[])["ids"])  # type: ignore[no-any-return]

    def _documents(self, opened: Collection, ids: Sequence[str]) -> Steps[Iterable[ForeignDocument]]:
        found = yield lambda _: opened.engine.get(ids=ids, include=FULL)
        entries = [dict(entry or {}) for entry in found["metadatas"]]
        facts = [(entry.pop("content_hash", None), entry.pop("created_at", None)) for entry in entries]
        vectors = [vector.tolist() for vector in found["embeddings"]]
        columns = found["ids"], found["documents"], vectors, entries, *zip(*facts, strict=True)
        return map(ForeignDocument, *columns)


class PraisonAIKnowledgeStore(UnprefixedStore):
    """Reads what PraisonAI wrote; takes the options of ``ChromaKnowledgeStore`` but a prefix."""

    options_class = ChromaOptions
    backend: ClassVar[str] = "chroma"

    def _make(self, options: ChromaOptions) -> tuple[_Steps, ChromaDriver]:
        return _Steps(), ChromaDriver(options)
