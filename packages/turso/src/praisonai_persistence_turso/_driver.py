"""What the stores in Turso can be given, and how its clients are opened and closed."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import Driver, HttpErrors, Options, http, option
from praisonai_persistence.drivers.folders import make_folder
from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError, SerializationError
from praisonai_persistence.steps import run, run_async
from praisonai_persistence_sql import Execute, ExecuteMany, Fetch, Snapshot
from praisonai_persistence_turso._hrana import STRANGE, HranaError, Stream, Transaction, decode, encode, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sql import Migrations

__all__ = ["TursoDriver", "TursoOptions", "make_driver"]

_FAREWELL = 1.0  # seconds to tell the server that a transaction is undone, which it finds out by itself otherwise
_CROWDED = 5.0  # seconds that writes keep the lock, after one that did not was overtaken by another
_REFUSED = 400  # the status of a request on a stream that has ended
_STRANGE = frozenset({300, 301, 302, 303, 304, 307, 308, 404, 405, 409, 410, 415, 501})
_UNAUTHORIZED, _FORBIDDEN = 401, 403  # with a token that is none here; with one that does not allow this
_LOST = frozenset(
    {"CHANGED", "STREAM_EXPIRED", "TRANSACTION_TIMEOUT", "STREAM_NOT_FOUND", "SQLITE_BUSY", "TRANSACTION_BUSY"}
)


class TursoOptions(Options):
    """What the stores in Turso can be given."""

    title = "Turso"
    schemes = ("turso", "async_turso", "libsql", "https", "http")
    servers = folders = True
    default_port = 443
    tls_is = "tls"
    password_is = "auth_token"  # noqa: S105 - the name of an option
    hint = "; a token is written turso://:TOKEN@host"

    auth_token = option(None, "text", "of the database; in a URL `turso://:TOKEN@host`", server=True, secret=True)
    tls = option(True, "flag", "use TLS; a URL `http://host` does not", url=True, server=True)
    create_schema = option(True, "flag", "create the tables if they are missing; if not, they must be there")
    adopt_legacy = option(False, "flag", "the first call takes over tables of PraisonAI itself; only of conversations")
    connect_timeout = option(10.0, "seconds", "seconds to connect in", url=True)
    timeout = option(30.0, "seconds", "seconds in which a server has to answer a request", url=True)
    lock_timeout = option(60.0, "seconds", "seconds to wait for other writers of a local file")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        if "sync_url" in given:
            raise ConfigurationError("there are no embedded replicas: give the url of the server, or a path")
        super().__init__(url, **given)


def make_driver(options: TursoOptions, migrations: Migrations | None, *, asynchronous: bool) -> TursoDriver:
    """Return the driver for a server or for a file; without migrations it looks at no tables."""
    if options.path is None:
        return _ServerDriver(options, migrations, asynchronous=asynchronous)
    return _FileDriver(options, migrations)


class TursoDriver(Driver):
    """What both have in common: the first connection of a store sees to its tables.

    Args:
        options: of the store.
        migrations: of its tables.
    """

    moved = False
    """Whether the tables were migrated since the store looked at them."""

    def __init__(self, options: TursoOptions, migrations: Migrations | None) -> None:
        self._options = options
        self._migrations = migrations
        self.where = options.where
        self.connect_timeout, self.timeout = options.connect_timeout, options.timeout

    def apart(self, *, write: bool) -> TursoDriver:
        """Return the driver of an operation on the tables themselves; one that only reads leaves a file as it is."""
        options = self._options
        if write or options.path is None:
            return make_driver(options, None, asynchronous=self.asynchronous)
        return _NoFileDriver(options, None) if _is_missing(options.path) else _LookingDriver(options, None)

    def begin(self, client: Any, *, write: bool) -> Any:
        if self.moved:
            looking: Any = self._looking_async if self.asynchronous else self._looking
            return looking(client, write)
        return self._begin(client, write)

    def _begin(self, client: Any, write: bool) -> Any:
        raise NotImplementedError

    @contextmanager
    def _looking(self, client: Any, write: bool) -> Iterator[Any]:
        """Look at the tables first."""
        with self._begin(client, True) as on:
            run(self._tables(), partial(self.perform, on))
        self.moved = False
        with self._begin(client, write) as on:
            yield on

    @asynccontextmanager
    async def _looking_async(self, client: Any, write: bool) -> AsyncIterator[Any]:
        async with self._begin(client, True) as on:
            await run_async(self._tables(), partial(self.perform, on))
        self.moved = False
        async with self._begin(client, write) as on:
            yield on

    def probe(self) -> Steps[None] | None:
        return None if self._migrations is None else self._tables()

    def _tables(self) -> Steps[None]:
        migrations: Any = self._migrations
        version = yield from migrations.current()
        if self.must_exist and version == 0:
            raise (yield from migrations.absent())
        if version > migrations.latest:
            raise migrations.newer(version)
        if version < migrations.latest:
            if self.must_exist:
                raise migrations.older(version)
            if not self._options.create_schema:
                error = migrations.missing(version) if version else (yield from migrations.unmade())
                if error is not None:
                    raise error
            yield from migrations.upgrade()


class _ServerDriver(TursoDriver):
    """A libSQL server: httpx's client, sync or async, of which each operation uses a stream of its own."""

    imports = ("httpx",)
    packages = ("httpx", "httpcore", "h11", "anyio")

    def __init__(self, options: TursoOptions, migrations: Migrations | None, *, asynchronous: bool) -> None:
        super().__init__(options, migrations)
        self.asynchronous = asynchronous
        self._errors = HttpErrors(self.where, "check its auth_token")
        self._crowded = 0.0  # until then

    def open(self, deadline: Deadline) -> Any:
        import httpx

        options = self._options
        token = {"Authorization": f"Bearer {options.auth_token}"} if options.auth_token else {}
        kind = httpx.AsyncClient if self.asynchronous else httpx.Client
        return kind(
            base_url=f"{'https' if options.tls else 'http'}://{options.authority}",
            # A server that compresses sends hundreds of pieces, each of which costs httpx more than the bytes it saves.
            headers={**token, "Content-Type": "application/json", "Accept-Encoding": "identity"},
            verify=options.tls,  # certificates take long to load, so that is left out where they are not needed
            timeout=httpx.Timeout(options.timeout, connect=options.connect_timeout, pool=options.timeout),
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0),
        )

    def close(self, client: Any) -> Any:
        return http.close(client) if self.asynchronous else client.close()

    def abandon(self, client: Any) -> None:
        if self.asynchronous:
            http.hang_up(client)

    def _begin(self, client: Any, write: bool) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        return self._stream_async(client, write) if self.asynchronous else self._stream(client, write)

    def perform(self, on: Any, request: Any) -> Any:
        return on(request)

    def _new(self, write: bool) -> Stream:
        return Stream(write=write, hold=write and time.monotonic() < self._crowded, patience=self._options.timeout)

    @contextmanager
    def _stream(self, client: Any, write: bool) -> Iterator[Any]:
        stream, ask = self._new(write), partial(_ask, client)
        try:
            yield lambda request: run(stream.perform(request), ask)
        except BaseException:
            with suppress(Exception):
                run(stream.end(commit=False), partial(_ask, client, timeout=_FAREWELL))
            raise
        run(stream.end(commit=True), ask)

    @asynccontextmanager
    async def _stream_async(self, client: Any, write: bool) -> AsyncIterator[Any]:
        stream, ask = self._new(write), partial(_ask_async, client)
        try:
            yield lambda request: run_async(stream.perform(request), ask)
        except BaseException:
            with suppress(Exception):
                await run_async(stream.end(commit=False), partial(_ask_async, client, timeout=_FAREWELL))
            raise
        await run_async(stream.end(commit=True), ask)

    def translate(self, error: Exception) -> PersistenceError | None:
        import httpx

        if isinstance(error, httpx.HTTPStatusError):
            status = error.response.status_code
            if status == _FORBIDDEN:
                return ConnectionFailedError(f"{self.where} lets this auth_token only read: make one with full access")
            if status == _UNAUTHORIZED and b"expired" in error.response.content:
                return ConnectionFailedError(f"{self.where}: the auth_token has expired; make another one")
            return self._stranger() if status in _STRANGE else self._errors.error(status, error)
        if isinstance(error, httpx.TransportError):
            return self._errors.silent(error)
        if isinstance(error, HranaError):
            if error.code == STRANGE:
                return self._stranger()
            if error.code in _LOST:
                return ConnectionFailedError(f"{self.where} ended the transaction ({error.code}); nothing was written")
            if error.code == "CROWDED":
                return ConnectionFailedError(f"{self.where} is busy: others wrote all the time; nothing was written")
            if error.code == "RESPONSE_TOO_LARGE":
                return SerializationError(f"{self.where} does not answer as much as this at once: ask for less")
            return BackendError(f"{self.where} failed: {error.code}")
        return None

    def _stranger(self) -> PersistenceError:
        return ConnectionFailedError(
            f"{self.where} does not answer as libSQL's server does: check the URL, that the database is there, and "
            f"that the server speaks Hrana 3"
        )

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        # What the server undid is done once more: it does not commit on a stream that has ended. A request that it may
        # have done is not, nor is it asked again where it was silent.
        import httpx

        cause = error.__cause__
        if isinstance(cause, HranaError):
            if cause.code == "CHANGED":
                self._crowded = time.monotonic() + _CROWDED
            return cause.code in _LOST
        return isinstance(cause, httpx.ConnectError) or (
            not write and isinstance(cause, (httpx.RemoteProtocolError, httpx.ReadError))
        )


def _ask(client: Any, body: Any, **options: Any) -> Any:
    path, content = encode(body)
    return _decoded(client.post(path, content=content, **options))


async def _ask_async(client: Any, body: Any, **options: Any) -> Any:
    path, content = encode(body)
    return _decoded(await client.post(path, content=content, **options))


def _decoded(answer: Any) -> Any:
    if answer.status_code == _REFUSED and (code := refusal(answer.content)):
        raise HranaError(code)
    answer.raise_for_status()
    return decode(answer.content)


class _FileDriver(TursoDriver):
    """A local file: libSQL itself, one connection for all stores of the process on this file.

    Its client holds the interpreter's lock while it works, and while it would wait for another process; so it does not
    wait, and is asked again.
    """

    imports = ("libsql",)
    packages = ("libsql",)
    pragmas: tuple[str, ...] = ("journal_mode = WAL", "synchronous = FULL")
    turns = "all"
    forks = "close"  # libSQL keeps the locks of files in memory, as SQLite does

    def __init__(self, options: TursoOptions, migrations: Migrations | None) -> None:
        super().__init__(options, migrations)
        self.place = self.path = options.path

    def open(self, deadline: Deadline) -> Any:
        import libsql

        path = str(self.path)
        try:
            self._make(path)
            _remove_log(path)
            client = libsql.connect(path, timeout=0.0, isolation_level=None, _check_same_thread=False)
            for pragma in self.pragmas:
                self._patiently(client, f"PRAGMA {pragma}")
        except ConnectionFailedError:
            raise
        except (OSError, ValueError, libsql.Error) as error:
            raise ConnectionFailedError(
                f"{self.where} cannot be opened: it may be damaged, or not to be written"
            ) from error
        _logs[path] = _identify(path), _identify(path + "-wal")
        return client

    def _make(self, path: str) -> None:
        """See that there is a file that can be written."""
        make_folder(os.path.dirname(path), shared=True)
        if not os.path.exists(path):
            with suppress(FileExistsError):  # another process made it meanwhile, or it is a link that leads nowhere
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def close(self, client: Any) -> None:
        client.close()

    def _begin(self, client: Any, write: bool) -> AbstractContextManager[Any]:
        return _Turn(client, self._begin_write if write else None)

    def _begin_write(self, client: Any) -> None:
        self._patiently(client, "BEGIN IMMEDIATE")

    def _patiently(self, client: Any, sql: str) -> None:
        """Do a statement that may have to wait for another process."""
        end = time.monotonic() + self._options.lock_timeout
        while True:
            try:
                client.execute(sql).fetchall()
                return
            except ValueError as error:
                if "locked" not in str(error):
                    raise
                if time.monotonic() > end:
                    raise ConnectionFailedError(f"{self.where} is busy: another process writes to it") from error
            time.sleep(0.005)

    def perform(self, on: Any, request: Any) -> Any:
        kind = type(request)
        if kind is Fetch:
            return on.execute(request.sql, tuple(request.parameters)).fetchall()
        if kind is Execute:
            return on.execute(request.sql, tuple(request.parameters)).rowcount
        if kind is ExecuteMany:
            for parameters in request.parameters:
                on.execute(request.sql, tuple(parameters))
        elif kind is Transaction:
            for sql, parameters in request.statements:
                rows = on.execute(sql, tuple(parameters)).fetchall()
            return rows
        elif kind is Snapshot and not on.in_transaction:
            on.execute("BEGIN")
        return None


class _LookingDriver(_FileDriver):
    """A connection of its own that only reads, and leaves the file in the journal mode that it has."""

    pragmas = ("query_only = 1",)

    def __init__(self, options: TursoOptions, migrations: Migrations | None) -> None:
        super().__init__(options, migrations)
        self.place = None

    def _make(self, path: str) -> None:
        """Do nothing: a file that is opened and closed here would give up the locks that this process has on it."""

    @contextmanager
    def _begin(self, client: Any, write: bool) -> Iterator[Any]:
        client.execute("BEGIN")
        try:
            # Without a log, others may not write from here to the end, so that nothing below has to wait for them.
            self._patiently(client, "SELECT 1 FROM sqlite_master LIMIT 1")
            yield client
        finally:
            client.rollback()


class _Turn:
    """One operation on a file. A class of its own, because a generator takes a microsecond, which reads can tell."""

    __slots__ = ("_begin", "_client")

    def __init__(self, client: Any, begin: Callable[[Any], None] | None) -> None:
        self._client = client
        self._begin = begin

    def __enter__(self) -> Any:
        client = self._client
        if client.in_transaction:  # of a caller who was interrupted
            client.rollback()
        if self._begin is not None:
            self._begin(client)
        return client

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        client = self._client
        if client.in_transaction:
            if kind is None:
                client.commit()
            else:
                client.rollback()


class _NoFileDriver(_FileDriver):
    """A database without anything, in memory: what would be read in a file that does not exist."""

    def __init__(self, options: TursoOptions, migrations: Migrations | None) -> None:
        super().__init__(options, migrations)
        self.place = self.path = None

    def open(self, deadline: Deadline) -> Any:
        import libsql

        return libsql.connect(":memory:", isolation_level=None, _check_same_thread=False)


def _is_missing(path: str) -> bool:
    """Whether there is no such file, where one could be made."""
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and not os.path.exists(path)


_logs: dict[str, tuple[Any, Any]] = {}
"""The file of each path, and its write-ahead log, as they were opened last."""


def _identify(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_log(path: str) -> None:
    """Remove the write-ahead log of an earlier file that stands beside another one, such as a backup.

    libSQL takes a log for that of the file beside it, and would write parts of the old file over the new one.
    """
    file, log = _logs.get(path, (None, None))
    if file is not None and log is not None and _identify(path) != file and _identify(path + "-wal") == log:
        for name in (path + "-wal", path + "-shm"):
            with suppress(OSError):
                os.remove(name)
