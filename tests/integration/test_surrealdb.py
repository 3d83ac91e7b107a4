"""SurrealDB against the conformance kit: embedded in a folder and in memory, and on a server."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import engines
import pytest
from lifecycles import Embedded, Networked
from surrealdb import Surreal

from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    SchemaError,
    SerializationError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence_surrealdb import (
    AsyncSurrealDBConversationStore,
    SurrealDBConversationStore,
    SurrealDBStateStore,
    SurrealDBVectorKnowledgeStore,
)

PACKAGE = "praisonai_persistence_surrealdb"


def stores(name: str) -> dict[str, str]:
    return {"sync": f"{PACKAGE}:{name}", "async_": f"{PACKAGE}:Async{name}"}


CONVERSATION = stores("SurrealDBConversationStore")
KNOWLEDGE = stores("SurrealDBVectorKnowledgeStore")
STATE = stores("SurrealDBStateStore")


class _Folder(Embedded):
    """A folder, which a file may stand in the way of."""

    kind: str
    stores: dict[str, str]

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec(self.kind, **self.stores, options={"path": str(tmp_path / "data")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec(self.kind, **self.stores, options={"path": str(in_the_way / "data")})


class _Memory:
    """Memory, which is one store's own."""

    kind: str
    stores: dict[str, str]
    modes = ("async",)

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec(self.kind, async_=self.stores["async_"], options={"path": ":memory:"})


class TestConversationFolder(_Folder, ConversationStoreSuite):
    backend = "surrealdb (folder)"
    kind, stores = "conversation", CONVERSATION


@pytest.mark.quick_lifecycle
class TestConversationMemory(_Memory, ConversationStoreSuite):
    backend = "surrealdb (memory)"
    kind, stores = "conversation", CONVERSATION


class TestKnowledgeFolder(_Folder, KnowledgeStoreSuite):
    backend = "surrealdb_vector (folder)"
    kind, stores = "knowledge", KNOWLEDGE


class TestStateFolder(_Folder, StateStoreSuite):
    backend = "surrealdb (folder)"
    kind, stores = "state", STATE


class _Server(Networked):
    """A server, by WebSockets or by HTTP."""

    kind: str
    stores: dict[str, str]
    transport = "ws"

    @pytest.fixture
    def spec(self, surrealdb) -> Iterator[StoreSpec]:
        with surrealdb.space() as options:
            yield StoreSpec(self.kind, **self.stores, options={**options, "transport": self.transport})

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        options = {"url": "ws://127.0.0.1:9/rpc", "connect_timeout": 1, "transport": self.transport}
        return StoreSpec(self.kind, **self.stores, options=options)

    @pytest.fixture
    def server(self, surrealdb):
        if not surrealdb.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return surrealdb


class TestConversationServer(_Server, ConversationStoreSuite):
    backend = "surrealdb"
    kind, stores = "conversation", CONVERSATION


@pytest.mark.quick_lifecycle
class TestStateHttp(_Server, StateStoreSuite):
    backend = "surrealdb (HTTP)"
    kind, stores, transport = "state", STATE, "http"


@pytest.mark.quick_lifecycle
class TestKnowledgeServer(_Server, KnowledgeStoreSuite):
    backend = "surrealdb_vector"
    kind, stores = "knowledge", KNOWLEDGE


# ---------------------------------------------------------------------------------------------------------- signing in


@pytest.fixture
def place(surrealdb) -> Iterator[dict[str, Any]]:
    """Where a server is, a namespace of the test's own, and root's name and password."""
    with surrealdb.space() as options:
        parts = urlsplit(options["url"])
        user = {"username": parts.username, "password": parts.password}
        yield {"url": f"ws://{parts.hostname}:{parts.port}/rpc", "namespace": options["namespace"], **user}


@pytest.mark.parametrize("transport", ["ws", "http"])
@pytest.mark.parametrize("given", [{"password": "wr0ng"}, {"username": None, "password": None}, {"token": "a.b.c"}])
def test_who_may_not_sign_in_is_told_what_to_check(place, transport, given) -> None:
    given = {**place, **given, "transport": transport}
    if "token" in given:
        given.update(username=None, password=None)
    with SurrealDBStateStore(**given) as store, pytest.raises(ConnectionFailedError, match="auth_level") as caught:
        store.get("key")
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("level", ["namespace", "database"])
def test_a_user_of_a_namespace_or_a_database_signs_in(surrealdb, place, level) -> None:
    with SurrealDBStateStore(**place) as store:
        store.set("key", 1)
    user = f"DEFINE USER keeper ON {level} PASSWORD 'other' ROLES EDITOR"
    surrealdb.execute(user, place["namespace"], "state")
    given = {**place, "username": "keeper", "password": "other", "auth_level": level}
    with SurrealDBStateStore(**given) as store:
        assert store.incr("key") == 2
    if level == "database":
        with SurrealDBStateStore(**given, database="elsewhere") as store, pytest.raises(ConnectionFailedError):
            store.get("key")


@pytest.mark.parametrize("transport", ["ws", "http"])
def test_a_user_who_may_only_read_reads_and_writes_nothing(surrealdb, place, transport) -> None:
    """The server passes over what such a user writes, and says nothing."""
    role = "DEFINE USER viewer ON NAMESPACE PASSWORD 'other' ROLES VIEWER"
    given = {**place, "transport": transport}
    reader = {**given, "username": "viewer", "password": "other", "auth_level": "namespace"}
    with (
        SurrealDBConversationStore(**given) as store,
        SurrealDBStateStore(**given) as state,
        SurrealDBVectorKnowledgeStore(**given) as vectors,
    ):
        store.create_session(ConversationSession("s"))
        state.set("key", 1)
        vectors.create_collection("c", 1)
        surrealdb.execute(role, place["namespace"], "state")
        with SurrealDBConversationStore(**reader) as reading:
            assert reading.get_session("s") is not None
            for write in (
                lambda: reading.add_message("s", ConversationMessage("m")),
                lambda: reading.add_messages("s", [ConversationMessage("m")]),
                lambda: reading.create_session(ConversationSession("t")),
                lambda: reading.delete_session("s"),
            ):
                with pytest.raises(BackendError, match="only read: sign in as an EDITOR"):
                    write()
        with SurrealDBStateStore(**reader) as reading_state:
            assert reading_state.get("key") == 1
            with pytest.raises(BackendError, match="only read"):
                reading_state.set("key", 2)
        with SurrealDBVectorKnowledgeStore(**reader) as reading_vectors:
            assert reading_vectors.count("c") == 0
            with pytest.raises(BackendError, match="only read"):
                reading_vectors.upsert("c", [KnowledgeDocument("d", "", [1.0])])
        assert (store.count_messages("s"), len(store.list_sessions()), state.get("key")) == (0, 1, 1)


@pytest.mark.parametrize("transport", ["ws", "http"])
def test_a_record_access_and_its_token_work_where_the_tables_allow_it(surrealdb, place, transport) -> None:
    with SurrealDBConversationStore(**place) as store:
        store.create_session(ConversationSession("s"))
    there = place["namespace"], "conversations"
    surrealdb.execute("CREATE person SET name = 'ada'", *there)
    signing = "SIGNIN (SELECT * FROM person WHERE name = $name)"
    surrealdb.execute(f"DEFINE ACCESS people ON DATABASE TYPE RECORD {signing}", *there)
    given = {"url": place["url"], "namespace": there[0], "transport": transport}
    access = {"access": "people", "variables": {"name": "ada"}}
    # By default they allow nothing, and the engine would do nothing, without a word.
    with SurrealDBConversationStore(**given, **access) as store, pytest.raises(SchemaError, match="PERMISSIONS"):
        store.create_session(ConversationSession("t"))
    for table in ("sessions", "messages", "message_ids"):
        own = f"praison_{table} TYPE NORMAL SCHEMALESS COMMENT 'praisonai-persistence conversation 1'"
        surrealdb.execute(f"DEFINE TABLE OVERWRITE {own} PERMISSIONS FULL", *there)
    with SurrealDBConversationStore(**given, **access) as store:
        assert store.add_message("s", ConversationMessage("m", "s", "user", "text")).seq == 1
    with Surreal(place["url"].replace("ws://", "http://").removesuffix("/rpc")) as client:
        who = {"namespace": there[0], "database": there[1], **access}
        token = client.signin(who).access
    with SurrealDBConversationStore(**given, token=token) as store:
        assert store.count_messages("s") == 1
        assert len(store.list_sessions()) == 1
    with (
        SurrealDBConversationStore(**given, access="people", variables={"name": "bob"}) as store,
        pytest.raises(ConnectionFailedError, match="access and variables"),
    ):
        store.get_session("s")


def test_a_place_that_is_not_there_is_not_made_where_it_must_exist(surrealdb, place) -> None:
    with SurrealDBStateStore(**place) as store:
        store.expect_existing()
        with pytest.raises(StoreNotFoundError):
            store.get("key")


# ------------------------------------------------------------------------------------------------------------- servers


@contextmanager
def front(*given: str) -> Iterator[dict[str, Any]]:
    """Start a server of the test's own; yield options of its stores."""
    port = engines.free_port()
    command = [sys.executable, engines.ENGINES["surrealdb"].programs[0], "--port", str(port), *given]
    with subprocess.Popen(command) as process:
        try:
            options = {"url": f"ws://127.0.0.1:{port}/rpc", "username": "root", "password": "root"}
            end = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < end
                    assert process.poll() is None
                    time.sleep(0.02)
            yield options
        finally:
            process.terminate()


def test_a_server_that_is_too_old_is_refused() -> None:
    with (
        front("--version", "1.5.4") as options,
        SurrealDBStateStore(**options) as store,
        pytest.raises(UnsupportedOperationError, match=r"1\.5.*upgrade"),
    ):
        store.get("key")


def test_transactions_that_conflict_are_done_again() -> None:
    with front("--conflicts", "2") as options, SurrealDBConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        with ThreadPoolExecutor(8) as pool:
            new = [ConversationMessage(f"m{n}", "s", "user", "text") for n in range(64)]
            found = list(pool.map(lambda item: store.add_message("s", item), new))
        assert sorted(item.seq for item in found) == list(range(1, 65))
        assert [item.seq for item in store.get_messages("s")] == list(range(1, 65))


@pytest.mark.parametrize("where", ["server", "folder"])
def test_64_tasks_on_one_session_leave_no_gap(tmp_path, where) -> None:
    async def main(options) -> None:
        async with AsyncSurrealDBConversationStore(**options) as store:
            await store.create_session(ConversationSession("s"))
            new = [ConversationMessage(f"m{n}", "s", "user", "text") for n in range(64)]
            found = await asyncio.gather(*(store.add_message("s", item) for item in new))
            assert sorted(item.seq for item in found) == list(range(1, 65))
            assert [item.seq for item in await store.get_messages("s")] == list(range(1, 65))

    with front() if where == "server" else nullcontext({"path": tmp_path / "folder"}) as options:
        asyncio.run(main(options))


def test_a_conflict_that_does_not_end_is_an_error_within_the_timeout() -> None:
    with (
        front("--conflicts", "1") as options,
        SurrealDBConversationStore(**options, timeout=0.5) as store,
        pytest.raises(ConnectionFailedError, match="other writers"),
    ):
        store.create_session(ConversationSession("s"))


def test_a_request_that_is_too_large_for_the_server_says_what_to_raise(place) -> None:
    with SurrealDBStateStore(**place, transport="http") as store:
        with pytest.raises(SerializationError, match="SURREAL_HTTP_MAX_RPC_BODY_SIZE"):
            store.set_many({"key": "x" * 3_000_000, "other": "x" * 3_000_000})
        assert store.get_many(["key", "other"]) == {}
        store.set("key", "x" * 1_000_000)
        assert len(store.get("key")) == 1_000_000


def test_a_store_goes_on_after_the_server_was_killed(surrealdb, place) -> None:
    if not surrealdb.restartable:
        pytest.skip("the server of the environment's URL is not ours to restart")
    with SurrealDBConversationStore(**place) as store:
        store.create_session(ConversationSession("s"))
        for number in range(3):
            store.add_message("s", ConversationMessage(f"m{number}", "s", "user", "text"))
            surrealdb.kill()
            surrealdb.start()
            assert [item.seq for item in store.get_messages("s")] == list(range(1, number + 2))
