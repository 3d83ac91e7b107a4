"""What is particular to this package; the conformance kit tests the rest."""

from __future__ import annotations

import pytest

from praisonai_persistence import ConfigurationError, InvalidIdentifierError, get_default_registry

PLACE = "lmdb:///data"


@pytest.mark.parametrize("kind", ["state"])
@pytest.mark.parametrize("prefix", ["", "Async"])
def test_the_registry_finds_the_store_by_its_name_and_by_a_url(kind: str, prefix: str) -> None:
    name = "async_lmdb" if prefix else "lmdb"
    store = get_default_registry(kind).create(name, url=PLACE, table_prefix="mine_")
    assert type(store).__name__ == f"{prefix}LMDB{kind.capitalize()}Store"
    assert store.backend == "lmdb"


@pytest.mark.parametrize("kind", ["state"])
@pytest.mark.parametrize("name", ["lmdb", "async_lmdb"])
def test_what_cannot_be_is_refused_and_shows_no_secret(kind: str, name: str) -> None:
    registry = get_default_registry(kind)
    with pytest.raises(ConfigurationError, match="scheme") as error:
        registry.create(name, url="other://me:secret@host")
    assert "secret" not in str(error.value)
    with pytest.raises(InvalidIdentifierError):
        registry.create(name, url=PLACE, table_prefix='x"; --')
