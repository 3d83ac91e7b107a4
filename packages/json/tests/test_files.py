"""Locks, atomic replacement, and what killed processes leave behind."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from praisonai_persistence.errors import BackendError, ConnectionFailedError
from praisonai_persistence.locks import LockTimeoutError
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence_json import JSONConversationStore
from praisonai_persistence_json import _files as files
from praisonai_persistence_json._files import Directory, make_directory

unix_only = pytest.mark.skipif(os.name == "nt", reason="signals, and fsync of directories, are not of Windows")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def store(path: Path) -> JSONConversationStore:
    store = JSONConversationStore(path=path)
    store.create_session(ConversationSession("s"))
    store.add_message("s", ConversationMessage("1", content="one"))
    return store


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another interpreter; ``path`` is the first argument."""
    head = """
import os, signal, sys, threading, time
from praisonai_persistence.locks import LockTimeoutError
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence_json import JSONConversationStore
from praisonai_persistence_json._files import Directory
path = sys.argv[1]
"""
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> int:
    with process:
        process.kill()
    return process.returncode


def names(path: Path) -> list[str]:
    found = (item.relative_to(path).as_posix() for item in path.rglob("*"))
    return sorted(name for name in found if ".locks" not in name)


# --------------------------------------------------------------------------------------------------------------- locks

HOLD = """
directory = Directory(os.path.join(path, "praison_"), 5, True)
directory.connect()
def hold(_):
    print("held", flush=True)
    sys.stdin.readline()
directory.change("s", hold)
print("released", flush=True)
"""


def test_a_lock_of_another_process_is_waited_for(path: Path, store: JSONConversationStore) -> None:
    holder = child(HOLD, path)
    assert said(holder) == "held"
    done: list[float] = []
    thread = threading.Thread(target=lambda: done.append(store.add_message("s", ConversationMessage("2")).seq))
    thread.start()
    thread.join(0.2)
    assert not done
    assert [message.id for message in store.get_messages("s")] == ["1"], "readers wait for nobody"
    assert holder.stdin is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert said(holder) == "released"
    thread.join(10)
    assert done == [2]
    finish(holder)


def test_waiting_for_a_lock_ends(path: Path, store: JSONConversationStore) -> None:
    impatient = JSONConversationStore(path=path, lock_timeout=0.1)
    holder = child(HOLD, path)
    assert said(holder) == "held"
    for _ in range(2):
        with pytest.raises(BackendError, match=r"more than 0\.1 seconds"):
            impatient.add_message("s", ConversationMessage("2"))
    finish(holder)
    assert impatient.add_message("s", ConversationMessage("2")).seq == 2, "a killed process holds no lock"


HOLD_AND_FORK = """
directory = Directory(os.path.join(path, "praison_"), 5, True)
directory.connect()
def hold(_):
    if not os.fork():
        sys.stdin.readline()
        print("the child lives", flush=True)
        os._exit(0)
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
directory.change("s", hold)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_does_not_hold_the_lock_of_its_killed_parent(path: Path, store: JSONConversationStore) -> None:
    holder = child(HOLD_AND_FORK, path)
    assert said(holder) == "held"
    assert holder.wait(30) == -signal.SIGKILL
    assert store.add_message("s", ConversationMessage("2")).seq == 2
    with holder:
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert said(holder) == "the child lives"


def test_waiting_for_a_thread_ends_too(path: Path) -> None:
    directory = Directory(str(path), 0.1, True)
    directory.connect()
    started, end = threading.Event(), threading.Event()

    def hold(_: Any) -> bool:
        started.set()
        return end.wait(10)

    def fail(_: Any) -> None:
        pytest.fail("two threads hold one lock")

    thread = threading.Thread(target=directory.change, args=("s", hold))
    thread.start()
    started.wait(10)
    for other in (directory, Directory(str(path), 0.1, True)):
        with pytest.raises(LockTimeoutError, match="another thread"):
            other.change("s", fail)
    assert directory.change("t", lambda _: "free") == "free", "other sessions are free"
    end.set()
    thread.join(10)
    assert directory.change("s", lambda _: "free") == "free"


def test_a_session_can_be_deleted_while_others_wait_for_its_lock(path: Path, store: JSONConversationStore) -> None:
    stores = [JSONConversationStore(path=path) for _ in range(3)]
    seen: list[tuple[str, Any]] = []
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        own = stores[number % 3]
        barrier.wait(10)
        for turn in range(30):
            if number % 2:
                seen.append(("deleted", own.delete_session("s")))
            else:
                name = f"{number}-{turn}"
                seen.append(("created", own.upsert_session(ConversationSession("s", name=name)).version == 1))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 180, "a call raised"
    left = store.get_session("s") is not None
    assert sum(1 for what in seen if what == ("created", True)) + 1 == sum(
        1 for what in seen if what == ("deleted", True)
    ) + int(left)


@unix_only
def test_a_forked_child_is_not_stuck_with_the_locks_of_its_parents_threads(
    path: Path, store: JSONConversationStore
) -> None:
    code = """
import warnings
warnings.simplefilter("ignore")  # newer interpreters warn about forking with threads
store = JSONConversationStore(path=path, lock_timeout=5)
directory = store._steps._directory
started, end = threading.Event(), threading.Event()
def hold(_):
    started.set()
    end.wait(10)
store.connect()
thread = threading.Thread(target=directory.change, args=("s", hold))
thread.start()
started.wait(10)
pid = os.fork()
if pid == 0:
    time.sleep(0.2)  # until the parent has let go
    seq = store.add_message("s", ConversationMessage("from the child")).seq
    os._exit(0 if seq == 2 else 1)
end.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
print(store.add_message("s", ConversationMessage("from the parent")).seq, flush=True)
"""
    process = child(code, path)
    assert said(process) == "0"
    assert said(process) == "3"
    finish(process)


def test_lock_files_are_few_and_stay(path: Path, store: JSONConversationStore) -> None:
    for number in range(300):
        store.create_session(ConversationSession(str(number)))
        store.delete_session(str(number))
    assert len(list((path / "praison_" / ".locks").iterdir())) <= 64


# --------------------------------------------------------------------------------------------------------- replacement


def failing(code: int, when: Callable[[Any], bool] = lambda _: True) -> Callable[..., None]:
    def fail(target: Any, *_: Any) -> None:
        if when(target):
            raise OSError(code, os.strerror(code))

    return fail


def is_directory(descriptor: int) -> bool:
    return os.path.isdir(f"/proc/self/fd/{descriptor}")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_document_as_it_was(
    path: Path, store: JSONConversationStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = (path / "praison_" / "s" / "session.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.ENOSPC))
        with pytest.raises(BackendError) as caught:
            store.add_message("s", ConversationMessage("2", content="secret"))
        assert isinstance(caught.value.__cause__, OSError)
        assert "secret" not in str(caught.value)
        with pytest.raises(BackendError):
            store.create_session(ConversationSession("t"))
    assert (path / "praison_" / "s" / "session.json").read_bytes() == before
    assert not [name for name in names(path) if name.endswith(".tmp")]
    assert store.get_session("t") is None
    assert [session.session_id for session in store.list_sessions()] == ["s"]
    assert store.add_message("s", ConversationMessage("2")).seq == 2


@pytest.mark.skipif(sys.platform != "linux", reason="tells files from directories by /proc")
def test_a_name_that_could_not_be_synced_is_synced_by_the_retry(
    store: JSONConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = ConversationMessage("2", content="two")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EIO, is_directory))
        for _ in range(2):  # the first attempt has written the message; neither is acknowledged
            with pytest.raises(BackendError):
                store.add_message("s", message)
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(is_directory(descriptor)))
    assert store.add_message("s", message).seq == 2
    assert synced == [True]
    assert store.count_messages("s") == 2


def test_without_syncs_nothing_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with JSONConversationStore(path=path, sync=False) as store:
        store.create_session(ConversationSession("s"))
        message = ConversationMessage("1", content="one", created_at=1.0)
        assert store.add_message("s", message) == store.add_message("s", message)
        store.update_session(ConversationSession("s", name="named"))
        store.create_session(ConversationSession("t"))
        assert store.delete_session("t")
    document = path / "praison_" / "s" / "session.json"
    document.write_bytes(document.read_bytes()[:-1] + b"]")
    with JSONConversationStore(path=path, sync=False) as store:
        with pytest.raises(BackendError, match="it is kept as"):
            store.get_messages("s")
        assert store.get_session("s") is None


@pytest.mark.skipif(sys.platform != "linux", reason="tells files from directories by /proc")
def test_every_write_syncs_the_file_and_then_its_name(
    path: Path, store: JSONConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        name = str(Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(path))
        calls.append(f"sync {re.sub('[0-9a-f]{16}', 'random', name)}")
        fsync(descriptor)

    def watched_replace(source: str, target: str) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    store.add_message("s", ConversationMessage("2"))
    assert calls == ["sync praison_/s/session.json.random.tmp", "replace", "sync praison_/s"]
    calls.clear()
    store.create_session(ConversationSession("t"))
    assert calls == ["sync praison_", "sync praison_/t/session.json.random.tmp", "replace", "sync praison_/t"]


def test_a_directory_that_cannot_be_synced_at_all_is_taken_as_it_is(
    store: JSONConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL, is_directory))
    assert store.add_message("s", ConversationMessage("2")).seq == 2


def test_what_windows_refuses_for_an_instant_is_tried_again(
    store: JSONConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [PermissionError(errno.EACCES, "in use")] * 3
    replace = os.replace

    def refuse(source: str, target: str) -> None:
        if refusals:
            raise refusals.pop()
        replace(source, target)

    monkeypatch.setattr(files, "_WINDOWS", True)
    monkeypatch.setattr(os, "replace", refuse)
    assert store.add_message("s", ConversationMessage("2")).seq == 2
    assert not refusals


# ---------------------------------------------------------------------------------------------------- killed processes

DIE_BEFORE_REPLACING = """
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store = JSONConversationStore(path=path)
store.{call}
"""


@unix_only
def test_what_a_killed_writer_leaves_is_no_session_and_goes(path: Path, store: JSONConversationStore) -> None:
    for call in ('add_message("s", ConversationMessage("2"))', 'create_session(ConversationSession("t"))'):
        process = child(DIE_BEFORE_REPLACING.format(call=call), path)
        assert process.wait(30) == -signal.SIGKILL
        finish(process)
    folder = path / "praison_"
    assert len(list((folder / "s").glob("session.json.*.tmp"))) == 1
    assert len(list((folder / "t").glob("session.json.*.tmp"))) == 1
    assert [message.id for message in store.get_messages("s")] == ["1"]
    assert store.get_session("t") is None
    assert [session.session_id for session in store.list_sessions()] == ["s"]
    assert not (folder / "t").exists(), "listing tidies up what is no session"
    assert store.add_message("s", ConversationMessage("2")).seq == 2
    assert not list((folder / "s").glob("*.tmp")), "the next write sweeps it"


@unix_only
def test_a_killed_writer_of_a_deleted_session_leaves_nothing(path: Path, store: JSONConversationStore) -> None:
    process = child(DIE_BEFORE_REPLACING.format(call='add_message("s", ConversationMessage("2"))'), path)
    assert process.wait(30) == -signal.SIGKILL
    finish(process)
    assert store.delete_session("s") is True
    assert names(path) == ["praison_"]


def test_what_is_being_written_is_left_alone(path: Path, store: JSONConversationStore) -> None:
    holder = child(HOLD, path)
    assert said(holder) == "held"
    folder = path / "praison_" / "s"
    (folder / "session.json").rename(folder / "session.json.tmp")  # as in the middle of a create
    assert store.list_sessions() == []
    assert (folder / "session.json.tmp").exists()
    finish(holder)
    assert store.list_sessions() == []
    assert not folder.exists()


# ---------------------------------------------------------------------------------------------------------- directories


def test_directories_are_made_by_many_at_once(tmp_path: Path) -> None:
    target = str(tmp_path / "a" / "b" / "c")
    barrier = threading.Barrier(8)
    errors: list[BaseException] = []

    def make() -> None:
        barrier.wait(10)
        try:
            make_directory(target)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not errors
    assert os.path.isdir(target)


def test_a_directory_that_went_away_is_no_empty_store(path: Path, store: JSONConversationStore) -> None:
    path.rename(path.with_name("elsewhere"))
    start = time.monotonic()
    for call in (
        lambda: store.get_session("s"),
        lambda: store.get_messages("s"),
        lambda: store.list_sessions(),
        lambda: store.create_session(ConversationSession("t")),
        lambda: store.add_message("s", ConversationMessage("2")),
    ):
        with pytest.raises(ConnectionFailedError):
            call()
    assert time.monotonic() - start < 5
    assert not path.exists()
    path.with_name("elsewhere").rename(path)
    assert store.add_message("s", ConversationMessage("2")).seq == 2


def test_a_folder_that_is_replaced_in_the_middle_of_a_change_gets_nothing_of_the_old_one(tmp_path):
    """The change read the old folder; what it writes belongs to the one that stands now, so it begins again."""
    code = (
        "import os, sys\n"
        "from praisonai_persistence import ConversationMessage, ConversationSession\n"
        "from praisonai_persistence_json import JSONConversationStore\n"
        "place, backup = sys.argv[1:]\n"
        "def look(name, arguments):\n"
        "    global backup\n"
        "    if name == 'open' and backup and str(arguments[0]).endswith('.tmp'):\n"
        "        new, backup = backup, ''\n"
        "        os.rename(place, place + '-away')\n        os.rename(new, place)\n"
        "with JSONConversationStore(path=place) as store:\n"
        "    store.create_session(ConversationSession('s'))\n"
        "    store.add_message('s', ConversationMessage(id='old'))\n"
        "    sys.addaudithook(look)\n"
        "    store.add_message('s', ConversationMessage(id='new'))\n"
        "    print(*(message.id for message in store.get_messages('s')), backup)\n"
    )
    place, backup = tmp_path / "place", tmp_path / "backup"
    with JSONConversationStore(path=str(backup)) as store:
        store.create_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage(id="kept"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(place), str(backup)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["kept", "new"], done.stderr
