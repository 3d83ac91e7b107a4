"""Conversation stores: sessions and their messages.

``ConversationStore`` and ``AsyncConversationStore`` have the same methods and promise the same. A backend derives from
one of them and writes the methods, or takes a base of ``praisonai_persistence.stores`` that validates, connects once,
and leaves only the engine's own work. A class with the abstract methods alone, and without the arguments that stand
behind the ``*`` in their signatures, is a store too: the rest is made of them, call by call.

The store classes of installed plugins can be imported from here too:
``from praisonai_persistence.conversation import SQLiteConversationStore``.

Capabilities that a conversation store may declare:

* ``search``: ``search_messages``. * ``fork``: ``fork_session``. * ``rewrite``: ``rewrite_session`` is one step.
* ``atomic_batch``: ``add_messages`` is one step. A class that writes that method declares it by that.
* ``durable``: what was acknowledged survives the death of the process.
* ``shared``: two processes may use the same data at the same time.
* ``prefix``: ``table_prefix`` separates stores on the same data.
* ``schema``: ``schema_status``, ``migrate_schema`` and ``adopt_legacy``; see ``praisonai_persistence.schema``.
"""

from __future__ import annotations

from abc import abstractmethod

from praisonai_persistence._store import AsyncStore, SyncStore, declare
from praisonai_persistence.errors import SessionExistsError, SessionNotFoundError
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.steps import run, run_async

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, ClassVar

    from praisonai_persistence.steps import Steps

__all__ = ["AsyncConversationStore", "ConversationMessage", "ConversationSession", "ConversationStore"]


class ConversationStore(SyncStore):
    """Sessions and their messages, for sync callers."""

    kind: ClassVar[str] = "conversation"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__module__.startswith("praisonai_persistence"):  # whose stores take everything
            from praisonai_persistence._custom import append_each, complete

            complete(cls, "conversation", asynchronous=False)
            append_each(cls, ConversationStore)
        declare(cls, ConversationStore, "atomic_batch", ("add_messages",))

    @abstractmethod
    def create_session(self, session: ConversationSession) -> ConversationSession:
        """Store a new session and return it as stored: every field as given, ``version`` 1.

        Raises:
            SessionExistsError: the id is taken; the stored session is untouched.
        """

    @abstractmethod
    def get_session(self, session_id: str) -> ConversationSession | None:
        """Return the session, or None."""

    @abstractmethod
    def update_session(
        self, session: ConversationSession, *, expected_version: int | None = None
    ) -> ConversationSession:
        """Replace user_id, agent_id, name, state and metadata; return the session as stored.

        ``created_at`` stays, ``updated_at`` and ``version`` are raised; what the argument holds there is ignored.

        Raises:
            SessionNotFoundError: no session of that id.
            ConflictError: the stored version is not ``expected_version``.
        """

    def upsert_session(self, session: ConversationSession) -> ConversationSession:
        """Create the session or, if the id is taken, update it, in one atomic step; return it as stored."""
        given: Any = session
        while True:
            # create_session refuses what is no record.
            known = isinstance(given, ConversationSession) and self.get_session(session.session_id) is not None
            if not known:
                try:
                    return self.create_session(session)
                except SessionExistsError:
                    pass
            try:
                return self.update_session(session)
            except SessionNotFoundError:  # deleted in between
                continue

    @abstractmethod
    def delete_session(self, session_id: str) -> bool:
        """Remove the session with all its messages; return whether it existed."""

    @abstractmethod
    def list_sessions(
        self, user_id: str | None = None, agent_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[ConversationSession]:
        """Return sessions that match every given filter, newest ``updated_at`` first, ties by session_id."""

    @abstractmethod
    def add_message(self, session_id: str, message: ConversationMessage) -> ConversationMessage:
        """Append a message and return it as stored, with the next ``seq`` of its session.

        Idempotent: the same id again with equal content returns the stored message and adds nothing.

        Raises:
            SessionNotFoundError: no session of that id; nothing is written.
            DuplicateMessageError: the id is taken in this session by a message with other content.
            SerializationError: a value that is not JSON, or a message over the size limit.
        """

    def add_messages(self, session_id: str, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
        """Append a batch in the given order, all or none; see [add_message][ConversationStore.add_message].

        Without the capability ``atomic_batch`` the messages are appended one after the other.
        """
        return [self.add_message(session_id, message) for message in messages]

    @abstractmethod
    def get_messages(
        self,
        session_id: str,
        limit: int | None = None,
        before: float | None = None,
        after: float | None = None,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
    ) -> list[ConversationMessage]:
        """Return messages, oldest first (by ``seq``); an unknown session has none.

        Args:
            session_id: the session.
            limit: the *latest* n of what the other arguments select; None: all of it; 0: none.
            before: only messages with ``created_at < before``.
            after: only messages with ``created_at > after``.
            before_seq: only messages with ``seq < before_seq``.
            after_seq: only messages with ``seq > after_seq``.
        """

    @abstractmethod
    def delete_messages(self, session_id: str, message_ids: Sequence[str] | None = None) -> int:
        """Delete messages by id, or all with None; return how many. Unknown ids are skipped, the session stays.

        A ``seq`` is never given twice, also not after this.
        """

    def count_messages(self, session_id: str) -> int:
        """Return how many messages the session has; 0 for an unknown one."""
        return len(self.get_messages(session_id))

    def search_messages(self, query: str, user_id: str | None = None, limit: int = 20) -> list[ConversationMessage]:
        """Return messages whose content has every word of ``query``, newest ``created_at`` first.

        A word is a run of letters and digits; case does not matter. A query without a word finds nothing.
        Needs the capability ``search``.

        Raises:
            UnsupportedOperationError: this store does not have it.
        """
        self._unsupported("search messages", "search")

    def fork_session(
        self, session_id: str, up_to_seq: int | None = None, new_session_id: str | None = None
    ) -> ConversationSession:
        """Copy a session and its messages up to and with ``up_to_seq`` (None: all) into a new session; return that.

        Messages keep id, seq and created_at; the new session starts at version 1. Needs the capability ``fork``.

        Raises:
            UnsupportedOperationError: this store does not have it.
            SessionNotFoundError: no session of that id.
            SessionExistsError: ``new_session_id`` is taken.
        """
        self._unsupported("fork a session", "fork")

    def rewrite_session(
        self,
        session: ConversationSession,
        messages: Sequence[ConversationMessage] = (),
        *,
        expected_version: int,
        remove: Sequence[str] = (),
    ) -> ConversationSession:
        """Replace fields and messages of a session, or create it with messages; return it as stored.

        One step with the capability ``rewrite``: readers see the session of before or that of after, and nothing else
        is left when the call is interrupted. Without it the call is made of others, and readers see these.

        Args:
            session: as for ``update_session``, or for ``create_session``.
            messages: are appended, behind those that stay.
            expected_version: the version that the stored session must have; 0: there must be none.
            remove: ids of messages that are deleted before; unknown ones are skipped.

        Raises:
            SessionExistsError: ``expected_version`` is 0, and the id is taken.
            SessionNotFoundError: no session of that id.
            ConflictError: the stored version is not ``expected_version``.
            DuplicateMessageError: a message that stays has the id of a new one, and other content.
        """
        steps = _rewriting(session, messages, expected_version, remove)
        return run(steps, lambda call: call(self))


class AsyncConversationStore(AsyncStore):
    """Sessions and their messages, for async callers: every method of [ConversationStore][], awaited."""

    kind: ClassVar[str] = "conversation"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__module__.startswith("praisonai_persistence"):  # whose stores take everything
            from praisonai_persistence._custom import append_each, complete

            complete(cls, "conversation", asynchronous=True)
            append_each(cls, AsyncConversationStore)
        declare(cls, AsyncConversationStore, "atomic_batch", ("add_messages",))

    @abstractmethod
    async def create_session(self, session: ConversationSession) -> ConversationSession:
        """See [ConversationStore.create_session][]."""

    @abstractmethod
    async def get_session(self, session_id: str) -> ConversationSession | None:
        """See [ConversationStore.get_session][]."""

    @abstractmethod
    async def update_session(
        self, session: ConversationSession, *, expected_version: int | None = None
    ) -> ConversationSession:
        """See [ConversationStore.update_session][]."""

    async def upsert_session(self, session: ConversationSession) -> ConversationSession:
        """See [ConversationStore.upsert_session][]."""
        given: Any = session
        while True:
            # create_session refuses what is no record.
            known = isinstance(given, ConversationSession) and await self.get_session(session.session_id) is not None
            if not known:
                try:
                    return await self.create_session(session)
                except SessionExistsError:
                    pass
            try:
                return await self.update_session(session)
            except SessionNotFoundError:  # deleted in between
                continue

    @abstractmethod
    async def delete_session(self, session_id: str) -> bool:
        """See [ConversationStore.delete_session][]."""

    @abstractmethod
    async def list_sessions(
        self, user_id: str | None = None, agent_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[ConversationSession]:
        """See [ConversationStore.list_sessions][]."""

    @abstractmethod
    async def add_message(self, session_id: str, message: ConversationMessage) -> ConversationMessage:
        """See [ConversationStore.add_message][]."""

    async def add_messages(self, session_id: str, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
        """See [ConversationStore.add_messages][]."""
        return [await self.add_message(session_id, message) for message in messages]

    @abstractmethod
    async def get_messages(
        self,
        session_id: str,
        limit: int | None = None,
        before: float | None = None,
        after: float | None = None,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
    ) -> list[ConversationMessage]:
        """See [ConversationStore.get_messages][]."""

    @abstractmethod
    async def delete_messages(self, session_id: str, message_ids: Sequence[str] | None = None) -> int:
        """See [ConversationStore.delete_messages][]."""

    async def count_messages(self, session_id: str) -> int:
        """See [ConversationStore.count_messages][]."""
        return len(await self.get_messages(session_id))

    async def search_messages(
        self, query: str, user_id: str | None = None, limit: int = 20
    ) -> list[ConversationMessage]:
        """See [ConversationStore.search_messages][]."""
        self._unsupported("search messages", "search")

    async def fork_session(
        self, session_id: str, up_to_seq: int | None = None, new_session_id: str | None = None
    ) -> ConversationSession:
        """See [ConversationStore.fork_session][]."""
        self._unsupported("fork a session", "fork")

    async def rewrite_session(
        self,
        session: ConversationSession,
        messages: Sequence[ConversationMessage] = (),
        *,
        expected_version: int,
        remove: Sequence[str] = (),
    ) -> ConversationSession:
        """See [ConversationStore.rewrite_session][]."""
        steps = _rewriting(session, messages, expected_version, remove)
        return await run_async(steps, lambda call: call(self))


def _rewriting(
    session: ConversationSession, messages: Sequence[ConversationMessage], expected_version: int, remove: Sequence[str]
) -> Steps[ConversationSession]:
    """``rewrite_session`` made of other methods; what is asked for are functions of the store.

    Messages that are given again are deleted first, or they would be taken for those that there are; all others last,
    so that an interrupt loses none of them.
    """
    session_id, messages, remove = session.session_id, list(messages), list(remove)
    stored: ConversationSession
    if expected_version == 0:
        stored = yield lambda store: store.create_session(session)
        remove = []
    else:
        stored = yield lambda store: store.update_session(session, expected_version=expected_version)
    new = {message.id for message in messages}
    again = [item for item in remove if item in new]
    others = [item for item in remove if item not in new]
    if again:
        yield lambda store: store.delete_messages(session_id, again)
    if messages:
        yield lambda store: store.add_messages(session_id, messages)
    if others:
        yield lambda store: store.delete_messages(session_id, others)
    found: ConversationSession | None = yield lambda store: store.get_session(session_id)
    return found or stored


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    from praisonai_persistence.registry import plugin_attribute

    return plugin_attribute("conversation", __name__, name)
