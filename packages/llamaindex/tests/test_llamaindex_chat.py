"""The chat store: sync and async callers, many writers, killed processes, other readers."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer

from praisonai_persistence import ConversationSession, db
from praisonai_persistence.conversation import (
    AsyncMemoryConversationStore,
    AsyncSQLiteConversationStore,
    MemoryConversationStore,
    SQLiteConversationStore,
)
from praisonai_persistence.errors import ConfigurationError, InvalidValueError, StoreClosedError
from praisonai_persistence.errors import UnsupportedOperationError as Unsupported
from praisonai_persistence.state import MemoryStateStore
from praisonai_persistence_llamaindex import PersistentChatStore

STORES = {
    "memory": lambda path: MemoryConversationStore(),
    "sqlite": lambda path: SQLiteConversationStore(path=path / "c.db"),
    "async memory": lambda path: AsyncMemoryConversationStore(),
    "async sqlite": lambda path: AsyncSQLiteConversationStore(path=path / "c.db"),
}

# A chat engine of LlamaIndex's own, whose model and tokenizer need no network.
ENGINE = """
import sys, threading
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from praisonai_persistence_sqlite import SQLiteConversationStore
from praisonai_persistence_llamaindex import PersistentChatStore

path, first, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chat = PersistentChatStore(SQLiteConversationStore(path=path))
memory = ChatMemoryBuffer.from_defaults(
    chat_store=chat, chat_store_key="ada", token_limit=10**6, tokenizer_fn=str.split
)
engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=memory)
for number in range(first, first + turns):
    print(len(engine.chat_history), engine.chat(f"question {number}").response.replace("\\n", "|"), flush=True)
threading.Event().wait()
"""


def run_engine(path, first, turns):
    """Run some turns in another process, kill it behind the last one, and return what it printed."""
    command = [sys.executable, "-c", ENGINE, str(path), str(first), str(turns)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        lines = [process.stdout.readline() for _ in range(turns)]
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return lines


@pytest.mark.crash
def test_a_killed_chat_engine_is_resumed(tmp_path):
    path = tmp_path / "c.db"
    assert [line.split()[0] for line in run_engine(path, 0, 2)] == ["0", "2"]
    (line,) = run_engine(path, 2, 1)
    assert line.startswith("4 user: question 0|assistant: user: question 0|")
    with SQLiteConversationStore(path=path) as store:
        found = PersistentChatStore(store).get_messages("ada")
    assert [message.content for message in found[::2]] == [f"question {number}" for number in range(3)]
    assert {message.role.value for message in found[1::2]} == {"assistant"}


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    made = STORES[request.param](tmp_path)
    yield made
    closed = made.close()
    if closed is not None:
        asyncio.run(closed)


def texts(messages):
    return [message.content for message in messages]


def test_calls(store, call):
    chat = PersistentChatStore(store)
    assert call(chat, "get_messages", "s") == []
    assert call(chat, "delete_messages", "s") is None
    assert call(chat, "delete_message", "s", 0) is None
    assert call(chat, "delete_last_message", "s") is None
    assert call(chat, "get_keys") == []
    for text in "abcdef":
        call(chat, "add_message", "s", ChatMessage(text))
    assert texts(call(chat, "get_messages", "s")) == list("abcdef")
    assert call(chat, "delete_message", "s", 1) == ChatMessage("b")
    assert call(chat, "delete_message", "s", -2) == ChatMessage("e")
    assert call(chat, "delete_message", "s", 4) is None
    assert call(chat, "delete_message", "s", -5) is None
    assert call(chat, "delete_last_message", "s") == ChatMessage("f")
    assert texts(call(chat, "get_messages", "s")) == list("acd")
    call(chat, "add_message", "t", ChatMessage("x"))
    assert sorted(call(chat, "get_keys")) == ["s", "t"]
    assert texts(call(chat, "delete_messages", "s")) == list("acd")
    assert call(chat, "get_messages", "s") == []
    assert call(chat, "delete_messages", "s") == []
    assert texts(call(chat, "get_messages", "t")) == ["x"]


def test_set_messages_replaces_what_differs_and_keeps_the_rest(store, call):
    chat = PersistentChatStore(store)

    def stored():
        found = store.get_messages("s")
        return asyncio.run(found) if asyncio.iscoroutine(found) else found

    call(chat, "set_messages", "s", [ChatMessage(text) for text in "abc"])
    first = stored()
    call(chat, "set_messages", "s", [ChatMessage(text) for text in "abcd"])
    assert stored()[:3] == first
    call(chat, "set_messages", "s", [ChatMessage(text) for text in "axyz"])
    assert [record.content for record in stored()] == list("axyz")
    assert stored()[0] == first[0]
    call(chat, "set_messages", "s", [ChatMessage("a"), ChatMessage("x")])
    assert [record.content for record in stored()] == ["a", "x"]
    before = stored()
    call(chat, "set_messages", "s", [ChatMessage("a"), ChatMessage("x")])
    assert stored() == before
    call(chat, "set_messages", "s", [])
    assert stored() == []
    call(chat, "set_messages", "empty", [])
    assert sorted(call(chat, "get_keys")) == ["empty", "s"]


def test_sessions_belong_to_their_owner_and_stay_as_they_are(tmp_path):
    with SQLiteConversationStore(path=tmp_path / "c.db") as store:
        mine = PersistentChatStore(store, user_id="ada", agent_id="helper")
        mine.add_message("added", ChatMessage("hi"))
        mine.set_messages("set", [ChatMessage("hi")])
        store.create_session(ConversationSession("old", user_id="grace", name="kept", state={"n": 1}))
        for _ in range(2):
            mine.set_messages("old", [ChatMessage("one"), ChatMessage("two")])
            mine.set_messages("old", [ChatMessage("two")])
        mine.delete_messages("old")
        for key in ("added", "set"):
            session = store.get_session(key)
            assert (session.user_id, session.agent_id) == ("ada", "helper")
        session = store.get_session("old")
        assert (session.user_id, session.name, session.state) == ("grace", "kept", {"n": 1})
        assert sorted(mine.get_keys()) == ["added", "set"]
        assert len(PersistentChatStore(store).get_keys()) == 3


def test_all_keys_of_many_pages():
    with MemoryConversationStore() as store:
        for number in range(2500):
            store.create_session(ConversationSession(f"{number}"))
        assert sorted(PersistentChatStore(store).get_keys()) == sorted(f"{number}" for number in range(2500))


def check(messages, writers, turns):
    """Everything is there once, and each writer's is in its order."""
    found = texts(messages)
    assert len(found) == writers * turns
    for writer in range(writers):
        mine = [text for text in found if text.split()[0] == str(writer)]
        assert mine == [f"{writer} {number}" for number in range(turns)]


@pytest.mark.parametrize("name", ["sqlite", "async sqlite"])
def test_eight_threads_lose_nothing(name, tmp_path):
    store = STORES[name](tmp_path)
    chat = PersistentChatStore(store)
    together = threading.Barrier(8)

    def work(writer):
        together.wait()
        for number in range(25):
            chat.add_message("s", ChatMessage(f"{writer} {number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    check(chat.get_messages("s"), 8, 25)
    with ThreadPoolExecutor(8) as pool:  # each message is removed by one caller
        gone = list(pool.map(lambda _: chat.delete_last_message("s").content, range(200)))
    assert len(set(gone)) == 200
    assert chat.get_messages("s") == []
    closed = store.close()
    if closed is not None:
        asyncio.run(closed)


@pytest.mark.parametrize("name", ["sqlite", "async sqlite"])
def test_64_tasks_lose_nothing(name, tmp_path):
    async def work():
        store = STORES[name](tmp_path)
        chat = PersistentChatStore(store)

        async def write(writer):
            for number in range(5):
                await chat.async_add_message("s", ChatMessage(f"{writer} {number}"))

        await asyncio.gather(*map(write, range(64)))
        check(await chat.aget_messages("s"), 64, 5)
        closed = store.close()
        if closed is not None:
            await closed

    asyncio.run(work())


def test_readers_see_one_of_the_lists_that_are_set(tmp_path):
    with SQLiteConversationStore(path=tmp_path / "c.db") as store:
        chat = PersistentChatStore(store)
        lists = [[f"{writer} {number}" for number in range(5)] for writer in range(4)]
        together = threading.Barrier(4)

        def work(writer):
            together.wait()
            for _ in range(10):
                chat.set_messages("s", [ChatMessage(text) for text in lists[writer]])
                assert texts(chat.get_messages("s")) in lists

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert texts(chat.get_messages("s")) in lists


def test_several_loops_and_a_forked_child_use_one_sync_store(tmp_path):
    with SQLiteConversationStore(path=tmp_path / "c.db") as store:
        chat = PersistentChatStore(store)

        def in_a_loop(writer):
            async def work():
                await asyncio.gather(*(chat.async_add_message("s", ChatMessage(f"{writer}")) for _ in range(10)))

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
        assert sorted(texts(chat.get_messages("s"))) == sorted([*"01234567", "child", "parent"] * 10)


def test_db_reads_what_llamaindex_wrote_and_the_reverse(tmp_path):
    url = f"sqlite:///{tmp_path}/c.db"
    with db(database_url=url) as agent, SQLiteConversationStore(path=tmp_path / "c.db") as store:
        agent.on_agent_start("helper", "s")
        agent.on_user_message("s", "Where am I?")
        memory = ChatMemoryBuffer.from_defaults(
            chat_store=PersistentChatStore(store), chat_store_key="s", token_limit=1000, tokenizer_fn=str.split
        )
        assert memory.get() == [ChatMessage("Where am I?")]
        memory.put(ChatMessage("In Lisbon.", role="assistant"))
    with db(database_url=url) as agent:
        resumed = agent.on_agent_start("helper", "s")
        assert [(message.role, message.content) for message in resumed] == [
            ("user", "Where am I?"),
            ("assistant", "In Lisbon."),
        ]


def test_what_is_refused(tmp_path):
    for wrong in (MemoryStateStore(), "sqlite:///c.db", None):
        with pytest.raises(ConfigurationError, match="open_conversation_store"):
            PersistentChatStore(wrong)
    chat = PersistentChatStore(MemoryConversationStore())
    with pytest.raises(InvalidValueError):
        chat.add_message("", ChatMessage("hi"))
    with pytest.raises(Unsupported, match="open the store again"):
        pickle.dumps(chat)
    chat._store.close()
    with pytest.raises(StoreClosedError):
        chat.get_messages("s")
