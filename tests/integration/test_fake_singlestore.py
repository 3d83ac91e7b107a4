"""What the fake keeps of its documentation (``fakes/singlestore.md``), asked over its socket."""

from __future__ import annotations

import uuid

import pytest


class TestSingleStore:
    """The facts of ``fakes/singlestore.md`` that are refusals, asked of the proxy."""

    @pytest.fixture
    def table(self, singlestore):
        if not singlestore.restartable:
            pytest.skip("the facts are those of the proxy, and this is the service itself")
        name = f"`facts_{uuid.uuid4().hex[:8]}`"
        yield name
        singlestore.execute(f"DROP TABLE IF EXISTS {name}")

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("CREATE TABLE {t} (a INT, b INT, SHARD KEY (a), UNIQUE KEY (b) USING HASH)", "shard key"),
            ("CREATE TABLE {t} (a INT, SHARD KEY (a), KEY (a))", "hash keys"),
            ("CREATE ROWSTORE TABLE {t} (a INT, SHARD KEY (a), SORT KEY (a))", "sort key"),
            ("CREATE ROWSTORE TABLE {t} (a INT, v VECTOR(2, F32) NOT NULL, VECTOR INDEX n (v))", "vector index"),
            ("CREATE TABLE {t} (a INT, FOREIGN KEY (a) REFERENCES b (a))", "FOREIGN KEY"),
            ("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "READ COMMITTED"),
            ("SELECT 1 FROM {t} FOR UPDATE", "FOR UPDATE"),
            ("SELECT GET_LOCK('a', 1)", "GET_LOCK"),
            ("SELECT LAST_INSERT_ID(3)", "LAST_INSERT_ID"),
            ("SELECT VEC_DISTANCE_EUCLIDEAN(a, b)", "VEC_"),
        ],
    )
    def test_what_singlestore_has_not(self, singlestore, table, statement, said):
        with pytest.raises(Exception, match=said):
            singlestore.execute(statement.replace("{t}", table))

    def test_columns_of_keys_are_not_updated(self, singlestore, table):
        keys = "SHARD KEY (a), UNIQUE KEY (a) USING HASH"
        singlestore.execute(f"CREATE TABLE {table} (a INT NOT NULL, b INT, {keys})")
        singlestore.execute(f"INSERT INTO {table} (a, b) VALUES (1, 1)")
        singlestore.execute(f"UPDATE {table} SET b = 2 WHERE a = 1")
        upsert = f"INSERT INTO {table} (a, b) VALUES (1, 3) ON DUPLICATE KEY UPDATE"
        singlestore.execute(f"{upsert} b = VALUES(b)")
        for statement in (f"UPDATE {table} SET a = 2 WHERE a = 1", f"{upsert} a = VALUES(a)"):
            with pytest.raises(Exception, match="part of a key"):
                singlestore.execute(statement)
        assert singlestore.execute(f"SELECT a, b FROM {table}") == [(1, 3)]

    def test_distances(self, singlestore, table):
        singlestore.execute(f"CREATE TABLE {table} (a INT NOT NULL, ranked VECTOR(2, F32) NOT NULL, SHARD KEY (a))")
        singlestore.execute(f"INSERT INTO {table} (a, ranked) VALUES (1, ('[3,4]' :> VECTOR(2)))")
        for operator, query, distance in (("<*>", "[2,1]", 10), ("<*>", "[0,0]", 0), ("<->", "[0,0]", 5)):
            found = singlestore.execute(f"SELECT ranked {operator} ('{query}' :> VECTOR(2)) FROM {table}")
            assert found[0][0] == pytest.approx(distance, rel=1e-5)
