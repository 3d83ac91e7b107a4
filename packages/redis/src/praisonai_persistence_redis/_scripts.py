"""What the steps ask the client for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.client import NEVER_DECODE
from redis.exceptions import NoPermissionError

from praisonai_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.steps import Steps

__all__ = ["look", "need_no_eviction", "node_of", "sent_to"]


def node_of(client: Any, key: str) -> dict[str, Any]:
    """Return what sends a command without keys to the node that has a key; nothing where there is one node only."""
    find = getattr(client, "get_node_from_key", None)
    return {} if find is None else {"target_nodes": find(key)}


def sent_to(key: str, *arguments: Any) -> Callable[[Any], Any]:
    """A command without keys whose answer holds bytes, for the node that has ``key``."""
    return lambda client: client.execute_command(*arguments, **node_of(client, key), **{NEVER_DECODE: True})


def look(key: str, *, allow_eviction: bool) -> Steps[None]:
    """Look at the server that has a key, with the first connection.

    Raises:
        ConfigurationError: it throws data away when it is full, and that is not allowed.
    """
    try:
        info = yield lambda client: client.execute_command("INFO", "memory", **node_of(client, key))
    except NoPermissionError:  # then nobody can tell
        return
    if not allow_eviction:
        need_no_eviction(info)


def need_no_eviction(info: dict[str, Any]) -> None:
    """Refuse a server that throws data away when it is full.

    Args:
        info: the answer to ``INFO memory``, of one node or by node.

    Raises:
        ConfigurationError: it does.
    """
    if "maxmemory_policy" not in info:
        info = next((part for part in info.values() if isinstance(part, dict)), {})
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys") and info.get("maxmemory"):
        raise ConfigurationError(
            f"this server throws away any key when its memory is full (maxmemory-policy {policy}), so it is a cache: "
            f"use one with noeviction, or say allow_eviction=True if the data may go"
        )
