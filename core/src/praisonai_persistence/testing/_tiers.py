"""The tiers of the conformance kit: what a run leaves out, and that it says so.

``quick`` is every clause, without what takes long: random walks, killed processes, values at the size limits, products
of all operators with all operands. ``full`` is everything, and the default. The tests that are part of ``full`` alone
are marked where they are defined, with [full_only][]; a subclass cannot move one.

One test is one body for the sync and the async store, and so is what a backend does; what differs between the two modes
is how its client lives. So ``quick`` runs the tests of the lifecycle in both modes, but for those marked with
[one_mode_at_a_time][], and each other test of a suite in one of them: about half of them each. The same holds of a
backend's places: a class with the mark ``quick_lifecycle``, whose operations another class runs on another place, runs
the lifecycle only. A class with the mark ``quick_operations``, whose client is that of another class, runs the rest.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from praisonai_persistence.testing._forks import Forks

__all__ = [
    "CUT_SHORT",
    "FORKS",
    "QUICK_LIFECYCLE",
    "QUICK_OPERATIONS",
    "TIERS",
    "TIER_VARIABLE",
    "Tiers",
    "add_options",
    "full_only",
    "full_tests",
    "one_mode_at_a_time",
    "takes_turns",
    "walks_all",
]

F = TypeVar("F", bound=Callable[..., Any])

TIER_VARIABLE = "PRAISONAI_CONFORMANCE_TIER"
"""The environment variable that counts where the option is not given."""
CUT_SHORT = "walk cut short"
"""The property of a test that visited a part of the places that it was to visit."""
QUICK_LIFECYCLE = "quick_lifecycle"
"""The mark of a class of which the quick tier runs the tests of the lifecycle only."""
QUICK_OPERATIONS = "quick_operations"
"""The mark of a class of which the quick tier leaves out the tests of the lifecycle."""
_NAMES = ("quick", "full")
_LEFT_OUT = "conformance_left_out"


def full_only(function: F) -> F:
    """Mark a test as one of the full tier: it takes long. In a suite, its clause has quicker tests too."""
    if isinstance(function, type):
        raise TypeError("full_only marks a test, not a class")
    function._full_only = True  # type: ignore[attr-defined]
    return function


def one_mode_at_a_time(function: F) -> F:
    """Mark a test of the lifecycle that takes seconds: the quick tier runs it in one mode.

    Which one depends on the class too, so a run tries both modes, each on about half of the classes.
    """
    function._one_mode_at_a_time = True  # type: ignore[attr-defined]
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
        self._left_out = self._inapplicable = 0
        self._cut: dict[str, str] = {}

    def tier_of(self, item: pytest.Item) -> str:
        """Return the tier that a test runs in."""
        return "full" if any(_within(item.path, path) for path in self._whole) else self.tier

    def leaves_out(self, item: pytest.Item, suites: list[type]) -> bool:
        """Whether this run leaves out a test.

        Args:
            item: the test.
            suites: the suites of its class. Of a test of theirs, what they say counts, not what a subclass says.
        """
        if not isinstance(item, pytest.Function) or self.tier_of(item) == "full":
            return False
        name = item.originalname
        said = [name in vars(suite)["_full_tests"] for suite in suites if hasattr(suite, name)]
        return all(said or [getattr(item.function, "_full_only", False)])

    def leaves_to_others(self, items: list[pytest.Function]) -> set[pytest.Function]:
        """Return those tests of suites that run in the other mode or in another class only.

        Which mode that is depends on the name of the test and its parameters, so it is the same in every run. For those
        marked with [one_mode_at_a_time][] it depends on the class as well.

        Args:
            items: tests of suites that run, in either mode, without those of the lifecycle that run in both.
        """
        quick = [item for item in items if self.tier_of(item) == "quick"]
        elsewhere = {item for item in quick if item.get_closest_marker(QUICK_LIFECYCLE) and not takes_turns(item)}
        found: dict[tuple[object, ...], dict[str, pytest.Function]] = {}
        for item in quick:
            if item not in elsewhere and "mode" in getattr(item, "fixturenames", ()):
                others = sorted((name, at) for name, at in item.callspec.indices.items() if name != "mode")
                place = (item.path.name, item.cls.__name__) if takes_turns(item) else ()
                modes = found.setdefault((item.path, item.cls, *place, item.originalname, *others), {})
                modes[str(item.callspec.params["mode"])] = item
        return elsewhere | {
            modes[("sync", "async")[zlib.crc32(repr(test[2:]).encode()) % 2]]
            for test, modes in found.items()
            if len(modes) == 2
        }

    def leaves_lifecycle(self, item: pytest.Item) -> bool:
        """Whether another class runs a test of the lifecycle, on the same client."""
        return self.tier_of(item) == "quick" and item.get_closest_marker(QUICK_OPERATIONS) is not None

    def note(self, config: pytest.Config, left_out: int, inapplicable: int) -> None:
        """Count what was left out, and what cannot apply; a worker of xdist tells the process that prints."""
        self._left_out, self._inapplicable = left_out, inapplicable
        if hasattr(config, "workerinput"):
            config.workeroutput[_LEFT_OUT] = left_out, inapplicable  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a walk that was cut short."""
        if report.when == "call":
            for name, value in report.user_properties:
                if name == CUT_SHORT:
                    self._cut[report.nodeid] = str(value)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of xdist counted; every worker collects all tests."""
        left_out, inapplicable = getattr(node, "workeroutput", {}).get(_LEFT_OUT, (0, 0))
        self._left_out = max(self._left_out, left_out)
        self._inapplicable = max(self._inapplicable, inapplicable)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print it."""
        if self._left_out:
            terminalreporter.write_line(
                f"conformance tier quick: {self._left_out} tests of the full tier not run "
                "(--conformance-tier=full runs them)"
            )
        if self._inapplicable:
            terminalreporter.write_line(
                f"conformance: {self._inapplicable} tests do not apply: they are for the other mode, or need a fixture "
                "that the suite does not override (docs/testing.md#what-does-not-apply)"
            )
        for test, places in self._cut.items():
            terminalreporter.write_line(f"conformance: {test} was cut short, after {places} places")


TIERS = pytest.StashKey[Tiers]()
"""Where the tiers of a run stand."""
FORKS = pytest.StashKey[Forks]()
"""Where what starts the children of tests in the quick tier stands."""


def walks_all(config: pytest.Config) -> bool:
    """Whether walks visit all places: where the whole run is of the tier ``full``, and not some of its files alone."""
    return config.stash[TIERS].tier == "full"


def takes_turns(item: pytest.Item) -> bool:
    """Whether a test is marked with [one_mode_at_a_time][]."""
    return getattr(getattr(item, "function", None), "_one_mode_at_a_time", False)


def _within(file: Path, place: Path) -> bool:
    return place == file.resolve() or place in file.resolve().parents
