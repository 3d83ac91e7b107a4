"""Conversations in JSON files beside a hand-written program that replaces a file in the same way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import bare
from conversations import METADATA, messages, texts
from measuring import Options, Report, clock, interleaved

from praisonai_persistence import ConversationSession
from praisonai_persistence_json import JSONConversationStore

__all__ = ["files"]

_TITLE = "JSON files: append, one at a time, durable"
_LENGTHS = (10, 100, 1000)
_CHUNK = 5


def files(report: Report, options: Options) -> str:
    """Measure appends to sessions of different lengths; return the section's title."""
    programs: dict[str, Callable[[], float]] = {}
    with ExitStack() as stack:
        for length in _LENGTHS:
            store = stack.enter_context(JSONConversationStore(path=options.folder / f"ours-{length}"))
            programs[f"ours {length}"] = _ours(store, length)
            programs[f"bare {length}"] = _bare(options.folder / f"bare-{length}.json", length)
        taken = interleaved(options.rounds, programs, 2 if options.quick else 5)
    rates = {name: [_CHUNK / seconds for seconds in figures] for name, figures in taken.items()}
    for length in _LENGTHS:
        report.compare(
            _TITLE, f"to a session of {length:,} messages", "msg/s", rates[f"ours {length}"], rates[f"bare {length}"]
        )
    report.note(
        _TITLE,
        f"{_CHUNK} messages a block, each to a session that gets that long by it; both write a temporary file, "
        "sync it, rename it and sync the directory; the bare program takes no lock, so it is safe for one writer only",
    )
    return _TITLE


def _ours(store: JSONConversationStore, length: int) -> Callable[[], float]:
    session = store.create_session(ConversationSession(user_id="user"))
    if length > 1:
        store.add_messages(session.session_id, messages(texts(length - 1, METADATA)))

    def append() -> float:
        seconds = 0.0
        for message in messages(texts(_CHUNK, METADATA)):
            start = clock()
            store.add_message(session.session_id, message)
            seconds += clock() - start
            store.delete_messages(session.session_id, [message.id])  # so that the session keeps its length
        return seconds

    return append


def _bare(path: Path, length: int) -> Callable[[], float]:
    stored = [
        {"seq": seq, "id": id, "role": role, "content": content, "tool_calls": None, "tool_call_id": None,
         "metadata": metadata, "created_at": created_at}
        for seq, (id, role, content, metadata, created_at) in enumerate(texts(length - 1, METADATA), 1)  # noqa: A001
    ]  # fmt: skip
    session = {
        "session_id": path.stem,
        "user_id": "user",
        "updated_at": 0.0,
        "last_seq": length - 1,
        "messages": stored,
    }
    before = json.dumps(session).encode()

    def append() -> float:
        seconds = 0.0
        for message in texts(_CHUNK, METADATA):
            with path.open("wb") as file:
                file.write(before)
                file.flush()
                os.fsync(file.fileno())
            start = clock()
            bare.append_json(path, message)
            seconds += clock() - start
        return seconds

    return append
