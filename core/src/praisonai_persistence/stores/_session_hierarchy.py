"""Forks, snapshots, shares and titles of sessions; see ``stores.sessions``."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence import payload
from praisonai_persistence.errors import (
    ConfigurationError,
    InvalidValueError,
    PersistenceError,
    SessionNotFoundError,
)
from praisonai_persistence.stores._session_base import SessionStoreBase
from praisonai_persistence.stores._session_documents import (
    Document,
    ExtendedSessionData,
    SessionSnapshot,
    as_object,
    as_objects,
    check_object,
    check_text,
    clamp_checkpoint,
    metadata_of,
    new_document,
)
from praisonai_persistence.stores._session_portable import checked_document

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["HierarchicalSessions"]


class HierarchicalSessions(SessionStoreBase):
    """Forks, snapshots, shares and titles, for a store that derives from this instead."""

    _hierarchy: ClassVar[bool] = True

    # What a subclass may do better.

    def _copy(self, session_id: str, count: int | None, change: Callable[[Document], None]) -> None:
        """Make a new session of the first ``count`` messages of another, or of all.

        Args:
            session_id: the session to copy.
            count: how many messages.
            change: makes the copied document that of the new session, ``session_id`` included.
        """
        document = self._need(session_id)
        document["messages"] = document["messages"][:count]
        change(document)
        self._create(document)

    def _keep(self, document: Document, snapshot: dict[str, Any]) -> None:
        """Let a snapshot keep what there is in the document."""
        names = ("messages", "archived_messages", "last_compaction")
        snapshot["transcript"] = payload.copy({name: document.get(name) for name in names})

    def _kept(self, document: Document, snapshot: dict[str, Any]) -> dict[str, Any] | None:
        """Return the transcript of a snapshot, whoever wrote it; None when it is lost."""
        transcript = snapshot.get("transcript")
        if isinstance(refs := snapshot.get("transcript_refs"), dict):  # repeated messages, stored once
            records = as_object(as_object(document.get("snapshot_storage")).get("records"))
            try:
                return {
                    name: records[ref["value"]] if "value" in ref else [records[key] for key in ref["items"]]
                    for name, ref in refs.items()
                }
            except (KeyError, TypeError):
                return None
        if snapshot.get("invalidated"):
            return None
        if isinstance(transcript, dict):
            return transcript
        index = snapshot.get("message_index")
        if not isinstance(index, int) or index >= len(document["messages"]):
            return None
        return {**document, "messages": document["messages"][: max(-1, index) + 1]}

    def _need(self, session_id: str) -> Document:
        document = self._load(session_id)
        if document is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return document

    # Trees.

    def create_session(
        self,
        session_id: str | None = None,
        title: str | None = None,
        parent_id: str | None = None,
        agent_name: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Make a session and return its id, which is made up when none is given.

        Raises:
            SessionExistsError: there is one of that id.
            SessionNotFoundError: there is no session ``parent_id``.
            InvalidValueError: an id cannot be one, or the session would be its own parent.
        """
        session_id = self._id(str(uuid.uuid4()) if session_id is None else session_id)
        document = new_document(session_id, hierarchy=True)
        document["title"], document["agent_name"] = check_text(title, "title"), check_text(agent_name, "agent_name")
        document["metadata"] = check_object({} if metadata is None else metadata, "metadata")
        if parent_id is not None:
            document["parent_id"] = self._id(parent_id)
            if parent_id == session_id:
                raise InvalidValueError("a session cannot be its own parent")
            self._bear(parent_id, session_id, lambda: self._create(document))
        else:
            self._create(document)
        return session_id

    def fork_session(self, session_id: str, from_message_index: int | None = None, title: str | None = None) -> str:
        """Copy a session into a new one, its child, and return the new id.

        The child has the messages, the metadata, the user and the agent; not the snapshots, the children, the archive
        and the compaction.

        Args:
            session_id: the session.
            from_message_index: the index of the last message to copy, counted from 0; None: all.
            title: by default ``Fork of`` the title, or the id.

        Raises:
            SessionNotFoundError: there is no such session.
            InvalidValueError: there is no such message.
        """
        session_id, title = self._id(session_id), check_text(title, "title")
        new_id = str(uuid.uuid4())
        if from_message_index is not None:
            payload.check_count(from_message_index, "from_message_index")
            if from_message_index >= self._length(session_id):
                raise InvalidValueError("from_message_index is behind the last message")

        def change(document: Document) -> None:
            fresh = new_document(new_id, hierarchy=True)
            kept = ("messages", "agent_name", "agent_id", "user_id", "metadata", "state")
            fresh.update({name: document[name] for name in kept if name in document})
            fresh["title"] = title or f"Fork of {document.get('title') or session_id}"
            fresh["parent_id"] = session_id
            fresh["forked_from_message_id"] = None if from_message_index is None else str(from_message_index)
            document.clear()
            document.update(fresh)

        count = None if from_message_index is None else from_message_index + 1
        self._bear(session_id, new_id, lambda: self._copy(session_id, count, change))
        return new_id

    def _length(self, session_id: str) -> int:
        head = self._head(session_id)
        if head is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return self._count(head)

    def _bear(self, parent_id: str, child_id: str, make: Callable[[], None]) -> None:
        """Make a child. Its parent names it first, which counts for nothing until there is the child."""

        def adopt(document: Document) -> None:
            children = _children(document)
            document["children_ids"] = [*children, child_id] if child_id not in children else children

        try:
            self._edit(parent_id, adopt, create=False)
            make()
        except BaseException:
            with suppress(PersistenceError):
                if self._child(parent_id, child_id) is None:
                    self._disown(parent_id, child_id)
            raise

    def _disown(self, parent_id: str, child_id: str) -> None:
        def change(document: Document) -> None:
            document["children_ids"] = [child for child in _children(document) if child != child_id]

        self._edit(parent_id, change, create=False)

    def _child(self, parent_id: str, child_id: str) -> Document | None:
        """Return the head of a session that its parent names, if there is one, and it is a child of that."""
        head = self._head(child_id)
        return head if as_object(head).get("parent_id") == parent_id else None

    def get_children(self, session_id: str) -> list[str]:
        """Return the ids of a session's children, oldest first."""
        children = _children(as_object(self._head(self._id(session_id))))
        return [child for child in children if self._child(session_id, child) is not None]

    def get_parent(self, session_id: str) -> str | None:
        """Return the id of the session that this one was made from, also when that is gone by now; or None."""
        return as_object(self._head(self._id(session_id))).get("parent_id")

    def get_session_tree(self, session_id: str) -> dict[str, Any]:
        """Return a session with its descendants: ``session_id``, ``title``, ``message_count``, ``children``.

        Raises:
            SessionNotFoundError: there is no such session.
            InvalidValueError: a session is its own descendant.
        """
        head = self._head(self._id(session_id))
        if head is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        root = self._node(head)
        waiting = [(root, _children(head), frozenset({session_id}))]
        while waiting:
            node, children, ancestors = waiting.pop()
            for child_id in children:
                if child_id in ancestors:
                    raise InvalidValueError(f"session {child_id!r} is its own descendant")
                child = self._child(node["session_id"], child_id)
                if child is not None:
                    node["children"].append(self._node(child))
                    waiting.append((node["children"][-1], _children(child), ancestors | {child_id}))
        return root

    def _node(self, head: Document) -> dict[str, Any]:
        count = self._count(head)
        return {
            "session_id": head["session_id"],
            "title": head.get("title"),
            "message_count": count,
            "children": [],
        }

    def delete_session(self, session_id: str) -> bool:
        """Remove a session, and its place among its parent's children; its own children stay."""
        head = self._head(self._id(session_id))
        super().delete_session(session_id)
        parent_id = as_object(head).get("parent_id")
        if isinstance(parent_id, str):
            with suppress(SessionNotFoundError):
                self._disown(parent_id, session_id)
        return True

    # Snapshots.

    def create_snapshot(self, session_id: str, label: str | None = None, metadata: dict[str, Any] | None = None) -> str:
        """Keep the messages as they are now, and return the id that ``revert_to_snapshot`` takes.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        session_id = self._id(session_id)
        snapshot = self._new_snapshot(session_id, label, metadata)

        def change(document: Document) -> None:
            taken = {**snapshot, "message_index": len(document["messages"]) - 1}
            self._keep(document, taken)
            document["snapshots"] = [*as_objects(document.get("snapshots")), taken]

        self._edit(session_id, change, create=False, history=True)
        return str(snapshot["id"])

    @staticmethod
    def _new_snapshot(session_id: str, label: Any, metadata: Any) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()),
            "session_id": session_id,
            "message_index": -1,
            "created_at": time.time(),
            "label": check_text(label, "label"),
            "metadata": check_object({} if metadata is None else metadata, "metadata"),
        }

    def get_snapshots(self, session_id: str) -> list[SessionSnapshot]:
        """Return the snapshots of a session, oldest first."""
        head = as_object(self._head(self._id(session_id)))
        return [SessionSnapshot.from_dict(item) for item in as_objects(head.get("snapshots"))]

    def revert_to_snapshot(self, session_id: str, snapshot_id: str) -> bool:
        """Put back the messages of a snapshot; False when there is no such snapshot, or its messages are lost."""

        def change(document: Document) -> bool:
            found = [item for item in as_objects(document.get("snapshots")) if item.get("id") == snapshot_id]
            transcript = self._kept(document, found[0]) if found else None
            if transcript is None:
                raise _NothingToDoError
            document["messages"] = payload.copy(as_objects(transcript.get("messages")))
            document["archived_messages"] = payload.copy(as_objects(transcript.get("archived_messages")))
            document.pop("last_compaction", None)
            if isinstance(transcript.get("last_compaction"), dict):
                document["last_compaction"] = payload.copy(transcript["last_compaction"])
            return True

        return self._revert(session_id, change)

    def revert_to_message(self, session_id: str, message_index: int) -> bool:
        """Remove what follows a message, counted from 0; False when there is no such message."""
        payload.check_count(message_index, "message_index")

        def change(document: Document) -> bool:
            if message_index >= len(document["messages"]):
                raise _NothingToDoError
            document["messages"] = document["messages"][: message_index + 1]
            clamp_checkpoint(document)
            return True

        return self._revert(session_id, change)

    def _revert(self, session_id: str, change: Callable[[Document], bool]) -> bool:
        try:
            return self._edit(self._id(session_id), change, create=False, history=True)
        except (_NothingToDoError, SessionNotFoundError):
            return False

    # Titles and shares.

    def set_title(self, session_id: str, title: str | None) -> bool:
        """Set the title; None removes it. The session is made if there is none."""
        text = check_text(title, "title")
        self._edit(self._id(session_id), lambda document: document.update(title=text))
        return True

    async def auto_title(
        self, session_id: str, make: Callable[[str, str], Awaitable[str | None]] | None = None
    ) -> bool:
        """Give a session a title that a model makes of its first question and answer, unless it has one.

        The store is used on a thread, and a title that somebody sets meanwhile stays.

        Args:
            session_id: the session.
            make: awaited with the texts of both; returns the title, or None. By default what praisonaiagents has for
                it, which asks a model.

        Returns:
            Whether a title was set. False if the session has one, is unknown, has no answer yet, or ``make`` returned
            nothing.

        Raises:
            ConfigurationError: there is no ``make``, and praisonaiagents is not installed.
        """
        first = await asyncio.to_thread(self._first_exchange, self._id(session_id))
        if first is None:
            return False
        title = await (make or _title_maker())(*first)
        if title is None or not (title := str(title).strip()):
            return False

        def change(document: Document) -> bool:
            if _is_titled(document):
                raise _NothingToDoError
            document["title"] = title
            return True

        try:
            return await asyncio.to_thread(self._edit, session_id, change, create=False)
        except (_NothingToDoError, SessionNotFoundError):
            return False

    def _first_exchange(self, session_id: str) -> tuple[str, str] | None:
        """Return the first question and the first answer after it, if the session has no title."""
        document = self._load(session_id)
        if document is None or _is_titled(document):
            return None
        asked = ""
        for message in as_objects(document["messages"]):
            text = message.get("content")
            if not isinstance(text, str) or not text.strip():
                continue
            if message.get("role") == "user" and not asked:
                asked = text
            elif message.get("role") == "assistant" and asked:
                return asked, text
        return None

    def share_session(self, session_id: str) -> bool:
        """Mark a session as shared. It is made if there is none."""
        self._edit(self._id(session_id), lambda document: document.update(is_shared=True))
        return True

    def unshare_session(self, session_id: str) -> bool:
        """Mark a session as not shared. It is made if there is none."""
        self._edit(self._id(session_id), lambda document: document.update(is_shared=False))
        return True

    def is_shared(self, session_id: str) -> bool:
        """Whether a session is marked as shared."""
        return bool(as_object(self._head(self._id(session_id))).get("is_shared"))

    def get_session(self, session_id: str) -> ExtendedSessionData:
        """Return a session with all that is kept of it; an unknown one is empty, and is not made."""
        return ExtendedSessionData.from_session_data(super().get_session(session_id))

    def get_extended_session(self, session_id: str, force_reload: bool = False) -> ExtendedSessionData:
        """Return a session; the same as ``get_session``, which always reads what is there."""
        return self.get_session(session_id)

    # Portable documents.

    def _exported(self, session_id: str) -> Document | None:
        with suppress(SessionNotFoundError):
            return self.export_session(session_id)
        return None

    def export_session(self, session_id: str) -> Document:  # type: ignore[override]  # as in PraisonAI
        """Return a session as one JSON object that ``import_session`` of any store takes, snapshots included.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        document = self._need(self._id(session_id))
        snapshots = []
        for snapshot in as_objects(document.get("snapshots")):
            transcript = self._kept(document, snapshot)
            own = {key: value for key, value in snapshot.items() if not key.startswith("transcript")}
            if transcript is not None:
                names = ("messages", "archived_messages", "last_compaction")
                own = {
                    **own,
                    "transcript": {name: transcript[name] for name in names if transcript.get(name) is not None},
                }
                own.pop("invalidated", None)
            snapshots.append(own)
        document.pop("snapshot_storage", None)
        return dict(payload.copy({**document, "snapshots": snapshots}))

    def import_session(self, data: Document, new_session_id: str | None = None) -> str:
        """Make a session of an exported one and return its id, which is made up when none is given.

        It has no parent and no children. Nothing of it is trimmed.

        Raises:
            SerializationError: it is no exported session.
            SessionExistsError: there is a session ``new_session_id``.
        """
        session_id = self._id(str(uuid.uuid4()) if new_session_id is None else new_session_id)
        document = checked_document(data, session_id)
        document.update(parent_id=None, children_ids=[], forked_from_message_id=None)
        self._create(document)
        return session_id


def _is_titled(document: Document) -> bool:
    title = document.get("title") or metadata_of(document).get("title")
    return isinstance(title, str) and bool(title.strip())


def _title_maker() -> Callable[[str, str], Awaitable[str | None]]:
    from importlib import import_module

    try:
        title = import_module("praisonaiagents.session.title")
    except ImportError as error:
        raise ConfigurationError(
            "a title is made by a model: install praisonaiagents, or give auto_title(session_id, make=...)"
        ) from error
    return title.generate_title_async  # type: ignore[no-any-return]


class _NothingToDoError(Exception):
    """Ends an edit without a write."""


def _children(document: Document) -> list[str]:
    children = document.get("children_ids")
    return [child for child in children if isinstance(child, str)] if isinstance(children, list) else []
