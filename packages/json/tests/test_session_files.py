"""What stands in session files, whose they are, and what becomes of those that cannot be read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidValueError,
    PersistenceError,
)
from praisonai_persistence.testing.corpus import HOSTILE_IDS, HOSTILE_OBJECTS, HOSTILE_TEXTS, identical
from praisonai_persistence_json import CorruptDocumentError
from praisonai_persistence_json.sessions import (
    DefaultSessionStore,
    HierarchicalSessionStore,
    _laid_out,
    default_session_dir,
)

HERE = Path(__file__).parent
FIXTURES = HERE / "praisonai_sessions"


def made(name: str) -> dict:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def store(folder: Path) -> DefaultSessionStore:
    return DefaultSessionStore(folder)


def texts(messages: list[dict]) -> list:
    return [message["content"] for message in messages]


# ------------------------------------------------------------------------------------------------------ with PraisonAI


@pytest.fixture(scope="module")
def maker():
    """The script that made the fixtures, without the package that it needs for it."""
    source = (HERE / "make_praisonai_sessions.py").read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if not line.startswith("from praisonaiagents")]
    namespace: dict = {"__file__": __file__, "__name__": "maker"}
    exec(compile("\n".join(lines), "make_praisonai_sessions.py", "exec", dont_inherit=True), namespace)
    return namespace


@pytest.mark.parametrize("name", ["theirs", "ours"])
def test_both_read_the_same_in_a_folder(maker, name: str, folder: Path) -> None:
    shutil.copytree(FIXTURES / name, folder)
    expected = made(name)
    seen = maker["see"](DefaultSessionStore(folder), HierarchicalSessionStore(folder), expected["made"])
    assert identical(json.loads(json.dumps(seen)), expected["seen"])


def test_what_is_written_today_is_what_praisonai_has_read(maker, folder: Path) -> None:
    maker["talk"](DefaultSessionStore(folder))
    maker["grow"](HierarchicalSessionStore(folder))
    for name in ("chat-123", "root"):
        written, then = read(folder / f"{name}.json"), read(FIXTURES / "ours" / f"{name}.json")
        assert shape(written) == shape(then)


def shape(value, name: str = ""):
    """Leave out what differs from run to run: times and made-up ids."""
    if name in {"timestamp", "created_at", "updated_at", "id", "children_ids"}:
        return type(value).__name__
    if isinstance(value, dict):
        return {key: shape(item, key) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else value


def test_a_document_that_praisonai_wrote_keeps_what_nobody_here_knows(folder: Path) -> None:
    shutil.copytree(FIXTURES / "theirs", folder)
    path = folder / "root.json"
    document = read(path)
    document.update(invented={"a": [1, 2.5, None]}, telemetry=float("inf"))
    document["messages"][0]["invented"] = "too"
    path.write_text(json.dumps(document), encoding="utf-8")
    for store in (DefaultSessionStore(folder), HierarchicalSessionStore(folder)):
        store.add_user_message("root", "one more")
        store.update_session_metadata("root", new=1)
    after = read(path)
    assert after["messages"][0]["invented"] == "too"
    for key in document.keys() - {"messages", "metadata", "updated_at"}:
        assert identical(after[key], document[key]), key


def test_a_file_that_praisonai_named_is_found(store: DefaultSessionStore, folder: Path) -> None:
    folder.mkdir()
    ids = {"a/b": "a_b", "\u00e9t\u00e9": "\u00e9t\u00e9", "../../x": "______x", "a b": "a_b", "CON": "CON"}
    for session_id, name in ids.items():
        path = folder / f"{name}.json"
        path.unlink(missing_ok=True)
        message = {"role": "user", "content": session_id, "timestamp": 1.0, "metadata": {}}
        path.write_text(json.dumps({"session_id": session_id, "messages": [message]}), encoding="utf-8")
        assert texts(store.get_chat_history(session_id)) == [session_id]
        store.add_user_message(session_id, "more")
        assert texts(read(path)["messages"]) == [session_id, "more"]
    store.add_user_message("a_b", "its own")
    store.add_user_message("a/b", "its own, too")
    assert texts(store.get_chat_history("a_b")) == ["its own"]
    assert texts(store.get_chat_history("a/b")) == ["its own, too"]
    assert texts(store.get_chat_history("a b")) == ["a b", "more"]
    store.delete_session("a b")
    assert not (folder / "a_b.json").exists()
    assert texts(store.get_chat_history("a_b")) == ["its own"]
    assert texts(store.get_chat_history("a/b")) == ["its own, too"]


# --------------------------------------------------------------------------------------------------------------- files


def test_plain_ids_are_names_and_all_files_are_in_the_folder(store: DefaultSessionStore, folder: Path) -> None:
    for session_id in [*HOSTILE_IDS, "chat-123", "bot_telegram_12345"]:
        store.add_user_message(session_id, "x")
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {folder}
    names = {path.name for path in files}
    assert {"chat-123.json", "bot_telegram_12345.json", "X.json", "a_b.json", "1.json"} <= names
    documents = [name for name in names if name.endswith(".json")]
    assert len(documents) == len(HOSTILE_IDS) + 2
    # Two names that differ in case only are one file elsewhere; there, the second id gets the other kind of name.
    special = [name for name in documents if name.startswith("~")]
    assert len({name.lower() for name in special}) == len(special) > 50
    assert not any(name.endswith(".tmp") for name in names)


def test_a_name_that_another_id_has_is_not_taken(store: DefaultSessionStore, folder: Path) -> None:
    store.add_user_message("X", "of X")
    os.rename(folder / "X.json", folder / "x.json")  # what a file system that ignores case would show
    store.add_user_message("x", "of x")
    assert texts(store.get_chat_history("x")) == ["of x"]
    assert texts(read(folder / "x.json")["messages"]) == ["of X"]


def test_files_are_private_and_the_folder_is_made_late(folder: Path) -> None:
    store = DefaultSessionStore(folder)
    assert store.get_chat_history("s") == []
    assert store.list_sessions() == []
    assert store.delete_session("s") is True
    assert not folder.exists()
    old = os.umask(0o022)
    try:
        store.add_user_message("s", "x")
    finally:
        os.umask(old)
    if os.name != "nt":
        assert stat.S_IMODE((folder / "s.json").stat().st_mode) == 0o600


def test_the_folder_is_praisonais(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("PRAISONAI_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert default_session_dir() == str(tmp_path / ".praisonai" / "sessions")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_session_dir() == str(tmp_path / "data" / "praisonai" / "sessions")
    (tmp_path / ".praison").mkdir()
    assert default_session_dir() == str(tmp_path / ".praison" / "sessions")
    (tmp_path / ".praisonai").mkdir()
    assert DefaultSessionStore().session_dir == str(tmp_path / ".praisonai" / "sessions")
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "elsewhere"))
    assert DefaultSessionStore().session_dir == str(tmp_path / "elsewhere" / "sessions")


@pytest.mark.parametrize(
    "options",
    [
        {"session_dir": ""},
        {"session_dir": "a\0b"},
        {"session_dir": 1},
        {"max_messages": 0},
        {"max_messages": -1},
        {"max_messages": "5"},
        {"active_window": -1},
        {"lock_timeout": 0},
        {"lock_timeout": float("inf")},
        {"lock_timeout": True},
        {"retention": "forget"},
        {"sync": 0},
        {"sync": None},
    ],
)
def test_options_are_checked(options: dict, tmp_path: Path) -> None:
    with pytest.raises((ConfigurationError, InvalidValueError)):
        DefaultSessionStore(**{"session_dir": tmp_path, **options})


def test_a_document_is_laid_out_as_praisonai_does(store: DefaultSessionStore, folder: Path) -> None:
    for text in HOSTILE_TEXTS:
        store.add_user_message("s", text, {"value": text})
    raw = (folder / "s.json").read_bytes()
    document = json.loads(raw.decode("utf-8"))
    assert raw.startswith(b'{\n  "session_id": "s",\n  "messages": [\n')
    assert document.pop("escaped_texts") is True
    assert [message["metadata"] for message in document["messages"]] == [
        {"value": message["content"]} for message in document["messages"]
    ]
    assert texts(store.get_chat_history("s")) == HOSTILE_TEXTS
    # One surrogate alone is written as JSON's own escape, which any reader takes.
    store.add_user_message("plain", "a\ud800b \0 \x1a0000")
    assert "escaped_texts" not in read(folder / "plain.json")
    assert texts(read(folder / "plain.json")["messages"]) == ["a\ud800b \0 \x1a0000"]


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        [[], {}, [[]], [{}], None, True, False, 0, -0.0, 1.5, 1e308, 10**30, float("inf"), float("nan"), ""],
        {"a": {"b": [1, {"c": [None, {"d": "\u20ac\ud800"}]}]}, "": [], '"': "\n"},
        *HOSTILE_OBJECTS,
    ],
    ids=lambda value: str(len(value)),
)
def test_the_layout_is_the_one_of_pythons_own_module(value) -> None:
    assert _laid_out(value) == json.dumps(value, indent=2, ensure_ascii=False)


def test_a_byte_order_mark_is_no_text(store: DefaultSessionStore, folder: Path) -> None:
    store.add_user_message("s", "one")
    path = folder / "s.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [found["session_id"] for found in store.list_sessions()] == ["s"]
    store.add_user_message("s", "two")
    assert texts(store.get_chat_history("s")) == ["one", "two"]
    assert path.read_bytes().startswith(b"{")


def test_without_syncs_nothing_is_synced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    def work(store: HierarchicalSessionStore) -> int:
        synced.clear()
        for session_id in ("s", "A/B"):
            store.add_user_message(session_id, "one")
            store.create_snapshot(session_id)
            store.delete_session(session_id)
        assert store.list_sessions() == []
        return len(synced)

    monkeypatch.setattr(os, "fsync", watched)
    assert work(HierarchicalSessionStore(folder / "new", sync=False)) == 0
    if os.name != "nt":
        assert work(HierarchicalSessionStore(folder / "other")) > 10


# ------------------------------------------------------------------------------------------------------------- listing


@pytest.mark.parametrize(
    "stored",
    ["9999-12-31T23:59:58+00:00", "9999-12-31T23:59:59.999998+00:00", "2200-01-01T00:00:00", "2200-01-01T05:00:00Z"],
)
def test_a_stored_time_of_change_rises_also_when_it_is_ahead(
    store: DefaultSessionStore, folder: Path, stored: str
) -> None:
    folder.mkdir()
    path = folder / "s.json"
    path.write_text(json.dumps({"session_id": "s", "updated_at": stored}), encoding="utf-8")
    store.add_user_message("s", "one")
    assert read(path)["updated_at"] > stored.rstrip("Z")
    assert read(path)["updated_at"].endswith("+00:00")


@pytest.mark.parametrize("stored", [None, 17, "", "yesterday", "2001-01-01T00:00:00+00:00"])
def test_what_is_no_time_of_change_or_an_old_one_becomes_now(
    store: DefaultSessionStore, folder: Path, stored: object
) -> None:
    folder.mkdir()
    path = folder / "s.json"
    path.write_text(json.dumps({"session_id": "s", "updated_at": stored}), encoding="utf-8")
    store.add_user_message("s", "one")
    assert abs(datetime.fromisoformat(read(path)["updated_at"]).timestamp() - time.time()) < 600


def test_sessions_are_listed_last_changed_first(store: DefaultSessionStore, folder: Path) -> None:
    folder.mkdir()
    expected = []
    for number in range(700):
        # Neither the names nor the order in which they are made say anything about the order of the sessions.
        changed = f"2026-01-01T00:00:00.{number * 7919 % 250:06}+00:00" if number % 50 else None
        expected.append((changed or "", f"s{number}"))
        document = {"session_id": f"s{number}", "agent_name": f"a{number % 3}", "updated_at": changed}
        (folder / f"{number * 104729 % 700}.json").write_text(json.dumps(document), encoding="utf-8")
    expected.sort(key=lambda pair: pair[1])
    expected.sort(key=lambda pair: pair[0], reverse=True)
    ids = [session_id for _, session_id in expected]
    for limit in (0, 1, 20, 50, 299, 300, 301, 699, 700, 701, 10**20):
        assert [found["session_id"] for found in store.list_sessions(limit)] == ids[:limit]
    mine = [session_id for session_id in ids if int(session_id[1:]) % 3 == 1]
    for limit in (0, 1, 20, 10**20):
        assert store.list_sessions_by_agent("a1", limit) == mine[:limit]


# -------------------------------------------------------------------------------------------------------------- broken


BROKEN = {
    "empty": b"",
    "torn": b'{"session_id": "s", "messages": [{"ro',
    "binary": b"\xff\xfe\x00",
    "no object": b"[]",
    "messages are none": b'{"session_id": "s", "messages": {}}',
    "a message is none": b'{"session_id": "s", "messages": ["hello"]}',
    "metadata are none": b'{"session_id": "s", "messages": [], "metadata": []}',
    "too deep": b"[" * 200_000,
}


def test_a_size_of_a_cache_is_taken_and_means_nothing(folder: Path) -> None:
    first = HierarchicalSessionStore(folder, 100, 5.0, None, None, None, 0)
    second = HierarchicalSessionStore(folder, cache_maxsize=1)
    first.add_user_message("s", "x")
    second.add_user_message("s", "y")
    assert [message["content"] for message in first.get_chat_history("s")] == ["x", "y"]
    with pytest.raises(InvalidValueError):
        HierarchicalSessionStore(folder, cache_maxsize=-1)


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_a_broken_document_is_reported_and_kept(raw: bytes, folder: Path) -> None:
    folder.mkdir()
    path = folder / "s.json"
    path.write_bytes(raw)
    store = HierarchicalSessionStore(folder)
    store.add_user_message("other", "x")
    for call in (
        lambda: store.add_user_message("s", "secret words"),
        lambda: store.get_chat_history("s"),
        lambda: store.get_session("s"),
        lambda: store.clear_session("s"),
        lambda: store.delete_session("s"),
        lambda: store.session_exists("s"),
        lambda: store.set_chat_history("s", []),
        lambda: store.create_session("s"),
        lambda: store.import_session({"messages": []}, "s"),
        lambda: store.fork_session("s"),
        lambda: store.create_snapshot("s"),
        lambda: store.revert_to_message("s", 0),
    ):
        with pytest.raises(CorruptDocumentError) as caught:
            call()
        assert caught.value.kept == str(path)
        assert "secret" not in str(caught.value)
    assert path.read_bytes() == raw
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "other.json",
        "other.json.lock",
        "s.json",
        "s.json.lock",
    ]


def test_a_listing_goes_on_without_a_broken_document(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DefaultSessionStore(folder)
    store.add_user_message("other", "x")
    (folder / "s.json").write_text("{", encoding="utf-8")
    assert [session["session_id"] for session in store.list_sessions()] == ["other"]
    assert "s.json" in caplog.text


def test_a_document_without_its_fields_is_one(store: DefaultSessionStore, folder: Path) -> None:
    folder.mkdir()
    (folder / "s.json").write_text('{"messages": [{"content": "x"}], "metadata": null, "model": "m"}', encoding="utf-8")
    assert store.get_chat_history("s") == [{"role": "user", "content": "x"}]
    assert store.get_session_model("s") == "m"
    store.add_user_message("s", "y")
    store.update_session_metadata("s", cost=1)
    assert texts(store.get_chat_history("s")) == ["x", "y"]
    document = read(folder / "s.json")
    assert (document["session_id"], document["metadata"]) == ("s", {"model": "m", "cost": 1})


def test_a_folder_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    store = DefaultSessionStore(tmp_path / "file" / "sessions")
    with pytest.raises(ConnectionFailedError):
        store.add_user_message("s", "x")
    assert store.session_exists("s") is False


def test_a_failed_write_leaves_the_document(
    store: DefaultSessionStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_user_message("s", "one")
    before = (folder / "s.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BackendError):
            store.add_user_message("s", "two")
    assert (folder / "s.json").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["s.json", "s.json.lock"]


def test_what_a_killed_writer_left_is_in_nobodys_way(store: DefaultSessionStore, folder: Path) -> None:
    folder.mkdir()
    left = [folder / "s.json.tmp", folder / "s.json.0123456789abcdef.tmp"]
    for path in (*left, folder / "t.json.0123456789abcdef.tmp", folder / "mine.tmp"):
        path.write_text('{"session_id": "s", "mess', encoding="utf-8")
    for path in (*left, folder / "mine.tmp"):
        os.utime(path, (1e9, 1e9))
    assert store.session_exists("s") is False
    store.add_user_message("s", "one")
    assert texts(store.get_chat_history("s")) == ["one"]
    assert not any(path.exists() for path in left), "the first write sweeps"
    assert (folder / "mine.tmp").exists(), "it is of others"
    assert (folder / "t.json.0123456789abcdef.tmp").exists(), "it may be at work"
    os.utime(folder / "t.json.0123456789abcdef.tmp", (1e9, 1e9))
    assert [session["session_id"] for session in store.list_sessions()] == ["s"]
    assert not (folder / "t.json.0123456789abcdef.tmp").exists(), "so does a listing"


def test_a_document_behind_a_symbolic_link_is_neither_read_nor_written(
    store: DefaultSessionStore, folder: Path, tmp_path: Path
) -> None:
    store.add_user_message("s", "one")
    (folder / "s.json").rename(tmp_path / "elsewhere.json")
    (folder / "s.json").symlink_to(tmp_path / "elsewhere.json")
    before = (tmp_path / "elsewhere.json").read_bytes()
    for call in (lambda: store.get_chat_history("s"), lambda: store.add_user_message("s", "two")):
        with pytest.raises(CorruptDocumentError, match="symbolic link"):
            call()
    assert store.list_sessions() == []
    assert (tmp_path / "elsewhere.json").read_bytes() == before


# --------------------------------------------------------------------------------------------------------------- locks


@contextmanager
def praisonais_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a session file as PraisonAI does."""
    with open(f"{path}.lock", "w", encoding="utf-8") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def test_a_writer_waits_for_praisonais_lock(folder: Path) -> None:
    store = DefaultSessionStore(folder, lock_timeout=0.05)
    store.add_user_message("s", "one")
    with praisonais_lock(folder / "s.json"):
        with pytest.raises(BackendError, match="held the lock"):
            store.add_user_message("s", "two")
        with pytest.raises(BackendError, match="held the lock"):
            store.delete_session("s")
        store.add_user_message("t", "another session")
        assert texts(store.get_chat_history("s")) == ["one"]  # reading needs no lock
    store.add_user_message("s", "two")
    assert texts(store.get_chat_history("s")) == ["one", "two"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_can_write_while_a_thread_of_its_parent_holds_the_lock(folder: Path) -> None:
    store = DefaultSessionStore(folder, lock_timeout=30)
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        def change(document: dict) -> None:
            document["messages"].append({"role": "user", "content": "of the parent"})
            holding.set()
            assert done.wait(30)

        store._edit("s", change)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that we fork with threads is the point
        child = os.fork()
    if not child:
        signal.alarm(60)  # a deadlock ends the child, and the test fails
        code = 1
        try:
            store.add_user_message("other", "of the child")
            store.add_user_message("s", "of the child")
            code = 0
        finally:
            os._exit(code)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert texts(store.get_chat_history("s")) == ["of the parent", "of the child"]


# ----------------------------------------------------------------------------------------------------------- retention


def fill(store: DefaultSessionStore, count: int) -> list[str]:
    for number in range(count):
        store.add_user_message("s", str(number))
    return [str(number) for number in range(count)]


def test_older_messages_are_archived_unless_told_otherwise(folder: Path) -> None:
    sent = fill(DefaultSessionStore(folder), 105)
    document = read(folder / "s.json")
    assert texts(document["messages"]) == sent[5:]
    assert texts(document["archived_messages"]) == sent[:5]


def test_a_limit_of_ones_own_truncates(folder: Path) -> None:
    sent = fill(DefaultSessionStore(folder, max_messages=3), 5)
    document = read(folder / "s.json")
    assert texts(document["messages"]) == sent[2:]
    assert document["archived_messages"] == []


def test_everything_can_be_kept(folder: Path) -> None:
    sent = fill(DefaultSessionStore(folder, max_messages=3, retention="keep_all"), 7)
    assert texts(DefaultSessionStore(folder).get_chat_history("s")) == sent


def test_the_window_can_differ_from_the_limit(folder: Path) -> None:
    sent = fill(DefaultSessionStore(folder, max_messages=9, retention="compact", active_window=2), 5)
    document = read(folder / "s.json")
    assert (texts(document["messages"]), texts(document["archived_messages"])) == (sent[3:], sent[:3])


def test_trimming_splits_no_tool_exchange(folder: Path) -> None:
    store = DefaultSessionStore(folder, max_messages=3)
    sent = []

    def add(role: str, content: str, **tools) -> None:
        sent.append(content)
        store.add_message("s", role, content, **tools)

    add("user", "question")
    add("assistant", "calls", tool_calls=[{"id": f"c{number}"} for number in range(5)])
    for number in range(5):
        add("tool", f"result {number}", tool_call_id=f"c{number}")
        kept = texts(store.get_chat_history("s"))
        # The exchange is longer than the limit, and all of it is still needed.
        assert kept == sent[max(0, min(1, len(sent) - 3)) :]
    add("assistant", "answer")
    add("user", "thanks")
    assert texts(store.get_chat_history("s")) == sent[1:]
    add("assistant", "bye")
    assert texts(store.get_chat_history("s")) == ["answer", "thanks", "bye"]


def test_trimming_moves_the_compaction_along(folder: Path) -> None:
    store = DefaultSessionStore(folder, max_messages=4)
    fill(store, 3)
    store.append_compaction_checkpoint("s", "the first three")
    for text in ("3", "4"):
        store.add_user_message("s", text)
    assert texts(store.get_working_history("s")) == ["the first three", "3", "4"]
    assert read(folder / "s.json")["last_compaction"]["message_index"] == 2


def test_the_summary_that_praisonai_put_first_stays_first(folder: Path) -> None:
    store = DefaultSessionStore(folder, active_window=3)
    summary = {"role": "system", "content": "[Session Summary]", "metadata": {"compaction": True}}
    store.set_chat_history("s", [summary, {"role": "user", "content": "0"}, {"role": "user", "content": "1"}])
    for text in ("2", "3"):
        store.add_user_message("s", text)
    document = read(folder / "s.json")
    assert texts(document["messages"]) == ["[Session Summary]", "1", "2", "3"]
    assert texts(document["archived_messages"]) == ["0"]


def test_going_back_and_importing_trim_nothing(folder: Path) -> None:
    large = HierarchicalSessionStore(folder, max_messages=1_000)
    sent = fill(large, 20)
    small = HierarchicalSessionStore(folder, max_messages=5)
    snapshot = small.create_snapshot("s")
    copy = small.import_session(small.export_session("s"))
    small.clear_session("s")
    assert small.revert_to_snapshot("s", snapshot) is True
    assert texts(small.get_chat_history("s")) == texts(small.get_chat_history(copy)) == sent


# ----------------------------------------------------------------------------------------------------------- snapshots


def test_old_snapshots_that_note_a_position_hold_as_long_as_it_does(folder: Path) -> None:
    store = HierarchicalSessionStore(folder)
    fill(store, 4)
    path = folder / "s.json"
    document = read(path)
    document["snapshots"] = [{"id": "old", "session_id": "s", "message_index": 1, "created_at": 1.0}]
    path.write_text(json.dumps(document), encoding="utf-8")
    store.add_user_message("s", "4")
    assert store.revert_to_snapshot("s", "old") is True
    assert texts(store.get_chat_history("s")) == ["0", "1"]
    store.set_chat_history("s", [{"role": "user", "content": text} for text in ("other", "words", "now")])
    assert store.revert_to_snapshot("s", "old") is False
    assert texts(store.get_chat_history("s")) == ["other", "words", "now"]


def test_snapshots_whose_messages_are_missing_are_refused(folder: Path) -> None:
    shutil.copytree(FIXTURES / "theirs", folder)
    store = HierarchicalSessionStore(folder)
    first, second = made("theirs")["made"]["snapshots"]
    document = read(folder / "root.json")
    last = document["snapshots"][1]["transcript_refs"]["messages"]["items"][-1]
    del document["snapshot_storage"]["records"][last]
    (folder / "root.json").write_text(json.dumps(document), encoding="utf-8")
    before = store.get_chat_history("root")
    assert store.revert_to_snapshot("root", second) is False
    assert store.get_chat_history("root") == before
    assert store.revert_to_snapshot("root", first) is True


def test_what_praisonai_exports_is_imported_and_the_other_way_round(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "theirs", folder)
    ours = HierarchicalSessionStore(tmp_path / "ours")
    exported = HierarchicalSessionStore(folder).export_session("root")
    assert "snapshot_storage" not in exported
    copy = ours.import_session(exported)
    assert ours.get_chat_history(copy) == HierarchicalSessionStore(folder).get_chat_history("root")
    for expected, snapshot in zip((3, 4), ours.get_snapshots(copy), strict=True):
        assert ours.revert_to_snapshot(copy, snapshot.id) is True
        assert len(ours.get_chat_history(copy)) == expected


def test_metadata_come_back_whatever_they_are(store: DefaultSessionStore) -> None:
    for number, value in enumerate(HOSTILE_OBJECTS):
        store.merge_session_metadata_map("s", f"key {number}", value)
    found = store.get_session("s").metadata
    assert all(identical(found[f"key {number}"], value) for number, value in enumerate(HOSTILE_OBJECTS))
    with pytest.raises(PersistenceError):
        store.update_session_metadata("s", bad=object())


@pytest.mark.parametrize("retention", ["compact", "truncate"])
def test_without_a_window_all_messages_stay_at_hand(tmp_path: Path, retention: str) -> None:
    store = DefaultSessionStore(tmp_path, max_messages=2, retention=retention, active_window=0)
    for number in range(5):
        store.add_message("s", "user", str(number))
    session = store.get_session("s")
    assert ([message.content for message in session.messages], session.archived_messages) == (list("01234"), [])
