"""What the backends of Redis share, whatever client they use: requests, Lua scripts, and the layout of state.

A library: it registers no backend, and needs no client.
"""

from praisonai_persistence_rediscore.requests import (
    Command,
    RawCommand,
    Script,
    starting_with,
    text,
    without_arguments,
)
from praisonai_persistence_rediscore.state import CommandStateSteps

__all__ = [
    "Command",
    "CommandStateSteps",
    "RawCommand",
    "Script",
    "starting_with",
    "text",
    "without_arguments",
]
