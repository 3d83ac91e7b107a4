"""What vector engines search in place of a document's own metadata and embedding.

Their filters know neither the filter language's types nor every key, and some keep no embedding as it was given. So a
document is stored as it is, as text, and beside it stands what the engine searches:

* **Tokens** for its metadata: 32 hexadecimal digits for each key, each value, each item of a list, so that equality is
  equality of tokens, whatever the engine makes of numbers, texts and keys. They are cut from BLAKE2b: two different
  values with one token are not to be found.
* **Numbers** by key, as the nearest doubles, for engines that compare these. Whole numbers beyond 2^53 are not exact
  so; what is selected by a bound is a superset, and is checked.
* A **unit vector** in place of an embedding where the distance is ``cosine``: its inner product is the cosine also for
  vectors of zeros and for very short ones, which engines treat each in its own way.

[TokenCompiler][] translates filters to selections of tokens and numbers.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from array import array
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from praisonai_persistence.filters import And, Compare, Compiled, Compiler, joined
from praisonai_persistence.payload import loads
from praisonai_persistence.vectors import norm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate

__all__ = [
    "Expression",
    "ExpressionCompiler",
    "Projection",
    "TokenCompiler",
    "bounded_query",
    "combined",
    "field",
    "nearest_double",
    "product_distance",
    "project",
    "project_rows",
    "rank_all",
    "rank_embeddings",
    "ranked",
    "ranked_candidates",
    "ranked_vector",
    "ranked_vectors",
    "required_tokens",
    "token",
]

E = TypeVar("E")
T = TypeVar("T")

_LARGEST = 1.7e308  # leaves room for the next double
_UNIT = 1e-6  # lengths that differ from 1 by less rank like 1 in 32-bit floats


class Projection(NamedTuple):
    """What an engine searches of a document's metadata.

    All tokens are different.

    Attributes:
        values: tokens of values, one for each key.
        items: tokens of items of lists.
        keys: tokens of keys, and of keys that hold text.
        numbers: the numbers by [field][]; finite.
    """

    values: list[str]
    items: list[str]
    keys: list[str]
    numbers: dict[str, float]

    @property
    def tokens(self) -> list[str]:
        """All tokens, for engines that keep them in one field."""
        return self.values + self.items + self.keys


_CACHED = 256  # characters; longer texts would only fill the cache


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_cached_digest = lru_cache(maxsize=8192)(_digest)


def _token(text: str) -> str:
    return _cached_digest(text) if len(text) < _CACHED else _digest(text)


def _make_names(key: str) -> tuple[str, str, str]:
    place = f"{len(key)}:{key}"
    return _digest(f"k{place}"), _digest(f"t{place}"), place


_cached_names = lru_cache(maxsize=1024)(_make_names)


def _names(key: str) -> tuple[str, str, str]:
    """Return the token of a key, that of a key that holds text, and what is hashed before a value under the key."""
    return _cached_names(key) if len(key) < _CACHED else _make_names(key)


def field(key: str) -> str:
    """Return the name of a key: 32 hexadecimal digits. As a token it says that the key is there."""
    return _names(key)[0]


def token(key: str, value: Any, *, item: bool = False) -> str:
    """Return the token of a value: equal values have the same, others another.

    Args:
        key: the metadata key.
        value: any JSON value.
        item: the token says that a list under the key holds the value, not that the value stands there itself.
    """
    return _token(f"{'i' if item else 'v'}{_names(key)[2]}{_canonical(value)}")


def _canonical(value: Any) -> str:
    if type(value) is str:
        return "s" + value
    if isinstance(value, (bool, type(None))):
        return str(value)
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, list):
        return "l" + _joined(map(_canonical, value))
    return "o" + _joined(part for key in sorted(value) for part in (key, _canonical(value[key])))


def _joined(parts: Iterable[str]) -> str:
    """Return one text, of which no other parts could be made."""
    return "".join([f"{len(part)}:{part}" for part in parts])


def _number(value: float) -> str:
    if type(value) is float and not value.is_integer():
        return value.hex()
    return hex(int(value))  # has no limit of digits, and one spelling for 1, 1.0, and for 0 and -0.0


def nearest_double(number: float) -> float:
    """Return the nearest double, or one of the largest; of zeros the positive one."""
    return float(max(-_LARGEST, min(_LARGEST, number))) + 0.0


def project(metadata: str | None) -> Projection:
    """Return the projection of metadata as JSON text."""
    # Runs for every document that is written, so it calls as little as it can.
    projection = values, items, keys, numbers = Projection([], [], [], {})
    found: Mapping[str, Any] = {} if metadata is None else loads(metadata)
    for key, value in found.items():
        name, text, place = _cached_names(key) if len(key) < _CACHED else _make_names(key)
        keys.append(name)
        kind = type(value)
        if kind is str:
            keys.append(text)
            canonical = "s" + value
        elif kind is list:
            parts = ["s" + item if type(item) is str else _canonical(item) for item in value]
            canonical = "l" + _joined(parts)
            items += [_token(f"i{place}{part}") for part in dict.fromkeys(parts)]
        elif kind is int or kind is float:
            canonical = _number(value)
            numbers[name] = nearest_double(value)
        else:
            canonical = _canonical(value)
        values.append(_token(f"v{place}{canonical}"))
    return projection


def rank_all(distance: str, query: array[float], vectors: Any) -> list[int]:
    """Return the numbers of [ranked_vectors][], best first, as an engine without an index ranks them; needs NumPy.

    Args:
        distance: the collection's.
        query: what is ranked in place of the query.
        vectors: the vectors, or a matrix of them.
    """
    import numpy as np

    matrix, vector = np.asarray(vectors, dtype=np.float64), np.frombuffer(query, dtype=np.float32)
    ranks = -(matrix @ vector) if product_distance(distance) == "dot" else np.linalg.norm(matrix - vector, axis=1)
    return [int(number) for number in np.argsort(ranks, kind="stable")]


def ranked(distance: str, query: array[float], items: Sequence[T], vectors: Any) -> list[T]:
    """Return items, best first, by their [ranked_vectors][]; see [rank_all][]."""
    return [items[number] for number in rank_all(distance, query, vectors)] if items else []


def ranked_candidates(distance: str, query: array[float], found: Sequence[Candidate]) -> list[Candidate]:
    """Return documents that have their embeddings, best first, as an engine without an index ranks them; needs NumPy.

    Args:
        distance: the collection's.
        query: what is ranked in place of the query.
        found: the documents.
    """
    embeddings = [item.embedding for item in found if item.embedding is not None]
    return ranked(distance, query, found, ranked_vectors(distance, embeddings)) if found else []


def rank_embeddings(distance: str, query: array[float], embeddings: Sequence[bytes]) -> list[int]:
    """Return the numbers of embeddings, one or more, best first, by their [ranked_vectors][]; needs NumPy.

    Args:
        distance: the collection's.
        query: what is ranked in place of the query.
        embeddings: as they were given, in 32-bit floats, little-endian.
    """
    import numpy as np

    matrix = np.frombuffer(b"".join(embeddings), dtype="<f4").reshape(len(embeddings), -1).astype(np.float64)
    if distance == "cosine":
        lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
        matrix /= np.where(lengths == 0, 1.0, lengths)[:, np.newaxis]
    return rank_all(distance, query, matrix)


def project_rows(distance: str, rows: Sequence[DocumentRow]) -> Iterable[tuple[DocumentRow, array[float], Projection]]:
    """Return documents, one or more, each with its [ranked_vector][] and its projection; needs NumPy."""
    vectors = ranked_vectors(distance, [row.embedding for row in rows])
    return zip(rows, vectors, [project(row.metadata) for row in rows], strict=True)


class TokenCompiler(Compiler[E]):
    """Translates filters for engines that hold the [Projection][] of each document."""

    @abstractmethod
    def has(self, tokens: Sequence[str]) -> E:
        """Return what selects the documents with at least one of the ``tokens``, of values, which are one or more."""

    def has_item(self, item: str) -> E:
        """Return what selects the documents with a token among their ``items``, where these stand apart."""
        return self.has([item])

    def has_key(self, key: str) -> E:
        """Return what selects the documents with a token among their ``keys``, where these stand apart."""
        return self.has([key])

    def bound(self, name: str, number: float, *, upper: bool) -> E:
        """Return what selects the documents whose number under the [field][] is ``>= number``, or ``<=`` (upper).

        By default those that have the key: for engines that cannot compare numbers under keys of any name. The store
        compares them.
        """
        return self.has_key(name)

    def compare(self, part: Compare) -> Compiled[E]:
        """See [Compiler.compare][]."""
        key, value = part.key, part.value
        if part.operator == "$eq":
            return Compiled(self.has([token(key, value)]))
        if part.operator == "$in":
            tokens = list(dict.fromkeys(token(key, item) for item in value))
            if len(tokens) > self.most_parts:
                return Compiled(self.has_key(field(key)), exact=False)
            return Compiled(self.has(tokens) if tokens else self.nothing())
        if part.operator == "$contains":
            return Compiled(self.has_item(token(key, value, item=True)))
        if part.operator == "$exists":
            present = self.has_key(field(key))
            return Compiled(present if value else self.negate(present))
        if isinstance(value, str):
            return Compiled(self.has_key(_names(key)[1]), exact=False)
        # The next double: an engine may have read the stored one from JSON, and missed it by one.
        upper = part.operator in {"$lt", "$lte"}
        number = math.nextafter(nearest_double(value), math.inf if upper else -math.inf)
        return Compiled(self.bound(field(key), number, upper=upper), exact=False)


class Expression(NamedTuple):
    """A filter as text of the engine's language, with values that the engine puts in.

    Attributes:
        text: has ``{}`` where values stand, and none of a caller's.
        values: of these, in order.
    """

    text: str
    values: tuple[Any, ...] = ()


def combined(word: str, parts: Sequence[Expression]) -> Expression:
    """Return expressions, one or more, joined by a word."""

    def join(some: Sequence[Expression]) -> Expression:
        text = f" {word} ".join([part.text for part in some])
        return Expression(f"({text})", tuple(value for part in some for value in part.values))

    return joined(parts, join)


class ExpressionCompiler(TokenCompiler[Expression]):
    """To [Expression][]s, of languages that have ``and``, ``or`` and ``not``."""

    def all_of(self, parts: Sequence[Expression]) -> Expression:
        """See [Compiler.all_of][]."""
        return combined("and", parts)

    def any_of(self, parts: Sequence[Expression]) -> Expression:
        """See [Compiler.any_of][]."""
        return combined("or", parts)

    def negate(self, part: Expression) -> Expression:
        """See [Compiler.negate][]."""
        return Expression(f"not ({part.text})", part.values)


def required_tokens(tree: Filter) -> tuple[list[str], bool]:
    """Return tokens that every document has which a filter selects, and whether it selects all that have them.

    For engines that narrow by tokens, all of which a document must have, and have no other expressions. The tokens are
    all different; there may be none.
    """
    if isinstance(tree, And):
        found = [required_tokens(part) for part in tree.parts]
        return list(dict.fromkeys(token for tokens, _ in found for token in tokens)), all(exact for _, exact in found)
    if not isinstance(tree, Compare) or (tree.operator == "$exists" and not tree.value):
        return [], False
    if tree.operator in {"$eq", "$contains"}:
        return [token(tree.key, tree.value, item=tree.operator == "$contains")], True
    if tree.operator == "$in" and len(tree.value) == 1:
        return [token(tree.key, tree.value[0])], True
    return [field(tree.key)], tree.operator == "$exists"


def product_distance(distance: str) -> str:
    """Return by which distance the engine ranks [ranked_vector][]s: ``dot`` or ``euclidean``."""
    return "euclidean" if distance == "euclidean" else "dot"


def ranked_vectors(distance: str, vectors: Sequence[array[float]]) -> list[array[float]]:
    """Return [ranked_vector][] of embeddings, one or more, of one dimension; needs NumPy, which is faster with many."""
    found = list(vectors)
    if distance != "cosine":
        return found
    import numpy as np

    matrix = np.frombuffer(b"".join([memoryview(vector) for vector in vectors]), dtype=np.float32)
    matrix = matrix.reshape(len(found), -1).astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
    away = np.flatnonzero((lengths != 0) & (np.abs(lengths - 1) >= _UNIT))
    units = (matrix[away] / lengths[away, np.newaxis]).astype(np.float32)
    for number, unit in zip(away.tolist(), units, strict=True):
        found[number] = array("f", unit.tobytes())
    return found


def ranked_vector(distance: str, vector: array[float], *, query: bool = False) -> array[float]:
    """Return what the engine ranks in place of an embedding or a query; the same object where that is itself.

    A query's length changes no rank, so for inner products it is made a unit vector too, which keeps large products
    within 32-bit floats.

    Args:
        distance: the collection's.
        vector: the embedding or the query.
        query: whether it is a query.
    """
    if distance == "euclidean" or (distance == "dot" and not query):
        return vector
    length = norm(vector)
    if length == 0 or abs(length - 1) < _UNIT:
        return vector
    return array("f", [number / length for number in vector])


def bounded_query(distance: str, query: array[float]) -> list[float]:
    """Return a query, made shorter for ``dot``, so that its product with any embedding is finite in 32-bit floats.

    Engines compute in these, and answer in JSON, which has no infinity. A power of two changes no digit, and no order.

    Args:
        distance: the collection's.
        query: what is ranked in place of the query.
    """
    size = sum(map(abs, query)) if distance == "dot" else 0.0
    if size <= 0.5:
        return query.tolist()
    scale = math.ldexp(0.5, -math.frexp(size)[1])
    return [part * scale for part in query]
