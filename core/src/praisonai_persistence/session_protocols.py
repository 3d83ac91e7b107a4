"""What a session store is, and what parts of PraisonAI ask of one beyond that; any class with the methods is one.

``isinstance`` looks at the names of the methods only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from praisonai_persistence.stores.sessions import ImportReport, SessionHit, SessionSummary

__all__ = [
    "CheckpointQueryProtocol",
    "IncrementalSessionStoreProtocol",
    "PortableSessionStoreProtocol",
    "RuntimeStateMirroringProtocol",
    "SearchableSessionStoreProtocol",
    "SessionMirrorProtocol",
    "SessionStoreProtocol",
]


@runtime_checkable
class SessionStoreProtocol(Protocol):
    """What a session store is. Any class with these five methods is one.

    ``isinstance`` looks at the names of the methods only.
    """

    def add_message(
        self, session_id: str, role: str, content: str | list[Any], metadata: dict[str, Any] | None = None
    ) -> bool:
        """Append a message, to a new session if there is none; return whether it is stored."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """Return the latest messages as objects with ``role`` and ``content``, oldest first."""

    def clear_session(self, session_id: str) -> bool:
        """Remove all messages and keep the session."""

    def delete_session(self, session_id: str) -> bool:
        """Remove the session."""

    def session_exists(self, session_id: str) -> bool:
        """Whether there is such a session."""


@runtime_checkable
class IncrementalSessionStoreProtocol(Protocol):
    """A session store that takes an answer while it is made; every one of this project does."""

    def upsert_partial_assistant_message(self, session_id: str, content: str, *, finalize: bool = False) -> bool:
        """Write what there is of the answer, in the place of what there was."""

    def discard_partial_assistant_message(self, session_id: str) -> bool:
        """Remove an answer that was not finished."""


@runtime_checkable
class PortableSessionStoreProtocol(Protocol):
    """A session store whose sessions can be taken to another one.

    Every one of this project has these methods. Where sessions have a hierarchy, ``export_session`` returns what
    ``import_session`` takes, as in PraisonAI, and has no ``include_lineage``; ``export_all`` is the same everywhere.
    """

    def export_session(self, session_id: str, *, include_lineage: bool = True) -> dict[str, Any]:
        """Return a session for ``import_sessions``."""

    def export_all(self) -> dict[str, Any]:
        """Return all sessions."""

    def import_sessions(
        self,
        payload: dict[str, Any],
        *,
        max_sessions: int = 10_000,
        reset_live_fields: bool = True,
        overwrite: bool = False,
    ) -> ImportReport:
        """Store exported sessions."""


@runtime_checkable
class SearchableSessionStoreProtocol(Protocol):
    """A session store that can be searched; every one of this project is."""

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> list[SessionHit]:
        """Return the sessions in which something was found, best first."""

    def window(self, session_id: str, around_message_id: str | None = None, *, window: int = 5) -> list[dict[str, Any]]:
        """Return the messages around one of them."""

    def recent(self, *, limit: int = 10) -> list[SessionSummary]:
        """Return the sessions, last changed first."""


@runtime_checkable
class RuntimeStateMirroringProtocol(Protocol):
    """A session store that keeps the states of runtimes; every one of this project does."""

    def set_runtime_state(
        self, session_id: str, runtime_id: str, turn_id: str, state: dict[str, Any], mirror_enabled: bool = True
    ) -> bool:
        """Keep the state of one turn."""

    def get_runtime_state(self, session_id: str, runtime_id: str, turn_id: str | None = None) -> dict[str, Any]:
        """Return the state of a turn, or of all turns by their ids."""

    def clear_runtime_state(self, session_id: str, runtime_id: str | None = None) -> bool:
        """Forget the states of a runtime, or of all."""


@runtime_checkable
class SessionMirrorProtocol(Protocol):
    """Where a copy of every message goes, after it was stored.

    Session stores call ``append`` only, on a thread of their own: up to three times with the same records if it raises.
    ``flush_mirror`` waits for it.
    """

    def append(self, session_id: str, records: list[dict[str, Any]]) -> None:
        """Append messages; each has an ``id``, and one that is there already is replaced."""

    def load(self, session_id: str) -> list[dict[str, Any]]:
        """Return the records of a session, oldest first."""

    def list_sessions(self, *, user_id: str | None = None) -> list[dict[str, Any]]:
        """Return what there is to know of the sessions."""


@runtime_checkable
class CheckpointQueryProtocol(Protocol):
    """What can be asked for the checkpoints of a session."""

    def list_checkpoints(self, session_id: str) -> list[dict[str, Any]]:
        """Return the checkpoints of a session."""

    def get_checkpoint(self, session_id: str, checkpoint_id: str) -> dict[str, Any] | None:
        """Return a checkpoint, or None."""
