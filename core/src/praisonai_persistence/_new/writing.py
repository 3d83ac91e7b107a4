"""Writes a plan."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from praisonai_persistence._new.texts import files

if TYPE_CHECKING:
    from pathlib import Path

    from praisonai_persistence._new.planning import Plan

__all__ = ["create"]


def create(made: Plan) -> None:
    """Write it: all of it, or nothing."""
    texts = files(made)
    conformance = texts.pop("tests/test_conformance.py") if made.integration else ""
    draft = made.folder.with_name(f".{made.folder.name}.{os.getpid()}")
    written: list[Path] = []
    try:
        for name, text in texts.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if made.clone is not None:
            shutil.copyfile(made.clone / "LICENSE", draft / "LICENSE")
        if made.integration:
            with made.integration.open("x", encoding="utf-8") as file:
                written.append(made.integration)
                file.write(conformance)
        draft.rename(made.folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for path in written:
            path.unlink()
        raise
