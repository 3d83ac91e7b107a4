"""Appends to one session that wait for each other are one batch, and each has an outcome of its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlite_pools import AwaitedPool, Gone, PlainSQLite

from praisonai_persistence import (
    BackendError,
    ConnectionFailedError,
    ConversationMessage,
    ConversationSession,
    DuplicateMessageError,
    SessionNotFoundError,
    StoreClosedError,
)
from praisonai_persistence_sql import AsyncSQLConversationStore, AsyncSQLRunner, Retry, SQLConversationSteps, repeatable


class Steps(SQLConversationSteps):
    """The shared statements; they say of appends what servers' own say."""

    add_message = repeatable(SQLConversationSteps.add_message)
    add_messages = repeatable(SQLConversationSteps.add_messages)


class SlowPool(AwaitedPool):
    """One connection, lent to one operation at a time, and not before the gate is open."""

    def __init__(self, path):
        super().__init__(path)
        self.turn, self.gate = asyncio.Lock(), asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def lend(self):
        async with self.turn, super().lend() as connection:
            await self.gate.wait()
            yield connection


class Store(AsyncSQLConversationStore):
    """On a slow pool, with the session ``a``."""

    def __init__(self, path):
        steps = Steps(PlainSQLite(), "p_")
        self.pool = SlowPool(path)
        retry = Retry(2.0, first=0.001, longest=0.002)
        super().__init__(steps, AsyncSQLRunner(self.pool, steps.migrations, retry))

    async def at_once(self, *messages, session="a"):
        """Append all while the first is held up; return outcomes, and how many transactions that took."""
        self.pool.gate.clear()
        calls = [asyncio.ensure_future(self.add_message(session, message)) for message in messages]
        while not self.pool.turn.locked():
            await asyncio.sleep(0)
        self.pool.faults.attempts = 0
        self.pool.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True), self.pool.faults.attempts


def message(name, text="text"):
    return ConversationMessage(str(name), content=text)


@pytest.fixture
def run(tmp_path):
    """Run a coroutine function on a store."""

    def run(function):
        async def main():
            async with Store(str(tmp_path / "s.db")) as store:
                await store.create_session(ConversationSession("a"))
                await function(store)

        asyncio.run(main())

    return run


def test_what_waits_is_one_transaction(run):
    async def main(store):
        stored, transactions = await store.at_once(*map(message, range(20)))
        assert [(one.id, one.seq) for one in stored] == [(str(number), number + 1) for number in range(20)]
        assert transactions == 2  # the first, and all that had to wait for it
        assert await store.get_messages("a") == stored

    run(main)


def test_a_batch_has_its_limits(run):
    async def main(store):
        stored, transactions = await store.at_once(*map(message, range(202)))
        assert [one.seq for one in stored] == list(range(1, 203))
        assert transactions == 4
        stored, transactions = await store.at_once(*(message(f"long {n}", "x" * 300_000) for n in range(5)))
        assert [one.seq for one in stored] == list(range(203, 208))
        assert transactions == 5  # one such message is all that fits

    run(main)


def test_a_refused_append_takes_no_other_along(run):
    async def main(store):
        await store.add_message("a", message(3))
        stored, _ = await store.at_once(message(1), message(2), message(3, "another"), message(4))
        assert [getattr(one, "seq", type(one)) for one in stored][:3] == [2, 3, DuplicateMessageError]
        assert [one.seq for one in await store.get_messages("a")] == [1, 2, 3, 4]

    run(main)


def test_a_repeated_append_is_the_stored_message(run):
    async def main(store):
        await store.add_message("a", message(1))
        stored, _ = await store.at_once(message(0), message(1), message(2), message(2), message(2, "another"))
        assert [getattr(one, "seq", type(one)) for one in stored] == [2, 1, 3, 3, DuplicateMessageError]
        assert await store.count_messages("a") == 3

    run(main)


def test_no_session(run):
    async def main(store):
        errors, _ = await store.at_once(*map(message, range(4)), session="b")
        assert [type(error) for error in errors] == [SessionNotFoundError] * 4
        assert len({id(error) for error in errors}) == 4

    run(main)


def test_a_batch_whose_commit_may_have_happened_is_repeated_and_stands_there_once(run):
    async def main(store):
        store.pool.faults.after_commit = [None, Gone()]  # of the first append, and of the batch
        stored, transactions = await store.at_once(*map(message, range(5)))
        assert [one.seq for one in stored] == [1, 2, 3, 4, 5]
        assert transactions == 3
        assert await store.count_messages("a") == 5

    run(main)


def test_a_batch_that_fails_is_done_one_by_one(run):
    async def main(store):
        store.pool.faults.before_commit = [None, ValueError("too much"), ValueError("too much")]
        stored, transactions = await store.at_once(*map(message, range(4)))
        assert [isinstance(one, BackendError) for one in stored] == [False, True, False, False]
        assert transactions == 5
        assert [one.id for one in await store.get_messages("a")] == ["0", "2", "3"]

    run(main)


@pytest.mark.parametrize("error", [ConnectionFailedError, StoreClosedError])
def test_what_all_would_meet_is_met_once(run, error):
    async def main(store):
        store.pool.gate.clear()
        first = asyncio.ensure_future(store.add_message("a", message(0)))
        while not store.pool.turn.locked():
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(store.add_message("a", message(n))) for n in (1, 2, 3)]
        lent = 0

        def begin(operation, *arguments):
            nonlocal lent
            lent += 1
            raise error("no server")

        store._runner.run = begin
        store.pool.gate.set()
        assert (await first).seq == 1
        errors = await asyncio.gather(*others, return_exceptions=True)
        assert [type(one) for one in errors] == [error] * 3
        assert lent == 1

    run(main)


def test_a_cancelled_append_takes_no_other_along(run):
    async def main(store):
        store.pool.gate.clear()
        calls = [asyncio.ensure_future(store.add_message("a", message(n))) for n in range(5)]
        while not store.pool.turn.locked():
            await asyncio.sleep(0)
        calls[0].cancel()
        calls[3].cancel()
        await asyncio.wait([calls[0], calls[3]])
        store.pool.gate.set()
        stored = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(one, "seq", None) for one in stored] == [None, 1, 2, None, 3]
        assert [one.id for one in await store.get_messages("a")] == ["1", "2", "4"]

    run(main)
