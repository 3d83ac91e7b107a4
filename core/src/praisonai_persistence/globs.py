"""The glob patterns of ``StateStore.keys``: one meaning on every engine, whatever its own patterns mean."""

from __future__ import annotations

import re

from praisonai_persistence._checks import MAX_KEY_BYTES

__all__ = ["compile_glob", "escape_glob", "literal_prefix"]

_SPECIAL = "*?[\\"


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Return a regular expression for ``fullmatch``.

    ``*`` any text, ``?`` one character, ``[a-z]`` one of these, ``[!x]`` one that is not, and a backslash takes the
    next character literally, also inside brackets. A ``[`` without its ``]`` is a plain character, and so is a ``]``
    that stands first in its brackets. Newlines are characters like any other. A pattern that takes more characters than
    a key can have matches nothing, so that the longest is no more work than reading it.
    """
    parts: list[list[str]] = [[]]  # what stands between the stars, an expression for each character
    position = 0
    closing = True  # whether there may be brackets that end: if one pair does not, none behind it does
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            parts.append([])
        elif character == "?":
            parts[-1].append(".")
        elif character == "\\" and position < len(pattern):
            parts[-1].append(re.escape(pattern[position]))
            position += 1
        elif character == "[" and closing:
            found = _brackets(pattern, position)
            closing = found is not None
            expression, position = found or (re.escape(character), position)
            parts[-1].append(expression)
        else:
            parts[-1].append(re.escape(character))
    if sum(map(len, parts)) > MAX_KEY_BYTES:
        return re.compile("(?!)")
    first, *others = ("".join(part) for part in parts)
    if not others:
        return re.compile(first, re.DOTALL)
    # Of each part in between, its first occurrence is as good as any later one. A lookahead is not tried again once it
    # matched, so that many stars cost no more than few.
    between = [f"(?=(?P<part{n}>.*?{part}))(?P=part{n})" for n, part in enumerate(others[:-1]) if part]
    return re.compile(f"{first}{''.join(between)}.*{others[-1]}", re.DOTALL)


def _brackets(pattern: str, position: int) -> tuple[str, int] | None:
    """Return the regular expression of the brackets that open before ``position``, and where they end; or None."""
    negated = pattern[position : position + 1] == "!"
    position += negated
    members: list[tuple[str, bool]] = []  # character, and whether it was escaped
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "]" and members:
            break
        escaped = character == "\\" and position < len(pattern)
        if escaped:
            character = pattern[position]
            position += 1
        members.append((character, escaped))
    else:
        return None
    out: list[str] = []
    index = 0
    while index < len(members):
        low = members[index][0]
        if index + 2 < len(members) and members[index + 1] == ("-", False):
            high = members[index + 2][0]
            if low <= high:  # an empty range matches nothing
                out.append(f"{re.escape(low)}-{re.escape(high)}")
            index += 3
        else:
            out.append(re.escape(low))
            index += 1
    if not out:
        return ("." if negated else "(?!)"), position
    return f"[{'^' if negated else ''}{''.join(out)}]", position


def literal_prefix(pattern: str) -> str:
    """Return the text that every match starts with, up to the first special character."""
    for position, character in enumerate(pattern):
        if character in _SPECIAL:
            return pattern[:position]
    return pattern


def escape_glob(text: str) -> str:
    """Return the pattern that a text alone matches."""
    return re.sub(r"([\\*?\[])", r"\\\1", text)
