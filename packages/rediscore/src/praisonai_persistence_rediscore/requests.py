"""What steps ask a client for."""

from __future__ import annotations

import re
from hashlib import sha1
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["Command", "RawCommand", "Script", "starting_with", "text", "without_arguments"]

_ARGUMENTS = ", with args beginning with"
_SPECIAL = re.compile(r"[*?\[\]\\]")


def text(value: bytes | str) -> str:
    """Return an answer as text, whether the client decodes or not."""
    return value if isinstance(value, str) else value.decode()


def starting_with(head: str) -> str:
    """Return the pattern of all keys that start with a text."""
    return _SPECIAL.sub(r"\\\g<0>", head) + "*"


def without_arguments(message: str) -> str:
    """Return a server's error without the arguments of a command that it does not know: they were to be stored."""
    return message.partition(_ARGUMENTS)[0]


class Command:
    """A request for one command, whose keys lie in one slot; called with a client of redis-py, it makes it.

    Args:
        arguments: its name, and what follows it.
    """

    __slots__ = ("arguments",)

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __call__(self, client: Any) -> Any:
        """Do it, as a client does it that has many nodes, or that the caller handed in."""
        return client.execute_command(*self.arguments)


class RawCommand(Command):
    """A command whose answer holds bytes, also from a client of redis-py that decodes."""

    __slots__ = ()

    def __call__(self, client: Any) -> Any:
        """See [Command][]."""
        return client.execute_command(*self.arguments, NEVER_DECODE=True)


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
            return (yield RawCommand("EVALSHA", self._sha, len(keys), *keys, *arguments))
        except Exception as error:
            if "No matching script" not in str(error):
                raise
        return (yield self.with_source(keys, *arguments))

    def with_source(self, keys: Sequence[str], *arguments: Any) -> RawCommand:
        """Return the command that runs it on a server that may not know it."""
        return RawCommand("EVAL", self._source, len(keys), *keys, *arguments)
