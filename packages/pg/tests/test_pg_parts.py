"""What the stores of all PostgreSQL backends share, as far as it needs no server."""

from __future__ import annotations

import struct
from array import array

import psycopg
import pytest

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores import StepStateStore
from praisonai_persistence_pg import PostgresStore, settings
from praisonai_persistence_pg.on_psycopg import _RealsDumper
from praisonai_persistence_sql import SQLStateSteps


class Store(PostgresStore, StepStateStore):
    backend = "test"
    _make_steps = SQLStateSteps
    _session = {"work_mem": "8MB"}  # noqa: RUF012


def test_settings_of_a_session_go_with_the_connection():
    found = settings("postgresql://h/d", {}, None, 2.0, None, {"work_mem": "8MB"})
    assert found.for_psycopg()["options"] == "-c statement_timeout=2000 -c work_mem=8MB"
    assert found.for_asyncpg()["server_settings"]["work_mem"] == "8MB"
    assert settings("postgresql://h/d", {}, None, None, None, {"a": "b"}).server_settings == {"a": "b"}
    pooled = settings("postgresql://u@x-pooler.eu.neon.tech/d", {}, None, 2.0, None, {"work_mem": "8MB"})
    assert pooled.server_settings == {}, "a pooler refuses them"


def test_a_store_that_was_told_nothing_says_what_it_needs():
    with pytest.raises(ConfigurationError, match="where the server is"):
        Store()
    assert Store("postgresql://127.0.0.1:1/d").backend == "test"


def test_arrays_of_floats_in_binary():
    """As the protocol has them: dimensions, whether there are NULLs, the type, the length, the first subscript."""
    values = array("f", [1.5, -0.0])
    expected = struct.pack(">iiIii", 1, 0, 700, 2, 1) + struct.pack(">ifif", 4, 1.5, 4, -0.0)
    assert _RealsDumper(array).dump(values) == expected
    assert _RealsDumper.oid == psycopg.postgres.types["float4"].array_oid
