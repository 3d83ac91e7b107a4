"""Filters in the language of MongoDB, as far as a vector search index knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.filters import ObjectCompiler
from praisonai_persistence.stores.projection import TokenCompiler

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FilterCompiler"]


class FilterCompiler(ObjectCompiler, TokenCompiler[dict[str, Any]]):
    """Of documents with all tokens of their metadata in the field ``tokens``."""

    most_parts = 500

    def has(self, tokens: Sequence[str]) -> dict[str, Any]:
        return {"tokens": {"$in": list(tokens)}}

    def negate(self, part: dict[str, Any]) -> dict[str, Any]:
        return {"$nor": [part]}

    def nothing(self) -> dict[str, Any]:
        return self.has([""])  # tokens have 32 characters
