"""Turso for ``clouds.py``: conversations on a libSQL server and in a file, beside programs by hand."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from conversation_work import filled, turns

__all__ = ["turso", "turso_file"]

_INSERT = (
    "INSERT INTO praison_messages (session_id, id, role, content, created_at, seq) "
    "SELECT session_id, ?, 'user', ?, ?, last_seq + 1 FROM praison_sessions WHERE session_id = 'theirs' "
    "ON CONFLICT (session_id, id) DO NOTHING"
)
_UPDATE = (
    "UPDATE praison_sessions SET last_seq = last_seq + 1, updated_at = max(?, updated_at) "
    "WHERE session_id = 'theirs' AND last_seq + 1 = "
    "(SELECT seq FROM praison_messages WHERE session_id = 'theirs' AND id = ?)"
)
_SEQ = "SELECT seq FROM praison_messages WHERE session_id = 'theirs' AND id = ?"
_RESUME = "SELECT * FROM praison_messages WHERE session_id = 'long' ORDER BY seq DESC LIMIT 50"

Send = Callable[..., list[Any]]
"""Does statements, each with its values, in one request; returns the rows of each."""


def _work(options: dict[str, Any], send: Send, times: int) -> Iterator[Any]:
    from praisonai_persistence_turso import TursoConversationStore

    def append() -> Any:
        key, now = str(uuid.uuid4()), time.time()
        return send(
            ("BEGIN IMMEDIATE",), (_INSERT, key, "x" * 200, now), (_UPDATE, now, key), (_SEQ, key), ("COMMIT",)
        )[3]

    with TursoConversationStore(**options) as store:
        filled(store)
        yield turns(store, append, lambda: send((_RESUME,))[0], times)


@contextmanager
def turso(engines: Any, times: int) -> Iterator[Any]:
    """A libSQL server, which the bare client appends to and reads in one round trip each."""
    import httpx

    server = engines.engine("turso")
    parts = urlsplit(server.url)

    def send(*statements: tuple[Any, ...]) -> list[Any]:
        steps: list[dict[str, Any]] = []
        for sql, *values in statements:
            arguments = [{"type": "float" if isinstance(value, float) else "text", "value": value} for value in values]
            condition = {"condition": {"type": "ok", "step": len(steps) - 1}} if steps else {}
            steps.append({"stmt": {"sql": sql, "args": arguments}, **condition})
        requests = [{"type": "batch", "batch": {"steps": steps}}, {"type": "close"}]
        answer = client.post("/v3/pipeline", json={"requests": requests})
        results = answer.json()["results"][0]["response"]["result"]["step_results"]
        return [[[value.get("value") for value in row] for row in result["rows"]] for result in results]

    with server.space() as options, httpx.Client(base_url=f"http://{parts.hostname}:{parts.port}") as client:
        yield from _work(options, send, times)


@contextmanager
def turso_file(_: Any, times: int) -> Iterator[Any]:
    """A file, as durable on both sides: the bare client is another connection of libSQL's own client."""
    import tempfile

    import libsql

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/agent.db"
        client = libsql.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            client.execute(f"PRAGMA {pragma}").fetchall()

        def send(*statements: tuple[Any, ...]) -> list[Any]:
            return [client.execute(sql, tuple(values)).fetchall() for sql, *values in statements]

        yield from _work({"path": path}, send, times)
        client.close()
