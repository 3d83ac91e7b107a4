"""``export`` and ``import``."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from praisonai_persistence_cli._app import Failed, complain
from praisonai_persistence_cli._options import (
    KINDS,
    Command,
    as_json,
    needed,
    point_out_old,
    prefix_option,
    stdin_is_taken,
    url_options,
)
from praisonai_persistence_cli._output import document, line, size
from praisonai_persistence_cli._progress import progress_option, showing
from praisonai_persistence_cli._selection import check_kind, selection_of, selection_options

if TYPE_CHECKING:
    from praisonai_persistence_cli._copying import Outcome, Plan
    from praisonai_persistence_cli._format import BaseReader, BaseWriter, BrokenFileError
    from praisonai_persistence_cli._keys import Entry
    from praisonai_persistence_cli._progress import Progress

__all__ = ["export_command", "import_command"]


@click.command("export", cls=Command)
@click.option("--kind", type=click.Choice(KINDS), default="conversation", show_default=True, help="What to write.")
@click.option("--output", "-o", default="-", metavar="FILE", help="Where to write; - is stdout. [default: -]")
@selection_options
@url_options(*KINDS)
@prefix_option
@progress_option
def export_command(
    kind: str,
    output: str,
    session_id: tuple[str, ...],
    user_id: str | None,
    agent_id: str | None,
    since: str | None,
    conversation_url: str | None,
    knowledge_url: str | None,
    state_url: str | None,
    table_prefix: str | None,
    progress: bool | None,
) -> None:
    """Write sessions as JSON lines, whole, oldest first; or with --kind all state, or all knowledge.

    A file appears under its name when it is complete, readable by its owner only; one whose name ends in .gz is
    compressed. With --json a summary is printed, unless the data themselves go to stdout.
    """
    from praisonai_persistence_cli import _files

    urls = {"conversation": conversation_url, "knowledge": knowledge_url, "state": state_url}
    selection = selection_of(session_id, user_id, agent_id, since)
    check_kind(selection, kind)
    writer_class = _formats()[kind][0]
    mixed = output == "-" and sys.stdout.isatty()  # the data would stand between the parts of the bar
    with ExitStack() as stack:
        store = stack.enter_context(needed(kind, urls[kind], table_prefix).open(must_exist=True))
        store.connect()
        shown = stack.enter_context(showing("export", *writer_class.names, progress, hidden=mixed))
        head = {"exported_at": time.time()}
        if kind == "conversation":
            wanted = selection.ids(store)
            if not wanted:
                point_out_old(store)
                complain("note: there are no such sessions, so there is nothing to export")
            writer = writer_class(stack.enter_context(_files.output(output)), head)
            _write_sessions(store, writer, wanted, shown)
        else:
            writer = writer_class(stack.enter_context(_files.output(output)), head)
            (_write_keys if kind == "state" else _write_collections)(store, writer, shown)
        digest = writer.finish()
    if output == "-":
        return
    counts = _counts(writer.names, writer.units, writer.items)
    if as_json():
        document({"ok": True, "file": output, "kind": kind, **counts, "digest": digest})
    else:
        line(f"{output}: {_sentence(writer.names, writer.units, writer.items)}, digest {digest}")


def _formats() -> dict[str, tuple[type[BaseWriter], type[BaseReader[Any]]]]:
    from praisonai_persistence_cli import _format, _format_stores

    return {
        "conversation": (_format.Writer, _format.Reader),
        "knowledge": (_format_stores.CollectionWriter, _format_stores.CollectionReader),
        "state": (_format_stores.KeyWriter, _format_stores.KeyReader),
    }


def _counts(names: tuple[str, str], units: int, items: int) -> dict[str, int]:
    from praisonai_persistence_cli._format import counted

    return counted(names, units, items)


def _sentence(names: tuple[str, str], units: int, items: int) -> str:
    more = "" if names[0] == names[1] else f" with {size(items)} {names[1]}"
    return f"{size(units)} {names[0]}{more}"


def _write_sessions(store: Any, writer: Any, wanted: list[str], progress: Progress) -> None:
    from praisonai_persistence_cli._reading import message_pages

    progress.expect(units=len(wanted))
    for item in wanted:
        session = store.get_session(item)
        before = writer.items
        if session is not None:  # else deleted since it was listed
            writer.session(session, message_pages(store, item))
        progress.add(units=1, items=writer.items - before)


def _write_keys(store: Any, writer: Any, progress: Progress) -> None:
    from praisonai_persistence_cli._keys import entries

    if progress.shown:
        progress.expect(items=sum(1 for _ in store.scan_prefix("")))
    for some in entries(store, store.scan_prefix("")):
        writer.entries(some)
        progress.add(items=len(some))


def _write_collections(store: Any, writer: Any, progress: Progress) -> None:
    from praisonai_persistence_cli._copying import AT_ONCE, batches

    names = store.list_collections()
    progress.expect(units=len(names), items=sum(map(store.count, names)))
    for name in names:
        info = store.get_collection(name)
        pages = (store.get(name, ids) for ids in batches(store.document_ids(name), AT_ONCE))
        writer.collection(info, _counting(pages, progress))
        progress.add(units=1)


def _counting(pages: Any, progress: Progress) -> Any:
    for page in pages:
        yield page
        progress.add(items=len(page))


# -------------------------------------------------------------------------------------------------------------- import


@click.command("import", cls=Command)
@click.option("--file", "-f", "path", required=True, metavar="FILE", help="What export wrote; - is stdin.")
@click.option("--check", is_flag=True, help="Only read the file, and see whether all of it is whole; use no store.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("--update", is_flag=True, help="Bring up to date what the store has in another state.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Read everything back and compare it.")
@url_options(*KINDS)
@prefix_option
@progress_option
def import_command(
    path: str,
    check: bool,
    dry_run: bool,
    update: bool,
    verify: bool,
    conversation_url: str | None,
    knowledge_url: str | None,
    state_url: str | None,
    table_prefix: str | None,
    progress: bool | None,
) -> None:
    """Read what export wrote, into any backend: sessions, state or knowledge, whatever the file holds.

    A session is imported when all of it was read and found in order; so are a collection and a key. What is there
    already is completed where something is missing; what has other content is reported and stays as it is.
    """
    from praisonai_persistence_cli._copying import Outcome, Plan
    from praisonai_persistence_cli._dry import opened_target
    from praisonai_persistence_cli._files import opened_input
    from praisonai_persistence_cli._format import BrokenFileError, Lines, Reader

    if check and (dry_run or update):
        raise click.UsageError("--check only reads the file: it goes with neither --dry-run nor --update")
    if path == "-" and stdin_is_taken():
        raise click.UsageError("--file and an option for a URL both read standard input: give one of them a file")
    urls = {"conversation": conversation_url, "knowledge": knowledge_url, "state": state_url}
    outcome, broken = Outcome(), None
    kind, names = "conversation", Reader.names
    with ExitStack() as stack:
        source = opened_input(stack, path)
        lines = Lines(source.file, source.name)
        try:
            kind = _kind_of(lines)
            reader = _formats()[kind][1](lines)
            names = reader.names
            store = None
            if not check:
                store = opened_target(stack, needed(kind, urls[kind], table_prefix), dry_run=dry_run)
            shown = stack.enter_context(showing("check" if check else "import", *names, progress))
            if source.place is not None:
                shown.measure(source.place)
            plan = Plan(1, update, verify and not dry_run and not check, shown)
            _READS[kind](reader, store, plan, outcome)
        except BrokenFileError as error:
            broken = error
    _report(path, kind, names, outcome, broken, check=check, dry_run=dry_run, verify=verify)


def _report(
    path: str,
    kind: str,
    names: tuple[str, str],
    outcome: Outcome,
    broken: BrokenFileError | None,
    *,
    check: bool,
    dry_run: bool,
    verify: bool,
) -> None:
    problems = [*outcome.conflicts, *([str(broken)] if broken else [])]
    verified = verify and not check and not dry_run and outcome.units > 0
    if as_json():
        document(
            {
                "ok": not problems,
                "kind": kind,
                "check": check,
                "dry_run": dry_run,
                **_counts(names, outcome.units, outcome.items),
                "written": outcome.written,
                "verified": verified,
                "conflicts": outcome.conflicts,
                "error": str(broken) if broken else None,
            }
        )
    else:
        found = _sentence(names, outcome.units, outcome.items)
        if check:
            line(f"{path}: {found}" + ("" if broken else "; the file is whole"))
        elif dry_run:
            line(f"{found}, {size(outcome.written)} of them would be written")
        else:
            how = "nothing to verify" if not outcome.units else "verified" if verify else "not verified"
            line(f"{found}, {size(outcome.written)} of them new; {how}")
    for problem in problems:
        complain(f"Error: {problem}")
    if problems:
        raise Failed


def _kind_of(lines: Any) -> str:
    kind: str = lines.header().get("kind", "conversation")
    if kind not in KINDS:
        raise lines.broken(f"it holds {str(kind)[:40]!r}, and this release reads {', '.join(KINDS)}: upgrade it")
    return kind


def _read_sessions(reader: Any, store: Any, plan: Plan, outcome: Outcome) -> None:
    from praisonai_persistence_cli._copying import put_one

    lock = threading.Lock()
    for read in reader:
        if store is None:
            _count(plan, outcome, read.messages)
        else:
            put_one(store, read.session, read.pages(), plan, outcome, lock)
            plan.progress.add(units=1)


def _read_keys(reader: Any, store: Any, plan: Plan, outcome: Outcome) -> None:
    from praisonai_persistence_cli._copying import AT_ONCE
    from praisonai_persistence_cli._format import BrokenFileError
    from praisonai_persistence_cli._keys import put_entries

    lock = threading.Lock()
    some: dict[str, Entry] = {}
    broken = None
    try:
        for key, entry in reader:
            if store is None:
                _count(plan, outcome, 1)
            elif entry.ttl is None or entry.ttl > 0:  # else its time is over
                some[key] = entry
            if len(some) == AT_ONCE:
                put_entries(store, some, plan, outcome, lock)
                some = {}
    except BrokenFileError as error:
        broken = error
    if some:
        put_entries(store, some, plan, outcome, lock)
    if broken is not None:
        raise broken


def _read_collections(reader: Any, store: Any, plan: Plan, outcome: Outcome) -> None:
    from praisonai_persistence_cli._documents import put_collection

    for read in reader:
        if store is None:
            _count(plan, outcome, read.documents)
        else:
            put_collection(store, read.info, (partial(list, page) for page in read.pages()), plan, outcome)
            plan.progress.add(units=1)


def _count(plan: Plan, outcome: Outcome, items: int) -> None:
    outcome.units += 1
    outcome.items += items
    plan.progress.add(units=1, items=items)


_READS = {"conversation": _read_sessions, "knowledge": _read_collections, "state": _read_keys}
