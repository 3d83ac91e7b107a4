"""LangChain's vector store on our SQLite and pgvector stores beside LangChain's own on the same engine.

    pip install langchain-community langchain-postgres "sqlalchemy[asyncio]" "psycopg[binary]"
    python benchmarks/langchain_search.py                 SQLite, beside its SQLiteVec
    python benchmarks/langchain_search.py --postgres postgresql://USER:PASSWORD@HOST:PORT/DATABASE
                                                          also PostgreSQL, beside the PGVector of langchain-postgres

Embeddings are random numbers, no model is asked. In SQLite both write a write-ahead log with ``synchronous=FULL``; in
PostgreSQL both have the server's settings. SQLiteVec, and PGVector as it makes its table, look at every vector; so does
ours in SQLite, and in PostgreSQL it has an index. How many of the true nearest each returns is counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from measuring import clock, interleaved, times_as_fast

from praisonai_persistence import open_knowledge_store
from praisonai_persistence.knowledge import KnowledgeStore
from praisonai_persistence_langchain import PersistentVectorStore

sys.path.pop(0)  # this folder has a pgvector.py, too, which is not the package
DIMENSION, FOUND, ADDED = 128, 10, 10
TEXT = "The invoice of March was paid twice, so the customer asks for the second amount back. " * 2


class Random(Embeddings):
    """Vectors of length 1 of the number that a text begins with."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text."""
        first = text.split()[0]
        vector = np.random.default_rng(int(first) if first.isdigit() else 0).normal(size=DIMENSION)
        return [float(number) for number in vector / np.linalg.norm(vector)]


def add(store: Any, start: int, count: int) -> None:
    """Add documents."""
    numbers = range(start, start + count)
    store.add_texts([f"{n} {TEXT}" for n in numbers], [{"year": 2000 + n % 20} for n in numbers])


def adding(store: Any, numbers: list[int]) -> float:
    """Return the seconds of one call."""
    start = clock()
    add(store, numbers[0], ADDED)
    numbers[0] += ADDED
    return clock() - start


def searching(search: Callable[[list[float]], Any], numbers: list[int]) -> float:
    """Return the seconds of one search."""
    vector = Random().embed_query(str(numbers[0]))
    numbers[0] += 1
    start = clock()
    found = search(vector)
    seconds = clock() - start
    if len(found) != FOUND:
        raise SystemExit(f"{len(found)} documents were found")
    return seconds


def searching_after_write(store: Any, search: Callable[[list[float]], Any], numbers: list[int]) -> float:
    """Return the seconds of one search behind a write, which is not counted."""
    add(store, numbers[0], 1)
    return searching(search, numbers)


def recall(search: Callable[[list[float]], Any], size: int) -> float:
    """Return which part of the true nearest among the first ``size`` documents a store returns."""
    matrix = np.array(Random().embed_documents([str(n) for n in range(size)]))
    right = 0
    for number in range(10_000_000, 10_000_020):
        query = Random().embed_query(str(number))
        true = set(np.argsort(-(matrix @ np.array(query)))[:FOUND].tolist())
        right += len(true & {int(document.page_content.split()[0]) for document in search(query)})
    return right / (20 * FOUND)


def compare(sides: dict[str, Any], size: int, options: argparse.Namespace) -> None:
    """Fill both, measure, and print."""
    figure = min if options.best else statistics.median
    for store in sides.values():
        for start in range(0, size, 500):
            add(store, start, 500)
    searches = {who: partial(store.similarity_search_by_vector, k=FOUND) for who, store in sides.items()}
    print(f"{size} documents; of the true nearest: ", end="")
    print(", ".join(f"{who} {recall(search, size):.3f}" for who, search in searches.items()))
    work: dict[str, dict[str, Callable[[], float]]] = {
        "the 10 nearest": {who: partial(searching, search, [20_000_000]) for who, search in searches.items()},
        "the same after a write": {
            who: partial(searching_after_write, store, searches[who], [30_000_000]) for who, store in sides.items()
        },
        "add 10 documents": {who: partial(adding, store, [size]) for who, store in sides.items()},
    }
    for name, programs in work.items():
        figures = {who: [figure(seconds)] for who, seconds in interleaved(options.rounds, programs).items()}
        times_as_fast(name, figures, 1000)


def opened(url: str) -> KnowledgeStore:
    """Return a sync store of ours."""
    store = open_knowledge_store(url)
    assert isinstance(store, KnowledgeStore)
    return store


def in_sqlite(path: Path) -> Any:
    """Return LangChain's store in a file, with the durability of ours."""
    from langchain_community.vectorstores import SQLiteVec

    connection = SQLiteVec.create_connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    if found != ["wal", 2]:
        raise SystemExit(f"the settings of the other side are {found}")
    return SQLiteVec("documents", connection, Random(), str(path))


def in_postgres(url: str, name: str) -> Any:
    """Return LangChain's store on a server."""
    from langchain_postgres import PGVector

    url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    return PGVector(Random(), collection_name=name, connection=url, embedding_length=DIMENSION)


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--postgres", help="a server with pgvector, and an empty database")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="on a disk, where the files are made")
    parser.add_argument("--best", action="store_true", help="the fastest round, not the median: for a busy machine")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names = ("langchain-core", "langchain-community", "langchain-postgres")
    print(f"CPython {platform.python_version()}, {os.cpu_count()} processors")
    print(", ".join(f"{name} {version(name)}" for name in names))
    options.folder.mkdir(exist_ok=True)
    for size in options.sizes:
        name = f"b{os.getpid()}x{size}"
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder).resolve()
            with opened(f"sqlite:///{path}/ours.db") as store:
                ours = PersistentVectorStore(store, Random(), collection=name)
                compare({"ours": ours, "SQLiteVec": in_sqlite(path / "theirs.db")}, size, options)
        if options.postgres:
            with opened(options.postgres.replace("postgresql", "pgvector", 1)) as store:
                ours = PersistentVectorStore(store, Random(), collection=name)
                other = in_postgres(options.postgres, name)
                compare({"ours": ours, "PGVector": other}, size, options)
                store.delete_collection(name)
                other.delete_collection()
    return 0


if __name__ == "__main__":
    sys.exit(main())
