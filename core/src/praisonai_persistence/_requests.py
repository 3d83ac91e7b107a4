"""What the operations of an adapter ask for: a call of a method of a store, or whether there is such a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["KINDS", "Has", "StoreCall", "conversation", "state"]

KINDS = ("conversation", "knowledge", "state")


class StoreCall(NamedTuple):
    """Call a method of the store of a kind; what it iterates over comes back as a list."""

    kind: str
    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


class Has(NamedTuple):
    """Whether there is a store of a kind, with a capability if one is named, and of which something is true."""

    kind: str
    capability: str | None = None
    test: Callable[[Any], bool] | None = None


def conversation(method: str, *args: Any, **kwargs: Any) -> StoreCall:
    """Return a call of the conversation store."""
    return StoreCall("conversation", method, args, kwargs)


def state(method: str, *args: Any) -> StoreCall:
    """Return a call of the state store."""
    return StoreCall("state", method, args)
