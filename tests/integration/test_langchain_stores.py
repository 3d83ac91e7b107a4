"""LangChain's own suites of vector stores, unchanged, on stores of several engines; its chat history on a server."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from praisonai_persistence.bridge import as_sync
from praisonai_persistence.knowledge import KnowledgeStore
from praisonai_persistence_cli import main
from praisonai_persistence_langchain import PersistentChatMessageHistory, PersistentVectorStore
from praisonai_persistence_pgvector import AsyncPgvectorKnowledgeStore, PgvectorKnowledgeStore
from praisonai_persistence_postgres import AsyncPostgresConversationStore, PostgresConversationStore
from praisonai_persistence_qdrant import AsyncQdrantKnowledgeStore, QdrantKnowledgeStore
from praisonai_persistence_sqlite import AsyncSQLiteKnowledgeStore, SQLiteConversationStore, SQLiteKnowledgeStore


@pytest.mark.anyio
class Suite(VectorStoreIntegrationTests):
    """On a sync store and on an async one; each is called by sync and by async tests."""

    __test__ = False
    stores: tuple[type, type]

    @pytest.fixture
    def anyio_backend(self):
        return "asyncio"

    @pytest.fixture(params=["sync", "async"])
    def vectorstore(self, request, options):
        store = self.stores[request.param == "async"](**options)
        yield PersistentVectorStore(store, self.get_embeddings())
        if isinstance(store, KnowledgeStore):
            store.close()
        else:
            as_sync(store).close()


class TestSQLite(Suite):
    __test__ = True
    stores = SQLiteKnowledgeStore, AsyncSQLiteKnowledgeStore

    @pytest.fixture
    def options(self, tmp_path):
        return {"path": tmp_path / "k.db"}


class TestPgvector(Suite):
    __test__ = True
    stores = PgvectorKnowledgeStore, AsyncPgvectorKnowledgeStore

    @pytest.fixture
    def options(self, pgvector):
        with pgvector.space() as options:
            yield options


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")  # to a server on this machine
class TestQdrant(Suite):
    __test__ = True
    stores = QdrantKnowledgeStore, AsyncQdrantKnowledgeStore

    @pytest.fixture
    def options(self, qdrant):
        with qdrant.space() as options:
            yield options


def turn(writer, number):
    return [HumanMessage(f"{writer} {number}"), AIMessage(f"to {writer} {number}")]


def check(messages, writers, turns):
    """Everything is there once, pairs stand together, and each writer's are in its order."""
    texts = [message.content for message in messages]
    assert len(texts) == 2 * writers * turns
    assert [f"to {text}" for text in texts[::2]] == texts[1::2]
    for writer in range(writers):
        mine = [text for text in texts[::2] if text.split()[0] == str(writer)]
        assert mine == [f"{writer} {number}" for number in range(turns)]


def test_eight_threads_on_one_session_of_a_server_lose_nothing(postgres):
    with postgres.space() as options, PostgresConversationStore(**options) as store:

        def write(writer):
            for number in range(10):
                PersistentChatMessageHistory(store, "s").add_messages(turn(writer, number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        check(PersistentChatMessageHistory(store, "s").messages, 8, 10)


def test_64_tasks_on_one_session_of_a_server_lose_nothing(postgres):
    async def work(options):
        async with AsyncPostgresConversationStore(**options) as store:

            async def write(writer):
                for number in range(5):
                    await PersistentChatMessageHistory(store, "s").aadd_messages(turn(writer, number))

            await asyncio.gather(*map(write, range(64)))
            check(await PersistentChatMessageHistory(store, "s").aget_messages(), 64, 5)

    with postgres.space() as options:
        asyncio.run(work(options))


def test_the_command_line_shows_what_langchain_wrote(tmp_path, capsys):
    call = {"name": "weather", "args": {"city": "Lisbon"}, "id": "call-1"}
    with SQLiteConversationStore(path=tmp_path / "c.db") as store:
        PersistentChatMessageHistory(store, "s").add_messages([HumanMessage("hi"), AIMessage("", tool_calls=[call])])
    assert main(["show", "s", "--json", "--conversation-url", f"sqlite:///{tmp_path}/c.db"]) == 0
    question, answer = json.loads(capsys.readouterr().out)["messages"]
    assert (question["role"], question["content"]) == ("user", "hi")
    assert (answer["role"], answer["tool_calls"][0]["function"]["name"]) == ("assistant", "weather")
