"""Knowledge steps for engines whose writes overwrite, and which have no write that is refused where an id exists."""

from __future__ import annotations

import random
import time
import uuid
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, TypeVar

from praisonai_persistence.errors import ConflictError, DocumentExistsError, PersistenceError
from praisonai_persistence.steps import Pause
from praisonai_persistence.stores.vector_engine import Opened, VectorSteps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.filters import Compiler
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow

__all__ = ["ClaimedSteps"]

C = TypeVar("C", bound=Opened)
E = TypeVar("E")


class ClaimedSteps(VectorSteps[C, E]):
    """For engines whose writes replace what is there, and that others write to as well.

    Who inserts first writes a claim on the ids, then reads all claims on them. Of two who claim one id, at least one
    reads the claim of the other, because each writes before it reads; so at most one goes on alone, and looks once more
    whether the ids are taken before it writes. Who sees a claim with a smaller name than its own withdraws and begins
    again; the one with the smallest waits for the others. So that one of them goes on.

    A claim whose owner was killed stays. Who has seen the same claim in its way for ``lease`` seconds removes it; no
    clocks are compared. That is longer than a write may take, or two of them could believe to be alone.

    It takes four requests more than an ``upsert``. The engine must be one where a write that was acknowledged is seen
    by every read that begins afterwards.

    Args:
        compiler: translates filters.
        shared: whether there may be other writers; without, nothing is claimed.
    """

    lease: ClassVar[float] = 45.0
    """Seconds after which a claim that stands in the way is removed."""
    patience: ClassVar[float] = 60.0
    """Seconds that an insert waits for others who insert the same ids."""

    def __init__(self, compiler: Compiler[E], *, shared: bool = True) -> None:
        super().__init__(compiler)
        self._shared = shared
        self._stale: dict[str, str] = {}  # claims of interrupted inserts, which have written nothing, and where

    @abstractmethod
    def _claim(self, opened: C, claim: str, ids: Sequence[str]) -> Steps[None]:
        """Write a claim on ids, under its name, a UUID as text."""

    @abstractmethod
    def _claims(self, opened: C, ids: Sequence[str]) -> Steps[Sequence[str]]:
        """Return the names of all claims on one or more of these ids."""

    @abstractmethod
    def _withdraw(self, opened: C, claim: str) -> Steps[None]:
        """Remove a claim; harmless if it is not there."""

    def _add(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        if not self._shared:
            yield from self._put(opened, rows)
            return
        ids = [row.id for row in rows]
        claim, writes = uuid.uuid4().hex, False
        try:
            yield from self._tidy(opened)
            yield from self._alone(opened, claim, ids)
            if taken := (yield from self._taken(opened, ids)):
                raise DocumentExistsError(f"document {taken[0]!r} exists already; nothing was written")
            writes = True
            yield from self._put(opened, rows)
        except PersistenceError:
            writes = True
            yield from self._tidy(opened, claim)
            raise
        finally:
            if not writes:
                self._stale[claim] = opened.info.name
        yield from self._tidy(opened, claim)

    def _tidy(self, opened: C, *claims: str) -> Steps[None]:
        """Remove claims; one that stays costs others time, and no more."""
        stale = [claim for claim, name in list(self._stale.items()) if name == opened.info.name]
        for claim in [*claims, *stale]:
            with suppress(PersistenceError):
                yield from self._withdraw(opened, claim)
                self._stale.pop(claim, None)

    def _alone(self, opened: C, claim: str, ids: Sequence[str]) -> Steps[None]:
        """Claim ids; return once nobody else has a claim on any of them."""
        end = time.monotonic() + self.patience
        seen: dict[str, float] = {}
        stands = False
        while True:
            if not stands:
                yield from self._claim(opened, claim, ids)
                stands = True
            others = [other for other in (yield from self._claims(opened, ids)) if other != claim]
            if not others:
                return
            now = time.monotonic()
            seen = {other: seen.get(other, now) for other in others}
            for other, since in seen.items():
                if now - since > self.lease:
                    yield from self._withdraw(opened, other)
            if now > end:
                raise ConflictError("others have been inserting documents of these ids all the time; try again later")
            if min(others) < claim:
                yield from self._withdraw(opened, claim)
                stands = False
            yield Pause(random.uniform(0.002, 0.03))
