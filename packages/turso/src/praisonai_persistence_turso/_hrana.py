"""The protocol of libSQL servers, Hrana 3 over HTTP, as far as stores need it: statements in, rows out.

libSQL's own client for Python holds the interpreter's lock while it waits for a server: a server that falls silent
would stop the whole process. So HTTP is spoken here, by httpx.

Source: https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from praisonai_persistence_sql import Execute, ExecuteMany, Fetch, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["HranaError", "Stream", "Transaction", "decode", "encode"]

_STATEMENTS = 500  # of one request; a server may refuse larger ones


class HranaError(Exception):
    """The server refused something.

    Args:
        code: of the server: ``SQLITE_BUSY``, ``STREAM_EXPIRED``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Transaction:
    """A request for statements that are one transaction, in one round trip; the answer is the rows of the last.

    It can only be the first request of an operation, and ends its transaction.

    Args:
        statements: each with its parameters.
    """

    __slots__ = ("statements",)

    def __init__(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        self.statements = statements


class Stream:
    """What one operation asks of the server. A transaction begins with its first statement.

    The methods are steps that yield bodies of requests, and are sent the decoded answers.

    Args:
        write: whether the operation may change something; if not, each statement is on its own until a ``Snapshot``.
    """

    def __init__(self, *, write: bool) -> None:
        self._begin = "BEGIN IMMEDIATE" if write else ""
        self._baton: str | None = None

    def perform(self, request: Any) -> Steps[Any]:
        """Do what a step of an operation yields."""
        kind = type(request)
        if kind is Fetch:
            try:
                return _rows((yield from self._do([request]))[0])
            except HranaError as error:
                if error.code != "RESPONSE_TOO_LARGE":
                    raise
            return (yield from self._stream([request]))
        if kind is Execute:
            return (yield from self._do([request]))[0]["affected_row_count"]
        if kind is ExecuteMany:
            for start in range(0, len(request.parameters), _STATEMENTS):
                some = request.parameters[start : start + _STATEMENTS]
                yield from self._do([(request.sql, parameters) for parameters in some])
        elif kind is Transaction:
            return (yield from self._alone(request.statements))
        elif kind is Snapshot and not self._begin:
            self._begin = "BEGIN"
        return None

    def end(self, *, commit: bool) -> Steps[None]:
        """Commit, or undo, what was begun."""
        if self._baton is None:
            return
        if commit:
            answer = yield _pipeline(self._baton, _batch([("COMMIT", ())]), _CLOSE)
            self._baton = None
            _results(answer)
        else:
            baton, self._baton = self._baton, None
            yield _pipeline(baton, _CLOSE)

    def _do(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> Steps[Sequence[Any]]:
        if not self._begin:
            return _results((yield _pipeline(None, _batch(statements), _CLOSE)))
        begins = self._baton is None
        answer = yield _pipeline(self._baton, _batch([(self._begin, ()), *statements] if begins else statements))
        self._baton = answer["baton"]
        return _results(answer)[1 if begins else 0 :]

    def _stream(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> Steps[list[tuple[Any, ...]]]:
        """Return the rows of a statement without the server's limit for answers; it takes another request."""
        batch = _batch(statements)["batch"]
        if not self._begin:
            answer = yield {"baton": None, "batch": batch}
            yield _pipeline(answer["baton"], _CLOSE)
        else:
            answer = yield {"baton": self._baton, "batch": batch}
            self._baton = answer["baton"]
        return _rows(answer)

    def _alone(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> Steps[list[tuple[Any, ...]]]:
        # Closing the stream undoes what was not committed.
        answer = yield _pipeline(None, _batch([(self._begin, ()), *statements, ("COMMIT", ())]), _CLOSE)
        return _rows(_results(answer)[-2])


_CLOSE = {"type": "close"}


def _pipeline(baton: str | None, *requests: Any) -> dict[str, Any]:
    return {"baton": baton, "requests": requests}


def _batch(statements: Sequence[tuple[str, Sequence[Any]]]) -> dict[str, Any]:
    """Return statements of which each is done only if the one before succeeded."""
    steps: list[dict[str, Any]] = []
    for number, (sql, parameters) in enumerate(statements):
        step: dict[str, Any] = {"stmt": {"sql": sql, "args": [_encoded(value) for value in parameters]}}
        if number:
            step["condition"] = {"type": "ok", "step": number - 1}
        steps.append(step)
    return {"type": "batch", "batch": {"steps": steps}}


def _results(answer: Any) -> Sequence[Any]:
    """Return the results of the statements of a batch.

    Raises:
        HranaError: of the first that failed.
    """
    first = answer["results"][0]
    if first["type"] == "error":
        raise HranaError(_code(first["error"]))
    result = first["response"]["result"]
    for error in result["step_errors"]:
        if error is not None:
            raise HranaError(_code(error))
    return result["step_results"]  # type: ignore[no-any-return]


def _code(error: Any) -> str:
    return str(error.get("code") or "UNKNOWN")


def _encoded(value: Any) -> dict[str, Any]:
    if value is None:
        return {"type": "null"}
    if isinstance(value, str):
        return {"type": "text", "value": value}
    if isinstance(value, int):
        return {"type": "integer", "value": str(int(value))}
    if isinstance(value, float):
        return {"type": "float", "value": value}
    return {"type": "blob", "base64": base64.b64encode(value).decode("ascii")}


def _rows(result: Any) -> list[tuple[Any, ...]]:
    return [tuple([_decoded(value) for value in row]) for row in result["rows"]]


def _decoded(value: Any) -> Any:
    kind = value["type"]
    if kind == "text" or kind == "float":
        return value["value"]
    if kind == "integer":
        return int(value["value"])
    return None if kind == "null" else base64.b64decode(value["base64"] + "==")


def encode(body: Any) -> tuple[str, bytes]:
    """Return the path of a request, and what is sent there."""
    path = "/v3/cursor" if "batch" in body else "/v3/pipeline"
    return path, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def decode(answer: bytes) -> Any:
    """Return an answer; one of a cursor, which is a line for each row, with its ``rows``."""
    lines = answer.splitlines()
    first = json.loads(lines[0])
    if "results" in first:
        return first
    entries = [json.loads(line) for line in lines[1:]]
    for entry in entries:
        if entry["type"] in {"step_error", "error"}:
            raise HranaError(_code(entry["error"]))
    return {**first, "rows": [entry["row"] for entry in entries if entry["type"] == "row"]}
