"""Damaged files of a folder: what the engine removes is kept, and told."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import struct
import time

import pytest

from praisonai_persistence.errors import ConnectionFailedError, StoreClosedError
from praisonai_persistence.integrity import Integrity
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence_surrealdb import (
    AsyncSurrealDBStateStore,
    SurrealDBConversationStore,
    SurrealDBStateStore,
    _logs,
)

LOG = "00000000000000000000.clog"
MESSAGES = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of messages, of values, and of what was deleted of both."""
    path = tmp_path_factory.mktemp("made") / "folder"
    with SurrealDBConversationStore(path=path) as store, SurrealDBStateStore(path=path) as state:
        store.create_session(ConversationSession("s"))
        for number in range(MESSAGES):
            store.add_message("s", ConversationMessage(id=str(number), role="user", content=f"text {number}"))
            state.set(f"key:{number}", number)
        store.delete_messages("s", ["0"])
        state.delete("key:0")
    return path


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "folder")
    return tmp_path / "folder"


def change(path, place, data):
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(data)


def count(folder):
    with SurrealDBConversationStore(path=folder) as store:
        return store.count_messages("s")


def kept(folder):
    return [name for name in os.listdir(folder) if name.startswith("damaged.")]


def test_what_is_intact_is_found_intact(folder):
    size = (folder / "clog" / LOG).stat().st_size
    assert size > 10_000
    assert _logs.check_integrity(str(folder), 30.0) == Integrity()
    assert count(folder) == MESSAGES - 1
    assert sorted(os.listdir(folder)) == ["clog", "manifest", "praisonai.lock"]
    assert (folder / "clog" / LOG).stat().st_size == size


@pytest.mark.parametrize("removed", [1, 20, 100, 300])
def test_a_torn_end_is_no_damage(folder, removed):
    """A process that dies in the middle of a write leaves one, and the engine is right to remove it."""
    log = folder / "clog" / LOG
    os.truncate(log, log.stat().st_size - removed)
    assert _logs.check_integrity(str(folder), 30.0) == Integrity()
    assert count(folder) >= MESSAGES - 1
    assert kept(folder) == []
    log.write_bytes(log.read_bytes() + bytes(5_000))
    assert count(folder) >= MESSAGES - 1
    assert kept(folder) == []


@pytest.mark.parametrize(
    ("place", "data"),
    [
        (0.5, b"?"),
        (0.5, bytes(4096)),
        (0.9, b"????"),
        (180, b"?"),
        (2, b"Z"),
        (174 + 24, b"\xff\xff\xff\xff"),
    ],
    ids=["a byte", "a page", "late", "the first record", "the length of the header", "a length"],
)
def test_what_the_engine_removes_behind_a_damage_is_kept_and_told(folder, caplog, place, data):
    log = folder / "clog" / LOG
    whole = log.read_bytes()
    change(log, place if isinstance(place, int) else int(len(whole) * place), data)
    before = log.read_bytes()
    assert before != whole
    (problem,) = _logs.check_integrity(str(folder), 30.0).problems
    assert f"clog/{LOG} is damaged" in problem
    with caplog.at_level(logging.WARNING, "praisonai_persistence_surrealdb"):
        lost = MESSAGES - 1 - count(folder)
    assert lost > 0
    (name,) = kept(folder)
    assert (folder / name).read_bytes() == before
    assert name in caplog.text
    assert "text 1" not in caplog.text
    with SurrealDBConversationStore(path=folder) as store:
        found = store.check_integrity()
    assert len(found.problems) == 1
    assert found.problems[0].startswith(name)
    os.remove(folder / name)
    assert _logs.check_integrity(str(folder), 30.0) == Integrity()
    log.write_bytes(whole)  # a backup, or the file without the damage, in its place
    assert count(folder) == MESSAGES - 1
    assert kept(folder) == []


def test_whoever_dies_while_the_folder_is_opened_loses_nothing_of_it(folder):
    log = folder / "clog" / LOG
    change(log, 2_000, b"?")
    before = log.read_bytes()
    _logs.hold(str(folder))
    os.remove(log)  # as the engine does, which writes another one
    count(folder)
    names = kept(folder)
    assert [(folder / name).read_bytes() for name in names] == [before]
    _logs.hold(str(folder))
    assert len(os.listdir(folder)) == 5
    count(folder)
    assert len(os.listdir(folder)) == 4


def test_a_folder_that_cannot_be_opened_keeps_no_second_name(folder):
    log = folder / "clog" / LOG
    change(log, log.read_bytes().index(b"magic"), b"?")  # in the header, whose fields are in any order
    with pytest.raises(ConnectionFailedError):
        count(folder)
    assert sorted(os.listdir(folder)) == ["clog", "manifest", "praisonai.lock"]


def test_looking_ends(folder, monkeypatch):
    monkeypatch.setattr(_logs, "_AT_ONCE", 1)
    assert _logs.check_integrity(str(folder), 0.0) == Integrity(complete=False)
    change(folder / "clog" / LOG, 174, b"?")
    assert _logs.check_integrity(str(folder), 0.0) == Integrity(complete=False)


def test_stores_say_what_is_damaged_where_there_are_files(folder, tmp_path):
    async def later():
        async with AsyncSurrealDBStateStore(path=folder) as store:
            return await store.check_integrity(5.0)

    assert asyncio.run(later()) == Integrity()
    with SurrealDBStateStore(path=tmp_path / "nothing") as store:
        assert store.check_integrity() == Integrity()
    assert not (tmp_path / "nothing").exists()
    for url in ("mem://", "ws://localhost:8000"):
        assert not hasattr(SurrealDBStateStore(url), "check_integrity")


def test_what_cannot_be_looked_through_is_an_error_of_the_place(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")

    async def later():
        async with AsyncSurrealDBStateStore(path=tmp_path / "file") as store:
            await store.check_integrity()

    with pytest.raises(ConnectionFailedError, match="cannot be looked through"):
        asyncio.run(later())
    store = SurrealDBStateStore(path=folder)

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(_logs.os, "listdir", refuse)
    with pytest.raises(ConnectionFailedError, match="Permission denied"):
        store.check_integrity()


def test_a_closed_store_looks_through_nothing(folder):
    store = SurrealDBStateStore(path=folder)
    assert store.check_integrity() == Integrity()
    store.close()
    with pytest.raises(StoreClosedError):
        store.check_integrity()

    async def later():
        other = AsyncSurrealDBStateStore(path=folder)
        await other.close()
        await other.check_integrity()

    with pytest.raises(StoreClosedError):
        asyncio.run(later())


def test_a_log_that_cannot_be_opened_is_not_called_damaged(folder, caplog, monkeypatch):
    log = folder / "clog" / LOG
    change(log, 2_000, b"?")
    _logs.hold(str(folder))
    os.remove(log)  # as the engine does, which writes another one

    def refuse(*_):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(_logs, "open", refuse, raising=False)
        _logs.settle(str(folder))
        log.write_bytes(b"")
        assert _logs.check_integrity(str(folder), 30.0).problems == (
            f"clog/{LOG} could not be read: Too many open files",
        )
    assert kept(folder) == []
    assert caplog.text == ""
    _logs.settle(str(folder))  # the next who opens the folder
    assert len(kept(folder)) == 1


def test_bytes_that_take_long_to_look_through_end_with_the_time(folder, tmp_path, monkeypatch):
    size = 1 << 19
    record = struct.Struct(">IHQQHII")
    crafted = b"".join(
        record.pack(0, 1, 1, 0, 0, 0, size - place - record.size) for place in range(0, size, record.size)
    )
    path = tmp_path / "crafted"
    path.write_bytes(bytes(4) + crafted)
    begun = time.monotonic()
    assert not _logs._look(str(path), begun + 0.1).complete
    assert time.monotonic() - begun < 5
    log = folder / "clog" / LOG
    change(log, log.stat().st_size - 20, b"?")  # a torn end, behind which is nothing
    _logs.hold(str(folder))
    os.remove(log)
    monkeypatch.setattr(_logs, "_LONGEST", -1.0)
    _logs.settle(str(folder))
    assert len(kept(folder)) == 1  # for what stands behind is not known
