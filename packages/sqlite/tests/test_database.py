"""The connections that stores share: group commit, busy files, forks, refusals."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from praisonai_persistence import (
    BackendError,
    ConnectionFailedError,
    ConversationMessage,
    ConversationSession,
    DuplicateMessageError,
    SchemaError,
    SessionNotFoundError,
)
from praisonai_persistence.steps import writes
from praisonai_persistence_sql import Execute, Fetch
from praisonai_persistence_sqlite import (
    AsyncSQLiteConversationStore,
    SQLiteConversationStore,
    SQLiteKnowledgeStore,
    SQLiteStateStore,
)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "agent.db")


@pytest.fixture
def store(path):
    with SQLiteConversationStore(path=path) as store:
        store.create_session(ConversationSession("s"))
        yield store


def runner_of(store):
    runner = store._runner
    return getattr(runner, "_runner", runner)  # of an async store: the one that does the work on threads


def database_of(store):
    return runner_of(store)._database


def message(name):
    return ConversationMessage(str(name), content=f"text {name}")


class Halt:
    """Keeps the database busy in a transaction of its own, until it is told to go on."""

    def __init__(self, store):
        self._inside, self._go_on = threading.Event(), threading.Event()
        self._database = database_of(store)
        self._thread = threading.Thread(target=runner_of(store).run, args=(self._steps,))

    @writes
    def _steps(self):
        self._inside.set()
        assert self._go_on.wait(30)
        yield Fetch("SELECT 1")

    def __enter__(self):
        self._thread.start()
        assert self._inside.wait(30)
        return self

    def queued(self, count):
        """Wait until so many writers stand in the queue."""
        end = time.monotonic() + 30
        while len(self._database._queue) < count:
            assert time.monotonic() < end
            time.sleep(0.001)

    def go_on(self):
        self._go_on.set()

    def __exit__(self, *_):
        self.go_on()
        self._thread.join(30)


def start(*functions):
    """Run functions in threads; return a call that joins them and gives what each returned or raised."""
    results = [None] * len(functions)

    def run(index, function):
        try:
            results[index] = function()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()

    def join():
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        return results

    return join


def test_writers_that_meet_share_one_commit(store):
    database = database_of(store)
    store.add_message("s", message("first"))
    commits = []
    database._writer[0].set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    with Halt(store) as halt:
        join = start(*(partial(store.add_message, "s", message(n)) for n in range(20)))
        halt.queued(20)
        halt.go_on()
        stored = join()
    assert len(commits) == 2  # the one that kept them waiting, and theirs
    assert sorted(item.seq for item in stored) == list(range(2, 22))
    assert store.count_messages("s") == 21


def test_writers_that_come_back_meet_again(store):
    """Eight threads that write all the time share nearly every commit; the scheduler may spoil a round, not five."""
    count, each = 8, 100

    def write(thread, turn):
        for number in range(each):
            store.add_message("s", message(f"{turn}-{thread}-{number}"))

    store.add_message("s", message("first"))
    fewest = count * each
    for turn in range(5):
        statements = []
        database_of(store)._writer[0].set_trace_callback(statements.append)
        assert start(*(partial(write, thread, turn) for thread in range(count)))() == [None] * count
        fewest = min(fewest, statements.count("COMMIT"))
    assert fewest < 2 * each
    assert store.count_messages("s") == 1 + 5 * count * each


def test_a_refusal_in_a_shared_commit_is_its_own(store):
    with Halt(store) as halt:
        join = start(
            partial(store.add_message, "s", message(1)),
            partial(store.add_messages, "s", [message(2), ConversationMessage("1", content="other")]),
            partial(store.add_message, "nobody", message(3)),
            partial(store.add_message, "s", message(4)),
        )
        halt.queued(4)
        halt.go_on()
        results = join()
    assert isinstance(results[2], SessionNotFoundError)
    kept = {item.id for item in store.get_messages("s")}
    # The batch meets message 1 or comes before it: then message 1 is refused. Either way nothing is half-written.
    assert kept in ({"1", "4"}, {"2", "1", "4"})


def test_a_driver_error_in_a_shared_commit_undoes_only_its_own(store):
    @writes
    def broken():
        yield Execute("INSERT INTO praison_sessions (session_id) VALUES ('half')")

    with Halt(store) as halt:
        join = start(
            partial(store.add_message, "s", message(1)),
            partial(store._runner.run, broken),
            partial(store.add_message, "s", message(2)),
        )
        halt.queued(3)
        halt.go_on()
        results = join()
    assert isinstance(results[1], BackendError)
    assert isinstance(results[1].__cause__, sqlite3.IntegrityError)
    assert {item.id for item in store.get_messages("s")} == {"1", "2"}


async def at_once(store, *calls):
    """Start calls while the database is busy with a transaction of another; return outcomes and commits since then."""
    commits = []
    database = database_of(store)
    database._writer[0].set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    with Halt(store) as halt:
        tasks = [asyncio.ensure_future(call) for call in calls]
        await asyncio.to_thread(halt.queued, 1)
        halt.go_on()
        return await asyncio.gather(*tasks, return_exceptions=True), len(commits)


async def in_async_store(path, work):
    async with AsyncSQLiteConversationStore(path=path) as store:
        await store.create_session(ConversationSession("s"))
        await work(store)


def test_tasks_that_meet_share_one_commit(path):
    async def work(store):
        stored, commits = await at_once(store, *(store.add_message("s", message(n)) for n in range(40)))
        assert [item.seq for item in stored] == list(range(1, 41))
        assert commits == 3  # the one that kept them waiting, the first task's, and that of all others
        assert await store.count_messages("s") == 40

    asyncio.run(in_async_store(path, work))


def test_a_failure_of_one_task_is_its_own(path):
    @writes
    def broken():
        yield Execute("INSERT INTO praison_sessions (session_id) VALUES ('half')")

    async def work(store):
        results, _ = await at_once(
            store,
            store.add_message("s", message(1)),
            store.add_message("s", message(2)),
            store.add_message("nobody", message(3)),
            store._runner.run(broken),
            store.add_message("s", ConversationMessage("1", content="other")),
            store.delete_messages("s", ["2"]),
            store.add_message("s", message(4)),
        )
        kinds = [type(result) if isinstance(result, Exception) else result for result in results]
        assert kinds[2:6] == [SessionNotFoundError, BackendError, DuplicateMessageError, 1]
        assert isinstance(results[3].__cause__, sqlite3.IntegrityError)
        assert [item.id for item in await store.get_messages("s")] == ["1", "4"]

    asyncio.run(in_async_store(path, work))


def test_tasks_that_are_cancelled_while_they_wait_write_nothing(path):
    async def work(store):
        with Halt(store) as halt:
            tasks = [asyncio.ensure_future(store.add_message("s", message(n))) for n in range(5)]
            await asyncio.to_thread(halt.queued, 1)
            tasks[2].cancel()
            await asyncio.wait([tasks[2]])
            halt.go_on()
            await asyncio.wait(tasks)
        assert [item.id for item in await store.get_messages("s")] == ["0", "1", "3", "4"]

    asyncio.run(in_async_store(path, work))


def test_a_waiting_writer_that_is_interrupted_leaves_the_queue_in_order(store):
    with Halt(store) as halt:

        def interrupt():
            halt.queued(1)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        join = start(interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.add_message("s", message("given up"))
        join()
        later = start(*(partial(store.add_message, "s", message(n)) for n in range(3)))
        halt.queued(3)
        halt.go_on()
        assert sorted(item.seq for item in later()) == [1, 2, 3]
    assert {item.id for item in store.get_messages("s")} == {"0", "1", "2"}


def test_a_lone_writer_that_is_interrupted_writes_nothing_and_the_store_goes_on(store):
    @writes
    def interrupted():
        yield Execute("UPDATE praison_sessions SET name = 'half'")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner_of(store).run(interrupted)
    assert store.get_session("s").name is None
    assert store.add_message("s", message("next")).seq == 1


def test_stores_on_one_file_share_connections_and_close_them_with_the_last(path):
    a, b = SQLiteConversationStore(path=path), SQLiteStateStore(path=path)
    a.connect()
    b.connect()
    database = database_of(a)
    assert database_of(b) is database
    a.close()
    b.set("still", "open")
    b.close()
    assert database._writer is None
    assert not database._readers
    assert not os.path.exists(path + "-wal")


def test_the_file_is_durable_by_default(store, path):
    connection = database_of(store)._writer[0]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    with SQLiteConversationStore(path=path, synchronous="NORMAL") as other:
        other.create_session(ConversationSession("other"))
        assert database_of(other)._writer[0].execute("PRAGMA synchronous").fetchone() == (1,)


def test_the_log_is_begun_anew_before_it_is_long(store, path):
    for number in range(200):
        store.add_message("s", message(number))
    assert os.path.getsize(path + "-wal") < 1.5 * 2**20


def test_the_log_of_shared_commits_is_longer_and_is_begun_anew_too(path):
    async def write():
        async with AsyncSQLiteConversationStore(path=path) as store:
            for number in range(200):
                sessions = [ConversationSession(f"{number}-{part}", metadata={"text": "x" * 2000}) for part in range(8)]
                await asyncio.gather(*map(store.create_session, sessions))
            return os.path.getsize(path + "-wal")

    assert 2 * 2**20 < asyncio.run(write()) < 6 * 2**20


def test_one_file_holds_all_three_kinds(path):
    with (
        SQLiteConversationStore(path=path) as a,
        SQLiteStateStore(path=path) as b,
        SQLiteKnowledgeStore(path=path) as c,
    ):
        a.create_session(ConversationSession("s"))
        b.set("k", 1)
        c.create_collection("docs", 2)
    with sqlite3.connect(path) as connection:
        versions = dict(connection.execute("SELECT component, version FROM praison_schema"))
    connection.close()
    assert versions == {"conversation": 1, "state": 1, "knowledge": 1}


def test_a_file_that_stays_locked_is_an_error_within_the_timeout_and_the_store_goes_on(path):
    with SQLiteConversationStore(path=path, lock_timeout=0.3) as store:
        store.create_session(ConversationSession("s"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with pytest.raises(ConnectionFailedError, match="locked by another process") as caught:
            store.add_message("s", message(1))
        assert 0.3 <= time.monotonic() - begun < 10
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert store.get_messages("s") == []  # readers do not wait for it
        other.execute("COMMIT")
        other.close()
        assert store.add_message("s", message(1)).seq == 1


def test_a_full_disk_is_an_error_and_the_store_goes_on(store):
    store.add_message("s", message(0))
    connection = database_of(store)._writer[0]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 8}")
    with pytest.raises(BackendError, match="full") as caught:
        for number in range(1, 1000):
            store.add_message("s", ConversationMessage(str(number), content="x" * 5000))
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    kept = store.get_messages("s")
    assert [item.seq for item in kept] == list(range(1, len(kept) + 1))
    assert kept[-1].id == str(len(kept) - 1)
    # The limit was that of the connection, and went with it.
    assert store.add_message("s", message("after")).seq == len(kept) + 1


@pytest.mark.parametrize("content", [b"this is no database, whatever its name says" * 100])
def test_what_is_no_database(path, content):
    with open(path, "wb") as file:
        file.write(content)
    with (
        SQLiteConversationStore(path=path) as store,
        pytest.raises(ConnectionFailedError, match="is no SQLite database"),
    ):
        store.get_session("s")
    with open(path, "rb") as file:
        assert file.read() == content


def test_a_missing_directory_is_named_and_the_same_store_works_once_it_is_there(tmp_path):
    folder = tmp_path / "not" / "there"
    with SQLiteConversationStore(path=folder / "x.db") as store:
        with pytest.raises(ConnectionFailedError, match="its directory does not exist"):
            store.connect()
        folder.mkdir(parents=True)
        store.create_session(ConversationSession("s"))


def test_a_directory_in_place_of_the_file(tmp_path):
    with SQLiteConversationStore(path=tmp_path) as store, pytest.raises(ConnectionFailedError, match="cannot open"):
        store.connect()


def test_tables_of_a_later_release(store, path):
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE praison_schema SET version = 99")
    connection.close()
    with SQLiteConversationStore(path=path) as later, pytest.raises(SchemaError, match="version 99.*upgrade"):
        later.get_session("s")


def test_a_database_in_memory_is_the_stores_own():
    with SQLiteConversationStore("sqlite://") as a, SQLiteConversationStore("sqlite://") as b:
        a.create_session(ConversationSession("s"))
        assert b.get_session("s") is None
        assert a.get_session("s") is not None


WRITER = """
import sys
from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence_sqlite import SQLiteConversationStore
path, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with SQLiteConversationStore(path=path) as store:
    store.upsert_session(ConversationSession("shared"))
    for number in range(60):
        store.add_message("shared", ConversationMessage(f"{name}-{number:03}"))
"""


def test_eight_processes_that_start_and_write_at_once(path):
    """The file does not even exist: they also race for making it, for its log mode, and for its tables."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(8)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=120)
        assert child.returncode == 0
    with SQLiteConversationStore(path=path) as store:
        found = store.get_messages("shared")
    assert [item.seq for item in found] == list(range(1, 481))
    for name in range(8):
        own = [item.id for item in found if item.id.startswith(f"{name}-")]
        assert own == [f"{name}-{number:03}" for number in range(60)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_under_load(store, path):
    """Parent and children go on with the same store object; nobody's locks or data suffer."""
    stop = threading.Event()
    written = []

    def write():
        while not stop.is_set():
            written.append(store.add_message("s", message(f"parent-{len(written)}")).id)

    join = start(write)
    children = []
    for number in range(5):
        child = os.fork()
        if child == 0:
            try:
                for part in range(20):
                    store.add_message("s", message(f"child-{number}-{part}"))
                ids = {item.id for item in store.get_messages("s")}
                os._exit(0 if f"child-{number}-19" in ids else 3)
            finally:
                os._exit(4)
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
    (result,) = join()
    assert result is None
    found = store.get_messages("s")
    assert [item.seq for item in found] == list(range(1, len(found) + 1))
    assert {item.id for item in found} == {*written, *(f"child-{n}-{part}" for n in range(5) for part in range(20))}
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_lent_database_is_the_same_by_any_name(tmp_path):
    real = tmp_path / "real.db"
    link = tmp_path / "link.db"
    real.touch()
    link.symlink_to(real)
    with SQLiteStateStore(path=real) as a, SQLiteStateStore(path=link) as b:
        a.set("k", 1)
        assert b.get("k") == 1
        assert database_of(a) is database_of(b)
