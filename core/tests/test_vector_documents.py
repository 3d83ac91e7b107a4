"""What vector engines that hold JSON store."""

from __future__ import annotations

import uuid

from praisonai_persistence.stores.vector_documents import derived_uuids


def test_derived_uuids_are_those_of_version_5():
    derive = derived_uuids(uuid.NAMESPACE_OID)
    for key in [*map(str, range(100)), "", "ä", "日本語", "x" * 10_000]:
        assert derive(key) == str(uuid.uuid5(uuid.NAMESPACE_OID, key))
