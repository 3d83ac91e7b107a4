"""Apache Cassandra."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ._engine import Engine


class Cassandra(Engine):
    """Cassandra, one node; a test has a keyspace of its own."""

    name = "cassandra"
    image = "cassandra:5.0"
    port = 9042
    start_limit = 180.0
    container_environment: ClassVar[dict[str, str]] = {"MAX_HEAP_SIZE": "512M", "HEAP_NEWSIZE": "128M"}
    question = "SELECT release_version FROM system.local"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"cassandra://{host}:{port}"

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
        from cassandra.policies import RoundRobinPolicy
        from cassandra.query import tuple_factory

        parts = urlsplit(self.url)
        cluster = Cluster(
            [parts.hostname],
            port=parts.port,
            connect_timeout=5,
            control_connection_timeout=30,
            executor_threads=1,
            protocol_version=5,
            execution_profiles={
                EXEC_PROFILE_DEFAULT: ExecutionProfile(
                    RoundRobinPolicy(), row_factory=tuple_factory, request_timeout=120
                )
            },
        )
        try:
            session = cluster.connect()
            return list(session.execute(sql, parameters or None))
        finally:
            cluster.shutdown()

    @property
    def version(self) -> str:
        return f"Cassandra {self.execute(self.question)[0][0]}"

    def tables(self, prefix: str) -> list[str]:
        """The keyspaces whose names start with a prefix."""
        found = self.execute("SELECT keyspace_name FROM system_schema.keyspaces")
        return [f'"{name}"' for (name,) in found if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        for name in self.tables(prefix):
            self.execute(f"DROP KEYSPACE {name}")

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        keyspace = f"t{uuid.uuid4().hex[:10]}"
        try:
            yield {"url": f"{self.url}/{keyspace}"}
        finally:
            self.drop(keyspace)
