"""To queries of Couchbase's Search service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.filters import joined
from praisonai_persistence.stores.projection import TokenCompiler

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["QueryCompiler"]

Query = dict[str, Any]


class QueryCompiler(TokenCompiler[Query]):
    """To queries of Couchbase's Search service."""

    most_parts = 500  # a disjunction may have 1,024

    def has(self, tokens: Sequence[str]) -> Query:
        terms = [{"field": "tokens", "term": token} for token in tokens]
        return terms[0] if len(terms) == 1 else self.any_of(terms)

    def bound(self, name: str, number: float, *, upper: bool) -> Query:
        side = "max" if upper else "min"
        return {"field": f"numbers.{name}", side: number, f"inclusive_{side}": True}

    def all_of(self, parts: Sequence[Query]) -> Query:
        return joined(list(parts), lambda some: {"conjuncts": list(some)}, self.most_parts)

    def any_of(self, parts: Sequence[Query]) -> Query:
        return {"disjuncts": list(parts), "min": 1}

    def negate(self, part: Query) -> Query:
        return {"must": {"conjuncts": [{"match_all": {}}]}, "must_not": {"disjuncts": [part], "min": 1}}

    def nothing(self) -> Query:
        return {"match_none": {}}
