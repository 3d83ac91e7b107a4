"""Measures the vector stores beside hand-written programs on the bare clients, in one run, as ratios.

    python benchmarks/vectors.py [ENGINE ...] [--rounds N] [--documents N] [--quick] [--cpu] [--check]

Ours and theirs take turns, each on a collection of its own in the same kind of place: 5,000 documents of 384 dimensions
(unit vectors, as most embedding models give them) in batches of 500, upserted into an empty collection and again into
the full one; then 200 searches for the best ten under a filter that a tenth of the documents match. The last line is
the whole of it, to write once and to search. The hand-written program is what somebody would write who knows the filter
beforehand. On a machine that does other things too, ``--cpu`` measures the time of the processor, of all threads.

Both sides start and end with the same: documents with embeddings as lists of Python floats go in, documents with
content, metadata, created_at and score come out; all of a document's fields are stored (content_hash too, which is None
here); metadata go in and out as JSON text; the conversion to 32-bit floats is part of the time; each search reads the
newest version, looks at every vector and uses no index. What the hand-written program leaves out is what a store is
for: it checks nothing, keeps one field for the one filter that it knows where a store has to answer any, takes the
engine's score and order as they are, and does without locks.

Qdrant is its client's local mode in memory, LanceDB a folder, Chroma embedded in a folder. Cassandra and Milvus are
measured where they are asked for; their servers are found as the integration tests find theirs
(``PERSISTENCE_CASSANDRA_URL``, a container, Milvus Lite's server).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import random
import shutil
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import measuring
from measuring import Report

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.vectors import norm

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
    """Embedded, in a folder."""
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
                {
                    "metadata": json.dumps(item.metadata),
                    "content_hash": item.content_hash or "",
                    "created_at": item.created_at,
                    "group": (item.metadata or {})["group"],
                }
                for item in batch
            ],
        )

    def search(query: list[float], group: int) -> list[KnowledgeDocument]:
        include = ["documents", "metadatas", "distances"]
        found = collection.query(query_embeddings=[query], n_results=TOP, where={"group": group}, include=include)
        columns = [found[name][0] for name in ("ids", "documents", "metadatas", "distances")]
        return [
            KnowledgeDocument(
                key,
                content,
                None,
                json.loads(entry["metadata"]),
                entry["content_hash"] or None,
                entry["created_at"],
                1 - distance,
            )
            for key, content, entry, distance in zip(*columns, strict=True)
        ]

    with contextlib.closing(client), ChromaKnowledgeStore(path=folder / "ours") as store:
        yield ours(store), Program(upsert, search)


@contextlib.contextmanager
def cassandra(_: Path) -> Iterator[tuple[Program, Program]]:
    """A server. Neither side has an index of vectors; the bare program has one of the group, and compares as many."""
    import numpy as np
    from cassandra import ConsistencyLevel
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.concurrent import execute_concurrent_with_args
    from cassandra.policies import RoundRobinPolicy, TokenAwarePolicy
    from cassandra.query import tuple_factory

    from praisonai_persistence_cassandra import CassandraKnowledgeStore

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_servers().engine("cassandra").space())["url"]
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
        session.default_fetch_size = 500
        session.execute(
            "CREATE TABLE bare (id text PRIMARY KEY, content text, metadata text, content_hash text, "
            "created_at double, embedding blob, grp int)"
        )
        session.execute("CREATE CUSTOM INDEX ON bare (grp) USING 'StorageAttachedIndex'")
        insert = session.prepare(
            "INSERT INTO bare (id, content, metadata, content_hash, created_at, embedding, grp) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        choose = session.prepare("SELECT id, embedding FROM bare WHERE grp = ?")
        read = session.prepare("SELECT id, content, metadata, content_hash, created_at FROM bare WHERE id IN ?")

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
                    (item.metadata or {})["group"],
                )
                for item, vector in zip(batch, numbers, strict=True)
            ]
            execute_concurrent_with_args(session, insert, rows, concurrency=128)

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            keys, vectors = zip(*session.execute(choose, [group]), strict=True)
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
def milvus(_: Path) -> Iterator[tuple[Program, Program]]:
    """A server: Milvus Lite's. Both sides compare every vector (``FLAT``); the bare program filters by a number."""
    from pymilvus import CollectionSchema, DataType, FieldSchema, MilvusClient  # type: ignore[import-untyped]

    from praisonai_persistence_milvus import MilvusKnowledgeStore

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_servers().engine("milvus").space())["url"]
        store = stack.enter_context(MilvusKnowledgeStore(url))
        place = urlsplit(url)
        client = stack.enter_context(contextlib.closing(MilvusClient(f"http://{place.hostname}:{place.port}")))
        fields = [
            FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=255),
            FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIMENSION),
            *(FieldSchema(name, DataType.VARCHAR, max_length=65_535) for name in ("content", "metadata")),
            FieldSchema("content_hash", DataType.VARCHAR, max_length=64),
            FieldSchema("created_at", DataType.DOUBLE),
            FieldSchema("group", DataType.INT64),
        ]
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
                    "metadata": json.dumps(item.metadata),
                    "content_hash": item.content_hash or "",
                    "created_at": item.created_at,
                    "group": (item.metadata or {})["group"],
                }
                for item in batch
            ]
            client.upsert("bare", rows)

        def search(query: list[float], group: int) -> list[KnowledgeDocument]:
            found = client.search("bare", [query], filter=f"group == {group}", limit=TOP, output_fields=names)
            return [document(hit["entity"], hit["distance"]) for hit in found[0]]

        def document(row: Any, score: float) -> KnowledgeDocument:
            key, content, metadata, content_hash, created_at = (row[name] for name in names)
            return KnowledgeDocument(key, content, None, json.loads(metadata), content_hash or None, created_at, score)

        yield ours(store), Program(upsert, search)


def _servers() -> Any:
    """The servers of the integration tests."""
    folder = str(Path(__file__).resolve().parent.parent / "tests" / "integration")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("engines")


Engine = Callable[[Path], contextlib.AbstractContextManager[tuple[Program, Program]]]
ENGINES: dict[str, Engine] = {"qdrant": qdrant, "lancedb": lancedb, "chroma": chroma}
SERVERS: dict[str, Engine] = {"cassandra": cassandra, "milvus": milvus}
"""Measured where they are asked for."""
MOST = 1.25
"""The largest ratio of times that is aimed at, for each kind of work."""

# ------------------------------------------------------------------------------------------------------- measuring


def documents(number: int) -> list[KnowledgeDocument]:
    """Documents with random unit vectors."""
    chance = random.Random(7)
    made = []
    for index in range(number):
        vector = [chance.gauss(0, 1) for _ in range(DIMENSION)]
        length = norm(vector)
        metadata = {"group": index % GROUPS, "source": f"file-{index}.md", "tags": ["a", "b"]}
        made.append(
            KnowledgeDocument(str(index), CONTENT, [value / length for value in vector], metadata, created_at=5.0)
        )
    return made


def measure(engine: Engine, report: Report, name: str, arguments: argparse.Namespace) -> None:
    """Run one engine's programs in turns, batch by batch and search by search."""
    everything = documents(arguments.documents or (1_000 if arguments.quick else 5_000))
    clock = time.process_time if arguments.cpu else measuring.clock
    searches = 40 if arguments.quick else 200
    figures: dict[str, tuple[list[float], list[float]]] = {
        what: ([], []) for what in ("upsert, new", "upsert, over the same", "search under a filter")
    }
    for turn in range(arguments.rounds):
        folder = Path(tempfile.mkdtemp(prefix="persistence-vectors-"))
        try:
            with engine(folder) as pair:
                for what in ("upsert, new", "upsert, over the same"):
                    taken = [0.0, 0.0]
                    for start in range(0, len(everything), BATCH):
                        for side in _order(turn + start // BATCH):
                            begin = clock()
                            pair[side].upsert(everything[start : start + BATCH])
                            taken[side] += clock() - begin
                    for side in (0, 1):
                        figures[what][side].append(taken[side] * 1000 * BATCH / len(everything))
                taken = [0.0, 0.0]
                for number in range(searches):
                    query = everything[number * 7 % len(everything)].embedding or []
                    found = {}
                    for side in _order(turn + number):
                        begin = clock()
                        found[side] = pair[side].search(query, number % GROUPS)
                        taken[side] += clock() - begin
                    # Chroma's index may leave out some; ours looks wider.
                    if name != "chroma" and not _same(found[0], found[1]):
                        raise SystemExit(f"{name}: the programs found different documents")
                for side in (0, 1):
                    figures["search under a filter"][side].append(taken[side] * 1000 / searches)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    for what, (mine, bare) in figures.items():
        unit = "ms a batch" if what.startswith("upsert") else "ms"
        report.compare(name, what, unit, mine, bare, at_most=MOST)
    written, searched = figures["upsert, new"], figures["search under a filter"]
    whole = [
        [len(everything) / BATCH * write + searches * search for write, search in zip(*sides, strict=True)]
        for sides in zip(written, searched, strict=True)
    ]
    report.compare(name, "all batches, new, and all searches", "ms", *whole)
    report.show(name)


def _same(mine: Sequence[KnowledgeDocument], bare: Sequence[KnowledgeDocument]) -> bool:
    """Whether both found the same; engines compute scores in 32-bit floats."""
    if [replace(item, score=None) for item in mine] != [replace(item, score=None) for item in bare]:
        return False
    return all(abs((a.score or 0.0) - (b.score or 0.0)) < 1e-4 for a, b in zip(mine, bare, strict=True))


def _order(turn: int) -> tuple[int, int]:
    return (0, 1) if turn % 2 else (1, 0)


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description="Measures the vector stores beside the bare clients.")
    every = {**ENGINES, **SERVERS}
    parser.add_argument("engines", nargs="*", choices=[[], *every], metavar="ENGINE", help=f"of {', '.join(every)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="1,000 documents and 40 searches")
    parser.add_argument("--documents", type=int, help="how many, instead of 5,000")
    parser.add_argument("--cpu", action="store_true", help="the time of the processor instead of the clock's")
    parser.add_argument("--check", action="store_true", help="fail when a ratio is larger than aimed at")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="qdrant_client")
    report = Report()
    try:
        for name in arguments.engines or ENGINES:
            measure(every[name], report, name, arguments)
    finally:
        if SERVERS.keys() & arguments.engines:
            _servers().shut_down()
    return 1 if arguments.check and report.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
