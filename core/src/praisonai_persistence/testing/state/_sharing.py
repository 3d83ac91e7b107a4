"""S12: shared, durable, closed, connected, as conversations."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest

from praisonai_persistence.errors import (
    ConnectionFailedError,
    StoreClosedError,
)
from praisonai_persistence.memory import MemoryStateStore
from praisonai_persistence.testing._prefixes import refuses_prefixes
from praisonai_persistence.testing._schema import check_schema
from praisonai_persistence.testing._state_bodies import script
from praisonai_persistence.testing._watch import constructs_quietly
from praisonai_persistence.testing.corpus import (
    HOSTILE_JSON,
    HOSTILE_KEYS,
)
from praisonai_persistence.testing.harness import (
    Child,
    Moments,
    OpenStore,
    Race,
    Spawn,
    Unsupported,
    check_shared,
    declares,
    full_only,
    needs_fixture,
    only,
    raw,
    settled,
    split,
)
from praisonai_persistence.testing.spec import StoreSpec
from praisonai_persistence.testing.state._common import (
    BODIES,
    EITHER_CALLS,
    HASH_CALLS,
    PLAIN_CALLS,
    alike,
    collect,
    contents,
    model_contents,
    passed,
)

__all__ = ["Sharing"]


class Sharing:
    """S12: shared, durable, closed, connected, as conversations."""

    # ------------------------------------------------------------------------------------------- S12 as conversations

    async def test_s12_one_store_can_be_shared(self, store: Any, race: Race) -> None:
        """Every worker finds what it wrote."""

        async def body(worker: int) -> None:
            for turn in range(15):
                key = f"{worker}-{turn}"
                await store.set(key, [worker, turn])
                assert await store.get(key) == [worker, turn]
                await store.hset(f"hash-{worker}", key, turn)
                assert await store.hget(f"hash-{worker}", key) == turn
                if turn % 3 == 0:
                    assert await store.delete(key) is True
                    assert await store.exists(key) is False
                if turn % 5 == 0:
                    assert set(await store.keys(f"{worker}-*")) == {
                        f"{worker}-{done}" for done in range(turn + 1) if done % 3
                    }

        split(await race(body))
        assert len(await store.keys("?-*")) == 8 * 10
        for worker in range(8):
            assert await store.hgetall(f"hash-{worker}") == {f"{worker}-{turn}": turn for turn in range(15)}

    async def test_s12_two_stores_on_the_same_data(self, store: Any, open_store: OpenStore) -> None:
        """Each sees at once what the other wrote."""
        other = open_store()
        assert await other.get("key") is None
        assert await other.keys() == []
        for number in range(5):
            await store.set("key", number)
            assert await other.get("key") == number
            assert await other.incr("key", 100) == number + 100
            assert await store.get("key") == number + 100
        await store.hset("hash", "a", 1)
        await other.hset("hash", "b", 2)
        assert await store.hgetall("hash") == await other.hgetall("hash") == {"a": 1, "b": 2}
        await other.expire("key", 100)
        assert 0 < await store.ttl("key") <= 100
        assert sorted(await other.keys()) == sorted(await store.keys()) == ["hash", "key"]
        assert await other.delete("key") is True
        assert await store.exists("key") is False
        assert await store.set_if_absent("key", "mine") is True
        assert await other.set_if_absent("key", "theirs") is False
        assert await other.clear() == 2
        assert await store.keys() == []

    async def test_s12_races_between_two_stores(self, store: Any, open_store: OpenStore, race: Race) -> None:
        """One store object is no protection that the clauses need."""
        stores = [store, open_store()]

        async def body(worker: int) -> list[bool]:
            mine = stores[worker % 2]
            won = []
            for turn in range(10):
                await mine.incr("n")
                won.append(await mine.set_if_absent(f"key-{turn}", worker))
                await mine.hset("hash", f"{worker}-{turn}", 1)
            return won

        won, _ = split(await race(body, workers=4))
        assert await store.get("n") == 40
        assert [sum(turns) for turns in zip(*won, strict=True)] == [1] * 10
        assert len(await store.hgetall("hash")) == 40

    async def _obeying(self, spawn: Spawn) -> Child:
        """Start a child that does what it is told."""
        child = await spawn(f"{BODIES}:obey")
        child.go()
        return child

    async def _is_shared(self, store: Any, child: Child) -> bool:
        """Whether such a child and the test see each other's writes, tried."""
        await store.set("mine", 1)
        child.send(["set", ["theirs", 2]])
        await child.report()
        child.send(["get", ["mine"]])
        reply = await child.report()
        return bool(reply == {"returned": 1} and await store.get("theirs") == 2)

    async def test_s12_two_processes(self, store: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        """Each sees at once what the other wrote."""
        child = await self._obeying(spawn)
        shared = await self._is_shared(store, child)
        check_shared(store, shared)
        if not shared:
            unsupported("two processes")
            return

        async def there(method: str, *arguments: Any) -> Any:
            child.send([method, arguments])
            return await child.report()

        for number in range(5):
            await store.set("key", number)
            assert await there("get", "key") == {"returned": number}
            assert await there("incr", "key", 100) == {"returned": number + 100}
            assert await store.get("key") == number + 100
        await there("hset", "hash", "field", "theirs")
        assert await store.hgetall("hash") == {"field": "theirs"}
        assert await there("set", "hash", 1) == {"raised": "WrongTypeError"}
        await store.set("short", 1, 0.2)
        end = time.time() + 0.2
        await passed(end)
        assert await there("exists", "short") == {"returned": False}
        await store.delete("key")
        assert await there("exists", "key") == {"returned": False}
        assert await there("compare_and_set", "key", None, 1) == {"returned": False}
        assert await there("clear") == {"returned": 3}
        assert await store.keys() == []
        child.send(None)
        await child.result()

    @full_only
    @pytest.mark.clause("S08")
    async def test_s12_races_between_processes(self, store: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        """Nothing is lost, and of many exactly one wins."""
        if not declares(store, "shared"):
            assert not await self._is_shared(store, await self._obeying(spawn))
            unsupported("two processes")
            return
        counting = [await spawn(f"{BODIES}:count_up", key="n", times=60) for _ in range(2)]
        keys = [f"key-{number}" for number in range(40)]
        claiming = [await spawn(f"{BODIES}:claim", keys=keys, name=name) for name in ("x", "y")]
        setting = [await spawn(f"{BODIES}:set_fields", key="hash", name=name, times=40) for name in ("x", "y")]
        await store.set("object", {"n": 0})
        replacing = [await spawn(f"{BODIES}:replace", key="object", times=15) for _ in range(2)]
        for child in itertools.chain(counting, claiming, setting, replacing):
            child.go()
        own = [await store.incr("n") for _ in range(30)]
        sums = [*own, *itertools.chain.from_iterable([await child.result() for child in counting])]
        assert sorted(sums) == list(range(1, 151))
        won = [await child.result() for child in claiming]
        assert sorted(won[0] + won[1]) == sorted(keys)
        for name, mine in zip("xy", won, strict=True):
            assert await store.get_many(mine) == dict.fromkeys(mine, name)
        for child in itertools.chain(setting, replacing):
            await child.result()
        assert len(await store.hgetall("hash")) == 80
        assert await store.get("object") == {"n": 30}

    @full_only
    @pytest.mark.crash
    @pytest.mark.parametrize("writers", [1, 4])
    async def test_s12_what_was_acknowledged_survives_a_kill(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported, writers: int
    ) -> None:
        """And a batch that was not is there whole or not at all."""
        await store.set("before", 1)
        if not declares(store, "durable"):
            child = await spawn(f"{BODIES}:write_forever", name="child", writers=writers)
            child.go()
            await child.kill_after(5)
            assert await open_store().exists("child-0:count") is False, "it survives, so declare 'durable'"
            unsupported("durable")
            return
        await store.close()
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{BODIES}:write_forever", name=f"trial-{trial}", writers=writers)
            child.go()
            acknowledged = await child.kill_after(reports, delay)
            one = open_store()
            for worker in range(writers):
                done = max((number for who, number in acknowledged if who == worker), default=0)
                await self._assert_survived(one, f"trial-{trial}-{worker}", done)
            assert await one.get("before") == trial + 1
            assert await one.incr("before") == trial + 2
            await one.close()

    async def _assert_survived(self, store: Any, own: str, acknowledged: int) -> None:
        """The script was followed so far, or one call further; that call was done whole or not at all."""
        stored = await settled(lambda: contents(store))
        found = {key: value for key, value in stored.items() if key.startswith(f"{own}:")}
        with MemoryStateStore() as model:
            calls = script(own)
            for method, arguments in itertools.islice(calls, acknowledged):
                getattr(model, method)(*arguments)
            known = model_contents(model)
            method, arguments = next(calls)
            getattr(model, method)(*arguments)
            further = model_contents(model)
        if not alike(found, known) and not alike(found, further):
            wrong = [key for key in {*found, *known} if found.get(key) != known.get(key)]
            pytest.fail(
                f"after {acknowledged} acknowledged calls, {method} under way: "
                + ", ".join(f"{key} is {found.get(key)}, was {known.get(key)}" for key in sorted(wrong)[:5])
            )

    async def test_s12_data_outlive_their_store(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Closing and opening again finds all of it, where the engine persists."""
        await store.set_many(dict(zip(HOSTILE_KEYS, itertools.cycle(HOSTILE_JSON), strict=False)))
        await store.hset("a hash", "field", {"x": [1, None]})
        await store.set("a timed one", 1, 1000)
        before = await contents(store)
        await store.close()
        again = open_store()
        if not declares(store, "durable"):
            assert await again.set_if_absent("another", 1) is True
            unsupported("durable")
            return
        assert alike(await contents(again), before)
        assert 900 < await again.ttl("a timed one") <= 1000

    async def test_s12_a_closed_store_says_so(self, store: Any) -> None:
        """Whatever is asked of it."""
        await store.set("key", 1)
        await store.close()
        await store.close()
        calls = [
            *PLAIN_CALLS,
            *HASH_CALLS,
            *EITHER_CALLS,
            ("keys", ()),
            ("list_keys", ()),
            ("clear", ()),
            ("connect", ()),
        ]
        calls += [("get_many", ([],)), ("set_many", ({},)), ("delete_many", ([],)), ("keys", ("\0",))]
        for name, arguments in calls:
            with pytest.raises(StoreClosedError):
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name}{arguments} worked on a closed store; StoreClosedError was expected")
        for prefix in ("", "a", "\0"):
            with pytest.raises(StoreClosedError):
                await collect(store.scan_prefix(prefix))
        await store.close()

    async def test_s12_a_store_that_was_never_used_can_be_closed(self, open_store: OpenStore) -> None:
        """And is closed then."""
        one = open_store()
        await one.close()
        await one.close()
        with pytest.raises(StoreClosedError):
            await one.get("key")

    async def test_s12_closing_one_store_leaves_the_others_open(self, store: Any, open_store: OpenStore) -> None:
        """Each closes what it opened itself."""
        other = open_store()
        await store.set("key", 1)
        await other.set("key", 2)
        await other.close()
        assert await store.get("key") == 2
        await store.set("key", 3)

    async def test_s12_a_store_is_a_context_manager(self, open_store: OpenStore) -> None:
        """It is closed at the end, also by an exception."""
        one, other = open_store(), open_store()
        async with one as entered:
            assert raw(entered) is raw(one)
            await entered.set("key", 1)
        with pytest.raises(ZeroDivisionError):
            async with other:
                raise ZeroDivisionError
        for closed in (one, other):
            with pytest.raises(StoreClosedError):
                await closed.get("key")

    async def test_s12_connecting_is_harmless(self, store: Any) -> None:
        """As often as one likes."""
        await store.connect()
        await store.set("key", 1)
        await store.connect()
        assert await store.get("key") == 1

    @only("async")
    async def test_s12_cancelled_calls_leave_the_store_working(self, store: Any) -> None:
        """A call is done or not done, and the ones after it get their own answers."""
        await store.set("n", 0)
        acknowledged = 0
        for turn in range(30):
            task = asyncio.ensure_future(store.incr("n"))
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
                acknowledged += 1
            except asyncio.CancelledError:
                pass
            assert await store.get_many(["n", "unknown"]) == {"n": await store.get("n")}
            assert await store.exists("n") is True
        assert acknowledged <= await store.get("n") <= 30
        await store.clear()
        assert await store.incr("n") == 1

    async def test_s12_identifiers_are_validated_before_connecting(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """The constructor refuses a prefix that must not reach DDL."""
        refuses_prefixes(open_store, unsupported)

    def test_s12_constructing_touches_nothing(self, spec: StoreSpec, mode: str) -> None:
        """No connection, no file, no folder."""
        constructs_quietly(spec, mode)

    @needs_fixture("unreachable_spec")
    async def test_s12_an_engine_out_of_reach_is_reported(
        self, unreachable_spec: StoreSpec, open_store: OpenStore
    ) -> None:
        """By every call, in time; constructing and closing say nothing."""
        one = open_store(unreachable_spec)
        begin = time.monotonic()
        for name, arguments in [("connect", ()), *PLAIN_CALLS[:4], *HASH_CALLS[:4], ("keys", ()), ("connect", ())]:
            with pytest.raises(ConnectionFailedError) as caught:
                await getattr(one, name)(*arguments)
                pytest.fail(f"{name} worked on an engine out of reach")
            assert isinstance(caught.value, ConnectionError)
        with pytest.raises(ConnectionFailedError):
            await collect(one.scan_prefix(""))
        assert time.monotonic() - begin < 120
        await one.close()
        with pytest.raises(StoreClosedError):
            await one.get("key")

    @full_only
    @needs_fixture("server")
    async def test_s12_the_same_store_works_after_a_restart(self, store: Any, server: Any) -> None:
        """Nothing of it has to be opened again."""
        await store.set("key", 1)
        await store.hset("hash", "field", 1)
        server.stop()
        for name, arguments in (("get", ("key",)), ("incr", ("key",)), ("hset", ("hash", "field", 2))):
            with pytest.raises(ConnectionFailedError):
                await getattr(store, name)(*arguments)
                pytest.fail(f"{name} worked without a server")
        server.start()
        assert await store.incr("key") == 2
        assert await store.hgetall("hash") == {"field": 1}

    async def test_s12_the_schema_is_told_and_changed(self, store: Any) -> None:
        """Without losing anything."""
        await check_schema(store, lambda: store.set("key", 1), lambda: store.exists("key"))
