"""K01: collections."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest

from praisonai_persistence.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    DimensionLimitError,
    InvalidIdentifierError,
    InvalidValueError,
    SerializationError,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_OBJECTS,
    REFUSED_IDENTIFIERS,
    REFUSED_JSON,
    identical,
    shorten,
)
from praisonai_persistence.testing.harness import (
    Race,
    split,
)
from praisonai_persistence.testing.knowledge._common import ALL, COLLECTION_CALLS, ids, make

__all__ = ["Collections"]

MANY_DIMENSIONS = 100_000
"""More than most engines take that have a limit."""


class Collections:
    """K01: collections."""

    largest_dimension: ClassVar[int | None] = None
    """Of the collections that this engine takes; None: no limit is known."""

    # -------------------------------------------------------------------------------------------------- K01 collections

    async def test_k01_collections_are_created_listed_and_deleted(self, store: Any) -> None:
        """And known by what they were created with."""
        assert await store.list_collections() == []
        assert await store.collection_exists("one") is False
        assert await store.create_collection("one", 3) is None
        await store.create_collection("two", 4, "dot", {"a": [1, None]})
        await store.create_collection("three", 1, distance="euclidean", metadata={})
        assert await store.list_collections() == ["one", "three", "two"]
        assert await store.collection_exists("one") is True
        for name, dimension, distance, metadata in (
            ("one", 3, "cosine", None),
            ("two", 4, "dot", {"a": [1, None]}),
            ("three", 1, "euclidean", {}),
        ):
            info = await store.get_collection(name)
            assert (info.name, info.dimension, info.distance) == (name, dimension, distance)
            assert identical(info.metadata, metadata)
        assert await store.delete_collection("two") is None
        assert await store.collection_exists("two") is False
        assert await store.list_collections() == ["one", "three"]
        with pytest.raises(CollectionNotFoundError):
            await store.delete_collection("two")

    async def test_k01_creating_again_with_the_same_arguments_does_nothing(self, store: Any) -> None:
        """Documents stay; metadata are compared as JSON."""
        await store.create_collection("docs", 3, "dot", {"a": 1, "b": [None, True]})
        await store.insert("docs", [make("d")])
        await store.create_collection("docs", 3, "dot", {"a": 1, "b": [None, True]})
        await store.create_collection("docs", 3, "dot", {"b": [None, True], "a": 1.0})
        assert await store.count("docs") == 1
        assert await store.list_collections() == ["docs"]

    async def test_k01_creating_again_with_others_is_refused(self, store: Any) -> None:
        """Whichever argument differs; the collection stays as it is."""
        await store.create_collection("docs", 3, "dot", {"a": 1})
        await store.create_collection("none", 3)
        await store.insert("docs", [make("d")])
        for name, *arguments in (
            ("docs", 4, "dot", {"a": 1}),
            ("docs", 3, "cosine", {"a": 1}),
            ("docs", 3, "euclidean", {"a": 1}),
            ("docs", 3, "dot", {"a": 2}),
            ("docs", 3, "dot", {"a": True}),
            ("docs", 3, "dot", {"a": "1"}),
            ("docs", 3, "dot", {}),
            ("docs", 3, "dot"),
            ("none", 3, "cosine", {}),
            ("none", 3, "cosine", {"a": None}),
        ):
            with pytest.raises(CollectionExistsError):
                await store.create_collection(name, *arguments)
                pytest.fail(f"create_collection took {name}, {arguments}; an error was expected")
        info = await store.get_collection("docs")
        assert (info.dimension, info.distance, info.metadata) == (3, "dot", {"a": 1})
        assert await store.count("docs") == 1

    async def test_k01_metadata_of_collections_come_back(self, store: Any) -> None:
        """The hostile corpus, and as copies."""
        for number, metadata in enumerate(HOSTILE_OBJECTS):
            await store.create_collection(f"c{number}", 2, metadata=metadata)
            found = (await store.get_collection(f"c{number}")).metadata
            assert identical(found, metadata), f"{shorten(metadata)} came back as {shorten(found)}"
            await store.create_collection(f"c{number}", 2, metadata=metadata)
        given_metadata: dict[str, Any] = {"list": [1]}
        await store.create_collection("copy", 2, metadata=given_metadata)
        given_metadata["list"].append(2)
        (await store.get_collection("copy")).metadata["list"].append(3)
        (await store.get_collection("c0")).metadata["x"] = 1
        assert (await store.get_collection("copy")).metadata == {"list": [1]}
        assert (await store.get_collection("c0")).metadata == {}

    async def test_k01_refused_arguments(self, store: Any) -> None:
        """Nothing is created."""
        for dimension in (0, -1, 1.0, True, "3", None, math.nan):
            with pytest.raises(InvalidValueError):
                await store.create_collection("docs", dimension)
                pytest.fail(f"create_collection took the dimension {dimension!r}; an error was expected")
        for distance in ("", "Cosine", "l2", "ip", None, 1, ["dot"]):
            with pytest.raises(InvalidValueError):
                await store.create_collection("docs", 3, distance)
                pytest.fail(f"create_collection took the distance {distance!r}; an error was expected")
        for value in REFUSED_JSON:
            with pytest.raises(SerializationError):
                await store.create_collection("docs", 3, "dot", {"a": value})
                pytest.fail(f"create_collection took the metadata {shorten(value)}; an error was expected")
        not_objects: list[Any] = ["text", 1, [], True, [("a", 1)]]
        for value in not_objects:
            with pytest.raises(ValueError, match="metadata"):
                await store.create_collection("docs", 3, "dot", value)
        assert await store.list_collections() == []

    async def test_k01_a_dimension_that_is_too_large_is_refused(self, store: Any) -> None:
        """Before anything is made, unless the name is taken. One that is not refused works; so does the largest one."""
        dimension = MANY_DIMENSIONS if self.largest_dimension is None else self.largest_dimension + 1
        try:
            await store.create_collection("docs", dimension, "dot")
        except DimensionLimitError:
            assert await store.list_collections() == [], "it is refused, and the collection is there"
            assert await store.collection_exists("docs") is False
            refused, dimension = dimension, self.largest_dimension or 3
            await store.create_collection("docs", dimension, "dot")
            with pytest.raises(CollectionExistsError):  # its name comes first
                await store.create_collection("docs", refused, "dot")
        else:
            assert self.largest_dimension is None, f"create_collection took {dimension:,} dimensions"
        rest = [0.5] * (dimension - 1)
        try:
            await store.insert("docs", [make("near", [2.0, *rest]), make("far", [1.0, *rest])])
        except Exception as error:
            message = (
                f"create_collection took {dimension:,} dimensions, and insert failed; DimensionLimitError was expected"
            )
            raise AssertionError(message) from error
        assert ids(await store.search("docs", [1.0, *[0.0] * (dimension - 1)])) == ["near", "far"]
        (found,) = await store.get("docs", ["near"])
        assert len(found.embedding) == dimension

    @pytest.mark.clause("K12")
    async def test_k01_refused_names(self, store: Any) -> None:
        """By every call, as identifiers."""
        for name in [*REFUSED_IDENTIFIERS, "", "-a", "a" * 49, None]:
            for method, arguments in (("create_collection", (3,)), ("collection_exists", ()), *COLLECTION_CALLS):
                with pytest.raises(InvalidIdentifierError):
                    await getattr(store, method)(name, *arguments)
                    pytest.fail(f"{method} took the collection {shorten(name)}; an error was expected")
        assert await store.list_collections() == []

    async def test_k01_names_are_all_different(self, store: Any) -> None:
        """Also those that an engine's own names would mix up, and its reserved words."""
        names = ["a-b", "a_b", "ab", "a__b", "a-b-", "_", "__", "_a", "select", "table", "order", "documents", "docs"]
        names += ["sqlite_master", "metadata", "a" * 48, "a" * 47, "a" * 47 + "b", "pg_class", "null", "x1"]
        for number, name in enumerate(names):
            await store.create_collection(name, 1 + number % 3, "dot")
            await store.insert(
                name,
                [make("d", [1.0] * (1 + number % 3), content=name), make(f"only {name}", [0.0] * (1 + number % 3))],
            )
        assert await store.list_collections() == sorted(names)
        for number, name in enumerate(names):
            assert (await store.get_collection(name)).dimension == 1 + number % 3
            assert (await store.get(name, ["d"]))[0].content == name
            assert sorted(ids(await store.search(name, [1.0] * (1 + number % 3), ALL))) == ["d", f"only {name}"]
            assert await store.clear_collection(name) == 2
        for name in names[::2]:
            await store.delete_collection(name)
        assert await store.list_collections() == sorted(names[1::2])

    async def test_k01_names_may_differ_in_case_alone(self, store: Any) -> None:
        """Or the second is refused, rather than mixed up with the first."""
        await store.create_collection("docs", 1, "dot")
        await store.insert("docs", [make("lower", [1.0])])
        try:
            await store.create_collection("Docs", 1, "dot")
        except InvalidIdentifierError:
            return
        assert await store.count("Docs") == 0
        await store.insert("Docs", [make("upper", [1.0])])
        assert ids(await store.search("docs", [1.0])) == ["lower"]
        await store.delete_collection("Docs")
        assert await store.list_collections() == ["docs"]

    async def test_k01_a_deleted_collection_leaves_nothing(self, store: Any) -> None:
        """It can be created anew, with another dimension."""
        await store.create_collection("docs", 3, "dot")
        await store.create_collection("other", 3, "dot")
        await store.insert("docs", [make("a", metadata={"x": 1}), make("b")])
        await store.insert("other", [make("a")])
        await store.delete_collection("docs")
        with pytest.raises(CollectionNotFoundError):
            await store.count("docs")
        await store.create_collection("docs", 2, "euclidean", {"new": True})
        assert await store.count("docs") == 0
        assert await store.get("docs", ["a", "b"]) == []
        assert await store.search("docs", [1.0, 0.0], ALL) == []
        assert await store.insert("docs", [make("a", [1.0, 1.0])]) == ["a"]
        assert ids(await store.search("docs", [1.0, 1.0], filters={"x": {"$exists": False}})) == ["a"]
        assert ids(await store.get("other", ["a"])) == ["a"]

    async def test_k01_racing_creators(self, store: Any, race: Race) -> None:
        """Equal ones all succeed, of others one kind does."""

        async def equal(worker: int) -> None:
            await store.create_collection("same", 3, "dot", {"a": 1})

        split(await race(equal))

        async def different(worker: int) -> int:
            await store.create_collection("docs", 1 + worker % 2, "dot")
            return 1 + worker % 2

        dimensions, refused = split(await race(different), CollectionExistsError)
        assert len(set(dimensions)) == 1
        assert len(dimensions) == len(refused) == 4
        assert (await store.get_collection("docs")).dimension == dimensions[0]
        assert await store.list_collections() == ["docs", "same"]
