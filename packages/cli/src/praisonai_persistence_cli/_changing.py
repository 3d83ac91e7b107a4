"""``delete``, ``rename`` and ``fork``: one session at a time, or a few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from praisonai_persistence.errors import ConflictError
from praisonai_persistence.payload import check_id
from praisonai_persistence_cli._app import complain
from praisonai_persistence_cli._asking import confirm, yes_option
from praisonai_persistence_cli._options import (
    Command,
    as_json,
    conversation_options,
    conversation_store,
    known_session,
)
from praisonai_persistence_cli._output import document, line, plain, size

if TYPE_CHECKING:
    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.records import ConversationSession

__all__ = ["delete_command", "fork_command", "rename_command"]

_TRIES = 10  # to rename a session that others write to


@click.command("delete", cls=Command)
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
@yes_option
@conversation_options
def delete_command(
    session_ids: tuple[str, ...], dry_run: bool, yes: bool, conversation_url: str | None, table_prefix: str | None
) -> None:
    """Delete sessions with all their messages.

    If one of them is not there, nothing is deleted. See prune for those that nobody used for a while.
    """
    wanted = dict.fromkeys(session_ids)
    for session_id in wanted:
        check_id(session_id)
    with conversation_store(conversation_url, table_prefix) as store:
        counts = {known_session(store, item).session_id: store.count_messages(item) for item in wanted}
        messages = sum(counts.values())
        what = f"session {session_ids[0]!r}" if len(counts) == 1 else f"{size(len(counts))} sessions"
        if not dry_run:
            confirm(
                f"Delete {what} with {size(messages)} messages?",
                yes,
                refusal=f"this deletes {what} with {size(messages)} messages: say --yes, or look with --dry-run",
                otherwise="nothing was deleted",
            )
        gone = [item for item in counts if dry_run or store.delete_session(item)]
    if as_json():
        document({"dry_run": dry_run, "sessions": gone, "count": len(gone)})
        return
    for session_id in gone:
        line(plain(session_id))
    complain(f"{size(len(gone))} sessions {'would be ' if dry_run else ''}deleted")


@click.command("rename", cls=Command)
@click.argument("session_id", metavar="SESSION")
@click.argument("name")
@yes_option
@conversation_options
def rename_command(
    session_id: str, name: str, yes: bool, conversation_url: str | None, table_prefix: str | None
) -> None:
    """Give a session another NAME. Its id stays what it is; see fork for a copy with another id."""
    check_id(session_id)
    with conversation_store(conversation_url, table_prefix) as store:
        before = known_session(store, session_id).name
        was = "has no name" if before is None else f"is named {before!r}"
        confirm(
            f"Session {session_id!r} {was}. Name it {name!r}?",
            yes,
            refusal=f"this renames session {session_id!r}: say --yes",
        )
        session = _renamed(store, session_id, name)
    if as_json():
        document({"session": session.to_dict(), "name_before": before})
    else:
        line(f"session {plain(session_id)} is named {plain(name)}")


def _renamed(store: ConversationStore, session_id: str, name: str) -> ConversationSession:
    """Change the name and nothing else, whatever others change meanwhile."""
    for last in range(_TRIES - 1, -1, -1):
        session = known_session(store, session_id)
        session.name = name
        try:
            return store.update_session(session, expected_version=session.version)
        except ConflictError:
            if not last:
                raise
    raise AssertionError


@click.command("fork", cls=Command)
@click.argument("session_id", metavar="SESSION")
@click.option("--new-session-id", metavar="ID", help="The id of the new session. [default: one that is made up]")
@click.option("--up-to-seq", type=click.IntRange(1), metavar="N", help="The last message to copy. [default: all]")
@yes_option
@conversation_options
def fork_command(
    session_id: str,
    new_session_id: str | None,
    up_to_seq: int | None,
    yes: bool,
    conversation_url: str | None,
    table_prefix: str | None,
) -> None:
    """Copy a session into a new one of the same store, and print the id of that. The session itself stays."""
    check_id(session_id)
    if new_session_id is not None:
        check_id(new_session_id)
    with conversation_store(conversation_url, table_prefix) as store:
        known_session(store, session_id)
        up_to = "" if up_to_seq is None else f" up to message {up_to_seq}"
        confirm(
            f"Copy session {session_id!r}{up_to} into a new one?",
            yes,
            refusal=f"this copies session {session_id!r} into a new one: say --yes",
        )
        session = store.fork_session(session_id, up_to_seq, new_session_id)
        count = store.count_messages(session.session_id)
    if as_json():
        document({"forked_from": session_id, "session": session.to_dict(), "messages": count})
    else:
        line(plain(session.session_id))
        complain(f"{size(count)} messages copied")
