"""What children of the knowledge suite do; see ``_child``. Imports neither pytest nor Hypothesis."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing._conversation_bodies import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from praisonai_persistence.testing._child import Parent

BATCH = 8
"""How many documents the script writes in one call."""


def document(name: str, number: int, turn: int, own: str = "") -> KnowledgeDocument:
    """Return a document of three dimensions of which every part tells the turn."""
    return KnowledgeDocument(
        f"{name}-{number}",
        f"content {turn}",
        [float(turn), float(number), 1.0],
        {"turn": turn, "number": number, "own": own},
        f"hash {turn}",
        float(turn),
    )


async def obey(store: Any, parent: Parent) -> None:
    """Do every order that is received; report what came of it."""
    while (order := parent.receive()) is not None:
        name, *arguments = order
        try:
            if name in {"insert", "upsert"}:
                collection, documents = arguments
                made = [KnowledgeDocument.from_dict(item) for item in documents]
                result = await getattr(store, name)(collection, made)
            elif name in {"search", "get"}:
                result = [found.to_dict() for found in await getattr(store, name)(*arguments)]
            else:
                result = await getattr(store, name)(*arguments)
            parent.report({"returned": result})
        except PersistenceError as error:
            parent.report({"raised": type(error).__name__})


async def insert_first(store: Any, parent: Parent, collection: str, names: list[str], number: int) -> list[str]:
    """Try to be the first to insert each document; return those where that worked."""
    won = []
    for name in names:
        try:
            await store.insert(collection, [document(name, 0, number)])
        except PersistenceError as error:
            if type(error).__name__ != "DocumentExistsError":
                raise
        else:
            won.append(name)
    return won


async def upsert_times(store: Any, parent: Parent, collection: str, name: str, times: int) -> None:
    """Write so many documents of our own, and one that others write too."""
    for turn in range(times):
        await store.upsert(collection, [document(name, turn, turn, name), document("common", 0, turn, name)])


def script(own: str) -> Iterator[tuple[str, list[Any]]]:
    """Give calls on the collection ``docs`` without end, always the same ones for the same name."""
    chance = random.Random(own)
    for turn in itertools.count():
        yield "insert", ["docs", [document(f"{own}:new-{turn}", number, turn, own) for number in range(BATCH)]]
        yield "upsert", ["docs", [document(f"{own}:same", number, turn, own) for number in range(BATCH)]]
        yield "upsert", ["docs", [document(f"{own}:one", chance.randrange(3), turn, own)]]
        gone = [f"{own}:same-{chance.randrange(BATCH)}", f"{own}:one-{chance.randrange(3)}"]
        yield "delete", ["docs", gone]
        if turn % 3 == 2:
            yield "delete", ["docs", None, {"own": own, "turn": {"$lt": turn - 1}}]


async def write_forever(store: Any, parent: Parent, name: str, writers: int = 1) -> None:
    """Follow [script][] until killed; report every acknowledged call as ``[worker, how many so far]``."""

    async def writer(worker: int) -> None:
        for number, (method, arguments) in enumerate(script(f"{name}-{worker}"), 1):
            await getattr(store, method)(*arguments)
            parent.report([worker, number])

    await at_once(store, writer, writers)
