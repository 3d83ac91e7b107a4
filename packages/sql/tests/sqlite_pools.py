"""Pools over the standard library's sqlite3, to run the runners and the shared SQL on a real engine."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager

from praisonai_persistence.errors import BackendError
from praisonai_persistence_sql import (
    AsyncConnection,
    AsyncPool,
    Connection,
    Dialect,
    Execute,
    ExecuteMany,
    Fetch,
    Lender,
    Loan,
    Pool,
)


class PlainSQLite(Dialect):
    """The common ground as it is; only locks have no syntax here, and every engine has its own catalogue."""

    for_update = ""

    def find_table(self, prefix, name):
        return "SELECT 1 FROM sqlite_master WHERE name = ?", (prefix + name,)

    def find_columns(self, prefix, name):
        return "SELECT name FROM pragma_table_info(?)", (prefix + name,)


class Deadlock(Exception):
    """What a server says when it undid a transaction."""


class Gone(Exception):
    """What a driver says when the connection broke."""


def perform(connection, request):
    if isinstance(request, Fetch):
        return connection.execute(*request).fetchall()
    if isinstance(request, Execute):
        return connection.execute(*request).rowcount
    assert isinstance(request, ExecuteMany)
    connection.executemany(*request)
    return None


class Faults:
    """Errors to raise, one for each commit that is asked for; None lets it pass."""

    def __init__(self):
        self.before_commit = []
        self.after_commit = []
        self.attempts = 0
        self.closed = 0

    def commit(self, connection):
        self.attempts += 1
        before = self.before_commit.pop(0) if self.before_commit else None
        if before is not None:
            raise before
        connection.execute("COMMIT")
        after = self.after_commit.pop(0) if self.after_commit else None
        if after is not None:
            raise after

    def classify(self, error):
        return "repeat" if isinstance(error, Deadlock) else "lost" if isinstance(error, Gone) else "other"

    def translate(self, error):
        return BackendError(f"{type(error).__name__}")


class _Connection(Connection):
    def __init__(self, raw, faults):
        self.raw, self.faults = raw, faults

    def begin(self, *, write):
        self.raw.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def perform(self, request):
        return perform(self.raw, request)

    def commit(self):
        self.faults.commit(self.raw)

    def rollback(self):
        self.raw.rollback()


class SyncPool(Pool):
    """Connections of our own in a ``Lender``, as the backends have them.

    Args:
        path: of the database.
        max_size: connections at a time.
        timeout: seconds to wait for one.
    """

    insiders = frozenset({"sqlite3", "sqlite_pools"})

    def __init__(self, path, max_size=4, timeout=5.0):
        self.path = path
        self.faults = Faults()
        self.opened = 0
        self.lender = Lender(
            self._connect, lambda _: True, lambda it: it.raw.close(), max_size=max_size, timeout=timeout
        )

    def _connect(self):
        self.opened += 1
        raw = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        return _Connection(raw, self.faults)

    def lend(self):
        return Loan(self.lender.acquire, self.lender.release)

    def close(self):
        if not self.faults.closed:
            self.faults.closed += 1
        self.lender.close()

    def classify(self, error):
        return self.faults.classify(error)

    def translate(self, error):
        return self.faults.translate(error)


class _AsyncConnection(AsyncConnection):
    def __init__(self, raw, faults):
        self.inner = _Connection(raw, faults)

    async def begin(self, *, write):
        self.inner.begin(write=write)

    async def perform(self, request):
        return self.inner.perform(request)

    async def commit(self):
        self.inner.commit()

    async def rollback(self):
        self.inner.rollback()


class AwaitedPool(AsyncPool):
    insiders = frozenset({"sqlite3", "sqlite_pools"})

    def __init__(self, path):
        self.faults = Faults()
        self.raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    @asynccontextmanager
    async def lend(self):
        yield _AsyncConnection(self.raw, self.faults)

    async def close(self):
        self.faults.closed += 1
        self.raw.close()

    def classify(self, error):
        return self.faults.classify(error)

    def translate(self, error):
        return self.faults.translate(error)
