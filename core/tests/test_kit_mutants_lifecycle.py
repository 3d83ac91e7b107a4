"""The lifecycle suite catches every mistake of a mutant in the tier quick, by a test of the clause that it breaks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import lifecycle, running

sys.path.pop(0)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutants")
    return running.run("state", folder, module="lifecycle", suite="LifecycleSuite", tier="quick")


@pytest.mark.parametrize("mutant", lifecycle.ALL, ids=lambda mutant: f"{mutant.clause}-{mutant.name}")
def test_a_mutant_is_caught(mutant, outcomes):
    for mode in mutant.modes:
        ran = outcomes[mutant.name][mode]
        assert ran["broken"] == []
        assert ran["failed"], f"{mutant.name} passes all {len(ran['passed'])} {mode} tests of {mutant.clause}"


@pytest.mark.parametrize("right", lifecycle.RIGHT, ids=lambda right: right.name)
def test_a_store_without_a_mistake_passes_the_same_tests(right, outcomes):
    for mode in right.modes:
        ran = outcomes[right.name][mode]
        assert ran["failed"] == ran["broken"] == []
        assert len(ran["passed"]) >= (4 if right.clause else 15)
