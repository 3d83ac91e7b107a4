"""The page about compatibility: every name that it says is here can be imported, and it is up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import compatibility

ROOT = Path(__file__).parent.parent.parent

RESOLVE = """
import sys
from importlib import import_module
import praisonai_persistence.compat
for module, names in {public!r}.items():
    own = import_module(module)
    for name, members in names.items():
        home = getattr(own, name) if name else own
        for member in members.split():
            assert hasattr(home, member), (module, name, member)
"""


def test_every_name_that_is_said_to_be_here_is() -> None:
    code = RESOLVE.format(public=compatibility.PUBLIC)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_page_names_every_backend_and_is_written() -> None:
    page = compatibility.page(ROOT)
    for name in ("pinecone", "sync_sqlite", "async_mongodb", "gcs", "MigrationManager", "auto_create_tables", "C13"):
        assert f"`{name}`" in page or name in page
    assert (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8") == page


def test_clauses_that_the_page_names_exist() -> None:
    contract = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    for _, _, clauses in compatibility.DIFFERENT:
        for clause in clauses.split(", "):
            assert f"### {clause} " in contract, clause
