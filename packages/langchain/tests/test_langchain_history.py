"""The chat history: chains, killed processes, many writers, other readers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from praisonai_persistence import ConversationSession, db
from praisonai_persistence.conversation import (
    AsyncMemoryConversationStore,
    AsyncSQLiteConversationStore,
    MemoryConversationStore,
    SQLiteConversationStore,
)
from praisonai_persistence.errors import ConfigurationError, InvalidValueError, StoreClosedError
from praisonai_persistence.sessions import StoreBackedSessionStore
from praisonai_persistence.state import MemoryStateStore
from praisonai_persistence_langchain import PersistentChatMessageHistory

STORES = {
    "memory": lambda path: MemoryConversationStore(),
    "sqlite": lambda path: SQLiteConversationStore(path=path / "c.db"),
    "async memory": lambda path: AsyncMemoryConversationStore(),
    "async sqlite": lambda path: AsyncSQLiteConversationStore(path=path / "c.db"),
}

CHAIN = """
import json, sys, threading
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from praisonai_persistence_sqlite import SQLiteConversationStore
from praisonai_persistence.state import MemoryStateStore
from praisonai_persistence_langchain import PersistentChatMessageHistory

path, first, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = SQLiteConversationStore(path=path)
calls = [{"name": "weather", "args": {"turn": n}, "id": f"call-{n}"} for n in range(first, first + turns)]
model = GenericFakeChatModel(messages=iter([AIMessage("answer", tool_calls=[call]) for call in calls]))
prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), MessagesPlaceholder("history"), ("human", "{q}")])
seen = []
chain = RunnableWithMessageHistory(
    prompt | (lambda value: seen.append(len(value.messages)) or value) | model,
    lambda session: PersistentChatMessageHistory(store, session),
    input_messages_key="q",
    history_messages_key="history",
)
for number in range(first, first + turns):
    chain.invoke({"q": f"question {number}"}, {"configurable": {"session_id": "ada"}})
    print(json.dumps(seen), flush=True)
threading.Event().wait()
"""


def run_chain(path, first, turns):
    """Run some turns in another process, kill it behind the last one, and return how many messages the model saw."""
    command = [sys.executable, "-c", CHAIN, str(path), str(first), str(turns)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        lines = [process.stdout.readline() for _ in range(turns)]
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return json.loads(lines[-1])


@pytest.mark.crash
def test_a_killed_chain_is_resumed(tmp_path):
    path = tmp_path / "c.db"
    assert run_chain(path, 0, 3) == [2, 4, 6]
    assert run_chain(path, 3, 2) == [8, 10]
    with SQLiteConversationStore(path=path) as store:
        found = PersistentChatMessageHistory(store, "ada").messages
    assert [message.content for message in found[::2]] == [f"question {number}" for number in range(5)]
    assert [message.tool_calls[0]["args"] for message in found[1::2]] == [{"turn": number} for number in range(5)]


@pytest.mark.parametrize("name", STORES)
def test_sync_calls(name, tmp_path):
    store = STORES[name](tmp_path)
    history = PersistentChatMessageHistory(store, "s", user_id="ada", agent_id="helper")
    assert history.messages == []
    history.clear()
    history.add_messages([])
    history.add_user_message("one")
    history.add_ai_message("two")
    history.add_messages([HumanMessage("three"), AIMessage("four")])
    assert [message.content for message in history.messages] == ["one", "two", "three", "four"]
    latest = PersistentChatMessageHistory(store, "s", limit=2).messages
    assert [message.content for message in latest] == ["three", "four"]
    assert str(history) == "Human: one\nAI: two\nHuman: three\nAI: four"
    history.clear()
    assert history.messages == []
    history.add_user_message("five")
    assert [message.content for message in history.messages] == ["five"]
    closed = store.close()
    if closed is not None:
        asyncio.run(closed)
    with pytest.raises(StoreClosedError):
        history.add_user_message("six")


@pytest.mark.parametrize("name", STORES)
def test_async_calls(name, tmp_path):
    async def work():
        store = STORES[name](tmp_path)
        history = PersistentChatMessageHistory(store, "s")
        assert await history.aget_messages() == []
        await history.aclear()
        await history.aadd_messages([HumanMessage("one"), AIMessage("two")])
        assert [message.content for message in await history.aget_messages()] == ["one", "two"]
        await history.aclear()
        assert await history.aget_messages() == []
        closed = store.close()
        if closed is not None:
            await closed
        with pytest.raises(StoreClosedError):
            await history.aget_messages()

    asyncio.run(work())


def test_a_session_is_created_for_its_owner_and_kept_as_it_is(tmp_path):
    with SQLiteConversationStore(path=tmp_path / "c.db") as store:
        PersistentChatMessageHistory(store, "new", user_id="ada", agent_id="helper").add_user_message("hi")
        session = store.get_session("new")
        assert (session.user_id, session.agent_id) == ("ada", "helper")
        store.create_session(ConversationSession("old", user_id="grace"))
        PersistentChatMessageHistory(store, "old", user_id="ada").add_user_message("hi")
        assert store.get_session("old").user_id == "grace"


@pytest.mark.parametrize("name", ["sqlite", "async sqlite"])
def test_eight_threads_lose_nothing(name, tmp_path):
    store = STORES[name](tmp_path)
    together = threading.Barrier(8)

    def work(writer):
        history = PersistentChatMessageHistory(store, "s")
        together.wait()
        for number in range(25):
            history.add_messages([HumanMessage(f"{writer} {number}"), AIMessage(f"to {writer} {number}")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    check(PersistentChatMessageHistory(store, "s").messages, 8, 25)
    closed = store.close()
    if closed is not None:
        asyncio.run(closed)


@pytest.mark.parametrize("name", ["sqlite", "async sqlite"])
def test_64_tasks_lose_nothing(name, tmp_path):
    async def work():
        store = STORES[name](tmp_path)

        async def write(writer):
            history = PersistentChatMessageHistory(store, "s")
            for number in range(5):
                await history.aadd_messages([HumanMessage(f"{writer} {number}"), AIMessage(f"to {writer} {number}")])

        await asyncio.gather(*map(write, range(64)))
        check(await PersistentChatMessageHistory(store, "s").aget_messages(), 64, 5)
        closed = store.close()
        if closed is not None:
            await closed

    asyncio.run(work())


def test_several_loops_and_a_forked_child_use_one_sync_store(tmp_path):
    store = SQLiteConversationStore(path=tmp_path / "c.db")

    def in_a_loop(writer):
        async def work():
            history = PersistentChatMessageHistory(store, "s")
            await asyncio.gather(*(history.aadd_messages([HumanMessage(f"{writer}")]) for _ in range(10)))

        asyncio.run(work())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(in_a_loop, range(8)))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            in_a_loop("child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    in_a_loop("parent")
    texts = [message.content for message in PersistentChatMessageHistory(store, "s").messages]
    assert sorted(texts) == sorted([*"01234567", "child", "parent"] * 10)
    store.close()


def check(messages, writers, turns):
    """Everything is there once, pairs stand together, and each writer's are in its order."""
    texts = [message.content for message in messages]
    assert [f"to {text}" for text in texts[::2]] == texts[1::2]
    for writer in range(writers):
        mine = [text for text in texts[::2] if text.split()[0] == str(writer)]
        assert mine == [f"{writer} {number}" for number in range(turns)]
    assert len(texts) == 2 * writers * turns


def test_db_and_session_stores_read_what_a_chain_wrote_and_the_reverse(tmp_path):
    url = f"sqlite:///{tmp_path}/c.db"
    call = {"name": "weather", "args": {"city": "Lisbon"}, "id": "call-1"}
    with db(database_url=url) as agent:
        agent.on_agent_start("helper", "s")
        agent.on_user_message("s", "Where am I?")
        with SQLiteConversationStore(path=tmp_path / "c.db") as store:
            history = PersistentChatMessageHistory(store, "s")
            assert [(type(message), message.content) for message in history.messages] == [(HumanMessage, "Where am I?")]
            history.add_messages([AIMessage("", tool_calls=[call]), SystemMessage("Be brief.")])
        agent.on_agent_message("s", "In Lisbon.")
    with db(database_url=url) as agent:
        resumed = agent.on_agent_start("helper", "s")
        assert [(message.role, message.content) for message in resumed] == [
            ("user", "Where am I?"),
            ("assistant", ""),
            ("tool", "(no result: the run was interrupted)"),
            ("system", "Be brief."),
            ("assistant", "In Lisbon."),
        ]
        (found,) = resumed[1].tool_calls
        assert (found["id"], found["function"]["name"]) == ("call-1", "weather")
    with StoreBackedSessionStore.open(url) as sessions:
        assert [turn["role"] for turn in sessions.get_chat_history("s")][:2] == ["user", "assistant"]
    with SQLiteConversationStore(path=tmp_path / "c.db") as store:
        assert PersistentChatMessageHistory(store, "s").messages[-1].content == "In Lisbon."


def test_a_store_of_another_kind_is_refused():
    for wrong in (MemoryStateStore(), "sqlite:///c.db", None):
        with pytest.raises(ConfigurationError, match="open_conversation_store"):
            PersistentChatMessageHistory(wrong, "s")
    with pytest.raises(InvalidValueError):
        PersistentChatMessageHistory(MemoryConversationStore(), "s", limit=-1)
    with pytest.raises(InvalidValueError):
        PersistentChatMessageHistory(MemoryConversationStore(), "").add_user_message("hi")
