"""The contestants of ``vectors.py`` on servers: our stores, and hand-written programs on the bare clients.

The job is to store documents so that a filter may name any key of their metadata, so a bare program has them in the
layout that its engine has for that: Cassandra a map whose entries are indexed (as CassIO and LangChain have it),
ClickHouse and Milvus a JSON column, Weaviate a property of each key. With ``one_field`` it does less: it keeps the one
field of the filter, and the rest as text that no filter can ask for.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from measuring import servers
from vector_programs import DIMENSION, TOP, Engine, Program, ours

from praisonai_persistence import KnowledgeDocument

__all__ = ["SERVERS"]


@contextlib.contextmanager
def cassandra(_: Path, *, one_field: bool = False) -> Iterator[tuple[Program, Program]]:
    """A server. Neither side has an index of vectors; the bare program has one of the metadata."""
    import numpy as np
    from cassandra import ConsistencyLevel
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.concurrent import execute_concurrent_with_args
    from cassandra.policies import RoundRobinPolicy, TokenAwarePolicy
    from cassandra.query import tuple_factory

    from praisonai_persistence_cassandra import CassandraKnowledgeStore

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers().engine("cassandra").space())["url"]
        store = stack.enter_context(CassandraKnowledgeStore(url))
        mine = ours(store)  # makes the keyspace
        place = urlsplit(url)
        profile = ExecutionProfile(
            TokenAwarePolicy(RoundRobinPolicy()),
            consistency_level=ConsistencyLevel.LOCAL_QUORUM,
            row_factory=tuple_factory,
            request_timeout=30,
        )
        cluster = stack.enter_context(
            Cluster(
                [place.hostname],
                port=place.port,
                protocol_version=5,
                execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            )
        )
        session = cluster.connect(place.path[1:])
        session.execute(
            "CREATE TABLE bare (id text PRIMARY KEY, content text, metadata text, content_hash text, "
            f"created_at double, embedding blob, filterable {'int' if one_field else 'map<text, text>'})"
        )
        indexed, chosen = ("filterable", "filterable") if one_field else ("ENTRIES(filterable)", "filterable['group']")
        session.execute(f"CREATE CUSTOM INDEX ON bare ({indexed}) USING 'StorageAttachedIndex'")
        insert = session.prepare(
            "INSERT INTO bare (id, content, metadata, content_hash, created_at, embedding, filterable) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        choose = session.prepare(f"SELECT id, embedding FROM bare WHERE {chosen} = ?")  # noqa: S608 - see above
        read = session.prepare("SELECT id, content, metadata, content_hash, created_at FROM bare WHERE id IN ?")

        def filterable(metadata: dict[str, Any]) -> Any:
            if one_field:
                return metadata["group"]
            return {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}

        def upsert(batch: Sequence[KnowledgeDocument]) -> None:
            numbers = np.array([item.embedding for item in batch], dtype="<f4")
            rows = [
                (
                    item.id,
                    item.content,
                    json.dumps(item.metadata),
                    item.content_hash,
                    item.created_at,
                    vector.tobytes(),
                    filterable(item.metadata or {}),
                )
                for item, vector in zip(batch, numbers, strict=True)
            ]
            execute_concurrent_with_args(session, insert, rows, concurrency=128)

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            keys, vectors = zip(*session.execute(choose, [group if one_field else str(group)]), strict=True)
            matrix = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(keys), -1)
            scores = matrix @ np.array(query, dtype=np.float32)  # all are unit vectors
            best = [int(number) for number in np.argsort(-scores, kind="stable")[:TOP]]
            found = {row[0]: row for row in session.execute(read, [[keys[number] for number in best]])}
            return [document(found[keys[number]], float(scores[number])) for number in best]

        def document(row: Any, score: float) -> KnowledgeDocument:
            key, content, metadata, content_hash, created_at = row
            return KnowledgeDocument(key, content, None, json.loads(metadata), content_hash, created_at, score)

        yield mine, Program(upsert, search)


@contextlib.contextmanager
def milvus(_: Path, *, one_field: bool = False) -> Iterator[tuple[Program, Program]]:
    """A server: Milvus Lite's. Both sides compare every vector (``FLAT``); the bare program filters by a number."""
    from pymilvus import CollectionSchema, DataType, FieldSchema, MilvusClient  # type: ignore[import-untyped]

    from praisonai_persistence_milvus import MilvusKnowledgeStore

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers().engine("milvus").space())["url"]
        store = stack.enter_context(MilvusKnowledgeStore(url))
        place = urlsplit(url)
        client = stack.enter_context(contextlib.closing(MilvusClient(f"http://{place.hostname}:{place.port}")))
        fields = [
            FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=255),
            FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIMENSION),
            FieldSchema("content", DataType.VARCHAR, max_length=65_535),
            FieldSchema("content_hash", DataType.VARCHAR, max_length=64),
            FieldSchema("created_at", DataType.DOUBLE),
        ]
        if one_field:
            fields += [FieldSchema("metadata", DataType.VARCHAR, max_length=65_535), FieldSchema("grp", DataType.INT64)]
        else:
            fields.append(FieldSchema("metadata", DataType.JSON))
        chosen = "grp" if one_field else 'metadata["group"]'
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="COSINE")
        schema = CollectionSchema(fields)
        client.create_collection("bare", schema=schema, index_params=index, consistency_level="Strong")
        names = ["id", "content", "metadata", "content_hash", "created_at"]

        def upsert(batch: Sequence[KnowledgeDocument]) -> None:
            rows = [
                {
                    "id": item.id,
                    "vector": item.embedding,
                    "content": item.content,
                    "metadata": json.dumps(item.metadata) if one_field else item.metadata,
                    "content_hash": item.content_hash or "",
                    "created_at": item.created_at,
                    **({"grp": (item.metadata or {})["group"]} if one_field else {}),
                }
                for item in batch
            ]
            client.upsert("bare", rows)

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            found = client.search("bare", [query], filter=f"{chosen} == {group}", limit=TOP, output_fields=names)
            return [document(hit["entity"], hit["distance"]) for hit in found[0]]

        def document(row: Any, score: float) -> KnowledgeDocument:
            key, content, metadata, content_hash, created_at = (row[name] for name in names)
            if isinstance(metadata, str):
                metadata = json.loads(metadata)
            return KnowledgeDocument(key, content, None, metadata, content_hash or None, created_at, score)

        yield ours(store), Program(upsert, search)


@contextlib.contextmanager
def clickhouse(_: Path, *, one_field: bool = False) -> Iterator[tuple[Program, Program]]:
    """A server: the engine as a library behind the tests' own. The bare program filters by a number."""
    import clickhouse_connect

    from praisonai_persistence_clickhouse import ClickHouseKnowledgeStore

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers().engine("clickhouse").space())["url"]
        store = stack.enter_context(ClickHouseKnowledgeStore(url))
        store.list_collections()
        parts = urlsplit(url)
        place = {"host": parts.hostname, "port": parts.port, "username": parts.username, "password": parts.password}
        client = stack.enter_context(
            contextlib.closing(clickhouse_connect.get_client(**place, compress=False, autogenerate_session_id=False))
        )
        columns = {
            "id": "String",
            "vector": "Array(Float32)",
            "content": "String",
            "metadata": "String",
            "content_hash": "Nullable(String)",
            "created_at": "Float64",
            "filterable": "Int64" if one_field else "JSON",
        }
        names, types = list(columns), list(columns.values())
        database = parts.path[1:]
        bare = f"`{database}`.bare"
        client.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        fields = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
        client.command(f"CREATE TABLE {bare} ({fields}) ENGINE = ReplacingMergeTree ORDER BY id")

        def upsert(batch: Sequence[KnowledgeDocument]) -> None:
            rows = [
                [
                    item.id,
                    item.embedding,
                    item.content,
                    json.dumps(item.metadata),
                    item.content_hash,
                    item.created_at,
                    (item.metadata or {})["group"] if one_field else item.metadata,
                ]
                for item in batch
            ]
            client.insert("bare", rows, column_names=names, column_type_names=types, database=database)

        wanted = (
            "id, content, metadata, content_hash, created_at, cosineDistance(vector, {query:Array(Float32)}) AS far"
        )
        group_field = "filterable" if one_field else "filterable.`group`.:Int64"
        chosen = f"{bare} FINAL WHERE {group_field} = {{group:Int64}} ORDER BY far LIMIT {TOP}"
        query_text = f"SELECT {wanted} FROM {chosen}"  # noqa: S608 - nothing in it is a caller's

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            found = client.query(query_text, parameters={"query": query, "group": group}).result_rows
            return [
                KnowledgeDocument(key, content, None, json.loads(metadata), content_hash, created_at, 1 - far)
                for key, content, metadata, content_hash, created_at, far in found
            ]

        yield ours(store), Program(upsert, search)


@contextlib.contextmanager
def weaviate(_: Path, *, one_field: bool = False) -> Iterator[tuple[Program, Program]]:
    """A server. Both sides have the server's index; the bare program filters by a number."""
    import weaviate as library
    from weaviate.classes.config import Configure, DataType, Property, Tokenization, VectorDistances
    from weaviate.classes.data import DataObject
    from weaviate.classes.init import Auth
    from weaviate.classes.query import Filter, MetadataQuery

    from praisonai_persistence_weaviate import WeaviateKnowledgeStore, WeaviateOptions

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers().engine("weaviate").space())["url"]
        store = stack.enter_context(WeaviateKnowledgeStore(url))
        place = WeaviateOptions(url)
        client = library.connect_to_local(
            str(place.host), place.port, place.grpc_port, auth_credentials=Auth.api_key(place.api_key)
        )
        stack.callback(client.close)
        name = f"Bare{uuid.uuid4().hex}"
        kept = ["content", "content_hash", *(["metadata"] if one_field else [])]
        filterable: dict[str, Any] = {"index_searchable": False, "tokenization": Tokenization.FIELD}
        others = {} if one_field else {"source": DataType.TEXT, "tags": DataType.TEXT_ARRAY}
        index = Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE)
        collection: Any = client.collections.create(
            name,
            vector_config=Configure.Vectors.self_provided(vector_index_config=index),
            properties=[
                Property(name="key", data_type=DataType.TEXT, index_filterable=False, index_searchable=False),
                *(
                    Property(name=one, data_type=DataType.TEXT, index_filterable=False, index_searchable=False)
                    for one in kept
                ),
                *(Property(name=one, data_type=kind, **filterable) for one, kind in others.items()),
                Property(name="created_at", data_type=DataType.NUMBER, index_filterable=False),
                Property(name="group", data_type=DataType.INT),
            ],
        )
        stack.callback(client.collections.delete, name)

        def upsert(batch: Sequence[KnowledgeDocument]) -> None:
            objects = [
                DataObject(
                    properties={
                        "key": item.id,
                        "content": item.content,
                        "content_hash": item.content_hash or "",
                        "created_at": item.created_at,
                        **searched(item.metadata or {}),
                    },
                    uuid=uuid.uuid5(uuid.NAMESPACE_OID, item.id),
                    vector=item.embedding,
                )
                for item in batch
            ]
            if collection.data.insert_many(objects).has_errors:
                raise SystemExit("weaviate refused documents")

        def searched(metadata: dict[str, Any]) -> dict[str, Any]:
            return {"metadata": json.dumps(metadata), "group": metadata["group"]} if one_field else metadata

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            chosen = Filter.by_property("group").equal(group)
            told = MetadataQuery(distance=True)
            found = collection.query.near_vector(query, limit=TOP, filters=chosen, return_metadata=told)
            return [document(item.properties, 1 - item.metadata.distance) for item in found.objects]

        def document(row: Any, score: float) -> KnowledgeDocument:
            if one_field:
                metadata = json.loads(row["metadata"])
            else:
                metadata = {name: row[name] for name in ("group", "source", "tags")}
            content_hash = row["content_hash"] or None
            return KnowledgeDocument(row["key"], row["content"], None, metadata, content_hash, row["created_at"], score)

        yield ours(store), Program(upsert, search)


@contextlib.contextmanager
def mongodb(_: Path) -> Iterator[tuple[Program, Program]]:
    """A server without vector search. The bare program has an index of the group, and compares as many vectors."""
    import numpy as np
    import pymongo

    from praisonai_persistence_mongodb import MongoDBVectorKnowledgeStore

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers().engine("mongodb").space())["url"]
        store = stack.enter_context(MongoDBVectorKnowledgeStore(url, vector_search="exact"))
        mine = ours(store)
        client: Any = stack.enter_context(pymongo.MongoClient(url))
        documents = client.get_default_database()["bare"]
        documents.create_index("group")
        fields = {"content": 1, "metadata": 1, "content_hash": 1, "created_at": 1}

        def upsert(batch: Sequence[KnowledgeDocument]) -> None:
            numbers = np.array([item.embedding for item in batch], dtype="<f4")
            writes = []
            for item, vector in zip(batch, numbers, strict=True):
                made = {
                    "_id": item.id,
                    "content": item.content,
                    "metadata": json.dumps(item.metadata),
                    "content_hash": item.content_hash,
                    "created_at": item.created_at,
                    "embedding": vector.tobytes(),
                    "group": (item.metadata or {})["group"],
                }
                writes.append(pymongo.ReplaceOne({"_id": item.id}, made, upsert=True))
            documents.bulk_write(writes, ordered=False)

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            found = documents.find({"group": group}, {"embedding": 1}).to_list()
            matrix = np.frombuffer(b"".join([one["embedding"] for one in found]), "<f4").reshape(len(found), -1)
            scores = matrix @ np.array(query, dtype=np.float32)
            best = {found[number]["_id"]: float(scores[number]) for number in np.argsort(-scores)[:10]}
            rows = {one["_id"]: one for one in documents.find({"_id": {"$in": list(best)}}, fields)}
            return [
                KnowledgeDocument(
                    key,
                    rows[key]["content"],
                    None,
                    json.loads(rows[key]["metadata"]),
                    rows[key]["content_hash"],
                    rows[key]["created_at"],
                    score,
                )
                for key, score in best.items()
            ]

        yield mine, Program(upsert, search)


SERVERS: dict[str, Engine] = {
    "cassandra": cassandra,
    "clickhouse": clickhouse,
    "milvus": milvus,
    "mongodb": mongodb,
    "weaviate": weaviate,
    "cassandra-one-field": partial(cassandra, one_field=True),
    "clickhouse-one-field": partial(clickhouse, one_field=True),
    "milvus-one-field": partial(milvus, one_field=True),
    "weaviate-one-field": partial(weaviate, one_field=True),
}
"""Measured where they are asked for."""
