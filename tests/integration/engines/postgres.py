"""PostgreSQL, with the extension vector, and behind PgBouncer."""

from __future__ import annotations

import contextlib
import glob
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from ._engine import DATABASE, PASSWORD, USER, Engine
from ._servers import Local


class Postgres(Engine):
    """PostgreSQL."""

    name = "postgres"
    image = "postgres:17"
    in_memory = True
    container_data = "/var/lib/postgresql/data"
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
    def make_url(cls, host: str, port: int, *others: int) -> str:
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
        from . import engine  # which imports this module

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
