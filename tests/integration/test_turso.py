"""Turso against the conformance kit: a libSQL server, and a local file."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from adoption import FileAdoptionTests
from engines import json_request
from lifecycles import Embedded, Networked

from praisonai_persistence import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConfigurationError,
    ConnectionFailedError,
    DimensionError,
    SchemaError,
    SerializationError,
    StoreNotFoundError,
)
from praisonai_persistence.testing import (
    ConversationStoreSuite,
    KnowledgeStoreSuite,
    StateStoreSuite,
    StoreSpec,
)
from praisonai_persistence_turso import (
    AsyncTursoConversationStore,
    AsyncTursoKnowledgeStore,
    AsyncTursoStateStore,
    TursoConversationStore,
    TursoKnowledgeStore,
    TursoStateStore,
)

MODULE = "praisonai_persistence_turso"


def _spec(kind: str, **options: object) -> StoreSpec:
    name = f"Turso{kind.capitalize()}Store"
    return StoreSpec(kind, sync=f"{MODULE}:{name}", async_=f"{MODULE}:Async{name}", options=options)


class OnServer(Networked):
    backend = "turso (server)"
    kind: str

    @pytest.fixture
    def spec(self, turso) -> Iterator[StoreSpec]:
        with turso.space() as options:
            yield _spec(self.kind, **options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return _spec(self.kind, url="turso://127.0.0.1:9?tls=false", timeout=2)

    @pytest.fixture
    def server(self, turso):
        return turso


class InFile(Embedded):
    backend = "turso (file)"
    kind: str

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return _spec(self.kind, path=str(tmp_path / "folder" / "agent.db"))

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return _spec(self.kind, path=str(in_the_way / "agent.db"))


class TestTursoConversation(OnServer, ConversationStoreSuite):
    kind = "conversation"


@pytest.mark.quick_operations
class TestTursoState(OnServer, StateStoreSuite):
    kind = "state"


class TestTursoKnowledge(OnServer, KnowledgeStoreSuite):
    kind = "knowledge"
    largest_dimension = 65_536


@pytest.mark.quick_lifecycle
class TestTursoFileConversation(InFile, ConversationStoreSuite):
    kind = "conversation"


class TestTursoFileKnowledge(InFile, KnowledgeStoreSuite):
    kind = "knowledge"
    largest_dimension = 65_536


@pytest.mark.quick_lifecycle
class TestTursoFileState(InFile, StateStoreSuite):
    kind = "state"


# ------------------------------------------------------------------------------------------------ what the kit leaves


@pytest.fixture
def options(turso) -> Iterator[dict[str, str]]:
    with turso.space() as options:
        yield options


def test_requests_of_a_call(options, monkeypatch):
    """Those of the table in the README."""
    sent = []
    post = httpx.Client.post

    def counting(client, *arguments, **named):
        sent.append(arguments)
        return post(client, *arguments, **named)

    monkeypatch.setattr(httpx.Client, "post", counting)

    def requests_of(call, *arguments, **named) -> int:
        sent.clear()
        call(*arguments, **named)
        return len(sent)

    messages = [ConversationMessage(id=str(number), role="user", content="text") for number in range(20)]
    with TursoConversationStore(**options) as store:
        store.connect()
        assert requests_of(store.create_session, ConversationSession("s")) == 2
        assert requests_of(store.add_message, "s", ConversationMessage(role="user", content="text")) == 1
        assert requests_of(store.add_messages, "s", messages) == 4
        assert requests_of(store.get_session, "s") == 1
        assert requests_of(store.get_messages, "s", limit=50) == 1
        assert requests_of(store.count_messages, "s") == 1
        assert requests_of(store.update_session, ConversationSession("s", user_id="u")) == 3
        assert requests_of(store.delete_messages, "s", ["0"]) == 5
        assert requests_of(store.list_sessions) == 1
    with TursoStateStore(**options) as state:
        state.connect()
        assert requests_of(state.set, "key", 1) == 1
        assert requests_of(state.set, "key", 1, ttl=60) == 4
        assert requests_of(state.incr, "key") == 3
        assert requests_of(state.get, "key") == 1
    documents = [KnowledgeDocument(str(number), "text", [number, 1.0], {"n": number}) for number in range(3_000)]
    ids = [document.id for document in documents]
    with TursoKnowledgeStore(**options) as knowledge:
        knowledge.connect()
        assert requests_of(knowledge.create_collection, "docs", 2) == 2
        assert requests_of(knowledge.upsert, "docs", documents) == 2, "the collection was not known yet"
        assert requests_of(knowledge.upsert, "docs", documents) == 1
        assert requests_of(knowledge.search, "docs", [1.0, 1.0], 5, {"n": 7}) == 1
        assert requests_of(knowledge.get, "docs", ids) == 1
        assert requests_of(knowledge.count, "docs", {"n": {"$gt": 7}}) == 1
        assert requests_of(knowledge.delete, "docs", ids) == 2
        assert requests_of(knowledge.insert, "docs", documents) == 2
        assert requests_of(knowledge.delete_collection, "docs") == 2


def test_the_first_search_of_large_messages_asks_for_one_at_a_time(options, monkeypatch):
    """What does not go into one answer is asked for with the lock of writers held, until the server takes it away."""
    paths = set()
    post = httpx.Client.post

    def watching(client, path, **named):
        paths.add(path)
        return post(client, path, **named)

    monkeypatch.setattr(httpx.Client, "post", watching)
    with TursoConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        for number in range(4):
            content = f"first{number} {'picture' * 600_000} last{number}"
            store.add_message("s", ConversationMessage(id=str(number), role="user", content=content))
        assert [message.id for message in store.search_messages("first1 last1")] == ["1"]
    assert paths == {"/v3/pipeline"}


WRITES = (
    lambda store: store.update_session(ConversationSession("s", user_id="u"), expected_version=1),
    lambda store: store.upsert_session(ConversationSession("s", user_id="v")),
    lambda store: store.add_messages("s", [ConversationMessage(id=x, role="user", content=x) for x in "abc"]),
    lambda store: store.delete_messages("s", ["a"]),
    lambda store: store.fork_session("s", None, "fork"),
    lambda store: store.delete_session("fork"),
)
STATE_WRITES = (
    lambda store: store.set("key", 1, ttl=100),
    lambda store: store.incr("key"),
    lambda store: store.compare_and_set("key", 2, 3),
    lambda store: store.set_many({"a": 1, "b": 2}),
    lambda store: store.delete_many(["a", "b"]),
    lambda store: store.hset("hash", "field", 1),
    lambda store: store.hdel("hash", "field"),
)


def test_nobody_waits_for_a_writer_between_its_requests(options, monkeypatch):
    """So none that dies keeps the others waiting."""
    post = httpx.Client.post
    asked = []

    def looking(client, *arguments, **named):
        answer = post(client, *arguments, **named)
        requests = [{"type": "execute", "stmt": {"sql": sql}} for sql in ("BEGIN IMMEDIATE", "ROLLBACK")]
        began = time.monotonic()
        found = json_request(options["url"], "POST /v3/pipeline", {}, {"requests": [*requests, {"type": "close"}]})
        assert [result["type"] for result in found["results"]] == ["ok"] * 3
        asked.append(time.monotonic() - began)
        return answer

    with TursoConversationStore(**options) as store, TursoStateStore(**options) as state:
        store.create_session(ConversationSession("s"))
        state.get("key")
        monkeypatch.setattr(httpx.Client, "post", looking)
        for write in WRITES:
            write(store)
        for write in STATE_WRITES:
            write(state)
    assert len(asked) > 25
    assert max(asked) < 4, "the server gives the lock of a writer that went away to others after 5 seconds"


def test_a_write_that_another_one_overtook_is_done_once_more(options, monkeypatch):
    post = httpx.Client.post
    left = [1, 2]  # writes of the other: after the first request of the one below, and after the second

    def overtaken(client, *arguments, **named):
        answer = post(client, *arguments, **named)
        if left:
            left.pop()
            with monkeypatch.context() as plain:
                plain.setattr(httpx.Client, "post", post)
                other.incr("key")
        return answer

    with TursoStateStore(**options) as store, TursoStateStore(**options) as other:
        store.set("key", 1)
        other.get("key")
        monkeypatch.setattr(httpx.Client, "post", overtaken)
        assert store.incr("key") == 4
        assert store.get("key") == 4


def test_stores_that_were_idle_go_on(options):
    """A server ends a stream after 10 seconds without a request."""

    async def idle() -> list[int]:
        async with AsyncTursoConversationStore(**options) as store:
            with TursoConversationStore(**options) as other:
                other.create_session(ConversationSession("s"))
                await store.add_message("s", ConversationMessage(role="user", content="before"))
                await asyncio.sleep(13)
                await store.add_message("s", ConversationMessage(role="user", content="after"))
                other.add_message("s", ConversationMessage(role="user", content="after"))
                other.upsert_session(ConversationSession("s", user_id="u"))
                return [message.seq for message in await store.get_messages("s")]

    assert asyncio.run(idle()) == [1, 2, 3]


def test_one_write_of_more_than_a_request_takes(options):
    """It keeps the lock, so it is whole, and its requests stay small."""
    messages = [ConversationMessage(id=str(n), role="user", content=str(n % 10) * 3_000) for n in range(2_500)]
    with TursoConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        assert [message.seq for message in store.add_messages("s", messages)] == list(range(1, 2_501))
        assert store.delete_messages("s", [message.id for message in messages[1_000:]]) == 1_500
        assert store.count_messages("s") == 1_000


def test_more_than_the_server_answers_at_once(options):
    texts = [letter * 4_000_000 for letter in "abcd"]
    messages = [ConversationMessage(id=text[0], role="user", content=text) for text in texts]
    with TursoConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        for message in messages:
            store.add_message("s", message)
        assert [message.content == text for message, text in zip(store.get_messages("s"), texts, strict=True)] == [
            True
        ] * 4
        store.fork_session("s", 3, "fork")

    async def read() -> list[str]:
        async with AsyncTursoConversationStore(**options) as store:
            return [message.content for message in await store.get_messages("fork")]

    assert asyncio.run(read()) == texts[:3]


def test_a_transaction_that_somebody_left_open_ends(options):
    """After 5 seconds, by the server."""
    statement = {"type": "execute", "stmt": {"sql": "BEGIN IMMEDIATE"}}
    with TursoStateStore(**options) as store:
        store.set("key", 1)
        json_request(options["url"], "POST /v3/pipeline", {}, {"requests": [statement]})
        assert store.incr("key") == 2
        assert store.get("key") == 2


def test_a_token_that_is_wrong_or_missing(turso_locked):
    token = turso_locked.url.partition("//:")[2].partition("@")[0]
    with turso_locked.space() as options:
        with TursoStateStore(**options) as store:
            store.set("key", 1)
            assert store.get("key") == 1
        bare = options["url"].replace(f":{token}@", "")
        for wrong in ({"url": bare}, {"url": bare, "auth_token": token[:-8] + "AAAAAAAA"}):
            with TursoStateStore(**wrong) as store, pytest.raises(ConnectionFailedError, match="auth_token") as caught:
                store.get("key")
            assert token[:20] not in str(caught.value)


def test_a_token_that_may_only_read_or_has_expired(turso_locked):
    with turso_locked.space() as options, TursoConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        address = options["url"].partition("@")[2]
        reads, ended = turso_locked.token(a="ro"), turso_locked.token(a="rw", exp=int(time.time()) - 1000)
        with TursoConversationStore(f"turso://:{reads}@{address}") as reader:
            assert reader.get_session("s") is not None
            with pytest.raises(ConnectionFailedError, match="auth_token only read: make one with full access"):
                reader.add_message("s", ConversationMessage(content="refused"))
            assert reader.get_messages("s") == []
        late = TursoConversationStore(f"turso://:{ended}@{address}")
        with late, pytest.raises(ConnectionFailedError, match="auth_token has expired"):
            late.get_session("s")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b""),
        (301, b""),
        (200, b"<html>hello</html>"),
        (200, b""),
        (200, b"{}"),
        (200, b"[1]"),
        (200, b'{"results":[]}'),
    ],
)
def test_what_is_no_server_of_libsql_is_told_as_such(status, body):
    """Another program at this URL, a database that was deleted, or a server older than the protocol."""

    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with TursoStateStore(f"http://127.0.0.1:{server.server_port}") as store:
            for call in (lambda: store.get("key"), lambda: store.set("key", 1)):
                with pytest.raises(
                    ConnectionFailedError, match="does not answer as libSQL's server does: check the URL"
                ):
                    call()
        server.shutdown()


def test_tables_that_may_not_be_made(options):
    with TursoStateStore(**options, create_schema=False) as store, pytest.raises(SchemaError, match="create_schema"):
        store.get("key")
    store = TursoConversationStore(**options)
    store.expect_existing()
    with store, pytest.raises(StoreNotFoundError):
        store.list_sessions()


@pytest.fixture(params=["file", "server"])
def place(request, tmp_path):
    """Options of a store, and what executes a statement where it is."""
    if request.param == "server":
        with request.getfixturevalue("turso").space() as options:
            yield {**options, "table_prefix": "praison_"}, request.getfixturevalue("turso").execute
        return

    def execute(sql: str) -> None:
        connection = sqlite3.connect(tmp_path / "agent.db")
        try:
            with connection:
                connection.execute(sql)
        finally:
            connection.close()

    yield {"path": tmp_path / "agent.db", "table_prefix": "praison_"}, execute


def test_a_table_that_somebody_else_made_is_left_alone(place):
    options, execute = place
    execute("CREATE TABLE praison_vector_collections (theirs TEXT)")
    with TursoKnowledgeStore(**options) as store:
        for call in (store.list_collections, lambda: store.create_collection("docs", 2)):
            with pytest.raises(SchemaError, match="praison_vector_collections was not made by this store"):
                call()
        assert store.schema_status().version == 0
    with TursoKnowledgeStore(**{**options, "table_prefix": "mine_"}) as store:
        store.create_collection("docs", 2)
        assert store.list_collections() == ["docs"]


def test_a_collection_made_anew_by_another_store_is_another_one(place):
    """One that the first store still knows has another dimension, or is gone: nothing is written to the wrong place."""
    options, _ = place
    document = KnowledgeDocument("one", "text", [1.0, 0.0])
    with TursoKnowledgeStore(**options) as store, TursoKnowledgeStore(**options) as other:
        store.create_collection("docs", 2)
        store.upsert("docs", [document])
        other.delete_collection("docs")
        for call in (lambda: store.upsert("docs", [document]), lambda: store.search("docs", [1.0, 0.0])):
            with pytest.raises(CollectionNotFoundError):
                call()
        other.create_collection("docs", 3, distance="dot")
        with pytest.raises(DimensionError):
            store.upsert("docs", [document])
        store.upsert("docs", [KnowledgeDocument("two", "text", [1.0, 0.0, 2.0])])
        assert [found.score for found in other.search("docs", [1.0, 0.0, 1.0])] == [3.0]
        assert store.delete("docs", ["one", "two"]) == 1


def test_one_batch_of_more_than_a_request_takes(place):
    """It keeps the lock, so it is whole: the last document has no room."""
    options, _ = place
    documents = [KnowledgeDocument(str(n), str(n % 10) * 3_000, [1.0, n]) for n in range(3_000)]
    with TursoKnowledgeStore(**options) as store, TursoKnowledgeStore(**options) as other:
        store.create_collection("docs", 2)
        other.count("docs")
        store.delete_collection("docs")
        store.create_collection("docs", 2)  # the other one has to find that out in the middle of its write
        other.upsert("docs", documents)
        assert store.count("docs") == 3_000
        found = store.get("docs", [str(n) for n in range(3_000)])
        assert [item.content for item in found] == [item.content for item in documents]
        store.insert("docs", [KnowledgeDocument(f"new {n}", "x" * 3_000, [1.0, n]) for n in range(3_000)])
        assert other.count("docs") == 6_000


def test_what_a_server_has_no_room_for_is_refused(options):
    with TursoKnowledgeStore(**options) as store:
        store.create_collection("docs", 2)
        many = {f"key {number}": number for number in range(60_000)}  # whose tokens take more than they do themselves
        small = KnowledgeDocument("small", "text", [1.0, 0.0])
        with pytest.raises(SerializationError, match="nothing was written"):
            store.upsert("docs", [small, KnowledgeDocument("large", "text", [1.0, 0.0], many)])
        assert store.count("docs") == 0
        with pytest.raises(DimensionError, match="65,536"):
            store.create_collection("wide", 65_537)
        assert store.list_collections() == ["docs"]
        store.create_collection("wide", 65_536)
        store.upsert("wide", [KnowledgeDocument("wide", "text", [1.0] * 65_536)])
        assert [found.id for found in store.search("wide", [1.0] * 65_536)] == ["wide"]


def test_many_tasks_make_one_collection(place):
    options, _ = place

    async def main() -> list[str]:
        async with AsyncTursoKnowledgeStore(**options) as store, AsyncTursoKnowledgeStore(**options) as other:
            await asyncio.gather(*((store, other)[n % 2].create_collection("docs", 2) for n in range(16)))
            batches = [[KnowledgeDocument(f"{n} {i}", "text", [1.0, i]) for i in range(20)] for n in range(16)]
            await asyncio.gather(*((store, other)[n % 2].insert("docs", batches[n]) for n in range(16)))
            assert await other.count("docs") == 320
            return await store.list_collections()

    assert asyncio.run(main()) == ["docs"]


def test_forms_of_a_url():
    assert TursoStateStore("http://127.0.0.1:9").backend == "turso"
    with pytest.raises(ConfigurationError, match="tls"):
        TursoStateStore("http://127.0.0.1:9", tls=True)
    with pytest.raises(ConfigurationError, match="server"):
        TursoStateStore("turso:///agent.db", auth_token="x")
    with pytest.raises(ConfigurationError, match="replicas"):
        TursoStateStore("turso:///agent.db", sync_url="http://127.0.0.1:9")


def test_a_file_is_a_database_of_sqlite(tmp_path):
    path = tmp_path / "agent.db"
    with TursoConversationStore(path=path) as store:
        store.create_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage(role="user", content="text"))
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT content FROM praison_messages").fetchall() == [("text",)]
    connection.close()


class TestAdoptionInFile(FileAdoptionTests):
    """Of files, which are SQLite's; a column may hold anything there. Below: the same on a server, in short."""

    sync, async_ = TursoConversationStore, AsyncTursoConversationStore


_SAID = "INSERT INTO {{0}}messages (id, session_id, role, content, created_at) VALUES ({0})"
LEGACY = (
    (
        "CREATE TABLE {0}sessions (session_id TEXT PRIMARY KEY, user_id TEXT, agent_id TEXT, name TEXT, {1}"
        " metadata TEXT, created_at REAL, updated_at REAL)"
    ),
    (
        "CREATE TABLE {0}messages (id TEXT PRIMARY KEY, session_id TEXT, role TEXT, content TEXT, {2} metadata TEXT,"
        " created_at REAL)"
    ),
    (
        "INSERT INTO {0}sessions (session_id, user_id, metadata, created_at, updated_at)"
        " VALUES ('s', 'ada', '{{\"a\": 1}}', 1000.25, 1001.5)"
    ),
    _SAID.format("'m2', 's', 'user', 'first', 1000.5"),
    _SAID.format("'m1', 's', 'user', 'second é', 1000.5"),
    _SAID.format("'m0', 'lost', 'user', 'orphan', 5"),
)
"""What PraisonAI's own store for Turso writes; older releases without some columns."""
NEWER = ("state TEXT,", "tool_calls TEXT, tool_call_id TEXT,")


@pytest.mark.parametrize("by_itself", [True, False], ids=["connecting", "asked"])
@pytest.mark.parametrize("columns", [NEWER, ("", "")], ids=["today's", "older"])
def test_tables_of_praisonai_are_taken_over_when_asked(place, columns, by_itself):
    options, execute = place
    for sql in LEGACY:
        execute(sql.format(options["table_prefix"], *columns))
    way = "migrate --adopt.*store.adopt_legacy.*adopt_legacy=True"
    with TursoConversationStore(**options) as store, pytest.raises(SchemaError, match=way):
        store.list_sessions()
    with TursoConversationStore(**options) as store:
        (legacy,) = store.schema_status().legacy
        assert (legacy.sessions, legacy.messages) == (1, 3)
        assert store.adopt_legacy(dry_run=True).sessions == 2
    with TursoConversationStore(**options, adopt_legacy=by_itself) as store:
        if not by_itself:
            assert store.adopt_legacy().kept_as == ("praison_sessions_legacy", "praison_messages_legacy")
        found = {session.session_id: session for session in store.list_sessions()}
        assert set(found) == {"s", "lost"}
        assert (found["s"].user_id, found["s"].metadata, found["s"].updated_at) == ("ada", {"a": 1}, 1001.5)
        messages = store.get_messages("s")
        assert [(item.id, item.content, item.seq) for item in messages] == [("m2", "first", 1), ("m1", "second é", 2)]
        assert store.add_message("s", ConversationMessage(role="user", content="third")).seq == 3
    with TursoConversationStore(**options, adopt_legacy=True) as store:
        assert store.count_messages("s") == 3
    with pytest.raises(ConfigurationError, match="adopt_legacy"):
        TursoStateStore(**options, adopt_legacy=True)


def test_a_store_looks_at_its_tables_again_after_they_were_migrated(place):
    options, _ = place

    async def later() -> list[int]:
        async with AsyncTursoStateStore(**options) as store:
            versions = [(await store.schema_status()).version]
            await store.set("key", 1)
            await store.delete("key")
            assert (await store.migrate_schema(0)).after == 0
            versions.append((await store.schema_status()).version)
            assert await asyncio.gather(*(store.get("key") for _ in range(4))) == [None] * 4
            return [*versions, (await store.schema_status()).version]

    with TursoConversationStore(**options) as store:
        assert store.list_sessions() == []
        change = store.migrate_schema(0)
        assert (change.before, change.after) == (1, 0)
        assert store.schema_status().version == 0
        store.create_session(ConversationSession("s"))
        assert store.schema_status().version == 1
        assert store.get_session("s") is not None
    assert asyncio.run(later()) == [0, 0, 1]


def test_asking_for_the_version_makes_no_file(tmp_path):
    for path in (tmp_path / "agent.db", tmp_path / "folder" / "agent.db"):
        with TursoConversationStore(path=path) as store:
            assert store.schema_status().version == 0
            assert store.migrate_schema(dry_run=True).statements
            assert store.adopt_legacy(dry_run=True) is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("not a folder")
    with TursoConversationStore(path=tmp_path / "file" / "agent.db") as store, pytest.raises(ConnectionFailedError):
        store.schema_status()


def test_many_tasks_on_one_session(place):
    """64 at once: the numbers have no gap, and nobody gets an error."""
    options, _ = place

    async def main() -> tuple[list[int], list[str]]:
        async with AsyncTursoConversationStore(**options) as store, AsyncTursoConversationStore(**options) as other:
            await store.create_session(ConversationSession("s"))
            added = await asyncio.gather(
                *(
                    (store, other)[n % 2].add_message("s", ConversationMessage(id=str(n), role="user", content="x"))
                    for n in range(64)
                )
            )
            there = {message.id: message.seq for message in await store.get_messages("s")}
            assert there == {message.id: message.seq for message in added}
            return sorted(there.values()), sorted(there, key=int)

    assert asyncio.run(main()) == (list(range(1, 65)), [str(n) for n in range(64)])
