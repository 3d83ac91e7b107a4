"""Children of the quick tier: forked from a process that has loaded what they import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from praisonai_persistence.testing._forks import Forked, Forks, Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")

BODY = """
import json, os, sys
def main():
    begun = sorted(sys.modules)
    job = json.loads(sys.stdin.readline())
    for name in job.get("imports", ()):
        __import__(name)
    named = os.environ.get("NAMED")
    print(json.dumps({"modules": begun, "where": os.getcwd(), "named": named, "parent": os.getppid()}))
    sys.stdout.flush()
    sys.stderr.write("said on the way")
    if job.get("waits"):
        sys.stdin.readline()
    sys.exit(job.get("code", 0))

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def errors() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "body_of_a_child.py").write_text(BODY)
    (tmp_path / "loaded_once.py").write_text("")
    (tmp_path / "starts_a_thread.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def tell(child: Process, **job: Any) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(job).encode() + b"\n")
    child.stdin.flush()
    found: dict[str, Any] = json.loads(child.stdout.readline())
    return found


def end(child: Process) -> int:
    for stream in (child.stdin, child.stdout):
        assert stream is not None
        stream.close()
    return child.wait(30)


def test_a_child_has_its_own_streams_and_code(forks: Forks, errors: IO[bytes]) -> None:
    child = forks.start("one", "body_of_a_child", errors)
    assert isinstance(child, Forked)
    tell(child, code=7)
    assert end(child) == 7
    assert child.wait() == 7, "asked again"
    errors.seek(0)
    assert errors.read() == b"said on the way"


def test_a_child_stands_where_its_test_stands(
    forks: Forks, errors: IO[bytes], modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder and its environment are those of the test at that moment."""
    end(forks.start("one", "body_of_a_child", errors))
    monkeypatch.chdir(modules)
    monkeypatch.setenv("NAMED", "now")
    child = forks.start("one", "body_of_a_child", errors)
    found = tell(child)
    assert (found["where"], found["named"]) == (str(modules), "now")
    end(child)


def test_what_one_child_imports_the_next_one_has(forks: Forks, errors: IO[bytes]) -> None:
    first = forks.start("one", "body_of_a_child", errors)
    assert "loaded_once" not in tell(first, imports=["loaded_once"])["modules"]
    assert end(first) == 0
    second = forks.start("one", "body_of_a_child", errors)
    assert "loaded_once" in tell(second, waits=True)["modules"]
    third = forks.start("another", "body_of_a_child", errors)
    assert "loaded_once" not in tell(third)["modules"], "loaded for stores of another class"
    assert (end(second), end(third)) == (0, 0)


def test_a_killed_child_and_one_that_goes_on(forks: Forks, errors: IO[bytes]) -> None:
    killed, waits = (forks.start("one", "body_of_a_child", errors) for _ in range(2))
    tell(waits, waits=True)
    with pytest.raises(subprocess.TimeoutExpired):
        waits.wait(0)
    killed.kill()
    assert killed.wait(30) == -signal.SIGKILL
    killed.kill()  # of one that has ended: nothing happens
    assert end(killed) == -signal.SIGKILL
    assert waits.returncode is None
    assert end(waits) == 0


def test_a_process_that_forks_and_is_killed_takes_nothing_with_it(forks: Forks, errors: IO[bytes]) -> None:
    """The child it leaves behind counts as killed, and the next one has a new parent."""
    orphan = forks.start("one", "body_of_a_child", errors)
    parent = tell(orphan, waits=True)["parent"]
    os.kill(parent, signal.SIGKILL)
    assert orphan.wait(30) == -signal.SIGKILL
    end(orphan)
    assert forks._server is not None
    forks._server.wait(30)
    child = forks.start("one", "body_of_a_child", errors)
    assert tell(child)["parent"] not in (parent, os.getpid())
    assert end(child) == 0


def test_what_starts_threads_when_imported_is_not_forked(forks: Forks, errors: IO[bytes]) -> None:
    """Those threads would be missing: each child is an interpreter of its own."""
    first = forks.start("one", "body_of_a_child", errors)
    tell(first, imports=["starts_a_thread"])
    assert end(first) == 0
    for _ in range(2):
        child = forks.start("one", "body_of_a_child", errors)
        assert isinstance(child, subprocess.Popen)
        assert tell(child)["parent"] == os.getpid()
        assert end(child) == 0
