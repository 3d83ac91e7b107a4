"""Ids that are made up here."""

from __future__ import annotations

from os import urandom

__all__ = ["new_id"]


def new_id() -> str:
    """Return a random UUID (version 4) as text, as ``str(uuid.uuid4())`` does, without importing ``uuid``."""
    text = urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
