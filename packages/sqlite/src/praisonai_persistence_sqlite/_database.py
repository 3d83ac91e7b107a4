"""One database file in one process: the connections that all stores on it share, and the operations on them.

**Writers share commits**; see ``_commits``. **Readers** have connections of their own, so in WAL mode they neither wait
nor make anybody wait.

**Inner calls**, from inside an operation of the same thread, work on a connection of their own, opened for them; see
``_operations``. A database in memory is its one connection, so it refuses calls from inside operations in memory.

**The file may be replaced.** Each read looks first, and each write before its commit, whether the file at the path is
the one that is open. If not, operations come to a halt, all connections to it in this process are closed, and they
start again on what is at the path now, beginning with its tables.

**Forks**: SQLite keeps its locks in memory that a child would inherit in a false state, so a fork waits for a moment
without an operation and closes the connections first; parent and child open their own when they go on.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time

from praisonai_persistence.errors import (
    ConnectionFailedError,
    PersistenceError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import run
from praisonai_persistence_sqlite._commits import Commits, Job, begin_patiently
from praisonai_persistence_sqlite._operations import Gate, Moved, Operation, chain, inside, wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeVar

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sqlite._location import Location

    T = TypeVar("T")

    _Kind = tuple[Callable[["Database", Operation, Any], Any], Callable[["Database", Operation, Any], Any]]
    """How an operation is run, and how if its thread is inside another one."""
else:
    Protocol = object

__all__ = ["READ", "WRITE", "WRITE_ALL", "Database", "Job", "User", "give_back", "lend"]

_IDLE_READERS = 8
_GLANCE = 0.001
"""Seconds for which a read trusts that the file is still the same: looking takes half as long as a short read."""
_MOVES = 20  # how often the file may be replaced during one call
_get_ident = threading.get_ident


class User(Protocol):
    """A store's part in a database.

    Attributes:
        closed: whether its operations are refused.
        epoch: of the database, when its tables were last found up to date.
    """

    closed: bool
    epoch: object

    def prepare(self, database: Database) -> None:
        """Bring the tables up to date and note the epoch."""


class Database(Commits):
    """See the module. Made by [lend][], one for a location.

    Args:
        location: where, and how to open it.
    """

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self.users: dict[User, None] = {}
        self._gate: Gate | None = None

    # ------------------------------------------------------------------------------------------------------ operations

    def run(self, user: User, what: Any, kind: _Kind, prepared: bool = True) -> Any:
        """Run an operation of a store, or several.

        Args:
            user: the store's part.
            what: makes the operation, and makes it again if it has to be started again; or jobs.
            kind: READ, WRITE or WRITE_ALL; the last returns nothing, as what became of each stands in the jobs.
            prepared: whether it needs the tables of the store.

        Raises:
            StoreClosedError: the store is closed.
            sqlite3.Error: as the driver raised it.
        """
        me = _get_ident()
        if me in inside:
            return self._run_inside(me, user, what, kind, prepared)
        moves = 0
        while True:
            here = Operation(self, user, me, None)
            moved = gate = None
            inside[me] = here
            try:
                with here.lock:
                    if user.closed:
                        raise StoreClosedError("this store is closed")
                    gate = self._gate
                    if gate is not None:
                        if not gate.lock.locked():
                            gate = None
                        elif gate.thread == me:
                            return self._run_inside(me, user, what, kind, prepared)
                    if gate is None and (not prepared or user.epoch is self.epoch):
                        return kind[0](self, here, what)
            except Moved as error:
                moved = error.epoch
            finally:
                del inside[me]
                if not self.users:
                    self._close_unused()
            if moved is not None:
                moves += 1
                if moves > _MOVES:
                    raise self._replaced()
                _leave_behind(self, moved)
            elif gate is None:
                user.prepare(self)
            else:
                with gate.lock:
                    pass

    def _read(self, here: Operation, call: Callable[[], Steps[T]]) -> T:
        """Run an operation that changes nothing."""
        if self.location.path is None:  # one connection is all there is
            return self.write(here, call)
        now = time.monotonic()
        if now - self._looked > _GLANCE:
            self.check()
            self._looked = now
        generation = self._generation
        readers = self._readers
        try:
            reader = readers.pop()
        except IndexError:
            reader = self.open()
        connection = reader[0]
        kept = False
        try:
            answer = run(call(), reader[1])
            kept = True
            return answer
        except PersistenceError:
            kept = True
            self.check()  # it may be refused by what a file says that was replaced
            raise
        except sqlite3.OperationalError as error:
            connection.close()
            self.suspect(error)
            raise
        finally:
            if not kept:
                connection.close()
            else:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if generation is self._generation and len(readers) < _IDLE_READERS:
                    readers.append(reader)
                else:
                    connection.close()

    # ----------------------------------------------------------------------------------------------------- inner calls

    def _run_inside(self, me: int, user: User, what: Any, kind: _Kind, prepared: bool) -> Any:
        """Run an operation while the thread is inside another one."""
        outer = inside[me]
        if user.closed:
            raise StoreClosedError("this store is closed")
        if self.location.path is None and [item for item in chain(outer) if item.database.location.path is None]:
            raise UnsupportedOperationError(
                "sqlite: a database in memory is one connection, so it cannot be called from inside another call (from "
                "a __del__, a signal handler or a trace function); one in a file can"
            )
        here = Operation(self, user, me, outer)
        inside[me] = here
        try:
            with here.lock:
                if prepared and user.epoch is not self.epoch:
                    user.prepare(self)
                return kind[1](self, here, what)
        except Moved as error:
            raise self._replaced() from error
        finally:
            inside[me] = outer

    def _read_inside(self, here: Operation, call: Callable[[], Steps[T]]) -> T:
        if self.location.path is None:
            return self._write_inside(here, call)
        connection, perform = self.open()
        try:
            return run(call(), perform)
        finally:
            connection.close()

    def _write_all_inside(self, here: Operation, jobs: Sequence[Job]) -> None:
        for job in jobs:
            try:
                job.answer = self._write_inside(here, job.call)
            except (sqlite3.Error, PersistenceError) as error:
                job.error = error

    def _write_inside(self, here: Operation, call: Callable[[], Steps[T]]) -> T:
        """Run an operation on a connection of its own, in the place of what this thread has under way."""
        for item in chain(here.outer):
            item.overtake()  # before waiting for anything
        if self.location.path is None:
            return self.write(here, call)
        connection, perform = self.open()
        try:
            while True:
                here.overtaken = False
                here.connection = connection
                connection.execute("PRAGMA busy_timeout=0")
                try:
                    try:
                        connection.execute("BEGIN IMMEDIATE")
                    except sqlite3.OperationalError as error:
                        begin_patiently(connection, error, self.location.lock_timeout)
                    answer = run(call(), perform)
                    self.check()
                    connection.execute("COMMIT")
                    return answer
                except (sqlite3.Error, PersistenceError):
                    if not here.overtaken:
                        raise
                connection.close()
                connection, perform = self.open()
        finally:
            connection.close()

    def _replaced(self) -> ConnectionFailedError:
        return ConnectionFailedError(f"{self.location.path} was removed or replaced during the call; call again")

    # --------------------------------------------------------------------------------------------- closing and halting

    def release(self, user: User) -> None:
        """Wait for the operations of a closed store; if no other has the database, close the connections."""
        me = _get_ident()
        if me not in inside:
            wait_for(self, me, user)
        self.users.pop(user, None)
        if not self.users:
            self._close_unused()
            with _registry:  # last: if an interrupt comes before, the next close finds it
                for key in [] if self.users else list(_databases):
                    if _databases[key] is self:
                        del _databases[key]

    def _close_unused(self) -> None:
        """Close the connections when no store has the database; an operation that is under way does it at its end."""
        me = _get_ident()
        outer = inside.get(me)
        if [item for item in chain(outer) if item.database is self]:
            return
        here = inside[me] = Operation(self, None, me, outer)  # a call from inside of this must not wait for the turn
        try:
            turn = None
            while turn is not self._turn:  # once, except in a child
                turn = self._turn
                with turn:
                    here.turn = turn
                    try:
                        if turn is self._turn:
                            self.close_connections()
                    finally:
                        here.turn = None
        finally:
            if outer is None:
                del inside[me]
            else:
                inside[me] = outer

    def halt(self, gate: Gate) -> None:
        """Keep new operations out from here on."""
        self._gate = gate

    def reset_in_child(self) -> None:
        """Start anew in a child, where the parent's other threads are not, on connections of its own."""
        self.renew_queue(chain(inside.get(_get_ident())))
        self._gate = None
        self.abandon_connections()


READ: _Kind = (Database._read, Database._read_inside)
WRITE: _Kind = (Database.write, Database._write_inside)
WRITE_ALL: _Kind = (Database.write_all, Database._write_all_inside)

_databases: dict[object, Database] = {}
_registry = threading.RLock()
_halting = threading.RLock()


def lend(location: Location, user: User) -> Database:
    """Return the database of a location, which all stores of this process share; [give_back][] ends it.

    A database in memory is not shared.

    Raises:
        ConnectionFailedError: the path is a link to a file that does not exist.
    """
    if location.path is None:
        key: object = user
    else:
        if os.path.islink(location.path) and not os.path.exists(location.path):
            raise ConnectionFailedError(
                f"{location.path} is a link to a file that does not exist; no file is made through a link"
            )
        key = location = location._replace(path=os.path.realpath(location.path))
    with _registry:
        database = _databases.setdefault(key, Database(location))
        database.users[user] = None
        return database


def give_back(user: User) -> None:
    """End a store's part in every database that it was lent; waits for its operations."""
    for database in list(_databases.values()):
        if user in database.users or not database.users:  # none: an interrupt came before all was closed
            database.release(user)


def _leave_behind(found_by: Database, epoch: object) -> None:
    """Close the connections to a file that is not at its path any more, and let operations start again there."""
    me = _get_ident()
    with _halting:
        if found_by.epoch is not epoch:
            return  # another thread has done it
        databases = [item for item in list(_databases.values()) if item.location.path == found_by.location.path]
        if found_by not in databases:
            databases.append(found_by)
        gate = Gate(me)
        with gate.lock:
            for database in databases:
                database.halt(gate)
            for database in databases:
                wait_for(database, me)
            for database in databases:
                database.leave_file()


# --------------------------------------------------------------------------------------------------------------- forks

_forking: list[Gate] = []


def _before_fork() -> None:
    me = _get_ident()
    own = chain(inside.get(me))
    for operation in own:
        operation.overtake()
    # In a signal handler others may be waiting for this thread: those that write for its turn, who halts them for the
    # end of its operation. Then nobody is waited for, and the child leaves all connections to the parent.
    if [operation for operation in own if operation.turn is not None]:
        return
    if not _halting.acquire(blocking=not own):
        return
    gate = Gate(me)
    gate.lock.acquire()
    _forking.append(gate)
    databases = list(_databases.values())
    for database in databases:
        database.halt(gate)
    for database in databases:
        wait_for(database, me)
    for database in databases:
        if database.location.path is not None:
            database.close_connections()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().lock.release()
    if _halting._is_owned():  # type: ignore[attr-defined]
        _halting.release()


def _after_fork_in_child() -> None:
    global _halting, _registry
    _after_fork_in_parent()  # this thread may have been waiting for the same lock
    _halting, _registry = threading.RLock(), threading.RLock()
    me = _get_ident()
    for thread in list(inside):
        if thread != me:
            del inside[thread]
    for database in list(_databases.values()):
        database.reset_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
