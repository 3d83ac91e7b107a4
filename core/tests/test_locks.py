"""Locks of threads and files: who is kept out, for how long, and what interrupts and forks leave."""

import itertools
import os
import stat
import subprocess
import sys
import threading

import pytest

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.locks import FileLock, LockTimeoutError, file_lock, holding, holding_file, open_file
from praisonai_persistence.testing._places import Watched, Worker, visit

HOLD = """
import sys
from praisonai_persistence.locks import holding_file
def hold():
    print("held", flush=True)
    sys.stdin.readline()
holding_file(sys.argv[1], 5, hold)
"""


class SoftLimit(Exception):
    """What a framework raises into a call that takes too long."""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "lock")


def test_holding_waits_for_other_threads_and_refuses_its_own():
    lock, other = threading.RLock(), Worker()
    assert holding(lock, 1, lambda: "done") == "done"

    def inside():
        with pytest.raises(LockTimeoutError, match="another thread held the gate"):
            other.do(lambda: holding(lock, 0.05, int, "the gate"), 5)
        with pytest.raises(UnsupportedOperationError, match="holds the gate already"):
            holding(lock, 1, int, "the gate")
        return "refused"

    assert holding(lock, 1, inside) == "refused"
    assert other.do(lambda: holding(lock, 1, int), 5) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files closed by the collector
def test_an_interrupt_at_any_place_gives_a_file_lock_back(path):
    other, lock = Worker(), file_lock(path)
    for number in itertools.count(1):
        exception = SoftLimit()

        def act(exception=exception):
            raise exception

        found = visit(lambda: holding_file(path, 1, int), Watched(lock), number, act)
        if found.where is None:
            break
        assert found.error is exception
        assert other.do(lambda: holding_file(path, 1, lambda: "free"), 5) == "free", found.where
        assert FileLock(path).run(1, lambda: "free") == "free", found.where
    assert number > 10


def test_a_run_inside_a_run_of_the_same_thread_overtakes_it(path):
    lock = file_lock(path)
    assert file_lock(path) is lock

    def outer():
        turn = lock.turn
        assert lock.run(1, lambda: "inner") == "inner"
        with pytest.raises(LockTimeoutError, match="another process"):
            FileLock(path).run(0.05, int)
        return lock.turn is not turn

    assert lock.run(1, outer) is True


def test_another_process_is_waited_for_and_a_killed_one_holds_nothing(path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LockTimeoutError, match=r"more than 0\.05 seconds"):
            holding_file(path, 0.05, int)
        process.kill()
    assert holding_file(path, 5, lambda: "free") == "free"


def test_the_file_is_private_stays_and_is_made_anew(path):
    holding_file(path, 1, int)
    assert os.name == "nt" or stat.S_IMODE(os.stat(path).st_mode) == 0o600
    lock = FileLock(path)

    def remove():
        os.unlink(path)
        return FileLock(path).run(1, lambda: "a new file")

    assert lock.run(1, remove) == "a new file"
    assert os.path.exists(path)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system opens through links")
def test_a_symbolic_link_is_not_followed(path):
    os.symlink(f"{path}-elsewhere", path)
    with pytest.raises(OSError, match="symbolic"):
        holding_file(path, 1, int)
    assert not os.path.exists(f"{path}-elsewhere")


def test_a_lock_is_kept_until_its_release(path):
    lock, other = FileLock(path), FileLock(path)
    lock.acquire(1)
    lock.acquire(1)
    with pytest.raises(LockTimeoutError):
        other.acquire(0.05)
    lock.release()
    lock.release()
    other.acquire(1)
    other.release()


def test_a_directory_is_not_opened_and_nothing_stays_open(tmp_path):
    with pytest.raises(IsADirectoryError):
        open_file(str(tmp_path), os.O_RDONLY)
