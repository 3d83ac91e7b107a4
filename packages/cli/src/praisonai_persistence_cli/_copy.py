"""``copy``."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import click

from praisonai_persistence_cli._app import Failed, complain
from praisonai_persistence_cli._options import KINDS, Command, Target, as_json
from praisonai_persistence_cli._output import document, line, size

__all__ = ["copy_command"]

_UNITS = {
    "conversation": ("sessions", "messages"),
    "state": ("keys", "keys"),
    "knowledge": ("collections", "documents"),
}
_MOST = 20  # conflicts that are named one by one


@click.command("copy", cls=Command)
@click.option("--from", "source", required=True, metavar="URL", help="The store to read; nothing in it changes.")
@click.option("--to", "target", required=True, metavar="URL", help="The store to write.")
@click.option(
    "--kind", type=click.Choice([*KINDS, "all"]), default="conversation", show_default=True, help="What to copy."
)
@click.option("--from-prefix", metavar="TEXT", help="table_prefix of the source. [default: the backend's]")
@click.option("--to-prefix", metavar="TEXT", help="table_prefix of the target. [default: the backend's]")
@click.option("--workers", type=click.IntRange(1, 32), default=4, show_default=True, help="Threads that copy.")
@click.option("--update", is_flag=True, help="Bring up to date what the target has in another state.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Read everything back and compare it.")
def copy_command(
    source: str,
    target: str,
    kind: str,
    from_prefix: str | None,
    to_prefix: str | None,
    workers: int,
    update: bool,
    verify: bool,
) -> None:
    """Copy a store to another one, of any backend.

    What the target has already is compared and left alone, so a copy that was killed is simply started again, and two
    at once do no harm. What the target has with other content is reported and stays as it is; the exit code is 1 then.
    """
    if (source, from_prefix) == (target, to_prefix):
        raise click.UsageError("--from and --to name the same store")
    kinds = KINDS if kind == "all" else (kind,)
    ways = [(Target(one, source, from_prefix), Target(one, target, to_prefix)) for one in kinds]
    for way in ways:  # a kind that a backend does not have is found out before anything is copied
        for end in way:
            end.open().close()
    reports = {way[0].kind: _copy(*way, workers, update, verify) for way in ways}
    ok = all(report["ok"] for report in reports.values())
    if as_json():
        shown = {"from": Target("", source).shown, "to": Target("", target).shown}
        document({"ok": ok, **shown, **reports})
    else:
        for one, report in reports.items():
            line(_sentence(one, report))
    for report in reports.values():
        for conflict in report["conflicts"][:_MOST]:
            complain(f"Error: {conflict}")
        if len(report["conflicts"]) > _MOST:
            complain(f"Error: and {size(len(report['conflicts']) - _MOST)} more; --json lists all of them")
    if not ok:
        raise Failed


def _copy(source: Target, target: Target, workers: int, update: bool, verify: bool) -> dict[str, Any]:
    from praisonai_persistence_cli import _copying
    from praisonai_persistence_cli._progress import bar

    work: dict[str, Any] = {
        "conversation": _copying.copy_conversations,
        "knowledge": _copying.copy_knowledge,
        "state": _copying.copy_state,
    }
    units, items = _UNITS[source.kind]
    start = time.perf_counter()
    with ExitStack() as stack:
        reading = stack.enter_context(source.open())
        writing = stack.enter_context(target.open())
        reading.connect()  # a source that is not there is found before the target is touched
        writing.connect()
        progress = stack.enter_context(bar(f"{source.kind}:", items))
        plan = _copying.Plan(workers, update, verify, progress)
        outcome: _copying.Outcome = work[source.kind](reading, writing, plan)
    seconds = time.perf_counter() - start
    return {
        "ok": not outcome.conflicts,
        units: outcome.units,
        items: outcome.items,
        "written": outcome.written,
        "verified": verify,
        "digest": outcome.total.hexdigest(),
        "seconds": round(seconds, 3),
        "conflicts": outcome.conflicts,
    }


def _sentence(kind: str, report: dict[str, Any]) -> str:
    units, items = _UNITS[kind]
    what = f"{size(report[units])} {units}"
    if items != units:
        what += f" with {size(report[items])} {items}"
    rate = report["written"] / report["seconds"] if report["seconds"] else 0.0
    written = f"{size(report['written'])} written in {report['seconds']:.1f} s ({size(round(rate))}/s)"
    return f"{kind}: {what}; {written}; {'' if report['verified'] else 'not '}verified, digest {report['digest']}"
