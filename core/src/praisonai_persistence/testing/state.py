"""The suite of state stores: clauses S01 to S12."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from praisonai_persistence.errors import (
    ConnectionFailedError,
    InvalidIdentifierError,
    InvalidValueError,
    PersistenceError,
    SerializationError,
    StoreClosedError,
    WrongTypeError,
)
from praisonai_persistence.globs import compile_glob
from praisonai_persistence.memory import MemoryStateStore
from praisonai_persistence.testing._facade import SyncFacade, drive
from praisonai_persistence.testing._schema import check_schema
from praisonai_persistence.testing._state_bodies import script
from praisonai_persistence.testing._watch import Watch
from praisonai_persistence.testing.clauses import MODEL
from praisonai_persistence.testing.corpus import (
    HOSTILE_JSON,
    HOSTILE_KEYS,
    LARGE_TEXTS,
    REFUSED_IDENTIFIERS,
    REFUSED_JSON,
    REFUSED_KEYS,
    identical,
    nested,
    shorten,
)
from praisonai_persistence.testing.harness import (
    Moments,
    OpenStore,
    Race,
    Spawn,
    Unsupported,
    declares,
    needs_fixture,
    only,
    raw,
    settled,
    split,
)
from praisonai_persistence.testing.lifecycle import LifecycleSuite
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["StateStoreSuite"]

BODIES = "praisonai_persistence.testing._state_bodies"
MANY = 5_000
"""More keys than any engine gives in one page, and more than SQL engines take as parameters of one statement."""
LATE = 0.1
"""Seconds that an engine's clock may be behind ours."""
NOT_SECONDS: list[Any] = [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf, 10**400, True, "1", [1]]
"""What can be no time to live."""
MISSING = object()
Contents = dict[str, tuple[Any, bool]]

PLAIN_CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("get", ("key",)),
    ("get", ("key", "default")),
    ("get_json", ("key",)),
    ("set", ("key", 1)),
    ("set", ("key", 1, 50.0)),
    ("set_json", ("key", 1)),
    ("set_if_absent", ("key", 1)),
    ("set_if_absent", ("key", 1, 50.0)),
    ("compare_and_set", ("key", None, 1)),
    ("compare_and_set", ("key", {"field": 1}, 1, 50.0)),
    ("incr", ("key",)),
    ("get_many", (["other", "key"],)),
    ("set_many", ({"other": 2, "key": 1, "third": 3},)),
    ("set_many", ({"other": 2, "key": 1}, 50.0)),
]
"""Calls that name a plain value, each with the key ``key``."""
HASH_CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("hget", ("key", "field")),
    ("hget", ("key", "field", "default")),
    ("hset", ("key", "field", 1)),
    ("hgetall", ("key",)),
    ("hdel", ("key", "field")),
    ("hdel", ("key", "field", "another")),
]
"""Calls that name a hash."""
EITHER_CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("exists", ("key",)),
    ("ttl", ("key",)),
    ("expire", ("key", 50.0)),
    ("delete", ("key",)),
    ("delete_many", (["key"],)),
]
"""Calls that take keys of both sorts."""

SETTINGS = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# Few keys, most of which stay what they are: steps that find the wrong type have nothing more to do.
_KEYS = st.sampled_from(["a", "A", "h_", "h%"])
_PLAIN = st.sampled_from([*("a", "A") * 6, "h_"])
_HASH = st.sampled_from([*("h_", "h%") * 6, "a"])
_FIELDS = st.sampled_from(["x", "x "])
_VALUES = st.sampled_from([None, 0, 1, 1.0, True, "1", "", "\0\ud800", [], {}, [1], {"a": 1}, {"a": True}, 2**63])
_TTLS = st.sampled_from([None, None, 500, 1000.5])
_COMMANDS = st.one_of(
    # Twice, because most of the others find nothing to do without them.
    st.tuples(st.just("set"), _PLAIN, _VALUES, _TTLS),
    st.tuples(st.just("hset"), _HASH, _FIELDS, _VALUES),
    st.tuples(st.just("expire"), _KEYS, st.sampled_from([500, 1000.5])),
    st.tuples(st.just("get"), _PLAIN),
    st.tuples(st.just("set"), _PLAIN, _VALUES, _TTLS),
    st.tuples(st.just("delete"), _KEYS),
    st.tuples(st.just("exists"), _KEYS),
    st.tuples(st.just("ttl"), _KEYS),
    st.tuples(st.just("expire"), _KEYS, st.sampled_from([500, 1000.5])),
    st.tuples(st.just("keys"), st.sampled_from(["*", "a*", "?", "[a-b]", "[!a]*", "h_", "h\\_", "h?"])),
    st.tuples(st.just("hget"), _HASH, _FIELDS),
    st.tuples(st.just("hset"), _HASH, _FIELDS, _VALUES),
    st.tuples(st.just("hgetall"), _HASH),
    st.tuples(st.just("hdel"), _HASH, _FIELDS, _FIELDS),
    st.tuples(st.just("set_if_absent"), _PLAIN, _VALUES, _TTLS),
    st.tuples(st.just("compare_and_set"), _PLAIN, _VALUES, _VALUES, _TTLS),
    st.tuples(st.just("incr"), _PLAIN, st.sampled_from([1, 0, -3, 2**40])),
    st.tuples(st.just("get_many"), st.lists(_PLAIN, max_size=4)),
    st.tuples(st.just("set_many"), st.dictionaries(_PLAIN, _VALUES, max_size=3), _TTLS),
    st.tuples(st.just("delete_many"), st.lists(_KEYS, max_size=4)),
    st.tuples(st.just("clear")),
)


async def collect(iterator: Any) -> list[str]:
    """Return everything that an async iterator gives."""
    return [item async for item in iterator]


async def contents(store: Any) -> Contents:
    """Return every key with its value (of a hash: its fields, marked) and whether it has a time to live."""
    found = {}
    for key in await store.keys():
        try:
            value = await store.get(key)
        except WrongTypeError:
            value = ["hash", await store.hgetall(key)]
        found[key] = (value, await store.ttl(key) is not None)
    return found


def model_contents(model: MemoryStateStore) -> Contents:
    """Return the same of the reference."""
    return drive(contents(SyncFacade(model)))


def alike(a: Contents, b: Contents) -> bool:
    """Whether two [contents][] are the same, with the types of all values."""
    return a.keys() == b.keys() and all(identical(list(a[key]), list(b[key])) for key in a)


async def passed(moment: float) -> None:
    """Wait until a time of ``time.time`` has passed, and a little longer."""
    while (left := moment + LATE - time.time()) > 0:
        await anyio.sleep(left)


def model_call(model: MemoryStateStore, name: str, *arguments: Any) -> tuple[str, Any]:
    """Return what the reference returned or raised."""
    try:
        return "returned", getattr(model, name)(*arguments)
    except PersistenceError as error:
        return "raised", type(error)


async def call(store: Any, name: str, *arguments: Any) -> tuple[str, Any]:
    """Return what the store returned or raised."""
    try:
        return "returned", await getattr(store, name)(*arguments)
    except PersistenceError as error:
        return "raised", type(error)


class StateStoreSuite(LifecycleSuite, suite=True):
    """What a state store promises; see ``harness`` for how to use it."""

    kind = "state"

    # ------------------------------------------------------------------------------------------------------ S01 values

    async def test_s01_every_json_value_comes_back_with_its_type(self, store: Any) -> None:
        """Text stays text, integers stay integers, and so on through the hostile corpus."""
        for value in HOSTILE_JSON:
            await store.set("key", value)
            found = await store.get("key", MISSING)
            assert identical(found, value), f"{shorten(value)} came back as {shorten(found)}"

    async def test_s01_values_side_by_side(self, store: Any) -> None:
        """Each key keeps its own value."""
        values = {f"key-{index}": value for index, value in enumerate(HOSTILE_JSON)}
        await store.set_many(values)
        for key, value in values.items():
            found = await store.get(key, MISSING)
            assert identical(found, value), f"{shorten(value)} came back as {shorten(found)}"

    async def test_s01_large_values(self, store: Any) -> None:
        """Megabytes."""
        for index, text in enumerate(LARGE_TEXTS):
            await store.set("large", {"text": text})
            await store.hset("hash", str(index), text)
            assert (await store.get("large")) == {"text": text}
        assert await store.hgetall("hash") == {str(index): text for index, text in enumerate(LARGE_TEXTS)}

    async def test_s01_an_unknown_key_is_none_or_the_default(self, store: Any) -> None:
        """And nothing is stored by asking."""
        assert await store.get("unknown") is None
        default = ["default"]
        assert await store.get("unknown", default) is default
        assert await store.get_json("unknown", 5) == 5
        assert await store.keys() == []

    async def test_s01_a_value_replaces_one_of_another_type(self, store: Any) -> None:
        """In both directions."""
        values: list[Any] = [1, "1", 1.0, True, None, [1], {"1": 1}, 0, False, "", 1]
        for value in values:
            await store.set("key", value)
            assert identical(await store.get("key", MISSING), value)

    async def test_s01_values_are_copies(self, store: Any) -> None:
        """Neither what was passed nor what was returned is the stored value itself."""
        given_value = {"list": [1], "object": {}}
        wanted = {"list": [1], "object": {}}
        await store.set("set", given_value)
        await store.set_many({"set_many": given_value})
        await store.set_if_absent("set_if_absent", given_value)
        await store.set("compare_and_set", 1)
        await store.compare_and_set("compare_and_set", 1, given_value)
        given_value["list"].append(2)  # type: ignore[attr-defined]
        given_value["object"]["x"] = 1  # type: ignore[index]
        for key in ("set", "set_many", "set_if_absent", "compare_and_set"):
            found = await store.get(key)
            assert found == wanted, key
            found["list"].append(3)
            (await store.get_many([key]))[key]["object"]["y"] = 1
            (await store.get_json(key))["z"] = 1
            assert await store.get(key) == wanted, key

    @pytest.mark.parametrize("position", ["itself", "in a list", "in an object"])
    async def test_s01_what_is_not_json_is_refused(self, store: Any, position: str) -> None:
        """By every method that takes a value, and the earlier value stays."""
        await store.set("key", "before")
        await store.hset("hash", "field", "before")
        for refused in REFUSED_JSON:
            value = {"itself": refused, "in a list": [1, refused], "in an object": {"a": {"b": refused}}}[position]
            for name, arguments in (
                ("set", ("key", value)),
                ("set_json", ("key", value)),
                ("hset", ("hash", "field", value)),
                ("hset", ("new", "field", value)),
                ("set_if_absent", ("new", value)),
                ("compare_and_set", ("key", "before", value)),
                ("set_many", ({"new": 1, "key": value},)),
            ):
                with pytest.raises(SerializationError):
                    await getattr(store, name)(*arguments)
                    pytest.fail(f"{name} took {shorten(value)}")
        assert await store.get("key") == "before"
        assert await store.hgetall("hash") == {"field": "before"}
        assert sorted(await store.keys()) == ["hash", "key"]

    @pytest.mark.clause("S12")
    async def test_s01_deep_values_come_back_or_are_refused(self, store: Any) -> None:
        """50 levels are promised."""
        for depth in (60, 100, 190, 250):
            try:
                await store.set("key", nested(depth, depth))
            except SerializationError:
                break
            assert identical(await store.get("key"), nested(depth, depth))

    @pytest.mark.clause("S12")
    async def test_s01_up_to_the_size_limit(self, store: Any) -> None:
        """10 MB, or what the store declares; more is refused."""
        limit: int | None = getattr(store, "max_value_bytes", None)
        size = 10_000_000 if limit is None else min(10_000_000, limit - 1_000)
        value = ["x" * (size - 100_000), "\u00fc" * 49_000]
        await store.set("key", value)
        assert await store.get("key") == value
        await store.set("key", "small")
        if limit is None:
            return
        for name, arguments in (
            ("set", ("key", "x" * (limit - 1))),  # the two quotes count
            ("set_many", ({"new": 1, "key": ["x" * limit]},)),
            ("hset", ("hash", "field", {"x" * limit: 1})),
        ):
            with pytest.raises(SerializationError):
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name} took more than {limit} bytes")
        assert await contents(store) == {"key": ("small", False)}

    # --------------------------------------------------------------------------------------------------- S02 existence

    async def test_s02_a_stored_none_is_not_an_absent_key(self, store: Any) -> None:
        """Nor is any other value that is false."""
        assert await store.exists("key") is False
        falsy: list[Any] = [None, False, 0, "", [], {}]
        for value in falsy:
            await store.set("key", value)
            assert await store.exists("key") is True
            assert identical(await store.get("key", "default"), value)
            assert await store.keys() == ["key"]
            assert await store.delete("key") is True
            assert await store.exists("key") is False
            assert await store.get("key", "default") == "default"

    async def test_s02_delete_tells_whether_the_key_existed(self, store: Any) -> None:
        """Plain or hash."""
        assert await store.delete("key") is False
        await store.set("key", 1)
        await store.hset("hash", "field", 1)
        assert await store.delete("key") is True
        assert await store.delete("key") is False
        assert await store.delete("hash") is True
        assert await store.delete("hash") is False
        assert await store.keys() == []

    async def test_s02_delete_removes_that_key_alone(self, store: Any) -> None:
        """Not those that look like it."""
        keys = ["a", "A", "a ", "a_", "ab", "a%", "a*", "_", "%", "*", "?"]
        await store.set_many(dict.fromkeys(keys, 1))
        for key in ("a", "_", "%", "*", "?", "a_"):
            assert await store.delete(key) is True
            keys.remove(key)
            assert sorted(await store.keys()) == sorted(keys)

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

    @pytest.mark.parametrize("ttl", NOT_SECONDS, ids=lambda ttl: repr(ttl)[:12])
    async def test_s03_no_time_to_live_is_refused(self, store: Any, ttl: Any) -> None:
        """Before anything is written."""
        await store.set("key", "before")
        for name, arguments in (
            ("set", ("key", 1, ttl)),
            ("set", ("new", 1, ttl)),
            ("set_json", ("key", 1, ttl)),
            ("set_if_absent", ("new", 1, ttl)),
            ("compare_and_set", ("key", "before", 1, ttl)),
            ("set_many", ({"new": 1, "key": 2}, ttl)),
            ("expire", ("key", ttl)),
            ("expire", ("unknown", ttl)),
        ):
            with pytest.raises(InvalidValueError) as caught:
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name} took ttl={ttl!r}")
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
        assert 0 < await store.ttl("number") <= 100
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

    # ------------------------------------------------------------------------------------------------- S05 finding keys

    async def test_s05_globs_match_what_they_should(self, store: Any) -> None:
        """Whatever the engine's own patterns mean."""
        keys = [*HOSTILE_KEYS, "user:1", "user:2", "user:10", "user:", "User:1", "user", "a]b", "a\nb", "a-b", "a.b"]
        keys = list(dict.fromkeys(keys))
        await store.set_many(dict.fromkeys(keys, 1))
        patterns = [
            *("*", "?", "??", "**", "", "user:*", "user:?", "user:??", "*:1", "*1*", "U*", "u*r*"),
            *("[a-c]*", "[!a-z]*", "[]]*", "a[]]b", "[", "[a", "[!", "a[-]b", "a[!-]b", "[z-a]", "[^u]*", "[\\]]"),
            *("%", "%*", "_", "__", "a_b", "a%b", "_*", "\\*", "\\?", "\\\\*", "\\[a-z\\]", "\\", "a\\", "*\\"),
            *("*'*", '*"*', "*;*", ".", "..", ".*", "x.*", "(a|b)", "^a", "a$", "a\n*", "*\n", "a?b", "*\ufeff"),
            *("\U0001f600*", "?" * 255, "\u00e9*", "[\u00e0-\u00ff]*", "[\U0001f000-\U0001ffff]*", "k" * 1024),
            *("\0*", "\ud800*", "[\ud800-\udfff]*", "CON", "con", "*.json", "unknown"),
        ]
        for pattern in patterns:
            wanted = sorted(filter(compile_glob(pattern).fullmatch, keys))
            found = await store.keys(pattern)
            assert type(found) is list
            assert sorted(found) == wanted, f"keys({pattern!a})"
            assert sorted(await store.list_keys(pattern)) == wanted, f"list_keys({pattern!a})"

    async def test_s05_the_default_pattern_is_every_key(self, store: Any) -> None:
        """Hashes too."""
        assert await store.keys() == []
        assert await store.list_keys() == []
        await store.set("a", 1)
        await store.hset("b", "field", 1)
        assert sorted(await store.keys()) == ["a", "b"]
        assert sorted(await store.list_keys()) == ["a", "b"]

    @pytest.mark.parametrize("pattern", [None, 1, b"*", ["*"]], ids=repr)
    async def test_s05_a_pattern_is_text(self, store: Any, pattern: Any) -> None:
        """And so is a prefix."""
        with pytest.raises(InvalidValueError):
            await store.keys(pattern)
        with pytest.raises(InvalidValueError):
            await collect(store.scan_prefix(pattern))

    async def test_s05_keys_are_complete_and_without_repeats(self, store: Any) -> None:
        """Across all pages of a large store."""
        keys = [f"{'odd' if number % 2 else 'even'}:{number}" for number in range(MANY)]
        random.Random(5).shuffle(keys)
        for chunk in range(0, MANY, 1000):
            await store.set_many(dict.fromkeys(keys[chunk : chunk + 1000], 1))
        found = await store.keys()
        assert len(found) == MANY
        assert set(found) == set(keys)
        odd = {key for key in keys if key.startswith("odd:")}
        for some in (await store.keys("odd:*"), await store.keys("*d:*"), await collect(store.scan_prefix("odd"))):
            assert len(some) == len(odd)
            assert set(some) == odd
        scanned = await collect(store.scan_prefix(""))
        assert len(scanned) == MANY
        assert set(scanned) == set(keys)
        assert await store.clear() == MANY
        assert await store.keys() == []

    async def test_s05_a_prefix_is_taken_literally(self, store: Any) -> None:
        """No character of it is a wildcard."""
        heads = ["a", "A", "a%", "a_", "a*", "a?", "a[b]", "a\\", "a'", 'a"', "ab", "a\n", "\u00e9", "e\u0301"]
        heads += ["\U0010ffff", "\uffff", "%", "_", "*", "\\", "[", "a\U0010ffff", "\x7f", "~"]
        keys = list(dict.fromkeys(key for head in heads for key in (head, f"{head}x", f"{head}\U0010ffff", f"x{head}")))
        await store.set_many(dict.fromkeys(keys, 1))
        for prefix in [*heads, "", "x", "a[", "[b]", "nothing", "k" * 2000, "\0", "a\0", "\ud800", "a\udfff"]:
            wanted = sorted(key for key in keys if key.startswith(prefix))
            found = await collect(store.scan_prefix(prefix))
            assert sorted(found) == wanted, f"scan_prefix({shorten(prefix)})"

    async def test_s05_a_scan_is_an_iterator_that_can_be_left(self, store: Any, colour: str) -> None:
        """The store works on as if it had never been."""
        keys = {f"key-{number}" for number in range(2_500)}
        await store.set_many(dict.fromkeys(keys, 1))
        iterator = raw(store).scan_prefix("key-")
        assert hasattr(iterator, "__next__" if colour == "sync" else "__anext__")
        if colour == "sync":
            assert next(iterator) in keys
            if hasattr(iterator, "close"):
                iterator.close()
        else:
            assert await anext(iterator) in keys
            if hasattr(iterator, "aclose"):
                await iterator.aclose()
        await store.set("key-new", 1)
        assert len(await store.keys()) == 2_501
        assert await store.clear() == 2_501

    async def test_s05_keys_may_be_changed_during_a_scan(self, store: Any) -> None:
        """Every key that is there all the time comes exactly once."""
        keys = {f"key-{number}" for number in range(2_500)}
        await store.set_many(dict.fromkeys(keys, 1))
        seen = []
        async for key in store.scan_prefix("key-"):
            if key in keys:
                seen.append(key)
                if len(seen) % 5 == 0:
                    assert await store.delete(key) is True
                elif len(seen) % 7 == 0:
                    await store.set(f"other-{key}", 1)
                    await store.set(f"key-new-{key}", 1)
        assert len(seen) == len(keys)
        assert set(seen) == keys

    # ------------------------------------------------------------------------------------------------------- S06 hashes

    async def test_s06_every_json_value_comes_back_from_a_field(self, store: Any) -> None:
        """With its type, from hget and from hgetall."""
        for value in HOSTILE_JSON:
            await store.hset("hash", "field", value)
            found = await store.hget("hash", "field", MISSING)
            assert identical(found, value), f"{shorten(value)} came back as {shorten(found)}"
        fields = {str(index): value for index, value in enumerate(HOSTILE_JSON)}
        for field, value in fields.items():
            await store.hset("all", field, value)
        everything = await store.hgetall("all")
        assert everything.keys() == fields.keys()
        for field, value in fields.items():
            assert identical(everything[field], value), f"{shorten(value)} came back as {shorten(everything[field])}"

    async def test_s06_any_key_can_be_a_field(self, store: Any) -> None:
        """And all are different fields."""
        for number, field in enumerate(HOSTILE_KEYS):
            await store.hset("hash", field, number)
        assert await store.hgetall("hash") == {field: number for number, field in enumerate(HOSTILE_KEYS)}
        for number, field in enumerate(HOSTILE_KEYS):
            assert await store.hget("hash", field) == number
        assert await store.hdel("hash", *HOSTILE_KEYS[1:]) == len(HOSTILE_KEYS) - 1
        assert await store.hgetall("hash") == {HOSTILE_KEYS[0]: 0}

    async def test_s06_refused_fields(self, store: Any) -> None:
        """The rule for keys."""
        await store.hset("hash", "field", 1)
        for field in REFUSED_KEYS:
            for name, arguments in (
                ("hset", ("hash", field, 1)),
                ("hget", ("hash", field)),
                ("hdel", ("hash", field)),
                ("hdel", ("hash", "field", field)),
            ):
                with pytest.raises(InvalidValueError):
                    await getattr(store, name)(*arguments)
                    pytest.fail(f"{name} took the field {shorten(field)}")
        assert await store.hgetall("hash") == {"field": 1}

    async def test_s06_unknown_keys_and_fields(self, store: Any) -> None:
        """Are none, the default, empty, or not counted."""
        assert await store.hget("unknown", "field") is None
        assert await store.hget("unknown", "field", 5) == 5
        assert await store.hgetall("unknown") == {}
        assert await store.hdel("unknown", "field") == 0
        assert await store.exists("unknown") is False
        await store.hset("hash", "none", None)
        assert await store.hget("hash", "field") is None
        assert await store.hget("hash", "field", 5) == 5
        assert await store.hget("hash", "none", 5) is None
        assert await store.hdel("hash", "field") == 0
        assert await store.hdel("hash") == 0
        assert await store.hgetall("hash") == {"none": None}

    async def test_s06_fields_are_set_and_removed_one_by_one(self, store: Any) -> None:
        """The others stay as they are."""
        for field in ("a", "b", "c", "d"):
            await store.hset("hash", field, field)
            await store.hset("other", field, "other")
        await store.hset("hash", "b", {"new": 1})
        assert await store.hgetall("hash") == {"a": "a", "b": {"new": 1}, "c": "c", "d": "d"}
        assert await store.hdel("hash", "a", "unknown", "a", "c") == 2
        assert await store.hgetall("hash") == {"b": {"new": 1}, "d": "d"}
        assert await store.hdel("hash", "a") == 0
        assert await store.hgetall("other") == dict.fromkeys("abcd", "other")

    async def test_s06_with_its_last_field_a_hash_is_gone(self, store: Any) -> None:
        """And the key is free for anything."""
        await store.hset("hash", "a", 1)
        await store.hset("hash", "b", None)
        assert await store.hdel("hash", "a") == 1
        assert await store.exists("hash") is True
        assert await store.hdel("hash", "b") == 1
        assert await store.exists("hash") is False
        assert await store.keys() == []
        assert await store.delete("hash") is False
        assert await store.set_if_absent("hash", "plain") is True
        assert await store.get("hash") == "plain"

    async def test_s06_hash_values_are_copies(self, store: Any) -> None:
        """In and out."""
        given_value = {"list": [1]}
        await store.hset("hash", "field", given_value)
        given_value["list"].append(2)
        (await store.hget("hash", "field"))["list"].append(3)
        everything = await store.hgetall("hash")
        everything["field"]["list"].append(4)
        everything["new"] = 1
        assert await store.hgetall("hash") == {"field": {"list": [1]}}

    async def test_s06_many_fields(self, store: Any) -> None:
        """Nothing of a large hash is left out."""
        fields = {f"field-{number}": number for number in range(1_500)}
        for field, value in fields.items():
            await store.hset("hash", field, value)
        assert await store.hgetall("hash") == fields
        assert await store.hdel("hash", *list(fields)[:-1]) == len(fields) - 1
        assert await store.hgetall("hash") == {"field-1499": 1499}

    async def test_s06_concurrent_writes_of_different_fields_lose_none(self, store: Any, race: Race) -> None:
        """Nor does the hash come into being twice."""

        async def body(worker: int) -> None:
            for turn in range(20):
                await store.hset("hash", f"{worker}-{turn}", [worker, turn])

        split(await race(body))
        wanted = {f"{worker}-{turn}": [worker, turn] for worker in range(8) for turn in range(20)}
        assert await store.hgetall("hash") == wanted

    async def test_s06_concurrent_writes_and_deletions_of_different_fields(self, store: Any, race: Race) -> None:
        """Also while others take the hash's last fields away."""

        async def body(worker: int) -> int:
            gone = 0
            for turn in range(20):
                await store.hset("hash", f"{worker}-{turn}", turn)
                gone += await store.hdel("hash", f"{worker}-{turn}")
            await store.hset("hash", f"{worker}-end", worker)
            return gone

        gone, _ = split(await race(body))
        assert gone == [20] * 8
        assert await store.hgetall("hash") == {f"{worker}-end": worker for worker in range(8)}

    # ------------------------------------------------------------------------------------------------------ S07 types

    @pytest.mark.parametrize("ttl", [None, 1000.0], ids=["without ttl", "with ttl"])
    async def test_s07_plain_calls_refuse_a_hash(self, store: Any, ttl: float | None) -> None:
        """And change nothing, the time to live included."""
        await store.hset("key", "field", 1)
        await store.set("other", "before")
        if ttl is not None:
            await store.expire("key", ttl)
            await store.expire("other", ttl)
        before = await contents(store)
        for name, arguments in PLAIN_CALLS:
            with pytest.raises(WrongTypeError):
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name}{arguments} took a hash for a plain value")
        assert alike(await contents(store), before)
        if ttl is not None:
            assert 900 < await store.ttl("key") <= 1000

    @pytest.mark.parametrize("ttl", [None, 1000.0], ids=["without ttl", "with ttl"])
    @pytest.mark.parametrize("value", [1, None, {"field": 1}, "text", [["field", 1]]], ids=repr)
    async def test_s07_hash_calls_refuse_a_plain_value(self, store: Any, value: Any, ttl: float | None) -> None:
        """Also one that looks like a hash."""
        await store.set("key", value, ttl)
        before = await contents(store)
        for name, arguments in HASH_CALLS:
            with pytest.raises(WrongTypeError):
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name}{arguments} took a plain value for a hash")
        assert alike(await contents(store), before)

    async def test_s07_other_calls_take_both(self, store: Any) -> None:
        """They name a key, not a value."""
        for name, arguments in EITHER_CALLS:
            await store.set("key", {"field": 1})
            plain = await getattr(store, name)(*arguments)
            await store.delete("key")
            await store.hset("key", "field", 1)
            assert await getattr(store, name)(*arguments) == plain, name
            await store.delete("key")

    async def test_s07_after_delete_the_key_has_no_type(self, store: Any) -> None:
        """It can become the other one."""
        await store.set("key", 1)
        await store.delete("key")
        await store.hset("key", "field", 1)
        await store.delete_many(["key"])
        await store.set("key", 1)
        await store.clear()
        await store.hset("key", "field", 1)
        assert await store.hgetall("key") == {"field": 1}

    async def test_s07_a_key_never_becomes_both(self, store: Any, race: Race) -> None:
        """Whoever writes first decides."""
        for key in (f"key-{number}" for number in range(10)):

            async def body(worker: int, key: str = key) -> str:
                try:
                    await (store.hset(key, str(worker), worker) if worker % 2 else store.set(key, worker))
                except WrongTypeError:
                    return "refused"
                return "hash" if worker % 2 else "plain"

            outcomes, _ = split(await race(body, workers=6))
            wrote = set(outcomes) - {"refused"}
            assert len(wrote) == 1, outcomes
            if wrote == {"hash"}:
                assert await store.hgetall(key) == {"1": 1, "3": 3, "5": 5}
            else:
                assert await store.get(key) in {0, 2, 4}

    # ----------------------------------------------------------------------------------------------------- S08 atomic

    async def test_s08_set_if_absent(self, store: Any) -> None:
        """Writes once."""
        assert await store.set_if_absent("key", "first") is True
        assert await store.set_if_absent("key", "second") is False
        assert await store.get("key") == "first"
        await store.set("none", None)
        assert await store.set_if_absent("none", 1) is False
        assert await store.get("none", "default") is None
        assert await store.set_if_absent("timed", 1, 100) is True
        assert 0 < await store.ttl("timed") <= 100
        await store.delete("key")
        assert await store.set_if_absent("key", "third") is True

    async def test_s08_set_if_absent_has_one_winner(self, store: Any, race: Race) -> None:
        """And the value is the winner's."""
        for key in (f"key-{number}" for number in range(10)):

            async def body(worker: int, key: str = key) -> bool:
                return bool(await store.set_if_absent(key, worker, 100 if worker % 2 else None))

            won, _ = split(await race(body))
            assert won.count(True) == 1
            winner = won.index(True)
            assert await store.get(key) == winner
            assert (await store.ttl(key) is not None) == bool(winner % 2)

    async def test_s08_compare_and_set_compares_as_json(self, store: Any) -> None:
        """Numbers by value, True is not 1, text is not a number, keys in any order."""
        equal: list[tuple[Any, Any]] = [
            (1, 1.0),
            (1.0, 1),
            (0.0, -0.0),
            (10**30, 10**30),
            (2**53, 2.0**53),
            (None, None),
            ("\0\ud800\x1a", "\0\ud800\x1a"),
            ([1, [2.0]], [1.0, [2]]),
            ({"a": 1, "b": {"c": [], "d": None}}, {"b": {"d": None, "c": []}, "a": 1.0}),
            ({}, {}),
            (nested(50), nested(50)),
        ]
        for stored, expected in equal:
            await store.set("key", stored)
            assert await store.compare_and_set("key", expected, "new") is True, f"{stored!r} and {expected!r}"
            assert await store.get("key") == "new"
        different: list[tuple[Any, Any]] = [
            (1, True),
            (True, 1),
            (0, False),
            (False, 0.0),
            (1, "1"),
            ("1", 1),
            (None, False),
            (None, "null"),
            (None, 0),
            ("", None),
            ([], {}),
            ([], None),
            ({"a": 1}, {"a": True}),
            ({"a": None}, {}),
            ([1, 2], [2, 1]),
            ([True], [1]),
            ("a", "A"),
            ("a", "a "),
            ("e\u0301", "\u00e9"),
            (2**53, 2**53 + 1),
            (2.0**53, 2**53 + 1),
            ("\ud83d\ude00", "\U0001f600"),
        ]
        for stored, expected in different:
            await store.set("key", stored)
            assert await store.compare_and_set("key", expected, "new") is False, f"{stored!r} and {expected!r}"
            assert identical(await store.get("key", MISSING), stored)

    async def test_s08_compare_and_set_never_matches_an_absent_key(self, store: Any) -> None:
        """Not even with None."""
        falsy: list[Any] = [None, False, 0, "", [], {}]
        for expected in falsy:
            assert await store.compare_and_set("unknown", expected, 1) is False
            assert await store.exists("unknown") is False
        await store.set("key", None)
        await store.delete("key")
        assert await store.compare_and_set("key", None, 1) is False
        assert await store.keys() == []

    async def test_s08_compare_and_set_has_one_winner(self, store: Any, race: Race) -> None:
        """Of those that saw the same value."""
        for number in range(10):
            await store.set("key", {"turn": number})

            async def body(worker: int, number: int = number) -> bool:
                return bool(await store.compare_and_set("key", {"turn": number}, {"winner": worker}))

            won, _ = split(await race(body))
            assert won.count(True) == 1
            assert await store.get("key") == {"winner": won.index(True)}

    async def test_s08_compare_and_set_in_a_loop_loses_nothing(self, store: Any, race: Race) -> None:
        """Each success is one step."""
        await store.set("key", {"n": 0})

        async def body(worker: int) -> None:
            for _ in range(8):
                while True:
                    seen = await store.get("key")
                    if await store.compare_and_set("key", seen, {"n": seen["n"] + 1}):
                        break

        split(await race(body, workers=4))
        assert await store.get("key") == {"n": 32}

    async def test_s08_incr(self, store: Any) -> None:
        """Starts at 0 and returns the sum, an int."""
        assert await store.incr("key") == 1
        assert await store.incr("key") == 2
        assert await store.incr("key", 40) == 42
        assert await store.incr("key", -100) == -58
        assert await store.incr("key", 0) == -58
        assert identical(await store.get("key"), -58)
        assert await store.incr("new", by=-5) == -5
        assert await store.incr("zero", 0) == 0
        assert identical(await store.get("zero", MISSING), 0)
        await store.set("set", 7)
        assert identical(await store.incr("set"), 8)

    async def test_s08_incr_of_any_integer(self, store: Any) -> None:
        """JSON has no largest one."""
        for start, by in (
            (2**31 - 1, 1),
            (2**53, 1),
            (2**53 + 1, 2),
            (2**63 - 2, 1),
            (2**63 - 1, 1),
            (-(2**63), -1),
            (2**64, 2**64),
            (10**30, 1),
            (-(10**30), 10**30 + 1),
            (1, 10**30),
        ):
            await store.set("key", start)
            assert identical(await store.incr("key", by), start + by)
            assert identical(await store.get("key"), start + by)

    async def test_s08_incr_refuses_what_is_no_integer(self, store: Any) -> None:
        """Text of digits, floats and booleans are none."""
        for value in ("1", "", 1.0, 0.0, 1.5, 1e300, True, False, None, [], [1], {}, {"n": 1}):
            await store.set("key", value, 1000)
            with pytest.raises(WrongTypeError):
                await store.incr("key")
                pytest.fail(f"incr took {value!r}")
            assert identical(await store.get("key", MISSING), value)
            assert 900 < await store.ttl("key") <= 1000

    @pytest.mark.parametrize("by", [1.0, 0.5, True, "1", None, [1], math.nan], ids=repr)
    async def test_s08_incr_by_no_integer_is_refused(self, store: Any, by: Any) -> None:
        """Before anything is written."""
        with pytest.raises(InvalidValueError):
            await store.incr("key", by)
        assert await store.exists("key") is False

    async def test_s08_increments_are_never_lost(self, store: Any, race: Race) -> None:
        """Every sum is returned once."""

        async def body(worker: int) -> list[int]:
            return [await store.incr("key", 1) for _ in range(25)]

        sums, _ = split(await race(body))
        assert sorted(itertools.chain.from_iterable(sums)) == list(range(1, 201))
        assert await store.get("key") == 200
        for own in sums:
            assert own == sorted(own)

    # ------------------------------------------------------------------------------------------------------- S09 many

    async def test_s09_get_many(self, store: Any) -> None:
        """Those that exist, a stored None included."""
        values = {"text": "1", "int": 1, "float": 1.0, "bool": True, "none": None, "list": [], "object": {"a": [None]}}
        for key, value in values.items():
            await store.set(key, value)
        found = await store.get_many(["unknown", *values, "other"])
        assert type(found) is dict
        assert found.keys() == values.keys()
        assert all(identical(found[key], value) for key, value in values.items())
        assert await store.get_many(["none"]) == {"none": None}
        assert await store.get_many(["int", "int", "unknown", "unknown"]) == {"int": 1}
        assert await store.get_many([]) == {}
        assert await store.get_many(["unknown"]) == {}
        assert await store.get_many(key for key in ("int", "text")) == {"int": 1, "text": "1"}

    async def test_s09_set_many(self, store: Any) -> None:
        """As if each were set alone."""
        await store.set("a", "old", 100)
        await store.set_many({"a": 1, "b": None, "c": [1.0, "x"]})
        assert alike(await contents(store), {"a": (1, False), "b": (None, False), "c": ([1.0, "x"], False)})
        await store.set_many({"a": 2, "d": True}, 1000)
        wanted = {"a": (2, True), "b": (None, False), "c": ([1.0, "x"], False), "d": (True, True)}
        assert alike(await contents(store), wanted)
        await store.set_many({})
        await store.set_many({}, 10)
        assert alike(await contents(store), wanted)

    async def test_s09_delete_many(self, store: Any) -> None:
        """Counts each key that existed once."""
        await store.set_many({"a": 1, "b": None, "c": 3, "d": 4})
        await store.hset("hash", "field", 1)
        assert await store.delete_many(["a", "unknown", "a", "hash", "b", "b"]) == 3
        assert sorted(await store.keys()) == ["c", "d"]
        assert await store.delete_many([]) == 0
        assert await store.delete_many(["a"]) == 0
        assert await store.delete_many(key for key in ("c", "d")) == 2
        assert await store.keys() == []

    async def test_s09_thousands_in_one_call(self, store: Any) -> None:
        """More than an engine takes as parameters of one statement."""
        values = {f"key-{number}": number for number in range(MANY)}
        await store.set_many(values)
        assert await store.get_many([*values, "unknown"]) == values
        await store.set_many(dict.fromkeys(values, "again"), 1000)
        assert await store.get_many(values) == dict.fromkeys(values, "again")
        assert await store.delete_many([*list(values)[1:], "unknown"]) == MANY - 1
        assert await store.keys() == ["key-0"]

    async def test_s09_any_keys_and_values(self, store: Any) -> None:
        """The hostile corpus in one call."""
        values = dict(zip(HOSTILE_KEYS, itertools.cycle(HOSTILE_JSON), strict=False))
        await store.set_many(values)
        found = await store.get_many(HOSTILE_KEYS)
        assert found.keys() == values.keys()
        for key, value in values.items():
            assert identical(found[key], value), f"{shorten(key)}: {shorten(value)} is {shorten(found[key])}"
        assert await store.delete_many(HOSTILE_KEYS) == len(HOSTILE_KEYS)

    async def test_s09_one_refused_key_or_value_refuses_the_call(self, store: Any) -> None:
        """Nothing of it is done."""
        await store.set("key", "before")
        for key in REFUSED_KEYS:
            if isinstance(key, list):
                continue  # cannot stand in a dict
            with pytest.raises(InvalidValueError):
                await store.set_many({"key": 1, key: 1, "new": 1})
        for key in REFUSED_KEYS:
            with pytest.raises(InvalidValueError):
                await store.get_many(["key", key])
            with pytest.raises(InvalidValueError):
                await store.delete_many(["key", key])
        for keys in ("key", "k"):  # one text is no list of texts
            with pytest.raises(InvalidValueError):
                await store.get_many(keys)
            with pytest.raises(InvalidValueError):
                await store.delete_many(keys)
        assert await contents(store) == {"key": ("before", False)}

    async def test_s09_overlapping_batches_do_not_block_each_other(self, store: Any, race: Race) -> None:
        """Whatever the order in which they name the keys."""
        keys = [f"key-{number}" for number in range(30)]

        async def body(worker: int) -> None:
            for turn in range(5):
                own = keys[:]
                random.Random(worker * 100 + turn).shuffle(own)
                await store.set_many({key: [worker, turn] for key in own})
                await store.delete_many(own[:5])
                await store.get_many(own)

        split(await race(body))
        found = await store.get_many(keys)
        assert all(value[0] in range(8) and value[1] in range(5) for value in found.values())

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
        if not declares(store, "prefix"):
            self._assert_no_prefixes(open_store)
            unsupported("prefix")
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

    def _assert_no_prefixes(self, open_store: OpenStore) -> None:
        with pytest.raises((TypeError, PersistenceError)):
            open_store(table_prefix="other_")

    async def test_s11_prefixes_see_nothing_of_each_other(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Not even where prefix and key together read the same."""
        if not declares(store, "prefix"):
            self._assert_no_prefixes(open_store)
            unsupported("prefix")
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
        if not declares(store, "prefix"):
            self._assert_no_prefixes(open_store)
            unsupported("prefix")
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
                    pytest.fail(f"{name} took the key {shorten(key)}")
                assert isinstance(caught.value, ValueError)
        assert await store.keys() == []

    # ------------------------------------------------------------------------------------------- S12 as conversations

    async def test_s12_one_store_can_be_shared(self, store: Any, race: Race) -> None:
        """Every worker finds what it wrote."""

        async def body(worker: int) -> None:
            for turn in range(15):
                key = f"{worker}-{turn}"
                await store.set(key, [worker, turn])
                assert await store.get(key) == [worker, turn]
                await store.hset(f"hash-{worker}", key, turn)
                assert await store.hget(f"hash-{worker}", key) == turn
                if turn % 3 == 0:
                    assert await store.delete(key) is True
                    assert await store.exists(key) is False
                if turn % 5 == 0:
                    assert set(await store.keys(f"{worker}-*")) == {
                        f"{worker}-{done}" for done in range(turn + 1) if done % 3
                    }

        split(await race(body))
        assert len(await store.keys("?-*")) == 8 * 10
        for worker in range(8):
            assert await store.hgetall(f"hash-{worker}") == {f"{worker}-{turn}": turn for turn in range(15)}

    async def test_s12_two_stores_on_the_same_data(self, store: Any, open_store: OpenStore) -> None:
        """Each sees at once what the other wrote."""
        other = open_store()
        assert await other.get("key") is None
        assert await other.keys() == []
        for number in range(5):
            await store.set("key", number)
            assert await other.get("key") == number
            assert await other.incr("key", 100) == number + 100
            assert await store.get("key") == number + 100
        await store.hset("hash", "a", 1)
        await other.hset("hash", "b", 2)
        assert await store.hgetall("hash") == await other.hgetall("hash") == {"a": 1, "b": 2}
        await other.expire("key", 100)
        assert 0 < await store.ttl("key") <= 100
        assert sorted(await other.keys()) == sorted(await store.keys()) == ["hash", "key"]
        assert await other.delete("key") is True
        assert await store.exists("key") is False
        assert await store.set_if_absent("key", "mine") is True
        assert await other.set_if_absent("key", "theirs") is False
        assert await other.clear() == 2
        assert await store.keys() == []

    async def test_s12_races_between_two_stores(self, store: Any, open_store: OpenStore, race: Race) -> None:
        """One store object is no protection that the clauses need."""
        stores = [store, open_store()]

        async def body(worker: int) -> list[bool]:
            mine = stores[worker % 2]
            won = []
            for turn in range(10):
                await mine.incr("n")
                won.append(await mine.set_if_absent(f"key-{turn}", worker))
                await mine.hset("hash", f"{worker}-{turn}", 1)
            return won

        won, _ = split(await race(body, workers=4))
        assert await store.get("n") == 40
        assert [sum(turns) for turns in zip(*won, strict=True)] == [1] * 10
        assert len(await store.hgetall("hash")) == 40

    async def _is_shared(self, store: Any, spawn: Spawn) -> bool:
        """Whether a child and the test see each other's writes, tried."""
        child = await spawn(f"{BODIES}:obey")
        child.go()
        await store.set("mine", 1)
        child.send(["set", ["theirs", 2]])
        await child.report()
        child.send(["get", ["mine"]])
        reply = await child.report()
        child.send(None)
        await child.result()
        return bool(reply == {"returned": 1} and await store.get("theirs") == 2)

    async def test_s12_two_processes(self, store: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        """Each sees at once what the other wrote."""
        shared = await self._is_shared(store, spawn)
        assert shared == declares(store, "shared"), f"'shared' is declared: {not shared}; it works: {shared}"
        if not shared:
            unsupported("two processes")
            return
        child = await spawn(f"{BODIES}:obey")
        child.go()

        async def there(method: str, *arguments: Any) -> Any:
            child.send([method, arguments])
            return await child.report()

        for number in range(5):
            await store.set("key", number)
            assert await there("get", "key") == {"returned": number}
            assert await there("incr", "key", 100) == {"returned": number + 100}
            assert await store.get("key") == number + 100
        await there("hset", "hash", "field", "theirs")
        assert await store.hgetall("hash") == {"field": "theirs"}
        assert await there("set", "hash", 1) == {"raised": "WrongTypeError"}
        await store.set("short", 1, 0.2)
        end = time.time() + 0.2
        await passed(end)
        assert await there("exists", "short") == {"returned": False}
        await store.delete("key")
        assert await there("exists", "key") == {"returned": False}
        assert await there("compare_and_set", "key", None, 1) == {"returned": False}
        assert await there("clear") == {"returned": 3}
        assert await store.keys() == []
        child.send(None)
        await child.result()

    @pytest.mark.clause("S08")
    async def test_s12_races_between_processes(self, store: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        """Nothing is lost, and of many exactly one wins."""
        if not declares(store, "shared"):
            assert not await self._is_shared(store, spawn)
            unsupported("two processes")
            return
        counting = [await spawn(f"{BODIES}:count_up", key="n", times=60) for _ in range(2)]
        keys = [f"key-{number}" for number in range(40)]
        claiming = [await spawn(f"{BODIES}:claim", keys=keys, name=name) for name in ("x", "y")]
        setting = [await spawn(f"{BODIES}:set_fields", key="hash", name=name, times=40) for name in ("x", "y")]
        await store.set("object", {"n": 0})
        replacing = [await spawn(f"{BODIES}:replace", key="object", times=15) for _ in range(2)]
        for child in itertools.chain(counting, claiming, setting, replacing):
            child.go()
        own = [await store.incr("n") for _ in range(30)]
        sums = [*own, *itertools.chain.from_iterable([await child.result() for child in counting])]
        assert sorted(sums) == list(range(1, 151))
        won = [await child.result() for child in claiming]
        assert sorted(won[0] + won[1]) == sorted(keys)
        for name, mine in zip("xy", won, strict=True):
            assert await store.get_many(mine) == dict.fromkeys(mine, name)
        for child in itertools.chain(setting, replacing):
            await child.result()
        assert len(await store.hgetall("hash")) == 80
        assert await store.get("object") == {"n": 30}

    @pytest.mark.crash
    @pytest.mark.parametrize("writers", [1, 4])
    async def test_s12_what_was_acknowledged_survives_a_kill(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported, writers: int
    ) -> None:
        """And a batch that was not is there whole or not at all."""
        await store.set("before", 1)
        if not declares(store, "durable"):
            child = await spawn(f"{BODIES}:write_forever", name="child", writers=writers)
            child.go()
            await child.kill_after(5)
            assert await open_store().exists("child-0:count") is False, "it survives, so declare 'durable'"
            unsupported("durable")
            return
        await store.close()
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{BODIES}:write_forever", name=f"trial-{trial}", writers=writers)
            child.go()
            acknowledged = await child.kill_after(reports, delay)
            one = open_store()
            for worker in range(writers):
                done = max((number for who, number in acknowledged if who == worker), default=0)
                await self._assert_survived(one, f"trial-{trial}-{worker}", done)
            assert await one.get("before") == trial + 1
            assert await one.incr("before") == trial + 2
            await one.close()

    async def _assert_survived(self, store: Any, own: str, acknowledged: int) -> None:
        """The script was followed so far, or one call further; that call was done whole or not at all."""
        stored = await settled(lambda: contents(store))
        found = {key: value for key, value in stored.items() if key.startswith(f"{own}:")}
        with MemoryStateStore() as model:
            calls = script(own)
            for method, arguments in itertools.islice(calls, acknowledged):
                getattr(model, method)(*arguments)
            known = model_contents(model)
            method, arguments = next(calls)
            getattr(model, method)(*arguments)
            further = model_contents(model)
        if not alike(found, known) and not alike(found, further):
            wrong = [key for key in {*found, *known} if found.get(key) != known.get(key)]
            pytest.fail(
                f"after {acknowledged} acknowledged calls, {method} under way: "
                + ", ".join(f"{key} is {found.get(key)}, was {known.get(key)}" for key in sorted(wrong)[:5])
            )

    async def test_s12_data_outlive_their_store(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Closing and opening again finds all of it, where the engine persists."""
        await store.set_many(dict(zip(HOSTILE_KEYS, itertools.cycle(HOSTILE_JSON), strict=False)))
        await store.hset("a hash", "field", {"x": [1, None]})
        await store.set("a timed one", 1, 1000)
        before = await contents(store)
        await store.close()
        again = open_store()
        if not declares(store, "durable"):
            assert await again.set_if_absent("another", 1) is True
            unsupported("durable")
            return
        assert alike(await contents(again), before)
        assert 900 < await again.ttl("a timed one") <= 1000

    async def test_s12_a_closed_store_says_so(self, store: Any) -> None:
        """Whatever is asked of it."""
        await store.set("key", 1)
        await store.close()
        await store.close()
        calls = [
            *PLAIN_CALLS,
            *HASH_CALLS,
            *EITHER_CALLS,
            ("keys", ()),
            ("list_keys", ()),
            ("clear", ()),
            ("connect", ()),
        ]
        calls += [("get_many", ([],)), ("set_many", ({},)), ("delete_many", ([],)), ("keys", ("\0",))]
        for name, arguments in calls:
            with pytest.raises(StoreClosedError):
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name}{arguments} worked on a closed store")
        for prefix in ("", "a", "\0"):
            with pytest.raises(StoreClosedError):
                await collect(store.scan_prefix(prefix))
        await store.close()

    async def test_s12_a_store_that_was_never_used_can_be_closed(self, open_store: OpenStore) -> None:
        """And is closed then."""
        one = open_store()
        await one.close()
        await one.close()
        with pytest.raises(StoreClosedError):
            await one.get("key")

    async def test_s12_closing_one_store_leaves_the_others_open(self, store: Any, open_store: OpenStore) -> None:
        """Each closes what it opened itself."""
        other = open_store()
        await store.set("key", 1)
        await other.set("key", 2)
        await other.close()
        assert await store.get("key") == 2
        await store.set("key", 3)

    async def test_s12_a_store_is_a_context_manager(self, open_store: OpenStore) -> None:
        """It is closed at the end, also by an exception."""
        one, other = open_store(), open_store()
        async with one as entered:
            assert raw(entered) is raw(one)
            await entered.set("key", 1)
        with pytest.raises(ZeroDivisionError):
            async with other:
                raise ZeroDivisionError
        for closed in (one, other):
            with pytest.raises(StoreClosedError):
                await closed.get("key")

    async def test_s12_connecting_is_harmless(self, store: Any) -> None:
        """As often as one likes."""
        await store.connect()
        await store.set("key", 1)
        await store.connect()
        assert await store.get("key") == 1

    @only("async")
    async def test_s12_cancelled_calls_leave_the_store_working(self, store: Any) -> None:
        """A call is done or not done, and the ones after it get their own answers."""
        await store.set("n", 0)
        acknowledged = 0
        for turn in range(30):
            task = asyncio.ensure_future(store.incr("n"))
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
                acknowledged += 1
            except asyncio.CancelledError:
                pass
            assert await store.get_many(["n", "unknown"]) == {"n": await store.get("n")}
            assert await store.exists("n") is True
        assert acknowledged <= await store.get("n") <= 30
        await store.clear()
        assert await store.incr("n") == 1

    async def test_s12_identifiers_are_validated_before_connecting(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """The constructor refuses a prefix that must not reach DDL."""
        if not declares(store, "prefix"):
            self._assert_no_prefixes(open_store)
            unsupported("prefix")
            return
        for prefix in REFUSED_IDENTIFIERS:
            with Watch() as watch, pytest.raises(InvalidIdentifierError):
                open_store(table_prefix=prefix)
                pytest.fail(f"the prefix {shorten(prefix)} was taken")
            assert watch.events == []

    def test_s12_constructing_touches_nothing(self, spec: StoreSpec, colour: str) -> None:
        """No connection, no file, no folder."""
        spec.open(colour)  # what is imported with the first one does not count
        with Watch() as watch:
            spec.open(colour)
        assert watch.events == []

    @needs_fixture("unreachable_spec")
    async def test_s12_an_engine_out_of_reach_is_reported(
        self, unreachable_spec: StoreSpec, open_store: OpenStore
    ) -> None:
        """By every call, in time; constructing and closing say nothing."""
        one = open_store(unreachable_spec)
        begin = time.monotonic()
        for name, arguments in [("connect", ()), *PLAIN_CALLS[:4], *HASH_CALLS[:4], ("keys", ()), ("connect", ())]:
            with pytest.raises(ConnectionFailedError) as caught:
                await getattr(one, name)(*arguments)
                pytest.fail(f"{name} worked on an engine out of reach")
            assert isinstance(caught.value, ConnectionError)
        with pytest.raises(ConnectionFailedError):
            await collect(one.scan_prefix(""))
        assert time.monotonic() - begin < 120
        await one.close()
        with pytest.raises(StoreClosedError):
            await one.get("key")

    @needs_fixture("server")
    async def test_s12_the_same_store_works_after_a_restart(self, store: Any, server: Any) -> None:
        """Nothing of it has to be opened again."""
        await store.set("key", 1)
        await store.hset("hash", "field", 1)
        server.stop()
        for name, arguments in (("get", ("key",)), ("incr", ("key",)), ("hset", ("hash", "field", 2))):
            with pytest.raises(ConnectionFailedError):
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name} worked without a server")
        server.start()
        assert await store.incr("key") == 2
        assert await store.hgetall("hash") == {"field": 1}

    async def test_s12_the_schema_is_told_and_changed(self, store: Any) -> None:
        """Without losing anything."""
        await check_schema(store, lambda: store.set("key", 1), lambda: store.exists("key"))

    # -------------------------------------------------------------------------------------------------------- the model

    @pytest.mark.clause(MODEL)
    @SETTINGS
    @given(commands=st.lists(_COMMANDS, min_size=20, max_size=60))
    async def test_random_walks_agree_with_the_reference(self, store: Any, commands: list[tuple[Any, ...]]) -> None:
        """Every call returns or raises what the in-memory store does, and leaves the same behind."""
        await store.clear()
        with MemoryStateStore() as model:
            for name, *arguments in commands:
                wanted, found = model_call(model, name, *arguments), await call(store, name, *arguments)
                if name == "keys":
                    wanted, found = (wanted[0], sorted(wanted[1])), (found[0], sorted(found[1]))
                elif name == "ttl":
                    wanted, found = (wanted[0], wanted[1] is None), (found[0], found[1] is None)
                same = wanted[0] == found[0] == "raised" and wanted[1] is found[1]
                same = same or (wanted[0] == found[0] == "returned" and identical(found[1], wanted[1]))
                assert same, f"{name}{tuple(arguments)} {found[0]} {found[1]}, the reference {wanted[0]} {wanted[1]}"
            left = model_contents(model)
        assert alike(await contents(store), left)
