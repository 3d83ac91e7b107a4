"""Commands on a connection of the driver's pool, without what the driver's clients do around each of them.

Their ``execute_command`` is for callers who have nothing else: it repeats (as the runner does, which knows what may be
repeated), measures, and turns answers into other types. Answers here are as the server gave them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from praisonai_persistence.stores.together import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Command", "exchange", "exchange_all", "exchange_async", "fit"]

_COMMANDS, _CHARACTERS = 64, 65_536  # that go together at the most, so that nobody waits long


class Command:
    """A request for one command, whose keys lie in one slot; called with a client, it goes the client's own way.

    Args:
        arguments: its name, and what follows it.
    """

    __slots__ = ("arguments",)

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __call__(self, client: Any) -> Any:
        """Do it, as a client does it that is not ours, or that has many nodes."""
        return client.execute_command(*self.arguments)


def exchange(client: Any, command: Command) -> Any:
    """Send a command and return the answer.

    A connection that fails, or whose answer is not waited for to its end, is closed by the driver.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command(*command.arguments)
        return connection.read_response()
    finally:
        pool.release(connection)


async def exchange_async(client: Any, command: Command) -> Any:
    """[exchange][] for tasks."""
    pool = client.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_command(*command.arguments)
        return await connection.read_response()
    finally:
        await pool.release(connection)


async def exchange_all(client: Any, commands: Sequence[Command]) -> list[Outcome]:
    """Send commands at once; the outcome of each is the answer, or the server's refusal of it."""
    pool = client.connection_pool
    connection = await pool.get_connection()
    outcomes: list[Outcome] = []
    try:
        await connection.send_packed_command(connection.pack_commands([command.arguments for command in commands]))
        while len(outcomes) < len(commands):
            try:
                outcomes.append(Outcome(await connection.read_response()))
            except ResponseError as error:
                outcomes.append(Outcome(None, error))
    finally:
        await pool.release(connection)
    return outcomes


def fit(commands: Sequence[Command]) -> int:
    """Return how many of the commands, from the first on, may go together."""
    size = 0
    for number, command in enumerate(commands[:_COMMANDS]):
        size += sum(len(argument) for argument in command.arguments if isinstance(argument, (str, bytes)))
        if number and size > _CHARACTERS:
            return number
    return min(len(commands), _COMMANDS)
