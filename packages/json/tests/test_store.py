"""Options, corrupt and foreign files, newer formats: what the store makes of them."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidIdentifierError,
    SchemaError,
    SessionNotFoundError,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence_json import AsyncJSONConversationStore, CorruptDocumentError, JSONConversationStore
from praisonai_persistence_json._files import file_stem

Call = Callable[[JSONConversationStore], Any]


@pytest.fixture
def store(tmp_path: Path) -> JSONConversationStore:
    store = JSONConversationStore(path=tmp_path)
    for session_id in ("s", "t"):
        store.create_session(ConversationSession(session_id, user_id="u"))
        store.add_message(session_id, ConversationMessage("m", content="some word"))
    return store


def document(tmp_path: Path, session_id: str = "s") -> Path:
    return tmp_path / "praison_" / file_stem(session_id) / "session.json"


# ------------------------------------------------------------------------------------------------------------- options


def place(*arguments: Any, **options: Any) -> str:
    return str(JSONConversationStore(*arguments, **options)._steps._directory.path)  # type: ignore[attr-defined]


@pytest.mark.skipif(os.name == "nt", reason="paths as on Unix")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("json:///var/data", "{cwd}/var/data"),
        ("json:////var/data", "/var/data"),
        ("json:////var/my%20data", "/var/my data"),
        ("json:////var/a#b", "/var/a#b"),
        ("json://data", "{cwd}/data"),
        ("json://Data/Sub", "{cwd}/Data/Sub"),
        ("json://./data", "{cwd}/data"),
        ("json://../data", "{parent}/data"),
        ("JSON://data", "{cwd}/data"),
        ("async_json://data", "{cwd}/data"),
    ],
)
def test_urls(url: str, expected: str) -> None:
    expected = expected.format(cwd=os.getcwd(), parent=os.path.dirname(os.getcwd()))
    assert place(url) == f"{expected}/praison_"


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place(path="data") == place(path=Path("data")) == place("json://data")
    store = JSONConversationStore(path="data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.create_session(ConversationSession("s"))
    assert (tmp_path / "data").is_dir(), "a relative path means the directory of the constructor's day"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "json:///x", "path": "/x"},
        {"url": ""},
        {"url": "x"},
        {"url": "json://"},
        {"url": "sqlite:///x"},
        {"url": "json://user:secret@host/x"},
        {"url": "json:///x?lock_timeout=5"},
        {"url": "json:///x%00y"},
        {"path": ""},
        {"path": "a\0b"},
        {"path": 5},
        {"path": "x", "lock_timeout": 0},
        {"path": "x", "lock_timeout": -1},
        {"path": "x", "lock_timeout": float("nan")},
        {"path": "x", "lock_timeout": float("inf")},
        {"path": "x", "lock_timeout": "5"},
        {"path": "x", "lock_timeout": True},
        {"path": "x", "lock_timeout": None},
        {"path": "x", "sync": 1},
        {"path": "x", "sync": None},
    ],
)
@pytest.mark.parametrize("kind", [JSONConversationStore, AsyncJSONConversationStore])
def test_options_that_cannot_be_used(kind: type[Any], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(**options)
    assert "secret" not in str(caught.value)


def test_prefixes_have_directories_of_their_own(tmp_path: Path) -> None:
    prefixes = ["", "a_", "con", "no", "no_prefix", "praison_"]
    for prefix in prefixes:
        JSONConversationStore(path=tmp_path, table_prefix=prefix).connect()
    folders = sorted(item.name for item in tmp_path.iterdir())
    assert folders == sorted(["no-prefix", "a_", "%63on", "no", "no_prefix", "praison_"])
    for prefix in ("../x", "a-b", "1", "A_", "x" * 32, None):
        with pytest.raises(InvalidIdentifierError):
            JSONConversationStore(path=tmp_path, table_prefix=prefix)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------------- directories


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConnectionFailedError, match="file"):
            JSONConversationStore(path=path).connect()
    assert (tmp_path / "file").read_text() == "mine"


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JSONConversationStore(path=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(ConnectionFailedError, match="permission"):
            store.get_session("s")
    assert store.get_session("s") is None, "the same store works when it may"


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="permissions as on Unix")
def test_no_permission_for_real(tmp_path: Path) -> None:
    code = """
import os, sys
from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence_json import JSONConversationStore
if os.geteuid() == 0:
    os.setuid(65534)  # the superuser may do everything
try:
    JSONConversationStore(path=sys.argv[1]).connect()
except ConnectionFailedError as error:
    print(error)
"""
    (tmp_path / "locked").mkdir(mode=0o500)
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "locked")], capture_output=True, text=True)
    assert run.stderr == ""
    assert "ermission" in run.stdout


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_file_system_that_became_read_only(
    store: JSONConversationStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ConnectionFailedError) as caught:
        store.add_message("s", ConversationMessage("n"))
    assert isinstance(caught.value.__cause__, OSError)


def test_an_error_of_the_disk(store: JSONConversationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(BackendError) as caught:
        store.list_sessions()
    assert isinstance(caught.value.__cause__, OSError)


# ------------------------------------------------------------------------------------------------------------- corrupt

READERS: dict[str, Call] = {
    "get_session": lambda store: store.get_session("s"),
    "get_messages": lambda store: store.get_messages("s"),
    "get_messages with a limit": lambda store: store.get_messages("s", limit=1),
    "count_messages": lambda store: store.count_messages("s"),
    "fork_session": lambda store: store.fork_session("s", new_session_id="new"),
}
WRITERS: dict[str, Call] = {
    "create_session": lambda store: store.create_session(ConversationSession("s")),
    "update_session": lambda store: store.update_session(ConversationSession("s")),
    "upsert_session": lambda store: store.upsert_session(ConversationSession("s")),
    "delete_session": lambda store: store.delete_session("s"),
    "add_message": lambda store: store.add_message("s", ConversationMessage("n")),
    "delete_messages": lambda store: store.delete_messages("s"),
    "fork_session to it": lambda store: store.fork_session("t", new_session_id="s"),
}
CALLS = READERS | WRITERS


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_corrupt_document_is_kept_and_reported(
    tmp_path: Path, store: JSONConversationStore, caplog: pytest.LogCaptureFixture, call: Call
) -> None:
    raw = document(tmp_path).read_bytes()[:-9] + b"secret"
    document(tmp_path).write_bytes(raw)
    with caplog.at_level(logging.WARNING), pytest.raises(CorruptDocumentError) as caught:
        call(store)
    kept = document(tmp_path).with_name("session.corrupt-1.json")
    assert caught.value.kept == str(kept)
    assert str(kept) in str(caught.value)
    assert kept.read_bytes() == raw, "nothing was written over it"
    assert [record.name for record in caplog.records] == ["praisonai_persistence_json"]
    assert str(kept) in caplog.text
    assert "secret" not in str(caught.value) + caplog.text
    # From here on there is no such session.
    assert store.get_session("s") is None
    with pytest.raises(SessionNotFoundError):
        store.add_message("s", ConversationMessage("n"))
    store.create_session(ConversationSession("s", name="new"))
    document(tmp_path).write_bytes(b"")
    with pytest.raises(CorruptDocumentError, match=r"session\.corrupt-2\.json"):
        call(store)
    store.create_session(ConversationSession("s", name="new"))
    store.delete_session("s")
    assert kept.read_bytes() == raw
    assert sorted(item.name for item in kept.parent.iterdir()) == ["session.corrupt-1.json", "session.corrupt-2.json"]
    assert [session.session_id for session in store.list_sessions() if session.session_id == "s"] == []


def test_one_corrupt_document_does_not_hide_the_others(
    tmp_path: Path, store: JSONConversationStore, caplog: pytest.LogCaptureFixture
) -> None:
    for listing in (store.list_sessions, lambda: store.search_messages("word")):
        store.upsert_session(ConversationSession("s", user_id="u"))
        document(tmp_path).write_bytes(b"{")
        caplog.clear()
        assert [found.session_id for found in listing()] == ["t"]
        assert len(caplog.records) == 1
        assert [found.session_id for found in listing()] == ["t"]
        assert len(caplog.records) == 1, "it is set aside once"
    assert len(list(document(tmp_path).parent.iterdir())) == 2


def test_a_document_of_another_session_is_corrupt(tmp_path: Path, store: JSONConversationStore) -> None:
    copy = document(tmp_path, "copy of s")
    copy.parent.mkdir()
    copy.write_bytes(document(tmp_path).read_bytes())
    assert [session.session_id for session in store.list_sessions()] == ["t", "s"]
    assert not copy.exists()
    assert copy.with_name("session.corrupt-1.json").exists()
    hashed = document(tmp_path, "x" * 200)
    hashed.parent.mkdir()
    hashed.write_bytes(document(tmp_path).read_bytes())
    with pytest.raises(CorruptDocumentError, match="another session"):
        store.get_session("x" * 200)


def test_a_document_that_was_set_aside_meanwhile(tmp_path: Path, store: JSONConversationStore) -> None:
    """Another process meets the corrupt document first; this one sees what is there when it has the lock."""
    steps: Any = store._steps
    document(tmp_path).write_bytes(b"{")
    change = steps._directory.change

    def changed(stem: str, *arguments: Any) -> Any:
        document(tmp_path).unlink(missing_ok=True)
        return change(stem, *arguments)

    steps._directory.change = changed
    assert store.get_messages("s") == []


def test_what_cannot_be_read_here_is_left_alone(tmp_path: Path, store: JSONConversationStore) -> None:
    raw = document(tmp_path).read_bytes()
    for nested in (b"1" * 5000, b"[" * 100_000 + b"]" * 100_000):
        changed = raw.replace(b'"state": null', b'"state": {"n": ' + nested + b"}")
        assert changed != raw
        document(tmp_path).write_bytes(changed)
        for call in CALLS.values():
            with pytest.raises(BackendError) as caught:
                call(store)
            assert not isinstance(caught.value, CorruptDocumentError)
        assert document(tmp_path).read_bytes() == changed


def test_a_newer_format_is_left_alone(tmp_path: Path, store: JSONConversationStore) -> None:
    raw = document(tmp_path).read_bytes()
    for newer in (raw.replace(b'"format": 1', b'"format": 2'), b'{"format": 3, "else": "new"}'):
        document(tmp_path).write_bytes(newer)
        for call in (*CALLS.values(), lambda store: store.list_sessions(), lambda store: store.search_messages("word")):
            with pytest.raises(SchemaError, match="praisonai-persistence-json"):
                call(store)
        assert document(tmp_path).read_bytes() == newer
        assert [item.name for item in document(tmp_path).parent.iterdir()] == ["session.json"]


def test_a_document_behind_a_symbolic_link_is_not_read(tmp_path: Path, store: JSONConversationStore) -> None:
    kept = tmp_path / "elsewhere.json"
    for call in CALLS.values():
        if not document(tmp_path).exists():
            store.upsert_session(ConversationSession("s"))
        document(tmp_path).rename(kept)
        document(tmp_path).symlink_to(kept)
        before = kept.read_bytes()
        with pytest.raises(CorruptDocumentError, match="symbolic link"):
            call(store)
        assert kept.read_bytes() == before
        assert store.get_session("s") is None


# -------------------------------------------------------------------------------------------------------- other files


def test_files_of_others_are_left_alone(tmp_path: Path, store: JSONConversationStore) -> None:
    folder = tmp_path / "praison_"
    (folder / "README.txt").write_text("mine")
    (folder / "notes").write_text("mine")
    (folder / "My Notes").mkdir()
    (folder / "My Notes" / "session.json").write_text("mine")
    (folder / "s" / "session.json~").write_text("mine")
    assert len(store.list_sessions()) == 2
    assert (folder / "My Notes" / "session.json").read_text() == "mine"
    assert (folder / "notes").read_text() == "mine"
    assert store.get_session("notes") is None
    with pytest.raises(ConnectionFailedError):
        store.create_session(ConversationSession("notes"))


def test_a_document_can_be_edited_by_hand(tmp_path: Path, store: JSONConversationStore) -> None:
    store.add_message("s", ConversationMessage("n", content="two"))
    item = json.loads(document(tmp_path).read_bytes())
    item["name"], item["messages"][0]["content"] = "by hand", "corrected"
    document(tmp_path).write_text(json.dumps(item, indent=4), encoding="utf-8")
    session = store.get_session("s")
    assert session is not None
    assert session.name == "by hand"
    assert [message.content for message in store.get_messages("s")] == ["corrected", "two"]
    assert [message.content for message in store.get_messages("s", limit=1)] == ["two"]
    assert store.add_message("s", ConversationMessage("o")).seq == 3
    assert document(tmp_path).read_text(encoding="utf-8").count("\n") == 19
