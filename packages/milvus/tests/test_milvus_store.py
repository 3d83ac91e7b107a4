"""Addresses, expressions and texts, for which no engine is needed."""

from __future__ import annotations

import json
import re
import sys
import types
from array import array

import pytest

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import (
    BackendNotInstalledError,
    ConfigurationError,
    ConnectionFailedError,
    DimensionLimitError,
    UnsupportedOperationError,
)
from praisonai_persistence.filters import parse
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.steps import run
from praisonai_persistence.stores.knowledge import DocumentRow
from praisonai_persistence.stores.projection import Expression
from praisonai_persistence.stores.vector_documents import collection_facts, lowered
from praisonai_persistence.stores.vector_engine import Collection
from praisonai_persistence.stores.vector_errors import GoneError, TakenError
from praisonai_persistence_milvus import AsyncMilvusKnowledgeStore, MilvusKnowledgeStore, MilvusOptions
from praisonai_persistence_milvus._driver import IS_LITE, Ask, MilvusDriver
from praisonai_persistence_milvus.knowledge import FilterCompiler, MilvusSteps, _candidate, _pieces

KEY = "0" * 32
TOO_LONG = "float vector dimension should be in range 2 ~ 32768"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, ("localhost", 19530, False, None, "default")),
        ({"url": "milvus://db/agents"}, ("db", 19530, False, None, "agents")),
        ({"url": "milvus://:k3y@db:1953"}, ("db", 1953, False, "k3y", "default")),
        ({"url": "milvus://root:Mi%40lvus@db"}, ("db", 19530, False, "root:Mi@lvus", "default")),
        ({"url": "http://db.example:19530"}, ("db.example", 19530, False, None, "default")),
        ({"url": "https://in01.example", "token": "k"}, ("in01.example", 443, True, "k", "default")),
        ({"url": "https://in01.example:19530"}, ("in01.example", 19530, True, None, "default")),
        ({"host": "db", "secure": True, "db_name": "a"}, ("db", 19530, True, None, "a")),
        ({"host": "db", "port": 19530, "token": None, "db_name": "default"}, ("db", 19530, False, None, "default")),
    ],
)
def test_addresses(given, wanted):
    found = MilvusOptions(**given)
    assert (found.host, found.port, found.secure, found.token, found.db_name) == wanted


def test_a_folder_takes_nothing_of_a_server(tmp_path):
    assert MilvusOptions(f"milvus:///{tmp_path}/x.db").path == str(tmp_path / "x.db")
    with pytest.raises(ConfigurationError, match="token"):
        MilvusOptions(path=str(tmp_path), token="secret")
    with pytest.raises(ConfigurationError, match="memory"):
        MilvusOptions(path=":memory:")


@pytest.mark.parametrize("given", [{"consistency_level": "Sometimes"}, {"index_type": "IVF"}, {"secure": "yes"}])
def test_what_cannot_be_is_refused(given):
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        MilvusOptions("milvus://db", **given)


def test_the_login_is_not_shown():
    store = MilvusKnowledgeStore("milvus://root:s3cret@db")
    assert "s3cret" not in repr(store) + repr(MilvusOptions("milvus://root:s3cret@db"))


def test_stores_in_one_folder_are_not_shared_with_other_processes(tmp_path):
    assert "shared" in MilvusKnowledgeStore("milvus://db").capabilities
    assert "shared" not in AsyncMilvusKnowledgeStore(path=str(tmp_path)).capabilities


def test_a_folder_without_milvus_lite_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "milvus_lite", None)
    monkeypatch.setitem(sys.modules, "milvus_lite.adapter.grpc.server", None)
    says = pytest.raises(BackendNotInstalledError, match=r"pip install 'praisonai-persistence-milvus\[lite\]'")
    with MilvusKnowledgeStore(path=str(tmp_path / "new")) as store, says:
        store.list_collections()
    assert not (tmp_path / "new").exists()


class Client:
    """Takes any request, and keeps it."""

    def query(self, *place, **arguments):
        self.asked = place, arguments
        return []


@pytest.fixture
def driver():
    return MilvusDriver(MilvusOptions("milvus://db", timeout=7), asynchronous=False)


def asked(driver, lite, expression):
    client = Client()
    steps = driver.probe()
    next(steps)
    steps.send("milvus_lite-3.2.2" if lite else "2.6.4")
    driver.perform(client, Ask("query", "docs", {"filter": expression}))
    place, arguments = client.asked
    assert place == ("docs",)
    assert (arguments["timeout"], arguments["consistency_level"]) == (7, "Strong")
    return arguments["filter"], arguments.get("filter_params")


def test_servers_are_given_bound_values(driver):
    expression = Expression("(id in {}) and (id > {})", (["a0", "b1"], "c"))
    wanted = "(id in {p0}) and (id > {p1})", {"p0": ["a0", "b1"], "p1": "c"}
    assert asked(driver, False, expression) == wanted


def test_milvus_lite_is_given_literals_of_what_the_store_made(driver):
    expression = Expression("(id in {}) and (id > {})", (["a0", "b1"], "c"))
    assert asked(driver, True, expression) == ('(id in ["a0", "b1"]) and (id > "c")', None)
    with pytest.raises(ValueError, match="not made"):
        asked(driver, True, Expression("id == {}", ('" or id != "',)))


def test_no_value_of_a_caller_gets_into_an_expression():
    hostile = '%" or keys != "'
    tree = parse({hostile: {"$in": [hostile, 1]}, "$not": {hostile: {"$contains": hostile}}, "a": {"$exists": False}})
    compiled = FilterCompiler().compile(tree)
    assert compiled.exact
    text = compiled.expression.text
    assert hostile not in text
    assert re.fullmatch("[() andort]*", re.sub('(values|items|keys) like "%[A-Za-z0-9+/]{22}%"', "", text))


def test_texts_are_cut_at_what_milvus_takes():
    text = "\N{GRINNING FACE}" * 40_000 + "a"
    pieces = _pieces(text)
    assert "".join(pieces) == text
    assert max(len(piece.encode()) for piece in pieces) <= 65_535
    assert _pieces("") == []


def test_names_are_told_apart_where_the_case_of_letters_is_lost():
    steps = MilvusSteps(MilvusOptions("milvus://db"))
    names = ["docs", "Docs", "do-cs", "do_cs", "d_Ocs", "do__cs", "_docs"]
    assert len({(steps._prefix + lowered(name)).lower() for name in names}) == len(names)


def test_collections_of_others_are_not_listed():
    steps = MilvusSteps(MilvusOptions("milvus://db"))
    facts = collection_facts(CollectionInfo("Docs", 2, "cosine", None), None)
    described = {
        "_docs": {"description": json.dumps({**facts, "mark": "0" * 32})},
        "lite": {"description": "", "properties": {"praisonai": json.dumps({**facts, "name": "lite", "mark": "1"})}},
        "copied": {"description": json.dumps({**facts, "mark": "0" * 32})},
        "theirs": {"description": "theirs", "properties": {}},
        "theirs2": {"description": json.dumps(facts)},
        "gone": GoneError("somebody has deleted it"),
    }
    listing = steps.list_collections()
    next(listing)
    request = listing.send([steps._prefix + name for name in described] + ["others", steps._claiming])
    with pytest.raises(StopIteration) as listed:
        while True:
            assert request.method == "describe_collection"
            answer = described[request.collection.removeprefix(steps._prefix)]
            request = listing.throw(answer) if isinstance(answer, Exception) else listing.send(answer)
    assert listed.value.value == ["Docs", "lite"]


@pytest.mark.parametrize(("lite", "numbers"), [(False, 2), (True, 1)])
def test_a_server_gets_no_vector_of_one_number(lite, numbers):
    """Milvus refuses a dimension below 2, and claims have no more; Milvus Lite takes them."""
    steps = MilvusSteps(MilvusOptions("milvus://db"))
    opened = Collection(CollectionInfo("docs", 1, "dot", None), KEY)
    row = DocumentRow("a", "content", array("f", [3.0]), None, None, 0.0)
    asked = []

    def answer(request):
        if request is IS_LITE:
            return lite
        asked.append(request)
        return [[]] if request.method == "search" else {"state": types.SimpleNamespace(name="Loaded")}

    run(steps._create(opened.info, None), answer)
    run(steps._claim(opened, "claim", ["a"]), answer)
    run(steps._store(opened, [row]), answer)
    run(steps._rank(opened, array("f", [1.0]), 1, None), answer)
    made, claimed, stored, searched = (one for one in asked if one.method != "get_load_state")
    (field,) = [field for field in made.arguments["schema"].fields if field.name.startswith("vector_")]
    assert field.params["dim"] == numbers
    assert claimed.arguments["data"][0][f"vector_{KEY}"] == [0.0] * numbers
    assert stored.arguments["data"][0][f"vector_{KEY}"] == [3.0, 0.0][:numbers]
    assert len(searched.arguments["data"][0]) == numbers
    found = _candidate(opened, {**stored.arguments["data"][0]})
    assert list(found.embedding) == [3.0]


@pytest.mark.parametrize("version", ["v2.4.23", "2.2.0-rc1"])
def test_a_server_without_bound_filters_is_refused(driver, version):
    steps = driver.probe()
    next(steps)
    with pytest.raises(UnsupportedOperationError, match=r"Milvus 2\.\d; 2\.5 or later"):
        steps.send(version)


@pytest.mark.parametrize("version", ["v2.5.0", "2.6.4", "v3.0.0-dev", "milvus_lite-1.0.0", "master-20260101"])
def test_other_servers_are_used(driver, version):
    steps = driver.probe()
    next(steps)
    assert steps.send(version).method == "list_collections"


@pytest.mark.parametrize(
    ("code", "text", "wanted"),
    [
        (100, "collection not found[database=default][collection=docs]", GoneError),
        (101, "collection not loaded", GoneError),
        (1100, f"cannot parse expression: id_{KEY} > x, error: field id_{KEY} not exist", GoneError),
        (1, f"Attempt to insert an unexpected field `id_{KEY}` to collection", GoneError),
        (1, "create duplicate collection with different parameters", TakenError),
        (800, "database not found[database=agents]", ConfigurationError),
        (1100, f"invalid dimension: 32769 of field vector_{KEY}. {TOO_LONG}: invalid parameter", DimensionLimitError),
        (8, "request is rejected by the limiter", ThrottledError),
        (1, "Received UNIMPLEMENTED from server.", UnsupportedOperationError),
    ],
)
def test_errors_of_servers_are_told_apart(driver, code, text, wanted):
    exceptions = pytest.importorskip("pymilvus.exceptions")
    found = driver.translate(exceptions.MilvusException(code, text))
    assert type(found) is wanted
    assert KEY not in str(found)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("DEADLINE_EXCEEDED", "can be repeated"),
        ("UNAVAILABLE", "does not answer"),
        ("UNAUTHENTICATED", "check its token"),
        ("PERMISSION_DENIED", "check its token"),
    ],
)
def test_errors_of_grpc_are_told_apart(driver, status, says):
    grpc = pytest.importorskip("grpc")
    exceptions = pytest.importorskip("pymilvus.exceptions")

    class RpcError(grpc.RpcError):
        def code(self):
            return types.SimpleNamespace(name=status)

        def __str__(self):
            return f"StatusCode.{status}"

    error = exceptions.MilvusException(2, "Fail connecting to server")
    if status != "DEADLINE_EXCEEDED":
        error.__cause__ = RpcError()
    for one in (RpcError(), error) if error.__cause__ else (RpcError(),):
        found = driver.translate(one)
        assert type(found) is ConnectionFailedError
        assert says in str(found)
