"""PostgreSQL's full-text index, for the backends that have the same tables: words are lexemes of a ``tsvector``."""

from __future__ import annotations

import hashlib

from praisonai_persistence.stores.searching import rarest, words_of_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["INDEX", "TABLES", "lexeme", "lexemes_of_part", "query_of"]

INDEX = "search_by_word"
"""The name, without prefix, of the index; the tables are those of ``SEARCH_TABLES``."""

TABLES = (
    """CREATE TABLE IF NOT EXISTS {search_words} (
        session_id {t_id}, seq {t_int}, part {t_int}, created_at {t_real} NOT NULL, words TSVECTOR NOT NULL,
        PRIMARY KEY (session_id, seq, part)
    )""",
    "CREATE INDEX IF NOT EXISTS {search_by_word} ON {search_words} USING gin (words)",
    """CREATE TABLE IF NOT EXISTS {search_progress} (
        session_id {t_id} PRIMARY KEY, up_to {t_int} NOT NULL, start {t_int} NOT NULL, part {t_int} NOT NULL
    )""",
)

_LONGEST_WORD = 255  # bytes; of longer words the index has a digest
_OF_SEVERAL = "'_'"  # in each row of the index that has a part of a message only; stands in no word


def lexeme(word: str) -> str:
    """Return a word as the index has it. Words are letters and digits, so nothing needs quoting."""
    data = word.encode()
    return word if len(data) <= _LONGEST_WORD else f"{word[:40]}_{hashlib.sha256(data).hexdigest()}"


def lexemes_of_part(content: str, start: int) -> tuple[str, int | None]:
    """Return what ``words`` holds of a part of a content, and where the next part starts; see ``words_of_part``."""
    words, end = words_of_part(content, start)
    lexemes = [f"'{lexeme(word)}'" for word in words]
    if start or end is not None:
        lexemes.append(_OF_SEVERAL)
    return " ".join(lexemes), end


def query_of(words: Sequence[str]) -> str:
    """Return the ``tsquery`` that finds at least all messages with these words."""
    lexemes = [f"'{lexeme(word)}'" for word in words]
    if len(lexemes) == 1:
        return lexemes[0]
    return f"({' & '.join(lexemes)}) | ({_OF_SEVERAL} & '{lexeme(rarest(words))}')"
