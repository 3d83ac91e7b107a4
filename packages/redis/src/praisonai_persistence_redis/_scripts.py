"""What the steps ask the client for."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, Any

from redis.client import NEVER_DECODE
from redis.exceptions import NoPermissionError, NoScriptError

from praisonai_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["Script", "look", "need_no_eviction", "node_of", "raw_command", "sent_to", "text"]


def text(value: bytes | str) -> str:
    """Return an answer as text, whether the client decodes or not."""
    return value if isinstance(value, str) else value.decode()


def raw_command(*arguments: Any) -> Callable[[Any], Any]:
    """Return a request for one command, whose answer holds bytes, also from a client that decodes."""
    return lambda client: client.execute_command(*arguments, **{NEVER_DECODE: True})


def node_of(client: Any, key: str) -> dict[str, Any]:
    """Return what sends a command without keys to the node that has a key; nothing where there is one node only."""
    find = getattr(client, "get_node_from_key", None)
    return {} if find is None else {"target_nodes": find(key)}


def sent_to(key: str, *arguments: Any) -> Callable[[Any], Any]:
    """[raw_command][] without keys, for the node that has ``key``."""
    return lambda client: client.execute_command(*arguments, **node_of(client, key), **{NEVER_DECODE: True})


class Script:
    """A Lua script: it runs as one command, so nothing comes between its parts, and nothing of it stays half done.

    Args:
        source: KEYS lie in one slot; whatever can fail comes before the first write.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._sha = sha1(source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str], *arguments: Any) -> Steps[Any]:
        """Run it; a server that does not know it yet, or not any more, is sent the source."""
        try:
            return (yield raw_command("EVALSHA", self._sha, len(keys), *keys, *arguments))
        except NoScriptError:
            return (yield raw_command("EVAL", self._source, len(keys), *keys, *arguments))


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
