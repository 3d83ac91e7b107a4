"""What children of the state suite do; see ``_child``. Imports neither pytest nor Hypothesis."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.testing._conversation_bodies import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from praisonai_persistence.testing._child import Parent

BATCH = 20
"""How many keys the script sets in one call."""


async def obey(store: Any, parent: Parent) -> None:
    """Make every call that is received as ``[method, arguments]``; report what it returned, or the refusal."""
    while (order := parent.receive()) is not None:
        method, arguments = order
        try:
            parent.report({"returned": await getattr(store, method)(*arguments)})
        except PersistenceError as error:
            parent.report({"raised": type(error).__name__})


async def count_up(store: Any, parent: Parent, key: str, times: int) -> list[int]:
    """Add one so many times; return the sums."""
    return [await store.incr(key) for _ in range(times)]


async def claim(store: Any, parent: Parent, keys: list[str], name: str) -> list[str]:
    """Try to be the first at every key; return where that worked."""
    return [key for key in keys if await store.set_if_absent(key, name)]


async def set_fields(store: Any, parent: Parent, key: str, name: str, times: int) -> None:
    """Set so many fields of a hash."""
    for turn in range(times):
        await store.hset(key, f"{name}-{turn}", turn)


async def replace(store: Any, parent: Parent, key: str, times: int) -> int:
    """Add one so many times by comparing and setting; return how often that had to be tried again."""
    lost = 0
    for _ in range(times):
        while True:
            seen = await store.get(key)
            if await store.compare_and_set(key, seen, {"n": seen["n"] + 1}):
                break
            lost += 1
    return lost


def script(own: str) -> Iterator[tuple[str, list[Any]]]:
    """Give calls without end, always the same ones for the same name, on keys that start with it."""
    chance = random.Random(own)
    for turn in itertools.count():
        key, other, hashed = (f"{own}:{sort}{chance.randrange(4)}" for sort in ("key", "key", "hash"))
        yield "set", [key, {"turn": turn}]
        yield "incr", [f"{own}:n", turn]
        yield "hset", [hashed, f"field-{turn % 5}", [turn]]
        yield "set_many", [{f"{own}:batch:{turn % 3}:{part}": turn for part in range(BATCH)}]
        yield "set_if_absent", [other, turn]
        yield "compare_and_set", [key, {"turn": turn}, [turn]]
        yield "hdel", [hashed, f"field-{turn % 5}", f"field-{chance.randrange(5)}"]
        yield "delete_many", [[other, f"{own}:key{chance.randrange(4)}"]]
        if turn % 7 == 6:
            yield "delete", [hashed]


async def write_forever(store: Any, parent: Parent, name: str, writers: int = 1) -> None:
    """Follow [script][] until killed; report every acknowledged call as ``[worker, how many so far]``."""

    async def writer(worker: int) -> None:
        for number, (method, arguments) in enumerate(script(f"{name}-{worker}"), 1):
            await getattr(store, method)(*arguments)
            parent.report([worker, number])

    await at_once(store, writer, writers)
