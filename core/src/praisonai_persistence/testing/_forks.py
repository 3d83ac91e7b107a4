"""Children of tests that are forked from a process which has loaded what they import; imports no pytest.

Most of what a child of a test does is to import a driver, which takes some of them two seconds. In the quick tier one
process per class of stores imports, and its forks do the work: each is a new process with the streams that it is given,
runs the ``main`` of a module, and ends as an interpreter does. That process never opens a store. It learns what to
import from its children: each tells the names of the modules that it had to load. A driver that starts threads when it
is imported cannot be forked with them; then, in the full tier, and elsewhere than on Linux, every child is an
interpreter of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any, Union

__all__ = ["Forked", "Forks", "Process", "Start", "start"]

_NUMBER = struct.Struct("i")
"""What a status pipe carries: the id of the child, or 0 where there is none; then its return code."""


class Forked:
    """A forked child, with those attributes of ``subprocess.Popen`` that tests use.

    Args:
        pid: of the process.
        stdin: what it reads.
        stdout: what it writes.
        status: a pipe that gives its return code when it has ended.
    """

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes], status: int) -> None:
        self.pid = pid
        self.stdin: IO[bytes] | None = stdin
        self.stdout: IO[bytes] | None = stdout
        self.returncode: int | None = None
        self._status = status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the return code, or raise ``subprocess.TimeoutExpired``."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked child", timeout or 0.0)
            said = os.read(self._status, _NUMBER.size)
            os.close(self._status)
            if not said:  # the process that forks was killed
                self.kill()
            self.returncode = _NUMBER.unpack(said)[0] if said else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the child is known to have ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send ``SIGKILL``."""
        self.send_signal(signal.SIGKILL)


_LEAVES = 10.0
"""Seconds until a process that forks, and does not end, is killed: a child of it lives."""
Process = Union["subprocess.Popen[bytes]", Forked]
Start = Callable[[str, IO[bytes]], Process]
"""``start(module, errors)``: a process that runs the ``main`` of a module, with a file for its standard error."""


def start(module: str, errors: IO[bytes]) -> Process:
    """Start an interpreter that runs a module, with pipes as standard input and output."""
    return subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
    )


class Forks:
    """Starts children, by forking where that is possible.

    It keeps one process that forks, for the stores of one class: tests come class by class.
    """

    def __init__(self) -> None:
        self._unfit: set[str] = set()
        self._of = ""
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []

    def start(self, of: str, module: str, errors: IO[bytes]) -> Process:
        """Start a child that runs the ``main`` of a module.

        Args:
            of: names the class of stores.
            module: the module.
            errors: a file for its standard error.
        """
        if of in self._unfit or sys.platform != "linux":
            return start(module, errors)
        if of != self._of or self._server is None or self._server.poll() is not None:
            self._leave()
            self._serve(of)
        orders, stdin = os.pipe()
        stdout, reports = os.pipe()
        status, tells = os.pipe()
        theirs = [orders, reports, errors.fileno(), tells]
        assert self._control is not None
        try:
            job = json.dumps({"path": sys.path, "module": module, "cwd": os.getcwd(), "environment": dict(os.environ)})
            socket.send_fds(self._control, [job.encode() + b"\n"], theirs)
        finally:
            for one in (orders, reports, tells):
                os.close(one)
        said = os.read(status, _NUMBER.size)
        if said and (pid := _NUMBER.unpack(said)[0]):
            return Forked(pid, os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb"), status)
        for one in (stdin, stdout, status):
            os.close(one)
        self._unfit.add(of)
        self._leave()
        return start(module, errors)

    def _serve(self, of: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "praisonai_persistence.testing._forks", str(theirs.fileno())]
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        self._of, self._control = of, ours

    def _leave(self) -> None:
        """Let the process that forks end, once its children have ended."""
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            self._leaving.append(self._server)
        self._leaving = [server for server in self._leaving if server.poll() is None]
        self._control = self._server = None

    def close(self) -> None:
        """End all processes that fork; the children have ended."""
        self._leave()
        for server in self._leaving:
            try:
                server.wait(_LEAVES)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        self._leaving.clear()


# ------------------------------------------------------------------------------------------- the process that forks


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._statuses: dict[int, int] = {}  # of a child, where its return code is to be written
        self._names: dict[int, int] = {}  # of a child, where it writes the modules that it has loaded
        self._written: dict[int, bytes] = {}  # what it has written there
        self._writing: set[int] = set()  # where there may come more

    def job(self) -> dict[str, Any] | None:
        """Fork children until there is nothing more to do (None), or this is a child: return what it is to do."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        asked: list[Any] = [self._control]
        while asked or self._statuses:
            ready = select.select([*asked, self._woken, *self._writing], [], [])[0]
            for names in self._writing.intersection(ready):
                self._read(names)
            if self._woken in ready:
                self._reap()
            if self._control in ready:
                job, streams = self._receive()
                if job is None:
                    asked.clear()
                elif self._fork(job, streams):
                    return job
        return None

    def _receive(self) -> tuple[dict[str, Any] | None, list[int]]:
        line = b""
        streams: list[int] = []
        while not line.endswith(b"\n"):
            data, received, _, _ = socket.recv_fds(self._control, 65536, 4)
            if not data:
                return None, streams
            line += data
            streams += received
        return json.loads(line), streams

    def _fork(self, job: dict[str, Any], streams: list[int]) -> bool:
        """Return True in the child."""
        tells = streams[3]
        if len(os.listdir("/proc/self/task")) > 1:
            os.write(tells, _NUMBER.pack(0))
            for one in streams:
                os.close(one)
            return False
        sys.path[:] = job["path"]
        names, told = os.pipe()
        child = os.fork()
        if child:
            os.write(tells, _NUMBER.pack(child))
            for one in (*streams[:3], told):
                os.close(one)
            os.set_blocking(names, False)
            self._statuses[child], self._names[child], self._written[names] = tells, names, b""
            self._writing.add(names)
            return False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for number, stream in enumerate(streams[:3]):
            os.dup2(stream, number)
        for one in (*streams, names, self._woken, self._wake, *self._statuses.values(), *self._written):
            os.close(one)
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["environment"])
        atexit.register(_tell, told, set(sys.modules))
        return True

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 1000)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                status = self._statuses.pop(ended[0])
                with contextlib.suppress(BrokenPipeError):
                    os.write(status, _NUMBER.pack(os.waitstatus_to_exitcode(ended[1])))
                os.close(status)
                self._learn(self._names.pop(ended[0]))

    def _read(self, names: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(names, 65536):
                self._written[names] += data
            self._writing.discard(names)

    def _learn(self, names: int) -> None:
        """Import what a child had to import."""
        self._read(names)
        self._writing.discard(names)
        os.close(names)
        for name in self._written.pop(names).decode().split():
            with contextlib.suppress(BaseException):  # a name that cannot be imported is the child's own affair
                importlib.import_module(name)


def _tell(told: int, known: set[str]) -> None:
    names = " ".join(name for name in sys.modules if name not in known and name != "__main__").encode()
    with contextlib.suppress(OSError):
        while names:
            names = names[os.write(told, names) :]
        os.close(told)


def _serve(control: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = _Server(control).job()
    if job is not None:
        body: Callable[[], None] = importlib.import_module(job["module"]).main
        body()


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
