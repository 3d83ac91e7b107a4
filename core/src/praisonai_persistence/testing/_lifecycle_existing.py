"""The part of the lifecycle suite about stores that must exist already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.errors import StoreNotFoundError
from praisonai_persistence.testing._facade import awaitable
from praisonai_persistence.testing._lifecycle_network import NetworkTests

if TYPE_CHECKING:
    from pathlib import Path

    from praisonai_persistence.testing._lifecycle_work import Work
    from praisonai_persistence.testing.harness import OpenStore
    from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["ExistingTests"]

_READS: dict[str, dict[str, tuple[tuple[Any, ...], Any]]] = {
    "conversation": {"get_session": (("a",), None), "list_sessions": ((), []), "get_messages": (("a",), [])},
    "state": {"get": (("a",), None), "keys": ((), []), "exists": (("a",), False)},
    "knowledge": {"list_collections": ((), []), "collection_exists": (("docs",), False)},
}
"""Kind, then reading calls with their arguments, and what an empty store answers."""
_ABSENT = "StoreNotFoundError"


class ExistingTests(NetworkTests, suite=True):
    """``expect_existing``: a program that reads makes nothing where nothing is."""

    async def test_l01_nothing_is_made_where_a_store_must_exist(
        self, spec: StoreSpec, mode: str, work: Work, place: Path | None, open_store: OpenStore
    ) -> None:
        """Neither by connecting nor by reading; what others make meanwhile is found."""

        def open_existing() -> Any:
            store = spec.open(mode)
            store.expect_existing()
            return awaitable(store)

        async def answers(store: Any) -> dict[str, Any]:
            found = {}
            for name, (arguments, _) in _READS[spec.kind].items():
                try:
                    found[name] = await getattr(store, name)(*arguments)
                except StoreNotFoundError:
                    found[name] = _ABSENT
            return found

        empty = {name: answer for name, (_, answer) in _READS[spec.kind].items()}
        absent = dict.fromkeys(empty, _ABSENT)
        one = open_existing()
        first = await answers(one)
        assert first in (empty, absent), f"reading calls of a store that does not exist disagree: {first}"
        if first == absent:
            for call in (one.connect, lambda: work.prepare(one)):
                with pytest.raises(StoreNotFoundError):
                    await call()
        other = open_existing()
        assert await answers(other) == first, "a reading call made something where nothing was"
        assert place is None or not place.exists(), "a reading call made a file or a folder where nothing was"
        await work.prepare(open_store())
        for store in (one, other, open_existing()):
            await work.known(store)
            await store.close()
