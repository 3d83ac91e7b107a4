"""Supabase for ``clouds.py``: conversations, beside a program on ``postgrest``, the client inside of supabase-py."""

from __future__ import annotations

import importlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from conversation_work import filled, turns

__all__ = ["supabase"]

_APPEND = """
CREATE OR REPLACE FUNCTION bench_append(sid text, mid text, said text, made float8) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  n bigint;
BEGIN
  UPDATE praison_sessions SET last_seq = last_seq + 1, updated_at = greatest(updated_at, made)
    WHERE session_id = sid RETURNING last_seq INTO n;
  INSERT INTO praison_messages (session_id, id, role, content, created_at, seq) VALUES (sid, mid, 'user', said, made, n)
    ON CONFLICT (session_id, id) DO NOTHING;
  IF NOT FOUND THEN
    UPDATE praison_sessions SET last_seq = last_seq - 1 WHERE session_id = sid;
    SELECT seq INTO n FROM praison_messages WHERE session_id = sid AND id = mid;
  END IF;
  RETURN n;
END $$;
NOTIFY pgrst, 'reload schema';
"""


@contextmanager
def supabase(engines: Any, times: int) -> Iterator[Any]:
    """The tests' stand-in for Supabase's API; the bare client appends by a function of its own, in one request."""
    from praisonai_persistence_supabase import SupabaseConversationStore

    postgrest: Any = importlib.import_module("postgrest")  # pip install postgrest
    httpx: Any = importlib.import_module("httpx")
    server = engines.engine("supabase")
    parts = urlsplit(server.url)
    headers = {"apikey": parts.password, "Authorization": f"Bearer {parts.password}"}
    client = postgrest.SyncPostgrestClient(
        f"http://{parts.hostname}:{parts.port}/rest/v1", headers=headers, http_client=httpx.Client()
    )
    server.execute(_APPEND)
    time.sleep(1)  # the server reads its schema again

    def append() -> Any:
        said = {"sid": "theirs", "mid": str(uuid.uuid4()), "said": "x" * 200, "made": time.time()}
        return client.rpc("bench_append", said).execute().data

    def resume() -> Any:
        query = client.from_("praison_messages").select("*").eq("session_id", "long")
        return query.order("seq", desc=True).limit(50).execute().data

    with server.space() as options, SupabaseConversationStore(**options) as store, client:
        filled(store)
        server.execute("ANALYZE praison_messages")
        yield turns(store, append, resume, times)
    server.execute("DROP FUNCTION bench_append(text, text, text, float8)")
