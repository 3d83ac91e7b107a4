"""``copy``."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import click

from praisonai_persistence.errors import (
    BackendNotInstalledError,
    PersistenceError,
    StoreNotFoundError,
    UnknownBackendError,
)
from praisonai_persistence_cli._app import Failed, complain
from praisonai_persistence_cli._copying import Plan, copy_conversations
from praisonai_persistence_cli._dry import opened_target
from praisonai_persistence_cli._options import KINDS, Command, Target, as_json, point_out_old, url_option
from praisonai_persistence_cli._output import document, line, size
from praisonai_persistence_cli._progress import progress_option, showing
from praisonai_persistence_cli._selection import ALL, Selection, check_kind, selection_of, selection_options

__all__ = ["copy_command"]

_UNITS = {
    "conversation": ("sessions", "messages"),
    "state": ("keys", "keys"),
    "knowledge": ("collections", "documents"),
}
LAYOUT_KINDS = ("knowledge", "state")
"""What can be copied from another layout."""
_MOST = 20  # conflicts that are named one by one


@click.command("copy", cls=Command)
@url_option("--from", "source", "The store to read; nothing in it changes.", required=True)
@url_option("--to", "target", "The store to write.", required=True)
@click.option(
    "--kind", type=click.Choice([*KINDS, "all"]), default="conversation", show_default=True, help="What to copy."
)
@click.option(
    "--from-layout",
    type=click.Choice(["praisonai"]),
    help="The source is what PraisonAI itself wrote: its documents, or its state in Redis.",
)
@click.option("--from-prefix", metavar="TEXT", help="table_prefix of the source. [default: the backend's]")
@click.option("--to-prefix", metavar="TEXT", help="table_prefix of the target. [default: the backend's]")
@selection_options
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("--workers", type=click.IntRange(1, 32), default=4, show_default=True, help="Threads that copy.")
@click.option("--update", is_flag=True, help="Bring up to date what the target has in another state.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Read everything back and compare it.")
@progress_option
def copy_command(
    source: str,
    target: str,
    kind: str,
    from_layout: str | None,
    from_prefix: str | None,
    to_prefix: str | None,
    session_id: tuple[str, ...],
    user_id: str | None,
    agent_id: str | None,
    since: str | None,
    dry_run: bool,
    workers: int,
    update: bool,
    verify: bool,
    progress: bool | None,
) -> None:
    """Copy a store to another one, of any backend.

    What the target has already is compared and left alone, so a copy that was killed is simply started again, and two
    at once do no harm. What the target has with other content is reported and stays as it is; the exit code is 1 then.
    With --kind all, kinds that are not in the source are left out; so are those that the target's backend does not
    have, with the exit code 1 if the source has anything of them.
    """
    if (source, from_prefix, from_layout) == (target, to_prefix, None):
        raise click.UsageError("--from and --to name the same store")
    if from_layout is not None and kind not in LAYOUT_KINDS:
        raise click.UsageError(
            f"--from-layout is for --kind {' and --kind '.join(LAYOUT_KINDS)}; PraisonAI's tables of conversations are "
            f"taken over where they are: 'migrate --adopt'"
        )
    selection = selection_of(session_id, user_id, agent_id, since)
    check_kind(selection, kind)
    kinds = KINDS if kind == "all" else (kind,)
    ways = [(Target(one, source, from_prefix, layout=from_layout), Target(one, target, to_prefix)) for one in kinds]
    left_out = _left_out(ways) if kind == "all" else {}
    ways = [way for way in ways if way[0].kind not in left_out]
    for way in ways:  # a kind that a backend does not have is found out before anything is copied
        for end in way:
            end.open().close()
    plan = Plan(workers, update, verify and not dry_run)
    reports = {way[0].kind: _copy(*way, plan, selection, dry_run=dry_run, progress=progress) for way in ways}
    ok = all(report["ok"] for report in (*reports.values(), *left_out.values()))
    if as_json():
        shown = {"from": Target("", source).shown, "to": Target("", target).shown}
        document({"ok": ok, "dry_run": dry_run, **shown, **reports, "left_out": left_out})
    else:
        for one, report in reports.items():
            line(_sentence(one, report, dry_run=dry_run, chosen=selection != ALL))
    for one, why in left_out.items():
        complain(f"{'note' if why['ok'] else 'Error'}: {one} left out: {why['reason']}")
    for report in reports.values():
        for conflict in report["conflicts"][:_MOST]:
            complain(f"Error: {conflict}")
        if len(report["conflicts"]) > _MOST:
            complain(f"Error: and {size(len(report['conflicts']) - _MOST)} more; --json lists all of them")
    if not ok:
        raise Failed


def _left_out(ways: list[tuple[Target, Target]]) -> dict[str, dict[str, Any]]:
    """Return why kinds are not copied: the source has nothing of them, or the target's backend does not have them.

    Raises:
        UnknownBackendError: that is so of all kinds.
        StoreNotFoundError: the source is not there.
    """
    found: dict[str, dict[str, Any]] = {}
    first: PersistenceError | None = None
    for source, target in ways:
        try:
            source.open().close()
        except BackendNotInstalledError as error:  # so nobody knows what is there
            first = first or error
            found[source.kind] = {"ok": False, "reason": str(error)}
            continue
        except UnknownBackendError as error:
            first = first or error
            found[source.kind] = {"ok": True, "reason": f"{source.shown} has no {source.kind} store"}
            continue
        try:
            with source.open(must_exist=True) as store:
                empty = not _has_any(store, source.kind)
        except StoreNotFoundError as error:
            # This kind of store is one that the source could have, so its absence tells more than another's.
            first = error if first is None or isinstance(first, UnknownBackendError) else first
            found[source.kind] = {"ok": True, "reason": f"nothing is there; {error}"}
            continue
        try:
            target.open().close()
        except UnknownBackendError as error:
            first = first or error
            lacks = isinstance(error, BackendNotInstalledError)
            why = str(error) if lacks else f"{target.shown} has no {source.kind} store"
            so = "the source has nothing of it" if empty else "so this part of the source was not copied"
            found[source.kind] = {"ok": empty, "reason": f"{why}, {so}"}
    if len(found) == len(ways) and first is not None:
        raise first
    return found


def _has_any(store: Any, kind: str) -> bool:
    if kind == "conversation":
        return bool(store.list_sessions(limit=1))
    if kind == "knowledge":
        return bool(store.list_collections())
    return next(iter(store.scan_prefix("")), None) is not None


def _copy(
    source: Target, target: Target, plan: Plan, selection: Selection, *, dry_run: bool, progress: bool | None
) -> dict[str, Any]:
    from praisonai_persistence_cli._documents import copy_knowledge
    from praisonai_persistence_cli._keys import copy_state

    units, items = _UNITS[source.kind]
    start = time.perf_counter()
    with ExitStack() as stack:
        reading = stack.enter_context(source.open(must_exist=True))
        reading.connect()  # a source that is not there is found before the target is touched
        writing = opened_target(stack, target, dry_run=dry_run)
        plan = replace(plan, progress=stack.enter_context(showing(source.kind, units, items, progress)))
        if source.kind == "conversation":
            outcome = copy_conversations(reading, writing, plan, selection)
            if not outcome.units and not outcome.conflicts:
                point_out_old(reading)
        else:
            outcome = (copy_state if source.kind == "state" else copy_knowledge)(reading, writing, plan)
    seconds = time.perf_counter() - start
    return {
        "ok": not outcome.conflicts,
        units: outcome.units,
        items: outcome.items,
        "written": outcome.written,
        "verified": plan.verify and outcome.units > 0,
        "digest": outcome.total.hexdigest(),
        "seconds": round(seconds, 3),
        "conflicts": outcome.conflicts,
    }


def _sentence(kind: str, report: dict[str, Any], *, dry_run: bool, chosen: bool) -> str:
    units, items = _UNITS[kind]
    if not report[units] and not report["conflicts"]:
        return f"{kind}: the source has no {'such ' if chosen else ''}{units}: nothing was copied"
    what = f"{size(report[units])} {units}"
    if items != units:
        what += f" with {size(report[items])} {items}"
    if dry_run:
        return f"{kind}: {what}; {size(report['written'])} would be written, digest {report['digest']}"
    rate = report["written"] / report["seconds"] if report["seconds"] else 0.0
    written = f"{size(report['written'])} written in {report['seconds']:.1f} s ({size(round(rate))}/s)"
    return f"{kind}: {what}; {written}; {'' if report['verified'] else 'not '}verified, digest {report['digest']}"
