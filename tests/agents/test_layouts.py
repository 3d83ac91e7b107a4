"""What PraisonAI itself wrote is copied as it is: its own package writes, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import engines
import pytest

from praisonai_persistence import open_knowledge_store, open_state_store

PRAISONAI = os.environ.get("PERSISTENCE_PRAISONAI", "")
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    not PRAISONAI, reason="PERSISTENCE_PRAISONAI names no folder with PraisonAI's package; './dev agents' makes one"
)
METADATA = {"chroma": True, "qdrant": True, "pgvector": True, "lancedb": False, "redis": False}
"""Whether PraisonAI keeps the metadata of a document there."""


@pytest.fixture
def place(request, tmp_path, _engines):
    """The backend, and the URL of a place of its own."""
    backend = request.param
    if backend in {"chroma", "lancedb"}:
        yield backend, f"{backend}:///{tmp_path / backend}"
        return
    server = engines.engine({"redis": "redis_search", "state": "redis"}.get(backend, backend))
    if backend == "pgvector":  # PraisonAI's tables are in the schema public
        try:
            yield backend, server.url
        finally:
            server.drop("praison_vec_layout_")
        return
    with server.space() as options:
        yield backend, options["url"]


def write(backend: str, place: str) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / "layouts.py"), backend, place],
        env={**os.environ, "PYTHONPATH": PRAISONAI},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy(*arguments: str) -> tuple[int, dict]:
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("praisonai-persistence")),
            "copy",
            "--from-layout",
            "praisonai",
            "--json",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("place", METADATA, indirect=True)
def test_documents_are_copied(place, tmp_path):
    backend, url = place
    write(backend, url.partition(":///")[2] if backend in {"chroma", "lancedb"} else url)
    target = f"sqlite:///{tmp_path}/target.db"
    arguments = "--from", url, "--to", target, "--kind", "knowledge"
    code, report = copy(*arguments)
    assert code == 0, report
    said = report["knowledge"]
    assert (said["collections"], said["documents"], said["written"], said["verified"]) == (2, 253, 253, True)
    with open_knowledge_store(target, "sync") as store:
        assert store.list_collections() == ["layout_docs", "layout_few"]
        info = store.get_collection("layout_docs")
        assert (info.dimension, info.distance) == (3, "euclidean")
        ids = [f"layout-{number}" for number in range(250)]
        documents = store.get("layout_docs", ids)
        assert [document.id for document in documents] == ids
        for number, document in enumerate(documents):
            assert document.content == f"text {number} é"
            assert document.embedding == [number + 0.5, -1.0, 0.25]
            assert document.metadata == ({"number": number, "text": "é"} if METADATA[backend] else None)
            assert (document.content_hash, document.created_at) == (f"hash {number}", 1000.5 + number)
    assert copy(*arguments)[1]["knowledge"]["written"] == 0


@pytest.mark.parametrize("place", ["state"], indirect=True)
def test_state_is_copied(place, tmp_path):
    backend, url = place
    expected = json.loads(write(backend, url))
    target = f"sqlite:///{tmp_path}/target.db"
    code, report = copy("--from", url, "--to", target, "--kind", "state")
    assert code == 0, report
    assert (report["state"]["keys"], report["state"]["verified"]) == (len(expected), True)
    with open_state_store(target, "sync") as store:
        found = {key: store.hgetall(key) if key == "hash" else store.get(key) for key in store.scan_prefix("")}
        assert found == expected
        assert 900 < store.ttl("ends") <= 1000
        assert store.ttl("text") is None
        assert store.incr("counter") == 42


READ = """
import json
import praisonai_persistence.compat
from praisonai.persistence.conversation import JSONConversationStore
with JSONConversationStore("conversations") as store:
    found = store.list_sessions()
    print(json.dumps([[s.to_dict(), [m.to_dict() for m in store.get_messages(s.session_id)]] for s in found]))
"""


def test_json_files_are_taken_over_by_a_program_that_is_run_with_ours(start, tmp_path):
    expected = json.loads(write("json", str(tmp_path / "conversations")))
    assert [session["session_id"] for session, _ in expected] == ["s2", "s1", "s0"]
    (found,) = start("-c", READ).wait()
    for (session, messages), (old_session, old_messages) in zip(found, expected, strict=True):
        assert session == {**old_session, "version": 1}
        numbered = [{**message, "seq": number} for number, message in enumerate(old_messages, 1)]
        assert messages == numbered
