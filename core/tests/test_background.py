"""Threads that work for calls, at the end of the process."""

from __future__ import annotations

import threading
import time

import pytest

from praisonai_persistence.drivers import background
from praisonai_persistence.drivers.background import Background


@pytest.fixture
def threads(monkeypatch):
    """The threads of a process of its own, as it were."""
    threads = background._Threads()
    monkeypatch.setattr(background, "_threads", threads)
    return threads


def test_the_end_waits_for_a_thread_that_has_not_begun(threads, monkeypatch):
    start = background._thread.start_new_thread
    held = []
    monkeypatch.setattr(background._thread, "start_new_thread", lambda *how: held.append(how))
    work = Background(lambda: "done")
    work.start()
    ending = threading.Thread(target=threads.end, args=[time.monotonic() + 30])
    ending.start()
    ending.join(0.05)
    assert ending.is_alive()
    start(*held.pop())
    ending.join(10)
    assert not ending.is_alive()
    assert work.wait(10)
    assert work.answer == "done"


def test_the_end_waits_no_longer_than_it_may(threads, monkeypatch):
    monkeypatch.setattr(background._thread, "start_new_thread", lambda *how: None)
    Background(lambda: None).start()
    begun = time.monotonic()
    threads.end(begun + 0.05)
    assert 0.05 <= time.monotonic() - begun < 10


def test_a_thread_that_could_not_be_started_is_not_waited_for(threads, monkeypatch):
    def fail(*how):
        raise KeyboardInterrupt

    monkeypatch.setattr(background._thread, "start_new_thread", fail)
    with pytest.raises(KeyboardInterrupt):
        Background(lambda: None).start()
    assert not threads.starting


def test_after_the_end_a_call_is_done_by_the_thread_that_starts_it(threads):
    threads.end(time.monotonic())
    work = Background(threading.get_ident)
    work.start()
    assert work.answer == threading.get_ident()
    assert not threads.starting


def test_the_end_waits_for_a_thread_that_is_at_work(threads):
    go = threading.Event()
    work = Background(lambda: go.wait(30))
    work.start()
    ending = threading.Thread(target=threads.end, args=[time.monotonic() + 30])
    ending.start()
    ending.join(0.05)
    assert ending.is_alive()
    go.set()
    ending.join(10)
    assert not ending.is_alive()
    assert work.answer is True


def test_the_end_does_not_wait_long_for_a_thread_that_nobody_waits_for(threads):
    go = threading.Event()
    work = Background(lambda: go.wait(30))
    work.start()
    assert not work.wait(0.01)
    assert work.give_up()
    start = time.monotonic()
    threads.end(start + 20)
    assert time.monotonic() - start < 10
    go.set()
    assert work.wait(10)
