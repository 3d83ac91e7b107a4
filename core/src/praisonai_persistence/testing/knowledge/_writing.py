"""K02, K03: documents are inserted and replaced, and what is wrong is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.errors import (
    CollectionNotFoundError,
    DimensionError,
    DocumentExistsError,
    InvalidValueError,
    SerializationError,
)
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing._knowledge_bodies import document
from praisonai_persistence.testing.corpus import (
    REFUSED_JSON,
    REFUSED_NUMBERS,
    shorten,
)
from praisonai_persistence.testing.harness import (
    ByTier,
    Race,
    split,
)

if TYPE_CHECKING:
    pass
from praisonai_persistence.testing.knowledge._common import (
    ALL,
    COLLECTION_CALLS,
    NO_EMBEDDING,
    NO_NUMBERS,
    everything,
    ids,
    make,
    same,
)

__all__ = ["Writing"]


class Writing:
    """K02, K03: documents are inserted and replaced, and what is wrong is refused."""

    # ------------------------------------------------------------------------------------------------------ K02 writing

    async def test_k02_insert_and_upsert_return_the_ids_in_order(self, docs: Any) -> None:
        """As given."""
        assert await docs.insert("docs", [make("b"), make("a"), make("c")]) == ["b", "a", "c"]
        assert await docs.upsert("docs", [make("d"), make("a"), make("0")]) == ["d", "a", "0"]
        assert await docs.insert("docs", []) == []
        assert await docs.upsert("docs", []) == []
        assert await docs.insert("docs", (make("t"),)) == ["t"]
        assert await docs.count("docs") == 6

    async def test_k02_every_field_comes_back(self, docs: Any) -> None:
        """From get and from search."""
        given_documents = [
            KnowledgeDocument("full", "content", [0.1, -2.5, 3e10], {"a": [1, {"b": None}]}, "hash", 1605398400.123456),
            KnowledgeDocument("empty", "", [0.0, 0.0, 0.0], {}, "", 0.0),
            KnowledgeDocument("none", "", [1.0, 2.0, 3.0], None, None, -1.5),
            KnowledgeDocument("far", "x", [1e-30, -1e-30, 1.0], None, None, 4e9),
        ]
        await docs.insert("docs", given_documents)
        for item in given_documents:
            found = (await docs.get("docs", [item.id]))[0]
            assert same(found, item), f"{item} came back as {found}"
            assert found.score is None
        for found in await docs.search("docs", [1.0, 1.0, 1.0], with_embeddings=True):
            assert same(found, next(item for item in given_documents if item.id == found.id))

    async def test_k02_insert_of_an_existing_id_is_refused(self, docs: Any) -> None:
        """With all of its batch; what is stored stays."""
        await docs.insert("docs", [make("a", content="first", metadata={"n": 1})])
        for batch in (
            [make("a", content="second")],
            [make("b"), make("a", content="second")],
            [make("a", content="second"), make("b")],
            [make("b"), make("c"), make("a"), make("d")],
        ):
            with pytest.raises(DocumentExistsError):
                await docs.insert("docs", batch)
            assert await docs.count("docs") == 1
            assert same((await docs.get("docs", ["a"]))[0], make("a", content="first", metadata={"n": 1}))

    async def test_k02_an_id_may_not_stand_twice_in_an_insert(self, docs: Any) -> None:
        """Nothing is written."""
        with pytest.raises(DocumentExistsError):
            await docs.insert("docs", [make("a"), make("b"), make("a")])
        assert await docs.count("docs") == 0

    async def test_k02_upsert_replaces_all_of_a_document(self, docs: Any) -> None:
        """And the others stay; of an id that stands twice the last one stays."""
        await docs.insert("docs", [make("a", [1, 0, 0], content="old", metadata={"n": 1}, content_hash="h"), make("b")])
        new = KnowledgeDocument("a", "new", [0.0, 1.0, 0.0], {"m": 2}, None, 9.0)
        assert await docs.upsert("docs", [make("c"), new]) == ["c", "a"]
        assert same((await docs.get("docs", ["a"]))[0], new)
        assert await docs.count("docs") == 3
        assert ids(await docs.search("docs", [0.0, 1.0, 0.0], 1)) == ["a"]
        assert await docs.count("docs", {"n": 1}) == 0
        assert await docs.count("docs", {"m": 2}) == 1
        twice = [make("a", content="first"), make("d"), make("a", [0, 0, 1], content="last")]
        assert await docs.upsert("docs", twice) == ["a", "d", "a"]
        assert same((await docs.get("docs", ["a"]))[0], twice[2])
        assert await docs.count("docs") == 4

    async def test_k02_an_equal_upsert_changes_nothing(self, docs: Any) -> None:
        """However often."""
        for _ in range(3):
            await docs.upsert("docs", [make("a", content="x", metadata={"n": 1})])
        assert await docs.count("docs") == 1
        assert same((await docs.get("docs", ["a"]))[0], make("a", content="x", metadata={"n": 1}))

    async def test_k02_large_batches(self, docs: Any, by_tier: ByTier) -> None:
        """More than an engine takes as parameters of one statement."""
        many = by_tier(quick=1_200, full=3_000)
        batch = [document("d", number, 1) for number in range(many)]
        assert await docs.insert("docs", batch) == ids(batch)
        assert await docs.count("docs") == many
        changed = [document("d", number, 2) for number in range(many)]
        assert await docs.upsert("docs", changed) == ids(changed)
        assert await docs.count("docs", {"turn": 2}) == many
        found = await docs.get("docs", ids(reversed(batch)))
        assert ids(found) == ids(reversed(batch))
        assert all(item.content == "content 2" for item in found)
        assert await docs.delete("docs", ids(batch[:-100])) == many - 100
        assert len(await docs.search("docs", [1.0, 0.0, 0.0], ALL)) == 100

    async def test_k02_documents_are_copies(self, docs: Any) -> None:
        """Neither what was given nor what was returned is the stored one; a record is never changed."""
        given_document = make("a", [1.0, 2.0, 3.0], metadata={"list": [1]}, content="x")
        before = KnowledgeDocument.from_dict(given_document.to_dict())
        await docs.insert("docs", [given_document])
        assert given_document == before
        given_document.metadata["list"].append(2)  # type: ignore[index]
        given_document.embedding[0] = 9.0  # type: ignore[index]
        given_document.content = "y"
        wanted = make("a", [1.0, 2.0, 3.0], metadata={"list": [1]}, content="x")
        found = (await docs.get("docs", ["a"]))[0]
        assert same(found, wanted)
        found.metadata["list"].append(3)
        found.embedding[0] = 8.0
        found = (await docs.search("docs", [1.0, 0.0, 0.0], with_embeddings=True))[0]
        assert same(found, wanted)
        found.metadata["x"] = 1
        found.embedding[1] = 7.0
        assert same((await docs.get("docs", ["a"]))[0], wanted)

    async def test_k02_of_racing_inserts_of_an_id_one_wins(self, docs: Any, race: Race) -> None:
        """And what is stored is all the winner's, its batch included."""
        for turn in range(5):

            async def body(worker: int, turn: int = turn) -> int:
                own = [document(f"{turn}-own-{worker}", 0, worker), document(f"{turn}-common", 0, worker)]
                await docs.insert("docs", own)
                return worker

            winners, losers = split(await race(body, workers=6), DocumentExistsError)
            assert len(winners) == 1
            assert len(losers) == 5
            assert same((await docs.get("docs", [f"{turn}-common-0"]))[0], document(f"{turn}-common", 0, winners[0]))
            written = [item for item in await everything(docs) if item.startswith(f"{turn}-")]
            assert sorted(written) == sorted([f"{turn}-common-0", f"{turn}-own-{winners[0]}-0"])

    async def test_k02_racing_upserts_of_an_id_leave_one_whole_document(self, docs: Any, race: Race) -> None:
        """Whoever is last."""

        async def body(worker: int) -> None:
            for turn in range(5):
                await docs.upsert("docs", [document("same", number, worker * 10 + turn) for number in range(3)])

        split(await race(body))
        assert await docs.count("docs") == 3
        for number in range(3):
            found = (await docs.get("docs", [f"same-{number}"]))[0]
            turn = found.metadata["turn"]
            assert turn % 10 == 4
            assert same(found, document("same", number, turn))
            assert await docs.count("docs", {"turn": turn, "number": number}) == 1

    # ----------------------------------------------------------------------------------------------------- K03 refusals

    async def test_k03_an_unknown_collection_is_refused_by_every_call(self, store: Any) -> None:
        """Also with nothing to do."""
        await store.create_collection("other", 3)
        await store.create_collection("deleted", 3)
        await store.delete_collection("deleted")
        for name in ("docs", "deleted", "othe", "other_"):
            assert await store.collection_exists(name) is False
            for method, arguments in COLLECTION_CALLS:
                with pytest.raises(CollectionNotFoundError) as caught:
                    await getattr(store, method)(name, *arguments)
                    pytest.fail(f"{method}{arguments} worked on an unknown collection; an error was expected")
                assert isinstance(caught.value, KeyError)
        assert await store.list_collections() == ["other"]
        assert await store.count("other") == 0

    async def test_k03_a_wrong_dimension_is_refused_before_the_write(self, docs: Any) -> None:
        """Wherever in the batch it stands."""
        await docs.insert("docs", [make("old", content="old")])
        for vector in ([1.0], [1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [0.0] * 300):
            written = ids((await everything(docs)).values())
            assert written == ["old"], "a batch with a wrong dimension was refused, and written in part"
            for method in ("insert", "upsert"):
                for batch in (
                    [make("a", vector)],
                    [make("a"), make("b"), make("c", vector)],
                    [make("c", vector), make("a"), make("b")],
                    [make("a"), make("old" if method == "upsert" else "c", vector, content="new")],
                ):
                    with pytest.raises(DimensionError) as caught:
                        await getattr(docs, method)("docs", batch)
                        pytest.fail(f"{method} took {len(vector)} numbers; an error was expected")
                    assert isinstance(caught.value, ValueError)
            with pytest.raises(DimensionError):
                await docs.search("docs", vector)
                pytest.fail(f"search took {len(vector)} numbers; an error was expected")
        assert ids((await everything(docs)).values()) == ["old"]
        assert (await docs.get("docs", ["old"]))[0].content == "old"

    async def test_k03_a_missing_embedding_is_refused_before_the_write(self, docs: Any) -> None:
        """None and no numbers."""
        for vector in NO_EMBEDDING:
            for method in ("insert", "upsert"):
                with pytest.raises(DimensionError):
                    await getattr(docs, method)("docs", [make("a"), KnowledgeDocument("b", embedding=vector)])
                    pytest.fail(f"{method} took {vector!r}; an error was expected")
            with pytest.raises(DimensionError):
                await docs.search("docs", vector)
                pytest.fail(f"search took {vector!r}; an error was expected")
        assert await docs.count("docs") == 0

    async def test_k03_what_is_no_number_is_refused_before_the_write(self, docs: Any) -> None:
        """NaN, infinities, and what 32 bits cannot hold."""
        for vector in NO_NUMBERS:
            for method in ("insert", "upsert"):
                with pytest.raises(InvalidValueError) as caught:
                    await getattr(docs, method)("docs", [make("a"), KnowledgeDocument("b", embedding=vector)])
                    pytest.fail(f"{method} took {vector!r}; an error was expected")
                assert isinstance(caught.value, ValueError)
            with pytest.raises(InvalidValueError):
                await docs.search("docs", vector)
                pytest.fail(f"search took {vector!r}; an error was expected")
        assert await docs.count("docs") == 0

    async def test_k03_other_fields_are_checked_before_the_write(self, docs: Any) -> None:
        """Content and hash are text, metadata a JSON object, times are times."""
        wrong: list[dict[str, Any]] = [
            *({"content": value} for value in (None, 1, b"x", ["x"])),
            *({"content_hash": value} for value in (1, b"x", ["x"])),
            *({"metadata": value} for value in ("text", 1, [], True, [("a", 1)])),
            *({"metadata": {"a": value}} for value in REFUSED_JSON),
            *({"metadata": {"a": [1, {"b": value}]}} for value in REFUSED_JSON),
            *({"created_at": value} for value in [*REFUSED_NUMBERS, None, "now", True, 10**400]),
        ]
        for fields in wrong:
            for method in ("insert", "upsert"):
                with pytest.raises((InvalidValueError, SerializationError)):
                    await getattr(docs, method)("docs", [make("a"), make("b", **fields)])
                    pytest.fail(f"{method} took {shorten(fields)}; an error was expected")
        assert await docs.count("docs") == 0
