"""Conversations that PraisonAI's own JSON store wrote: ``<folder>/<session id>.json``, taken over into a new store."""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.payload import MessageRow, SessionRow, encode_message, encode_session
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.stores.conversation import WholeSession
from praisonai_persistence_json._document import render
from praisonai_persistence_json._files import Directory, file_stem, read

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["adopt"]

_LEGACY = "praisonai_legacy"
"""Where metadata keep the text of what cannot be taken over as it is."""

_log = logging.getLogger("praisonai_persistence_json")


def adopt(directory: Directory) -> None:
    """Make the directory of a store that is not there yet of what PraisonAI wrote beside it, all of it or nothing.

    PraisonAI's files stay as they are. Of several processes that do this, one makes the directory.
    """
    beside = directory.sibling(f"{directory.path}.adopting-{uuid.uuid4().hex}")
    try:
        for session in _sessions(os.path.dirname(directory.path)):
            beside.connect()
            stem = file_stem(session.row.session_id)
            beside.change(stem, partial(beside.write, stem, render(session)))
        if beside.exists() and not directory.exists():
            try:
                os.rename(beside.path, directory.path)
            except OSError:
                if not directory.exists():
                    raise
            directory.settle()
    finally:
        shutil.rmtree(beside.path, ignore_errors=True)


def _sessions(folder: str) -> Iterator[WholeSession]:
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if not name.endswith(".json"):
            continue
        path = os.path.join(folder, name)
        try:
            document = json.loads(read(path) or b"null")
            session, messages = (document.get(part) if isinstance(document, dict) else None for part in _PARTS)
            if isinstance(session, dict) and isinstance(messages, list):
                yield _whole({"session_id": name.removesuffix(".json"), **session}, messages)
        except (OSError, ValueError, RecursionError, PersistenceError) as error:
            _log.warning("%s is not taken over, and stays as it is: %s", path, type(error).__name__)


_PARTS = ("session", "messages")


def _whole(session: dict[str, Any], messages: list[Any]) -> WholeSession:
    row = _session(session)
    rows: dict[str, MessageRow] = {}
    for number, message in enumerate(messages, 1):
        stored = _message(row.session_id, message if isinstance(message, dict) else {"metadata": message})
        if stored.id in rows:
            stored = stored._replace(id=str(uuid.uuid4()))
        rows[stored.id] = stored._replace(seq=number)
    return WholeSession(row, list(rows.values()))


def _session(fields: dict[str, Any]) -> SessionRow:
    try:
        return encode_session(ConversationSession.from_dict(fields))
    except (PersistenceError, TypeError, ValueError):
        return encode_session(ConversationSession(fields["session_id"], metadata={_LEGACY: json.dumps(fields)}))


def _message(session_id: str, fields: dict[str, Any]) -> MessageRow:
    try:
        return encode_message(session_id, ConversationMessage.from_dict({**fields, "session_id": session_id}))
    except (PersistenceError, TypeError, ValueError):
        role, content = (str(fields.get(name, "")) for name in ("role", "content"))
        return encode_message(
            session_id, ConversationMessage(role=role, content=content, metadata={_LEGACY: json.dumps(fields)})
        )
