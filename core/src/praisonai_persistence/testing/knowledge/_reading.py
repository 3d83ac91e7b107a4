"""K07, K08: documents are read, counted and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
)
from praisonai_persistence.testing.corpus import (
    REFUSED_IDS,
    shorten,
)

if TYPE_CHECKING:
    pass
from praisonai_persistence.testing.knowledge._common import everything, ids, make

__all__ = ["Reading"]


class Reading:
    """K07, K08: documents are read, counted and deleted."""

    # ---------------------------------------------------------------------------------------------------------- K07 get

    async def test_k07_documents_come_in_the_order_asked(self, docs: Any) -> None:
        """Unknown ids are skipped, one asked twice comes twice."""
        await docs.insert("docs", [make(name, content=name) for name in "abcdef"])
        for asked in (
            ["f", "a", "c"],
            ["a", "c", "f"],
            ["c", "unknown", "b", "A"],
            ["e"],
            [],
            ["unknown"],
            list("fedcba"),
        ):
            found = await docs.get("docs", asked)
            assert ids(found) == [name for name in asked if name in set("abcdef")]
            assert all(item.content == item.id for item in found)
            assert all(item.score is None for item in found)
        assert ids(await docs.get("docs", ["b", "a", "b"])) == ["b", "a", "b"]
        assert ids(await docs.get("docs", ("b", "a"))) == ["b", "a"]

    async def test_k07_the_ids_of_all_documents_are_listed(self, docs: Any) -> None:
        """Sorted, each once, also those that no search asked for; a filter selects as everywhere."""
        assert await docs.document_ids("docs") == []
        names = [f"d{number:04}" for number in range(1_050)]  # more than one page of most engines
        for start in range(0, len(names), 350):
            some = names[start : start + 350]
            await docs.upsert("docs", [make(name, metadata={"even": int(name[1:]) % 2 == 0}) for name in some])
        await docs.upsert("docs", [make("d0003", metadata={"even": "no"}), make("\U0001f600"), make("\uffff")])
        await docs.delete("docs", ["d0005"])
        names.remove("d0005")
        # By code point, whatever the engine's or the interpreter's order of UTF-16 or of a language.
        assert await docs.document_ids("docs") == [*names, "\uffff", "\U0001f600"]
        assert await docs.document_ids("docs", {"even": True}) == names[:5:2] + names[5::2]
        assert await docs.document_ids("docs", {"even": "no"}) == ["d0003"]
        assert await docs.document_ids("docs", {"even": {"$exists": False}}) == ["\uffff", "\U0001f600"]

    async def test_k07_refused_ids(self, docs: Any) -> None:
        """One text is no list of ids."""
        await docs.insert("docs", [make("a"), make("b")])
        for name in REFUSED_IDS:
            for method in ("get", "delete"):
                with pytest.raises(InvalidValueError):
                    await getattr(docs, method)("docs", ["a", name])
                    pytest.fail(f"{method} took the id {shorten(name)}; an error was expected")
            for method in ("insert", "upsert"):
                with pytest.raises(InvalidValueError):
                    await getattr(docs, method)("docs", [make("c"), make(name)])
                    pytest.fail(f"{method} took the id {shorten(name)}; an error was expected")
        for method in ("get", "delete"):
            with pytest.raises(InvalidValueError):
                await getattr(docs, method)("docs", "ab")
        assert sorted(await everything(docs)) == ["a", "b"]

    async def test_k07_count(self, docs: Any) -> None:
        """All, or those that match."""
        assert await docs.count("docs") == 0
        await docs.insert("docs", [make(f"d{n}", metadata={"n": n}) for n in range(7)])
        assert await docs.count("docs") == 7
        assert await docs.count("docs", None) == 7
        assert await docs.count("docs", {}) == 7
        assert await docs.count("docs", {"n": {"$lt": 3}}) == 3
        assert await docs.count("docs", filters={"n": -1}) == 0
        await docs.delete("docs", ["d0"])
        assert await docs.count("docs") == 6

    # ------------------------------------------------------------------------------------------------------- K08 delete

    async def test_k08_delete_by_ids(self, docs: Any) -> None:
        """Each counts once, unknown ones not at all."""
        await docs.insert("docs", [make(name) for name in "abcdef"])
        assert await docs.delete("docs", ["a", "unknown", "a", "c"]) == 2
        assert sorted(await everything(docs)) == ["b", "d", "e", "f"]
        assert await docs.delete("docs", ["a"]) == 0
        assert await docs.delete("docs", ("b",)) == 1
        assert sorted(await everything(docs)) == ["d", "e", "f"]
        assert await docs.insert("docs", [make("a", content="again")]) == ["a"]

    async def test_k08_delete_by_filter(self, docs: Any) -> None:
        """And by both: the ids that match."""
        await docs.insert("docs", [make(f"d{n}", metadata={"n": n}) for n in range(8)])
        assert await docs.delete("docs", filters={"n": {"$gte": 6}}) == 2
        assert await docs.delete("docs", filters={"n": {"$gte": 6}}) == 0
        assert await docs.delete("docs", ["d0", "d5", "d7", "unknown"], {"n": {"$lt": 3}}) == 1
        assert sorted(await everything(docs)) == ["d1", "d2", "d3", "d4", "d5"]
        assert await docs.delete("docs", ["d1", "d2"], {}) == 2
        assert await docs.delete("docs", ["d3"], None) == 1
        assert sorted(await everything(docs)) == ["d4", "d5"]

    async def test_k08_with_neither_nothing_is_deleted(self, docs: Any) -> None:
        """``{}`` is no filter; no ids are none."""
        await docs.insert("docs", [make("a", metadata={"n": 1}), make("b")])
        nothing: list[tuple[Any, ...]] = [(), (None,), (None, None), (None, {})]
        for arguments in nothing:
            with pytest.raises(InvalidValueError) as caught:
                await docs.delete("docs", *arguments)
                pytest.fail(f"delete{arguments} worked; InvalidValueError was expected")
            assert isinstance(caught.value, ValueError)
        assert await docs.delete("docs", []) == 0
        assert await docs.delete("docs", [], {"n": 1}) == 0
        assert await docs.delete("docs", [], {}) == 0
        assert await docs.count("docs") == 2

    async def test_k08_clear_collection(self, docs: Any) -> None:
        """Removes every document and keeps the collection."""
        assert await docs.clear_collection("docs") == 0
        await docs.create_collection("other", 3)
        await docs.insert("other", [make("a")])
        await docs.insert("docs", [make("a"), make("b")])
        assert await docs.clear_collection("docs") == 2
        assert await docs.clear_collection("docs") == 0
        assert await docs.search("docs", [1.0, 0.0, 0.0]) == []
        assert await docs.count("docs") == 0
        info = await docs.get_collection("docs")
        assert (info.dimension, info.distance) == (3, "dot")
        assert await docs.insert("docs", [make("a")]) == ["a"]
        assert await docs.count("other") == 1
