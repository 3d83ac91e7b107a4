"""C17, K05, K10, S01: what derives from text and numbers, and numpy's scalars, are what they are."""

from __future__ import annotations

import enum
import math
from array import array
from collections import OrderedDict, deque
from typing import Any

import pytest

from praisonai_persistence.errors import FilterError, InvalidValueError, SerializationError
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.testing.corpus import identical

__all__ = ["ConversationSubclasses", "KnowledgeSubclasses", "StateSubclasses"]


class Word(str, enum.Enum):
    """Text whose ``str()`` is not the text."""

    ALPHA = "alpha"
    GREATER = "$gte"
    AND = "$and"
    COSINE = "cosine"


class Whole(enum.IntEnum):
    """Whole numbers."""

    ONE = 1
    TWO = 2


class Ratio(float, enum.Enum):
    """Floats."""

    HALF = 0.5


class Other(enum.Enum):
    """Neither text nor numbers."""

    ALPHA = "alpha"


class Text(str):
    """Text that shows itself as another one."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another text"

    __repr__ = __str__


class Hashed(str):
    """Text that dictionaries do not find under its equals."""

    __slots__ = ()

    def __hash__(self) -> int:
        return ~hash(str(self))


DOUBLE: dict[str, int] = {"alpha": 1, Hashed("alpha"): 2}

PAIRS: list[tuple[Any, Any]] = [
    (Word.ALPHA, "alpha"),
    (Text("text \0 \ud800"), "text \0 \ud800"),
    (Whole.ONE, 1),
    (Ratio.HALF, 0.5),
]
"""What is given, and what it is."""
NUMPY = [
    ("str_", "alpha"),
    ("bool_", True),
    ("int8", -1),
    ("int64", 2**53 + 1),
    ("uint64", 2**64 - 1),
    ("float16", 0.5),
    ("float32", 0.25),
    ("float64", 0.1),
]
"""Names of numpy's classes, and what is made of them."""


def _numpy_pairs() -> list[tuple[Any, Any]]:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed, so nobody can give its scalars")
    return [(getattr(numpy, name)(value), value) for name, value in NUMPY]


def _nested(pairs: list[tuple[Any, Any]], place: int) -> dict[str, Any]:
    """Return an object with what is given (place 0), or with what it is (place 1)."""
    values = [pair[place] for pair in pairs]
    return {"list": values, "object": {str(n): value for n, value in enumerate(values)}, "deep": [[{"x": values}]]}


class ConversationSubclasses:
    """C17."""

    async def test_c17_subclasses_are_what_they_are(self, store: Any) -> None:
        """As ids, text, keys, values, and numbers of a call."""
        await self._written(store, PAIRS)
        session = ConversationSession(Word.ALPHA, user_id=Word.ALPHA, name=Word.ALPHA, metadata={Word.ALPHA: 1})
        created = await store.create_session(session)
        assert (created.session_id, created.user_id, created.name) == ("alpha", "alpha", "alpha")
        assert {type(value) for value in (created.session_id, created.user_id, created.name)} == {str}
        assert await store.get_session("alpha") == await store.get_session(Word.ALPHA)
        assert (await store.get_session("alpha")).metadata == {"alpha": 1}
        found = await store.list_sessions(Word.ALPHA, limit=Whole.ONE, offset=0)
        assert [item.session_id for item in found] == ["alpha"]
        message: Any = ConversationMessage(Word.ALPHA, role=Word.ALPHA, content=Word.ALPHA, tool_call_id=Word.ALPHA)
        same = ConversationMessage("alpha", "", "alpha", "alpha", None, "alpha")
        await store.add_messages(Word.ALPHA, [message, same])
        (stored,) = await store.get_messages("alpha", limit=Whole.TWO)
        assert (stored.id, stored.role, stored.content, stored.tool_call_id) == ("alpha",) * 4
        assert {type(value) for value in (stored.id, stored.role, stored.content, stored.tool_call_id)} == {str}
        if "search" in store.capabilities:
            assert len(await store.search_messages(Word.ALPHA, user_id=Word.ALPHA)) == 1
        assert await store.delete_messages(Word.ALPHA, [Word.ALPHA]) == 1
        assert await store.delete_session(Word.ALPHA) is True
        await store.create_session(ConversationSession(Hashed("t")))
        await store.add_message(Hashed("t"), ConversationMessage(Hashed("m"), Hashed("t")))
        await store.add_messages(Hashed("t"), [ConversationMessage("n"), ConversationMessage(Hashed("m"), "t")])
        assert [message.id for message in await store.get_messages(Hashed("t"))] == ["m", "n"]
        assert await store.delete_messages(Hashed("t"), [Hashed("n")]) == await store.count_messages(Hashed("t")) == 1

    async def test_c17_scalars_of_numpy_are_what_they_are(self, store: Any) -> None:
        await self._written(store, _numpy_pairs())

    async def _written(self, store: Any, pairs: list[tuple[Any, Any]]) -> None:
        given, wanted = _nested(pairs, 0), _nested(pairs, 1)
        session = await store.create_session(ConversationSession("s", state=given, metadata=given))
        message = await store.add_message("s", ConversationMessage("m", tool_calls=[given], metadata=given))
        again = await store.add_message("s", ConversationMessage("m", tool_calls=[wanted], metadata=wanted))
        assert again.seq == message.seq
        for item in (session, await store.get_session("s")):
            assert identical(item.state, wanted)
            assert identical(item.metadata, wanted)
        for item in (message, *await store.get_messages("s")):
            assert identical(item.tool_calls, [wanted])
            assert identical(item.metadata, wanted)

    async def test_c17_other_enums_and_double_keys_are_refused(self, store: Any) -> None:
        await store.create_session(ConversationSession("s"))
        for value in (Other.ALPHA, {Other.ALPHA: 1}, {Whole.ONE: 1}, DOUBLE):
            with pytest.raises(SerializationError):
                await store.add_message("s", ConversationMessage(metadata={"x": value}))
        assert await store.count_messages("s") == 0

    async def test_c17_content_is_text_or_a_list_of_parts(self, store: Any) -> None:
        """A list comes back equal, beside any metadata, and is found by the text of its parts."""
        await store.create_session(ConversationSession("s"))
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
        contents: list[Any] = [
            [{"type": "text", "text": "a Needle \0 \ud800"}, picture, "and thread", {"text": 1}, {}],
            [],
            [picture],
            "text",
            None,
        ]
        metadata: list[Any] = [None, {}, {"a": 1}, {"praisonai_parts": ["x"]}, {"praisonai_parts": None, "metadata": 1}]
        messages = [ConversationMessage(content=c, metadata=m) for c in contents for m in metadata]
        await store.add_messages("s", messages)
        first = await store.add_message("s", messages[0])
        assert first.seq == 1, "appended again"
        for given, found in zip(messages, await store.get_messages("s"), strict=True):
            assert identical([found.content, found.metadata], [given.content, given.metadata])
        if "search" in store.capabilities:
            found = await store.search_messages("thread needle")
            assert sorted(item.seq for item in found) == [1, 2, 3, 4, 5]
            assert identical(found[0].content, contents[0])
            assert await store.search_messages("base64") == []
        for content in ([1], [None], [["x"]], [b"x"], ("x",), {"type": "text"}, [{"x": b""}]):
            with pytest.raises(SerializationError):
                await store.add_message("s", ConversationMessage(content=content))  # type: ignore[arg-type]
        assert await store.count_messages("s") == len(messages)


class StateSubclasses:
    """S01."""

    async def test_s01_subclasses_are_what_they_are(self, store: Any) -> None:
        """As keys, values, patterns, and numbers of a call."""
        await self._written(store, PAIRS)
        assert await store.set_if_absent(Word.ALPHA, Whole.ONE) is True
        assert await store.set_if_absent("alpha", 2) is False
        assert await store.keys(Word.ALPHA) == ["alpha"]
        assert [key async for key in store.scan_prefix(Word.ALPHA)] == ["alpha"]
        assert await store.incr(Word.ALPHA, Whole.TWO) == 3
        assert await store.compare_and_set("alpha", 3, Whole.ONE) is True
        assert await store.compare_and_set("alpha", Whole.ONE, Word.ALPHA) is True
        assert await store.expire("alpha", Ratio.HALF * 1000) is True
        assert await store.get_many([Word.ALPHA]) == {"alpha": "alpha"}
        assert await store.delete_many(["alpha", Word.ALPHA]) == 1
        await store.hset("hash", Word.ALPHA, Ratio.HALF)
        assert await store.hgetall("hash") == {"alpha": 0.5}
        assert await store.hdel("hash", Word.ALPHA) == 1
        await store.set_many({Hashed("key"): 1})
        await store.set(Hashed("key"), 2)
        assert await store.keys(Hashed("ke*")) == ["key"]
        assert await store.get(Hashed("key")) == 2
        assert await store.delete(Hashed("key")) is True

    async def test_s01_scalars_of_numpy_are_what_they_are(self, store: Any) -> None:
        await self._written(store, _numpy_pairs())

    async def _written(self, store: Any, pairs: list[tuple[Any, Any]]) -> None:
        for given, wanted in (*pairs, (_nested(pairs, 0), _nested(pairs, 1))):
            await store.set("key", given)
            assert identical(await store.get("key"), wanted)
            assert await store.compare_and_set("key", given, wanted) is True
            await store.hset("fields", "field", given)
            assert identical(await store.hget("fields", "field"), wanted)
        await store.clear()

    async def test_s01_times_and_complex_numbers_of_numpy_are_refused(self, store: Any) -> None:
        numpy = pytest.importorskip("numpy", reason="numpy is not installed, so nobody can give its scalars")
        for value in (numpy.datetime64(1, "ns"), numpy.timedelta64(1, "ns"), numpy.complex128(1), numpy.zeros(2)):
            with pytest.raises(SerializationError):
                await store.set("key", value)
            with pytest.raises(InvalidValueError):
                await store.set("key", 1, ttl=value)
        assert await store.exists("key") is False

    async def test_s01_other_enums_are_refused(self, store: Any) -> None:
        for value in (Other.ALPHA, [Other.ALPHA], DOUBLE):
            with pytest.raises(SerializationError):
                await store.set("key", value)
        assert await store.exists("key") is False


class KnowledgeSubclasses:
    """K03, K05, K10."""

    async def test_k05_subclasses_are_what_they_are(self, store: Any) -> None:
        """As ids, metadata, filters with their keys and operators, and numbers of a call."""
        await store.create_collection("docs", Whole.TWO, Word.COSINE)
        assert await store.insert("docs", [self._document(Word.ALPHA, PAIRS)]) == ["alpha"]
        await self._found(store, PAIRS)
        filters: Any
        for filters in (
            {Word.ALPHA: {Word.GREATER: Whole.ONE}},
            {Word.AND: [{"alpha": Whole.ONE}, {"0": {"$startswith": Word.ALPHA}}]},
            {"2": {"$gt": Ratio.HALF, "$lte": Whole.TWO}},
        ):
            assert await store.count("docs", filters) == 1, filters
        (found,) = await store.search("docs", [Ratio.HALF, Whole.ONE], Whole.ONE, score_threshold=Ratio.HALF)
        assert type(found.id) is type(found.content) is str
        for filters in ({"alpha": Other.ALPHA}, {"alpha": {"$in": [Other.ALPHA]}}, {"alpha": {"$gt": Other.ALPHA}}):
            with pytest.raises(FilterError):
                await store.count("docs", filters)
        assert await store.delete("docs", [Word.ALPHA, "alpha"]) == 1
        name = Hashed("docs")
        await store.upsert(name, [KnowledgeDocument(Hashed("h"), embedding=[1, 0], metadata={Hashed("key"): 1})])
        assert [document.id for document in await store.get(name, [Hashed("h")])] == ["h"]
        assert await store.count(name, {Hashed("key"): {Hashed("$eq"): 1}}) == 1
        await store.delete_collection(name)
        assert await store.collection_exists("docs") is False

    async def test_k05_scalars_of_numpy_are_what_they_are(self, store: Any) -> None:
        pairs = _numpy_pairs()
        import numpy

        await store.create_collection("docs", numpy.int64(2))
        await store.insert("docs", [self._document("alpha", pairs)])
        await self._found(store, pairs)
        assert await store.count("docs", {"1": {"$exists": numpy.bool_(True)}}) == 1
        assert await store.count("docs", {"2": {"$lt": numpy.float32(0)}}) == 1

    def _document(self, name: str, pairs: list[tuple[Any, Any]]) -> KnowledgeDocument:
        flat = {str(n): given for n, (given, _) in enumerate(pairs)}
        metadata = {**_nested(pairs, 0), **flat, Word.ALPHA: Whole.ONE}
        return KnowledgeDocument(name, Word.ALPHA, [0.5, 1.0], metadata)

    async def _found(self, store: Any, pairs: list[tuple[Any, Any]]) -> None:
        wanted = _nested(pairs, 1)
        for n, (given, value) in enumerate(pairs):
            key = str(n)
            for filters in (
                {key: given},
                {key: {"$in": [None, given]}},
                {"list": {"$contains": given}},
                {"object": _nested(pairs, 0)["object"]},
                {"$not": {key: {"$ne": given}}},
            ):
                assert await store.count("docs", filters) == 1, (value, filters)
            assert await store.count("docs", {key: {"$nin": [given]}}) == 0
        (found,) = await store.search("docs", [1.0, 0.0], filters={"list": [given for given, _ in pairs]})
        for name, value in wanted.items():
            assert identical(found.metadata[name], value)

    async def test_k03_what_is_an_embedding(self, store: Any) -> None:
        """Sequences of numbers are; sets, mappings, text, and what can be read once, are refused."""
        await store.create_collection("docs", 2)
        good: list[Any] = [(0.5, 1.0), array("d", [0.5, 1.0]), deque([0.5, 1.0]), [Ratio.HALF, Whole.ONE]]
        await self._embedded(store, good)
        bad: list[Any] = [{0.5, 1.0}, frozenset({0.5, 1.0}), {0.5: 1, 1.0: 2}, OrderedDict({0.5: 1}), "12", b"12345678"]
        for embedding in (*bad, bad[2].keys(), map(float, (1, 2)), (n for n in (1.0, 2.0)), iter([1.0, 2.0])):
            with pytest.raises(InvalidValueError):
                await store.upsert("docs", [KnowledgeDocument("bad", embedding=embedding)])
            with pytest.raises(InvalidValueError):
                await store.search("docs", embedding)
        assert await store.count("docs") == len(good)

    async def test_k03_arrays_of_numpy_are_embeddings(self, store: Any) -> None:
        numpy = pytest.importorskip("numpy", reason="numpy is not installed, so nobody can give its arrays")
        await store.create_collection("docs", 2)
        numbers = [numpy.array([0.5, 1.0], dtype) for dtype in ("float16", "float32", "float64", ">f4")]
        await self._embedded(store, [*numbers, list(numbers[1]), numpy.array([9.0, 0.5, 9.0, 1.0])[1::2]])
        wrong: Any
        for wrong in (numpy.array(a) for a in ([[0.5, 1.0]], [[0.5], [1.0]], 0.5, ["1", "2"])):
            with pytest.raises(InvalidValueError):
                await store.search("docs", wrong)
        with pytest.raises(InvalidValueError):
            await store.search("docs", numpy.array([math.nan, 1.0]))

    async def _embedded(self, store: Any, embeddings: list[Any]) -> None:
        await store.upsert("docs", [KnowledgeDocument(str(n), embedding=e) for n, e in enumerate(embeddings)])
        for document in await store.get("docs", [str(n) for n in range(len(embeddings))]):
            assert identical(document.embedding, [0.5, 1.0])
        for embedding in embeddings:
            assert len(await store.search("docs", embedding, limit=100)) == len(embeddings)
