"""What a failed test of the kit says: what was expected, what is missing, the clause and its place."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from praisonai_persistence.testing import corpus
from praisonai_persistence.testing._compare import LENGTH, differences, explain, identical, shorten
from praisonai_persistence.testing._explain import places

MISTAKES = """
    from praisonai_persistence.memory import MemoryConversationStore

    class Broken(MemoryConversationStore):
        def get_messages(self, session_id, *arguments, **options):
            found = super().get_messages(session_id, *arguments, **options)
            return [*found[1:], *found[-1:]]

    class TestBroken(Memory):
        modes = ("sync",)

        @pytest.fixture
        def spec(self):
            return StoreSpec("conversation", sync="test_it:Broken", options={"name": str(uuid.uuid4())})
"""


def test_a_failure_ends_with_its_clause(run):
    output = run(MISTAKES, "-k", "c02_its_messages_too", "-p", "no:randomly")
    lines = output.split("short test summary")[0].splitlines()
    assert "E         missing: 'a'" in lines
    assert "E         found more often than expected: 'b'" in lines
    assert "tested: its messages too" in lines
    assert lines[lines.index("tested: its messages too") :][-2].startswith('C02 "Creating a session twice is refused')
    assert lines[-2].endswith(" - docs/contract.md#c02")


@pytest.mark.parametrize(
    ("module", "title", "place"),
    [
        ("praisonai_persistence.testing.sessions._methods", "What all of them promise", "what-all-of-them-promise"),
        ("praisonai_persistence.testing.sessions._hierarchy", "Forks, snapshots, shares", "forks-snapshots-shares"),
    ],
)
def test_session_stores_are_told_by_the_parts_of_their_page(module, title, place):
    assert places("session", [""], module) == [f'session stores "{title}" - docs/sessions.md#{place}']


def test_tests_of_other_modules_are_explained_by_pytest(run):
    output = run("def test_lists():\n    assert ['a', 'b'] == ['b']\n")
    assert "missing: " not in output
    assert "contract" not in output


def test_lists_are_told_by_their_items():
    assert explain("==", ["a", "b", "b"], ["b", "c"]) == [
        "found == expected: 2 items expected, 3 found",
        "missing: 'c'",
        "not expected: 'a'",
        "found more often than expected: 'b'",
    ]
    assert explain("==", [1, 3, 2], [1, 2, 3])[1] == (
        "the same items in another order: at position 1 expected 2, found 3"
    )
    many = explain("==", [], list(range(1000)))
    assert many[1] == "missing: 0, 1, 2, 3, 4, and 995 more"
    assert explain("==", {1: "x"}.keys(), {1, 2})[1] == "missing: 2"


def test_differences_say_where():
    found = {"a": {"b": [1, 2.0]}, "extra": 1}
    expected = {"a": {"b": [1, 2]}, "missing": 1}
    assert list(differences(found, expected)) == [
        "missing: 'missing'",
        "not expected: 'extra'",
        "a.b[1]: expected 2, found 2.0",
    ]
    assert repr(identical(found, expected)) == "different: missing: 'missing'; and 2 more differences"
    assert repr(identical(found, found)) == "the same"


@pytest.mark.parametrize(
    "value",
    [*corpus.HOSTILE_TEXTS, *corpus.LARGE_TEXTS, *corpus.HOSTILE_JSON, *corpus.HOSTILE_KEYS, *corpus.REFUSED_KEYS],
    ids=lambda value: ascii(value)[:20],
)
def test_no_value_takes_more_than_its_place(value):
    text = shorten(value)
    assert len(text) <= LENGTH
    assert text.isascii()


def test_every_long_value_of_the_corpus_has_a_name():
    texts = [*corpus.HOSTILE_TEXTS, *corpus.LARGE_TEXTS, *corpus.HOSTILE_KEYS]
    texts += [text for text in corpus.REFUSED_IDS + corpus.REFUSED_KEYS if isinstance(text, str)]
    assert [text[:20] for text in texts if len(text) > 60 and text not in corpus.TEXT_NAMES] == []
    objects = [value for value in corpus.HOSTILE_JSON if isinstance(value, (dict, list))]
    assert [value for value in objects if len(ascii(value)) > 60 and "<" not in shorten(value)[:1]] == []
    names = list(corpus.TEXT_NAMES.values())
    assert len(names) == len(set(names))
    assert shorten("k" * 1025).startswith("<1,025 times k> 'kkk")


def test_texts_that_differ_late_say_where():
    assert next(differences("x" * 50 + "a", "x" * 50 + "b")).endswith("(they differ from character 50 on)")
    assert next(differences("x" * 50, "x" * 60)).endswith("(cut, or continued, after 50 characters)")


def test_the_table_of_mutants_is_complete():
    folder = Path(__file__).parent
    sys.path.insert(0, str(folder))
    try:
        modules = [import_module(f"mutants.{kind}") for kind in ("conversation", "state", "knowledge", "sessions")]
        names = [getattr(mutant, "name", None) or mutant.__name__ for module in modules for mutant in module.ALL]
    finally:
        sys.path.remove(str(folder))
    text = (folder / "mutants/README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\*\*(\w+)\*\*: ", text, re.MULTILINE) == names
    for part in text.split("\n**")[1:]:
        assert "\ntested: " in part, "a failure that does not say what was tested"
