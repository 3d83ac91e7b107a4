"""Objects of frameworks as JSON."""

from __future__ import annotations

from typing import Any

__all__ = ["has"]


def has(made: Any, stored: Any) -> bool:
    """Whether JSON has everything that other JSON has; it may have more, such as fields with their defaults.

    So an adapter learns whether the installed release of a framework knows all fields of what another one has stored.
    """
    if isinstance(stored, dict):
        return isinstance(made, dict) and all(key in made and has(made[key], stored[key]) for key in stored)
    if isinstance(stored, list):
        return isinstance(made, list) and len(made) == len(stored) and all(map(has, made, stored))
    return bool(made == stored)
