"""What a document that cannot be read is reported as."""

from __future__ import annotations

from praisonai_persistence.errors import BackendError

__all__ = ["CorruptDocumentError"]


class CorruptDocumentError(BackendError):
    """A session's document could not be read; ``kept`` is the path where it is."""

    def __init__(self, message: str, kept: str) -> None:
        super().__init__(message)
        self.kept = kept
