"""How many tests ran and were skipped, and why, from the XML report of pytest.

    python tools/tests_summary.py build/tests.xml

Ends with one plain line: `N passed, N failed, N skipped`. Exits with 1 when a test failed or none ran.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Summary:
    """Outcomes of one run. Errors outside of a test's body count as failures, expected failures as skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """The reasons of skips, the most frequent first, and the closing line."""
        lines = [f"{count:6} skipped: {reason}" for reason, count in self.reasons.most_common()]
        return "\n".join([*lines, f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"])


def read(report: Path) -> Summary:
    """Counts the test cases of a report in JUnit's XML."""
    summary = Summary()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  our own pytest wrote it
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            summary.failed += 1
        elif skip is not None:
            summary.skipped += 1
            expected = "expected failure: " if skip.get("type") == "pytest.xfail" else ""
            reason = (skip.get("message") or "no reason given").removeprefix("Skipped: ")
            summary.reasons[expected + reason] += 1
        else:
            summary.passed += 1
    return summary


def main() -> None:
    """Prints the summary of one report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    summary = read(parser.parse_args().report)
    print(summary)
    if summary.failed or not summary.passed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
