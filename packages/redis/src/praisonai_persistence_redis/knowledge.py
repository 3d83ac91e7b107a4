"""Knowledge in Redis: documents in hashes, and for cosine similarity a vector set beside them.

Keys are ``{praison_knowledge}:collections``, a hash of name -> JSON ``[dimension, distance, metadata]``, and for each
collection ``{praison_knowledge}:name:`` with ``texts`` (id -> JSON ``[content, content_hash, created_at]``),
``metadata`` (id -> JSON, or nothing), ``vectors`` (id -> 32-bit floats, as they were given) and ``index``, the vector
set. All keys of a prefix lie in one slot of a cluster, so a script changes what belongs together at once.

Vector sets know the cosine only, of vectors with the length 1, in 32-bit floats. Vectors are brought to that length
here, in doubles, and scores are computed here, too, from what is in ``vectors``: the index only says whom to look at.
"""

from __future__ import annotations

import json
import sys
from array import array
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from praisonai_persistence.errors import CollectionNotFoundError, DocumentExistsError, UnsupportedOperationError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import check_prefix, loads
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence.stores import KnowledgeSteps
from praisonai_persistence.stores.knowledge import decode_document, same_collection
from praisonai_persistence.stores.ranking import Candidate, nearest, selected
from praisonai_persistence.vectors import check_dimension, norm, score, unpack
from praisonai_persistence_redis._filters import TokenCompiler, attributes
from praisonai_persistence_redis._scripts import Script, command, look, raw_command, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.stores.knowledge import DocumentRow, Search

__all__ = ["RedisKnowledgeSteps"]

# KEYS: collections, texts, metadata, vectors, index. ARGV: the collection's name, and what is known of it; when that is
# not so any more the answer is -1.
_IF_SO = "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return -1 end "
_ABOUT = Script("return {redis.call('HGET', KEYS[1], ARGV[1]), redis.call('HLEN', KEYS[2])}")
_WRITE = Script(  # ARGV[3]: 1 for an insert; then for each document id, text, metadata, vector, unit vector, attributes
    _IF_SO + "if ARGV[3] == '1' then for i = 4, #ARGV, 6 do "
    "if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1 then return ARGV[i] end end end "
    "for i = 4, #ARGV, 6 do "
    "if ARGV[i + 4] ~= '' then redis.call('VADD', KEYS[5], 'FP32', ARGV[i + 4], ARGV[i], 'NOQUANT', "
    "'EF', 100, 'SETATTR', ARGV[i + 5]) end "
    "redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2]) "
    "redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 3]) end return 0"
)
_READ = Script(  # for each id text, metadata and vector
    "local found = {} for i, id in ipairs(ARGV) do for k = 2, 4 do "
    "found[#found + 1] = redis.call('HGET', KEYS[k], id) end end return found"
)
_DELETE = Script(  # ARGV from 3: id, and the metadata that it must have still, or *; returns the number and the rest
    _IF_SO + "local count, rest = 0, {} for i = 3, #ARGV, 2 do local id = ARGV[i] "
    "if ARGV[i + 1] ~= '*' and redis.call('HGET', KEYS[3], id) ~= ARGV[i + 1] then rest[#rest + 1] = id else "
    "count = count + redis.call('HDEL', KEYS[2], id) redis.call('HDEL', KEYS[3], id) redis.call('HDEL', KEYS[4], id) "
    "if redis.call('EXISTS', KEYS[5]) == 1 then redis.call('VREM', KEYS[5], id) end end end return {count, rest}"
)
_EMPTY = Script(
    _IF_SO + "local count = redis.call('HLEN', KEYS[2]) "
    "if ARGV[3] == '1' then redis.call('HDEL', KEYS[1], ARGV[1]) end "
    "redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5]) return count"
)
_EXACT = 20_000
"""Up to so many documents, and always under a filter, the server compares every vector; beyond it walks its graph."""
_EFFORT = 500
"""How many candidates the walk keeps, at least."""
_MANY = 500
"""Documents of one reading command."""


class RedisKnowledgeSteps(KnowledgeSteps):
    """Knowledge in Redis.

    Args:
        prefix: the ``table_prefix``.
        allow_eviction: whether the server may throw data away when it is full.
    """

    def __init__(self, prefix: str, *, allow_eviction: bool = False) -> None:
        self._head = f"{{{check_prefix(prefix)}knowledge}}:"
        self._collections = f"{self._head}collections"
        self._allow_eviction = allow_eviction
        self._compiler = TokenCompiler()

    def probe(self) -> Steps[None]:
        """Look at the server, with the first connection.

        Raises:
            ConfigurationError: it throws data away when it is full.
            UnsupportedOperationError: it has no vector sets.
        """
        try:
            yield command("VCARD", f"{self._head}index")
        except NoPermissionError:
            pass
        except ResponseError as error:
            if "unknown command" not in str(error).lower():
                raise
            raise UnsupportedOperationError(
                "this server has no vector sets: knowledge needs Redis 8 or later (Valkey and older versions keep "
                "state); other backends for knowledge are pgvector, qdrant and sqlite"
            ) from error
        yield from look(self._head, allow_eviction=self._allow_eviction)

    def _keys(self, name: str) -> list[str]:
        return [
            self._collections,
            *(f"{self._head}{name}:{part}" for part in ("texts", "metadata", "vectors", "index")),
        ]

    def _about(self, name: str) -> Steps[tuple[CollectionInfo, str, int]]:
        """Return what a collection is, the text that says so, and how many documents it has."""
        found, count = yield from _ABOUT(self._keys(name)[:2], name)
        if found is None:
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        return _info(name, text(found)), text(found), count

    # ------------------------------------------------------------------------------------------------------ collections

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        said = json.dumps([info.dimension, info.distance, metadata])
        while not (yield command("HSETNX", self._collections, info.name, said)):
            found = yield command("HGET", self._collections, info.name)
            if found is not None:  # else somebody has deleted it meanwhile
                return same_collection(_info(info.name, text(found)), info)
        return None

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        yield from self._empty(name, remove=True)

    def _empty(self, name: str, *, remove: bool) -> Steps[int]:
        while True:
            _, said, _ = yield from self._about(name)
            count = yield from _EMPTY(self._keys(name), name, said, int(remove))
            if count >= 0:
                return int(count)

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        return (yield from self._about(name))[0]

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted(text(name) for name in (yield command("HKEYS", self._collections)))

    # ---------------------------------------------------------------------------------------------------------- writing

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write(collection, rows, insert=True)

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write(collection, rows, insert=False)

    def _write(self, collection: str, rows: Sequence[DocumentRow], *, insert: bool) -> Steps[None]:
        while True:
            info, said, _ = yield from self._about(collection)
            for row in rows:
                check_dimension(len(row.embedding), info.dimension)
            arguments = [part for row in rows for part in _document(row, indexed=info.distance == "cosine")]
            answer = yield from _WRITE(self._keys(collection), collection, said, int(insert), *arguments)
            if answer == 0:
                return
            if answer != -1:
                raise DocumentExistsError(f"document {text(answer)!r} exists already; nothing was written")

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        if ids is None and filters is None:
            return (yield from self._empty(collection, remove=False))
        _, said, _ = yield from self._about(collection)
        count, pending = 0, ids
        while True:
            if filters is None:
                found = dict.fromkeys(pending or (), "*")
            elif pending is None:
                found = yield from self._matching(collection, filters)
            else:
                found = yield from self._matching_of(collection, filters, pending)
            if not found:
                return count
            named = [part for pair in found.items() for part in pair]
            answer = yield from _DELETE(self._keys(collection), collection, said, *named)
            if answer == -1:
                return int(count + (yield from self.delete(collection, pending, filters)))
            count += int(answer[0])
            if not answer[1]:
                return count
            pending = [text(item) for item in answer[1]]  # their metadata have changed meanwhile: look again

    # ---------------------------------------------------------------------------------------------------------- reading

    def _scan(self, key: str, take: Callable[[str, bytes], None]) -> Steps[None]:
        """Hand over every field of a hash, in parts and perhaps twice; one that comes or goes meanwhile, or not."""
        cursor: Any = 0
        while True:
            cursor, part = yield raw_command("HSCAN", key, cursor, "COUNT", _MANY)
            for field, value in part.items():
                take(field.decode(), value)
            if not int(cursor):
                return

    def _matching(self, collection: str, filters: Filter) -> Steps[dict[str, str]]:
        """Return the metadata of all documents that match, by id."""
        found: dict[str, str] = {}

        def take(item: str, metadata: bytes) -> None:
            said = metadata.decode()
            if selected(filters, said or None):
                found[item] = said

        yield from self._scan(self._keys(collection)[2], take)
        return found

    def _matching_of(self, collection: str, filters: Filter, ids: Sequence[str]) -> Steps[dict[str, str]]:
        found: dict[str, str] = {}
        for start in range(0, len(ids), _MANY):
            part = ids[start : start + _MANY]
            values = yield command("HMGET", self._keys(collection)[2], *part)
            for item, value in zip(part, values, strict=True):
                if value is not None and selected(filters, text(value) or None):
                    found[item] = text(value)
        return found

    def _read(self, collection: str, ids: Sequence[str]) -> Steps[list[Candidate]]:
        """Read documents; those that are gone are left out."""
        keys, found = self._keys(collection)[:4], []
        for start in range(0, len(ids), _MANY):
            part = ids[start : start + _MANY]
            values = iter((yield from _READ(keys, *part)))
            found += [
                _candidate(item, *parts)
                for item, *parts in zip(part, values, values, values, strict=True)
                if parts[0] is not None
            ]
        return found

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        info, _, count = yield from self._about(collection)
        check_dimension(len(search.query), info.dimension, "query_embedding")
        # What the server selected may have changed by the time that it is read here: every filter is checked again.
        exact = search.filters is None
        if info.distance != "cosine":
            scores = yield from self._scores(collection, info.distance, search)
            best = sorted(scores, key=lambda item: (-scores[item], item))
            read = self._read
            return (
                yield from nearest(
                    search, info.distance, lambda wanted: read(collection, best[:wanted]), exact=exact, ordered=True
                )
            )
        expression = self._compiler.compile(search.filters).expression
        walk = count > _EXACT and expression is None
        how = () if expression is None else ("FILTER", expression)
        query = ("VSIM", self._keys(collection)[4], "FP32", _blob(_unit(search.query)), *how)

        def fetch(wanted: int) -> Steps[list[Candidate]]:
            number = min(wanted, max(count, 1))
            effort = ("EF", max(_EFFORT, 2 * number)) if walk else ("TRUTH",)
            found = yield raw_command(*query, "COUNT", number, *effort)
            return (yield from self._read(collection, [item.decode() for item in found]))

        return (yield from nearest(search, info.distance, fetch, exact=exact))

    def _scores(self, collection: str, distance: str, search: Search) -> Steps[dict[str, float]]:
        """Return the scores of all documents that match the filter, computed here."""
        matching = None if search.filters is None else (yield from self._matching(collection, search.filters))
        scores: dict[str, float] = {}

        def take(item: str, vector: bytes) -> None:
            if matching is None or item in matching:
                scores[item] = score(distance, search.query, unpack(vector))

        yield from self._scan(self._keys(collection)[3], take)
        return scores

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        yield from self._about(collection)
        found = {row.id: row for row in (yield from self._read(collection, list(dict.fromkeys(ids))))}
        return [decode_document(*found[item][:6]) for item in ids if item in found]

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        _, _, count = yield from self._about(collection)
        if filters is None:
            return count
        return len((yield from self._matching(collection, filters)))


def _info(name: str, said: str) -> CollectionInfo:
    dimension, distance, metadata = json.loads(said)
    return CollectionInfo(name, dimension, distance, None if metadata is None else loads(metadata))


def _document(row: DocumentRow, *, indexed: bool) -> Iterator[str | bytes]:
    yield row.id
    yield json.dumps([row.content, row.content_hash, row.created_at], ensure_ascii=False)
    yield row.metadata or ""
    yield _blob(row.embedding)
    yield _blob(_unit(row.embedding)) if indexed else b""
    yield attributes(row.metadata) if indexed else b""


def _candidate(item: str, said: bytes, metadata: bytes, vector: bytes) -> Candidate:
    content, content_hash, created_at = json.loads(said)
    return Candidate(item, content, unpack(vector), metadata.decode() or None, content_hash, created_at)


def _unit(vector: array[float]) -> array[float]:
    length = norm(vector)
    return array("f", [number / length for number in vector]) if length else vector


def _blob(vector: array[float]) -> bytes:
    if sys.byteorder == "big":
        vector = vector[:]
        vector.byteswap()
    return vector.tobytes()
