"""Engines for the tests of server backends; see ``engines``."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported by their files, so this folder is on no path

import engines


@pytest.fixture(scope="session", autouse=True)
def _engines():
    yield
    engines.shut_down()


@pytest.fixture(scope="module", autouse=True)
def _collected():
    """What a test left open is found when it is collected: here at the latest, so that its own file fails."""
    yield
    gc.collect()


def _fixture(name: str):
    @pytest.fixture(scope="session", name=name)
    def running(_engines) -> engines.Engine:
        return engines.engine(name)

    running.__doc__ = engines.ENGINES[name].__doc__
    return running


# An engine is asked for by its name: `def test_x(postgres)`.
for _name in engines.ENGINES:
    globals()[f"_{_name}"] = _fixture(_name)
