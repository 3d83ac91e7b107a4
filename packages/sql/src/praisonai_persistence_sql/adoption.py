"""Taking over the tables that PraisonAI itself wrote.

Those are ``<prefix>sessions`` and ``<prefix>messages``, with the prefix ``praison_`` or, in old databases,
``praisonai_``. Their messages have neither number nor order but their time; their JSON is of the engine's own type, or
text; columns may be missing. So every row goes through Python, in batches of a few megabytes, whatever the size of the
tables, and a scratch table on the server holds the order.
"""

from __future__ import annotations

from praisonai_persistence.errors import SchemaError
from praisonai_persistence.steps import reads, writes
from praisonai_persistence_sql.migrations import Migrations
from praisonai_persistence_sql.requests import Execute, Fetch, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from praisonai_persistence.schema import Adoption, LegacyTables
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sql.copying import Copy

__all__ = ["ConversationMigrations"]

PREFIXES = ("praison_", "praisonai_")
SCRATCH = "adopting"

_OPTIONAL = {"sessions": {"state"}, "messages": {"tool_calls", "tool_call_id"}}
_COLUMNS = {
    "sessions": ("session_id", "user_id", "agent_id", "name", "state", "metadata", "created_at", "updated_at"),
    "messages": ("id", "session_id", "role", "content", "tool_calls", "tool_call_id", "metadata", "created_at"),
}
_OURS = {"sessions": "last_seq", "messages": "seq"}


class ConversationMigrations(Migrations):
    """The migrations of conversations, which may find tables of PraisonAI itself in their place."""

    def adopt_on_connect(self, wanted: bool) -> None:
        self._adopts = wanted

    @reads
    def plan_adoption(self, prefix: str | None = None) -> Steps[Adoption | None]:
        """Return what [ConversationMigrations.adopt][] would do, and raise what it would; changes nothing."""
        from praisonai_persistence.schema import Adoption

        yield Snapshot()
        legacy = yield from self._choose(prefix)
        if legacy is None:
            return None
        kept = yield from self._check(legacy)
        copy = self._copy(legacy, legacy.prefix)
        sessions = legacy.sessions + (yield from copy.count_orphans())
        return Adoption(legacy, sessions, legacy.messages, tuple(kept.values()), dry_run=True)

    @writes
    def adopt(self, prefix: str | None = None) -> Steps[Adoption | None]:
        """Take over the tables of PraisonAI itself; None: there are none.

        Args:
            prefix: of them; None: whichever there are.

        Raises:
            SchemaError: there are several, or our own tables are newer than this code.
            SessionExistsError: a session is in our tables too.
        """
        return (yield from self._alone(self._adopt(prefix)))

    def _adopt(self, prefix: str | None) -> Steps[Adoption | None]:
        from praisonai_persistence.schema import Adoption

        legacy = yield from self._choose(prefix)
        if legacy is None:
            return None
        kept = yield from self._check(legacy)
        sessions, messages = yield from self._take_over(legacy, kept)
        return Adoption(legacy, sessions, messages, tuple(kept.values()))

    def _take_over(self, legacy: LegacyTables, kept: Mapping[str, str]) -> Steps[tuple[int, int]]:
        """Rename the old tables, make ours, copy; all of it one transaction. Engines that cannot do otherwise."""
        for sql in self._dialect.rename(kept):
            yield Execute(sql)
        yield from self._make_tables(legacy)
        copy = self._copy(legacy, *kept.values())
        yield from copy.order()
        copied = yield from copy.rows()
        yield Execute(copy.drop)
        return copied

    def _make_tables(self, legacy: LegacyTables) -> Steps[None]:
        # Where the old tables stood ours were not, whatever the version table says.
        version = 0 if legacy.prefix == self._prefix else (yield from self.current())
        yield from self._do((yield from self._statements(version, self.latest)), version, self.latest)

    # ------------------------------------------------------------------------------------------------- recognising

    def _legacy(self) -> Steps[tuple[LegacyTables, ...]]:
        found = []
        for prefix in dict.fromkeys((self._prefix, *PREFIXES)):
            legacy = yield from self._recognise(prefix)
            if legacy is not None:
                found.append(legacy)
        return tuple(found)

    def _columns(self, prefix: str) -> Steps[dict[str, set[str]]]:
        columns = {}
        for table in _COLUMNS:
            rows = yield Fetch(*self._dialect.find_columns(prefix, table))
            columns[table] = {row[0] for row in rows}
        return columns

    def _recognise(self, prefix: str) -> Steps[LegacyTables | None]:
        columns = yield from self._columns(prefix)
        if not _is_legacy(columns):
            return None
        from praisonai_persistence.schema import LegacyTables

        missing = [f"{t}.{name}" for t in _COLUMNS for name in _COLUMNS[t] if name not in columns[t]]
        sessions, messages = yield from self._count(*(prefix + name for name in _COLUMNS))
        return LegacyTables(prefix, sessions, messages, tuple(missing))

    def _count(self, sessions: str, messages: str) -> Steps[tuple[int, int]]:
        """Return how many rows two tables have; given are their names with the prefix."""
        tables = self._dialect.tables("", [sessions, messages])
        select = "SELECT (SELECT COUNT(*) FROM {}), (SELECT COUNT(*) FROM {})"
        rows = yield Fetch(select.format(tables[sessions], tables[messages]))
        return rows[0][0], rows[0][1]

    def _choose(self, prefix: str | None) -> Steps[LegacyTables | None]:
        if prefix is not None:
            return (yield from self._recognise(prefix))
        found = yield from self._legacy()
        if len(found) > 1:
            prefixes = " and ".join(repr(legacy.prefix) for legacy in found)
            raise SchemaError(
                f"there are tables of PraisonAI itself with the prefixes {prefixes}: name one with "
                "'praisonai-persistence migrate --adopt --legacy-prefix PREFIX'"
            )
        return found[0] if found else None

    def _adopt_first(self) -> Steps[bool]:
        columns = yield from self._columns(self._prefix)
        if _is_legacy(columns):
            if not self._adopts:
                raise self.occupied()
            yield from self._adopt(self._prefix)
            return True
        for table, names in columns.items():
            if names and _OURS[table] not in names:
                raise SchemaError(
                    f"there is a table {self._prefix}{table} already, of somebody else: choose another table_prefix "
                    f"('praisonai-persistence status --table-prefix PREFIX' shows what stands there)"
                )
        return False

    def _check(self, legacy: LegacyTables) -> Steps[dict[str, str]]:
        """Raise what speaks against it; return the names that the old tables have, and those that they will get."""
        kept: dict[str, str] = {}
        number = 0
        while not kept:
            number += 1
            end = "_legacy" if number == 1 else f"_legacy{number}"
            kept = {legacy.prefix + name: legacy.prefix + name + end for name in _COLUMNS}
            for name in kept.values():
                if (yield Fetch(*self._dialect.find_columns("", name))):
                    kept = {}
                    break
        if legacy.prefix != self._prefix:
            version = yield from self.current()
            if version > self.latest:
                raise self.newer(version)
            if version:
                yield from self._check_absent(legacy, kept)
        return kept

    def _check_absent(self, legacy: LegacyTables, kept: Mapping[str, str]) -> Steps[None]:
        yield from self._copy(legacy, legacy.prefix).check_absent()

    def _copy(self, legacy: LegacyTables, sessions: str, messages: str | None = None, made: str = "") -> Copy:
        """Return the copying of two tables, given by name, or by their prefix."""
        from praisonai_persistence_sql.copying import Copy  # few processes copy

        if messages is None:
            sessions, messages = sessions + "sessions", sessions + "messages"
        ours = self._dialect.tables(self._prefix, [made + "sessions", made + "messages", SCRATCH])
        theirs = self._dialect.tables("", [sessions, messages])
        tables = {
            "sessions": ours[made + "sessions"],
            "messages": ours[made + "messages"],
            "scratch": ours[SCRATCH],
            "old_sessions": theirs[sessions],
            "old_messages": theirs[messages],
        }
        return Copy(self._dialect, tables, self._dialect.quote(f"{self._prefix}{SCRATCH}_by_n"), legacy.missing)


def _is_legacy(columns: Mapping[str, set[str]]) -> bool:
    """Whether tables with these columns are PraisonAI's, and not ours."""
    return all(
        set(_COLUMNS[table]) - _OPTIONAL[table] <= names and _OURS[table] not in names
        for table, names in columns.items()
    )
