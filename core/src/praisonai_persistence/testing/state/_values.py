"""S01, S02: every JSON value comes back, and a stored None is not an absent key."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from praisonai_persistence.errors import (
    SerializationError,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_JSON,
    REFUSED_JSON,
    identical,
    large_texts,
    nested,
    shorten,
)
from praisonai_persistence.testing.harness import full_only
from praisonai_persistence.testing.state._common import (
    MISSING,
    contents,
)

__all__ = ["Values"]


class Values:
    """S01, S02: every JSON value comes back, and a stored None is not an absent key."""

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
        texts = large_texts(getattr(store, "max_value_bytes", None))
        for index, text in enumerate(texts):
            await store.set("large", {"text": text})
            await store.hset("hash", str(index), text)
            assert (await store.get("large")) == {"text": text}
        assert await store.hgetall("hash") == dict(zip(map(str, range(len(texts))), texts, strict=True))

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

    async def test_s01_what_is_not_json_is_refused(self, store: Any) -> None:
        """By every method that takes a value, itself or within another, and the earlier value stays."""
        await store.set("key", "before")
        await store.hset("hash", "field", "before")
        places: Any = ((refused, [1, refused], {"a": {"b": refused}}) for refused in REFUSED_JSON)
        for value in itertools.chain.from_iterable(places):
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
                    pytest.fail(f"{name} took {shorten(value)}; an error was expected")
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

    @full_only
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
                pytest.fail(f"{name} took more than {limit} bytes; an error was expected")
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
