"""DynamoDB for tests: moto, which keeps everything in memory, with a journal.

Requests are served one after the other, as the service makes each write at once, and a write that succeeded stands in
the journal before it is acknowledged. A server that is started again makes all of them again, which takes milliseconds
each; so now and then what there is is written to a file, and a new journal begun. ``GET /count`` tells how
many requests there were since it was asked last. ``POST /refuse`` with ``{"code": ..., "count": ...}`` has the next
requests refused, those of ``"only"`` (``PutItem``) if that is given. ``POST /few`` with a number has batches of
reading answer no more than so many keys.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import moto.dynamodb.models as emulator
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.table import Table
from moto.server import DomainDispatcherApplication, create_backend_app

_READS = {"GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable", "ListTables", "DescribeTimeToLive"}
_ACCOUNT, _REGION = "123456789012", "us-east-1"
_MOST = 400
"""Requests of a journal."""


def _copied(value: Any) -> Any:
    """Return what the emulator goes back to when a transaction fails: of a table, which items it has.

    Its own copies of a whole table, one for each item of the transaction, take seconds.
    """
    if not isinstance(value, Table):
        return copy.deepcopy(value)
    table = copy.copy(value)
    table.items = copy.copy(value.items)
    for key, items in value.items.items():
        table.items[key] = copy.copy(items)
    return table


emulator.copy = SimpleNamespace(deepcopy=_copied, copy=copy.copy)


_structure = BaseJSONSerializer._serialize_type_structure


def _structured(serializer: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """Put an attribute's value (``{"S": "text"}``) into an answer as it is: the emulator takes milliseconds for it."""
    if shape.name == "AttributeValue" and isinstance(value, dict):
        serialized[key] = value
    else:
        _structure(serializer, serialized, value, shape, key)


BaseJSONSerializer._serialize_type_structure = _structured  # type: ignore[method-assign]


class Service:
    """The emulator.

    Args:
        journal: the file.
    """

    def __init__(self, journal: Path) -> None:
        self._turn = threading.Lock()
        self._app = DomainDispatcherApplication(create_backend_app)
        self.count = 0
        self.few = 0
        self.refusing: dict[str, Any] = {"count": 0}
        self._path = journal
        self._number = 0
        if self._saved.exists():
            self._number, tables = pickle.loads(self._saved.read_bytes())
            emulator.dynamodb_backends[_ACCOUNT][_REGION].tables = tables
        self._journal = self._open_journal()
        self._journal.seek(0)
        kept = self._written = 0
        for line in self._journal.read().splitlines(keepends=True):
            if line.endswith(b"\n"):  # else the process was killed while it wrote it, and never acknowledged it
                kept += len(line)
                self._written += 1
                operation, body = json.loads(line)
                status, answer = self._asked(operation, body.encode(), {})
                if status != 200:
                    raise SystemExit(f"{operation} succeeded once, and fails now: {answer!r}")
        self._journal.truncate(kept)

    @property
    def _saved(self) -> Path:
        return self._path.with_suffix(".saved")

    def _open_journal(self) -> Any:
        return self._path.with_suffix(f".{self._number}").open("a+b", buffering=0)

    def _write(self, operation: str, body: bytes) -> None:
        """Write a request to the journal; after some, write all that there is to a file, and begin a new journal."""
        self._journal.write(json.dumps([operation, body.decode()]).encode() + b"\n")
        self._written += 1
        if self._written < _MOST:
            return
        new = self._path.with_suffix(".new")
        tables = emulator.dynamodb_backends[_ACCOUNT][_REGION].tables
        new.write_bytes(pickle.dumps((self._number + 1, tables), protocol=5))
        new.replace(self._saved)  # from here on the old journal counts no more
        self._journal.close()
        self._path.with_suffix(f".{self._number}").unlink()
        self._number += 1
        self._written = 0
        self._journal = self._open_journal()

    def answer(self, operation: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        with self._turn:
            self.count += 1
            if self.refusing["count"] and self.refusing.get("only", operation) == operation:
                self.refusing["count"] -= 1
                code = self.refusing["code"]
                kind = f"com.amazonaws.dynamodb.v20120810#{code}"
                return self.refusing.get("status", 400), json.dumps({"__type": kind, "message": "s3cret"}).encode()
            if operation == "BatchGetItem" and self.few:
                return self._a_few(body, headers)
            status, answer = self._asked(operation, body, headers)
            if status == 200 and operation not in _READS:
                self._write(operation, body)
            return status, answer

    def _a_few(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        request = json.loads(body)
        ((table, wanted),) = request["RequestItems"].items()
        keys = wanted["Keys"]
        wanted["Keys"] = keys[: self.few]
        status, answer = self._asked("BatchGetItem", json.dumps(request).encode(), headers)
        if status != 200 or len(keys) <= self.few:
            return status, answer
        return 200, json.dumps(
            {**json.loads(answer), "UnprocessedKeys": {table: {**wanted, "Keys": keys[self.few :]}}}
        ).encode()

    def _asked(self, operation: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        environment: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "dynamodb.us-east-1.amazonaws.com",
            "HTTP_X_AMZ_TARGET": f"DynamoDB_20120810.{operation}",
            "HTTP_AUTHORIZATION": headers.get(
                "Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request"
            ),
            "CONTENT_TYPE": "application/x-amz-json-1.0",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        statuses: list[int] = []
        answer = self._app(environment, lambda status, _headers, *_: statuses.append(int(status.split()[0])))
        return statuses[0], b"".join(answer)


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = self.service
        if self.path == "/count":
            status, answer, service.count = 200, str(service.count).encode(), 0
        elif self.path == "/refuse":
            status, answer, service.refusing = 200, b"{}", json.loads(body)
        elif self.path == "/few":
            status, answer, service.few = 200, b"{}", int(body)
        else:
            operation = (self.headers.get("X-Amz-Target") or ".").partition(".")[2]
            status, answer = service.answer(operation, body, dict(self.headers))
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = _handle

    def log_message(self, format: str, *arguments: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


def main() -> None:
    """Run until somebody ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True, help="file of the journal")
    given = parser.parse_args()
    Handler.service = Service(Path(given.path))
    _Server(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
