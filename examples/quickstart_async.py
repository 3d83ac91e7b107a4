"""Five minutes with the async stores: the same methods, awaited, on the same kind of file.

Run it: `python examples/quickstart_async.py [FILE.db]`. Without a name the file is quickstart.db, here.
"""

from __future__ import annotations

import asyncio
import sys

from praisonai_persistence import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.conversation import AsyncSQLiteConversationStore
from praisonai_persistence.knowledge import AsyncSQLiteKnowledgeStore
from praisonai_persistence.state import AsyncSQLiteStateStore


async def conversation(path: str) -> None:
    """Many tasks share one store, and one session."""
    async with AsyncSQLiteConversationStore(path=path) as store:
        await store.upsert_session(ConversationSession("meeting", user_id="ada"))

        async def speak(name: str) -> None:
            for turn in range(3):
                await store.add_message(
                    "meeting", ConversationMessage(id=f"{name}-{turn}", role="user", content=f"{name} says {turn}")
                )

        await asyncio.gather(speak("ada"), speak("grace"), speak("alan"))
        messages = await store.get_messages("meeting")
        print("numbered without a gap:", [message.seq for message in messages])
        print("ada's own order:", [message.content for message in messages if message.id.startswith("ada")])
        print("the latest two:", len(await store.get_messages("meeting", limit=2)))
        print("found by words:", [message.id for message in await store.search_messages("grace 2")])

        fork = await store.fork_session("meeting", up_to_seq=4)
        print("a fork has its own future:", await store.count_messages(fork.session_id), "messages")


async def state(path: str) -> None:
    """Atomic operations, whoever else is at work."""
    async with AsyncSQLiteStateStore(path=path) as store:
        await asyncio.gather(*(store.incr("visits") for _ in range(20)))
        winners = await asyncio.gather(*(store.set_if_absent("leader", f"worker-{n}", ttl=30) for n in range(5)))
        print("counted:", await store.get("visits"), "winners:", winners.count(True))

        await store.set_many({"job:1": "done", "job:2": "open", "job:3": "open"})
        print("by prefix:", sorted([key async for key in store.scan_prefix("job:")]))


async def knowledge(path: str) -> None:
    """Search with a filter."""
    async with AsyncSQLiteKnowledgeStore(path=path) as store:
        await store.create_collection("places", dimension=2, distance="euclidean")
        await store.upsert(
            "places",
            [
                KnowledgeDocument("lisbon", "Lisbon", [38.7, -9.1], {"tags": ["sea", "capital"]}),
                KnowledgeDocument("porto", "Porto", [41.1, -8.6], {"tags": ["sea"]}),
                KnowledgeDocument("madrid", "Madrid", [40.4, -3.7], {"tags": ["capital"]}),
            ],
        )
        found = await store.search("places", [40.2, -8.4], filters={"tags": {"$contains": "capital"}})
        print("capitals, the nearest first:", [document.content for document in found])


async def main(path: str) -> None:
    """Everything in one file."""
    await conversation(path)
    await state(path)
    await knowledge(path)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "quickstart.db"))
