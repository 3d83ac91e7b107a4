"""``praisonai persistence ...``, which is the command of praisonai-persistence-cli here."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["handle_persistence_command", "run"]

_NAME = "persistence"


def handle_persistence_command(args: Sequence[str]) -> bool:
    """Run the command, and end the process with its exit code where that is not 0; PraisonAI would end with 0.

    Args:
        args: what stands behind ``persistence``, without the options that PraisonAI's parser took for its own; where
            ``sys.argv`` has all of them, these are taken.
    """
    given = sys.argv[1:]
    code = run(given[given.index(_NAME) + 1 :] if _NAME in given else args)
    if code:
        raise SystemExit(code)
    return True


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; 2 where it is not installed."""
    if find_spec("praisonai_persistence_cli") is None:
        sys.stderr.write("the command line is a distribution of its own: pip install praisonai-persistence-cli\n")
        return 2
    before = sys.argv
    # As its own: then it also hides the passwords that others could see in them.
    sys.argv = ["praisonai-persistence", *(["--help"] if list(arguments[:1]) == ["help"] else arguments)]
    try:
        return int(import_module("praisonai_persistence_cli").main())
    finally:
        sys.argv = before
