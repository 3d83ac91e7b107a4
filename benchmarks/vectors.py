"""Measures the vector stores beside hand-written programs on the bare clients, in one run, as ratios.

    python benchmarks/vectors.py [ENGINE ...] [--rounds N] [--documents N] [--quick] [--cpu] [--check]

Ours and theirs take turns, each on a collection of its own in the same kind of place: 5,000 documents of 384 dimensions
(unit vectors, as most embedding models give them) in batches of 500, upserted into an empty collection and again into
the full one; then 200 searches for the best ten under a filter that a tenth of the documents match. The last line is
the whole of it, to write once and to search. The hand-written program is what somebody would write who knows the filter
beforehand. On a machine that does other things too, ``--cpu`` measures the time of the processor, of all threads.

Both sides start and end with the same: documents with embeddings as lists of Python floats go in, documents with
content, metadata, created_at and score come out; all of a document's fields are stored (content_hash too, which is None
here); metadata go in and out as JSON text (Chroma is given
them as they are, as its users do); the conversion to 32-bit floats is part of the time; each search reads the newest
version, looks at every vector and uses no index. What the hand-written program leaves out is what a store is for: it
checks nothing, keeps one field for the one filter that it knows where a store has to answer any, takes the engine's
score and order as they are, and does without locks. Those of Cassandra, ClickHouse, Milvus, Turso and Weaviate keep
metadata so that a filter may ask for any key, in their engine's own layout for that; ``cassandra-one-field`` and so on
are programs that keep the one field. That of ``chroma-same-rows`` stores and reads what our store does in Chroma.

Qdrant is its client's local mode in memory, LanceDB a folder, Chroma embedded in a folder. Cassandra, ClickHouse,
Cosmos DB, Couchbase, Milvus, Pinecone, Turso (``turso``, ``turso-file``), Upstash Vector and Weaviate are measured
where they are asked for; their servers are found as the integration tests find theirs (``PERSISTENCE_CASSANDRA_URL``, a
container, Milvus Lite's server, fakes of Cosmos DB, Couchbase, Pinecone and Upstash Vector, for which both sides wait
most of the time).
"""

from __future__ import annotations

import argparse
import gc
import random
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import measuring
from hosted_vector_programs import HOSTED
from measuring import Report, servers
from server_vector_programs import SERVERS
from turso_vector_programs import TURSO
from vector_programs import BATCH, CONTENT, DIMENSION, ENGINES, GROUPS, OTHERS, Engine

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.vectors import norm

MOST = 1.25
"""The largest ratio of times that is aimed at, for each kind of work."""
WHOLE = 1.15
"""And for all of it, on servers whose bare program keeps metadata that any filter can ask for."""


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
                # A full pass of Python's garbage collector looks at every object of the clients' modules and at the
                # documents, and falls upon whichever side makes the next object: 80 ms in the 130 of a round. So it
                # is left with what the two sides themselves make.
                gc.collect()
                gc.freeze()
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
                    if not name.startswith("chroma") and not _same(found[0], found[1]):
                        raise SystemExit(f"{name}: the programs found different documents")
                for side in (0, 1):
                    figures["search under a filter"][side].append(taken[side] * 1000 / searches)
        finally:
            gc.unfreeze()
            shutil.rmtree(folder, ignore_errors=True)
    for what, (mine, bare) in figures.items():
        unit = "ms a batch" if what.startswith("upsert") else "ms"
        report.compare(name, what, unit, mine, bare, at_most=MOST)
    written, searched = figures["upsert, new"], figures["search under a filter"]
    whole = [
        [len(everything) / BATCH * write + searches * search for write, search in zip(*sides, strict=True)]
        for sides in zip(written, searched, strict=True)
    ]
    report.compare(
        name,
        "all batches, new, and all searches",
        "ms",
        *whole,
        at_most=WHOLE if f"{name}-one-field" in {**SERVERS, **TURSO} else None,
    )
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
    started = {**SERVERS, **TURSO, **HOSTED}
    every = {**ENGINES, **OTHERS, **started}
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
        if started.keys() & arguments.engines:
            servers().shut_down()
    return 1 if arguments.check and report.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
