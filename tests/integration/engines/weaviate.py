"""Weaviate."""

from __future__ import annotations

from typing import Any, ClassVar

from ._collections import CollectionsEngine
from ._engine import PASSWORD, USER, json_request


class Weaviate(CollectionsEngine):
    """Weaviate, which is asked by REST and by gRPC."""

    name = "weaviate"
    image = "semitechnologies/weaviate:1.39.0"
    in_memory = True
    container_data = "/var/lib/weaviate"
    port = 8080
    other_ports = (50051,)
    container_environment: ClassVar[dict[str, str]] = {
        "PERSISTENCE_DATA_PATH": "/var/lib/weaviate",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": PASSWORD,
        "AUTHENTICATION_APIKEY_USERS": USER,
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "DEFAULT_VECTORIZER_MODULE": "none",
        "CLUSTER_HOSTNAME": "node1",
        "DISABLE_TELEMETRY": "true",
        "ENABLE_EXPERIMENTAL_ALTER_SCHEMA_DROP_VECTOR_INDEX_ENDPOINT": "true",
    }
    collections = "/v1/schema"
    question = "GET /v1/schema"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"weaviate://:{PASSWORD}@{host}:{port}?grpc_port={others[0]}"

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Make a request: a method and a path, and what to send as JSON."""
        return [(json_request(self.url, sql, {"Authorization": f"Bearer {PASSWORD}"}, *parameters),)]

    @property
    def version(self) -> str:
        return f"Weaviate {self.execute('GET /v1/meta')[0][0]['version']}"

    def names(self) -> list[str]:
        return [item["class"] for item in self.execute("GET /v1/schema")[0][0]["classes"]]


class WeaviateIndexingLater(Weaviate):
    """Weaviate that indexes vectors up to a second after it has acknowledged them, as its cloud does."""

    name = "weaviate_indexing_later"
    container_environment: ClassVar[dict[str, str]] = {**Weaviate.container_environment, "ASYNC_INDEXING": "true"}
