"""Versions of documents: each holds those before, so that a write of which nothing was heard can be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores.document_engine import new_token

if TYPE_CHECKING:
    from praisonai_persistence.stores.document_engine import Document

__all__ = ["chain", "fate", "new_link", "tokens_of"]

LINKS = 20
"""How many a version holds."""


def new_link() -> str:
    return new_token()[:16]


def chain(token: str, version: str | None) -> str:
    """Return the version of a document that had another one: it holds those before, the latest first.

    So a writer that was not told whether a write was done finds it, also when others have written since.
    """
    return " ".join([token, *tokens_of(version)[: LINKS - 1]])


def tokens_of(version: Any) -> list[str]:
    return version.split() if isinstance(version, str) else []


def fate(document: Document | None, version: str | None, now: str | None, token: str) -> str:
    """Return what became of a change: ``done``, ``undone`` and still possible, ``moved`` (impossible), ``unknown``.

    A row that is gone does not say who had it: a creation counts as undone then, a deletion as done.

    Args:
        document: what was to be written; None: it was to be deleted.
        version: that it was to have before.
        now: that it has.
        token: of the change.
    """
    links, before = tokens_of(now), tokens_of(version)[:1]
    if document is None and (version is None or now is None):
        return "undone" if now else "done"
    if token in links:
        return "done"
    if now == version:
        return "undone"
    if set(before) & set(links) or (version is None and len(links) < LINKS):
        return "moved"
    return "unknown"
