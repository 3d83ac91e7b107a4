"""The session stores in files, which praisonai-persistence-json has."""

from __future__ import annotations

from typing import Any

from praisonai_persistence.errors import BackendNotInstalledError

__all__ = ["FILE_STORES", "file_stores"]

_JSON = "praisonai_persistence_json"
FILE_STORES = {
    "DefaultSessionStore": "sessions",
    "HierarchicalSessionStore": "sessions",
    "SqliteSessionStore": "sqlite_sessions",
    "SqliteTranscriptStore": "sqlite_sessions",
}
"""Name -> its module there."""


def file_stores(module: str = "sessions") -> Any:
    """Return a module of that distribution, or raise ``BackendNotInstalledError``."""
    from importlib import import_module

    try:
        return import_module(f"{_JSON}.{module}")
    except ModuleNotFoundError as error:
        if error.name not in {_JSON, "filelock"}:
            raise
        distribution = _JSON.replace("_", "-")
        raise BackendNotInstalledError(f"session files need {distribution}: pip install {distribution}") from error
