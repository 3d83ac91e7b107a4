"""The other process: ``python -m praisonai_persistence.testing._child``, started by the harness only.

The first line on standard input is the job as JSON. The child opens the store, says ``ready``, waits for a line, runs
the body and reports by lines of JSON on what was its standard output; whatever else prints goes to standard error.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import sys
import traceback
from functools import reduce
from importlib import import_module
from typing import Any

__all__ = ["Parent"]


class Parent:
    """The child's end of the line to the test.

    A body is ``async def body(store, parent, **arguments)``. It stands in a module that imports neither pytest nor
    hypothesis, so that a child starts quickly.
    """

    def __init__(self, reports: int, orders: Any) -> None:
        self._reports = reports
        self._orders = orders

    def report(self, value: Any) -> None:
        """Tell the test something, now: the line has left this process when the call returns."""
        self._write({"report": value})

    def receive(self) -> Any:
        """Wait for the next value that the test sends."""
        line = self._orders.readline()
        if not line:
            os._exit(3)  # the test is gone
        return json.loads(line)

    def _write(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode("ascii") + b"\n"
        while data:
            data = data[os.write(self._reports, data) :]


def main() -> None:
    """Do one job."""
    faulthandler.enable()  # what a crash of the interpreter or of a driver was in the middle of
    reports = os.dup(1)
    os.dup2(2, 1)
    parent = Parent(reports, sys.stdin)
    job = json.loads(sys.stdin.readline())
    try:
        sys.path[:] = job["path"]
        result = _work(parent, job)
    except BaseException:
        parent._write({"error": traceback.format_exc()})
        raise SystemExit(1) from None
    parent._write({"result": result})


def _work(parent: Parent, job: dict[str, Any]) -> Any:
    from praisonai_persistence.testing._facade import awaitable, drive
    from praisonai_persistence.testing.spec import StoreSpec

    module, _, path = job["body"].partition(":")
    body: Any = reduce(getattr, path.split("."), import_module(module))
    spec, mode = StoreSpec.from_json(job["spec"]), job["mode"]

    async def work() -> Any:
        store = awaitable(spec.open(mode))
        try:
            parent._write({"ready": os.getpid()})
            parent.receive()
            return await body(store, parent, **job["arguments"])
        finally:
            await store.close()

    return drive(work()) if mode == "sync" else asyncio.run(work())


if __name__ == "__main__":
    main()
