"""The directory of a store: how files are named, locked, replaced and set aside.

    <directory>/<prefix>/<session>/session.json            the document
    <directory>/<prefix>/<session>/session.json.<random>.tmp   its next version, for as long as it is being written
    <directory>/<prefix>/<session>/session.corrupt-1.json  what could not be read, kept
    <directory>/<prefix>/.locks/00 ... 3f                  locks; a session uses the one that its name falls on

Whoever changes anything in the folder of a session holds its lock. Lock files are never removed, so nobody can hold
the lock of a file that is not there any more. Readers need no lock: a document is replaced in one step.

A change in the middle of another change of the same thread (from a ``__del__``, say) goes first, under the lock that
the thread has; the outer one notices right before it replaces anything, and starts again from what is there then.

So does a change in whose middle the whole directory was replaced (by a backup, say): the lock that it holds is not the
one that is there. It writes its temporary file before it looks, so nothing of the old directory gets into the new.

Every session has a folder because file systems (btrfs and tmpfs among them) may leave out a file from a listing that is
being replaced meanwhile. Folders are not, so a listing is complete.
"""

from __future__ import annotations

import errno
import os
import re
import time
import zlib
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from praisonai_persistence._attempts import ATTEMPTS, overtaken
from praisonai_persistence.errors import BackendError, ConnectionFailedError, PersistenceError
from praisonai_persistence.locks import FileLock, LockTimeoutError, file_lock, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "LINK_ERRORS",
    "RESERVED_NAMES",
    "Change",
    "Directory",
    "change",
    "file_stem",
    "is_temporary",
    "make_directory",
    "read",
    "sync_directory",
    "translated",
]

T = TypeVar("T")

_SHARDS = 64  # every process must agree on it
_LONGEST = 120  # characters of a folder's name; some encrypting file systems take no more than 143 bytes
_WINDOWS = os.name == "nt"
LINK_ERRORS = frozenset({errno.ELOOP, getattr(errno, "EMLINK", errno.ELOOP)})
"""What opening a symbolic link gives: whoever may place one would decide what is read and written."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_READING = os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0)  # no waiting for the other end of a pipe
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
_OPENED = _READING | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_BLOCK = 64 * 1024

_NOT_PLAIN = re.compile(r"[^a-z0-9_-]")
_STEM = re.compile(r"[a-z0-9_+%~-]+")
RESERVED_NAMES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{device}{number}" for device in ("com", "lpt") for number in range(10)}
)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if "A" <= character <= "Z":
        return f"+{character.lower()}"
    return "".join(f"%{byte:02x}" for byte in character.encode())


def file_stem(name: str) -> str:
    """Return the file name that stands for a name: one to one, on every file system.

    Lower-case letters, digits, ``-`` and ``_`` stay; ``+a`` is A; everything else is ``%`` and two hexadecimal digits
    for each byte of its UTF-8. What Windows reserves for devices, and a leading ``-``, gets its first character
    escaped, too. A name that gets too long so is cut and ends in ``~`` and its SHA-256.
    """
    stem = _NOT_PLAIN.sub(_escaped, name)
    if stem in RESERVED_NAMES or stem.startswith("-"):
        stem = f"%{ord(stem[0]):02x}{stem[1:]}"
    if len(stem) > _LONGEST:
        import hashlib

        stem = f"{stem[:40]}~{hashlib.sha256(name.encode()).hexdigest()}"
    return stem


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of the operating system into ours."""
    try:
        yield
    except PersistenceError:
        raise
    except OSError as error:
        if error.errno is None:  # not of the operating system: raised by a signal handler, say
            raise
        reason = f"cannot use {what}: {error.strerror or type(error).__name__}"
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS}:
            raise ConnectionFailedError(reason) from error
        raise BackendError(reason) from error
    except (ValueError, RecursionError) as error:
        if type(error) not in {ValueError, UnicodeEncodeError, RecursionError}:
            raise
        # No text of the error: it may quote the document.
        raise BackendError(f"cannot read or write {what}: {type(error).__name__} in a document") from error


def _patiently(call: Callable[[], T]) -> T:
    """Do what Windows refuses for as long as another process has the file open: readers here need an instant."""
    if not _WINDOWS:
        return call()
    for attempt in range(50):
        try:
            return call()
        except PermissionError:
            time.sleep(0.001 * attempt)
    return call()


def sync_directory(path: str) -> None:
    if _WINDOWS:  # has no such call; the file system's journal orders the rename
        return
    descriptors: list[int] = []
    closing = map(os.close, descriptors)
    try:
        descriptors.extend(map(os.open, (path,), (os.O_RDONLY,)))  # one call: an interrupt loses none
        os.fsync(descriptors[0])
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems cannot
            raise
    finally:
        any(closing)


def make_directory(path: str, *, private: bool = True, sync: bool = True) -> None:
    """Make a directory, and those above it.

    Args:
        path: the directory.
        private: True to let nobody but the owner in, whatever the umask. What is there stays as it is.
        sync: as for [Change][].
    """
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        make_directory(parent, private=private, sync=sync)
    with suppress(FileExistsError):
        os.mkdir(path, 0o700 if private else 0o777)
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if sync:
        sync_directory(parent)


def read(path: str) -> bytes | None:
    """Return what is in a file; None when there is none. A symbolic link is ``OSError`` with ``ELOOP``."""
    # A listing reads every file that there is, and making a file object takes longer than all of this.
    descriptors: list[int] = []
    closing = map(os.close, descriptors)
    blocks = []
    try:
        _patiently(lambda: descriptors.extend(map(os.open, (path,), (_OPENED,))))
        while block := os.read(descriptors[0], _BLOCK):
            blocks.append(block)
    except (FileNotFoundError, NotADirectoryError):
        return None
    finally:
        any(closing)
    return b"".join(blocks)


def is_temporary(name: str, document: str = "") -> bool:
    """Whether a file is one that a writer of a document, or of any, makes for an instant, also an older release."""
    return name.endswith(".tmp") and (name.startswith(f"{document}.") if document else ".json." in name)


# -------------------------------------------------------------------------------------------------------------- changes


class _OvertakenError(Exception):
    """In the middle of a change another one of the same thread was made, or the store was replaced by another."""


def _stop() -> NoReturn:
    raise _OvertakenError


def change(path: str, timeout: float, work: Callable[[Change], T], *, private: bool, sync: bool) -> T:
    """Call ``work`` while the lock of a file is held, and return what it returns.

    ``work`` reads anew what it changes, because it is called again when it was overtaken.

    Args:
        path: the lock's file, which is made and stays.
        timeout: seconds to wait for other threads and processes.
        work: changes files by what it is given, as its last step.
        private: True to let nobody but the owner read what is written, whatever the umask.
        sync: False to let the system decide when something gets to the disk.

    Raises:
        LockTimeoutError: the lock was not to be had in time.
        UnsupportedOperationError: calls in the middle of this one did not end.
    """
    for _ in ATTEMPTS:
        lock = file_lock(path, "the lock of a session")
        with suppress(_OvertakenError):
            return lock.run(timeout, partial(_attempt, lock, work, private, sync))
    raise overtaken()


def _attempt(lock: FileLock, work: Callable[[Change], T], private: bool, sync: bool) -> T:
    step = Change(lock, private, sync)
    try:
        return work(step)
    except OSError as error:
        # A folder or temporary file was taken away: by the other one, or with all that stood there.
        if error.errno is not None and (step.overtaken or not lock.stands()):
            raise _OvertakenError from error
        raise


class Change:
    """An attempt at changing files: each step is done, or not begun when the attempt was overtaken."""

    __slots__ = ("_lock", "_private", "_sync", "_turn")

    def __init__(self, lock: FileLock, private: bool, sync: bool) -> None:
        self._lock = lock
        self._turn = lock.turn
        self._private = private
        self._sync = sync

    @property
    def overtaken(self) -> bool:
        """Whether another change of this thread came into the middle."""
        return self._lock.turn is not self._turn

    def _do(self, call: Callable[..., object], *arguments: str) -> None:
        if not self._lock.stands():  # the store was replaced: what was read is not of the one that is there now
            _stop()
        # Nothing can come between the comparison and the call, not even a trace function of lines.
        call(*arguments) if self._lock.turn is self._turn else _stop()

    def replace(self, path: str, data: bytes) -> None:
        """Replace a file, or make it: all of it and for good, or nothing."""
        temporary = f"{path}.{os.urandom(8).hex()}.tmp"
        try:
            with open_file(temporary, _WRITING, 0o600 if self._private else 0o666) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                if self._sync:
                    os.fsync(file.fileno())
            _patiently(lambda: self._do(os.replace, temporary, path))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self.sync(os.path.dirname(path))

    def rename(self, path: str, to: str) -> None:
        """Rename a file, for good."""
        _patiently(lambda: self._do(os.rename, path, to))
        self.sync(os.path.dirname(to))

    def unlink(self, path: str) -> None:
        """Remove a file, for good."""
        _patiently(lambda: self._do(os.unlink, path))
        self.sync(os.path.dirname(path))

    def sync(self, directory: str) -> None:
        """Make sure that what was done in a directory survives a power cut, if that is wanted."""
        if self._sync:
            sync_directory(directory)

    def make_directory(self, path: str) -> None:
        """Make a directory, and those above it."""
        make_directory(path, private=self._private, sync=self._sync)


# ------------------------------------------------------------------------------------------------------------ directory


def shard_of(name: str) -> int:
    """Return the shard that a name falls on; the same in every process."""
    return zlib.crc32(name.encode()) % _SHARDS


class Directory:
    """The files of one store. Safe to share between threads, and between a process and its forked children.

    Args:
        path: absolute; made by [connect][Directory.connect].
        lock_timeout: how many seconds to wait for a lock.
        sync: False to let the system decide when something gets to the disk.
        private: False to let files have the permissions that the process gives to new ones (its umask).
    """

    def __init__(self, path: str, lock_timeout: float, sync: bool, private: bool = True) -> None:
        self.path = path
        self._lock_timeout = lock_timeout
        self._sync = sync
        self._private = private
        self._locks = os.path.join(path, ".locks")

    def sibling(self, path: str) -> Directory:
        """Return another directory with the same options."""
        return Directory(path, self._lock_timeout, self._sync, self._private)

    def settle(self) -> None:
        """Make sure that the directory itself survives a power cut, if the store does that."""
        if self._sync:
            sync_directory(os.path.dirname(self.path))

    def exists(self) -> bool:
        """Whether the directory is there; it makes nothing."""
        return os.path.isdir(self.path)

    def connect(self) -> None:
        """Make the directory, and see that it can be used."""
        make_directory(self._locks, private=self._private, sync=self._sync)
        for path in (self.path, self._locks):
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "no permission to read and write, or mounted read-only", path)

    def document(self, stem: str) -> str:
        """Return the path of a session's document."""
        return f"{self.path}{os.sep}{stem}{os.sep}session.json"

    def open(self, stem: str) -> BufferedReader | None:
        """Open a document for reading; None when there is none. A symbolic link is ``OSError`` with ``ELOOP``."""
        try:
            return BufferedReader(_patiently(lambda: open_file(self.document(stem), _READING)))
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(self.path):  # a volume that is not mounted is no store without sessions
                raise
            return None

    def change(self, stem: str, work: Callable[[Change], T], timeout: float | None = None) -> T:
        """Call ``work`` while a session's lock is held; see [change][praisonai_persistence_json._files.change]."""
        path = f"{self._locks}{os.sep}{shard_of(stem):02x}"
        wait = self._lock_timeout if timeout is None else timeout
        return change(path, wait, work, private=self._private, sync=self._sync)

    def write(self, stem: str, data: bytes, change: Change) -> None:
        """Replace a document, or make it: all of it and for good, or nothing."""
        path = self.document(stem)
        folder = os.path.dirname(path)
        change.make_directory(folder)
        self._sweep(folder)
        change.replace(path, data)

    def sync(self, stem: str, change: Change) -> None:
        """Make sure that a replaced document survives a power cut, if the store does that."""
        change.sync(os.path.join(self.path, stem))

    def delete(self, stem: str, change: Change) -> None:
        """Remove a document."""
        change.unlink(self.document(stem))
        self._remove(stem)

    def set_aside(self, stem: str, change: Change) -> str:
        """Rename a document that cannot be read, so that nothing writes over it.

        Returns:
            The path where it is kept.
        """
        number = 1
        while os.path.lexists(kept := os.path.join(self.path, stem, f"session.corrupt-{number}.json")):
            number += 1
        change.rename(self.document(stem), kept)
        return kept

    def stems(self) -> list[str]:
        """Return the names of the folders of sessions, sorted. Some may have no document."""
        return sorted(filter(_STEM.fullmatch, os.listdir(self.path)))

    def tidy(self, stem: str) -> None:
        """Remove what a killed process has left of a session that is not there; not while somebody works on it."""

        def work(_: Any) -> None:
            if not os.path.lexists(self.document(stem)):
                self._remove(stem)

        with suppress(LockTimeoutError):
            self.change(stem, work, timeout=0)

    def _remove(self, stem: str) -> None:
        folder = os.path.join(self.path, stem)
        with suppress(OSError):  # it keeps a document that was set aside
            self._sweep(folder)
            os.rmdir(folder)

    @staticmethod
    def _sweep(folder: str) -> None:
        """Remove what killed writers have left; the caller holds the lock, so nobody else is writing."""
        for name in os.listdir(folder):
            if is_temporary(name, "session.json"):
                with suppress(OSError):
                    os.unlink(os.path.join(folder, name))
