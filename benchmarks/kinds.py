"""State and knowledge in SQLite beside bare statements on the same tables: for information."""

from __future__ import annotations

import heapq
import random
import sqlite3
from array import array
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from operator import mul
from typing import Any

import bare
from measuring import Options, Report, clock, connections_to, interleaved, median, pragmas

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence_sqlite import SQLiteKnowledgeStore, SQLiteStateStore

__all__ = ["knowledge", "state"]

_STATE = "State in SQLite"
_VALUE = {"step": 3, "plan": ["look up", "compare", "answer"], "done": False}
_KEYS = 1000


def _timed(call: Callable[[], object], calls: int) -> float:
    taken = []
    for _ in range(calls):
        start = clock()
        call()
        taken.append(clock() - start)
    return median(taken)


def state(report: Report, options: Options) -> str:
    """Measure get and set; return the section's title."""
    calls, blocks = (10, 3) if options.quick else (20, 10)
    path = options.folder / "state.db"
    numbers = count()

    def key() -> str:
        return f"key-{next(numbers) % _KEYS}"

    with SQLiteStateStore(path=path) as store:
        store.set_many({f"key-{number}": _VALUE for number in range(_KEYS)})
        with closing(bare.connect(path)) as connection:
            taken = interleaved(
                options.rounds,
                {
                    "ours get": partial(_timed, lambda: store.get(key()), calls),
                    "bare get": partial(_timed, lambda: bare.get_state(connection, key()), calls),
                    "ours set": partial(_timed, lambda: store.set(key(), _VALUE), calls),
                    "bare set": partial(_timed, lambda: bare.set_state(connection, key(), _VALUE), calls),
                },
                blocks,
            )
            report.note(_STATE, f"all: {pragmas(connections_to(path))}")
    micro = {name: [seconds * 1e6 for seconds in figures] for name, figures in taken.items()}
    for what in ("get", "set"):
        report.compare(_STATE, f"{what}, of {_KEYS:,} keys", "µs", micro[f"ours {what}"], micro[f"bare {what}"])
    return _STATE


_KNOWLEDGE = "Knowledge in SQLite: the best 10"
_DIMENSION = 384
_TOPICS = 10


def knowledge(report: Report, options: Options) -> str:
    """Measure search; return the section's title."""
    for size in (1000,) if options.quick else (1000, 10_000):
        _search(report, options, size)
    return _KNOWLEDGE


def _vector() -> list[float]:
    return [random.random() - 0.5 for _ in range(_DIMENSION)]


def _search(report: Report, options: Options, size: int) -> None:
    path = options.folder / f"knowledge-{size}.db"
    with SQLiteKnowledgeStore(path=path) as store:
        store.create_collection("documents", _DIMENSION)
        for start in range(0, size, 500):
            store.insert(
                "documents",
                [
                    KnowledgeDocument(
                        content=f"Document {number} says what it says. " * 5,
                        embedding=_vector(),
                        metadata={"topic": f"topic {number % _TOPICS}", "page": number},
                    )
                    for number in range(start, start + 500)
                ],
            )
        with closing(bare.connect(path)) as connection:
            by_extension = _load(connection)
            found = connection.execute(
                "SELECT name FROM sqlite_master WHERE name LIKE 'praison_documents_%'"
            ).fetchone()
            search = _by_extension if by_extension else _by_hand
            programs: dict[str, Callable[[], float]] = {}
            for what, filters in {"no filter": None, f"filter, 1 in {_TOPICS}": {"topic": "topic 3"}}.items():
                query = _vector()
                ours = partial(store.search, "documents", query, 10, filters)
                by_bare = partial(search, connection, found[0], query, filters)
                if [document.id for document in ours()] != [row[0] for row in by_bare()]:
                    raise RuntimeError("the store and the bare query did not find the same documents")
                calls = 3 if size > 1000 else 5
                programs[f"ours {what}"] = partial(_timed, ours, calls)
                programs[f"bare {what}"] = partial(_timed, by_bare, calls)
            taken = interleaved(options.rounds, programs, 1 if options.quick else 3)
            version = connection.execute("SELECT vec_version()").fetchone()[0] if by_extension else None
    how = "Python" if version is None else f"sqlite-vec {version}"
    for name in programs:
        who, _, what = name.partition(" ")
        if who == "ours":
            report.compare(
                _KNOWLEDGE,
                f"of {size:,}, {what}",
                "ms",
                [seconds * 1000 for seconds in taken[name]],
                [seconds * 1000 for seconds in taken[f"bare {what}"]],
            )
    report.note(
        _KNOWLEDGE,
        f"{_DIMENSION} dimensions, cosine; distances by {how}, on both sides; the bare filter is json_extract"
        + ("" if by_extension else " (this Python's sqlite3 cannot load extensions)"),
    )


def _load(connection: sqlite3.Connection) -> bool:
    if not hasattr(connection, "enable_load_extension"):
        return False
    import sqlite_vec

    connection.enable_load_extension(True)
    try:
        sqlite_vec.load(connection)
    except sqlite3.OperationalError:
        return False
    finally:
        connection.enable_load_extension(False)
    return True


def _where(filters: dict[str, str] | None) -> tuple[str, list[str]]:
    return ("", []) if filters is None else (" WHERE json_extract(metadata, '$.topic') = ?", [filters["topic"]])


def _by_extension(
    connection: sqlite3.Connection, table: str, query: Sequence[float], filters: dict[str, str] | None
) -> list[Any]:
    where, values = _where(filters)
    columns = "id, content, metadata, created_at, vec_distance_cosine(embedding, ?) AS distance"
    sql = f"SELECT {columns} FROM {table}{where} ORDER BY distance LIMIT 10"  # noqa: S608 - the file itself told the name
    return connection.execute(sql, (array("f", query).tobytes(), *values)).fetchall()


def _by_hand(
    connection: sqlite3.Connection, table: str, query: Sequence[float], filters: dict[str, str] | None
) -> list[Any]:
    where, values = _where(filters)
    vector = array("f", query)

    def similarity(row: tuple[Any, ...]) -> float:
        other = array("f")
        other.frombytes(row[2])
        return float(sum(map(mul, vector, other)) / row[1])

    scan = f"SELECT row_id, norm, embedding FROM {table}{where}"  # noqa: S608
    best = heapq.nlargest(10, connection.execute(scan, values), key=similarity)
    rows = {
        row[0]: row[1:]
        for row in connection.execute(
            f"SELECT row_id, id, content, metadata, created_at FROM {table} WHERE row_id IN "  # noqa: S608
            f"({', '.join('?' * len(best))})",
            [row[0] for row in best],
        )
    }
    return [rows[row[0]] for row in best]
