"""Values that break stores. One list, used at every place that takes text or JSON.

What stands in ``HOSTILE_*`` must come back as it went in (see [identical][]); what stands in ``REFUSED_*`` must be
refused before anything is written.
"""

from __future__ import annotations

import datetime
import decimal
import string
from typing import Any

from praisonai_persistence.testing._compare import identical, shorten

__all__ = [
    "HOSTILE_IDS",
    "HOSTILE_JSON",
    "HOSTILE_KEYS",
    "HOSTILE_OBJECTS",
    "HOSTILE_TEXTS",
    "JSON_NAMES",
    "LARGE_TEXTS",
    "REFUSED_IDENTIFIERS",
    "REFUSED_IDS",
    "REFUSED_JSON",
    "REFUSED_KEYS",
    "REFUSED_NUMBERS",
    "TEXT_NAMES",
    "identical",
    "large_texts",
    "nested",
    "shorten",
]


def nested(depth: int, leaf: Any = None) -> Any:
    """Return ``leaf`` inside so many levels of lists and objects, by turns."""
    value = leaf
    for level in range(depth):
        value = {"level": value} if level % 2 else [value]
    return value


# ---------------------------------------------------------------------------------------------------------------- text

_TEXTS = {
    "empty": "",
    "one character": "x",
    "one space": " ",
    "spaces at both ends": "  leading and trailing  ",
    "NUL alone": "\0",
    "NUL inside": "before\0after",
    "three NULs": "\0\0\0",
    "NUL at the end": "trailing NUL\0",
    "lone high surrogate": "\ud800",
    "lone low surrogate": "\udfff",
    "bytes that were no UTF-8": "a\udc80b\udcffc",  # as Python reads them
    "surrogate pair as two characters": "\ud83d\ude00",  # not the one character that it would be in UTF-16
    "surrogates in the wrong order": "\udc00\ud800",
    "emoji outside of the BMP": "\U0001f600",  # the character that the pair above is not
    "escape character U+001A": "\x1a",  # text may hold any escape character that a codec could use
    "U+001A and digits of NUL": "\x1a0000",
    "U+001A and digits of a surrogate": "\x1ad800",
    "U+001A escaped": "\x1a001a\x1a",
    "escapes spelled out": "\\u0000 \\ud800 \\x00",
    "control characters": "\x01\x02\x07\x08\x0b\x0c\x1b\x1f\x7f\x80\x9f",
    "CR LF": "\r\n",
    "CR": "\r",
    "LF": "\n",
    "every line separator": "line\rline\nline\r\nline\u2028line\u2029line\x85line",
    "tabs": "\t tab \t",
    "byte order mark": "\ufeff with a byte order mark",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "ZWJ emoji sequences": (
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308"
    ),
    "right-to-left": "\u202e right to left \u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u200f",
    "combining and composed": "e\u0301 and \u00e9",  # a combining mark, and the composed letter
    "many combining marks": "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033da\u0308\u0323\u0307",
    "letters whose case changes their length": "\u00df\u1e9e \u0130\u0131 \ufb01",
    "Chinese, Japanese, Korean": "\u4f60\u597d\uff0c\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \ud55c\uae00",
    "ASCII punctuation": string.punctuation,
    "SQL injection by a quote": "'; DROP TABLE x; --",
    "SQL injection by OR 1=1": "x') OR 1=1--",
    "SQL injection by a double quote": '" OR ""="',
    "MongoDB operator": "$where",
    "template expression": "{{7*7}}",
    "shell expression": "${7*7}",
    "printf placeholders": "%s %d %(name)s %%",
    "question mark placeholder": "?",
    "named placeholder": ":name",
    "numbered placeholders": "$1 @p1",
    "prototype of JavaScript": "__proto__",
    "dotted path": "a.b",
    "double quote inside": 'a"b',
    "backslashes": "a\\b\\\\c\\",
    "single quotes": "a'b''c",
    "backticks": "`backticks`",
    "text null": "null",
    "text true": "true",
    "text 123": "123",
    "text 1e999": "1e999",
    "text NaN": "NaN",
    "text of an empty list": "[]",
    "JSON in text": '{"json": "in text"}',
    "HTML": "<script>alert(1)</script> &amp; &#0;",
    "path of a parent folder": "../../etc/passwd",
    "path of Windows": "C:\\x\\..\\y",
}

HOSTILE_TEXTS: list[str] = list(_TEXTS.values())
"""Text that must come back unchanged from every place that takes text."""

LARGE_TEXTS: list[str] = [
    "m" * 1_000_000,  # 1 MB
    "gr\u00f6\u00dfe \U0001f600\n" * 384_616,  # 13 bytes each: 5 MB
]
"""Large text. Apart from the others, so that a loop over all of them stays quick."""


def large_texts(limit: int | None, copies: int = 1) -> list[str]:
    """Return those of ``LARGE_TEXTS`` that a store takes; else as much of the first one as it takes.

    Args:
        limit: bytes that the store declares; None: none.
        copies: how often the text stands in what is stored.
    """
    if limit is None:
        return LARGE_TEXTS
    fitting = [text for text in LARGE_TEXTS if copies * len(text.encode()) + 10_000 < limit]
    return fitting or [LARGE_TEXTS[0][: max(limit // 2, limit - 10_000) // copies]]


# ---------------------------------------------------------------------------------------------------------------- JSON

_NUMBERS: list[Any] = [
    0,
    1,
    -1,
    1.0,
    0.0,
    -0.0,
    0.1 + 0.2,
    1e308,
    -1e308,
    5e-324,
    1e16,
    1.5e300,
    2**53 - 1,
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**30,
    float(2**53),
    1605398400.123456,
]

_OBJECTS: dict[str, dict[str, Any]] = {
    "empty object": {},
    "empty key": {"": ""},
    "keys that differ in case": {"key": "lower", "Key": "title", "KEY": "upper"},
    "keys that differ in spaces": {"key": 1, "key ": 2, " key": 3},
    "keys that differ in normalisation": {"e\u0301": "combining", "\u00e9": "composed"},
    "keys with punctuation": {
        "a.b": 1,
        "a": {"b": 2},
        "a[0]": 3,
        "$a": 4,
        "a'b": 5,
        'a"b': 6,
        "a\\b": 7,
        "a/b": 8,
        "~0": 9,
    },
    "keys that engines reserve": {
        "$where": 1,
        "$eq": 2,
        "__proto__": {"x": 1},
        "constructor": 3,
        "_id": 4,
        "id": 5,
        "*": 6,
        "-1": 7,
        "0": 8,
    },
    "None and empty values": {"None": None, "null": [None], "empty list": [], "empty object": {}, "empty text": ""},
    "true, 1, 1.0 and text": {"true": True, "one": 1, "one point zero": 1.0, "text": "1"},
    "hostile texts as keys": {text: index for index, text in enumerate(HOSTILE_TEXTS)},
    "hostile texts as values": {str(index): text for index, text in enumerate(HOSTILE_TEXTS)},
    "hostile numbers as values": {str(index): number for index, number in enumerate(_NUMBERS)},
    "object nested 50 deep": {"deep": nested(49)},
    "object of 2,000 keys": {str(index): index for index in range(2_000)},
}

HOSTILE_OBJECTS: list[dict[str, Any]] = list(_OBJECTS.values())
"""JSON objects (for state, metadata, tool calls) that must come back unchanged, types of numbers included."""

_LISTS: dict[str, list[Any]] = {
    "list of hostile numbers": list(_NUMBERS),
    "list of hostile texts": list(HOSTILE_TEXTS),
    "list nested 50 deep": nested(50),
    "list nested 50 deep, with a leaf": nested(50, "leaf"),
}

HOSTILE_JSON: list[Any] = [
    None,
    True,
    False,
    *_NUMBERS,
    *HOSTILE_TEXTS,
    [],
    [[]],
    [None],
    [1, "1", 1.0, True, None],
    *_LISTS.values(),
    *HOSTILE_OBJECTS,
]
"""Any JSON values, that must come back unchanged."""


def _holding_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


REFUSED_NUMBERS: list[float] = [float("nan"), float("inf"), float("-inf")]

REFUSED_JSON: list[Any] = [
    *REFUSED_NUMBERS,
    10**5_000,  # more digits than Python converts to text
    (1, 2),
    {1, 2},
    frozenset({1}),
    b"bytes",
    bytearray(b"bytes"),
    1j,
    object(),
    decimal.Decimal("1.5"),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
    {1: "a number as key"},
    {None: "None as key"},
    {True: "a bool as key"},
    {("a", "b"): "a tuple as key"},
    {b"a": "bytes as key"},
    nested(1_000),
    _holding_itself(),
]
"""Values that are not JSON, or that JSON would change. Put inside a list or an object they must be refused as well."""

# ---------------------------------------------------------------------------------------------- ids, keys, identifiers

HOSTILE_IDS: list[str] = [
    "x",
    "X",
    " ",
    "  ",
    "x ",
    " x",
    "x.",
    ".x",
    ".",
    "..",
    "...",
    "../../x",
    "..\\..\\x",
    "/x",
    "//x",
    "/",
    "\\",
    "a/b",
    "a_b",
    "a-b",
    "a b",
    "a\\b",
    "a:b",
    "a|b",
    "a%2fb",
    "a%2Fb",
    "%2e",
    "%2e%2e%2f",
    "%",
    "%25",
    "_",
    "__",
    "=",
    "~",
    "CON",
    "con",
    "Con",
    "CON.json",
    "con.json",
    "NUL",
    "COM1",
    "lpt9.txt",
    "aux.",
    "session",
    "Session",
    "SESSION",
    "stra\u00dfe",
    "strasse",
    "STRASSE",
    "i",
    "I",
    "\u0130",
    "\u0131",
    "\u00e9",  # composed (NFC)
    "e\u0301",  # the same letter, decomposed (NFD)
    "\u212b",
    "\u00c5",
    "A\u030a",
    "\ufb01",
    "fi",
    "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u4f60\u597d",
    "\u202eabc",
    "\ufeff",
    "x\ufeff",
    "x\u200b",
    "x\n",
    "x\r\n",
    "\n",
    "\t",
    "\x1a",
    "\x1a0000",
    "\x7f",
    "\U0010ffff",
    "'",
    "''",
    '"',
    '""',
    "`",
    "'; DROP TABLE praison_sessions; --",
    "x') OR 1=1--",
    "x' OR 'x'='x",
    "%s",
    "?",
    "*",
    "[a-z]",
    "{x}",
    "$where",
    ":name",
    "__proto__",
    "None",
    "null",
    "0",
    "00",
    "1",
    "1.0",
    "-1",
    "true",
    "<x>",
    "&amp;",
    "#",
    "x.json",
    "x.tmp",
    "x.lock",
    "a" * 255,
    "A" * 255,
    "a" * 254 + "b",
    "\u00e9" * 255,
    "\U0001f600" * 255,
    "/" * 255,
    "%" * 255,
    "." * 255,
    " " * 255,
]
"""Ids that are all valid, and all different."""

REFUSED_IDS: list[Any] = [
    "",
    "a" * 256,
    "\U0001f600" * 256,
    "\0",
    "a\0b",
    "a\0",
    "\ud800",
    "a\udfffb",
    "\ud83d\ude00",
    b"bytes",
    1,
    1.5,
    True,
    ["a"],
    object(),
]
"""Values that are no ids. None is not among them, because it means "no filter" or "make one up" in places."""

HOSTILE_KEYS: list[str] = [*HOSTILE_IDS, "k" * 1024, "\u00e9" * 512, "\U0001f600" * 256, "k" * 1023 + "l"]
"""Keys of a state store, all valid and all different."""

REFUSED_KEYS: list[Any] = [
    "",
    "k" * 1025,
    "\u00e9" * 513,
    "\U0001f600" * 257,
    "\0",
    "a\0b",
    "\ud800",
    "a\udfffb",
    b"bytes",
    1,
    None,
    ["a"],
]
"""Values that are no keys of a state store."""

REFUSED_IDENTIFIERS: list[Any] = [
    "a b",
    "a;b",
    "a'b",
    'a"b',
    "a`b",
    "a.b",
    "a/b",
    "../a",
    "a\\b",
    "a\0",
    "a\n",
    "1a",
    "\u00e9",
    "\U0001f600",
    "x; DROP TABLE y; --",
    "x') OR 1=1--",
    "%s",
    "a" * 200,
    "\ud800",
    b"a",
    1,
    ["a"],
]
"""Values that must never reach DDL as a prefix, a schema or a collection."""

# --------------------------------------------------------------------------------------------------------------- names

TEXT_NAMES: dict[Any, str] = {
    **{value: name for name, value in _TEXTS.items()},
    LARGE_TEXTS[0]: "1 MB of one letter",
    LARGE_TEXTS[1]: "5 MB of lines with emoji",
    "a" * 255: "255 times a",
    "A" * 255: "255 times A",
    "a" * 254 + "b": "254 times a, and b",
    "\u00e9" * 255: "255 accented letters",
    "\U0001f600" * 255: "255 emoji",
    "/" * 255: "255 slashes",
    "%" * 255: "255 percent signs",
    "." * 255: "255 dots",
    " " * 255: "255 spaces",
    "a" * 256: "256 times a",
    "\U0001f600" * 256: "256 emoji",
    "k" * 1024: "1,024 times k",
    "k" * 1023 + "l": "1,023 times k, and l",
    "k" * 1025: "1,025 times k",
    "\u00e9" * 512: "512 accented letters",
    "\u00e9" * 513: "513 accented letters",
    "\U0001f600" * 257: "257 emoji",
    "a" * 200: "200 times a",
    "\u00e9": "composed letter (NFC)",
    "e\u0301": "decomposed letter (NFD)",
    "\u0130": "dotted capital I",
    "\u0131": "dotless small i",
    "\u200b": "zero-width space",
}
"""What messages call the texts, ids and keys above. Those without a name are short, and speak for themselves."""

JSON_NAMES: dict[str, Any] = {**_LISTS, **_OBJECTS}
"""The same of the JSON values."""
