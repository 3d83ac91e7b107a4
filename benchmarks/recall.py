"""Measures how many of the true ten nearest an engine's index finds, and how long a search takes.

    python benchmarks/recall.py [ENGINE ...] [--documents N] [--queries N] [--quick]
    python benchmarks/recall.py --url URL [--option NAME=VALUE ...]

Random vectors of 384 dimensions are the hardest case for an index: nothing in them is near anything. Those of language
models lie in fewer dimensions, and are found better; ``--intrinsic N`` mixes vectors of that many random directions,
``--clusters N`` puts them around that many centres, and ``--dimension N`` makes them shorter.
The truth is computed here, from the same 32-bit floats, with numpy. What goes on is told on the standard error; the
standard output is a table in Markdown for each engine.

An engine is one function below: it gives a collection to be filled, and ways to search it, with the settings in words.
Any other store is measured where a URL says, with options by name; its collection is removed afterwards.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from measuring import clock, median, servers

from praisonai_persistence import KnowledgeDocument

TOP, BATCH = 10, 1_000
MEMORY = "512MB"
"""For building pgvector's index: the graph of 100,000 documents does not fit into the server's own 64 MB, and one that
is not in memory takes several times as long."""
DIMENSION = 384
SPREAD = 0.5
"""How far documents are from the centre of their cluster, in units of the distance of centres."""
_began = clock()


def say(text: str) -> None:
    """Tell what goes on."""
    print(f"{clock() - _began:6.1f} s  {text}", file=sys.stderr, flush=True)


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
        engines = servers()
        url = engines.engine("pgvector").url
    url = f"{url}{'&' if '?' in url else '?'}options=-c%20maintenance_work_mem%3D{MEMORY}"
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
def lancedb(index: str, settings: Sequence[dict[str, int]]) -> Iterator[Filled]:
    """An index of a kind, built once all documents are there; searched with several settings, and without it."""
    from praisonai_persistence_lancedb import LanceDBKnowledgeStore

    with tempfile.TemporaryDirectory(prefix="persistence-recall-") as folder, contextlib.ExitStack() as stack:
        store = stack.enter_context(LanceDBKnowledgeStore(path=folder, index=index))
        store.create_collection("docs", DIMENSION)

        def way(kind: str, **options: Any) -> Searched:
            own = stack.enter_context(LanceDBKnowledgeStore(path=folder, index=kind, **options))
            words = ", ".join([f"index={kind}", *(f"{name}={value}" for name, value in options.items())])
            return Searched(words, lambda query: [item.id for item in own.search("docs", query, TOP)])

        def ready() -> None:
            store.compact("docs", keep_versions_for=0)
            store.create_index("docs")

        ways = [way(index, **options) for options in settings]
        yield Filled(lambda batch: store.insert("docs", batch), ready, [*ways, way("none")])


@contextlib.contextmanager
def clickhouse() -> Iterator[Filled]:
    """HNSW, made in the background once there are more documents than a store compares; and without it."""
    from praisonai_persistence_clickhouse import ClickHouseKnowledgeStore

    engines = servers()
    server = engines.engine("clickhouse")
    with contextlib.ExitStack() as stack:
        stack.callback(engines.shut_down)
        place = {**stack.enter_context(server.space()), "timeout": 600.0}
        store = stack.enter_context(ClickHouseKnowledgeStore(**place, index_above=10**9))
        store.create_collection("docs", DIMENSION)
        table = f"`{place['url'].rpartition('/')[2]}`.`praison_.docs`"
        indexed = stack.enter_context(ClickHouseKnowledgeStore(**place, index_above=1))

        def ready() -> None:
            indexed.upsert("docs", [KnowledgeDocument("0", "", store.get("docs", ["0"])[0].embedding)])
            server.execute(f"ALTER TABLE {table} MATERIALIZE INDEX nearest SETTINGS mutations_sync = 0")
            while server.execute("SELECT count() FROM system.mutations WHERE NOT is_done") != [("0",)]:
                time.sleep(0.5)

        def way(settings: str, own: ClickHouseKnowledgeStore, filters: Any = None) -> Searched:
            return Searched(settings, lambda query: [item.id for item in own.search("docs", query, TOP, filters)])

        every = {"none": {"$exists": False}}  # with a filter every vector is compared
        yield Filled(
            lambda batch: store.upsert("docs", batch),
            ready,
            [way("hnsw, the server's defaults, candidates=256", indexed), way("none", store, every)],
        )


def _option(text: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``; numbers and booleans are written as in Python."""
    name, _, value = text.partition("=")
    with contextlib.suppress(ValueError, SyntaxError):
        return name, ast.literal_eval(value)
    return name, value


def _patiently(write: Callable[[], Any]) -> None:
    """Write; again where a busy server did not answer in time, for an upsert is safe to repeat."""
    from praisonai_persistence import ConnectionFailedError

    for _ in range(20):
        try:
            write()
        except ConnectionFailedError as error:
            say(f"not answered, repeated: {str(error)[:80]}")
            time.sleep(1)
        else:
            return
    raise SystemExit("the server does not answer")


@contextlib.contextmanager
def somewhere(url: str, options: dict[str, Any]) -> Iterator[Filled]:
    """A store where a URL says, as its options have it, without and with a filter that all documents match."""
    from praisonai_persistence import open_knowledge_store

    with open_knowledge_store(url, **{"timeout": 600.0, **options}) as store:
        name = f"recall{uuid.uuid4().hex[:8]}"
        store.create_collection(name, DIMENSION)
        words = ", ".join(f"{option}={value}" for option, value in options.items()) or "the store's defaults"
        try:
            yield Filled(
                lambda batch: _patiently(lambda: store.upsert(name, batch)),
                lambda: None,
                [
                    Searched(words, lambda query: [item.id for item in store.search(name, query, TOP)]),
                    Searched(
                        f"{words}; under a filter that all match",
                        lambda query: [item.id for item in store.search(name, query, TOP, {"kind": "text"})],
                    ),
                ],
            )
        finally:
            store.delete_collection(name)


@contextlib.contextmanager
def served(name: str, **options: Any) -> Iterator[Filled]:
    """A store on a server of the tests."""
    engines = servers()
    with contextlib.ExitStack() as stack:
        stack.callback(engines.shut_down)
        place = dict(stack.enter_context(engines.engine(name).space()))
        yield stack.enter_context(somewhere(place.pop("url"), {**place, **options}))


_REFINED = [{"refine": refine} for refine in (1, 10, 30, 100)]
_PROBED = [
    {"probes": probes, "refine": refine} for probes, refine in ((1, 30), (5, 30), (20, 30), (20, 100), (20, 300))
]
ENGINES: dict[str, Callable[[], contextlib.AbstractContextManager[Filled]]] = {
    "cassandra": partial(served, "cassandra"),
    "cassandra-index": partial(served, "cassandra", vector_index=True),
    "clickhouse": clickhouse,
    "lancedb-hnsw": partial(lancedb, "ivf_hnsw_sq", _REFINED),
    "lancedb-pq": partial(lancedb, "ivf_pq", _PROBED),
    "milvus-flat": partial(served, "milvus"),
    "milvus-hnsw": partial(served, "milvus", index_type="HNSW"),
    "pgvector": pgvector,
    "weaviate": partial(served, "weaviate"),
}


def vectors(number: int, intrinsic: int | None, clusters: int | None) -> Any:
    """Random unit vectors, in all directions, mixed of some, or around centres, as rows of 32-bit floats."""
    chance = np.random.default_rng(number)
    if clusters is not None:
        centres = chance.standard_normal((clusters, DIMENSION), np.float32)
        mixed = centres[chance.integers(clusters, size=number)]
        mixed += SPREAD * chance.standard_normal((number, DIMENSION), np.float32)
    elif intrinsic is None:
        mixed = chance.standard_normal((number, DIMENSION), np.float32)
    else:
        axes = chance.standard_normal((intrinsic, DIMENSION), np.float32)
        mixed = chance.standard_normal((number, intrinsic), np.float32) @ axes
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def truth(documents: Any, queries: Any) -> list[set[str]]:
    """The ids of the nearest of each query, by scores in 64 bits."""
    wanted = queries.astype(np.float64)
    parts = [
        wanted @ documents[first : first + 10_000].astype(np.float64).T for first in range(0, len(documents), 10_000)
    ]
    best = np.argpartition(-np.concatenate(parts, axis=1), TOP - 1, axis=1)[:, :TOP]
    return [{str(number) for number in row} for row in best.tolist()]


def fill(name: str, filled: Filled, documents: Any) -> None:
    """Add the documents, and make the index."""
    number = len(documents)
    start = clock()
    for first in range(0, number, BATCH):
        some = documents[first : first + BATCH].tolist()
        filled.add([KnowledgeDocument(str(n), "", vector, {"kind": "text"}) for n, vector in enumerate(some, first)])
        if (first + BATCH) % 20_000 == 0:
            say(f"{name}: {first + BATCH:,} of {number:,} documents")
    loaded = clock()
    say(f"{name}: making the index")
    filled.ready()
    print(f"\n**{name}**: loaded in {loaded - start:.1f} s, index made in {clock() - loaded:.1f} s\n")
    print(f"| settings | recall at {TOP} | median ms | 95 % ms |\n|---|---:|---:|---:|", flush=True)


def measure(way: Searched, queries: Sequence[Sequence[float]], wanted: Sequence[set[str]]) -> None:
    """Search, and print a line."""
    for query in queries[:5]:
        way.search(query)  # to get warm
    taken, hits = [], 0
    for query, nearest in zip(queries, wanted, strict=True):
        start = clock()
        found = way.search(query)
        taken.append((clock() - start) * 1000)
        hits += len(nearest.intersection(found))
    worst = sorted(taken)[int(len(taken) * 0.95)]
    print(f"| {way.settings} | {hits / (TOP * len(queries)):.3f} | {median(taken):.1f} | {worst:.1f} |", flush=True)


def main() -> int:
    """Run everything."""
    global DIMENSION  # noqa: PLW0603 - a setting of the whole program
    parser = argparse.ArgumentParser(description="Measures recall and latency of the engines' indexes.")
    parser.add_argument("engines", nargs="*", choices=[[], *ENGINES], metavar="ENGINE", help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--intrinsic", type=int, metavar="N", help="mix the vectors of N random directions")
    parser.add_argument("--clusters", type=int, metavar="N", help="put the vectors around N centres")
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    parser.add_argument("--url", help="of a store, in the place of the engines")
    parser.add_argument("--option", type=_option, action="append", default=[], metavar="NAME=VALUE", help="of it")
    parser.add_argument("--quick", action="store_true", help="5,000 documents and 20 queries")
    arguments = parser.parse_args()
    number, asked = (5_000, 20) if arguments.quick else (arguments.documents, arguments.queries)
    DIMENSION = arguments.dimension
    everything = vectors(number + asked, arguments.intrinsic, arguments.clusters)
    documents = everything[:number]
    say("looking for the true nearest")
    wanted = truth(documents, everything[number:])
    queries = everything[number:].tolist()
    kind = f"mixed of {arguments.intrinsic} directions" if arguments.intrinsic else "in all directions"
    kind = f"around {arguments.clusters} centres" if arguments.clusters else kind
    print(f"{number:,} random vectors of {DIMENSION} dimensions, {kind}; {asked} queries; recall at {TOP}", flush=True)
    every = ENGINES
    if arguments.url:
        every = {"the store": lambda: somewhere(arguments.url, dict(arguments.option))}
    for name in arguments.engines or every:
        with every[name]() as filled:
            fill(name, filled, documents)
            for way in filled.ways:
                say(f"{name}: {way.settings}")
                measure(way, queries, wanted)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
