"""What the sync and the async stores over one set of steps have in common."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from praisonai_persistence import stores
from praisonai_persistence.errors import InvalidValueError, StoreClosedError
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


KEYS = ["a/1", "a/2", "a", "b/1", "b*1", "\U0010ffff", "\U0010ffff1", "é", "a/\ud7ff1", "z" * 300]
WANTED = ["a/", "a", "b*", "nothing", "\U0010ffff", "\ud800", "a\0", "é", "", "a/"]


def expected(keys):
    return {prefix: sorted(key for key in keys if key.startswith(prefix)) for prefix in WANTED}


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/x.db"])
def test_keys_of_several_prefixes_are_those_of_each(url, tmp_path, monkeypatch):
    from praisonai_persistence import open_state_store
    from praisonai_persistence.bridge import as_async

    if url.startswith("sqlite"):
        pytest.importorskip("praisonai_persistence_sqlite")
    with open_state_store(url.format(tmp_path), mode="sync") as store:
        store.set_many(dict.fromkeys(KEYS, 1))
        store.hset("a/hash", "field", 1)
        store.set("a/gone", 1)
        store.delete("a/gone")
        store.set("a/lasting", 1, ttl=1000)
        with monkeypatch.context() as past:
            past.setattr("praisonai_persistence.stores.state.time.time", lambda: 1000.0)
            store.set("a/ended", 1, ttl=1)
        found = store.scan_prefixes(WANTED)
        assert found == expected([*KEYS, "a/hash", "a/lasting"])
        assert {prefix: sorted(store.scan_prefix(prefix)) for prefix in found} == found
        assert store.scan_prefixes([]) == {}
        many = [f"a/{number}" for number in range(120)]
        assert [prefix for prefix, some in store.scan_prefixes(many).items() if some] == ["a/1", "a/2"]
        with pytest.raises(InvalidValueError):
            store.scan_prefixes([1])
        with pytest.raises(InvalidValueError):
            store.scan_prefixes("a/")

        async def use():
            bridged = as_async(store)
            if hasattr(bridged, "scan_prefixes"):  # what a bridge does not know, it does not offer
                assert await bridged.scan_prefixes(WANTED) == found

        asyncio.run(use())

    async def asynchronous():
        async with open_state_store(url.format(tmp_path), mode="async") as store:
            await store.delete_many(["a/hash"])
            await store.set_many(dict.fromkeys([*KEYS, "a/hash", "a/lasting"], 1))
            assert await store.scan_prefixes(WANTED) == found
            assert await store.scan_prefixes([]) == {}
        with pytest.raises(StoreClosedError):
            await store.scan_prefixes(["a"])
        with pytest.raises(StoreClosedError):
            [key async for key in store.scan_prefix("\ud800")]
        with pytest.raises(StoreClosedError):
            [key async for key in store.scan_prefix("a")]

    asyncio.run(asynchronous())
    with pytest.raises(StoreClosedError):
        store.scan_prefixes(["a"])
