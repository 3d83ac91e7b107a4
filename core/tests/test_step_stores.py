"""What the sync and the async stores over one set of steps have in common."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from praisonai_persistence import stores
from praisonai_persistence.errors import StoreClosedError
from praisonai_persistence.stores import DirectRunner, ThreadRunner

KINDS = ("Conversation", "Knowledge", "State")


def pair(kind):
    return getattr(stores, f"Step{kind}Store"), getattr(stores, f"AsyncStep{kind}Store")


@pytest.mark.parametrize("kind", KINDS)
def test_both_modes_have_the_same_methods_with_the_same_arguments(kind):
    sync, awaited = pair(kind)
    names = {name for name in dir(sync) if not name.startswith("_") and inspect.isfunction(getattr(sync, name))}
    assert {name for name in dir(awaited) if not name.startswith("_") and callable(getattr(awaited, name))} == names
    assert len(names) > 10
    for name in names - {"scan_prefix"}:  # an iterator, and an async one
        one, other = inspect.signature(getattr(sync, name)), inspect.signature(getattr(awaited, name))
        assert one == other, name
    for name in names - {"expect_existing", "scan_prefix"}:
        assert inspect.iscoroutinefunction(getattr(awaited, name)), name
        assert not inspect.iscoroutinefunction(getattr(sync, name)), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_is_closed_with_its_runner(kind):
    sync, awaited = pair(kind)
    calls = []

    def runner():
        return DirectRunner(lambda: calls.append("connect"), lambda: calls.append("close"), exists=lambda: True)

    with sync(None, runner()) as store:
        store.expect_existing()
        store.connect()
    assert store._runner.must_exist is True
    with pytest.raises(StoreClosedError):
        store.connect()

    async def use():
        async with awaited(None, ThreadRunner(runner())) as store:
            store.expect_existing()
            await store.connect()
        assert store._runner._runner.must_exist is True
        with pytest.raises(StoreClosedError):
            await store.connect()

    asyncio.run(use())
    assert calls == ["connect", "close"] * 2
