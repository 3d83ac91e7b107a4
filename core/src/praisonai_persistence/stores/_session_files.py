"""The session stores in files, which praisonai-persistence-json has, and the keys of bots."""

from __future__ import annotations

from typing import Any

from praisonai_persistence import payload
from praisonai_persistence.errors import BackendNotInstalledError, InvalidValueError

__all__ = ["FILE_STORES", "bot_session_key", "file_stores"]

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


def bot_session_key(platform: str, user_id: str | int) -> str:
    """Return the session id of a user of a bot: ``bot_session_key("telegram", 12345)`` is ``bot_telegram_12345``.

    PraisonAI makes the same keys. Platforms should have names of which none is another one's beginning, up to a ``_``.

    Raises:
        InvalidValueError: an argument is empty or of the wrong type, or they make no id.
    """
    asked: tuple[Any, Any] = platform, user_id
    if not isinstance(asked[0], str) or not platform:
        raise InvalidValueError("platform must be text of 1 or more characters")
    if isinstance(user_id, bool) or not isinstance(asked[1], (str, int)) or user_id == "":
        raise InvalidValueError("user_id must be text of 1 or more characters, or a whole number")
    return payload.check_id(f"bot_{platform}_{user_id}", "the session key")
