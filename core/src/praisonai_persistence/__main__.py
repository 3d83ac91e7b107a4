"""``python -m praisonai_persistence``: the command of praisonai-persistence-cli, or how to get it; and ``new``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

__all__ = ["main"]


def main() -> int:
    """Run the command and return its exit code; 2 where it is not installed. ``new`` needs the core only."""
    if sys.argv[1:2] == ["new"]:
        from praisonai_persistence._new import main as write_backend

        return write_backend(sys.argv[2:])
    if find_spec("praisonai_persistence_cli") is None:
        sys.stderr.write("the command line is a distribution of its own: pip install praisonai-persistence-cli\n")
        return 2
    return int(import_module("praisonai_persistence_cli").main())


if __name__ == "__main__":
    sys.exit(main())
