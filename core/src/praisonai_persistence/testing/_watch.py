"""Sees whether code touches the network or the disk, by the interpreter's audit events."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["Watch", "constructs_quietly"]

_TOUCHES = frozenset(
    {
        "os.mkdir",
        "os.putenv",
        "os.remove",
        "os.rename",
        "os.truncate",
        "shutil.copyfile",
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.sendto",
        "sqlite3.connect",
        "subprocess.Popen",
    }
)
_OPENS = frozenset({"_thread.start_new_thread", "open", "socket.__new__"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC

_watching = threading.local()
_installed = threading.Lock()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    events: list[str] | None = getattr(_watching, "events", None)
    if events is None:
        return
    if getattr(_watching, "everything", False) and event in _OPENS:
        if not _importing():
            events.append(f"{event} {arguments!r}")
    elif event == "open":
        path, mode, flags = arguments
        compiled = isinstance(path, str) and "__pycache__" in path  # the interpreter's own, of a module loaded late
        if (flags & _WRITES or (mode and set(mode) & set("wax+"))) and not compiled:
            events.append(f"{event} {path!r}")
    elif event in _TOUCHES and not (event != "subprocess.Popen" and _of_bytecode(arguments)):
        events.append(f"{event} {arguments!r}")


def _of_bytecode(arguments: tuple[Any, ...]) -> bool:
    return any(isinstance(argument, str) and "__pycache__" in argument for argument in arguments)


def _importing() -> bool:
    """Whether a module is being loaded, or asked for its version: what the interpreter opens for that is no store's."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if (
            frame.f_code.co_filename.startswith("<frozen importlib")
            or "/importlib/metadata/" in frame.f_code.co_filename
        ):
            return True
    return False


class Watch:
    """``with Watch() as watch: ...`` and then ``watch.events``: connections, new files and folders of this thread.

    An audit hook can never be removed, so there is one for all, and it is installed with the first use.

    Args:
        everything: see also files that are opened for reading, sockets, and threads that are started; but for what
            loading a module does.
    """

    def __init__(self, *, everything: bool = False) -> None:
        self._everything = everything
        self.events: list[str] = []

    def __enter__(self) -> Watch:
        if _installed.acquire(blocking=False):
            sys.addaudithook(_hook)
        _watching.events = self.events
        _watching.everything = self._everything
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _watching.events = None


def constructs_quietly(spec: StoreSpec, mode: str) -> None:
    """Assert that a constructor touches nothing."""
    spec.open(mode)  # what is imported with the first one does not count
    with Watch() as watch:
        spec.open(mode)
    assert watch.events == []
