"""Filters that go along with their expressions, for steps that check by themselves what an engine has selected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from praisonai_persistence.filters import Compiled, Filter

if TYPE_CHECKING:
    from praisonai_persistence.stores.vector_engine import Compiles

__all__ = ["Selecting", "Selection"]

E = TypeVar("E")


@dataclass(frozen=True)
class Selection(Generic[E]):
    """What a filter selects.

    Attributes:
        filters: the filter.
        expression: the engine's, which selects all that the filter does; None: nothing can be said.
        exact: whether it selects no more.
    """

    filters: Filter
    expression: E | None
    exact: bool


class Selecting(Generic[E]):
    """Translates filters to a [Selection][] each.

    Args:
        compiler: translates them to expressions.
        checked: whether each counts as exact, because the steps check what is not.
    """

    def __init__(self, compiler: Compiles[E], *, checked: bool) -> None:
        self._compiler = compiler
        self._checked = checked

    def compile(self, tree: Filter | None) -> Compiled[Selection[E]]:
        """See ``Compiler.compile``."""
        if tree is None:
            return Compiled(None)
        compiled = self._compiler.compile(tree)
        return Compiled(Selection(tree, compiled.expression, compiled.exact), compiled.exact or self._checked)
