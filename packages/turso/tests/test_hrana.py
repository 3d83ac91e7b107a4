"""The protocol of libSQL servers, without a server."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3

import pytest

from praisonai_persistence.steps import run
from praisonai_persistence_sql import Execute, Fetch
from praisonai_persistence_turso._checks import FAILED, of_rows
from praisonai_persistence_turso._hrana import HranaError, Stream, decode, encode, refusal


def _answer(*results: object, baton: str | None = "b", errors: list[object] | None = None) -> dict[str, object]:
    result = {"step_results": list(results), "step_errors": errors or [None] * len(results)}
    return {"baton": baton, "results": [{"type": "ok", "response": {"type": "batch", "result": result}}]}


def _rows(*rows: object) -> dict[str, object]:
    return {"rows": rows, "affected_row_count": 0}


def test_a_read_is_one_request_that_closes_its_stream():
    sent = []

    def ask(body):
        sent.append(body)
        return _answer(
            _rows([{"type": "integer", "value": str(2**62)}, {"type": "null"}, {"type": "float", "value": 1.5}])
        )

    stream = Stream(write=False)
    assert run(stream.perform(Fetch("SELECT ?", (1,))), ask) == [(2**62, None, 1.5)]
    run(stream.end(commit=True), ask)
    assert [[request["type"] for request in body["requests"]] for body in sent] == [["batch", "close"]]


def test_a_statement_is_done_only_if_the_transaction_began():
    sent = []

    def ask(body):
        sent.append(body)
        if len(sent) == 1:
            return _answer(None, None, errors=[{"code": "SQLITE_BUSY", "message": "busy"}, None])
        return {"baton": None, "results": [{"type": "ok", "response": {"type": "close"}}]}

    stream = Stream(write=True, hold=True)
    with pytest.raises(HranaError, match="CROWDED"):
        run(stream.perform(Execute("DELETE FROM t")), ask)
    begin, delete = sent[0]["requests"][0]["batch"]["steps"]
    assert begin["stmt"]["sql"] == "BEGIN IMMEDIATE"
    assert delete["condition"] == {"type": "ok", "step": 0}
    run(stream.end(commit=False), ask)
    assert sent[1]["baton"] == "b"
    assert [request["type"] for request in sent[1]["requests"]] == ["close"]


@pytest.mark.parametrize("hold", [True, False])
def test_a_transaction_that_could_not_begin_is_begun_again(hold):
    sent = []

    def ask(body):
        sent.append(body)
        undone = [] if hold else [None]
        if len(sent) < 3:
            errors = [{"code": "SQLITE_BUSY"}, None, *undone]
            return _answer(None, None, *undone, errors=errors, baton="b" if hold else None)
        return _answer(None, {"rows": [], "affected_row_count": 7}, *undone, baton="b" if hold else None)

    stream = Stream(write=True, hold=hold, patience=60)
    assert run(stream.perform(Execute("DELETE FROM t")), ask) == 7
    assert [body["baton"] for body in sent] == [None, *(["b", "b"] if hold else [None, None])]
    assert sent[0]["requests"] == sent[1]["requests"] == sent[2]["requests"]


def test_what_fails_behind_the_beginning_is_not_asked_again():
    sent = []

    def ask(body):
        sent.append(body)
        return _answer(None, None, errors=[None, {"code": "SQLITE_BUSY"}])

    with pytest.raises(HranaError, match="SQLITE_BUSY"):
        run(Stream(write=True, hold=True, patience=60).perform(Execute("DELETE FROM t")), ask)
    assert len(sent) == 1


def test_a_commit_on_a_stream_that_has_ended_fails():
    answers = [
        _answer(_rows(), _rows()),
        {"baton": None, "results": [{"type": "error", "error": {"code": "STREAM_EXPIRED", "message": "expired"}}]},
    ]
    stream = Stream(write=True, hold=True)
    run(stream.perform(Execute("DELETE FROM t")), lambda _: answers.pop(0))
    with pytest.raises(HranaError, match="STREAM_EXPIRED"):
        run(stream.end(commit=True), lambda _: answers.pop(0))


def test_a_write_leaves_no_transaction_open_between_two_requests():
    sent = []

    def ask(body):
        sent.append(body)
        steps = body["requests"][0]["batch"]["steps"]
        return _answer(*[{"rows": [[{"type": "integer", "value": "7"}]], "affected_row_count": 1}] * len(steps))

    stream = Stream(write=True)
    assert run(stream.perform(Fetch("SELECT n FROM t")), ask) == [(7,)]
    assert run(stream.perform(Execute("UPDATE t SET n = ?", (8,))), ask) == 1
    run(stream.end(commit=True), ask)
    read, tried, done = [
        [step["stmt"]["sql"].split()[0] for step in body["requests"][0]["batch"]["steps"]] for body in sent
    ]
    assert read == ["SELECT"]
    assert tried == ["BEGIN", "WITH", "UPDATE", "ROLLBACK"]
    assert done == ["BEGIN", "WITH", "UPDATE", "SELECT", "COMMIT", "ROLLBACK"]
    for body in sent:
        assert body["baton"] is None
        assert body["requests"][1] == {"type": "close"}


@pytest.mark.parametrize("rows", [[], [("a", 1), ("b", None)]])
def test_a_check_fails_only_if_the_rows_are_others(rows):
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a TEXT, b)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        check = of_rows(("SELECT a, b FROM t WHERE a >= ? ORDER BY a DESC", ("a",)), rows)
        connection.execute(*check)
        connection.execute("INSERT INTO t VALUES ('c', 1)")
        with pytest.raises(sqlite3.OperationalError, match=FAILED):
            connection.execute(*check)
        if rows:
            connection.execute("DELETE FROM t WHERE a = 'a'")
            with pytest.raises(sqlite3.OperationalError, match=FAILED):
                connection.execute(*check)


def test_blobs_and_numbers_are_encoded():
    body = next(Stream(write=False).perform(Fetch("SELECT ?", (b"\0\xff", True, -0.0, "\u2028", None))))
    path, content = encode(body)
    assert path == "/v3/pipeline"
    values = json.loads(content)["requests"][0]["batch"]["steps"][0]["stmt"]["args"]
    assert values[0] == {"type": "blob", "base64": "AP8="}
    assert values[1] == {"type": "integer", "value": "1"}
    assert math.copysign(1, values[2]["value"]) == -1
    assert values[3:] == [{"type": "text", "value": "\u2028"}, {"type": "null"}]


def test_the_lines_of_a_cursor():
    lines = [{"baton": "b"}, {"type": "row", "row": [{"type": "text", "value": "x"}]}, {"type": "step_end"}]
    found = decode("\n".join(map(json.dumps, lines)).encode())
    assert found["rows"] == [[{"type": "text", "value": "x"}]]
    with pytest.raises(HranaError, match="SQLITE_TOOBIG"):
        decode(b'{"baton":"b"}\n{"type":"step_error","error":{"code":"SQLITE_TOOBIG"}}')


def test_an_answer_that_refuses_a_request_has_a_code():
    assert (
        refusal(b'{"message":"The stream has expired due to inactivity","code":"STREAM_EXPIRED"}') == "STREAM_EXPIRED"
    )
    for other in (b"", b"Bad Request", b"[]", b"{}", b'{"message":"no code"}', b"\xff"):
        assert refusal(other) == ""
