"""Five minutes with the sync stores: a conversation, some state and a little knowledge in one SQLite file.

Run it: `python examples/quickstart_sync.py [FILE.db]`. Without a name the file is quickstart.db, here.
"""

from __future__ import annotations

import sys

from praisonai_persistence import ConflictError, ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.conversation import SQLiteConversationStore
from praisonai_persistence.knowledge import SQLiteKnowledgeStore
from praisonai_persistence.state import SQLiteStateStore


def conversation(path: str) -> None:
    """Sessions and their messages."""
    with SQLiteConversationStore(path=path) as store:
        store.upsert_session(ConversationSession("support-42", user_id="ada", state={"step": 1}))

        # An append with an id of your own can be repeated: after a timeout, say, when nobody knows whether it worked.
        question = ConversationMessage(id="question-1", role="user", content="Where is my parcel?")
        first = store.add_message("support-42", question)
        again = store.add_message("support-42", question)
        print(f"appended twice, stored once: seq {first.seq} and seq {again.seq}")

        # A batch is stored whole or not at all.
        call = {"id": "call-1", "name": "track", "arguments": {"parcel": "P-7"}}
        store.add_messages(
            "support-42",
            [
                ConversationMessage(id="call-1", role="assistant", content=None, tool_calls=[call]),
                ConversationMessage(id="result-1", role="tool", content="in Porto", tool_call_id="call-1"),
                ConversationMessage(id="answer-1", role="assistant", content="Your parcel is in Porto."),
            ],
        )

        # A limit means the latest; before_seq pages back from there.
        latest = store.get_messages("support-42", limit=2)
        older = store.get_messages("support-42", limit=2, before_seq=latest[0].seq)
        print("the latest two:", [message.content for message in latest])
        print("the two before:", [message.id for message in older])

        # Of two writers who read the same version, one wins, and the other one is told.
        mine, theirs = store.get_session("support-42"), store.get_session("support-42")
        mine.state = {"step": 2}
        store.update_session(mine, expected_version=mine.version)
        try:
            store.update_session(theirs, expected_version=theirs.version)
        except ConflictError as error:
            print(f"refused: {error}")


def state(path: str) -> None:
    """Keys, values, time to live, hashes."""
    with SQLiteStateStore(path=path) as store:
        store.set("theme", "dark")
        store.set("login code", "0123", ttl=300)
        print(f"a code that is text: {store.get('login code')!r}, for {store.ttl('login code'):.0f} seconds")

        print("exactly one leads:", [store.set_if_absent("leader", f"worker-{number}") for number in (1, 2, 3)])
        print("only if it is dark:", store.compare_and_set("theme", "dark", "light"), store.get("theme"))
        print("counted:", store.incr("visits"), store.incr("visits"))

        store.hset("user:ada", "city", "Lisbon")
        store.hset("user:ada", "languages", ["pt", "en"])
        print("a hash:", store.hgetall("user:ada"))
        print("by pattern:", store.keys("user:*"))


def knowledge(path: str) -> None:
    """Documents with embeddings. These have three dimensions; those of a real model some hundreds."""
    with SQLiteKnowledgeStore(path=path) as store:
        store.create_collection("notes", dimension=3)
        store.upsert(
            "notes",
            [
                KnowledgeDocument("cats", "Cats sleep all day.", [0.9, 0.1, 0.0], {"lang": "en", "year": 2021}),
                KnowledgeDocument("gatos", "Os gatos dormem.", [0.8, 0.2, 0.0], {"lang": "pt", "year": 2024}),
                KnowledgeDocument("ships", "Ships float.", [0.0, 0.1, 0.9], {"lang": "en", "year": 2024}),
            ],
        )
        for found in store.search("notes", [1.0, 0.0, 0.0], limit=2):
            print(f"near: {found.id} {found.score:.2f}")
        for found in store.search("notes", [1.0, 0.0, 0.0], filters={"lang": "en", "year": {"$gte": 2022}}):
            print(f"near, English, since 2022: {found.id} {found.score:.2f}")
        print("not English:", store.count("notes", {"lang": {"$ne": "en"}}))


if __name__ == "__main__":
    file = sys.argv[1] if len(sys.argv) > 1 else "quickstart.db"
    conversation(file)
    state(file)
    knowledge(file)
