"""``praisonai.db``: PraisonAI's names for the adapter, and for adapters of one backend."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

from praisonai_persistence._arguments import parameters
from praisonai_persistence.adapter import Db, _Adapter
from praisonai_persistence.errors import ConfigurationError

__all__ = [
    "DB",
    "CockroachDB",
    "NeonDB",
    "PostgresDB",
    "PraisonAIDB",
    "PraisonDB",
    "RedisDB",
    "SQLiteDB",
    "TursoDB",
    "XataDB",
]

DB = PraisonAIDB = PraisonDB = Db


def _either(made: str, options: dict[str, Any], name: str, **parts: tuple[Any, Any]) -> str | None:
    """Take a URL out of the options that says what the parts say; None: there is none.

    Args:
        made: what is made, for errors.
        options: of the adapter.
        name: of the URL.
        **parts: each with its default.

    Raises:
        ConfigurationError: there is one, and parts are given too.
    """
    url = options.pop(name, None)
    given = [part for part, (value, default) in parts.items() if value != default]
    if url is not None and given:
        raise ConfigurationError(f"{made}: {name} and {', '.join(given)} both say where the server is; give one")
    return url  # type: ignore[no-any-return]


class PostgresDB(Db):
    """A [Db][] on PostgreSQL, described in parts."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = 5432,
        database: str = "praisonai",
        user: str = "postgres",
        password: str = "",
        **options: Any,
    ) -> None:
        url = _either(
            type(self).__name__,
            options,
            "database_url",
            host=(host, "localhost"),
            port=(port, 5432),
            database=(database, "praisonai"),
            user=(user, "postgres"),
            password=(password, ""),
        )
        account = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        super().__init__(url or f"postgresql://{account}@{host}:{port}/{quote(database, safe='')}", **options)


_SQLITE = "praisonai.db"


class SQLiteDB(Db):
    """A [Db][] on a SQLite file."""

    def __init__(self, path: str = _SQLITE, database_url: str | None = None, **options: Any) -> None:
        if database_url is not None and path not in (_SQLITE, database_url):
            raise ConfigurationError(f"{type(self).__name__}: path and database_url both name a file; give one")
        if database_url is not None and "://" in database_url:
            super().__init__(database_url, **options)
        else:
            super().__init__(database_backend="sqlite", path=database_url or path, **options)


class RedisDB(Db):
    """A [Db][] with runs and traces in Redis; conversations are where a [Db][] without a URL keeps them.

    Options that are not the adapter's are those of Redis.
    """

    def __init__(self, host: str = "localhost", port: int = 6379, **options: Any) -> None:
        url = _either(type(self).__name__, options, "state_url", host=(host, "localhost"), port=(port, 6379))
        taken = parameters(_Adapter.__init__)
        own = {name: options.pop(name) for name in list(options) if name not in taken}
        options["state_options"] = {**own, **(options.get("state_options") or {})}
        super().__init__(state_url=url or f"redis://{host}:{port}", **options)


class _Hosted(Db):
    """A [Db][] on a service whose URL may stand in the environment."""

    _variable = ""

    def __init__(self, database_url: str | None = None, **options: Any) -> None:
        url = database_url or os.environ.get(self._variable)
        if not url:
            raise ConfigurationError(
                f"{type(self).__name__} needs database_url, or {self._variable} in the environment"
            )
        super().__init__(url, **options)


class NeonDB(_Hosted):
    """A [Db][] on Neon."""

    _variable = "NEON_DATABASE_URL"


class CockroachDB(_Hosted):
    """A [Db][] on CockroachDB."""

    _variable = "COCKROACHDB_URL"


class XataDB(_Hosted):
    """A [Db][] on Xata."""

    _variable = "XATA_DATABASE_URL"


class TursoDB(_Hosted):
    """A [Db][] on Turso."""

    _variable = "TURSO_DATABASE_URL"

    def __init__(self, database_url: str | None = None, turso_auth_token: str | None = None, **options: Any) -> None:
        token = turso_auth_token or os.environ.get("TURSO_AUTH_TOKEN")
        if token:
            own = options.pop("conversation_options", None) or {}
            options["conversation_options"] = {"auth_token": token, **own}
        super().__init__(database_url, **options)
