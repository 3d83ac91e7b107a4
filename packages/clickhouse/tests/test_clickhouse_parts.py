"""Addresses, options and statements, for which no server is needed."""

from __future__ import annotations

from array import array

import pytest

from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError, InvalidIdentifierError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence_clickhouse import (
    AsyncClickHouseKnowledgeStore,
    ClickHouseKnowledgeStore,
    ClickHouseOptions,
)
from praisonai_persistence_clickhouse._driver import Ask, ClickHouseDriver
from praisonai_persistence_clickhouse._row_binary import rows, size, text
from praisonai_persistence_clickhouse.knowledge import ClickHouseSteps, Opened


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, ("localhost", 8123, "default", "", "praisonai", False)),
        ({"password": ""}, ("localhost", 8123, "default", "", "praisonai", False)),
        ({"url": "clickhouse://u:p%2F@db:9/other"}, ("db", 9, "u", "p/", "other", False)),
        ({"url": "clickhouse://db", "secure": True}, ("db", 8443, "default", "", "praisonai", True)),
        ({"url": "https://a1.eu.clickhouse.cloud"}, ("a1.eu.clickhouse.cloud", 8443, "default", "", "praisonai", True)),
        ({"url": "https://db:8123"}, ("db", 8123, "default", "", "praisonai", True)),
        ({"host": "db", "port": 8123, "secure": True}, ("db", 8123, "default", "", "praisonai", True)),
    ],
)
def test_addresses(given, wanted):
    found = ClickHouseOptions(**given)
    assert (found.host, found.port, found.username, found.password, found.database, found.secure) == wanted


@pytest.mark.parametrize("name", ["a`b", "a.b", "x; DROP", "é"])
@pytest.mark.parametrize("option", ["database", "cluster"])
def test_names_that_reach_definitions_are_checked(option, name):
    with pytest.raises(InvalidIdentifierError):
        ClickHouseOptions(**{option: name})


@pytest.mark.parametrize("settings", [[("a", 1)], {1: 2}])
def test_settings_have_names(settings):
    with pytest.raises(ConfigurationError, match="settings"):
        ClickHouseOptions(settings=settings)


class AsyncClient:
    """Stands for a client that is handed in; never used."""


def test_an_async_client_is_for_the_async_store():
    with pytest.raises(ConfigurationError, match="AsyncClickHouseKnowledgeStore"):
        ClickHouseKnowledgeStore(client=AsyncClient())
    AsyncClickHouseKnowledgeStore(client=AsyncClient())


def asked(steps, answers=()):
    """The statements of steps, each answered by what is left of the answers; an exception is raised there."""
    found, left, answer = [], list(answers), None
    try:
        while True:
            request = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            found.append(request.sql)
            answer = left.pop(0) if left else b""
    except StopIteration:
        return found


def test_on_a_cluster_tables_are_replicated():
    steps = ClickHouseSteps(ClickHouseOptions(cluster="main"))
    database, table = asked(steps._create(CollectionInfo("docs", 3, "cosine", None), None))
    assert database == "CREATE DATABASE IF NOT EXISTS `praisonai` ON CLUSTER `main`"
    assert table.startswith("CREATE TABLE `praisonai`.`praison_.docs` ON CLUSTER `main` (")
    assert "ENGINE = ReplicatedReplacingMergeTree(ver)" in table


def test_a_server_without_such_an_index_is_searched_exactly():
    steps = ClickHouseSteps(ClickHouseOptions())
    opened = Opened(CollectionInfo("docs", 3, "dot", None), "key_1", False)
    assert len(asked(steps._index(opened), [BackendError("no such index")])) == 1


class Client:
    """Records what it is asked."""

    def raw_query(self, sql, *, parameters, settings):
        return sql, parameters, settings


def test_values_are_parameters_and_long_vectors_are_split():
    driver = ClickHouseDriver(ClickHouseOptions(cluster="main"), asynchronous=False)
    vector = [0.0] * 5_000
    sql, parameters, settings = driver.perform(Client(), Ask("f({}) g({}) h({})", ["x'", vector, 3], {"a": 1}))
    assert sql == "f({p0:String}) g(arrayConcat({p1:Array(Float32)}, {p2:Array(Float32)})) h({p3:UInt64})"
    assert parameters == {"p0": "x'", "p1": vector[:4_096], "p2": vector[4_096:], "p3": 3}
    assert settings["a"] == 1
    assert settings["select_sequential_consistency"] == 1


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 16_383, 16_384, 5_000_000])
def test_rows_are_read_as_they_are_written(number):
    content, vector = "é" * (number // 2), array("f", [1.5, -2.0])
    data = text(content) + size(2) + vector.tobytes() + number.to_bytes(8, "little")
    names = size(3) + text(content) + text("v") + text("n")
    assert rows(names + data + data, "svn") == [(content, vector, number)] * 2
    assert rows(names, "svn") == []


def test_an_answer_without_names_was_cut_off():
    with pytest.raises(ConnectionFailedError):
        rows(b"", "s")
