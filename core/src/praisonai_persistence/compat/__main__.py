"""``python -m praisonai_persistence.compat program.py [arguments]``: runs a program with PraisonAI's import paths."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import praisonai_persistence.compat

__all__ = ["main"]


def main() -> int:
    """Run the program that the command line names; 2 where it names none."""
    praisonai_persistence.compat.install()
    program = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if program is None or not program.is_file():
        sys.stderr.write("usage: python -m praisonai_persistence.compat program.py [arguments]\n")
        return 2
    del sys.argv[0]
    sys.path[0] = str(program.resolve().parent)  # as when Python is given the program
    runpy.run_path(str(program), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
