"""What a step of these backends may ask for beyond the shared requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Transaction"]


class Transaction(NamedTuple):
    """Do statements as a whole transaction, in one round trip; only for an operation that asks for nothing before it.

    The answer is how many rows the first one changed, the number that it set with ``LAST_INSERT_ID(number)``, and the
    rows of the last one, if it is a SELECT. When one fails, all are undone, its error is raised, and the operation may
    go on with other requests.
    """

    statements: Sequence[tuple[str, Sequence[Any]]]
