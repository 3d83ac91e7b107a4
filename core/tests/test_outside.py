"""What was raised into a call from outside, and what is the client's own."""

from __future__ import annotations

import asyncio
import functools
import signal

import pytest

from praisonai_persistence.drivers.outside import outsider
from praisonai_persistence.errors import ConnectionFailedError

HERE = __name__.partition(".")[0]


class Limit(Exception):
    """As a task queue raises it."""


Limit.__module__ = "somewhere.else"


def caught(function):
    with pytest.raises(BaseException) as found:
        function()
    return found.value


def fail(error):
    raise error


def hide(error):
    try:
        raise error
    except BaseException as hidden:
        raise OSError("the socket failed") from hidden


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, Limit])
def test_classes_that_no_client_raises(kind):
    error = kind()
    assert outsider(caught(lambda: fail(error)), ()) is error
    assert outsider(caught(lambda: hide(error)), (HERE,), located=True) is error


def test_what_a_library_below_the_client_raised_is_the_clients():
    assert outsider(caught(lambda: hide(Limit())), (HERE,)) is None
    assert outsider(caught(lambda: hide(asyncio.CancelledError())), (HERE,)) is None
    interrupt = KeyboardInterrupt()
    assert outsider(caught(lambda: hide(interrupt)), (HERE,)) is interrupt


@pytest.mark.parametrize("kind", [ValueError, TimeoutError, KeyError])
def test_classes_of_the_library_are_the_clients(kind):
    assert outsider(caught(lambda: fail(kind())), ()) is None


def test_classes_of_the_clients_packages_are_the_clients():
    assert outsider(caught(lambda: fail(Limit())), ("somewhere",)) is None


def test_our_own_errors_are_ours():
    assert outsider(ConnectionFailedError("away"), ()) is None


def test_what_the_caller_was_handling_is_not_of_the_call():
    try:
        raise Limit
    except Limit:
        error = caught(lambda: fail(OSError()))
    assert isinstance(error.__context__, Limit)
    assert outsider(error, ("redis",)) is None


class Object:
    def __call__(self, number, frame):
        raise TimeoutError("a limit of the caller's own")

    def method(self, number, frame):
        raise TimeoutError("a limit of the caller's own")


def function(number, frame):
    raise TimeoutError("a limit of the caller's own")


@pytest.mark.parametrize(
    "handler",
    [function, Object(), Object().method, functools.partial(function)],
    ids=["function", "object", "method", "partial"],
)
def test_what_a_signal_handler_raised_whatever_its_class(handler):
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        error = caught(lambda: signal.raise_signal(signal.SIGUSR1))
        assert isinstance(error, TimeoutError)
        assert outsider(error, ()) is error
        assert outsider(caught(lambda: hide(error)), (HERE,)) is error
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert outsider(error, ()) is None


def test_what_code_of_another_package_raised_where_that_counts():
    error = caught(lambda: fail(ValueError()))
    assert outsider(error, (HERE,), located=True) is None
    assert outsider(error, ("redis",), located=True) is error


def test_what_c_code_lost_and_python_made_a_system_error_of():
    """As PyMongo's encoder does with an exception that is raised in what it calls."""
    limit = Limit()

    def lose():
        try:
            raise limit
        except Limit as lost:
            raise SystemError("a function returned a result with an exception set") from lost

    assert outsider(caught(lose), (HERE,)) is limit
    assert outsider(caught(lambda: fail(SystemError("of its own"))), (HERE,)) is None
