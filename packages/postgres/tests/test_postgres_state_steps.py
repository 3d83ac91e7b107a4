"""What a sweep that follows a durable write does about errors, step by step: no server is needed."""

from __future__ import annotations

import copy

import asyncpg
import psycopg
import pytest

from praisonai_persistence_pg.dialect import Postgres
from praisonai_persistence_postgres.state import PostgresStateSteps
from praisonai_persistence_sql import Alone, Fetch, SilentError, Undo

WRITES = {
    "set": lambda steps: (steps.set("a", "1", 10, 0.0), [(1,)]),
    "set_many": lambda steps: (steps.set_many({"a": "1", "b": "2"}, 10, 0.0), [(1,)]),
}
DRIVERS = [
    psycopg.errors.SerializationFailure("x"),
    psycopg.errors.DeadlockDetected("x"),
    psycopg.OperationalError("the connection is lost"),
    asyncpg.SerializationError("x"),
    asyncpg.InterfaceError("connection is closed"),
    SilentError("no answer", sent=True),
]


@pytest.fixture(params=WRITES)
def written(request, monkeypatch):
    """A write that is durable, and asks for its sweep."""
    monkeypatch.setattr("praisonai_persistence_postgres.state._SWEEPS", 1.1)
    operation, answer = WRITES[request.param](PostgresStateSteps(Postgres(), "p_"))
    assert type(next(operation)) is Alone
    sweep = operation.send(answer)
    assert type(sweep) is Alone
    assert "SKIP LOCKED" in sweep.sql
    return operation


def test_a_sweep_of_plain_keys_is_one_statement(written):
    with pytest.raises(StopIteration):
        written.send([(0,)])


@pytest.mark.parametrize("error", DRIVERS, ids=lambda error: type(error).__name__)
def test_what_the_driver_says_of_a_sweep_neither_fails_nor_repeats_the_write(written, error):
    assert written.throw(error) == Undo()
    with pytest.raises(StopIteration):
        written.send(None)


@pytest.mark.parametrize("error", DRIVERS[:2], ids=lambda error: type(error).__name__)
def test_nor_does_it_when_hashes_are_swept(written, error):
    assert type(written.send([(1,)])) is Fetch
    assert written.throw(error) == Undo()
    with pytest.raises(StopIteration):
        written.send(None)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TimeoutError("of a signal handler"), ValueError("a defect")])
def test_what_is_not_the_drivers_passes_a_sweep(written, error):
    with pytest.raises(type(error)) as caught:
        written.throw(error)
    assert caught.value is error


class Interrupted:
    def __deepcopy__(self, memo):
        raise KeyboardInterrupt


def test_what_the_driver_hides_passes_a_sweep(written):
    error = psycopg.OperationalError("x")
    with pytest.raises(KeyboardInterrupt) as caught:
        copy.deepcopy([Interrupted()])  # in the middle of code that is not the program's
    error.__cause__ = caught.value
    with pytest.raises(psycopg.OperationalError) as passed:
        written.throw(error)
    assert passed.value is error
