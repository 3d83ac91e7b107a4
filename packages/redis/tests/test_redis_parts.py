"""Errors, filters and waits; no server needed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from redis import exceptions

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    WrongTypeError,
)
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.payload import dumps
from praisonai_persistence.testing._filter_cases import FILTERS, POOL, single_filters
from praisonai_persistence_redis._errors import classify, translate
from praisonai_persistence_redis._filters import TokenCompiler, attributes
from praisonai_persistence_redis._scripts import need_no_eviction


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (exceptions.ConnectionError("Connection closed by server."), "lost", ConnectionFailedError),
        (exceptions.TimeoutError("Timeout reading from socket"), "lost", ConnectionFailedError),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "repeat", ConnectionFailedError),
        (exceptions.MaxConnectionsError(), "repeat", ConnectionFailedError),
        (exceptions.ConnectionError("max number of clients reached"), "repeat", ConnectionFailedError),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), "repeat", BackendError),
        (exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"), "repeat", ConnectionFailedError),
        (exceptions.AuthenticationError("invalid username-password pair"), "other", ConnectionFailedError),
        (exceptions.NoPermissionError("User x has no permissions to run the 'get' command"), "other", BackendError),
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "other", BackendError),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "other", BackendError),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), "other", WrongTypeError),
        (exceptions.MovedError("1 127.0.0.1:7000"), "other", ConfigurationError),
        (exceptions.RedisClusterException("Redis Cluster cannot be connected."), "lost", ConnectionFailedError),
    ],
)
def test_what_errors_mean(error: Exception, kind: str, expected: type[PersistenceError]) -> None:
    assert classify(error) == kind
    assert type(translate(error, "h:1")) is expected


def test_a_failure_to_connect_says_that_nothing_was_sent() -> None:
    error: Any = exceptions.ConnectionError("Connection refused")
    error.unsent = True
    assert classify(error) == "unsent"


def test_what_was_to_be_stored_is_in_no_message() -> None:
    error = exceptions.ResponseError("unknown command 'X', with args beginning with: 'key' 't0p-s3cret'")
    assert "t0p-s3cret" not in str(translate(error, "h:1"))


def test_eviction() -> None:
    for fine in (
        {},
        {"maxmemory": 0, "maxmemory_policy": "allkeys-lru"},
        {"maxmemory": 1, "maxmemory_policy": "noeviction"},
        {"maxmemory": 1, "maxmemory_policy": "volatile-ttl"},
    ):
        need_no_eviction(fine)
    bad = {"maxmemory": 1, "maxmemory_policy": "allkeys-random"}
    for found in (bad, {"127.0.0.1:7000": bad}):
        with pytest.raises(ConfigurationError, match="allow_eviction"):
            need_no_eviction(found)


def _evaluate(expression: str | None, found: str) -> bool:
    """What a vector set does with an expression of ours."""
    if expression is None:
        return True
    tokens = json.loads(found)["t"]
    return bool(eval(re.sub(r'\("([^"]*)" in \.t\)', lambda match: str(match[1] in tokens), expression)))


DOCUMENTS = [(metadata, attributes(None if metadata is None else dumps(metadata))) for metadata in POOL]


def _check(filters: dict[str, Any]) -> bool:
    tree = parse(filters)
    compiled = TokenCompiler().compile(tree)
    for metadata, said in DOCUMENTS:
        selects, wanted = _evaluate(compiled.expression, said), matches(tree, metadata)
        assert selects or not wanted, f"{filters!r} loses {metadata!r}"
        assert selects == wanted or not compiled.exact, f"{filters!r} takes {metadata!r}"
    return compiled.exact


def test_compiled_filters_select_what_matches() -> None:
    """And not more, where they say that they are exact."""
    filters = single_filters()
    assert sum(map(_check, filters)) > len(filters) / 3


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(FILTERS)
def test_compiled_combinations_select_what_matches(filters: dict[str, Any]) -> None:
    _check(filters)


def test_long_lists_are_not_spelled_out() -> None:
    compiled = TokenCompiler().compile(parse({"k": {"$in": list(range(1000))}}))
    assert not compiled.exact
    assert len(str(compiled.expression)) < 100
