"""The command ``praisonai-persistence``."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # type checkers take it for True; importing typing would slow the command down
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: those behind the name of the command; None: of this process.

    Returns:
        0: all is well. 1: something failed, or a check did. 2: the command was used wrongly. 130: Ctrl-C. 141: who
        read the output closed it.
    """
    if arguments is None and any("://" in argument for argument in sys.argv):
        from praisonai_persistence_cli._arguments import hide_arguments

        hide_arguments()  # first of all: what follows takes some milliseconds
    from praisonai_persistence_cli._app import run

    return run(arguments)
