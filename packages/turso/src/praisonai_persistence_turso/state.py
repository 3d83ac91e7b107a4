"""State in Turso: the shared SQL, and a ``set`` in one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence.steps import writes
from praisonai_persistence_sql import SQLStateSteps
from praisonai_persistence_turso._dialect import LibSQL
from praisonai_persistence_turso._hrana import Transaction

if TYPE_CHECKING:
    from praisonai_persistence.steps import Steps

__all__ = ["TursoStateSteps"]


class TursoStateSteps(SQLStateSteps):
    """State in Turso.

    Args:
        prefix: the ``table_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__(LibSQL(), prefix)
        self._set_plain = self._sql(
            "INSERT INTO {state} (name, value, ends_at) VALUES (?, ?, NULL) ON CONFLICT (name) DO UPDATE "
            "SET value = excluded.value, ends_at = NULL WHERE value IS NOT NULL"
        )
        self._is_hash = self._sql("SELECT value IS NULL FROM {state} WHERE name = ?")

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        if ttl is None:
            found = yield Transaction([(self._set_plain, (key, text)), (self._is_hash, (key,))])
            if not found[0][0]:
                return
        yield from super().set(key, text, ttl, now)  # which says that it is a hash, or removes one that has expired
