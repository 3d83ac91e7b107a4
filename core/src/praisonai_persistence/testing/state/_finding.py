"""S05, S09: keys are found, and many are read and written in one call."""

from __future__ import annotations

import itertools
import random
from typing import Any, ClassVar

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
)
from praisonai_persistence.globs import compile_glob
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
    raw,
    split,
)
from praisonai_persistence.testing.state._common import (
    MANY,
    alike,
    collect,
    contents,
)

__all__ = ["Finding"]


class Finding:
    """S05, S09: keys are found, and many are read and written in one call."""

    many: ClassVar[int] = MANY
    """How many keys are more than one page of any listing of the engine. Where each key is some requests of its own, a
    smaller number will do, as long as it is more than one of its pages."""
    at_once: ClassVar[int | None] = None
    """How many keys in one call are more than a statement or a request of the engine takes; None: ``many``. Where each
    key is some requests of its own, there is no such limit, and a few hundred will do."""
    overlapping: ClassVar[int] = 30
    """How many keys eight writers write together, over and over. Where each key is some requests of its own, fewer."""

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

    async def test_s05_a_pattern_is_text(self, store: Any) -> None:
        """And so is a prefix."""
        for pattern in (None, 1, b"*", ["*"]):
            with pytest.raises(InvalidValueError):
                await store.keys(pattern)
                pytest.fail(f"keys took {pattern!r}; an error was expected")
            with pytest.raises(InvalidValueError):
                await collect(store.scan_prefix(pattern))
                pytest.fail(f"scan_prefix took {pattern!r}; an error was expected")

    async def test_s05_keys_are_complete_and_without_repeats(self, store: Any, by_tier: ByTier) -> None:
        """Across all pages of a large store."""
        many = min(by_tier(quick=2_500, full=self.many), self.many)
        keys = [f"{'odd' if number % 2 else 'even'}:{number}" for number in range(many)]
        random.Random(5).shuffle(keys)
        for chunk in range(0, many, 1000):
            await store.set_many(dict.fromkeys(keys[chunk : chunk + 1000], 1))
        found = await store.keys()
        assert sorted(found) == sorted(keys)
        odd = sorted(key for key in keys if key.startswith("odd:"))
        for some in (await store.keys("odd:*"), await store.keys("*d:*"), await collect(store.scan_prefix("odd"))):
            assert sorted(some) == odd
        scanned = await collect(store.scan_prefix(""))
        assert sorted(scanned) == sorted(keys)
        assert await store.clear() == many
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

    async def test_s05_a_scan_is_an_iterator_that_can_be_left(self, store: Any, mode: str, by_tier: ByTier) -> None:
        """The store works on as if it had never been."""
        many = min(by_tier(quick=1_100, full=2_500), self.many)
        keys = {f"key-{number}" for number in range(many)}
        await store.set_many(dict.fromkeys(keys, 1))
        iterator = raw(store).scan_prefix("key-")
        assert hasattr(iterator, "__next__" if mode == "sync" else "__anext__")
        if mode == "sync":
            assert next(iterator) in keys
            if hasattr(iterator, "close"):
                iterator.close()
        else:
            assert await anext(iterator) in keys
            if hasattr(iterator, "aclose"):
                await iterator.aclose()
        await store.set("key-new", 1)
        assert len(await store.keys()) == many + 1
        assert await store.clear() == many + 1

    async def test_s05_keys_may_be_changed_during_a_scan(self, store: Any, by_tier: ByTier) -> None:
        """Every key that is there all the time comes exactly once."""
        keys = {f"key-{number}" for number in range(min(by_tier(quick=1_100, full=2_500), self.many))}
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
        assert sorted(seen) == sorted(keys)

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

    async def test_s09_thousands_in_one_call(self, store: Any, by_tier: ByTier) -> None:
        """More than an engine takes as parameters of one statement."""
        wanted = self.at_once or self.many
        many = min(by_tier(quick=2_500, full=wanted), wanted)
        values = {f"key-{number}": number for number in range(many)}
        await store.set_many(values)
        assert await store.get_many([*values, "unknown"]) == values
        await store.set_many(dict.fromkeys(values, "again"), 1000)
        assert await store.get_many(values) == dict.fromkeys(values, "again")
        assert await store.delete_many([*list(values)[1:], "unknown"]) == len(values) - 1
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

    async def test_s09_overlapping_batches_do_not_block_each_other(
        self, store: Any, race: Race, by_tier: ByTier
    ) -> None:
        """Whatever the order in which they name the keys."""
        turns = by_tier(quick=2, full=5)
        keys = [f"key-{number}" for number in range(self.overlapping)]

        async def body(worker: int) -> None:
            for turn in range(turns):
                own = keys[:]
                random.Random(worker * 100 + turn).shuffle(own)
                await store.set_many({key: [worker, turn] for key in own})
                await store.delete_many(own[:5])
                await store.get_many(own)

        split(await race(body))
        found = await store.get_many(keys)
        assert all(value[0] in range(8) and value[1] in range(turns) for value in found.values())
