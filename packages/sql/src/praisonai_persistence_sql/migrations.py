"""Numbered schema steps, per component, with a version table.

The table ``<prefix>schema`` holds one row for each component (``conversation``, ``state``, ``knowledge``): the version
that its tables have. Everything happens in one write transaction that holds the migration lock, so of many processes
that start at once one migrates and the others find it done.
"""

from __future__ import annotations

import time

from praisonai_persistence._declare import dataclass
from praisonai_persistence.errors import ConfigurationError, InvalidValueError, SchemaError, StoreNotFoundError
from praisonai_persistence.steps import reads, writes
from praisonai_persistence_sql.requests import Execute, Fetch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar, TypeVar

    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.schema import LegacyTables, SchemaChange, SchemaStatus
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sql.dialect import Dialect

    T = TypeVar("T")

__all__ = ["Migration", "Migrations"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step.

    Attributes:
        version: 1, 2, 3 ...; the version that the tables have after it.
        name: what it does, in a few words.
        up: shared statements (see ``Dialect``).
        down: statements that undo it, or None where that would lose data.
        drops: tables that ``down`` drops; as long as one of them has a row, the step is not undone.
    """

    version: int
    name: str
    up: Sequence[str]
    down: Sequence[str] | None = None
    drops: Sequence[str] = ()


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
    _adopts = False

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
        self._find = Fetch(*dialect.find_table(prefix, self.TABLE))
        self._create = self._sql(
            "CREATE TABLE IF NOT EXISTS {schema} (component {t_id} PRIMARY KEY, version {t_int}, applied_at {t_real})"
        )
        self._read = self._sql("SELECT version FROM {schema} WHERE component = ?")
        self._unmark = self._sql("DELETE FROM {schema} WHERE component = ?")
        self._write = dialect.prepare(
            dialect.upsert(self._tables[self.TABLE], ["component", "version", "applied_at"], ["component"]), {}
        )

    @property
    def prefix(self) -> str:
        """Of the names of the tables."""
        return self._prefix

    @property
    def latest(self) -> int:
        """The version that this code reads and writes."""
        return len(self._steps)

    def adopt_on_connect(self, wanted: bool) -> None:
        """Say whether the first operation takes over tables of PraisonAI itself, where it finds them.

        Raises:
            ConfigurationError: wanted of tables that PraisonAI never wrote.
        """
        if wanted:
            raise ConfigurationError(f"adopt_legacy is for conversations; a {self._component} store adopts nothing")

    @reads
    def current(self) -> Steps[int]:
        """Return the version of the tables without changing anything: 0 without tables."""
        if not (yield self._find):
            return 0
        rows = yield Fetch(self._read, (self._component,))
        return int(rows[0][0]) if rows else 0

    @reads
    def status(self) -> Steps[SchemaStatus]:
        """Return where the component stands; changes nothing."""
        from praisonai_persistence.schema import SchemaStatus

        version = yield from self.current()
        pending = tuple(step.name for step in self._steps[version:])
        legacy = yield from self._legacy()
        return SchemaStatus(self._component, version, self.latest, pending, legacy)

    @reads
    def plan(self, target: int | None = None) -> Steps[SchemaChange]:
        """Return what [Migrations.migrate][] would do, and raise what it would; changes nothing."""
        from praisonai_persistence.schema import SchemaChange

        goal = self._goal(target)
        version = yield from self.current()
        statements = yield from self._statements(version, goal)
        return SchemaChange(self._component, version, goal, tuple(statements), dry_run=True)

    @writes
    def migrate(self, target: int | None = None) -> Steps[SchemaChange]:
        """Go up to the latest version, or up or down to ``target``.

        Raises:
            SchemaError: the tables are newer than this code, or not ours; or a step that cannot be undone.
            InvalidValueError: no such target.
        """
        from praisonai_persistence.schema import SchemaChange

        before, after, statements = yield from self._alone(self._migrate(self._goal(target)))
        return SchemaChange(self._component, before, after, statements)

    @writes
    def upgrade(self) -> Steps[None]:
        """Go up to the latest version, as [Migrations.migrate][] does, and tell nothing about it."""
        yield from self._alone(self._migrate(self.latest))

    def _migrate(self, goal: int) -> Steps[tuple[int, int, tuple[str, ...]]]:
        """Return the versions before and after, and the statements that led from one to the other."""
        version = yield from self.current()
        statements = yield from self._statements(version, goal)
        if version == 0 and statements and (yield from self._adopt_first()):
            return 0, self.latest, ()
        yield from self._do(statements, version, goal)
        return version, goal, tuple(statements)

    def _do(self, statements: Sequence[str], version: int, goal: int) -> Steps[None]:
        if version != goal:
            yield Execute(self._create)
            for sql in statements:
                yield Execute(sql)
            yield Execute(self._write, (self._component, goal, time.time()))

    def missing(self, version: int) -> SchemaError:
        """Return the error for tables that are not there, or older, where this store may not make them."""
        return SchemaError(
            f"the {self._component} tables with prefix {self._prefix!r} have schema version {version} (0: there are "
            f"none), this release needs {self.latest}, and create_schema is False: run 'praisonai-persistence migrate' "
            f"once, with a role that may create tables"
        )

    @reads
    def unmade(self) -> Steps[SchemaError | None]:
        """Return the error for tables that are not there, where this store may not make them; changes nothing.

        None: tables of PraisonAI itself stand in their place and are to be taken over, as the store was told to.
        """
        for found in (yield from self._legacy()):
            if found.prefix == self._prefix:
                return None if self._adopts else self.occupied()
        return self.missing(0)

    @reads
    def absent(self) -> Steps[PersistenceError]:
        """Return the error for tables that must exist, and do not; changes nothing."""
        legacy = yield from self._legacy()
        for found in legacy:
            if found.prefix == self._prefix:
                return self.occupied()
        said = "".join(f"; {found.hint}" for found in legacy if found.sessions)
        return StoreNotFoundError(f"there are no {self._component} tables with prefix {self._prefix!r} yet{said}")

    def older(self, version: int) -> SchemaError:
        """Return the error for tables that have to be migrated first, where this is not the store to do it."""
        return SchemaError(
            f"the {self._component} tables with prefix {self._prefix!r} have schema version {version}, this release "
            f"needs {self.latest}: run 'praisonai-persistence migrate'"
        )

    def newer(self, version: int) -> SchemaError:
        """Return the error for tables that a later release wrote."""
        return SchemaError(
            f"the {self._component} tables with prefix {self._prefix!r} have schema version {version}, this release "
            f"reads up to {self.latest}: upgrade it (pip install --upgrade praisonai-persistence and its backend)"
        )

    # ------------------------------------------------------------------------------------------- for what derives

    def _alone(self, steps: Steps[T]) -> Steps[T]:
        """Run steps while nobody else changes the tables of this prefix."""
        for sql in self._dialect.migration_lock(self._prefix):
            yield Execute(sql) if isinstance(sql, str) else sql
        return (yield from steps)

    def _legacy(self) -> Steps[tuple[LegacyTables, ...]]:
        """Return the tables of PraisonAI itself that could be adopted; changes nothing."""
        yield from ()
        return ()

    def occupied(self) -> SchemaError:
        """Return the error for tables of PraisonAI itself that stand where the store's are to be."""
        theirs = f"the tables {self._prefix}sessions and {self._prefix}messages were written by PraisonAI itself"
        return SchemaError(
            f"{theirs}: adopt them with 'praisonai-persistence migrate --adopt --table-prefix {self._prefix}', with "
            "store.adopt_legacy(), or by opening the store with adopt_legacy=True; or choose another table_prefix"
        )

    def _adopt_first(self) -> Steps[bool]:
        """See to what stands where the first tables are to be; return whether they are there now.

        Raises:
            SchemaError: something that must not be touched.
        """
        yield from ()
        return False

    # ----------------------------------------------------------------------------------------------------- inside

    def _goal(self, target: int | None) -> int:
        if target is None:
            return self.latest
        if not 0 <= target <= self.latest:
            raise InvalidValueError(f"there is no schema version {target}; there are 0 to {self.latest}")
        return target

    def _statements(self, version: int, goal: int) -> Steps[list[str]]:
        """Return what leads from one version to the other, after checking that it may be done."""
        if version > self.latest:
            raise self.newer(version)
        undone = list(reversed(self._steps[goal:version]))
        for step in undone:
            if step.down is None:
                raise SchemaError(
                    f"step {step.version} ({step.name}) of {self._component} cannot be undone: take the data along "
                    f"with 'praisonai-persistence export --output FILE', and import them with the older release"
                )
        for name in (name for step in undone for name in step.drops):
            if (yield Fetch(self._sql(f"SELECT 1 FROM {{{name}}} LIMIT 1"))):
                raise SchemaError(
                    f"undoing the {self._component} tables with prefix {self._prefix!r} would drop "
                    f"{self._tables[name]}, which has rows: take them along with 'praisonai-persistence copy "
                    f"--from URL --to URL --kind all', and delete them first"
                )
        steps = [step.down or () for step in undone] or [step.up for step in self._steps[version:goal]]
        return [self._sql(sql) for statements in steps for sql in statements]

    def _sql(self, sql: str) -> str:
        return self._dialect.prepare(sql, self._tables)
