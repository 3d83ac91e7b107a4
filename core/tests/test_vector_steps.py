"""Steps on vector engines: how many ids and documents a request gets, and which collections are remembered."""

from __future__ import annotations

from array import array

import pytest

from praisonai_persistence.errors import CollectionNotFoundError, DocumentExistsError
from praisonai_persistence.filters import Compiled, parse
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps
from praisonai_persistence.steps import run
from praisonai_persistence.stores.knowledge import DocumentRow
from praisonai_persistence.stores.projection import project
from praisonai_persistence.stores.ranking import Candidate, selected
from praisonai_persistence.stores.vector_documents import pages
from praisonai_persistence.stores.vector_engine import Collection, GoneError, MarkedSteps, VectorSteps

TEXT = "x" * 84  # with a vector of one number, a document of 100 bytes


class Filters:
    """Filters are their own expressions; those with ``$gt`` are taken for inexact."""

    def compile(self, tree):
        return Compiled(tree, exact=tree is None or "$gt" not in repr(tree))


class Engine(VectorSteps):
    """The steps under test, on a dictionary; ``asked`` holds the calls and how many ids or rows they got."""

    most_ids = 3

    def __init__(self):
        super().__init__(Filters())
        self.start()

    def start(self):
        self.documents = {}
        self.collections = {"docs": 1}
        self.asked = []

    def ask(self, opened, what, items=None):
        self.asked.append((what, None if items is None else len(items)))
        yield what
        if opened is not None and self.collections.get(opened.info.name) != opened.engine:
            raise GoneError("gone")

    def _find(self, name, *, fresh):
        yield from self.ask(None, "find")
        if name not in self.collections:
            return None
        return Collection(CollectionInfo(name, 1, "dot", None), self.collections[name])

    def _put(self, opened, rows):
        for some in self._portions(opened, rows):
            yield from self.ask(opened, "put", some)
            self.documents.update({row.id: row for row in some})

    def _found_of(self, ids, expression):
        rows = self.documents.values() if ids is None else [self.documents[key] for key in ids if key in self.documents]
        return [row for row in rows if selected(expression, row.metadata)]

    def _fetch(self, opened, ids):
        yield from self.ask(opened, "fetch", ids)
        rows = self._found_of(ids, None)
        return [Candidate(row.id, row.content, row.embedding, row.metadata, None, 0.0) for row in rows]

    def _scan(self, opened, ids, expression):
        yield from self.ask(opened, "scan", ids)
        return [(row.id, row.metadata) for row in self._found_of(ids, expression)]

    def _count(self, opened, expression):
        yield from self.ask(opened, "count")
        return len(self._found_of(None, expression))

    def _remove(self, opened, ids, expression):
        yield from self.ask(opened, "remove", ids)
        gone = self._found_of(ids, expression)
        for row in gone:
            del self.documents[row.id]
        return len(gone)


class Remembering(Engine):
    remembers = True


class Marked(MarkedSteps):
    """Documents with marks, on a dictionary; ``rival`` is what another writer inserts before a request of ours."""

    most_ids, most_bytes = 2, 300
    start, ask, _find, _fetch, _found_of, _remove = (
        getattr(Engine, name) for name in ("start", "ask", "_find", "_fetch", "_found_of", "_remove")
    )

    def __init__(self, *, shared=True):
        super().__init__(Filters(), shared=shared)
        self.start()
        self.marks = {}
        self.rival = []

    def _store(self, opened, rows, mark, *, new):
        yield from self.ask(opened, "store", rows)
        for key in self.rival:
            self.documents.setdefault(key, row(key))
        for one in rows:
            if not new or one.id not in self.documents:
                self.documents[one.id] = one
                self.marks[one.id] = mark

    def _entries(self, opened, ids, expression):
        yield from self.ask(opened, "entries", ids)
        rows = self._found_of(ids, expression)
        return [(row.id, {"metadata": row.metadata, "writer": self.marks.get(row.id)}) for row in rows]


Engine.__abstractmethods__ = Remembering.__abstractmethods__ = Marked.__abstractmethods__ = frozenset()


def row(key, **metadata):
    return DocumentRow(key, TEXT, array("f", [1.0]), dumps(metadata) if metadata else None, None, 0.0)


def rows(count):
    return [row(str(number), n=number) for number in range(count)]


def do(steps, name, *arguments):
    """Do an operation; return its answer, and what was asked beside ``find``."""
    steps.asked = []
    answer = run(getattr(steps, name)(*arguments), lambda request: None)
    return answer, [asked for asked in steps.asked if asked[0] != "find"]


IDS = [str(number) for number in range(7)]


def test_ids_come_as_many_at_a_time_as_a_request_takes():
    steps = Engine()
    _, asked = do(steps, "insert", "docs", rows(7))
    assert asked == [("scan", 3), ("scan", 3), ("scan", 1), ("put", 7)]
    answer, asked = do(steps, "get", "docs", [*IDS, "0", "no"])
    assert [found.id for found in answer] == [*IDS, "0"]
    assert asked == [("fetch", 3), ("fetch", 3), ("fetch", 2)]
    answer, asked = do(steps, "delete", "docs", IDS, parse({"n": {"$gt": 1}}))
    assert (answer, asked) == (5, [("scan", 3), ("scan", 3), ("scan", 1), ("remove", 3), ("remove", 2)])
    answer, asked = do(steps, "delete", "docs", IDS, None)
    assert (answer, asked) == (2, [("remove", 3), ("remove", 3), ("remove", 1)])
    assert do(steps, "get", "docs", []) == ([], [])


def test_all_documents_are_asked_for_at_once():
    steps = Engine()
    do(steps, "upsert", "docs", rows(7))
    answer, asked = do(steps, "delete", "docs", None, parse({"n": {"$gt": 3}}))
    assert (answer, asked) == (3, [("scan", None), ("remove", 3)])
    assert do(steps, "delete", "docs", None, parse({"n": 3})) == (1, [("remove", None)])
    assert do(steps, "delete", "docs", None, parse({"n": {"$gt": 3}})) == (0, [("scan", None)])
    steps.most_ids = None
    assert do(steps, "delete", "docs", IDS, None) == (3, [("remove", 7)])


def test_an_insert_finds_what_exists_in_any_of_the_requests():
    steps = Engine()
    do(steps, "upsert", "docs", [row("5")])
    with pytest.raises(DocumentExistsError, match="'5'"):
        do(steps, "insert", "docs", rows(7))
    assert list(steps.documents) == ["5"]


@pytest.mark.parametrize(
    ("most_bytes", "most_rows", "portions"),
    [(None, None, [7]), (250, None, [2, 2, 2, 1]), (99, None, [1] * 7), (10_000, 3, [3, 3, 1]), (None, 3, [7])],
)
def test_documents_come_as_many_at_a_time_as_a_request_takes(most_bytes, most_rows, portions):
    steps = Engine()
    steps.most_bytes, steps.most_rows = most_bytes, most_rows
    plain = [one._replace(metadata=None) for one in rows(7)]
    _, asked = do(steps, "upsert", "docs", plain)
    assert asked == [("put", size) for size in portions]
    assert list(steps.documents) == IDS


def test_a_mark_is_that_of_all_requests_of_an_insert():
    steps = Marked()
    plain = [one._replace(metadata=None) for one in rows(5)]
    _, asked = do(steps, "insert", "docs", plain)
    entries = [("entries", 2), ("entries", 2), ("entries", 1)]
    assert asked == [*entries, ("store", 3), ("store", 2), *entries]
    assert len(set(steps.marks.values())) == 1
    _, asked = do(steps, "upsert", "docs", plain)
    assert asked == [("store", 3), ("store", 2)]
    alone = Marked(shared=False)
    _, asked = do(alone, "insert", "docs", plain)
    assert asked == [*entries, ("store", 3), ("store", 2)]


def test_an_insert_that_another_writer_overtook_removes_all_of_its_own():
    steps = Marked()
    steps.rival = ["3"]
    with pytest.raises(DocumentExistsError, match="another writer"):
        do(steps, "insert", "docs", [one._replace(metadata=None) for one in rows(5)])
    assert list(steps.documents) == ["3"]
    assert [asked for asked in steps.asked if asked[0] == "remove"] == [("remove", 2), ("remove", 2)]


def finds(steps, name, *arguments):
    do(steps, name, *arguments)
    return sum(asked[0] == "find" for asked in steps.asked)


def test_a_collection_is_opened_each_time_unless_it_is_remembered():
    for steps, again in ((Engine(), 1), (Remembering(), 0)):
        assert finds(steps, "count", "docs", None) == 1
        assert finds(steps, "count", "docs", None) == again
        assert finds(steps, "get_collection", "docs") == 1  # this is to be fresh
        assert finds(steps, "count", "docs", None) == again


def test_what_is_remembered_and_gone_is_opened_anew():
    steps = Remembering()
    do(steps, "upsert", "docs", rows(2))
    steps.collections["docs"] = 2  # somebody deleted it, and made another one
    assert finds(steps, "upsert", "docs", rows(1)) == 1
    assert finds(steps, "count", "docs", None) == 0
    del steps.collections["docs"]
    with pytest.raises(CollectionNotFoundError):
        do(steps, "count", "docs", None)


def test_pages():
    assert list(pages("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(pages("abc", None)) == [["a", "b", "c"]]
    assert list(pages("", 2)) == list(pages("", None)) == []


def test_all_tokens_of_a_projection():
    found = project(dumps({"a": 1, "b": ["x", "y"]}))
    assert found.tokens == [*found.values, *found.items, *found.keys]
