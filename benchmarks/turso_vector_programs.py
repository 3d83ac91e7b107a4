"""The contestants of ``vectors.py`` in Turso: our store, and a hand-written program, on a server and in a file."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from measuring import servers
from vector_programs import DIMENSION, TOP, Engine, Program, ours

from praisonai_persistence import KnowledgeDocument

__all__ = ["TURSO"]

_TABLE = (
    "CREATE TABLE bare (id TEXT NOT NULL PRIMARY KEY, content TEXT, metadata TEXT, content_hash TEXT, created_at REAL, "
    f'embedding F32_BLOB({DIMENSION}), "group" INTEGER)'
)
_NAMES = "id, content, metadata, content_hash, created_at"
_INSERT = "INSERT OR REPLACE INTO bare VALUES (?, ?, ?, ?, ?, ?, ?)"
_DISTANCE = "vector_distance_cos(embedding, ?) AS distance"
_SEARCH = "SELECT {names}, {distance} FROM bare WHERE {chosen} = ? ORDER BY distance LIMIT {limit}"

Send = Callable[[Sequence[tuple[str, Sequence[Any]]]], list[Any]]
"""Does statements, each with its values, in one transaction; returns the rows of the last."""


def _program(send: Send, *, one_field: bool) -> Program:
    """Filters by a key of the metadata as JSON text, or by the one field that it keeps as a column."""
    import numpy as np

    chosen = '"group"' if one_field else "metadata ->> '$.group'"
    sql = _SEARCH.format(names=_NAMES, distance=_DISTANCE, chosen=chosen, limit=TOP)
    send([(_TABLE, ())])

    def upsert(batch: Sequence[KnowledgeDocument]) -> None:
        rows = zip(batch, np.array([item.embedding for item in batch], dtype="<f4"), strict=True)
        send([(_INSERT, values(item, vector.tobytes())) for item, vector in rows])

    def values(item: KnowledgeDocument, vector: bytes) -> tuple[Any, ...]:
        group = (item.metadata or {})["group"] if one_field else None
        return item.id, item.content, json.dumps(item.metadata), item.content_hash, item.created_at, vector, group

    def search(query: list[float], group: int) -> list[KnowledgeDocument]:
        return [found(*row) for row in send([(sql, (np.array(query, dtype="<f4").tobytes(), group))])]

    def found(key: str, content: str, metadata: str, hash_: Any, created_at: float, distance: float) -> Any:
        return KnowledgeDocument(key, content, None, json.loads(metadata), hash_, created_at, 1 - distance)

    return Program(upsert, search)


def _encoded(value: Any) -> dict[str, Any]:
    if isinstance(value, bytes):
        return {"type": "blob", "base64": base64.b64encode(value).decode()}
    if isinstance(value, int):
        return {"type": "integer", "value": str(value)}
    kind = "null" if value is None else "float" if isinstance(value, float) else "text"
    return {"type": kind, "value": value}


@contextlib.contextmanager
def turso(_: Path, *, one_field: bool = False) -> Iterator[tuple[Program, Program]]:
    """A libSQL server. The bare program writes a batch in one request, as ours does."""
    import httpx

    from praisonai_persistence_turso import TursoKnowledgeStore

    server = servers().engine("turso")
    parts = urlsplit(server.url)

    def send(statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        several = len(statements) > 1
        steps: list[dict[str, Any]] = []
        for sql, values in [("BEGIN IMMEDIATE", ()), *statements, ("COMMIT", ())] if several else statements:
            condition = {"condition": {"type": "ok", "step": len(steps) - 1}} if steps else {}
            steps.append({"stmt": {"sql": sql, "args": [_encoded(value) for value in values]}, **condition})
        requests = [{"type": "batch", "batch": {"steps": steps}}, {"type": "close"}]
        answer = client.post("/v3/pipeline", json={"requests": requests})
        result = answer.json()["results"][0]["response"]["result"]
        if any(result["step_errors"]):
            raise RuntimeError(result["step_errors"])
        return [[value.get("value") for value in row] for row in result["step_results"][-1 - several]["rows"]]

    with (
        server.space() as options,
        TursoKnowledgeStore(**options) as store,
        httpx.Client(base_url=f"http://{parts.hostname}:{parts.port}", timeout=60) as client,
    ):
        yield ours(store), _program(send, one_field=one_field)


@contextlib.contextmanager
def turso_file(folder: Path, *, one_field: bool = False) -> Iterator[tuple[Program, Program]]:
    """A file for each side, as durable on both."""
    import libsql

    from praisonai_persistence_turso import TursoKnowledgeStore

    def send(statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if len(statements) == 1:
            return client.execute(statements[0][0], tuple(statements[0][1])).fetchall()  # type: ignore[no-any-return]
        client.execute("BEGIN IMMEDIATE")
        for sql, values in statements:
            client.execute(sql, tuple(values))
        client.execute("COMMIT")
        return []

    with TursoKnowledgeStore(path=folder / "ours.db") as store:
        client = libsql.connect(str(folder / "theirs.db"), isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            client.execute(f"PRAGMA {pragma}").fetchall()
        yield ours(store), _program(send, one_field=one_field)
        client.close()


TURSO: dict[str, Engine] = {
    "turso": turso,
    "turso-file": turso_file,
    "turso-one-field": partial(turso, one_field=True),
    "turso-file-one-field": partial(turso_file, one_field=True),
}
"""Measured where they are asked for."""
