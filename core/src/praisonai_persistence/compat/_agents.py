"""The forms of ``Agent(...)`` in PraisonAI's documents, for the releases of praisonaiagents that do not take them.

``db``, ``session_id`` and ``user_id`` went into ``MemoryConfig`` in later releases, and no release takes
``conversation_store``. Here all of them are taken. What names a store of this project switches the agent's own file
memory off, which would keep the same words in files of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from praisonai_persistence.adapter import Db, _Adapter
from praisonai_persistence.conversation import AsyncConversationStore
from praisonai_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Container, Generator

__all__ = ["adapt"]

_MOVED = ("db", "session_id", "user_id")
"""Arguments that are fields of ``MemoryConfig`` where the agent does not take them itself."""
_NO_FILES = "in_memory"
"""The backend of ``MemoryConfig`` that writes no files."""


class _Answer(str):
    """What an agent answered; it may also be awaited."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, str]:
        yield from ()
        return str(self)


def adapt(agents: Any) -> None:
    """Let the class ``Agent`` of a module take what the documents give it; doing it twice is harmless."""
    agent = agents.Agent
    if hasattr(agent, "_answers_are_awaited"):
        return
    construct, start = agent.__init__, agent.start
    taken = frozenset(inspect.signature(construct).parameters)

    @functools.wraps(construct)
    def construct_(self: Any, *args: Any, **arguments: Any) -> None:
        awaited = isinstance(arguments.get("conversation_store"), AsyncConversationStore)
        construct(self, *args, **mapped(arguments, taken, _memory_config()))
        self._answers_are_awaited = awaited

    @functools.wraps(start)
    def start_(self: Any, *args: Any, **options: Any) -> Any:
        answer = start(self, *args, **options)
        return _Answer(answer) if self._answers_are_awaited and isinstance(answer, str) else answer

    agent._answers_are_awaited = False
    agent.__init__, agent.start = construct_, start_
    if _forgets(agent):
        agent.achat = _remembered(agent.achat)


_KEEPS = ("_init_db_session", "_persist_message")
"""Methods of an agent by which ``chat`` goes on with a session, and keeps a message."""


def _forgets(agent: Any) -> bool:
    """Whether the agents of this release keep what is said in ``chat``, and not what is said in ``achat``."""
    has = all(hasattr(agent, name) for name in (*_KEEPS, "achat"))
    return has and _memory_config() is None and not set(_KEEPS) & set(agent.achat.__code__.co_names)


def _remembered(achat: Any) -> Any:
    """Return the method ``achat`` of an agent, made to keep what is said, as its ``chat`` does."""

    @functools.wraps(achat)
    async def achat_(self: Any, prompt: Any, *args: Any, **options: Any) -> Any:
        if getattr(self, "_db", None) is None:
            return await achat(self, prompt, *args, **options)
        self._init_db_session()
        self._persist_message("user", _text(prompt))
        answer = await achat(self, prompt, *args, **options)
        if isinstance(answer, str):
            self._persist_message("assistant", answer)
        return answer

    return achat_


def _text(prompt: Any) -> str:
    """Return what of a prompt is kept: of one in parts the first text, as the agent's ``chat`` does."""
    if not isinstance(prompt, list):
        return str(prompt)
    parts = (part for part in prompt if isinstance(part, dict) and part.get("type") == "text")
    return str(next(parts, {}).get("text", ""))


def _memory_config() -> Any:
    """Return the class ``MemoryConfig``; None in releases that have none."""
    return getattr(import_module("praisonaiagents"), "MemoryConfig", None)


def mapped(arguments: dict[str, Any], taken: Container[str], memory_config: Any) -> dict[str, Any]:
    """Return the keyword arguments that the agent takes in the place of those given.

    Args:
        arguments: given by the program.
        taken: names of the parameters that this release's agent has.
        memory_config: the class ``MemoryConfig``, or None.

    Raises:
        ConfigurationError: two arguments name different stores, sessions or users.
    """
    arguments = dict(arguments)
    if "conversation_store" not in taken and (store := arguments.pop("conversation_store", None)) is not None:
        if arguments.get("db") is not None:
            raise ConfigurationError("db and conversation_store both say where the conversation is kept; give one")
        arguments["db"] = Db(conversation_store=store)
    memory = arguments.get("memory")
    if isinstance(memory, _Adapter):
        if arguments.get("db") not in (None, memory):
            raise ConfigurationError("db and memory both say where the conversation is kept; give one")
        arguments["db"] = memory
        memory = arguments["memory"] = None
    elif memory is True:
        if arguments.get("db") is None and find_spec("praisonai_persistence_sqlite"):
            arguments["db"] = Db()
        if arguments.get("db") is not None:
            memory = arguments["memory"] = None
    if memory_config is None:
        if isinstance(memory, dict) and "session_id" in memory:
            fields = {name: value for name, value in memory.items() if name in _MOVED}
            rest = {name: value for name, value in memory.items() if name not in _MOVED}
            arguments.update(_joined(arguments, fields), memory=rest or None)
        return arguments
    moved = {name: arguments.pop(name) for name in _MOVED if name in arguments and name not in taken}
    moved = {name: value for name, value in moved.items() if value is not None}
    if moved or (isinstance(memory, dict) and {"session_id", "db"} & memory.keys()):
        arguments["memory"] = _with(memory, moved, memory_config)
    return arguments


def _with(memory: Any, moved: dict[str, Any], memory_config: Any) -> Any:
    """Return the argument ``memory`` with fields that were given beside it."""
    if memory is None or isinstance(memory, bool):
        return memory_config(backend=_NO_FILES, **moved)
    if isinstance(memory, dict):
        own = {} if {"backend", "provider"} & memory.keys() else {"backend": _NO_FILES}
        return {**own, **memory, **_joined(memory, moved)}
    if isinstance(memory, memory_config):
        return dataclasses.replace(memory, **_joined(vars(memory), moved))
    raise ConfigurationError(
        f"memory is {type(memory).__name__}, which has no place for {', '.join(moved)}; give "
        f"memory=MemoryConfig({', '.join(f'{name}=...' for name in moved)}, backend='{_NO_FILES}') instead"
    )


def _joined(given: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for name, value in more.items():
        if given.get(name) is not None and given[name] is not value and given[name] != value:
            raise ConfigurationError(f"{name} is given twice, beside memory and in it; give it once")
    return more
