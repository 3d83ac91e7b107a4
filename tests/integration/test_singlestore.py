"""SingleStore's stores against the conformance kit: its syntax, translated, runs on MariaDB."""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pymysql
import pytest
from adoption import AdoptionTests
from engines.singlestore import SingleStore
from lifecycles import Networked
from pymysql.constants import CLIENT

from praisonai_persistence import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConnectionFailedError,
    DocumentExistsError,
    SchemaError,
)
from praisonai_persistence.memory import MemoryKnowledgeStore
from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StoreSpec
from praisonai_persistence_singlestore import (
    AsyncSingleStoreConversationStore,
    SingleStoreConversationStore,
    SingleStoreVectorKnowledgeStore,
)

MODULE = "praisonai_persistence_singlestore"


def _spec(name: str, **options: Any) -> StoreSpec:
    kind = "knowledge" if "Knowledge" in name else "conversation"
    return StoreSpec(kind, sync=f"{MODULE}:{name}", async_=f"{MODULE}:Async{name}", options=options)


NOWHERE = {"url": "singlestore://u:s3cret@127.0.0.1:9/agents", "connect_timeout": 2.0}


@pytest.fixture
def prefix(singlestore: SingleStore) -> Iterator[str]:
    before = set(singlestore.tables(""))
    yield f"t{uuid.uuid4().hex[:10]}_"
    if new := set(singlestore.tables("")) - before:  # also of the prefixes that the kit makes up
        singlestore.execute(f"DROP TABLE {', '.join(new)}")


class OnSingleStore(Networked):
    backend = "singlestore"
    name: str

    @pytest.fixture
    def server(self, singlestore: SingleStore) -> SingleStore:
        return singlestore

    @pytest.fixture
    def spec(self, singlestore: SingleStore, prefix: str) -> StoreSpec:
        return _spec(self.name, url=singlestore.url, table_prefix=prefix, retry_timeout=3.0)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return _spec(self.name, **NOWHERE)


class TestSingleStoreConversation(OnSingleStore, ConversationStoreSuite):
    name = "SingleStoreConversationStore"


@pytest.mark.quick_operations
class TestSingleStoreVector(OnSingleStore, KnowledgeStoreSuite):
    backend = "singlestore_vector"
    name = "SingleStoreVectorKnowledgeStore"


# ------------------------------------------------------------------------------------------------ what the kit leaves


@pytest.fixture
def options(singlestore: SingleStore, prefix: str) -> dict[str, Any]:
    return {"url": singlestore.url, "table_prefix": prefix}


def _message(name: str) -> ConversationMessage:
    return ConversationMessage(id=name, role="user", content=f"text {name}")


def test_64_tasks_on_one_session_leave_no_gap(options):
    async def main() -> None:
        async with AsyncSingleStoreConversationStore(**options, max_size=10) as store:
            await store.create_session(ConversationSession("s"))

            async def write(worker: int) -> None:
                for number in range(5):
                    await store.add_message("s", _message(f"{worker}-{number}"))

            await asyncio.gather(*(write(worker) for worker in range(64)))
            assert [message.seq for message in await store.get_messages("s")] == list(range(1, 321))

    asyncio.run(main())


def test_eight_threads_on_one_session_leave_no_gap(options):
    with SingleStoreConversationStore(**options, max_size=4) as store:
        store.create_session(ConversationSession("s"))
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: store.add_message("s", _message(str(number))), range(200)))
        messages = store.get_messages("s")
        assert [message.seq for message in messages] == list(range(1, 201))
        assert {message.id for message in messages} == {str(number) for number in range(200)}


def test_requests_of_a_call(options):
    """Those of the table in the README."""
    sent = []
    execute = pymysql.connections.Connection._execute_command

    def counting(self, command, sql):
        sent.append(sql)
        return execute(self, command, sql)

    class Connection(pymysql.connections.Connection):
        _execute_command = counting

    def connect() -> Any:
        parts = urlsplit(options["url"])
        return Connection(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=parts.password,
            database=parts.path[1:],
            client_flag=CLIENT.MULTI_STATEMENTS,
        )

    def requests_of(call, *arguments: Any, **named: Any) -> int:
        sent.clear()
        call(*arguments, **named)
        return len(sent)

    own = {"connection_factory": connect, "table_prefix": options["table_prefix"]}
    with SingleStoreConversationStore(**own) as store:
        store.create_session(ConversationSession("s"))
        assert requests_of(store.add_message, "s", _message("a")) == 1
        assert requests_of(store.add_messages, "s", [_message("b"), _message("c")]) == 6
        assert requests_of(store.update_session, ConversationSession("s", user_id="u")) == 4
        assert requests_of(store.delete_messages, "s", ["b"]) == 6
        assert requests_of(store.get_messages, "s", limit=50) == 1
        assert requests_of(store.list_sessions) == 1
    with SingleStoreVectorKnowledgeStore(**own, index="flat") as store:
        store.create_collection("c", dimension=2)
        documents = [KnowledgeDocument(str(number), "", [1.0, number]) for number in range(10)]
        store.upsert("c", documents)
        assert requests_of(store.upsert, "c", documents) == 2
        assert requests_of(store.insert, "c", [KnowledgeDocument("new", "", [1.0, 0.0])]) == 3
        assert requests_of(store.search, "c", [1.0, 0.0]) == 2


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_an_index_is_used_where_there_are_many(options, distance):
    """And a filter, or few documents, are searched exactly."""
    number = random.Random(7)
    documents = [
        KnowledgeDocument(str(n), "", [number.gauss(0, 1) for _ in range(8)], {"even": n % 2 == 0}) for n in range(1500)
    ]
    query = documents[3].embedding
    with SingleStoreVectorKnowledgeStore(**options, index="hnsw_flat", index_from=1200) as store:
        store.create_collection("c", dimension=8, distance=distance)
        store.upsert("c", documents)
        exact = MemoryKnowledgeStore()
        exact.create_collection("c", dimension=8, distance=distance)
        exact.upsert("c", documents)

        def same(**search: Any) -> int:
            found, wanted = (one.search("c", query, limit=20, **search) for one in (store, exact))
            return len({item.id for item in found} & {item.id for item in wanted})

        assert same() >= 15
        assert same(filters={"even": True}) == 20
        for one in (store, exact):
            one.delete("c", filters={"even": True})
        assert same() == 20


def test_racing_inserts_have_one_winner(options):
    with SingleStoreVectorKnowledgeStore(**options, max_size=8) as store:
        store.create_collection("c", dimension=2)

        def insert(worker: int) -> bool:
            try:
                store.insert("c", [KnowledgeDocument(str(n), f"{worker}", [1.0, n]) for n in range(20)])
            except DocumentExistsError:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(insert, range(8))) == 1
        assert len({document.content for document in store.get("c", [str(n) for n in range(20)])}) == 1


def test_a_collection_that_another_made_anew_is_not_the_one_that_was_opened(options):
    with SingleStoreVectorKnowledgeStore(**options) as one, SingleStoreVectorKnowledgeStore(**options) as other:
        one.create_collection("c", dimension=2)
        one.upsert("c", [KnowledgeDocument("a", "", [1.0, 0.0])])
        other.delete_collection("c")
        with pytest.raises(CollectionNotFoundError):
            one.upsert("c", [KnowledgeDocument("a", "", [1.0, 0.0])])
        other.create_collection("c", dimension=3)
        one.upsert("c", [KnowledgeDocument("a", "", [1.0, 0.0, 0.0])])
        assert other.count("c") == 1


@pytest.mark.parametrize("store", [SingleStoreConversationStore, AsyncSingleStoreConversationStore])
def test_a_wrong_password_and_a_database_that_is_not_there(options, store):
    async def connect(url: str) -> None:
        opened = store(url=url)
        try:
            await opened.connect() if store is AsyncSingleStoreConversationStore else opened.connect()
        finally:
            await opened.close() if store is AsyncSingleStoreConversationStore else opened.close()

    wrong = re.sub(r":[^:@]*@", ":wr0ng-S3cret@", options["url"])
    for url, said in ((wrong, "wrong user or password"), (options["url"] + "_nowhere", "no such database")):
        with pytest.raises(ConnectionFailedError, match=said) as caught:
            asyncio.run(connect(url))
        assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("used_before", [False, True])
def test_a_refused_migration_leaves_no_lock(singlestore, prefix, used_before):
    """Neither in its own connection nor for others, and where another store has made the table of versions."""
    options = {"url": singlestore.url, "table_prefix": prefix}
    if used_before:
        with SingleStoreVectorKnowledgeStore(**options) as knowledge:
            knowledge.create_collection("c", dimension=2)
    with SingleStoreConversationStore(**options) as store, SingleStoreConversationStore(**options) as other:
        store.create_session(ConversationSession("s"))
        with pytest.raises(SchemaError, match="sessions"):
            store.migrate_schema(0)
        locks = singlestore.execute(f"SELECT version FROM `{prefix}schema` WHERE component = 'lock'")
        assert list(locks) == []
        with ThreadPoolExecutor(2) as pool:
            for one in (store, other):
                assert pool.submit(one.migrate_schema).result(30).statements == ()
    with SingleStoreConversationStore(**options) as store:
        assert [session.session_id for session in store.list_sessions()] == ["s"]


# ------------------------------------------------------------------------------------------------ what PraisonAI wrote


class TestAdoption(AdoptionTests):
    sync, async_ = SingleStoreConversationStore, AsyncSingleStoreConversationStore
    catalogue = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    types: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("session_id", "id", "user_id", "agent_id", "name", "tool_call_id"), "VARCHAR(255)"),
        **dict.fromkeys(("state", "metadata", "tool_calls"), "JSON"),
        **dict.fromkeys(("created_at", "updated_at"), "DOUBLE"),
        "role": "VARCHAR(50)",
        "content": "LONGTEXT",
    }
    unchecked = "SET FOREIGN_KEY_CHECKS = 0"
    keeps_order = False
    kill_before = (1, 3)

    @pytest.fixture
    def place(self, singlestore: SingleStore) -> Iterator[dict[str, str]]:
        with singlestore.space() as options:
            name = urlsplit(options["url"]).path[1:]
            singlestore.execute(f"ALTER DATABASE `{name}` CHARACTER SET utf8mb4")
            yield options

    @pytest.fixture(autouse=True)
    def _untranslated(self, singlestore: SingleStore) -> None:
        self.server = urlsplit(singlestore.untranslated)

    def connect(self, options: dict[str, str]) -> Any:
        return pymysql.connect(
            host=self.server.hostname,
            port=self.server.port,
            user=self.server.username,
            password=self.server.password,
            database=urlsplit(options["url"]).path[1:],
        )
