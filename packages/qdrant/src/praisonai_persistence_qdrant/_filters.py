"""Filters in Qdrant's terms."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores.projection import TokenCompiler

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FilterCompiler", "models"]


@cache
def models() -> Any:
    """Return the client's module of models."""
    import qdrant_client.models  # a heavy one: only who works with it pays for it

    return qdrant_client.models


class FilterCompiler(TokenCompiler[Any]):
    """To Qdrant's filters and conditions."""

    def has(self, tokens: Sequence[str]) -> Any:
        m = models()
        match = m.MatchValue(value=tokens[0]) if len(tokens) == 1 else m.MatchAny(any=list(tokens))
        return m.FieldCondition(key="values", match=match)

    # Apart from the values, because the local mode looks at each token of a field.

    def has_item(self, item: str) -> Any:
        m = models()
        return m.FieldCondition(key="items", match=m.MatchValue(value=item))

    def has_key(self, key: str) -> Any:
        m = models()
        return m.FieldCondition(key="keys", match=m.MatchValue(value=key))

    def bound(self, name: str, number: float, *, upper: bool) -> Any:
        m = models()
        return m.FieldCondition(key=f"numbers.n{name}", range=m.Range(lte=number) if upper else m.Range(gte=number))

    def all_of(self, parts: Sequence[Any]) -> Any:
        return models().Filter(must=list(parts))

    def any_of(self, parts: Sequence[Any]) -> Any:
        return models().Filter(should=list(parts))

    def negate(self, part: Any) -> Any:
        return models().Filter(must_not=[part])

    def nothing(self) -> Any:
        return models().HasIdCondition(has_id=[])
