"""S10, S11: clearing, prefixes, and what is a key."""

from __future__ import annotations

from typing import Any

import pytest

from praisonai_persistence.errors import (
    InvalidIdentifierError,
    InvalidValueError,
)
from praisonai_persistence.testing._prefixes import has_prefix
from praisonai_persistence.testing.corpus import (
    HOSTILE_JSON,
    HOSTILE_KEYS,
    REFUSED_KEYS,
    identical,
    shorten,
)
from praisonai_persistence.testing.harness import (
    OpenStore,
    Unsupported,
)
from praisonai_persistence.testing.state._common import (
    MISSING,
    alike,
    collect,
    contents,
)

__all__ = ["Keys"]


class Keys:
    """S10, S11: clearing, prefixes, and what is a key."""

    # ------------------------------------------------------------------------------------------------------- S10 clear

    async def test_s10_json_methods(self, store: Any) -> None:
        """They are get and set."""
        for value in HOSTILE_JSON[:60]:
            await store.set_json("key", value)
            assert identical(await store.get_json("key", MISSING), value)
            assert identical(await store.get("key", MISSING), value)
        await store.set_json("key", {"a": 1}, 100)
        assert 0 < await store.ttl("key") <= 100
        await store.set_json("key", {"a": 2})
        assert await store.ttl("key") is None
        assert await store.get_json("unknown") is None
        assert await store.get_json("unknown", {"d": 1}) == {"d": 1}

    async def test_s10_clear_removes_everything_and_counts_it(self, store: Any) -> None:
        """A hash counts once."""
        assert await store.clear() == 0
        await store.set_many({"a": 1, "b": None}, 100)
        await store.set("c", 1)
        await store.hset("hash", "x", 1)
        await store.hset("hash", "y", 1)
        assert await store.clear() == 4
        assert await store.keys() == []
        assert await store.hgetall("hash") == {}
        assert await store.clear() == 0
        await store.set("a", 2)
        await store.hset("hash", "z", 3)
        assert alike(await contents(store), {"a": (2, False), "hash": (["hash", {"z": 3}], False)})

    async def test_s10_clear_removes_this_prefix_only(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Also where an engine would take one prefix for a pattern of the other."""
        if not has_prefix(open_store, unsupported):
            return
        names = ["kit_", "kit", "kita", "kit_a", "kit_a_", "kit__", "k"]
        stores = {name: open_store(table_prefix=name) for name in names}
        for name, one in stores.items():
            await one.set_many({"a": name, "_a": name, "a_": name, "_": name})
            await one.hset("hash", "field", name)
        for name, one in stores.items():
            assert await one.clear() == 5, name
            assert await one.keys() == []
            for other in names[names.index(name) + 1 :]:
                assert len(await stores[other].keys()) == 5, f"clearing {name!r} took keys of {other!r}"
                assert await stores[other].hgetall("hash") == {"field": other}

    # ------------------------------------------------------------------------------------------------------- S11 keys

    async def test_s11_prefixes_see_nothing_of_each_other(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Not even where prefix and key together read the same."""
        if not has_prefix(open_store, unsupported):
            return
        one, other = open_store(table_prefix="kit_"), open_store(table_prefix="kit_a_")
        await one.set("a_key", "one")
        await one.hset("a_hash", "field", "one")
        assert await other.get("key") is None
        assert await other.hgetall("hash") == {}
        assert await other.keys() == []
        await other.set("key", "other")
        await other.hset("hash", "field", "other")
        await other.incr("n")
        assert await one.get("a_key") == "one"
        assert await one.hgetall("a_hash") == {"field": "one"}
        assert sorted(await one.keys()) == ["a_hash", "a_key"]
        assert sorted(await collect(one.scan_prefix("a"))) == ["a_hash", "a_key"]
        assert sorted(await other.keys()) == ["hash", "key", "n"]
        assert await one.delete("key") is False
        assert await one.delete_many(["key", "hash", "n"]) == 0
        assert await one.get_many(["key", "n"]) == {}
        assert await one.set_if_absent("key", 1) is True
        assert await one.compare_and_set("n", 1, 2) is False
        assert await one.incr("n") == 1
        assert await other.get("key") == "other"
        assert await other.ttl("key") is None
        assert await one.expire("key", 100) is True
        assert await other.ttl("key") is None

    async def test_s11_prefixes_may_differ_in_case_alone(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Also where the engine's own names do not tell cases apart."""
        if not has_prefix(open_store, unsupported):
            return
        lower = open_store(table_prefix="kit_")
        await lower.set("key", "lower")
        try:
            upper = open_store(table_prefix="KIT_")
            found = await upper.keys()
        except InvalidIdentifierError:  # an engine that cannot tell them apart refuses, rather than mix them up
            return
        assert found == []
        assert await upper.clear() == 0
        await upper.set("key", "upper")
        assert await lower.get("key") == "lower"

    async def test_s11_any_text_is_a_key_and_all_are_different(self, store: Any) -> None:
        """Plain and hash."""
        for number, key in enumerate(HOSTILE_KEYS):
            assert await store.exists(key) is False, shorten(key)
            assert await store.set_if_absent(key, number) is True, shorten(key)
        assert sorted(await store.keys()) == sorted(HOSTILE_KEYS)
        for number, key in enumerate(HOSTILE_KEYS):
            assert await store.get(key) == number, shorten(key)
        for key in HOSTILE_KEYS:
            assert await store.incr(key) == HOSTILE_KEYS.index(key) + 1, shorten(key)
            assert await store.delete(key) is True, shorten(key)
            await store.hset(key, "field", key)
        for key in HOSTILE_KEYS:
            assert await store.hgetall(key) == {"field": key}, shorten(key)
            assert await store.expire(key, 1000) is True
            assert 900 < await store.ttl(key) <= 1000
        assert await store.clear() == len(HOSTILE_KEYS)

    async def test_s11_refused_keys(self, store: Any) -> None:
        """By every call that takes a key."""
        for key in REFUSED_KEYS:
            for name, arguments in (
                ("get", (key,)),
                ("get_json", (key,)),
                ("set", (key, 1)),
                ("set_json", (key, 1)),
                ("delete", (key,)),
                ("exists", (key,)),
                ("ttl", (key,)),
                ("expire", (key, 10)),
                ("hget", (key, "field")),
                ("hset", (key, "field", 1)),
                ("hgetall", (key,)),
                ("hdel", (key, "field")),
                ("set_if_absent", (key, 1)),
                ("compare_and_set", (key, 1, 2)),
                ("incr", (key,)),
                ("get_many", ([key],)),
                ("delete_many", ([key],)),
            ):
                with pytest.raises(InvalidValueError) as caught:
                    await getattr(store, name)(*arguments)
                    pytest.fail(f"{name} took the key {shorten(key)}; an error was expected")
                assert isinstance(caught.value, ValueError)
        assert await store.keys() == []
