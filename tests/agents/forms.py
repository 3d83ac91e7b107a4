"""The forms of ``Agent(...)`` in PraisonAI's documents, also those that later releases of its agents do not take.

This file knows nothing of this project. Each function is one form.
"""

from __future__ import annotations

import asyncio
import json

from praisonaiagents import Agent, db


def show(what):
    print(json.dumps(what), flush=True)


def said(agent):
    return [message["content"] for message in agent.chat_history if message["role"] != "system"]


def database_and_session():
    agent = Agent(
        name="Assistant",
        instructions="You are a helpful assistant.",
        db=db(database_url="sqlite:///conversations.db"),
        session_id="my-session",
    )
    show(agent.chat("Hello!"))


def resumed():
    db_instance = db(database_url="sqlite:///resumed.db")
    agent = Agent(name="Assistant", db=db_instance, session_id="user-123")
    agent.chat("My name is Alice")
    agent2 = Agent(name="Assistant", db=db_instance, session_id="user-123")
    agent2.chat("What's my name?")
    show(said(agent2))


def database_and_state():
    agent = Agent(
        name="Assistant",
        db=db(database_url="sqlite:///hybrid.db", state_url="sqlite:///runs.db"),
        session_id="hybrid-session",
    )
    show(agent.chat("Hello!"))


def database_and_memory():
    agent = Agent(name="Assistant", memory=True, db=db(database_url="sqlite:///both.db"), session_id="both")
    show(agent.chat("Remember this, too!"))


def nothing_but_memory():
    show(Agent(name="Assistant", memory=True).chat("Remember this!"))


def a_dict():
    agent = Agent(name="Assistant", memory={"session_id": "chat-123"})
    show(agent.start("Hello!"))


def an_async_store():
    from praisonai.persistence.conversation import AsyncSQLiteConversationStore

    async def main():
        async with AsyncSQLiteConversationStore(url="sqlite:///async.db") as store:
            agent = Agent(name="Assistant", instructions="Help users with their tasks", conversation_store=store)
            result = await agent.start("Hello, how are you?")
            show(result)
            (session,) = await store.list_sessions()
            show([message.content for message in await store.get_messages(session.session_id)])

    asyncio.run(main())


def an_own_async_store():
    from own_store import CustomAsyncStore

    store = CustomAsyncStore()
    agent = Agent(name="Assistant", conversation_store=store)
    show(agent.start("Hello!"))
    ((_, messages),) = store.messages.items()
    show([message.content for message in messages])


def two_agents():
    stores = db(database_url="sqlite:///two.db")
    first = Agent(name="Writer", db=stores, session_id="shared")
    second = Agent(name="Reader", db=stores, session_id="shared")
    first.chat("Write!")
    second.chat("Read!")
    show(said(second))


def awaited():
    async def main():
        stores = db(database_url="sqlite:///awaited.db")
        show(await Agent(name="Assistant", db=stores, session_id="awaited").achat("Hello!"))
        later = Agent(name="Assistant", db=stores, session_id="awaited")
        show(await later.achat("Again!"))
        show([message.content for message in stores.conversation.get_messages("awaited")])
        show(said(later)[:3])

    asyncio.run(main())


def tools():
    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"sunny in {city}"

    stores = db(database_url="sqlite:///tools.db")
    agent = Agent(name="Assistant", db=stores, session_id="tools", tools=[weather])
    show(agent.chat("What is the weather in Oslo?"))


if __name__ == "__main__":
    for form in (
        database_and_session,
        resumed,
        database_and_state,
        database_and_memory,
        nothing_but_memory,
        a_dict,
        an_async_store,
        an_own_async_store,
        two_agents,
        awaited,
        tools,
    ):
        show(form.__name__)
        form()
