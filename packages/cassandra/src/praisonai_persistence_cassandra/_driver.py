"""Cassandra's client, and what it can be asked."""

from __future__ import annotations

import re
import threading
import time
import uuid
import weakref
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from praisonai_persistence._latch import Latch
from praisonai_persistence.drivers import Driver
from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    SchemaError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import Pause
from praisonai_persistence.stores.vector_errors import GoneError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_cassandra._options import CassandraDocumentOptions, ClusterOptions

__all__ = [
    "REGISTRY",
    "Ask",
    "Asks",
    "Batches",
    "CassandraDriver",
    "DocumentDriver",
    "Each",
    "Known",
    "Page",
    "UndecidedError",
]

REGISTRY = "praisonai_collections"
"""The table that knows the collections of all prefixes, and the table of each."""
_REMEMBERED = 500  # prepared statements
_AT_ONCE = 128  # requests
_CAS_WRITE_UNKNOWN = 0x1700  # of the protocol; the client has no class for it
_GUARDRAIL = re.compile(r"Guardrail (\w+) violated")
_TABLES = uuid.UUID("3f1d0a52-6c1e-5a8f-9b0d-52c7c1f6e8a4")  # never changes
_LOOPS = frozenset({"event_loop", "asyncio_thread", "asyncore_cassandra_driver_event_loop"})
"""Names of the client's threads on which answers arrive."""


class Ask(NamedTuple):
    """A request: one statement, and one [Page][] of its answer.

    Attributes:
        cql: the statement; what has parameters is prepared.
        values: of its parameters.
        page: rows of the answer at the most.
        state: where the page begins; None: at the beginning.
        nearest: whether it ranks, which Cassandra does on one replica only.
        serial: whether it first ends the conditional writes that are under way in the partition, and sees them.
    """

    cql: str
    values: Sequence[Any] | None = None
    page: int | None = None
    state: bytes | None = None
    nearest: bool = False
    serial: bool = False


class Page(NamedTuple):
    """Rows of an answer, and where the next ones begin (None: there are no more)."""

    rows: list[Any]
    state: bytes | None


class Each(NamedTuple):
    """A request: one statement for each of some rows, all at a time; the answer is the first row of each one's."""

    cql: str
    rows: Sequence[Sequence[Any]]


class Asks(NamedTuple):
    """A request: several [Ask][], all at a time; the answer is the [Page][] of each."""

    asks: Sequence[Ask]


class Batches(NamedTuple):
    """A request: batches of conditional statements, each in one partition, all at a time.

    Each is done or not done as a whole; the answer is the rows that say so, of each.
    """

    batches: Sequence[Sequence[tuple[str, Sequence[Any]]]]


class Known(NamedTuple):
    """A request: whether a question has an answer on each node that is up; see [Ask][]."""

    cql: str
    values: Sequence[Any]


Request = Known | Ask | Asks | Batches | Each


class UndecidedError(ConnectionFailedError):
    """A request got no answer that says what became of it.

    Attributes:
        connected: whether the server did answer, or the connection was not what failed: the client can go on.
    """

    connected = True


class CassandraDriver(Driver):
    """A session, which is given requests of the classes ``Ask`` and ``Each``.

    Nodes stamp the writes, and of one document always the same node while it is up, whoever writes: so the later write
    wins also where it is conditional (which nodes always stamp) and the one before is not.

    Args:
        options: of the store.
    """

    imports = ("cassandra.cluster", "cassandra.auth", "cassandra.policies")
    packages = ("cassandra",)
    unknown = (
        "A write may have been done, in part too, or still be done: it is safe to repeat; an insert then finds what it "
        "has written itself, an upsert does not mind"
    )
    compresses: ClassVar[bool] = False
    """Whether requests and answers are compressed. Embeddings hardly get smaller, and compressing takes a tenth of the
    time of a write."""
    lost = "reopen"  # the client itself waits longer and longer before it tries a node again that was away

    def __init__(self, options: ClusterOptions) -> None:
        super().__init__(options)
        self._options = options
        self._prepared: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()

    def open(self, deadline: Deadline) -> Any:
        from cassandra import ConsistencyLevel, auth, policies
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
        from cassandra.query import tuple_factory

        options = self._options
        level = getattr(ConsistencyLevel, options.consistency)
        profile = ExecutionProfile(
            load_balancing_policy=policies.TokenAwarePolicy(
                policies.DCAwareRoundRobinPolicy(options.local_dc or ""), shuffle_replicas=False
            ),
            consistency_level=level,
            serial_consistency_level=getattr(ConsistencyLevel, options.serial),
            request_timeout=options.timeout,
            row_factory=tuple_factory,
        )
        bundle = options.secure_connect_bundle
        cluster = Cluster(
            **({"cloud": {"secure_connect_bundle": bundle}} if bundle else {"contact_points": options.contacts}),
            port=options.port,
            auth_provider=auth.PlainTextAuthProvider(options.username, options.password) if options.username else None,
            ssl_context=options.ssl_context,
            connect_timeout=deadline.left(),
            control_connection_timeout=deadline.left(),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            reprepare_on_up=False,
            compression=self.compresses,
            **({} if bundle else {"protocol_version": 5}),  # to find out takes attempts, and warnings
        )
        try:
            session = cluster.connect()
        except BaseException:
            self.abandon(cluster)
            raise
        session.use_client_timestamp = False
        session._default_timeout = options.timeout  # of prepare(), to which the profile says nothing
        session.add_request_init_listener(_wait_without_lock)
        self._prepared[session] = {}
        return session

    def close(self, client: Any) -> None:
        client.cluster.shutdown()

    def abandon(self, client: Any) -> None:
        # It waits for its threads, one of which may be waiting for a server.
        cluster = getattr(client, "cluster", client)
        threading.Thread(target=cluster.shutdown, name="praisonai-persistence-cassandra", daemon=True).start()

    def is_own_thread(self) -> bool:
        # On one of these, a call would wait for what only this thread does.
        thread = threading.current_thread()
        own = thread.name in _LOOPS or type(thread).__module__.startswith("cassandra")
        return own or any(thread in session.cluster.executor._threads for session in list(self._prepared))

    def probe(self) -> Steps[None]:
        name, prefix = self._options.keyspace, self._options.table_prefix
        columns = "prefix text, name text, table_name text, facts text, PRIMARY KEY ((prefix), name)"
        yield from self._table(REGISTRY, columns)
        seen = f"SELECT prefix, name, table_name, facts FROM \"{name}\".{REGISTRY} WHERE prefix = ? AND name = ''"
        if not (yield from self._look(seen, [f"{prefix}."])):
            if self.must_exist:
                raise StoreNotFoundError(f"there is no store {prefix!r} yet: {self.where}, keyspace {name}")
            yield Ask(f"INSERT INTO \"{name}\".{REGISTRY} (prefix, name) VALUES (?, '')", [f"{prefix}."])

    def _table(self, table: str, columns: str) -> Steps[None]:
        """Make the keyspace and a table, where there are none."""
        name = self._options.keyspace
        tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
        if (yield Ask(tables, [name, table])).rows:
            yield from self._settle(tables, table)
            return
        if self.must_exist:
            raise StoreNotFoundError(f"there is no store yet: {self.where}, keyspace {name}")
        known = yield Ask("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", [name])
        if not known.rows:
            replication = f"{{'class': 'NetworkTopologyStrategy', 'replication_factor': {self._options.replicas}}}"
            yield Ask(f'CREATE KEYSPACE IF NOT EXISTS "{name}" WITH replication = {replication}')
        # Two nodes that make one table at the same time give it two ids, and Cassandra loses one of them: so they are
        # told the id, which everybody knows. (Astra makes tables in one place, and takes no ids.)
        table_id = "" if self._options.secure_connect_bundle else f" WITH id = {_table_id(name, table)}"
        yield Ask(f'CREATE TABLE IF NOT EXISTS "{name}".{table} ({columns}){table_id}')
        yield from self._settle(tables, table)

    def _settle(self, tables: str, table: str) -> Steps[None]:
        """Wait until all nodes know a table that this process or another may just have made.

        A node may be away without anybody knowing it; the store then does what it can.
        """
        end = time.monotonic() + self.connect_timeout / 2
        while not (yield Known(tables, [self._options.keyspace, table])) and time.monotonic() < end:
            yield Pause(0.1)

    def _look(self, query: str, values: Sequence[Any]) -> Steps[list[Any]]:
        """Return the rows of a query; again for a moment where there is no such table yet."""
        for turn in range(20):
            try:
                found: list[Any] = (yield Ask(query, values)).rows
            except BackendError:  # another process makes the table at this moment
                if turn == 19:
                    raise
                yield Pause(0.1)
            else:
                break
        return found

    # -------------------------------------------------------------------------------------------------------- requests

    def perform(self, on: Any, request: Request) -> Any:
        """See [Driver.perform][]."""
        from cassandra import Unavailable
        from cassandra.protocol import OverloadedErrorMessage, ServerError

        try:
            return self._performed(on, request)
        except (Unavailable, OverloadedErrorMessage, ServerError) as error:
            if not _is_conditional(request):
                raise
            # A coordinator may also say so when the replicas have agreed to the write, and it is still to be done.
            raise UndecidedError(
                f"{self.where} did not say what became of a write ({type(error).__name__}). {self.unknown}"
            ) from error

    def _performed(self, on: Any, request: Request) -> Any:
        if isinstance(request, Known):
            return self._is_known(on, request)
        if isinstance(request, Each):
            statement = self._statement(on, request.cql)
            bound = (_sent_once(request.cql, statement.bind(row)) for row in request.rows)
            return [answer.one() for answer in _finished(on, bound)]
        if isinstance(request, Asks):
            answers = _finished(on, [self._bound(on, one) for one in request.asks])
            return [Page(list(answer.current_rows), answer.paging_state) for answer in answers]
        if isinstance(request, Batches):
            return [answer.all() for answer in _finished(on, [self._batch(on, one) for one in request.batches])]
        answer = on.execute(self._bound(on, request), paging_state=request.state)
        return Page(list(answer.current_rows), answer.paging_state)

    def _is_known(self, on: Any, request: Known) -> bool:
        from cassandra.policies import HostDistance

        distance, asked = on.cluster.profile_manager.distance, on.get_pool_state()
        hosts = [host for host in on.cluster.metadata.all_hosts() if host.is_up is not False]
        hosts = [host for host in hosts if distance(host) != HostDistance.IGNORED]
        if any(host not in asked for host in hosts):  # the client is still connecting
            return False
        statement = self._statement(on, request.cql).bind(request.values)
        answers = [on.execute_async(statement, timeout=self.connect_timeout / 2, host=host) for host in hosts]
        known = True
        for answer in answers:
            try:
                known = bool(answer.result().current_rows) and known
            except Exception:  # noqa: BLE001 - whoever does not answer is not asked for rows either
                known = False
        return known

    def _bound(self, on: Any, request: Ask) -> Any:
        statement: Any = request.cql
        if request.values is not None:
            statement = _sent_once(request.cql, self._statement(on, request.cql).bind(request.values))
            # Cassandra ranks no more than fits into one page; and it warns of any other level.
            statement.fetch_size = None if request.nearest else request.page
            if request.nearest:
                from cassandra import ConsistencyLevel

                statement.consistency_level = ConsistencyLevel.LOCAL_ONE
            if request.serial:
                from cassandra import ConsistencyLevel

                statement.consistency_level = getattr(ConsistencyLevel, self._options.serial)
        return statement

    def _batch(self, on: Any, statements: Sequence[tuple[str, Sequence[Any]]]) -> Any:
        from cassandra.query import BatchStatement, BatchType

        bound = [self._statement(on, cql).bind(values) for cql, values in statements]
        statement = bound[0]
        if len(bound) > 1:
            statement = BatchStatement(BatchType.UNLOGGED)
            statement.add_all(bound, [None] * len(bound))
        return _sent_once(statements[0][0], statement)

    def _statement(self, on: Any, cql: str) -> Any:
        prepared = self._prepared[on]
        statement = prepared.get(cql)  # once: another thread may forget them all at any moment
        if statement is None:
            statement = on.prepare(cql)
            if len(prepared) >= _REMEMBERED:
                prepared.clear()
            prepared[cql] = statement
        return statement

    # ---------------------------------------------------------------------------------------------------------- errors

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        """Repeat a read that waited for a replica that has just gone away: the next one asks others."""
        from cassandra import ReadTimeout

        return not write and isinstance(error.__cause__, ReadTimeout)

    def translate(self, error: Exception) -> PersistenceError:
        import cassandra
        from cassandra import cluster, connection, protocol

        where, kind = self.where, type(error).__name__
        inside = list(error.errors.values()) if isinstance(error, cluster.NoHostAvailable) else []
        refused = (cassandra.AuthenticationFailed, cassandra.Unauthorized)
        if any(isinstance(one, refused) for one in [error, *inside]):
            return ConnectionFailedError(
                f"{where} does not let this client in: check username and password, and what "
                f"the account may do in the keyspace {self._options.keyspace}"
            )
        if any("protocol_version" in str(one) for one in inside):
            return UnsupportedOperationError(
                f"{where} does not speak version 5 of the protocol: it takes Cassandra 4.0 or later, 5.0 for "
                "knowledge, or Astra (ScyllaDB speaks version 4)"
            )
        if isinstance(error, cassandra.OperationTimedOut):
            return ConnectionFailedError(f"{where} did not answer in time ({kind}). {self.unknown}")
        unknown = (cassandra.WriteTimeout, cassandra.WriteFailure, protocol.WriteFailureMessage)
        if isinstance(error, unknown) or getattr(error, "code", None) == _CAS_WRITE_UNKNOWN:
            return UndecidedError(f"{where} did not answer in time ({kind}). {self.unknown}")
        if any(isinstance(one, protocol.ServerError) for one in inside):  # it did answer
            return BackendError(f"{where} failed: ServerError")
        silent = f"{where} does not answer, or not enough of its replicas do ({kind})"
        gone = (cassandra.Timeout, cassandra.Unavailable, cluster.NoHostAvailable, connection.ConnectionException)
        if isinstance(error, (cassandra.ReadTimeout, connection.ConnectionException)):
            found = UndecidedError(f"{silent}. {self.unknown}")
            found.connected = isinstance(error, cassandra.ReadTimeout)
            return found
        if isinstance(error, (*gone, protocol.OverloadedErrorMessage, protocol.IsBootstrappingErrorMessage, OSError)):
            return ConnectionFailedError(silent)
        text = str(error)
        if isinstance(error, cassandra.InvalidRequest):
            if guardrail := _GUARDRAIL.search(text):
                of_knowledge = "tables" in guardrail[1] or "index" in guardrail[1]
                why = " (knowledge needs secondary indexes, and a table for each collection)" if of_knowledge else ""
                way = f"{guardrail[1]}: allow it in cassandra.yaml{why}, or log in as a superuser"
                return UnsupportedOperationError(f"{where} forbids this by its guardrail {way}")
            if any(words in text for words in ("does not exist", "doesn't exist", "unconfigured table")):
                return GoneError(
                    f"{where} has no such table in the keyspace {self._options.keyspace}: if somebody removed it, open "
                    f"the store anew; if another process is just making it, repeat the call"
                )
            if "ndefined column" in text or "Unknown identifier" in text:
                return SchemaError(
                    f"{where} has tables in the keyspace {self._options.keyspace} that were not made by "
                    f"this store: choose another keyspace, and try it with "
                    f"'praisonai-persistence doctor --knowledge-url cassandra://HOST/KEYSPACE'"
                )
        if isinstance(error, (protocol.SyntaxException, protocol.ConfigurationException)) or "vector" in text.lower():
            return UnsupportedOperationError(
                f"{where} does not know storage-attached indexes, or vectors of this dimension: it takes Cassandra 5.0 "
                f"or Astra, and with vector_index up to 8,192 dimensions"
            )
        return BackendError(f"{where} failed: {kind}")


class DocumentDriver(CassandraDriver):
    """The same for documents, which are in one table.

    Args:
        options: of the store.
        table: its name.
    """

    compresses = True
    unknown = (
        "A write may have been done, or still be done: look before you repeat it. An append, or a value that is set, "
        "can simply be repeated; an increment that was done would be done twice"
    )

    def __init__(self, options: CassandraDocumentOptions, table: str) -> None:
        super().__init__(options)
        self._name = table

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        return False  # the engine itself has repeated what can be

    def probe(self) -> Steps[None]:
        yield from self._table(
            self._name, "part text, key text, v text, text text, fields text, PRIMARY KEY ((part), key)"
        )
        query = f'SELECT part, key, v, text, fields FROM "{self._options.keyspace}".{self._name} WHERE part = ?'
        yield from self._look(f"{query} LIMIT 1", ["probe"])


def _table_id(keyspace: str, table: str) -> uuid.UUID:
    """Return the id of a table that several processes may make at the same time."""
    return uuid.uuid5(_TABLES, f"{keyspace}.{table}")


def _has_condition(cql: str) -> bool:
    return " IF " in cql


def _is_conditional(request: Request) -> bool:
    """Whether a request writes rows only under a condition. Changes of the schema have no values."""
    if isinstance(request, Ask):
        return request.values is not None and _has_condition(request.cql)
    return isinstance(request, Batches) or (isinstance(request, Each) and _has_condition(request.cql))


def _sent_once(cql: str, statement: Any) -> Any:
    """Return a statement that the client does not repeat by itself if it is conditional.

    It would send it to another node when a connection breaks, and be told of its own write.
    """
    if _has_condition(cql):
        from cassandra.policies import FallthroughRetryPolicy

        statement.retry_policy = FallthroughRetryPolicy()
    return statement


class _Answer(Latch):
    """What the thread that waits for an answer waits for, in place of the client's ``threading.Event``.

    Of the client's locks it is the only one that a signal handler can run behind: its other code is compiled.
    """

    __slots__ = ()

    def set(self) -> None:
        """Let the waiting thread go on; also a second time, as the client may."""
        with suppress(RuntimeError):
            super().set()


def _wait_without_lock(future: Any) -> None:
    future._event = _Answer()


def _finished(on: Any, statements: Iterable[Any]) -> list[Any]:
    """Execute statements, many at a time; return their answers."""
    found: list[Any] = []
    failure: Exception | None = None
    left = iter(statements)
    waiting = deque(on.execute_async(statement) for statement in islice(left, _AT_ONCE))
    while waiting:  # also after a failure, so that nothing is under way any more when this one ends
        try:
            found.append(waiting.popleft().result())
        except Exception as error:  # noqa: BLE001 - raised below
            failure = failure or error
        if failure is None:
            waiting.extend(on.execute_async(statement) for statement in islice(left, 1))
    if failure is not None:
        raise failure
    return found
