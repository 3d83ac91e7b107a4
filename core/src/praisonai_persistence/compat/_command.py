"""``praisonai persistence ...``, which is the command of praisonai-persistence-cli here."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
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
    sys.argv = ["praisonai-persistence", *_translated(list(arguments))]
    try:
        return int(import_module("praisonai_persistence_cli").main())
    finally:
        sys.argv = before


def _translated(arguments: list[str]) -> list[str]:
    """Return the arguments of our command for those of PraisonAI's, where they mean something else."""
    command = arguments[0] if arguments else ""
    if command == "help":
        return ["--help"]
    if command == "export":
        return [*arguments, *_default_output(arguments)]
    if command == "resume" and "--latest" not in arguments:
        return _left_out(arguments)
    if command == "migrate":  # whose versions are ``1.0.0`` there, and whole numbers here
        return [_whole(argument) for argument in arguments]
    return arguments


def _default_output(arguments: list[str]) -> list[str]:
    """Return the option that writes one session into a file of its name, unless it is said where to."""
    if any(argument.partition("=")[0] in _ELSEWHERE or argument.startswith("-o") for argument in arguments):
        return []
    named = [after for before, after in pairwise(arguments) if before == _SESSION]
    named += [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{_SESSION}=")]
    plain = len(named) == 1 and not set(named[0]) & set("/\\\0")
    return ["--output", f"session-{named[0]}.jsonl"] if plain else []


_SESSION = "--session-id"
_ELSEWHERE = frozenset({"--output", "--help", "-h"})


def _left_out(arguments: list[str]) -> list[str]:
    """Return the arguments without the options that PraisonAI's ``resume`` takes and does nothing with."""
    found, rest = [], iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if name not in {"--user-id", "--state-url", "--knowledge-url"}:
            found.append(argument)
        elif not equals:
            next(rest, None)
    return found


def _whole(argument: str) -> str:
    found = re.fullmatch(r"([0-9]+)(\.0)+", argument)
    return found[1] if found else argument
