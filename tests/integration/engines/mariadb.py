"""MariaDB."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from ._engine import DATABASE, PASSWORD, Engine
from ._servers import Local


class MariaDB(Engine):
    """MariaDB."""

    name = "mariadb"
    image = "mariadb:11.8"
    in_memory = True
    container_data = "/var/lib/mysql"
    port = 3306
    programs = ("/usr/libexec/mariadbd", "/usr/bin/mariadbd", "/usr/sbin/mariadbd")
    system_user = "mysql"
    container_environment: ClassVar[dict[str, str]] = {
        "MARIADB_DATABASE": DATABASE,
        "MARIADB_ROOT_PASSWORD": PASSWORD,
    }

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
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

        # Without TLS: PyMySQL reads all certificates of the machine for each connection.
        arguments = {**self.connect_arguments(), "connect_timeout": 5, "ssl_disabled": True}
        with contextlib.closing(pymysql.connect(**arguments)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                rows = list(cursor.fetchall())
            connection.commit()
            return rows

    def connect_arguments(self) -> dict[str, Any]:
        """For the plain driver."""
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
