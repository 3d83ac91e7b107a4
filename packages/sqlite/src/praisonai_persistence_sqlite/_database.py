"""One database file in one process: the connections that all stores on it share.

**Writers share commits.** A write that arrives while another one is committing waits in a queue. Whoever finishes
hands the whole queue to the first in it, who runs every operation in one transaction and commits once. Those who took
part in the last commit are about to come back, so the first waits for them, no longer than that commit took
itself: otherwise every second commit would be one of a single write. A lone writer pays for none of this: it finds the
queue empty, expects nobody, and commits at once. A thread that brings the writes of many tasks is one writer.

**Readers** have connections of their own, so in WAL mode they neither wait nor make anybody wait.

**Forks**: SQLite keeps its locks in memory that a child would inherit in a false state, so a fork waits for a moment
without an operation and closes the connections first; parent and child open their own when they go on.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time

from praisonai_persistence.errors import BackendError, PersistenceError
from praisonai_persistence.steps import run
from praisonai_persistence_sqlite._connection import SHARED_LOG, is_busy, open_connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sqlite._connection import Opened
    from praisonai_persistence_sqlite._location import Location

    T = TypeVar("T")

__all__ = ["Database", "Job", "give_back", "lend"]

_BATCH = 512  # writers in one transaction at the most, so that nobody waits long for a commit
_IDLE_READERS = 8
_PATIENCE = (0.00005, 0.002)  # seconds: shorter waits for other writers are not worth while, longer ones never are


class Job:
    """A write operation, and what became of it."""

    __slots__ = ("answer", "call", "error")

    def __init__(self, call: Callable[[], Steps[Any]]) -> None:
        self.call = call
        self.answer: Any = None
        self.error: Exception | None = None


class _Writer:
    """A thread in the queue, and its operations."""

    __slots__ = ("jobs", "leads", "wake")

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.leads = False
        self.wake: threading.Lock | None = None  # held until all is done, or this thread has to lead


class Database:
    """See the module. Made by [lend][], one for a location.

    Args:
        location: where, and how to open it.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self.users = 0
        self._reset()
        self._writer: Opened | None = None
        self._shared: sqlite3.Connection | None = None  # the writer's, once several have shared a commit
        self._readers: list[Opened] = []

    def _reset(self) -> None:
        self._mutex = threading.Lock()
        self._quiet = threading.Condition(self._mutex)
        self._queue: list[_Writer] = []
        self._leading = False
        self._expected = 1  # how many writers were there at the last commit
        self._patience = 0.0  # how many seconds to wait for as many
        self._gathering: threading.Lock | None = None  # held until they have come
        self._running = 0
        self._paused = False
        self._generation = 0  # of the connections: those of an earlier one are not used again

    # ------------------------------------------------------------------------------------------------------ operations

    def read(self, call: Callable[[], Steps[T]]) -> T:
        """Run an operation that changes nothing."""
        if self.location.path is None:  # one connection is all there is
            return self.write(call)
        self._enter()
        try:
            try:
                connection, perform = self._readers.pop()
            except IndexError:
                connection, perform = open_connection(self.location)
            generation = self._generation
            try:
                return run(call(), perform)
            except sqlite3.OperationalError as error:
                self._suspect(error)
                raise
            finally:
                if connection.in_transaction:
                    connection.rollback()
                if generation == self._generation and len(self._readers) < _IDLE_READERS:
                    self._readers.append((connection, perform))
                else:
                    connection.close()
        finally:
            self._leave()

    def write(self, call: Callable[[], Steps[T]]) -> T:
        """Run an operation in a transaction, possibly together with others; return when it is durable."""
        with self._mutex:
            lone = not self._leading and not self._paused and self._expected == 1
            if lone:
                self._leading = True
                self._running += 1
        if lone:
            start = time.monotonic()
            try:
                return self._alone(call)
            finally:
                with self._mutex:
                    if self._queue:
                        self._hand_over(1, start)
                    else:
                        self._leading = False
                    self._running -= 1
                    if self._paused:
                        self._quiet.notify_all()
        job = Job(call)
        self.write_all((job,))
        if job.error is not None:
            raise job.error
        return job.answer  # type: ignore[no-any-return]

    def write_all(self, jobs: Sequence[Job]) -> None:
        """Run operations, in order, in one transaction, possibly together with those of other threads.

        When this returns, what became of each stands in the jobs. One that fails takes none of the others along.
        """
        writer = _Writer(jobs)
        with self._mutex:
            while self._paused:
                self._quiet.wait()
            self._running += 1
            self._queue.append(writer)
            if self._leading:
                writer.wake = threading.Lock()
                writer.wake.acquire()
                if self._gathering is not None and len(self._queue) >= self._expected:
                    self._gathering.release()
                    self._gathering = None
            else:
                self._leading = writer.leads = True
        try:
            if writer.wake is not None:
                self._wait(writer)
            if writer.leads:
                self._gather(writer)
                self._lead()
        finally:
            self._leave()

    def _wait(self, writer: _Writer) -> None:
        try:
            writer.wake.acquire()  # type: ignore[union-attr]
        except BaseException:  # a signal: the caller goes away, the queue must not wait for it
            with self._mutex:
                if writer in self._queue:
                    self._queue.remove(writer)
                if writer.leads:
                    self._promote()
            raise

    def _gather(self, writer: _Writer) -> None:
        """Wait for the writers of the last commit, but not for long."""
        if len(self._queue) >= self._expected or self._patience < _PATIENCE[0]:
            return
        gate = threading.Lock()
        gate.acquire()
        try:
            with self._mutex:
                if len(self._queue) >= self._expected:
                    return
                self._gathering = gate
            gate.acquire(timeout=self._patience)
        except BaseException:  # a signal: the caller goes away, the queue must not wait for it
            with self._mutex:
                self._queue.remove(writer)
                self._promote()
            raise
        finally:
            self._gathering = None

    def _lead(self) -> None:
        """Run everything that is queued in one transaction, then let the next in the queue lead."""
        with self._mutex:
            writers = self._queue[:_BATCH]
            del self._queue[:_BATCH]
        batch = writers[0].jobs if len(writers) == 1 else [job for writer in writers for job in writer.jobs]
        start = time.monotonic()
        try:
            if len(batch) == 1:
                batch[0].answer = self._alone(batch[0].call)
            else:
                self._together(batch)
        except BaseException as error:
            if isinstance(error, Exception):
                for job in batch:
                    job.error = error
            else:  # a signal in this thread is not theirs
                for job in batch:
                    job.error = BackendError("sqlite: the commit was interrupted by a signal in another thread")
                raise
        finally:
            with self._mutex:
                self._hand_over(len(writers), start)
            for writer in writers:
                if writer.wake is not None and not writer.leads:
                    writer.wake.release()

    def _hand_over(self, writers: int, start: float) -> None:
        """Let the next in the queue lead, after a commit of so many; the caller has the mutex."""
        self._patience = min(time.monotonic() - start, _PATIENCE[1])
        self._expected = writers + len(self._queue)
        self._promote()

    def _promote(self) -> None:
        if self._queue:
            writer = self._queue[0]
            writer.leads = True
            if writer.wake is not None:
                writer.wake.release()
        else:
            self._leading = False

    def _alone(self, call: Callable[[], Steps[T]]) -> T:
        """Run one operation in a transaction of its own."""
        connection, perform = self._begin()
        try:
            answer = run(call(), perform)
            connection.execute("COMMIT")
        except BaseException as error:
            self._undo(connection, error)
            raise
        return answer

    def _together(self, batch: Sequence[Job]) -> None:
        """Run several in one transaction; if that breaks, each in its own."""
        connection, perform = self._begin()
        try:
            if connection is not self._shared:
                connection.execute(SHARED_LOG)
                self._shared = connection
            for job in batch:
                before = connection.total_changes
                try:
                    job.answer = run(job.call(), perform)
                except PersistenceError as error:
                    if connection.total_changes != before:
                        raise  # a part of it is in the transaction of all
                    job.error = error
            connection.execute("COMMIT")
            return
        except BaseException as error:
            self._undo(connection, error)
            if not isinstance(error, Exception):
                raise
        for job in batch:
            job.answer = job.error = None
            try:
                job.answer = self._alone(job.call)
            except Exception as error:  # noqa: BLE001 - raised in the thread of the job
                job.error = error

    def _undo(self, connection: sqlite3.Connection, error: BaseException) -> None:
        try:
            connection.rollback()
        except sqlite3.OperationalError as failed:
            error = failed
            raise
        finally:
            self._suspect(error, self._writer)

    def _suspect(self, error: BaseException, writer: Opened | None = None) -> None:
        """Give up the connections, those of readers and ``writer``, if this is an error of the file system.

        What was opened while the files were read-only stays so, and so does what is opened beside it in this process:
        SQLite shares the state of the write-ahead log's index. Readers at work close theirs when they are done.
        """
        if not isinstance(error, sqlite3.OperationalError) or is_busy(error) or self.location.path is None:
            return
        with self._mutex:
            self._generation += 1
        if writer is not None:
            writer[0].close()
            self._writer = None
        while True:
            try:
                self._readers.pop()[0].close()
            except IndexError:
                return

    def _begin(self) -> Opened:
        """Start a write transaction, waiting for those of other processes, and return its connection."""
        writer = self._writer
        if writer is None:
            writer = self._writer = open_connection(self.location)
            if self.location.path is not None:
                writer[0].execute("PRAGMA busy_timeout=0")  # _begin_patiently waits, and better
        try:
            writer[0].execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            self._begin_patiently(writer, error)
        return writer

    def _begin_patiently(self, writer: Opened, error: sqlite3.OperationalError) -> None:
        import random

        end = time.monotonic() + self.location.lock_timeout
        pause = 0.0002
        while is_busy(error) and time.monotonic() <= end:
            # A short random wait: who has waited longest does not lose to who came last more often than by chance.
            time.sleep(random.uniform(pause / 4, pause))
            pause = min(pause * 1.5, 0.004)
            try:
                writer[0].execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as again:
                error = again
        self._suspect(error, writer)
        raise error

    # ----------------------------------------------------------------------------------------------------- connections

    def _enter(self) -> None:
        with self._mutex:
            while self._paused:
                self._quiet.wait()
            self._running += 1

    def _leave(self) -> None:
        with self._mutex:
            self._running -= 1
            if self._paused:
                self._quiet.notify_all()

    def _close_connections(self) -> None:
        for connection, _ in (*self._readers, *([] if self._writer is None else [self._writer])):
            connection.close()
        self._readers.clear()
        self._writer = self._shared = None

    def close(self) -> None:
        """Wait for the operations under way, then close every connection."""
        with self._mutex:
            self._paused = True
            while self._running:
                self._quiet.wait()
            self._close_connections()
            self._paused = False
            self._quiet.notify_all()

    # ----------------------------------------------------------------------------------------------------------- forks

    def before_fork(self) -> None:
        """Bring operations to a halt and close the connections to the file."""
        self._mutex.acquire()
        self._paused = True
        while self._running:
            self._quiet.wait()
        if self.location.path is not None:
            self._close_connections()

    def after_fork(self, *, child: bool) -> None:
        """Go on; connections are opened again when they are needed."""
        if child:  # the threads that waited are not here
            self._reset()
        else:
            self._paused = False
            self._quiet.notify_all()
            self._mutex.release()


_shared: dict[Location, Database] = {}
_shared_lock = threading.Lock()


def lend(location: Location) -> Database:
    """Return the database of a location, which all stores of this process share; give it back with [give_back][].

    A database in memory is not shared.
    """
    if location.path is not None:
        location = location._replace(path=os.path.realpath(location.path))
    with _shared_lock:
        database = _shared.get(location) if location.path is not None else None
        if database is None:
            database = Database(location)
            if location.path is not None:
                _shared[location] = database
        database.users += 1
        return database


def give_back(database: Database) -> None:
    """Close the database if nobody else has it."""
    with _shared_lock:
        database.users -= 1
        if database.users:
            return
        if _shared.get(database.location) is database:
            del _shared[database.location]
    database.close()


_halted: list[Database] = []


def _before_fork() -> None:
    _shared_lock.acquire()
    _halted[:] = _shared.values()
    for database in _halted:
        database.before_fork()


def _after_fork_in_parent() -> None:
    for database in _halted:
        database.after_fork(child=False)
    _halted.clear()
    _shared_lock.release()


def _after_fork_in_child() -> None:
    for database in _halted:
        database.after_fork(child=True)
    _halted.clear()
    _shared_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
