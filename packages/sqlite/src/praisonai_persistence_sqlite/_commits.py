"""Writers share commits.

A write that arrives while another one is committing waits in a queue. Whoever gets the turn next runs all that is
queued in one transaction and commits once. Those who took part in the last commit are about to come back, so it waits
for them first, no longer than that commit took itself: otherwise every second commit would be one of a single write. A
lone writer pays for none of this: it finds the queue empty, expects nobody, and commits at once. A thread that brings
the writes of many tasks is one writer.

An interrupt may come at any place, so nothing here depends on a thread that was told to do something:

- The turn is a lock that only a ``with`` statement holds. It is never handed over: who is woken tries to take it.
- A writer stays in the queue until its thread takes it out. Whoever has the turn only looks at the queue.
- All jobs of a transaction become final with one assignment. Whether a commit that was interrupted took place, the
  connection tells.
- A wake-up that was lost is found out after a moment.

A signal handler may also fork while its thread waits for the turn. In the child, the thread that has the turn is not
there. So a child starts with another turn and another queue, and releases the turn that its own thread may be waiting
for; who gets a turn looks whether it is still the one.
"""

from __future__ import annotations

import sqlite3
import threading
import time

from praisonai_persistence.errors import PersistenceError, UnsupportedOperationError
from praisonai_persistence.steps import run
from praisonai_persistence_sqlite._connection import SHARED_LOG, is_busy
from praisonai_persistence_sqlite._connections import Connections
from praisonai_persistence_sqlite._operations import Moved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sqlite._connection import Opened
    from praisonai_persistence_sqlite._location import Location
    from praisonai_persistence_sqlite._operations import Operation

    T = TypeVar("T")

__all__ = ["Commits", "Job", "begin_patiently"]

_BATCH = 512  # writers in one transaction at the most, so that nobody waits long for a commit
_PATIENCE = (0.00005, 0.002)  # seconds: shorter waits for other writers are not worth while, longer ones never are
_POLL = 0.05  # seconds until a writer looks for itself whether it was forgotten
_RESTARTS = 100  # how often inner calls of the same thread may undo one operation


class _Transaction:
    """An attempt to commit.

    Attributes:
        job: the one that is being run.
        sealed: all is done but the COMMIT.
        final: what became of its jobs stands.
        over: nothing of it goes on.
    """

    __slots__ = ("final", "job", "over", "sealed")

    def __init__(self) -> None:
        self.job: Job | None = None
        self.sealed = False
        self.final = False
        self.over = False


class Job:
    """A write operation, and what became of it."""

    __slots__ = ("answer", "call", "error", "transaction", "writer")

    def __init__(self, call: Callable[[], Steps[Any]]) -> None:
        self.call = call
        self.answer: Any = None
        self.error: Exception | None = None
        self.transaction: _Transaction | None = None
        self.writer: _Writer

    @property
    def done(self) -> bool:
        """Whether the answer, or the error, is final."""
        return self.transaction is not None and self.transaction.final

    def fail(self, error: Exception) -> None:
        """Let this be what became of it."""
        self.error = error
        self.transaction = transaction = _Transaction()
        transaction.final = True


class _Writer:
    """A thread in the queue, and its operations.

    Attributes:
        given_up: its thread was interrupted and does not want them done any more.
        taken: the last transaction that somebody did for it; set before ``given_up`` is looked at, as ``given_up`` is
            set before this is looked at, so at least one side sees the other.
        wake: held until all is done, or this thread is to take the turn.
    """

    __slots__ = ("given_up", "jobs", "taken", "wake")

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.given_up = False
        self.taken: _Transaction | None = None
        self.wake = _held_lock()
        for job in jobs:
            job.writer = self

    def done(self) -> bool:
        return not [job for job in self.jobs if not job.done]


def _held_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


def _release(lock: threading.Lock) -> None:
    """Release a lock that another thread may be releasing as well."""
    if lock.locked():
        try:
            lock.release()
        except RuntimeError:
            return


class Commits(Connections):
    """The writes of one database.

    Args:
        location: where, and how to open it.
    """

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._turn = threading.Lock()  # who has it, uses the writing connection
        self._start_queue()

    def renew_queue(self, own: Sequence[Operation]) -> None:
        """Start anew in a child, where only the thread is that forked.

        Args:
            own: the operations which that thread is inside of.
        """
        for writer in self._queue:
            writer.taken = None  # whoever did it for another one is not there
        self._start_queue()
        turn = self._turn
        if turn.locked() and not [item for item in own if item.turn is turn]:
            self._turn = threading.Lock()
            _release(turn)  # this thread may be waiting for it

    def _start_queue(self) -> None:
        self._queue: dict[_Writer, None] = {}  # in order of arrival
        self._expected = 1  # how many writers were there at the last commit
        self._patience = 0.0  # how many seconds to wait for as many
        self._gathering: threading.Lock | None = None  # held until they have come

    def write(self, here: Operation, call: Callable[[], Steps[T]]) -> T:
        """Run an operation in a transaction, possibly together with others; return when it is durable."""
        if self._expected != 1 or self._queue or self._turn.locked():
            job = Job(call)
            self.write_all(here, (job,))
            if job.error is not None:
                raise job.error
            return job.answer  # type: ignore[no-any-return]
        start = time.monotonic()
        turn = self._turn
        try:
            with turn:
                here.turn = turn
                try:
                    if turn is self._turn:
                        return self._alone(here, call)
                finally:
                    try:
                        if self._queue:
                            self._expect(1, start)
                    finally:
                        here.turn = here.connection = None
        finally:
            if self._queue:
                self._pass_on()
        return self.write(here, call)  # in a child: it has another turn

    def write_all(self, here: Operation, jobs: Sequence[Job]) -> None:
        """Run operations, in order, in one transaction, possibly together with those of other threads.

        When this returns, what became of each stands in the jobs. One that fails takes none of the others along.
        """
        writer = _Writer(jobs)
        self._queue[writer] = None
        try:
            gate = self._gathering
            if gate is not None and len(self._queue) >= self._expected:
                _release(gate)
            while not writer.done():
                turn = self._turn
                if turn.locked():
                    self._wait(writer)
                    continue
                with turn:
                    here.turn = turn
                    try:
                        if turn is self._turn and not writer.done():
                            self._queue[writer] = None  # in a child: it has another queue
                            self._gather()
                            self._lead(here, writer)
                    finally:
                        here.turn = here.connection = None
        except BaseException:
            writer.given_up = True
            # Who leads may be about to commit: done or not done, but not under way.
            while writer.taken is not None and not writer.taken.over:
                writer.wake.acquire(timeout=_POLL)
            raise
        finally:
            self._queue.pop(writer, None)
            self._pass_on()

    # ------------------------------------------------------------------------------------------------------- the queue

    def _wait(self, writer: _Writer) -> None:
        while not writer.wake.acquire(timeout=_POLL):
            if writer.done() or not self._turn.locked():
                return

    def _gather(self) -> None:
        """Wait for the writers of the last commit, but not for long."""
        if len(self._queue) >= self._expected or self._patience < _PATIENCE[0]:
            return
        gate = _held_lock()
        self._gathering = gate
        try:
            if len(self._queue) < self._expected:
                gate.acquire(timeout=self._patience)
        finally:
            self._gathering = None

    def _expect(self, writers: int, start: float) -> None:
        """Note how many may come back after a commit of so many."""
        self._patience = min(time.monotonic() - start, _PATIENCE[1])
        self._expected = writers + len(self._queue)

    def _pass_on(self) -> None:
        """Wake the first in the queue if nobody has the turn; who has it does so at the end."""
        if self._turn.locked():
            return
        for writer in list(self._queue):
            if not writer.given_up and not writer.done():
                _release(writer.wake)
                return

    # ---------------------------------------------------------------------------------------- commits; with the turn

    def _lead(self, here: Operation, own: _Writer) -> None:
        """Run what is queued in one transaction; if that breaks, each job in its own."""
        start = time.monotonic()
        waiting = list(self._queue)
        transaction = _Transaction()
        writers: list[_Writer] = []
        try:
            self._transact(here, transaction, writers, None)
        except Moved:
            raise
        except Exception as error:
            if transaction.final:
                raise
            if not writers and isinstance(error, (sqlite3.Error, PersistenceError)):
                for writer in waiting:  # the file cannot be opened, or stays locked: they waited as long
                    for job in writer.jobs:
                        if not job.done:
                            job.fail(error)
            else:
                self._apart_from_each_other(here, own, writers, transaction.job, error)
        finally:
            transaction.over = True
            done = [writer for writer in writers or waiting if writer.done()]
            for writer in done:
                self._queue.pop(writer, None)
            self._expect(len(writers) or 1, start)
            for writer in done:
                _release(writer.wake)

    def _apart_from_each_other(
        self, here: Operation, own: _Writer, writers: Sequence[_Writer], culprit: Job | None, error: Exception
    ) -> None:
        """Run each job of a broken transaction in its own.

        An exception that neither SQLite nor a step raises on purpose may be a defect of the job, or have been raised
        into this thread from outside. It is the job's if it comes again.
        """
        if isinstance(error, (sqlite3.Error, PersistenceError)):
            culprit = None
        elif culprit is None or (culprit.writer is own and len(own.jobs) == 1):
            raise error
        for writer in writers:
            for job in writer.jobs:
                self._settle(here, job, error if job is culprit else None)

    def _settle(self, here: Operation, job: Job, first: Exception | None) -> None:
        while not job.done and not job.writer.given_up:
            transaction = _Transaction()
            try:
                self._transact(here, transaction, [], job)
            except Moved:
                raise
            except Exception as error:
                if transaction.final:
                    raise
                if first is None and not isinstance(error, (sqlite3.Error, PersistenceError)):
                    first = error
                    continue
                job.fail(error)
                return
            finally:
                transaction.over = True
        if first is not None:
            raise first  # it did not come again

    def _transact(self, here: Operation, transaction: _Transaction, writers: list[_Writer], only: Job | None) -> None:
        """Run what is queued, or one job, in a transaction; start again if an inner call of this thread undoes it.

        Args:
            here: the operation of this thread.
            transaction: what to note in the jobs.
            writers: filled with those whose jobs are run.
            only: the job; None: all that is queued.
        """
        for _ in range(_RESTARTS):
            here.overtaken = False
            del writers[:]
            try:
                connection, perform = self._begin(here)
                jobs = self._take(transaction, writers) if only is None else self._take_one(transaction, only)
                if len(jobs) > 1 and connection is not self._shared:
                    connection.execute(SHARED_LOG)
                    self._shared = connection
                for job in jobs:
                    transaction.job = job
                    before = connection.total_changes
                    job.transaction, job.answer, job.error = transaction, None, None
                    try:
                        job.answer = run(job.call(), perform)
                    except PersistenceError as error:
                        if connection.total_changes != before:
                            raise  # a part of it is in the transaction of all
                        job.error = error
                transaction.job = None
                self.check()
                transaction.sealed = True
                try:
                    connection.execute("COMMIT")
                except sqlite3.Error:
                    transaction.sealed = False
                    raise
                transaction.final = True
                return
            except BaseException as error:
                used = here.connection
                if used is not None:
                    if used.in_transaction:
                        used.execute("ROLLBACK")
                    elif transaction.sealed and not here.overtaken:
                        transaction.final = True  # interrupted right behind the COMMIT
                if transaction.final or not self._again(here, error):
                    raise
                transaction.sealed = False
        raise _overtaken_too_often()

    def _take(self, transaction: _Transaction, writers: list[_Writer]) -> list[Job]:
        """Return the jobs that are queued."""
        for writer in list(self._queue)[:_BATCH]:
            if not writer.done():
                writer.taken = transaction
                if not writer.given_up:
                    writers.append(writer)
        return [job for writer in writers for job in writer.jobs if not job.done]

    @staticmethod
    def _take_one(transaction: _Transaction, job: Job) -> list[Job]:
        job.writer.taken = transaction
        return [] if job.writer.given_up else [job]

    def _alone(self, here: Operation, call: Callable[[], Steps[T]]) -> T:
        """Run one operation in a transaction of its own."""
        for _ in range(_RESTARTS):
            here.overtaken = False
            try:
                connection, perform = self._begin(here)
                answer = run(call(), perform)
                self.check()
                connection.execute("COMMIT")
                return answer
            except BaseException as error:
                used = here.connection
                if used is not None and used.in_transaction:
                    used.execute("ROLLBACK")
                if not self._again(here, error):
                    raise
        raise _overtaken_too_often()

    def _again(self, here: Operation, error: BaseException) -> bool:
        """Whether a transaction that was undone has to be run again; gives up connections that may be broken.

        Raises:
            Moved: the file is another one.
        """
        connection = here.connection
        if connection is not None and here.overtaken:
            here.connection = None
            connection.close()  # it refuses to write
            return isinstance(error, (sqlite3.Error, PersistenceError))
        if isinstance(error, sqlite3.OperationalError) and not is_busy(error) and self.location.path is not None:
            if connection is not None:
                self.forget(connection)
                connection.close()
            self.suspect(error)
        elif isinstance(error, PersistenceError):
            self.check()  # it may be refused by what a file says that was replaced
        return False

    def _begin(self, here: Operation) -> Opened:
        """Start a write transaction on the writing connection, waiting for those of other processes."""
        writer = self.writer()
        here.connection = connection = writer[0]
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            begin_patiently(connection, error, self.location.lock_timeout)
        return writer


def _overtaken_too_often() -> PersistenceError:
    return UnsupportedOperationError(
        f"sqlite: calls from inside this one (a __del__, a signal handler, a trace function) wrote to the same file "
        f"each of the {_RESTARTS} times that it was tried"
    )


def begin_patiently(connection: sqlite3.Connection, error: sqlite3.OperationalError, timeout: float) -> None:
    """Start a write transaction that was refused with ``error``, for up to ``timeout`` seconds."""
    end = time.monotonic() + timeout
    pause = 0.0002
    while is_busy(error) and time.monotonic() <= end:
        import random

        # A short random wait: who has waited longest does not lose to who came last more often than by chance.
        time.sleep(random.uniform(pause / 4, pause))
        pause = min(pause * 1.5, 0.004)
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as again:
            error = again
    raise error
