"""Faults of the file, or the folder, of an embedded engine, and of the disk that it stands on."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lab import Fault, Lab

__all__ = ["DiskFull", "ReadOnly", "Removed", "Replaced", "small_disk"]


class DiskFull(Fault):
    """No space is left, for as long as it takes every process to be told."""

    name = "disk full"
    needs = "disk"

    def strike(self, lab: Lab) -> int:
        assert lab.folder is not None
        _make_room(lab.folder.parent)
        ballast = lab.folder.parent / "ballast"
        with ballast.open("wb") as file:
            self._fill(file, lab.folder)
            try:
                lab.crew.wait_for_errors()
            finally:
                ballast.unlink()
        return 1

    @staticmethod
    def _fill(file: IO[bytes], folder: Path) -> None:
        """Take all that is free, in pieces, because the writers take some of it meanwhile."""
        size, piece = 0, 1 << 24
        while True:
            state = os.statvfs(folder)
            piece = min(piece, state.f_bavail * state.f_frsize)
            if not piece:
                return
            try:
                os.posix_fallocate(file.fileno(), size, piece)
                size += piece
            except OSError:  # somebody else was faster
                piece = max(piece // 2, state.f_frsize)


class ReadOnly(Fault):
    """The file system may not be written when the processes start, until every one was told so."""

    name = "files read-only"
    needs = "disk"

    def strike(self, lab: Lab) -> int:
        assert lab.folder is not None
        _make_room(lab.folder.parent)
        lab.crew.kill()
        lab.crew.check()
        _remount(lab.folder.parent, "ro")
        try:
            for process in lab.crew.processes:
                process.start()
            lab.crew.wait_for_errors()
        finally:
            _remount(lab.folder.parent, "rw")
        return 1


def _make_room(place: Path) -> None:
    """Let a small file system grow that the data alone have half filled: it is to be full when the fault strikes."""
    state = os.statvfs(place)
    used = state.f_blocks - state.f_bfree
    if used > state.f_blocks // 2:
        _remount(place, f"size={(used + state.f_blocks) * state.f_frsize}")


def _remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True, capture_output=True)


class Removed(Fault):
    """The file with its journals, or the folder, is removed while everybody writes."""

    name = "file removed"
    needs = "path"
    decides_what_stands = True

    def strike(self, lab: Lab) -> int:
        assert lab.folder is not None
        parts = _parts(lab.folder)
        random.shuffle(parts)  # a journal may go before its file, or after it
        lab.gone_since = time.monotonic()
        for path in parts:
            _away(path)
        lab.stands_since = time.monotonic()
        return 1


class Replaced(Fault):
    """A backup is put in the place of the file, or of the folder, while everybody writes."""

    name = "file replaced"
    needs = "path"
    decides_what_stands = True

    def prepare(self, lab: Lab) -> None:
        """Let everybody write, and make a backup while nobody has the store open."""
        assert lab.folder is not None
        lab.crew.wait_for_answers()
        lab.crew.kill()
        lab.crew.check()
        lab.backed_up = time.monotonic()
        lab.settle()
        self._backup = lab.folder.parent / "backup"
        self._backup.mkdir()
        for path in _parts(lab.folder):
            _copy(path, self._backup / path.name)
        lab.crew.start()

    def strike(self, lab: Lab) -> int:
        assert lab.folder is not None
        place = lab.folder
        new = place.parent / "new"
        _copy(self._backup / place.name, new)
        lab.gone_since = time.monotonic()
        if new.is_dir():
            while True:
                try:
                    new.rename(place)
                    break
                except OSError:  # a folder is there, or is there again
                    _away(place)
        else:
            new.replace(place)
        lab.stands_since = time.monotonic()
        return 1


def _parts(place: Path) -> list[Path]:
    """Return the file and its journals, or the folder."""
    return [
        path
        for path in place.parent.iterdir()
        if path.name == place.name or path.name.startswith((f"{place.name}-", f"{place.name}."))
    ]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _away(path: Path) -> None:
    """Remove a file, or a folder in one step: who writes into it goes on doing so, where nobody will look."""
    with contextlib.suppress(FileNotFoundError):  # a journal may be gone by itself
        if path.is_dir():
            path.rename(path.parent / f"away-{time.monotonic_ns()}")
        else:
            path.unlink()


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    """Mount a small file system at a folder; needs the rights of root, and raises ``OSError`` without them."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise OSError(f"no file system can be mounted here: {getattr(error, 'stderr', error)}") from error
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)
