"""Looking through the sessions of a session store: [SearchingSessions][], and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.records import text_of
from praisonai_persistence.stores._session_documents import (
    Document,
    Message,
    as_object,
    as_objects,
    for_model,
    metadata_of,
)
from praisonai_persistence.stores.conversation import query_words, word_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "SearchingSessions",
    "SessionHit",
    "SessionSummary",
    "archived_in",
    "chain_of",
    "newest",
    "searchable",
    "words_of",
]

_SNIPPET, _TITLE = 200, 60
"""Characters of a message that a hit shows, and that stand for a title."""
_AUTOMATED = frozenset({"scheduled", "automated", "cron", "system", "batch"})
_DEMOTED = 0.25
"""What a message counts in a session that no user takes part in."""
_KEPT = 10
"""Documents of hits that a search holds at a time; others that it returns are read once more."""
_BOOKEND = 2
"""Turns that a hit shows of the session's beginning, and of its end."""


class _AsDict:
    def as_dict(self) -> dict[str, Any]:
        """Return every field."""
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]


@dataclass
class SessionHit(_AsDict):
    """A session in which something was found.

    Attributes:
        session_id: the session.
        title: its title, or the name of its agent, or how its first question begins, or its id.
        when: of its last change, ISO 8601, or None.
        snippet: a part of the message that was found.
        score: how many of its messages match; of a session without a user a quarter of that.
        anchor_index: the index of the message, the latest one that matches.
        messages: those around it, as [SearchingSessions.window][] returns them.
        bookends: the first two turns of user and assistant as ``opening``, and the last two as ``closing``, likewise;
            the latter is empty where there are no others.
    """

    session_id: str
    title: str = ""
    when: str | None = None
    snippet: str = ""
    score: float = 0.0
    anchor_index: int = -1
    messages: list[dict[str, Any]] = field(default_factory=list)
    bookends: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass
class SessionSummary(_AsDict):
    """What there is to know of a session without its messages.

    Attributes:
        session_id: the session.
        title: its title, or the name of its agent, or its id.
        when: of its last change, ISO 8601, or None.
        message_count: how many messages it has, without archived ones.
    """

    session_id: str
    title: str = ""
    when: str | None = None
    message_count: int = 0


class SearchingSessions:
    """Search, windows, summaries and what was noted, for ``SessionStoreBase``."""

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> list[SessionHit]:
        """Return the sessions with messages that have every word of a query, those with the most of them first.

        A word is a run of letters and digits; case does not matter. A query without a word finds nothing. All sessions
        are read, unless they are in a conversation store with full-text search.

        Messages that a session has archived are looked at, too: they stand before the others, with ``archived`` set.
        Sessions of one conversation, which have a ``lineage_id``, ``root_session_id`` or ``thread_id`` in common, are
        one hit, the best of theirs. A message counts a quarter in a session that no user takes part in, whose metadata
        have a ``source`` such as ``scheduled``, or ``automated``.

        Args:
            query: words.
            limit: at most so many sessions.
            window: how many messages before and after the one that was found are returned with it.
        """
        store: Any = self
        store._usable()
        count, around = payload.check_count(limit, "limit"), payload.check_count(window, "window")
        if not isinstance(query, str):
            raise InvalidValueError(f"query must be text, not {type(query).__name__}")
        words = set(query_words(query))
        if not words or not count:
            return []
        # Of each document only what the order depends on is kept: all of them together may not fit into memory.
        found: list[tuple[Document, float]] = []
        kept: dict[str, Document] = {}  # whole, so that few hits are read once
        for document in self._searched(query):
            hits = len(_places(document, words))
            if hits:
                head = {name: value for name, value in document.items() if name not in _TRANSCRIPT}
                found.append((head, hits * (_DEMOTED if _is_automated(document) else 1.0)))
                if len(kept) < _KEPT:
                    kept[head["session_id"]] = document
        latest = newest([head for head, _ in found], len(found))
        order = {head["session_id"]: place for place, head in enumerate(latest)}
        found.sort(key=lambda hit: (-hit[1], order[hit[0]["session_id"]]))
        chains: dict[Any, tuple[str, float]] = {}
        for head, score in found:
            chains.setdefault(chain_of(head) or (head["session_id"],), (head["session_id"], score))
        shown = []
        for session_id, score in list(chains.values())[:count]:
            document = kept.get(session_id) or as_object(store._load(session_id))
            places = _places(document, words)
            if places:  # else it was changed meanwhile
                shown.append(_hit(document, places, score, words, around))
        return shown

    def _searched(self, query: str) -> Iterable[Document]:
        """Return the whole documents among which all are that match; others may be among them."""
        store: Any = self
        for head in store._heads():
            document = store._load(head["session_id"])
            if document is not None:
                yield document

    def window(self, session_id: str, around_message_id: str | None = None, *, window: int = 5) -> list[dict[str, Any]]:
        """Return the messages around one of them, oldest first; without one, around the latest.

        Each has ``role``, ``content``, ``timestamp``, ``index``, ``id`` and ``archived``, and what language models
        take of it. Archived messages come first and are counted by ``index``, as in what ``search`` returns.

        Args:
            session_id: an unknown session has none.
            around_message_id: the ``id`` of a message, as this returns it, or its ``index``, as a hit has it, too;
                a number beyond the ends is the first, or the last. Any other text is the latest message.
            window: how many before and after it.
        """
        store: Any = self
        around = payload.check_count(window, "window")
        document = as_object(store._load(store._id(session_id)))
        messages = searchable(document)
        place = _place_of(around_message_id, messages)
        return list(_shown(messages, place - around, place + around + 1))

    def recent(self, *, limit: int = 10) -> list[SessionSummary]:
        """Return the sessions, last changed first."""
        store: Any = self
        store._usable()
        count = payload.check_count(limit, "limit")
        return [
            SessionSummary(session_id, _named(head) or session_id, head.get("updated_at"), store._count(head))
            for session_id, head in ((head["session_id"], head) for head in newest(store._heads(), count))
        ]

    def get_session_model(self, session_id: str) -> str | None:
        """Return the model that the session noted, or the latest message that noted one."""
        return self._noted(session_id, "model", "llm")

    def get_session_reasoning_effort(self, session_id: str) -> str | None:
        """Return the reasoning effort that the session noted, or the latest message that noted one."""
        return self._noted(session_id, "reasoning_effort")

    def _noted(self, session_id: str, *names: str) -> str | None:
        store: Any = self
        session = store.get_session(session_id)
        places = [(session.metadata, names), *((item.metadata, names[:1]) for item in reversed(session.messages))]
        for metadata, wanted in places:
            for name in wanted:
                if isinstance(value := metadata.get(name), str) and value:
                    return value
        return None


_TRANSCRIPT = frozenset({"messages", "archived_messages", "snapshots", "snapshot_storage"})


def _places(document: Document, words: set[str]) -> list[int]:
    """Return where the messages stand that have all of these words."""
    return [index for index, message in enumerate(searchable(document)) if words <= words_of(message)]


class _Later(str):
    """Text that sorts from the last to the first."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def newest(heads: Iterable[Document], limit: int) -> list[Document]:
    """Return so many, last changed first, ties by their ids; no more than these is in memory at any time."""
    return nsmallest(limit, heads, lambda head: (_Later(head.get("updated_at") or ""), str(head["session_id"])))


def words_of(message: Message) -> set[str]:
    """Return the words by which a message is found."""
    return set(word_pattern().findall(_text(message).lower()))


def _text(message: Message) -> str:
    """Return what a search looks at (C16)."""
    content = message.get("content")
    return text_of(content) if isinstance(content, (str, list)) else ""


_CHAIN = ("lineage_id", "root_session_id", "thread_id")


def chain_of(document: Document) -> str | None:
    """Return what sessions have in common that are one conversation; None: it is alone."""
    metadata = metadata_of(document)
    found = next(filter(None, (document.get(name) or metadata.get(name) for name in _CHAIN)), None)
    return None if found is None else str(found)


def searchable(document: Document) -> list[Message]:
    """Return the messages that a search looks at: the archived ones, marked as such, and those at hand."""
    archived = [{**message, "archived": True} for message in archived_in(document)]
    # What somebody stored under that name says nothing of where the message stands.
    return [*archived, *({**message, "archived": False} for message in as_objects(document.get("messages")))]


def archived_in(document: Document) -> list[Message]:
    """Return the messages that a session has archived."""
    return as_objects(document.get("archived_messages"))


def _named(document: Document) -> str:
    return str(metadata_of(document).get("title") or document.get("title") or document.get("agent_name") or "")


def _title(document: Document, messages: list[Message]) -> str:
    """Return how a session is called, after the first question at hand where nobody has named it."""
    asked = (_text(message) for message in messages if message.get("role") == "user" and not message["archived"])
    question = " ".join(next(filter(None, asked), "").split())
    return _named(document) or question[:_TITLE] or str(document["session_id"])


def _id_of(message: Message, index: int) -> str:
    """Return the id by which a window names a message: its own, that in its metadata, or its index."""
    metadata = as_object(message.get("metadata"))
    for given in (message.get("id"), metadata.get("message_id"), metadata.get("id")):
        if isinstance(given, str) and given:
            return given
    return str(index)


def _place_of(anchor: Any, messages: list[Message]) -> int:
    """Return the index of a message that is named by its id or by its index; of any other name the last one's."""
    last = len(messages) - 1
    if anchor is None or anchor == "":
        return last
    ids = [_id_of(message, index) for index, message in enumerate(messages)]
    if anchor in ids:
        return ids.index(anchor)
    try:
        return max(0, min(int(anchor), last))
    except (OverflowError, TypeError, ValueError):
        return last


def _shown(messages: list[Message], start: int, end: int) -> Iterator[dict[str, Any]]:
    for index in range(max(0, start), min(len(messages), end)):
        yield _one_shown(messages[index], index)


def _one_shown(message: Message, index: int) -> dict[str, Any]:
    return {
        **for_model(message),
        "timestamp": message.get("timestamp"),
        "index": index,
        "id": _id_of(message, index),
        "archived": message["archived"],
    }


def _bookends(messages: list[Message]) -> dict[str, list[dict[str, Any]]]:
    turns = [index for index, message in enumerate(messages) if message.get("role") in {"user", "assistant"}]
    if not turns:
        return {}
    closing = turns[-_BOOKEND:] if len(turns) > _BOOKEND else []
    places = {"opening": turns[:_BOOKEND], "closing": closing}
    return {name: [_one_shown(messages[index], index) for index in indexes] for name, indexes in places.items()}


def _is_automated(document: Document) -> bool:
    metadata = as_object(document.get("metadata"))
    source = document.get("source") or metadata.get("source")
    return metadata.get("automated") is True or (isinstance(source, str) and source.lower() in _AUTOMATED)


def _hit(document: Document, indexes: list[int], score: float, words: set[str], around: int) -> SessionHit:
    messages = searchable(document)
    anchor = indexes[-1]
    text = _text(messages[anchor])
    places = [match.start() for match in word_pattern().finditer(text.lower()) if match[0] in words]
    start = max(0, min(places, default=0) - _SNIPPET // 4)
    return SessionHit(
        document["session_id"],
        _title(document, messages),
        document.get("updated_at"),
        text[start : start + _SNIPPET],
        score,
        anchor,
        list(_shown(messages, anchor - around, anchor + around + 1)),
        _bookends(messages),
    )
