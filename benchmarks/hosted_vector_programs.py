"""The contestants of ``vectors.py`` on services, or on their fakes where no address is in the environment."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from measuring import servers
from vector_programs import DIMENSION, TOP, Engine, Program, ours

from praisonai_persistence import KnowledgeDocument

__all__ = ["HOSTED"]


@contextlib.contextmanager
def pinecone(_: Path) -> Iterator[tuple[Program, Program]]:
    """A fake, or Pinecone itself, whose URL is in the environment; neither side waits until a write is visible."""
    from praisonai_persistence_pinecone import PineconeKnowledgeStore

    server = servers().engine("pinecone")
    if server.restartable:
        server.order("delay", 0)
    with server.space() as options, PineconeKnowledgeStore(**options, freshness="own") as store:
        mine = ours(store)
        with server.index("praisonai-384-dotproduct") as index:
            namespace = f"{options['namespace']}bare"

            def upsert(batch: Sequence[KnowledgeDocument]) -> None:
                for start in range(0, len(batch), 100):
                    index.upsert(
                        vectors=[
                            {
                                "id": item.id,
                                "values": item.embedding,
                                "metadata": {
                                    "content": item.content,
                                    "metadata": json.dumps(item.metadata),
                                    "created_at": item.created_at,
                                    "group": (item.metadata or {})["group"],
                                },
                            }
                            for item in batch[start : start + 100]
                        ],
                        namespace=namespace,
                    )

            def search(query: list[float], group: int) -> list[KnowledgeDocument]:
                found = index.query(
                    vector=query, top_k=TOP, namespace=namespace, filter={"group": group}, include_metadata=True
                )
                return [document(match.id, match.metadata, match.score) for match in found.matches]

            def document(key: str, stored: Any, score: float) -> KnowledgeDocument:
                metadata = json.loads(stored["metadata"])
                return KnowledgeDocument(key, stored["content"], None, metadata, None, stored["created_at"], score)

            yield mine, Program(upsert, search)


@contextlib.contextmanager
def cosmosdb(_: Path) -> Iterator[tuple[Program, Program]]:
    """A fake, or an account itself, whose URL is in the environment; both sides see their own writes, and no others."""
    from praisonai_persistence_cosmosdb import CosmosDBVectorKnowledgeStore

    server = servers().engine("cosmosdb")
    with (
        server.space() as options,
        CosmosDBVectorKnowledgeStore(**options, freshness="own") as store,
        server.client() as client,
    ):
        mine = ours(store)
        database = client.get_database_client(options["database"])
        container = database.get_container_client(f"vectors-{DIMENSION}-dotproduct")
        token = ""

        def upsert(batch: Sequence[KnowledgeDocument]) -> None:
            nonlocal token
            for start in range(0, len(batch), 100):
                operations = [
                    (
                        "upsert",
                        (
                            {
                                "id": item.id,
                                "collection": "bare",
                                "content": item.content,
                                "metadata": json.dumps(item.metadata),
                                "created_at": item.created_at,
                                "group": (item.metadata or {})["group"],
                                "embedding": item.embedding,
                            },
                        ),
                    )
                    for item in batch[start : start + 100]
                ]
                done = container.execute_item_batch(operations, "bare")
                token = done.get_response_headers()["x-ms-session-token"]

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            found = container.query_items(
                "SELECT TOP @top c.id, c.content, c.metadata, c.created_at, VectorDistance(c.embedding, @q) AS score "
                "FROM c WHERE c['group'] = @group ORDER BY VectorDistance(c.embedding, @q)",
                parameters=[
                    {"name": "@top", "value": TOP},
                    {"name": "@q", "value": query},
                    {"name": "@group", "value": group},
                ],
                partition_key="bare",
                session_token=token,
            )
            return [document(item) for item in found]

        def document(item: Any) -> KnowledgeDocument:
            metadata = json.loads(item["metadata"])
            return KnowledgeDocument(
                item["id"], item["content"], None, metadata, None, item["created_at"], item["score"]
            )

        yield mine, Program(upsert, search)


@contextlib.contextmanager
def upstash_vector(_: Path) -> Iterator[tuple[Program, Program]]:
    """A fake, or an index itself, whose URL is in the environment; neither side waits until a write is found."""
    from praisonai_persistence_upstash import UpstashVectorKnowledgeStore

    server = servers().engine("upstash_vector")
    if server.restartable:
        server.order("delay", 0)
        server.order("dimension", DIMENSION)
    with (
        server.space() as options,
        UpstashVectorKnowledgeStore(**options, freshness="own") as store,
        server.client() as index,
    ):
        mine = ours(store)
        namespace = f"{options['namespace']}bare"

        def upsert(batch: Sequence[KnowledgeDocument]) -> None:
            index.upsert(
                [
                    {
                        "id": item.id,
                        "vector": item.embedding,
                        "data": item.content,
                        "metadata": {
                            "metadata": json.dumps(item.metadata),
                            "created_at": item.created_at,
                            "group": (item.metadata or {})["group"],
                        },
                    }
                    for item in batch
                ],
                namespace=namespace,
            )

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            found = index.query(
                query,
                top_k=TOP,
                namespace=namespace,
                filter=f"group = {group}",
                include_metadata=True,
                include_data=True,
            )
            return [document(match) for match in found]

        def document(match: Any) -> KnowledgeDocument:
            stored = match.metadata
            metadata = json.loads(stored["metadata"])
            score = 2 * match.score - 1  # the index's is from 0 to 1
            return KnowledgeDocument(match.id, match.data, None, metadata, None, stored["created_at"], score)

        yield mine, Program(upsert, search)


@contextlib.contextmanager
def couchbase(_: Path) -> Iterator[tuple[Program, Program]]:
    """A fake, or a cluster, whose URL is in the environment; neither side waits until an index has a write."""
    import base64
    from array import array

    from couchbase import search as searching
    from couchbase.options import SearchOptions

    from praisonai_persistence_couchbase import CouchbaseKnowledgeStore

    server = servers().engine("couchbase")
    if server.restartable:
        server.order("delay", 0)
    with server.space() as options, CouchbaseKnowledgeStore(**options, freshness="own", durability="none") as store:
        mine = ours(store)
        with server.client() as (cluster, bucket):
            ((_, index),) = server.spaces(options["index_name"])
            place = index.rpartition("-")[2]
            collection = bucket.scope("_default").collection(options["collection_name"])

            def upsert(batch: Sequence[KnowledgeDocument]) -> None:
                made = {
                    f"bare-{item.id}": {
                        "place": place,
                        "embedding": base64.b64encode(array("f", item.embedding or []).tobytes()).decode(),
                        "tokens": [f"bare-{(item.metadata or {})['group']}"],
                        "content": item.content,
                        "metadata": json.dumps(item.metadata),
                        "created_at": item.created_at,
                    }
                    for item in batch
                }
                collection.upsert_multi(made)

            def search(query: list[float], group: int) -> list[KnowledgeDocument]:
                near = {"field": "embedding", "vector": query, "k": TOP}
                near["filter"] = {"field": "tokens", "term": f"bare-{group}"}
                found = cluster.search(
                    f"{bucket.name}._default.{index}",
                    searching.SearchRequest.create(searching.RawQuery({"match_none": {}})),
                    SearchOptions(limit=TOP, raw={"knn": [near]}),
                )
                scores = {row.id: row.score for row in found.rows()}
                read = collection.get_multi(list(scores)).results
                return [document(key, read[key].content_as[dict], score) for key, score in scores.items()]

            def document(key: str, stored: Any, score: float) -> KnowledgeDocument:
                metadata = json.loads(stored["metadata"])
                return KnowledgeDocument(key[5:], stored["content"], None, metadata, None, stored["created_at"], score)

            yield mine, Program(upsert, search)


HOSTED: dict[str, Engine] = {
    "cosmosdb": cosmosdb,
    "couchbase": couchbase,
    "pinecone": pinecone,
    "upstash_vector": upstash_vector,
}
"""Measured where they are asked for."""
