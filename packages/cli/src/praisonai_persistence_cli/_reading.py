"""Reading stores through their contract alone: all sessions, all messages of one, in bounded memory; and digests.

A digest covers what a copy must keep: of a session its id, user, agent, name, state, metadata and ``created_at``; of
its messages, in their order, everything but ``seq``. Stores set ``seq``, ``version`` and ``updated_at`` themselves.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = [
    "SessionDigest",
    "Total",
    "all_sessions",
    "canonical",
    "canonical_message",
    "canonical_session",
    "message_pages",
]

_SESSIONS = 500  # in a page
_FIRST = 128  # messages asked for before anything is known about their size
_MOST = 1000  # messages in a page
_PAGE = 4 * 1024 * 1024  # characters that a page should have, roughly

_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


# ------------------------------------------------------------------------------------------------------------- reading


def all_sessions(
    store: ConversationStore, user_id: str | None = None, agent_id: str | None = None
) -> Iterator[ConversationSession]:
    """Yield every session, newest ``updated_at`` first.

    A listing is read in pages, and sessions may move meanwhile. Those that are deleted pull others forward, over the
    edge of a page: each page begins before the end of the last one, until they meet. Those that are written to go to
    the front: the front is read again in the end. So a session that is there all the time is yielded, possibly twice.
    """
    newest: tuple[float, str] | None = None
    last: tuple[float, str] | None = None
    offset = 0
    while True:
        page = store.list_sessions(user_id, agent_id, limit=_SESSIONS, offset=offset)
        keys = [(-session.updated_at, session.session_id) for session in page]
        if newest is None and keys:
            newest = keys[0]
        if last is not None and offset and (not keys or keys[0] > last):
            offset = max(0, offset - _SESSIONS // 2)
            continue
        for session, key in zip(page, keys, strict=True):
            if last is None or key > last:
                yield session
        if len(page) < _SESSIONS:
            break
        last = keys[-1] if last is None else max(last, keys[-1])
        offset += len(page) - 1
    offset = 0
    while newest is not None:
        page = store.list_sessions(user_id, agent_id, limit=_SESSIONS, offset=offset)
        moved = [session for session in page if (-session.updated_at, session.session_id) < newest]
        yield from moved
        if not moved or len(moved) < len(page) or len(page) < _SESSIONS:
            break
        offset += len(page)


def message_pages(store: ConversationStore, session_id: str, after_seq: int = 0) -> Iterator[list[ConversationMessage]]:
    """Yield the messages behind ``after_seq`` that are there now, oldest first, in pages of some megabytes.

    A limit means the latest messages, so only a session that fits into one page is read with it. Others are read in
    windows of ``seq``; where messages were deleted, a window holds fewer.
    """
    page = store.get_messages(session_id, limit=_FIRST, after_seq=after_seq)
    if len(page) < _FIRST:
        if page:
            yield page
        return
    last = page[-1].seq
    while after_seq < last:
        width = _fitting(page)
        page = []  # not to hold two at a time
        end = min(after_seq + width, last)
        page = store.get_messages(session_id, after_seq=after_seq, before_seq=end + 1)
        if page:
            yield page
        after_seq = end


def _fitting(page: list[ConversationMessage]) -> int:
    """Return how many messages like these make a page."""
    if not page:
        return _MOST
    characters = sum(
        200
        + (len(message.content) if isinstance(message.content, str) else len(repr(message.content)))
        + (len(repr(message.tool_calls)) if message.tool_calls else 0)
        + (len(repr(message.metadata)) if message.metadata else 0)
        for message in page
    )
    return max(1, min(_MOST, _PAGE * len(page) // characters))


# -------------------------------------------------------------------------------------------------------------- digest


def canonical(value: object) -> bytes:
    """Return a JSON value as bytes, the same for equal values only. It is one line."""
    return _encode(value).encode("utf-8", "surrogatepass")


def canonical_session(session: ConversationSession) -> bytes:
    """Return what a digest covers of a session."""
    return canonical(
        [
            session.session_id,
            session.user_id,
            session.agent_id,
            session.name,
            session.state,
            session.metadata,
            float(session.created_at),
        ]
    )


def canonical_message(message: ConversationMessage) -> bytes:
    """Return what a digest covers of a message."""
    return canonical(
        [
            message.id,
            message.role,
            message.content,
            message.tool_calls,
            message.tool_call_id,
            message.metadata,
            float(message.created_at),
        ]
    )


class SessionDigest:
    """SHA-256 of a session and its messages, in order.

    Attributes:
        messages: how many were added.
    """

    def __init__(self, session: ConversationSession) -> None:
        self._hash = hashlib.sha256(canonical_session(session) + b"\n")
        self.messages = 0

    def add(self, *messages: bytes) -> None:
        """Add messages in their canonical form."""
        for message in messages:
            self._hash.update(message)
            self._hash.update(b"\n")
        self.messages += len(messages)

    def copy(self) -> SessionDigest:
        """Return a digest that goes on from here by itself."""
        other: SessionDigest = object.__new__(SessionDigest)
        other._hash = self._hash.copy()
        other.messages = self.messages
        return other

    def hexdigest(self) -> str:
        """Return it as 64 hexadecimal digits."""
        return self._hash.hexdigest()


class Total:
    """The digest of many things in any order: the sum of their digests, modulo 2**256.

    Stores list in different orders; a sum needs neither sorting nor memory.

    Attributes:
        count: how many there are.
    """

    def __init__(self, digests: Iterable[str] = ()) -> None:
        self._sum = 0
        self.count = 0
        for digest in digests:
            self.add(digest)

    def add(self, digest: str) -> None:
        """Add the digest of one thing."""
        self._sum = (self._sum + int(digest, 16)) % (1 << 256)
        self.count += 1

    def hexdigest(self) -> str:
        """Return it as 64 hexadecimal digits."""
        return f"{self._sum:064x}"
