"""The contestants of ``vectors.py``: our stores, and hand-written programs on the bare clients."""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from praisonai_persistence import KnowledgeDocument

DIMENSION, BATCH, TOP, GROUPS = 384, 500, 10, 10
CONTENT = "A sentence of a document that somebody may want to find again. " * 5


class Program(NamedTuple):
    """One contestant, on an empty collection.

    Attributes:
        upsert: writes a batch.
        search: returns the best ten of a group, without their embeddings.
    """

    upsert: Callable[[Sequence[KnowledgeDocument]], Any]
    search: Callable[[list[float], int], list[KnowledgeDocument]]


def ours(store: Any) -> Program:
    """A store of this project."""
    store.create_collection("docs", DIMENSION)
    return Program(
        lambda batch: store.upsert("docs", batch),
        lambda query, group: store.search("docs", query, TOP, {"group": group}),
    )


# ------------------------------------------------------------------------------------------------- the bare programs


@contextlib.contextmanager
def qdrant(_: Path) -> Iterator[tuple[Program, Program]]:
    """The local mode, in memory."""
    from qdrant_client import QdrantClient, models

    from praisonai_persistence_qdrant import QdrantKnowledgeStore

    client = QdrantClient(":memory:")
    client.create_collection(
        "docs", vectors_config=models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    )

    def upsert(batch: Sequence[KnowledgeDocument]) -> None:
        points = [
            models.PointStruct(
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, item.id)),
                vector=item.embedding or [],
                payload={
                    "id": item.id,
                    "content": item.content,
                    "metadata": json.dumps(item.metadata),
                    "content_hash": item.content_hash,
                    "created_at": item.created_at,
                    "group": (item.metadata or {})["group"],
                },
            )
            for item in batch
        ]
        client.upsert("docs", points)

    def search(query: list[float], group: int) -> list[KnowledgeDocument]:
        chosen = models.Filter(must=[models.FieldCondition(key="group", match=models.MatchValue(value=group))])
        found = client.query_points("docs", query=query, query_filter=chosen, limit=TOP, with_payload=True)
        return [document(point.payload or {}, point.score) for point in found.points]

    def document(payload: dict[str, Any], score: float) -> KnowledgeDocument:
        return KnowledgeDocument(
            payload["id"],
            payload["content"],
            None,
            json.loads(payload["metadata"]),
            payload["content_hash"],
            payload["created_at"],
            score,
        )

    with contextlib.closing(client), QdrantKnowledgeStore("qdrant://") as store:
        yield ours(store), Program(upsert, search)


@contextlib.contextmanager
def lancedb(folder: Path) -> Iterator[tuple[Program, Program]]:
    """A folder."""
    import lancedb as lance
    import numpy as np
    import pyarrow as pa  # type: ignore[import-untyped]

    from praisonai_persistence_lancedb import LanceDBKnowledgeStore

    schema = pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("vector", pa.list_(pa.float32(), DIMENSION)),
            pa.field("content", pa.string()),
            pa.field("metadata", pa.string()),
            pa.field("content_hash", pa.string()),
            pa.field("created_at", pa.float64()),
            pa.field("group", pa.int64()),
        ]
    )
    connection: Any = lance.connect(str(folder / "bare"), read_consistency_interval=timedelta(0))
    table: Any = connection.create_table("docs", schema=schema)

    def upsert(batch: Sequence[KnowledgeDocument]) -> None:
        numbers = np.array([item.embedding for item in batch], dtype=np.float32)
        rows = pa.table(
            [
                pa.array([item.id for item in batch]),
                pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), DIMENSION),
                pa.array([item.content for item in batch]),
                pa.array([json.dumps(item.metadata) for item in batch]),
                pa.array([item.content_hash for item in batch], pa.string()),
                pa.array([item.created_at for item in batch]),
                pa.array([(item.metadata or {})["group"] for item in batch]),
            ],
            schema=schema,
        )
        table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def search(query: list[float], group: int) -> list[KnowledgeDocument]:
        found = table.search(query).distance_type("cosine").where(f"`group` = {group}", prefilter=True).limit(TOP)
        rows = found.select(["id", "content", "metadata", "content_hash", "created_at", "_distance"]).to_list()
        return [
            KnowledgeDocument(
                row["id"],
                row["content"],
                None,
                json.loads(row["metadata"]),
                row["content_hash"],
                row["created_at"],
                1 - row["_distance"],
            )
            for row in rows
        ]

    with LanceDBKnowledgeStore(path=folder / "ours") as store:
        yield ours(store), Program(upsert, search)


@contextlib.contextmanager
def chroma(folder: Path) -> Iterator[tuple[Program, Program]]:
    """Embedded, in a folder. The bare program gives Chroma the metadata as they are, as its users do."""
    import chromadb
    from chromadb.config import Settings

    from praisonai_persistence_chroma import ChromaKnowledgeStore

    client: Any = chromadb.PersistentClient(str(folder / "bare"), Settings(anonymized_telemetry=False))
    # As wide as ours: with Chroma's own width (100) a search does not look at every vector.
    index = {"space": "cosine", "ef_search": 1_001}
    collection = client.create_collection("docs", embedding_function=None, configuration={"hnsw": index})

    def upsert(batch: Sequence[KnowledgeDocument]) -> None:
        collection.upsert(
            ids=[item.id for item in batch],
            embeddings=[item.embedding for item in batch],
            documents=[item.content for item in batch],
            metadatas=[
                {**(item.metadata or {}), "content_hash": item.content_hash or "", "created_at": item.created_at}
                for item in batch
            ],
        )

    def search(query: list[float], group: int) -> list[KnowledgeDocument]:
        include = ["documents", "metadatas", "distances"]
        found = collection.query(query_embeddings=[query], n_results=TOP, where={"group": group}, include=include)
        columns = [found[name][0] for name in ("ids", "documents", "metadatas", "distances")]
        return [document(*row) for row in zip(*columns, strict=True)]

    def document(key: str, content: str, entry: dict[str, Any], distance: float) -> KnowledgeDocument:
        content_hash, created_at = entry.pop("content_hash") or None, entry.pop("created_at")
        return KnowledgeDocument(key, content, None, entry, content_hash, created_at, 1 - distance)

    with contextlib.closing(client), ChromaKnowledgeStore(path=folder / "ours") as store:
        yield ours(store), Program(upsert, search)


@contextlib.contextmanager
def chroma_same_rows(folder: Path) -> Iterator[tuple[Program, Program]]:
    """Embedded, in a folder. The bare program has Chroma store and return what our store has it store and return.

    That is beside the content: a list of texts that any filter finds (a value, a key, items of lists), the numbers,
    and one text with all that has to come back equal; and for each result its embedding, of which the score is
    computed. It does this in the shortest way, for documents that it knows.
    """
    import chromadb
    import numpy as np
    from chromadb.config import Settings

    from praisonai_persistence_chroma import ChromaKnowledgeStore

    client: Any = chromadb.PersistentClient(str(folder / "bare"), Settings(anonymized_telemetry=False))
    index = {"space": "ip", "ef_search": 1_001}
    collection = client.create_collection("docs", embedding_function=None, configuration={"hnsw": index})

    def token(text: str) -> str:
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def entry(item: KnowledgeDocument) -> dict[str, Any]:
        metadata = item.metadata or {}
        names = [f"key {key}" for key in metadata] + ["text source"]
        values = [f"{key}={value}" for key, value in metadata.items()] + [f"tag {tag}" for tag in metadata["tags"]]
        facts = [json.dumps(metadata), item.content_hash, item.created_at]
        tokens = ["any", *map(token, values), *map(token, names)]
        return {"facts": json.dumps(facts), "tokens": tokens, f"n{token('group')}": float(metadata["group"])}

    def upsert(batch: Sequence[KnowledgeDocument]) -> None:
        collection.upsert(
            ids=[item.id for item in batch],
            embeddings=list(np.array([item.embedding for item in batch], np.float32)),
            documents=[item.content for item in batch],
            metadatas=[entry(item) for item in batch],
        )

    def search(query: list[float], group: int) -> list[KnowledgeDocument]:
        found = collection.query(
            query_embeddings=[np.array(query, np.float32)],
            n_results=TOP + 1,
            where={"tokens": {"$contains": token(f"group={group}")}},
            include=["documents", "metadatas", "embeddings"],
        )
        scores = np.asarray(found["embeddings"][0]) @ np.array(query)
        columns = [found[name][0] for name in ("ids", "documents", "metadatas")]
        rows = list(zip(*columns, scores.tolist(), strict=True))[:TOP]
        return [document(key, content, json.loads(entry["facts"]), score) for key, content, entry, score in rows]

    def document(key: str, content: str, facts: list[Any], score: float) -> KnowledgeDocument:
        return KnowledgeDocument(key, content, None, json.loads(facts[0]), facts[1], facts[2], score)

    with contextlib.closing(client), ChromaKnowledgeStore(path=folder / "ours") as store:
        yield ours(store), Program(upsert, search)


Engine = Callable[[Path], contextlib.AbstractContextManager[tuple[Program, Program]]]
ENGINES: dict[str, Engine] = {"qdrant": qdrant, "lancedb": lancedb, "chroma": chroma}
OTHERS: dict[str, Engine] = {"chroma-same-rows": chroma_same_rows}
"""Measured where they are asked for."""
