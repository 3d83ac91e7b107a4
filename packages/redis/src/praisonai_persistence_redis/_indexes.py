"""By what the server finds a collection's documents: a vector set, an index of a search module, or nothing.

An index only says whom to look at. It holds the embeddings in the form in which the engine ranks them best, and tokens
for the metadata; everything else stands beside it, see ``knowledge``. Index keys lie in the slot of the collection.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from redis.exceptions import NoPermissionError, ResponseError

from praisonai_persistence.drivers import Pauses, ThrottledError
from praisonai_persistence.errors import ConfigurationError, DimensionLimitError, UnsupportedOperationError
from praisonai_persistence.stores.projection import ranked_vector
from praisonai_persistence_redis._filters import SearchCompiler, ValkeyCompiler, VectorSetCompiler, hexadecimal, tokens
from praisonai_persistence_redis._scripts import sent_to
from praisonai_persistence_rediscore import RawCommand, starting_with

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from praisonai_persistence.filters import Compiler, Filter
    from praisonai_persistence.steps import Steps

__all__ = ["EXACT", "INDEXES", "Index", "LostIndexError", "TooWideError", "available", "blob", "check_index", "choose"]

EXACT = 20_000
"""Up to so many documents the server compares every vector; beyond it walks its graph, where it has one."""
EFFORT = 500
"""How many candidates the walk keeps, at least."""
_SETTLED = 30.0
"""Seconds within which Valkey's module has to have a write in its index."""
_TOO_LONG = re.compile(r"dimensions value must be .* less than or equal to (\d+)")
"""What Valkey's module says of vectors of too many numbers."""
OLDEST = 21_000
"""The first version of the search module that was tried: 2.10. Its numbers go on with 8.0, like the server's."""


class LostIndexError(Exception):
    """The index that a search asks for is not there, or not any more."""


class TooWideError(Exception):
    """The server does not take this filter; this process can select by it."""


class Index(ABC):
    """One way to find documents.

    Attributes:
        name: in a collection's description, and as an option.
        keeps: whether an entry is a hash ``KEYS[5] .. id`` whose field ``v`` is the vector as it was written.
        put: Lua that writes a document's entry to the index at ``KEYS[5]``: ``id``, ``vector`` and ``tokens``.
        remove: Lua that removes the entry of ``id``.
    """

    name: ClassVar[str]
    keeps: ClassVar[bool] = False
    put: ClassVar[str]
    remove: ClassVar[str]
    most: ClassVar[float] = math.inf
    """How many documents it ranks; where more are wanted, they are compared by this process."""
    least: ClassVar[int] = 0
    """In a collection of so many documents, or fewer, they are compared by this process, too. Where it is not 0, the
    engine may find fewer than there are, and then they are compared as well."""
    _compiler: Compiler[Any]

    def ranks(self, distance: str) -> bool:
        """Whether it can rank by that distance; otherwise it stays empty."""
        return distance in {"cosine", "dot", "euclidean"}

    @abstractmethod
    def new_key(self, head: str) -> str:
        """Return a key for a collection's index, which never meant another one where that matters."""

    @abstractmethod
    def tokens(self, metadata: str | None) -> str:
        """Return what a document's filters are answered from."""

    def create(self, key: str, distance: str, dimension: int) -> Steps[None]:
        """Create an empty index."""
        yield from ()

    def drop(self, key: str) -> Steps[None]:
        """Remove an index and all that belongs to it alone."""
        yield from ()

    def settle(self, key: str) -> Steps[None]:
        """Wait until it has what was just written."""
        yield from ()

    def rank(
        self, key: str, distance: str, query: array[float], limit: int, filters: Filter | None, count: int
    ) -> Steps[list[str]]:
        """Return the ids of the best documents, best first; fewer than ``limit`` only when there are no more.

        Args:
            key: the index.
            distance: the collection's.
            query: as it was given.
            limit: how many.
            filters: what they have to match; others may be among them.
            count: how many documents there are, about.

        Raises:
            LostIndexError: there is no such index.
            TooWideError: the server does not take the filter.
        """
        vector = blob(ranked_vector(distance, query, query=True))
        expression = self._compiler.compile(filters).expression
        return self._rank(key, vector, limit, None if expression is None else str(expression), count)

    @abstractmethod
    def _rank(self, key: str, vector: bytes, limit: int, expression: str | None, count: int) -> Steps[list[str]]:
        """Ask the server."""


class _VectorSet(Index):
    """A vector set: cosine only, in a thread beside the server's main one."""

    name = "vectorset"
    put = (
        "if vector ~= '' then redis.call('VADD', KEYS[5], 'FP32', vector, id, 'NOQUANT', 'EF', 100, "
        "'SETATTR', tokens) end "
    )
    remove = "if redis.call('EXISTS', KEYS[5]) == 1 then redis.call('VREM', KEYS[5], id) end "
    _compiler = VectorSetCompiler()

    def ranks(self, distance: str) -> bool:
        return distance == "cosine"

    def new_key(self, head: str) -> str:
        return f"{head}index"

    def tokens(self, metadata: str | None) -> str:
        return json.dumps({"t": tokens(metadata)}, separators=(",", ":"))

    def _rank(self, key: str, vector: bytes, limit: int, expression: str | None, count: int) -> Steps[list[str]]:
        how: tuple[Any, ...] = ("FILTER", expression, "TRUTH")
        if expression is None:
            how = ("EF", max(EFFORT, 2 * limit)) if count > EXACT else ("TRUTH",)
        found = yield RawCommand("VSIM", key, "FP32", vector, "COUNT", limit, *how)
        return [item.decode() for item in found]


class _Search(Index):
    """An index of the search module over hashes, each of them a document's vector and tokens.

    The index has the name of its key, and the hashes' keys begin with it. So that nobody takes a new index for an old
    one, each has a name of its own.
    """

    keeps = True
    put = "redis.call('HSET', KEYS[5] .. id, 'v', vector, 't', tokens) "
    remove = "redis.call('UNLINK', KEYS[5] .. id) "
    _compiler = SearchCompiler()
    _algorithm: ClassVar[Sequence[Any]]
    _metrics: ClassVar[dict[str, str]] = {"cosine": "IP", "dot": "IP", "euclidean": "L2"}
    _made_with: ClassVar[Sequence[str]] = ("SKIPINITIALSCAN",)
    _asked_with: ClassVar[Sequence[Any]] = ("SORTBY", "s", "TIMEOUT", 0)
    """By default a search returns what it found in the first half second."""

    def new_key(self, head: str) -> str:
        return f"{head}index:{secrets.token_hex(8)}:"

    def tokens(self, metadata: str | None) -> str:
        return ",".join(tokens(metadata))

    def create(self, key: str, distance: str, dimension: int) -> Steps[None]:
        vector = ("TYPE", "FLOAT32", "DIM", dimension, "DISTANCE_METRIC", self._metrics[distance])
        name, *how = self._algorithm
        try:
            yield sent_to(
                key,
                *("FT.CREATE", key, "ON", "HASH", "PREFIX", 1, key, *self._made_with),
                *("SCHEMA", "t", "TAG", "SEPARATOR", ",", "CASESENSITIVE"),
                *("v", "VECTOR", name, len(how) + len(vector), *vector, *how),
            )
        except ResponseError as error:
            said = _TOO_LONG.search(str(error))
            if said is None:
                raise
            raise DimensionLimitError(
                f"the server's search module takes vectors of at most {int(said[1]):,} numbers, not {dimension:,}: "
                f"set its search.max-vector-dimensions higher, or give index=None"
            ) from error

    def drop(self, key: str) -> Steps[None]:
        try:
            yield sent_to(key, "FT.DROPINDEX", key, "DD")
        except ResponseError as error:
            if not _is_lost(error):
                raise

    @abstractmethod
    def _query(self, limit: int, expression: str | None, count: int) -> str:
        """Return the query."""

    def _rank(self, key: str, vector: bytes, limit: int, expression: str | None, count: int) -> Steps[list[str]]:
        try:
            found = yield sent_to(
                key,
                *("FT.SEARCH", key, self._query(limit, expression, count), "NOCONTENT"),
                # By default there are ten results.
                *("PARAMS", 2, "q", vector, *self._asked_with, "LIMIT", 0, limit, "DIALECT", 2),
            )
        except ResponseError as error:
            if _is_lost(error):
                raise LostIndexError from error
            raise
        keys = [row[b"id"] for row in found[b"results"]] if isinstance(found, dict) else found[1:]
        return [item.decode()[len(key) :] for item in keys]


class _Graph(_Search):
    """HNSW."""

    name = "hnsw"
    _algorithm = ("HNSW", "M", 16, "EF_CONSTRUCTION", 200)

    def _query(self, limit: int, expression: str | None, count: int) -> str:
        if count > EXACT:
            return f"({expression or '*'})=>[KNN {limit} @v $q EF_RUNTIME {max(EFFORT, 2 * limit)} AS s]"
        # Under a filter it can be told to compare every vector, so there is one that all documents match.
        every = expression or self._compiler.negate(self._compiler.nothing())
        return f"({every})=>[KNN {limit} @v $q HYBRID_POLICY ADHOC_BF AS s]"


class _Flat(_Search):
    """No graph: every vector is compared, always."""

    name = "flat"
    _algorithm = ("FLAT",)

    def _query(self, limit: int, expression: str | None, count: int) -> str:
        return f"({expression or '*'})=>[KNN {limit} @v $q AS s]"


class _ValkeySearch(_Search):
    """An index of Valkey's module, whose commands are fewer.

    It finds what a script has written as soon as it has been told that the script is over, and its threads have done
    their work. Nothing has been tried on it: see the README.
    """

    keeps = False  # this process may have to compare the vectors
    most = 128  # the default of the first releases, and of none less
    _compiler = ValkeyCompiler()
    _made_with = ()
    _asked_with = ()  # the nearest come first

    def tokens(self, metadata: str | None) -> str:
        return ",".join(map(hexadecimal, tokens(metadata)))

    def drop(self, key: str) -> Steps[None]:
        try:
            yield sent_to(key, "FT.DROPINDEX", key)
        except ResponseError as error:
            if not _is_lost(error):
                raise
        place: Any = 0
        while True:
            place, found = yield sent_to(key, "SCAN", place, "MATCH", starting_with(key), "COUNT", 1_000)
            if found:
                yield sent_to(key, "UNLINK", *found)
            if not int(place):
                return

    def _rank(self, key: str, vector: bytes, limit: int, expression: str | None, count: int) -> Steps[list[str]]:
        try:
            return (yield from super()._rank(key, vector, limit, expression, count))
        except ResponseError as error:
            if expression is None:
                raise
            raise TooWideError from error  # each release has its own limits of terms and of depth

    def settle(self, key: str) -> Steps[None]:
        end = Pauses(_SETTLED, 0.01)
        while True:
            try:
                about = _mapping((yield sent_to(key, "FT.INFO", key)))
            except ResponseError as error:
                if _is_lost(error):
                    return
                raise
            if not int(about.get(b"mutation_queue_size", 0)):
                return
            yield from end.wait(
                ThrottledError(f"what was written is stored, but not in the index within {_SETTLED:g} seconds")
            )


class _ValkeyGraph(_ValkeySearch):
    """HNSW, which cannot be told to compare every vector."""

    name = "valkey_hnsw"
    least = 1_000
    _algorithm = ("HNSW", "M", 16, "EF_CONSTRUCTION", 200)

    def _query(self, limit: int, expression: str | None, count: int) -> str:
        return f"{expression or '*'}=>[KNN {limit} @v $q EF_RUNTIME {min(4_096, max(EFFORT, 2 * limit))} AS s]"


class _ValkeyFlat(_ValkeySearch):
    """No graph: every vector is compared, always."""

    name = "valkey_flat"
    _algorithm = ("FLAT",)

    def _query(self, limit: int, expression: str | None, count: int) -> str:
        return f"{expression or '*'}=>[KNN {limit} @v $q AS s]"


class _None(Index):
    """No index: this process compares every vector, always."""

    name = "exact"
    put = remove = ""
    _compiler = SearchCompiler()

    def ranks(self, distance: str) -> bool:
        return False

    def new_key(self, head: str) -> str:
        return f"{head}index"

    def tokens(self, metadata: str | None) -> str:
        return ""

    def _rank(self, key: str, vector: bytes, limit: int, expression: str | None, count: int) -> Steps[list[str]]:
        raise NotImplementedError("there is no index to ask")


INDEXES: dict[str, Index] = {
    index.name: index for index in (_Graph(), _Flat(), _VectorSet(), _ValkeyGraph(), _ValkeyFlat(), _None())
}
_CHOICES = {
    "auto": ("hnsw", "flat", "vectorset"),
    "hnsw": ("hnsw", "valkey_hnsw"),
    "flat": ("flat", "valkey_flat"),
    "vectorset": ("vectorset",),
    "exact": ("exact",),
    "valkey": ("hnsw", "valkey_flat", "vectorset", "exact"),
}
"""What an option stands for: the first of these that the server has. ``valkey``: ``auto`` of the stores in Valkey."""


def _is_lost(error: ResponseError) -> bool:
    said = str(error).lower()
    return any(words in said for words in ("no such index", "unknown index", "index not found", "index_not_found"))


def available(key: str) -> Steps[set[str]]:
    """Ask the server that has a key which indexes it can make, beside ``exact``, which needs nothing of it.

    A user without the right to ask for vector sets is taken to have the right to use them.
    """
    found = set()
    database = 0

    def hello(client: Any) -> Any:
        nonlocal database
        database = client.get_connection_kwargs().get("db") or 0
        return sent_to(key, "HELLO")(client)  # which every user may

    try:
        about = _mapping((yield hello))
    except ResponseError:  # something between us and the server that does not know it
        about = {}
    versions = {module[b"name"]: module[b"ver"] for module in map(_mapping, about.get(b"modules", ()))}
    # The module works in the first database only. Valkey has another one of that name, with other numbers.
    if about.get(b"server") == b"redis" and versions.get(b"search", 0) >= OLDEST and not database:
        found |= {"hnsw", "flat"}
    if about.get(b"server") == b"valkey" and b"search" in versions and not database:
        found |= {"valkey_hnsw", "valkey_flat"}
    try:
        yield sent_to(key, "VCARD", key)  # a cluster's client refuses a command that the server does not have
    except NoPermissionError:
        found.add("vectorset")
    except ResponseError as error:
        if "unknown command" not in str(error).lower():
            raise
    else:
        found.add("vectorset")
    return found


def _mapping(answer: Any) -> dict[bytes, Any]:
    if isinstance(answer, dict):
        return answer
    parts = iter(answer)
    return dict(zip(parts, parts, strict=True))


def choose(wanted: str, found: set[str]) -> Index:
    """Return the index of new collections.

    Args:
        wanted: its name, or ``auto``.
        found: which there are.

    Raises:
        UnsupportedOperationError: the server cannot make it.
    """
    for name in _CHOICES[wanted]:
        if name in found or name == "exact":
            return INDEXES[name]
    if wanted in {"hnsw", "flat"}:
        raise UnsupportedOperationError(
            f"index={wanted!r} needs Redis with the search module (2.10 or later), or Valkey with its own, and "
            f"database 0: they work in no other"
        )
    raise UnsupportedOperationError(
        "this server has neither vector sets nor, in this database, the search module: knowledge needs Redis 8 or "
        "later, or an older one with that module and database 0; with index='exact', as the backend valkey has it, "
        "this process compares the vectors; other backends for knowledge are pgvector, qdrant and sqlite"
    )


def check_index(name: Any) -> str:
    """Return the option ``index``; ``valkey`` is none, but what ``auto`` is there.

    Raises:
        ConfigurationError: there is none of that name.
    """
    names = [name for name in _CHOICES if name != "valkey"]
    if name not in names:
        raise ConfigurationError(f"index must be one of {', '.join(names)}")
    return str(name)


def blob(vector: array[float]) -> bytes:
    """Return the little-endian 32-bit floats."""
    if sys.byteorder == "big":
        vector = vector[:]
        vector.byteswap()
    return vector.tobytes()
