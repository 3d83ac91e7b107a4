"""SurrealDB for ``clouds.py``: conversations and state, beside its own client."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from redis_state import VALUE

__all__ = ["surrealdb", "surrealdb_server"]

_SURREAL_APPEND = """{
    LET $head = (SELECT last_seq FROM ONLY theirs_sessions:[$sid]);
    IF $head = NONE { THROW 'no session' };
    LET $there = (SELECT VALUE seq FROM ONLY theirs_ids:[$sid, $id]);
    IF $there != NONE { RETURN $there };
    LET $seq = $head.last_seq + 1;
    CREATE theirs_messages:[$sid, $seq] SET id_of = $id, role = 'user', content = $content, created_at = $now,
        seq = $seq RETURN NONE;
    CREATE theirs_ids:[$sid, $id] SET seq = $seq RETURN NONE;
    UPDATE theirs_sessions:[$sid] SET last_seq = $seq, updated_at = math::max([$now, updated_at]) RETURN NONE;
    RETURN $seq
}"""
_SURREAL_RESUME = """{
    LET $last = (SELECT VALUE last_seq FROM ONLY theirs_sessions:[$sid]);
    RETURN SELECT * OMIT id FROM theirs_messages:[$sid, $last - 49]..=[$sid, $last]
}"""


def _surreal(options: dict[str, Any], client: Any, times: int) -> Iterator[Any]:
    """Conversations and state; the bare client makes one request for each call, as we do."""
    from surrealdb import RecordID

    from praisonai_persistence import ConversationMessage, ConversationSession
    from praisonai_persistence_surrealdb import SurrealDBConversationStore, SurrealDBStateStore

    def ask(query: str, **values: Any) -> Any:
        results = client.query_raw(query, values)["result"]
        if any(result["status"] != "OK" for result in results):
            raise RuntimeError(results)
        return results[-1]["result"]

    def append(session_id: str = "theirs") -> Any:
        key = str(uuid.uuid4())
        return ask(_SURREAL_APPEND, sid=session_id, id=key, content="x" * 200, now=time.time())

    tables = ("sessions", "messages", "ids", "state")
    ask("; ".join(f"DEFINE TABLE IF NOT EXISTS theirs_{table}" for table in tables))
    with SurrealDBConversationStore(**options) as store, SurrealDBStateStore(**options) as state:
        for session_id in ("ours", "theirs", "long"):
            store.create_session(ConversationSession(session_id))
            ask("CREATE theirs_sessions:[$sid] SET last_seq = 0, updated_at = 0.0", sid=session_id)
        for part in range(10):
            store.add_messages("long", [ConversationMessage(role="user", content="x" * 200) for _ in range(1_000)])
            numbers = range(part * 1_000 + 1, part * 1_000 + 1_001)
            row = {"id_of": "x" * 36, "role": "user", "content": "x" * 200, "created_at": time.time()}
            rows = [{"id": RecordID("theirs_messages", ["long", n]), "seq": n, **row} for n in numbers]
            ask("INSERT INTO theirs_messages $rows RETURN NONE", rows=rows)
        ask("UPDATE theirs_sessions:['long'] SET last_seq = 10000")
        state.set("key", VALUE)
        ask("UPSERT theirs_state:['key'] SET text = $text", text=json.dumps(VALUE))
        yield {
            "append": (
                lambda: store.add_message("ours", ConversationMessage(role="user", content="x" * 200)),
                append,
                times,
            ),
            "resume 50 of 10,000": (
                lambda: store.get_messages("long", limit=50),
                lambda: ask(_SURREAL_RESUME, sid="long"),
                times // 3,
            ),
            "set": (
                lambda: state.set("key", VALUE),
                lambda: ask("UPSERT theirs_state:[$key] SET text = $text", key="key", text=json.dumps(VALUE)),
                times,
            ),
            "get": (
                lambda: state.get("key"),
                lambda: json.loads(ask("SELECT VALUE text FROM ONLY theirs_state:[$key]", key="key")),
                times,
            ),
        }


@contextmanager
def surrealdb(_: Any, times: int) -> Iterator[Any]:
    """SurrealDB, embedded, in folders; the bare client makes the same append, in one request."""
    import tempfile

    from surrealdb.connections.blocking_embedded import BlockingEmbeddedSurrealConnection

    with tempfile.TemporaryDirectory() as folder:
        client = BlockingEmbeddedSurrealConnection(f"surrealkv://{folder}/theirs")
        client.use("theirs", "theirs")
        yield from _surreal({"path": f"{folder}/ours"}, client, times)


@contextmanager
def surrealdb_server(engines: Any, times: int) -> Iterator[Any]:
    """SurrealDB's RPC over a WebSocket, with the embedded engine behind it."""
    from surrealdb.connections.blocking_ws import BlockingWsSurrealConnection

    server = engines.engine("surrealdb")
    parts = urlsplit(server.url)
    there = f"ws://{parts.hostname}:{parts.port}/rpc"
    with server.space() as options, BlockingWsSurrealConnection(there) as client:
        client.signin({"username": parts.username or "", "password": parts.password or ""})
        client.use(options["namespace"], "theirs")
        yield from _surreal(options, client, times)
