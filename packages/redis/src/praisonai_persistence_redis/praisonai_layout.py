"""What PraisonAI itself wrote into Redis, for ``copy --from-layout praisonai``.

Its release 4.7 keeps a state key as JSON text under ``praison:<key>``, in an object of its own where the value is none;
a hash as texts, JSON where a value was no text. A collection of documents is an index of the search module,
``praison:vec:<collection>:idx``, over hashes ``praison:vec:<collection>:<id>``, without metadata.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.payload import dumps
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import StepStateStore
from praisonai_persistence.stores.foreign import (
    ForeignDocument,
    ForeignKnowledgeSteps,
    ForeignKnowledgeStore,
    ForeignStateSteps,
)
from praisonai_persistence.stores.state import PAGE
from praisonai_persistence.vectors import unpack
from praisonai_persistence_redis import _Store
from praisonai_persistence_rediscore import CommandStateSteps, RawCommand, starting_with, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.vector_engine import Collection

__all__ = ["PraisonAIKnowledgeStore", "PraisonAIStateStore"]

_STATE, _VECTORS, _INDEX = "praison:", "praison:vec:", ":idx"
_FIELDS = ("content", "content_hash", "created_at")


def _plain(stored: str) -> str:
    """Return the JSON text of a value, as a store has it, of what PraisonAI stored."""
    value = json.loads(stored)
    if isinstance(value, dict) and "__wrapped__" in value and "value" in value:
        value = value["value"]
    return dumps(value)


def _field(stored: str) -> str:
    try:
        return dumps(json.loads(stored))
    except ValueError:  # PraisonAI writes text as it is
        return dumps(stored)


class _StateSteps(ForeignStateSteps, CommandStateSteps):
    """State keys.

    Args:
        prefix: PraisonAI's.
        allow_eviction: of no importance here.
    """

    def __init__(self, prefix: str, *, allow_eviction: bool = True) -> None:
        self._head = prefix

    def probe(self) -> Steps[None]:
        """Look whether the server answers, with the first connection."""
        yield RawCommand("PING")

    @reads
    def get(self, key: str, now: float) -> Steps[str | None]:
        found = yield from super().get(key, now)
        return None if found is None else _plain(found)

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        return {key: _plain(found) for key, found in (yield from super().get_many(keys, now)).items()}

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        keys, cursor = yield from super().scan(prefix, cursor, now)
        # Where PraisonAI's own prefixes are used, its documents lie among the state.
        return [key for key in keys if not (self._head + key).startswith(_VECTORS)], cursor

    @reads
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        found = yield from super().hget(key, field, now)
        return None if found is None else _field(found)

    @reads
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        return {field: _field(found) for field, found in (yield from super().hgetall(key, now)).items()}


class _KnowledgeSteps(ForeignKnowledgeSteps):
    """Documents.

    Args:
        prefix: PraisonAI's.
        allow_eviction: of no importance here.
    """

    distances: ClassVar = {"IP": "dot", "L2": "euclidean"}

    def __init__(self, prefix: str, *, allow_eviction: bool = True) -> None:
        self._head = prefix

    def probe(self) -> Steps[None]:
        """Look whether the server answers, with the first connection."""
        yield RawCommand("PING")

    def _names(self) -> Steps[Sequence[str]]:
        names = [text(name) for name in (yield RawCommand("FT._LIST"))]
        return [
            name[len(self._head) : -len(_INDEX)]
            for name in names
            if name.startswith(self._head) and name.endswith(_INDEX)
        ]

    def _open(self, name: str) -> Steps[Collection | None]:
        if name not in (yield from self._names()):
            return None
        about = list(_flat((yield RawCommand("FT.INFO", f"{self._head}{name}{_INDEX}"))))
        facts = {key: about[place + 1] for place, key in enumerate(about[:-1]) if key in {"dim", "distance_metric"}}
        return self._collection(name, int(facts["dim"]), facts.get("distance_metric"), f"{self._head}{name}:")

    def _ids(self, opened: Collection) -> Steps[Sequence[str]]:
        found: dict[str, None] = {}
        pattern = starting_with(opened.engine)
        position: Any = 0
        while True:
            position, keys = yield RawCommand("SCAN", position, "MATCH", pattern, "COUNT", PAGE, "TYPE", "hash")
            found.update((text(key)[len(opened.engine) :], None) for key in keys)
            if not int(position):
                return list(found)

    def _documents(self, opened: Collection, ids: Sequence[str]) -> Steps[Iterable[ForeignDocument]]:
        documents = []
        for key in ids:
            embedding, *others = yield RawCommand("HMGET", opened.engine + key, "embedding", *_FIELDS)
            if embedding is not None:
                content, content_hash, created_at = (None if value is None else text(value) for value in others)
                time = float(created_at or 0.0)
                documents.append(ForeignDocument(key, content, unpack(embedding).tolist(), None, content_hash, time))
        return documents


def _flat(answer: Any) -> Iterator[str]:
    """Yield all texts of an answer, in order; what it is made of differs between releases and protocols."""
    if isinstance(answer, dict):
        answer = [part for pair in answer.items() for part in pair]
    if isinstance(answer, (list, tuple)):
        for part in answer:
            yield from _flat(part)
    else:
        yield text(answer) if isinstance(answer, (bytes, str)) else str(answer)


class PraisonAIStateStore(_Store, StepStateStore):
    """Reads the state that PraisonAI wrote; takes the options of ``RedisStateStore``.

    Args:
        url: see ``RedisStateStore``.
        table_prefix: PraisonAI's prefix of keys.
        **options: see ``RedisStateStore``.
    """

    capabilities: frozenset[str] = frozenset()
    _make_steps = _StateSteps

    def __init__(self, url: str | None = None, *, table_prefix: str = _STATE, **options: Any) -> None:
        super().__init__(url, table_prefix=table_prefix, **options)


class PraisonAIKnowledgeStore(_Store, ForeignKnowledgeStore):
    """Reads the documents that PraisonAI wrote; takes the options of ``RedisKnowledgeStore``.

    Args:
        url: see ``RedisKnowledgeStore``.
        table_prefix: PraisonAI's prefix of keys.
        **options: see ``RedisKnowledgeStore``.
    """

    _make_steps = _KnowledgeSteps

    def __init__(self, url: str | None = None, *, table_prefix: str = _VECTORS, **options: Any) -> None:
        super().__init__(url, table_prefix=table_prefix, **options)
