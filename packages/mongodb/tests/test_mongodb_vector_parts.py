"""What the knowledge stores in MongoDB are given, and how filters are said; nothing is connected."""

from __future__ import annotations

import pytest
from pymongo.errors import BulkWriteError, OperationFailure

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    UnsupportedOperationError,
)
from praisonai_persistence.filters import parse
from praisonai_persistence.stores.projection import field, token
from praisonai_persistence_mongodb import MongoDBVectorKnowledgeStore, MongoVectorOptions
from praisonai_persistence_mongodb._driver import MongoDriver
from praisonai_persistence_mongodb._filters import FilterCompiler


def _in_bulk(code, message):
    """Return the error of a document whose text is that of other errors."""
    content = "Similarity index was not found, search the index, over quota"
    failed = {"index": 0, "code": code, "errmsg": message, "op": {"_id": "a", "content": content}}
    return BulkWriteError({"writeErrors": [failed], "writeConcernErrors": []})


def test_the_names_of_praisonai_are_the_defaults():
    options = MongoVectorOptions()
    assert (options.uri, options.database) == ("mongodb://localhost:27017/", "praisonai")
    assert (options.collection, options.index_name) == ("vectors", "vector_index")
    assert (options.embedding_field, options.text_field) == ("embedding", "content")
    assert (options.vector_search, options.freshness) == ("auto", "all")


def test_options_stand_in_a_url():
    options = MongoVectorOptions(
        "mongodb+srv://me:secret@cluster.example.net/agents?vector_search=atlas&freshness=own&index_from=5&retryWrites=true"
    )
    assert (options.vector_search, options.freshness, options.index_from) == ("atlas", "own", 5)
    assert options.uri == "mongodb+srv://me:secret@cluster.example.net/agents?retryWrites=true"
    assert MongoVectorOptions("mongodb_atlas://db/x").uri == "mongodb://db/x?"


@pytest.mark.parametrize(
    "given",
    [
        {"embedding_field": "a.b"},
        {"embedding_field": "$a"},
        {"text_field": "_id"},
        {"text_field": "metadata"},
        {"text_field": "embedding"},
        {"index_name": ""},
        {"vector_search": "community"},
        {"freshness": "none"},
        {"exact_documents": 0},
        {"collection": "a$b"},
    ],
)
def test_what_cannot_be_is_refused(given):
    with pytest.raises(ConfigurationError):
        MongoDBVectorKnowledgeStore(**given)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OperationFailure("no such command: 'createSearchIndexes'", 59), UnsupportedOperationError, "no vector search"),
        (OperationFailure("$vectorSearch is not allowed", 31082), UnsupportedOperationError, "MongoDB Atlas"),
        (
            OperationFailure("Unrecognized pipeline stage name: '$vectorSearch'", 40324),
            UnsupportedOperationError,
            "'exact'",
        ),
        (OperationFailure("no such command: 'find'", 59), UnsupportedOperationError, "lacks what the store asks for"),
        (OperationFailure("Similarity index was not found for a query", 2), UnsupportedOperationError, "'cosmos'"),
        (OperationFailure("too many", 489), ThrottledError, "too many searches"),
        (OperationFailure("maximum number of FTS indexes", 8000), BackendError, "no room for another index"),
        (OperationFailure("bad auth", 8000), ConnectionFailedError, "refuses the login"),
        (OperationFailure("not allowed to do action [find] on [db.index]", 8000), ConnectionFailedError, "role"),
        (OperationFailure("you are over your space quota", 8000), BackendError, "has no more room: delete documents"),
        (OperationFailure("already using 500 collections of 500", 8000), BackendError, "has no more room"),
        (_in_bulk(8000, "you are over your space quota"), BackendError, "has no more room: delete documents"),
        (_in_bulk(8000, "maximum number of FTS indexes"), BackendError, "no room for another index"),
        (_in_bulk(59, "no such command"), UnsupportedOperationError, "lacks what the store asks for"),
        (_in_bulk(2, "bad value"), BackendError, "failed: BulkWriteError"),
    ],
)
def test_errors_say_what_to_do(error, kind, words):
    driver = MongoDriver(MongoVectorOptions(), "vectors", [], asynchronous=False)
    translated = driver.translate(error)
    assert isinstance(translated, kind)
    assert words in str(translated)


def test_filters_are_conditions_on_tokens():
    compiler = FilterCompiler()
    one, two, key = token("a", 1), token("a", "x"), field("a")
    for filters, expression, exact in (
        ({"a": 1}, {"tokens": {"$in": [one]}}, True),
        ({"a": {"$in": [1, "x"]}}, {"tokens": {"$in": [one, two]}}, True),
        ({"a": {"$in": []}}, {"tokens": {"$in": [""]}}, True),
        ({"a": {"$ne": 1}}, {"$nor": [{"tokens": {"$in": [one]}}]}, True),
        ({"a": {"$gt": 1}}, {"tokens": {"$in": [key]}}, False),
        ({"$or": [{"a": 1}, {"a": "x"}]}, {"$or": [{"tokens": {"$in": [one]}}, {"tokens": {"$in": [two]}}]}, True),
        ({"a": {"$exists": False}}, {"$nor": [{"tokens": {"$in": [key]}}]}, True),
    ):
        found = compiler.compile(parse(filters))
        assert (found.expression, found.exact) == (expression, exact), filters
    assert list(compiler.compile(parse({"a": 1, "b": 2})).expression) == ["$and"]
