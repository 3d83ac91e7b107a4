"""Apache Cassandra."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ._engine import Engine

_SHARED = f"t{uuid.uuid4().hex[:10]}"


class Cassandra(Engine):
    """Cassandra, one node; a test has a keyspace of its own."""

    name = "cassandra"
    image = "cassandra:5.0"
    in_memory = True
    container_data = "/var/lib/cassandra"
    port = 9042
    start_limit = 180.0
    container_environment: ClassVar[dict[str, str]] = {"MAX_HEAP_SIZE": "512M", "HEAP_NEWSIZE": "128M"}
    question = "SELECT release_version FROM system.local"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"cassandra://{host}:{port}"

    _session: Any = None

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        # Each test ends with a statement, and connecting takes longer than most tests: the session is kept.
        if self._session is None:
            self._session = self._connect()
        try:
            return list(self._session.execute(sql, parameters or None))
        except Exception:
            self._disconnect()  # its next attempt to connect may be minutes away
            raise

    def _connect(self) -> Any:
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
        from cassandra.policies import RoundRobinPolicy
        from cassandra.query import tuple_factory

        parts = urlsplit(self.url)
        profile = ExecutionProfile(RoundRobinPolicy(), row_factory=tuple_factory, request_timeout=120)
        cluster = Cluster(
            [parts.hostname],
            port=parts.port,
            connect_timeout=5,
            control_connection_timeout=30,
            executor_threads=1,
            protocol_version=5,
            # Nobody here asks for the tables of the tests, which change all the time.
            schema_metadata_enabled=False,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        )
        try:
            return cluster.connect()
        except BaseException:
            cluster.shutdown()
            raise

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.cluster.shutdown()

    def stop(self) -> None:
        self._disconnect()
        super().stop()

    def kill(self) -> None:
        self._disconnect()
        super().kill()

    def remove(self) -> None:
        if not self.restartable:  # somebody else's
            self.execute(f'DROP KEYSPACE IF EXISTS "{_SHARED}"')
        self._disconnect()
        super().remove()

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
    def prefix(self) -> Iterator[dict[str, str]]:
        """Options of stores that share a keyspace with other tests: Cassandra takes long to make and drop tables.

        It goes with the server. What a test leaves is under a prefix that no other test has.
        """
        yield {"url": f"{self.url}/{_SHARED}", "table_prefix": f"p{uuid.uuid4().hex[:10]}_"}

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        keyspace = f"t{uuid.uuid4().hex[:10]}"
        try:
            yield {"url": f"{self.url}/{keyspace}"}
        finally:
            self.execute(f'DROP KEYSPACE IF EXISTS "{keyspace}"')
