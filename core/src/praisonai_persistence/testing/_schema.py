"""What the suites of all three kinds ask of stores that declare ``schema``; see ``praisonai_persistence.schema``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.errors import InvalidValueError, SchemaError, StoreClosedError
from praisonai_persistence.testing.harness import declares, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["check_schema"]


async def check_schema(store: Any, write: Callable[[], Coroutine[Any, Any, Any]], read: Callable[[], Any]) -> None:
    """Check the methods of a store without any data yet; closes it.

    Args:
        store: the store.
        write: writes something.
        read: its answer, awaited, is true as long as that is there.
    """
    names = ["schema_status", "migrate_schema"] + ["adopt_legacy"] * (raw(store).kind == "conversation")
    if not declares(store, "schema"):
        for name in names:
            assert not hasattr(raw(store), name), f"has {name}, and does not declare 'schema'"
        return
    missing = [name for name in names if not hasattr(raw(store), name)]
    assert not missing, f"declares 'schema', and does not have {missing}"
    first = await store.schema_status()
    assert (first.component, first.version) == (raw(store).kind, 0)
    assert first.latest > 0
    assert first.pending
    dry = await store.migrate_schema(dry_run=True)
    assert (dry.component, dry.before, dry.after, dry.dry_run) == (first.component, 0, first.latest, True)
    assert dry.statements
    assert await store.schema_status() == first, "asking, or a dry run, changed the schema"
    await write()
    status = await store.schema_status()
    assert (status.version, status.latest, status.pending) == (first.latest, first.latest, ())
    for dry_run in (True, False):
        change = await store.migrate_schema(dry_run=dry_run)
        assert (change.before, change.after, change.statements) == (first.latest, first.latest, ())
        assert change.dry_run is dry_run
        with pytest.raises(SchemaError):
            await store.migrate_schema(0, dry_run=dry_run)
            pytest.fail("the tables could be dropped with what is in them")
        for wrong in (-1, first.latest + 1, True, "1"):
            with pytest.raises(InvalidValueError):
                await store.migrate_schema(wrong, dry_run=dry_run)
    if "adopt_legacy" in names:
        assert await store.adopt_legacy("nobody_", dry_run=True) is None
        assert await store.adopt_legacy("nobody_") is None
    assert await store.schema_status() == status
    assert await read(), "what was written is gone"
    await store.close()
    for name in names:
        with pytest.raises(StoreClosedError):
            await getattr(store, name)()
