"""Numbered schema steps, per component, with a version table.

The table ``<prefix>schema`` holds one row for each component (``conversation``, ``state``, ``knowledge``): the version
that its tables have. Everything happens in one write transaction that holds the migration lock, so of many processes
that start at once one migrates and the others find it done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence.errors import InvalidValueError, SchemaError
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence_sql.requests import Execute, Fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence_sql.dialect import Dialect

__all__ = ["Migration", "MigrationState", "Migrations"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step.

    Attributes:
        version: 1, 2, 3 ...; the version that the tables have after it.
        name: what it does, in a few words.
        up: shared statements (see ``Dialect``).
        down: statements that undo it, or None where that would lose data.
    """

    version: int
    name: str
    up: Sequence[str]
    down: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class MigrationState:
    """Where a component stands.

    Attributes:
        component: ``conversation``, ``state`` or ``knowledge``.
        version: what the database has; 0: nothing yet.
        latest: what this code writes.
        pending: names of the steps between them, in order.
    """

    component: str
    version: int
    latest: int
    pending: tuple[str, ...]


class Migrations:
    """The migrations of one component's tables.

    Args:
        dialect: of the engine.
        prefix: the ``table_prefix``.
        component: names the row in the version table.
        names: the tables that the statements mention, without prefix.
        steps: in order, numbered from 1.
    """

    TABLE: ClassVar[str] = "schema"

    def __init__(
        self, dialect: Dialect, prefix: str, component: str, names: Sequence[str], steps: Sequence[Migration]
    ) -> None:
        if [step.version for step in steps] != list(range(1, len(steps) + 1)):
            raise ValueError("migrations must be numbered 1, 2, 3 ...")
        self._dialect = dialect
        self._prefix = prefix
        self._component = component
        self._steps = steps
        self._tables = dialect.tables(prefix, [*names, self.TABLE])
        self._create = self._sql(
            "CREATE TABLE IF NOT EXISTS {schema} (component {t_id} PRIMARY KEY, version {t_int}, applied_at {t_real})"
        )
        self._read = self._sql("SELECT version FROM {schema} WHERE component = ?")
        self._write = dialect.prepare(
            dialect.upsert(self._tables[self.TABLE], ["component", "version", "applied_at"], ["component"]), {}
        )

    @property
    def latest(self) -> int:
        """The version that this code reads and writes."""
        return len(self._steps)

    @reads
    def version(self) -> Steps[int]:
        """Return the version of the tables; the runner must know that the version table exists."""
        rows = yield Fetch(self._read, (self._component,))
        return int(rows[0][0]) if rows else 0

    @property
    def can_look(self) -> bool:
        """Whether ``current`` works on this engine."""
        return self._dialect.find_table(self._prefix, self.TABLE) is not None

    @reads
    def current(self) -> Steps[int]:
        """Return the version of the tables without changing anything: 0 without tables."""
        query = self._dialect.find_table(self._prefix, self.TABLE)
        if query is None or not (yield Fetch(*query)):
            return 0
        return (yield from self.version())

    @writes
    def status(self) -> Steps[MigrationState]:
        """Return where the component stands. Makes the version table if there is none."""
        yield Execute(self._create)
        version = yield from self.version()
        pending = tuple(step.name for step in self._steps[version:])
        return MigrationState(self._component, version, self.latest, pending)

    @writes
    def up(self, target: int | None = None, *, dry_run: bool = False) -> Steps[list[str]]:
        """Apply what is pending; return the statements.

        Args:
            target: stop at this version; None: at the latest.
            dry_run: return the statements only.

        Raises:
            SchemaError: the tables are newer than this code.
            InvalidValueError: no such target.
        """
        goal = self._goal(target)
        version = yield from self._locked_version()
        if version > self.latest:
            raise self.newer(version)
        return (yield from self._apply(version, goal, dry_run=dry_run))

    @writes
    def down(self, target: int = 0, *, dry_run: bool = False) -> Steps[list[str]]:
        """Undo down to a version; return the statements.

        Raises:
            SchemaError: a step that cannot be undone, or tables newer than this code.
            InvalidValueError: no such target.
        """
        goal = self._goal(target)
        version = yield from self._locked_version()
        if version > self.latest:
            raise self.newer(version)
        statements: list[str] = []
        for step in reversed(self._steps[goal:version]):
            if step.down is None:
                raise SchemaError(f"step {step.version} ({step.name}) of {self._component} cannot be undone")
            statements += [self._sql(sql) for sql in step.down]
        if statements and not dry_run:
            for sql in statements:
                yield Execute(sql)
            yield Execute(self._write, (self._component, goal, time.time()))
        return statements

    def missing(self, version: int) -> SchemaError:
        """Return the error for tables that are not there, or older, where this store may not make them."""
        return SchemaError(
            f"the {self._component} tables with prefix {self._prefix!r} have schema version {version} (0: there are "
            f"none), this release needs {self.latest}, and create_schema is False: open a store with "
            f"create_schema=True once, with a role that may create tables"
        )

    def newer(self, version: int) -> SchemaError:
        """Return the error for tables that a later release wrote."""
        return SchemaError(
            f"the {self._component} tables with prefix {self._prefix!r} have schema version {version}, this release "
            f"reads up to {self.latest}: upgrade it (pip install --upgrade praisonai-persistence and its backend)"
        )

    def _goal(self, target: int | None) -> int:
        if target is None:
            return self.latest
        if not 0 <= target <= self.latest:
            raise InvalidValueError(f"there is no schema version {target}; there are 0 to {self.latest}")
        return target

    def _locked_version(self) -> Steps[int]:
        for sql in self._dialect.migration_lock(self._prefix):
            yield Execute(sql)
        yield Execute(self._create)
        return (yield from self.version())

    def _apply(self, version: int, goal: int, *, dry_run: bool) -> Steps[list[str]]:
        statements = [self._sql(sql) for step in self._steps[version:goal] for sql in step.up]
        if statements and not dry_run:
            for sql in statements:
                yield Execute(sql)
            yield Execute(self._write, (self._component, goal, time.time()))
        return statements

    def _sql(self, sql: str) -> str:
        return self._dialect.prepare(sql, self._tables)
