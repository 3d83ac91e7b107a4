"""C19 to C23: stores are shared, closed, and kept apart by prefixes."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from typing import Any

import anyio
import pytest

from praisonai_persistence.errors import (
    InvalidIdentifierError,
    StoreClosedError,
)
from praisonai_persistence.testing._prefixes import has_prefix
from praisonai_persistence.testing.conversation._common import (
    BODIES,
    Message,
    Session,
    append,
    full_session,
    ids_of,
    same_session,
    seqs_of,
)
from praisonai_persistence.testing.corpus import (
    REFUSED_IDENTIFIERS,
)
from praisonai_persistence.testing.harness import (
    OpenStore,
    Race,
    Spawn,
    Unsupported,
    declares,
    only,
    raw,
    split,
)
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["Together"]


class Together:
    """C19 to C23: stores are shared, closed, and kept apart by prefixes."""

    # ------------------------------------------------------------------------------------------------------- together

    async def test_c19_a_shared_store_loses_nothing(self, store: Any, race: Race) -> None:
        await store.create_session(Session("shared"))

        async def body(worker: int) -> None:
            own = f"own {worker}"
            await store.create_session(Session(own, user_id=f"user {worker}"))
            for turn in range(10):
                await store.add_message("shared", Message(id=f"{worker}-{turn}", content=str(turn)))
                await store.add_messages(own, [Message(id=f"{turn}-{part}") for part in range(2)])
                await store.update_session(Session(own, user_id=f"user {worker}", state={"turn": turn}))
                assert await store.count_messages(own) == 2 * (turn + 1)
                assert (await store.get_session(own)).state == {"turn": turn}
                assert [s.session_id for s in await store.list_sessions(f"user {worker}")] == [own]
                assert f"{worker}-{turn}" in ids_of(await store.get_messages("shared"))
            await store.delete_messages(own, ["0-0"])

        split(await race(body))
        shared = await store.get_messages("shared")
        assert seqs_of(shared) == list(range(1, 81))
        for worker in range(8):
            mine = [message.content for message in shared if message.id.startswith(f"{worker}-")]
            assert mine == [str(turn) for turn in range(10)], "the order of one writer was not kept"
            assert seqs_of(await store.get_messages(f"own {worker}")) == list(range(2, 21))
            assert (await store.get_session(f"own {worker}")).version == 11

    async def test_c19_the_first_call_may_be_many(self, store: Any, race: Race) -> None:
        async def body(worker: int) -> Any:
            return await store.create_session(Session(str(worker)))

        split(await race(body, workers=12))
        assert len(await store.list_sessions()) == 12

    async def test_c19_store_objects_side_by_side(self, open_store: OpenStore, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        stores = [store, *(open_store() for _ in range(3))]

        async def body(worker: int) -> list[int]:
            mine = stores[worker % 4]
            return [(await mine.add_message("s", Message(content=f"{worker} {n}"))).seq for n in range(8)]

        numbers, _ = split(await race(body))
        assert sorted(itertools.chain(*numbers)) == list(range(1, 65))

    @only("async")
    async def test_c19_a_cancelled_task_does_no_harm(self, store: Any) -> None:
        await store.create_session(Session("s"))
        finished = 0
        for rounds in range(30):
            # A batch, so that half of one would show.
            batch = [Message(id=f"{rounds}-{part}") for part in range(3)]
            task = asyncio.create_task(store.add_messages("s", batch))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            if isinstance(result, Exception):
                raise result
            finished += not isinstance(result, BaseException)
        await append(store, "s", "after")
        stored = await store.get_messages("s")
        assert seqs_of(stored) == list(range(1, len(stored) + 1))
        assert len(stored) % 3 == 1, "a cancelled call left half a batch"
        assert len(stored) >= 3 * finished + 1

    async def test_c20_another_store_object_sees_every_write(self, store: Any, open_store: OpenStore) -> None:
        other = open_store()
        assert await other.get_session("s") is None  # whatever it caches, it has it now
        assert await other.list_sessions() == []
        session = await store.create_session(full_session())
        assert same_session(await other.get_session("s"), session)
        assert len(await other.list_sessions()) == 1
        for turn in range(1, 9):
            # Each writes twice in a row, so that no write of its own makes the reader forget what it remembers.
            writer, reader = (store, other) if turn % 4 < 2 else (other, store)
            await append(writer, "s", f"{turn}")
            assert ids_of(await reader.get_messages("s")) == [str(n) for n in range(1, turn + 1)]
            assert ids_of(await reader.get_messages("s", 1)) == [str(turn)]
            assert await reader.count_messages("s") == turn
            session = await writer.update_session(Session("s", name=str(turn)), expected_version=turn)
            assert same_session(await reader.get_session("s"), session)
            assert [s.name for s in await reader.list_sessions()] == [str(turn)]
        await other.delete_messages("s", ["1"])
        assert await store.count_messages("s") == 7
        await store.delete_session("s")
        assert await other.get_session("s") is None
        assert await other.get_messages("s") == []
        assert await other.list_sessions() == []

    async def test_c20_another_process_sees_every_write(
        self, store: Any, spawn: Spawn, unsupported: Unsupported
    ) -> None:
        await store.create_session(Session("s", name="0"))
        if not declares(store, "shared"):
            child = await spawn(f"{BODIES}:look", session_id="s")
            child.go()
            assert await child.result() == [False, []], "two processes share data, but 'shared' is not declared"
            unsupported("two processes")
            return
        child = await spawn(f"{BODIES}:converse", session_id="s")
        child.go()
        expected: list[str] = []
        for turn in range(1, 9):
            await append(store, "s", f"parent {turn}")
            session = await store.update_session(Session("s", name=f"parent {turn}"))
            expected.append(f"parent {turn}")
            child.send("look")
            assert await child.report() == [
                [session.name, session.version, session.updated_at],
                [["s", session.version]],
                expected,
                len(expected),
            ]
            if turn % 3 == 0:
                child.send(f"child {turn}")
                assert await child.report() == "written"
                expected.append(f"child {turn}")
                assert ids_of(await store.get_messages("s")) == expected
                found = await store.get_session("s")
                assert (found.name, found.version) == (f"child {turn}", session.version + 1)
        child.send(None)
        await child.result()

    async def test_c20_processes_append_without_gaps(self, store: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        await store.create_session(Session("s"))
        if not declares(store, "shared"):
            child = await spawn(f"{BODIES}:write_and_wait", session_id="child's")
            child.go()
            await child.report()
            assert await store.get_session("child's") is None, "processes share data, but 'shared' is not declared"
            unsupported("two processes")
            return
        children = [await spawn(f"{BODIES}:append_times", session_id="s", name=str(n), times=25) for n in range(3)]
        for child in children:
            child.go()
        numbers = seqs_of([await store.add_message("s", Message(id=f"parent-{n}")) for n in range(25)])
        for child in children:
            own = await child.result()
            assert own == sorted(own)
            numbers += own
        assert sorted(numbers) == list(range(1, 101))
        assert seqs_of(await store.get_messages("s")) == list(range(1, 101))

    async def test_c21_every_call_after_close_says_so(self, store: Any, open_store: OpenStore) -> None:
        await store.create_session(Session("s"))
        unused = open_store()
        for closed in (store, unused):
            await closed.close()
            await closed.close()
            calls: list[tuple[Any, ...]] = [
                ("connect",),
                ("create_session", Session("t")),
                ("get_session", "s"),
                ("update_session", Session("s")),
                ("upsert_session", Session("s")),
                ("delete_session", "s"),
                ("list_sessions",),
                ("list_sessions", None, None, 0),
                ("add_message", "s", Message()),
                ("add_messages", "s", [Message()]),
                ("add_messages", "s", []),
                ("get_messages", "s"),
                ("get_messages", "s", 0),
                ("delete_messages", "s"),
                ("delete_messages", "s", []),
                ("count_messages", "s"),
                *([("search_messages", "x"), ("search_messages", "")] if declares(closed, "search") else []),
                *([("fork_session", "s")] if declares(closed, "fork") else []),
            ]
            for name, *arguments in calls:
                try:
                    await getattr(closed, name)(*arguments)
                except StoreClosedError:
                    continue
                pytest.fail(f"{name}{tuple(arguments)} worked on a closed store; StoreClosedError was expected")
            await closed.close()
        with pytest.raises(StoreClosedError):
            await store.get_session("s")

    async def test_c21_one_closed_store_closes_no_other(self, store: Any, open_store: OpenStore) -> None:
        other = open_store()
        await store.create_session(Session("s"))
        assert await other.get_session("s") is not None
        await store.close()
        await append(other, "s", "a")
        assert ids_of(await other.get_messages("s")) == ["a"]

    async def test_c21_a_store_is_a_context_manager(self, open_store: OpenStore) -> None:
        store = open_store()
        async with store as entered:
            assert raw(entered) is raw(store)
            await entered.create_session(Session("s"))
        with pytest.raises(StoreClosedError):
            await store.get_session("s")
        another = open_store()
        with pytest.raises(LookupError, match="the caller's own"):
            async with another:
                raise LookupError("the caller's own")
        with pytest.raises(StoreClosedError):
            await another.get_session("s")

    async def test_c21_a_closed_store_leaves_nothing_open(self, open_store: OpenStore) -> None:
        async def use_and_close(session_id: str) -> None:
            store = open_store()
            await store.create_session(Session(session_id))
            await append(store, session_id, "a")
            await store.close()

        def held() -> tuple[int, int]:
            files = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
            # A dummy stands for a thread of C code that has run some Python once, and stays when that thread has ended.
            return sum(not isinstance(one, threading._DummyThread) for one in threading.enumerate()), len(files)

        known = set(threading.enumerate())

        await use_and_close("first")  # what is opened once for the process may stay
        before = held()
        for number in range(10):
            await use_and_close(str(number))
        deadline = time.monotonic() + 5
        while any(now > was for now, was in zip(held(), before, strict=True)) and time.monotonic() < deadline:
            await anyio.sleep(0.01)  # threads and sockets may need a moment to end
        threads, files = (now - was for now, was in zip(held(), before, strict=True))
        assert threads <= 0, (
            f"10 closed stores left {threads} threads, {[item.name for item in set(threading.enumerate()) - known]}"
        )
        assert files <= 0, f"10 closed stores left {files} open files or connections"

    async def test_c21_racing_calls_and_closes(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))

        async def body(worker: int) -> None:
            if worker >= 6:
                await store.close()
                return
            for _ in range(20):
                await store.add_message("s", Message())

        split(await race(body), StoreClosedError)
        with pytest.raises(StoreClosedError):
            await store.count_messages("s")

    async def test_c22_prefixes_see_nothing_of_each_other(
        self, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if not has_prefix(open_store, unsupported):
            return
        prefixes = ["", "a_", "a_b_", "aa_", "a"]
        stores = [open_store(table_prefix=prefix) for prefix in prefixes]
        for store, prefix in zip(stores, prefixes, strict=True):
            assert await store.get_session("s") is None
            await store.create_session(Session("s", user_id="u", name=prefix))
            await store.create_session(Session(f"only {prefix}"))
            assert (await store.add_message("s", Message(id="m", content=f"word {prefix}"))).seq == 1
        for store, prefix in zip(stores, prefixes, strict=True):
            assert (await store.get_session("s")).name == prefix
            assert {s.session_id for s in await store.list_sessions()} == {"s", f"only {prefix}"}
            assert [m.content for m in await store.get_messages("s")] == [f"word {prefix}"]
            assert await store.count_messages("s") == 1
            if declares(store, "search"):
                assert [m.content for m in await store.search_messages("word")] == [f"word {prefix}"]
        assert await stores[0].delete_messages("s") == 1
        assert await stores[1].delete_session("s") is True
        assert [await store.count_messages("s") for store in stores] == [0, 0, 1, 1, 1]
        assert [await store.get_session("s") is None for store in stores] == [False, True, False, False, False]

    async def test_c22_prefixes_that_differ_in_case(self, open_store: OpenStore, unsupported: Unsupported) -> None:
        if not has_prefix(open_store, unsupported):
            return
        lower = open_store(table_prefix="case_")
        await lower.create_session(Session("s", name="lower"))
        try:
            upper = open_store(table_prefix="CASE_")
            found = await upper.get_session("s")
        except InvalidIdentifierError:  # an engine that cannot tell them apart refuses, rather than mix them up
            return
        assert found is None, "two prefixes that differ in case are one"

    async def test_c23_identifiers_are_checked_before_connecting(
        self, open_store: OpenStore, unreachable_spec: StoreSpec | None, unsupported: Unsupported
    ) -> None:
        if not has_prefix(open_store, unsupported):
            return
        for prefix in REFUSED_IDENTIFIERS:
            for spec in (None, unreachable_spec) if unreachable_spec else (None,):
                with pytest.raises(InvalidIdentifierError):
                    await open_store(spec, table_prefix=prefix).connect()
