"""From an engine's candidates to the documents that a search has to return."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from praisonai_persistence.filters import matches
from praisonai_persistence.payload import loads
from praisonai_persistence.stores.knowledge import decode_document
from praisonai_persistence.vectors import norm, scores

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import Search

__all__ = ["SPARE", "TOLERANCE", "Candidate", "nearest", "selected"]

SPARE = 10
"""How many candidates beyond the limit are asked for where the engine's order is not the final one."""
GROWTH = 4
"""By how much the number of candidates grows when it was too small."""
TOLERANCE = 1e-5
"""How far the rank that an engine computes in 32-bit floats may be off, as a score; for inner products, in units of the
product of the lengths."""


class Candidate(NamedTuple):
    """A document as an engine returns it from a search; text is encoded, ``metadata`` is JSON text or None.

    ``score`` is the engine's own, where it means what the contract says within 1e-5; None: computed from the embedding,
    which must be there then.
    """

    id: str
    content: str
    embedding: array[float] | None
    metadata: str | None
    content_hash: str | None
    created_at: float
    score: float | None = None


def selected(filters: Filter | None, metadata: str | None) -> bool:
    """Whether metadata as JSON text match a filter."""
    return filters is None or matches(filters, None if metadata is None else loads(metadata))


def nearest(
    search: Search,
    distance: str,
    fetch: Callable[[int], Steps[Sequence[Candidate]]],
    *,
    exact: bool,
    ordered: bool = False,
    spare: int = SPARE,
) -> Steps[list[KnowledgeDocument]]:
    """Return what a search has to return, by asking the engine for more until that is certain.

    Args:
        search: what is wanted.
        distance: the collection's.
        fetch: an operation that returns the engine's best ``n`` candidates under the compiled filter, best first; fewer
            only when there are no more.
        exact: whether the compiled filter is. Otherwise every candidate is checked here.
        ordered: whether the engine's order is the final one: best score first, equal scores by id. Otherwise what the
            engine ranks within ``TOLERANCE`` of the last place is looked at too.
        spare: how many candidates beyond the limit are asked for at first, where the engine's order is not the final
            one.
    """
    if not search.limit:
        return []
    wanted = search.limit if ordered and exact else search.limit + spare
    while True:
        found = yield from fetch(wanted)
        scored = _scored(found, distance, search.query)
        kept = [pair for pair in scored if exact or selected(search.filters, pair[1].metadata)]
        if not ordered:
            kept.sort(key=lambda pair: (-pair[0], pair[1].id))
        if len(found) < wanted or _certain(scored, kept, search, distance, ordered=ordered):
            break
        wanted *= GROWTH
    if search.score_threshold is not None:
        kept = [pair for pair in kept if pair[0] >= search.score_threshold]
    return [_document(item, value, search) for value, item in kept[: search.limit]]


_Scored = tuple[float, Candidate]


def _scored(found: Sequence[Candidate], distance: str, query: array[float]) -> list[_Scored]:
    """Return candidates with their scores: the engine's own, or of their embeddings."""
    vectors = [item.embedding for item in found if item.score is None and item.embedding is not None]
    computed = iter(scores(distance, query, vectors))
    if len(vectors) < sum(item.score is None for item in found):
        raise ValueError("a candidate needs its score or its embedding")
    return [(next(computed) if item.score is None else item.score, item) for item in found]


def _certain(
    scored: Sequence[_Scored], kept: Sequence[_Scored], search: Search, distance: str, *, ordered: bool
) -> bool:
    """Whether nothing that the engine has not returned can belong to the result."""
    last = scored[-1][0]
    if not ordered:
        # Both the last one's rank and that of one that was not returned may be off.
        last += 2 * TOLERANCE * _unit(search, distance, (item for _, item in scored))
    if search.score_threshold is not None and last < search.score_threshold:
        return True
    return len(kept) >= search.limit and (ordered or kept[search.limit - 1][0] > last)


def _unit(search: Search, distance: str, items: Iterable[Candidate]) -> float:
    if distance != "dot":
        return 1.0
    longest = max((norm(item.embedding) for item in items if item.embedding is not None), default=1.0)
    return max(1.0, norm(search.query) * longest)


def _document(item: Candidate, value: float, search: Search) -> KnowledgeDocument:
    vector = item.embedding if search.with_embeddings else None
    return decode_document(
        item.id, item.content, vector, item.metadata, item.content_hash, item.created_at, score=value
    )
