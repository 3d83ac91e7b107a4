"""What PraisonAI's documentation shows, as its users write it: this file knows nothing of this project.

Each function is one page. Where older pages give an agent ``db=`` and ``session_id=``, today's agents take both in
``memory=MemoryConfig(...)``.
"""

from __future__ import annotations

import asyncio
import json
import os

from praisonaiagents import Agent, MemoryConfig, db


def show(what):
    print(json.dumps(what), flush=True)


def quick_start():
    agent = Agent(
        name="Assistant",
        instructions="You help.",
        memory=MemoryConfig(db=db(database_url="sqlite:///conversations.db"), session_id="quick"),
    )
    show(agent.chat("Hello!"))


def zero_configuration():
    show(Agent(name="Assistant", memory=db()).chat("Where is it kept?"))


def several_databases():
    stores = db(database_url="sqlite:///several.db", state_url="sqlite:///state.db")
    agent = Agent(name="Assistant", memory=MemoryConfig(db=stores, session_id="hybrid"))
    show(agent.chat("Hello!"))
    show([run["status"] for run in stores.get_runs("hybrid")])


def resume():
    stores = db(database_url="sqlite:///resume.db")
    Agent(name="Assistant", memory=MemoryConfig(db=stores, session_id="user-123")).chat("My name is Alice")
    again = Agent(name="Assistant", memory=MemoryConfig(db=stores, session_id="user-123"))
    again.chat("What's my name?")
    show([message["content"] for message in again.chat_history])


def from_the_environment():
    os.environ["DATABASE_URL"] = "sqlite:///environment.db"
    stores = db(database_url=os.getenv("DATABASE_URL"), state_url=os.getenv("REDIS_URL"))
    show(Agent(name="ProdAssistant", memory=MemoryConfig(db=stores, session_id="user-7")).chat("Hello!"))


def by_class():
    stores = db.SQLiteDB(path="by_class.db")
    show(Agent(name="Assistant", memory=MemoryConfig(db=stores, session_id="s")).chat("Hello!"))


def async_store():
    from praisonai.persistence.conversation import (
        AsyncSQLiteConversationStore,
        ConversationMessage,
        ConversationSession,
    )

    async def main():
        async with AsyncSQLiteConversationStore(url="sqlite:///async.db") as store:
            session = ConversationSession(session_id="new_session", user_id="user_123")
            stored = await store.upsert_session(session)
            message = ConversationMessage(session_id="new_session", role="user", content="Hello")
            await store.add_message("new_session", message)
            if await store.get_session("new_session"):
                show([stored.user_id, [found.content for found in await store.get_messages("new_session")]])

    asyncio.run(main())


def own_async_store():
    from own_store import CustomAsyncStore
    from praisonai.persistence import PersistenceOrchestrator

    async def main():
        store = CustomAsyncStore()
        orchestrator = PersistenceOrchestrator(conversation_store=store)
        agent = Agent(name="Assistant")
        await orchestrator.aon_agent_start(agent, session_id="s", user_id="u")
        await orchestrator.aon_message("s", "user", "Hello")
        show([store.sessions["s"].agent_id, [message.content for message in store.messages["s"]]])

    asyncio.run(main())


def registries():
    from praisonai.persistence.factory import create_state_store
    from praisonai.persistence.registry import CONVERSATION_STORES, KNOWLEDGE_STORES, STATE_STORES

    class Mine:
        def __init__(self, url=None, **options):
            self.url = url

    STATE_STORES.register("mine", Mine, aliases=("my_own",))
    try:
        CONVERSATION_STORES.create("nothing like it")
    except ValueError as error:
        refused = "nothing like it" in str(error)
    show(
        [
            STATE_STORES.create("my_own", url="mine://").url,
            create_state_store("mine", url="x").url,
            STATE_STORES.list_aliases()["my_own"],
            "sqlite" in CONVERSATION_STORES.list_registered() and "sqlite" in KNOWLEDGE_STORES.list_registered(),
            refused,
        ]
    )


def session_files():
    from praisonaiagents.session import DefaultSessionStore, SessionStoreProtocol, get_default_session_store

    agent = Agent(name="assistant", memory={"session_id": "chat-123"})
    agent.start("Hello!")
    again = Agent(name="assistant", memory={"session_id": "chat-123"})
    again.start("Again!")
    show([message["content"] for message in again.chat_history])
    store = DefaultSessionStore(session_dir="own sessions", max_messages=200)
    store.add_message("s", "user", "Hi")
    show(
        [isinstance(store, SessionStoreProtocol), store.get_chat_history("s")[0]["content"], store.session_exists("t")]
    )
    show([message["role"] for message in get_default_session_store().get_chat_history("chat-123")])


def session_forks():
    from praisonaiagents.session import HierarchicalSessionStore

    store = HierarchicalSessionStore(session_dir="forks")
    parent = store.create_session(title="Main")
    for number in range(8):
        store.add_message(parent, "user", str(number))
    child = store.fork_session(parent, from_message_index=5)
    show([child != parent, [message["content"] for message in store.get_chat_history(child)]])


PAGES = [
    quick_start,
    zero_configuration,
    several_databases,
    resume,
    from_the_environment,
    by_class,
    async_store,
    own_async_store,
    registries,
    session_files,
    session_forks,
]

if __name__ == "__main__":
    for page in PAGES:
        show(page.__name__)
        page()
