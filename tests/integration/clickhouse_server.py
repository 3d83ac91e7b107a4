"""A server that speaks ClickHouse's HTTP interface, with the engine of the package ``chdb`` behind it.

There is no package of the server itself for every machine; ``chdb`` is the same engine as a library. What a query
means, every error code and all that is stored are the engine's own. Written here is the transport, as ClickHouse's
documentation of the HTTP interface has it: the query in the URL, the body or a form, ``param_*`` for its parameters,
other fields as settings, the user by Basic or by headers, errors with ``X-ClickHouse-Exception-Code``.

What it is not: there are no users but one, no sessions, no compression and no progress.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import signal
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_MOST_FIELD = 131_072  # bytes of a field of a form, as of a server unless it is told otherwise
_MOST_URI = 1_048_576
_TRANSPORT = {
    "buffer_size",
    "cancel_http_readonly_queries_on_client_close",
    "compress",
    "database",
    "decompress",
    "default_format",
    "enable_http_compression",
    "http_headers_progress_interval_ms",
    "password",
    "query",
    "query_id",
    "quota_key",
    "role",
    "send_progress_in_http_headers",
    "session_check",
    "session_id",
    "session_timeout",
    "user",
    "wait_end_of_query",
}
_NAME = re.compile("[a-z][a-z0-9_]*")
_FIELD = re.compile(rb'name="([^"]*)"')
_CODE = re.compile(r"Code: (\d+)")
_INSERT = re.compile(rb"\s*(INSERT\s+INTO\s.*?)\s+FORMAT\s+(\w+)[ \t]*\n", re.IGNORECASE | re.DOTALL)
_STATUS = {516: 403, 497: 403, 60: 404, 81: 404, 47: 404, 62: 400, 57: 500}


class RefusedError(Exception):
    """What the transport itself refuses."""


class Engine:
    """The engine, and connections to it, each for one request at a time and with settings that stay."""

    def __init__(self, path: str, most: int = 16) -> None:
        import chdb

        self._connect = lambda: chdb.connect(path)
        self._keeps = self._connect()  # the engine ends with its last connection
        self._places = threading.BoundedSemaphore(most)
        self._opening = threading.Lock()
        self._free: dict[tuple[Any, str], list[Any]] = {}

    def run(self, query: bytes, parameters: dict[str, str], settings: dict[str, str], database: str) -> bytes:
        """Run one statement under settings, in a database."""
        kind = (frozenset(settings.items()), database)
        with self._places:
            with self._opening:
                free = self._free.setdefault(kind, [])
                connection = free.pop() if free else self._open(settings, database)
            result = self._run(connection, query, parameters)
            # After an error it may be in any state, so it is left to be collected.
            with self._opening:
                free.append(connection)
            return result

    def _open(self, settings: dict[str, str], database: str) -> Any:
        connection = self._connect()
        if settings:
            said = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
            connection.query(f"SET {said}", "TabSeparated")
        if database:
            connection.query(f"USE `{database}`", "TabSeparated")
        return connection

    def _run(self, connection: Any, query: bytes, parameters: dict[str, str]) -> bytes:
        insert = _INSERT.match(query)
        if insert is None:
            return bytes(connection.query(query.decode(), "TabSeparated", params=parameters).bytes())
        # The engine as a library does not take binary data behind a statement.
        with tempfile.NamedTemporaryFile() as data:
            data.write(query[insert.end() :])
            data.flush()
            statement = f"{insert[1].decode()} FROM INFILE {_quoted(data.name)} FORMAT {insert[2].decode()}"
            connection.query(statement, "TabSeparated", params=parameters)
        return b""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _handler(engine: Engine, user: str, password: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            if urlsplit(self.path).path in {"/ping", "/ping/"}:
                self._send(200, b"Ok.\n")
            else:
                self._do(b"")

        def do_POST(self) -> None:
            self._do(self._read())

        def _read(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _do(self, body: bytes) -> None:
            try:
                self._send(200, self._answer(body))
            except RefusedError as error:
                self._fail(1000, str(error))
            except PermissionError:
                self._fail(516, "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)")
            except ConnectionError:
                raise
            except Exception as error:
                found = _CODE.search(str(error))
                self._fail(int(found[1]) if found else 1001, str(error))

        def _answer(self, body: bytes) -> bytes:
            if len(self.path) > _MOST_URI:
                raise RefusedError("URI is too long")
            fields = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True, max_num_fields=100_000))
            kind = self.headers.get("Content-Type", "")
            if kind.startswith("multipart/form-data"):
                fields |= _form(kind, body)
                body = b""
            if any(len(value.encode()) > _MOST_FIELD for name, value in fields.items() if name != "query"):
                raise RefusedError("Field value too long")
            self._check(fields)
            parameters = {name[6:]: value for name, value in fields.items() if name.startswith("param_")}
            settings = {
                name: value
                for name, value in fields.items()
                if name not in _TRANSPORT and not name.startswith("param_") and _NAME.fullmatch(name)
            }
            query = fields.get("query", "").encode()
            query = query + b"\n" + body if query and body else query or body
            return engine.run(query, parameters, settings, fields.get("database", ""))

        def _check(self, fields: dict[str, str]) -> None:
            given = (self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key"))
            basic = self.headers.get("Authorization", "")
            if basic.startswith("Basic "):
                name, _, key = base64.b64decode(basic[6:]).decode().partition(":")
                given = (name, key)
            elif given[0] is None:
                given = (fields.get("user", "default"), fields.get("password", ""))
            if given != (user, password):
                raise PermissionError("no such user, or another password")

        def _fail(self, code: int, text: str) -> None:
            self._send(_STATUS.get(code, 500), text.encode(), code)

        def _send(self, status: int, body: bytes, code: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            if code is not None:
                self.send_header("X-ClickHouse-Exception-Code", str(code))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *arguments: Any) -> None:
            return

    return Handler


def _form(kind: str, body: bytes) -> dict[str, str]:
    boundary = kind.partition("boundary=")[2].strip('"').encode()
    found = {}
    for part in body.split(b"--" + boundary):
        head, _, value = part.partition(b"\r\n\r\n")
        if name := _FIELD.search(head):
            found[name[1].decode()] = value[:-2].decode()
    return found


class Server(ThreadingHTTPServer):
    """Listens; a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="ClickHouse's HTTP interface in front of chdb")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True, help="the folder of the data")
    parser.add_argument("--packages", required=True, help="the folder that has the package chdb")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    given = parser.parse_args()
    sys.path.insert(0, given.packages)
    engine = Engine(given.path)
    server = Server(("127.0.0.1", given.port), _handler(engine, given.user, given.password))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # what was acknowledged is in the folder
    server.serve_forever()


if __name__ == "__main__":
    main()
