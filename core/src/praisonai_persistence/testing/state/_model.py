"""Random walks through all operations of a state store."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from praisonai_persistence.memory import MemoryStateStore
from praisonai_persistence.testing._compare import call, model_call
from praisonai_persistence.testing.clauses import MODEL
from praisonai_persistence.testing.corpus import (
    identical,
)
from praisonai_persistence.testing.harness import full_only
from praisonai_persistence.testing.state._common import (
    SETTINGS,
    alike,
    contents,
    model_contents,
)

__all__ = ["Model"]

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


class Model:
    """Random walks through all operations of a state store."""

    @full_only
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
                same = same or bool(wanted[0] == found[0] == "returned" and identical(found[1], wanted[1]))
                assert same, f"{name}{tuple(arguments)} {found[0]} {found[1]}, the reference {wanted[0]} {wanted[1]}"
            left = model_contents(model)
        assert alike(await contents(store), left)
