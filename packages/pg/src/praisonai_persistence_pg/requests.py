"""What a step of this package may ask for beyond the shared requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["CopyIn"]


class CopyIn(NamedTuple):
    """Add rows to a table with COPY: of many, the fastest way; the answer is None.

    Attributes:
        schema: of the table, or None; as it is, not quoted.
        table: its name, as it is.
        columns: their names.
        rows: with a value for each column; read once.
    """

    schema: str | None
    table: str
    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]
