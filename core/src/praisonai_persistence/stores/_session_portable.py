"""Sessions as one JSON object that any session store takes, as PraisonAI's newest has it; for ``SessionStoreBase``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from praisonai_persistence import payload
from praisonai_persistence.errors import SerializationError, SessionExistsError
from praisonai_persistence.stores._session_documents import (
    Document,
    as_object,
    as_objects,
    check_message,
    check_object,
    check_text,
    new_document,
    owner,
)
from praisonai_persistence.stores._session_search import chain_of

__all__ = ["ImportReport", "PortableSessions", "checked_document"]

_LIVE = ("gateway_session_id", "agent_id")
"""What ties a session to something that runs; it does not run where the session is imported."""


@dataclass
class ImportReport:
    """What became of the sessions of an import.

    Attributes:
        imported: how many are there now.
        skipped: the others, each with ``session_id`` and ``reason``.
        version: of the form that was read.
    """

    imported: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    version: int = 1

    @property
    def skipped_count(self) -> int:
        """How many were left out."""
        return len(self.skipped)

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "imported": self.imported,
            "skipped": self.skipped,
            "skipped_count": self.skipped_count,
            "version": self.version,
        }


def checked_document(data: Any, session_id: str) -> Document:
    """Return the document of an exported session, under an id, as it can be stored.

    Raises:
        SerializationError: it is none.
    """
    empty = new_document(session_id, hierarchy=True)
    given = check_object(data, "data", payload.DOCUMENT_DEPTH)
    # A field that is null is one that is not there: files and older exports have them.
    document = {**empty, **{name: value for name, value in given.items() if value is not None or name not in empty}}
    if empty.keys().isdisjoint(data):
        raise SerializationError("data is no exported session: it has none of the fields of one")
    if not isinstance(document["snapshots"], list):
        raise SerializationError(f"snapshots must be a list, not {type(document['snapshots']).__name__}")
    check_object(document["metadata"], "metadata")
    check_object(document["runtime_state"], "runtime_state", payload.MAX_DEPTH + 2)  # of runtimes and of their turns
    for name in ("title", "agent_name", "gateway_session_id"):
        check_text(document[name], name)
    for name in ("user_id", "agent_id"):
        document[name] = owner(document[name], name)
    transcripts = (as_object(item.get("transcript")) for item in as_objects(document["snapshots"]))
    for transcript in (document, *transcripts):
        for name in ("messages", "archived_messages"):
            if name in transcript:
                transcript[name] = _checked_history([] if transcript[name] is None else transcript[name], name)
    document["snapshots"] = [{**item, "session_id": session_id} for item in as_objects(document["snapshots"])]
    return {**document, "session_id": session_id}


def _checked_history(messages: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise SerializationError(f"{what} must be a list of JSON objects")
    return [
        check_message({"timestamp": 0.0, **message, "metadata": message.get("metadata") or {}}) for message in messages
    ]


class PortableSessions:
    """Export of all sessions, and import."""

    PORTABLE_VERSION: ClassVar[int] = 1
    """Of the form of the export."""
    _hierarchy: ClassVar[bool]

    def _whole(self) -> Iterable[Document]:
        """Return all whole documents; one that cannot be read is an error, for a backup that lacks it is none."""
        store: Any = self
        for head in store._heads():
            document = self._exported(head["session_id"])
            if document is not None:
                yield document

    def _exported(self, session_id: str) -> Document | None:
        store: Any = self
        document: Document | None = store._load(session_id)
        return document

    def _replace(self, document: Document) -> None:
        """Write a session in the place of another one."""

        def change(old: Document) -> None:
            old.clear()
            old.update(document)

        store: Any = self
        store._edit(document["session_id"], change, history=True)

    def export_session(self, session_id: str, *, include_lineage: bool = True) -> Document:
        """Return a session as ``{"version": 1, "sessions": [...]}``; of an unknown one, there is none in it.

        Args:
            session_id: the session.
            include_lineage: also those that are one conversation with it: whose ``lineage_id``, ``root_session_id`` or
                ``thread_id`` is the same, in the document or in its metadata.
        """
        store: Any = self
        document = self._exported(store._id(session_id))
        found = [] if document is None else [document]
        chain = chain_of(document) if document is not None and include_lineage else None
        if chain is not None:
            found += [one for one in self._whole() if one["session_id"] != session_id and chain_of(one) == chain]
        return {"version": self.PORTABLE_VERSION, "sessions": found}

    def export_all(self) -> Document:
        """Return all sessions as ``{"version": 1, "sessions": [...]}``, which must fit into memory.

        Raises:
            PersistenceError: one of them cannot be read.
        """
        store: Any = self
        store._usable()
        return {"version": self.PORTABLE_VERSION, "sessions": list(self._whole())}

    def import_sessions(
        self,
        payload: Document,
        *,
        max_sessions: int = 10_000,
        reset_live_fields: bool = True,
        overwrite: bool = False,
    ) -> ImportReport:
        """Store what an export returned, each session whole or not at all, and nothing of it trimmed.

        Args:
            payload: of ``export_all``, of this project or of PraisonAI.
            max_sessions: at most so many.
            reset_live_fields: whether ``agent_id`` and ``gateway_session_id`` are left out.
            overwrite: whether a session takes the place of one that is there; else it is left out.

        Raises:
            SerializationError: it is no export. A session in it that cannot be stored is left out, and told.
        """
        store: Any = self
        store._usable()
        report = ImportReport(version=self.PORTABLE_VERSION)
        most = _count(max_sessions)
        if not isinstance(payload, dict):  # what is in it is checked with each session
            raise SerializationError(f"payload must be a JSON object, not {type(payload).__name__}")
        version = payload.get("version")
        if isinstance(version, int) and version > self.PORTABLE_VERSION:
            report.skipped.append({"session_id": "", "reason": f"version {version} is newer than this release reads"})
            return report
        sessions = payload.get("sessions")
        if not isinstance(sessions, list):
            raise SerializationError(f"sessions must be a list, not {type(sessions).__name__}")
        seen: set[str] = set()
        for index, given in enumerate(sessions):
            session_id = given.get("session_id") if isinstance(given, dict) else None
            if report.imported >= most:
                report.skipped.append({"session_id": "", "reason": f"there are more than max_sessions={most}"})
                break
            reason = f"number {index} has no session_id"
            if isinstance(session_id, str) and session_id:
                reason = "it is there twice" if session_id in seen else ""
                seen.add(session_id)
                reason = reason or self._import_one(session_id, given, reset_live_fields, overwrite)
            if reason:
                named = session_id if isinstance(session_id, str) else ""
                report.skipped.append({"session_id": named, "reason": reason})
            else:
                report.imported += 1
        return report

    def _import_one(self, session_id: str, given: Document, reset: bool, overwrite: bool) -> str:
        """Store a session; return why it is left out, or the empty text."""
        store: Any = self
        try:
            document = checked_document(given, store._id(session_id))
        except (SerializationError, ValueError) as error:
            return f"malformed: {error}"
        if reset:
            document.update(dict.fromkeys(_LIVE))
            document["metadata"] = {name: item for name, item in document["metadata"].items() if name not in _LIVE}
        if not self._hierarchy:
            empty = new_document(session_id, hierarchy=True)
            plain = new_document(session_id)
            document = {name: item for name, item in document.items() if name in plain or item != empty.get(name)}
        try:
            store._create({**document})  # which may put things elsewhere
        except SessionExistsError:
            if not overwrite:
                return "already exists (use overwrite)"
            self._replace(document)
        return ""


def _count(value: Any) -> int:
    return payload.check_count(value, "max_sessions")
