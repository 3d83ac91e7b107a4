"""``export`` and ``import``."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import click

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence_cli._app import Failed, complain
from praisonai_persistence_cli._options import (
    Command,
    as_json,
    conversation_options,
    conversation_store,
    point_out_old,
    stdin_is_taken,
)
from praisonai_persistence_cli._output import document, json_escaped, line, size
from praisonai_persistence_cli._selection import selection_of, selection_options

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["export_command", "import_command"]


@click.command("export", cls=Command)
@click.option("--output", "-o", default="-", metavar="FILE", help="Where to write; - is stdout. [default: -]")
@selection_options
@conversation_options
def export_command(
    output: str,
    session_id: tuple[str, ...],
    user_id: str | None,
    agent_id: str | None,
    since: str | None,
    conversation_url: str | None,
    table_prefix: str | None,
) -> None:
    """Write sessions as JSON lines, whole, oldest first.

    A file appears under its name when it is complete, readable by its owner only. With --json a summary is printed,
    unless the sessions themselves go to stdout.
    """
    from praisonai_persistence_cli._format import Writer
    from praisonai_persistence_cli._progress import bar
    from praisonai_persistence_cli._reading import message_pages

    selection = selection_of(session_id, user_id, agent_id, since)
    with ExitStack() as stack:
        store = stack.enter_context(conversation_store(conversation_url, table_prefix))
        store.connect()
        wanted = selection.ids(store)
        if not wanted:
            point_out_old(store)
            complain("note: there are no such sessions, so there is nothing to export")
        mixed = output == "-" and sys.stdout.isatty()  # the sessions would stand between the parts of the bar
        progress = stack.enter_context(bar("export:", "sessions", len(wanted), hidden=mixed))
        writer = Writer(stack.enter_context(_output(output)), {"kind": "conversation", "exported_at": time.time()})
        for item in wanted:
            session = store.get_session(item)
            if session is not None:  # else deleted since it was listed
                writer.session(session, message_pages(store, item))
            progress(1)
        digest = writer.finish()
    if output == "-":
        return
    if as_json():
        document(
            {"ok": True, "file": output, "sessions": writer.sessions, "messages": writer.messages, "digest": digest}
        )
    else:
        line(f"{output}: {size(writer.sessions)} sessions with {size(writer.messages)} messages, digest {digest}")


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
def _output(path: str) -> Iterator[IO[bytes]]:
    """Open the file to write to; under its own name it is only ever complete."""
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
        with open(descriptor, "wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@click.command("import", cls=Command)
@click.option("--file", "-f", "path", required=True, metavar="FILE", help="What export wrote; - is stdin.")
@click.option("--update", is_flag=True, help="Give sessions that are there already the fields of the file.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Read everything back and compare it.")
@conversation_options
def import_command(
    path: str, update: bool, verify: bool, conversation_url: str | None, table_prefix: str | None
) -> None:
    """Read sessions that export wrote, into any backend.

    A session is imported when all of it was read and found in order. Sessions that are there already are completed
    where messages are missing; one that has other content is reported and stays as it is.
    """
    from praisonai_persistence_cli._format import BrokenFileError, Reader
    from praisonai_persistence_cli._progress import bar
    from praisonai_persistence_cli._writing import REFUSALS, put_session

    sessions = messages = written = 0
    conflicts = []
    broken: PersistenceError | None = None
    if path == "-" and stdin_is_taken():
        raise click.UsageError("--file and an option for a URL both read standard input: give one of them a file")
    with ExitStack() as stack:
        file: IO[bytes] = sys.stdin.buffer if path == "-" else stack.enter_context(_input(path))
        store = stack.enter_context(conversation_store(conversation_url, table_prefix, must_exist=False))
        store.connect()
        progress = stack.enter_context(bar("import:", "sessions"))
        try:
            for read in Reader(file, "standard input" if path == "-" else path):
                try:
                    put = put_session(store, read.session, read.pages(), update=update, verify=verify)
                except REFUSALS as error:
                    conflicts.append(str(error))
                else:
                    sessions, messages, written = sessions + 1, messages + put.messages, written + put.written
                progress(1)
        except BrokenFileError as error:
            broken = error
    problems = [*conflicts, *([str(broken)] if broken else [])]
    if as_json():
        document(
            {
                "ok": not problems,
                "sessions": sessions,
                "messages": messages,
                "written": written,
                "verified": verify and sessions > 0,
                "conflicts": conflicts,
                "error": str(broken) if broken else None,
            }
        )
    else:
        how = "nothing to verify" if not sessions else "verified" if verify else "not verified"
        line(f"{size(sessions)} sessions with {size(messages)} messages, {size(written)} of them new; {how}")
    for problem in problems:
        complain(f"Error: {problem}")
    if problems:
        raise Failed


def _input(path: str) -> IO[bytes]:
    try:
        return open(path, "rb", buffering=1 << 20)
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from error
