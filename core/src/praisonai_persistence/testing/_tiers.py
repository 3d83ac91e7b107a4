"""The tiers of the conformance kit: what a run leaves out, and that it says so.

``quick`` is every clause, without what takes long: random walks, killed processes, values at the size limits, products
of all operators with all operands. ``full`` is everything, and the default. The tests that are part of ``full`` alone
are marked where they are defined, with [full_only][]; a subclass cannot move one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

__all__ = ["TIER_VARIABLE", "Tiers", "add_options", "full_only", "full_tests"]

F = TypeVar("F", bound=Callable[..., Any])

TIER_VARIABLE = "PRAISONAI_CONFORMANCE_TIER"
"""The environment variable that counts where the option is not given."""
_NAMES = ("quick", "full")
_LEFT_OUT = "conformance_left_out"


def full_only(function: F) -> F:
    """Mark a test as one of the full tier: it takes long. In a suite, its clause has quicker tests too."""
    if isinstance(function, type):
        raise TypeError("full_only marks a test, not a class")
    function._full_only = True  # type: ignore[attr-defined]
    return function


def full_tests(suite: type) -> frozenset[str]:
    """Return the names of the tests of a suite that are marked with [full_only][]."""
    return frozenset(name for name in dir(suite) if getattr(getattr(suite, name, None), "_full_only", False))


def add_options(parser: pytest.Parser) -> None:
    """Add the options of the tiers."""
    group = parser.getgroup("praisonai-persistence")
    group.addoption(
        "--conformance-tier",
        choices=_NAMES,
        help="how much of the conformance suites runs: 'quick' leaves out random walks, kills, size limits and "
        f"operator products; default: ${TIER_VARIABLE}, else 'full'",
    )
    group.addoption(
        "--conformance-full",
        metavar="FILE",
        action="append",
        default=[],
        help="with --conformance-tier=quick: run the suites in this test file, or folder, in full; may be repeated",
    )


class Tiers:
    """Knows what a run leaves out; a plugin of its own.

    Args:
        config: of the run.
    """

    def __init__(self, config: pytest.Config) -> None:
        tier = config.getoption("--conformance-tier") or os.environ.get(TIER_VARIABLE) or "full"
        if tier not in _NAMES:
            raise pytest.UsageError(f"{TIER_VARIABLE} is {tier!r}; it may be 'quick' or 'full'")
        self.tier: str = tier
        if tier == "quick" and config.getoption("--conformance-report"):
            raise pytest.UsageError("--conformance-report needs the full tier: a matrix of a part would say too much")
        self._whole = [config.rootpath.joinpath(path).resolve() for path in config.getoption("--conformance-full")]
        if absent := [str(path) for path in self._whole if not path.exists()]:
            raise pytest.UsageError(f"--conformance-full: there is no {', '.join(absent)}")
        self._left_out = 0

    def leaves_out(self, item: pytest.Item, suites: list[type]) -> bool:
        """Whether this run leaves out a test.

        Args:
            item: the test.
            suites: the suites of its class. Of a test of theirs, what they say counts, not what a subclass says.
        """
        if self.tier == "full" or not isinstance(item, pytest.Function):
            return False
        name = item.originalname
        said = [name in vars(suite)["_full_tests"] for suite in suites if hasattr(suite, name)]
        if not all(said or [getattr(item.function, "_full_only", False)]):
            return False
        return not any(_within(item.path, path) for path in self._whole)

    def note(self, config: pytest.Config, count: int) -> None:
        """Count what was left out; a worker of xdist tells the process that prints."""
        self._left_out = count
        if hasattr(config, "workerinput"):
            config.workeroutput[_LEFT_OUT] = count  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of xdist counted; every worker collects all tests."""
        self._left_out = max(self._left_out, getattr(node, "workeroutput", {}).get(_LEFT_OUT, 0))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print it."""
        if self._left_out:
            terminalreporter.write_line(
                f"conformance tier quick: {self._left_out} tests of the full tier not run "
                "(--conformance-tier=full runs them)"
            )


def _within(file: Path, place: Path) -> bool:
    return place == file.resolve() or place in file.resolve().parents
