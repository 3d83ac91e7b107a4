"""The extension, and the table of collections; those of documents come and go with the collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import SchemaError
from praisonai_persistence_sql import Execute, Fetch, Migration, Migrations

if TYPE_CHECKING:
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_pg.dialect import Postgres

__all__ = ["TABLES", "KnowledgeMigrations"]

TABLES = ("collections",)
_MIGRATIONS = (
    Migration(
        1,
        "collections",
        up=(
            """CREATE TABLE {collections} (
                number {t_int} GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                name {t_id} NOT NULL UNIQUE,
                dimension {t_int} NOT NULL,
                distance {t_text} NOT NULL,
                metadata {t_text}
            )""",
        ),
        down=("DROP TABLE {collections}",),
        drops=("collections",),
    ),
)
_OLDEST = (0, 8)
# Sessions of all prefixes make the extension in turns.
_EXTENSION_LOCK = "SELECT pg_advisory_xact_lock(7089417733021417)"
_EXTENSION = "SELECT extversion, to_regtype('vector') IS NOT NULL FROM pg_extension WHERE extname = 'vector'"


class KnowledgeMigrations(Migrations):
    """The migrations of a store, which begin with the extension.

    Args:
        dialect: with the schema of the tables.
        prefix: the ``table_prefix``.
    """

    def __init__(self, dialect: Postgres, prefix: str) -> None:
        super().__init__(dialect, prefix, "knowledge", TABLES, _MIGRATIONS)

    def _migrate(self, goal: int) -> Steps[Any]:
        if goal:
            yield from self._extension()
        return (yield from super()._migrate(goal))

    @staticmethod
    def _extension() -> Steps[None]:
        """Make the extension where it is missing.

        Raises:
            SchemaError: it cannot be made here, is too old, or is out of the role's sight.
        """
        found = yield Fetch(_EXTENSION)
        if not found:
            yield Fetch(_EXTENSION_LOCK)
            try:
                yield Execute("CREATE EXTENSION IF NOT EXISTS vector")
            except Exception as error:
                state = getattr(error, "sqlstate", None)
                if state == "42501":
                    raise SchemaError(
                        "the extension vector is not in this database, and this role may not make it: let an "
                        "administrator run CREATE EXTENSION vector in it"
                    ) from error
                if state in {"0A000", "58P01"}:
                    raise SchemaError(
                        "the server has no extension vector (pgvector): install it there (apt-get install "
                        "postgresql-17-pgvector), or use a server that has it"
                    ) from error
                raise
            found = yield Fetch(_EXTENSION)
        version, visible = found[0]
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            raise SchemaError(
                f"the extension vector has version {version}, 0.8 is needed: ALTER EXTENSION vector UPDATE"
            )
        if not visible:
            raise SchemaError(
                "the extension vector stands in a schema outside of this role's search_path: add it there "
                "(ALTER ROLE ... SET search_path)"
            )
