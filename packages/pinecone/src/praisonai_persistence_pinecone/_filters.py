"""To Pinecone's filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.filters import ObjectCompiler
from praisonai_persistence.stores.fields import FieldCompiler

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FilterCompiler"]


class FilterCompiler(ObjectCompiler, FieldCompiler[dict[str, Any]]):
    """To Pinecone's filters."""

    most_parts = 500
    most_values = 10_000

    def one_of(self, name: str, tokens: Sequence[str]) -> dict[str, Any]:
        return {name: {"$in": list(tokens)}}

    def none_of(self, name: str, tokens: Sequence[str]) -> dict[str, Any]:
        return {"$or": [self.exists(name, wanted=False), {name: {"$nin": list(tokens)}}]}

    def holds(self, name: str, items: Sequence[str]) -> dict[str, Any]:
        return {name: {"$in": list(items)}}

    def exists(self, name: str, *, wanted: bool) -> dict[str, Any]:
        return {name: {"$exists": wanted}}

    def bound(self, name: str, number: float, *, upper: bool) -> dict[str, Any]:
        return {name: {"$lte" if upper else "$gte": number}}

    def nothing(self) -> dict[str, Any]:
        return {"key": {"$in": ["none"]}}
