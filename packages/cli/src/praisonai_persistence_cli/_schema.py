"""``status`` and ``migrate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from praisonai_persistence.errors import PersistenceError, StoreNotFoundError
from praisonai_persistence_cli._app import Failed, complain, hide
from praisonai_persistence_cli._asking import confirm
from praisonai_persistence_cli._options import (
    KINDS,
    VARIABLES,
    Command,
    Target,
    as_json,
    by_default,
    configured,
    prefix_option,
    url_options,
)
from praisonai_persistence_cli._output import document, line, plain, table

if TYPE_CHECKING:
    from praisonai_persistence.schema import Adoption, SchemaChange, SchemaStatus

__all__ = [
    "BY_HAND",
    "about",
    "migrate_command",
    "named",
    "occupied",
    "schema_of",
    "state_of",
    "status_command",
    "usable",
]


def named(urls: dict[str, str | None], prefix: str | None, *, every: bool = True) -> list[Target]:
    """Return the stores of the options, and with ``every`` those of the environment, too; or else the default ones.

    Raises:
        click.UsageError: there are none.
    """
    targets = [
        target
        for kind in KINDS
        if (every or urls[kind] is not None) and (target := configured(kind, urls[kind], prefix)) is not None
    ]
    if not targets:
        targets = [target for kind in KINDS if (target := by_default(kind, prefix)) is not None]
    if not targets:
        raise click.UsageError(
            f"no store: give --conversation-url, --knowledge-url or --state-url, or set {', '.join(VARIABLES.values())}"
        )
    return targets


def about(target: Target) -> dict[str, Any]:
    """Return which backend of which distribution a URL leads to; empty where it leads to none."""
    from praisonai_persistence.registry import get_default_registry
    from praisonai_persistence.urls import parse_url

    try:
        scheme = parse_url(target.url).scheme
        registry = get_default_registry(target.kind)
        name = registry.canonical(scheme)
    except PersistenceError:
        return {"backend": None, "distribution": None, "version": None}
    info = next(item for item in registry.backends() if item.name == name)
    return {"backend": info.name, "distribution": info.distribution, "version": info.version}


def schema_of(store: Any) -> dict[str, Any] | None:
    """Return where the tables of a store stand; None for a store that has no schema."""
    if "schema" not in store.capabilities:
        return None
    status: SchemaStatus = store.schema_status()
    return asdict(status)


def occupied(schema: dict[str, Any], prefix: str | None) -> bool:
    """Whether tables of PraisonAI itself stand where a store's own are to be; nothing works until they are adopted."""
    return schema["version"] == 0 and any(legacy["prefix"] == (prefix or _PREFIX) for legacy in schema["legacy"])


def usable(schema: dict[str, Any] | None, prefix: str | None) -> bool:
    """Whether commands that read can use the tables, or there are none yet."""
    return schema is None or (schema["version"] in {0, schema["latest"]} and not occupied(schema, prefix))


BY_HAND = "what 'migrate --print' prints is there, up to date"
"""Of stores whose API makes no tables: that they connect says so."""
_PREFIX = "praison_"
"""What backends take when no ``table_prefix`` is given."""


def state_of(schema: dict[str, Any] | None) -> str:
    """Say in a few words where tables stand."""
    if schema is None:
        return "this backend has no schema"
    if schema["version"] > schema["latest"]:
        text = f"version {schema['version']}, newer than this release reads ({schema['latest']}): pip install --upgrade"
    elif schema["version"] == schema["latest"]:
        text = f"version {schema['version']}, up to date"
    elif schema["version"] == 0:
        text = "no tables yet"
    else:
        text = f"version {schema['version']} of {schema['latest']}: run 'praisonai-persistence migrate'"
    for legacy in schema["legacy"]:
        text += (
            f"; tables of PraisonAI with the prefix {legacy['prefix']} ({legacy['sessions']} sessions): migrate --adopt"
        )
    return text


@click.command("status", cls=Command)
@url_options(*KINDS)
@prefix_option
def status_command(
    conversation_url: str | None, knowledge_url: str | None, state_url: str | None, table_prefix: str | None
) -> None:
    """Show the stores that are configured, and where their tables stand. Changes nothing.

    The exit code is 1 when a store cannot be reached or its tables cannot be used: they are newer or older than this
    release, or PraisonAI's own.
    """
    urls = {"conversation": conversation_url, "knowledge": knowledge_url, "state": state_url}
    rows: list[dict[str, Any]] = []
    for target in named(urls, table_prefix):
        row: dict[str, Any] = {
            "kind": target.kind,
            "url": target.shown,
            **about(target),
            "schema": None,
            "note": None,
            "error": None,
        }
        try:
            # The default store has a folder of its own, which showing it does not make.
            with target.open(must_exist=target.default is not None) as store:
                row["capabilities"] = sorted(store.capabilities)
                if "schema" in store.capabilities:
                    row["schema"] = schema_of(store)
                else:  # what it looks at when it connects is all that there is to look at; that makes nothing then
                    store.expect_existing()
                    store.connect()
                    if hasattr(store, "schema_script"):
                        row["note"] = BY_HAND
        except StoreNotFoundError as error:
            row["note"] = str(error)
        except PersistenceError as error:
            row["error"] = hide(str(error))
        if not usable(row["schema"], table_prefix):
            row["error"] = state_of(row["schema"])
        rows.append(row)
    ok = not any(row["error"] for row in rows)
    if as_json():
        document({"ok": ok, "stores": rows})
    else:
        table(
            ("KIND", "URL", "BACKEND", "DISTRIBUTION", "SCHEMA"),
            (
                (
                    row["kind"],
                    row["url"],
                    row["backend"],
                    f"{row['distribution']} {row['version']}" if row["distribution"] else "",
                    row["note"] or ("failed" if row["error"] and row["schema"] is None else state_of(row["schema"])),
                )
                for row in rows
            ),
        )
        for row in rows:
            if row["error"]:
                complain(f"Error: {row['kind']}: {row['error']}")
    if not ok:
        raise Failed


@click.command("migrate", cls=Command)
@url_options(*KINDS)
@prefix_option
@click.option("--up/--down", "up", default=None, help="Down: undo one version, or down to --target. [default: up]")
@click.option("--target", type=click.IntRange(0), metavar="V", help="The version to reach. [default: the latest]")
@click.option("--adopt", is_flag=True, help="Take over the tables that PraisonAI itself wrote.")
@click.option("--legacy-prefix", metavar="TEXT", help="With --adopt: their prefix. [default: whichever is there]")
@click.option("--dry-run", is_flag=True, help="Print the statements, and change nothing.")
@click.option("--print", "script", is_flag=True, help="Print the SQL that makes the tables of stores whose API cannot.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before data is deleted.")
def migrate_command(
    conversation_url: str | None,
    knowledge_url: str | None,
    state_url: str | None,
    table_prefix: str | None,
    up: bool | None,
    target: int | None,
    adopt: bool,
    legacy_prefix: str | None,
    dry_run: bool,
    script: bool,
    yes: bool,
) -> None:
    """Bring the tables of stores to another version, or adopt those of PraisonAI.

    With URLs only those stores, else all that the environment names. Stores whose backend has no schema say so.
    """
    down = up is False
    if adopt and (up is not None or target is not None):
        raise click.UsageError("--adopt goes with none of --up, --down and --target")
    if legacy_prefix is not None and not adopt:
        raise click.UsageError("--legacy-prefix goes with --adopt")
    if script and (adopt or up is not None or target is not None):
        raise click.UsageError("--print goes with none of --adopt, --up, --down and --target")
    urls = {"conversation": conversation_url, "knowledge": knowledge_url, "state": state_url}
    reports = []
    for one in named(urls, table_prefix, every=not any(urls.values())):
        with one.open(must_exist=(dry_run or script) and one.default is not None) as store:
            report: dict[str, Any] = {"kind": one.kind, "url": one.shown, "supported": True, "dry_run": dry_run}
            if script:
                report["script"] = store.schema_script() if hasattr(store, "schema_script") else None
                report["supported"] = report["script"] is not None or "schema" in store.capabilities
            elif "schema" not in store.capabilities:
                if hasattr(store, "schema_script"):
                    report["by_hand"] = True
                report["supported"] = False
            elif adopt:
                if one.kind != "conversation":
                    continue
                adoption: Adoption | None = store.adopt_legacy(legacy_prefix, dry_run=dry_run)
                report["adopted"] = None if adoption is None else asdict(adoption)
            else:
                _migrate(store, one, report, down, target, dry_run, yes)
        reports.append(report)
    if as_json():
        document({"stores": reports})
        return
    for report in reports:
        _print(report)


def _migrate(
    store: Any, one: Target, report: dict[str, Any], down: bool, target: int | None, dry_run: bool, yes: bool
) -> None:
    status: SchemaStatus = store.schema_status()
    goal = target
    if down and goal is None:
        goal = max(0, status.version - 1)
    if goal is not None and goal > status.version and down:
        raise click.UsageError(f"--down leads from version {status.version} of the {one.kind} tables to no higher one")
    if goal is not None and goal < status.version:
        if not down:
            raise click.UsageError(
                f"the {one.kind} tables have version {status.version}: to go down to {goal} say --down"
            )
        if not dry_run:
            confirm(
                f"Take the {one.kind} tables in {one.shown} from version {status.version} down to {goal}? This may "
                "delete data.",
                yes,
                refusal="going down may delete data: say --yes, or look with --dry-run",
            )
    change: SchemaChange = store.migrate_schema(goal, dry_run=dry_run)
    report.update(before=change.before, after=change.after, statements=list(change.statements))


def _print(report: dict[str, Any]) -> None:
    where = f"{report['kind']} {plain(report['url'])}"
    would = "would be " if report["dry_run"] else ""
    if report.get("script"):
        line(report["script"])
    elif report["supported"] and "script" in report:
        line(f"{where}: 'praisonai-persistence migrate' makes its tables; --dry-run shows how")
    elif report.get("by_hand"):
        line(f"{where}: the owner of the database makes its tables, with what 'migrate --print' prints")
    elif not report["supported"]:
        line(f"{where}: this backend has no schema, so there is nothing to migrate")
    elif "adopted" in report:
        adopted = report["adopted"]
        if adopted is None:
            line(f"{where}: there are no tables of PraisonAI to adopt")
        else:
            kept = f"; the old tables {would}kept as {', '.join(adopted['kept_as'])}" if adopted["kept_as"] else ""
            line(f"{where}: {adopted['sessions']} sessions with {adopted['messages']} messages {would}adopted{kept}")
    elif report["before"] == report["after"]:
        line(f"{where}: version {report['after']}, nothing to do")
    else:
        line(f"{where}: version {report['before']} -> {report['after']}{' (dry run)' if report['dry_run'] else ''}")
        if report["dry_run"]:
            for statement in report["statements"]:
                line(f"{plain(statement, multiline=True)};")
