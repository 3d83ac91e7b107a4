"""State in Upstash Redis: the layout and the scripts of ``praisonai_persistence_rediscore``, in few HTTP requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence.steps import Steps, reads
from praisonai_persistence_rediscore import Command, CommandStateSteps, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Pipeline", "UpstashStateSteps"]

_MANY = 1000
"""Keys of one reading command."""
_GET = Script(  # what MGET passes over may be a hash, which STRLEN refuses
    "local found = redis.call('MGET', unpack(KEYS)) for i, key in ipairs(KEYS) do "
    "if not found[i] then redis.call('STRLEN', key) end end return found"
)


# As text: numbers beyond 2^53 may be rounded in JSON.
_INCREMENT = Script("redis.call('INCRBY', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")


class Pipeline:
    """A request for several commands at once; the answer is the list of theirs.

    Args:
        commands: which.
    """

    __slots__ = ("commands",)

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands


class UpstashStateSteps(CommandStateSteps):
    """State on a server that is asked by HTTP.

    Args:
        prefix: the ``table_prefix``.
    """

    def _increment(self, name: str, by: int) -> Steps[int]:
        return int((yield from _INCREMENT([name], by)))

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        named = self._named(keys)
        chunks = [named[start : start + _MANY] for start in range(0, len(named), _MANY)]
        if len(chunks) == 1:
            answers = [(yield from _GET(chunks[0]))]
        else:
            answers = (yield Pipeline([_GET.with_source(chunk) for chunk in chunks])) if chunks else []
        found = [value for answer in answers for value in answer]
        return {key: value for key, value in zip(keys, found, strict=True) if value is not None}
