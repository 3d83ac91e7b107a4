"""Knowledge that PraisonAI itself wrote into PostgreSQL, for ``copy --from-layout praisonai``.

Its release 4.7 makes a table ``praison_vec_<collection>`` for each collection, in the schema ``public``; the distance
is that of the table's index.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.stores.foreign import (
    ForeignDocument,
    ForeignKnowledgeSteps,
    ForeignKnowledgeStore,
    refuse_prefix,
)
from praisonai_persistence_pg import PostgresStore
from praisonai_persistence_sql import Fetch
from praisonai_persistence_sql.runners import Retry, SQLRunner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.vector_engine import Collection
    from praisonai_persistence_pg import Postgres

__all__ = ["PraisonAIKnowledgeStore"]

_PREFIX = "praison_vec_"
_TABLES = (
    "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE nspname = $1 AND relkind = 'r' AND starts_with(relname, $2)"
)
# The type of the column is vector(3): its modifier is the dimension.
_ABOUT = (
    "SELECT atttypmod, (SELECT string_agg(opcname::text, ' ') FROM pg_index i "
    "JOIN pg_opclass o ON o.oid = ANY (i.indclass::oid[]) WHERE i.indrelid = attrelid) "
    "FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'embedding'"
)


class _Steps(ForeignKnowledgeSteps):
    """Collections in one schema.

    Args:
        dialect: with the schema.
        prefix: there is none.
    """

    distances: ClassVar = {"vector_l2_ops": "euclidean", "vector_ip_ops": "dot"}

    def __init__(self, dialect: Postgres, prefix: str) -> None:
        self._dialect = dialect

    def _names(self) -> Steps[Sequence[str]]:
        rows = yield Fetch(_TABLES, (self._dialect.schema, _PREFIX))
        return [name.removeprefix(_PREFIX) for (name,) in rows]

    def _open(self, name: str) -> Steps[Collection | None]:
        table = self._dialect.table(_PREFIX + name)
        rows = yield Fetch(_ABOUT, (table,))
        if not rows:
            return None
        dimension, classes = rows[0]
        distance = next((item for item in (classes or "").split() if item in self.distances), None)
        return self._collection(name, dimension, distance, table)

    def _ids(self, opened: Collection) -> Steps[Sequence[str]]:
        return [key for (key,) in (yield Fetch(f"SELECT id::text FROM {opened.engine}"))]

    def _documents(self, opened: Collection, ids: Sequence[str]) -> Steps[Iterable[ForeignDocument]]:
        rows = yield Fetch(
            "SELECT id::text, content, embedding::text, metadata::text, content_hash::text, created_at "
            f"FROM {opened.engine} WHERE id = ANY ($1::text[]) AND embedding IS NOT NULL",
            (list(ids),),
        )
        return [
            ForeignDocument(key, content, json.loads(embedding), json.loads(metadata or "null"), *rest)
            for key, content, embedding, metadata, *rest in rows
        ]


class PraisonAIKnowledgeStore(PostgresStore, ForeignKnowledgeStore):
    """Reads what PraisonAI wrote; takes the options of every store in PostgreSQL but a prefix.

    Args:
        url: see ``PostgresStore``.
        schema: of PraisonAI's tables.
        **connection: see ``PostgresStore``.

    Raises:
        ConfigurationError: an option that cannot be, or no hint where the server is.
    """

    backend: ClassVar[str] = "pgvector"
    _make_steps = _Steps

    def __init__(self, url: str | None = None, *, schema: str = "public", **connection: Any) -> None:
        refuse_prefix(connection)
        super().__init__(url, schema=schema, **connection)

    def _assemble(self, steps: Any, pool: Any, *, retry_timeout: Any, **_: Any) -> None:
        # Without migrations: the tables are another program's.
        ForeignKnowledgeStore.__init__(self, steps, SQLRunner(pool, None, Retry(retry_timeout)))
