"""PostgreSQL against the conformance kit, and what the kit does not ask of a server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import urlsplit

import asyncpg
import engines
import psycopg
import psycopg_pool
import pytest
from adoption import AdoptionTests, Old, session
from lifecycles import Networked

from praisonai_persistence import ConversationMessage, ConversationSession, open_conversation_store
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    DuplicateMessageError,
    InvalidIdentifierError,
    SchemaError,
    SessionNotFoundError,
    WrongTypeError,
)
from praisonai_persistence.testing import ConversationStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence_pg.settings import settings
from praisonai_persistence_postgres import (
    AsyncPostgresConversationStore,
    AsyncPostgresStateStore,
    PostgresConversationStore,
    PostgresStateStore,
)

MODULE = "praisonai_persistence_postgres"


def spec_of(kind: str, url: str, **options: Any) -> StoreSpec:
    name = f"Postgres{kind.capitalize()}Store"
    return StoreSpec(kind, sync=f"{MODULE}:{name}", async_=f"{MODULE}:Async{name}", options={"url": url, **options})


class OnPostgres(Networked):
    smallest_pool: ClassVar = {"max_size": 1}
    backend = "postgres"
    kind: str

    @pytest.fixture
    def spec(self, postgres):
        with postgres.space() as options:
            yield spec_of(self.kind, **options, retry_timeout=1)

    @pytest.fixture
    def unreachable_spec(self):
        url = f"postgresql://u:p4ssw0rd-x@127.0.0.1:{engines.free_port()}/d"
        return spec_of(self.kind, url, connect_timeout=1, retry_timeout=1)


class TestPostgresConversation(OnPostgres, ConversationStoreSuite):
    @pytest.fixture
    def server(self, postgres):
        return postgres


class TestPostgresState(OnPostgres, StateStoreSuite):
    @pytest.fixture
    def server(self, postgres):
        return postgres


# ------------------------------------------------------------------------------------------------- beside the kit


@pytest.fixture
def options(postgres):
    with postgres.space() as options:
        yield options


@pytest.fixture
def open_sync(options):
    """Opens sync conversation stores on the data of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **more: stack.enter_context(PostgresConversationStore(**{**options, **more}))


def in_loop(body: Callable[[AsyncPostgresConversationStore], Awaitable[Any]], **options: Any) -> Any:
    """Run a coroutine function with an async store."""

    async def main() -> Any:
        async with AsyncPostgresConversationStore(**options) as store:
            return await body(store)

    return asyncio.run(main())


def url_with(url: str, **changes: Any) -> str:
    parts = urlsplit(url)
    user, password, host, port = (
        changes.get(name, getattr(parts, name)) for name in ("username", "password", "hostname", "port")
    )
    return f"postgresql://{user}:{password}@{host}:{port}/{changes.get('database', parts.path[1:])}"


def both(options: dict[str, Any], expected: type[Exception], words: str, secret: str | None = None) -> list[Exception]:
    """Open, sync and async; each raises an error of that type whose text has those words and not the secret."""
    errors: list[Exception] = []
    with PostgresConversationStore(**options) as store, pytest.raises(expected) as caught:
        store.connect()
    errors.append(caught.value)
    with pytest.raises(expected) as caught:
        in_loop(lambda store: store.connect(), **options)
    errors.append(caught.value)
    for error in errors:
        assert words in str(error), str(error)
        assert secret is None or secret not in str(error)
    return errors


class TestTrouble:
    """Each a typed error with the way out, within the timeout."""

    def test_wrong_password(self, options):
        url = url_with(options["url"], password="wr0ng-Pa55")
        both({"url": url}, ConnectionFailedError, "password", "wr0ng-Pa55")

    def test_unknown_database(self, options):
        both({"url": url_with(options["url"], database="nowhere")}, ConnectionFailedError, "nowhere")

    def test_refused_port(self, options):
        port = engines.free_port()
        start = time.monotonic()
        both({"url": url_with(options["url"], port=port)}, ConnectionFailedError, str(port), engines.PASSWORD)
        assert time.monotonic() - start < 5, "refused at once"

    def test_a_host_that_never_answers(self):
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(1)
            url = f"postgresql://u:s3cr3t@127.0.0.1:{deaf.getsockname()[1]}/d"
            start = time.monotonic()
            both({"url": url, "connect_timeout": 2}, ConnectionFailedError, "2 seconds", "s3cr3t")
            assert time.monotonic() - start < 10

    @pytest.mark.parametrize("schema", ['a"b', "a'b", "a;b", "", "1a", "x" * 64])
    def test_a_schema_name_with_quotes(self, schema):
        for store in (PostgresConversationStore, AsyncPostgresConversationStore, PostgresStateStore):
            with pytest.raises(InvalidIdentifierError):
                store("postgresql://127.0.0.1:1/d", schema=schema)

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"url": "mysql://h/d"},
            {"url": "postgresql://h:x/d"},
            {"host": "h", "max_size": 0},
            {"host": "h", "min_size": 3, "max_size": 2},
            {"host": "h", "connect_timeout": 0},
            {"host": "h", "statement_timeout": "soon"},
            {"url": "postgresql://u:p@ep-x.eu.neon.tech/d?sslmode=disable"},
        ],
    )
    def test_options_that_cannot_be(self, wrong):
        for store in (PostgresConversationStore, AsyncPostgresStateStore):
            with pytest.raises(ConfigurationError):
                store(**wrong)

    def test_tables_of_a_newer_version(self, options, open_sync, postgres):
        open_sync().connect()
        postgres.execute(f"""UPDATE "{options["schema"]}".praison_schema SET version = 99""")
        both(options, SchemaError, "upgrade")

    def test_no_tables_and_none_may_be_made(self, options, open_sync):
        both({**options, "create_schema": False}, SchemaError, "praisonai-persistence migrate")
        open_sync().create_session(ConversationSession("s"))
        with PostgresConversationStore(**options, create_schema=False) as store:
            assert store.get_session("s") is not None

    def test_a_role_that_may_only_read(self, options, open_sync, postgres):
        open_sync().create_session(ConversationSession("s"))
        role, schema = f"r_{options['schema']}", options["schema"]
        postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'r34d'")
        try:
            postgres.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO {role}')
            postgres.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO {role}')
            reader = {**options, "url": url_with(options["url"], username=role, password="r34d")}
            with PostgresConversationStore(**reader) as store:
                assert store.get_session("s") is not None
                with pytest.raises(BackendError, match="grant"):
                    store.add_message("s", ConversationMessage(content="x"))

            async def body(store):
                assert await store.get_session("s") is not None
                with pytest.raises(BackendError, match="grant"):
                    await store.add_message("s", ConversationMessage(content="x"))

            in_loop(body, **reader)
        finally:
            postgres.execute(f'DROP OWNED BY "{role}"')
            postgres.execute(f"DROP ROLE {role}")

    def test_a_full_pool(self, open_sync, options):
        store = open_sync(max_size=1, pool_timeout=0.3)
        store.connect()
        with ThreadPoolExecutor(1) as another, store._runner._pool.lend():
            late = another.submit(store.get_session, "s")
            assert isinstance(late.exception(), ConnectionFailedError)
            assert "pool_timeout" in str(late.exception())
        assert store.get_session("s") is None

        async def body(store):
            await store.connect()
            async with store._runner._pool.lend():
                with pytest.raises(ConnectionFailedError, match="pool_timeout"):
                    await store.get_session("s")
            assert await store.get_session("s") is None

        in_loop(body, **options, max_size=1, pool_timeout=0.3)

    def test_a_statement_that_takes_too_long(self, open_sync, options, postgres):
        store = open_sync(statement_timeout=0.5)
        store.create_session(ConversationSession("s"))
        with psycopg.connect(postgres.url) as blocker:
            blocker.execute(f"""SELECT 1 FROM "{options["schema"]}".praison_sessions FOR UPDATE""")
            with pytest.raises(BackendError, match="statement_timeout"):
                store.add_message("s", ConversationMessage(content="x"))
            blocker.rollback()
        assert store.add_message("s", ConversationMessage(content="x")).seq == 1

    def test_errors_hold_no_text_of_messages(self, open_sync, options, postgres):
        store = open_sync()
        store.create_session(ConversationSession("s"))
        postgres.execute(f"""ALTER TABLE "{options["schema"]}".praison_messages ADD CHECK (role <> 'evil')""")
        with pytest.raises(BackendError) as caught:
            store.add_message("s", ConversationMessage(role="evil", content="t0p-s3cret"))
        assert "t0p-s3cret" not in str(caught.value)

    def test_serverless_hosts_get_tls_and_time(self):
        for host in ("ep-a-1.eu-central-1.aws.neon.tech", "db.x.supabase.co", "x.cockroachlabs.cloud", "x.xata.sh"):
            found = settings(f"postgresql://u:p@{host}/d", {}, None, None, None)
            assert found.parameters["sslmode"] == "require"
            assert found.connect_timeout == 30
        assert settings("postgresql://u:p@x-pooler.eu.neon.tech/d", {}, None, 5, None).server_settings == {}


def _check(messages: list[ConversationMessage], written: list[str]) -> None:
    """Nothing lost, nothing doubled, no gap."""
    assert sorted(message.id for message in messages) == sorted(written)
    assert [message.seq for message in messages] == list(range(1, len(messages) + 1))


class TestResilience:
    @pytest.mark.slow
    def test_restarts_under_eight_writers(self, open_sync, postgres):
        if not postgres.restartable:
            pytest.skip("the server is not ours to restart")
        store = open_sync(retry_timeout=30)
        store.create_session(ConversationSession("s"))
        done = threading.Event()
        written: list[list[str]] = [[] for _ in range(8)]

        def write(worker: int) -> None:
            while not done.is_set():
                name = f"{worker}-{len(written[worker])}"
                store.add_message("s", ConversationMessage(id=name, content=name))
                written[worker].append(name)

        with ThreadPoolExecutor(8) as pool:
            writers = [pool.submit(write, worker) for worker in range(8)]
            for _ in range(3):
                time.sleep(1.5)
                postgres.restart()
            time.sleep(1.5)
            done.set()
            for writer in writers:
                writer.result(60)
        _check(store.get_messages("s"), [name for names in written for name in names])

    @pytest.mark.slow
    def test_restarts_under_eight_writing_tasks(self, options, postgres):
        if not postgres.restartable:
            pytest.skip("the server is not ours to restart")

        async def body(store):
            await store.create_session(ConversationSession("s"))
            written: list[str] = []
            done = asyncio.Event()

            async def write(worker: int) -> None:
                number = 0
                while not done.is_set():
                    name = f"{worker}-{number}"
                    await store.add_message("s", ConversationMessage(id=name, content=name))
                    written.append(name)
                    number += 1

            tasks = [asyncio.create_task(write(worker)) for worker in range(8)]
            for _ in range(3):
                await asyncio.sleep(1.5)
                await asyncio.to_thread(postgres.restart)
            await asyncio.sleep(1.5)
            done.set()
            await asyncio.gather(*tasks)
            _check(await store.get_messages("s"), written)

        in_loop(body, **options, retry_timeout=30)

    def test_idle_connections_that_died_are_not_lent(self, open_sync, postgres, options):
        store = open_sync(min_size=3)
        store.create_session(ConversationSession("s"))
        kill = (
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "  # waits until it has ended
            "WHERE application_name = 'praisonai-persistence'"
        )
        postgres.execute(kill)
        assert store.delete_session("s") is True, "an operation that may not be repeated works at once"

        async def body(store):
            await store.create_session(ConversationSession("s"))
            await asyncio.to_thread(postgres.execute, kill)  # the loop goes on, and hears of it
            assert await store.delete_session("s") is True

        in_loop(body, **options)

    def test_the_same_append_at_once(self, open_sync, options):
        """Retries of one id that overlap give one message, and no gap."""
        store = open_sync()
        store.create_session(ConversationSession("s"))
        with ThreadPoolExecutor(8) as pool:
            for number in range(30):
                message = ConversationMessage(id=str(number), content="x")
                batch = [ConversationMessage(id=f"{number}-{n}", content="x") for n in range(3)]
                calls = [lambda m=message: store.add_message("s", m), lambda b=batch: store.add_messages("s", b)] * 4
                list(pool.map(lambda call: call(), calls))
        _check(store.get_messages("s"), [f"{n}{end}" for n in range(30) for end in ("", "-0", "-1", "-2")])

    def test_many_tasks_on_a_small_pool(self, options):
        async def body(store):
            for number in range(64):
                await store.create_session(ConversationSession(str(number)))

            async def write(session: str) -> None:
                for _ in range(5):
                    await store.add_message(session, ConversationMessage(content="x"))

            await asyncio.gather(*(write(str(number)) for number in range(64)))
            await asyncio.gather(*(write("0") for _ in range(64)))
            for number in range(64):
                messages = await store.get_messages(str(number))
                assert [message.seq for message in messages] == list(range(1, 326 if number == 0 else 6))

        in_loop(body, **options, max_size=10)

    def test_tasks_that_append_to_one_session_share_transactions(self, options, postgres):
        async def at_once(store, *messages):
            """Append all while the first one waits for the session's row."""
            tables = store._steps._tables
            with psycopg.connect(postgres.url) as other:
                other.execute(f"SELECT 1 FROM {tables['sessions']} WHERE session_id = 's' FOR UPDATE")
                tasks = [asyncio.create_task(store.add_message("s", message)) for message in messages]
                waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
                end = time.monotonic() + 60
                while not postgres.execute(waiting, f"%{tables['messages']}%"):
                    assert time.monotonic() < end
                    await asyncio.sleep(0.01)
            return await asyncio.gather(*tasks, return_exceptions=True)

        async def body(store):
            await store.create_session(ConversationSession("s"))
            stored = await at_once(store, *(ConversationMessage(id=str(n), content=str(n)) for n in range(50)))
            assert [(message.id, message.seq) for message in stored] == [(str(n), n + 1) for n in range(50)]
            [(transactions,)] = postgres.execute(
                f"SELECT count(DISTINCT xmin::text) FROM {store._steps._tables['messages']}"
            )
            assert transactions == 2, "the first one, and those that came while it was under way"
            found = await at_once(
                store,
                *(ConversationMessage(id=name, content="new") for name in "abc"),
                ConversationMessage(id="7", content="7"),
                ConversationMessage(id="8", content="another"),
            )
            assert [type(item) for item in found] == [*[ConversationMessage] * 4, DuplicateMessageError]
            assert found[3] == stored[7]
            _check(await store.get_messages("s"), [*map(str, range(50)), *"abc"])

        in_loop(body, **options)

    def test_eight_threads(self, open_sync):
        store = open_sync(max_size=3)
        store.create_session(ConversationSession("s"))
        with ThreadPoolExecutor(8) as pool:
            seqs = list(pool.map(lambda n: store.add_message("s", ConversationMessage(content=str(n))).seq, range(400)))
        assert sorted(seqs) == list(range(1, 401))

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
    def test_a_store_that_is_used_in_one_loop_after_the_other(self, options):
        store = AsyncPostgresConversationStore(**options)
        asyncio.run(store.create_session(ConversationSession("s")))
        assert asyncio.run(store.get_session("s")) is not None
        asyncio.run(store.close())
        gc.collect()  # a loop that is closed cannot close its sockets; Python says so here, not in another test

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
    def test_cancelled_calls_leave_no_failures_that_nobody_looked_at(self, options):
        """They are cancelled at many places, those of connecting among them."""
        told = []

        async def main(wait):
            asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
            store = AsyncPostgresConversationStore(**options)
            calls = [asyncio.create_task(store.list_sessions()) for _ in range(30)]
            await asyncio.sleep(wait)
            for call in calls[::2]:
                call.cancel()
            await asyncio.wait(calls)

        for number in range(12):
            asyncio.run(main(number * 0.002))
            gc.collect()
        assert told == []

    @pytest.mark.slow
    def test_twenty_processes_that_start_at_once(self, options):
        code = (
            "import sys, json; sys.stdin.readline()\n"
            "from praisonai_persistence_postgres import PostgresConversationStore as Store, PostgresStateStore\n"
            "options = json.loads(sys.argv[1])\n"
            "with Store(**options) as store, PostgresStateStore(**options) as state:\n"
            "    store.connect(); print(state.incr('n'))\n"
        )
        command = [sys.executable, "-c", code, json.dumps(options)]
        pipe = subprocess.PIPE
        children = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(20)]
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        results = [child.communicate(timeout=120) for child in children]
        assert [error for _, error in results] == [""] * 20
        assert sorted(int(output) for output, _ in results) == list(range(1, 21))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_child_has_connections_of_its_own(self, open_sync):
        store = open_sync()
        store.create_session(ConversationSession("s"))
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                for _ in range(20):
                    store.add_message("s", ConversationMessage(content="child"))
                store.close()
                status = 0
            os._exit(status)
        for _ in range(20):
            store.add_message("s", ConversationMessage(content="parent"))
        assert os.waitpid(child, 0)[1] == 0
        store.add_message("s", ConversationMessage(content="parent"))
        assert [message.seq for message in store.get_messages("s")] == list(range(1, 42))


class TestHandedIn:
    def test_a_pool(self, options, postgres):
        with psycopg_pool.ConnectionPool(postgres.url, min_size=1, open=True) as pool:
            for _ in range(2):
                with PostgresConversationStore(pool=pool, schema=options["schema"]) as store:
                    store.upsert_session(ConversationSession("s"))
                    assert store.add_message("s", ConversationMessage(content="x")).seq
            with pool.connection() as connection:
                assert connection.autocommit is False, "as it was"
                assert connection.execute("SELECT 1").fetchone() == (1,)

    def test_an_async_pool(self, options, postgres):
        async def main():
            async with asyncpg.create_pool(postgres.url, min_size=1) as pool:
                for _ in range(2):
                    async with AsyncPostgresConversationStore(pool=pool, schema=options["schema"]) as store:
                        await store.upsert_session(ConversationSession("s"))
                        assert (await store.add_message("s", ConversationMessage(content="x"))).seq
                assert await pool.fetchval("SELECT 1") == 1

        asyncio.run(main())

    def test_a_connection_factory(self, options, postgres):
        made = []

        def connect():
            made.append(psycopg.connect(postgres.url))
            return made[-1]

        with PostgresConversationStore(connection_factory=connect, schema=options["schema"]) as store:
            store.create_session(ConversationSession("s"))
        assert len(made) == 1
        assert made[0].closed

        async def aconnect():
            return await asyncpg.connect(postgres.url)

        async def body(store):
            assert await store.get_session("s") is not None

        in_loop(body, connection_factory=aconnect, schema=options["schema"])

    def test_opening_that_is_called_off_leaves_no_connection(self, options, postgres):
        made = []

        async def body(store):
            task = asyncio.create_task(store.connect())
            await second.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert made[0].is_closed()

        async def connect():
            if made:
                second.set()
                await asyncio.Event().wait()
            made.append(await asyncpg.connect(postgres.url))
            return made[0]

        second = asyncio.Event()
        in_loop(body, connection_factory=connect, schema=options["schema"], min_size=2)


def test_names_and_schemes_lead_here(options):
    url = options["url"].replace("postgresql://", "{}://")
    for scheme in ("postgres", "postgresql", "neon", "cockroachdb", "crdb"):
        with open_conversation_store(url.format(scheme), cockroach=False, schema=options["schema"]) as store:
            assert isinstance(store, PostgresConversationStore)
            store.connect()
    store = open_conversation_store(url.format("postgresql+asyncpg"))
    assert isinstance(store, AsyncPostgresConversationStore)
    assert type(store)._async


@pytest.mark.parametrize("size", [3, 250])
def test_batches_are_alike_whatever_way_they_take(options, open_sync, size):
    """A small one is a statement, a large one COPY, and one of which something is there already an INSERT."""

    def batch(start: int) -> list[ConversationMessage]:
        metadata = {"a": ["\t\\N\n", None, 1.0]}
        messages = [
            ConversationMessage(id=f"{number}\x1a|\\N", content=f"a\tb\\.\n{number}\0\x1a", metadata=metadata)
            for number in range(start, start + size)
        ]
        messages[1].content, messages[1].metadata = None, None
        return messages

    store = open_sync()
    store.create_session(ConversationSession("s"))
    first = batch(0)
    other = ConversationMessage(id=first[-1].id, content="another")
    assert [message.seq for message in store.add_messages("s", first)] == list(range(1, size + 1))
    assert [message.seq for message in store.add_messages("s", first)] == list(range(1, size + 1)), "a retry"
    with pytest.raises(DuplicateMessageError):
        store.add_messages("s", [*batch(size), other])
    with pytest.raises(SessionNotFoundError):
        store.add_messages("nowhere", first)
    twice = batch(size)
    stored = store.add_messages("s", [*twice, twice[0]])
    assert stored[-1] == stored[0]

    async def body(store):
        found = await store.add_messages("s", batch(2 * size))
        assert [message.seq for message in found] == list(range(2 * size + 1, 3 * size + 1))
        found = await store.add_messages("s", [*first, *batch(3 * size)])
        assert [message.seq for message in found] == [*range(1, size + 1), *range(3 * size + 1, 4 * size + 1)]
        with pytest.raises(DuplicateMessageError):
            await store.add_messages("s", [*batch(4 * size), other])
        with pytest.raises(SessionNotFoundError):
            await store.add_messages("nowhere", first)

    in_loop(body, **options)
    messages = store.get_messages("s")
    assert [message.seq for message in messages] == list(range(1, 4 * size + 1))
    written_ones = [message for start in range(4) for message in batch(start * size)]
    for message, written in zip(messages, written_ones, strict=True):
        assert (message.id, message.content, message.metadata) == (written.id, written.content, written.metadata)


def test_one_round_trip_and_one_sync_for_an_append(open_sync, postgres, options):
    """An append is one statement and one commit."""
    store = open_sync(max_size=1)
    store.create_session(ConversationSession("s"))
    sent = statements_of(store)
    store.add_message("s", ConversationMessage(content="x"))
    assert len(sent) == 1
    assert sent[0].startswith("WITH s AS (UPDATE")


def statements_of(store: Any) -> list[str]:
    """Return a list to which the statements of a store with one connection are added from here on."""
    sent: list[str] = []
    loan = store._runner._pool.lend()
    with loan as connection:
        cursor = connection._cursor
        connection._cursor = type("Spy", (), {
            "execute": lambda self, sql, *rest, **more: (sent.append(sql), cursor.execute(sql, *rest, **more))[1],
            "fetchall": lambda self: cursor.fetchall(),
            "rowcount": property(lambda self: cursor.rowcount),
        })()  # fmt: skip
        loan.end()
    return sent


def test_several_keys_are_one_round_trip_also_as_text_that_asks_for_quotes(options):
    """And one statement, however many they are."""
    with PostgresStateStore(**options, max_size=1) as store:
        store.set("x", 0)
        sent = statements_of(store)
        for size in (2, 700):
            values = {f"a\"{{,}}\\%s' NULL{number}": number for number in range(size)}
            store.set_many(values)
            assert store.get_many([*values, "b"]) == values
            assert store.scan_prefixes(["a", "b"]) == {"a": sorted(values), "b": []}
            assert store.delete_many([*values, "b"]) == size
        assert len(sent) == 8
        assert len(set(sent)) == 4
        assert store.keys() == ["x"]


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_hash_among_several_keys(options, driver):
    """Nothing is written beside one; it is removed with the others; one whose time is up is nothing."""

    async def body(store):
        call = (lambda name, *args: getattr(store, name)(*args)) if driver == "asyncpg" else store_call(store)
        await call("hset", "h", "f", 1)
        await call("set", "b", "old")
        with pytest.raises(WrongTypeError):
            await call("set_many", {"a": 1, "b": 2, "h": 3, "z": 4})
        assert await call("get_many", ["a", "b", "z"]) == {"b": "old"}
        with pytest.raises(WrongTypeError):
            await call("get_many", ["b", "h"])
        assert await call("delete_many", ["b", "h", "nothing"]) == 2
        assert await call("keys") == []
        await call("hset", "h", "f", 1)
        await call("expire", "h", 0.001)
        await call("set", "gone", 1, 0.001)
        while await call("exists", "h") or await call("exists", "gone"):
            await asyncio.sleep(0.001)
        assert await call("delete_many", ["gone", "nothing"]) == 0
        await call("set_many", {"a": 1, "h": 3})
        assert await call("get_many", ["a", "h"]) == {"a": 1, "h": 3}
        assert await call("hgetall", "other") == {}

    async def main():
        if driver == "asyncpg":
            async with AsyncPostgresStateStore(**options) as store:
                await body(store)
        else:
            with PostgresStateStore(**options) as store:
                await body(store)

    asyncio.run(main())


def store_call(store: Any) -> Callable[..., Awaitable[Any]]:
    """Return a coroutine function that calls a method of a sync store."""

    async def call(name: str, *args: Any) -> Any:
        return getattr(store, name)(*args)

    return call


def test_hashes_among_several_keys_are_removed_without_an_error_of_the_server(options):
    with PostgresStateStore(**options, max_size=1) as store:
        store.hset("h", "f", 1)
        store.set_many({"a": 1, "b": 2})
        sent = statements_of(store)
        assert store.delete_many(["a", "h", "nothing"]) == 2
        assert not [sql for sql in sent if "1 /" in sql or "ROLLBACK" in sql]
        assert store.keys() == ["b"]
        store.hset("h", "g", 2)
        assert store.hgetall("h") == {"g": 2}


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
@pytest.mark.parametrize("old", ["plain", "hash"])
def test_a_sweep_that_fails_does_not_repeat_the_write_before_it(options, driver, old, monkeypatch):
    """That is durable, and another client may have written since."""
    monkeypatch.setattr("praisonai_persistence_postgres.state._SWEEPS", 1.1)
    schema = options["schema"]

    async def body(store):
        call = (lambda name, *args: getattr(store, name)(*args)) if driver == "asyncpg" else store_call(store)
        await call("hset" if old == "hash" else "set", "old", *(("f", 1) if old == "hash" else (1,)))
        await call("expire", "old", 0.001)
        while await call("exists", "old"):
            await asyncio.sleep(0.001)
        with psycopg.connect(options["url"], autocommit=True) as admin:
            admin.execute(f'SET search_path TO "{schema}"')
            (table,) = admin.execute(
                "SELECT quote_ident(table_name) FROM information_schema.columns "
                "WHERE table_schema = current_schema() AND column_name = 'ends_at'"
            ).fetchone()
            admin.execute("CREATE TABLE written (name text)")
            admin.execute(
                "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END IF; "
                f'INSERT INTO "{schema}".written VALUES (NEW.name); RETURN NEW; END $$'
            )
            admin.execute(
                f"CREATE TRIGGER note BEFORE INSERT OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION note()"
            )
            await call("set", "a", 1, 100)
            await call("set_many", {"b": 2, "c": 3}, 100)
            assert sorted(admin.execute("SELECT name FROM written").fetchall()) == [("a",), ("b",), ("c",)]
            assert admin.execute(f"SELECT COUNT(*) FROM {table} WHERE name = 'old'").fetchone() == (1,)
            admin.execute(f"DROP TRIGGER note ON {table}")
            assert await call("get_many", ["a", "b", "c"]) == {"a": 1, "b": 2, "c": 3}
            await call("set", "a", 4, 100)
            assert admin.execute(f"SELECT name FROM {table} ORDER BY name").fetchall() == [("a",), ("b",), ("c",)]

    async def main():
        if driver == "asyncpg":
            async with AsyncPostgresStateStore(**options, retry_timeout=1) as store:
                await body(store)
        else:
            with PostgresStateStore(**options, retry_timeout=1) as store:
                await body(store)

    asyncio.run(main())


def test_writers_of_the_same_keys_in_other_orders_do_not_wait_for_each_other(options):
    with PostgresStateStore(**options) as store, ThreadPoolExecutor(8) as pool:
        keys = [f"k{number}" for number in range(50)]
        store.set_many(dict.fromkeys(keys, -1))

        def work(number: int) -> None:
            some = keys[:: 1 if number % 2 else -1]
            for turn in range(20):
                store.set_many(dict.fromkeys(some, number))
                if turn % 5 == number % 5:
                    store.delete_many(some)

        list(pool.map(work, range(8)))
        store.set_many(dict.fromkeys(keys, "end"))
        assert set(store.get_many(keys).values()) == {"end"}


# --------------------------------------------------------------------------------------------- what PraisonAI wrote


class TestAdoption(AdoptionTests):
    sync, async_ = PostgresConversationStore, AsyncPostgresConversationStore
    catalogue = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    types: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("session_id", "id", "user_id", "agent_id", "name", "tool_call_id"), "VARCHAR(255)"),
        **dict.fromkeys(("state", "metadata", "tool_calls"), "JSONB"),
        **dict.fromkeys(("created_at", "updated_at"), "DOUBLE PRECISION"),
        "role": "VARCHAR(50)",
        "content": "TEXT",
    }
    unchecked = "ALTER TABLE {prefix}messages DROP CONSTRAINT IF EXISTS {prefix}messages_session_id_fkey"

    @pytest.fixture
    def place(self, postgres):
        with postgres.space() as options:
            postgres.execute(f'CREATE SCHEMA "{options["schema"]}"')
            yield options

    def connect(self, options):
        connection = psycopg.connect(options["url"])
        connection.execute(f'SET search_path TO "{options["schema"]}"')
        return connection

    def test_a_role_that_may_not_adopt_is_told_what_somebody_else_has_to_run(self, place, postgres):
        old = Old(self, place)
        old.add("sessions", session("s"))
        schema = place["schema"]
        role = f"a_{schema}"
        postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'wr1te'")
        try:
            postgres.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO {role}')
            postgres.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO {role}')
            url = url_with(place["url"], username=role, password="wr1te")
            wanted = {**place, "url": url, "create_schema": False, "adopt_legacy": True}
            both(wanted, SchemaError, "praisonai-persistence migrate --adopt")
        finally:
            postgres.execute(f'DROP OWNED BY "{role}"')
            postgres.execute(f"DROP ROLE {role}")
        assert old.tables() == {"praison_sessions", "praison_messages"}


def test_a_store_that_may_make_nothing_tells_where_the_schema_stands(options):
    with PostgresConversationStore(**options, create_schema=False) as store:
        assert store.schema_status().version == 0
        with pytest.raises(SchemaError, match="create_schema"):
            store.connect()
        assert store.schema_status().pending


def test_stores_that_make_one_schema_at_the_same_time(options):
    for attempt in range(10):
        schema = f"{options['schema']}_{attempt}"
        try:
            together = threading.Barrier(8)

            def make(prefix: str, schema: str = schema, together: threading.Barrier = together) -> None:
                store = PostgresConversationStore(**{**options, "schema": schema}, table_prefix=prefix)
                together.wait(30)
                with store:
                    store.list_sessions()

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(make, ["a_", "b_", "c_", "d_"] * 2))
        finally:
            with psycopg.connect(options["url"], autocommit=True) as connection:
                connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
