"""Calls that do not return once the folder of their engine is gone."""

import os
import signal
import threading
import time

import pytest

from praisonai_persistence.drivers import Driver, DriverRunner, guarded
from praisonai_persistence.drivers.guarded import while_there
from praisonai_persistence.drivers.shared import identity
from praisonai_persistence.errors import ConnectionFailedError, UnsupportedOperationError
from praisonai_persistence.steps import reads, writes


class Limit(Exception):
    """What a signal handler raises."""


class Engine(Driver):
    """An embedded engine whose calls are guarded."""

    turns = "writes"

    def __init__(self, folder):
        self.path = self.place = str(folder)
        self.where = "the engine"
        self.opened = 0

    def open(self, deadline):
        os.makedirs(self.path, exist_ok=True)
        self.opened += 1
        return identity(self.path)

    def perform(self, on, request):
        return while_there(request, self.path, on, self.where)

    def spoiled(self, client):
        return identity(self.path) != client


@writes
def change(function):
    return (yield function)


@reads
def ask(function):
    return (yield function)


@pytest.fixture
def released():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.setattr(guarded, "PATIENCE", 0.3)
    runner = DriverRunner(Engine(tmp_path / "engine"))
    yield runner
    runner.close()


def test_what_a_call_returns_and_raises_is_its_own(runner):
    assert runner.run(change, lambda: threading.get_ident()) != threading.get_ident()
    assert runner.run(ask, lambda: 7) == 7
    with pytest.raises(Exception, match="ValueError") as caught:
        runner.run(ask, lambda: int("x"))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_call_takes_its_time_while_the_folder_is_there(runner):
    assert runner.run(change, lambda: time.sleep(1.2)) is None  # longer than a look and the patience
    assert runner.driver.opened == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_a_call_that_does_not_return_after_the_folder_is_gone_is_left_alone(runner, released, tmp_path, replaced):
    inside, told, waiting = threading.Event(), [], []

    def stuck():
        inside.set()
        released.wait(60)

    def first():
        try:
            runner.run(change, stuck)
        except ConnectionFailedError as error:
            told.append(str(error))

    def second():
        waiting.append(runner.run(change, lambda: "went on"))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()  # waits for its turn, or for the client that is to be closed
    (tmp_path / "engine").rename(tmp_path / "away")
    if replaced:
        (tmp_path / "engine").mkdir()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert "removed or replaced during a call" in told[0]
    assert waiting == ["went on"]
    assert runner.run(change, lambda: 1) == 1
    assert runner.driver.opened == 2


def test_a_call_from_within_a_call_is_refused(runner):
    told = []

    def inner():
        for operation in (change, ask):
            try:
                runner.run(operation, lambda: 1)
            except UnsupportedOperationError as error:
                told.append(str(error))

    runner.run(change, inner)
    assert len(told) == 2
    assert runner.run(change, lambda: 1) == 1


@pytest.mark.skipif(os.name != "posix", reason="sends itself a signal")
def test_an_exception_from_outside_waits_for_the_end_of_the_call(runner):
    done = []

    def handler(number, frame):
        raise Limit

    def call():
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.3)
        done.append(1)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Limit):
            runner.run(change, call)
        assert done == [1]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert runner.run(change, lambda: 2) == 2
