"""The parts of a content that a full-text index has, and the budget of a step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from praisonai_persistence.payload import encode_text
from praisonai_persistence.stores import searching
from praisonai_persistence.stores.conversation import query_words
from praisonai_persistence.stores.searching import Budget, has_words, rarest, words_of_part

TEXTS = st.lists(st.text(st.characters() | st.sampled_from("ab\u0130 _-\0\x1a\ud800"), max_size=12), max_size=30).map(
    " ".join
)


def parts_of(content):
    parts, start = [], 0
    while start is not None:
        words, end = words_of_part(content, start)
        assert end is None or end > start, "it does not get on"
        parts.append(words)
        start = end
    return parts


@given(TEXTS, st.integers(1, 40))
def test_the_parts_together_have_the_words_of_the_whole(text, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "PART", size)
        parts = parts_of(encode_text(text))
    assert {word for part in parts for word in part} == set(query_words(text))
    assert all(len(set(part)) == len(part) for part in parts)


def test_a_short_content_is_one_part():
    assert words_of_part("The the\x1a0000fox") == (["the", "fox"], None)


def test_a_long_word_is_not_cut():
    long = "x" * (3 * searching.PART)
    assert words_of_part(f"a {long}") == (["a", long], None)
    words, end = words_of_part(f"a {long} b")
    assert words == ["a", long]
    assert words_of_part(f"a {long} b", end) == (["b"], None)


def test_a_content_has_words():
    assert has_words(encode_text("The quick\0fox"), ["the", "fox"])
    assert not has_words("foxes", ["fox"])


def test_the_longest_word_is_taken_for_the_rarest():
    assert rarest(["a", "needle", "in"]) == "needle"


def test_a_budget_is_spent_by_items_and_by_characters():
    budget = Budget(10, 2)
    assert not budget.spent()
    budget.spend(3)
    assert not budget.spent()
    budget.spend()
    assert budget.spent()
    budget = Budget(10, 2)
    budget.spend(10)
    assert budget.spent()
