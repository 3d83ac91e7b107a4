"""``praisonai.persistence.migrations``: a program's own migrations, for where PraisonAI itself is missing.

The tables of this project's stores have migrations of their own (``praisonai_persistence.schema``); these here are
those that a program registers. Which one was applied last stands in the state store of the adapter.
"""

from __future__ import annotations

import re
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from praisonai_persistence._arguments import named_arguments
from praisonai_persistence.errors import InvalidValueError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Migration", "MigrationManager", "SchemaVersion"]

_KEY = "praison_schema_versions:current"


def _order(version: str) -> tuple[int, ...]:
    """Return what versions are compared by: ``1.10`` is behind ``1.9``, and ``1.0`` is ``1``."""
    given: Any = version
    if not isinstance(given, str) or not re.fullmatch(r"\d{1,9}(\.\d{1,9})*", version):
        raise InvalidValueError(f"a version is numbers with dots between them, as 1.2.0, not {version!r}")
    numbers = [int(number) for number in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


@dataclass(eq=False)
class SchemaVersion:
    """A version that was applied.

    Attributes:
        version: numbers with dots between them.
        description: what it changed.
        applied_at: Unix seconds, or None.
    """

    version: str
    description: str = ""
    applied_at: float | None = None

    def __lt__(self, other: SchemaVersion) -> bool:
        return _order(self.version) < _order(other.version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SchemaVersion) and other.version == self.version

    def __hash__(self) -> int:
        return hash(self.version)


@dataclass
class Migration:
    """One migration.

    Attributes:
        version: that there is after it.
        description: what it changes.
        up: is called with the adapter.
        down: likewise; undoes it. None: it cannot be undone.
    """

    version: str
    description: str
    up: Callable[[Any], None]
    down: Callable[[Any], None] | None = None


@named_arguments
class MigrationManager:
    """Applies a program's migrations in the order of their versions. The first, 1.0.0, is there and does nothing.

    Args:
        db_adapter: a ``Db``, whose state store keeps the current version. None, or anything else that the migrations
            work on: no version is known and none is kept, which a warning says when there is one.
    """

    CURRENT_VERSION = "1.0.0"

    def __init__(self, db_adapter: Any = None) -> None:
        self._db = db_adapter
        self._migrations: list[Migration] = []
        self.register_migration("1.0.0", "the tables, which stores make themselves", _nothing, _nothing)

    def register_migration(
        self,
        version: str,
        description: str,
        up: Callable[[Any], None],
        down: Callable[[Any], None] | None = None,
    ) -> None:
        """Add a migration.

        Raises:
            InvalidValueError: the version is none.
        """
        _order(version)
        self._migrations.append(Migration(version, description, up, down))
        self._migrations.sort(key=lambda migration: _order(migration.version))

    def _state(self) -> Any:
        store = self._db.state
        if store is None:
            raise UnsupportedOperationError(
                "there is nowhere to keep the version: give the manager an adapter with a state store"
            )
        return store

    def get_current_version(self) -> str | None:
        """Return the version that was applied last, or None."""
        if not self._keeps():
            return None
        kept = self._state().get(_KEY)
        return kept.get("version") if isinstance(kept, dict) else None

    def set_current_version(self, version: str) -> None:
        """Note the version that was applied last."""
        _order(version)
        if self._keeps():
            self._state().set(_KEY, {"version": version, "applied_at": time.time()})
        elif self._db is not None:
            warnings.warn(
                f"{type(self._db).__name__} has no state store, so version {version} is not noted anywhere: what was "
                f"applied counts as pending again",
                stacklevel=3,
            )

    def _keeps(self) -> bool:
        return hasattr(self._db, "state")

    def get_pending_migrations(self) -> list[Migration]:
        """Return the migrations behind the current version, in order."""
        current = self.get_current_version()
        if current is None:
            return list(self._migrations)
        return [migration for migration in self._migrations if _order(migration.version) > _order(current)]

    def migrate_up(self, target_version: str | None = None) -> list[str]:
        """Apply what is pending, up to and with a version; return the versions that were applied.

        What a migration raises ends it; those before it stay applied.
        """
        last = None if target_version is None else _order(target_version)
        applied = []
        for migration in self.get_pending_migrations():
            if last is not None and _order(migration.version) > last:
                break
            migration.up(self._db)
            self.set_current_version(migration.version)
            applied.append(migration.version)
        return applied

    def migrate_down(self, target_version: str) -> list[str]:
        """Undo the migrations behind a version, the last one first; return the versions that were undone.

        Raises:
            UnsupportedOperationError: one of them cannot be undone; nothing is changed then.
        """
        current = self.get_current_version()
        if current is None:
            return []
        last = [m for m in self._migrations if _order(target_version) < _order(m.version) <= _order(current)]
        for migration in last:
            if migration.down is None:
                raise UnsupportedOperationError(f"migration {migration.version} cannot be undone: it has no 'down'")
        undone = []
        for migration in reversed(last):
            if migration.down is not None:
                migration.down(self._db)
            before = [m.version for m in self._migrations if _order(m.version) < _order(migration.version)]
            self.set_current_version(before[-1] if before else target_version)
            undone.append(migration.version)
        if undone:
            self.set_current_version(target_version)
        return undone

    def get_migration_status(self) -> dict[str, Any]:
        """Return ``current_version``, ``latest_version``, ``pending_count``, ``pending_versions``, ``all_versions``."""
        pending = [migration.version for migration in self.get_pending_migrations()]
        versions = [migration.version for migration in self._migrations]
        return {
            "current_version": self.get_current_version(),
            "latest_version": versions[-1],
            "pending_count": len(pending),
            "pending_versions": pending,
            "all_versions": versions,
        }


def _nothing(_: Any) -> None:
    return
