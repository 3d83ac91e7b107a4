"""Calls, and what the tests of state stores compare."""

from __future__ import annotations

import math
import time
from typing import Any

import anyio
from hypothesis import HealthCheck, settings

from praisonai_persistence.errors import (
    WrongTypeError,
)
from praisonai_persistence.memory import MemoryStateStore
from praisonai_persistence.testing._compare import Comparison
from praisonai_persistence.testing._facade import SyncFacade, drive
from praisonai_persistence.testing.corpus import (
    identical,
)

__all__ = [
    "BODIES",
    "EITHER_CALLS",
    "HASH_CALLS",
    "LATE",
    "MANY",
    "MISSING",
    "NOT_SECONDS",
    "PLAIN_CALLS",
    "SETTINGS",
    "Contents",
    "alike",
    "collect",
    "contents",
    "model_contents",
    "passed",
]

BODIES = "praisonai_persistence.testing._state_bodies"
MANY = 5_000
"""More keys than any engine gives in one page, and more than SQL engines take as parameters of one statement."""
LATE = 0.1
"""Seconds that an engine's clock may be behind ours."""
NOT_SECONDS: list[Any] = [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf, 10**400, True, "1", [1]]
"""What can be no time to live."""
MISSING = object()
Contents = dict[str, tuple[Any, bool]]

PLAIN_CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("get", ("key",)),
    ("get", ("key", "default")),
    ("get_json", ("key",)),
    ("set", ("key", 1)),
    ("set", ("key", 1, 50.0)),
    ("set_json", ("key", 1)),
    ("set_if_absent", ("key", 1)),
    ("set_if_absent", ("key", 1, 50.0)),
    ("compare_and_set", ("key", None, 1)),
    ("compare_and_set", ("key", {"field": 1}, 1, 50.0)),
    ("incr", ("key",)),
    ("get_many", (["other", "key"],)),
    ("set_many", ({"other": 2, "key": 1, "third": 3},)),
    ("set_many", ({"other": 2, "key": 1}, 50.0)),
]
"""Calls that name a plain value, each with the key ``key``."""
HASH_CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("hget", ("key", "field")),
    ("hget", ("key", "field", "default")),
    ("hset", ("key", "field", 1)),
    ("hgetall", ("key",)),
    ("hdel", ("key", "field")),
    ("hdel", ("key", "field", "another")),
]
"""Calls that name a hash."""
EITHER_CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("exists", ("key",)),
    ("ttl", ("key",)),
    ("expire", ("key", 50.0)),
    ("delete", ("key",)),
    ("delete_many", (["key"],)),
]
"""Calls that take keys of both sorts."""


SETTINGS = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def collect(iterator: Any) -> list[str]:
    """Return everything that an async iterator gives."""
    return [item async for item in iterator]


async def contents(store: Any) -> Contents:
    """Return every key with its value (of a hash: its fields, marked) and whether it has a time to live."""
    found = {}
    for key in await store.keys():
        try:
            value = await store.get(key)
        except WrongTypeError:
            value = ["hash", await store.hgetall(key)]
        found[key] = (value, await store.ttl(key) is not None)
    return found


def model_contents(model: MemoryStateStore) -> Contents:
    """Return the same of the reference."""
    return drive(contents(SyncFacade(model)))


def alike(found: Contents, expected: Contents) -> Comparison:
    """Whether two [contents][] are the same, with the types of all values."""
    return identical(
        {key: list(value) for key, value in found.items()}, {key: list(value) for key, value in expected.items()}
    )


async def passed(moment: float) -> None:
    """Wait until a time of ``time.time`` has passed, and a little longer."""
    while (left := moment + LATE - time.time()) > 0:
        await anyio.sleep(left)
