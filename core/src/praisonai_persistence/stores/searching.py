"""Full-text indexes that are filled by searches, in steps of bounded size, so that writers get their turn between them.

A long message becomes several rows of an index. Each has the words of one part of the content. So a query for several
words also asks for the parts that have the rarest of them, and what it finds is looked at once more (``has_words``).
"""

from __future__ import annotations

from praisonai_persistence.payload import decode_text
from praisonai_persistence.stores.conversation import query_words, word_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["PART", "Budget", "has_words", "rarest", "words_of_part"]

PART = 128_000
"""Characters of a message that become one row of an index."""


class Budget:
    """What one step may still do; it does at least one thing.

    Args:
        characters: of content that are indexed.
        items: messages and sessions that are looked at.
    """

    __slots__ = ("_characters", "_items")

    def __init__(self, characters: int, items: int) -> None:
        self._characters = characters
        self._items = items

    def spend(self, characters: int = 0) -> None:
        """Take one item, and so many characters, off."""
        self._characters -= characters
        self._items -= 1

    def spent(self) -> bool:
        """Whether the step has to end."""
        return self._characters <= 0 or self._items <= 0


def words_of_part(content: str, start: int = 0) -> tuple[list[str], int | None]:
    """Return the words of one part of a stored content, and where the next part starts; None: there is none.

    Args:
        content: as it is stored.
        start: where the part starts: 0, or what was returned for the part before.
    """
    text = decode_text(content).lower()
    end = start + PART
    if end >= len(text):
        return list(dict.fromkeys(word_pattern().findall(text, start))), None
    cut = word_pattern().match(text, end - 1)  # a word that goes on behind the end belongs to this part
    if cut is not None:
        end = cut.end()
    words = list(dict.fromkeys(word_pattern().findall(text, start, end)))
    return words, end if end < len(text) else None


def has_words(content: str, words: Iterable[str]) -> bool:
    """Whether a stored content has all of these words."""
    return set(words).issubset(query_words(decode_text(content)))


def rarest(words: Sequence[str]) -> str:
    """Return the word that the fewest messages are likely to have: the longest."""
    return max(words, key=len)
