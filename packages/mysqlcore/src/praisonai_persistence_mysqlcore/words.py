"""Words as the full-text index of the server takes them.

The server's own idea of words differs from ours (short and common ones are left out, ``_`` is a letter, accents are
folded), so the index holds a code for each word instead: ten letters and digits, within every limit for the length of
words, and nobody's stop word. Two words may share a code, so what the index finds is looked at again.
"""

from __future__ import annotations

from base64 import b32encode
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from praisonai_persistence.stores.searching import words_of_part

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ANY", "code_of", "codes_of", "match_of"]

_MANY = 20_000  # different words of one message
ANY = "zzzzzzzzzz9"
"""What the index holds of a message with more; 9 stands in no code."""
_SEARCHED = 50  # words of a query that the index is asked for


@lru_cache(50_000)
def code_of(word: str) -> str:
    """Return what the index holds of a word in lower case."""
    return b32encode(blake2b(word.encode(), digest_size=6).digest())[:10].decode().lower()


def codes_of(content: str) -> str:
    """Return what the index holds of a stored content."""
    words: dict[str, None] = {}
    start: int | None = 0
    while start is not None:
        some, start = words_of_part(content, start)
        words.update(dict.fromkeys(some))
        if len(words) > _MANY:
            return ANY
    return " ".join(map(code_of, words))


def match_of(words: Sequence[str]) -> str:
    """Return the boolean expression that finds all contents with these words, and hardly any other."""
    return f"({' '.join('+' + code_of(word) for word in words[:_SEARCHED])}) {ANY}"
