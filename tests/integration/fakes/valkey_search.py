"""Valkey with its search module for tests: a front before Redis with its own module, as ``valkey_search.md`` says.

It says that it is Valkey, and refuses of the module's commands what Valkey's documentation does not have. All that it
lets pass is done by the server behind it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import re
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

MOST_NEIGHBOURS = 128
MOST_EFFORT = 4_096
MOST_TERMS = 16
MOST_DIMENSIONS = 32_768
_SAYS = (b"$6\r\nserver\r\n$5\r\nredis\r\n", b"$6\r\nserver\r\n$6\r\nvalkey\r\n")
_CREATE = {
    *("ON", "HASH", "PREFIX", "SCHEMA", "AS", "TAG", "SEPARATOR", "CASESENSITIVE", "NUMERIC", "VECTOR", "HNSW", "FLAT"),
    *("TYPE", "FLOAT32", "DIM", "DISTANCE_METRIC", "L2", "IP", "COSINE", "INITIAL_CAP", "M", "EF_CONSTRUCTION"),
    "EF_RUNTIME",
}
_SEARCH = {"NOCONTENT": 0, "TIMEOUT": 1, "LIMIT": 2, "DIALECT": 1}
"""Options, and how many arguments follow; beside ``PARAMS`` and ``RETURN``, which say it themselves."""
_TAG = r"@\w+:\{[A-Za-z0-9 |_]+\}"
_QUERY = re.compile(r"(.*)=>\[\s*KNN (\d+) @\w+ \$\w+((?: EF_RUNTIME \d+| AS \w+)*)\s*\]", re.DOTALL)


def refused(words: list[str]) -> str | None:
    """Return why a command of the module is refused; None: it is not."""
    name, rest = words[0].upper(), words[1:]
    if name == "FT.CREATE":
        # A word that stands for a name or a value begins with a small letter, or is a number or a separator here.
        unknown = [word for word in rest[1:] if word.isupper() and word.isascii() and word not in _CREATE]
        unknown = [word for word in unknown if "{" not in word]
        if unknown:
            return f"unknown argument {unknown[0]}"
        if "DIM" in rest and not 1 <= int(rest[rest.index("DIM") + 1]) <= MOST_DIMENSIONS:
            return (
                "The dimensions value must be a positive integer greater than 0 and less than or equal to "
                f"{MOST_DIMENSIONS}."
            )
        return None
    if name == "FT.DROPINDEX":
        return None if len(rest) == 1 else "wrong number of arguments"
    if name == "FT.INFO":
        return None if len(rest) == 1 else "wrong number of arguments"
    if name == "FT._LIST":
        return None if not rest else "wrong number of arguments"
    if name != "FT.SEARCH":
        return "unknown command"
    place = 2
    while place < len(rest):
        word = rest[place].upper()
        if word in {"PARAMS", "RETURN"}:
            place += 2 + int(rest[place + 1])
        elif word in _SEARCH:
            place += 1 + _SEARCH[word]
        else:
            return f"unexpected argument {word}"
    return _refused_query(rest[1])


def _refused_query(query: str) -> str | None:
    found = _QUERY.fullmatch(query)
    if found is None:
        return "Invalid filter format. Missing `=>`, or an unknown modifier"
    chosen, neighbours, modifiers = found.groups()
    if not 1 <= int(neighbours) <= MOST_NEIGHBOURS:
        return f"KNN parameter must be 1 to {MOST_NEIGHBOURS}"
    if any(int(effort) > MOST_EFFORT for effort in re.findall(r"EF_RUNTIME (\d+)", modifiers)):
        return f"EF_RUNTIME must be at most {MOST_EFFORT}"
    left, terms = re.subn(_TAG, "x", chosen)
    if terms > MOST_TERMS:
        return f"a query has at most {MOST_TERMS} terms"
    return None if chosen == "*" or re.fullmatch(r"[x ()|-]+", left) else "Invalid filter expression"


def commands(end: socket.socket) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield the commands that a client sends: their bytes, and their words."""
    with end.makefile("rb") as stream:
        while line := stream.readline():
            raw, words = [line], []
            for _ in range(int(line[1:])):
                size = stream.readline()
                word = stream.read(int(size[1:]) + 2)
                raw += [size, word]
                words.append(word[:-2])
            yield b"".join(raw), words


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError), socket.create_connection(self.server.behind) as behind:
            for end in (self.request, behind):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._back, args=(behind,), daemon=True).start()
            for raw, words in commands(self.request):
                why = None
                if words[0].upper().startswith(b"FT."):
                    why = refused([word.decode("utf-8", "replace") for word in words])
                # The server behind refuses a command that it does not know, in its turn.
                behind.sendall(raw if why is None else _encoded("FT.REFUSED", why))

    def _back(self, behind: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := behind.recv(1 << 20):
                self.request.sendall(data.replace(*_SAYS))
            self.request.shutdown(socket.SHUT_RDWR)


def _encoded(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = socket.SOMAXCONN


def main() -> None:
    """Run the fake as a program, which ends with its parent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="the URL of the server behind it")
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    arguments = parser.parse_args()
    place = urlsplit(arguments.upstream)
    with _Server(("127.0.0.1", arguments.port), _Connection) as server:
        server.behind = (place.hostname, place.port)
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
