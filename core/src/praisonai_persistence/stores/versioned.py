"""Knowledge steps for engines whose writes can ask for a version of a row, or that there is no row yet."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from praisonai_persistence.drivers.throttling import Pauses, ThrottledError
from praisonai_persistence.errors import DocumentExistsError
from praisonai_persistence.steps import writes
from praisonai_persistence.stores.ranking import selected
from praisonai_persistence.stores.vector_documents import pages
from praisonai_persistence.stores.vector_engine import Opened, VectorSteps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.vector_engine import Scanned

__all__ = ["Entry", "VersionedSteps"]

C = TypeVar("C", bound=Opened)
E = TypeVar("E")


class Entry(NamedTuple):
    """A document as it was found.

    Attributes:
        id: the document's.
        metadata: as JSON text.
        more: its version; or what else was asked for.
    """

    id: str
    metadata: str | None
    more: Any


class VersionedSteps(VectorSteps[C, E]):
    """For engines with several writers, whose writes can have a condition.

    An insert that finds another's row removes the rows that it has written itself, unless others have written over
    them. A deletion removes a row in the version in which it was found to match, and looks again at those that were
    written meanwhile.
    """

    patience: float = 30.0
    """Seconds for which a deletion that removes nothing looks again at what others have written meanwhile."""

    @abstractmethod
    def _insert(self, opened: C, rows: Sequence[Any]) -> Steps[Sequence[tuple[str, Any]]]:
        """Write one of ``_portions``, each row only if there is none of its id.

        Returns:
            ids and versions of the rows that were written.
        """

    @abstractmethod
    def _entries(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Steps[Sequence[Entry]]:
        """Return the documents, with their versions, of these ids (None: any) that the expression selects."""

    def _versions(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Steps[Sequence[Entry]]:
        """Return what ``_entries`` does, for a caller that reads no metadata; where they cost nothing, with them."""
        return self._entries(opened, ids, expression)

    @abstractmethod
    def _unstore(self, opened: C, written: Sequence[tuple[str, Any]]) -> Steps[Sequence[bool | None]]:
        """Remove rows by id, each if it has this version still.

        Returns:
            for each whether it was removed; None: it was not there.
        """

    def _scan(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Scanned:
        return [(entry.id, entry.metadata) for entry in (yield from self._entries(opened, ids, expression))]

    def _add(self, opened: C, rows: Sequence[Any]) -> Steps[None]:
        mine: list[tuple[str, Any]] = []
        for some in list(self._portions(opened, rows)):
            written = yield from self._insert(opened, some)
            mine += written
            if len(written) < len(some):
                if mine:
                    yield from self._unstore(opened, mine)
                raise DocumentExistsError("another writer inserted one of the documents meanwhile; nothing was written")

    def _remove(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Steps[int]:
        return (yield from self._remove_matching(opened, ids, expression, None))

    def _remove_matching(
        self, opened: C, ids: Sequence[str] | None, expression: E | None, checked: Filter | None
    ) -> Steps[int]:
        """Remove the documents with these ids (None: any) that the expression and a filter select; return how many."""
        gone, pauses = 0, None
        read = self._versions if checked is None else self._entries
        left: Sequence[Entry] = yield from read(opened, ids, expression)
        while left := [entry for entry in left if selected(checked, entry.metadata)]:
            done = yield from self._unstore(opened, [(entry.id, entry.more) for entry in left])
            removed = sum(map(bool, done))
            gone += removed
            again = [entry.id for entry, answer in zip(left, done, strict=True) if answer is False]
            if again:
                if pauses is None or removed:
                    pauses = Pauses(self.patience, 0.002)
                yield from pauses.wait(ThrottledError("others write these documents again and again; try again later"))
            left = yield from self._paged(read, opened, again, expression)
        return gone

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        compiled = self._compiler.compile(filters)
        if compiled.exact:
            return (yield from super().delete(collection, ids, filters))

        def delete(opened: C) -> Steps[int]:
            gone = 0
            for some in [None] if ids is None else pages(ids, self.most_ids):
                gone += yield from self._remove_matching(opened, some, compiled.expression, filters)
            return gone

        return (yield from self._on(collection, ids is not None and not ids, delete))
