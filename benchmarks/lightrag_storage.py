"""LightRAG's storages on our stores beside its own: in files, and in PostgreSQL.

    pip install lightrag-hku
    python benchmarks/lightrag_storage.py        SQLite beside its files: JSON, NanoVectorDB, GraphML
    python benchmarks/lightrag_storage.py --postgres postgresql://USER:PASSWORD@HOST:PORT/DATABASE
                                                                   also PostgreSQL beside its PostgreSQL storages
    python benchmarks/lightrag_storage.py --check                exits with 1 if ours has lost something

Each piece of work ends with LightRAG's commit, ``index_done_callback``. Ours keeps a write-ahead log with
``synchronous=FULL``; its files are not synced. No model is asked: embeddings are made of random numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import random
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from lightrag.base import DocStatus
from lightrag.kg.factory import get_storage_class
from lightrag.kg.shared_storage import initialize_share_data
from lightrag.utils import EmbeddingFunc
from measuring import clock, median

from praisonai_persistence import open_knowledge_store, open_state_store
from praisonai_persistence_lightrag import storages

for _name in ("lightrag", "nano-vectordb"):
    logging.getLogger(_name).setLevel(logging.ERROR)
DIMENSION = 128
TEXT = "The invoice of March was paid twice, so the customer asks for the second amount back. " * 4
OWN = {"kv": "PersistentKVStorage", "status": "PersistentDocStatusStorage", "graph": "PersistentGraphStorage"}
OURS = {**OWN, "vector": "PersistentVectorStorage"}
FILES = {
    "kv": "JsonKVStorage",
    "status": "JsonDocStatusStorage",
    "graph": "NetworkXStorage",
    "vector": "NanoVectorDBStorage",
}
POSTGRES = {
    "kv": "PGKVStorage",
    "status": "PGDocStatusStorage",
    "graph": "PGTableGraphStorage",
    "vector": "PGVectorStorage",
}
NAMESPACES = {"kv": "full_docs", "status": "doc_status", "graph": "chunk_entity_relation", "vector": "chunks"}


async def embed(texts: list[str], **_: Any) -> Any:
    """Return the same vector for the same text."""
    return np.array(
        [np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIMENSION) for text in texts], dtype=np.float32
    )


class Side:
    """Storages of one make."""

    def __init__(self, classes: dict[str, str], folder: Path, options: dict[str, Any], workspace: str) -> None:
        self.config = {
            "working_dir": str(folder),
            "embedding_batch_num": 32,
            "max_graph_nodes": 1000,
            "vector_storage": classes["vector"],
            "vector_db_storage_cls_kwargs": {"cosine_better_than_threshold": -1.0, **options},
        }
        self.classes, self.workspace = classes, workspace

    async def open(self, kind: str) -> Any:
        """Return an initialized storage."""
        given: dict[str, Any] = {"embedding_func": EmbeddingFunc(DIMENSION, embed)}
        if kind == "vector":
            given["meta_fields"] = {"full_doc_id", "content", "file_path"}
        cls = get_storage_class(self.classes[kind])
        made = cls(namespace=NAMESPACES[kind], workspace=self.workspace, global_config=self.config, **given)
        await made.initialize()
        return made


def status(number: int, state: DocStatus) -> dict[str, Any]:
    """Return what LightRAG stores of a document."""
    return {
        "content_summary": TEXT[:100],
        "content_length": len(TEXT),
        "file_path": f"file-{number}.txt",
        "status": state,
        "created_at": f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}+00:00",
        "updated_at": "2026-01-01T00:00:00+00:00",
        "track_id": "insert",
        "chunks_count": 1,
        "chunks_list": [f"doc-{number}-chunk-000"],
        "content_hash": f"hash-{number}",
        "metadata": {},
        "error_msg": "",
    }


def chunk(number: int) -> dict[str, Any]:
    """Return an entry with a vector."""
    given = {"full_doc_id": f"doc-{number}", "content": f"{number} {TEXT}", "file_path": "file.txt"}
    return {**given, "tokens": 100, "chunk_order_index": 0}


NODE = {"entity_id": "x", "entity_type": "thing", "description": TEXT, "source_id": "chunk-1", "file_path": "file.txt"}
EDGE = {"weight": 1.0, "description": TEXT, "keywords": "pays", "source_id": "chunk-1", "file_path": "file.txt"}


async def fill(storage: Any, kind: str, size: int) -> None:
    """Write that many entries, committed once."""
    for start in range(0, size, 500):
        numbers = range(start, min(start + 500, size))
        if kind == "kv":
            await storage.upsert({f"doc-{n}": {"content": TEXT, "file_path": "file.txt"} for n in numbers})
        elif kind == "status":
            await storage.upsert({f"doc-{n}": status(n, DocStatus.PROCESSED) for n in numbers})
        elif kind == "vector":
            await storage.upsert({f"chunk-{n}": chunk(n) for n in numbers})
        else:
            await storage.upsert_nodes_batch([(f"node {n}", {**NODE, "entity_id": f"node {n}"}) for n in numbers])
            edges = [(f"node {n}", f"node {random.randrange(n + 1)}", EDGE) for n in numbers if n]
            await storage.upsert_edges_batch([edge for edge in edges if edge[0] != edge[1]])
    await storage.index_done_callback()


async def put_document(storage: Any, number: int) -> None:
    """Add an entry."""
    await storage.upsert({f"new-{number}": {"content": TEXT, "file_path": "file.txt"}})
    await storage.index_done_callback()


async def get_documents(storage: Any, number: int) -> None:
    """Read entries."""
    found = await storage.get_by_ids([f"doc-{number + n}" for n in range(20)])
    assert None not in found


async def put_status(storage: Any, number: int) -> None:
    """Say three times how far a document is."""
    for state in (DocStatus.PENDING, DocStatus.PROCESSING, DocStatus.PROCESSED):
        await storage.upsert({f"new-{number}": status(number, state)})
    await storage.index_done_callback()


async def by_hash(storage: Any, number: int) -> None:
    """Find a document by its content."""
    found = await storage.get_doc_by_content_hash(f"hash-{7 * number}")
    assert found is not None


async def waiting(storage: Any, _: int) -> None:
    """Look for documents that wait."""
    await storage.get_docs_by_statuses_page([DocStatus.PENDING, DocStatus.FAILED], limit=50, strict=True)


async def put_chunks(storage: Any, number: int) -> None:
    """Add entries with vectors."""
    await storage.upsert({f"new-{number}-{n}": chunk(number * 10 + n) for n in range(10)})
    await storage.index_done_callback()


async def nearest(storage: Any, number: int) -> None:
    """Search."""
    found = await storage.query("", 10, query_embedding=(await embed([str(number)]))[0])
    assert len(found) == 10


async def put_edge(storage: Any, number: int) -> None:
    """Add a node and an edge."""
    await storage.upsert_node(f"new {number}", {**NODE, "entity_id": f"new {number}"})
    await storage.upsert_edge(f"new {number}", f"node {number}", EDGE)
    await storage.index_done_callback()


async def around(storage: Any, number: int) -> None:
    """Read nodes, how many edges they have, and these."""
    names = [f"node {number + n}" for n in range(20)]
    await storage.get_nodes_batch(names)
    await storage.node_degrees_batch(names)
    await storage.get_nodes_edges_batch(names)


WORK: dict[str, tuple[str, Callable[[Any, int], Coroutine[Any, Any, None]]]] = {
    "write a document": ("kv", put_document),
    "read 20 documents": ("kv", get_documents),
    "a document's status, three times": ("status", put_status),
    "find a document by its content": ("status", by_hash),
    "first page of what waits": ("status", waiting),
    "write 10 chunks": ("vector", put_chunks),
    "the 10 nearest chunks": ("vector", nearest),
    "write an entity and a relation": ("graph", put_edge),
    "20 entities with their relations": ("graph", around),
}


async def compare(sides: dict[str, Side], size: int, rounds: int, statistic: Callable[[list[float]], float]) -> None:
    """Do every kind of work in turns, and print times and ratios."""
    made: dict[tuple[str, str], Any] = {}
    for who, side in sides.items():
        for kind in NAMESPACES:
            made[who, kind] = await side.open(kind)
            await fill(made[who, kind], kind, size)
    theirs = list(sides)[1]
    print(f"\n| behind {size:,} entries | ours | {theirs} | times as fast |\n|---|---|---|---|")
    for name, (kind, work) in WORK.items():
        taken: dict[str, list[float]] = {who: [] for who in sides}
        for number in range(rounds):
            for who in sides:
                start = clock()
                await work(made[who, kind], number)
                taken[who].append(clock() - start)
        ours, other = (statistic(seconds) for seconds in taken.values())
        print(f"| {name} | {ours * 1000:.2f} ms | {other * 1000:.2f} ms | {other / ours:.2f} |", flush=True)
    for storage in made.values():
        await storage.finalize()


async def write_many(kv: Any, docs: Any, name: str, tasks: int) -> None:
    """Write one document's status and text from each task."""

    async def write(number: int) -> None:
        await docs.upsert({f"{name}-{number}": status(number, DocStatus.PROCESSED)})
        await kv.upsert({f"{name}-{number}": {"content": TEXT, "file_path": "file.txt"}})
        await kv.index_done_callback()

    await asyncio.gather(*map(write, range(tasks)))


async def missing(side: Side, names: list[str], tasks: int) -> int:
    """Return how many of what was written are not there."""
    ids = [f"{name}-{number}" for name in names for number in range(tasks)]
    found = [await (await side.open(kind)).get_by_ids(ids) for kind in ("kv", "status")]
    return sum(row is None for rows in found for row in rows)


def lost(place: dict[str, Any], processes: int, tasks: int) -> int:
    """Write from tasks of processes at once, and count in another process."""
    names = [f"p{number}" for number in range(processes)]

    def start(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "--child", json.dumps(place), *more]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    running = [start("write", name, str(tasks)) for name in names]
    for one in running:
        assert one.stdout is not None
        one.stdout.readline()  # it is ready
    for one in running:
        one.communicate("go\n")
    return int(start("count", ",".join(names), str(tasks)).communicate("go\n")[0].split()[-1])


async def side_of(place: dict[str, Any], folder: Path, workspace: str) -> tuple[Side, list[Any]]:
    """Return the storages of a place, and what is to be closed."""
    if place["make"] != "ours":
        return Side(FILES if place["make"] == "files" else POSTGRES, folder, {}, workspace), []
    opened = [open_state_store(place["state"], "async"), open_knowledge_store(place["knowledge"], "async")]
    kwargs = storages(*opened)["vector_db_storage_cls_kwargs"]  # type: ignore[arg-type]
    return Side(OURS, folder, kwargs, workspace), opened


async def child(place: dict[str, Any], what: str, names: str, tasks: int) -> None:
    """Be one of the processes of [lost][]."""
    initialize_share_data()
    side, opened = await side_of(place, Path(place["folder"]), place["workspace"])
    kv, docs = await side.open("kv"), await side.open("status")
    print("ready", flush=True)
    sys.stdin.readline()
    if what == "write":
        await write_many(kv, docs, names, tasks)
    else:
        print(await missing(side, names.split(","), tasks), flush=True)
    for store in opened:
        await store.close()


async def measure(ours: dict[str, Any], theirs: dict[str, Any], folder: Path, options: Any) -> None:
    """Compare two places at every size."""
    for size in options.sizes:
        workspace = f"b{os.getpid()}x{size}"
        one, opened = await side_of(ours, folder, workspace)
        other, _ = await side_of(theirs, folder, workspace)
        await compare({"ours": one, theirs["make"]: other}, size, options.rounds, min if options.best else median)
        for store in opened:
            await store.close()


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--postgres", help="a server with pgvector")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="on a disk, where the files are made")
    parser.add_argument("--check", action="store_true", help="exit with 1 if ours has lost something")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--best", action="store_true", help="the fastest round, not the median: for a busy machine")
    parser.add_argument("--skip-files", action="store_true", help="PostgreSQL only")
    options = parser.parse_args()
    sys.path.append(sys.path.pop(0))  # this folder has a pgvector.py, too, which is not the package
    if options.child:
        place, what, names, tasks = options.child
        asyncio.run(child(json.loads(place), what, names, int(tasks)))
        return 0
    initialize_share_data()
    print(f"CPython {platform.python_version()}, {os.cpu_count()} processors, lightrag-hku {version('lightrag-hku')}")
    options.folder.mkdir(exist_ok=True)
    total = 0
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made).resolve()
        file = f"sqlite:///{folder}/ours.db"
        pairs = [({"make": "ours", "state": file, "knowledge": file}, {"make": "files"})]
        if options.skip_files:
            pairs.clear()
        if options.postgres:
            url = urlsplit(options.postgres)
            host = {"HOST": url.hostname, "PORT": url.port or 5432, "USER": url.username, "PASSWORD": url.password}
            os.environ.update({f"POSTGRES_{name}": str(value) for name, value in host.items()})
            os.environ["POSTGRES_DATABASE"] = url.path[1:]
            vectors = options.postgres.replace("postgresql", "pgvector", 1)
            pairs.append(({"make": "ours", "state": options.postgres, "knowledge": vectors}, {"make": "postgres"}))
        for ours, theirs in pairs:
            asyncio.run(measure(ours, theirs, folder, options))
            print()
            for place in (ours, theirs):
                for processes, tasks in ((1, 64), (2, 32)):
                    where = {**place, "folder": str(folder), "workspace": f"l{os.getpid()}x{processes}"}
                    gone = lost(where, processes, tasks)
                    name = f"{place['make']}, {processes} processes with {tasks} tasks each"
                    print(f"{name}: {gone} of {2 * processes * tasks} lost", flush=True)
                    total += gone if place["make"] == "ours" else 0
    return int(options.check and total > 0)


if __name__ == "__main__":
    sys.exit(main())
