"""Filters in the language of vector sets.

That language reads the fields of a JSON object, and drops an element as a whole when it lacks a field that is named, so
negations and alternatives over documents with different keys would come out wrong. Therefore each document's attributes
hold one field that all have, a list of tokens; a comparison asks whether a token is in it. A token is a digest of a
sentence about the metadata: "has this key", "has a number there", "has this value there", "has a list that holds it".
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from praisonai_persistence.filters import Compare, Compiled, Compiler
from praisonai_persistence.payload import loads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["TokenCompiler", "attributes"]

_ALTERNATIVES = 20
"""The longest list of ``$in`` that is spelled out: the server takes a microsecond for each token of each document."""


def attributes(metadata: str | None) -> str:
    """Return the attributes of a document with that metadata (JSON text)."""
    found = {} if metadata is None else loads(metadata)
    tokens = dict.fromkeys(token for key, value in found.items() for token in _tokens(key, value))
    return json.dumps({"t": list(tokens)}, separators=(",", ":"))


def _tokens(key: str, value: Any) -> Iterator[str]:
    yield _token("key", key)
    yield _token("is", key, value)
    if isinstance(value, list):
        for item in value:
            yield _token("holds", key, item)
    elif isinstance(value, str):
        yield _token("text", key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield _token("number", key)


def _token(*sentence: Any) -> str:
    # 128 bits: nobody finds two sentences of one token.
    digest = blake2b(_canonical(sentence).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return b64encode(digest).decode().rstrip("=")


def _canonical(value: Any) -> str:
    """Return one text for all values that are equal: 1 and 1.0, and objects in any order."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_canonical, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(key)}:{_canonical(value[key])}' for key in sorted(value))}}}"
    return json.dumps(value)


class TokenCompiler(Compiler[str]):
    """Translates filters; what compares sizes or beginnings selects all documents with a value of that type."""

    def compare(self, part: Compare) -> Compiled[str]:
        if part.operator == "$eq":
            return Compiled(_has("is", part.key, part.value))
        if part.operator == "$contains":
            return Compiled(_has("holds", part.key, part.value))
        if part.operator == "$exists":
            has = _has("key", part.key)
            return Compiled(has if part.value else self.negate(has))
        if part.operator == "$in":
            if len(part.value) > _ALTERNATIVES:
                return Compiled(_has("key", part.key), exact=False)
            parts = [_has("is", part.key, value) for value in part.value]
            return Compiled(self.any_of(parts) if parts else self.nothing())
        return Compiled(_has("text" if isinstance(part.value, str) else "number", part.key), exact=False)

    def all_of(self, parts: Sequence[str]) -> str:
        return f"({' and '.join(parts)})"

    def any_of(self, parts: Sequence[str]) -> str:
        return f"({' or '.join(parts)})"

    def negate(self, part: str) -> str:
        return f"(not {part})"

    def nothing(self) -> str:
        return '("" in .t)'


def _has(*sentence: Any) -> str:
    return f'("{_token(*sentence)}" in .t)'
