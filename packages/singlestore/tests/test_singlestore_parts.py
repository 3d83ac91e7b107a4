"""Statements in SingleStore's syntax, options, and the errors of the vendor's client."""

from __future__ import annotations

import re
import socket

import pymysql
import pytest

from praisonai_persistence import ConfigurationError, ConnectionFailedError, UnsupportedOperationError
from praisonai_persistence.filters import parse
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence_mysqlcore.settings import settings_of
from praisonai_persistence_singlestore import (
    AsyncSingleStoreConversationStore,
    SingleStoreConversationStore,
    SingleStoreVectorKnowledgeStore,
)
from praisonai_persistence_singlestore._client import SingleStorePool, _Traits
from praisonai_persistence_singlestore._dialect import CONVERSATION, SEARCH, SingleStore
from praisonai_persistence_singlestore.conversation import SingleStoreConversationSteps
from praisonai_persistence_singlestore.knowledge import SingleStoreVectorSteps, VectorOptions, _Compiler
from praisonai_persistence_sql import Execute

URL = "singlestore://u:s3cret@h/d"


def _statements(steps: object) -> list[str]:
    return [text for text in vars(steps).values() if isinstance(text, str)]


@pytest.mark.parametrize("sql", [*CONVERSATION[0].up, *SEARCH])
def test_every_unique_key_contains_the_shard_key(sql):
    shard = re.search(r"SHARD KEY \((\w+)\)", sql)[1]
    unique = re.findall(r"(?:PRIMARY|UNIQUE) KEY (?:\{\w+\} )?\(([^)]*)\)", sql)
    assert unique
    assert all(shard in re.findall(r"\w+", columns) for columns in unique)
    assert "IF NOT EXISTS" in sql


def test_a_server_that_is_too_old_is_refused():
    with pytest.raises(UnsupportedOperationError, match=r"SingleStore 8\.1\.42; 8\.5 or later is needed: upgrade it"):
        SingleStorePool.traits((1 << 24, "8.1.42"), 0)
    for version in ("8.5.1", "8.9.1", "9.0.2", "10.0"):
        assert SingleStorePool.traits((1 << 24, version), 0).largest > 0


def test_nothing_is_relied_on_that_the_server_may_lack():
    for sql in _statements(SingleStoreConversationSteps("p_")):
        assert not re.search("FOR UPDATE|LAST_INSERT_ID|ROW_COUNT|GET_LOCK|MATCH|REFERENCES", sql), sql


def test_columns_of_keys_are_not_assigned_to():
    assert SingleStore().insert_new("t", ["a", "b"], ["a"]) == "INSERT IGNORE INTO t (a, b) VALUES (?, ?)"
    assert SingleStore().upsert("t", ["a", "b"], ["a"]).endswith("ON DUPLICATE KEY UPDATE b = VALUES(b)")
    assert SingleStore().rename({"a": "b"}) == ["ALTER TABLE `a` RENAME TO `b`"]


def _created(distance: str, index: str | None) -> str:
    steps = SingleStoreVectorSteps("p_", VectorOptions(index, 2000))._create(CollectionInfo("c", 3, distance), None)
    request = next(steps)
    assert isinstance(request, Execute)
    return request.sql


def test_a_collection_gets_the_index_that_was_asked_for():
    assert "ranked VECTOR(3, F32) NOT NULL" in _created("cosine", None)
    assert "VECTOR INDEX" not in _created("cosine", None)
    assert '(ranked) INDEX_OPTIONS \'{"index_type": "IVF_PQFS", "metric_type": "DOT_PRODUCT"}\'' in _created(
        "cosine", "ivf_pqfs"
    )
    assert '"metric_type": "EUCLIDEAN_DISTANCE"' in _created("euclidean", "auto")


def test_filters_hold_nothing_of_the_caller():
    compiled = _Compiler().compile(parse({"it's": "50%", "n": {"$gt": 2}}))
    assert not compiled.exact
    assert "it's" not in compiled.expression
    assert re.fullmatch(r"[\w\s()%'<>=.,$]+", compiled.expression)


@pytest.mark.parametrize(
    ("store", "options"),
    [
        (SingleStoreConversationStore, {"statement_timeout": 3}),
        (AsyncSingleStoreConversationStore, {"url": "postgresql://h/d"}),
        (SingleStoreConversationStore, {"url": "singlestore://h"}),
        (SingleStoreConversationStore, {"url": None}),
        (SingleStoreVectorKnowledgeStore, {"index": "hnsw"}),
        (SingleStoreVectorKnowledgeStore, {"index_from": 1000}),
        (SingleStoreVectorKnowledgeStore, {"index_from": True}),
        (SingleStoreVectorKnowledgeStore, {"adopt_legacy": True}),
    ],
)
def test_options_that_cannot_be(store, options):
    with pytest.raises(ConfigurationError) as caught:
        store(**{"url": URL, **options})
    assert "s3cret" not in str(caught.value)


def test_locks_are_given_up_before_the_client_does():
    traits = _Traits((1_000_000, "8.9.1"), 0)
    assert traits.limits(settings_of("mysql://h/d", {"timeout": 30})) == ["SET SESSION lock_wait_timeout = 25"]
    assert traits.limits(settings_of("mysql://h/d", {"timeout": 90})) == []


def test_the_client_raises_errors_of_pymysql_and_holds_no_connection():
    from singlestoredb.utils import events

    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = settings_of(f"mysql://u@127.0.0.1:{silent.getsockname()[1]}/d", {"connect_timeout": 0.2})
        pool = SingleStorePool(settings, None, None)
        with pytest.raises(pymysql.err.OperationalError):
            pool._open()
        with pytest.raises(ConnectionFailedError):
            pool._connect()
    assert not events._subscribers
