"""The two runners: one transaction for an operation, retries of what is safe to repeat, errors in our words."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlite_pools import AwaitedPool, Deadlock, Gone, PlainSQLite, SyncPool

from praisonai_persistence import (
    BackendError,
    ConversationMessage,
    ConversationSession,
    SessionNotFoundError,
    StoreClosedError,
)
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores import AsyncStepConversationStore, StepConversationStore
from praisonai_persistence_sql import AsyncSQLRunner, Execute, Fetch, Retry, SQLConversationSteps, SQLRunner

CREATE = "CREATE TABLE IF NOT EXISTS t (a INTEGER)"


class Caller:
    """A runner of either caller, called alike."""

    def __init__(self, name, path, **options):
        self.pool = SyncPool(path) if name == "sync" else AwaitedPool(path)
        self.faults = self.pool.faults
        self.runner = (SQLRunner if name == "sync" else AsyncSQLRunner)(self.pool, None, **options)
        self.loop = asyncio.new_event_loop()

    def __getattr__(self, name):
        method = getattr(self.runner, name)

        def call(*args, **kwargs):
            answer = method(*args, **kwargs)
            return self.loop.run_until_complete(answer) if asyncio.iscoroutine(answer) else answer

        return call

    def count(self):
        return self.run(count)


@writes
def insert(value):
    yield Execute(CREATE)
    yield Execute("INSERT INTO t VALUES (?)", (value,))
    if value < 0:
        raise SessionNotFoundError("refused after writing")
    return value


@writes
def insert_again(value):
    return (yield from insert(value))


insert_again.repeatable = True


@reads
def count():
    return (yield Fetch("SELECT COUNT(*) FROM t"))[0][0]


@pytest.fixture(params=["sync", "async"])
def caller(request, tmp_path):
    caller = Caller(request.param, str(tmp_path / "x.db"), retry=Retry(2.0, first=0.001, longest=0.002))
    caller.connect()
    caller.faults.attempts = 0
    yield caller
    caller.close()
    caller.loop.close()


def test_an_operation_is_one_transaction(caller):
    assert caller.run(insert, 1) == 1
    with pytest.raises(SessionNotFoundError):
        caller.run(insert, -1)
    assert caller.count() == 1


def test_an_undone_transaction_is_repeated(caller):
    caller.faults.before_commit = [Deadlock(), Deadlock()]
    assert caller.run(insert, 1) == 1
    assert caller.faults.attempts == 3
    assert caller.count() == 1


def test_a_write_is_not_repeated_when_its_commit_may_have_happened(caller):
    caller.faults.after_commit = [Gone()]
    with pytest.raises(BackendError, match="Gone") as caught:
        caller.run(insert, 1)
    assert isinstance(caught.value.__cause__, Gone)
    assert caller.count() == 1


def test_one_that_says_it_is_repeatable_is(caller):
    caller.faults.after_commit = [Gone()]
    caller.run(insert_again, 1)
    assert caller.faults.attempts == 2


def test_a_read_is_repeated_on_a_lost_connection(caller):
    caller.run(insert, 1)
    caller.faults.before_commit = [Gone()]
    caller.faults.after_commit = []
    assert caller.count() == 1


def test_the_budget_ends_the_retries(tmp_path):
    caller = Caller("sync", str(tmp_path / "y.db"), retry=Retry(0.05, first=0.001, longest=0.005))
    caller.faults.before_commit = [Deadlock() for _ in range(100_000)]
    begun = time.monotonic()
    with pytest.raises(BackendError, match="Deadlock"):
        caller.run(insert, 1)
    assert caller.faults.attempts > 1
    assert time.monotonic() - begun < 5
    caller.close()
    caller.loop.close()


def test_other_errors_are_wrapped_at_once(caller):
    @writes
    def broken():
        yield Execute("NO SUCH STATEMENT")

    with pytest.raises(BackendError) as caught:
        caller.run(broken)
    assert caught.value.__cause__ is not None
    assert caller.run(insert, 1) == 1


def test_closed(caller):
    caller.run(insert, 1)
    caller.close()
    caller.close()
    assert caller.faults.closed == 1
    for call in (caller.connect, lambda: caller.run(insert, 1)):
        with pytest.raises(StoreClosedError):
            call()


def test_the_schema_is_made_once(tmp_path):
    path = str(tmp_path / "z.db")
    steps = SQLConversationSteps(PlainSQLite(), "p_")
    pool = SyncPool(path)
    runner = SQLRunner(pool, steps.migrations)
    runner.connect()
    runner.connect()
    assert pool.faults.attempts == 2  # to look, and to make it
    runner.close()


def test_the_shared_sql_serves_a_store_of_either_mode(tmp_path):
    """The statements that engines override for speed keep the contract as they are, too."""
    steps = SQLConversationSteps(PlainSQLite(), "p_")
    path = str(tmp_path / "s.db")
    with StepConversationStore(steps, SQLRunner(SyncPool(path), steps.migrations)) as store:
        store.create_session(ConversationSession("a", user_id="u"))
        messages = [ConversationMessage(str(n), content=f"text {n}", created_at=n) for n in range(1200)]
        assert [m.seq for m in store.add_messages("a", messages)] == list(range(1, 1201))
        assert [m.seq for m in store.add_messages("a", messages[:3])] == [1, 2, 3]
        assert store.add_message("a", ConversationMessage("x")).seq == 1201
        with pytest.raises(SessionNotFoundError):
            store.add_message("b", ConversationMessage("x"))
        assert [m.id for m in store.get_messages("a", 2, before=10.0, after_seq=3)] == ["8", "9"]
        assert store.delete_messages("a", [str(n) for n in range(1100)] + ["unknown"]) == 1100

    async def other():
        runner = AsyncSQLRunner(AwaitedPool(path), steps.migrations)
        async with AsyncStepConversationStore(steps, runner) as store:
            assert await store.count_messages("a") == 101
            assert (await store.add_message("a", ConversationMessage("y"))).seq == 1202
            return await store.delete_session("a")

    assert asyncio.run(other()) is True
