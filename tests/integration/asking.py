"""Asks fakes of services over their sockets, without a client library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit


class Asking:
    """Asks a fake by plain HTTP.

    Args:
        url: of the fake.
        headers: of every request.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._address = f"http://{parts.hostname}:{parts.port}"
        self.headers = headers

    def __call__(self, request: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Return the status, the body, and the headers of an answer."""
        method, path = request.split()
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        made = urllib.request.Request(f"{self._address}{path}", data, {**self.headers, **headers}, method=method)
        try:
            with urllib.request.urlopen(made, timeout=30) as answer:
                status, text, found = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                status, text, found = error.code, error.read(), error.headers
        kind = found.get("content-type", "")
        read = json.loads(text) if "json" in kind else text.decode()
        return status, read, {name.lower(): value for name, value in found.items()}
