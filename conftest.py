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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes more than a few seconds is of the full tier, as in the suites of the kit."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("slow"):
            full_only(item.function)


def pytest_collection_finish() -> None:
    """Take what was collected out of the garbage collector's sight: there are some million objects.

    The tests of the lifecycle call `gc.collect`, which takes most of a second otherwise.
    """
    gc.collect()
    gc.freeze()
