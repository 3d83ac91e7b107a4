"""The command with its subcommands, each of which is imported when it is asked for, and the end of every run."""

from __future__ import annotations

import errno
import os
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from praisonai_persistence.errors import (
    AmbiguousBackendError,
    ConfigurationError,
    FilterError,
    InvalidValueError,
    PersistenceError,
    UnknownBackendError,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import TextIO

__all__ = ["COMPLETION", "NAME", "Failed", "app", "check_command", "complain", "hide", "run"]

NAME = "praisonai-persistence"
COMPLETION = "_PRAISONAI_PERSISTENCE_COMPLETE"
"""The environment variable through which a shell asks for completions."""

# Name -> the module that holds the click command of that name, and the line for the list of commands.
_COMMANDS: dict[str, tuple[str, str]] = {
    "backends": ("_backends", "List the backends that are installed, and those that could be."),
    "completion": ("_completion", "Print the completion script of a shell."),
    "copy": ("_copy", "Copy a store to another one, of any backend."),
    "delete": ("_changing", "Delete sessions."),
    "doctor": ("_doctor", "Check every store by using it: connect, write, read, search, delete."),
    "export": ("_transfer", "Write sessions as JSON lines."),
    "fork": ("_changing", "Copy a session into a new one of the same store."),
    "import": ("_transfer", "Read sessions that export wrote."),
    "knowledge": ("_knowledge", "Look at collections of documents: collections, get, search."),
    "migrate": ("_schema", "Bring tables to another version, or adopt those of PraisonAI."),
    "prune": ("_sessions", "Delete sessions that nobody used for a while."),
    "rename": ("_changing", "Give a session another name."),
    "resume": ("_agent", "Show a session, or let an agent go on with it."),
    "run": ("_agent", "Let an agent answer a prompt, and store the conversation."),
    "search": ("_sessions", "Find messages by words."),
    "sessions": ("_sessions", "List sessions, newest first."),
    "show": ("_sessions", "Show the messages of a session."),
    "state": ("_state", "Look at keys and what they hold: keys, get, ttl."),
    "status": ("_schema", "Show the stores that are configured, and where their tables stand."),
}

# Wrong use rather than something that went wrong.
_USAGE = (AmbiguousBackendError, ConfigurationError, FilterError, InvalidValueError, UnknownBackendError)
_BREAK = re.compile(r"\s*\n\s*")
_URL = re.compile(r"[^\s'\"]+://[^\s'\"]+")


def check_command(name: str, commands: Collection[str], group: str) -> None:
    """Refuse a command that does not exist.

    Args:
        name: what was typed.
        commands: those that exist.
        group: whose commands these are, with a space behind it; empty for those that are in none.

    Raises:
        click.UsageError: names the nearest, or all if there are few.
    """
    if name.startswith("-") or name in commands:
        return
    from praisonai_persistence._checks import nearest

    near = nearest(name, commands)
    hint = f". Did you mean {near!r}?" if near else ""
    if group and name in _COMMANDS:
        hint = f": {name!r} is a command of its own"
    elif group and not near:
        hint = f": there are {', '.join(sorted(commands))}"
    raise click.UsageError(f"there is no command {group + name!r}{hint}")


class Failed(Exception):  # noqa: N818  an outcome: what failed was printed already
    """Ends the command with an exit code when everything was said."""

    def __init__(self, code: int = 1) -> None:
        super().__init__(code)
        self.code = code


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"praisonai_persistence_cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        check_command(args[0], _COMMANDS, "")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{NAME} {version('praisonai-persistence-cli')} (core {version('praisonai-persistence')})")
        ctx.exit()


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Stores are named by URLs. Without options the environment names them: PRAISON_CONVERSATION_URL, "
    "PRAISON_KNOWLEDGE_URL, PRAISON_STATE_URL; without these, they are those that db() has. Others can read a "
    "program's arguments: a URL with a password belongs into the environment, or into a file "
    "(--conversation-url-file and its kin).",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show it.")
def app() -> None:
    """Look after the conversations, knowledge and state of AI agents, whatever backend keeps them."""


def hide(text: str) -> str:
    """Return ``text`` with the secrets of all URLs in it masked."""
    from praisonai_persistence.urls import mask

    return _URL.sub(lambda match: mask(match[0]), text)


def complain(text: str) -> None:
    """Print one line to stderr, without secrets and without characters that would steer the terminal."""
    from praisonai_persistence_cli._output import plain

    click.echo(plain(hide(_BREAK.sub(" ", text))), err=True)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; see ``main``."""
    _open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        try:
            code = _invoke(given)
            sys.stdout.flush()
            return code
        except (Failed, click.ClickException, click.exceptions.Abort):
            raise  # they say all that there is
        except Exception:
            if "--debug" in given:
                import traceback

                from praisonai_persistence_cli._output import plain

                click.echo(plain(hide(traceback.format_exc()), multiline=True), err=True, nl=False)
            raise
    except (KeyboardInterrupt, click.exceptions.Abort):  # Abort: the same, at a question
        complain("interrupted")
        return _flushed(130)
    except Failed as failed:
        return _flushed(failed.code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else NAME
        complain(f"Error: {error.format_message()} (help: {path} --help)")
        return _flushed(2)
    except click.ClickException as error:
        complain(f"Error: {error.format_message()}")
        return _flushed(2)
    except PersistenceError as error:
        complain(f"Error: {error}")
        return _flushed(2 if isinstance(error, _USAGE) else 1)
    except BrokenPipeError:
        _give_up_output()
        return 141
    except OSError as error:
        if error.errno == errno.EPIPE:
            _give_up_output()
            return 141
        where = f"{error.filename}: " if error.filename else ""
        complain(f"Error: {where}{error.strerror or type(error).__name__}")
        _give_up_output()
        return 1
    except Exception as error:  # noqa: BLE001  a mistake of ours; its text may hold anything, so it is not shown
        complain(f"Error: {type(error).__name__}: this should not happen; repeat it with --debug and report it")
        return _flushed(1)


def _invoke(arguments: list[str]) -> int:
    if COMPLETION in os.environ:
        app.main(arguments, NAME, complete_var=COMPLETION)
    # Not app.main(): it ends the process by itself when the output is closed, and says nothing of Ctrl-C.
    try:
        with app.make_context(NAME, arguments) as ctx:
            app.invoke(ctx)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return 0


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _give_up_output()
    return code


def _give_up_output() -> None:
    """Let nothing that is left in a buffer complain when the interpreter ends."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError):
        pass


class _Closed:
    """Stands in for a stream that was closed before the command began: what is written to it fails, as for cat."""

    encoding, errors, closed = "utf-8", "backslashreplace", False

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "the output is closed")

    def flush(self) -> None:
        return

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise OSError(errno.EBADF, "the output is closed")


def _open_streams() -> None:
    """See to it that there are streams, and that they take any text.

    A standard stream that is closed leaves its number to the next file that is opened, and what was meant for the
    stream would be written into that file; so these numbers are taken first.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if _stream("stdout") is None:
        _replace("stdout", _Closed())
    if _stream("stderr") is None:
        _replace("stderr", open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _stream(name: str) -> TextIO | None:
    stream: TextIO | None = getattr(sys, name)
    return stream


def _replace(name: str, stream: Any) -> None:
    setattr(sys, name, stream)
