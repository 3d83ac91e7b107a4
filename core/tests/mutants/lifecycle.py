"""State stores with one mistake in the life of their client each. The lifecycle suite must catch every one of them.

``Sound`` keeps a client for all its calls and makes no mistake; ``Remote`` has a server of its own. A mutant overrides
what it breaks: its first line says what it does wrong, ``clause`` is the one whose tests must fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
from mutants.running import Mutant

from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    StoreClosedError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.memory import MemoryStateSteps, MemoryStateStore
from praisonai_persistence.memory._data import open_data
from praisonai_persistence.payload import check_prefix
from praisonai_persistence.steps import is_write, run
from praisonai_persistence.stores import (
    AsyncStepStateStore,
    DirectRunner,
    Runner,
    StepStateStore,
    ThreadRunner,
)
from praisonai_persistence.testing import Endpoint, StoreSpec


class Client:
    """What a driver gives: of no use once it is closed."""

    def __init__(self) -> None:
        self.calls: Any = []
        self.file: Any = None

    def perform(self, steps: Any) -> Any:
        self.calls.append(steps)  # an AttributeError when another thread has closed it
        try:
            return run(steps, lambda request: request)
        finally:
            self.calls.pop()

    def close(self) -> None:
        self.calls = None


class SoundRunner(Runner):
    """Opens a client with the first call, and closes it when the last one has ended."""

    def __init__(self) -> None:
        self._opening = threading.RLock()
        self._client: Client | None = None
        self._closed = False
        self._under_way: dict[object, Any] = {}

    def connect(self) -> None:
        self.run(lambda: iter(()))

    def _open(self) -> Client:
        with self._opening:
            if self._client is None:
                self._client = Client()
            return self._client

    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        own, token = threading.RLock(), object()
        self._under_way[token] = own
        with own:
            if self._closed:
                self._under_way.pop(token, None)
                raise StoreClosedError("this store is closed")
            return self._perform(token, operation, *args, **kwargs)

    def _perform(self, token: object, operation: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._open().perform(_steps(operation, *args, **kwargs))
        finally:
            self._under_way.pop(token, None)

    def close(self) -> None:
        self._closed = True
        for own in list(self._under_way.values()):
            with own:
                pass
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _steps(operation: Any, *args: Any, **kwargs: Any) -> Any:
    if not args and not kwargs and getattr(operation, "__name__", "") == "<lambda>":
        return _nothing()
    return operation(*args, **kwargs)


def _nothing() -> Any:
    yield from ()


class Sound(StepStateStore):
    """Nothing."""

    clause: ClassVar[str] = ""
    backend: ClassVar[str] = "toy"
    capabilities: ClassVar[frozenset[str]] = frozenset()
    runner: ClassVar[Any] = SoundRunner
    steps: ClassVar[type[MemoryStateSteps]] = MemoryStateSteps

    def __init__(self, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self.steps(open_data(None, name), check_prefix(table_prefix)), self.runner())


class AsyncSound(AsyncStepStateStore):
    """The async twin: the calls of ``Sound`` on threads."""

    clause: ClassVar[str] = ""
    backend: ClassVar[str] = "toy"
    capabilities: ClassVar[frozenset[str]] = frozenset()
    runner: ClassVar[Any] = ThreadRunner

    def __init__(self, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        steps = MemoryStateSteps(open_data(None, name), check_prefix(table_prefix))
        super().__init__(steps, self.runner(DirectRunner()))


# ---------------------------------------------------------------------------------------------------- L01: constructing


class ConstructorOpens(Sound):
    """Opens its file in the constructor."""

    clause = "L01"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        os.close(os.open(os.devnull, os.O_RDONLY))


class MakingRunner(SoundRunner):
    _made = False

    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if self.must_exist and not self._made:
            self._made = True
            raise StoreNotFoundError("there is no store yet")
        return super().run(operation, *args, **kwargs)


class MakesWhatMustExist(Sound):
    """Says once that there is no store, and has made one."""

    clause = "L01"
    runner = MakingRunner


# --------------------------------------------------------------------------------------------------------- L02: closing


class TakingRunner(SoundRunner):
    def close(self) -> None:
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            client.close()


class CloseTakesTheClient(Sound):
    """Closes the client while calls are using it."""

    clause = "L02"
    runner = TakingRunner


class AnewRunner(SoundRunner):
    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if self._closed and self._client is None:
            raise StoreClosedError("this store is closed")
        return self._open().perform(_steps(operation, *args, **kwargs))

    def close(self) -> None:
        self._closed = True
        self._client = None


class OpensAfterClose(Sound):
    """A call that was there before close() opens the client again, and leaves it open."""

    clause = "L02"
    runner = AnewRunner


class NoisyRunner(SoundRunner):
    def _open(self) -> Client:
        client = super()._open()
        if client.file is None:
            client.file = open(os.devnull)  # noqa: SIM115  the mistake
        return client

    def close(self) -> None:
        client = self._client
        super().close()
        if client is not None and client.file is not None:
            client.file.close()


class NoisyEnd(Sound):
    """Leaves a file to the garbage collector, which warns about it, when nobody closes the store."""

    clause = "L02"
    runner = NoisyRunner


# ------------------------------------------------------------------------------------------------------ L03: interrupts


class LosingRunner(SoundRunner):
    def __init__(self) -> None:
        super().__init__()
        self._slot = threading.RLock()

    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._slot.acquire(timeout=3):
            raise ConnectionFailedError("all connections were in use")
        try:
            return super().run(operation, *args, **kwargs)
        finally:
            self._slot.release()


class LosesASlot(Sound):
    """An interrupt directly behind the acquiring keeps the only place of the pool."""

    clause = "L03"
    runner = LosingRunner


class TranslatingRunner(SoundRunner):
    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().run(operation, *args, **kwargs)
        except StoreClosedError:
            raise
        except Exception as error:
            raise BackendError("the driver failed") from error


class TranslatesEverything(Sound):
    """Takes an exception from outside for one of the driver."""

    clause = "L03"
    runner = TranslatingRunner


class HalfBatchSteps(MemoryStateSteps):
    def set_many(self, texts: Any, ttl: float | None, now: float) -> Any:
        for key, text in texts.items():
            yield from super().set_many({key: text}, ttl, now)


class LeavesHalfABatch(Sound):
    """Writes the parts of a batch one by one."""

    clause = "L03"
    steps = HalfBatchSteps


# ---------------------------------------------------------------------------------------------------- L04: cancellation


class HastyRunner(ThreadRunner):
    async def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        def slowly() -> Any:
            time.sleep(0.05)
            return self._runner.run(operation, *args, **kwargs)

        if not is_write(operation):
            return await super().run(operation, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(None, slowly)


class AsyncStillUnderWay(AsyncSound):
    """Tells the caller of the cancellation at once, and goes on with the work."""

    clause = "L04"
    runner = HastyRunner


# ----------------------------------------------------------------------------------------------------------- L06: forks


class OneProcessRunner(SoundRunner):
    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()

    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if os.getpid() != self._process:
            raise ConnectionFailedError("the connection is broken")
        return super().run(operation, *args, **kwargs)


class DeadAfterAFork(Sound):
    """Goes on using the parent's connection, and fails with every call."""

    clause = "L06"
    runner = OneProcessRunner


# ----------------------------------------------------------------------------------------------------- L07: event loops


class OneLoopRunner(ThreadRunner):
    _loop: Any = None

    async def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        self._loop = self._loop or asyncio.get_running_loop()
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError("attached to a different loop")
        return await super().run(operation, *args, **kwargs)


class AsyncOneLoop(AsyncSound):
    """Belongs to the event loop of its first call."""

    clause = "L07"
    runner = OneLoopRunner


# -------------------------------------------------------------------------------------------------------- L08: re-entry


class DeadlockRunner(SoundRunner):
    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Lock()

    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        with self._turn:
            return super().run(operation, *args, **kwargs)


class WaitsForItself(Sound):
    """A call inside of another one waits for the lock of its own thread."""

    clause = "L08"
    runner = DeadlockRunner


class OneThreadRunner(SoundRunner):
    def __init__(self) -> None:
        super().__init__()
        self._turn: Any = threading.RLock()
        self._thread = ThreadPoolExecutor(1)

    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if self._turn._is_owned():
            raise UnsupportedOperationError("a call in the middle of another one")
        with self._turn:
            return self._thread.submit(super().run, operation, *args, **kwargs).result()


class WaitsForItsThread(Sound):
    """A call on the thread that works for another call waits for the end of that one."""

    clause = "L08"
    runner = OneThreadRunner


# ------------------------------------------------------------------------------------------------- L10 to L12: the rest


class CanBeCopied(Sound):
    """Is copied with its client and its lock."""

    clause = "L10"
    __reduce_ex__ = object.__reduce_ex__

    def __copy__(self) -> Any:
        return self


class OpenToOthers(Sound):
    """Makes a folder for its owner alone, and lets the umask decide about the file in it."""

    clause = "L10"

    def __init__(self, *, path: str, table_prefix: str = "praison_") -> None:
        super().__init__(name=path, table_prefix=table_prefix)
        self._path = path

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        os.makedirs(self._path, 0o700, exist_ok=True)
        with open(os.path.join(self._path, "data"), "a", encoding="utf-8"):
            super().set(key, value, ttl)


class RawErrors(Sound):
    """Takes every argument for what it should be."""

    clause = "L11"

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.strip() or key, default)


class QuadraticPattern(Sound):
    """Compares every key of a batch with all those before it."""

    clause = "L12"

    def get_many(self, keys: Any) -> Any:
        found: list[str] = []
        for number, key in enumerate(keys):
            # More often the more there are: what a loaded machine adds to the first of two runs hides less of that.
            rounds = 0 if number % 50 else len(found) // 10_000
            if not any(found.count(key) for _ in range(rounds)):
                found.append(key)
        return super().get_many(found)


# ------------------------------------------------------------------------------------------------------- L05: deadlines


class Handler(socketserver.StreamRequestHandler):
    """Does one call for every line."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                method, arguments = json.loads(line)
                self.wfile.write(json.dumps(getattr(self.server.store, method)(*arguments)).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    """A store that is reached over a network."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = MemoryStateStore()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Remote(MemoryStateStore):
    """A connection for every call, with deadlines."""

    clause: ClassVar[str] = ""

    def __init__(self, *, port: int, connect_timeout: float = 10, timeout: float = 30) -> None:
        super().__init__()
        self._port = port
        self._connect_timeout: float | None = connect_timeout
        self._timeout: float | None = timeout
        self._closed = False

    def call(self, method: str, *arguments: Any) -> Any:
        if self._closed:
            raise StoreClosedError("this store is closed")
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=self._connect_timeout) as connection:
                connection.settimeout(self._timeout)
                connection.sendall(json.dumps([method, arguments]).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    line = answers.readline()
                if not line:
                    raise ConnectionError("the server went away")
                return json.loads(line)
        except OSError as error:
            raise ConnectionFailedError("the server cannot be reached") from error

    def connect(self) -> None:
        self.call("get", "a")

    def close(self) -> None:
        self._closed = True

    def set_many(self, mapping: Any, ttl: float | None = None) -> None:
        self.call("set_many", dict(mapping), ttl)

    def get_many(self, keys: Any) -> Any:
        return self.call("get_many", list(keys))


def _forward(name: str) -> Any:
    return lambda self, *arguments: self.call(name, *arguments)


for _name in ("get", "set", "keys", "hget", "hset", "clear"):
    setattr(Remote, _name, _forward(_name))


class RemoteInTime(Remote):
    """Nothing."""


class WaitsForSilence(Remote):
    """Has a deadline for connecting, and none for an answer."""

    clause = "L05"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._timeout = None


class WaitsInAQueue(Remote):
    """Callers wait for each other, each for the deadline of all before it."""

    clause = "L05"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._turn = threading.Lock()

    def call(self, method: str, *arguments: Any) -> Any:
        with self._turn:
            return super().call(method, *arguments)


def complete(suite: Any, name: str) -> None:
    """Give the suite of a ``Remote`` its server, and that of a store in a folder the folder."""
    if name == "OpenToOthers":
        suite.place, suite.spec = _in_folder(name)
    if not issubclass(globals()[name], Remote):
        return

    @pytest.fixture
    def server_of_the_test(self: Any) -> Any:
        with Server() as server:
            yield server
            server.shutdown()
            server.store.close()

    @pytest.fixture
    def spec_through(self: Any, server_of_the_test: Any) -> Endpoint:
        port = server_of_the_test.server_address[1]

        def spec_at(host: str, port: int) -> StoreSpec:
            return StoreSpec("state", sync=f"mutants.lifecycle:{name}", options={"port": port})

        return Endpoint("127.0.0.1", port, spec_at)

    @pytest.fixture
    def spec(self: Any, spec_through: Endpoint) -> StoreSpec:
        return spec_through.spec_at(spec_through.host, spec_through.port)

    suite.server_of_the_test, suite.spec_through, suite.spec = server_of_the_test, spec_through, spec


def _in_folder(name: str) -> tuple[Any, Any]:
    @pytest.fixture
    def place(self: Any, tmp_path: Path) -> Path:
        return tmp_path / "data"

    @pytest.fixture
    def spec(self: Any, place: Path) -> StoreSpec:
        return StoreSpec("state", sync=f"mutants.lifecycle:{name}", options={"path": str(place)})

    return place, spec


def _mutant(cls: Any, clause: str = "") -> Mutant:
    name = cls.__name__
    is_async = issubclass(cls, AsyncStepStateStore)
    return Mutant(name, clause or cls.clause, sync="" if is_async else name, async_=name if is_async else "")


RIGHT = [_mutant(Sound), _mutant(AsyncSound), _mutant(RemoteInTime, "L05")]
ALL = [
    _mutant(cls)
    for cls in (
        ConstructorOpens,
        MakesWhatMustExist,
        CloseTakesTheClient,
        OpensAfterClose,
        NoisyEnd,
        LosesASlot,
        TranslatesEverything,
        LeavesHalfABatch,
        AsyncStillUnderWay,
        WaitsForSilence,
        WaitsInAQueue,
        DeadAfterAFork,
        AsyncOneLoop,
        WaitsForItself,
        WaitsForItsThread,
        WaitsForItsThread,
        CanBeCopied,
        OpenToOthers,
        RawErrors,
        QuadraticPattern,
    )
]
