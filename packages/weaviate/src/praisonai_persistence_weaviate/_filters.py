"""Filters in Weaviate's terms."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores.projection import TokenCompiler

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FilterCompiler", "filters"]


@cache
def filters() -> Any:
    """Return the client's class of filters."""
    from weaviate.classes.query import Filter  # heavy: only who works with it pays for it

    return Filter


class FilterCompiler(TokenCompiler[Any]):
    """To Weaviate's filters."""

    most_parts = 1_000

    def has(self, tokens: Sequence[str]) -> Any:
        return filters().by_property("tokens").contains_any(list(tokens))

    def bound(self, name: str, number: float, *, upper: bool) -> Any:
        return self.has_key(name)  # a server need not take properties that it was not told of: checked afterwards

    def all_of(self, parts: Sequence[Any]) -> Any:
        return filters().all_of(list(parts))

    def any_of(self, parts: Sequence[Any]) -> Any:
        return filters().any_of(list(parts))

    def negate(self, part: Any) -> Any:
        return filters().not_(part)

    def nothing(self) -> Any:
        return self.has(["none"])
