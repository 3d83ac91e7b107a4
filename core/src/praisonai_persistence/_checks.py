"""What ids, keys, names and numbers may be; see ``payload``, from where these are imported."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

from praisonai_persistence.errors import (
    ConfigurationError,
    InvalidIdentifierError,
    InvalidValueError,
    SerializationError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "MAX_ID_CHARACTERS",
    "MAX_INTEGER",
    "MAX_KEY_BYTES",
    "SCALARS",
    "SECONDS",
    "UPDATED_AT_STEP",
    "check_bound",
    "check_count",
    "check_id",
    "check_identifier",
    "check_json",
    "check_key",
    "check_many",
    "check_optional_id",
    "check_optional_ttl",
    "check_prefix",
    "check_record",
    "check_seconds",
    "check_time",
    "check_ttl",
    "is_seconds",
    "nearest",
    "next_updated_at",
    "plain",
]

MAX_ID_CHARACTERS = 255
MAX_KEY_BYTES = 1024
MAX_INTEGER = 2**63 - 1
"""Limits and bounds beyond what engines count with mean the same as this."""


SCALARS = frozenset({str, int, float, bool, type(None)})
"""Types of JSON that hold nothing."""

SECONDS = "a number of seconds above 0, at most 10**9"
"""What limits of time may be."""


def is_seconds(value: Any) -> bool:
    """Whether a value can be the limit of a time: more cannot be waited for on every system."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 10**9


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant, if there is one like it."""
    from difflib import get_close_matches  # for who has made a mistake: it takes long to import

    return next(iter(get_close_matches(name, list(names), 1)), None)


_PLAIN = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:
    """Return the exact ``str``, ``int``, ``float`` or ``bool`` that a value is, else the value itself.

    Members of enums that derive from one of these, and objects of other subclasses, are what they derive from; bools
    and numbers of numpy are what their ``item()`` returns. Engines and dictionaries treat them in many ways, so none
    gets further.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    scalars: Any = getattr(sys.modules.get("numpy"), "generic", ())  # without numpy there is no such object
    if isinstance(value, scalars) and value.dtype.kind in "biuf":  # its times have an item(), too, but are no numbers
        item = value.item()
        if type(item) in _PLAIN:
            return item
    return value


def check_id(value: Any, what: str = "session_id") -> str:
    """Return ``value`` if it can be an id: text of 1 to 255 characters without NUL and lone surrogates.

    Raises:
        InvalidValueError: it cannot.
    """
    text: str = value if type(value) is str else _as_text(value, what)
    if not 1 <= len(text) <= MAX_ID_CHARACTERS:
        raise InvalidValueError(f"{what} must have 1 to {MAX_ID_CHARACTERS} characters, not {len(text)}")
    if "\0" in text or not text.isascii():
        _check_storable(text, what)
    return text


def check_optional_id(value: Any, what: str) -> str | None:
    """[check_id][], or None."""
    return None if value is None else check_id(value, what)


def check_key(value: Any, what: str = "key") -> str:
    """Return ``value`` if it can be a state key or a hash field: text of 1 to 1024 bytes of UTF-8, no NUL.

    Raises:
        InvalidValueError: it cannot.
    """
    text: str = value if type(value) is str else _as_text(value, what)
    _check_storable(text, what)
    size = len(text) if text.isascii() else len(text.encode())
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidValueError(f"{what} must have 1 to {MAX_KEY_BYTES} bytes in UTF-8, not {size}")
    return text


def _as_text(value: Any, what: str) -> str:
    text: Any = plain(value)
    if type(text) is not str:
        raise InvalidValueError(f"{what} must be text, not {type(text).__name__}")
    return text


def _check_storable(value: str, what: str) -> None:
    if "\0" in value:
        raise InvalidValueError(f"{what} must not hold NUL")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(f"{what} must not hold lone surrogates") from None


def check_identifier(value: Any, what: str) -> str:
    """Return ``value`` if it can reach DDL: an ASCII letter or ``_``, then up to 30 letters, digits or ``_``.

    Collections (``what="collection"``) may also hold ``-`` and have up to 48 characters.

    Raises:
        InvalidIdentifierError: it cannot.
    """
    length = 48 if what == "collection" else 31
    value = plain(value)
    if not isinstance(value, str) or len(value) > length or not _is_identifier(value, what == "collection"):
        also = ", '-'" if what == "collection" else ""
        raise InvalidIdentifierError(
            f"{what} must be 1 to {length} ASCII letters, digits, '_'{also}, not starting with a digit"
        )
    return value


def _is_identifier(value: str, with_hyphens: bool) -> bool:
    if with_hyphens and not value.startswith("-"):
        value = value.replace("-", "_")
    return value.isascii() and value.isidentifier()


def check_prefix(value: Any, what: str = "table_prefix") -> str:
    """Return ``value`` if tables may start with it: an identifier in lower case, or the empty text for no prefix.

    Some engines fold the case of table names, so prefixes that differ in case only could not be told apart there.

    Raises:
        InvalidIdentifierError: it cannot.
    """
    value = plain(value)
    if not isinstance(value, str):
        return check_identifier(value, what)
    if not value:
        return value
    if value != value.lower():
        raise InvalidIdentifierError(f"{what} must be in lower case: not every engine tells A from a in a table's name")
    return check_identifier(value, what)


def check_count(value: Any, what: str, default: int | None = None) -> int:
    """Return ``value`` if it is a whole number of 0 or more (or None, where there is a ``default``).

    Raises:
        InvalidValueError: it is not.
    """
    if value is None and default is not None:
        return default
    value = plain(value)
    if type(value) is not int or value < 0:
        raise InvalidValueError(f"{what} must be a whole number of 0 or more")
    return min(value, MAX_INTEGER)


def check_bound(value: Any, what: str, kind: type = float) -> Any:
    """Return an optional bound of a range: None, a finite number, or with ``kind=int`` a whole number."""
    if value is None:
        return None
    if kind is int:
        value = plain(value)
        if type(value) is not int:
            raise InvalidValueError(f"{what} must be a whole number or None")
        return max(-MAX_INTEGER, min(value, MAX_INTEGER))
    return check_time(value, what)


def check_time(value: Any, what: str) -> float:
    """Return a point in time as a float.

    Raises:
        InvalidValueError: it is not a finite number.
    """
    if type(value) is float and -math.inf < value < math.inf:
        return value
    value = plain(value)
    if type(value) in {int, float}:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise InvalidValueError(f"{what} must be a finite number")


def check_optional_ttl(value: Any) -> float | None:
    """[check_ttl][], or None."""
    return None if value is None else check_ttl(value)


def check_ttl(value: Any) -> float:
    """Return a time to live in seconds as a float.

    Raises:
        InvalidValueError: it is not a finite number above 0.
    """
    value = plain(value)
    # The comparison also refuses an int that is too large for a float.
    if type(value) in {int, float} and 0 < value <= sys.float_info.max:
        return float(value)
    raise InvalidValueError("ttl must be a finite number of seconds above 0")


_LONGEST = 366 * 24 * 3600.0
"""Seconds; drivers count in integers of 32 bits, some of them milliseconds, and nobody waits for that long."""


def check_seconds(value: Any, what: str) -> float:
    """Return an option that is a time to wait, in seconds; as text, too, for those that stand in a URL.

    Raises:
        ConfigurationError: it is no number above 0, or more than a year.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number <= _LONGEST:
        raise ConfigurationError(f"{what} must be a number of seconds above 0")
    return number


UPDATED_AT_STEP = (2.0**33, 4e307, 2.0**-52)
"""What ``updated_at`` rises by when the clock is behind it: the third part of itself, but of no less than the first
and of no more than the second number. All three are above what a float loses by rounding."""


def next_updated_at(stored: float, now: float) -> float:
    """Return the next ``updated_at``: ``now``, or just above ``stored`` when the clock is behind it.

    The result is above ``stored``, however large that is (up to ``2**1023``, half of the largest float, and never
    infinite): the step grows with the number, and is 2 microseconds, a few of the smallest steps, at today's times.
    Engines that compute it themselves use the same numbers; see ``UPDATED_AT_STEP``.
    """
    least, most, part = UPDATED_AT_STEP
    return max(now, stored + min(max(stored, least), most) * part)


def check_record(record: Any, kind: type) -> None:
    """Refuse what is no record of that kind.

    Raises:
        InvalidValueError: it is not.
    """
    if not isinstance(record, kind):
        raise InvalidValueError(f"a {kind.__name__} is needed, not {type(record).__name__}")


def check_many(values: Any, what: str) -> Iterable[Any]:
    """Return ``values`` if they can be iterated over; one text is not many.

    Raises:
        InvalidValueError: they cannot, or it is.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidValueError(f"{what} must be a sequence, not {type(values).__name__}")
    return values


def check_json(value: Any, what: str, most: int, depth: int = 1) -> None:
    """Refuse what ``json`` would quietly change: tuples, keys that are not text, objects; and too deep a nesting."""
    if isinstance(value, (dict, list)):
        if depth > most:
            raise SerializationError(f"{what} is nested deeper than {most} levels, or holds itself")
        if isinstance(value, dict):
            for key in value:
                if type(key) is not str:
                    _check_keys(value, what)
                    break
            value = value.values()
        for item in value:
            if type(item) not in SCALARS:
                check_json(item, what, most, depth + 1)
    elif type(plain(value)) not in SCALARS:
        hint = "; use a list" if isinstance(value, (tuple, set, frozenset)) or hasattr(value, "tolist") else ""
        if isinstance(value, getattr(sys.modules.get("enum"), "Enum", ())):
            hint = "; use its value"
        raise SerializationError(f"{what} holds a {type(value).__name__}, which is not JSON{hint}")


def _check_keys(value: dict[Any, Any], what: str) -> None:
    for key in value:
        if not isinstance(key, str):
            raise SerializationError(f"{what} has a key of type {type(key).__name__}; JSON keys are text")
    if len({plain(key) for key in value}) < len(value):  # subclasses may have hashes of their own
        raise SerializationError(f"{what} has two keys of one text")
