"""What the suites stand on: the guard, the matrix, races, children, the hostile corpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import uuid

import pytest

from praisonai_persistence import payload
from praisonai_persistence.errors import InvalidIdentifierError, InvalidValueError, SerializationError, StoreClosedError
from praisonai_persistence.records import ConversationSession
from praisonai_persistence.testing import (
    ConversationStoreSuite,
    KnowledgeStoreSuite,
    StateStoreSuite,
    StoreSpec,
    _children,
    corpus,
)
from praisonai_persistence.testing._facade import Portal, drive
from praisonai_persistence.testing.clauses import CLAUSES, MODEL
from praisonai_persistence.testing.harness import StoreSuite, declares, raw, split

MEMORY = StoreSpec(
    "conversation",
    sync="praisonai_persistence.memory:MemoryConversationStore",
    async_="praisonai_persistence.memory:AsyncMemoryConversationStore",
)

# --------------------------------------------------------------------------------------------------------------- guard


WEAK = {
    "deleted": "test_c03_an_unknown_session_is_none = None",
    "emptied": "async def test_c03_an_unknown_session_is_none(self, store): pass",
    "walkless": "def test_model_agrees_with_the_reference(self): pass",
    "skipped": "@pytest.mark.skip(reason='never mind')\n    async def test_c03_an_unknown_session_is_none(self): pass",
    "unexplained": "@pytest.mark.xfail\n    async def test_c03_an_unknown_session_is_none(self): assert 0",
    "modeless": "modes = ()",
    "blue": "modes = ('blue',)",
}


def test_a_weakened_subclass_is_refused(run, tmp_path):
    for name, body in WEAK.items():
        (tmp_path / f"test_{name}.py").write_text(
            f"{run.module}\nclass Test{name}(Memory):\n    {body}\n", encoding="utf-8"
        )
    output = run("class TestFine(Memory): pass", "-k", "c03")
    for name in WEAK:
        reason = "'modes' must name" if name in {"modeless", "blue"} else "deletes or overrides"
        assert any(f"Test{name}" in line and reason in line for line in output.splitlines()), name
    assert f"{len(WEAK)} errors" in output
    assert "TestFine" not in output


def test_a_subclass_may_say_what_fails_and_why(run, tmp_path):
    output = run(
        """
        class TestHonest(Memory):
            @pytest.mark.xfail(reason="it makes sessions out of nothing", strict=True)
            async def test_c03_an_unknown_session_is_none(self, store):
                assert await store.get_session("unknown") is not None
        """,
        "-k",
        "c02 or c03",
        "--conformance-report=report",
    )
    assert "2 xfailed" in output
    tree = json.loads((tmp_path / "report" / "matrix.json").read_text())
    cells = tree["conversation"]["honest"]["sync"]
    assert cells["C02"]["outcome"] == "holds"
    assert cells["C03"]["outcome"] == "fails"


def test_pytest_asyncio_in_auto_mode_is_refused(run):
    # Where it is not installed, a stand-in of its name: what counts is how the suite answers to its mode.
    conftest = """
        def pytest_addoption(parser, pluginmanager):
            if not pluginmanager.hasplugin("asyncio"):
                parser.addini("asyncio_mode", "stand-in for the option of pytest-asyncio")
                parser.addini("asyncio_default_fixture_loop_scope", "the same")
                pluginmanager.register(object(), "asyncio")
        """
    options = ["-k", "c03", "-o", "asyncio_default_fixture_loop_scope=function"]
    installed = {"conftest": conftest, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}
    refused = run("class TestIt(Memory): pass", *options, "-o", "asyncio_mode=auto", **installed)
    assert "1 error" in refused
    assert "set asyncio_mode=strict" in refused
    taken = run("class TestIt(Memory): pass", *options, "-o", "asyncio_mode=strict", **installed)
    assert "2 passed" in taken


def test_a_spec_that_does_not_fit_is_refused(run):
    output = run(
        """
        class TestModes(Memory):
            modes = ("sync",)

        class TestKind(Memory):
            @pytest.fixture
            def spec(self):
                return StoreSpec("state", sync="praisonai_persistence.memory:MemoryStateStore",
                                 async_="praisonai_persistence.memory:AsyncMemoryStateStore")

        class TestNothing(ConversationStoreSuite):
            pass
        """,
        "-k",
        "c03",
    )
    assert "this class needs 'modes = ('sync', 'async')'" in output
    assert "this suite tests conversation stores" in output
    assert "TestNothing must override the fixture 'spec'" in output
    assert "passed" not in output.splitlines()[-1]


# -------------------------------------------------------------------------------------------------------------- matrix


def test_the_matrix(run, tmp_path):
    run(
        """
        class TestMemory(Memory):
            pass

        class TestRenamed(Memory):
            backend = "another name"
            modes = ("async",)

            @pytest.fixture
            def spec(self):
                return StoreSpec("conversation", async_="praisonai_persistence.memory:AsyncMemoryConversationStore",
                                 options={"name": str(uuid.uuid4())})

        @pytest.mark.skip(reason="its server is not there")
        class TestAbsent(Memory):
            pass

        class TestBroken(Memory):
            @pytest.fixture
            def spec(self):
                return StoreSpec("conversation", sync="praisonai_persistence.memory:no_such_store",
                                 async_="praisonai_persistence.memory:AsyncMemoryConversationStore",
                                 options={"name": str(uuid.uuid4())})
        """,
        "-k",
        "c03 or c24_a_reopened or c20 or c26",
        "--conformance-report=report",
    )
    tree = json.loads((tmp_path / "report" / "matrix.json").read_text(encoding="utf-8"))["conversation"]
    assert list(tree) == ["absent", "another name", "broken", "memory"]
    assert list(tree["memory"]) == ["sync", "async"]
    assert list(tree["another name"]) == ["async"]
    assert list(tree["memory"]["sync"]) == [*CLAUSES["conversation"], *CLAUSES["lifecycle"], "model"]
    for mode in ("sync", "async"):
        cells = tree["memory"][mode]
        assert cells["C03"] == {"outcome": "holds"}
        assert cells["C20"] == {"outcome": "holds", "unsupported": ["two processes"]}
        assert cells["C24"] == {"outcome": "unsupported", "unsupported": ["durable"]}
        assert cells["C26"] == {"outcome": "holds", "not applicable": ["server", "unreachable_spec"]}
        assert cells["C01"] == {"outcome": "not run"}
        assert tree["absent"][mode]["C03"]["outcome"] == "not run"
    assert tree["broken"]["sync"]["C03"]["outcome"] == "fails"
    assert tree["broken"]["async"]["C03"]["outcome"] == "holds"
    text = (tmp_path / "report" / "matrix.md").read_text(encoding="utf-8")
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert rows["C03"].split(" | ")[2:] == ["not run", "holds", "sync **fails**, async holds", "holds |"]
    assert "unsupported (without: durable)" in rows["C24"]
    assert "holds (without: two processes)" in rows["C20"]


def test_engines_that_can_be_out_of_reach(run, tmp_path):
    # A stand-in for a server, in memory: what counts is what the suite says about the stores in front of it.
    output = run(
        """
        from praisonai_persistence.errors import ConnectionFailedError, PersistenceError
        from praisonai_persistence.memory import MemoryConversationStore
        from praisonai_persistence.stores import DirectRunner

        up = True

        class Remote(DirectRunner):
            refusal = ConnectionFailedError("nobody answers at server.invalid")

            def __init__(self, reachable):
                super().__init__()
                self.reachable = reachable

            def run(self, operation, *args, **kwargs):
                self.connect()
                return super().run(operation, *args, **kwargs)

            def connect(self):
                super().connect()
                if not (up and self.reachable):
                    raise self.refusal

        class Right(MemoryConversationStore):
            runner = Remote

            def __init__(self, url=None, name=None, **options):
                super().__init__(name=name, **options)
                self._runner = self.runner(url is None)

        class ShowsTheSecret(Right):
            class runner(Remote):
                refusal = ConnectionFailedError("cannot connect to db://user:hunter2@server.invalid")

        class RaisesSomethingElse(Right):
            class runner(Remote):
                refusal = PersistenceError("no")

        class StaysDown(Right):
            class runner(Remote):
                def connect(self):
                    try:
                        super().connect()
                    except ConnectionFailedError:
                        self.reachable = False
                        raise

        class Server:
            def stop(self):
                global up
                up = False

            def start(self):
                global up
                up = True

        class Remotely(ConversationStoreSuite):
            modes = ("sync",)

            @pytest.fixture
            def spec(self):
                store = type(self).__name__.removeprefix("Test")
                return StoreSpec("conversation", sync=f"{__name__}:{store}", options={"name": str(uuid.uuid4())})

            @pytest.fixture
            def unreachable_spec(self, spec):
                return spec.with_options(url="db://user:hunter2@server.invalid")

            @pytest.fixture
            def server(self):
                yield Server()
                Server().start()

        class TestRight(Remotely): pass
        class TestShowsTheSecret(Remotely): pass
        class TestRaisesSomethingElse(Remotely): pass
        class TestStaysDown(Remotely): pass
        """,
        "-k",
        "c26_an_engine or c26_the_same or c23",
    )
    outcomes = dict(reversed(line.split(" - ")[0].split(" ")) for line in output.splitlines() if "test_it.py::" in line)
    found = {
        store: [outcomes[f"test_it.py::Test{store}::{test}[sync]"] for test in OUT_OF_REACH]
        for store in ("Right", "ShowsTheSecret", "RaisesSomethingElse", "StaysDown")
    }
    assert found == {
        "Right": ["PASSED", "PASSED", "PASSED"],
        "ShowsTheSecret": ["FAILED", "PASSED", "PASSED"],
        "RaisesSomethingElse": ["FAILED", "FAILED", "PASSED"],
        "StaysDown": ["PASSED", "FAILED", "PASSED"],
    }


OUT_OF_REACH = [
    "test_c26_an_engine_out_of_reach_is_reported",
    "test_c26_the_same_store_works_after_a_restart",
    "test_c23_identifiers_are_checked_before_connecting",
]


@pytest.mark.parametrize("suite", [ConversationStoreSuite, StateStoreSuite, KnowledgeStoreSuite])
def test_every_clause_has_a_test(suite):
    tested = set()
    for name in dir(suite):
        if name.startswith("test_"):
            test = getattr(suite, name)
            word = name.split("_")[1]
            tested.add(word if word == MODEL else word.upper())
            tested.update(*(mark.args for mark in getattr(test, "pytestmark", []) if mark.name == "clause"))
    assert tested >= {*CLAUSES[suite.kind], MODEL}


# --------------------------------------------------------------------------------------------- races, children, portals


class TestHarness(StoreSuite):
    """Uses the fixtures as a suite does, on a store that is known."""

    kind = "conversation"

    @pytest.fixture
    def spec(self):
        return MEMORY.with_options(name=str(uuid.uuid4()))

    async def test_stores_are_awaited_whatever_their_mode(self, store, open_store, mode):
        assert type(raw(store)).__name__ == ("Async" if mode == "async" else "") + "MemoryConversationStore"
        assert declares(store, "fork")
        await store.create_session(ConversationSession("s"))
        assert (await open_store().get_session("s")).session_id == "s"
        assert await open_store(table_prefix="other_").get_session("s") is None

    async def test_a_race_gives_back_what_each_did(self, store, race):
        async def body(worker):
            if worker == 2:
                raise LookupError(worker)
            await store.create_session(ConversationSession(str(worker)))
            return worker

        results = await race(body, workers=4)
        assert results[:2] + results[3:] == [0, 1, 3]
        assert isinstance(results[2], LookupError)
        returned, errors = split(results, LookupError)
        assert (returned, len(errors)) == ([0, 1, 3], 1)
        with pytest.raises(LookupError):
            split(results, ValueError)
        assert len(await store.list_sessions()) == 3

    async def test_a_child_reports_and_returns(self, spawn, bodies):
        child = await spawn(f"{bodies}:echo", times=2)
        child.go()
        for value in ("\ud800\0", {"a": [1, None]}):
            child.send(value)
            assert await child.report() == value
        assert await child.result() == "done"

    async def test_a_child_that_fails_says_why(self, spawn, bodies):
        child = await spawn(f"{bodies}:fails")
        child.go()
        with pytest.raises(pytest.fail.Exception, match="no such luck"):
            await child.result()

    async def test_a_silent_child_says_where_it_stands(self, spawn, bodies, monkeypatch):
        child = await spawn(f"{bodies}:echo", times=1)
        child.go()
        monkeypatch.setattr(_children, "TIME_LIMIT", 5.0)
        with pytest.raises(pytest.fail.Exception, match=r"(?s)said nothing for 5 seconds; it stood here:.* in receive"):
            await child.report()

    async def test_a_child_that_does_not_end_says_where_it_stands(self, spawn, bodies, monkeypatch):
        child = await spawn(f"{bodies}:lingers")
        child.go()
        monkeypatch.setattr(_children, "TIME_LIMIT", 5.0)
        with pytest.raises(
            pytest.fail.Exception, match=r"(?s)after its result, 'all but the end'; it stood here:.* in for_ever"
        ):
            await child.result()

    async def test_a_child_that_vanishes_is_noticed(self, spawn, bodies):
        child = await spawn(f"{bodies}:vanishes")
        child.go()
        assert await child.report() == "last words"
        with pytest.raises(pytest.fail.Exception, match="printed before it went"):
            await child.report()

    @pytest.mark.crash
    async def test_a_killed_child_keeps_what_it_reported(self, spawn, bodies, moments):
        assert len(moments) == self.crash_trials
        for reports, delay in moments[:2]:
            child = await spawn(f"{bodies}:counts")
            child.go()
            told = await child.kill_after(reports, delay)
            assert len(told) >= reports
            assert told == list(range(len(told)))

    @pytest.fixture
    def bodies(self, tmp_path, monkeypatch):
        (tmp_path / "some_bodies.py").write_text(
            textwrap.dedent(
                """
                import itertools, os, sys, threading

                def for_ever():
                    threading.Event().wait()

                async def lingers(store, parent):
                    threading.Thread(target=for_ever).start()
                    return "all but the end"

                async def echo(store, parent, times):
                    print("what is printed goes elsewhere")
                    for _ in range(times):
                        parent.report(parent.receive())
                    return "done"

                async def fails(store, parent):
                    raise LookupError("no such luck")

                async def vanishes(store, parent):
                    print("printed before it went", flush=True)
                    parent.report("last words")
                    os._exit(1)

                async def counts(store, parent):
                    for number in itertools.count():
                        parent.report(number)
                """
            ),
            encoding="utf-8",
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        return "some_bodies"


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_portal_calls_stores_from_sync_code(mode):
    portal = Portal(MEMORY.with_options(name=str(uuid.uuid4())), mode)
    one, other = portal.open(), portal.open()
    portal.run(one.create_session(ConversationSession("s")))
    assert portal.run(other.get_session("s")).session_id == "s"
    portal.close()
    another = Portal(MEMORY, mode)
    with pytest.raises(StoreClosedError):
        another.run(one.connect())
    another.close()


def test_a_portal_ends_what_was_begun_in_it(leftovers):
    portal = Portal(MEMORY.with_options(name=str(uuid.uuid4())), "async")
    portal.run(leftovers.begin())
    portal.close()
    assert leftovers.seen == ["asked", "followed", "asked again"]
    assert [task.done() for task in leftovers.tasks] == [True, True, True]


def test_a_body_that_waits_for_more_than_a_store_is_refused():
    class Waits:
        def __await__(self):
            yield

    async def body():
        await Waits()

    with pytest.raises(RuntimeError, match="only store calls"):
        drive(body())


def test_a_spec_survives_the_way_to_another_process():
    spec = MEMORY.with_options(name="\ud800", table_prefix="x_")
    assert StoreSpec.from_json(spec.to_json()) == spec
    assert spec.has("sync")
    assert not StoreSpec("state", sync="a:b").has("async")
    with pytest.raises(ValueError, match="no async store"):
        StoreSpec("state", sync="a:b").open_async()


def test_the_plugin_costs_nothing_where_no_suite_is_used():
    code = """if True:
        import sys
        import praisonai_persistence.testing
        assert "pytest" not in sys.modules, "importing the package imports pytest"
        import praisonai_persistence.testing._plugin
        print(*(name for name in ("anyio", "hypothesis", "asyncio") if name in sys.modules))
        print(praisonai_persistence.testing.StoreSpec)
        from praisonai_persistence.testing import _child
        print(*(name for name in ("pytest.x", "anyio", "hypothesis") if name in sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "<class 'praisonai_persistence.testing.spec.StoreSpec'>", ""]


# -------------------------------------------------------------------------------------------------------------- corpus


def test_hostile_values_can_be_stored_and_are_all_different():
    for ids in (corpus.HOSTILE_IDS, corpus.HOSTILE_KEYS, corpus.HOSTILE_TEXTS):
        assert len(set(ids)) == len(ids)
    for item in corpus.HOSTILE_IDS:
        assert payload.check_id(item) == item
    for key in corpus.HOSTILE_KEYS:
        assert payload.check_key(key) == key
    for text in corpus.HOSTILE_TEXTS + corpus.LARGE_TEXTS:
        assert payload.decode_text(payload.encode_text(text)) == text
    for value in corpus.HOSTILE_JSON:
        assert corpus.identical(payload.loads(payload.dumps(value)), value)
    assert [len(text.encode()) // 1_000_000 for text in corpus.LARGE_TEXTS] == [1, 5]


@pytest.mark.parametrize("number", range(len(corpus.REFUSED_JSON)))
def test_refused_values_are_refused(number):
    for value in (corpus.REFUSED_JSON[number], [corpus.REFUSED_JSON[number]], {"x": corpus.REFUSED_JSON[number]}):
        with pytest.raises(SerializationError):
            payload.dumps(value)


def test_refused_ids_keys_and_identifiers_are_refused():
    for item in corpus.REFUSED_IDS:
        with pytest.raises(InvalidValueError):
            payload.check_id(item)
    for key in corpus.REFUSED_KEYS:
        with pytest.raises(InvalidValueError):
            payload.check_key(key)
    for identifier in corpus.REFUSED_IDENTIFIERS:
        with pytest.raises(InvalidIdentifierError):
            payload.check_prefix(identifier)
        with pytest.raises(InvalidIdentifierError):
            payload.check_identifier(identifier, "collection")


def test_identical_is_strict():
    same = [None, True, 1, 1.0, -0.0, "1", [1, {"a": []}], {"a": 1, "b": 2}]
    for number, value in enumerate(same):
        for other, another in enumerate(same):
            assert bool(corpus.identical(value, another)) is (number == other)
    assert corpus.identical({"b": 2, "a": 1}, {"a": 1, "b": 2})
    assert not corpus.identical(0.0, -0.0)
    assert not corpus.identical([1], [1, 2])
    assert not corpus.identical({"a": 1}, {"A": 1})
    assert corpus.shorten("\ud800" * 500).isascii()


# ------------------------------------------------------------------------------- what the children of the lifecycle say

FORKS = """
import signal
from praisonai_persistence.testing import _lifecycle_bodies as bodies

async def fail():
    raise LookupError("nothing there" + "!" * 100_000)

async def hang():
    signal.pause()

bodies.CHILD_LIMIT = 2
for body in fail, hang:
    print(bodies._ended(bodies._fork(body, sync=True)))
"""

LOOPS = """
import asyncio
from praisonai_persistence.testing import StoreSpec
from praisonai_persistence.testing._interrupts import interrupted_loops

async def main():
    spec = StoreSpec("conversation", async_="praisonai_persistence.memory:AsyncMemoryConversationStore")
    async with spec.open("async") as store:
        found = await interrupted_loops(store, None, spec.to_json(), 5)
    print(found["visited"], *found["findings"], sep="\\n")

asyncio.run(main())
"""


def _printed_by(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_says_why_it_failed_and_where_it_hangs():
    failed, hung = _printed_by(FORKS).split("hung\n")
    assert failed.startswith("failed\n")
    assert failed.rstrip().endswith("!" * 1000)
    assert "in hang" in hung


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot interrupt itself there")
def test_an_error_before_the_interrupt_is_the_finding():
    # A store of its own, so what the others prepared is not there: a loop ends with that, and is interrupted then,
    # unless the interrupt was faster.
    visited, *lines = _printed_by(LOOPS).splitlines()
    assert visited == "5"
    found = [line for line in lines if line.startswith("praisonai_persistence.errors.")]
    assert found
    assert all("SessionNotFoundError" in line for line in found)
