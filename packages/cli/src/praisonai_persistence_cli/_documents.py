"""Collections of documents: reading them, writing them, copying them."""

from __future__ import annotations

import hashlib
import math
import threading
from functools import partial
from typing import TYPE_CHECKING

from praisonai_persistence.errors import (
    CollectionExistsError,
    DimensionError,
    DocumentExistsError,
    InvalidIdentifierError,
    UnsupportedOperationError,
)
from praisonai_persistence_cli._copying import AT_ONCE, Outcome, Plan, batches, in_threads
from praisonai_persistence_cli._reading import Total, canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from praisonai_persistence.knowledge import CollectionInfo, KnowledgeStore
    from praisonai_persistence.records import KnowledgeDocument

__all__ = [
    "collection_digest",
    "copy_knowledge",
    "document_digest",
    "put_collection",
]

_TOLERANCE = 1e-4  # of the parts of an embedding that an engine keeps in its own way (normalised, as 32-bit floats)


def copy_knowledge(source: KnowledgeStore, target: KnowledgeStore, plan: Plan) -> Outcome:
    """Copy all collections with their documents."""
    outcome = Outcome()
    infos = []
    for name in source.list_collections():
        try:
            infos.append(source.get_collection(name))
        except UnsupportedOperationError as error:  # of another program, and nothing that a store could have
            outcome.conflicts.append(str(error))
    plan.progress.expect(units=len(infos), items=sum(source.count(info.name) for info in infos))
    for info in infos:
        _copy_collection(source, target, info, plan, outcome)
        plan.progress.add(units=1)
    return outcome


def _copy_collection(
    source: KnowledgeStore, target: KnowledgeStore, info: CollectionInfo, plan: Plan, outcome: Outcome
) -> None:
    pages = (partial(source.get, info.name, ids) for ids in batches(source.document_ids(info.name), AT_ONCE))
    put_collection(target, info, pages, plan, outcome)


def put_collection(
    target: KnowledgeStore,
    info: CollectionInfo,
    pages: Iterable[Callable[[], Sequence[KnowledgeDocument]]],
    plan: Plan,
    outcome: Outcome,
) -> None:
    """Write what the target lacks of a collection, and count what became of it.

    Args:
        target: the store.
        info: what the collection is created with.
        pages: give all its documents, few enough at a time to be read back at once; called by the workers.
        plan: how.
        outcome: what is counted.
    """
    try:
        target.create_collection(info.name, info.dimension, info.distance, info.metadata)
    except (CollectionExistsError, DimensionError, InvalidIdentifierError) as error:
        outcome.conflicts.append(f"collection {info.name!r}: {error}")
        return
    lock = threading.Lock()
    before = len(outcome.conflicts)
    total = Total([collection_digest(info)])

    def work(page: Callable[[], Sequence[KnowledgeDocument]], check: Callable[[], None]) -> None:
        _put_documents(target, info, page(), plan, outcome, total, lock)
        check()

    in_threads(pages, work, plan.workers)
    outcome.total.add(total.hexdigest())
    outcome.units += before == len(outcome.conflicts)


def collection_digest(info: CollectionInfo) -> str:
    """Return the digest of what a collection was created with."""
    return hashlib.sha256(canonical([info.name, info.dimension, info.distance, info.metadata])).hexdigest()


def _put_documents(
    target: KnowledgeStore,
    info: CollectionInfo,
    documents: Sequence[KnowledgeDocument],
    plan: Plan,
    outcome: Outcome,
    total: Total,
    lock: threading.Lock,
) -> None:
    """Write what the target lacks of some documents, and count what became of them.

    Args:
        target: the store, which has the collection.
        info: the collection.
        documents: few enough to be read back at once.
        plan: how.
        outcome: what is counted.
        total: of the collection; gets the digests of the documents.
        lock: around the counting.
    """
    name = info.name
    ours = {document.id: document for document in documents}
    theirs = {document.id: document for document in target.get(name, list(ours))}
    new = [document for document in ours.values() if document.id not in theirs]
    other = [item for item in theirs if not _same(ours[item], theirs[item], info.distance)]
    conflicts = {} if plan.update else dict.fromkeys(other, "the target has it already, with other content")
    written = list(new)
    if new:
        try:
            target.insert(name, new)
        except DocumentExistsError:  # somebody was quicker
            written = [document for document in new if _insert(target, name, document)]
    if plan.update and other:
        target.upsert(name, [ours[item] for item in other])
        written += [ours[item] for item in other]
    if plan.verify:
        wanted = dict.fromkeys(document.id for document in (*new, *written))
        stored = {document.id: document for document in target.get(name, list(wanted))}
        for document in (*new, *written):
            there = stored.get(document.id)
            if there is None or not _same(document, there, info.distance):
                conflicts[document.id] = "it reads back otherwise than it was written"
    with lock:
        outcome.conflicts += [f"document {item!r} of collection {name!r}: {text}" for item, text in conflicts.items()]
        for item, document in ours.items():
            if item not in conflicts:
                outcome.items += 1
                total.add(document_digest(document))
        outcome.written += sum(document.id not in conflicts for document in written)
    plan.progress.add(items=len(ours))


def _insert(target: KnowledgeStore, name: str, document: KnowledgeDocument) -> bool:
    try:
        target.insert(name, [document])
    except DocumentExistsError:
        return False
    return True


def document_digest(document: KnowledgeDocument) -> str:
    """Return the digest of all but the embedding, of which engines keep different roundings."""
    return hashlib.sha256(_canonical(document)).hexdigest()


def _canonical(document: KnowledgeDocument) -> bytes:
    return canonical(
        [document.id, document.content, document.metadata, document.content_hash, float(document.created_at)]
    )


def _same(a: KnowledgeDocument, b: KnowledgeDocument, distance: str) -> bool:
    if _canonical(a) != _canonical(b) or a.embedding is None or b.embedding is None:
        return False
    one, other = a.embedding, b.embedding
    if distance == "cosine":  # some engines keep these with the length 1, which is as good
        one, other = _unit(one), _unit(other)
    scale = max(map(abs, one), default=0.0)
    return len(one) == len(other) and all(abs(x - y) <= _TOLERANCE * scale for x, y in zip(one, other, strict=True))


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [x / length for x in vector] if length else list(vector)
