"""Documents as items of DynamoDB."""

from __future__ import annotations

import re
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores.document_engine import expiry_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from praisonai_persistence.stores.document_engine import Document, Stored

__all__ = ["MOST", "Item", "coded", "end_fields", "item_of", "stored_of"]

Item = dict[str, dict[str, Any]]

MOST = 10**36
"""The service computes with 38 digits."""
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,35}")
_BLANK: Document = {"text": "", "parts": "", "owner": "", "pending": "", "ends": None, "held": None}
"""Fields that stand for these values where an item lacks them."""
_OURS = frozenset({"pk", "sk", "v", "n", "expires"})
_TIMES = frozenset({"created_at", "updated_at"})
"""Of sessions; they stand as text, because a caller may give times beyond the service's numbers."""
_FARTHEST = 1e100
"""Where times end; the service's numbers end at 1e126."""
_LAST = 253_402_300_799  # of the year 9999


def coded(value: Any) -> dict[str, Any]:
    """Return a field in the service's notation."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    return {"N": repr(max(-_FARTHEST, min(value, _FARTHEST)))}


def _decoded(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "NULL":
        return None
    if kind == "N":
        number = Decimal(content)
        return int(number) if number == number.to_integral_value() and abs(number) < MOST else float(number)
    return content


def end_fields(document: Document) -> Item:
    """Return the fields that say when a document expires; the service looks at ``expires``."""
    fields = {} if document.get("ends") is None else {"ends": coded(document["ends"])}
    ends = expiry_of(document)
    if ends is not None and ends < _LAST:
        fields["expires"] = {"N": str(ceil(ends))}
    return fields


def item_of(document: Document, version: str, sk: str = "") -> Item:
    """Return the item of a document, without its keys.

    A value that takes part in no batch and has no parts has no ``kind``, so that the shortest condition tells it from
    others; its text is ``plain``. A ``kind`` ends with ``+`` while it is in a batch or has parts. Of any value a text
    that is an integer is the number ``n``. ``key`` is left out where the sort key says it.
    """
    fields = {name: coded(value) for name, value in document.items() if _BLANK.get(name, document) != value}
    fields.update((name, {"S": repr(document[name])}) for name in _TIMES & document.keys())
    kind = document.get("kind")
    if kind is not None:
        if document["key"] == sk:
            del fields["key"]
        alone = not (document["pending"] or document["owner"])
        if not alone:
            fields["kind"] = coded(kind + "+")
        if kind == "value":
            text = document["text"]
            if alone:
                del fields["kind"]
            if _WHOLE.fullmatch(text):
                del fields["text"]
                fields["n"] = {"N": text}
            elif alone:
                fields["plain"] = fields.pop("text")
    return {**fields, **end_fields(document), "v": {"S": version}}


def stored_of(item: Item) -> Stored:
    """Return the document of an item, and its version."""
    document = {**_BLANK, **{name: _decoded(value) for name, value in item.items() if name not in _OURS}}
    for name in _TIMES & document.keys():
        document[name] = float(document[name])
    if "n" in item:
        document["text"] = str(int(Decimal(item["n"]["N"])))
    elif "plain" in item:
        document["text"] = document.pop("plain")
    if "kind" in item:
        document["kind"] = item["kind"]["S"].rstrip("+")
    elif "n" in item or "plain" in item:
        document["kind"] = "value"
    if "kind" in document:
        document.setdefault("key", item["sk"]["S"])
    return document, item["v"]["S"]
