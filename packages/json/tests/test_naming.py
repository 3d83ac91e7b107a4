"""File names: one to one, and safe on every file system."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from praisonai_persistence_json._files import file_stem

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=255)
NASTY_IDS = st.text("aAbB%+~-_.é0149 /\\", min_size=1, max_size=6)
LONG_IDS = st.text("aA😀", min_size=50, max_size=255)
DEVICES = ["con", "prn", "aux", "nul", "com1", "com9", "lpt1", "lpt9"]


def decoded(stem: str) -> str:
    """The inverse of a stem that was not cut."""
    assert "~" not in stem
    parts = re.findall(r"%([0-9a-f]{2})|\+([a-z])|([a-z0-9_-])", stem)
    assert sum(3 if byte else 2 if upper else 1 for byte, upper, _ in parts) == len(stem)
    raw = b"".join(bytes.fromhex(byte) if byte else (upper.upper() or plain).encode() for byte, upper, plain in parts)
    return raw.decode()


@given(IDS | NASTY_IDS | LONG_IDS)
def test_names_are_safe_everywhere_and_can_be_read_back(session_id: str) -> None:
    stem = file_stem(session_id)
    assert re.fullmatch(r"[a-z0-9_+%~-]{1,120}", stem)
    assert stem not in DEVICES
    assert not stem.startswith(("-", "~"))
    if "~" in stem:
        assert re.fullmatch(r"[^~]{40}~[0-9a-f]{64}", stem)
    else:
        assert decoded(stem) == session_id


@given(st.lists(IDS | NASTY_IDS | LONG_IDS, unique=True, min_size=2))
def test_different_ids_have_different_names(ids: list[str]) -> None:
    assert len({file_stem(session_id) for session_id in ids}) == len(ids)


@given(IDS | LONG_IDS)
def test_a_name_that_is_used_as_an_id_gets_another_name(session_id: str) -> None:
    stem = file_stem(session_id)
    if stem != session_id:
        assert file_stem(stem) != stem


@pytest.mark.parametrize(
    ("session_id", "stem"),
    [
        ("chat-42", "chat-42"),
        ("bot_telegram_123", "bot_telegram_123"),
        ("0b8e5d1c-53a9-4b5e-a5bd-2f3c1b7c6a10", "0b8e5d1c-53a9-4b5e-a5bd-2f3c1b7c6a10"),
        ("MyChat", "+my+chat"),
        ("../../x", "%2e%2e%2f%2e%2e%2fx"),
        ("con", "%63on"),
        ("CON", "+c+o+n"),
        ("com1", "%63om1"),
        ("nul.txt", "nul%2etxt"),
        ("end. ", "end%2e%20"),
        ("-rf", "%2drf"),
        (".locks", "%2elocks"),
        ("é", "%c3%a9"),
    ],
)
def test_examples(session_id: str, stem: str) -> None:
    assert file_stem(session_id) == stem


def test_long_ids_are_cut_and_told_apart_by_a_hash() -> None:
    stem = file_stem("😀" * 255)
    assert len(stem) == 105
    assert stem != file_stem("😀" * 254)
    assert file_stem("a" * 120) == "a" * 120
    assert file_stem("a" * 121).startswith("a" * 40 + "~")
    # An id that looks like the name of another is no plain name.
    assert file_stem(file_stem("a" * 121)) != file_stem("a" * 121)


def test_names_that_a_file_system_may_take_for_one() -> None:
    for one, other in [("A", "a"), ("ß", "SS"), ("x", "x."), ("x", "x "), ("ı", "i")]:
        assert file_stem(one).casefold() != file_stem(other).casefold()
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    assert file_stem(composed) != file_stem(decomposed)
    assert file_stem(composed).isascii()
