"""What holds for all tests."""

from __future__ import annotations

import gc
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from praisonai_persistence.testing.harness import full_only

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell does that to what it starts in the background, and it is inherited; some tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes, or its making, says how busy the machine is; what a test asserts does not depend on it.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what only the tests of this repository have."""
    words = "each test function once: with its first parameters, in the first suite that has it"
    parser.addoption("--one-of-each", action="store_true", help=words)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave out what runs already with other parameters, or in another class that inherits it, with --one-of-each."""
    if session.config.getoption("one_of_each"):
        # At the end, when the suites of the kit have decided what runs.
        first = {_function(item): item for item in reversed(session.items)}
        session.items[:] = [item for item in session.items if first[_function(item)] is item]


_files: set[Path] = set()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hide what there is before the first test of a file from the garbage collector.

    What was collected and imported is millions of objects, and some tests call it at each place of a call.
    """
    if item.path not in _files:
        _files.add(item.path)
        gc.collect()
        gc.freeze()


def _function(item: pytest.Item) -> object:
    function = getattr(item, "function", item)
    return getattr(function, "__module__", ""), getattr(function, "__qualname__", item.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes more than a few seconds is of the full tier, as in the suites of the kit."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("slow"):
            full_only(item.function)
