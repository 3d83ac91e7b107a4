"""Folders of embedded engines."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from praisonai_persistence._paths import make_private
from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.locks import FileLock, LockTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Entries", "has_room", "make_folder", "take_folder"]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Entries:
    """What an engine makes directly in its folder, which others may be able to enter.

    An engine that gives its files no rights leaves them to the umask, which is the whole process's and cannot be set
    for one thread. So the rights of others are taken away from what has been made. What lies in a folder of such an
    entry needs nothing: nobody else gets that far.

    Args:
        path: the folder. Its own rights are its owner's matter, and so are those of what is in it now.
        names: of what the engine makes there, with ``*`` and ``?``; the folder may hold other things.

    Raises:
        ConnectionFailedError: it cannot be listed.
    """

    def __init__(self, path: str, names: Sequence[str]) -> None:
        self._path = path
        self._names = names
        try:
            self._before = {(entry.name, entry.inode()) for entry in self._all()}
        except (FileNotFoundError, NotADirectoryError):
            self._before = set()
        except OSError as error:
            raise ConnectionFailedError(f"cannot use the folder {path}: {error.strerror}") from error

    def _all(self) -> list[os.DirEntry[str]]:
        with os.scandir(self._path) as entries:
            return list(entries)

    def make_private(self) -> None:
        """Take the rights of others away from what the engine has made since."""
        if os.name != "posix":
            return
        from fnmatch import fnmatchcase

        # What fails here is done after the next write: the folder has gone, or there are no descriptors left.
        with suppress(OSError):
            if not os.stat(self._path).st_mode & _OTHERS:
                return  # nobody else gets into it
            for entry in self._all():
                key = entry.name, entry.inode()
                if key not in self._before and any(fnmatchcase(entry.name, name) for name in self._names):
                    with suppress(FileNotFoundError):
                        _make_private(entry)


def _make_private(entry: os.DirEntry[str]) -> None:
    found = entry.stat(follow_symlinks=False)
    if found.st_mode & _OTHERS and found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode):
        os.chmod(entry.path, stat.S_IMODE(found.st_mode) & ~_OTHERS)


def make_folder(
    path: str, *, again: bool = False, shared: bool = False, folders: Sequence[str] = (), files: Sequence[str] = ()
) -> None:
    """Make a folder, for its owner alone, unless it is there; see that it can be used.

    Args:
        path: the folder.
        again: whether it was there before, so that it must be there now: a volume that is not mounted is no database
            without collections.
        shared: whether others may have their own files in it. If not, and others may write into it, there may be no
            symbolic link in it: engines open files by names that everybody knows, and follow links.
        folders: names of folders in it that the engine would make. They are made for their owner alone, before there is
            anything in them that others could open.
        files: names of files in it that the engine would make, and that may be empty; they are made in the same way.

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
    for name in (*folders, *files):
        inside = os.path.join(path, name)
        try:
            if name in folders:
                os.mkdir(inside, 0o700)
            else:
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            continue
        except OSError as error:
            raise ConnectionFailedError(f"cannot make {inside}: {error.strerror}") from error


def _placed_link(path: str) -> str:
    """Return the name of a symbolic link in a folder that others may write into; nothing: there is none."""
    try:
        if os.name != "posix" or not os.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return ""
        with os.scandir(path) as entries:
            return next((entry.name for entry in entries if entry.is_symlink()), "")
    except OSError as error:
        raise ConnectionFailedError(f"cannot use the folder {path}: {error.strerror}") from error


def take_folder(
    path: str, lock_file: str, instead: str, *, folders: Sequence[str] = (), files: Sequence[str] = ()
) -> FileLock:
    """Make a folder that one process at a time may use, and take its lock until ``release``.

    Args:
        path: the folder.
        lock_file: the name of a file in it.
        instead: what to do where more processes are wanted; stands in the error.
        folders: see [make_folder][].
        files: see [make_folder][].

    Raises:
        ConnectionFailedError: another process has it, or it cannot be used.
    """
    make_folder(path, folders=folders, files=files)
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


def has_room(path: str, size: int) -> bool:
    """Whether the disk of a folder has so many bytes free; of one that has gone, what is done there tells."""
    import shutil

    try:
        return shutil.disk_usage(path).free >= size
    except OSError:
        return True
