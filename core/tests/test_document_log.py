"""The log of a session on versioned documents: thousands of random schedules, and mistakes that they find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cas_engine import BatchEngine, Engine, TransactionEngine
from schedules import Broken, Schedule

from praisonai_persistence.steps import done
from praisonai_persistence.stores import DocumentConversationSteps
from praisonai_persistence.stores._document_log import Head, Log

if TYPE_CHECKING:
    from praisonai_persistence.steps import Steps

SCHEDULES = 1_500
KINDS = ["appends", "deletes", "sessions"]


@pytest.mark.parametrize("engine", [Engine, BatchEngine, TransactionEngine])
@pytest.mark.parametrize("kind", KINDS)
def test_no_schedule_breaks_a_promise(kind: str, engine: type[Engine]) -> None:
    for seed in range(SCHEDULES if engine is Engine else SCHEDULES // 3):
        try:
            Schedule(seed, kind, engine=engine).run()
        except Exception as error:
            raise AssertionError(f"in the schedule of seed {seed}") from error


class Blind(Log):
    """A log that does not look at the index."""

    def find(self, ids: Any) -> Steps[dict[str, tuple[int, Any]]]:
        return done({})

    def index(self, positions: Any, known: Any) -> Steps[None]:
        return done(None)


class WithoutIndex(DocumentConversationSteps):
    """Leaves out the index."""

    def _log(self, head: Head) -> Log:
        return Blind(self.documents, head.session_id, head.generation)


class Remembering(Log):
    """A log that looks into the index no more than once."""

    known: Any = None

    def find(self, ids: Any) -> Any:
        known, self.known = self.known, None
        return (yield from super().find(ids)) if known is None else known


class IdsFirst(DocumentConversationSteps):
    """Reads ids before the head."""

    log: Any = None

    def _log(self, head: Head) -> Log:
        return self.log or super()._log(head)

    def _append(self, head: Head, version: Any, rows: Any, now: float) -> Any:
        log = Remembering(self.documents, head.session_id, head.generation)
        log.known = yield from log.find(rows)
        head, version = yield from self._same(head)
        steps = IdsFirst(self.engine)
        steps.log = log
        return (yield from DocumentConversationSteps._append(steps, head, version, rows, now))


class AcknowledgesEarly(DocumentConversationSteps):
    """Acknowledges before the head is raised."""

    def _show(self, *args: Any) -> Any:
        return done(None)


class KeepsGeneration(DocumentConversationSteps):
    """A session that is made again goes on with the generation of the one before."""

    def _put_new(self, head: Head, note: Any) -> Any:
        return super()._put_new(head._replace(generation="0" * 32), note)


class WithoutVersions(DocumentConversationSteps):
    """Writes the head over whatever is there."""

    def _write(self, head: Head, version: Any) -> Any:
        if version is not None:
            stored = yield from self.engine.read(self._key(head.session_id))
            version = None if stored is None else stored[1]
        yield from super()._write(head, version)


class Skipping(Log):
    """A log that passes over entries in its way without a look at their ids."""

    def page(self, start: int, limit: int) -> Any:
        entries = yield from super().page(start, limit)
        return [entry._replace(rows=[row._replace(id="?") for row in entry.rows]) for entry in entries]


class DoesNotLook(DocumentConversationSteps):
    """Looks for ids in the index only, not in entries behind the head."""

    def _place(self, log: Log, head: Head, rows: Any, stored: Any) -> Any:
        skipping = Skipping(self.documents, head.session_id, head.generation)
        return super()._place(skipping, head, rows, stored)


class HalfBatches(DocumentConversationSteps):
    """Appends a batch message by message."""

    def add_messages(self, session_id: str, rows: Any, now: float) -> Any:
        stored = []
        for row in rows:
            stored += yield from super().add_messages(session_id, [row], now)
        return stored


class StandsStill(DocumentConversationSteps):
    """Does not raise updated_at."""

    def _write(self, head: Head, version: Any) -> Any:
        return super()._write(head._replace(updated_at=1_000.0), version)


MUTANTS = [
    (WithoutIndex, "appends"),
    (IdsFirst, "appends"),
    (AcknowledgesEarly, "appends"),
    (DoesNotLook, "appends"),
    (HalfBatches, "appends"),
    (StandsStill, "appends"),
    (WithoutVersions, "appends"),
    (WithoutVersions, "deletes"),
    (KeepsGeneration, "sessions"),
]


@pytest.mark.parametrize(("mutant", "kind"), MUTANTS, ids=lambda value: getattr(value, "__name__", value))
def test_the_schedules_find(mutant: type[DocumentConversationSteps], kind: str) -> None:
    with pytest.raises(Broken):
        for seed in range(SCHEDULES):
            Schedule(seed, kind, mutant).run()
