"""What a store says of the state of its own files.

Stores that can look into their files have the method ``check_integrity(seconds=30.0) -> Integrity`` (awaited on async
stores): it changes nothing, and stops after so many seconds.
"""

from __future__ import annotations

from praisonai_persistence._declare import dataclass

__all__ = ["Integrity"]


@dataclass(frozen=True, slots=True)
class Integrity:
    """What was found.

    Attributes:
        problems: in a few words each, without what is stored; only the first ones. Empty: nothing is wrong.
        complete: whether everything was looked at, and not only what the time sufficed for.
    """

    problems: tuple[str, ...] = ()
    complete: bool = True
