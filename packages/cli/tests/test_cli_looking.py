"""``state`` and ``knowledge``: looking at stores, and changing nothing."""

from __future__ import annotations

import json

import pytest

from praisonai_persistence import KnowledgeDocument, open_knowledge_store, open_state_store
from praisonai_persistence.testing.corpus import HOSTILE_JSON

EVIL = "\x1b]0;title\x07\u202e"
STATE = ("--state-url", "a.db")
KNOWLEDGE = ("--knowledge-url", "a.db")


@pytest.fixture
def keys():
    with open_state_store("a.db") as store:
        store.set("text", "123")
        store.set("number", 123)
        store.set("none", None)
        store.set("a*b", [1.0, {"x": EVIL}], ttl=1000)
        store.hset("hash", "one", 1)
        store.hset("hash", EVIL, "two \u00e9")
        store.set(EVIL, EVIL)


@pytest.fixture
def texts():
    with open_knowledge_store("a.db") as store:
        store.create_collection("docs", 2, metadata={"about": EVIL})
        store.create_collection("empty", 3, "dot")
        store.insert(
            "docs",
            [
                KnowledgeDocument(
                    f"d{number}", f"text {number}\n{EVIL}", [1.0, number / 10], {"n": number}, created_at=0.0
                )
                for number in range(9)
            ],
        )


# --------------------------------------------------------------------------------------------------------------- state


def test_keys(cli, keys):
    listed = cli("state", "keys", *STATE).out.splitlines()
    assert listed[0] == "KEY"
    assert sorted(listed[1:]) == sorted(["text", "number", "none", "a*b", "hash", "\\x1b]0;title\\x07\\u202e"])

    def found(*arguments):
        result = cli("state", "keys", "--json", *arguments, *STATE)
        assert result.code == 0
        return {row["key"] for row in result.json["keys"]}

    assert found() == {"text", "number", "none", "a*b", "hash", EVIL}
    assert found("n*") == {"number", "none"}
    assert found("a\\*b") == {"a*b"}
    assert found("a\\*") == found("nothing") == found("--limit", "0") == set()
    assert found("?[!u]*") == {"text", "none", "a*b", "hash", EVIL}
    assert len(found("--limit", "2")) == 2


def test_keys_with_sizes(cli, keys):
    rows = {row.pop("key"): row for row in cli("state", "keys", "--sizes", "--json", *STATE).json["keys"]}
    assert 990 < rows["a*b"].pop("ttl") <= 1000
    assert rows["a*b"] == {"type": "value", "bytes": len('[1.0,{"x":"\\u001b]0;title\\u0007\u202e"}]'.encode())}
    assert rows["text"] == {"type": "value", "ttl": None, "bytes": 5}
    assert rows["none"]["bytes"] == 4
    assert rows["hash"]["type"] == "hash"
    shown = cli("state", "keys", "te*", "--sizes", *STATE).out
    assert shown == "KEY\tTYPE\tTTL\tBYTES\ntext\tvalue\t\t5\n"


def test_more_keys_than_are_read_at_once(cli):
    with open_state_store("a.db") as store:
        store.set_many({f"k{number}": number for number in range(1203)})
    for more in ([], ["--sizes"]):
        rows = cli("state", "keys", "k*", "--json", *more, *STATE).json["keys"]
        assert {row["key"] for row in rows} == {f"k{number}" for number in range(1203)}
        assert len(rows) == 1203


def test_values_keep_their_types(cli, keys):
    assert cli("state", "get", "text", *STATE).out == '"123"\n'
    assert cli("state", "get", "number", *STATE).out == "123\n"
    assert cli("state", "get", "none", *STATE).out == "null\n"
    assert "\x1b" not in cli("state", "get", EVIL, *STATE).out
    assert cli("state", "get", "hash", "--json", *STATE).json == {
        "key": "hash",
        "type": "hash",
        "ttl": None,
        "value": {"one": 1, EVIL: "two \u00e9"},
    }
    assert cli("state", "get", "hash", "--field", "one", *STATE).out == "1\n"
    assert cli("state", "get", "hash", "--field", EVIL, "--json", *STATE).json["value"] == "two \u00e9"
    with open_state_store("a.db") as store:
        store.set("all", HOSTILE_JSON)
    same_in_json = json.loads(json.dumps(HOSTILE_JSON))  # where two lone surrogates in a row are one character
    assert repr(cli("state", "get", "all", "--json", *STATE).json["value"]) == repr(same_in_json)


def test_time_to_live(cli, keys):
    assert 990 < float(cli("state", "ttl", "a*b", *STATE).out) <= 1000
    assert 990 < cli("state", "get", "a*b", "--json", *STATE).json["ttl"] <= 1000
    assert cli("state", "ttl", "none", *STATE).out == "key none has no time to live\n"
    assert cli("state", "ttl", "hash", "--json", *STATE).json == {"key": "hash", "ttl": None}


@pytest.mark.parametrize("command", ["get", "ttl"])
def test_an_unknown_key(cli, keys, command):
    result = cli("state", command, "x", *STATE)
    assert (result.code, result.out) == (1, "")
    assert result.error == "there is no key 'x'; 'state keys' lists those that are there"


def test_an_unknown_field(cli, keys):
    result = cli("state", "get", "hash", "--field", "x", *STATE)
    assert (result.code, "has no field 'x'" in result.error) == (1, True)
    result = cli("state", "get", "text", "--field", "x", *STATE)
    assert (result.code, "holds a value, not fields" in result.error) == (2, True)


# ----------------------------------------------------------------------------------------------------------- knowledge


def test_collections(cli, texts):
    assert cli("knowledge", "collections", "--json", *KNOWLEDGE).json["collections"] == [
        {"name": "docs", "dimension": 2, "distance": "cosine", "metadata": {"about": EVIL}, "documents": 9},
        {"name": "empty", "dimension": 3, "distance": "dot", "metadata": None, "documents": 0},
    ]
    shown = cli("knowledge", "collections", *KNOWLEDGE).out
    assert shown == "COLLECTION\tDIMENSION\tDISTANCE\tDOCUMENTS\ndocs\t2\tcosine\t9\nempty\t3\tdot\t0\n"


def test_documents(cli, texts):
    shown = cli("knowledge", "get", "docs", "d3", "d1", "d3", "--json", *KNOWLEDGE).json["documents"]
    assert [item["id"] for item in shown] == ["d3", "d1"]
    assert (shown[0]["content"], shown[0]["metadata"], "embedding" in shown[0]) == (f"text 3\n{EVIL}", {"n": 3}, False)
    (whole,) = cli("knowledge", "get", "docs", "d5", "--embeddings", "--json", *KNOWLEDGE).json["documents"]
    assert whole["embedding"] == [1.0, 0.5]
    lines = cli("knowledge", "get", "docs", "d1", *KNOWLEDGE).out.splitlines()
    assert lines == [
        "document d1",
        "created 1970-01-01 00:00:00Z",
        'metadata {"n": 1}',
        "text 1",
        "\\x1b]0;title\\x07\\u202e",
    ]
    some = cli("knowledge", "get", "docs", "d1", "x", *KNOWLEDGE)
    assert (some.code, some.error) == (1, "collection 'docs' has no document 'x'")
    assert "text 1" in some.out


def test_search(cli, texts):
    def found(*arguments):
        result = cli("knowledge", "search", "docs", "--json", *arguments, *KNOWLEDGE)
        assert result.code == 0, result.err
        return [item["id"] for item in result.json["documents"]]

    assert found("--embedding", "[1, 0.0]") == ["d0", "d1", "d2", "d3", "d4"]
    assert found("--embedding", "[1, 0.0]", "--limit", "2", "--filter", '{"n": {"$gte": 7}}') == ["d7", "d8"]
    assert found("--embedding", "[1, 0.0]", "--score-threshold", "0.99") == ["d0", "d1"]
    assert found("--like", "d8", "--limit", "2") == ["d7", "d6"]
    assert found("--like", "d8", "--limit", "0") == []
    table = cli("knowledge", "search", "docs", "--like", "d0", "--limit", "1", *KNOWLEDGE).out
    assert table.splitlines()[1] == 'd1\t0.9950\t{"n": 1}\ttext 1 \\x1b]0;title\\x07\\u202e'
    with_embeddings = cli("knowledge", "search", "docs", "--like", "d0", "--embeddings", "--json", *KNOWLEDGE)
    assert len(with_embeddings.json["documents"][0]["embedding"]) == 2


def test_an_embedding_from_standard_input(process, texts):
    running = process(
        "knowledge", "search", "docs", "--embedding", "-", "--limit", "1", *KNOWLEDGE, stdin=-1, stdout=-1
    )
    out, _ = running.communicate(b"[1.0, 0.8]\n", timeout=240)
    assert running.returncode == 0
    assert out.splitlines()[1].startswith(b"d8\t1.0000\t")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["get", "nope", "d1"], 1, "nope"),
        (["get", "docs"], 2, "Missing argument 'ID...'"),
        (["search", "nope", "--like", "d1"], 1, "nope"),
        (["search", "docs", "--like", "x"], 1, "has no document 'x'"),
        (["search", "docs"], 2, "give either --like"),
        (["search", "docs", "--like", "d1", "--embedding", "[1, 2]"], 2, "give either --like"),
        (["search", "docs", "--embedding", "[1"], 2, "--embedding must be JSON, a list of numbers"),
        (["search", "docs", "--embedding", "{}"], 2, "--embedding must be a list of numbers"),
        (["search", "docs", "--embedding", "[true, 1]"], 2, "--embedding must be a list of numbers"),
        (["search", "docs", "--embedding", "[]"], 2, "--embedding must be a list of numbers"),
        (["search", "docs", "--embedding", "[1]"], 2, "--embedding: "),
        (["search", "docs", "--like", "d1", "--filter", "x"], 2, "--filter must be JSON, an object"),
        (["search", "docs", "--like", "d1", "--filter", '{"$near": 1}'], 2, "$near"),
    ],
)
def test_wrong_use_of_knowledge(cli, texts, arguments, code, says):
    result = cli("knowledge", *arguments, *KNOWLEDGE)
    assert (result.code, result.out) == (code, "")
    assert says in result.error


# ---------------------------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["state"], "give one of get, keys, ttl"),
        (["knowledge"], "give one of collections, get, search"),
        (["state", "kyes"], "there is no command 'state kyes'. Did you mean 'keys'?"),
        (["state", "frobnicate"], "there is no command 'state frobnicate': there are get, keys, ttl"),
        (["state", "export"], "there is no command 'state export': 'export' is a command of its own"),
        (["state", "keys", "--limt", "3"], "Did you mean '--limit'?"),
        (["state", "get"], "Missing argument 'KEY'"),
        (["state", "get", "", *STATE], "key"),
    ],
)
def test_wrong_use_says_the_way_out(cli, keys, arguments, says):
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert says in result.error


@pytest.mark.parametrize(
    "arguments",
    [
        ["state", "keys"],
        ["state", "keys", "--limit", "0"],
        ["state", "get", "x"],
        ["state", "ttl", "x"],
        ["knowledge", "collections"],
        ["knowledge", "get", "x", "y"],
        ["knowledge", "search", "x", "--like", "y"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("place", ["mistyped.db", "sqlite:///no/such/folder/x.db"])
def test_looking_makes_nothing(cli, tmp_path, arguments, place):
    result = cli(*arguments, f"--{arguments[0]}-url", place)
    assert (result.code, result.out) == (1, "")
    assert result.error.startswith("there is no")
    assert [*tmp_path.iterdir()] == []
