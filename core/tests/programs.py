"""Programs that tests run in a process of their own, because what they do to imports lasts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

REAL = {
    "praisonai/__init__.py": "from . import cli\nmine = 'praisonai'\n",
    "praisonai/cli.py": "mine = 'cli'\ndef late():\n    from .persistence import mine\n    return mine\n",
    "praisonai/persistence/__init__.py": "mine = 'persistence'\n",
    "praisonai/persistence/registry.py": "mine = 'registry'\n",
    "praisonai/persistence/conversation/__init__.py": "mine = 'conversation'\n",
    "praisonai/db/__init__.py": "mine = 'db'\n",
    "praisonaiagents/__init__.py": "",
    "praisonaiagents/session/__init__.py": "class DefaultSessionStore: pass\nclass Other: pass\n",
    "praisonaiagents/session/store.py": "class DefaultSessionStore: pass\ndef get_default_session_store(): pass\n",
}
"""A distribution named praisonai, and one named praisonaiagents, for a temporary folder: file -> text."""


def without(*packages: str) -> str:
    """Return code that makes the rest of a program run as if this project had no such packages: short names."""
    names = {f"praisonai-persistence-{package}" for package in packages}
    return f"""
from functools import cache
from praisonai_persistence import _entry_points
from praisonai_persistence._known import KNOWN
for backends in KNOWN.values():
    for name in [name for name, (distribution, _) in backends.items() if distribution in {names}]:
        del backends[name]
all_installed = _entry_points._installed
_entry_points._installed = cache(lambda: tuple(one for one in all_installed() if one.key not in {names}))
"""


def run_program(
    folder: Path,
    code: str,
    *,
    real: dict[str, str] | None = None,
    arguments: tuple[str, ...] = (),
    check: bool = True,
) -> Any:
    """Run a program in a folder, with distributions beside it; return the JSON that it prints, by lines.

    With ``check=False`` what ``subprocess.run`` returns.
    """
    site = folder / "site"
    site.mkdir(exist_ok=True)
    for name, text in (real or {}).items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
    program = folder / "program.py"
    program.write_text(textwrap.dedent(code), encoding="utf-8")
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-X", "dev", *arguments, str(program)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    if not check:
        return ended
    if (ended.returncode, ended.stderr) != (0, ""):
        raise AssertionError(f"the program ended with {ended.returncode}: {ended.stderr}")
    return [json.loads(line) for line in ended.stdout.splitlines()]
