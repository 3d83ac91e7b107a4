"""``sessions``, ``show``, ``search`` and ``prune``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from praisonai_persistence.records import text_of
from praisonai_persistence_cli._app import complain
from praisonai_persistence_cli._asking import confirm, yes_option
from praisonai_persistence_cli._options import (
    Command,
    as_json,
    conversation_options,
    conversation_store,
    filter_options,
    known_session,
    point_out_old,
    seconds,
)
from praisonai_persistence_cli._output import documents, line, plain, size, table, terminal, timestamp, to_json, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = ["print_history", "prune_command", "search_command", "sessions_command", "show_command"]

_PAGE = 500


@click.command("sessions", cls=Command)
@filter_options
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="How many at the most.")
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="How many of the newest to skip.")
@click.option("--sizes", is_flag=True, help="Also read them: the number of their messages, and the bytes as JSON.")
@conversation_options
def sessions_command(
    user_id: str | None,
    agent_id: str | None,
    limit: int,
    offset: int,
    sizes: bool,
    conversation_url: str | None,
    table_prefix: str | None,
) -> None:
    """List sessions, newest first."""
    with conversation_store(conversation_url, table_prefix) as store:
        listed = _listed(store, user_id, agent_id, limit, offset)
        total = {"sessions": 0, "messages": 0, "bytes": 0}
        rows = ((session, _size(store, session, total) if sizes else {}) for session in listed)
        if as_json():
            head = {"limit": limit, "offset": offset}
            tail = {"total": total} if sizes else {}
            documents(head, "sessions", ({**session.to_dict(), **more} for session, more in rows), tail)
        else:
            table(
                ("SESSION", "USER", "AGENT", "NAME", "CREATED", "UPDATED", *(("MESSAGES", "BYTES") if sizes else ())),
                ((*_cells(session), *more.values()) for session, more in rows),
            )
            if sizes:
                complain(", ".join(f"{size(number)} {name}" for name, number in total.items()))
        point_out_old(store)


def _cells(session: ConversationSession) -> tuple[Any, ...]:
    times = timestamp(session.created_at), timestamp(session.updated_at)
    return session.session_id, session.user_id, session.agent_id, session.name, *times


def _size(store: ConversationStore, session: ConversationSession, total: dict[str, int]) -> dict[str, int]:
    """Return how many messages a session has, and the bytes of all of it as JSON; add them to the total."""
    from praisonai_persistence_cli._reading import canonical_message, canonical_session, message_pages

    found = {"messages": 0, "bytes": len(canonical_session(session))}
    for page in message_pages(store, session.session_id):
        found["messages"] += len(page)
        found["bytes"] += sum(len(canonical_message(message)) for message in page)
    for name, number in {"sessions": 1, **found}.items():
        total[name] += number
    return found


def _listed(
    store: ConversationStore, user_id: str | None, agent_id: str | None, limit: int, offset: int
) -> Iterator[ConversationSession]:
    """Yield a part of the listing, in pages."""
    while limit:
        page = store.list_sessions(user_id, agent_id, limit=min(limit, _PAGE), offset=offset)
        yield from page
        if len(page) < min(limit, _PAGE):
            return
        limit -= len(page)
        offset += len(page)


@click.command("show", cls=Command)
@click.argument("session_id", metavar="SESSION")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="Only the latest N messages. [default: all]")
@conversation_options
def show_command(session_id: str, limit: int | None, conversation_url: str | None, table_prefix: str | None) -> None:
    """Show a session with its messages, oldest first."""
    from praisonai_persistence_cli._reading import message_pages

    with conversation_store(conversation_url, table_prefix) as store:
        session = known_session(store, session_id)
        pages = message_pages(store, session_id) if limit is None else [store.get_messages(session_id, limit=limit)]
        messages = (message for page in pages for message in page)
        if as_json():
            documents({"session": session.to_dict()}, "messages", (message.to_dict() for message in messages))
            return
        line(f"session {plain(session_id)}")
        for name in ("name", "user_id", "agent_id"):
            if (value := getattr(session, name)) is not None:
                line(f"{name} {plain(value)}")
        line(f"created {timestamp(session.created_at)}, updated {timestamp(session.updated_at)}")
        print_history(messages)


def print_history(messages: Iterable[ConversationMessage]) -> None:
    """Print messages to be read by people."""
    bold, dim, reset = ("", "", "")
    if terminal() and _colors():
        bold, dim, reset = "\x1b[1m", "\x1b[2m", "\x1b[0m"
    for message in messages:
        line()
        answered = f" (answers {plain(message.tool_call_id)})" if message.tool_call_id is not None else ""
        when = timestamp(message.created_at)
        written(f"{bold}{plain(message.role)}{reset} {dim}#{message.seq} {when}{answered}{reset}")
        if isinstance(message.content, str):
            line(plain(message.content, multiline=True))
        for part in message.content if isinstance(message.content, list) else ():
            line(_part(part))
        for call in message.tool_calls or ():
            line(f"calls {to_json(call)}")


def _part(part: Any) -> str:
    """Return a part of a content: its text, or what kind of part it is."""
    if text := text_of([part]):
        return plain(text, multiline=True)
    kind = part.get("type") if isinstance(part, dict) else None
    return f"[{plain(str(kind or 'part'))}: not text; `export` writes it whole]"


def _colors() -> bool:
    import os

    return not os.environ.get("NO_COLOR")


@click.command("search", cls=Command)
@click.argument("query", nargs=-1, required=True)
@click.option("--user-id", metavar="ID", help="Only sessions of this user.")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="How many at the most.")
@conversation_options
def search_command(
    query: tuple[str, ...], user_id: str | None, limit: int, conversation_url: str | None, table_prefix: str | None
) -> None:
    """Find messages that have every word of QUERY, newest first.

    A word is a run of letters and digits; case does not matter.
    """
    text = " ".join(query)
    with conversation_store(conversation_url, table_prefix) as store:
        found = store.search_messages(text, user_id=user_id, limit=limit)
        if not found:
            point_out_old(store)
    if as_json():
        documents({"query": text}, "messages", (message.to_dict() for message in found))
        return
    table(
        ("SESSION", "SEQ", "ROLE", "CREATED", "CONTENT"),
        ((item.session_id, item.seq, item.role, timestamp(item.created_at), _excerpt(item.content)) for item in found),
    )


def _excerpt(content: str | list[Any] | None) -> str:
    words = " ".join(text_of(content).split())
    return words if len(words) <= 160 else words[:159] + "\u2026"


@click.command("prune", cls=Command)
@click.option("--older-than", metavar="AGE", help="Sessions that were not written to for so long: 12h, 90d, 4w.")
@click.option("--keep-last", type=click.IntRange(0), metavar="N", help="Keep the newest N in any case.")
@filter_options
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
@yes_option
@conversation_options
def prune_command(
    older_than: str | None,
    keep_last: int | None,
    user_id: str | None,
    agent_id: str | None,
    dry_run: bool,
    yes: bool,
    conversation_url: str | None,
    table_prefix: str | None,
) -> None:
    """Delete whole sessions that nobody used for a while.

    Of the sessions that --user-id and --agent-id select, the newest N of --keep-last stay; of the others those go that
    were last written to before the AGE of --older-than, without it all.
    """
    from praisonai_persistence_cli._reading import all_sessions

    if older_than is None and keep_last is None:
        raise click.UsageError("give --older-than, --keep-last or both")
    before = time.time() - seconds(older_than, "--older-than") if older_than is not None else float("inf")
    with conversation_store(conversation_url, table_prefix) as store:
        chosen: dict[str, float] = {}
        for number, session in enumerate(all_sessions(store, user_id, agent_id)):
            if session.updated_at < before and number >= (keep_last or 0):
                chosen.setdefault(session.session_id, session.updated_at)
            else:  # it was written to since it was listed
                chosen.pop(session.session_id, None)
        if not chosen:
            point_out_old(store)
        if chosen and not dry_run:
            confirm(
                f"Delete {size(len(chosen))} sessions with all their messages?",
                yes,
                refusal=f"this deletes {size(len(chosen))} sessions: say --yes, or look with --dry-run",
                otherwise="nothing was deleted",
            )
        # One that is written to since then has a newer time, and stays.
        gone = _delete(store, chosen, dry_run)
        counted = {"count": 0}
        if as_json():
            head = {"dry_run": dry_run}
            documents(head, "sessions", _counted(gone, counted), counted)
            return
        for session_id in _counted(gone, counted):
            line(plain(session_id))
        complain(f"{size(counted['count'])} sessions {'would be ' if dry_run else ''}deleted")


def _delete(store: ConversationStore, chosen: dict[str, float], dry_run: bool) -> Iterator[str]:
    for session_id, updated_at in reversed(chosen.items()):
        if not dry_run:
            session = store.get_session(session_id)
            if session is None or session.updated_at != updated_at or not store.delete_session(session_id):
                continue
        yield session_id


def _counted(items: Iterable[str], counted: dict[str, int]) -> Iterator[str]:
    for item in items:
        counted["count"] += 1
        yield item
