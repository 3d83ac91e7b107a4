"""A TCP proxy that breaks connections on command: between a store and its server stands what a network can do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Literal

__all__ = ["Proxy"]

Side = Literal["client", "server"]
_RESET = struct.pack("ii", 1, 0)  # close with RST instead of FIN


class Proxy:
    """Forwards connections at a loopback port to a server; a context manager.

    Args:
        host: of the server.
        port: of the server.
        latency: seconds that everything the server says takes.
    """

    def __init__(self, host: str, port: int, latency: float = 0.0) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._open = threading.Event()
        self._open.set()
        self._swallowing = False
        self._delay = latency
        self._losing = False
        self._cutting: int | None = None
        self._lost = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ----------------------------------------------------------------------------------------------------- the faults

    def drop(self) -> int:
        """End every connection in the orderly way, whatever is under way in it; return how many there were."""
        return self._cut(reset=False)

    def reset(self) -> int:
        """End every connection by a reset; return how many there were."""
        return self._cut(reset=True)

    def hold(self) -> None:
        """Forward nothing until ``release``; connections stay open, and new ones are accepted."""
        self._open.clear()

    def release(self) -> None:
        """Forward again, beginning with what was held."""
        self._open.set()

    def swallow(self) -> None:
        """Throw away whatever either side says, on the connections that there are and on new ones, until ``hear``.

        Nobody is told: connections stay open, and new ones are accepted. So it is behind a firewall that forgot them,
        or with a server that was cut off from the network.
        """
        with self._lock:
            self._swallowing = True
            for link in self._links:
                link.deaf = True

    def hear(self) -> None:
        """Forward what is said on connections made from now on; those that were swallowed stay silent for good."""
        with self._lock:
            self._swallowing = False

    def delay(self, seconds: float) -> None:
        """Forward what the server says so many seconds late, from now on; 0 ends it."""
        self._delay = seconds

    def lose_next_answer(self) -> None:
        """Throw away the next thing that the server says on any connection, and reset that connection.

        The server has done what it was asked to, and the client cannot know.
        """
        self._lost.clear()
        self._losing = True

    def lose_answer(self, timeout: float) -> bool:
        """Do that now, and return whether there was such an answer within ``timeout`` seconds."""
        self.lose_next_answer()
        found = self._lost.wait(timeout)
        with self._lock:
            self._losing = False
        return found

    def cut_next_answer(self, kept: int) -> None:
        """Of the next thing that the server says on any connection, forward a part, and end that connection in order.

        Args:
            kept: bytes of it, at most all but the last one.
        """
        with self._lock:
            self._cutting = kept

    # ------------------------------------------------------------------------------------------------------- the work

    def close(self) -> None:
        """End everything."""
        self._closed = True
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut(reset=True)
        self._thread.join()

    def _cut(self, *, reset: bool) -> int:
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.end(reset=reset)
        return len(links)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:  # the server is down: so is the port, for the client
                _close(client, reset=True)
                continue
            server.settimeout(None)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(self, client, server)
            with self._lock:
                self._links.add(link)
                link.deaf = self._swallowing
            if self._closed:
                link.end(reset=True)
            link.start()

    def _passes(self, link: _Link, side: Side) -> bool:
        """Whether what came from that side of the link may go on; waits while everything is held."""
        self._open.wait()
        if link.deaf:
            return False
        if side == "server" and self._delay:
            time.sleep(self._delay)
        if side == "server" and self._losing:
            with self._lock:
                losing, self._losing = self._losing, False
                if losing:
                    self._links.discard(link)
            if losing:
                link.end(reset=True)
                self._lost.set()
                return False
        return True

    def _forwarded(self, side: Side, size: int) -> int:
        """Return how many bytes are forwarded of so many that came from that side; if not all, the link ends."""
        with self._lock:
            if side == "client" or self._cutting is None:
                return size
            kept, self._cutting = min(self._cutting, size - 1), None
            return kept

    def _ended(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)


class _Link:
    """One connection: two sockets and a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self.deaf = False

    def start(self) -> None:
        for side, source, target in (
            ("client", self._client, self._server),
            ("server", self._server, self._client),
        ):
            threading.Thread(target=self._pump, args=(side, source, target), daemon=True).start()

    def end(self, *, reset: bool) -> None:
        for side in (self._client, self._server):
            _close(side, reset=reset)

    def _pump(self, side: Side, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._proxy._passes(self, side):
                    forwarded = self._proxy._forwarded(side, len(data))
                    target.sendall(data[:forwarded])
                    if forwarded < len(data):
                        break
                elif not self.deaf:  # it was ended
                    return
        self._proxy._ended(self)
        self.end(reset=False)


def _close(side: socket.socket, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        else:
            side.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in recv; a reset does so by closing
    with contextlib.suppress(OSError):
        if reset:
            # Closing alone does not wake another thread's recv: reading ends first, and nothing is sent by that.
            side.shutdown(socket.SHUT_RD)
    side.close()
