"""LightRAG's vector storage in a knowledge store."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from lightrag.base import BaseVectorStorage
from lightrag.constants import DEFAULT_QUERY_PRIORITY
from lightrag.utils import compute_mdhash_id

from praisonai_persistence.errors import ConfigurationError, InvalidValueError
from praisonai_persistence.frameworks import ask, later, put
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence_lightrag._storage import Storage, digest

__all__ = ["PersistentVectorStorage"]

_LONGEST = 24
"""Characters of a workspace that is part of a collection's name as it is."""


def _numbers(vector: Any) -> list[float]:
    """Return an embedding, mostly an array of numpy's, as floats."""
    return list(map(float, vector.tolist() if hasattr(vector, "tolist") else vector))


@dataclass
class PersistentVectorStorage(Storage, BaseVectorStorage):  # type: ignore[misc]
    """Entities, relations or chunks: each kind is one collection.

    As in LightRAG's own storages, entries are embedded and written together, when LightRAG commits, or before anything
    is read here. LightRAG calls a document processed only after it has committed.
    """

    _kind: ClassVar[str] = "knowledge"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_func is None:
            raise ConfigurationError(
                "LightRAG has no embedding function: make it with embedding_func=EmbeddingFunc(...)"
            )
        short = self.workspace.isascii() and self.workspace.isalnum() and len(self.workspace) <= _LONGEST
        workspace = self.workspace if short or not self.workspace else f"_{digest(self.workspace)[: _LONGEST - 1]}"
        self._collection = "_".join(part for part in ("lightrag", workspace, self.namespace) if part)
        self.cosine_better_than_threshold = self._options["cosine_better_than_threshold"]
        self._waiting: dict[str, KnowledgeDocument | None] = {}  # None: it is removed
        self._lock = asyncio.Lock()

    async def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Write what waits, and call a method on the collection; None if there is none."""
        if self._waiting:
            await self.index_done_callback()
        return await later(ask(self._store, self._collection, method, *args, **kwargs))

    async def upsert(self, data: dict[str, dict[str, Any]]) -> None:
        """Take entries, which are added or replaced by the next commit."""
        made = {}
        for id_, entry in data.items():
            content = entry.get("content")
            if not isinstance(content, str):
                raise InvalidValueError(f"the content of an entry must be text, not {type(content).__name__}")
            kept = {key: value for key, value in entry.items() if key in self.meta_fields and key != "content"}
            made[id_] = KnowledgeDocument(id_, content, metadata=kept, created_at=int(time.time()))
        self._waiting.update(made)

    async def index_done_callback(self) -> None:
        """Do what waits; what fails goes on waiting."""
        async with self._lock:
            waiting = dict(self._waiting)
            gone = [id_ for id_, document in waiting.items() if document is None]
            documents = [document for document in waiting.values() if document is not None]
            size = self.global_config["embedding_batch_num"]
            parts = [documents[start : start + size] for start in range(0, len(documents), size)]
            embed: Any = self.embedding_func
            answers = [embed([document.content for document in part], context="document") for part in parts]
            for part, vectors in zip(parts, await asyncio.gather(*answers), strict=True):
                if len(vectors) != len(part):
                    raise InvalidValueError(
                        f"the embedding function returned {len(vectors)} vectors for {len(part)} texts"
                    )
                for document, vector in zip(part, vectors, strict=True):
                    document.embedding = _numbers(vector)
            if gone:
                await later(ask(self._store, self._collection, "delete", gone))
            if documents:
                await later(put(self._store, self._collection, documents, "cosine"))
            for id_, done in waiting.items():
                if self._waiting.get(id_, ...) is done:  # else there is something newer
                    del self._waiting[id_]

    async def drop_pending_index_ops(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    async def finalize(self) -> None:
        """Write what waits."""
        await self.index_done_callback()

    async def query(self, query: str, top_k: int, query_embedding: list[float] | None = None) -> list[dict[str, Any]]:
        """Return the entries nearest to a text, or to its embedding, best first, with their similarity."""
        if query_embedding is None:
            embed: Any = self.embedding_func
            query_embedding = (await embed([query], context="query", _priority=DEFAULT_QUERY_PRIORITY))[0]
        threshold = self.cosine_better_than_threshold
        found = await self._ask("search", _numbers(query_embedding), top_k, score_threshold=threshold, nothing=[])
        return [{**self._entry(document), "distance": document.score} for document in found]

    def _entry(self, document: KnowledgeDocument) -> dict[str, Any]:
        content = {"content": document.content} if "content" in self.meta_fields else {}
        return {**(document.metadata or {}), **content, "id": document.id, "created_at": int(document.created_at)}

    async def get_by_id(self, id: str) -> dict[str, Any] | None:  # noqa: A002
        """Return an entry, or None."""
        return (await self.get_by_ids([id]))[0]

    async def get_by_ids(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return entries in the order of their ids, None for one that is not there."""
        found = {document.id: self._entry(document) for document in await self._ask("get", list(ids), nothing=[])}
        return [found.get(id_) for id_ in ids]  # type: ignore[misc]

    async def get_vectors_by_ids(self, ids: list[str]) -> dict[str, list[float]]:
        """Return the embeddings of those entries that exist."""
        return {document.id: document.embedding for document in await self._ask("get", list(ids), nothing=[])}

    async def delete(self, ids: list[str]) -> None:
        """Remove entries by the next commit; ids that are not there are passed over."""
        self._waiting.update(dict.fromkeys(ids))

    async def delete_entity(self, entity_name: str) -> None:
        """Remove the entry of an entity."""
        await self.delete([compute_mdhash_id(entity_name, prefix="ent-")])

    async def delete_entity_relation(self, entity_name: str) -> None:
        """Remove the entries of all relations of an entity."""
        await self._ask("delete", None, {"$or": [{"src_id": entity_name}, {"tgt_id": entity_name}]})

    async def _drop(self) -> None:
        self._waiting.clear()
        await self._call("delete_collection", self._collection)
