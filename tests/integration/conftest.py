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


@pytest.fixture(scope="session")
def postgres(_engines) -> engines.Engine:
    """A PostgreSQL server."""
    return engines.engine("postgres")


@pytest.fixture(scope="session")
def mariadb(_engines) -> engines.Engine:
    """A MariaDB server."""
    return engines.engine("mariadb")


@pytest.fixture(scope="session")
def redis(_engines) -> engines.Engine:
    """A Redis server."""
    return engines.engine("redis")


@pytest.fixture(scope="session")
def redis_search(_engines) -> engines.Engine:
    """A Redis server with the search module."""
    return engines.engine("redis_search")


@pytest.fixture(scope="session")
def valkey(_engines) -> engines.Engine:
    """A Valkey server."""
    return engines.engine("valkey")


@pytest.fixture(scope="session")
def pgvector(_engines) -> engines.Engine:
    """A PostgreSQL server with the extension vector."""
    return engines.engine("pgvector")


@pytest.fixture(scope="session")
def pgbouncer(_engines) -> engines.Engine:
    """A PgBouncer before that server, which lends connections for a transaction."""
    return engines.engine("pgbouncer")


@pytest.fixture(scope="session")
def chroma(_engines) -> engines.Engine:
    """A Chroma server."""
    return engines.engine("chroma")


@pytest.fixture(scope="session")
def qdrant(_engines) -> engines.Engine:
    """A Qdrant server."""
    return engines.engine("qdrant")
