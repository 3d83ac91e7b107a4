"""Options that are something else altogether, such as an array, which no comparison with a text survives."""

from __future__ import annotations

import pytest

from praisonai_persistence import (
    ConfigurationError,
    InvalidIdentifierError,
    InvalidValueError,
    StoreRegistry,
    open_conversation_store,
    open_knowledge_store,
    open_state_store,
)


class Array:
    """Compares as NumPy's arrays do: the result has no truth value."""

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("open_store", [open_conversation_store, open_knowledge_store, open_state_store])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table_prefix": Array()}, "table_prefix must be"),
        ({"name": Array()}, "name must be text, not Array"),
        ({"registry": Array()}, "registry must be a StoreRegistry, not Array"),
        ({"registry": StoreRegistry}, "registry must be a StoreRegistry, not type"),
    ],
)
def test_it_is_refused(open_store, options, message):
    with pytest.raises((ConfigurationError, InvalidIdentifierError), match=message):
        open_store("memory://", **options)


def test_it_is_no_distance():
    with open_knowledge_store("memory://") as store, pytest.raises(InvalidValueError, match="distance must be one of"):
        store.create_collection("c", 2, distance=Array())
