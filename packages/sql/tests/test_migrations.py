"""Numbered schema steps: up, down, dry run, status, what is newer, and what breaks in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading

import pytest
from sqlite_pools import AwaitedPool, PlainSQLite, SyncPool

from praisonai_persistence import (
    BackendError,
    ConfigurationError,
    InvalidValueError,
    SchemaError,
    StoreClosedError,
    StoreNotFoundError,
)
from praisonai_persistence.schema import SchemaStatus
from praisonai_persistence_sql import AsyncSQLRunner, Migration, Migrations, SQLRunner

STEPS = (
    Migration(1, "things", up=("CREATE TABLE {things} (a {t_id})",), down=("DROP TABLE {things}",)),
    Migration(2, "more", up=("ALTER TABLE {things} ADD b {t_int}", "CREATE INDEX {by_b} ON {things} (b)")),
    Migration(3, "others", up=("CREATE TABLE {others} (a {t_id})",), down=("DROP TABLE {others}",)),
)


def migrations(steps=STEPS, prefix="p_"):
    return Migrations(PlainSQLite(), prefix, "things", ["things", "others", "by_b"], steps)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.db")


@pytest.fixture
def runner(path):
    runner = SQLRunner(SyncPool(path), None)
    yield runner
    runner.close()


def execute(path, sql):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def tables(path):
    return {row[0] for row in execute(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_up_in_order_and_only_once(runner, path):
    steps = migrations()
    change = runner.run(steps.migrate, 1)
    assert (change.before, change.after, change.statements) == (0, 1, ('CREATE TABLE "p_things" (a TEXT)',))
    assert runner.run(steps.status).pending == ("more", "others")
    assert len(runner.run(steps.migrate).statements) == 3
    assert runner.run(steps.migrate).statements == ()
    assert runner.run(steps.status) == SchemaStatus("things", 3, 3)
    assert tables(path) == {"p_schema", "p_things", "p_others"}


def test_asking_and_planning_change_nothing(runner, path):
    steps = migrations()
    assert runner.run(steps.status).version == 0
    change = runner.run(steps.plan)
    assert (change.before, change.after, len(change.statements), change.dry_run) == (0, 3, 4, True)
    assert tables(path) == set()


def test_down_as_far_as_it_goes(runner, path):
    steps = migrations()
    runner.run(steps.migrate)
    assert runner.run(steps.plan, 2).statements == ('DROP TABLE "p_others"',)
    change = runner.run(steps.migrate, 2)
    assert (change.before, change.after, change.statements) == (3, 2, ('DROP TABLE "p_others"',))
    assert tables(path) == {"p_schema", "p_things"}
    for call in (steps.plan, steps.migrate):
        with pytest.raises(SchemaError, match=r"step 2 \(more\) of things cannot be undone"):
            runner.run(call, 0)
    assert runner.run(steps.status).version == 2


def test_a_table_with_rows_is_not_dropped(runner, path):
    steps = migrations((STEPS[0], Migration(2, "more", STEPS[2].up, STEPS[2].down, drops=("others",))))
    runner.run(steps.migrate)
    execute(path, "INSERT INTO p_others VALUES ('a')")
    for call in (steps.plan, steps.migrate):
        with pytest.raises(SchemaError, match='would drop "p_others", which has rows'):
            runner.run(call, 1)
    execute(path, "DELETE FROM p_others")
    assert runner.run(steps.migrate, 0).after == 0
    assert tables(path) == {"p_schema"}


def test_a_step_that_fails_leaves_nothing_behind(runner, path):
    broken = (*STEPS[:1], Migration(2, "broken", up=("CREATE TABLE {others} (a {t_id})", "NO SUCH STATEMENT")))
    with pytest.raises(BackendError):
        runner.run(migrations(broken).migrate)
    assert tables(path) == set()
    assert len(runner.run(migrations().migrate).statements) == 4


def test_tables_of_a_later_release_are_refused_and_untouched(runner):
    runner.run(migrations().migrate)
    older = migrations(STEPS[:2])
    for call, target in ((older.migrate, None), (older.migrate, 0), (older.plan, None)):
        with pytest.raises(SchemaError, match="have schema version 3, this release reads up to 2: upgrade"):
            runner.run(call, target)
    assert runner.run(older.status) == SchemaStatus("things", 3, 2)
    assert runner.run(migrations().status).version == 3


@pytest.mark.parametrize("target", [-1, 4])
def test_targets_that_do_not_exist(runner, target):
    for call in (migrations().migrate, migrations().plan):
        with pytest.raises(InvalidValueError, match="there are 0 to 3"):
            runner.run(call, target)


def test_only_conversations_adopt():
    with pytest.raises(ConfigurationError, match="a things store adopts nothing"):
        migrations().adopt_on_connect(True)
    migrations().adopt_on_connect(False)


@pytest.mark.parametrize("mode", [SQLRunner, AsyncSQLRunner])
def test_administration_migrates_nothing_and_the_next_operation_looks_again(path, mode):
    steps = migrations()
    runner = mode((SyncPool if mode is SQLRunner else AwaitedPool)(path), steps)

    def call(method, *arguments):
        answer = method(*arguments)
        return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer

    assert call(runner.administer, steps.status).version == 0
    assert tables(path) == set()
    assert call(runner.run, steps.current) == 3
    assert call(runner.administer, steps.migrate, 2).after == 2
    assert call(runner.administer, steps.status).version == 2
    assert call(runner.run, steps.current) == 3
    call(runner.close)
    with pytest.raises(StoreClosedError):
        call(runner.administer, steps.status)


def test_prefixes_and_components_have_versions_of_their_own(runner):
    runner.run(migrations().migrate)
    assert runner.run(migrations(prefix="q_").status).version == 0


def test_numbers_must_be_gapless():
    with pytest.raises(ValueError, match="numbered 1, 2, 3"):
        migrations(STEPS[1:])


def test_of_many_that_start_at_once_one_migrates(path):
    begin = threading.Barrier(8)
    applied = []

    def start():
        runner = SQLRunner(SyncPool(path), None)
        begin.wait()
        applied.append(runner.run(migrations().migrate).statements)
        runner.close()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0] * 7 + [4]


# ----------------------------------------------------------------------------------------------- tables that must exist


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_tables_that_must_exist(path, mode):
    def use(runner_of, pool, steps, create_schema=True):
        runner = runner_of(pool, steps, create_schema=create_schema)
        runner.expect_existing()
        if mode == "sync":
            try:
                runner.connect()
            finally:
                runner.close()
        else:

            async def main():
                try:
                    await runner.connect()
                finally:
                    await runner.close()

            asyncio.run(main())

    def connect(**options):
        kind, pool = (SQLRunner, SyncPool) if mode == "sync" else (AsyncSQLRunner, AwaitedPool)
        use(kind, pool(path), migrations(), **options)

    for options in ({}, {"create_schema": False}):
        with pytest.raises(StoreNotFoundError, match="there are no things tables with prefix 'p_' yet"):
            connect(**options)
    assert tables(path) == set()
    owner = SQLRunner(SyncPool(path), None)
    owner.run(migrations().migrate, 1)
    before = tables(path)
    with pytest.raises(SchemaError, match="needs 3: run 'praisonai-persistence migrate'"):
        connect()
    assert tables(path) == before
    owner.run(migrations().migrate, 3)
    connect()
    execute(path, "UPDATE p_schema SET version = 9")
    with pytest.raises(SchemaError, match="upgrade"):
        connect()
    owner.close()
