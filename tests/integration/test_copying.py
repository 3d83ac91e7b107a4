"""The command line on real servers: copies between them that are killed and started again, exports, doctor."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, open_conversation_store, open_state_store
from praisonai_persistence.testing.corpus import HOSTILE_IDS, HOSTILE_JSON, HOSTILE_OBJECTS, HOSTILE_TEXTS

cli = pytest.importorskip("praisonai_persistence_cli")

COMMAND = [sys.executable, "-c", "from praisonai_persistence_cli import main; raise SystemExit(main())"]


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A store in SQLite with everything that breaks stores, and some sessions that do not."""
    url = f"sqlite:///{tmp_path / 'source.db'}"
    with open_conversation_store(url) as store:
        for number, text in enumerate(HOSTILE_TEXTS):
            store.create_session(ConversationSession(f"text {number}", name=text, metadata={text: text}))
            store.add_message(
                f"text {number}",
                ConversationMessage(role=text, content=text, tool_calls=[{text: text}], tool_call_id=text),
            )
        store.create_session(ConversationSession("values", state={"values": HOSTILE_JSON}))
        store.add_messages("values", [ConversationMessage(metadata=value) for value in HOSTILE_OBJECTS])
        for session_id in HOSTILE_IDS:
            store.create_session(ConversationSession(session_id, user_id=session_id))
        for number in range(100):
            store.create_session(ConversationSession(f"s{number}"))
            store.add_messages(f"s{number}", [ConversationMessage(content=f"message {n}") for n in range(30)])
    return url


def run(*arguments: str) -> dict:
    ended = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(params=["postgres", "mariadb", "mongodb"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["postgres", "mariadb"])
def with_schema(request):
    """A server of SQL."""
    return request.getfixturevalue(request.param)


def test_there_and_back(server, source, tmp_path):
    with server.prefix() as prefix:
        there = run("copy", "--from", source, "--to", server.url, "--to-prefix", prefix)["conversation"]
        back = f"sqlite:///{tmp_path / 'back.db'}"
        run("copy", "--from", server.url, "--from-prefix", prefix, "--to", back)
        file = str(tmp_path / "x.jsonl")
        exported = run("export", "--output", file, "--conversation-url", server.url, "--table-prefix", prefix)
        assert there["digest"] == exported["digest"]
        assert exported["messages"] == there["written"] == there["messages"]
    with server.prefix() as prefix:
        imported = run("import", "--file", file, "--conversation-url", server.url, "--table-prefix", prefix)
        assert imported["written"] == exported["messages"]
        again = run("copy", "--from", back, "--to", server.url, "--to-prefix", prefix)["conversation"]
        assert (again["written"], again["digest"]) == (0, there["digest"])


@pytest.mark.crash
def test_a_copy_that_is_killed_goes_on(server, source):
    with server.prefix() as prefix, open_conversation_store(server.url, table_prefix=prefix) as store:
        arguments = ("copy", "--from", source, "--to", server.url, "--to-prefix", prefix)
        store.connect()
        for number in (90, 50, 10):  # sessions are copied oldest first; so far from the end it is killed
            running = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
            while not store.count_messages(f"s{99 - number}") and running.poll() is None:
                time.sleep(0.005)  # there is nothing to wait for but its writes
            running.send_signal(signal.SIGKILL)
            running.wait()
        report = run(*arguments)["conversation"]
        assert report["written"] < report["messages"]
        assert all(store.count_messages(f"s{number}") == 30 for number in range(100))


def test_two_copies_at_once(server, source):
    with server.prefix() as prefix:
        arguments = ("copy", "--from", source, "--to", server.url, "--to-prefix", prefix, "--json")
        running = [subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE) for _ in range(2)]
        reports = [json.loads(one.communicate(timeout=300)[0])["conversation"] for one in running]
        assert [one.returncode for one in running] == [0, 0]
        assert reports[0]["digest"] == reports[1]["digest"]
        assert reports[0]["messages"] == reports[1]["messages"]


def test_state(server, tmp_path):
    source, back = (f"sqlite:///{tmp_path / name}" for name in ("source.db", "back.db"))
    with open_state_store(source) as store:
        for number, value in enumerate(HOSTILE_JSON):
            store.set(f"{number}", value)
            store.hset("hash", f"{number}", value)
        store.set("mortal", 1, ttl=5000)
    with server.prefix() as prefix:
        kind = ("--kind", "state")
        there = run("copy", "--from", source, "--to", server.url, "--to-prefix", prefix, *kind)["state"]
        returned = run("copy", "--from", server.url, "--from-prefix", prefix, "--to", back, *kind)["state"]
        assert there["digest"] == returned["digest"]
    with open_state_store(back) as store:
        assert 4000 < store.ttl("mortal") <= 5000


def test_doctor(server):
    urls = ("--conversation-url", server.url, "--state-url", server.url)
    with server.prefix() as prefix:
        report = run("doctor", *urls, "--table-prefix", prefix, "--scratch-prefix", f"{prefix}x_")
        assert [[step["step"] for step in store["steps"]][-1] for store in report["stores"]] == ["delete", "delete"]


def test_status(with_schema):
    server = with_schema
    urls = ("--conversation-url", server.url, "--state-url", server.url)
    with server.prefix() as prefix:
        stores = run("status", *urls, "--table-prefix", prefix)["stores"]
        assert [store["schema"]["version"] for store in stores] == [0, 0]  # to look changes nothing
        run("migrate", *urls, "--table-prefix", prefix)
        stores = run("status", *urls, "--table-prefix", prefix)["stores"]
        assert all(store["schema"]["version"] == store["schema"]["latest"] > 0 for store in stores)


READING = [
    ("sessions",),
    ("show", "s"),
    ("search", "word"),
    ("resume", "--session-id", "s"),
    ("export",),
    ("prune", "--keep-last", "1", "--yes"),
]


def test_reading_makes_no_tables(with_schema, tmp_path):
    server = with_schema
    with server.prefix() as prefix:
        of = ("--conversation-url", server.url, "--table-prefix", prefix)
        copies = [("copy", "--from", server.url, "--from-prefix", prefix, "--to", f"sqlite:///{tmp_path}/x.db")]
        copies += [(*copies[0], "--kind", kind) for kind in ("state", "all")]
        for arguments in [*((*reading, *of) for reading in READING), *copies]:
            ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=300)
            assert (ended.returncode, ended.stdout) == (1, ""), arguments
            assert ended.stderr.startswith("Error: there are no "), arguments
            assert f"tables with prefix '{prefix}' yet" in ended.stderr
        assert [*tmp_path.iterdir()] == []
        with open_conversation_store(server.url, table_prefix=prefix) as store:
            plan = store.migrate_schema(dry_run=True)
            assert (plan.before, bool(plan.statements)) == (0, True)
        assert not server.tables(prefix)


def test_reading_makes_no_keys(redis, tmp_path):
    """In Redis an absent store and an empty one are the same; that nothing was there is said."""
    target = f"sqlite:///{tmp_path}/x.db"
    with redis.prefix() as prefix:
        arguments = ("copy", "--from", redis.url, "--from-prefix", prefix, "--to", target)
        ended = subprocess.run([*COMMAND, *arguments, "--kind", "state"], capture_output=True, text=True, timeout=300)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == "state: the source has no keys: nothing was copied\n"
        left_out = run(*arguments, "--kind", "all")["left_out"]
        assert left_out.keys() == {"conversation"}
        with open_state_store(redis.url, table_prefix=prefix) as store:
            assert store.keys() == []
            store.set("key", 1)
        assert run(*arguments, "--kind", "all")["state"]["verified"] is True
        # There are no conversations in Redis, and here the source has some.
        with open_conversation_store(target) as store:
            store.create_session(ConversationSession("s"))
        back = ("copy", "--from", target, "--to", redis.url, "--to-prefix", prefix, "--kind", "all")
        ended = subprocess.run([*COMMAND, *back], capture_output=True, text=True, timeout=300)
        assert ended.returncode == 1
        assert "Error: conversation left out: " in ended.stderr
        assert "so this part of the source was not copied" in ended.stderr
