"""A tiny piece of work on a store of each kind: one write, one read, one batch. For children too: no pytest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from praisonai_persistence.errors import CollectionNotFoundError
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument

__all__ = ["OPERATIONS", "PARTS", "Work", "work_on"]

PARTS = 3
"""How many things one batch writes."""
OPERATIONS = ("write", "batch", "known")
"""The methods of [Work][] that are one call of a store, or two for ``known``."""


class Work(ABC):
    """What the lifecycle tests have a store do. Names are texts of the caller, each used once."""

    calls: tuple[tuple[str, tuple[Any, ...]], ...]
    """One call of each public method that is not the lifecycle's own, with right arguments."""

    @abstractmethod
    async def prepare(self, store: Any) -> None:
        """Make what the others need; harmless when it is there."""

    @abstractmethod
    async def reset(self, store: Any) -> None:
        """Remove what ``prepare`` and the others made."""

    @abstractmethod
    async def write(self, store: Any, name: str) -> None:
        """Write one thing."""

    @abstractmethod
    async def batch(self, store: Any, name: str) -> None:
        """Write ``PARTS`` things in one call."""

    @abstractmethod
    async def written(self, store: Any) -> set[str]:
        """Return the names of everything that was written; the parts of a batch are ``name.0``, ``name.1`` ..."""

    @abstractmethod
    async def known(self, store: Any, name: str = "") -> None:
        """Read two of the things that ``prepare`` made.

        Raises:
            AssertionError: an answer was wrong: perhaps that of another call.
        """

    async def holds(self, store: Any, name: str) -> bool:
        """Whether what ``write`` was to write is there."""
        return name in await self.written(store)

    async def parts(self, store: Any, name: str) -> int:
        """How many parts of a batch are there."""
        found = await self.written(store)
        return sum(part in found for part in _parts(name))


def _parts(name: str) -> list[str]:
    return [f"{name}.{number}" for number in range(PARTS)]


class _Conversation(Work):
    calls = (
        ("get_session", ("a",)),
        ("create_session", (ConversationSession("new"),)),
        ("update_session", (ConversationSession("a"),)),
        ("upsert_session", (ConversationSession("a"),)),
        ("list_sessions", ("user", "agent", 10, 0)),
        ("add_message", ("a", ConversationMessage("called"))),
        ("add_messages", ("a", [ConversationMessage("called")])),
        ("get_messages", ("a", 10, 1.0, 0.0)),
        ("count_messages", ("a",)),
        ("delete_messages", ("a", ["called"])),
        ("delete_session", ("new",)),
    )

    async def prepare(self, store: Any) -> None:
        for name in ("a", "b"):
            await store.upsert_session(ConversationSession(name, name=name, created_at=1.0))
            await store.add_message(name, ConversationMessage("first", content=name, created_at=1.0))

    async def reset(self, store: Any) -> None:
        for name in ("a", "b"):
            await store.delete_session(name)

    async def write(self, store: Any, name: str) -> None:
        await store.add_message("a", ConversationMessage(name, content=name))

    async def batch(self, store: Any, name: str) -> None:
        await store.add_messages("a", [ConversationMessage(part, content=part) for part in _parts(name)])

    async def written(self, store: Any) -> set[str]:
        messages = await store.get_messages("a")
        wrong = [message.id for message in messages[1:] if message.content != message.id]
        assert not wrong, f"messages with the content of others: {wrong}"
        return {message.id for message in messages[1:]}

    async def known(self, store: Any, name: str = "") -> None:
        for expected in ("a", "b"):
            session = await store.get_session(expected)
            assert session is not None, f"the session {expected!r} is gone"
            assert session.name == expected, f"asked for session {expected!r}, got {session.name!r}"
            (first,) = await store.get_messages(expected, before_seq=2)
            assert first.content == expected, f"asked for a message of {expected!r}, got one of {first.content!r}"


class _State(Work):
    calls = (
        ("get", ("a", None)),
        ("set", ("called", {"x": 1}, 50.0)),
        ("exists", ("a",)),
        ("delete", ("called",)),
        ("ttl", ("a",)),
        ("expire", ("called", 50.0)),
        ("keys", ("a*",)),
        ("list_keys", ("a*",)),
        ("hget", ("hash", "a", None)),
        ("hset", ("hash", "called", 1)),
        ("hgetall", ("hash",)),
        ("hdel", ("hash", "called")),
        ("set_if_absent", ("called", 1, 50.0)),
        ("compare_and_set", ("called", 1, 2, 50.0)),
        ("incr", ("called", 1)),
        ("get_many", (["a", "b"],)),
        ("set_many", ({"called": 1}, 50.0)),
        ("delete_many", (["called"],)),
        ("get_json", ("a", None)),
        ("set_json", ("called", 1, 50.0)),
    )

    async def prepare(self, store: Any) -> None:
        await store.set_many({"a": "a", "b": "b"})
        await store.hset("hash", "a", "a")

    async def reset(self, store: Any) -> None:
        await store.clear()

    async def write(self, store: Any, name: str) -> None:
        await store.set(f"w:{name}", name)

    async def batch(self, store: Any, name: str) -> None:
        await store.set_many({f"w:{part}": part for part in _parts(name)})

    async def written(self, store: Any) -> set[str]:
        found = await store.get_many(await store.keys("w:*"))
        wrong = [key for key, value in found.items() if key != f"w:{value}"]
        assert not wrong, f"keys with the values of others: {wrong}"
        return set(found.values())

    async def known(self, store: Any, name: str = "") -> None:
        for expected in ("a", "b"):
            found = await store.get(expected)
            assert found == expected, f"asked for the key {expected!r}, got {found!r}"
        assert await store.hget("hash", "a") == "a", "asked for a field, got another value"

    async def holds(self, store: Any, name: str) -> bool:
        found = await store.get(f"w:{name}")
        assert found in (None, name), f"asked for the value {name!r}, got {found!r}"
        return found is not None

    async def parts(self, store: Any, name: str) -> int:
        return len(await store.get_many([f"w:{part}" for part in _parts(name)]))


class _Knowledge(Work):
    calls = (
        ("create_collection", ("new", 3, "cosine", {"x": 1})),
        ("get_collection", ("docs",)),
        ("collection_exists", ("docs",)),
        ("list_collections", ()),
        ("insert", ("docs", [KnowledgeDocument("called", "text", [1.0, 2.0, 3.0])])),
        ("upsert", ("docs", [KnowledgeDocument("called", "text", [1.0, 2.0, 3.0])])),
        ("search", ("docs", [1.0, 0.0, 0.0], 5, {"x": 1}, 0.5)),
        ("get", ("docs", ["a"])),
        ("count", ("docs", {"x": 1})),
        ("document_ids", ("docs", {"x": 1})),
        ("delete", ("docs", ["called"], {"x": 1})),
        ("clear_collection", ("new",)),
        ("delete_collection", ("new",)),
    )

    async def prepare(self, store: Any) -> None:
        await store.create_collection("docs", 3)
        first, second = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
        try:
            await store.upsert("docs", [KnowledgeDocument("a", "a", first), KnowledgeDocument("b", "b", second)])
        except CollectionNotFoundError as error:
            raise AssertionError(
                "create_collection() returned, and the next call does not find it: committed?"
            ) from error

    async def reset(self, store: Any) -> None:
        if await store.collection_exists("docs"):
            await store.delete_collection("docs")

    async def write(self, store: Any, name: str) -> None:
        await store.upsert("docs", [_document(name)])

    async def batch(self, store: Any, name: str) -> None:
        await store.insert("docs", [_document(part) for part in _parts(name)])

    async def written(self, store: Any) -> set[str]:
        count = await store.count("docs")
        found = await store.search("docs", [0.0, 0.0, 1.0], limit=count + 1, filters={"kind": "written"})
        wrong = [document.id for document in found if document.content != document.id]
        assert not wrong, f"documents with the content of others: {wrong}"
        return {document.id for document in found}

    async def known(self, store: Any, name: str = "") -> None:
        (nearest,) = await store.search("docs", [0.0, 1.0, 0.0], limit=1)
        assert nearest.content == "b", f"searched for 'b', got {nearest.content!r}"
        found = [document.content for document in await store.get("docs", ["b", "a"])]
        assert found == ["b", "a"], f"asked for documents 'b' and 'a', got {found}"

    async def holds(self, store: Any, name: str) -> bool:
        return [document.content for document in await store.get("docs", [name])] == [name]

    async def parts(self, store: Any, name: str) -> int:
        return len(await store.get("docs", _parts(name)))


def _document(name: str) -> KnowledgeDocument:
    return KnowledgeDocument(name, name, [0.25, 0.25, 1.0], {"kind": "written"})


_WORK: dict[str, Work] = {"conversation": _Conversation(), "state": _State(), "knowledge": _Knowledge()}


def work_on(kind: str) -> Work:
    """Return the work for ``conversation``, ``state`` or ``knowledge``."""
    return _WORK[kind]
