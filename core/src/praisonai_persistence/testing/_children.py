"""The other processes of a test, as the test sees them; see ``_child`` for what they do."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
import anyio.to_thread
import pytest

from praisonai_persistence.testing._forks import start

if TYPE_CHECKING:
    from praisonai_persistence.testing._forks import Start
    from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["TIME_LIMIT", "Child"]

TIME_LIMIT = 60.0
"""Seconds that a race, or the wait for a child, may take before it counts as a deadlock."""


class Child:
    """Another interpreter with a store of its own; see ``_child``.

    Args:
        spec: the store that it opens.
        mode: ``sync`` or ``async``.
        body: ``"module:function"``.
        arguments: its keyword arguments; JSON.
        start: starts a process that runs a module, with a file for its standard error.
    """

    def __init__(self, spec: StoreSpec, mode: str, body: str, arguments: dict[str, Any], start: Start = start) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in end()
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._process = start("praisonai_persistence.testing._child", self._errors)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.send({"spec": spec.to_json(), "mode": mode, "body": body, "arguments": arguments, "path": sys.path})

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # a killed child may leave half a line
                self._messages.put(json.loads(line))
        self._messages.put(None)

    async def _next(self) -> dict[str, Any]:
        try:
            message = await anyio.to_thread.run_sync(self._messages.get, True, TIME_LIMIT)
        except queue.Empty:
            self._fail_where_it_stands(f"said nothing for {TIME_LIMIT:.0f} seconds")
        if message is None:
            printed = self._stderr()
            pytest.fail(f"the child process ended ({self._ended()}) before it was done:\n{printed}")
        if "error" in message:
            last = message["error"].strip().rpartition("\n")[2]
            pytest.fail(f"the child process failed: {last}\n{message['error']}\n{self._stderr()}")
        return message

    def _fail_where_it_stands(self, what: str) -> NoReturn:
        if hasattr(signal, "SIGABRT"):
            self._process.send_signal(signal.SIGABRT)  # it prints where its threads are, and ends
        pytest.fail(f"the child process {what}; it stood here:\n{self._stderr()}")

    def _stderr(self) -> str:
        self._process.wait(TIME_LIMIT)
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def _ended(self) -> str:
        code = self._process.wait(TIME_LIMIT)
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    async def ready(self) -> None:
        """Wait until the child has opened its store."""
        message = await self._next()
        assert "ready" in message, message

    def go(self) -> None:
        """Let the body start."""
        self.send("go")

    def send(self, value: Any) -> None:
        """Give the body what its next ``parent.receive()`` returns."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode("ascii") + b"\n")
        self._process.stdin.flush()

    async def report(self) -> Any:
        """Wait for the next ``parent.report(value)`` of the body."""
        message = await self._next()
        assert "report" in message, f"the body ended without another report: {message}"
        return message["report"]

    async def result(self) -> Any:
        """Wait for the end of the body; return what it returned."""
        while True:
            message = await self._next()
            if "result" in message:
                result = message["result"]
                try:
                    await anyio.to_thread.run_sync(self._process.wait, TIME_LIMIT)
                except subprocess.TimeoutExpired:
                    self._fail_where_it_stands(
                        f"did not end within {TIME_LIMIT:.0f} seconds after its result, {result!r}"
                    )
                return result

    async def kill_after(self, reports: int, delay: float = 0.0) -> list[Any]:
        """Wait for so many reports, then so many seconds, then SIGKILL the child.

        Returns:
            Every report that left the child: the acknowledged ones. At least ``reports``.
        """
        acknowledged = [await self.report() for _ in range(reports)]
        # The moment is the point here, not the wait: it falls at a random place of the child's work.
        await anyio.sleep(delay)
        self._process.kill()
        await anyio.to_thread.run_sync(self._process.wait, TIME_LIMIT)
        while (message := await anyio.to_thread.run_sync(self._messages.get, True, TIME_LIMIT)) is not None:
            if "report" not in message:
                pytest.fail(f"the child process ended before it was killed: {message}\n{self._stderr()}")
            acknowledged.append(message["report"])
        return acknowledged

    def end(self) -> None:
        """Kill the child if it lives, and release what belongs to it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was written to a dead child cannot be flushed
                    stream.close()
