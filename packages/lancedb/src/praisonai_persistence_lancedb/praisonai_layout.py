"""Knowledge that PraisonAI itself wrote into LanceDB, for ``copy --from-layout praisonai``.

Its release 4.7 makes a table for each collection, under its own name, without the metadata of documents. It keeps no
distance either, and searches by LanceDB's own one, which is the euclidean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.stores.foreign import ForeignKnowledgeSteps, UnprefixedStore
from praisonai_persistence.stores.vector_engine import Collection
from praisonai_persistence_lancedb._driver import LanceDriver, LanceOptions
from praisonai_persistence_lancedb.knowledge import where

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa  # type: ignore[import-untyped]

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_lancedb._driver import Database

__all__ = ["PraisonAIKnowledgeStore"]

_COLUMNS = ["id", "content", "content_hash", "created_at", "vector"]
_PAGE = 1_000
_MOST = 2**31 - 1


class _Steps(ForeignKnowledgeSteps):
    def _names(self) -> Steps[Sequence[str]]:
        async def names(database: Database) -> list[str]:
            found: list[str] = []
            while True:
                start = found[-1] if found else None
                page = await database.connection.table_names(start_after=start, limit=_PAGE)
                found += page
                if len(page) < _PAGE:
                    return found

        return (yield names)  # type: ignore[no-any-return]

    def _open(self, name: str) -> Steps[Collection | None]:
        async def find(database: Database) -> Collection:
            lance = await database.connection.open_table(name)
            schema = await lance.schema()
            if schema.names != _COLUMNS:
                raise UnsupportedOperationError(f"the table {name!r} was not made by PraisonAI: it has other columns")
            return Collection(CollectionInfo(name, schema.field("vector").type.list_size, "euclidean", None), lance)

        return (yield find)  # type: ignore[no-any-return]

    def _ids(self, opened: Collection) -> Steps[Sequence[str]]:
        found = yield from self._read(opened, ["id"], None)
        return list(dict.fromkeys(found.column("id").to_pylist()))

    def _documents(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[KnowledgeDocument]]:
        found = yield from self._read(opened, _COLUMNS, where(ids, None))
        return [
            KnowledgeDocument(
                row["id"], row["content"], row["vector"], None, row["content_hash"] or None, row["created_at"]
            )
            for row in found.to_pylist()
        ]

    def _read(self, opened: Collection, columns: list[str], chosen: str | None) -> Steps[pa.Table]:
        async def read(_: Any) -> pa.Table:
            found = opened.engine.query().select(columns).limit(_MOST)
            return await (found if chosen is None else found.where(chosen)).to_arrow()

        return (yield read)


class PraisonAIKnowledgeStore(UnprefixedStore):
    """Reads what PraisonAI wrote; takes the options of ``LanceDBKnowledgeStore`` but a prefix."""

    options_class = LanceOptions
    backend: ClassVar[str] = "lancedb"

    def _make(self, options: LanceOptions) -> tuple[_Steps, LanceDriver]:
        return _Steps(), LanceDriver(options)
