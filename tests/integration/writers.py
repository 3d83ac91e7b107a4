"""Eight processes of eight tasks that count and append at the same time; for backends of state and conversations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from praisonai_persistence import ConversationSession, ConversationStore, StateStore
from praisonai_persistence.errors import UnsupportedOperationError

_WRITER = """
import asyncio, json, sys
from praisonai_persistence import ConversationMessage, create_conversation_store, create_state_store

async def main():
    backend, options = sys.argv[1], json.loads(sys.argv[2])
    async with (
        create_state_store(backend, **options) as state,
        create_conversation_store(backend, **options) as conversation,
    ):
        await asyncio.gather(state.connect(), conversation.connect())
        print("ready", flush=True)
        sys.stdin.readline()

        async def work(number):
            for _ in range(5):
                await state.incr("number")
            await conversation.add_messages("session", [ConversationMessage(content=f"{part}") for part in range(3)])

        await asyncio.gather(*(work(number) for number in range(8)))

asyncio.run(main())
"""


def assert_nothing_is_lost(
    backend: str, options: dict[str, Any], state: StateStore, conversation: ConversationStore
) -> None:
    """Start the processes on the place of two stores, and look at what they have written.

    Args:
        backend: the name of the async backend, of both kinds.
        options: of all these stores.
        state: a store there.
        conversation: another.
    """
    conversation.create_session(ConversationSession("session"))
    command = [sys.executable, "-c", _WRITER, backend, json.dumps(options)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(8)]
    with ExitStack() as stack:
        for process in running:
            stack.enter_context(process)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in running:
            process.communicate(b"\n")
    assert [process.returncode for process in running] == [0] * 8
    assert state.get("number") == 8 * 8 * 5
    found = conversation.get_messages("session")
    assert [message.seq for message in found] == list(range(1, 8 * 8 * 3 + 1))
    assert [message.content for message in found] == ["0", "1", "2"] * 64


def assert_a_child_is_refused(store: StateStore) -> None:
    """Use a store in a forked child, whose client has connections of the parent."""
    child = os.fork()
    if not child:
        code = 1
        try:
            store.get("a")
        except UnsupportedOperationError as error:
            code = 0 if "spawn" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
