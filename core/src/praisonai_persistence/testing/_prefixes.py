"""What the suites of all three kinds ask of stores that do not declare ``prefix``."""

from __future__ import annotations

import pytest

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.testing.harness import OpenStore, Unsupported, declares

__all__ = ["has_prefix"]


def has_prefix(open_store: OpenStore, unsupported: Unsupported) -> bool:
    """Whether the store declares prefixes; if not, assert that it takes none and record that."""
    if declares(open_store(), "prefix"):
        return True
    with pytest.raises((TypeError, PersistenceError)):
        open_store(table_prefix="other_")
    unsupported("prefix")
    return False
