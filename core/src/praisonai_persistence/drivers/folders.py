"""Folders of embedded engines."""

from __future__ import annotations

import os
import stat

from praisonai_persistence._paths import make_private
from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.locks import FileLock, LockTimeoutError

__all__ = ["make_folder", "take_folder"]


def make_folder(path: str, *, again: bool = False, shared: bool = False) -> None:
    """Make a folder, for its owner alone, unless it is there; see that it can be used.

    Args:
        path: the folder.
        again: whether it was there before, so that it must be there now: a volume that is not mounted is no database
            without collections.
        shared: whether others may have their own files in it. If not, and others may write into it, there may be no
            symbolic link in it: engines open files by names that everybody knows, and follow links.

    Raises:
        ConnectionFailedError: it cannot.
    """
    if again and not os.path.isdir(path):
        raise ConnectionFailedError(f"{path} is no folder, or not there")
    try:
        make_private(path)
    except OSError as error:
        reason = "a file is there; path must name a folder" if os.path.isfile(path) else error.strerror
        raise ConnectionFailedError(f"cannot make the folder {path}: {reason}") from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConnectionFailedError(
            f"no permission to read and write in {path} (or it is mounted read-only): give this user the rights, or "
            f"another path"
        )
    if not shared and (link := _placed_link(path)):
        raise ConnectionFailedError(
            f"others may write into {path}, and {link!r} in it is a symbolic link, which one of them may have placed: "
            f"remove it, or take the rights from the others (chmod go-w)"
        )


def _placed_link(path: str) -> str:
    """Return the name of a symbolic link in a folder that others may write into; nothing: there is none."""
    try:
        if os.name != "posix" or not os.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return ""
        with os.scandir(path) as entries:
            return next((entry.name for entry in entries if entry.is_symlink()), "")
    except OSError as error:
        raise ConnectionFailedError(f"cannot use the folder {path}: {error.strerror}") from error


def take_folder(path: str, lock_file: str, instead: str) -> FileLock:
    """Make a folder that one process at a time may use, and take its lock until ``release``.

    Args:
        path: the folder.
        lock_file: the name of a file in it.
        instead: what to do where more processes are wanted; stands in the error.

    Raises:
        ConnectionFailedError: another process has it, or it cannot be used.
    """
    make_folder(path)
    lock = FileLock(os.path.join(path, lock_file))
    try:
        lock.acquire(0)
    except LockTimeoutError as error:
        raise ConnectionFailedError(
            f"{path} is in use by another process, and it serves one only; {instead}"
        ) from error
    except OSError as error:
        raise ConnectionFailedError(f"cannot use the folder {path}: {error.strerror}") from error
    return lock
