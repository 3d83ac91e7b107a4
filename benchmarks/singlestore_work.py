"""SingleStore for ``clouds.py``: conversations, beside a program on ``singlestoredb``, the vendor's client."""

from __future__ import annotations

import importlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from conversation_work import filled, turns

__all__ = ["singlestore"]

_APPEND = (
    "START TRANSACTION; "
    "UPDATE praison_sessions SET last_seq = last_seq + 1, updated_at = GREATEST(updated_at, %s) "
    "WHERE session_id = 'theirs'; "
    "INSERT INTO praison_messages (session_id, id, role, content, created_at, seq) "
    "SELECT session_id, %s, 'user', %s, %s, last_seq FROM praison_sessions WHERE session_id = 'theirs'; "
    "SELECT last_seq FROM praison_sessions WHERE session_id = 'theirs'; "
    "COMMIT"
)
_RESUME = "SELECT * FROM praison_messages WHERE session_id = 'long' ORDER BY seq DESC LIMIT 50"


@contextmanager
def singlestore(engines: Any, times: int) -> Iterator[Any]:
    """SingleStore, or MariaDB behind the tests' proxy; the bare client appends in one request, without gaps.

    A message that is there already fails there on its unique key, which undoes the transaction.
    """
    from praisonai_persistence_singlestore import SingleStoreConversationStore

    singlestoredb: Any = importlib.import_module("singlestoredb")  # its types do not say what it exports
    server = engines.engine("singlestore")
    with server.space() as options, SingleStoreConversationStore(**options) as store:
        filled(store)
        parts = urlsplit(options["url"])
        client = singlestoredb.connect(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=parts.password,
            database=parts.path[1:],
            multi_statements=True,
            ssl_disabled=True,
            pure_python=True,
            autocommit=True,
        )

        def append() -> Any:
            now = time.time()
            with client.cursor() as cursor:
                cursor.execute(_APPEND, (now, str(uuid.uuid4()), "x" * 200, now))
                found = None
                while True:
                    if cursor.description:
                        found = cursor.fetchone()
                    if not cursor.nextset():
                        return found

        def resume() -> Any:
            with client.cursor() as cursor:
                cursor.execute(_RESUME)
                return cursor.fetchall()

        yield turns(store, append, resume, times)
        client.close()
