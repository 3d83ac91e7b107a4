"""What a driver says in its attributes."""

from __future__ import annotations

from pathlib import Path

import pytest

from praisonai_persistence.drivers import AsyncDriverRunner, Driver, DriverRunner
from praisonai_persistence.errors import ConfigurationError


class Toy(Driver):
    """Says what the base says."""


@pytest.mark.parametrize("runner", [DriverRunner, AsyncDriverRunner])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("forks", "open", "must be one of reopen, close, refuse"),
        ("interrupts", None, "must be one of reopen, keep"),
        ("lost", "replace", "must be one of keep, reopen"),
        ("turns", "write", "must be one of none, writes, all"),
        ("timeout", "30", "must be a number of seconds above 0"),
        ("connect_timeout", 0, "must be a number of seconds above 0"),
        ("lock_timeout", None, "must be a number of seconds above 0"),
        ("where", None, "must be text, not NoneType"),
        ("path", Path("a"), "must be text, not .*Path"),
        ("lock_file", 5, "must be text, not int"),
    ],
)
def test_a_value_that_it_may_not_have_is_refused_by_name(runner, name, value, message):
    driver = Toy()
    setattr(driver, name, value)
    with pytest.raises(ConfigurationError, match=f"Toy.{name} {message}"):
        runner(driver)
