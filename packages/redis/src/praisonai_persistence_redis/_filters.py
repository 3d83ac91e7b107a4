"""Filters in the languages of vector sets and of the search module.

Vector sets read the fields of a JSON object, and drop an element as a whole when it lacks a field that is named, so
negations and alternatives over documents with different keys would come out wrong. The search module knows only fields
that were declared with the index, each of one type. Therefore each document has one field that all have, a list of
tokens; a comparison asks whether a token is in it. A token is a digest of a sentence about the metadata: "has this
key", "has a number there", "has this value there", "has a list that holds it".
"""

from __future__ import annotations

import json
from abc import abstractmethod
from base64 import b64decode, b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from praisonai_persistence.filters import Compare, Compiled, Compiler
from praisonai_persistence.payload import loads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["SearchCompiler", "Terms", "ValkeyCompiler", "VectorSetCompiler", "hexadecimal", "tokens"]

E = TypeVar("E")


def tokens(metadata: str | None) -> list[str]:
    """Return the tokens of a document with that metadata (JSON text): letters, digits, ``+`` and ``/``."""
    found = {} if metadata is None else loads(metadata)
    return list(dict.fromkeys(token for key, value in found.items() for token in _tokens(key, value)))


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


class _TokenCompiler(Compiler[E]):
    """Translates filters; what compares sizes or beginnings selects all documents with a value of that type."""

    alternatives: ClassVar[int]
    """The longest list of ``$in`` that is spelled out."""

    @abstractmethod
    def has(self, token: str) -> E:
        """Return what selects the documents with a token."""

    def _has(self, *sentence: Any) -> E:
        return self.has(_token(*sentence))

    def compare(self, part: Compare) -> Compiled[E]:
        if part.operator == "$eq":
            return Compiled(self._has("is", part.key, part.value))
        if part.operator == "$contains":
            return Compiled(self._has("holds", part.key, part.value))
        if part.operator == "$exists":
            has = self._has("key", part.key)
            return Compiled(has if part.value else self.negate(has))
        if part.operator == "$in":
            if len(part.value) > self.alternatives:
                return Compiled(self._has("key", part.key), exact=False)
            parts = [self._has("is", part.key, value) for value in part.value]
            return Compiled(self.any_of(parts) if parts else self.nothing())
        return Compiled(self._has("text" if isinstance(part.value, str) else "number", part.key), exact=False)

    def nothing(self) -> E:
        return self.has("0")  # tokens are longer


class VectorSetCompiler(_TokenCompiler[str]):
    """Of vector sets, whose attributes are ``{"t": [token, ...]}``."""

    alternatives = 20  # the server takes a microsecond for each token of each document

    def has(self, token: str) -> str:
        return f'("{token}" in .t)'

    def all_of(self, parts: Sequence[str]) -> str:
        return f"({' and '.join(parts)})"

    def any_of(self, parts: Sequence[str]) -> str:
        return f"({' or '.join(parts)})"

    def negate(self, part: str) -> str:
        return f"(not {part})"


class Terms(NamedTuple):
    """A query of the search module: what has to match, and what must not.

    Negations stand side by side with the rest, once: of negations inside of one another, or of alternatives, the module
    makes wrong results now and then.
    """

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [*self.wanted, *(f"(-{part})" for part in self.unwanted)]
        return parts[0] if len(parts) == 1 else f"({' '.join(parts)})"


class SearchCompiler(_TokenCompiler[Terms]):
    """Of the search module, with the tokens in the tag field ``t``."""

    alternatives = 500  # each is a list of documents that the server has already

    def has(self, token: str) -> Terms:
        escaped = token.replace("+", "\\+").replace("/", "\\/")
        return Terms((f"@t:{{{escaped}}}",))

    def all_of(self, parts: Sequence[Terms]) -> Terms:
        return Terms(*(tuple(term for part in parts for term in part[side]) for side in (0, 1)))

    def any_of(self, parts: Sequence[Terms]) -> Terms:
        return Terms((f"({'|'.join(map(str, parts))})",))

    def negate(self, part: Terms) -> Terms:
        wanted, unwanted = part  # of one term: only comparisons are negated
        return Terms(unwanted, wanted)

    def _any_of(self, parts: Sequence[Compiled[Terms]]) -> Compiled[Terms]:
        return super()._any_of([_without_negations(part) for part in parts])


class ValkeyCompiler(SearchCompiler):
    """Of Valkey's module: it says nothing of escapes, so tokens have letters and digits only."""

    def has(self, token: str) -> Terms:
        return Terms((f"@t:{{{hexadecimal(token)}}}",))


def hexadecimal(token: str) -> str:
    """Return a token in hexadecimal digits."""
    return b64decode(token + "==").hex() if len(token) > 1 else token


def _without_negations(part: Compiled[Terms]) -> Compiled[Terms]:
    if part.expression is None or not part.expression.unwanted:
        return part
    wanted = part.expression.wanted
    return Compiled(Terms(wanted) if wanted else None, exact=False)
