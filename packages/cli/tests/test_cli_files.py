"""Files of state and knowledge, compressed files, checks of files, and how far a command is."""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
import time

import pytest

from praisonai_persistence import KnowledgeDocument, open_knowledge_store, open_state_store
from praisonai_persistence.testing.corpus import HOSTILE_JSON, HOSTILE_OBJECTS, HOSTILE_TEXTS
from praisonai_persistence_cli import _progress
from praisonai_persistence_cli._keys import entries

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")
URL = ("--conversation-url", "a.db")


@pytest.fixture
def everything():
    with open_state_store("a.db") as state, open_knowledge_store("a.db") as knowledge:
        state.set_many({f"k{number}": number for number in range(450)})
        state.set("all", HOSTILE_JSON)
        state.set("short", "1", ttl=1000)
        for number, text in enumerate(HOSTILE_TEXTS):
            state.hset("hash", f"f{number}", text)
        knowledge.create_collection("docs", 2, "euclidean", {"m": [1.0, True]})
        knowledge.create_collection("empty", 3)
        knowledge.insert(
            "docs",
            [
                KnowledgeDocument(f"d{n}", HOSTILE_TEXTS[n % len(HOSTILE_TEXTS)], [1.0, n / 7], meta, f"h{n}")
                for n, meta in enumerate([*HOSTILE_OBJECTS, *[None] * 450])
            ],
        )


def state_of(url):
    with open_state_store(url) as store:
        return {
            key: (repr(entry.held), entry.ttl is None)
            for some in entries(store, store.scan_prefix(""))
            for key, entry in some.items()
        }


def knowledge_of(url):
    with open_knowledge_store(url) as store:
        found = {}
        for name in store.list_collections():
            info = store.get_collection(name)
            documents = store.search(name, [1.0] * info.dimension, limit=10_000, with_embeddings=True)
            found[name] = (repr(info), sorted(repr({**item.to_dict(), "score": None}) for item in documents))
        return found


READ = {"state": (state_of, "keys"), "knowledge": (knowledge_of, "collections")}


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
@pytest.mark.parametrize("kind", READ)
def test_what_goes_in_comes_out(cli, everything, kind, name, tmp_path):
    read, units = READ[kind]
    where, to = (f"--{kind}-url", "a.db"), (f"--{kind}-url", "b.db")
    exported = cli("export", "--kind", kind, "--output", name, "--json", *where).json
    assert (exported["kind"], exported[units]) == (kind, len(read("a.db")))
    checked = cli("import", "--file", name, "--check", "--json").json
    assert (checked["ok"], checked["kind"], checked[units], checked["written"]) == (True, kind, exported[units], 0)
    dry = cli("import", "--file", name, "--dry-run", "--json", *to).json
    assert not (tmp_path / "b.db").exists()
    done = cli("import", "--file", name, "--json", *to)
    assert done.code == 0, done.err
    assert (done.json["verified"], done.json[units]) == (True, exported[units])
    assert done.json["written"] == dry["written"] > 0
    assert read("b.db") == read("a.db")
    assert cli("import", "--file", name, "--json", *to).json["written"] == 0
    assert cli("export", "--kind", kind, "-o", "y", "--json", *to).json["digest"] == exported["digest"]


def test_time_goes_on_for_a_key_in_a_file(cli, tmp_path):
    with open_state_store("a.db") as store:
        store.set("long", 1, ttl=1000)
        store.set("short", 1, ttl=500)
    cli("export", "--kind", "state", "-o", "x", "--state-url", "a.db")
    lines = [json.loads(line) for line in (tmp_path / "x").read_text().splitlines()]
    for line in lines:
        if line["type"] == "key":
            assert 490 < line["expires_at"] - time.time() <= 1000
            line["expires_at"] -= 600  # the file was written ten minutes ago
    (tmp_path / "x").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = cli("import", "--file", "x", "--state-url", "b.db", "--json")
    assert (result.code, result.json["keys"]) == (0, 1)
    with open_state_store("b.db") as store:
        assert (store.keys(), 390 < store.ttl("long") <= 400) == (["long"], True)


@pytest.mark.parametrize("kind", READ)
def test_every_cut_and_every_change_is_noticed(cli, everything, kind, tmp_path):
    cli("export", "--kind", kind, "-o", "x", f"--{kind}-url", "a.db")
    lines = (tmp_path / "x").read_bytes().splitlines(keepends=True)
    read = READ[kind][0]

    def failed(content):
        (tmp_path / "y").write_bytes(content)
        checked = cli("import", "--file", "y", "--check")
        assert checked.code == 1
        imported = cli("import", "--file", "y", f"--{kind}-url", "b.db")
        assert imported.code == 1
        assert checked.error == imported.error
        return checked.error

    assert f"cut short behind line {len(lines) - 1}" in failed(b"".join(lines[:-1]))
    assert "cut short in line 9" in failed(b"".join(lines[:8]) + lines[8][:-5])
    assert re.search(r"(written|trailer|collection)", failed(b"".join([*lines[:8], *lines[9:]])))
    other = lines[8].replace(b'"digest":"', b'"digest":"0').replace(b'"content":"', b'"content":"0')
    assert "was changed since" in failed(b"".join([*lines[:8], other, *lines[9:]]))
    assert "line 9: no JSON object" in failed(b"".join([*lines[:8], b"1\n", *lines[9:]]))
    assert "goes on behind its last line" in failed(b"".join([*lines, lines[-1]]))
    whole = state_of("a.db") if kind == "state" else knowledge_of("a.db")
    assert {key: value for key, value in whole.items() if key in read("b.db")} == read("b.db")


@pytest.mark.parametrize(
    ("kind", "line", "says"),
    [
        ("state", b'{"type": "key", "key": "x", "hash": false, "value": 1}', "no key: it lacks"),
        ("state", b'{"type": "key", "key": 1, "hash": false, "value": 1, "digest": ""}', "no key: key must be a text"),
        (
            "state",
            b'{"type": "key", "key": "x", "hash": true, "value": {}, "digest": ""}',
            "no key: the value of a hash",
        ),
        ("state", b'{"type": "session"}', "a line of the type 'session' where a key or the trailer should be"),
        ("knowledge", b'{"type": "collection", "name": "x", "dimension": 0, "distance": "dot"}', "no collection: "),
        ("knowledge", b'{"type": "collection", "name": "x", "dimension": 1, "distance": "far"}', "distance must be"),
        ("knowledge", b'{"type": "collection", "name": "x", "dimension": 1}', "it lacks 'distance'"),
    ],
)
def test_a_broken_line_says_what_is_wrong(cli, tmp_path, kind, line, says):
    head = {"type": "header", "format": "praisonai-persistence", "version": 1, "kind": kind}
    (tmp_path / "x").write_bytes(json.dumps(head).encode() + b"\n" + line + b"\n")
    for more in (["--check"], [f"--{kind}-url", "b.db"]):
        result = cli("import", "--file", "x", *more)
        assert (result.code, "line 2: " in result.error, says in result.error) == (1, True, True)


def test_documents_of_another_dimension_are_refused(cli, tmp_path):
    lines = [
        {"type": "header", "format": "praisonai-persistence", "version": 1, "kind": "knowledge"},
        {"type": "collection", "name": "x", "dimension": 2, "distance": "dot", "metadata": None},
        {"type": "document", "id": "d", "content": "", "embedding": [1.0], "created_at": 1.0},
    ]
    (tmp_path / "x").write_text("".join(json.dumps(line) + "\n" for line in lines))
    error = cli("import", "--file", "x", "--check").error
    assert "line 3: no document: its embedding must have 2 numbers; nothing of collection 'x'" in error


def test_a_kind_of_a_later_release(cli, tmp_path):
    (tmp_path / "x").write_text('{"type": "header", "format": "praisonai-persistence", "version": 1, "kind": "runs"}\n')
    result = cli("import", "--file", "x", *URL)
    assert (result.code, "it holds 'runs', and this release reads" in result.error) == (1, True)


# --------------------------------------------------------------------------------------------------- compressed files


def test_a_compressed_export(cli, fill, read, tmp_path):
    fill(sessions=30, messages=50)
    plain = cli("export", "-o", "x.jsonl", "--json", *URL).json
    packed = cli("export", "-o", "x.jsonl.gz", "--json", *URL).json
    assert packed["digest"] == plain["digest"]
    inside = gzip.decompress((tmp_path / "x.jsonl.gz").read_bytes()).splitlines()
    assert inside[1:] == (tmp_path / "x.jsonl").read_bytes().splitlines()[1:]
    assert (tmp_path / "x.jsonl.gz").stat().st_size < (tmp_path / "x.jsonl").stat().st_size / 4
    assert os.name == "nt" or stat.S_IMODE((tmp_path / "x.jsonl.gz").stat().st_mode) == 0o600
    assert cli("import", "-f", "x.jsonl.gz", "--conversation-url", "b.db").code == 0
    assert read("b.db") == read("a.db")


def test_compressed_standard_input(process, cli, fill, read, tmp_path):
    fill()
    cli("export", "-o", "x.gz", *URL)
    importing = process("import", "-f", "-", "--conversation-url", "b.db", stdin=-1, stdout=-1)
    importing.communicate((tmp_path / "x.gz").read_bytes(), timeout=240)
    assert importing.returncode == 0
    assert read("b.db") == read("a.db")


def test_damaged_compressed_files(cli, fill, tmp_path):
    fill(sessions=30, messages=50)
    cli("export", "-o", "x.gz", *URL)
    whole = (tmp_path / "x.gz").read_bytes()
    middle = len(whole) // 2
    for content, says in [
        (whole[:middle], "was cut short behind line"),
        (whole[:-1], "was cut short behind line"),
        (whole[:5], "was cut short behind line 0"),
        (whole[:middle] + bytes(100) + whole[middle + 100 :], "line "),
        (whole[:-8] + bytes(8), "the compressed data are damaged"),
    ]:
        (tmp_path / "y.gz").write_bytes(content)
        result = cli("import", "-f", "y.gz", "--check")
        assert (result.code, says in result.error) == (1, True), result


# ------------------------------------------------------------------------------------------------------------- checks


def test_a_check_uses_no_store(cli, fill, tmp_path, monkeypatch):
    fill()
    cli("export", "-o", "x", *URL)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setenv("PRAISON_CONVERSATION_URL", "b.db")
    result = cli("import", "-f", "x", "--check")
    assert (result.code, result.out) == (0, "x: 3 sessions with 12 messages; the file is whole\n")
    assert sorted(tmp_path.iterdir()) == before
    for other in ("--dry-run", "--update"):
        assert "--check only reads the file" in cli("import", "-f", "x", "--check", other).error


def test_a_dry_import_finds_conflicts_and_writes_nothing(cli, fill, read):
    fill()
    cli("export", "-o", "x", *URL)
    fill("b.db", sessions=1, messages=2)
    before = read("b.db")
    dry = cli("import", "-f", "x", "--dry-run", "--json", "--conversation-url", "b.db")
    assert (dry.code, dry.json["sessions"], dry.json["written"], dry.json["verified"]) == (1, 2, 8, False)
    assert "the target has session 's0' already" in dry.error
    assert read("b.db") == before


# ----------------------------------------------------------------------------------------------------------- progress

LINE = r"{}: [\d,]+( of 30)? sessions, [\d,]+ messages(, \d+ %)?, [\d,]+/s(, [\d:]+ left)?"


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("export", ["export", "-o", "x", *URL]),
        ("import", ["import", "-f", "given", "--conversation-url", "b.db"]),
        ("check", ["import", "-f", "given", "--check"]),
        ("conversation", ["copy", "--from", "a.db", "--to", "b.db"]),
    ],
)
def test_lines_of_progress(cli, fill, monkeypatch, what, arguments):
    monkeypatch.setattr(_progress, "_EVERY", 0.0)
    fill(sessions=30, messages=20)
    cli("export", "-o", "given", *URL)
    result = cli(*arguments, "--progress")
    assert result.code == 0
    lines = result.err.splitlines()
    assert len(lines) > 30
    assert [line for line in lines if not re.fullmatch(LINE.format(what), line)] == []
    assert re.match(rf"{what}: 30( of 30)? sessions, 600 messages, 100 %", lines[-1])
    assert "left" in lines[len(lines) // 2]
    assert cli(*arguments).err == ""


@pytest.mark.parametrize("kind", READ)
def test_progress_of_the_other_kinds(cli, everything, monkeypatch, kind):
    monkeypatch.setattr(_progress, "_EVERY", 0.0)
    for arguments in (["copy", "--from", "a.db", "--to", "b.db"], ["export", "-o", "x", f"--{kind}-url", "a.db"]):
        result = cli(*arguments, "--kind", kind, "--progress")
        assert result.code == 0
        assert re.search(r"([\d,]+) of \1 (keys|documents), 100 %, [\d,]+/s, 0:00 left$", result.err.strip())


@POSIX
def test_a_bar_on_a_terminal_only(on_a_terminal, process, fill):
    fill(sessions=30, messages=20)
    arguments = ("copy", "--from", "a.db", "--to", "b.db")
    assert "sessions, " in on_a_terminal(*arguments)[1]
    for more, environment in ((["--no-progress"], {}), ([], {"TERM": "dumb"})):
        assert "messages, " not in on_a_terminal(*arguments, *more, **environment)[1]
    running = process(*arguments, stdout=-1, stderr=-1)
    assert running.communicate(timeout=240)[1] == b""


def test_the_time_that_is_left(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    progress = _progress.Progress("copy", "sessions", "messages")
    progress.expect(units=4)
    now[0] += 3600
    progress.add(units=1, items=7200)
    assert progress.text() == "1 of 4 sessions, 7,200 messages, 25 %, 2/s, 3:00:00 left"
