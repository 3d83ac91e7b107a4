"""Random schedules: several workers on one session, one request at a time, with workers that stop for ever.

A schedule is made of a seed alone, so a failure can be looked at again. The promises of the log are checked at each
acknowledgement and at the end; ``Broken`` says which one does not hold.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from cas_engine import Client, Engine, perform

from praisonai_persistence.errors import SessionExistsError, SessionNotFoundError
from praisonai_persistence.payload import MessageRow, SessionRow
from praisonai_persistence.steps import Pause, run
from praisonai_persistence.stores import DocumentConversationSteps
from praisonai_persistence.stores.conversation import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 1_000.0
"""The clock stands still: only the store makes ``updated_at`` rise."""
SESSION = SessionRow("s", None, None, None, None, None, NOW, NOW)
EVERYTHING = Selection(None, None, None, None, None)


class Broken(AssertionError):
    """A promise that does not hold."""


class Worker:
    """Does one operation after the other, a request at a time."""

    def __init__(self, schedule: Schedule, program: list[tuple[Any, ...]]) -> None:
        self.schedule = schedule
        self.program = program
        self.steps: Any = None
        self.operation: tuple[Any, ...] = ()
        self.request: Any = None
        self.begun = 0
        self.seen: dict[str, Any] = {}

    def go(self) -> None:
        """Begin the next operation, or do a request."""
        if self.steps is None:
            self.operation = self.program.pop(0)
            self.begun = self.schedule.time
            self.seen = self.schedule.look()
            self.steps = self.schedule.begin(self.operation)
            self._send(None)
        else:
            self._send(None if isinstance(self.request, Pause) else perform(self.schedule.client, self.request))

    def _send(self, answer: Any) -> None:
        try:
            self.request = self.steps.send(answer)
        except StopIteration as stop:
            self.steps = None
            self.schedule.acknowledged(self, stop.value)
        except (SessionNotFoundError, SessionExistsError) as error:
            self.steps = None
            self.schedule.acknowledged(self, error)


class Schedule:
    """One schedule.

    Args:
        seed: makes all of it.
        kind: ``appends``, ``deletes`` (of messages, too) or ``sessions`` (deleted and made again, too).
        steps: the class that is tried.
        engine: on which.
    """

    def __init__(
        self,
        seed: int,
        kind: str,
        steps: type[DocumentConversationSteps] = DocumentConversationSteps,
        engine: type[Engine] = Engine,
    ) -> None:
        self.chance = random.Random(seed)
        self.kind = kind
        self.client = Client()
        self.steps = steps(engine())
        self.time = 0
        self.appended: dict[str, set[int]] = {}  # id -> every seq that it was acknowledged with
        self.last_begun: dict[str, int] = {}  # id -> when the last acknowledged append of it began
        self.batches: list[list[str]] = []
        self.deleted_count = 0
        self.lost_deletes = False  # a deleter stopped: it may have deleted
        self.session_deleted = 0  # when it was last acknowledged
        self.message_deletes: list[tuple[int, int, list[str]]] = []
        self.do("create_session", SESSION)
        self.workers = [Worker(self, [self._operation(f"{n}") for _ in range(3)]) for n in range(3)]

    # ------------------------------------------------------------------------------------------------------ programs

    def _operation(self, worker: str) -> tuple[Any, ...]:
        choice = self.chance.random()
        if self.batches and choice < 0.35:
            return "append", self.chance.choice(self.batches)  # a retry, perhaps at the same time
        if choice < 0.75 or self.kind == "appends":
            if choice > 0.9:
                return ("read",)
            own = f"{worker}-{len(self.batches)}"
            batch = [f"{own}-{part}" for part in range(self.chance.choice((1, 1, 1, 3)))]
            self.batches.append(batch)
            return "append", batch
        if self.kind == "sessions":
            return (self.chance.choice(("delete_session", "create_session", "create_session")),)
        if choice < 0.85:
            return ("read",)
        known = [item for batch in self.batches for item in batch] or ["none"]
        some = self.chance.sample(known, min(len(known), 3))
        return "delete_messages", None if self.chance.random() < 0.2 else some

    def begin(self, operation: tuple[Any, ...]) -> Any:
        name = operation[0]
        if name == "append":
            rows = [MessageRow(item, "user", item, None, None, None, NOW) for item in operation[1]]
            return self.steps.add_messages("s", rows, NOW)
        if name == "read":
            return self.steps.get_messages("s", EVERYTHING)
        if name == "delete_messages":
            return self.steps.delete_messages("s", operation[1], NOW)
        return self.steps.delete_session("s") if name == "delete_session" else self.steps.create_session(SESSION)

    def do(self, name: str, *args: Any) -> Any:
        """Do an operation at once."""
        return run(getattr(self.steps, name)(*args), lambda request: self._alone(request))

    def _alone(self, request: Any) -> Any:
        if isinstance(request, Pause):
            raise Broken("an operation waits although nobody else is there")
        return perform(self.client, request)

    # -------------------------------------------------------------------------------------------------------- running

    def run(self) -> None:
        """Run it to its end, and look at what is there."""
        seen = self.look()
        while self.workers:
            self.time += 1
            if self.time > 20_000:
                raise Broken("the workers do not come to an end")
            worker = self.chance.choice(self.workers)
            if worker.steps is not None and self.chance.random() < 0.04:
                self._crash(worker)
                continue
            worker.go()
            if worker.steps is None and not worker.program:
                self.workers.remove(worker)
            now = self.look()
            if now.get("generation") == seen.get("generation") and now and now["updated_at"] < seen["updated_at"]:
                raise Broken("updated_at goes back")
            seen = now
        self._check_end()

    def _crash(self, worker: Worker) -> None:
        self.workers.remove(worker)
        name = worker.operation[0]
        if name == "delete_messages":
            self.lost_deletes = True
        if name == "delete_session":
            self.session_deleted = self.time  # perhaps
        if name == "append":  # whoever called it calls again
            self.workers.append(Worker(self, [worker.operation, *worker.program]))

    def look(self) -> dict[str, Any]:
        """Return the head, or nothing."""
        found = self.client.documents.get("conversation/sessions/s")
        return json.loads(found[0]) if found else {}

    def acknowledged(self, worker: Worker, result: Any) -> None:
        """Note what an operation returned, and check it."""
        name = worker.operation[0]
        if name == "append" and not isinstance(result, Exception):
            self._check_append(worker, result)
        elif name == "read":
            self._check_read(worker, result)
        elif name == "delete_messages":
            self.deleted_count += result
            self.message_deletes.append((self.time, result, worker.operation[1]))
        elif name == "delete_session" and result is True:
            self.session_deleted = self.time

    def _check_append(self, worker: Worker, result: Sequence[Any]) -> None:
        ids, seqs = [item.id for item in result], [item.seq for item in result]
        if ids != worker.operation[1]:
            raise Broken(f"{worker.operation[1]} were appended, {ids} returned")
        if self.kind == "appends":
            if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
                raise Broken(f"the batch {ids} has the numbers {seqs}")
            new = any(item not in self.appended for item in ids)
            if new and self.look()["updated_at"] <= NOW:
                raise Broken("updated_at stands still")
        for item, seq in zip(ids, seqs, strict=True):
            self.appended.setdefault(item, set()).add(seq)
            self.last_begun[item] = max(self.last_begun.get(item, 0), worker.begun)

    def _check_read(self, worker: Worker, result: Sequence[Any]) -> None:
        seqs = [item.seq for item in result]
        if seqs != sorted(set(seqs)):
            raise Broken(f"read with the numbers {seqs}")
        if self.kind == "appends":
            self._check_whole(result)
            before = worker.seen.get("seq", 0)
            if len(seqs) < before:
                raise Broken(f"{before} messages were there, {len(seqs)} are read")

    def _check_whole(self, messages: Sequence[Any]) -> None:
        seqs = [item.seq for item in messages]
        if seqs != list(range(1, len(seqs) + 1)):
            raise Broken(f"gaps: {seqs}")
        present = [item.id for item in messages]
        if len(set(present)) != len(present):
            raise Broken(f"a message stands there twice: {present}")
        for batch in self.batches:
            found = [item for item in present if item in batch]
            if found not in ([], batch):
                raise Broken(f"of the batch {batch} there are {found}")

    def _check_end(self) -> None:
        messages = self.do("get_messages", "s", EVERYTHING)
        head = self.look()
        if not head:
            if messages:
                raise Broken("messages without a session")
            return
        if self.do("count_messages", "s") != len(messages):
            raise Broken("the count differs from the messages")
        if self.kind == "deletes":
            self._check_deleted(messages, head)
        else:
            self._check_whole(messages)
            self._check_acknowledged(messages)
        # And one more: it finishes what was left.
        last = self.do("add_messages", "s", [MessageRow("last", "user", "", None, None, None, NOW)], NOW)[0]
        messages = self.do("get_messages", "s", EVERYTHING)
        if messages[-1] != last or any(item.seq >= last.seq for item in messages[:-1]):
            raise Broken("the last message is not the last one")
        if self.kind != "deletes":
            self._check_whole(messages)
            self._check_acknowledged(messages)
        if self.do("count_messages", "s") != len(messages):
            raise Broken("the count differs from the messages")

    def _check_acknowledged(self, messages: Sequence[Any]) -> None:
        present = {item.id: item.seq for item in messages}
        for item, seqs in self.appended.items():
            if self.kind == "appends" and seqs != {present.get(item)}:
                raise Broken(f"{item} was acknowledged with {seqs}, and has {present.get(item)}")
            if item not in present and self.last_begun[item] > self.session_deleted:
                raise Broken(f"{item} was appended after the last deletion, and is gone")

    def _check_deleted(self, messages: Sequence[Any], head: dict[str, Any]) -> None:
        seqs = [item.seq for item in messages]
        if len(set(seqs)) != len(seqs) or len({item.id for item in messages}) != len(messages):
            raise Broken(f"a message stands there twice: {messages}")
        gone = head["seq"] - len(messages)
        if self.deleted_count > gone or (self.deleted_count < gone and not self.lost_deletes):
            raise Broken(f"{gone} messages are gone, {self.deleted_count} were counted")
        given = [(seq, item) for item, numbers in self.appended.items() for seq in numbers]
        if len({seq for seq, _ in given}) != len(given):
            raise Broken(f"a number was given twice: {sorted(given)}")
        present = {item.id for item in messages}
        last = max((time for time, _, _ in self.message_deletes), default=0)
        for item, time in self.last_begun.items():
            if item not in present and time > last and not self.lost_deletes:
                raise Broken(f"{item} was appended after the last deletion, and is gone")
