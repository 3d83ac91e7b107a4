"""Claims on ids: writers of one id are never at work at the same time, whatever the order of their requests."""

from __future__ import annotations

import random
from array import array

import pytest

from praisonai_persistence.errors import BackendError, ConflictError, DocumentExistsError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.steps import Pause
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.knowledge import DocumentRow
from praisonai_persistence.stores.vector_engine import Collection

TIMEOUT = 2.0
"""Seconds that a request may take."""
OPENED = Collection(CollectionInfo("docs", 1, "dot", None), None)


class Engine:
    """What the writers share: a clock, claims, documents, and who is in the middle of writing which ids."""

    def __init__(self) -> None:
        self.now = 0.0
        self.claims: dict[str, list[str]] = {}
        self.documents: dict[str, str] = {}
        self.at_work: dict[str, int] = {}
        self.collisions: list[str] = []

    def begin(self, rows):
        for row in rows:
            self.at_work[row.id] = self.at_work.get(row.id, 0) + 1
            if self.at_work[row.id] > 1:
                self.collisions.append(row.id)

    def end(self, rows):
        for row in rows:
            self.at_work[row.id] -= 1
            self.documents[row.id] = row.content


class Claimed(ClaimedSteps):
    """The steps under test; each yield is a request, of which a write is begun at one and ended at the next."""

    def __init__(self, engine: Engine, portion: int = 100) -> None:
        super().__init__(None, TIMEOUT)
        self.engine = engine
        self.portion = portion
        self.refuses = False

    def _now(self):
        return self.engine.now

    def _claim(self, opened, claim, ids):
        yield "claim"
        self.engine.claims[claim] = list(ids)

    def _claims(self, opened, ids):
        yield "claims"
        return [claim for claim, claimed in self.engine.claims.items() if not set(ids).isdisjoint(claimed)]

    def _withdraw(self, opened, claim):
        yield "withdraw"
        self.engine.claims.pop(claim, None)

    def _taken(self, opened, ids):
        yield "taken"
        return [key for key in ids if key in self.engine.documents]

    def _portions(self, opened, rows):
        return [rows[start : start + self.portion] for start in range(0, len(rows), self.portion)]

    def _store(self, opened, rows):
        yield "store"
        if self.refuses:
            raise BackendError("refused")
        self.engine.begin(rows)
        yield "stored"
        self.engine.end(rows)


Claimed.__abstractmethods__ = frozenset()  # the schedules use no others


class Unclaimed(Claimed):
    """A mutant that looks at the claims of others before it makes its own."""

    def _win(self, opened, own):
        while [claim for claim in (yield from self._claims(opened, own.ids)) if claim != own.claim]:
            yield Pause(0.01)
        yield from self._claim(opened, own.claim, own.ids)


class Unrenewed(Claimed):
    """A mutant that never renews a claim."""

    def _renew(self, opened, own):
        yield from ()


def row(key: str, content: str) -> DocumentRow:
    return DocumentRow(key, content, array("f", [1.0]), None, None, 0.0)


def finish(steps, engine: Engine):
    """Run steps alone; a pause takes its time."""
    try:
        while True:
            asked = next(steps)
            engine.now += asked.seconds if isinstance(asked, Pause) else 0.001
    except StopIteration as stop:
        return stop.value


class Writer:
    """A write under way.

    Attributes:
        steps: the rest of it.
        inserts: the ids, if it is an insert.
        ready: when it goes on.
        asked: its last request.
    """

    def __init__(self, steps, inserts: list[str]) -> None:
        self.steps = steps
        self.inserts = inserts
        self.ready = 0.0
        self.asked: object = None


def race(kind, seed: int, *, ids: str = "abcd", portion: int = 100, slow: float = 0.01, crashes: int = 0):
    """Writers of the same ids, whose requests come in random order; some of them are killed between two requests.

    Returns:
        The engine, how many inserts of each id were acknowledged, and how many writers ended.
    """
    choose = random.Random(seed)
    engine, killed = Engine(), []
    inserted: dict[str, int] = {}
    writers = {}
    for number in range(5):
        keys = choose.sample(ids, len(ids) - 1)
        rows = [row(key, f"{number}{key}") for key in keys]
        insert = number % 2 == 0
        writers[number] = Writer(kind(engine, portion)._alone(OPENED, rows, new=insert), keys if insert else [])
    longest, ended = 0.9 * TIMEOUT, 0
    while writers:
        ready = [number for number, writer in writers.items() if writer.ready <= engine.now]
        if not ready:
            engine.now = min(writer.ready for writer in writers.values())
            continue
        number = choose.choice(ready)
        writer = writers[number]
        if crashes and choose.random() < 0.02:
            crashes -= 1
            killed.append(writers.pop(number))  # its generator is never closed
            if writer.asked == "stored":  # the engine ends what it was asked
                engine.end(writer.steps.gi_yieldfrom.gi_frame.f_locals["rows"])
            continue
        try:
            asked = writer.asked = next(writer.steps)
        except StopIteration:
            ended += 1
            del writers[number]
            for key in writer.inserts:
                inserted[key] = inserted.get(key, 0) + 1
        except (DocumentExistsError, ConflictError):
            ended += 1
            del writers[number]
        else:
            longer = longest if choose.random() < slow else 0.01
            writer.ready = engine.now + (asked.seconds if isinstance(asked, Pause) else choose.uniform(0, longer))
    return engine, inserted, ended


@pytest.mark.parametrize("seed", range(150))
def test_nobody_is_alone_with_another(seed):
    engine, inserted, ended = race(Claimed, seed)
    assert not engine.collisions
    assert all(times == 1 for times in inserted.values())
    assert ended == 5
    assert not engine.claims


@pytest.mark.parametrize("seed", range(150))
def test_writers_that_are_killed_do_not_stop_the_others(seed):
    engine, inserted, ended = race(Claimed, seed, crashes=2)
    assert not engine.collisions
    assert all(times == 1 for times in inserted.values())
    assert ended >= 3


@pytest.mark.parametrize("seed", range(60))
def test_long_writes_keep_their_claims(seed):
    """Each of the portions takes nearly as long as a request may take, all of them longer than a lease."""
    engine, inserted, ended = race(Claimed, seed, ids="abcdefgh", portion=1, slow=0.9)
    assert not engine.collisions
    assert all(times == 1 for times in inserted.values())
    assert ended == 5


@pytest.mark.parametrize(("kind", "portion", "slow"), [(Unclaimed, 100, 0.01), (Unrenewed, 1, 0.9)])
def test_the_schedules_find_steps_that_are_wrong(kind, portion, slow):
    found = [race(kind, seed, ids="abcdefgh", portion=portion, slow=slow)[0].collisions for seed in range(150)]
    assert any(found)


def test_what_is_refused_leaves_no_claim():
    engine = Engine()
    steps = Claimed(engine)
    steps.refuses = True
    with pytest.raises(BackendError):
        finish(steps._put(OPENED, [row("a", "x")]), engine)
    assert not engine.claims
    steps.refuses = False
    finish(steps._put(OPENED, [row("a", "x")]), engine)
    with pytest.raises(DocumentExistsError, match="'a' exists"):
        finish(steps._add(OPENED, [row("b", "y"), row("a", "y")]), engine)
    assert engine.documents == {"a": "x"}
    assert not engine.claims


@pytest.mark.parametrize("places", range(1, 6))
def test_the_claim_of_an_interrupted_write_is_withdrawn_by_the_next(places):
    engine = Engine()
    steps = Claimed(engine)
    writing = steps._put(OPENED, [row("a", "x")])
    for _ in range(places):
        next(writing, None)
    with pytest.raises((KeyboardInterrupt, StopIteration)):
        writing.throw(KeyboardInterrupt())
    engine.at_work.clear()
    finish(steps._put(OPENED, [row("a", "y")]), engine)
    assert engine.now < 1  # it did not wait for a lease
    assert engine.documents == {"a": "y"}
    assert not engine.claims


def test_who_waits_for_too_long_says_so():
    """Somebody renews a claim for ever."""
    engine = Engine()
    waiting = Claimed(engine)._put(OPENED, [row("a", "x")])
    with pytest.raises(ConflictError, match="try again"):
        for number in range(100_000):
            engine.claims = {f"{0:012x}{number // 50:016x}{5:04x}": ["a"]}
            asked = next(waiting)
            engine.now += asked.seconds if isinstance(asked, Pause) else 0.01
    assert engine.documents == {}
    assert 2 * (5 * TIMEOUT) <= engine.now < 60
