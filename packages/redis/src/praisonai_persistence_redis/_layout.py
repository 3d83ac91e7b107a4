"""Where knowledge lies in Redis, and the scripts that change what belongs together at once.

Keys are ``{praison_knowledge}:collections``, a hash of name -> JSON ``[dimension, distance, metadata, index, its key]``
(the last two are left out where it is a vector set), and for each collection ``{praison_knowledge}:name:`` with
``texts`` (id -> JSON ``[content, content_hash, created_at]``), ``metadata`` (id -> JSON, or nothing), ``vectors``
(id -> 32-bit floats, as they were given, or nothing where the index holds the same) and ``index``, of which
``_indexes`` tells more. All keys of a prefix lie in one slot of a cluster.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from praisonai_persistence.errors import SchemaError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import check_prefix, loads
from praisonai_persistence.stores.projection import ranked_vector
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.vectors import unpack
from praisonai_persistence_redis._indexes import INDEXES, blob
from praisonai_persistence_rediscore import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence_redis._indexes import Index

__all__ = ["ABOUT", "DELETE", "EMPTY", "READ", "WRITE", "Collection", "Layout", "candidate", "document"]

# KEYS: collections, texts, metadata, vectors, index. ARGV: the collection's name, and what is known of it; when that is
# not so any more the answer is -1.
_IF_SO = "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return -1 end "
ABOUT = Script("return {redis.call('HGET', KEYS[1], ARGV[1]), redis.call('HLEN', KEYS[2])}")
WRITE = {  # ARGV[3]: 1 for an insert; then for each document id, text, metadata, vector, and the index's two
    name: Script(
        _IF_SO + "if ARGV[3] == '1' then for i = 4, #ARGV, 6 do "
        "if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1 then return ARGV[i] end end end "
        "for i = 4, #ARGV, 6 do local id, vector, tokens = ARGV[i], ARGV[i + 4], ARGV[i + 5] "
        + index.put
        + "redis.call('HSET', KEYS[2], id, ARGV[i + 1]) redis.call('HSET', KEYS[3], id, ARGV[i + 2]) "
        "redis.call('HSET', KEYS[4], id, ARGV[i + 3]) end return 0"
    )
    for name, index in INDEXES.items()
}
READ = Script(  # for each id text, metadata and vector
    "local found = {} for i, id in ipairs(ARGV) do for k = 2, 4 do "
    "found[#found + 1] = redis.call('HGET', KEYS[k], id) end "
    "if found[#found] == '' then found[#found] = redis.call('HGET', KEYS[5] .. id, 'v') end end return found"
)
DELETE = {  # ARGV from 3: id, and the metadata that it must have still, or *; returns the number and the rest
    name: Script(
        _IF_SO + "local count, rest = 0, {} for i = 3, #ARGV, 2 do local id = ARGV[i] "
        "if ARGV[i + 1] ~= '*' and redis.call('HGET', KEYS[3], id) ~= ARGV[i + 1] then rest[#rest + 1] = id else "
        "count = count + redis.call('HDEL', KEYS[2], id) redis.call('HDEL', KEYS[3], id) "
        "redis.call('HDEL', KEYS[4], id) " + index.remove + "end end return {count, rest}"
    )
    for name, index in INDEXES.items()
}
EMPTY = Script(  # ARGV[3]: what to know of the collection from now on; nothing: it is removed
    _IF_SO + "local count = redis.call('HLEN', KEYS[2]) "
    "if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) "
    "elseif ARGV[3] ~= ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end "
    "redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5]) return count"
)


class Collection(NamedTuple):
    """A collection as it was found.

    Attributes:
        info: what it was created with.
        said: the text that says so.
        size: how many documents it has.
        found_by: what they are found by.
        keys: of the hashes, and of the index.
    """

    info: CollectionInfo
    said: str
    size: int
    found_by: Index
    keys: list[str]


class Layout:
    """The keys of one store.

    Args:
        prefix: the ``table_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        self.head = f"{{{check_prefix(prefix)}knowledge}}:"
        self.collections = f"{self.head}collections"

    def hashes(self, name: str) -> list[str]:
        """Return the keys of what there is of collections, and of the texts, metadata and vectors of one."""
        return [self.collections, *(f"{self.head}{name}:{part}" for part in ("texts", "metadata", "vectors"))]

    def new(self, info: CollectionInfo, metadata: str | None, index: Index) -> tuple[str, str]:
        """Return what a new collection is to be known by, and the key of its index."""
        key = index.new_key(f"{self.head}{info.name}:")
        other = [] if index.name == "vectorset" else [index.name, key]
        return json.dumps([info.dimension, info.distance, metadata, *other]), key

    def collection(self, name: str, said: str, size: int) -> Collection:
        """Return the collection that is known by ``said``.

        Raises:
            SchemaError: it has an index that is not known here.
        """
        dimension, distance, metadata, *other = json.loads(said)
        info = CollectionInfo(name, dimension, distance, None if metadata is None else loads(metadata))
        index = INDEXES.get(other[0] if other else "vectorset")
        if index is None:
            raise SchemaError(
                f"collection {name!r} has an index of the kind {other[0]!r}, made by a newer version; install that: "
                f"pip install --upgrade praisonai-persistence-redis"
            )
        key = other[1] if other else index.new_key(f"{self.head}{name}:")
        return Collection(info, said, size, index, [*self.hashes(name), key])


def document(row: DocumentRow, distance: str, index: Index) -> Iterator[str | bytes]:
    """Yield what [WRITE][] takes of a document."""
    ranks = index.ranks(distance)
    vector = ranked_vector(distance, row.embedding)
    yield row.id
    yield json.dumps([row.content, row.content_hash, row.created_at], ensure_ascii=False)
    yield row.metadata or ""
    yield b"" if index.keeps and vector is row.embedding else blob(row.embedding)
    yield blob(vector) if ranks else b""
    yield index.tokens(row.metadata) if ranks else ""


def candidate(item: str, said: bytes, metadata: bytes, vector: bytes) -> Candidate:
    """Return a document of what [READ][] answers."""
    content, content_hash, created_at = json.loads(said)
    return Candidate(item, content, unpack(vector), metadata.decode() or None, content_hash, created_at)
