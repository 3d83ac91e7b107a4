"""The tiers of the kit: what the quick one leaves out, that it says so, and that nobody moves a test out of it."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from praisonai_persistence.testing import (
    ConversationStoreSuite,
    KnowledgeStoreSuite,
    SessionStoreSuite,
    StateStoreSuite,
    _interrupts,
)
from praisonai_persistence.testing.clauses import CLAUSES
from praisonai_persistence.testing.harness import full_only

SUITES = [ConversationStoreSuite, StateStoreSuite, KnowledgeStoreSuite, SessionStoreSuite]
NOTICE = "tests of the full tier not run"
CHOICE = ["-k", "c03 or model or size_limit"]


def all_tests(suite):
    return {name: getattr(suite, name) for name in dir(suite) if name.startswith("test_")}


@pytest.mark.parametrize("suite", SUITES[:3])
def test_every_clause_has_a_test_of_the_quick_tier(suite):
    quick = set()
    for name, test in all_tests(suite).items():
        if not getattr(test, "_full_only", False):
            quick.add(name.split("_")[1].upper())
            quick.update(*(mark.args for mark in getattr(test, "pytestmark", []) if mark.name == "clause"))
    assert quick >= {*CLAUSES[suite.kind]}


@pytest.mark.parametrize("suite", SUITES)
def test_kills_and_random_walks_are_of_the_full_tier(suite):
    heavy = {
        name: test
        for name, test in all_tests(suite).items()
        if "reference" in name or any(mark.name == "crash" for mark in getattr(test, "pytestmark", []))
    }
    assert heavy
    assert [name for name, test in heavy.items() if not getattr(test, "_full_only", False)] == []


def test_the_full_tier_is_the_default(run):
    output = run("class TestIt(Memory): pass", *CHOICE)
    assert "6 passed" in output
    assert NOTICE not in output


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_the_quick_tier_counts_what_it_leaves_out(run, workers):
    if workers:
        pytest.importorskip("xdist")
    output = run("class TestIt(Memory): pass", *CHOICE, *workers, "--conformance-tier=quick")
    assert "1 passed" in output
    assert f"conformance tier quick: 5 {NOTICE} (--conformance-tier=full runs them)" in output


def test_the_environment_counts_where_the_option_is_not_given(run):
    module = "class TestIt(Memory): pass"
    assert NOTICE in run(module, *CHOICE, PRAISONAI_CONFORMANCE_TIER="quick")
    output = run(module, *CHOICE, "--conformance-tier=full", PRAISONAI_CONFORMANCE_TIER="quick")
    assert "6 passed" in output
    assert "it may be 'quick' or 'full'" in run(module, *CHOICE, PRAISONAI_CONFORMANCE_TIER="fast")


def test_some_files_may_run_in_full(run, tmp_path):
    (tmp_path / "test_other.py").write_text(f"{run.module}\nclass TestOther(Memory): pass\n", encoding="utf-8")
    output = run("class TestIt(Memory): pass", *CHOICE, "--conformance-tier=quick", "--conformance-full=test_other.py")
    assert f"5 {NOTICE}" in output
    assert "7 passed" in output
    assert "test_other.py::TestOther::test_model_agrees_with_the_reference[sync]" in output
    refused = run("class TestIt(Memory): pass", "--conformance-tier=quick", "--conformance-full=test_absent.py")
    assert "--conformance-full: there is no" in refused


def test_a_matrix_comes_from_the_full_tier_only(run, tmp_path):
    output = run("class TestIt(Memory): pass", "--conformance-tier=quick", "--conformance-report=report")
    assert "--conformance-report needs the full tier" in output
    assert not (tmp_path / "report").exists()


def test_a_subclass_moves_no_test_to_another_tier(run):
    output = run(
        """
        from praisonai_persistence.testing.harness import full_only

        class TestMoved(Memory):
            test_c03_an_unknown_session_is_none = full_only(Memory.test_c03_an_unknown_session_is_none)
        """,
        *CHOICE,
        "--conformance-tier=quick",
    )
    assert "1 passed" in output
    output = run(
        """
        class TestMoved(Memory):
            @pytest.mark.xfail(reason="it makes sessions out of nothing", strict=True)
            async def test_c03_an_unknown_session_is_none(self, store):
                raise AssertionError
            test_c03_an_unknown_session_is_none._full_only = True
        """,
        *CHOICE,
        "--conformance-tier=quick",
    )
    assert "1 xfailed" in output


def test_the_quick_tier_runs_a_test_in_one_mode_and_the_lifecycle_in_both(run):
    asked = ["class TestIt(Memory): pass", "-rA", "-k", "c05 or c06 or c07 or l01", "--conformance-tier=quick"]
    output = run(*asked)
    ran = re.findall(r"PASSED .*::(test_\w*)\[(.*)\]", output)
    modes = Counter(name for name, _ in ran)
    assert {count for name, count in modes.items() if name.startswith("test_l")} == {2}
    assert {count for name, count in modes.items() if name.startswith("test_c")} == {1}
    assert {mode for name, mode in ran if name.startswith("test_c")} == {"sync", "async"}
    assert re.findall(r"PASSED .*::(test_\w*)\[(.*)\]", run(*asked)) == ran


def test_long_tests_of_the_lifecycle_run_in_one_mode_that_depends_on_the_class(run):
    module = "".join(f"class Test{name}(Memory): pass\n" for name in "ABCDEF")
    asked = ["--setup-plan", "-v", "-k", "l06"]
    found = re.findall(r"::(Test.)::(test_\w*)\[(.*?)\] ", run(module, *asked, "--conformance-tier=quick"))
    assert len({(name, test) for name, test, _ in found}) == len(found) == 18
    modes = {name: {(test, mode) for other, test, mode in found if other == name} for name, _, _ in found}
    assert len(set(map(frozenset, modes.values()))) > 1
    assert len(re.findall(r"::test_l06", run(module, *asked))) == 36


def test_a_class_may_leave_the_operations_to_another_one(run):
    module = """
    @pytest.mark.quick_lifecycle
    class TestIt(Memory): pass
    """
    asked = ["-rA", "-k", "c05 or c06 or l01 or l06"]
    ran = re.findall(r"PASSED .*::(test_\w*)\[(.*)\]", run(module, *asked, "--conformance-tier=quick"))
    assert {name[5] for name, _ in ran} == {"l"}
    assert {mode for _, mode in ran} == {"sync", "async"}
    ran = re.findall(r"PASSED .*::(test_\w*)\[(.*)\]", run(module, *asked))
    assert {name[5] for name, _ in ran} == {"c", "l"}


def test_a_class_may_leave_the_lifecycle_to_another_one(run):
    module = """
    @pytest.mark.quick_operations
    class TestIt(Memory): pass
    """
    asked = ["-rA", "-k", "c05 or c06 or l01 or l06"]
    ran = re.findall(r"PASSED .*::(test_\w*)\[(.*)\]", run(module, *asked, "--conformance-tier=quick"))
    assert {name[5] for name, _ in ran} == {"c"}
    assert {mode for _, mode in ran} == {"sync", "async"}
    ran = re.findall(r"PASSED .*::(test_\w*)\[(.*)\]", run(module, *asked))
    assert {name[5] for name, _ in ran} == {"c", "l"}


def test_a_mode_that_is_alone_runs(run):
    output = run("class TestIt(Memory): pass", "-k", "c06 and async and not reference", "--conformance-tier=quick")
    assert "passed" in output
    assert NOTICE not in output


def test_a_class_is_no_test():
    with pytest.raises(TypeError, match="not a class"):
        full_only(ConversationStoreSuite)


def test_other_tests_may_be_of_the_full_tier(run):
    output = run(
        """
        from praisonai_persistence.testing.harness import full_only

        @full_only
        def test_long(): pass

        def test_short(): pass
        """,
        "--conformance-tier=quick",
    )
    assert "1 passed" in output
    assert f"1 {NOTICE}" in output


# --------------------------------------------------------------------------------------------------------------- walks

ASKED = """class TestIt(Memory):
    {}

    @pytest.fixture
    def spawn(self):
        async def spawn(body, seconds, **arguments):
            print(f"seconds: {{seconds}}")
            return Answer()
        yield spawn

class Answer:
    def go(self): pass

    async def result(self):
        return {{"findings": [], "visited": 3, "places": 9}}
"""


@pytest.mark.parametrize(
    ("own", "quick", "full"),
    [("", "1.0", "0"), ("sweep_seconds = 0", "0", "0"), ("sweep_seconds = 7", "7", "7")],
    ids=["by the tier", "all", "bounded"],
)
def test_the_full_tier_walks_through_all_places(run, own, quick, full):
    for tier, seconds in (("quick", quick), ("full", full)):
        output = run(ASKED.format(own), "-s", "-k", "l08_a_call_at_every_place", f"--conformance-tier={tier}")
        assert f"seconds: {seconds}\n" in output
        assert ("was cut short, after 3 of 9 places" in output) == (seconds == "0")


class Silent:
    def report(self, value):
        pass


def test_a_walk_through_all_places_ends(monkeypatch):
    walk = _interrupts._Sweep(Silent(), 0, 2)
    assert [sorted(walk.places(count, "a")) for count in (40, 50)] == [list(range(1, 41)), list(range(1, 51))]
    assert (walk.result()["visited"], walk.result()["places"]) == (90, 90)
    monkeypatch.setattr(_interrupts, "LONGEST", 0.0)
    walk = _interrupts._Sweep(Silent(), 0, 2)
    assert [len(list(walk.places(count, "a"))) for count in (40, 50)] == [1, 1]  # each call gets its part
    assert (walk.result()["visited"], walk.result()["places"]) == (2, 90)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_what_does_not_apply_is_counted(run, workers):
    if workers:
        pytest.importorskip("xdist")
    output = run("class TestIt(Memory): pass", "-k", "l09 or c03", *workers)
    assert "2 passed" in output
    assert "conformance: 8 tests do not apply" in output
