"""Measures how many of the true ten nearest an engine's index finds, and how long a search takes.

    python benchmarks/recall.py [ENGINE ...] [--documents N] [--queries N] [--quick]

Random vectors of 384 dimensions are the hardest case for an index: nothing in them is near anything. Those of language
models lie in fewer dimensions, and are found better; ``--intrinsic N`` mixes vectors of that many random directions.
The truth is computed here, from the same 32-bit floats.

An engine is one function below: it gives collections, each with its settings in words, to be filled and searched.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import importlib
import os
import random
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from measuring import clock, median

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.vectors import norm, pack

DIMENSION, TOP, BATCH = 384, 10, 1_000


class Searched(NamedTuple):
    """One way to search what was filled in.

    Attributes:
        settings: in words.
        search: returns the ids of the nearest of a query.
    """

    settings: str
    search: Callable[[Sequence[float]], list[str]]


class Filled(NamedTuple):
    """An engine's collection.

    Attributes:
        add: adds a batch.
        ready: called after the last; makes the index, if the engine has a call for that.
        ways: to search it; opened before the batches.
    """

    add: Callable[[Sequence[KnowledgeDocument]], Any]
    ready: Callable[[], Any]
    ways: Sequence[Searched]


@contextlib.contextmanager
def pgvector() -> Iterator[Filled]:
    """HNSW, built once all documents are there; searched with several settings, and without it."""
    from praisonai_persistence_pgvector import PgvectorKnowledgeStore

    url, engines = os.environ.get("PERSISTENCE_PGVECTOR_URL"), None
    if url is None:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "integration"))
        engines = importlib.import_module("engines")
        url = engines.engine("pgvector").url
    place: dict[str, Any] = {"url": url, "table_prefix": f"recall{uuid.uuid4().hex[:8]}_", "statement_timeout": None}
    with contextlib.ExitStack() as stack:
        if engines is not None:
            stack.callback(engines.shut_down)
        store = stack.enter_context(PgvectorKnowledgeStore(**place, index="none"))
        store.create_collection("docs", DIMENSION)
        stack.callback(store.migrate_schema, 0)
        stack.callback(store.delete_collection, "docs")

        def way(settings: str, **options: Any) -> Searched:
            own = stack.enter_context(PgvectorKnowledgeStore(**place, **options))
            return Searched(settings, lambda query: [item.id for item in own.search("docs", query, TOP)])

        ways = [way(f"hnsw, m=16, ef_construction=64, ef_search={ef}", ef_search=ef) for ef in (40, 100, 200, 400)]
        yield Filled(
            lambda batch: store.insert("docs", batch),
            lambda: store.build_index("docs"),
            [*ways, way("exact=True", exact=True)],
        )


@contextlib.contextmanager
def lancedb() -> Iterator[Filled]:
    """An index of small graphs in partitions, of vectors in 8 bits, built once all documents are there; and without."""
    from praisonai_persistence_lancedb import LanceDBKnowledgeStore

    with tempfile.TemporaryDirectory(prefix="persistence-recall-") as folder, contextlib.ExitStack() as stack:
        store = stack.enter_context(LanceDBKnowledgeStore(path=folder, index="ivf_hnsw_sq"))
        store.create_collection("docs", DIMENSION)

        def way(settings: str, **options: Any) -> Searched:
            own = stack.enter_context(LanceDBKnowledgeStore(path=folder, **options))
            return Searched(settings, lambda query: [item.id for item in own.search("docs", query, TOP)])

        def ready() -> None:
            store.compact("docs", keep_versions_for=0)
            store.create_index("docs")

        ways = [way(f"ivf_hnsw_sq, refine={refine}", index="ivf_hnsw_sq", refine=refine) for refine in (1, 10, 30, 100)]
        yield Filled(lambda batch: store.insert("docs", batch), ready, [*ways, way("index=none", index="none")])


ENGINES: dict[str, Callable[[], contextlib.AbstractContextManager[Filled]]] = {
    "lancedb": lancedb,
    "pgvector": pgvector,
}


def vectors(number: int, intrinsic: int | None) -> list[list[float]]:
    """Random unit vectors, in all directions or mixed of some."""
    chance = random.Random(number)

    def unit(values: list[float]) -> list[float]:
        length = norm(values)
        return list(pack([value / length for value in values]))

    def any_direction() -> list[float]:
        return unit([chance.gauss(0, 1) for _ in range(DIMENSION)])

    if intrinsic is None:
        return [any_direction() for _ in range(number)]
    axes = [any_direction() for _ in range(intrinsic)]
    mixed = []
    for _ in range(number):
        shares = [chance.gauss(0, 1) for _ in axes]
        mixed.append(unit([sum(map(float.__mul__, shares, column)) for column in zip(*axes, strict=True)]))
    return mixed


def truth(documents: Sequence[Sequence[float]], queries: Sequence[Sequence[float]]) -> list[set[str]]:
    """The ids of the nearest of each query."""
    found = []
    for query in queries:
        scores = ((sum(map(float.__mul__, query, vector)), number) for number, vector in enumerate(documents))
        found.append({str(number) for _, number in heapq.nlargest(TOP, scores)})
    return found


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description="Measures recall and latency of the engines' indexes.")
    parser.add_argument("engines", nargs="*", choices=[[], *ENGINES], metavar="ENGINE", help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--intrinsic", type=int, metavar="N", help="mix the vectors of N random directions")
    parser.add_argument("--quick", action="store_true", help="5,000 documents and 20 queries")
    arguments = parser.parse_args()
    number, asked = (5_000, 20) if arguments.quick else (arguments.documents, arguments.queries)
    everything = vectors(number + asked, arguments.intrinsic)
    documents, queries = everything[:number], everything[number:]
    wanted = truth(documents, queries)
    kind = f"mixed of {arguments.intrinsic} directions" if arguments.intrinsic else "in all directions"
    print(f"{number:,} random vectors of {DIMENSION} dimensions, {kind}; {asked} queries; recall at {TOP}")
    for name in arguments.engines or ENGINES:
        with ENGINES[name]() as filled:
            start = clock()
            for first in range(0, number, BATCH):
                some = range(first, min(first + BATCH, number))
                filled.add([KnowledgeDocument(str(n), "", documents[n]) for n in some])
            loaded = clock()
            filled.ready()
            print(f"\n{name}: loaded in {loaded - start:.1f} s, made ready in {clock() - loaded:.1f} s")
            for way in filled.ways:
                for query in queries[:5]:
                    way.search(query)  # to get warm
                taken, hits = [], 0
                for query, nearest in zip(queries, wanted, strict=True):
                    start = clock()
                    found = way.search(query)
                    taken.append((clock() - start) * 1000)
                    hits += len(nearest.intersection(found))
                worst = sorted(taken)[int(len(taken) * 0.95)]
                recall = hits / (TOP * asked)
                print(f"  recall {recall:.3f}  median {median(taken):7.2f} ms  95% {worst:7.2f} ms  {way.settings}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
