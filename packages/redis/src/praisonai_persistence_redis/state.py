"""State in Redis, on redis-py; the layout and the commands are those of ``praisonai_persistence_rediscore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores.state import PAGE
from praisonai_persistence_redis._scripts import look, node_of
from praisonai_persistence_rediscore import CommandStateSteps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["RedisStateSteps"]


class RedisStateSteps(CommandStateSteps):
    """State on a server, or on the node of a cluster that has the store's slot.

    Args:
        prefix: the ``table_prefix``.
        allow_eviction: whether the server may throw data away when it is full.
    """

    def __init__(self, prefix: str, *, allow_eviction: bool = False) -> None:
        super().__init__(prefix)
        self._allow_eviction = allow_eviction

    def probe(self) -> Steps[None]:
        """Look at the server, with the first connection.

        Raises:
            ConfigurationError: it throws data away when it is full.
        """
        return look(self._head, allow_eviction=self._allow_eviction)

    def _page(self, pattern: str, node: str | None, position: Any) -> Steps[tuple[str | None, Any, Sequence[Any]]]:
        def request(client: Any) -> Any:
            nonlocal node, position
            target = node_of(client, self._head)
            if target and target["target_nodes"].name != node:  # the keys have moved; what was seen is not given again
                node, position = target["target_nodes"].name, 0
            return client.execute_command("SCAN", position, "MATCH", pattern, "COUNT", PAGE, **target)

        position, found = yield request
        if isinstance(position, dict):  # of a cluster, by node
            (position,) = position.values()
        return node, position, found
