"""Session tokens: which of two has seen more."""

from __future__ import annotations

import re

__all__ = ["newer"]

_TOKEN = re.compile(r"([^:,]+):(?:(-?\d+)#)?(\d+)(?:#[^:,]*)?")


def newer(kept: str | None, found: str | None) -> str | None:
    """Return the one of two tokens of a partition with which a read sees more.

    A token is ``RANGE:VERSION#NUMBER``, and ``#REGION=NUMBER`` behind it for other regions, or ``RANGE:NUMBER``. Writes
    are numbered; the version grows when the account's regions change. A range that is split or merged gets another
    name, and counts on: then the numbers are compared, as the service's own clients do.

    Args:
        kept: the newest until now, if there is one.
        found: that of an answer, if it has one. It is returned where the two cannot be compared.
    """
    if kept is None or found is None:
        return kept or found
    one, other = _TOKEN.fullmatch(kept), _TOKEN.fullmatch(found)
    if one is None or other is None:
        return found
    same = one[1] == other[1]
    return kept if _order(one, versions=same) > _order(other, versions=same) else found


def _order(token: re.Match[str], *, versions: bool) -> tuple[int, int]:
    return int(token[2] or 0) if versions else 0, int(token[3])
