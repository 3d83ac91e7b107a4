"""Where a server of PostgreSQL can be, and what its databases and URLs can be like: the same for both drivers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import engines
import psycopg_pool
import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError, SchemaError
from praisonai_persistence_pgvector import AsyncPgvectorKnowledgeStore, PgvectorKnowledgeStore
from praisonai_persistence_postgres import (
    AsyncPostgresConversationStore,
    AsyncPostgresStateStore,
    PostgresConversationStore,
    PostgresStateStore,
)

TEXT = "Grüße, 日本語 \U0001f600 \u0394 \0 \x1a '\\"
"""In LATIN1 there is the first word alone, in EUC_JP some more."""


def both(url: str, query: str = "SHOW application_name", **options: Any) -> list[Any]:
    """Return what the server answers to the sync store, and to the async one."""
    found = []
    with PostgresStateStore(url, create_schema=False, **options) as store, store._runner._pool.lend() as sync:
        found.append(sync.raw.execute(query).fetchone()[0])

    async def main() -> Any:
        async with (
            AsyncPostgresStateStore(url, create_schema=False, **options) as store,
            store._runner._pool.lend() as connection,
        ):
            return await connection.raw.fetchval(query)

    return [*found, asyncio.run(main())]


def parts(postgres: Any) -> tuple[str, str, str]:
    """User and password, host and port, and the path of the server's URL."""
    url = urlsplit(postgres.url)
    login, _, address = url.netloc.rpartition("@")
    return login, address, url.path


@contextlib.contextmanager
def relay(listener: socket.socket, target: tuple[str, int]) -> Iterator[None]:
    """Carry what arrives at a socket to the server and back."""

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(target)
                kept.extend((client, server))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    kept: list[socket.socket] = []
    listener.listen()
    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        for one in (listener, *kept):
            one.close()
        thread.join(10)


# -------------------------------------------------------------------------------------------------------------- places


def test_the_first_of_several_hosts_that_answers(postgres):
    login, address, path = parts(postgres)
    url = f"postgresql://{login}@127.0.0.1:{engines.free_port()},{address}{path}"
    assert both(url + "?target_session_attrs=read-write") == ["praisonai-persistence"] * 2
    assert both(url + "?target_session_attrs=prefer-standby&application_name=me") == ["me"] * 2
    assert both(url, connect_timeout=1) == ["praisonai-persistence"] * 2


def test_no_host_is_what_was_wanted(postgres):
    login, address, path = parts(postgres)
    for hosts in (address, f"{address},{address}"):
        for options in ({"connect_timeout": 1}, {}):
            url = f"postgresql://{login}@{hosts}{path}?target_session_attrs=standby"
            with pytest.raises(ConnectionFailedError):
                both(url, retry_timeout=0.2, **options)
            with pytest.raises(ConnectionFailedError, match="target_session_attrs"):
                asyncio.run(_get(url, retry_timeout=0.2, **options))


async def _get(url: str, **options: Any) -> Any:
    async with AsyncPostgresStateStore(url, **options) as store:
        return await store.get("a")


def test_ipv6(postgres):
    login, address, path = parts(postgres)
    host, _, port = address.rpartition(":")
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with relay(listener, (host, int(port))):
        own = f"[::1]:{listener.getsockname()[1]}"
        assert both(f"postgresql://{login}@{own}{path}") == ["praisonai-persistence"] * 2
        assert both(f"postgresql://{login}@[::1]:{engines.free_port()},{own}{path}") == ["praisonai-persistence"] * 2


def test_the_folder_of_a_socket(postgres, tmp_path):
    login, address, path = parts(postgres)
    host, _, port = address.rpartition(":")
    folder = tmp_path / "Sub @ folder"
    folder.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(folder / ".s.PGSQL.5433"))
    except OSError:
        listener.close()
        pytest.skip("the path is too long for a socket")
    with relay(listener, (host, int(port))):
        encoded = quote(str(folder), safe="")
        for url in (
            f"postgresql://{login}@{encoded}:5433{path}",
            f"postgresql://{login}@{path}?host={encoded}&port=5433",
            f"postgresql://{login}@127.0.0.1:{engines.free_port()},{encoded}:5433{path}",
        ):
            assert both(url) == ["praisonai-persistence"] * 2


# ---------------------------------------------------------------------------------------------------------- parameters


def test_parameters_reach_the_server(postgres):
    query = "?application_name=mine&options=-c%20work_mem%3D7MB%20-c%20statement_timeout%3D1234"
    query += "&keepalives=1&keepalives_idle=77&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=5000"
    query += "&channel_binding=prefer&gssencmode=disable&connect_timeout=9&client_encoding=utf8&sslmode=prefer"
    url = postgres.url + query
    assert both(url) == ["mine", "mine"]
    assert both(url, "SHOW work_mem") == ["7MB"] * 2
    assert both(url, "SHOW statement_timeout") == ["1234ms"] * 2
    assert both(f"{postgres.url}?fallback_application_name=other") == ["other"] * 2


def test_keepalives_of_asyncpg(postgres):
    async def main() -> tuple[int, int]:
        url = f"{postgres.url}?keepalives_idle=77"
        async with AsyncPostgresStateStore(url, create_schema=False) as store, store._runner._pool.lend() as connection:
            channel = connection.raw._transport.get_extra_info("socket")
            return (
                channel.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            )

    if not hasattr(socket, "TCP_KEEPIDLE"):
        pytest.skip("this system has another name for it")
    assert asyncio.run(main()) == (1, 77)


def test_a_password_file(postgres, tmp_path):
    login, address, path = parts(postgres)
    host, _, port = address.rpartition(":")
    user, _, password = login.partition(":")
    file: Path = tmp_path / "pass"
    file.write_text(f"{host}:{port}:*:{user}:{password}\n")
    file.chmod(0o600)
    assert both(f"postgresql://{user}@{address}{path}?passfile={quote(str(file))}") == ["praisonai-persistence"] * 2


# ----------------------------------------------------------------------------------------------------------- encodings


@pytest.fixture
def database(pgvector) -> Iterator[Any]:
    """Makes databases in an encoding, and returns their URLs."""
    made = []

    def make(encoding: str) -> str:
        name = f"t{uuid.uuid4().hex[:10]}"
        pgvector.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        made.append(name)
        return f"{pgvector.url.rpartition('/')[0]}/{name}"

    yield make
    for name in made:
        pgvector.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_sql_ascii_keeps_every_text(database):
    url = database("SQL_ASCII")
    with PostgresConversationStore(url) as store:
        store.create_session(ConversationSession("é" + TEXT[:5], name=TEXT, metadata={TEXT: TEXT}))
        store.add_message("é" + TEXT[:5], ConversationMessage(role="user", content=TEXT, id="日"))
        assert [(m.id, m.content) for m in store.search_messages("grüße", limit=5)] == [("日", TEXT)]
    with PostgresStateStore(url) as state:
        state.set_many({"é1": TEXT, "日": [TEXT], "z": 1})
        assert sorted(state.keys("?")) == ["z", "日"]

    async def main() -> None:
        async with AsyncPostgresConversationStore(url) as store:
            (session,) = await store.list_sessions()
            assert (session.name, session.metadata) == (TEXT, {TEXT: TEXT})
            assert [m.content for m in await store.get_messages(session.session_id)] == [TEXT]
        async with AsyncPostgresStateStore(url) as state:
            assert await state.get("日") == [TEXT]
            assert await state.keys("é*") == ["é1"]

    asyncio.run(main())


def test_knowledge_in_sql_ascii(database):
    url = database("SQL_ASCII")
    documents = [KnowledgeDocument("日", TEXT, [1.0, 0.0], {"ключ": TEXT}), KnowledgeDocument("b", "b", [0.0, 1.0], {})]
    with PgvectorKnowledgeStore(url) as store:
        store.create_collection("c", dimension=2)
        store.insert("c", documents)
        found = store.search("c", [1.0, 0.0], limit=2, filters={"ключ": TEXT})
        assert [(item.id, item.content, item.metadata) for item in found] == [("日", TEXT, {"ключ": TEXT})]

    async def main() -> None:
        async with AsyncPgvectorKnowledgeStore(url) as store:
            found = await store.search("c", [1.0, 0.0], limit=2, filters={"ключ": {"$in": [TEXT]}})
            assert [(item.id, item.content) for item in found] == [("日", TEXT)]

    asyncio.run(main())


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "MULE_INTERNAL"])
def test_encodings_that_lack_characters_are_refused_with_the_way_out(database, encoding):
    url, way = database(encoding), f"{encoding}.*ENCODING 'UTF8' TEMPLATE template0"
    for kind in (PostgresConversationStore, PostgresStateStore, PgvectorKnowledgeStore):
        with kind(url) as store, pytest.raises(SchemaError, match=way):
            store.schema_status()
    for kind in (AsyncPostgresConversationStore, AsyncPostgresStateStore, AsyncPgvectorKnowledgeStore):

        async def main(kind: Any = kind) -> None:
            async with kind(url) as store:
                await store.schema_status()

        with pytest.raises(SchemaError, match=way):
            asyncio.run(main())


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP"])  # from MULE_INTERNAL no pool of one's own can be made
def test_they_are_refused_behind_a_pool_that_is_handed_in(database, encoding):
    url, way = database(encoding), f"{encoding}.*ENCODING 'UTF8' TEMPLATE template0"
    with (
        psycopg_pool.ConnectionPool(url, min_size=1, max_size=1) as pool,
        PostgresStateStore(pool=pool) as store,
        pytest.raises(SchemaError, match=way),
    ):
        store.get("a")

    async def with_pool() -> None:
        async with (
            asyncpg.create_pool(url, min_size=1, max_size=1) as pool,
            AsyncPostgresStateStore(pool=pool) as store,
        ):
            await store.get("a")

    with pytest.raises(SchemaError, match=way):
        asyncio.run(with_pool())


def test_a_pool_that_speaks_no_utf8_is_refused(database):
    url = database("SQL_ASCII")
    with psycopg_pool.ConnectionPool(url, min_size=1, max_size=1) as pool, PostgresStateStore(pool=pool) as store:
        with pytest.raises(ConfigurationError, match="client_encoding=UTF8"):
            store.get("a")
        with pytest.raises(ConfigurationError, match="client_encoding=UTF8"):
            store.get("a")  # and the connection went back
