"""A knowledge store over a framework's vector store: what is left when one of the two stores fails, and filters."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.drivers import option
from praisonai_persistence.errors import BackendError, ConfigurationError, FilterError
from praisonai_persistence.filters import parse
from praisonai_persistence.memory import MemoryKnowledgeStore
from praisonai_persistence.stores import StepKnowledgeStore
from praisonai_persistence.stores._joined import _filter
from praisonai_persistence.stores.wrapped import (
    Joined,
    Wrapped,
    WrappedOptions,
    WrappedStore,
    plain_metadata,
    plain_text,
)
from praisonai_persistence.vectors import score


class Shelf:
    """A framework's vector store: entries by id, ranked by euclidean distance; it fails when it is told to."""

    def __init__(self) -> None:
        self.entries: dict[str, KnowledgeDocument] = {}
        self.fails_after: int | None = None
        self.closed = 0


class ShelfOptions(WrappedOptions):
    """What the store can be given."""

    title = "the shelf"
    clients = ("shelf", "shelf_cls")
    base = Shelf
    volatile = (Shelf,)
    instance = "shelf"
    shelf = option(None, "object", "a shelf")
    shelf_cls = option(None, "object", "its class")
    shelf_kwargs = option(None, "object", "its arguments")

    def wrap(self, store: Any) -> Wrapped:
        return OnShelf(store)


class OnShelf(Wrapped):
    """How it is used."""

    distance = "euclidean"

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def add(self, documents: Any) -> None:
        for number, document in enumerate(documents):
            if number == self.shelf.fails_after:
                raise RuntimeError("the shelf is full")
            self.shelf.entries[document.id] = document

    def remove(self, ids: Any) -> None:
        for item in ids:
            self.shelf.entries.pop(item, None)

    def close(self) -> None:
        self.shelf.closed += 1

    def nearest(self, query: Any, limit: int) -> Any:
        entries = self.shelf.entries.items()
        ranked = sorted(entries, key=lambda pair: -score("euclidean", query, pair[1].embedding or ()))
        return [item for item, _ in ranked[:limit]]


class ShelfStore(WrappedStore, StepKnowledgeStore):
    """Knowledge on a shelf."""

    options_class = ShelfOptions


def documents(text: str, *ids: str) -> list[KnowledgeDocument]:
    return [KnowledgeDocument(item, text, [float(ord(item)), 1.0], {"n": ord(item)}) for item in ids]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def store(shelf: Shelf) -> Any:
    with ShelfStore(shelf=shelf) as made:
        made.create_collection("c", 2, "euclidean")
        made.insert("c", documents("old", *"abc"))
        yield made


def found(store: Any, **more: Any) -> list[tuple[str, str]]:
    return [(item.id, item.content) for item in store.search("c", [0.0, 1.0], 9, **more)]


def test_a_write_that_fails_half_way_leaves_nothing(store: Any, shelf: Shelf) -> None:
    shelf.fails_after = 2
    for write in (store.insert, store.upsert):
        with pytest.raises(BackendError, match="RuntimeError"):
            write("c", documents("new", *"def"))
    with pytest.raises(BackendError):
        store.upsert("c", documents("new", *"abc"))
    assert found(store) == [("a", "old"), ("b", "old"), ("c", "old")]
    assert len(shelf.entries) == 3


def test_an_entry_that_nobody_committed_is_passed_over(store: Any, shelf: Shelf) -> None:
    (entry,) = [item for item, document in shelf.entries.items() if document.content == "old"][:1]
    shelf.entries["left behind"] = KnowledgeDocument("left behind", "lost", [0.0, 1.0])
    assert found(store) == [("a", "old"), ("b", "old"), ("c", "old")]
    del shelf.entries[entry]  # what the wrapped store has lost is found all the same
    assert len(found(store)) == 3


def test_a_replaced_document_has_one_entry(store: Any, shelf: Shelf) -> None:
    store.upsert("c", documents("new", "a", "z"))
    assert found(store, filters={"n": {"$lt": 99}}) == [("a", "new"), ("b", "old")]
    assert sorted(document.content for document in shelf.entries.values()) == ["new", "new", "old", "old"]
    assert store.delete("c", ["a", "unknown"]) == 1
    store.delete_collection("c")
    assert shelf.entries == {}


def test_the_sidecar_in_memory_ends_with_the_wrapped_store() -> None:
    shelf = Shelf()
    with ShelfStore(shelf=shelf) as store:
        store.create_collection("c", 2)
    gone = weakref.ref(shelf)
    del store
    with ShelfStore(shelf=shelf) as again:
        assert again.list_collections() == ["c"]
    del again, shelf
    import gc

    gc.collect()
    assert gone() is None


def test_a_class_that_is_made_when_it_is_used() -> None:
    with pytest.raises(ConfigurationError, match="sidecar"):
        ShelfStore(shelf_cls=Shelf)
    with ShelfStore(shelf_cls=Shelf, sidecar=MemoryKnowledgeStore()) as store:
        store.create_collection("c", 2, "euclidean")
        store.insert("c", documents("x", "a"))
        assert found(store) == [("a", "x")]
        with pytest.raises(FilterError):
            found(store, filters={"$near": 1})


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"a": 1},
        {"a": {"$ne": 1, "$gt": 0}, "\\$b": {"$in": []}, "\\\\$c": None},
        {"$or": [{"a": {"$exists": False}}, {"$not": {"$and": [{"b": [1]}, {"c": {"$startswith": "x"}}]}}]},
        {"$not": {}},
        {"a": {"$not": {"$nin": [1, None]}}, "b": {"x": {"y": 1}}, "c": {"$contains": {"$gt": 1}}},
    ],
)
def test_a_filter_is_handed_on_as_it_is(filters: Any) -> None:
    tree = parse(filters)
    assert parse(_filter(tree)) == tree


def test_what_every_vector_store_takes() -> None:
    metadata = {"t": "x", "n": 1, "f": 1.5, "b": True, "big": 2**60, "none": None, "list": [1], "deep": {"a": 1}}
    assert plain_metadata(metadata) == {"t": "x", "n": 1, "f": 1.5, "b": True}
    assert plain_metadata(None) == {}
    assert plain_text("a\x00b\ud83d") == "a b?"


def test_a_package_may_make_the_store_itself_and_say_what_the_steps_work_on(shelf: Shelf) -> None:
    class Counted(Joined):
        made = 0

        def names(self) -> list[str]:
            return [f"{name}!" for name in super().names()]

    class Options(ShelfOptions):
        joined = Counted

        def make(self) -> Any:
            Counted.made += 1
            return super().make()

    class Store(ShelfStore):
        options_class = Options

    with Store(shelf=shelf) as store, Store(shelf=shelf) as other:
        assert Counted.made == 0
        store.create_collection("c", 2)
        assert store.list_collections() == other.list_collections() == ["c!"]
        assert (Counted.made, shelf.closed) == (1, 0)
    assert shelf.closed == 1
