"""``db(...)`` on real databases: nothing configured, many agents at once, other processes, a restarted server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import engines
import pytest

from praisonai_persistence import ConnectionFailedError, db
from praisonai_persistence.testing.corpus import HOSTILE_JSON, HOSTILE_TEXTS, identical

SERVERS = ("postgres", "mariadb", "mongodb")


@pytest.fixture(params=["sqlite", *SERVERS])
def options(request, tmp_path):
    """The arguments of ``db(...)``."""
    if request.param == "sqlite":
        yield {"database_url": f"sqlite:///{tmp_path / 'agent.db'}"}
        return
    server = engines.engine(request.param)
    with server.prefix() as prefix:
        yield {"database_url": server.url, "table_prefix": prefix}


def test_without_any_configuration(tmp_path):
    code = (
        "import json, sys; from praisonai_persistence import db\n"
        "with db() as store:\n"
        "    before = store.on_agent_start('A', 's'); store.on_user_message('s', sys.argv[1])\n"
        "    store.on_run_start('s', sys.argv[1])\n"
        "    print(json.dumps([[m.content for m in before], len(store.get_runs('s'))]))\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    environment.pop("PRAISONAI_HOME", None)
    for said, seen in (("one", [[], 1]), ("two", [["one"], 2])):
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-c", code, said], env=environment, capture_output=True, encoding="utf-8"
        )
        assert (ended.stderr, json.loads(ended.stdout)) == ("", seen)


def test_sync_and_async_adapters_on_one_database(options):
    async def main():
        async with db.aio(**options) as other:
            assert [message.content for message in await other.on_agent_start("B", "s")] == ["one"]
            await other.on_tool_call("s", "t", {"x": 1}, {"y": [2]})
            await other.on_run_end("s", "r", "out")
            return await other.export_session("s")

    with db(**options) as one:
        one.on_agent_start("A", "s", "ada")
        one.on_user_message("s", "one")
        one.on_run_start("s", "r", "in")
        exported = asyncio.run(main())
        assert one.export_session("s") == exported
        assert [run.output_content for run in one.get_runs("s")] == ["out"]
        assert len(one.on_agent_start("A", "s")) == 3


def test_many_threads_of_one_adapter_and_two_adapters(options):
    with db(**options) as one, db(**options) as two:

        def work(number):
            store = (one, two)[number % 2]
            store.on_agent_start("A", "s")
            for turn in range(5):
                store.on_user_message("s", f"{number} {turn}")
                store.on_run_start("s", f"{number} {turn}")
                store.on_run_end("s", f"{number} {turn}")
            store.on_agent_end("s", {f"end {number}": True})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        said = [message.content for message in two.on_agent_start("A", "s")]
        for number in range(8):
            assert [text for text in said if text.startswith(f"{number} ")] == [f"{number} {turn}" for turn in range(5)]
        assert sum(name.startswith("end ") for name in one.export_session("s")["metadata"]) == 8
        assert len(one.get_runs("s")) == 40


def test_hostile_values_survive_export_and_import(options):
    with db("memory://") as source, db(**options) as one:
        for value in HOSTILE_TEXTS:
            if len(value) < 100_000:
                source.on_user_message("s", value)
        for value in HOSTILE_JSON:
            if len(repr(value)) < 100_000:
                source.on_agent_message("s", "", {"value": value})
        source.on_run_start("s", "r", "a\0b")
        document = source.export_session("s")
        assert one.import_session(document) == "s"
        assert identical({**one.export_session("s"), "updated_at": 0}, {**document, "updated_at": 0})


@pytest.mark.parametrize("options", ["sqlite", "postgres", "mariadb"], indirect=True)
def test_the_schema(options):
    with db(**options) as one:
        one.on_user_message("s", "x")
        compatible, said = one.check_schema_compatibility()
        assert compatible
        assert "the state tables have version 0" in said
        one.on_run_start("s", "r")
        version = one.get_schema_version()
        assert int(version) >= 1
        assert one.check_schema_compatibility() == (True, "up to date")
        assert one.migrate_schema(version) is True
        assert one.migrate_schema(version, version) is True


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_is_restarted(server):
    engine = engines.engine(server)
    if not engine.restartable:
        pytest.skip("not ours to restart")
    url = f"{engine.url}{'&' if '?' in engine.url else '?'}connect_timeout=1&timeout=3"
    # How long to go on is no question of the URL where a retry is ours; PyMongo's are within "timeout".
    conversations = {} if server == "mongodb" else {"retry_timeout": 1}
    with (
        engine.prefix() as prefix,
        db(url, table_prefix=prefix, init_retry_cooldown=0.5, conversation_options=conversations) as one,
    ):
        one.on_user_message("s", "before")
        engine.stop()
        try:
            with pytest.raises(ConnectionFailedError):
                one.on_user_message("s", "meanwhile", message_id="m")
        finally:
            engine.start()

        def once_more():
            while True:  # it is tried again within half a second
                try:
                    return one.on_user_message("s", "meanwhile", message_id="m")
                except ConnectionFailedError:
                    continue

        with ThreadPoolExecutor(1) as pool:
            pool.submit(once_more).result(120)
        assert [message.content for message in one.on_agent_start("A", "s")] == ["before", "meanwhile"]
