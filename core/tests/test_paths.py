"""Paths as users write them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from praisonai_persistence import (
    ConfigurationError,
    ConnectionFailedError,
    UnknownBackendError,
    db,
    open_conversation_store,
)
from praisonai_persistence._paths import local_path, make_private
from praisonai_persistence.drivers.folders import Entries, make_folder, take_folder


def test_text_bytes_and_paths_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    for given in ("a/../b.db", b"b.db", Path("b.db")):
        assert local_path(given) == str(tmp_path / "b.db")
    for given in ("~/b.db", Path("~/b.db")):
        assert local_path(given) == str(tmp_path / "home" / "b.db")
    for given in ("./sqlite:a.db", "agent:1.db", ":memory"):
        assert local_path(given) == str(tmp_path / given)
    assert local_path("~not-a-home") == str(tmp_path / "~not-a-home")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "folder is empty: give"),
        (b"", "folder is empty: give"),
        ("a\0b", "folder holds NUL"),
        ("\ud800", "folder holds a character that"),
        (5, "folder must be a path: text or an os.PathLike, not int"),
        (None, "folder must be a path: text or an os.PathLike, not NoneType"),
        ("sqlite:agent.db", "folder is the path of a file or folder, and begins as a URL does: leave sqlite: out"),
        ("json://agent", "or write ./json: for a file"),
        ("s3://s3cret@agent", "leave s3: out"),
        ("~nobody-has-this-name/a", "folder begins with '~nobody-has-this-name', and that home directory is not known"),
    ],
)
def test_what_is_no_path_is_refused_by_the_name_of_the_option(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        local_path(value, "folder")


@pytest.mark.skipif(os.name != "posix", reason="the current directory cannot be removed here")
def test_a_relative_path_needs_a_current_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="path is relative, and there is no current directory"):
        local_path("a.db")


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_new_folders_are_their_owners_alone_and_old_ones_stay(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    old.chmod(0o755)
    before = os.umask(0)
    try:
        make_private(str(old / "a" / "b"))
        make_private(str(old / "a" / "b"))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old, old / "a", old / "a" / "b")] == [0o755, 0o700, 0o700]
    (old / "file").touch()
    for path in (old / "file", old / "file" / "a"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            make_private(str(path))


def test_a_file_url_says_what_to_write() -> None:
    with pytest.raises(UnknownBackendError, match="write sqlite:////folder/name"):
        open_conversation_store("file:///agent.db")


def test_an_adapter_takes_the_path_of_a_sqlite_file() -> None:
    assert repr(db(database_url=Path("agent.db"))) == "Db(database_url='agent.db')"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the folder of the user's data is found otherwise")
def test_no_place_for_the_default_database_names_the_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ConfigurationError, match="give database_url, or set PRAISONAI_HOME"):
        db().on_agent_start(agent_name="a", session_id="s")


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_what_an_engine_makes_in_a_folder_that_was_there_is_its_owners_alone(tmp_path: Path) -> None:
    def rights(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    tmp_path.chmod(0o755)
    old, new, theirs, link = (tmp_path / name for name in ("data-old", "data-new", "theirs", "data-link"))
    before = os.umask(0)
    try:
        old.touch()
        entries = Entries(str(tmp_path), ["data-*", "folder"])
        theirs.touch()
        link.symlink_to(theirs)
        new.touch()
        (tmp_path / "folder").mkdir()
        entries.make_private()
    finally:
        os.umask(before)
    assert [rights(path) for path in (new, tmp_path / "folder")] == [0o600, 0o700]
    assert [rights(path) for path in (tmp_path, old, theirs)] == [0o755, 0o666, 0o666]  # nobody has asked for that
    tmp_path.chmod(0o700)  # nobody else gets into it
    (tmp_path / "data-more").touch(0o666)
    os.chmod(tmp_path / "data-more", 0o666)
    entries.make_private()
    assert rights(tmp_path / "data-more") == 0o666
    Entries(str(tmp_path / "gone"), ["*"]).make_private()


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_what_the_engine_would_make_is_made_before_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "kept").mkdir(0o755)
    before = os.umask(0)
    try:
        for _ in range(2):
            take_folder(str(tmp_path), "lock", "start a server", folders=["new", "kept"], files=["file"]).release()
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert found == {"lock": 0o600, "new": 0o700, "kept": 0o755, "file": 0o600}
    tmp_path.joinpath("file").unlink()
    tmp_path.joinpath("lock").unlink()
    with pytest.raises(ConnectionFailedError, match="cannot make .*deep"):
        make_folder(str(tmp_path), files=["none/deep"])


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_a_link_in_a_folder_that_others_may_write_into_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_folder(str(folder))
    (folder / "LOCK").symlink_to(tmp_path / "elsewhere")
    make_folder(str(folder))  # its owner alone can have placed it
    for rights in (0o770, 0o707):
        folder.chmod(rights)
        with pytest.raises(ConnectionFailedError, match="'LOCK' in it is a symbolic link"):
            make_folder(str(folder))
        make_folder(str(folder), shared=True)
    (folder / "LOCK").unlink()
    make_folder(str(folder))
