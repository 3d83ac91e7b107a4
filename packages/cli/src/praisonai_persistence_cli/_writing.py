"""Putting a session into a store: what copies and imports have in common.

A session is created and then appended to, page by page, in the order of the source. A page is written whole or not at
all, and appending a message again does nothing; so at every moment the target holds a beginning of the source's
messages. Whoever comes later, after a kill or at the same time, compares that beginning and goes on behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from praisonai_persistence.errors import (
    DuplicateMessageError,
    InvalidValueError,
    PersistenceError,
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence_cli._reading import SessionDigest, canonical_message, canonical_session, message_pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = ["REFUSALS", "Put", "VerificationError", "put_session"]


class VerificationError(PersistenceError):
    """What was read back from the target is not what was written to it."""


REFUSALS = (
    DuplicateMessageError,
    InvalidValueError,
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
    VerificationError,
)
"""What concerns one session alone, so that others can go on."""


class Put(NamedTuple):
    """What became of a session.

    Attributes:
        messages: how many it has.
        written: how many of them were not there before.
        created: whether the session was not there before.
        digest: of the source's session.
    """

    messages: int
    written: int
    created: bool
    digest: str


def put_session(
    target: ConversationStore,
    session: ConversationSession,
    pages: Iterable[list[ConversationMessage]],
    *,
    update: bool = False,
    verify: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> Put:
    """Write a session and its messages, or what the target lacks of them.

    Args:
        target: the store.
        session: of the source.
        pages: all its messages, in order.
        update: whether a session that has other fields (user, agent, name, state, metadata) gets these.
        verify: whether what was written is read back and compared.
        progress: called with the number of messages that are in the target now.

    Raises:
        SessionExistsError: the target has the session with other content; nothing of it was changed.
        SerializationError: the target refuses a value.
        VerificationError: what was read back differs.
    """
    writer = _Writer(target, session, update)
    for page in pages:
        writer.put(page)
        progress(len(page))
    return writer.finish(verify=verify)


class _Writer:
    def __init__(self, target: ConversationStore, session: ConversationSession, update: bool) -> None:
        self._target = target
        self._session = session
        self._written = 0
        self._outdated = False
        self._theirs: Iterator[ConversationMessage] | None = None  # None: the target has no more that we do not know
        self._known = 0  # seq of the target's last message that was compared
        self._digest = SessionDigest(session)
        try:
            target.create_session(session)
            self.created = True
        except SessionExistsError:
            self.created = False
            self._look(update)
        self._compared = self._digest.copy()

    def _look(self, update: bool) -> None:
        stored = self._target.get_session(self._session.session_id)
        if stored is None:
            raise SessionNotFoundError(f"session {self._session.session_id!r} was deleted in the target meanwhile")
        if canonical_session(stored) != canonical_session(self._session):
            # created_at is set once and for all, so that no update could make them equal.
            if not update or stored.created_at != self._session.created_at:
                raise self._differs("with other fields (user, agent, name, state, metadata or created_at)")
            self._outdated = True
        self._theirs = (message for page in message_pages(self._target, self._session.session_id) for message in page)

    def put(self, page: list[ConversationMessage]) -> None:
        rest = page if self._theirs is None else self._behind(page, self._theirs)
        if not rest:
            return
        try:
            self._target.add_messages(self._session.session_id, rest)
        except DuplicateMessageError as error:
            raise self._differs("with other messages") from error
        self._digest.add(*map(canonical_message, rest))
        self._written += len(rest)

    def _behind(
        self, page: list[ConversationMessage], theirs: Iterator[ConversationMessage]
    ) -> list[ConversationMessage]:
        """Compare messages with those of the target; return what the target lacks."""
        for index, message in enumerate(page):
            other = next(theirs, None)
            if other is None:
                self._theirs = None
                return page[index:]
            raw = canonical_message(message)
            if raw != canonical_message(other):
                raise self._differs("with other messages")
            self._digest.add(raw)
            self._compared.add(raw)
            self._known = other.seq
        return []

    def finish(self, *, verify: bool) -> Put:
        if self._theirs is not None and next(self._theirs, None) is not None:
            raise self._differs("with more messages")
        if self._outdated:
            self._target.update_session(self._session)
        digest = self._digest.hexdigest()
        if verify and self._written:
            self._read_back()
            if self._compared.hexdigest() != digest:
                raise VerificationError(
                    f"session {self._session.session_id!r} reads back otherwise than it was written: "
                    f"{self._compared.messages} of {self._digest.messages} messages; somebody changes it meanwhile, "
                    "or the target loses data"
                )
        return Put(self._digest.messages, self._written, self.created, digest)

    def _read_back(self) -> None:
        """Read as many messages as were written; another run may be further than we are."""
        missing = self._written
        for page in message_pages(self._target, self._session.session_id, self._known):
            some = page[:missing]
            self._compared.add(*map(canonical_message, some))
            missing -= len(some)
            if not missing:
                return

    def _differs(self, how: str) -> SessionExistsError:
        return SessionExistsError(
            f"the target has session {self._session.session_id!r} already, {how}; it was left as it is"
        )
