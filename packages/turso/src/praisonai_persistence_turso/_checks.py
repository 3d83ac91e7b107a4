"""Statements that fail unless what an operation was told before is still so.

A server does a statement of a batch only if the one before it succeeded, so a failing one ends the transaction.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FAILED", "of_count", "of_rows"]

_VALUES = 2000  # that one statement compares
_WORDS = ("INSERT", "UPDATE", "DELETE")
_CHECK = "json(CASE WHEN {} THEN 'true' ELSE 'changed' END)"
FAILED = "malformed JSON"
"""What the engine says of such a statement; all other JSON that is read in SQL was written by these stores."""

Statement = tuple[str, "Sequence[Any]"]


def of_count(statement: Statement, count: int) -> Statement | None:
    """Return what fails unless this statement, just done, has changed as many rows; None: it changes no rows."""
    changes_rows = statement[0].lstrip().upper().startswith(_WORDS)
    return ("SELECT " + _CHECK.format("changes() = ?"), (count,)) if changes_rows else None


def of_rows(query: Statement, rows: Sequence[Sequence[Any]]) -> Statement | None:
    """Return what fails unless a query has these rows, each of which is another; None: they are too many."""
    sql, parameters = query
    if not rows:
        return f"SELECT {_CHECK.format(f'NOT EXISTS ({sql})')}", parameters
    if len(rows) * len(rows[0]) > _VALUES:
        return None
    row = f"({', '.join('?' * len(rows[0]))})"
    same = f"(SELECT COUNT(*) FROM q) = ? AND NOT EXISTS (SELECT * FROM q EXCEPT VALUES {', '.join([row] * len(rows))})"
    check = f"WITH q AS MATERIALIZED ({sql}) SELECT {_CHECK.format(same)}"
    return check, (*parameters, len(rows), *chain.from_iterable(rows))
