"""S06, S07: hashes, which are not mixed up with plain values."""

from __future__ import annotations

from typing import Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
    WrongTypeError,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_JSON,
    HOSTILE_KEYS,
    REFUSED_KEYS,
    identical,
    shorten,
)
from praisonai_persistence.testing.harness import (
    ByTier,
    Race,
    split,
)
from praisonai_persistence.testing.state._common import (
    EITHER_CALLS,
    HASH_CALLS,
    MISSING,
    PLAIN_CALLS,
    alike,
    contents,
)

__all__ = ["Hashes"]


class Hashes:
    """S06, S07: hashes, which are not mixed up with plain values."""

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
                    pytest.fail(f"{name} took the field {shorten(field)}; an error was expected")
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

    async def test_s06_many_fields(self, store: Any, by_tier: ByTier) -> None:
        """Nothing of a large hash is left out."""
        fields = {f"field-{number}": number for number in range(by_tier(quick=1_100, full=1_500))}
        for field, value in fields.items():
            await store.hset("hash", field, value)
        assert await store.hgetall("hash") == fields
        assert await store.hdel("hash", *list(fields)[:-1]) == len(fields) - 1
        assert await store.hgetall("hash") == {f"field-{len(fields) - 1}": len(fields) - 1}

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
                pytest.fail(f"{name}{arguments} took a hash for a plain value; an error was expected")
        assert alike(await contents(store), before)
        if ttl is not None:
            assert 900 < await store.ttl("key") <= 1000

    @pytest.mark.parametrize("ttl", [None, 1000.0], ids=["without ttl", "with ttl"])
    async def test_s07_hash_calls_refuse_a_plain_value(self, store: Any, ttl: float | None) -> None:
        """Also one that looks like a hash."""
        for value in (1, None, {"field": 1}, "text", [["field", 1]]):
            await store.set("key", value, ttl)
            before = await contents(store)
            for name, arguments in HASH_CALLS:
                with pytest.raises(WrongTypeError):
                    await getattr(store, name)(*arguments)
                    pytest.fail(f"{name}{arguments} took {value!r} for a hash; an error was expected")
            assert alike(await contents(store), before), value

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
