"""The protocol of libSQL servers, Hrana 3 over HTTP, as far as stores need it: statements in, rows out.

libSQL's own client for Python holds the interpreter's lock while it waits for a server: a server that falls silent
would stop the whole process. So HTTP is spoken here, by httpx.

Source: https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from praisonai_persistence_sql import Execute, ExecuteMany, Fetch, Patiently, Snapshot
from praisonai_persistence_turso import _checks as checks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_turso._checks import Statement

__all__ = ["NO_TABLE", "STRANGE", "HranaError", "Stream", "Transaction", "decode", "encode", "refusal"]

_STATEMENTS, _CHARACTERS = 1000, 4_000_000  # of a transaction that is sent as one request, and more than once
_REQUESTS = 12  # of an operation, after which it no longer sends again what it has sent


STRANGE = "STRANGE"
NO_TABLE = "no such table"
"""The code where a statement names a table that is not there; the engine says so in these words."""


class HranaError(Exception):
    """The server refused something.

    Args:
        code: of the server: ``SQLITE_BUSY``, ``STREAM_EXPIRED``; or ``CHANGED``: what a write had read has changed; or
            ``CROWDED``: others wrote all the time, so no transaction could be begun; or ``STRANGE``: the answer is none
            of this protocol.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Transaction:
    """A request for statements that are one transaction, in one round trip; the answer is the rows of the last.

    What a write has asked before belongs to it, and it ends the transaction: what is asked later is another one.
    Statements that are too much for one round trip take several, and so do those of a transaction that is open.

    Args:
        statements: each with its parameters.
    """

    __slots__ = ("statements",)

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.statements = statements


class Stream:
    """What one operation asks of the server.

    The methods are steps that yield bodies of requests, and are sent the decoded answers.

    A server keeps the lock of a writer that goes away in the middle of a transaction for seconds. So a write leaves
    none open between two requests: what it asks is tried, and undone, in the same request; and at its end all of it is
    sent once more, as one transaction that commits only if each answer is still the same. What is too much for that,
    or takes its time, is a transaction over several requests (``hold``).

    Args:
        write: whether the operation may change something; if not, each statement is on its own until a ``Snapshot``.
        hold: whether a write keeps the lock from its first request on.
        patience: seconds for which it tries to begin a transaction. A server lets its writers in in any order, and
            refuses after seconds who was never let in.
    """

    def __init__(self, *, write: bool, hold: bool = False, patience: float = 0.0) -> None:
        self._write = write
        self._begin = "BEGIN IMMEDIATE" if write else ""
        self._hold = hold
        self._end = time.monotonic() + patience
        self._baton: str | None = None
        self._done: list[Statement] = []  # of a write, with what checks the answers
        self._changes = False
        self._size = self._asked = 0

    def perform(self, request: Any) -> Steps[Any]:
        """Do what a step of an operation yields."""
        kind = type(request)
        if kind is Fetch:
            return (yield from self._fetch(request))
        if kind is Execute:
            count = (yield from self._ask(request))["affected_row_count"]
            self._note(request, checks.of_count(request, count), changes=True)
            return count
        if kind is ExecuteMany:
            yield from self._execute_many(request)
        elif kind is Transaction:
            return (yield from self._alone(request.statements))
        elif kind is Snapshot and not self._begin:
            self._begin, self._hold = "BEGIN", True
        elif kind is Patiently and not self._changes:
            self._hold, self._done = True, []  # what was read before is read again
        return None

    def end(self, *, commit: bool) -> Steps[None]:
        """Commit, or undo, what was begun.

        Raises:
            HranaError: ``CHANGED``: others have changed what was read.
        """
        baton, self._baton = self._baton, None
        if baton is None:
            if commit and self._changes:
                yield from self._all([*self._done, _COMMIT])
        elif commit:
            _results((yield _pipeline(baton, _batch([_COMMIT]), _CLOSE)))
        else:
            yield _pipeline(baton, _CLOSE)

    def _fetch(self, request: Fetch) -> Steps[list[tuple[Any, ...]]]:
        query = request.sql, tuple(request.parameters)
        try:
            rows = _rows((yield from self._ask(query, reads=True)))
        except HranaError as error:
            if error.code != "RESPONSE_TOO_LARGE":
                raise
            return (yield from self._stream(query))
        if self._write and self._baton is None:
            check = checks.of_rows(query, rows)
            if check is None:
                self._hold = True  # from here on; what was read so far is read once more
                rows = _rows((yield from self._ask(query)))
            else:
                self._note(query, check)
        return rows

    def _execute_many(self, request: ExecuteMany) -> Steps[None]:
        left = [(request.sql, parameters) for parameters in request.parameters]
        while left and not self._hold:
            self._note(left.pop(0), None, changes=True)
        while left:
            some = _fit(left)
            yield from self._several(left[:some])
            del left[:some]

    def _note(self, statement: Statement, check: Statement | None, *, changes: bool = False) -> None:
        """Remember what was asked, for the transaction that does it."""
        self._changes = self._changes or changes
        if self._baton is not None:
            return
        new = [statement] if changes else []
        if check is not None:
            new.append(check)
        self._done += new
        self._size += sum(map(_size, new))
        self._asked += not changes or check is not None
        self._hold = self._hold or self._size > _CHARACTERS or len(self._done) > _STATEMENTS or self._asked > _REQUESTS

    def _ask(self, statement: Statement, *, reads: bool = False) -> Steps[Any]:
        """Return the result of a statement."""
        if not self._begin:
            return _results((yield _pipeline(None, _batch([statement]), _CLOSE)))[-1]
        if self._hold:
            return (yield from self._several([statement]))[-1]
        if reads and not self._done:
            return _results((yield _pipeline(None, _batch([statement]), _CLOSE)))[-1]
        begin = "BEGIN" if reads and not self._changes else self._begin
        return (yield from self._all([*self._done, statement], begin))[-1]

    def _several(self, statements: Sequence[Statement]) -> Steps[Sequence[Any]]:
        """Do statements in a transaction that stays open."""
        if self._baton is None:
            return (yield from self._open(statements))
        answer = yield _pipeline(self._baton, _batch(statements))
        self._baton = answer["baton"]
        return _results(answer)

    def _open(self, statements: Sequence[Statement]) -> Steps[Sequence[Any]]:
        before = [(self._begin, ()), *self._done]
        answer = yield from self._begun(_batch([*before, *statements]))
        self._done = []
        return _results(answer)[len(before) :]

    def _stream(self, statement: Statement) -> Steps[list[tuple[Any, ...]]]:
        """Return the rows of a statement without the server's limit for answers; it takes another request."""
        batch = _batch([statement])["batch"]
        if not self._begin:
            answer = yield {"baton": None, "batch": batch}
            yield _pipeline(answer["baton"], _CLOSE)
        else:
            self._hold = True
            if self._baton is None:
                yield from self._open([])
            answer = yield {"baton": self._baton, "batch": batch}
            self._baton = answer["baton"]
        return _rows(answer)

    def _alone(self, statements: Sequence[Statement]) -> Steps[list[tuple[Any, ...]]]:
        if self._baton is None and _fit(statements) == len(statements):
            before, self._done, self._changes = self._done, [], False
            return _rows((yield from self._all([*before, *statements, _COMMIT]))[-2])
        self._hold = True
        left = list(statements)
        while True:
            some = _fit(left)
            results = yield from self._several(left[:some])
            del left[:some]
            if not left:
                return _rows(results[-1])

    def _all(self, statements: Sequence[Statement], begin: str = "") -> Steps[Sequence[Any]]:
        """Send a transaction, which is undone in the same request unless its last statement commits."""
        batch = _batch([(begin or self._begin, ()), *statements], undo=True)
        answer = yield from self._begun(batch, _CLOSE)
        self._baton = None
        return _results(answer)[1:-1]

    def _begun(self, *requests: Any) -> Steps[Any]:
        """Send what begins a transaction, once more where it was refused that; return the answer."""
        while True:
            answer = yield _pipeline(self._baton, *requests)
            self._baton = answer["baton"]
            if not _is_refused(answer):
                return answer
            if time.monotonic() > self._end:
                raise HranaError("CROWDED")


_CLOSE = {"type": "close"}
_COMMIT: Statement = ("COMMIT", ())
_UNDO = {"stmt": {"sql": "ROLLBACK"}, "condition": {"type": "not", "cond": {"type": "is_autocommit"}}}


def _pipeline(baton: str | None, *requests: Any) -> dict[str, Any]:
    return {"baton": baton, "requests": requests}


def _batch(statements: Sequence[Statement], *, undo: bool = False) -> dict[str, Any]:
    """Return statements of which each is done only if the one before succeeded.

    Args:
        statements: each with its parameters.
        undo: whether a transaction that is open behind them is undone.
    """
    steps: list[dict[str, Any]] = []
    for number, (sql, parameters) in enumerate(statements):
        step: dict[str, Any] = {"stmt": {"sql": sql, "args": [_encoded(value) for value in parameters]}}
        if number:
            step["condition"] = {"type": "ok", "step": number - 1}
        steps.append(step)
    return {"type": "batch", "batch": {"steps": [*steps, _UNDO] if undo else steps}}


def _size(statement: Statement) -> int:
    return len(statement[0]) + sum(len(value) for value in statement[1] if isinstance(value, (str, bytes)))


def _fit(statements: Sequence[Statement]) -> int:
    """Return how many statements go into one request."""
    size = 0
    for number, statement in enumerate(statements[:_STATEMENTS]):
        size += _size(statement)
        if number and size > _CHARACTERS:
            return number
    return min(len(statements), _STATEMENTS)


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


def _is_refused(answer: Any) -> bool:
    """Whether others kept a batch from beginning its transaction: nothing of it was done."""
    first = answer["results"][0]
    begin = None if first["type"] == "error" else first["response"]["result"]["step_errors"][0]
    return begin is not None and begin.get("code") == "SQLITE_BUSY"


def _code(error: Any) -> str:
    if checks.FAILED in str(error.get("message")):
        return "CHANGED"
    if NO_TABLE in str(error.get("message")):
        return NO_TABLE
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
    try:
        first = json.loads(lines[0])
        if first.get("results"):
            return first
        if "baton" not in first or "results" in first:
            raise HranaError(STRANGE)
    except (ValueError, LookupError, AttributeError):
        raise HranaError(STRANGE) from None
    entries = [json.loads(line) for line in lines[1:]]
    for entry in entries:
        if entry["type"] in {"step_error", "error"}:
            raise HranaError(_code(entry["error"]))
    return {**first, "rows": [entry["row"] for entry in entries if entry["type"] == "row"]}


def refusal(answer: bytes) -> str:
    """Return the code of an answer that is no result but an error; nothing: it has none."""
    try:
        return str(json.loads(answer)["code"])
    except (ValueError, TypeError, KeyError):
        return ""
