"""What ``praisonai.persistence.config`` and the ``base`` modules have beyond the configuration and the interfaces."""

from __future__ import annotations

import os
import re
from typing import Any

from praisonai_persistence._arguments import named_arguments
from praisonai_persistence.compat._stores import _options
from praisonai_persistence.config import PersistenceConfig as _Config
from praisonai_persistence.errors import InvalidIdentifierError, InvalidValueError
from praisonai_persistence.opening import create_stores_from_config as _create_stores
from praisonai_persistence.registry import get_default_registry
from praisonai_persistence.urls import parse_url

__all__ = [
    "ENV_VARS",
    "PersistenceConfig",
    "create_stores_from_config",
    "get_env_var",
    "list_available_backends",
    "validate_dimension",
    "validate_identifier",
    "validate_identifier_or_nothing",
]

_OF_PRAISONAI = ("conversation_store", "knowledge_store", "state_store", "session_id", "user_id")
_OF_VENDORS = """
    postgres_url postgres_host postgres_port postgres_database postgres_user postgres_password
    qdrant_url qdrant_host qdrant_port qdrant_api_key redis_url redis_host redis_port redis_password
    pinecone_api_key pinecone_environment pinecone_index chroma_host chroma_port weaviate_url weaviate_api_key
    milvus_host milvus_port milvus_token mongodb_url mongodb_database aws_region dynamodb_table firestore_project
    upstash_redis_url upstash_redis_token upstash_vector_url upstash_vector_token supabase_url supabase_key
    surrealdb_url mysql_url mysql_host mysql_port mysql_database mysql_user mysql_password singlestore_url
    clickhouse_host clickhouse_port clickhouse_user clickhouse_password cassandra_hosts cassandra_keyspace
    lancedb_path lancedb_uri neon_database_url turso_database_url turso_auth_token cockroachdb_url xata_database_url
"""

ENV_VARS: dict[str, str] = {
    **{name: f"PRAISONAI_{name.upper()}" for name in _OF_PRAISONAI},
    **{f"{kind}_url": f"PRAISONAI_{kind.upper()}_URL" for kind in ("conversation", "knowledge", "state")},
    **{name: name.upper() for name in _OF_VENDORS.split()},
    "chroma_path": "CHROMA_DB_PATH",
    "google_credentials": "GOOGLE_APPLICATION_CREDENTIALS",
    "surrealdb_database": "SURREALDB_DB",
    "surrealdb_namespace": "SURREALDB_NS",
}
"""PraisonAI's name of a setting -> its environment variable."""


@named_arguments
class PersistenceConfig(_Config):
    """The configuration, with its fields in PraisonAI's order; they can be changed."""

    __slots__ = ()

    def __init__(
        self,
        conversation_store: str | None = None,
        conversation_url: str | None = None,
        conversation_options: dict[str, Any] | None = None,
        knowledge_store: str | None = None,
        knowledge_url: str | None = None,
        knowledge_options: dict[str, Any] | None = None,
        state_store: str | None = None,
        state_url: str | None = None,
        state_options: dict[str, Any] | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        auto_create_tables: bool = True,
        lazy_init: bool = True,
    ) -> None:
        super().__init__(
            conversation_url,
            knowledge_url,
            state_url,
            {} if conversation_options is None else conversation_options,
            {} if knowledge_options is None else knowledge_options,
            {} if state_options is None else state_options,
            conversation_store,
            knowledge_store,
            state_store,
            session_id,
            user_id,
            auto_create_tables,
            lazy_init,
        )

    def options(self, kind: str) -> dict[str, Any]:
        """Return the options of a kind's backend; one that may make no tables still takes over PraisonAI's."""
        found = super().options(kind)
        backend, url = getattr(self, f"{kind}_store"), getattr(self, f"{kind}_url")
        if "must_exist" not in found or (backend is None and url is None):
            return found
        factory = get_default_registry(kind)._find(backend or parse_url(url).scheme).load(kind)
        if isinstance(factory, type) and {"adopt_legacy", "create_schema"} <= _options(factory).keys():
            del found["must_exist"]
            return {"create_schema": False, **found}
        return found

    __hash__ = None  # type: ignore[assignment]

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def get_env_var(key: str, default: str | None = None) -> str | None:
    """Return the environment variable of a setting; of a name that is none, that of this name in capitals."""
    return os.environ.get(ENV_VARS.get(key, key.upper()), default)


def list_available_backends() -> dict[str, list[str]]:
    """Return kind -> the names and aliases of its backends, sorted."""
    return {kind: get_default_registry(kind).list_all_names() for kind in ("conversation", "knowledge", "state")}


def validate_identifier(value: Any, name: str = "identifier") -> str:
    """Return the value, which becomes part of a name in a program's own SQL; our stores ask for more than this.

    Raises:
        InvalidIdentifierError: it is no text of ASCII letters, digits and ``_``, or empty.
    """
    return _plain(value, name, r"[A-Za-z0-9_]+")


def validate_identifier_or_nothing(value: Any, name: str = "identifier") -> str:
    """Do the same, but take the empty text, too: in its conversation stores PraisonAI lets a prefix be empty."""
    return _plain(value, name, r"[A-Za-z0-9_]*")


def _plain(value: Any, name: str, pattern: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise InvalidIdentifierError(f"{name} must contain only ASCII letters, digits and '_'")
    return value


def validate_dimension(dimension: Any, *, name: str = "dimension", max_dim: int = 65536) -> int:
    """Return the dimension of a collection.

    Raises:
        InvalidValueError: it is no whole number from 1 to ``max_dim``.
    """
    if isinstance(dimension, bool) or not isinstance(dimension, int) or not 1 <= dimension <= max_dim:
        raise InvalidValueError(f"{name} must be a whole number from 1 to {max_dim}")
    return dimension


class _Stores(dict[str, Any]):
    """The stores of a configuration by the names of their kinds, which are attributes, too."""

    def __getattr__(self, kind: str) -> Any:
        try:
            return self[kind]
        except KeyError:
            raise AttributeError(kind) from None


def create_stores_from_config(config: _Config, mode: Any = "auto") -> dict[str, Any]:
    """Return the stores that a configuration names, by their kinds; None for a kind that it does not name.

    Raises:
        ConfigurationError: and everything else that opening a store raises.
    """
    return _Stores(_create_stores(config, mode)._asdict())
