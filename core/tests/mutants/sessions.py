"""Session stores with one mistake each. The suite must catch every one of them.

A mutant is a class: its first line says what it does wrong, ``caught_by`` names the test that must fail. ``Plain`` has
no mistake, and passes everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from mutants.running import pause

from praisonai_persistence.conversation import ConversationStore
from praisonai_persistence.memory import MemoryConversationStore
from praisonai_persistence.records import ConversationSession
from praisonai_persistence.sessions import StoreBackedSessionStore


class Plain(StoreBackedSessionStore):
    """Nothing."""

    caught_by: ClassVar[str] = ""

    def __init__(self, name: str) -> None:
        super().__init__(MemoryConversationStore(name=name), max_messages=1_000)


class LimitGivesTheOldest(Plain):
    """Gives the first messages where the latest are asked for."""

    caught_by = "test_a_limit_means_the_latest"

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return super().get_chat_history(session_id)[:max_messages]


class ZeroMeansAll(Plain):
    """Takes a limit of 0 for none."""

    caught_by = "test_what_is_no_limit_is_refused"

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return super().get_chat_history(session_id, max_messages or None)


class LimitSplitsExchanges(Plain):
    """Cuts a history between a tool call and its result."""

    caught_by = "test_a_limit_splits_no_tool_exchange"

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        found = super().get_chat_history(session_id)
        return found if max_messages is None else found[max(0, len(found) - max_messages) :]


class LimitDropsTooMuch(Plain):
    """Leaves out every tool exchange at the beginning of a limited history, also whole ones."""

    caught_by = "test_a_limit_splits_no_tool_exchange"

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        found = super().get_chat_history(session_id, max_messages)
        while max_messages is not None and found and found[0]["role"] != "user":
            del found[0]
        return found


class LosesToolCalls(Plain):
    """Stores the text of a turn, and not what it calls."""

    caught_by = "test_tool_calls_survive"

    def add_message(
        self,
        session_id: str,
        role: str,
        content: str,
        metadata: Any = None,
        tool_calls: Any = None,
        tool_call_id: Any = None,
    ) -> bool:
        return super().add_message(session_id, role, content or "", metadata, None, tool_call_id)


class ReplacesUnknownCharacters(Plain):
    """Stores what is no UTF-8 as question marks."""

    caught_by = "test_every_text_comes_back"

    def add_message(self, session_id: str, role: str, content: str, *args: Any, **kwargs: Any) -> bool:
        if isinstance(content, str):
            content = content.encode(errors="replace").decode()
        return super().add_message(session_id, role, content, *args, **kwargs)


class ReadsThenWrites(Plain):
    """Appends to a copy of the history, and loses what came meanwhile."""

    caught_by = "test_threads_lose_nothing"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._histories: dict[str, list[dict[str, Any]]] = {}

    def add_message(self, session_id: str, role: str, content: str, *args: Any, **kwargs: Any) -> bool:
        before = self._histories.get(session_id, [])
        pause()
        self._histories[session_id] = [*before, {"role": role, "content": content}]
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return self._histories.get(session_id, [])


class TwoMakeOneSession(Plain):
    """Looks whether there is a session, then makes one: of two at once, the other fails."""

    caught_by = "test_threads_make_one_session"

    def add_message(self, session_id: str, role: str, content: str, *args: Any, **kwargs: Any) -> bool:
        if not self.session_exists(session_id):
            pause()
            self._store.create_session(ConversationSession(session_id))
        return super().add_message(session_id, role, content, *args, **kwargs)


class ClearingDeletes(Plain):
    """Removes the session with its messages."""

    caught_by = "test_clearing_keeps_the_session"

    def clear_session(self, session_id: str) -> bool:
        return super().delete_session(session_id)


class IdsBecomeFileNames(Plain):
    """Takes ids for one that differ in punctuation only."""

    caught_by = "test_every_text_is_an_id_and_all_differ"

    def _id(self, session_id: Any) -> str:
        return "".join(c if c.isalnum() or c in "-_" else "_" for c in super()._id(session_id))


class NoIdIsBad(Plain):
    """Takes anything as an id."""

    caught_by = "test_what_is_no_id_is_refused"

    def _id(self, session_id: Any) -> str:
        self._usable()
        return f"id {hash(str(session_id))}"


class ChecksTooLate(Plain):
    """Makes the session before it looks at the message."""

    caught_by = "test_what_cannot_be_stored_is_refused_before_anything_is_written"

    def add_message(self, session_id: str, *args: Any, **kwargs: Any) -> bool:
        if not self.session_exists(session_id):
            self.create_session(session_id)
        return super().add_message(session_id, *args, **kwargs)


class GoesOnWhenClosed(Plain):
    """Works after ``close()``."""

    caught_by = "test_a_closed_store_says_so"

    def close(self) -> None:
        pass


class ForksOneTooFew(Plain):
    """Leaves the message out that it is asked to fork from."""

    caught_by = "test_a_fork_is_a_copy_of_its_own"

    def _copy(self, session_id: str, count: int | None, change: Any) -> None:
        super()._copy(session_id, count if count is None else count - 1, change)


class SnapshotIsAPosition(Plain):
    """Notes how many messages there are, and cannot bring back what was removed since."""

    caught_by = "test_a_session_goes_back_to_a_snapshot"

    def _kept(self, document: dict[str, Any], snapshot: dict[str, Any]) -> dict[str, Any]:
        return {"messages": document["messages"][: snapshot["message_index"] + 1]}


class ListsItsSnapshots(Plain):
    """Lists sessions that nobody made."""

    caught_by = "test_a_session_goes_back_to_a_snapshot"

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        return [{"session_id": session.session_id} for session in self._store.list_sessions(limit=limit)]


class ImportsWithoutSnapshots(Plain):
    """Forgets the snapshots of an exported session."""

    caught_by = "test_an_exported_session_is_imported_as_it_was"

    def import_session(self, data: Any, new_session_id: str | None = None) -> str:
        return super().import_session({**data, "snapshots": []} if isinstance(data, dict) else data, new_session_id)


class LastWriterWins(Plain):
    """Writes a session over what another has written meanwhile."""

    caught_by = "test_threads_that_fork_and_add_lose_nothing"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        update = self._store.update_session

        def late(session: ConversationSession, *, expected_version: int | None = None) -> ConversationSession:
            pause()
            return update(session)

        self._store.update_session = late  # type: ignore[method-assign]


class ChangesInParts(Plain):
    """Says that a change is one step, and makes several of it."""

    caught_by = "test_an_interrupted_change_is_done_or_not_done"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._store.rewrite_session = partial(ConversationStore.rewrite_session, self._store)  # type: ignore[method-assign]


class NamesAChildTooLate(Plain):
    """Makes a child, and names it in its parent after that."""

    caught_by = "test_a_change_that_is_interrupted_anywhere_is_done_or_not_done"

    def _bear(self, parent_id: str, child_id: str, make: Callable[[], None]) -> None:
        make()
        super()._bear(parent_id, child_id, lambda: None)


class ReplacesWhatOthersWrite(Plain):
    """Replaces a history without a look at who else does."""

    caught_by = "test_two_who_replace_a_history_leave_one_of_the_two"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        rewrite = self._store.rewrite_session

        def late(session: ConversationSession, *arguments: Any, expected_version: int, remove: Any = ()) -> Any:
            pause()
            stored = self._store.get_session(session.session_id) if expected_version else None
            version = stored.version if stored else expected_version
            return rewrite(session, *arguments, expected_version=version, remove=remove)

        self._store.rewrite_session = late  # type: ignore[method-assign]


class DeclaresNoHierarchy(Plain):
    """Can fork, and does not say so."""

    caught_by = "test_a_fork_is_a_copy_of_its_own"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.capabilities -= {"hierarchy"}


class DeclaresWhatItIsNot(Plain):
    """Says that processes can share it."""

    caught_by = "test_processes_lose_nothing"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.capabilities |= {"shared"}


class AcknowledgesTooEarly(Plain):
    """Says that what it acknowledged is durable."""

    caught_by = "test_what_was_acknowledged_survives_a_killed_process"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.capabilities |= {"durable"}


class InMemory:
    """Nothing; and has no more than the five methods."""

    caught_by: ClassVar[str] = ""
    _rooms: ClassVar[dict[str, InMemory]] = {}

    def __new__(cls, name: str) -> InMemory:
        return cls._rooms.setdefault(name, super().__new__(cls))

    def __init__(self, name: str) -> None:
        self.__dict__.setdefault("turns", {})
        self.__dict__.setdefault("lock", threading.Lock())

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        with self.lock:
            self.turns.setdefault(session_id, []).append({"role": role, "content": content})
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        found = self.turns.get(session_id, [])
        return found[-max_messages:] if max_messages else found[:]

    def clear_session(self, session_id: str) -> bool:
        self.turns[session_id] = []
        return True

    def delete_session(self, session_id: str) -> bool:
        self.turns.pop(session_id, None)
        return True

    def session_exists(self, session_id: str) -> bool:
        return session_id in self.turns


RIGHT = [Plain, InMemory]
ALL = [found for found in Plain.__subclasses__() if found.__module__ == __name__]
