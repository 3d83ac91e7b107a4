"""Embeddings: checking them, packing them as 32-bit floats, and what a score is.

Every engine keeps 32-bit floats, so embeddings and queries are rounded to them first, and scores are computed on what
was rounded: the same number comes out on every backend.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Mapping, Set
from functools import lru_cache
from operator import mul
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import DimensionError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["DISTANCES", "check_dimension", "norm", "pack", "score", "scorer", "scores", "unpack"]

DISTANCES = ("cosine", "dot", "euclidean")
_INFINITIES = struct.pack("f", math.inf), struct.pack("f", -math.inf)


def pack(embedding: Sequence[float] | None, dimension: int | None = None, what: str = "embedding") -> array[float]:
    """Return an embedding as an array of 32-bit floats.

    Args:
        embedding: finite numbers, one or more.
        dimension: how many there must be, where that is known.
        what: the name of the argument, for the error.

    Raises:
        DimensionError: None, empty, or of another length.
        InvalidValueError: not numbers, NaN, an infinity, or a number beyond 32-bit floats.
    """
    if embedding is None:
        raise DimensionError(f"{what} is missing")
    numbers = embedding if type(embedding) is list else _listed(embedding, what)
    try:
        data = _packer(len(numbers))(*numbers)  # faster than an array of the numbers
    except (TypeError, OverflowError, struct.error):
        raise InvalidValueError(f"{what} must be a sequence of finite numbers") from None
    packed = array("f", data)
    if not packed:
        raise DimensionError(f"{what} is empty")
    total = _plain_sum(numbers)
    if total is None and any(map(_is_complex, set(map(type, numbers)))):
        raise InvalidValueError(f"{what} must be a sequence of finite numbers, not of complex ones")
    # Of finite numbers, those beyond 32-bit floats become infinities. The bytes of one may also stand across two
    # numbers. Finite 32-bit floats cannot overflow a double's sum.
    if total is None or not math.isfinite(total) or any(infinity in data for infinity in _INFINITIES):
        total = sum(packed)
    if not math.isfinite(total):
        raise InvalidValueError(f"{what} holds NaN, an infinity, or a number beyond 32-bit floats")
    if dimension is not None:
        check_dimension(len(packed), dimension, what)
    return packed


@lru_cache(maxsize=64)
def _packer(length: int) -> Callable[..., bytes]:
    return struct.Struct(f"{length}f").pack


def _plain_sum(numbers: list[Any]) -> float | None:
    """Add up Python's own numbers, floats among them; None: there are others. It is the fastest way to know."""
    try:
        total = sum(numbers)
    except TypeError:  # as of Decimals and floats
        return None
    return total if type(total) is float else None


def _is_complex(kind: type[Any]) -> bool:
    """Whether its numbers are complex, which a conversion makes real with no more than a warning of numpy's."""
    from numbers import Complex, Real

    return issubclass(kind, Complex) and not issubclass(kind, Real)


def _listed(embedding: Any, what: str) -> list[Any]:
    """Return a sequence of another class as a list: tuples, arrays of the standard library, numpy's and others'."""
    unordered = isinstance(embedding, (str, bytes, bytearray, Mapping, Set))
    if unordered or not hasattr(embedding, "__len__") or not hasattr(embedding, "__getitem__"):
        raise InvalidValueError(f"{what} must be a sequence of finite numbers, not {type(embedding).__name__}")
    if getattr(embedding, "ndim", 1) != 1:
        raise InvalidValueError(f"{what} must be a sequence of finite numbers, not of {embedding.ndim} dimensions")
    return embedding.tolist() if hasattr(embedding, "tolist") else list(embedding)


def check_dimension(length: int, dimension: int, what: str = "embedding") -> None:
    """Compare a length with a collection's dimension.

    Raises:
        DimensionError: they differ.
    """
    if length != dimension:
        raise DimensionError(f"{what} has {length} numbers; the collection has the dimension {dimension}")


def unpack(data: bytes) -> array[float]:
    """Return the array of little-endian 32-bit floats."""
    values = array("f")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def norm(vector: Sequence[float]) -> float:
    """Return the Euclidean length."""
    return math.hypot(*vector)


def score(distance: str, query: Sequence[float], vector: Sequence[float]) -> float:
    """Return the score of a document, higher is better: see ``KnowledgeStore.search``."""
    return scorer(distance, query)(vector)


def scorer(distance: str, query: Sequence[float]) -> Callable[[Sequence[float]], float]:
    """Return [score][] for one query and many documents."""
    numbers = list(query)
    if distance == "euclidean":
        return lambda vector: 1.0 / (1.0 + math.dist(numbers, vector))
    if distance == "dot":
        return lambda vector: _dot(numbers, vector)
    length = norm(numbers)

    def cosine(vector: Sequence[float]) -> float:
        lengths = length * norm(vector)
        return _dot(numbers, vector) / lengths if lengths else 0.0

    return cosine


def scores(distance: str, query: array[float], vectors: Sequence[array[float]]) -> list[float]:
    """Return [score][] of many documents, with numpy where an engine's client has imported it already."""
    if not vectors or sys.modules.get("numpy") is None:
        return list(map(scorer(distance, query), vectors))
    import numpy as np

    # In doubles. Each row is summed up by itself, so equal vectors have equal scores, wherever they stand.
    matrix = np.frombuffer(b"".join(map(memoryview, vectors)), dtype=np.float32)
    matrix = matrix.reshape(len(vectors), -1).astype(np.float64)
    numbers = np.frombuffer(query, dtype=np.float32).astype(np.float64)
    if distance == "euclidean":
        matrix -= numbers
        found = 1.0 / (1.0 + np.sqrt((matrix * matrix).sum(axis=1)))
    else:
        found = (matrix * numbers).sum(axis=1)
    if distance == "cosine":
        lengths = np.sqrt((matrix * matrix).sum(axis=1)) * norm(query)
        found = np.where(lengths == 0, 0.0, found / np.where(lengths == 0, 1.0, lengths))
    return found.tolist()  # type: ignore[no-any-return]


def _dot(a: Any, b: Any) -> float:
    return float(sum(map(mul, a, b)))


if sys.version_info >= (3, 12):  # exact, and faster
    _dot = math.sumprod
