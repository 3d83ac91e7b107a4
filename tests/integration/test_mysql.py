"""MySQL's stores against the conformance kit and against trouble, on MariaDB."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import aiomysql
import pymysql
import pytest
from adoption import AdoptionTests, Old, ids, message, session
from engines import free_port
from engines.mariadb import MariaDB
from lifecycles import Networked
from proxy import Proxy
from pymysql.constants import CLIENT

from praisonai_persistence import (
    BackendError,
    ConnectionFailedError,
    ConversationMessage,
    ConversationSession,
    SchemaError,
    SerializationError,
)
from praisonai_persistence.testing import ConversationStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence_mysql import AsyncMySQLConversationStore, MySQLConversationStore
from praisonai_persistence_sql import Fetch


def _spec(kind: str, **options: Any) -> StoreSpec:
    name = f"MySQL{kind.capitalize()}Store"
    return StoreSpec(
        kind,
        sync=f"praisonai_persistence_mysql:{name}",
        async_=f"praisonai_persistence_mysql:Async{name}",
        options=options,
    )


NOWHERE = {"url": "mysql://u:s3cret@127.0.0.1:9/agents", "connect_timeout": 2.0}


@pytest.fixture
def prefix(mariadb: MariaDB):
    before = set(mariadb.tables(""))
    yield f"t{uuid.uuid4().hex[:10]}_"
    if new := set(mariadb.tables("")) - before:  # also of the prefixes that the kit makes up
        mariadb.execute(f"DROP TABLE {', '.join(new)}")


class Server:
    """What the fixture ``server`` of the kit asks for."""

    @pytest.fixture
    def server(self, mariadb: MariaDB) -> MariaDB:
        return mariadb


class TestMySQLConversation(Networked, Server, ConversationStoreSuite):
    backend = "mysql"

    @pytest.fixture
    def spec(self, mariadb: MariaDB, prefix: str) -> StoreSpec:
        return _spec("conversation", url=mariadb.url, table_prefix=prefix, retry_timeout=3.0)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return _spec("conversation", **NOWHERE)


@pytest.mark.quick_operations
class TestMySQLState(Networked, Server, StateStoreSuite):
    backend = "mysql"

    @pytest.fixture
    def spec(self, mariadb: MariaDB, prefix: str) -> StoreSpec:
        return _spec("state", url=mariadb.url, table_prefix=prefix, retry_timeout=3.0)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return _spec("state", **NOWHERE)


# ------------------------------------------------------------------------------------------------ what the kit leaves


def _message(name: str, content: str = "text") -> ConversationMessage:
    return ConversationMessage(id=name, role="user", content=content)


@pytest.fixture
def options(mariadb: MariaDB, prefix: str) -> dict[str, Any]:
    return {"url": mariadb.url, "table_prefix": prefix}


@pytest.fixture
def account(mariadb: MariaDB):
    """Make a user with some rights; return the URL of the test's database for it."""
    name = f"u{uuid.uuid4().hex[:8]}"

    def make(grants: str) -> str:
        mariadb.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'l0cal-S3cret'")
        database = mariadb.connect_arguments()["database"]
        mariadb.execute(f"GRANT {grants} ON `{database}`.* TO '{name}'@'%'")
        return re.sub(r"//[^@]*@", f"//{name}:l0cal-S3cret@", mariadb.url)

    yield make
    mariadb.execute(f"DROP USER IF EXISTS '{name}'@'%'")


def _rank(session: str, names: list[str], seqs: list[int]) -> None:
    assert len(set(names)) == len(names), f"{session}: a message stands there twice"
    assert seqs == list(range(1, len(seqs) + 1)), f"{session}: gaps"


def test_eight_threads_to_one_session(options):
    with MySQLConversationStore(**options, max_size=3) as store:
        store.create_session(ConversationSession("s"))

        def write(worker: int) -> None:
            for number in range(25):
                store.add_message("s", _message(f"{worker}-{number}"))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(8)))
        messages = store.get_messages("s")
        assert len(messages) == 200
        _rank("s", [m.id for m in messages], [m.seq for m in messages])
        for worker in range(8):
            mine = [m.id for m in messages if m.id.startswith(f"{worker}-")]
            assert mine == [f"{worker}-{number}" for number in range(25)]


@pytest.mark.parametrize("to_one", [True, False])
def test_64_tasks_on_a_pool_of_10(options, to_one):
    async def main() -> None:
        async with AsyncMySQLConversationStore(**options, max_size=10) as store:
            sessions = ["s" if to_one else f"s{worker}" for worker in range(64)]
            for session in set(sessions):
                await store.create_session(ConversationSession(session))

            async def write(worker: int) -> None:
                for number in range(5):
                    await store.add_message(sessions[worker], _message(f"{worker}-{number}"))

            await asyncio.gather(*(write(worker) for worker in range(64)))
            for session in set(sessions):
                messages = await store.get_messages(session)
                assert len(messages) == (320 if to_one else 5)
                _rank(session, [m.id for m in messages], [m.seq for m in messages])

    asyncio.run(main())


def test_twenty_processes_migrate_once(options, mariadb):
    code = (
        "import json, sys\n"
        "from praisonai_persistence import ConversationSession\n"
        "from praisonai_persistence_mysql import MySQLConversationStore\n"
        "options, name = json.loads(sys.argv[1]), sys.argv[2]\n"
        "sys.stdin.readline()\n"
        "with MySQLConversationStore(**options) as store:\n"
        "    store.create_session(ConversationSession(name))\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, json.dumps(options), str(number)], stdin=subprocess.PIPE)
        for number in range(20)
    ]
    for child in children:
        child.stdin.write(b"go\n")
        child.stdin.close()
    assert [child.wait(120) for child in children] == [0] * 20
    with MySQLConversationStore(**options) as store:
        assert len(store.list_sessions()) == 20
    rows = mariadb.execute(f"SELECT version FROM `{options['table_prefix']}schema` WHERE component = 'conversation'")
    assert rows == ((1,),) or rows == [(1,)]


def test_a_migration_that_was_killed_in_its_middle_is_taken_up(options, mariadb):
    with MySQLConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
    prefix = options["table_prefix"]
    mariadb.execute(f"DROP TABLE `{prefix}messages`")
    mariadb.execute(f"DELETE FROM `{prefix}schema`")
    with MySQLConversationStore(**options) as store:
        assert store.get_session("s") is not None
        assert store.add_message("s", _message("m")).seq == 1


def test_a_cancelled_migration_leaves_no_lock(options, mariadb):
    """It holds a lock of the server by its name, which is its connection's."""
    name = f"`{options['table_prefix']}schema`"
    waiting = (
        f"SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table%' AND info LIKE '%{name}%'"
    )
    mariadb.execute(f"CREATE TABLE {name} (component VARCHAR(64) PRIMARY KEY, version INT, applied_at DOUBLE)")

    async def main():
        async with AsyncMySQLConversationStore(**options) as one, AsyncMySQLConversationStore(**options) as other:
            with contextlib.closing(pymysql.connect(**mariadb.connect_arguments())) as holder:
                holder.cursor().execute(f"LOCK TABLES {name} WRITE")
                first = asyncio.ensure_future(one.list_sessions())
                while not await asyncio.to_thread(mariadb.execute, waiting):
                    assert not first.done()
                first.cancel()
                holder.cursor().execute("UNLOCK TABLES")
                with pytest.raises(asyncio.CancelledError):
                    await first
            assert await asyncio.wait_for(other.list_sessions(), 20) == []
            assert await one.list_sessions() == []

    asyncio.run(main())


@pytest.mark.slow
def test_restarts_under_load_lose_and_double_nothing(options, mariadb):
    if not mariadb.restartable:
        pytest.skip("the server of the environment's URL is not ours to restart")
    acknowledged: dict[str, list[str]] = {}
    stop = threading.Event()
    with MySQLConversationStore(**options, max_size=8, retry_timeout=30) as store:
        for worker in range(8):
            store.create_session(ConversationSession(f"s{worker}"))

        def write(worker: int) -> int:
            names = acknowledged.setdefault(f"s{worker}", [])
            while not stop.is_set():
                name = f"m{len(names)}"
                store.add_message(f"s{worker}", _message(name))
                names.append(name)
            return len(names)

        with ThreadPoolExecutor(8) as threads:
            writers = [threads.submit(write, worker) for worker in range(8)]
            try:
                for _ in range(3):
                    time.sleep(2)
                    mariadb.restart()
                time.sleep(1)
            finally:
                stop.set()
            assert all(writer.result(60) > 0 for writer in writers)
        for session, names in acknowledged.items():
            messages = store.get_messages(session)
            assert [m.id for m in messages] == names
            _rank(session, names, [m.seq for m in messages])


# ---------------------------------------------------------------------------------------------------------- bad input


def _in_both_modes(options: dict[str, Any], call: str, *arguments: Any) -> list[BaseException | None]:
    """Call a method of a new store of each mode; return what each raised."""
    raised: list[BaseException | None] = []
    with MySQLConversationStore(**options) as store:
        try:
            getattr(store, call)(*arguments)
            raised.append(None)
        except Exception as error:
            raised.append(error)

    async def main() -> None:
        async with AsyncMySQLConversationStore(**options) as store:
            await getattr(store, call)(*arguments)

    try:
        asyncio.run(main())
        raised.append(None)
    except Exception as error:
        raised.append(error)
    return raised


def test_a_wrong_password(options, mariadb):
    options["url"] = re.sub(r":[^:@]*@", ":wr0ng-S3cret@", mariadb.url)
    for error in _in_both_modes(options, "connect"):
        assert isinstance(error, ConnectionFailedError)
        assert "wrong user or password" in str(error)
        assert "wr0ng" not in str(error)


def test_an_unknown_database(options, account):
    url = account("ALL")
    options["url"] = url.rpartition("/")[0] + "/nothing_here"
    for error in _in_both_modes(options, "connect"):
        assert isinstance(error, ConnectionFailedError)
        assert "database" in str(error)


def test_a_refused_port(options):
    port = free_port()
    options["url"] = f"mysql://u:s3cret@127.0.0.1:{port}/agents"
    start = time.monotonic()
    for error in _in_both_modes(options, "connect"):
        assert isinstance(error, ConnectionFailedError)
        assert str(port) in str(error)
        assert "s3cret" not in str(error)
    assert time.monotonic() - start < 10, "refused at once, not tried again for retry_timeout"


@pytest.mark.parametrize("name", ["a`b", "a'b", 'a"b; --'])
def test_a_database_name_with_quotes(options, mariadb, name):
    options["url"] = f"{mariadb.url.rpartition('/')[0]}/{quote(name)}"
    for error in _in_both_modes(options, "connect"):
        assert isinstance(error, ConnectionFailedError)
        assert "no such database" in str(error)


def test_a_host_that_never_answers(options):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options["url"] = f"mysql://u:s3cret@127.0.0.1:{silent.getsockname()[1]}/agents"
        start = time.monotonic()
        for error in _in_both_modes({**options, "connect_timeout": 1.0}, "connect"):
            assert isinstance(error, ConnectionFailedError)
            assert "s3cret" not in str(error)
        assert time.monotonic() - start < 10


def test_a_name_that_nobody_knows(options):
    options["url"] = "mysql://u:s3cret@nowhere.invalid/agents"
    for error in _in_both_modes({**options, "connect_timeout": 2.0}, "connect"):
        assert isinstance(error, ConnectionFailedError)


def test_a_role_that_may_only_read(options, account):
    with MySQLConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
    options["url"] = account("SELECT")
    assert _in_both_modes(options, "get_session", "s") == [None, None]
    for error in _in_both_modes(options, "create_session", ConversationSession("t")):
        assert isinstance(error, BackendError)
        assert "right" in str(error)


def test_tables_that_are_not_there_and_may_not_be_made(options):
    for error in _in_both_modes({**options, "create_schema": False}, "connect"):
        assert isinstance(error, SchemaError)
        assert "create_schema" in str(error)


def test_tables_of_a_newer_release(options, mariadb):
    with MySQLConversationStore(**options) as store:
        store.connect()
    mariadb.execute(f"UPDATE `{options['table_prefix']}schema` SET version = 99")
    for error in _in_both_modes(options, "connect"):
        assert isinstance(error, SchemaError)
        assert "99" in str(error)


def test_a_pool_that_stays_full(options):
    with MySQLConversationStore(**options, max_size=1, pool_timeout=0.3) as store:
        store.create_session(ConversationSession("s"))
        with ThreadPoolExecutor(1) as pool, (loan := store._runner._pool.lend()):
            with pytest.raises(ConnectionFailedError, match="pool"):
                pool.submit(store.get_session, "s").result(30)
            loan.end()
        assert store.get_session("s") is not None

    async def main() -> None:
        async with AsyncMySQLConversationStore(**options, max_size=1, pool_timeout=0.3) as store:
            assert await store.get_session("s") is not None
            async with store._runner._pool.lend():
                with pytest.raises(ConnectionFailedError, match="pool"):
                    await store.get_session("s")
            assert await store.get_session("s") is not None

    asyncio.run(main())


def test_a_value_that_the_server_would_not_take(options, mariadb):
    packet = int(mariadb.execute("SELECT @@max_allowed_packet")[0][0])
    if packet > 20_000_000:
        pytest.skip("this server takes more than is worth testing")
    large = _message("large", "'" * (packet // 2))  # each is sent as two characters
    session = ConversationSession("s", name="before")
    with MySQLConversationStore(**options) as store:
        store.create_session(session)
    for call, *arguments in (
        ("add_message", "s", large),
        ("add_messages", "s", [_message("small"), large]),
        ("update_session", ConversationSession("s", name="'" * (packet // 2))),
    ):
        for error in _in_both_modes(options, call, *arguments):
            assert isinstance(error, SerializationError)
            assert "max_allowed_packet" in str(error)
    with MySQLConversationStore(**options) as store:
        assert store.count_messages("s") == 0
        assert store.get_session("s").name == "before"


def test_statements_end_at_their_time_limit(options):
    with MySQLConversationStore(**options, statement_timeout=0.2) as store:
        with store._runner._pool.lend() as connection, pytest.raises(pymysql.err.MySQLError):
            connection.perform(Fetch("SELECT SLEEP(3)"))
        store.create_session(ConversationSession("s"))


def test_tls(options, mariadb):
    if mariadb.execute("SHOW VARIABLES LIKE 'have_ssl'")[0][1] != "YES":
        for error in _in_both_modes({**options, "tls": "require"}, "connect"):
            assert isinstance(error, ConnectionFailedError)
            assert "TLS" in str(error)
        return
    for error in _in_both_modes({**options, "tls": "verify"}, "connect"):  # its certificate is its own
        assert isinstance(error, ConnectionFailedError)
    cipher = Fetch("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    with MySQLConversationStore(**options, tls="require") as store, store._runner._pool.lend() as connection:
        assert connection.perform(cipher)[0][1]

    async def main() -> None:
        async with (
            AsyncMySQLConversationStore(**options, tls="require") as store,
            store._runner._pool.lend() as connection,
        ):
            assert (await connection.perform(cipher))[0][1]

    asyncio.run(main())


class TestTheOtherSideOfTlsIsSilent:
    """asyncio closes the socket below TLS when the other side has said good-bye, for which no loop of ours waits."""

    @pytest.fixture
    def proxy(self, mariadb):
        if mariadb.execute("SHOW VARIABLES LIKE 'have_ssl'")[0][1] != "YES":
            pytest.skip("this server has no TLS")
        target = urlsplit(mariadb.url)
        with Proxy(target.hostname, target.port) as proxy:
            yield proxy

    @pytest.fixture
    def options(self, options, proxy):
        parts = urlsplit(options["url"])
        user = parts.netloc.rpartition("@")[0]
        url = parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl()
        return {**options, "url": url, "tls": "require"}

    @staticmethod
    def _left_open(main) -> list[str]:
        gc.collect()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", ResourceWarning)
            asyncio.run(main())
            gc.collect()
        return [str(warning.message) for warning in seen]

    def test_a_store_is_closed(self, options, proxy):
        async def main() -> None:
            async with AsyncMySQLConversationStore(**options) as store:
                await store.connect()
                proxy.hold()

        assert self._left_open(main) == []

    def test_closing_is_called_off(self, options, proxy):
        async def main() -> None:
            store = AsyncMySQLConversationStore(**options, max_size=2)
            async with store._runner._pool.lend(), store._runner._pool.lend():
                pass
            proxy.hold()
            closing = asyncio.create_task(store.close())
            await asyncio.sleep(0)
            closing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await closing

        assert self._left_open(main) == []

    def test_a_call_is_called_off(self, options, proxy):
        async def main() -> None:
            async with AsyncMySQLConversationStore(**options) as store:
                await store.connect()
                proxy.hold()
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(store.list_sessions(), 0.5)

        assert self._left_open(main) == []

    @pytest.mark.parametrize("own", [True, False])
    def test_a_connection_is_not_made_in_time(self, options, mariadb, proxy, monkeypatch, own):
        opened = aiomysql.connection._open_connection

        async def open_connection(*args: Any, **arguments: Any) -> Any:
            streams = await opened(*args, **arguments)
            if own and "ssl" in arguments:
                proxy.hold()
            return streams

        async def connect() -> Any:
            arguments = mariadb.connect_arguments() | {"host": "127.0.0.1", "port": proxy.port}
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            raw = await aiomysql.connect(db=arguments.pop("database"), ssl=context, **arguments)
            proxy.hold()
            return raw

        monkeypatch.setattr(aiomysql.connection, "_open_connection", open_connection)
        if not own:
            del options["url"], options["tls"]
            options["connection_factory"] = connect

        async def main() -> None:
            async with AsyncMySQLConversationStore(**options, connect_timeout=3.0, retry_timeout=0.1) as store:
                with pytest.raises(ConnectionFailedError):
                    await store.connect()

        assert self._left_open(main) == []


# --------------------------------------------------------------------------------------------------- what is not ours


class OnePool:
    """A pool of somebody else, of one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.lent = 0

    def connection(self) -> Any:
        self.lent += 1
        return _Lent(self._connection)

    async def acquire(self) -> Any:
        self.lent += 1
        return self._connection

    async def release(self, connection: Any) -> None:
        assert connection is self._connection


class _Lent:
    def __init__(self, connection: Any) -> None:
        self.cursor = connection.cursor

    def close(self) -> None:
        return


def test_an_injected_pool_is_not_closed(options, mariadb):
    del options["url"]
    with contextlib.closing(pymysql.connect(**mariadb.connect_arguments())) as connection:
        pool = OnePool(connection)  # without multi-statements, and with autocommit off
        with MySQLConversationStore(**options, pool=pool, max_size=1) as store:
            store.create_session(ConversationSession("s", name="x' \\ \x1a \0"))
            assert store.add_message("s", _message("m")).seq == 1
            assert store.add_message("s", _message("m")).seq == 1
            assert [m.id for m in store.get_messages("s")] == ["m"]
        assert pool.lent > 3
        assert connection.open
        with connection.cursor() as cursor:
            cursor.execute("SELECT CAST('x' AS BINARY)")
            assert cursor.fetchone() == (b"x",)

    async def main() -> None:
        arguments = mariadb.connect_arguments()
        arguments["db"] = arguments.pop("database")
        connection = await aiomysql.connect(**arguments)
        pool = OnePool(connection)
        async with AsyncMySQLConversationStore(**options, pool=pool, max_size=1) as store:
            assert (await store.add_message("s", _message("n"))).seq == 2
            assert (await store.get_session("s")).name == "x' \\ \x1a \0"
        assert pool.lent > 1
        assert not connection.closed
        await connection.ensure_closed()

    asyncio.run(main())


def test_a_connection_factory(options, mariadb):
    del options["url"]
    opened: list[Any] = []

    def connect() -> Any:
        opened.append(pymysql.connect(**mariadb.connect_arguments()))
        return opened[-1]

    with MySQLConversationStore(**options, connection_factory=connect) as store:
        store.create_session(ConversationSession("s"))
        assert store.add_message("s", _message("m")).seq == 1
    assert opened
    assert not any(connection.open for connection in opened)


def test_a_client_that_is_gone_before_the_answer_leaves_no_gap(options, mariadb):
    turns = itertools.count()

    class Impatient(pymysql.Connection):
        def _execute_command(self, command: int, sql: Any) -> None:
            super()._execute_command(command, sql)
            if isinstance(sql, bytes) and b";COMMIT" in sql and next(turns) % 2 == 0:
                self._sock.shutdown(socket.SHUT_RDWR)  # the server goes on with what it has

    def connect() -> Any:
        return Impatient(**mariadb.connect_arguments(), client_flag=CLIENT.MULTI_STATEMENTS)

    with MySQLConversationStore(**options, connection_factory=connect) as store:
        store.create_session(ConversationSession("s"))
        for number in range(20):
            store.add_message("s", _message(str(number)))
        messages = store.get_messages("s")
    assert next(turns) >= 40, "no append was repeated"
    assert [m.id for m in messages] == [str(number) for number in range(20)]
    _rank("s", [m.id for m in messages], [m.seq for m in messages])


def test_a_connection_that_the_server_ended_is_replaced(options, mariadb):
    with MySQLConversationStore(**options, max_size=1) as store:
        store.create_session(ConversationSession("s"))
        with store._runner._pool.lend() as connection:
            number = connection.perform(Fetch("SELECT CONNECTION_ID()"))[0][0]
        mariadb.execute(f"KILL {number}")
        store.create_session(ConversationSession("t"))  # not repeatable, but nothing was done yet
        assert len(store.list_sessions()) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_parents_connections_alone(options):
    with MySQLConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        child = os.fork()
        if child == 0:
            try:
                store.add_message("s", _message("child"))
                store.close()
                gc.collect()
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with store._runner._pool.lend() as connection:
            assert connection.perform(Fetch("SELECT 1")) == [(1,)]  # the old connection: no second try here
        assert [m.id for m in store.get_messages("s")] == ["child"]


def test_every_double_comes_back_as_it_was(options):
    times = [0.1 + 0.2, 1 / 3, 1e308, 5e-324, 1795228517.1229167, 2.0**53, -1e-300, 123456789.12345679]
    with MySQLConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        for number, moment in enumerate(times):
            message = ConversationMessage(id=str(number), role="user", content="", created_at=moment)
            store.add_message("s", message)
        assert [m.created_at for m in store.get_messages("s")] == times


def test_a_session_made_again_is_searched_anew(options):
    with MySQLConversationStore(**options) as store:
        for round_ in range(2):
            store.create_session(ConversationSession("s"))
            store.add_messages(
                "s", [_message(str(number), f"round{round_} word{number}") for number in range(4 - round_)]
            )
            assert [m.id for m in store.search_messages(f"round{round_} word1")] == ["1"]
            assert store.search_messages(f"round{1 - round_}") == []
            store.delete_session("s")
        assert store.search_messages("word1") == []


def test_a_message_of_very_many_words_is_found(options):
    content = " ".join(f"w{number}" for number in range(30_000))
    with MySQLConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        store.add_messages("s", [_message("many", content), _message("few", "w7 w29999 x")])
        assert [m.id for m in store.search_messages("w29999 w12345")] == ["many"]
        assert {m.id for m in store.search_messages("w7 w29999")} == {"many", "few"}
        assert store.search_messages("w30001") == []


# ------------------------------------------------------------------------------------------------ what PraisonAI wrote


class TestAdoption(AdoptionTests):
    sync, async_ = MySQLConversationStore, AsyncMySQLConversationStore
    catalogue = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    types: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("session_id", "id", "user_id", "agent_id", "name", "tool_call_id"), "VARCHAR(255)"),
        **dict.fromkeys(("state", "metadata", "tool_calls"), "JSON"),
        **dict.fromkeys(("created_at", "updated_at"), "DOUBLE"),
        "role": "VARCHAR(50)",
        "content": "LONGTEXT",  # TEXT, but for the test of large ones
    }
    unchecked = "SET FOREIGN_KEY_CHECKS = 0"
    keeps_order = False
    kill_before = (1, 2)

    @pytest.fixture
    def place(self, mariadb):
        with mariadb.space() as options:
            # Tables of PraisonAI have the character set of their database, which before MariaDB 11.6 is latin1.
            name = urlsplit(options["url"]).path[1:]
            mariadb.execute(f"ALTER DATABASE `{name}` CHARACTER SET utf8mb4")
            yield options

    def connect(self, options):
        parts = urlsplit(options["url"])
        return pymysql.connect(
            host=parts.hostname, port=parts.port, user=parts.username, password=parts.password, database=parts.path[1:]
        )

    def test_ids_that_the_server_takes_for_equal(self, place, store):
        """Its collation ignores case, so PraisonAI found these messages in that session."""
        old = Old(self, place)
        old.add("sessions", session("Chat"))
        old.add("messages", message("Chat", 1), message("CHAT", 2))
        assert store("adopt_legacy").sessions == 1
        assert ids(store("get_messages", "Chat")) == ["Chat-0001", "CHAT-0002"]

    def test_what_is_written_meanwhile_undoes_it(self, place):
        """DDL cannot be in a transaction there: who writes while the rows are copied is noticed."""
        old = Old(self, place)
        old.add("sessions", session("s"))
        old.add("messages", message("s", 1))
        with self.sync(**place) as store:
            migrations = store._steps.migrations
            rename = migrations._rename

            def late(names):
                if "praison_messages_legacy" in names.values():
                    old.add("messages", message("s", 2))
                return (yield from rename(names))

            migrations._rename = late
            with pytest.raises(SchemaError, match="changed while they were adopted"):
                store.adopt_legacy()
            migrations._rename = rename
            assert store.schema_status().legacy[0].messages == 2
            assert store.adopt_legacy().messages == 2
            assert [item.id for item in store.get_messages("s")] == ["s-0001", "s-0002"]
