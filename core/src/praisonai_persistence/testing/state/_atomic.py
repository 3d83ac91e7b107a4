"""S08: compare-and-set and its kin."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
    WrongTypeError,
)
from praisonai_persistence.testing.corpus import (
    identical,
    nested,
)
from praisonai_persistence.testing.harness import (
    Race,
    split,
)
from praisonai_persistence.testing.state._common import (
    MISSING,
)

__all__ = ["Atomic"]


class Atomic:
    """S08: compare-and-set and its kin."""

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
            assert won.count(True) == 1, f"{won.count(True)} of {len(won)} callers won"
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
            assert won.count(True) == 1, f"{won.count(True)} of {len(won)} callers won"
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
                pytest.fail(f"incr took {value!r}; an error was expected")
            assert identical(await store.get("key", MISSING), value)
            assert 900 < await store.ttl("key") <= 1000

    async def test_s08_incr_by_no_integer_is_refused(self, store: Any) -> None:
        """Before anything is written."""
        for by in (1.0, 0.5, True, "1", None, [1], math.nan):
            with pytest.raises(InvalidValueError):
                await store.incr("key", by)
                pytest.fail(f"incr took by={by!r}; an error was expected")
            assert await store.exists("key") is False, by

    async def test_s08_increments_are_never_lost(self, store: Any, race: Race) -> None:
        """Every sum is returned once."""

        async def body(worker: int) -> list[int]:
            return [await store.incr("key", 1) for _ in range(25)]

        sums, _ = split(await race(body))
        assert sorted(itertools.chain.from_iterable(sums)) == list(range(1, 201))
        assert await store.get("key") == 200
        for own in sums:
            assert own == sorted(own)
