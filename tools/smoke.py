"""Imports the packages named as arguments and loads every store that is installed; run by the `wheels` session."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points

KINDS = ("conversation", "knowledge", "state")


def main(names: list[str]) -> None:
    """Fails with the error of the first package or entry point that cannot be loaded."""
    for name in names:
        importlib.import_module(name)
    points = [
        point
        for kind in KINDS
        for group in (f"praisonai.{kind}_stores", f"praisonai.{kind}_stores.aliases")
        for point in entry_points(group=group)
    ]
    for point in points:
        point.load()
    print(f"{len(names)} packages import, {len(points)} entry points load")


if __name__ == "__main__":
    main(sys.argv[1:])
