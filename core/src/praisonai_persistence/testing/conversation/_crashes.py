"""C24, C26: killed processes, and engines out of reach."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from praisonai_persistence.errors import (
    ConnectionFailedError,
    StoreClosedError,
)
from praisonai_persistence.testing._watch import Watch
from praisonai_persistence.testing.conversation._common import (
    BODIES,
    Session,
    append,
    full_message,
    full_session,
    ids_of,
    same_message,
    same_session,
    seqs_of,
)
from praisonai_persistence.testing.harness import (
    Moments,
    OpenStore,
    Race,
    Spawn,
    Unsupported,
    declares,
    full_only,
    needs_fixture,
    split,
)
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["Crashes"]


class Crashes:
    """C24, C26: killed processes, and engines out of reach."""

    # -------------------------------------------------------------------------------------------------------- crashes

    async def test_c24_a_reopened_store_has_everything(
        self, store: Any, open_store: OpenStore, spawn: Spawn, unsupported: Unsupported
    ) -> None:
        if await self._not_durable(store, open_store, spawn, unsupported):
            return
        session = await store.create_session(full_session())
        await store.add_messages("s", [full_message("a"), full_message("b")])
        await store.delete_messages("s", ["b"])
        session = await store.get_session("s")
        await store.close()
        again = open_store()
        assert same_session(await again.get_session("s"), session)
        assert same_message((await again.get_messages("s"))[0], full_message("a"), session_id="s", seq=1)
        assert seqs_of(await append(again, "s", "c")) == [3]

    @full_only
    @pytest.mark.crash
    async def test_c24_killed_while_appending(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported
    ) -> None:
        if await self._not_durable(store, open_store, spawn, unsupported):
            return
        await store.create_session(Session("s"))
        await store.close()  # not every durable engine can be open in two processes
        acknowledged: list[str] = []
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{BODIES}:append_forever", session_id="s", name=str(trial))
            child.go()
            for ids in await child.kill_after(reports, delay):
                acknowledged += ids
            survivor = open_store()
            stored = await survivor.get_messages("s")
            await survivor.close()
            # What was under way when the child was killed may be there or not.
            known = set(acknowledged)
            assert [item for item in ids_of(stored) if item in known] == acknowledged
            assert len(stored) <= len(acknowledged) + trial + 1
            assert seqs_of(stored) == list(range(1, len(stored) + 1)), "a killed writer left a gap"
            assert all(message.content == f"content of {message.id}" for message in stored)

    @full_only
    @pytest.mark.crash
    async def test_c24_killed_while_appending_batches(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported
    ) -> None:
        if await self._not_durable(store, open_store, spawn, unsupported):
            return
        await store.create_session(Session("s"))
        await store.close()
        acknowledged: set[str] = set()
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{BODIES}:append_forever", session_id="s", name=str(trial), writers=4, batch=5)
            child.go()
            for ids in await child.kill_after(reports, delay):
                acknowledged.update(ids)
            survivor = open_store()
            stored = await survivor.get_messages("s")
            await survivor.close()
            assert acknowledged <= set(ids_of(stored)), "an acknowledged batch is lost"
            parts: dict[str, list[str]] = {}
            for item in ids_of(stored):
                parts.setdefault(item.rpartition("-")[0], []).append(item)
            for name, ids in parts.items():
                assert ids == [f"{name}-{part}" for part in range(5)], "a batch is there in part, or out of order"
            assert seqs_of(stored) == list(range(1, len(stored) + 1)), "a killed writer left a gap"

    @full_only
    @pytest.mark.crash
    async def test_c24_killed_while_changing_sessions(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported
    ) -> None:
        if await self._not_durable(store, open_store, spawn, unsupported):
            return
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{BODIES}:sessions_forever", name=str(trial))
            child.go()
            *earlier, last = await child.kill_after(reports, delay)
            survivor = open_store()
            for session_id, step, count in ({report[0]: report for report in earlier} | {last[0]: last}).values():
                session = await survivor.get_session(session_id)
                found = [session.state["step"] if session else 0, await survivor.count_messages(session_id)]
                allowed = [[step, count]]
                if session_id == last[0]:  # the next step may have been under way
                    steps = [[1, 0], [2, 0], [2, 3], [2, 2], [3, 2], *([[0, 0]] if int(session_id[-1]) % 2 else [])]
                    following = steps.index([step, count]) + 1
                    allowed += steps[following : following + 1]
                assert found in allowed, session_id
            await survivor.close()

    async def _not_durable(self, store: Any, open_store: OpenStore, spawn: Spawn, unsupported: Unsupported) -> bool:
        """Whether the store does not declare durability; if so, assert that there is none and record that."""
        if declares(store, "durable"):
            return False
        child = await spawn(f"{BODIES}:write_and_wait", session_id="killed")
        child.go()
        await child.kill_after(1)
        assert await open_store().get_session("killed") is None, "data outlive a process, but 'durable' is not declared"
        unsupported("durable")
        return True

    # ----------------------------------------------------------------------------------------------------- connecting

    async def test_c26_constructing_touches_nothing(self, open_store: OpenStore, tmp_path: Path) -> None:
        open_store()  # imports what is imported once
        before = sorted(tmp_path.rglob("*"))
        with Watch() as watch:
            store = open_store()
        assert watch.events == [], "the constructor connects, or writes a file"
        await store.close()
        assert sorted(tmp_path.rglob("*")) == before, "a store that was never used left a file"

    async def test_c26_connecting_is_eager_and_harmless(self, store: Any, race: Race) -> None:
        async def body(worker: int) -> None:
            await store.connect()

        assert split(await race(body, workers=4))[0] == [None] * 4
        await store.create_session(Session("s"))
        await store.connect()
        assert await store.get_session("s") is not None

    @needs_fixture("unreachable_spec")
    async def test_c26_an_engine_out_of_reach_is_reported(
        self, open_store: OpenStore, unreachable_spec: StoreSpec
    ) -> None:
        store = open_store(unreachable_spec)
        secrets = [
            str(value) for name, value in unreachable_spec.options.items() if "password" in name or "token" in name
        ]
        for url in (str(value) for value in unreachable_spec.options.values() if "://" in str(value)):
            credentials = url.partition("://")[2].rpartition("@")[0]
            secrets += [part for part in credentials.partition(":")[2:] if part]
        start = time.monotonic()
        for attempt in (
            store.connect,
            store.connect,
            lambda: store.get_session("s"),
            lambda: store.delete_session("s"),
        ):
            with pytest.raises(ConnectionFailedError) as caught:
                await attempt()
            assert not any(secret in str(caught.value) for secret in secrets), "the error shows a secret"
        assert time.monotonic() - start < 60, "an engine out of reach is reported within the connect timeout"
        await store.close()
        with pytest.raises(StoreClosedError):
            await store.get_session("s")

    @full_only
    @needs_fixture("server")
    async def test_c26_the_same_store_works_after_a_restart(self, store: Any, server: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", "a")
        server.stop()
        with pytest.raises(ConnectionFailedError):
            await store.get_session("s")
        with pytest.raises(ConnectionFailedError):
            await append(store, "s", "b")
        server.start()
        assert await store.get_session("s") is not None
        await append(store, "s", "b")
        assert ids_of(await store.get_messages("s")) == ["a", "b"]
