"""A server that speaks SurrealDB's RPC, over WebSockets and over HTTP, with the embedded engine behind it.

There is no package of the server itself for every machine. What a query means, who may sign in, and every error text
is the engine's own (SurrealDB 2.3, of the package ``surrealdb``). Written here are the transport and sessions: each
connection has a namespace, a database and a token, as the documentation of the RPC protocol has it. Without a token
nothing but ``version``, ``ping``, ``use``, ``signin`` and ``authenticate`` is done, as on a server with authentication.

What it is not: queries run one at a time, so transactions never conflict by themselves. ``--conflicts N`` refuses every
Nth query that writes as a conflict, before it is done.
"""

from __future__ import annotations

import argparse
import itertools
import socket
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from surrealdb._surrealdb_ext import SyncEmbeddedDB
from surrealdb.data.cbor import decode, encode
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

_CONFLICT = (
    "The query was not executed due to a failed transaction. There was a problem with a datastore transaction: "
    "Transaction read conflict. This transaction can be retried"
)
_DENIED = "There was a problem with the database: IAM error: Not enough permissions to perform this action"
_OPEN = {"version", "ping", "use", "signin", "authenticate", "invalidate"}
_MOST = 128 * 2**20  # bytes of a message, a server's default; over HTTP it is 4 MiB
_MOST_HTTP = 4 * 2**20


class Session:
    """What a connection has said."""

    def __init__(self) -> None:
        self.place: tuple[str, str] | None = None
        self.token: str | None = None


class Front:
    """The engine, and which session it works for."""

    def __init__(self, url: str, user: str, password: str, version: str, conflicts: int) -> None:
        self._lock = threading.Lock()
        self._engine = SyncEmbeddedDB(url)
        self._version = version
        self._writes = itertools.count(1)
        self._conflicts = conflicts
        self._current: tuple[Any, Any] | None = None
        define = f"DEFINE USER IF NOT EXISTS `{user}` ON ROOT PASSWORD $password ROLES OWNER"
        self._do("query", [define.replace("$password", f"'{password}'"), {}])

    def _do(self, method: str, params: list[Any]) -> Any:
        answer = decode(self._engine.execute(encode({"id": "front", "method": method, "params": params})))
        if answer.get("error") is not None:
            raise RuntimeError(answer["error"]["message"])
        return answer["result"]

    def answer(self, session: Session, request: bytes) -> bytes:
        """Do a request of a session, and return its answer."""
        asked = decode(request)
        try:
            with self._lock:
                result = self._perform(session, asked["method"], list(asked.get("params") or []))
        except Exception as error:
            failed = {"code": -32000, "message": str(error)}
            return encode({"id": asked.get("id"), "error": failed})
        return encode({"id": asked.get("id"), "result": result})

    def _perform(self, session: Session, method: str, params: list[Any]) -> Any:
        if method == "version":
            return f"surrealdb-{self._version}"
        if method == "ping":
            return None
        if method == "use":
            session.place = params[0], params[1]
            return None
        if method == "invalidate":
            session.token = None
            return None
        if method in {"signin", "authenticate"}:
            self._current = None
            found = self._do(method, params)
            session.token = params[0] if method == "authenticate" else _token(found)
            return found
        if session.token is None:
            raise RuntimeError(_DENIED)
        if (
            method == "query"
            and self._conflicts
            and "CREATE" in params[0]
            and next(self._writes) % self._conflicts == 0
        ):
            return [{"status": "ERR", "result": _CONFLICT, "time": "0ns"}]
        self._become(session)
        return self._do(method, params)

    def _become(self, session: Session) -> None:
        if self._current != (session.token, session.place):
            self._current = None
            self._do("authenticate", [session.token])
            if session.place is not None:
                self._do("use", list(session.place))
            self._current = session.token, session.place


def _token(found: Any) -> Any:
    return found.get("access", found.get("token")) if isinstance(found, dict) else found


def _http(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            request = self.rfile.read(size)
            session = Session()
            place = self.headers.get("Surreal-NS"), self.headers.get("Surreal-DB")
            if all(place):
                session.place = place
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            session.token = token if scheme == "Bearer" else None
            status, answer = (200, front.answer(session, request)) if size <= _MOST_HTTP else (413, b"")
            self.send_response(status)
            self.send_header("Content-Type", "application/cbor")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    return Handler


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--url", default="mem://")
    parser.add_argument("--user", default="root")
    parser.add_argument("--password", default="root")
    parser.add_argument("--version", default="2.3.10")
    parser.add_argument("--conflicts", type=int, default=0)
    given = parser.parse_args()
    front = Front(given.url, given.user, given.password, given.version, given.conflicts)

    def handle(connection: Any) -> None:
        session = Session()
        try:
            for message in connection:
                connection.send(front.answer(session, message))
        except ConnectionClosed:
            return

    listening = socket.create_server(("127.0.0.1", given.port), backlog=512)
    with serve(handle, sock=listening, subprotocols=["cbor"], compression=None, max_size=_MOST) as server:
        web_socket, handler = server.handler, _http(front)

        def choose(connection: socket.socket, address: Any) -> None:
            if connection.recv(4, socket.MSG_PEEK) != b"POST":
                web_socket(connection, address)
                return
            try:
                handler(connection, address, server)
            except OSError:
                return
            finally:
                connection.close()

        server.handler = choose
        server.serve_forever()


if __name__ == "__main__":
    main()
