"""Knowledge that PraisonAI itself wrote into Chroma, for ``copy --from-layout praisonai``.

Its release 4.7 keeps collections under their own names, the distance in their metadata under ``hnsw:space``; a
document's content hash and time stand among its metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.stores.foreign import ForeignKnowledgeSteps, UnprefixedStore
from praisonai_persistence.stores.vector_documents import pages
from praisonai_persistence.stores.vector_engine import Collection
from praisonai_persistence_chroma._driver import ChromaDriver, ChromaOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_chroma._driver import Client

__all__ = ["PraisonAIKnowledgeStore"]

_DISTANCES = {"ip": "dot", "l2": "euclidean"}
_PAGE = 1_000
_ALL = ["documents", "metadatas", "embeddings"]


class _Steps(ForeignKnowledgeSteps):
    def _names(self) -> Steps[Sequence[str]]:
        def names(client: Client) -> list[str]:
            found: list[str] = []
            while len(page := client.chroma.list_collections(limit=_PAGE, offset=len(found))) == _PAGE:
                found += [item.name for item in page]
            return [*found, *(item.name for item in page)]

        return (yield names)  # type: ignore[no-any-return]

    def _open(self, name: str) -> Steps[Collection | None]:
        engine = yield lambda client: client.chroma.get_collection(name, embedding_function=None)
        first = yield lambda _: engine.get(limit=1, include=["embeddings"])
        if not len(first["ids"]):
            raise UnsupportedOperationError(
                f"collection {name!r} has no documents, and Chroma does not say for which dimension it was made: "
                f"delete it, or create it in the target"
            )
        metadata = dict(engine.metadata or {})
        distance: Any = _DISTANCES.get(metadata.pop("hnsw:space", ""), "cosine")
        return Collection(CollectionInfo(name, len(first["embeddings"][0]), distance, metadata or None), engine)

    def _ids(self, opened: Collection) -> Steps[Sequence[str]]:
        return (yield lambda _: opened.engine.get(include=[])["ids"])  # type: ignore[no-any-return]

    def _documents(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[KnowledgeDocument]]:
        documents = []
        for some in pages(ids, _PAGE):
            found = yield lambda _, some=some: opened.engine.get(ids=some, include=_ALL)
            columns = zip(found["ids"], found["documents"], found["embeddings"], found["metadatas"], strict=True)
            for key, content, embedding, entry in columns:
                metadata = dict(entry or {})
                content_hash, created_at = metadata.pop("content_hash", None), metadata.pop("created_at", 0.0)
                documents.append(
                    KnowledgeDocument(
                        key, content or "", embedding.tolist(), metadata or None, content_hash or None, created_at
                    )
                )
        return documents


class PraisonAIKnowledgeStore(UnprefixedStore):
    """Reads what PraisonAI wrote; takes the options of ``ChromaKnowledgeStore`` but a prefix."""

    options_class = ChromaOptions
    backend: ClassVar[str] = "chroma"

    def _make(self, options: ChromaOptions) -> tuple[_Steps, ChromaDriver]:
        return _Steps(), ChromaDriver(options)
