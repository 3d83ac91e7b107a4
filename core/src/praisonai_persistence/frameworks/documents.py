"""Documents of a collection, for adapters to frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import CollectionNotFoundError
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.frameworks.calls import Call
from praisonai_persistence.vectors import check_dimension, pack, scorer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.frameworks.calls import Calls
    from praisonai_persistence.records import KnowledgeDocument

__all__ = ["all_documents", "ask", "named", "nearest_of", "put"]


def put(store: Any, collection: str, documents: Sequence[KnowledgeDocument], distance: str) -> Calls[list[str]]:
    """Add or replace documents, one or more; a collection that is not there is created with their dimension first."""
    write = Call(store, "upsert", (collection, documents))
    try:
        return (yield write)  # type: ignore[no-any-return]
    except CollectionNotFoundError:
        dimension = len(documents[0].embedding or ())
        yield Call(store, "create_collection", (collection, dimension, distance))
        return (yield write)  # type: ignore[no-any-return]


def ask(store: Any, collection: str, method: str, *args: Any, nothing: Any = None, **kwargs: Any) -> Calls[Any]:
    """Call a method on a collection; ``nothing`` is the answer where there is no collection, as nothing was added."""
    try:
        return (yield Call(store, method, (collection, *args), kwargs))
    except CollectionNotFoundError:
        return nothing


def named(
    store: Any, collection: str, ids: Sequence[str], filters: Mapping[str, Any] | None
) -> Calls[list[KnowledgeDocument]]:
    """Return documents with these ids that match, each once, in the order asked."""
    tree = parse(filters)
    found = yield from ask(store, collection, "get", list(dict.fromkeys(ids)), nothing=[])
    return [document for document in found if matches(tree, document.metadata)]


def nearest_of(
    store: Any, collection: str, ids: Sequence[str], query: Sequence[float], filters: Any, limit: int
) -> Calls[list[KnowledgeDocument]]:
    """Search among the documents with these ids; what is found has its embedding."""
    found = yield from named(store, collection, ids, filters)
    info = yield from ask(store, collection, "get_collection")
    if info is None:
        return []
    check_dimension(len(query), info.dimension, "query_embedding")
    score = scorer(info.distance, pack(query, what="query_embedding"))
    for document in found:
        document.score = score(document.embedding or ())
    return sorted(found, key=lambda document: (-(document.score or 0.0), document.id))[:limit]


def all_documents(store: Any, collection: str, filters: Any) -> Calls[list[KnowledgeDocument]]:
    """Return all documents that match, with their embeddings, by id."""
    found = yield from ask(store, collection, "document_ids", filters, nothing=[])
    return (yield from ask(store, collection, "get", found, nothing=[]))  # type: ignore[no-any-return]
