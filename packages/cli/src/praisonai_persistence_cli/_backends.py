"""``backends``."""

from __future__ import annotations

from typing import Any

import click

from praisonai_persistence_cli._options import KINDS, Command, as_json
from praisonai_persistence_cli._output import document, table

__all__ = ["backends_command"]


@click.command("backends", cls=Command)
@click.option("--kind", type=click.Choice(KINDS), help="Only this kind. [default: all]")
def backends_command(kind: str | None) -> None:
    """List the backends that are installed, and those that could be.

    Every name and alias is a URL scheme, too. Nothing is imported to find out.
    """
    rows = [row for one in KINDS if kind in {None, one} for row in _backends(one)]
    if as_json():
        document({"backends": rows})
        return
    table(
        ("KIND", "BACKEND", "ALIASES", "DISTRIBUTION", "VERSION"),
        (
            (
                row["kind"],
                row["name"],
                ", ".join(row["aliases"]),
                row["distribution"],
                row["version"] if row["installed"] else f"pip install {row['distribution']}",
            )
            for row in rows
        ),
    )


def _backends(kind: str) -> list[dict[str, Any]]:
    from praisonai_persistence._known import KNOWN
    from praisonai_persistence.registry import get_default_registry

    registry = get_default_registry(kind)
    rows = [
        {
            "kind": kind,
            "name": info.name,
            "aliases": list(info.aliases),
            "distribution": info.distribution,
            "version": info.version,
            "installed": True,
        }
        for info in registry.backends()
    ]
    # Of one object reference the first name is the backend's, the others are aliases.
    missing: dict[tuple[str, str], list[str]] = {}
    for name, owner in KNOWN.get(kind, {}).items():
        if not registry.has(name):
            missing.setdefault(owner, []).append(name)
    rows += [
        {
            "kind": kind,
            "name": names[0],
            "aliases": sorted(names[1:]),
            "distribution": distribution,
            "version": None,
            "installed": False,
        }
        for (distribution, _), names in missing.items()
    ]
    return rows
