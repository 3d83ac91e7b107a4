"""``completion``."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from praisonai_persistence_cli._app import COMPLETION, NAME, app
from praisonai_persistence_cli._options import Command
from praisonai_persistence_cli._output import line

__all__ = ["completion_command"]

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "fish": FishComplete, "zsh": ZshComplete}


class _Quiet(Command):
    prints_data = False


@click.command("completion", cls=_Quiet)
@click.argument("shell", type=click.Choice(sorted(_SHELLS)))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(praisonai-persistence completion bash)" in ~/.bashrc.
    """
    complete = _SHELLS[shell](app, {}, NAME, COMPLETION)
    # Not complete.source(): for bash it starts one to ask for its version.
    line(complete.source_template % complete.source_vars())
