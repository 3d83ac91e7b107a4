"""The methods of ``praisonai_persistence.schema``, for stores over steps that have ``migrations``.

Mixed in before the store's base. They need a runner with ``administer``: like ``run``, but for operations on the
schema itself, so it migrates nothing first; or a store with ``_administer``.
"""

from __future__ import annotations

from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.payload import check_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from praisonai_persistence.schema import Adoption, SchemaChange, SchemaStatus

__all__ = ["AsyncConversationSchema", "AsyncSchema", "ConversationSchema", "Schema"]


def _target(target: Any) -> int | None:
    if target is not None and (not isinstance(target, int) or isinstance(target, bool)):
        raise InvalidValueError("target must be a schema version, a whole number, or None for the latest")
    return target


def _prefix(prefix: str | None) -> str | None:
    return None if prefix is None else check_prefix(prefix, "prefix")


class Schema:
    """``schema_status`` and ``migrate_schema``."""

    _steps: Any
    _runner: Any

    def _administer(self, operation: Any, *args: Any) -> Any:
        return self._runner.administer(operation, *args)

    def schema_status(self) -> SchemaStatus:
        """Return where the tables stand; makes and changes nothing, whatever the store's options.

        Raises:
            ConnectionFailedError: the engine cannot be reached or refuses us.
        """
        return self._administer(self._steps.migrations.status)  # type: ignore[no-any-return]

    def migrate_schema(self, target: int | None = None, *, dry_run: bool = False) -> SchemaChange:
        """Bring the tables up to the latest version, or up or down to ``target``.

        Args:
            target: a version, 0 for no tables at all; None: the latest.
            dry_run: return what would be done, and change nothing.

        Raises:
            InvalidValueError: there is no such version.
            SchemaError: the tables are newer than this release, or not ours; or a step that cannot be undone, because
                it would lose data.
        """
        migrations = self._steps.migrations
        operation = migrations.plan if dry_run else migrations.migrate
        return self._administer(operation, _target(target))  # type: ignore[no-any-return]


class ConversationSchema(Schema):
    """[Schema][], and ``adopt_legacy``."""

    def adopt_legacy(self, prefix: str | None = None, *, dry_run: bool = False) -> Adoption | None:
        """Take over the tables that PraisonAI itself wrote, in one step: all of it, or nothing.

        They are kept, under other names. While this runs nothing else should write to them.

        Args:
            prefix: of those tables; None: this store's own, ``praison_`` or ``praisonai_``, whichever there are.
            dry_run: return what would be done, and change nothing.

        Returns:
            What was done; None: there are no such tables (any more).

        Raises:
            SchemaError: several prefixes have such tables and none was named, or this store's own tables are newer
                than this release.
            SessionExistsError: a session that this store has already; nothing was written.
        """
        migrations = self._steps.migrations
        operation = migrations.plan_adoption if dry_run else migrations.adopt
        return self._administer(operation, _prefix(prefix))  # type: ignore[no-any-return]


class AsyncSchema:
    """[Schema][] for async callers."""

    _steps: Any
    _runner: Any

    async def _administer(self, operation: Any, *args: Any) -> Any:
        return await self._runner.administer(operation, *args)

    async def schema_status(self) -> SchemaStatus:
        """See [Schema.schema_status][]."""
        return await self._administer(self._steps.migrations.status)  # type: ignore[no-any-return]

    async def migrate_schema(self, target: int | None = None, *, dry_run: bool = False) -> SchemaChange:
        """See [Schema.migrate_schema][]."""
        migrations = self._steps.migrations
        operation = migrations.plan if dry_run else migrations.migrate
        return await self._administer(operation, _target(target))  # type: ignore[no-any-return]


class AsyncConversationSchema(AsyncSchema):
    """[ConversationSchema][] for async callers."""

    async def adopt_legacy(self, prefix: str | None = None, *, dry_run: bool = False) -> Adoption | None:
        """See [ConversationSchema.adopt_legacy][]."""
        migrations = self._steps.migrations
        operation = migrations.plan_adoption if dry_run else migrations.adopt
        return await self._administer(operation, _prefix(prefix))  # type: ignore[no-any-return]
