"""The files that ``export`` writes and ``import`` reads."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import click

from praisonai_persistence_cli._output import json_escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Input", "opened_input", "output"]

_LEVEL = 6  # of compression: 9 takes several times as long and saves some hundredths
_BUFFER = 1 << 20


class _Terminal(io.RawIOBase):
    """A terminal that JSON lines are written to: nothing in them may steer it. They stay JSON of the same values."""

    def __init__(self, terminal: BinaryIO) -> None:
        super().__init__()
        self._terminal = terminal

    def write(self, lines: Any) -> int:
        self._terminal.write(json_escaped(bytes(lines).decode()).encode())
        return len(lines)

    def flush(self) -> None:
        self._terminal.flush()


@contextmanager
def output(path: str) -> Iterator[IO[bytes]]:
    """Open the file to write to, compressed if its name ends in .gz; under its own name it is only ever complete."""
    if path == "-":
        sys.stdout.flush()
        # The stream that stands in for a closed one has no buffer, and says so when it is written to.
        buffer: BinaryIO | None = getattr(sys.stdout, "buffer", None)
        if buffer is None:
            sys.stdout.write("")
            return
        yield cast("IO[bytes]", _Terminal(buffer)) if sys.stdout.isatty() else buffer
        return
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe, or a device
        with open(path, "wb") as special:
            yield special
        return
    directory, name = os.path.split(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", dir=directory)
    try:
        with open(descriptor, "wb", buffering=_BUFFER) as file:
            if path.endswith(".gz"):
                # Without the name and the time, so that equal contents are equal files.
                with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as compressed:
                    yield cast("IO[bytes]", compressed)
            else:
                yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


class Input:
    """A file that is read.

    Attributes:
        file: what stands in it, decompressed.
        name: for messages.
        place: says which part of it was read, from 0 to 1; None where its length is not known.
    """

    def __init__(self, raw: BinaryIO, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        # By what stands in it, not by its name: standard input has none.
        begins = raw.peek(2)[:2] if hasattr(raw, "peek") else b""
        self.file = cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="rb") if begins == b"\x1f\x8b" else raw)
        self.place: Callable[[], float] | None = None
        length = os.path.getsize(path) if path != "-" and os.path.isfile(path) else 0
        if length:
            self.place = lambda: raw.tell() / length


def opened_input(stack: ExitStack, path: str) -> Input:
    """Open a file that export wrote; ``-`` is standard input.

    Raises:
        click.UsageError: it cannot be read.
    """
    if path == "-":
        return Input(cast("BinaryIO", sys.stdin.buffer if sys.stdin else io.BytesIO()), path)
    try:
        return Input(stack.enter_context(open(path, "rb", buffering=_BUFFER)), path)
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from error
