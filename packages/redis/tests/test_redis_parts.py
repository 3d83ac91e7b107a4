"""Errors, filters and waits; no server needed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from redis import exceptions

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    UnsupportedOperationError,
    WrongTypeError,
)
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.payload import dumps
from praisonai_persistence.steps import run
from praisonai_persistence.testing._filter_cases import FILTERS, POOL, single_filters
from praisonai_persistence_redis import RedisKnowledgeStore, RedisStateStore, ValkeyVectorKnowledgeStore
from praisonai_persistence_redis._errors import classify, translate
from praisonai_persistence_redis._exchange import fit
from praisonai_persistence_redis._filters import SearchCompiler, Terms, VectorSetCompiler, tokens
from praisonai_persistence_redis._indexes import available, choose
from praisonai_persistence_redis._scripts import need_no_eviction
from praisonai_persistence_rediscore import Command


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


def _on_vector_set(expression: str, found: set[str]) -> bool:
    """What a vector set does with an expression of ours."""
    return bool(eval(re.sub(r'\("([^"]*)" in \.t\)', lambda match: str(match[1] in found), expression)))


def _on_search(expression: Terms, found: set[str]) -> bool:
    """What the search module does with an expression of ours."""
    said = re.sub(r"@t:\{([^}]*)\}", lambda match: str(match[1].replace("\\", "") in found), str(expression))
    return bool(
        eval(said.replace("(-", "(not ").replace(" ", " and ").replace("not and ", "not ").replace("|", " or "))
    )


DOCUMENTS = [(metadata, {*tokens(None if metadata is None else dumps(metadata))}) for metadata in POOL]
LANGUAGES = [(VectorSetCompiler(), _on_vector_set), (SearchCompiler(), _on_search)]


def _check(filters: dict[str, Any]) -> list[bool]:
    tree, exact = parse(filters), []
    for compiler, evaluate in LANGUAGES:
        compiled = compiler.compile(tree)
        for metadata, found in DOCUMENTS:
            selects = compiled.expression is None or evaluate(compiled.expression, found)
            wanted = matches(tree, metadata)
            assert selects or not wanted, f"{filters!r} loses {metadata!r}"
            assert selects == wanted or not compiled.exact, f"{filters!r} takes {metadata!r}"
        exact.append(compiled.exact)
    return exact


def test_compiled_filters_select_what_matches() -> None:
    """And not more, where they say that they are exact."""
    filters = single_filters()
    for exact in zip(*map(_check, filters), strict=True):
        assert sum(exact) > len(filters) / 3


@settings(max_examples=100)
@given(FILTERS)
def test_compiled_combinations_select_what_matches(filters: dict[str, Any]) -> None:
    _check(filters)


def test_negations_for_the_search_module_stand_beside_the_rest() -> None:
    """It answers others wrong now and then; without the negation more is selected, and checked."""
    a, b, c = ({"k": name} for name in "abc")
    tree = parse({"$and": [a, {"$not": {"$or": [b, c]}}, {"$or": [b, {"$and": [c, {"$not": a}]}]}]})
    compiled = SearchCompiler().compile(tree)
    assert not compiled.exact
    assert len(compiled.expression.unwanted) == 2
    assert not any("-" in term for term in (*compiled.expression.wanted, *compiled.expression.unwanted))
    assert SearchCompiler().compile(parse({"$or": [a, {"$not": b}]})).expression is None


def test_long_lists_are_not_spelled_out() -> None:
    for compiler, _ in LANGUAGES:
        compiled = compiler.compile(parse({"k": {"$in": list(range(1000))}}))
        assert not compiled.exact
        assert len(str(compiled.expression)) < 100


class _Server:
    """Says what is put into its mouth."""

    def __init__(self, hello: Any, vector_sets: Exception | int, database: int | None = None) -> None:
        self._answers = {"HELLO": hello, "VCARD": vector_sets}
        self._database = database

    def get_connection_kwargs(self) -> dict[str, Any]:
        return {} if self._database is None else {"db": self._database}

    def execute_command(self, name: str, *_: Any, **__: Any) -> Any:
        answer = self._answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


ALL = {"hnsw", "flat", "vectorset"}
UNKNOWN = exceptions.ResponseError("unknown command 'X'")


def _flat(server: bytes, *modules: tuple[bytes, int]) -> list[Any]:
    return [b"server", server, b"modules", [[b"name", name, b"ver", version] for name, version in modules]]


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (_Server(_flat(b"redis", (b"search", 21005)), UNKNOWN), {"hnsw", "flat"}),
        (_Server(_flat(b"redis", (b"search", 80005), (b"vectorset", 1)), 0), {"hnsw", "flat", "vectorset"}),
        (_Server({b"server": b"redis", b"modules": [{b"name": b"search", b"ver": 80005}]}, 0, 0), ALL),
        (_Server(_flat(b"redis", (b"search", 80005)), 0, 1), {"vectorset"}),
        (_Server(_flat(b"redis", (b"search", 20811)), UNKNOWN), set()),
        (_Server(_flat(b"valkey", (b"search", 65536)), UNKNOWN), {"valkey_hnsw", "valkey_flat"}),
        (_Server(_flat(b"valkey", (b"search", 65536)), UNKNOWN, 1), set()),
        (_Server(_flat(b"valkey"), UNKNOWN), set()),
        (_Server(_flat(b"redis"), exceptions.NoPermissionError("no")), {"vectorset"}),
        (_Server(UNKNOWN, 0), {"vectorset"}),
    ],
)
def test_what_a_server_can(server: _Server, expected: set[str]) -> None:
    assert run(available("{x}:"), lambda request: request(server)) == expected


def test_an_index_that_there_is_not() -> None:
    for store in (RedisKnowledgeStore, ValkeyVectorKnowledgeStore):
        for unknown in ("btree", "valkey"):
            with pytest.raises(ConfigurationError, match="auto, hnsw, flat, vectorset, exact$"):
                store("redis://h", index=unknown)
    with pytest.raises(ConfigurationError, match="knowledge stores"):
        RedisStateStore("redis://h", index="flat")
    for found, expected in (({"vectorset", "hnsw", "flat"}, "hnsw"), ({"vectorset"}, "vectorset")):
        assert choose("auto", found).name == expected
        assert choose("vectorset", found).name == "vectorset"
    for wanted, found, expected in (
        ("valkey", set(), "exact"),
        ("valkey", {"vectorset"}, "vectorset"),
        ("valkey", {"valkey_hnsw", "valkey_flat"}, "valkey_flat"),
        ("hnsw", {"valkey_hnsw", "valkey_flat"}, "valkey_hnsw"),
        ("flat", {"valkey_hnsw", "valkey_flat"}, "valkey_flat"),
        ("exact", {"hnsw"}, "exact"),
    ):
        assert choose(wanted, found).name == expected
    for wanted, words in (("auto", "Redis 8 or later"), ("hnsw", "database 0"), ("vectorset", "Redis 8 or later")):
        with pytest.raises(UnsupportedOperationError, match=words):
            choose(wanted, set())


def test_how_many_commands_go_together():
    small, large = Command("GET", "key"), Command("SET", "key", "x" * 65_536)
    assert fit([large]) == fit([large, large]) == 1, "one always goes"
    assert fit([small, small, large, small]) == 2
    assert fit([small] * 63) == 63
    assert fit([small] * 100) == 64
