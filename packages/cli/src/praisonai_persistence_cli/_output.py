"""Output: tables for people at a terminal, plain lines for pipes, documents for programs.

Whatever comes from a store is shown without characters that could steer a terminal. JSON is written in ASCII, and lists
in it item by item, so that their length costs no memory.
"""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import datetime, timezone
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "document",
    "documents",
    "json_escaped",
    "line",
    "plain",
    "size",
    "table",
    "terminal",
    "timestamp",
    "to_json",
    "written",
]

T = TypeVar("T")

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")
_CONTROL_BUT_NEWLINE = re.compile(_CONTROL.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_ROWS_AT_ONCE = 200
_SHORTEST = 12  # characters of a cell below which nobody can read it


def terminal() -> bool:
    """Whether somebody looks at stdout, on a terminal that can do more than print lines."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"


def plain(text: str, *, multiline: bool = False) -> str:
    """Return ``text`` with control characters, changes of direction and lone surrogates as backslash escapes."""
    pattern = _CONTROL_BUT_NEWLINE if multiline else _CONTROL
    return pattern.sub(lambda match: ascii(match[0])[1:-1], text)


def timestamp(seconds: float) -> str:
    """Return Unix seconds as ``2025-01-31 12:00:00Z``, or as they are where no calendar reaches."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return repr(seconds)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON in printable ASCII."""
    return json_escaped(json.dumps(value, indent=indent))


def json_escaped(text: str) -> str:
    """Return JSON of any characters with those that could steer a terminal as escapes of JSON."""
    return _CONTROL_BUT_NEWLINE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def size(number: int) -> str:
    """Return a number with separators between thousands."""
    return f"{number:,}"


def line(text: str = "") -> None:
    """Write a line, or several, to stdout, without characters that could steer a terminal."""
    written(plain(text, multiline=True))


def written(text: str) -> None:
    """Write a line to stdout as it is; what comes from elsewhere in it has gone through [plain][]."""
    sys.stdout.write(text + "\n")


def document(value: Mapping[str, Any]) -> None:
    """Write one JSON document."""
    written(to_json(value, indent=2))


def documents(head: Mapping[str, Any], name: str, items: Iterable[Any], tail: Mapping[str, Any] | None = None) -> None:
    """Write one JSON document with a list that may be long.

    Args:
        head: the members before the list.
        name: of the list.
        items: of the list; read while it is written.
        tail: members behind it, looked at when all items were written.
    """
    out = sys.stdout
    items = _begun(items)
    out.write("{")
    for key, value in head.items():
        out.write(f"\n  {to_json(key)}: {to_json(value)},")
    out.write(f"\n  {to_json(name)}: [")
    separator = "\n    "
    for item in items:
        out.write(separator + to_json(item))
        separator = ",\n    "
    out.write("\n  ]" if separator.startswith(",") else "]")
    for key, value in (tail or {}).items():
        out.write(f",\n  {to_json(key)}: {to_json(value)}")
    out.write("\n}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, or for a pipe one line for each row, its cells separated by tabs; both with a head line."""
    cells = ([plain("" if cell is None else str(cell)) for cell in row] for row in _begun(rows))
    if not terminal():
        written("\t".join(columns))
        for row in cells:
            written("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    some = list(islice(cells, _ROWS_AT_ONCE))
    first = True
    while some or first:
        shown = Table(box=box.SIMPLE_HEAD, show_header=first, pad_edge=False, header_style="bold")
        for column in columns:
            shown.add_column(column, overflow="fold", min_width=min(len(column), _SHORTEST))
        for row in some:
            shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        console.print(shown)
        first, some = False, list(islice(cells, _ROWS_AT_ONCE))


def _begun(items: Iterable[T]) -> Iterable[T]:
    """Read the first of the items, so that what fails right away fails before anything is written."""
    iterator = iter(items)
    return chain(list(islice(iterator, 1)), iterator)


_STYLES = {"ok": "green", "failed": "bold red", "skipped": "dim"}
