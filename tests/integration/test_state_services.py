"""State in documents and in clouds through everything that takes a URL: the agents' adapter and the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

import pytest

from praisonai_persistence import create_state_store, db, open_state_store
from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.testing.corpus import HOSTILE_JSON

pytest.importorskip("praisonai_persistence_cli")

COMMAND = [sys.executable, "-c", "from praisonai_persistence_cli import main; raise SystemExit(main())"]
ENGINES = ["dynamodb", "firestore", "gcs", "mongodb", "upstash"]


def run(*arguments: str) -> Any:
    """Run the command; return what it printed, as JSON."""
    ended = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(params=ENGINES)
def url(request):
    """The URL of a place for the test alone; everything else that a store is given there stands in it."""
    with request.getfixturevalue(request.param).space() as options:
        url = options.pop("url")
        yield url + ("&" if "?" in url else "?") + urlencode(options) if options else url


def test_runs_and_traces_of_an_agent(url):
    agents = db(database_url="memory://", state_url=url)
    agents.on_agent_start("agent", "session")
    agents.on_run_start("session", "run", input_content="question")
    agents.on_run_end("session", "run", output_content="answer")
    agents.close()
    with open_state_store(url) as store:
        assert any("run" in key for key in store.scan_prefix(""))


def test_the_command_line_looks_at_keys(url):
    with open_state_store(url) as store:
        store.set_many({"job:1": {"step": 3}, "job:2": 10**30, "other": 1})
        store.set("mortal", "é", ttl=500)
        store.hset("hash", "a.$b", 1.0)
    at = ("--state-url", url)
    assert sorted(line["key"] for line in run("state", "keys", "job:*", *at)["keys"]) == ["job:1", "job:2"]
    assert run("state", "get", "job:2", *at)["value"] == 10**30
    assert run("state", "get", "hash", *at)["value"] == {"a.$b": 1.0}
    assert 400 < run("state", "ttl", "mortal", *at)["ttl"] <= 500
    assert run("state", "ttl", "other", *at)["ttl"] is None


def test_copies_there_and_back(url, tmp_path):
    source, back = (f"sqlite:///{tmp_path / name}" for name in ("source.db", "back.db"))
    with open_state_store(source) as store:
        for number, value in enumerate(HOSTILE_JSON):
            store.set(f"{number}", value)
            store.hset("hash", f"{number}", value)
        store.set("mortal", 1, ttl=5000)
    kind = ("--kind", "state")
    there = run("copy", "--from", source, "--to", url, *kind)["state"]
    assert run("copy", "--from", url, "--to", back, *kind)["state"]["digest"] == there["digest"]
    with open_state_store(back) as store:
        assert 4000 < store.ttl("mortal") <= 5000


def test_the_doctor(url):
    begin = time.monotonic()
    report = run("doctor", "--state-url", url)
    assert [[step["step"] for step in store["steps"]][-1] for store in report["stores"]] == ["delete"]
    with open_state_store(url) as store:
        assert store.keys() == []
    assert time.monotonic() - begin < 120


class _Stranger(BaseHTTPRequestHandler):
    """Answers everything with a page."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        page = b"<html>welcome</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, format: str, *arguments: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


@pytest.fixture
def stranger():
    """The port of a server that speaks HTTP, and nothing of any store."""
    with _Server(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")
@pytest.mark.parametrize("prefix", ["", "async_"])
@pytest.mark.parametrize(
    ("backend", "place"),
    [
        ("dynamodb", {"url": "dynamodb://table", "region": "us-east-1", "endpoint_url": "http://127.0.0.1:{}"}),
        ("firestore", {"url": "firestore://project", "emulator_host": "127.0.0.1:{}"}),
        ("gcs", {"url": "gcs://bucket", "emulator_host": "http://127.0.0.1:{}"}),
        ("mongodb", {"url": "mongodb://me:s3cret@127.0.0.1:{}/agents"}),
        ("upstash", {"url": "upstash://:s3cret@127.0.0.1:{}?https=false"}),
    ],
)
def test_a_wrong_endpoint(backend, prefix, place, stranger, monkeypatch):
    """The error says where, within the deadlines, and shows no secret."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "s3cret")
    options = {name: value.format(stranger) for name, value in place.items()}
    store = create_state_store(prefix + backend, **options, connect_timeout=1, timeout=1)

    async def later():
        async with store:
            await store.set("a", 1)

    def now():
        with store:
            store.set("a", 1)

    begin = time.monotonic()
    with pytest.raises(ConnectionFailedError) as caught:
        asyncio.run(later()) if prefix else now()
    assert time.monotonic() - begin < 30
    assert str(stranger) in str(caught.value)
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__} {store!r}"
