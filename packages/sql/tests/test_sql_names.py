"""The package's names."""

from __future__ import annotations

import praisonai_persistence_sql as package


def test_every_public_name_is_there():
    assert set(package._HOMES) == set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in vars(package), "it is looked up once"
