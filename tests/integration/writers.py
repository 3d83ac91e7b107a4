"""Eight processes of eight tasks that count and append at the same time, and 32 threads that want the same keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, ConversationStore, StateStore
from praisonai_persistence.errors import UnsupportedOperationError

_WRITER = """
import asyncio, contextlib, json, sys
from praisonai_persistence import ConversationMessage, create_conversation_store, create_state_store

async def main():
    backend, options, increments, appends = sys.argv[1], *map(json.loads, sys.argv[2:])
    async with (
        create_state_store(backend, **options) as state,
        create_conversation_store(backend, **options) if appends else contextlib.nullcontext() as conversation,
    ):
        await state.connect()
        if appends:
            await conversation.connect()
        print("ready", flush=True)
        sys.stdin.readline()

        async def work(number):
            for _ in range(increments):
                await state.incr("number")
            if appends:
                batch = [ConversationMessage(content=f"{part}") for part in range(3)]
                await conversation.add_messages("session", batch)

        await asyncio.gather(*(work(number) for number in range(8)))

asyncio.run(main())
"""


def assert_nothing_is_lost(
    backend: str,
    options: dict[str, Any],
    state: StateStore,
    conversation: ConversationStore | None = None,
    increments: int = 5,
) -> None:
    """Start the processes on the place of two stores, and look at what they have written.

    Args:
        backend: the name of the async backend.
        options: of all these stores.
        state: a store there.
        conversation: another; None for backends of state alone.
        increments: of each task.
    """
    if conversation is not None:
        conversation.create_session(ConversationSession("session"))
    what = (options, increments, conversation is not None)
    command = [sys.executable, "-c", _WRITER, backend, *map(json.dumps, what)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(8)]
    with ExitStack() as stack:
        for process in running:
            stack.enter_context(process)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in running:
            process.communicate(b"\n")
    assert [process.returncode for process in running] == [0] * 8
    assert state.get("number") == 8 * 8 * increments
    if conversation is None:
        return
    found = conversation.get_messages("session")
    assert [message.seq for message in found] == list(range(1, 8 * 8 * 3 + 1))
    assert [message.content for message in found] == ["0", "1", "2"] * 64


def assert_one_of_32_wins(store: StateStore, times: int = 200) -> None:
    """Let 32 threads want the same keys, one after the other; each key has one winner, and the winner's value."""
    barrier = threading.Barrier(32)

    def claim(racer: int) -> list[bool]:
        won = []
        for number in range(times):
            barrier.wait(300)
            won.append(store.set_if_absent(f"key-{number}", racer))
        return won

    store.connect()
    with ThreadPoolExecutor(32) as racers:
        won = list(racers.map(claim, range(32)))
    assert [sum(each) for each in zip(*won, strict=True)] == [1] * times
    values = store.get_many([f"key-{number}" for number in range(times)])
    assert all(won[racer][int(key.partition("-")[2])] for key, racer in values.items())


class RaceTests:
    """Tests of both, for a class of each backend.

    A subclass has the fixture ``place``, the options of all stores there, and says:

    Attributes:
        backend: the name of the async backend.
        state: the class of sync stores of state.
        conversation: of sync conversations; None for backends of state alone.
        increments: of each task.
    """

    backend: ClassVar[str]
    state: ClassVar[type[StateStore]]
    conversation: ClassVar[type[ConversationStore] | None] = None
    increments: ClassVar[int] = 5

    @pytest.mark.slow
    def test_eight_processes_of_eight_tasks_lose_nothing(self, place: dict[str, Any]) -> None:
        with ExitStack() as stack:
            state = stack.enter_context(self.state(**place))
            conversation = stack.enter_context(self.conversation(**place)) if self.conversation else None
            assert_nothing_is_lost(self.backend, place, state, conversation, self.increments)

    @pytest.mark.slow
    def test_of_32_racers_one_wins(self, place: dict[str, Any]) -> None:
        with self.state(**place) as store:
            assert_one_of_32_wins(store)


def assert_large_texts_are_kept(state: StateStore, conversations: ConversationStore, text: str) -> None:
    """Keep a text that is longer than a document may be, as a value and as a message."""
    state.set_many({"a": text, "b": 1})
    assert state.get_many(["a", "b"]) == {"a": text, "b": 1}
    conversations.create_session(ConversationSession("s"))
    conversations.add_messages("s", [ConversationMessage(content=text), ConversationMessage(content="short")])
    assert [message.content for message in conversations.get_messages("s")] == [text, "short"]
    state.delete("a")
    conversations.delete_session("s")


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
