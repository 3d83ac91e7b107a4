"""Knowledge that PraisonAI itself wrote into LanceDB, for ``copy --from-layout praisonai``.

Its release 4.7 makes a table for each collection, under its own name, without the metadata of documents. It keeps no
distance either, and searches by LanceDB's own one, which is the euclidean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.stores.foreign import ForeignDocument, ForeignKnowledgeSteps, UnprefixedStore
from praisonai_persistence_lancedb._driver import LanceDriver, LanceOptions
from praisonai_persistence_lancedb.knowledge import read, where

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.vector_engine import Collection
    from praisonai_persistence_lancedb._driver import Database

__all__ = ["PraisonAIKnowledgeStore"]

_COLUMNS = ["id", "content", "content_hash", "created_at", "vector"]


class _Steps(ForeignKnowledgeSteps):
    distances: ClassVar = {"l2": "euclidean"}

    def _names(self) -> Steps[Sequence[str]]:
        return (yield lambda database: database.connection.list_tables()).tables  # type: ignore[no-any-return]

    def _open(self, name: str) -> Steps[Collection | None]:
        async def find(database: Database) -> Collection:
            lance = await database.connection.open_table(name)
            schema = await lance.schema()
            if schema.names != _COLUMNS:
                raise UnsupportedOperationError(f"the table {name!r} was not made by PraisonAI: it has other columns")
            return self._collection(name, schema.field("vector").type.list_size, "l2", lance)

        return (yield find) if name in (yield from self._names()) else None

    def _ids(self, opened: Collection) -> Steps[Sequence[str]]:
        found = yield read(opened.engine, ["id"])
        return list(dict.fromkeys(found.column("id").to_pylist()))

    def _documents(self, opened: Collection, ids: Sequence[str]) -> Steps[Iterable[ForeignDocument]]:
        rows = (yield read(opened.engine, _COLUMNS, where(ids, None))).to_pylist()
        return [ForeignDocument(embedding=row.pop("vector"), **row) for row in rows]


class PraisonAIKnowledgeStore(UnprefixedStore):
    """Reads what PraisonAI wrote; takes the options of ``LanceDBKnowledgeStore`` but a prefix."""

    options_class = LanceOptions
    backend: ClassVar[str] = "lancedb"

    def _make(self, options: LanceOptions) -> tuple[_Steps, LanceDriver]:
        return _Steps(), LanceDriver(options)
