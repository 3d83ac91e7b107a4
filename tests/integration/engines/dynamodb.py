"""DynamoDB."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._engine import Engine, json_request
from ._servers import Local

LOGIN = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_EC2_METADATA_DISABLED": "true"}
_REGION = "us-east-1"


class DynamoDB(Engine):
    """moto, with a journal; see ``dynamodb_server``."""

    name = "dynamodb"
    programs = (str(Path(__file__).parents[1] / "dynamodb_server.py"),)
    question = "ListTables"
    in_memory = True

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        os.environ.update(LOGIN)  # the SDK finds its credentials itself
        return f"http://{host}:{port}"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return super().program(name) if importlib.util.find_spec("moto") else None

    @classmethod
    def command(cls, local: Local) -> list[str]:
        return [sys.executable, cls.programs[0], "--port", str(local.port), "--path", str(local.folder / "data/log")]

    def client(self) -> Any:
        """Return a bare client."""
        from boto3.session import Session

        return Session().client("dynamodb", region_name=_REGION, endpoint_url=self.url)

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Call an operation of the service (``ListTables``), or of the server (``GET /count``); return its answer."""
        if " " in sql:
            return [(json_request(self.url, sql, {}, *parameters),)]
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{sql}"}
        return [(json_request(self.url, "POST /", headers, *(parameters or ({},))),)]

    @property
    def version(self) -> str:
        return "moto"

    def tables(self, prefix: str) -> list[str]:
        """The names of the tables of a prefix."""
        return [name for name in self.execute("ListTables")[0][0]["TableNames"] if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        for table in self.tables(prefix):
            self.execute("DeleteTable", {"TableName": table})

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, Any]]:
        table = f"t{uuid.uuid4().hex[:20]}"
        try:
            yield {"url": f"dynamodb://{table}", "region": _REGION, "endpoint_url": self.url}
        finally:
            self.drop(table)
