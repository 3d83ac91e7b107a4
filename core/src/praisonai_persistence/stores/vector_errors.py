"""What an engine says of a collection, for ``VectorSteps``."""

from __future__ import annotations

from praisonai_persistence.errors import BackendError

__all__ = ["GoneError", "TakenError"]


class GoneError(BackendError):
    """The engine has no such collection, or no longer has it."""


class TakenError(BackendError):
    """The engine has such a collection already."""
