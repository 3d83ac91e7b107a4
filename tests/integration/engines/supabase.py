"""Supabase's API over PostgreSQL."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ._engine import Engine
from ._packages import npm_packages
from ._servers import Local

PACKAGES = ("@supabase/lite@0.10.0", "postgres@3.4.9")
_FOLDER = "supabase-lite-0.10.0"
_SCRIPT = str(Path(__file__).parents[1] / "supabase_server.mjs")
_PUBLISHABLE, _SECRET = "sb_publishable_s3cretPa55s3cretPa55ab_0123abcd", "sb_secret_s3cretPa55s3cretPa55abcd_0123abcd"
_JWT = "0f8e2c41-5b7d-4a96-b3c8-6d1e9a70f254-J"
_DATABASE = "supabase_tests"
_TABLES = ("sessions", "messages", "search_words", "search_progress")
_PREFIXES = ("praison_", "", "a_", "a_b_", "aa_", "a", "case_")
"""Those that the kit uses; the owner of a database installs the tables and functions of each."""


class Supabase(Engine):
    """``@supabase/lite``, which speaks as PostgREST does, in a database of its own on the PostgreSQL of these tests."""

    name = "supabase"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"supabase://:{_SECRET}@{host}:{port}?tls=false"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return shutil.which("node") and _SCRIPT if npm_packages(_FOLDER, *PACKAGES) else None

    @classmethod
    def postgres_url(cls) -> str:
        """The URL of the database, for its owner."""
        from . import engine

        return f"{engine('postgres').url.rpartition('/')[0]}/{_DATABASE}"

    @classmethod
    def initialise(cls, local: Local) -> None:
        import psycopg

        from praisonai_persistence_supabase import schema_script

        from . import engine

        with psycopg.connect(engine("postgres").url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {_DATABASE}")
            for role, more in (("anon", ""), ("authenticated", ""), ("service_role", "BYPASSRLS")):
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchall():
                    connection.execute(f"CREATE ROLE {role} NOLOGIN {more}")
        with psycopg.connect(cls.postgres_url(), autocommit=True) as connection:
            for prefix in _PREFIXES:
                connection.execute(schema_script(prefix))

    @classmethod
    def command(cls, local: Local) -> list[str]:
        keys = (_PUBLISHABLE, _SECRET, _JWT)
        folder = npm_packages(_FOLDER, *PACKAGES)
        return [str(shutil.which("node")), _SCRIPT, str(folder), str(local.port), cls.postgres_url(), *keys]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run statements as the owner of the database does, without the API."""
        import psycopg

        with psycopg.connect(self.postgres_url(), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def wait(self) -> None:
        end = time.monotonic() + self.start_limit
        while not self.has("praison_info"):
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} did not answer within {self.start_limit:.0f} seconds")
            time.sleep(0.02)

    def has(self, function: str) -> bool:
        """Whether the API is up, and knows a function without parameters."""
        parts = urlsplit(self.url)
        request = urllib.request.Request(
            f"http://{parts.hostname}:{parts.port}/rest/v1/rpc/{function}", b"{}",
            {"apikey": _SECRET, "Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=30):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False

    @property
    def version(self) -> str:
        return f"{PACKAGES[0]} over {self.execute('SHOW server_version')[0][0]}"

    def tables(self, prefix: str) -> list[str]:
        found = self.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return [f'public."{name}"' for (name,) in found if name.startswith(prefix)]

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        try:
            yield {"url": self.url}
        finally:
            self.empty()

    def empty(self) -> None:
        """Delete the rows of all tables of the tests, and the policies of ``praison_``."""
        names = [f'public."{prefix}{table}"' for prefix in _PREFIXES for table in _TABLES]
        self.execute(f"TRUNCATE {', '.join(names)}")
        for policy, table in self.execute("SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'public'"):
            self.execute(f'DROP POLICY "{policy}" ON public."{table}"')

    @property
    def publishable(self) -> str:
        """The URL with the key that everybody may know."""
        return self.url.replace(_SECRET, _PUBLISHABLE)

    def token(self, user: str, role: str = "authenticated", seconds: float = 3600, secret: str = _JWT) -> str:
        """The access token of a user, as signing in gives it.

        Args:
            user: what ``auth.uid()`` returns.
            role: of the database.
            seconds: until it expires.
            secret: to sign it with.
        """
        claims = {"sub": user, "role": role, "aud": "authenticated", "exp": int(time.time() + seconds)}
        parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
        signed = b".".join(parts)
        return b".".join([signed, _base64(hmac.digest(secret.encode(), signed, hashlib.sha256))]).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
