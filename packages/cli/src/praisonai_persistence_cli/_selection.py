"""Which sessions ``export`` and ``copy`` take."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.payload import check_id
from praisonai_persistence_cli._options import filter_options, known_session, seconds
from praisonai_persistence_cli._reading import all_sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.conversation import ConversationStore

__all__ = ["ALL", "Selection", "check_kind", "selection_of", "selection_options"]


class Selection(NamedTuple):
    """Sessions that were chosen; all conditions have to hold.

    Attributes:
        session_ids: by their ids, in this order; empty: whatever their ids are.
        user_id: whose they are, or None.
        agent_id: of which agent they are, or None.
        since: Unix seconds; those that were written to then or later, or None.
    """

    session_ids: tuple[str, ...] = ()
    user_id: str | None = None
    agent_id: str | None = None
    since: float | None = None

    def ids(self, store: ConversationStore) -> list[str]:
        """Return the ids of the sessions: in the order given, or else oldest first.

        Raises:
            SessionNotFoundError: one that was named is not there.
        """
        if self.session_ids:
            sessions = [known_session(store, item) for item in dict.fromkeys(self.session_ids)]
            return [item.session_id for item in sessions if self.since is None or item.updated_at >= self.since]
        found = dict.fromkeys(
            session.session_id
            for session in all_sessions(store, self.user_id, self.agent_id)
            if self.since is None or session.updated_at >= self.since
        )
        return [*reversed(found)]


ALL = Selection()


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--session-id``, ``--user-id``, ``--agent-id`` and ``--since``."""
    since = "Only sessions that were written to since: an age (12h, 90d, 4w), or a date (2026-01-31)."
    function = click.option("--since", metavar="WHEN", help=since)(function)
    function = filter_options(function)
    return click.option("--session-id", multiple=True, metavar="ID", help="This session, repeatable. [default: all]")(
        function
    )


def selection_of(
    session_id: tuple[str, ...], user_id: str | None, agent_id: str | None, since: str | None
) -> Selection:
    """Return what the options choose.

    Raises:
        click.UsageError: they contradict each other.
        InvalidValueError: one of them cannot be.
    """
    if session_id and (user_id is not None or agent_id is not None):
        raise click.UsageError(
            "--session-id names sessions, --user-id and --agent-id select some: give one or the other"
        )
    for item in session_id:
        check_id(item)
    return Selection(session_id, user_id, agent_id, None if since is None else _moment(since))


def check_kind(selection: Selection, kind: str) -> None:
    """Refuse to select where there are no sessions.

    Raises:
        click.UsageError: something is selected of another kind than conversation.
    """
    if selection != ALL and kind != "conversation":
        raise click.UsageError(
            "--session-id, --user-id, --agent-id and --since choose sessions: they go with --kind conversation only"
        )


def _moment(text: str) -> float:
    """Return Unix seconds of an age, or of a date with or without a time; without a zone it is UTC."""
    try:
        return time.time() - seconds(text, "--since")
    except InvalidValueError:
        pass
    try:
        # Before Python 3.11, Z was not understood.
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidValueError(
            "--since must be an age, like 12h, 90d or 4w, or a date, like 2026-01-31 or 2026-01-31T12:00:00Z (UTC)"
        ) from error
