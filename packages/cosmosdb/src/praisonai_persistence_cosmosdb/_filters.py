"""To conditions of Cosmos DB's query language, none of which is ever undefined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence.filters import Compiled, joined
from praisonai_persistence.stores.fields import FieldCompiler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.filters import Filter

__all__ = ["FilterCompiler"]

_MOST = 400_000  # characters; a query has 512 KB


class FilterCompiler(FieldCompiler[str]):
    """To conditions of Cosmos DB's query language."""

    most_parts = 500
    most_values = 1_000

    def compile(self, tree: Filter | None) -> Compiled[str]:
        compiled = super().compile(tree)
        if compiled.expression is not None and len(compiled.expression) > _MOST:
            return Compiled(None, exact=False)
        return compiled

    def one_of(self, name: str, tokens: Sequence[str]) -> str:
        return f"(IS_DEFINED(c.{name}) AND c.{name} IN ({_quoted(tokens)}))"

    def none_of(self, name: str, tokens: Sequence[str]) -> str:
        return f"(NOT IS_DEFINED(c.{name}) OR NOT (c.{name} IN ({_quoted(tokens)})))"

    def holds(self, name: str, items: Sequence[str]) -> str:
        return self.any_of([f"(IS_DEFINED(c.{name}) AND ARRAY_CONTAINS(c.{name}, '{item}'))" for item in items])

    def exists(self, name: str, *, wanted: bool) -> str:
        return f"{'' if wanted else 'NOT '}IS_DEFINED(c.{name})"

    def bound(self, name: str, number: float, *, upper: bool) -> str:
        return f"(IS_DEFINED(c.{name}) AND c.{name} {'<=' if upper else '>='} {number!r})"

    def all_of(self, parts: Sequence[str]) -> str:
        return joined(parts, lambda some: f"({' AND '.join(some)})")

    def any_of(self, parts: Sequence[str]) -> str:
        return joined(parts, lambda some: f"({' OR '.join(some)})")

    def nothing(self) -> str:
        return "false"


def _quoted(tokens: Sequence[str]) -> str:
    return ", ".join(f"'{token}'" for token in tokens)
