"""Filters as SQL over a searchable copy of the metadata, exactly.

The copy is ``jsonb``, whose values compare as the filter language wants: typed, numbers by value, lists and objects
deeply. Two things are written differently in it than in the metadata:

* **Text**: ``jsonb`` refuses U+0000 and lone surrogates, and text is compared by its bytes in UTF-8. So these
  characters, and the two that introduce them, become two characters each, which keep the order of code points and what
  starts with what.
* **Floats of 2**53 and more**: ``jsonb`` has the decimal number that Python prints, which rounds to the float; Python
  compares the float itself with integers. So they are written as the integers that they are.

What a document has is never read from the copy.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import FilterError
from praisonai_persistence.filters import Compiled, SQLCompiler
from praisonai_persistence.payload import loads

if TYPE_CHECKING:
    from praisonai_persistence.filters import Compare, Filter

__all__ = ["SQLFilter", "ordered_text", "searchable", "where"]

_WRITTEN_IN_TWO = re.compile("[\x00\x01\ud800-\udfff\ue000]")
_WRITTEN_ANEW = re.compile(r"\\u000|[\x1a\ue000]|e\+")
"""What stands in JSON text of ours that the copy writes differently (and now and then in other text, too)."""
_EXACT = 2**53
_BOUND = re.compile("\x1f([0-9]+)\x1f")
_MOST = 60_000
"""Parameters of a statement; the protocol counts to 65,535."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SYMBOLS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def ordered_text(text: str) -> str:
    """Return text as the copy has it: without U+0000 and lone surrogates, and in the same order by bytes of UTF-8."""
    return _WRITTEN_IN_TWO.sub(_in_two, text)


def _in_two(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 2:
        return "\x01" + "\x01\x02"[code]
    return "\ue000" + ("\uf000" if code == 0xE000 else chr(0x100 + code - 0xD800))


def _copy(value: Any) -> Any:
    if isinstance(value, str):
        return ordered_text(value)
    if isinstance(value, float):
        return int(value) if abs(value) >= _EXACT else value
    if isinstance(value, list):
        return [_copy(item) for item in value]
    if isinstance(value, dict):
        return {ordered_text(key): _copy(item) for key, item in value.items()}
    return value


def _json(value: Any) -> str:
    return _encode(_copy(value))


def searchable(metadata: str | None) -> str | None:
    """Return the copy of metadata that are JSON text; None: they are their own copy."""
    if metadata is None or not _WRITTEN_ANEW.search(metadata):
        return None
    return _json(loads(metadata))


def where(filters: Filter | None, parameters: list[Any]) -> str:
    """Return a filter as a condition, with its keys and values at the end of the parameters.

    Raises:
        FilterError: it has too many.
    """
    compiler = SQLFilter()
    condition = compiler.compile(filters).expression or "TRUE"
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        if match[1] not in numbers:
            if len(parameters) >= _MOST:
                raise FilterError(f"a filter may have {_MOST} keys and values at most")
            parameters.append(compiler.values[int(match[1])])
            numbers[match[1]] = len(parameters)
        return f"${numbers[match[1]]}"

    return _BOUND.sub(numbered, condition)


class SQLFilter(SQLCompiler):
    """Conditions on the column ``fields``; keys and values are bound: see ``where``.

    None of them is ever NULL, so that ``NOT`` is the exact negation.

    Attributes:
        values: what stands in conditions as its number; not all conditions come to be used.
    """

    def __init__(self) -> None:
        self.values: list[str] = []

    def _bind(self, value: str, kind: str) -> str:
        self.values.append(value)
        return f"\x1f{len(self.values) - 1}\x1f::{kind}"

    def compare(self, part: Compare) -> Compiled[str]:
        return Compiled(self._compare(part))

    def _compare(self, part: Compare) -> str:
        operator, value = part.operator, part.value
        if operator in {"$eq", "$contains"} and not isinstance(value, (list, dict)):
            # Containment of a scalar is equality, and what an index on ``fields`` finds.
            wanted = {part.key: value if operator == "$eq" else [value]}
            return f"fields @> {self._bind(_json(wanted), 'jsonb')}"
        key = self._bind(ordered_text(part.key), "text")
        if operator == "$exists":
            return f"{'' if value else 'NOT '}fields ? {key}"
        stored = f"(fields -> {key})"
        if operator == "$eq":
            return f"({stored} = {self._bind(_json(value), 'jsonb')}) IS TRUE"
        if operator == "$in":
            return f"({stored} IN (SELECT jsonb_array_elements({self._bind(_json(value), 'jsonb')}))) IS TRUE"
        if operator == "$contains":
            items = f"jsonb_array_elements(CASE jsonb_typeof({stored}) WHEN 'array' THEN {stored} ELSE '[]' END)"
            return f"EXISTS (SELECT FROM {items} AS i(item) WHERE item = {self._bind(_json(value), 'jsonb')})"
        if not isinstance(value, str):
            bound = self._bind(_json(value), "jsonb")
            return f"(jsonb_typeof{stored} = 'number' AND {stored} {_SYMBOLS[operator]} {bound}) IS TRUE"
        text, bound = f'(fields ->> {key}) COLLATE "C"', self._bind(ordered_text(value), "text")
        order = f"starts_with({text}, {bound})" if operator == "$startswith" else f"{text} {_SYMBOLS[operator]} {bound}"
        return f"(jsonb_typeof{stored} = 'string' AND {order}) IS TRUE"
