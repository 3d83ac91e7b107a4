"""Has PraisonAI itself write documents or state: ``layouts.py BACKEND PLACE``; run where it can be imported."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

backend, place = sys.argv[1:]

if backend == "state":
    from praisonai.persistence.state.redis import RedisStateStore

    state = RedisStateStore(place)
    values = {"text": "é", "number": 1.5, "list": [1, None, {"a": "b"}], "object": {"value": 1}, "with:colon *?[]": "x"}
    for key, value in values.items():
        state.set(key, value)
    state.set("ends", "soon", ttl=1000)
    state.incr("counter", 41)
    state.hset("hash", "text", "plain text")
    state.hset("hash", "number", 7)
    state.hset("hash", "object", {"k": ["é"]})
    print(json.dumps({**values, "ends": "soon", "counter": 41, "hash": state.hgetall("hash")}))
    raise SystemExit

if backend == "json":
    from praisonai.persistence.conversation.base import ConversationMessage, ConversationSession
    from praisonai.persistence.conversation.json_store import JSONConversationStore

    conversations = JSONConversationStore(path=place)
    for number in range(3):
        made = ConversationSession(f"s{number}", user_id="ada", name="é", state={"n": number}, metadata={"a": [1]})
        conversations.create_session(made)
        for turn in range(number):
            said = ConversationMessage(
                session_id=made.session_id, role="user", content=f"{turn} é", metadata={"t": turn}
            )
            conversations.add_message(made.session_id, said)
    found = conversations.list_sessions()
    print(
        json.dumps(
            [[item.to_dict(), [m.to_dict() for m in conversations.get_messages(item.session_id)]] for item in found]
        )
    )
    raise SystemExit

if backend == "chroma":
    from praisonai.persistence.knowledge.chroma import ChromaKnowledgeStore

    store = ChromaKnowledgeStore(path=place)
elif backend == "lancedb":
    from praisonai.persistence.knowledge.lancedb import LanceDBKnowledgeStore

    store = LanceDBKnowledgeStore(path=place)
elif backend == "qdrant":
    from praisonai.persistence.knowledge.qdrant import QdrantKnowledgeStore

    address = urlsplit(place)
    store = QdrantKnowledgeStore(url=f"http://{address.hostname}:{address.port}", api_key=address.password)
elif backend == "pgvector":
    from praisonai.persistence.knowledge.pgvector import PGVectorKnowledgeStore

    store = PGVectorKnowledgeStore(url=place)
else:
    from praisonai.persistence.knowledge.redis_vector import RedisVectorKnowledgeStore

    store = RedisVectorKnowledgeStore(url=place)

from praisonai.persistence.knowledge.base import KnowledgeDocument  # noqa: E402

documents = [
    KnowledgeDocument(
        id=f"layout-{number}",
        content=f"text {number} é",
        embedding=[number + 0.5, -1.0, 0.25],
        metadata={"number": number, "text": "é"},
        content_hash=f"hash {number}",
        created_at=1000.5 + number,
    )
    for number in range(250)
]
for name, some in (("layout_docs", documents), ("layout_few", documents[:3])):
    store.create_collection(name, 3, distance="euclidean")
    store.insert(name, some)
store.close()
