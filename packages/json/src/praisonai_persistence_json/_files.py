"""The directory of a store: how files are named, locked, replaced and set aside.

    <directory>/<prefix>/<session>/session.json            the document
    <directory>/<prefix>/<session>/session.json.tmp        its next version, for as long as it is being written
    <directory>/<prefix>/<session>/session.corrupt-1.json  what could not be read, kept
    <directory>/<prefix>/.locks/00 ... 3f                  locks; a session uses the one that its name falls on

Whoever changes anything in the folder of a session holds its lock. Lock files are never removed, so nobody can hold
the lock of a file that is not there any more. Readers need no lock: a document is replaced in one step.

Every session has a folder because file systems (btrfs and tmpfs among them) may leave out a file from a listing that is
being replaced meanwhile. Folders are not, so a listing is complete.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import BackendError, ConnectionFailedError, PersistenceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

__all__ = [
    "RESERVED_NAMES",
    "Directory",
    "Locks",
    "file_stem",
    "make_directory",
    "read",
    "replace",
    "shard_of",
    "sync_directory",
    "translated",
    "unlink",
]

T = TypeVar("T")

_SHARDS = 64  # every process must agree on it
_POLL = 0.005  # seconds between two looks at a lock that another process holds
_LONGEST = 120  # characters of a folder's name; some encrypting file systems take no more than 143 bytes
_WINDOWS = os.name == "nt"
_READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)
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
        reason = f"cannot use {what}: {error.strerror or type(error).__name__}"
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS}:
            raise ConnectionFailedError(reason) from error
        raise BackendError(reason) from error
    except (ValueError, RecursionError) as error:
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
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


def make_directory(path: str, *, sync: bool = True) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        make_directory(parent, sync=sync)
    with suppress(FileExistsError):
        os.mkdir(path)
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if sync:
        sync_directory(parent)


def shard_of(name: str) -> int:
    """Return the shard that a name falls on; the same in every process."""
    return zlib.crc32(name.encode()) % _SHARDS


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def replace(path: str, data: bytes, *, private: bool = False, sync: bool = True) -> None:
    """Replace a file, or make it: all of it and for good, or nothing. The caller holds a lock.

    Args:
        path: the file.
        data: what it will hold.
        private: True to let nobody but the owner read it, whatever the umask.
        sync: False to let the system decide when it gets to the disk.
    """
    temporary = f"{path}.tmp"
    try:
        with open(temporary, "wb", opener=_open_private if private else None) as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        _patiently(lambda: os.replace(temporary, path))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_directory(os.path.dirname(path))


def read(path: str) -> bytes | None:
    """Return what is in a file; None when there is none."""
    # A listing reads every file that there is, and making a file object takes longer than all of this.
    try:
        descriptor = _patiently(lambda: os.open(path, _READING))
    except (FileNotFoundError, NotADirectoryError):
        return None
    blocks = []
    try:
        while block := os.read(descriptor, _BLOCK):
            blocks.append(block)
    finally:
        os.close(descriptor)
    return b"".join(blocks)


def unlink(path: str, *, sync: bool = True) -> None:
    """Remove a file, for good, and what a killed writer of it has left; ``sync`` as for [replace][]."""
    for name in (path, f"{path}.tmp"):
        with suppress(FileNotFoundError):
            _patiently(lambda name=name: os.unlink(name))  # type: ignore[misc]
    if sync:
        sync_directory(os.path.dirname(path))


class Locks:
    """Locks by the paths of their files, against all threads and processes. A thread holds one at a time.

    Args:
        timeout: how many seconds to wait for one.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        # Threads of this process wait here, not at the file: that needs no polling.
        self._mutexes = [threading.Lock() for _ in range(_SHARDS)]

    @contextmanager
    def hold(self, path: str, shard: int, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock of a file, which is made and stays; threads wait for each other by the shard of the path.

        Raises:
            BackendError: it was not to be had in time.
        """
        wait = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + wait
        mutex = self._mutexes[shard]
        if not mutex.acquire(timeout=min(wait, threading.TIMEOUT_MAX)):
            raise BackendError(f"another thread held the lock of a session for more than {wait} seconds")
        try:
            # A new object every time: it belongs to this thread and this process alone.
            lock = FileLock(path)
            try:
                lock.acquire(max(0.0, deadline - time.monotonic()), poll_interval=_POLL)
            except Timeout as error:
                raise BackendError(
                    f"another process held the lock of a session for more than {wait} seconds"
                ) from error
            try:
                yield
            finally:
                lock.release()
        finally:
            mutex.release()


class Directory:
    """The files of one store. Safe to share between threads, and between a process and its forked children.

    Args:
        path: absolute; made by [connect][Directory.connect].
        lock_timeout: how many seconds to wait for a lock.
        sync: False to let the system decide when something gets to the disk.
    """

    def __init__(self, path: str, lock_timeout: float, sync: bool) -> None:
        self.path = path
        self._sync = sync
        self._locks = os.path.join(path, ".locks")
        self._held = Locks(lock_timeout)

    def connect(self) -> None:
        """Make the directory, and see that it can be used."""
        make_directory(self._locks, sync=self._sync)
        for path in (self.path, self._locks):
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "no permission to read and write, or mounted read-only", path)

    def document(self, stem: str) -> str:
        """Return the path of a session's document."""
        return f"{self.path}{os.sep}{stem}{os.sep}session.json"

    def open(self, stem: str) -> BinaryIO | None:
        """Open a document for reading; None when there is none."""
        try:
            return _patiently(lambda: open(self.document(stem), "rb"))
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(self.path):  # a volume that is not mounted is no store without sessions
                raise
            return None

    @contextmanager
    def lock(self, stem: str, timeout: float | None = None) -> Iterator[None]:
        """Hold a session's lock against all threads and processes. Not reentrant.

        Raises:
            BackendError: it was not to be had in time.
        """
        if not os.path.isdir(self._locks):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._locks)
        shard = shard_of(stem)
        with self._held.hold(os.path.join(self._locks, f"{shard:02x}"), shard, timeout):
            yield

    def write(self, stem: str, data: bytes) -> None:
        """Replace a document, or make it: all of it and for good, or nothing. The caller holds the lock."""
        path = self.document(stem)
        make_directory(os.path.dirname(path), sync=self._sync)
        replace(path, data, sync=self._sync)

    def sync(self, stem: str) -> None:
        """Make sure that a replaced document survives a power cut, if the store does that."""
        if self._sync:
            sync_directory(os.path.join(self.path, stem))

    def delete(self, stem: str) -> None:
        """Remove a document. The caller holds the lock."""
        _patiently(lambda: os.unlink(self.document(stem)))
        self.sync(stem)
        self._sweep(stem)

    def set_aside(self, stem: str) -> str:
        """Rename a document that cannot be read, so that nothing writes over it. The caller holds the lock.

        Returns:
            The path where it is kept.
        """
        number = 1
        while os.path.lexists(kept := os.path.join(self.path, stem, f"session.corrupt-{number}.json")):
            number += 1
        _patiently(lambda: os.rename(self.document(stem), kept))
        self.sync(stem)
        return kept

    def stems(self) -> list[str]:
        """Return the names of the folders of sessions, sorted. Some may have no document."""
        return sorted(filter(_STEM.fullmatch, os.listdir(self.path)))

    def tidy(self, stem: str) -> None:
        """Remove what a killed process has left of a session that is not there; not while somebody works on it."""
        with suppress(BackendError), self.lock(stem, timeout=0):
            if not os.path.lexists(self.document(stem)):
                self._sweep(stem)

    def _sweep(self, stem: str) -> None:
        with suppress(OSError):
            os.unlink(f"{self.document(stem)}.tmp")
        with suppress(OSError):  # it keeps a document that was set aside
            os.rmdir(os.path.join(self.path, stem))
