"""Knowledge steps for engines that store rows under ids and find them by token, but rank no vectors, or not all."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

from praisonai_persistence.filters import Compiled
from praisonai_persistence.stores.projection import rank_embeddings, required_tokens
from praisonai_persistence.stores.ranking import Candidate, selected
from praisonai_persistence.stores.vector_engine import Opened
from praisonai_persistence.stores.versioned import Entry, VersionedSteps

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.vector_engine import Ranked

__all__ = ["Entry", "ScannedSteps", "Selection", "What"]

C = TypeVar("C", bound=Opened)

What = Literal["ids", "writers", "vectors", "documents"]
"""What is read of rows: ids as text, an [Entry][] with the writer or with the embedding as [vector_bytes][], or
``Candidate``s."""
_KEPT = 5_000  # candidates beyond the limit that a search keeps before it drops the worst


class Selection(NamedTuple):
    """What a filter selects.

    Attributes:
        filters: the filter.
        tokens: every document has them that it selects; see [required_tokens][].
        exact: whether it selects all documents that have them.
    """

    filters: Filter
    tokens: tuple[str, ...]
    exact: bool


class _Compiler:
    def __init__(self, most: int) -> None:
        self._most = most

    def compile(self, tree: Filter | None) -> Compiled[Selection]:
        if tree is None:
            return Compiled(None)
        tokens, exact = required_tokens(tree)
        return Compiled(Selection(tree, tuple(tokens[: self._most]), exact and len(tokens) <= self._most))


class ScannedSteps(VersionedSteps[C, Selection]):
    """For engines with rows under ids, an index of tokens, and writes of one row under a condition; needs NumPy.

    The engine narrows by tokens, all of which a row must have. The store reads what it finds page by page, checks the
    filter where the tokens do not say all of it, and compares the query with every vector. So results are exact, and a
    search takes time that grows with the number of documents that have the tokens. Documents that are returned are read
    once more, and checked again.

    Each write marks its rows with a writer, which is the version of ``VersionedSteps``.
    """

    most_tokens: ClassVar[int] = 8
    """How many tokens the engine is given at most."""
    most_ids: int = 100

    def __init__(self) -> None:
        super().__init__(_Compiler(self.most_tokens))

    @abstractmethod
    def _page(
        self, opened: C, what: What, ids: Sequence[str] | None, tokens: Sequence[str], place: Any
    ) -> Steps[tuple[Sequence[Any], Any]]:
        """Return some rows, and where the next ones begin (None: there are no more).

        Args:
            opened: the collection.
            what: is read of each row.
            ids: of the rows, ``most_ids`` at most; None: any.
            tokens: all of which the rows have, where no ids are given; those of ``values``, ``items`` and ``keys``.
            place: where the page begins; None: at the beginning.
        """

    @abstractmethod
    def _store(self, opened: C, rows: Sequence[DocumentRow], writer: str, *, new: bool) -> Steps[Sequence[bool]]:
        """Write rows with distinct ids, over those that exist, or (``new``) each only if there is none of its id.

        Returns:
            for each row whether it was written; not looked at unless ``new``.
        """

    def _walk(
        self, opened: C, what: What, ids: Sequence[str] | None, tokens: Sequence[str], take: Callable[[Any], Any]
    ) -> Steps[None]:
        """Read rows page by page, and hand over each page."""
        place = None
        while True:
            rows, place = yield from self._page(opened, what, ids, tokens, place)
            take(rows)
            if place is None:
                return

    def _selected(
        self, opened: C, what: What, ids: Sequence[str] | None, chosen: Selection | None, take: Callable[[Any], Any]
    ) -> Steps[None]:
        """Read entries that a filter selects page by page, and hand over each page."""
        filters = None if chosen is None or (chosen.exact and ids is None) else chosen.filters
        tokens = chosen.tokens if chosen is not None and ids is None else ()

        def check(rows: Sequence[Any]) -> None:
            take(rows if filters is None else [row for row in rows if selected(filters, row.metadata)])

        yield from self._walk(opened, what, ids, tokens, check)

    def _entries(self, opened: C, ids: Sequence[str] | None, chosen: Selection | None) -> Steps[list[Entry]]:
        found: list[Entry] = []
        yield from self._selected(opened, "writers", ids, chosen, found.extend)
        return found

    # What `VectorSteps` asks for.

    def _taken(self, opened: C, ids: Sequence[str]) -> Steps[Sequence[str]]:
        found: list[str] = []
        yield from self._walk(opened, "ids", ids, (), found.extend)
        return found

    def _fetch(self, opened: C, ids: Sequence[str]) -> Ranked:
        found: list[Candidate] = []
        yield from self._walk(opened, "documents", ids, (), found.extend)
        return found

    def _count(self, opened: C, expression: Selection | None) -> Steps[int]:
        count = 0

        def add(rows: Sequence[Any]) -> None:
            nonlocal count
            count += len(rows)

        exact = expression is None or expression.exact
        yield from self._selected(opened, "ids" if exact else "writers", None, expression, add)
        return count

    def _rank(self, opened: C, query: array[float], limit: int, expression: Selection | None) -> Ranked:
        best: list[Entry] = []

        def keep() -> None:
            order = rank_embeddings(opened.info.distance, query, [entry.more for entry in best])
            best[:] = [best[number] for number in order[:limit]]

        def add(rows: Sequence[Entry]) -> None:
            best.extend(rows)
            if len(best) > 2 * limit + _KEPT:
                keep()

        yield from self._selected(opened, "vectors", None, expression, add)
        if best:
            keep()
        return (yield from self._current(opened, [entry.id for entry in best], expression))

    def _current(self, opened: C, ids: Sequence[str], chosen: Selection | None) -> Steps[list[Candidate]]:
        """Return the documents of ids that a filter selects, as they are now, in the order of the ids."""
        found = {row.id: row for row in (yield from self._paged(self._fetch, opened, ids))}
        rows = (found[key] for key in ids if key in found)
        return [row for row in rows if chosen is None or selected(chosen.filters, row.metadata)]

    def _put(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._store(opened, rows, uuid.uuid4().hex, new=False)

    def _insert(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[Sequence[tuple[str, str]]]:
        writer = uuid.uuid4().hex
        done = yield from self._store(opened, rows, writer, new=True)
        return [(row.id, writer) for row, written in zip(rows, done, strict=True) if written]
