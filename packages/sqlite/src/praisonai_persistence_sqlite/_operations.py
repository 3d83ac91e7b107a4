"""Which thread is inside which operation: what re-entry, closing, forks and replaced files have to know.

A thread that is inside an operation may call a store again: from a ``__del__`` that the garbage collector runs, from a
signal handler, from a function that SQLite calls. Such an inner call must not wait for what its own thread holds. So
each operation is registered here, per thread, before it touches anything; and an inner call first undoes the write
transactions that its thread has open. The outer operation finds out at its next write, or at its COMMIT, and starts
again: SQLite itself refuses both, because the connection is read-only then and has no transaction.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any

__all__ = ["Gate", "Moved", "Operation", "chain", "inside", "wait_for"]

inside: dict[int, Operation] = {}
"""The innermost operation of every thread that is inside one.

A plain dict: one bytecode registers and one removes, so neither an interrupt nor the garbage collector comes between.
"""


class Moved(Exception):  # noqa: N818 - a signal inside the package, never raised to callers
    """The file at the path is not the one that the connections have open.

    Args:
        epoch: of the database when this was seen.
    """

    def __init__(self, epoch: object) -> None:
        super().__init__()
        self.epoch = epoch


class Operation:
    """An operation under way.

    Attributes:
        lock: held by the thread as long as the operation lasts.
        connection: the connection on which it may have a write transaction open.
        overtaken: whether an inner call of the same thread has undone that transaction.
        turn: the turn to write that it has. It is set and cleared with no call between that and the lock's own, so that
            a signal handler, which may fork, finds it right.
    """

    __slots__ = ("connection", "database", "lock", "outer", "overtaken", "thread", "turn", "user")

    def __init__(self, database: Any, user: Any, thread: int, outer: Operation | None) -> None:
        self.database = database
        self.user = user
        self.thread = thread
        self.outer = outer
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.overtaken = False
        self.turn: threading.Lock | None = None

    def overtake(self) -> None:
        """Undo the write transaction, for an inner call of the same thread.

        Until the connection is closed, nothing can be written on it: the outer operation may be inside a call of it.
        """
        connection = self.connection
        if connection is None or self.database.location.path is None or not connection.in_transaction:
            return  # a database in memory refuses inner calls
        self.overtaken = True
        self.database.forget(connection)
        connection.execute("PRAGMA query_only=1")
        connection.execute("ROLLBACK")


class Gate:
    """Keeps new operations out while the connections are being closed.

    It is over as soon as its lock is free, however the thread that held it came to leave.
    """

    __slots__ = ("lock", "thread")

    def __init__(self, thread: int) -> None:
        self.lock = threading.Lock()
        self.thread = thread


def chain(operation: Operation | None) -> list[Operation]:
    """Return an operation of a thread and those that it is inside of."""
    found = []
    while operation is not None:
        found.append(operation)
        operation = operation.outer
    return found


def wait_for(database: Any, thread: int, user: Any = None) -> None:
    """Wait until operations on a database that other threads have begun are over; with ``user`` only those of one."""
    for innermost in list(inside.values()):
        for operation in chain(innermost):
            if operation.database is database and operation.thread != thread and user in (None, operation.user):
                with operation.lock:
                    pass
