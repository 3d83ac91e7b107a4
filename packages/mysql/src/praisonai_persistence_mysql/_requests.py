"""What a step of this package may ask for beyond the shared requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Transaction"]


class Transaction(NamedTuple):
    """Do statements as a whole transaction, in one round trip; only for an operation that asks for nothing before it.

    The answer is how many rows the first one changed, and the number that it set with ``LAST_INSERT_ID(number)``. When
    one fails, all are undone, its error is raised, and the operation may go on with other requests.
    """

    statements: Sequence[tuple[str, Sequence[Any]]]
