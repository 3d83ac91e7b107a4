"""What the registries have beside the installed plugins: every name that PraisonAI has a backend under.

Some are further names of backends of this project; there they are aliases, here they are names, as in PraisonAI. The
others stay PraisonAI's own, and are imported when they are asked for.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from praisonai_persistence._entry_points import Provided, Provider
from praisonai_persistence._praisonai import BACKENDS, Backend, backend_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["complete"]

_PROVIDER = Provider("praisonai", lambda _: None)


class _Entry(Provided):
    """A backend of PraisonAI."""

    reference = ""

    def __init__(self, row: Backend, provider: Provider) -> None:
        self.name, self._row, self.provider = row.name, row, provider

    def load(self, kind: str) -> Callable[..., Any]:
        """Return a factory that gives the class what PraisonAI's own gives it."""
        row = self._row
        store = getattr(import_module(f"praisonai.persistence.{kind}.{row.module}"), row.store)

        def factory(url: str | None = None, **options: Any) -> Any:
            return store(**({} if url is None or "url" not in row.parameters else {"url": url}), **options)

        return factory


def complete(kind: str, entries: dict[str, list[Any]], aliases: dict[str, list[Any]]) -> None:
    """Add what is missing to the entries of a kind, by name and by alias."""
    spec = PathFinder.find_spec("praisonai")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for row in BACKENDS[kind]:
        if row.name in entries:
            continue
        if row.name in aliases:
            owners = aliases.pop(row.name)
            own = [type(owner)((row.name, owner.reference, owner.provider)) for owner in owners]
            aliases.update((alias, own) for alias in row.aliases.split() if aliases.get(alias) == owners)
        elif backend_of(kind, row) not in entries:
            files = (os.path.join(folder, "persistence", kind, f"{row.module}.py") for folder in folders)
            if not any(map(os.path.isfile, files)):
                continue
            own = [_Entry(row, _PROVIDER)]
            for alias in row.aliases.split():
                aliases.setdefault(alias, own)
        else:
            continue
        entries[row.name] = own
