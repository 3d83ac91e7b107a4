"""Versions of rows: an insert takes back its own rows only, a deletion removes what it has seen to match."""

from __future__ import annotations

import time
from array import array

import pytest

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import DocumentExistsError
from praisonai_persistence.filters import Compiled, parse
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps
from praisonai_persistence.steps import Pause, run
from praisonai_persistence.stores.knowledge import DocumentRow
from praisonai_persistence.stores.selecting import Selecting
from praisonai_persistence.stores.vector_documents import packed
from praisonai_persistence.stores.vector_engine import Collection
from praisonai_persistence.stores.versioned import Entry, VersionedSteps

OPENED = Collection(CollectionInfo("docs", 2, "dot", None), None)


class Narrows:
    """Says nothing of a filter, so that the steps have to check it."""

    def compile(self, tree):
        return Compiled(None, exact=tree is None)


class Versioned(VersionedSteps):
    """The steps under test, on a dictionary of metadata and versions; each yield is a request."""

    most_ids = 3
    most_bytes, most_rows = 1_000_000, 2

    def __init__(self, rows):
        super().__init__(Narrows())
        self.rows = dict(rows)
        self.removals = []

    def _find(self, name, *, fresh):
        return OPENED
        yield

    def _insert(self, opened, rows):
        yield "insert"
        new = [row for row in rows if row.id not in self.rows]
        self.rows.update({row.id: (row.metadata, f"mine of {row.id}") for row in new})
        return [(row.id, f"mine of {row.id}") for row in new]

    def _entries(self, opened, ids, expression):
        yield "entries"
        assert ids is None or len(ids) <= self.most_ids
        return [Entry(key, *found) for key, found in self.rows.items() if ids is None or key in ids]

    def _unstore(self, opened, written):
        yield "unstore"
        self.removals.append([key for key, _ in written])
        done = []
        for key, version in written:
            there = self.rows.get(key)
            done.append(None if there is None else there[1] == version)
            if done[-1]:
                del self.rows[key]
        return done

    list_collections = _create = _drop = _put = _rank = _fetch = _count = None


Versioned.__abstractmethods__ = frozenset()


def row(key, **metadata):
    return DocumentRow(key, "text", array("f", [1.0, 0.0]), dumps(metadata), None, 0.0)


def rows(*keys):
    return {key: (dumps({"n": number}), 1) for number, key in enumerate(keys)}


def drive(steps, **meanwhile):
    """Run an operation; before the first request of a name, something is done."""

    def ask(request):
        if not isinstance(request, Pause) and request in meanwhile:
            meanwhile.pop(request)()

    return run(steps, ask)


def test_an_insert_comes_in_portions():
    steps = Versioned({})
    drive(steps.insert("docs", [row(key) for key in "abcde"]))
    assert sorted(steps.rows) == list("abcde")
    assert steps.removals == []


def test_an_insert_that_finds_a_row_of_another_takes_back_its_own_ones_and_writes_no_more():
    steps = Versioned({})
    with pytest.raises(DocumentExistsError, match="nothing was written"):
        drive(steps.insert("docs", [row(key) for key in "abcdef"]), insert=lambda: steps.rows.update(rows("d")))
    assert sorted(steps.rows) == ["d"]
    assert steps.removals == [["a", "b", "c"]]


def test_an_insert_does_not_take_back_what_others_have_written_over_it():
    steps = Versioned({})

    def over():
        steps.rows["a"] = (None, "another's")

    with pytest.raises(DocumentExistsError):
        drive(
            steps.insert("docs", [row(key) for key in "abcd"]),
            insert=lambda: steps.rows.update(rows("d")),
            unstore=over,
        )
    assert sorted(steps.rows) == ["a", "d"]


@pytest.mark.parametrize("ids", [None, ["a", "b", "c", "d"]])
def test_a_deletion_looks_again_at_what_was_written_meanwhile(ids):
    steps = Versioned(rows("a", "b", "c", "d"))
    chosen = parse({"n": {"$gte": 1}})

    def write():
        steps.rows["b"] = (dumps({"n": 7}), 2)  # still matches
        steps.rows["c"] = (dumps({"n": 0}), 2)  # does not

    assert drive(steps.delete("docs", ids, chosen), unstore=write) == 2
    assert sorted(steps.rows) == ["a", "c"]


def test_a_deletion_does_not_count_what_others_have_removed():
    steps = Versioned(rows("a", "b"))
    assert drive(steps.delete("docs", ["a", "b"], None), unstore=lambda: steps.rows.pop("a")) == 1
    assert steps.rows == {}


def test_a_deletion_that_takes_longer_than_its_patience_looks_again():
    steps = Versioned(rows("a", "b"))
    steps.patience = 0.01

    def slow():
        time.sleep(0.05)
        steps.rows["b"] = (None, 2)

    assert drive(steps.delete("docs", None, None), unstore=slow) == 2
    assert steps.rows == {}


def test_a_deletion_gives_up_when_others_write_all_the_time():
    steps = Versioned(rows("a"))
    steps.patience = 0.02
    unstore = steps._unstore

    def late(opened, written):
        steps.rows["a"] = (None, steps.rows["a"][1] + 1)
        return (yield from unstore(opened, written))

    steps._unstore = late
    with pytest.raises(ThrottledError, match="again and again"):
        drive(steps.delete("docs", ["a"], None))
    assert sorted(steps.rows) == ["a"]


@pytest.mark.parametrize("checked", [False, True])
def test_a_selection_has_the_filter_along(checked):
    selecting, tree = Selecting(Narrows(), checked=checked), parse({"n": 1})
    assert selecting.compile(None) == Compiled(None)
    compiled = selecting.compile(tree)
    assert compiled.exact is checked
    assert (compiled.expression.filters, compiled.expression.expression) == (tree, None)
    assert not compiled.expression.exact


@pytest.mark.parametrize(
    ("sizes", "lists"),
    [
        ([], []),
        ([5, 5, 5], [[0, 1], [2]]),
        ([11, 1, 11], [[0], [1], [2]]),
        ([1, 1, 1, 1], [[0, 1, 2], [3]]),
        ([10], [[0]]),
    ],
)
def test_items_are_packed_by_bytes_and_by_number(sizes, lists):
    assert packed(enumerate(sizes), 10, 3) == lists
