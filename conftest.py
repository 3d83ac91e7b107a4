"""What holds for all tests."""

from __future__ import annotations

import gc
import signal

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
    """Leave out what --one-of-each leaves out, and what was collected from what the garbage collector looks at.

    With that option, what runs already with other parameters, or in another class that inherits it, does not run again.
    The garbage collector would look at some million objects, which takes most of a second each time a test of the
    lifecycle calls it.
    """
    if session.config.getoption("one_of_each"):
        # At the end, when the suites of the kit have decided what runs.
        first = {_function(item): item for item in reversed(session.items)}
        session.items[:] = [item for item in session.items if first[_function(item)] is item]
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
