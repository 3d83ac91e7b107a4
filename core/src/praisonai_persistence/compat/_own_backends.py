"""The backends that stay PraisonAI's own, as entries of the registries; they are imported when they are asked for."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from praisonai_persistence._entry_points import Provided, Provider
from praisonai_persistence._praisonai import BACKENDS, Backend, backend_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["entries"]

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


def entries(kind: str, names: Iterable[str]) -> Iterator[tuple[_Entry, tuple[str, ...]]]:
    """Return those of a kind, with their aliases, that no backend of these names stands for."""
    spec = PathFinder.find_spec("praisonai")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for row in BACKENDS[kind]:
        if not {backend_of(kind, row), row.name} & set(names):
            files = (os.path.join(folder, "persistence", kind, f"{row.module}.py") for folder in folders)
            if any(map(os.path.isfile, files)):
                yield _Entry(row, _PROVIDER), tuple(row.aliases.split())
