"""Scanned rows: whatever the order of requests, what one caller acknowledges no other one takes back."""

from __future__ import annotations

import random
from array import array
from importlib.util import find_spec

import pytest

from praisonai_persistence.errors import DocumentExistsError
from praisonai_persistence.filters import parse
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps
from praisonai_persistence.stores.knowledge import DocumentRow, Search
from praisonai_persistence.stores.projection import project
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.scanned import Entry, ScannedSteps
from praisonai_persistence.stores.vector_documents import vector_bytes
from praisonai_persistence.stores.vector_engine import Collection

needs_numpy = pytest.mark.skipif(find_spec("numpy") is None, reason="needs NumPy, which comes with vector backends")
OPENED = Collection(CollectionInfo("docs", 2, "dot", None), None)


class Scanned(ScannedSteps):
    """The steps under test, on a dictionary; each yield is a request, and a write of each row one of its own."""

    most_tokens = 2
    most_ids = 3
    size = 2

    def __init__(self, rows):
        super().__init__()
        self.rows = rows
        self.asked = []

    def _find(self, name, *, fresh):
        return OPENED
        yield

    def _page(self, opened, what, ids, tokens, place):
        yield what
        assert ids is None or (len(ids) <= self.most_ids and not tokens)
        self.asked.append((what, tuple(tokens)))
        found = []
        for key, (row, writer) in sorted(self.rows.items()):
            values, items, keys, _ = project(row.metadata)
            if (key in ids if ids is not None else {*values, *items, *keys}.issuperset(tokens)) and key > (place or ""):
                made = {
                    "ids": key,
                    "writers": Entry(key, row.metadata, writer),
                    "vectors": Entry(key, row.metadata, vector_bytes(row.embedding)),
                    "documents": Candidate(key, row.content, row.embedding, row.metadata, None, row.created_at),
                }
                found.append((key, made[what]))
        more = found[self.size :]
        return [item for _, item in found[: self.size]], found[self.size - 1][0] if more else None

    def _store(self, opened, rows, writer, *, new):
        done = []
        for row in rows:
            yield "store"
            done.append(not new or row.id not in self.rows)
            if done[-1]:
                self.rows[row.id] = row, writer
        return done

    def _unstore(self, opened, written):
        done = []
        for key, writer in written:
            yield "unstore"
            row = self.rows.get(key)
            done.append(None if row is None else row[1] == writer)
            if done[-1]:
                del self.rows[key]
        return done


Scanned.__abstractmethods__ = frozenset()  # collections are not what is tried here


class Unmarked(Scanned):
    """A mutant that removes what it has read, whoever has written it meanwhile."""

    def _unstore(self, opened, written):
        return (yield from super()._unstore(opened, [(key, self.rows.get(key, (0, 0))[1]) for key, _ in written]))


def row(key, **metadata):
    return DocumentRow(key, key, array("f", [float(ord(key)), 1.0]), dumps(metadata), None, 0.0)


def finish(steps):
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def race(kind, seed):
    """Callers that insert and replace the same ids, whose requests come in random order.

    Returns:
        the ids that are there, and those of acknowledged inserts and of acknowledged upserts.
    """
    choose = random.Random(seed)
    rows = {}
    steps = kind(rows)
    written = {"insert": [], "upsert": []}
    callers = []
    for _ in range(5):
        what, ids = choose.choice(["insert", "insert", "upsert"]), choose.sample("abcd", choose.randint(1, 3))
        callers.append((what, ids, getattr(steps, what)("docs", [row(key) for key in ids])))
    while callers:
        what, ids, under_way = caller = choose.choice(callers)
        try:
            next(under_way)
        except StopIteration:
            written[what] += ids
            callers.remove(caller)
        except DocumentExistsError:
            assert what == "insert"
            callers.remove(caller)
    return set(rows), written["insert"], written["upsert"]


def test_racing_writers_lose_and_double_nothing():
    for seed in range(2_000):
        there, inserted, upserted = race(Scanned, seed)
        assert there == {*inserted, *upserted}, seed
        assert len(set(inserted)) == len(inserted), seed


def test_a_mutant_that_removes_what_others_wrote_is_caught():
    races = (race(Unmarked, seed) for seed in range(2_000))
    assert any(there != {*inserted, *upserted} for there, inserted, upserted in races)


def test_a_deletion_looks_again_at_what_was_written_meanwhile():
    rows = {}
    steps = Scanned(rows)
    finish(steps.insert("docs", [row("a", group=1), row("b", group=1), row("c", group=1)]))
    deletion = steps.delete("docs", None, parse({"group": 1}))
    while next(deletion) != "unstore":
        pass
    finish(steps.upsert("docs", [row("a", group=2)]))  # selected no more
    finish(steps.upsert("docs", [row("b", group=1)]))  # still selected
    assert finish(deletion) == 2
    assert list(rows) == ["a"]


@needs_numpy
def test_filters_are_checked_where_tokens_do_not_say_all():
    steps = Scanned({})
    finish(steps.insert("docs", [row(key, group=number % 2, number=number) for number, key in enumerate("abcdefg")]))

    def ask(filters):
        steps.asked.clear()
        count = finish(steps.count("docs", parse(filters)))
        found = finish(steps.search("docs", Search(array("f", [1.0, 0.0]), 3, parse(filters), None, False)))
        return count, [item.id for item in found], steps.asked[0][0], len(steps.asked[0][1])

    assert ask({"group": 1}) == (3, ["f", "d", "b"], "ids", 1)
    assert ask({"group": 1, "number": {"$gt": 1}}) == (2, ["f", "d"], "writers", 2)
    assert ask({"group": 1, "number": {"$in": [5]}, "missing": {"$exists": True}}) == (0, [], "writers", 2)
    assert ask({"$or": [{"number": 2}, {"number": 6}]}) == (2, ["g", "c"], "writers", 0)
    assert ask({"$not": {"group": 1}}) == (4, ["g", "e", "c"], "writers", 0)


@needs_numpy
def test_what_changes_during_a_search_is_checked_again():
    steps = Scanned({})
    finish(steps.insert("docs", [row(key, group=1) for key in "abc"]))
    search = steps.search("docs", Search(array("f", [1.0, 0.0]), 2, parse({"group": 1}), None, False))
    while next(search) != "documents":
        pass
    finish(steps.upsert("docs", [row("c", group=2)]))
    finish(steps.delete("docs", ["b"], None))
    assert [item.id for item in finish(search)] == ["a"]
