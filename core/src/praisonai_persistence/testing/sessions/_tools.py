"""Tool calls, and other processes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from praisonai_persistence.errors import (
    PersistenceError,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_OBJECTS,
    identical,
)
from praisonai_persistence.testing.harness import Moments, OpenStore, Spawn, Unsupported, full_only
from praisonai_persistence.testing.sessions._common import (
    BODIES,
    declares,
    exchanges,
    fill,
    orphans_of,
    texts_of,
)

__all__ = ["Tools"]


class Tools:
    """Tool calls, and other processes."""

    # ------------------------------------------------------------------------------------------------------ tool calls

    async def test_tool_calls_survive(self, store: Any, unsupported: Unsupported) -> None:
        if not declares(store, "tool_calls"):
            with pytest.raises(TypeError):
                await store.add_message("s", "assistant", "", tool_calls=[{"id": "c1"}])
            unsupported("tool_calls")
            return
        calls = [
            {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra": extra}
            for number, extra in enumerate(HOSTILE_OBJECTS)
        ]
        await store.add_message("s", "user", "what is there?")
        await store.add_message("s", "assistant", "", None, calls)
        for call in calls:
            await store.add_message("s", "tool", "found", tool_call_id=call["id"])
        await store.add_message("s", "assistant", None, tool_calls=calls[:1])
        found = await store.get_chat_history("s")
        assert identical(found[1], {"role": "assistant", "content": "", "tool_calls": calls})
        assert [message["tool_call_id"] for message in found[2:-1]] == [call["id"] for call in calls]
        assert identical(found[-1], {"role": "assistant", "content": None, "tool_calls": calls[:1]})
        assert found[0] == {"role": "user", "content": "what is there?"}

    async def test_tool_fields_are_checked(self, store: Any, unsupported: Unsupported) -> None:
        if not declares(store, "tool_calls") or not declares(store, "checks"):
            unsupported("tool_calls")
            return
        for calls in ("x", {"id": "c"}, ["x"], [{"id": float("nan")}], [{1: 2}]):
            with pytest.raises(PersistenceError):
                await store.add_message("s", "assistant", "", tool_calls=calls)
        for call_id in (1, b"x", ["c"]):
            with pytest.raises(PersistenceError):
                await store.add_message("s", "tool", "x", tool_call_id=call_id)
        assert await store.session_exists("s") is False

    async def test_a_limit_splits_no_tool_exchange(self, store: Any, unsupported: Unsupported) -> None:
        if not declares(store, "tool_calls"):
            unsupported("tool_calls")
            return
        chance = random.Random("exchanges")
        for trial in range(6):
            session_id, sent = f"s{trial}", exchanges(chance, 24)
            for message in sent:
                tools = {key: value for key, value in message.items() if key.startswith("tool_")}
                await store.add_message(session_id, message["role"], message["content"], **tools)
            assert await store.get_chat_history(session_id) == sent
            for limit in range(1, len(sent) + 1):
                found = await store.get_chat_history(session_id, limit)
                assert len(found) <= limit
                assert found == sent[len(sent) - len(found) :]
                assert not orphans_of(found), f"with a limit of {limit}, results without their calls"
                # Nothing is left out without need: one message more would not do.
                more = len(found) + 1
                while more <= limit:
                    assert orphans_of(sent[-more:]), f"a limit of {limit} leaves room for {more} messages"
                    more += 1

    # ------------------------------------------------------------------------------------------------------- processes

    async def test_another_store_object_sees_it_at_once(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if not declares(store, "shared"):
            unsupported("shared")
            return
        other = open_store()
        await fill(store, "s", "one")
        assert texts_of(await other.get_chat_history("s")) == ["one"]
        await fill(other, "s", "two")
        assert texts_of(await store.get_chat_history("s")) == ["one", "two"]
        await other.clear_session("s")
        assert await store.get_chat_history("s") == []
        await other.delete_session("s")
        assert await store.session_exists("s") is False

    async def test_processes_lose_nothing(self, store: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        if not declares(store, "shared"):
            unsupported("shared")
            return
        children = [
            await spawn(f"{BODIES}:add_many", session_id="s", writer=writer, times=40) for writer in ("one", "two")
        ]
        for child in children:
            child.go()
        for number in range(20):
            await store.add_message("s", "user", f"here {number}")
        for child in children:
            await child.result()
        found = texts_of(await store.get_chat_history("s", 1_000))
        assert len(found) == 100
        for writer, times in (("one", 40), ("two", 40), ("here", 20)):
            assert [text for text in found if text.startswith(writer)] == [f"{writer} {n}" for n in range(times)]

    @full_only
    @pytest.mark.crash
    async def test_what_was_acknowledged_survives_a_killed_process(
        self, store: Any, spawn: Spawn, moments: Moments, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if not declares(store, "durable"):
            unsupported("durable")
            return
        for trial, (reports, delay) in enumerate(moments):
            session_id, padding = f"s{trial}", 20_000
            child = await spawn(f"{BODIES}:add_for_ever", session_id=session_id, padding=padding)
            child.go()
            acknowledged = await child.kill_after(reports, delay)
            found = texts_of(await open_store().get_chat_history(session_id, 1_000))
            # All of it, in order, each message whole, and at most the one that was being written.
            assert found == [f"{number} {'x' * padding}" for number in range(len(found))]
            assert len(found) >= len(acknowledged), f"{len(acknowledged)} were acknowledged, {len(found)} are there"
            assert len(found) <= len(acknowledged) + 1, "there are messages that were never written"
            await fill(store, session_id, "goes on")
            assert texts_of(await store.get_chat_history(session_id, 1)) == ["goes on"]
