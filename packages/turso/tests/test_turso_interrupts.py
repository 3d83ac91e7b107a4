"""What an interrupted call leaves behind in a file, for other processes: nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from praisonai_persistence_turso import TursoStateStore, _driver

WRITER = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
other.execute("BEGIN IMMEDIATE")
other.execute("ROLLBACK")
"""


@pytest.mark.parametrize("place", ["__enter__", "__exit__"])
def test_others_can_write_though_the_store_is_not_used_again(tmp_path, monkeypatch, place):
    path = str(tmp_path / "a.db")
    with TursoStateStore(path=path) as store:
        store.set("key", 1)
        own = getattr(_driver._Turn, place)

        def interrupted(turn, *error):
            monkeypatch.undo()
            if place == "__enter__":
                own(turn)
            raise KeyboardInterrupt

        monkeypatch.setattr(_driver._Turn, place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.set("key", 2)
        subprocess.run([sys.executable, "-c", WRITER, path], check=True)
        assert store.get("key") in (1, 2)
        store.set("key", 3)
        assert store.get("key") == 3
