"""Closing a store while another caller works on the tables themselves."""

from __future__ import annotations

import asyncio
import threading

import pytest

from praisonai_persistence.errors import StoreClosedError
from praisonai_persistence.steps import Pause
from praisonai_persistence_turso import AsyncTursoConversationStore, TursoConversationStore


class Order(list):
    def __init__(self):
        super().__init__()
        self.begun = threading.Event()

    def operation(self):
        self.begun.set()
        yield Pause(0.3)
        self.append("moved")


def test_closing_waits_for_a_migration_that_is_under_way(tmp_path):
    pytest.importorskip("libsql")
    order, store = Order(), TursoConversationStore(path=tmp_path / "a.db")
    mover = threading.Thread(target=store._administer, args=(order.operation,))
    mover.start()
    assert order.begun.wait(30)
    store.close()
    order.append("closed")
    mover.join()
    assert order == ["moved", "closed"]
    assert not store._runners
    with pytest.raises(StoreClosedError):
        store.migrate_schema()


@pytest.mark.parametrize("where", ["file", "server"])
def test_closing_waits_for_a_migration_of_another_task(tmp_path, where):
    pytest.importorskip("libsql" if where == "file" else "httpx")
    order = Order()
    place = {"path": tmp_path / "a.db"} if where == "file" else {"url": "turso://127.0.0.1:9?tls=false"}

    async def main():
        store = AsyncTursoConversationStore(**place)
        mover = asyncio.create_task(store._administer(order.operation))
        while not order.begun.is_set():
            await asyncio.sleep(0.01)
        await store.close()
        order.append("closed")
        await mover
        assert not store._runners
        with pytest.raises(StoreClosedError):
            await store.migrate_schema()

    asyncio.run(main())
    assert order == ["moved", "closed"]
