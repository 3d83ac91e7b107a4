"""PraisonAI's own memory of an agent, which keeps words outside the store that the agent was given."""

from __future__ import annotations

import functools
import sys
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

__all__ = ["FileMemoryWarning", "noticing", "noticing_async"]

T = TypeVar("T")

_PACKAGE = "praisonaiagents"
_DEEPEST = 40
"""How many frames above the adapter's method are looked at for the agent that called it."""


class FileMemoryWarning(UserWarning):
    """An agent that was given ``db()`` also writes what is said into PraisonAI's own files."""


def _agent_of(adapter: object, frame: FrameType | None) -> dict[str, Any] | None:
    """Return the attributes of the agent whose method called this adapter, or None: another caller."""
    for _ in range(_DEEPEST):
        if frame is None:
            return None
        if str(frame.f_globals.get("__name__")).startswith(_PACKAGE):
            attributes: dict[str, Any] = getattr(frame.f_locals.get("self"), "__dict__", {})
            if attributes.get("_db") is adapter:
                return attributes
        frame = frame.f_back
    return None


def _place(frame: FrameType | None) -> tuple[str, int, str]:
    """Return file, line and module of the program that uses the agent."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__")).partition(".")[0]
        if name not in {_PACKAGE, "praisonai_persistence", "asyncio", "threading", "concurrent", "contextvars"}:
            return frame.f_code.co_filename, frame.f_lineno, name
        frame = frame.f_back
    return _PACKAGE, 0, _PACKAGE


def _notice(adapter: Any) -> None:
    """Warn, once for each adapter, if the agent that calls it has PraisonAI's file memory on."""
    if adapter.__dict__.get("_noticed") or _PACKAGE not in sys.modules:
        return
    frame = sys._getframe(1)
    agent = _agent_of(adapter, frame)
    memory = type((agent or {}).get("_memory_instance"))
    if memory.__name__ != "FileMemory" or not memory.__module__.startswith(_PACKAGE):
        return
    adapter.__dict__["_noticed"] = True
    file, number, module = _place(frame)
    warnings.warn_explicit(
        "this agent has PraisonAI's file memory on: what is said is also written as plain text to files below "
        ".praisonai/memory, outside the store, where deleting its sessions does not delete it, and is told to other "
        'sessions. Switch it off: memory=MemoryConfig(db=db(...), backend="in_memory", session_id=...)',
        FileMemoryWarning,
        file,
        number,
        module,
    )


def noticing(method: Callable[P, T]) -> Callable[P, T]:
    """Return the method of an adapter by which an agent begins; it warns of the agent's file memory."""

    @functools.wraps(method)
    def begin(*args: P.args, **kwargs: P.kwargs) -> T:
        _notice(args[0])
        return method(*args, **kwargs)

    return begin


def noticing_async(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """[noticing][] for an awaited method."""

    @functools.wraps(method)
    async def begin(*args: P.args, **kwargs: P.kwargs) -> T:
        _notice(args[0])
        return await method(*args, **kwargs)

    return begin
