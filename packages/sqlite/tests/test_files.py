"""The file under open stores: rights, links, and what happens when it is removed or replaced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from praisonai_persistence import (
    ConnectionFailedError,
    ConversationMessage,
    ConversationSession,
    KnowledgeDocument,
    PersistenceError,
    SessionNotFoundError,
    StoreClosedError,
    StoreNotFoundError,
)
from praisonai_persistence.integrity import Integrity
from praisonai_persistence_sqlite import (
    AsyncSQLiteStateStore,
    SQLiteConversationStore,
    SQLiteKnowledgeStore,
    SQLiteStateStore,
)

posix = pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be removed here")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "agent.db")


def in_another_process(path, key):
    code = (
        "import sys\nfrom praisonai_persistence_sqlite import SQLiteStateStore\n"
        "with SQLiteStateStore(path=sys.argv[1]) as store:\n    print(store.get(sys.argv[2]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, path, key], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def remove_all(path):
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.remove(path + suffix)


def integrity(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        connection.close()


@posix
@pytest.mark.parametrize("what", ["all", "file"])
@pytest.mark.parametrize("who", ["old", "new"])
def test_a_removed_file_is_made_anew(path, what, who):
    with SQLiteStateStore(path=path) as old, SQLiteStateStore(path=path) as new:
        old.set("k", "before")
        if what == "all":
            remove_all(path)
        else:
            os.remove(path)
        store = old if who == "old" else new
        store.set("k", "after")
        assert in_another_process(path, "k") == "after"
        old.set("old", 1)
        new.set("new", 2)
        for each in (old, new):
            assert [each.get(key) for key in ("k", "old", "new")] == ["after", 1, 2]
    assert integrity(path) == "ok"


@posix
@pytest.mark.parametrize("log", ["stays", "removed"])
def test_a_backup_that_replaces_the_file_is_what_the_stores_go_on_with(path, tmp_path, log):
    backup = str(tmp_path / "backup.db")
    with SQLiteStateStore(path=path) as store:
        for number in range(50):
            store.set(f"k{number}", "of the backup")
    shutil.copy(path, backup)
    with SQLiteStateStore(path=path) as store, SQLiteStateStore(path=path, lock_timeout=7) as other:
        for number in range(200):
            store.set(f"k{number}", "of the old file")
        assert other.get("k7") == "of the old file"
        os.replace(backup, path)
        if log == "removed":
            os.remove(path + "-wal")
            os.remove(path + "-shm")
        store.set("k0", "after")
        assert store.get("k0") == other.get("k0") == "after"
        assert store.get("k7") == other.get("k7") == "of the backup"
        assert other.get("k100") is None
        assert in_another_process(path, "k0") == "after"
        assert other.incr("n") == 1
        assert store.incr("n") == 2
    assert integrity(path) == "ok"


@posix
def test_the_log_of_another_process_is_not_read_with_the_file_that_replaces_its_own(path, tmp_path):
    """Also if the file was in another journal mode when it was opened, as a backup is, so that there was no log yet."""
    backup = str(tmp_path / "backup.db")
    with SQLiteStateStore(path=str(tmp_path / "first.db")) as store:
        store.set("k", "of the backup")
    with contextlib.closing(sqlite3.connect(tmp_path / "first.db")) as connection:
        connection.execute("VACUUM INTO ?", (path,))
    shutil.copy(path, backup)
    code = (
        "import sys\nfrom praisonai_persistence_sqlite import SQLiteStateStore\n"
        "store = SQLiteStateStore(path=sys.argv[1])\n"
        "store.set_many({str(n): 'x' * 500 for n in range(30)})\nprint('written', flush=True)\ninput()\n"
    )
    with SQLiteStateStore(path=path) as store:
        assert store.keys() == ["k"]
        writer = [sys.executable, "-c", code, path]
        with subprocess.Popen(writer, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            try:
                assert other.stdout.readline() == "written\n"
                os.replace(backup, path)
                threading.Event().wait(0.005)  # a read may trust for a millisecond that the file is the same
                assert store.keys() == ["k"]
            finally:
                other.kill()
    assert integrity(path) == "ok"


@posix
def test_a_write_is_not_refused_by_what_the_file_said_that_was_replaced(path, tmp_path):
    old, new = KnowledgeDocument("a", "old", [1.0, 2.0]), KnowledgeDocument("a", "new", [1.0, 2.0, 3.0])
    with SQLiteKnowledgeStore(path=str(tmp_path / "other.db")) as store:
        store.create_collection("new", 3)
    with SQLiteKnowledgeStore(path=path) as store:
        store.create_collection("old", 2)
        store.insert("old", [old])
        os.replace(tmp_path / "other.db", path)
        store.insert("new", [new])
        assert store.list_collections() == ["new"]
        store.create_collection("old", 5)
        assert store.count("old") == 0


@posix
def test_reads_see_the_new_file(path):
    with SQLiteStateStore(path=path) as store:
        store.set("k", 1)
        remove_all(path)
        threading.Event().wait(0.005)  # a read may trust for a millisecond that the file is the same
        assert store.get("k") is None


@posix
def test_an_append_to_a_session_that_went_with_its_file_is_refused(path):
    with SQLiteConversationStore(path=path) as store:
        store.create_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage("1"))
        remove_all(path)
        with pytest.raises(SessionNotFoundError):
            store.add_message("s", ConversationMessage("2"))
        store.create_session(ConversationSession("s"))
        assert store.add_message("s", ConversationMessage("2")).seq == 1


@posix
def test_a_removed_folder_is_an_error_until_it_is_there_again(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with SQLiteStateStore(path=folder / "agent.db") as store:
        store.set("k", 1)
        shutil.rmtree(folder)
        for _ in range(2):
            with pytest.raises(ConnectionFailedError, match="directory does not exist"):
                store.set("k", 2)
        folder.mkdir()
        store.set("k", 3)
        assert store.get("k") == 3


@posix
def test_what_is_acknowledged_after_the_replacement_is_in_the_new_file(path, tmp_path):
    """Sync and async stores of several threads and loops write while the file is replaced three times."""
    stop, acknowledged, errors = threading.Event(), [], []
    replaced = [0]

    def write(name):
        with SQLiteStateStore(path=path, synchronous="NORMAL", lock_timeout=20) as store:
            number = 0
            while not stop.is_set():
                number += 1
                round_ = replaced[0]
                try:
                    store.set(f"{name}-{number}", number)
                except PersistenceError as error:
                    errors.append(error)
                else:
                    acknowledged.append((round_, f"{name}-{number}"))

    async def write_async(name):
        async with AsyncSQLiteStateStore(path=path, lock_timeout=20) as store:
            number = 0
            while not stop.is_set():
                number += 1
                round_ = replaced[0]
                keys = [f"{name}-{number}-{part}" for part in range(5)]
                try:
                    await asyncio.gather(*(store.set(key, number) for key in keys))
                except PersistenceError as error:
                    errors.append(error)
                else:
                    acknowledged.extend((round_, key) for key in keys)

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(3)]
    threads += [threading.Thread(target=lambda n=n: asyncio.run(write_async(f"a{n}"))) for n in range(2)]
    for thread in threads:
        thread.start()
    for round_ in range(1, 4):
        count = len(acknowledged) + 100
        while len(acknowledged) < count:
            threading.Event().wait(0.005)
        with SQLiteStateStore(path=tmp_path / f"{round_}.db") as fresh:
            fresh.set("round", round_)
        os.replace(tmp_path / f"{round_}.db", path)
        replaced[0] = round_
    count = len(acknowledged) + 100
    while len(acknowledged) < count:
        threading.Event().wait(0.005)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not errors
    assert integrity(path) == "ok"
    with SQLiteStateStore(path=path) as store:
        assert store.get("round") == 3
        found = set(store.keys())
    assert {key for round_, key in acknowledged if round_ == 3} <= found


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_for_their_owner_alone(tmp_path, umask):
    code = (
        "import os, sys\nfrom praisonai_persistence_sqlite import SQLiteStateStore\n"
        "os.umask(int(sys.argv[2]))\nstore = SQLiteStateStore(path=sys.argv[1])\nstore.set('k', 1)\n"
        "names = [sys.argv[1] + suffix for suffix in ('', '-wal', '-shm')]\n"
        "print(*(oct(os.stat(name).st_mode & 0o777) for name in names))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "agent.db"), str(umask)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.split() == ["0o600"] * 3


@posix
def test_rights_of_a_file_that_is_there_stay(path):
    sqlite3.connect(path).close()
    open(path, "a").close()
    os.chmod(path, 0o640)
    with SQLiteStateStore(path=path) as store:
        store.set("k", 1)
        assert stat.S_IMODE(os.stat(path).st_mode) == stat.S_IMODE(os.stat(path + "-wal").st_mode) == 0o640


@posix
def test_no_file_is_made_through_a_link(tmp_path):
    victim = tmp_path / "elsewhere" / "victim.db"
    victim.parent.mkdir()
    link = tmp_path / "agent.db"
    link.symlink_to(victim)
    with SQLiteStateStore(path=link) as store:
        for call in (store.connect, lambda: store.set("k", 1), store.migrate_schema):
            with pytest.raises(ConnectionFailedError, match="link to a file that does not exist"):
                call()
    assert not victim.exists()
    with SQLiteStateStore(path=victim) as store:
        store.set("k", 1)
    with SQLiteStateStore(path=link) as store:  # a link to a database is as good as its name
        assert store.get("k") == 1


@posix
def test_no_file_is_made_through_a_link_that_takes_the_place_of_the_file(path, tmp_path):
    with SQLiteStateStore(path=path) as store:
        store.set("k", 1)
        remove_all(path)
        os.symlink(tmp_path / "victim.db", path)
        with pytest.raises(ConnectionFailedError):
            store.set("k", 2)
        assert not (tmp_path / "victim.db").exists()


@pytest.mark.parametrize("name", ["a b.db", "a?mode=memory#x%41.db", "ü\U0001f600.db", "file:x.db"])
def test_any_name_is_a_file_of_that_name(tmp_path, name):
    with SQLiteStateStore(path=tmp_path / name) as store:
        store.set("k", 1)
        assert name in os.listdir(tmp_path)
    with SQLiteStateStore(path=tmp_path / name) as store:
        assert store.get("k") == 1


def test_closing_waits_for_the_calls_of_other_threads_and_nothing_opens_again(path):
    """Threads of two stores, of which one is closed: the other goes on."""
    closing, other = SQLiteStateStore(path=path), SQLiteStateStore(path=path)
    closing.set("n", 0)
    database = closing._runner._database
    answers, refused, stop = [], [], threading.Event()

    def work():
        while True:
            try:
                answers.append(closing.incr("n"))
            except StoreClosedError:
                refused.append(1)
                return

    def go_on():
        while not stop.is_set():
            other.incr("m")

    threads = [threading.Thread(target=work) for _ in range(6)] + [threading.Thread(target=go_on)]
    for thread in threads:
        thread.start()
    while len(answers) < 30:
        threading.Event().wait(0.001)
    closing.close()
    done = len(answers)
    for _ in range(3):
        with pytest.raises(StoreClosedError):
            closing.get("n")
        with pytest.raises(StoreClosedError):
            closing.connect()
        with pytest.raises(StoreClosedError):
            closing.schema_status()
    closing.close()
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(refused) == 6
    assert other.get("n") == len(answers) >= done
    other.close()
    assert database._writer is None
    assert not database._readers


def test_an_async_store_that_one_of_several_loops_closes(path):
    store = AsyncSQLiteStateStore(path=path, lock_timeout=20)
    answers, refused = [], []

    async def work():
        async def count():
            while True:
                answers.append(await store.incr("n"))

        outcomes = await asyncio.gather(*(count() for _ in range(5)), return_exceptions=True)
        refused.extend(outcomes)

    async def close():
        while len(answers) < 50:
            await asyncio.sleep(0.001)
        await store.close()

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(3)]
    for thread in threads:
        thread.start()
    asyncio.run(close())
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert [type(error) for error in refused] == [StoreClosedError] * 15
    assert sorted(answers) == list(range(1, len(answers) + 1))
    with SQLiteStateStore(path=path) as again:
        assert again.get("n") == len(answers)


@pytest.mark.parametrize(
    "call",
    [
        lambda stores: stores[0].get_messages("s", limit=10**30),
        lambda stores: stores[0].get_messages("s", before_seq=10**30),
        lambda stores: stores[0].get_messages("s", after_seq=-(10**30)),
        lambda stores: stores[0].list_sessions(limit=10**30),
        lambda stores: stores[0].list_sessions(offset=10**30),
        lambda stores: stores[0].list_sessions(limit=2**62, offset=2**62),
        lambda stores: stores[0].list_sessions("\ud800"),
        lambda stores: stores[0].search_messages("\ud800\0 x", limit=10**30),
        lambda stores: stores[0].search_messages("x", user_id="\ud800"),
        lambda stores: stores[0].search_messages("x " * 20_000),
        lambda stores: stores[0].delete_messages("s", ["\ud800", "\0"]),
        lambda stores: stores[0].fork_session("s", up_to_seq=10**30, new_session_id="t"),
        lambda stores: stores[1].keys("\ud800*"),
        lambda stores: stores[1].set("k", 1, ttl=1e300),
        lambda stores: stores[1].incr("k", 10**30),
        lambda stores: stores[2].search("c", [1.0, 2.0], limit=10**30),
        lambda stores: stores[2].search("c", [1.0, 2.0], filters={"\ud800": {"$in": ["\ud800"] * 100_000}}),
        lambda stores: stores[2].get("c", ["\ud800"]),
    ],
)
def test_odd_arguments_are_answered_or_refused_by_our_errors(path, call):
    stores = SQLiteConversationStore(path=path), SQLiteStateStore(path=path), SQLiteKnowledgeStore(path=path)
    try:
        stores[0].create_session(ConversationSession("s", user_id="u"))
        stores[0].add_message("s", ConversationMessage("1", content="x"))
        stores[2].create_collection("c", 2)
        with contextlib.suppress(PersistenceError):
            call(stores)
        assert stores[0].count_messages("s") == 1
        stores[1].set("other", 1)
    finally:
        for store in stores:
            store.close()


# ------------------------------------------------------------------------------------------------------------ looking


@posix
def test_a_file_that_must_exist_is_not_made_again_when_it_was_removed(path):
    with SQLiteStateStore(path=path) as store:
        store.set("key", 1)
    store = SQLiteStateStore(path=path)
    store.expect_existing()
    with store:
        assert store.get("key") == 1
        os.remove(path)
        with pytest.raises(StoreNotFoundError):
            store.set("key", 2)
        assert not os.path.exists(path)
        with SQLiteStateStore(path=path) as other:
            other.set("key", 3)
        assert store.get("key") == 3


@posix
def test_looking_changes_nothing_in_a_database_of_others(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    before = Path(path).read_bytes(), os.stat(path).st_mtime_ns
    store = SQLiteConversationStore(path=path)
    store.expect_existing()
    with store, pytest.raises(StoreNotFoundError):
        store.list_sessions()
    assert (Path(path).read_bytes(), os.stat(path).st_mtime_ns) == before
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_the_integrity_of_a_file(path):
    with SQLiteStateStore(path=path) as store:
        assert store.check_integrity() == Integrity()
        assert not os.path.exists(path), "it is not made by looking"
        for number in range(2000):
            store.set(f"key {number}", "x" * 100)
        assert store.check_integrity() == Integrity()
        assert store.check_integrity(1e-9) == Integrity(complete=False)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    with pytest.raises(StoreClosedError):
        store.check_integrity()
    with SQLiteStateStore(path=":memory:") as memory:
        assert memory.check_integrity() == Integrity()
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"overwritten." * 1024)

    async def main():
        async with AsyncSQLiteStateStore(path=path) as store:
            return await store.check_integrity()

    found = asyncio.run(main())
    assert found.complete
    assert found.problems
    assert not any("xxx" in problem for problem in found.problems)


@posix
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="it is not told here what a process has open")
def test_the_log_of_the_old_file_is_removed_only_while_its_number_is_its_own(path, tmp_path):
    """Once nobody has it open, the log of the new file may get its number, and another process may write to that."""
    code = (
        "import os, sys\nfrom praisonai_persistence_sqlite import SQLiteStateStore\npath = sys.argv[1]\n"
        "def look(event, arguments):\n    if event == 'os.remove' and str(arguments[0]).endswith('-wal'):\n"
        "        number = os.stat(arguments[0]).st_ino\n"
        "        held = [one for one in os.listdir('/proc/self/fd') if number_of(one) == number]\n"
        "        print('held' if held else 'not held')\n"
        "def number_of(one):\n    try:\n        return os.stat('/proc/self/fd/' + one).st_ino\n"
        "    except OSError:\n        return None\n"
        "with SQLiteStateStore(path=path) as store:\n    store.set('k', 1)\n    os.replace(sys.argv[2], path)\n"
        "    sys.addaudithook(look)\n    store.set('k', 2)\n"
    )
    with SQLiteStateStore(path=str(tmp_path / "backup.db")) as backup:
        backup.set("k", 0)
    result = subprocess.run(
        [sys.executable, "-c", code, path, str(tmp_path / "backup.db")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.split() == ["held"]
    assert in_another_process(path, "k") == "2"


def test_looking_at_the_schema_leaves_the_journal_mode_and_every_byte_as_they_are(path):
    with SQLiteConversationStore(path=path) as store:
        store.create_session(ConversationSession(session_id="s"))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    before = Path(path).read_bytes()
    with SQLiteConversationStore(path=path) as store:
        assert (store.schema_status().version, store.migrate_schema(dry_run=True).statements) == (1, ())
        assert store.adopt_legacy("praisonai_", dry_run=True) is None
    assert Path(path).read_bytes() == before
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_looking_at_the_schema_of_an_open_store(path):
    with SQLiteConversationStore(path=path) as store:
        assert store.schema_status().version == 0
        store.create_session(ConversationSession(session_id="s"))
        assert store.schema_status().version == 1
        store.update_session(ConversationSession(session_id="s", name="n"))
        assert in_another_process(path, "k") == "None"
        assert store.get_session("s").name == "n"
