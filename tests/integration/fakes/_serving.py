"""What the fakes of services have in common: requests and answers in JSON, a log that outlives them, orders of tests.

A fake is a program. Its log has a line for each write, so that what was acknowledged is there after a restart. Tests
give orders with ``POST /_fake/ORDER``, whose answer is JSON: see [Fake.order][].
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["Answer", "Delayed", "Fake", "Refusal", "Request", "check_fields", "constant", "main"]


class Request(NamedTuple):
    """A request.

    Attributes:
        method: of HTTP.
        path: its parts, decoded.
        query: the values of each parameter.
        headers: by names in lower case.
        data: the body.
        host: what the client calls the server.
    """

    method: str
    path: tuple[str, ...]
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    data: bytes
    host: str

    def json(self) -> Any:
        """The body."""
        try:
            return json.loads(self.data, parse_constant=constant)
        except ValueError:
            raise Refusal(400, "the body is no JSON") from None


def constant(name: str) -> Any:
    """Refuse ``NaN`` and infinities, which are no JSON."""
    raise ValueError(name)


class Answer(NamedTuple):
    """An answer; a body that is text is sent as such, another one as JSON."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}


class Refusal(Exception):
    """What the service refuses.

    Args:
        status: of HTTP.
        message: what is wrong.
        headers: sent with it.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


class Delayed:
    """Records by id, of which reads see a write only some time after it was acknowledged.

    Attributes:
        seen: what reads see, after ``catch_up``.
        number: of the last write that they see.
        last: the number of the last write.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        self.number = self.last = 0
        self._waiting: list[tuple[float, int, Callable[[dict[str, Any]], None]]] = []

    def write(self, change: Callable[[dict[str, Any]], None], delay: float) -> int:
        """Change the records after a delay; return the number of the write."""
        self.last += 1
        self._waiting.append((time.monotonic() + delay, self.last, change))
        return self.last

    def catch_up(self) -> dict[str, Any]:
        """Return the records, with the writes of which the time has come."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, self.number, change = self._waiting.pop(0)
            change(self.seen)
        return self.seen

    def at(self, number: int) -> dict[str, Any]:
        """Return the records as reads see them that have to see the writes up to a number."""
        if number <= self.number:
            return self.catch_up()
        seen = dict(self.catch_up())
        for _, _, change in [one for one in self._waiting if one[1] <= number]:
            change(seen)
        return seen


def check_fields(body: Any, known: Mapping[str, type | tuple[type, ...]], required: tuple[str, ...] = ()) -> None:
    """Refuse a body that is no object, has a field that is not documented, or one of another type."""
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be an object")
    for name, value in body.items():
        if name not in known:
            raise Refusal(400, f"unknown field {name!r}")
        kinds = known[name] if isinstance(known[name], tuple) else (known[name],)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise Refusal(400, f"field {name!r} has a value of a wrong type")
    for name in required:
        if name not in body:
            raise Refusal(400, f"field {name!r} is missing")


class Fake(ABC):
    """A service. Requests are served one after the other.

    Args:
        arguments: of the program.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.key: str = arguments.key
        self.delay: float = arguments.delay
        self.busy = 0
        self.busily: tuple[int, dict[str, str]] | None = None
        self.asked: list[str] = []
        self._turn = threading.RLock()
        log = Path(arguments.path) / "log"
        if log.exists():
            for line in log.read_text("utf-8").splitlines():
                self.change(json.loads(line), 0)
        self._log = log.open("a", encoding="utf-8")

    @abstractmethod
    def serve(self, request: Request) -> Answer:
        """Answer a request, or raise a ``Refusal``."""

    @abstractmethod
    def refuse(self, refusal: Refusal, request: Request) -> Answer:
        """Return the answer of a refusal, in the service's format."""

    @abstractmethod
    def change(self, entry: Any, delay: float) -> Any:
        """Do what an entry of the log says; reads see it after a delay."""

    def write(self, entry: Any) -> Any:
        """Log a change, which is checked already, and do it."""
        self._log.write(json.dumps(entry) + "\n")
        self._log.flush()
        return self.change(entry, self.delay)

    def order(self, name: str, value: Any) -> Any:
        """Do what a test says.

        ``delay``: seconds until reads see a write; ``busy``: how many of the next requests are throttled; ``busily``:
        the status and the headers with which they are, None: as usual; ``asked``: return the requests since it was
        asked last.
        """
        if name == "asked":
            asked, self.asked = self.asked, []
            return asked
        if name in {"delay", "busy", "busily"}:
            setattr(self, name, value)
            return None
        raise Refusal(404, "no such order")

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        with self._turn:
            try:
                if request.path[:1] == ("_fake",):
                    return Answer(self.order(request.path[1], json.loads(request.data or b"null")))
                self.asked.append(f"{request.method} /{'/'.join(request.path)}")
                return self.serve(request)
            except Refusal as refusal:
                return self.refuse(refusal, request)

    def converse(self, connection: socket.socket) -> bool:
        """Serve a connection of another protocol to its end; False: it speaks HTTP, and nothing was read."""
        return False

    def throttle(self, refusal: Refusal) -> None:
        """Refuse the request, if a test said so."""
        if self.busy:
            self.busy -= 1
            status, headers = self.busily or (refusal.status, refusal.headers)
            raise Refusal(status, refusal.message, headers)


def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            path = tuple(unquote(part) for part in parts.path.split("/") if part)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = parse_qs(parts.query, keep_blank_values=True)
            found = fake.answer(Request(self.command, path, query, headers, data, headers.get("host", "")))
            text = isinstance(found.body, str)
            body = found.body.encode() if text else json.dumps(found.body).encode()
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/plain" if text else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _handle

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the client went away
                super().handle()

        def log_message(self, format: str, *arguments: object) -> None:
            return

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = socket.SOMAXCONN

    def __init__(self, address: tuple[str, int], fake: Fake) -> None:
        self._fake = fake
        super().__init__(address, _handler(fake))

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(ConnectionError):  # the client went away
            if not self._fake.converse(request):
                super().finish_request(request, client_address)


def main(kind: Callable[[argparse.Namespace], Fake], *more: tuple[str, Any]) -> None:
    """Run a fake as a program, which ends with its parent.

    Args:
        kind: the fake.
        more: further arguments, with their defaults.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True, help="the folder of the log")
    parser.add_argument("--key", required=True, help="what clients have to show")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds until reads see a write")
    for name, default in more:
        parser.add_argument(f"--{name}", type=type(default), default=default)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    arguments = parser.parse_args()
    with _Server(("127.0.0.1", arguments.port), kind(arguments)) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.05)
