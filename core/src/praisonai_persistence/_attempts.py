"""Changes that calls in the middle of them can overtake: how often they start again."""

from __future__ import annotations

from praisonai_persistence.errors import UnsupportedOperationError

__all__ = ["ATTEMPTS", "overtaken"]

ATTEMPTS = range(50)
"""Loop over it: one attempt that was not overtaken is enough."""


def overtaken() -> UnsupportedOperationError:
    """Return what a call raises when all of its attempts were overtaken."""
    return UnsupportedOperationError(
        f"{len(ATTEMPTS)} times, another change of this thread came into the middle of this one"
    )
