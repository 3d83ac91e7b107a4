"""Knowledge steps for engines whose writes overwrite, and which have no write that is refused where an id exists."""

from __future__ import annotations

import random
import secrets
import time
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from praisonai_persistence.errors import (
    ConflictError,
    ConnectionFailedError,
    DocumentExistsError,
    PersistenceError,
)
from praisonai_persistence.steps import Pause
from praisonai_persistence.stores.vector_engine import Opened, VectorSteps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.vector_engine import Compiles

__all__ = ["ClaimedSteps"]

C = TypeVar("C", bound=Opened)
E = TypeVar("E")


class ClaimedSteps(VectorSteps[C, E]):
    """For engines with several writers, where two writes of one id at the same time go wrong.

    A writer first writes a claim on the ids, then reads all claims on them. Of two writers that claim one id, at least
    one reads the other's claim, because each writes before it reads. So at most one of them finds itself alone. An
    insert then checks again whether the ids are taken. A writer that sees an older claim withdraws its own and starts
    again. The writer of the oldest claim waits for the others to finish or to withdraw. So one of them always goes on.

    The claim of a killed writer stays. A writer that has seen the same claim in its way for the claim's lease removes
    it; no clocks are compared. An owner that writes for long renews its claim. Up to four requests lie between
    one claim and the next: to make it, to withdraw the one before, to write, to make the next. So a lease is five times
    the ``timeout``.

    It takes three requests more for an ``upsert``, and four more for an ``insert``. The engine must be one where a
    write that was acknowledged is seen by every read that begins afterwards.

    Args:
        compiler: translates filters.
        timeout: seconds that one request may take.
    """

    def __init__(self, compiler: Compiles[E], timeout: float) -> None:
        super().__init__(compiler)
        self._lease = min(0xFFFF, int(5 * timeout) + 1)
        self._stale: dict[str, str] = {}  # own claims that still have to be withdrawn, and where

    @abstractmethod
    def _claim(self, opened: C, claim: str, ids: Sequence[str]) -> Steps[None]:
        """Write a claim on ids under its name: 32 hexadecimal digits, which may stand for a UUID."""

    @abstractmethod
    def _claims(self, opened: C, ids: Sequence[str]) -> Steps[Sequence[str]]:
        """Return the names of all claims on one or more of these ids, ``most_ids`` at the most."""

    @abstractmethod
    def _withdraw(self, opened: C, claim: str) -> Steps[None]:
        """Remove a claim; harmless if it is not there."""

    @abstractmethod
    def _store(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        """Write rows, over those that exist, in one request."""

    @staticmethod
    def _now() -> float:
        """Return seconds of a clock of this process's own."""
        return time.monotonic()

    def _put(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._alone(opened, rows, new=False)

    def _add(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._alone(opened, rows, new=True)

    def _alone(self, opened: C, rows: Sequence[DocumentRow], *, new: bool) -> Steps[None]:
        """Write rows while nobody else writes any of their ids."""
        own = _Own(opened.info.name, [row.id for row in rows], self._lease)
        ended = False
        try:
            yield from self._tidy(opened)
            yield from self._win(opened, own)
            if new and (taken := (yield from self._paged(self._taken, opened, own.ids))):
                raise DocumentExistsError(f"document {taken[0]!r} exists already; nothing was written")
            for some in self._portions(opened, rows):
                yield from self._renew(opened, own)
                yield from self._store(opened, some)
            ended = True
        except ConnectionFailedError:
            raise  # to withdraw the claim would take as long again
        except PersistenceError:
            ended = True
            yield from self._tidy(opened, own.claim)
            raise
        finally:
            if not ended:  # also when interrupted: the request was cut off, so the next write withdraws the claim
                self._stale[own.claim] = own.collection
        yield from self._tidy(opened, own.claim)

    def _tidy(self, opened: C, *claims: str) -> Steps[None]:
        """Withdraw own claims; one that stays costs others time, and no more."""
        self._stale.update(dict.fromkeys(claims, opened.info.name))
        for claim in [claim for claim, name in list(self._stale.items()) if name == opened.info.name]:
            with suppress(PersistenceError):
                yield from self._withdraw(opened, claim)
                self._stale.pop(claim, None)

    def _renew(self, opened: C, own: _Own) -> Steps[None]:
        """Claim anew, under a name that those who wait have not seen for long, if a claim has stood for a while."""
        if self._now() - own.made > self._lease / 4:
            former = own.claim
            own.rename(self._now())
            self._stale[former] = own.collection
            yield from self._claim(opened, own.claim, own.ids)
            with suppress(PersistenceError):  # the next write withdraws it
                yield from self._withdraw(opened, former)
                self._stale.pop(former, None)

    def _win(self, opened: C, own: _Own) -> Steps[None]:
        """Claim ids; return once nobody else has a claim on any of them."""
        begun, turns, stands, waits = self._now(), 0, False, False
        seen: dict[str, float] = {}
        while True:
            if stands:
                yield from self._renew(opened, own)
            elif not waits:
                own.made = self._now()
                yield from self._claim(opened, own.claim, own.ids)
                stands = True
            found = yield from self._paged(self._claims, opened, own.ids)
            stands = stands and own.claim in found  # if not, somebody took its owner for dead
            others = [other for other in found if other != own.claim]
            if stands and not others:
                return
            now = self._now()
            seen = {other: seen.get(other, now) for other in others}
            for other, since in seen.items():
                if now - since > _lease(other):
                    yield from self._withdraw(opened, other)
            if now - begun > 2 * max(map(_lease, [own.claim, *others])):
                raise ConflictError("others have been writing documents of these ids all the time; try again later")
            waits = bool(others) and min(others) < own.claim
            if waits and stands:
                yield from self._withdraw(opened, own.claim)
                stands = False
            turns += 1
            yield Pause(random.uniform(0.003, 0.01) * (min(10, turns) if waits else 1))


class _Own:
    """A claim of this process: its name is when it was first made, a random part, and its lease."""

    def __init__(self, collection: str, ids: list[str], lease: int) -> None:
        self.collection = collection
        self.ids = ids
        self.made = 0.0
        self._age, self._lease = format(time.time_ns() // 1_000_000, "012x"), lease
        self.rename(0.0)

    def rename(self, made: float) -> None:
        """Take another name of the same age."""
        self.made = made
        self.claim = f"{self._age}{secrets.token_hex(8)}{self._lease:04x}"


def _lease(claim: str) -> int:
    return int(claim[-4:], 16)
