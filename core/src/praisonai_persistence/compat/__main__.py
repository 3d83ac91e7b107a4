"""Runs a program with PraisonAI's import paths.

``python -m praisonai_persistence.compat program.py [arguments]``, or ``-m module [arguments]`` as Python takes it.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import praisonai_persistence.compat

__all__ = ["main"]

_USAGE = "usage: python -m praisonai_persistence.compat (program.py | -m module) [arguments]\n"


def main() -> int:
    """Run the program that the command line names; 2 where it names none."""
    praisonai_persistence.compat.install()
    if sys.argv[1:2] == ["-m"] and len(sys.argv) > 2:
        del sys.argv[:2]
        if sys.argv[:2] == ["praisonai", "persistence"]:
            # Not through PraisonAI, whose parser takes some of the options, and standard input, for its own.
            from praisonai_persistence.compat._command import run

            return run(sys.argv[2:])
        sys.path[0] = ""  # as when Python is given -m
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        return 0
    program = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if program is None or not program.is_file():
        sys.stderr.write(_USAGE)
        return 2
    del sys.argv[0]
    sys.path[0] = str(program.resolve().parent)  # as when Python is given the program
    runpy.run_path(str(program), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
