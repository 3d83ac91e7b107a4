"""What the tests of Redis share: stores in use, and servers of another make-up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as driver

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.errors import (
    PersistenceError,
    WrongTypeError,
)
from praisonai_persistence_redis import AsyncRedisStateStore, RedisStateStore


def in_loop(body: Callable[[Any], Awaitable[Any]], store: type[Any] = AsyncRedisStateStore, **options: Any) -> Any:
    """Run a coroutine function with an async store."""

    async def main() -> Any:
        async with store(**options) as opened:
            return await body(opened)

    return asyncio.run(main())


def url_with(url: str, **changes: Any) -> str:
    parts = urlsplit(url)
    found = {name: changes.get(name, getattr(parts, name)) for name in ("username", "password", "hostname", "port")}
    user = f"{found['username'] or ''}:{found['password']}@" if found["password"] else ""
    return f"{changes.get('scheme', 'redis')}://{user}{found['hostname']}:{found['port']}{parts.path}"


def both(options: dict[str, Any], expected: type[Exception], words: str, secret: str | None = None) -> None:
    """Both modes: connecting, and writing, raise an error of that type with those words and without the secret."""

    async def body(store: Any) -> list[Exception]:
        errors = []
        for call in (lambda: store.connect(), lambda: store.set("k", "t0p-s3cret")):
            with pytest.raises(expected) as caught:
                await call()
            errors.append(caught.value)
        return errors

    errors = in_loop(body, **options)
    with RedisStateStore(**options) as store:
        for call in (store.connect, lambda: store.set("k", "t0p-s3cret")):
            with pytest.raises(expected) as caught:
                call()
            errors.append(caught.value)
    for error in errors:
        assert words in str(error), str(error)
        assert "t0p-s3cret" not in str(error)
        assert secret is None or secret not in str(error)


def use_state(store: Any) -> None:
    """Every operation, once."""
    keys = {f"key-{number}": [number, "é"] for number in range(1500)}
    store.set_many(keys)
    assert store.get_many([*keys, "unknown"]) == keys
    assert store.set_if_absent("key-0", 1) is False
    assert store.compare_and_set("key-0", [0.0, "é"], 1.0) is True
    assert store.compare_and_set("key-0", 1, 7) is True
    assert store.incr("key-0") == 8
    assert store.incr("key-0", 2**70) == 8 + 2**70
    store.hset("hash", "f", {"x": None})
    store.hset("hash", "g", 1)
    assert store.hget("hash", "f") == {"x": None}
    assert store.hgetall("hash") == {"f": {"x": None}, "g": 1}
    assert store.hdel("hash", "f", "h") == 1
    for call in (
        store.get,
        store.incr,
        lambda key: store.set_many({"a": 1, key: 2}),
        lambda key: store.get_many([key]),
    ):
        with pytest.raises(WrongTypeError):
            call("hash")
    assert store.expire("hash", 100) is True
    assert 0 < store.ttl("hash") <= 100
    assert store.exists("hash") is True
    assert set(store.keys()) == {*keys, "hash"}
    assert store.keys("key-149[0-4]") == [] or len(store.keys("key-149[0-4]")) == 5
    assert store.delete_many(["key-1", "key-2", "unknown"]) == 2
    assert store.delete("hash") is True
    assert store.clear() == 1498
    assert store.keys() == []


def use_knowledge(store: Any) -> None:
    """Every operation, once."""
    for distance in ("cosine", "dot", "euclidean"):
        store.create_collection(distance, 3, distance, {"made": "here"})
        store.create_collection(distance, 3, distance, {"made": "here"})
        documents = [
            KnowledgeDocument(
                id=f"d{n}", content=f"document {n}", embedding=[1.0, n, 0.5], metadata={"n": n, "odd": n % 2 == 1}
            )
            for n in range(700)
        ]
        store.insert(distance, documents)
        store.upsert(distance, documents[:3])
        found = store.search(distance, [1.0, 5.0, 0.5], filters={"odd": True, "n": {"$lt": 100}}, with_embeddings=True)
        assert [item.metadata["odd"] for item in found] == [True] * 5
        if distance != "dot":
            assert found[0].id == "d5"
        assert [item.id for item in store.get(distance, ["d9", "unknown", "d3"])] == ["d9", "d3"]
        assert store.count(distance, {"odd": False}) == 350
        assert store.delete(distance, filters={"odd": False}) == 350
        assert store.delete(distance, ["d1", "d2"]) == 1
        assert store.clear_collection(distance) == 349
    assert store.list_collections() == ["cosine", "dot", "euclidean"]
    for name in store.list_collections():
        store.delete_collection(name)


@contextlib.contextmanager
def servers(redis: Any, script: str, ports: list[int], files: dict[str, bytes] | None = None) -> Iterator[Path]:
    """Run a shell script that starts servers at these ports of the loopback interface; yields their folder."""
    folder = Path(tempfile.mkdtemp(prefix="persistence-redis-"))
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    try:
        if hasattr(redis._server, "wrapped"):
            from testcontainers.core.container import DockerContainer

            container = DockerContainer(redis._server.wrapped.image.tags[0])
            for port in ports:
                container.with_bind_ports(port, port)
            for name, content in (files or {}).items():
                container.with_env(name.upper().replace(".", "_"), content.decode())
            unpack = "".join(f'printf %s "${name.upper().replace(".", "_")}" > {name}; ' for name in files or {})
            container.with_command(
                ["sh", "-c", f"reach='--protected-mode no'; cd $(mktemp -d); {unpack}{script}\nwait"]
            )
            with container:
                yield folder
        elif redis.program():
            process = subprocess.Popen(
                ["sh", "-c", f"reach='--bind 127.0.0.1'; {script}\nwait"], cwd=folder, start_new_session=True
            )
            try:
                yield folder
            finally:
                os.killpg(process.pid, 9)
                process.wait()
        else:
            pytest.skip("the server of the environment's URL is the only one")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Different ports at which nobody listens now, as they are at port + 10,000, which nodes of a cluster also take.

    Both are below those that systems give to outgoing connections.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(20_000, 22_700)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            found.add(port)
    return sorted(found)


def until(question: Callable[[], Any], limit: float = 60) -> Any:
    """Ask until the answer is true."""
    end = time.monotonic() + limit
    while True:
        try:
            if answer := question():
                return answer
        except (PersistenceError, driver.RedisError, driver.exceptions.RedisClusterException) as error:
            if time.monotonic() > end:
                raise AssertionError(f"no answer within {limit:.0f} seconds") from error
        assert time.monotonic() < end, f"no answer within {limit:.0f} seconds"
        time.sleep(0.1)


def certificate() -> dict[str, bytes]:
    """A key, and a certificate of 127.0.0.1 signed with it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no program openssl")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
                *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"),
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        return {name: (Path(folder) / name).read_bytes() for name in ("key.pem", "cert.pem")}
