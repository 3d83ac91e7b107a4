"""How vector engines that hold JSON store a collection's facts and a document, and how much goes into one request.

All that has to come back equal is text: not every engine, and not every reader of JSON, gives back the same double.
"""

from __future__ import annotations

import base64
import json
import string
from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence.errors import DimensionLimitError, SchemaError, SerializationError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import loads
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.vectors import unpack

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from praisonai_persistence.stores.knowledge import DocumentRow

__all__ = [
    "batches",
    "check_dimension",
    "check_size",
    "collection_facts",
    "collection_info",
    "derived_uuids",
    "document_candidate",
    "document_facts",
    "encoded_facts",
    "lowered",
    "not_ours",
    "own_names",
    "packed",
    "pages",
    "restored",
    "vector_bytes",
    "written_facts",
]

T = TypeVar("T")

_LOWERED = str.maketrans({"_": "__", "-": "_1", **{letter: f"_{letter.lower()}" for letter in string.ascii_uppercase}})
_encode = json.JSONEncoder(ensure_ascii=False).encode


def collection_facts(info: CollectionInfo, metadata: str | None) -> dict[str, Any]:
    """Return what a collection was created with, as JSON; ``metadata`` is that of ``info`` as text."""
    return {"name": info.name, "dimension": info.dimension, "distance": info.distance, "metadata": metadata}


def collection_info(name: str, facts: Mapping[str, Any]) -> CollectionInfo:
    """Return a collection of which [collection_facts][] were stored."""
    metadata = facts["metadata"]
    return CollectionInfo(name, facts["dimension"], facts["distance"], None if metadata is None else loads(metadata))


def written_facts(text: Any, mark: str) -> dict[str, Any] | None:
    """Return what [collection_facts][] were stored as JSON text, with a mark of the backend's; None: they are not ours.

    Args:
        text: what stands where they should, which somebody else may have written.
        mark: the key of what tells a collection from another one of its name.
    """
    try:
        facts = loads(text)
        return facts if {"name", "dimension", "distance", "metadata", mark} <= facts.keys() else None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None


def not_ours(what: str) -> SchemaError:
    """Return the error about a collection of the engine's, ``Milvus's collection x``, whose facts are not ours."""
    return SchemaError(
        f"{what} was not made by this store: choose another table_prefix; "
        "'praisonai-persistence doctor --knowledge-url URL' tells what is there"
    )


def lowered(name: str) -> str:
    """Write a name in letters, digits and ``_`` so that it stays what it is where the case of letters is lost.

    The end of one name is nowhere taken for the beginning of another: ``_0``, ``_2`` and so on stand for nothing.
    """
    return name.translate(_LOWERED)


def restored(text: str) -> str:
    """Return the name that [lowered][] was given."""
    first, *others = text.replace("__", "_\0").split("_")
    letters = {"\0": "_", "1": "-"}
    return first + "".join(letters.get(part[:1], part[:1].upper()) + part[1:] for part in others)


def vector_bytes(vector: array[float]) -> bytes:
    """Return 32-bit floats, little-endian."""
    import sys

    if sys.byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return vector.tobytes()


def document_facts(row: DocumentRow, ranked: array[float], writer: str | None = None) -> dict[str, Any]:
    """Return what has to come back of a document, beside its id and content.

    Args:
        row: the document.
        ranked: what the engine ranks it by; where that is another vector, the embedding is stored as text.
        writer: who inserted it; see ``MarkedSteps``.
    """
    return {
        "metadata": row.metadata,
        "content_hash": row.content_hash,
        "created_at": row.created_at.hex(),
        "embedding": None if ranked is row.embedding else base64.b64encode(vector_bytes(row.embedding)).decode("ascii"),
        "writer": writer,
    }


def encoded_facts(row: DocumentRow, ranked: array[float], writer: str | None = None) -> str:
    """Return [document_facts][] as JSON text, for engines that keep no nested values; ``payload.loads`` reads it."""
    return _encode(document_facts(row, ranked, writer))


def document_candidate(
    id: str,  # noqa: A002
    content: str,
    facts: Mapping[str, Any],
    ranked: Callable[[], array[float]],
) -> Candidate:
    """Return a document of which [document_facts][] were stored; absent facts are None.

    Args:
        id: the document's.
        content: its content, encoded.
        facts: the rest.
        ranked: returns what the engine ranks it by.
    """
    embedding = facts.get("embedding")
    return Candidate(
        id,
        content,
        ranked() if embedding is None else unpack(base64.b64decode(embedding)),
        facts.get("metadata"),
        facts.get("content_hash"),
        float.fromhex(facts["created_at"]),
    )


def derived_uuids(workspace: uuid.UUID) -> Callable[[str], str]:
    """Return a function from a document's id to the text of a UUID, for engines whose ids are such.

    It gives what ``uuid.uuid5`` does, in a fifth of the time. Two ids with one UUID are not to be found by chance.

    Args:
        workspace: the backend's own, which never changes.
    """
    from hashlib import sha1

    begun = sha1(workspace.bytes, usedforsecurity=False)

    @lru_cache(maxsize=4096)  # a write that claims its ids asks for each three times
    def derive(id: str) -> str:  # noqa: A002
        digest = begun.copy()
        digest.update(id.encode())
        text = digest.hexdigest()
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"

    return derive


def own_names(names: Iterable[str], prefix: str, suffix: str = "") -> list[str]:
    """Return the names, sorted, that have a prefix and a suffix, without these."""
    own = (name.removeprefix(prefix) for name in names if name.startswith(prefix) and name.endswith(suffix))
    return sorted(name.removesuffix(suffix) for name in own)


def check_dimension(service: str, info: CollectionInfo, most: int, instead: str = "") -> None:
    """Refuse a collection whose vectors are longer than an engine takes; call it before anything is made.

    Args:
        service: what errors call the engine.
        info: the collection that is to be created.
        most: how many numbers a vector may have.
        instead: what the user can do about it, for the error.

    Raises:
        DimensionLimitError: there are more.
    """
    if info.dimension > most:
        way_out = f": {instead}" if instead else ""
        raise DimensionLimitError(
            f"{service} takes vectors of at most {most:,} numbers, not {info.dimension:,}{way_out}"
        )


def check_size(service: str, id: str, size: int, most: int) -> None:  # noqa: A002
    """Refuse a document that has more bytes, as it is stored, than a service takes (``SerializationError``)."""
    if size > most:
        raise SerializationError(
            f"document {id!r} has {size} bytes as it is stored; {service} takes {most}: split its content"
        )


def pages(items: Sequence[T], size: int | None) -> Iterator[list[T]]:
    """Return the items in order, in lists of so many at the most (None: in one list); no items, no list."""
    step = size or len(items) or 1
    for start in range(0, len(items), step):
        yield list(items[start : start + step])


def packed(items: Iterable[tuple[T, int]], most_bytes: int, most: int) -> list[list[T]]:
    """Return items in order, in lists that each go into one request.

    Args:
        items: each with its bytes.
        most_bytes: of the items of one request; a larger item goes alone.
        most: how many go into one request.
    """
    found: list[list[T]] = []
    total = 0
    for item, size in items:
        if not found or total + size > most_bytes or len(found[-1]) == most:
            found.append([])
            total = 0
        total += size
        found[-1].append(item)
    return found


def batches(
    rows: Sequence[DocumentRow], most_bytes: int, dimension: int, most: int | None = None
) -> Iterator[Sequence[DocumentRow]]:
    """Return the rows in order, as many at a time as go into one request.

    Args:
        rows: the documents.
        most_bytes: of their text, and of their numbers as JSON (16 bytes each), in one request; a longer document goes
            alone.
        dimension: of the embeddings.
        most: documents in one request; None: no limit.
    """
    start = size = 0
    for number, row in enumerate(rows):
        own = len(row.content.encode()) + len((row.metadata or "").encode()) + 16 * dimension
        if number > start and (size + own > most_bytes or number - start == most):
            yield rows[start:number]
            start, size = number, 0
        size += own
    if start < len(rows):
        yield rows[start:]
