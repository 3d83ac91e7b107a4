"""S03, S04: the time to live."""

from __future__ import annotations

import time
from typing import Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
)
from praisonai_persistence.testing.state._common import (
    NOT_SECONDS,
    collect,
    contents,
    passed,
)

__all__ = ["Times"]


class Times:
    """S03, S04: the time to live."""

    # ------------------------------------------------------------------------------------------------ S03 time to live

    async def _short_lived(self, store: Any, ttl: float) -> tuple[list[str], float]:
        """Write keys in every way that takes a time to live; return them, and when the last one ends at the latest."""
        await store.set("set", 1, ttl)
        await store.set_json("set_json", 1, ttl=ttl)
        await store.set_many({"many-1": 1, "many-2": "text"}, ttl)
        assert await store.set_if_absent("set_if_absent", 1, ttl) is True
        await store.set("compare_and_set", 1)
        assert await store.compare_and_set("compare_and_set", 1, 2, ttl) is True
        await store.set("expire", 1)
        assert await store.expire("expire", ttl) is True
        await store.hset("hash", "field", 1)
        assert await store.expire("hash", ttl) is True
        keys = ["set", "set_json", "many-1", "many-2", "set_if_absent", "compare_and_set", "expire", "hash"]
        return keys, time.time() + ttl

    async def test_s03_when_its_time_is_up_a_key_is_gone(self, store: Any) -> None:
        """For every reading call, the first that comes upon it included."""
        gone = [f"gone-{number}" for number in range(10)]
        await store.set("stays", 1)
        keys, _ = await self._short_lived(store, 0.2)
        await store.set_many(dict.fromkeys(gone, 1), 0.2)
        for key in ("hash-1", "hash-2"):
            await store.hset(key, "field", 1)
            await store.expire(key, 0.2)
        await passed(time.time() + 0.2)
        assert await store.exists(gone[0]) is False
        assert await store.ttl(gone[1]) is None
        assert await store.get(gone[2], "default") == "default"
        assert await store.get_json(gone[3], "default") == "default"
        assert await store.get_many([gone[4], "stays", gone[5]]) == {"stays": 1}
        assert await store.hget("hash-1", "field", "default") == "default"
        assert await store.hgetall("hash-2") == {}
        assert await store.hgetall(gone[6]) == {}
        for key in keys:
            assert await store.exists(key) is False, key
            assert await store.get(key) is None, key

    @pytest.mark.parametrize("listing", ["keys", "keys of a pattern", "list_keys", "scan_prefix", "clear"])
    async def test_s03_when_its_time_is_up_a_key_is_not_listed(self, store: Any, listing: str) -> None:
        """Whatever lists it first; and nobody counts it."""
        await store.set("stays", 1)
        await self._short_lived(store, 0.05)
        await passed(time.time() + 0.05)
        if listing == "clear":
            assert await store.clear() == 1
            assert await store.keys() == []
            return
        found = {
            "keys": store.keys,
            "keys of a pattern": lambda: store.keys("*s*"),
            "list_keys": store.list_keys,
            "scan_prefix": lambda: collect(store.scan_prefix("")),
        }
        assert await found[listing]() == ["stays"]

    async def test_s03_when_its_time_is_up_a_key_is_gone_for_writers(self, store: Any) -> None:
        """They find an absent key, of no type."""
        await self._short_lived(store, 0.2)
        await store.set("number", 41, 0.2)
        await store.set("plain", 1, 0.2)
        await store.set("seen", "old", 0.2)
        end = time.time() + 0.2
        await passed(end)
        assert await store.delete("set") is False
        assert await store.expire("set_json", 100) is False
        assert await store.delete_many(["many-1", "many-2"]) == 0
        assert await store.set_if_absent("set_if_absent", "new") is True
        assert await store.compare_and_set("compare_and_set", 2, 3) is False
        assert await store.incr("number") == 1
        assert await store.hdel("expire", "field") == 0
        await store.hset("plain", "field", 1)
        assert await store.hgetall("plain") == {"field": 1}
        await store.set("hash", "plain now")
        assert await store.get("hash") == "plain now"
        # And none of them took over the time to live that was.
        for key in ("set_if_absent", "number", "plain", "hash"):
            assert await store.ttl(key) is None, key
        assert sorted(await store.keys()) == ["hash", "number", "plain", "set_if_absent"]
        assert await store.clear() == 4

    async def test_s03_a_hash_starts_anew_when_its_time_is_up(self, store: Any) -> None:
        """Without the fields that it had."""
        await store.hset("hash", "old", 1)
        await store.expire("hash", 0.1)
        await passed(time.time() + 0.1)
        assert await store.hdel("hash", "old") == 0
        await store.hset("hash", "new", 2)
        assert await store.hgetall("hash") == {"new": 2}
        assert await store.ttl("hash") is None

    async def test_s03_seconds_are_not_rounded(self, store: Any) -> None:
        """Half a second is neither none nor one."""
        begin = time.monotonic()
        await store.set("half", 1, 0.5)
        left = await store.ttl("half")
        if time.monotonic() - begin < 0.4:  # a machine that stops in between proves nothing
            assert left is not None
            assert 0 < left <= 0.5
            assert await store.exists("half") is True
        await passed(time.time() + 0.5)
        assert await store.exists("half") is False
        await store.set("long", 1, 1000.5)
        left = await store.ttl("long")
        assert 1000 - 30 < left <= 1000.5

    async def test_s03_no_time_to_live_is_refused(self, store: Any) -> None:
        """Before anything is written."""
        await store.set("key", "before")
        calls: Any = (
            (name, (*arguments, ttl))
            for ttl in NOT_SECONDS
            for name, arguments in (
                ("set", ("key", 1)),
                ("set", ("new", 1)),
                ("set_json", ("key", 1)),
                ("set_if_absent", ("new", 1)),
                ("compare_and_set", ("key", "before", 1)),
                ("set_many", ({"new": 1, "key": 2},)),
                ("expire", ("key",)),
                ("expire", ("unknown",)),
            )
        )
        for name, arguments in calls:
            with pytest.raises(InvalidValueError) as caught:
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name} took ttl={arguments[-1]!r}; an error was expected")
            assert isinstance(caught.value, ValueError)
        assert await contents(store) == {"key": ("before", False)}

    async def test_s03_set_decides_about_the_time_to_live(self, store: Any) -> None:
        """Without one an earlier one is cleared, a new one replaces it."""
        for name, arguments in (
            ("set", ("key", "new")),
            ("set_json", ("key", "new")),
            ("set_many", ({"key": "new"},)),
            ("compare_and_set", ("key", "old", "new")),
        ):
            write = getattr(store, name)
            await store.set("key", "old", 100)
            await write(*arguments)
            assert await store.get("key") == "new"
            assert await store.ttl("key") is None, name
            await store.set("key", "old", 100)
            await write(*arguments, ttl=1000)
            assert 900 < await store.ttl("key") <= 1000, name
            await store.set("key", "old")
            await write(*arguments, ttl=100)
            assert 0 < await store.ttl("key") <= 100, name

    async def test_s03_a_cleared_time_to_live_does_not_strike_later(self, store: Any) -> None:
        """The value is there when the first time is up."""
        await store.set("key", 1, 0.1)
        await store.set("key", 2)
        for short in (0.1, 1, 10):  # on a machine that stands still in between, the short time is up too soon
            await store.hset("hash", "field", 1)
            await store.expire("hash", short)
            if await store.expire("hash", 1000):
                break
        await passed(time.time() + short)
        assert await store.get("key") == 2
        assert await store.hgetall("hash") == {"field": 1}

    async def test_s03_very_short_and_very_long_times(self, store: Any) -> None:
        """A millisecond, and a century."""
        await store.set("short", 1, 0.001)
        await store.set("long", 1, 3.2e9)
        assert 3.1e9 < await store.ttl("long") <= 3.2e9
        await passed(time.time() + 0.001)
        assert await store.keys() == ["long"]

    # ------------------------------------------------------------------------------------------------------- S04 ttl()

    async def test_s04_ttl_tells_the_seconds_left(self, store: Any) -> None:
        """As a float, and None where there are none."""
        assert await store.ttl("unknown") is None
        await store.set("key", 1)
        assert await store.ttl("key") is None
        await store.hset("hash", "field", 1)
        assert await store.ttl("hash") is None
        await store.set("key", 1, 100)
        await store.expire("hash", 100)
        for key in ("key", "hash"):
            left = await store.ttl(key)
            assert type(left) is float
            assert 70 < left <= 100

    async def test_s04_the_seconds_left_run_down(self, store: Any) -> None:
        """With the clock."""
        await store.set("key", 1, 100)
        first = await store.ttl("key")
        await passed(time.time() + 0.1)
        assert await store.ttl("key") <= first - 0.1

    async def test_s04_expire_tells_whether_the_key_exists(self, store: Any) -> None:
        """And keeps its value."""
        assert await store.expire("unknown", 10) is False
        assert await store.exists("unknown") is False
        await store.set("key", None)
        await store.hset("hash", "field", None)
        for key in ("key", "hash"):
            assert await store.expire(key, 10) is True
            assert 0 < await store.ttl(key) <= 10
            assert await store.expire(key, 1000) is True
            assert 900 < await store.ttl(key) <= 1000
            assert await store.expire(key, 10) is True
            assert 0 < await store.ttl(key) <= 10
        assert await store.get("key", "default") is None
        assert await store.hgetall("hash") == {"field": None}

    async def test_s04_other_writes_keep_the_time_to_live(self, store: Any) -> None:
        """Those that do not replace the value, and those that do nothing."""
        await store.set("number", 1, 100)
        await store.incr("number")
        assert await store.set_if_absent("number", 5) is False
        assert await store.set_if_absent("number", 5, 1000) is False
        assert await store.compare_and_set("number", 1, 5) is False
        assert await store.compare_and_set("number", 1, 5, 1000) is False
        left = await store.ttl("number")
        assert left is not None, "the time to live of the number is gone"
        assert 0 < left <= 100
        assert await store.get("number") == 2
        await store.hset("hash", "a", 1)
        await store.expire("hash", 100)
        await store.hset("hash", "b", 1)
        await store.hset("hash", "a", 2)
        await store.hdel("hash", "a")
        assert 0 < await store.ttl("hash") <= 100

    async def test_s04_a_new_key_has_no_time_to_live(self, store: Any) -> None:
        """Also where a deleted one had."""
        await store.set("key", 1, 100)
        await store.delete("key")
        await store.set_if_absent("key", 1)
        assert await store.ttl("key") is None
        await store.hset("hash", "field", 1)
        await store.expire("hash", 100)
        await store.hdel("hash", "field")
        await store.hset("hash", "field", 1)
        assert await store.ttl("hash") is None
        await store.set("number", 1, 100)
        await store.delete_many(["number"])
        await store.incr("number")
        assert await store.ttl("number") is None
