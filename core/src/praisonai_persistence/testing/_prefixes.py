"""What the suites of all three kinds ask of stores that do not declare ``prefix``."""

from __future__ import annotations

import pytest

from praisonai_persistence.errors import InvalidIdentifierError, PersistenceError
from praisonai_persistence.testing._watch import Watch
from praisonai_persistence.testing.corpus import REFUSED_IDENTIFIERS, shorten
from praisonai_persistence.testing.harness import OpenStore, Unsupported, declares

__all__ = ["has_prefix", "refuses_prefixes"]


def has_prefix(open_store: OpenStore, unsupported: Unsupported) -> bool:
    """Whether the store declares prefixes; if not, assert that it takes none and record that."""
    if declares(open_store(), "prefix"):
        return True
    with pytest.raises((TypeError, PersistenceError)):
        open_store(table_prefix="other_")
    unsupported("prefix")
    return False


def refuses_prefixes(open_store: OpenStore, unsupported: Unsupported) -> None:
    """Assert that the constructor refuses prefixes that must not reach DDL, and touches nothing."""
    if not has_prefix(open_store, unsupported):
        return
    for prefix in REFUSED_IDENTIFIERS:
        with Watch() as watch, pytest.raises(InvalidIdentifierError):
            open_store(table_prefix=prefix)
            pytest.fail(f"the prefix {shorten(prefix)} was taken; an error was expected")
        assert watch.events == []
