"""Numbered schema steps: up, down, dry run, status, what is newer, and what breaks in the middle."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from sqlite_pools import PlainSQLite, SyncPool

from praisonai_persistence import BackendError, InvalidValueError, SchemaError
from praisonai_persistence_sql import Migration, Migrations, SQLRunner

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


def tables(path):
    connection = sqlite3.connect(path)
    try:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def test_up_in_order_and_only_once(runner, path):
    steps = migrations()
    assert runner.run(steps.up, 1) == ['CREATE TABLE "p_things" (a TEXT)']
    assert runner.run(steps.status).pending == ("more", "others")
    assert len(runner.run(steps.up)) == 3
    assert runner.run(steps.up) == []
    status = runner.run(steps.status)
    assert (status.component, status.version, status.latest, status.pending) == ("things", 3, 3, ())
    assert tables(path) == {"p_schema", "p_things", "p_others"}


def test_a_dry_run_says_what_it_would_do_and_does_not(runner, path):
    steps = migrations()
    assert len(runner.run(steps.up, dry_run=True)) == 4
    assert tables(path) == {"p_schema"}
    assert runner.run(steps.status).version == 0


def test_down_as_far_as_it_goes(runner, path):
    steps = migrations()
    runner.run(steps.up)
    assert runner.run(steps.down, 2, dry_run=True) == ['DROP TABLE "p_others"']
    assert runner.run(steps.down, 2) == ['DROP TABLE "p_others"']
    assert tables(path) == {"p_schema", "p_things"}
    with pytest.raises(SchemaError, match=r"step 2 \(more\) of things cannot be undone"):
        runner.run(steps.down, 0)
    assert runner.run(steps.status).version == 2


def test_a_step_that_fails_leaves_nothing_behind(runner, path):
    broken = (*STEPS[:1], Migration(2, "broken", up=("CREATE TABLE {others} (a {t_id})", "NO SUCH STATEMENT")))
    with pytest.raises(BackendError):
        runner.run(migrations(broken).up)
    assert tables(path) == set()
    assert len(runner.run(migrations().up)) == 4


def test_tables_of_a_later_release_are_refused_and_untouched(runner):
    runner.run(migrations().up)
    older = migrations(STEPS[:2])
    for call in (older.up, older.down):
        with pytest.raises(SchemaError, match="have schema version 3, this release reads up to 2: upgrade"):
            runner.run(call)
    assert runner.run(migrations().status).version == 3


@pytest.mark.parametrize("target", [-1, 4])
def test_targets_that_do_not_exist(runner, target):
    with pytest.raises(InvalidValueError, match="there are 0 to 3"):
        runner.run(migrations().up, target)


def test_prefixes_and_components_have_versions_of_their_own(runner):
    runner.run(migrations().up)
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
        applied.append(runner.run(migrations().up))
        runner.close()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0] * 7 + [4]
