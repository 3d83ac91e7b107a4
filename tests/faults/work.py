"""What the writers of the laboratory write, and how it is found again: one workload for each kind of store.

A workload makes items that any process can check later, because everything in them follows from their ids. A writer
tells the laboratory about an item before it writes it, and again when the store has acknowledged it.
"""

from __future__ import annotations

import random
import time
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from typing import Any, ClassVar

from praisonai_persistence.errors import SessionExistsError
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument

__all__ = ["FINDINGS", "WORKLOADS", "Item", "Tried", "Workload"]

FINDINGS = ("lost", "doubled", "torn")
"""What must not be there.

``lost``: acknowledged, and missing or under another number. ``doubled``: once written, twice there. ``torn``: a part of
what was written as one, or a content that nobody wrote, or a gap or disorder in the numbers.
"""

Item = dict[str, Any]
"""What a writer writes in one call; JSON."""
Tried = dict[str, Any]
"""An item with ``writer``: who wrote it, and ``answer``: what the store acknowledged, or None.

Where the file was removed or replaced, ``stands``: ``True``, what was acknowledged has to be there; ``None``, nobody
knows on which file; ``False``, it was acknowledged on the file that is gone, and must not be there.
"""

_SHARED_SECONDS = 2.0
"""How long writers stay with a shared session, so that sessions of stores that rewrite them stay short."""
_OWN_ITEMS = 300
"""After how many items a writer goes on with another session of its own."""
_CHUNK = 500
"""How many are read at a time."""


def sure(tried: Tried) -> bool:
    """Whether an item has to be there."""
    return tried["answer"] is not None and tried.get("stands", True) is True


def gone(tried: Tried) -> bool:
    """Whether an item must not be there, because the file on which it was acknowledged is gone."""
    return tried.get("stands", True) is False


def content(name: str) -> str:
    """Return the content that belongs to an id, so that anyone can tell whether it is whole: up to 16 KB."""
    number = zlib.crc32(name.encode())
    times = 1 + number % (1000 if number % 7 == 0 else 40)
    return f"{name}|" * times


class Workload(ABC):
    """One kind of store."""

    kind: ClassVar[str]

    async def prepare(self, store: Any) -> None:
        """Make what all writers need; called by each process before it writes."""
        return

    @abstractmethod
    def item(self, writer: str, number: int) -> Item:
        """Return the item that a writer writes next."""

    @abstractmethod
    async def write(self, store: Any, item: Item) -> Any:
        """Write it, and return what was acknowledged, as JSON. May be called again with the same item."""

    def repeatable(self, item: Item) -> bool:
        """Whether writing the item again after an error changes nothing."""
        return True

    async def make_again(self, store: Any, item: Item) -> None:
        """Make what the item needs, because what stands now does not have it."""
        await self.prepare(store)

    @abstractmethod
    async def check(self, store: Any, tries: list[Tried]) -> Counter[str]:
        """Compare what is there with what was told; count ``FINDINGS``, and ``found``."""


class Conversation(Workload):
    """Messages, alone and in batches, to sessions of one writer and to shared ones."""

    kind = "conversation"

    def __init__(self) -> None:
        self._known: set[str] = set()

    def item(self, writer: str, number: int) -> Item:
        count = 1 if random.random() < 0.6 else random.randint(2, 10)
        if random.random() < 0.5:
            session = f"own-{writer}-{number // _OWN_ITEMS}"
        else:
            session = f"shared-{int(time.time() / _SHARED_SECONDS)}-{random.randint(0, 1)}"
        return {"session": session, "ids": [f"{writer}-{number:07}-{part}" for part in range(count)]}

    async def write(self, store: Any, item: Item) -> list[int]:
        session = item["session"]
        if session not in self._known:
            with suppress(SessionExistsError):  # nobody knows who comes first
                await store.create_session(ConversationSession(session_id=session))
            self._known.add(session)
        messages = [ConversationMessage(id=name, content=content(name), metadata={"id": name}) for name in item["ids"]]
        if len(messages) == 1:
            return [(await store.add_message(session, messages[0])).seq]
        return [message.seq for message in await store.add_messages(session, messages)]

    async def make_again(self, store: Any, item: Item) -> None:
        self._known.discard(item["session"])

    async def check(self, store: Any, tries: list[Tried]) -> Counter[str]:
        counts: Counter[str] = Counter()
        sessions: dict[str, list[Tried]] = {}
        for tried in tries:
            sessions.setdefault(tried["session"], []).append(tried)
        for session, mine in sessions.items():
            messages = await store.get_messages(session)
            counts["found"] += len(messages)
            counts["torn"] += [message.seq for message in messages] != list(range(1, len(messages) + 1))
            seqs: dict[str, int] = {}
            for message in messages:
                counts["doubled"] += message.id in seqs
                counts["torn"] += message.content != content(message.id) or message.metadata != {"id": message.id}
                seqs[message.id] = message.seq
            counts["torn"] += len(seqs.keys() - {name for tried in mine for name in tried["ids"]})  # nobody's
            last: dict[str, int] = {}
            for tried in mine:
                there = [name in seqs for name in tried["ids"]]
                counts["torn"] += (any(there) and not all(there)) or (any(there) and gone(tried))
                if sure(tried):
                    pairs = zip(tried["ids"], tried["answer"], strict=True)
                    counts["lost"] += sum(seqs.get(name) != seq for name, seq in pairs)
                for name in tried["ids"]:
                    if name in seqs:  # a writer's items stand in the order in which it wrote them
                        counts["torn"] += seqs[name] < last.get(tried["writer"], 0)
                        last[tried["writer"]] = seqs[name]
        return counts


class State(Workload):
    """Keys of their own, alone and several at once, fields of a hash, and a counter for each writer."""

    kind = "state"

    def item(self, writer: str, number: int) -> Item:
        what = random.choice(["set", "set", "many", "field", "count"])
        keys = [f"{writer}-{number:07}-{part}" for part in range(5 if what == "many" else 1)]
        return {"what": what, "keys": keys}

    def repeatable(self, item: Item) -> bool:
        return bool(item["what"] != "count")

    async def write(self, store: Any, item: Item) -> int:
        what, keys = item["what"], item["keys"]
        writer = keys[0].partition("-")[0]
        if what == "set":
            await store.set(keys[0], {"content": content(keys[0])})
        elif what == "many":
            await store.set_many({key: {"content": content(key)} for key in keys})
        elif what == "field":
            await store.hset(f"hash-{writer}", keys[0], content(keys[0]))
        else:
            return int(await store.incr(f"count-{writer}"))
        return 0

    async def check(self, store: Any, tries: list[Tried]) -> Counter[str]:
        counts: Counter[str] = Counter()
        plain = [key for tried in tries if tried["what"] in {"set", "many"} for key in tried["keys"]]
        found: dict[str, Any] = {}
        for start in range(0, len(plain), _CHUNK):
            found.update(await store.get_many(plain[start : start + _CHUNK]))
        counts["torn"] += sum(value != {"content": content(key)} for key, value in found.items())
        writers = {tried["writer"] for tried in tries}
        for writer in writers:
            name = writer.partition("-")[0]
            fields = await store.hgetall(f"hash-{name}")
            counts["torn"] += sum(value != content(field) for field, value in fields.items())
            found.update(fields)
        counts["found"] = len(found)
        for tried in tries:
            counts["torn"] += tried["what"] != "count" and gone(tried) and any(key in found for key in tried["keys"])
            if tried["what"] != "count" and sure(tried):
                counts["lost"] += sum(key not in found for key in tried["keys"])
        for writer in writers:
            mine = [tried for tried in tries if tried["writer"] == writer and tried["what"] == "count"]
            least, most = sum(map(sure, mine)), sum(not gone(tried) for tried in mine)
            value = await store.get(f"count-{writer.partition('-')[0]}", 0)
            counts["lost"] += max(0, least - value)
            counts["doubled"] += max(0, value - most)  # an increment that failed may have happened, once
            counts["found"] += value
        return counts


class Knowledge(Workload):
    """Batches of documents with ids of their own, inserted or replaced."""

    kind = "knowledge"
    COLLECTION = "lab"
    DIMENSION = 8

    async def prepare(self, store: Any) -> None:
        await store.create_collection(self.COLLECTION, self.DIMENSION)

    def item(self, writer: str, number: int) -> Item:
        count = 1 if random.random() < 0.4 else random.randint(2, 12)
        return {"ids": [f"{writer}-{number:07}-{part}" for part in range(count)]}

    def _document(self, name: str) -> KnowledgeDocument:
        source = random.Random(name)
        vector = [source.uniform(-1, 1) for _ in range(self.DIMENSION)]
        return KnowledgeDocument(name, content(name), vector, {"id": name})

    async def write(self, store: Any, item: Item) -> int:
        await store.upsert(self.COLLECTION, [self._document(name) for name in item["ids"]])
        return 0

    async def check(self, store: Any, tries: list[Tried]) -> Counter[str]:
        counts: Counter[str] = Counter()
        names = [name for tried in tries for name in tried["ids"]]
        found: set[str] = set()
        if not await store.collection_exists(self.COLLECTION):  # nobody wrote since the file went
            counts["lost"] = sum(len(tried["ids"]) for tried in tries if sure(tried))
            return counts
        for start in range(0, len(names), _CHUNK):
            for document in await store.get(self.COLLECTION, names[start : start + _CHUNK]):
                counts["doubled"] += document.id in found
                found.add(document.id)
                whole = document.content == content(document.id) and document.metadata == {"id": document.id}
                vector = self._document(document.id).embedding or []
                near = all(abs(a - b) < 1e-6 for a, b in zip(document.embedding or [], vector, strict=True))
                counts["torn"] += not (whole and near)
        counts["found"] = len(found)
        counts["doubled"] += max(0, await store.count(self.COLLECTION) - len(found))
        atomic = "atomic_batch" in store.capabilities
        for tried in tries:
            there = [name in found for name in tried["ids"]]
            counts["torn"] += any(there) and gone(tried)
            if sure(tried):
                counts["lost"] += there.count(False)
            elif atomic:
                counts["torn"] += any(there) and not all(there)
        for name in random.sample(sorted(found), min(20, len(found))):  # what is there is found by searching, once
            vector = self._document(name).embedding or []
            ids = [document.id for document in await store.search(self.COLLECTION, vector, limit=5)]
            counts["lost"] += name not in ids
            counts["doubled"] += len(ids) - len(set(ids))
        return counts


WORKLOADS: dict[str, type[Workload]] = {kind.kind: kind for kind in (Conversation, State, Knowledge)}
