"""Glob patterns, against a matcher that is written another way."""

import subprocess
import sys
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from praisonai_persistence.globs import compile_glob, escape_glob, literal_prefix


def tokens(pattern):
    """Split a pattern into ("any",), ("set", negated, predicate list) and ("text", character)."""
    while pattern:
        head, pattern = pattern[0], pattern[1:]
        if head == "*":
            yield ("any",)
        elif head == "?":
            yield ("set", True, [])
        elif head == "\\" and pattern:
            yield ("text", pattern[0])
            pattern = pattern[1:]
        elif head == "[" and (found := bracket(pattern)):
            negated, ranges, pattern = found
            yield ("set", negated, ranges)
        else:
            yield ("text", head)


def bracket(rest):
    """Return (negated, [(low, high)], what follows) of the text after a ``[``, or None without its ``]``."""
    negated = rest.startswith("!")
    rest = rest[negated:]
    members = []
    while rest and (rest[0] != "]" or not members):
        literal = rest[0] == "\\" and len(rest) > 1
        members.append((rest[literal], literal))
        rest = rest[1 + literal :]
    if not rest:
        return None
    ranges = []
    while members:
        if len(members) >= 3 and members[1] == ("-", False):
            ranges.append((members[0][0], members[2][0]))
            members = members[3:]
        else:
            ranges.append((members[0][0], members[0][0]))
            members = members[1:]
    return negated, ranges, rest[1:]


def oracle(pattern, text):
    """Match by the set of positions that the pattern's tokens can have reached."""
    reached = {0}
    for token in tokens(pattern):
        if token[0] == "any":
            reached = set(range(min(reached), len(text) + 1)) if reached else reached
        elif token[0] == "text":
            reached = {at + 1 for at in reached if text[at : at + 1] == token[1]}
        else:
            _, negated, ranges = token
            reached = {
                at + 1
                for at in reached
                if at < len(text) and any(low <= text[at] <= high for low, high in ranges) != negated
            }
    return len(text) in reached


ALPHABET = "abc-]![\\*?^.\n&~|d\U0001f600"
PATTERNS = st.lists(
    st.sampled_from([*ALPHABET, "[a-c]", "[!a-c]", "[c-a]", "[!c-a]", "[]a]", "[!]a]", "[a-]", "[a\\]b]", "\\*", "**"]),
    max_size=8,
).map("".join)
TEXTS = st.text(ALPHABET, max_size=8)


@given(PATTERNS, TEXTS)
@example("[&&~~||--]", "&")
@example("[[a]]", "[]")
@example("[a-c-e]", "-")
@example("[\\a-c]", "b")
@example("[a\\-c]", "b")
@example("*\\", "a\\")
@example("a*b*c", "axxbxbxc")
@example("*a*0", "aa0")
def test_globs_match_what_the_oracle_matches(pattern, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # re warns of what may become set operations
        compiled = compile_glob(pattern)
    assert bool(compiled.fullmatch(text)) == oracle(pattern, text)


@given(PATTERNS, TEXTS)
def test_every_match_starts_with_the_literal_prefix(pattern, text):
    prefix = literal_prefix(pattern)
    assert pattern.startswith(prefix)
    assert not set(prefix) & set("*?[\\")
    if compile_glob(pattern).fullmatch(text):
        assert text.startswith(prefix)


@given(st.text(max_size=12))
def test_escaped_text_matches_itself_only(text):
    pattern = "".join("\\" + character for character in text)
    assert compile_glob(pattern).fullmatch(text)
    assert not compile_glob(pattern).fullmatch(text + "x")
    assert compile_glob("*").fullmatch(text)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["", "a", "a\nb", "😀"], []),
        ("", [""], ["a"]),
        ("?", ["a", "\n", "😀"], ["", "ab"]),
        ("a*", ["a", "ab", "a\n"], ["", "ba", "A"]),
        ("*.txt", [".txt", "a.txt"], ["atxt", "a.txt\n"]),
        ("[a-c]", ["a", "b", "c"], ["d", "", "-", "A"]),
        ("[!a-c]", ["d", "-", "\n"], ["a", ""]),
        ("[]]", ["]"], ["[", ""]),
        ("[!]]", ["a"], ["]"]),
        ("[", ["["], [""]),
        ("[a", ["[a"], ["a"]),
        ("[!", ["[!"], []),
        ("[]", ["[]"], ["", "]"]),
        ("[z-a]", [], ["a", "z", "-"]),
        ("[!z-a]", ["a", "z", "\n"], ["", "ab"]),
        ("[^a]", ["^", "a"], ["b"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("\\*", ["*"], ["a", "\\*"]),
        ("\\", ["\\"], [""]),
        ("a\\?b", ["a?b"], ["axb"]),
        ("a.b", ["a.b"], ["axb"]),
        ("a_%b", ["a_%b"], ["axxb"]),
        ("(a|b)+$", ["(a|b)+$"], ["a"]),
    ],
)
def test_examples(pattern, matching, others):
    compiled = compile_glob(pattern)
    assert [text for text in matching if not compiled.fullmatch(text)] == []
    assert [text for text in others if compiled.fullmatch(text)] == []


def test_literal_prefix_examples():
    given_and_wanted = {"": "", "a": "a", "a*b": "a", "a?": "a", "a[b]": "a", "a\\*": "a", "*": "", "a%_b]!*": "a%_b]!"}
    assert {pattern: literal_prefix(pattern) for pattern in given_and_wanted} == given_and_wanted


@given(st.text("*?[]\\!-ab\n"), st.text("*?[]\\!-ab\n"))
def test_an_escaped_text_matches_itself_alone(text, other):
    assert compile_glob(escape_glob(text)).fullmatch(text)
    assert bool(compile_glob(escape_glob(text)).fullmatch(other)) == (text == other)


def test_many_stars_do_not_explode():
    # In a process of its own: a match that backtracks without end cannot be interrupted.
    code = (
        "from praisonai_persistence.globs import compile_glob\n"
        "assert not compile_glob('*a' * 20 + 'b').fullmatch('a' * 1024)\n"
        "assert compile_glob('*a' * 20 + '*b').fullmatch('a' * 1023 + 'b')\n"
        "assert not compile_glob('*[ab]?' * 20 + 'c').fullmatch('ab' * 512)\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_brackets_that_never_close_cost_no_more_than_other_characters():
    code = (
        "from praisonai_persistence.globs import compile_glob\n"
        "assert compile_glob('[' * 1024).fullmatch('[' * 1024)\n"
        "assert compile_glob('[ab]' + '[!' * 500).fullmatch('a' + '[!' * 500)\n"
        "assert not compile_glob('[' * 200_000).fullmatch('[' * 1024)\n"
        "assert not compile_glob('[ab]' + '[!' * 100_000).fullmatch('a' + '[!' * 500)\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)  # the square of it would take ten minutes


@pytest.mark.parametrize("part", ["a", "[", "*a", "*[", "*[a-z]", "*?", "\\a", "*\\["])
def test_a_pattern_that_takes_more_characters_than_a_key_has_matches_nothing(part):
    text = "[" if "[" in part and "-" not in part else "a"
    assert compile_glob(part * 1024).fullmatch(text * 1024)
    for times in (1025, 50_000):
        compiled = compile_glob(part * times)
        assert compiled.groups == 0  # it is no expression of so many parts
        assert not compiled.fullmatch(text * 1024)
        assert not compiled.fullmatch(text * 1025)
    assert compile_glob("*" * 50_000 + part + "*" * 50_000).fullmatch("x" + text + "y")
