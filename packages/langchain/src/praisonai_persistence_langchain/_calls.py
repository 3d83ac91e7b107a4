"""Operations written once, as generators of the calls they make, for sync and async callers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from langchain_core.embeddings import Embeddings

from praisonai_persistence.bridge import Threads, run_sync
from praisonai_persistence.conversation import AsyncConversationStore
from praisonai_persistence.knowledge import AsyncKnowledgeStore

__all__ = ["Call", "Calls", "both", "later", "now"]

T = TypeVar("T")

_threads = Threads()  # on which sync stores work for async callers; they start with the first call


class Call(NamedTuple):
    """A method of a store or of an embedding model, and what it is called with."""

    target: Any
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - it is only read


Calls = Generator[Call, Any, T]


def now(calls: Calls[T]) -> T:
    """Do an operation for a sync caller."""
    step: Callable[[Any], Call] = calls.send
    value: Any = None
    while True:
        try:
            target, name, args, kwargs = step(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        method = getattr(target, name)
        try:
            awaited = isinstance(target, (AsyncConversationStore, AsyncKnowledgeStore))
            value = run_sync(method, *args, **kwargs) if awaited else method(*args, **kwargs)
            step = calls.send
        except BaseException as error:  # noqa: BLE001 - the operation raises it again, or handles it
            step, value = calls.throw, error


async def later(calls: Calls[T]) -> T:
    """Do an operation for an async caller."""
    step: Callable[[Any], Call] = calls.send
    value: Any = None
    while True:
        try:
            target, name, args, kwargs = step(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            if isinstance(target, Embeddings):
                value = await getattr(target, f"a{name}")(*args, **kwargs)
            elif isinstance(target, (AsyncConversationStore, AsyncKnowledgeStore)):
                value = await getattr(target, name)(*args, **kwargs)
            else:
                value = await _threads.run(getattr(target, name), *args, **kwargs)
            step = calls.send
        except BaseException as error:  # noqa: BLE001 - the operation raises it again, or handles it
            step, value = calls.throw, error


def both(operation: Callable[..., Calls[Any]], finish: Callable[[Any], Any] = lambda value: value) -> tuple[Any, Any]:
    """Return the sync and the async method that do an operation, with its signature and docstring."""

    @functools.wraps(operation)
    def method(*args: Any, **kwargs: Any) -> Any:
        return finish(now(operation(*args, **kwargs)))

    @functools.wraps(operation)
    async def amethod(*args: Any, **kwargs: Any) -> Any:
        return finish(await later(operation(*args, **kwargs)))

    return method, amethod
