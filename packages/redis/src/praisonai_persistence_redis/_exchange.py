"""Several commands that are sent at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from praisonai_persistence.stores.batching import Outcome
from praisonai_persistence_redis._connections import send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence_redis._lending import AsyncLender
    from praisonai_persistence_rediscore import Command

__all__ = ["exchange_all", "fit"]

_COMMANDS, _CHARACTERS = 64, 65_536  # of one batch at the most, so that nobody waits long


async def exchange_all(lender: AsyncLender, commands: Sequence[Command]) -> list[Outcome]:
    """Send commands at once; the outcome of each is the answer, or the server's refusal of it."""
    outcomes: list[Outcome] = []
    connection, clean = await lender.take(), False
    try:
        await send(connection, connection.pack_commands([command.arguments for command in commands]))
        stays = True
        while len(outcomes) < len(commands):
            try:
                outcomes.append(Outcome(await connection.read_response()))
            except ResponseError as error:
                outcomes.append(Outcome(None, error))
                stays = stays and lender.stays(error)
        clean = stays
    finally:
        lender.give(connection, clean=clean)
    return outcomes


def fit(commands: Sequence[Command]) -> int:
    """Return how many of the commands, from the first on, may be one batch."""
    size = 0
    for number, command in enumerate(commands[:_COMMANDS]):
        size += sum(len(argument) for argument in command.arguments if isinstance(argument, (str, bytes)))
        if number and size > _CHARACTERS:
            return number
    return min(len(commands), _COMMANDS)
