"""An ingestion pipeline, an index and a chat engine of LlamaIndex survive a killed process; other readers."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery

from praisonai_persistence import db
from praisonai_persistence_cli import main
from praisonai_persistence_langchain import PersistentChatMessageHistory
from praisonai_persistence_llamaindex import PersistentChatStore, PersistentVectorStore
from praisonai_persistence_pgvector import AsyncPgvectorKnowledgeStore, PgvectorKnowledgeStore
from praisonai_persistence_postgres import AsyncPostgresConversationStore, PostgresConversationStore
from praisonai_persistence_qdrant import AsyncQdrantKnowledgeStore, QdrantKnowledgeStore
from praisonai_persistence_sqlite import SQLiteConversationStore, SQLiteKnowledgeStore

# Tokenizer, splitter, embeddings and model need no network.
PROGRAM = """
import asyncio, json, sys, threading
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage, set_global_tokenizer
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.index_store.keyval_index_store import KVIndexStore
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from praisonai_persistence import open_conversation_store, open_knowledge_store, open_state_store
from praisonai_persistence_llamaindex import PersistentChatStore, PersistentKVStore, PersistentVectorStore


class Letters(BaseEmbedding):
    def _get_text_embedding(self, text):
        return [1.0 + text.lower().count(letter) for letter in "abcdefghij"]

    def _get_query_embedding(self, query):
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query):
        return self._get_text_embedding(query)


set_global_tokenizer(str.split)
stage, mode, places = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
state = open_state_store(places["state"].pop("url"), mode, **places["state"])
knowledge = open_knowledge_store(places["knowledge"].pop("url"), mode, **places["knowledge"])
conversations = open_conversation_store(places["conversation"].pop("url"), mode, **places["conversation"])
kv = PersistentKVStore(state)
vectors = PersistentVectorStore(knowledge)
documents = KVDocumentStore(kv, batch_size=100)
storage = StorageContext.from_defaults(docstore=documents, index_store=KVIndexStore(kv), vector_store=vectors)
pipeline = IngestionPipeline(
    transformations=[TokenTextSplitter(chunk_size=60, chunk_overlap=0, tokenizer=str.split), Letters()],
    docstore=documents,
    docstore_strategy=DocstoreStrategy.UPSERTS,
    vector_store=vectors,
    cache=IngestionCache(cache=kv),
)


def document(name, letter, year):
    return Document(id_=name, text=f"{letter * 9} " * 150, metadata={"name": name, "year": year})


def ask(index, question):
    memory = ChatMemoryBuffer.from_defaults(
        chat_store=PersistentChatStore(conversations), chat_store_key="ada", token_limit=10**6
    )
    engine = index.as_chat_engine(chat_mode="context", llm=MockLLM(), memory=memory, similarity_top_k=1)
    before = len(engine.chat_history)
    answer = engine.chat(question)
    return before, [node.metadata["name"] for node in answer.source_nodes], len(engine.chat_history)


if stage == "write":
    nodes = pipeline.run(documents=[document("bees", "b", 2021), document("cats", "c", 2022)])
    print(json.dumps(len(nodes)), flush=True)
    index = VectorStoreIndex([], storage_context=storage, embed_model=Letters())
    index.set_index_id("mine")
    print(json.dumps(ask(index, "bbbb")), flush=True)
else:
    given = [document("bees", "b", 2021), document("cats", "c", 2025), document("dogs", "d", 2023)]
    nodes = pipeline.run(documents=given) if mode == "sync" else asyncio.run(pipeline.arun(documents=given))
    print(json.dumps(sorted({node.metadata["name"] for node in nodes})), flush=True)
    index = load_index_from_storage(storage, index_id="mine", embed_model=Letters())
    print(json.dumps(ask(index, "dddd")), flush=True)
    after = MetadataFilter(key="year", operator=FilterOperator.GT, value=2022)
    retriever = index.as_retriever(similarity_top_k=99, filters=MetadataFilters(filters=[after]))
    found = retriever.retrieve("cccc")
    print(json.dumps([node.metadata["name"] + str(node.metadata["year"]) for node in found]), flush=True)
threading.Event().wait()
"""


def run(stage, mode, places, lines):
    """Run one stage in another process, kill it behind its last line, and return what it printed."""
    command = [sys.executable, "-c", PROGRAM, stage, mode, json.dumps(places)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return [json.loads(line) for line in said]


def check_stages(mode, places):
    assert run("write", mode, places, 2) == [6, [0, ["bees"], 2]]
    changed, answer, found = run("resume", mode, places, 3)
    assert changed == ["cats", "dogs"]  # what is unchanged is not read again
    assert answer == [2, ["dogs"], 4]
    assert found == ["cats2025"] * 3 + ["dogs2023"] * 3  # and nothing of 2022 is left


@pytest.mark.crash
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_killed_process_on_sqlite(mode, tmp_path):
    place = {"url": f"sqlite:///{tmp_path}/agent.db"}
    check_stages(mode, {"state": place, "knowledge": place, "conversation": place})


@pytest.mark.crash
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_killed_process_on_pgvector(mode, pgvector):
    with pgvector.space() as space:
        vectors = {**space, "url": space["url"].replace("postgresql", "pgvector", 1)}
        check_stages(mode, {"state": space, "knowledge": vectors, "conversation": space})


CLASSES = {
    "pgvector": (PgvectorKnowledgeStore, AsyncPgvectorKnowledgeStore),
    "qdrant": (QdrantKnowledgeStore, AsyncQdrantKnowledgeStore),
}


def check_filters(made):
    """Nested conditions and every kind of operator, compared with what Python says of the same numbers."""
    made.add(
        [
            TextNode(
                id_=f"{number:02}",
                text=f"{number}",
                embedding=[1.0, float(number)],
                metadata={"n": number, "even": "yes" if number % 2 == 0 else "no", "tags": [f"t{number % 3}"]},
            )
            for number in range(30)
        ]
    )

    def group(condition, *filters):
        return MetadataFilters(filters=list(filters), condition=condition)

    def one(key, operator, value=None):
        return MetadataFilter(key=key, operator=operator, value=value)

    even, low, high = one("even", "==", "yes"), one("n", "<", 10), one("n", ">=", 20)
    cases = [
        (group("and", even, group("or", low, high)), lambda n: n % 2 == 0 and (n < 10 or n >= 20)),
        (group("not", even, low), lambda n: not (n % 2 == 0 or n < 10)),
        (group("or", group("not", group("and", even, low)), one("n", "in", [4])), lambda n: n % 2 or n >= 10 or n == 4),
        (group("and", one("tags", "any", ["t1", "t9"]), one("n", "nin", [1, 4])), lambda n: n % 3 == 1 and n > 4),
        (group("and", one("tags", "all", ["t0"]), one("n", "!=", 3)), lambda n: n % 3 == 0 and n != 3),
        (group("and", one("absent", "is_empty"), one("even", "contains", "x")), lambda n: False),
        (group("not", one("absent", ">", 1)), lambda n: True),
    ]
    for filters, wanted in cases:
        ids = [f"{number:02}" for number in range(30) if wanted(number)]
        query = VectorStoreQuery(query_embedding=[1.0, 3.0], similarity_top_k=30, filters=filters)
        assert sorted(made.query(query).ids) == ids, filters
        assert [node.node_id for node in made.get_nodes(filters=filters)] == ids, filters
    made.delete_nodes(filters=cases[0][0])
    assert len(made.get_nodes()) == 20


def test_filters_on_sqlite(tmp_path):
    with SQLiteKnowledgeStore(path=tmp_path / "k.db") as store:
        check_filters(PersistentVectorStore(store))


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")  # to a server on this machine
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_filters_on_servers(name, asynchronous, request):
    with request.getfixturevalue(name).space() as options:
        store = CLASSES[name][asynchronous](**options)
        check_filters(PersistentVectorStore(store, collection="numbers"))
        closed = store.close()
        if closed is not None:
            asyncio.run(closed)


def check_writers(chat, writers, turns):
    """Everything is there once, and each writer's is in its order."""
    texts = [message.content for message in chat]
    assert len(texts) == writers * turns
    for writer in range(writers):
        mine = [text for text in texts if text.split()[0] == str(writer)]
        assert mine == [f"{writer} {number}" for number in range(turns)]


def test_eight_threads_on_one_key_of_a_server_lose_nothing(postgres):
    with postgres.space() as options, PostgresConversationStore(**options) as store:
        chat = PersistentChatStore(store)

        def write(writer):
            for number in range(20):
                chat.add_message("s", ChatMessage(f"{writer} {number}"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        check_writers(chat.get_messages("s"), 8, 20)


def test_64_tasks_on_one_key_of_a_server_lose_nothing(postgres):
    async def work(options):
        async with AsyncPostgresConversationStore(**options) as store:
            chat = PersistentChatStore(store)

            async def write(writer):
                for number in range(5):
                    await chat.async_add_message("s", ChatMessage(f"{writer} {number}"))

            await asyncio.gather(*map(write, range(64)))
            check_writers(await chat.aget_messages("s"), 64, 5)

    with postgres.space() as options:
        asyncio.run(work(options))


CALL = ToolCallBlock(tool_call_id="call-1", tool_name="weather", tool_kwargs={"city": "Lisbon"})
MESSAGES = [
    ChatMessage("hi"),
    ChatMessage([CALL], role="assistant"),
    ChatMessage("17 degrees", role="tool", additional_kwargs={"tool_call_id": "call-1", "name": "weather"}),
    ChatMessage("It is warm.", role="assistant"),
    ChatMessage([TextBlock(text="And here?"), ImageBlock(url="https://example.com/a.png")]),
]


def test_the_command_line_langchain_and_db_read_what_llamaindex_wrote(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/c.db"
    with SQLiteConversationStore(path=tmp_path / "c.db") as store:
        PersistentChatStore(store).set_messages("s", MESSAGES)
        found = PersistentChatMessageHistory(store, "s").messages
    assert [type(message) for message in found] == [HumanMessage, AIMessage, ToolMessage, AIMessage, HumanMessage]
    assert (found[1].content, found[1].tool_calls[0]["args"]) == ("", {"city": "Lisbon"})
    assert (found[2].content, found[2].tool_call_id, found[2].name) == ("17 degrees", "call-1", "weather")
    assert found[4].content[1] == {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert main(["show", "s", "--json", "--conversation-url", url]) == 0
    shown = json.loads(capsys.readouterr().out)["messages"]
    assert [message["role"] for message in shown] == ["user", "assistant", "tool", "assistant", "user"]
    assert shown[1]["tool_calls"][0]["function"]["name"] == "weather"
    with db(database_url=url) as agent:
        resumed = agent.on_agent_start("helper", "s")
    assert [(message.role, message.content) for message in resumed[:4]] == [
        ("user", "hi"),
        ("assistant", None),
        ("tool", "17 degrees"),
        ("assistant", "It is warm."),
    ]


def test_llamaindex_reads_what_langchain_wrote_and_leaves_it_as_it_is(tmp_path):
    written = [
        HumanMessage("hi", id="h", name="ada"),
        AIMessage(
            "", tool_calls=[{"name": "weather", "args": {"city": "Lisbon"}, "id": "call-1"}], response_metadata={"x": 1}
        ),
        ToolMessage("17 degrees", tool_call_id="call-1", name="weather", artifact={"raw": 17}),
        HumanMessage([{"type": "text", "text": "And here?"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]),
    ]
    with SQLiteConversationStore(path=tmp_path / "c.db") as store:
        history, chat = PersistentChatMessageHistory(store, "s"), PersistentChatStore(store)
        history.add_messages(written)
        found = chat.get_messages("s")
        assert [message.role.value for message in found] == ["user", "assistant", "tool", "user"]
        assert found[1].blocks == [TextBlock(text=""), CALL]
        assert found[2] == MESSAGES[2]
        assert [type(block) for block in found[3].blocks] == [TextBlock, ImageBlock]
        chat.set_messages("s", [*found, ChatMessage("more")])
        before, more = history.messages[:-1], history.messages[-1]
        assert (before, more.content) == (written, "more")
