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
import random
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from praisonai_persistence.errors import BackendError, ConnectionFailedError, PersistenceError
from praisonai_persistence.payload import decode_text
from praisonai_persistence.steps import run
from praisonai_persistence.stores.conversation import query_words
from praisonai_persistence_sql.requests import Execute, ExecuteMany, Fetch, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sqlite._location import Location

__all__ = ["Database", "Define", "Job", "LoadVectors", "give_back", "lend", "translate"]

P = ParamSpec("P")
T = TypeVar("T")

_BATCH = 512  # writers in one transaction at the most, so that nobody waits long for a commit
_IDLE_READERS = 8
_PATIENCE = (0.00005, 0.002)  # seconds: shorter waits for other writers are not worth while, longer ones never are
_BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED; extended codes have them in the low byte


class Define(NamedTuple):
    """Give the connection an SQL function for the rest of the operation; the answer is None."""

    name: str
    arguments: int
    function: Callable[..., Any]


class LoadVectors(NamedTuple):
    """Load sqlite-vec into the connection; the answer is whether this Python can."""


def _load_vectors(connection: sqlite3.Connection) -> bool:
    """Some builds of Python have a sqlite3 module that loads no extensions; others do the work in Python then."""
    if not hasattr(connection, "enable_load_extension"):
        return False
    try:
        connection.execute("SELECT vec_version()")
    except sqlite3.OperationalError:
        import sqlite_vec

        connection.enable_load_extension(True)
        try:
            sqlite_vec.load(connection)
        except sqlite3.OperationalError:
            return False
        finally:
            connection.enable_load_extension(False)
    return True


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # Python 3.11
    if code is None:
        return "is locked" in str(error)
    return (code & 0xFF) in _BUSY


def translate(error: sqlite3.Error, path: str | None) -> PersistenceError:
    """Return an error of the driver in our words."""
    if _is_busy(error):
        return ConnectionFailedError(
            f"{path} was locked by another process for longer than lock_timeout; raise it, or look for a program that "
            f"keeps a transaction open"
        )
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return ConnectionFailedError(f"{path} is no SQLite database")
    return BackendError(f"sqlite: {error}")


def _perform_on(connection: sqlite3.Connection) -> Callable[[Any], Any]:
    execute = connection.execute

    def perform(request: Any) -> Any:
        kind = type(request)
        if kind is Fetch:
            return execute(request[0], request[1]).fetchall()
        if kind is Execute:
            return execute(request[0], request[1]).rowcount
        if kind is ExecuteMany:
            connection.executemany(request[0], request[1])
        elif kind is Define:
            connection.create_function(request.name, request.arguments, request.function, deterministic=True)
        elif kind is Snapshot:
            if not connection.in_transaction:
                execute("BEGIN")
        elif kind is LoadVectors:
            return _load_vectors(connection)
        else:
            raise TypeError(f"sqlite cannot perform {kind.__name__}")
        return None

    return perform


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
        self._writer: tuple[sqlite3.Connection, Callable[[Any], Any]] | None = None
        self._readers: list[tuple[sqlite3.Connection, Callable[[Any], Any]]] = []

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
                connection, perform = self._open()
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
            self._commit(batch)
        except BaseException as error:
            if isinstance(error, Exception):
                for job in batch:
                    job.error = error
            else:  # a signal in this thread is not theirs
                for job in batch:
                    job.error = BackendError("sqlite: the commit was interrupted by a signal in another thread")
                raise
        finally:
            self._patience = min(time.monotonic() - start, _PATIENCE[1])
            with self._mutex:
                self._expected = len(writers) + len(self._queue)
                self._promote()
            for writer in writers:
                if writer.wake is not None and not writer.leads:
                    writer.wake.release()

    def _promote(self) -> None:
        if self._queue:
            writer = self._queue[0]
            writer.leads = True
            if writer.wake is not None:
                writer.wake.release()
        else:
            self._leading = False

    def _commit(self, batch: Sequence[Job]) -> None:
        try:
            self._transact(batch)
        except sqlite3.OperationalError as error:
            if self._suspect(error) and self._writer is not None:
                self._writer[0].close()
                self._writer = None
            raise

    def _suspect(self, error: sqlite3.Error) -> bool:
        """Give up the connections after an error of the file system, and say whether it was one.

        What was opened while the files were read-only stays so, and so does what is opened beside it in this process:
        SQLite shares the state of the write-ahead log's index. Readers at work close theirs when they are done.
        """
        if _is_busy(error) or self.location.path is None:
            return False
        with self._mutex:
            self._generation += 1
        while True:
            try:
                self._readers.pop()[0].close()
            except IndexError:
                return True

    def _transact(self, batch: Sequence[Job]) -> None:
        if self._writer is None:
            self._writer = self._open()
            if self.location.path is not None:
                self._writer[0].execute("PRAGMA busy_timeout=0")  # _begin waits, and better
        connection, perform = self._writer
        alone = len(batch) == 1
        execute = connection.execute
        self._begin(connection)
        try:
            for job in batch:
                before = connection.total_changes
                try:
                    job.answer = run(job.call(), perform)
                except PersistenceError as error:
                    if not alone and connection.total_changes != before:
                        raise  # a part of it is in the transaction of all
                    job.error = error
            if alone and batch[0].error is not None:
                connection.rollback()
            else:
                execute("COMMIT")
        except BaseException as error:
            connection.rollback()
            if alone or not isinstance(error, Exception):
                raise
            for job in batch:  # one of them broke the transaction: each on its own finds out which
                job.answer = job.error = None
                try:
                    self._commit([job])
                except Exception as own:  # noqa: BLE001 - raised in the thread of the job
                    job.error = own

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Start a write transaction, waiting for those of other processes."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
        end = time.monotonic() + self.location.lock_timeout
        pause = 0.0002
        while True:
            # A short random wait: who has waited longest does not lose to who came last more often than by chance.
            time.sleep(random.uniform(pause / 4, pause))
            pause = min(pause * 1.5, 0.004)
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > end:
                    raise

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

    def _open(self) -> tuple[sqlite3.Connection, Callable[[Any], Any]]:
        path = self.location.path
        try:
            connection = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=self.location.lock_timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
        except sqlite3.Error as error:
            raise self._refused(error) from error
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._refused(error) from error
        except BaseException:
            connection.close()
            raise
        return connection, _perform_on(connection)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if self.location.path is not None:
            self._enter_wal(connection)
            connection.execute(f"PRAGMA synchronous={self.location.synchronous}")
        connection.create_function("praison_words", 1, _words, deterministic=True)

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to WAL, which only one connection can do at a time, and whose lock ignores the busy timeout."""
        end = time.monotonic() + self.location.lock_timeout
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > end:
                    raise
                time.sleep(random.uniform(0.0005, 0.005))
        if mode != "wal":
            raise ConnectionFailedError(
                f"{self.location.path} cannot use a write-ahead log (its file system has no shared memory?); "
                f"put the file on a local disk"
            )

    def _refused(self, error: sqlite3.Error) -> PersistenceError:
        path = self.location.path
        if path is not None and not os.path.isdir(os.path.dirname(path)):
            return ConnectionFailedError(f"cannot open {path}: its directory does not exist")
        if "unable to open" in str(error):
            return ConnectionFailedError(f"cannot open {path}: {error}; is it a file that this user may write?")
        return translate(error, path)

    def _close_connections(self) -> None:
        for connection, _ in (*self._readers, *([] if self._writer is None else [self._writer])):
            connection.close()
        self._readers.clear()
        self._writer = None

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


def _words(text: str) -> str:
    """Return message text as the full-text index reads it: the words of the contract, between blanks."""
    return " ".join(query_words(decode_text(text)))


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
