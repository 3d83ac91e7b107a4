"""Exceptions raised into a call from outside: by a signal handler, a soft time limit, Ctrl-C, a trace function.

They must reach the caller unchanged (L03), whatever their class, even if the client wrapped them in errors of its own.
The client's own errors become subclasses of ``PersistenceError``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import PersistenceError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import CodeType, TracebackType

__all__ = ["outsider"]


def outsider(error: BaseException, packages: Collection[str], *, located: bool = False) -> BaseException | None:
    """Return the exception that came from outside: this one, or one that it hides. None: it is the client's own.

    An exception came from outside if it is no ``Exception``, if its class belongs neither to Python's library nor to
    the client's packages, or if a signal handler of the program raised it. Of what another error hides, only what a
    signal handler raised counts, Ctrl-C and the end of the program among it.

    Args:
        error: what arrived.
        packages: names of the packages whose exceptions the client raises.
        located: also count what was raised by code of any other package, whatever its class, and hidden or not: for
            clients that call nothing beyond their packages and Python's library.
    """
    found: BaseException | None = error
    hidden, expired, seen = False, False, set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, PersistenceError):
            return None
        frames = list(_frames(found.__traceback__))
        # What the caller was handling when it called us is part of the chain, but was not raised in the call.
        if hidden and not any(_is_inside(frame, packages) for frame in frames):
            return None
        if isinstance(found, asyncio.CancelledError) and expired:  # how asyncio ends what it waited for in vain
            return None
        if _is_handlers(frames):
            return found
        # A client has libraries of its own below it, whose errors it hides; their classes say nothing.
        if _is_foreign(type(found), packages) if located or not hidden else _ends_a_program(found):
            return found
        if located and frames and not _is_inside(frames[-1], packages):
            return found
        expired = isinstance(found, asyncio.TimeoutError)
        # C code that does not look whether what it called has failed: Python puts a SystemError in the failure's place.
        lost = isinstance(found, SystemError) and found.__cause__ is not None
        found, hidden = found.__cause__ or found.__context__, hidden or not lost
    return None


def _ends_a_program(error: BaseException) -> bool:
    return isinstance(error, (KeyboardInterrupt, SystemExit))


def _is_foreign(kind: type[BaseException], packages: Collection[str]) -> bool:
    if not issubclass(kind, Exception):
        return True
    package = kind.__module__.partition(".")[0]
    ours = package.startswith("praisonai_persistence_")  # what a backend raises for itself
    return not ours and package not in packages and package not in sys.stdlib_module_names


def _frames(traceback: TracebackType | None) -> Iterator[Any]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _is_inside(frame: Any, packages: Collection[str]) -> bool:
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return name in packages or name.startswith("praisonai_persistence") or name in sys.stdlib_module_names


def _is_handlers(frames: list[Any]) -> bool:
    import signal

    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    codes = {_code(handler) for handler in handlers if callable(handler)} - {None}
    return any(frame.f_code in codes for frame in frames)


def _code(handler: Callable[..., Any]) -> CodeType | None:
    """Return the code of a function, of a method, of a partial of these, or of an object that can be called."""
    function: Any = getattr(handler, "func", handler)
    function = getattr(function, "__func__", function)
    return getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
