"""Metadata filters of LlamaIndex in the filter language of the stores."""

from __future__ import annotations

import re
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from praisonai_persistence.errors import FilterError
from praisonai_persistence.filters import MAX_DEPTH
from praisonai_persistence_llamaindex._nodes import SOURCE

__all__ = ["to_filter"]

_OPERATORS = {"==": "$eq", "!=": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"} | {
    name: f"${name}" for name in ("in", "nin", "contains")
}
_SOURCES = {"doc_id", "document_id", "ref_doc_id"}
"""What LlamaIndex's own stores call the source document in metadata."""


def to_filter(filters: MetadataFilters | None) -> dict[str, Any] | None:
    """Return the filter, or None for one without conditions.

    Raises:
        FilterError: an operator or a value that cannot be evaluated exactly.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise FilterError(f"filters must be MetadataFilters of llama_index, not {type(filters).__name__}")
    return _group(filters, 1) if filters.filters else None


def _group(filters: MetadataFilters, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise FilterError(f"a filter may nest {MAX_DEPTH} levels deep")
    if not filters.filters:
        raise FilterError("a group of filters inside of another one is empty")
    parts = [
        _group(item, depth + 1) if isinstance(item, MetadataFilters) else _condition(item) for item in filters.filters
    ]
    if filters.condition in {None, FilterCondition.AND}:
        return {"$and": parts}
    if filters.condition is FilterCondition.OR:
        return {"$or": parts}
    if filters.condition is FilterCondition.NOT:  # none of them matches
        return {"$not": {"$or": parts}}
    raise FilterError(f"unknown condition {filters.condition!r}")


def _condition(item: MetadataFilter) -> dict[str, Any]:
    operator, value = item.operator, item.value
    key = SOURCE if item.key in _SOURCES else re.sub(r"^(\\*\$)", r"\\\1", item.key)
    if operator is FilterOperator.IS_EMPTY:
        return {"$or": [{key: {"$exists": False}}, {key: {"$in": [None, "", []]}}]}
    if operator in _OPERATORS and value is not None:
        return {key: {_OPERATORS[operator]: value}}
    if operator in {FilterOperator.ANY, FilterOperator.ALL} and isinstance(value, list) and value:
        return {"$or" if operator is FilterOperator.ANY else "$and": [{key: {"$contains": one}} for one in value]}
    raise FilterError(
        f"the operator {operator.name} cannot be evaluated exactly with the value that it has; "
        "TEXT_MATCH is no operator of the stores, and what is not there is found by IS_EMPTY"
    )
