"""Payload rules: what may be stored, that it comes back, and what is refused."""

import json
import math
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from praisonai_persistence import payload
from praisonai_persistence.errors import (
    ConfigurationError,
    DuplicateMessageError,
    InvalidIdentifierError,
    InvalidValueError,
    PersistenceError,
    SerializationError,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession


def shown(value):
    """Return the id of a parameter: the same in every process."""
    return ascii(value).partition(" at 0x")[0][:40]


# Hypothesis leaves surrogates out of text() unless asked; U+001A, NUL and surrogates are what the encoding is about.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\0\x1a\ud800\udbff\udc00\udfff0dabf\u2028\U0001f600"))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


def identical(a, b):
    """Whether two JSON values are equal with their types, the sign of zero included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, float):
        return a.hex() == b.hex()
    return a == b


def nested(depth, leaf=None):
    value = leaf
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


# ---------------------------------------------------------------------------------------------------------------- text


@given(ANY_TEXT)
@example("\x1a001a")
@example("\x1a")
@example("\ud83d\ude00")
@example("\x1ad800\ud800")
def test_encoded_text_is_storable_and_comes_back(text):
    encoded = payload.encode_text(text)
    assert "\0" not in encoded
    encoded.encode()  # raises for a surrogate
    assert payload.decode_text(encoded) == text


@given(ANY_TEXT, ANY_TEXT)
def test_encoding_keeps_texts_and_prefixes_apart(a, b):
    assert (payload.encode_text(a) == payload.encode_text(b)) == (a == b)
    assert payload.encode_text(a).startswith(payload.encode_text(b)) == a.startswith(b)
    assert payload.encode_text(a + b) == payload.encode_text(a) + payload.encode_text(b)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\x1a")))
def test_ordinary_text_is_stored_as_it_is(text):
    assert payload.encode_text(text) == text
    assert payload.decode_text(text) == text


# ---------------------------------------------------------------------------------------------------------------- JSON


@given(JSON)
@example({"\ud800": "\0", "\x1a": "\x1a001a", "": [{}]})
@example([1, 1.0, True, -0.0, 0, 10**30, 2**63, 2**53 + 1, 1e308, 5e-324, 0.1 + 0.2])
@example("\ud83d\ude00")
def test_json_comes_back_with_its_types(value):
    text = payload.dumps(value)
    assert "\0" not in text
    text.encode()
    assert identical(payload.loads(text), value)


@given(JSON)
def test_json_is_what_the_standard_library_writes(value):
    assert payload._encode_json(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(JSON)
def test_a_copy_is_equal_and_shares_nothing(value):
    copied = payload.copy(value)
    assert identical(copied, value)

    def containers(item):
        if isinstance(item, (list, dict)):
            yield id(item)
            for inner in item.values() if isinstance(item, dict) else item:
                yield from containers(inner)

    assert not set(containers(copied)) & set(containers(value))


def test_ordinary_json_stays_readable():
    assert payload.dumps({"text": "Grüße 😀", "n": [1, 2.5, None, True]}) == '{"text":"Grüße 😀","n":[1,2.5,null,true]}'


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        [math.nan],
        {"a": {"b": [math.inf]}},
        (1, 2),
        {"a": (1,)},
        {1: "a"},
        {None: "a"},
        {True: "a"},
        {"a": {1.5: 1}},
        {1, 2},
        [{1}],
        b"bytes",
        [bytearray(b"x")],
        object(),
        [object],
        1j,
        {"a": lambda: None},
    ],
    ids=shown,
)
def test_what_is_not_json_is_refused(value):
    with pytest.raises(SerializationError, match="^the thing ") as caught:
        payload.dumps(value, "the thing")
    assert isinstance(caught.value, ValueError)


def test_integers_beyond_what_python_converts_are_refused():
    with pytest.raises(SerializationError):
        payload.dumps(10**5000)


def test_a_refusal_does_not_quote_the_value():
    for value in ({"password": ("hunter2",)}, {"hunter2": math.nan}, {"a": {("hunter2",): 1}}):
        with pytest.raises(SerializationError) as caught:
            payload.dumps(value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("leaf", [None, "text", 1.5])
def test_depth_limit(leaf):
    deepest = nested(payload.MAX_DEPTH, leaf)
    assert payload.loads(payload.dumps(deepest)) == deepest
    with pytest.raises(SerializationError, match="deeper than"):
        payload.dumps([deepest])
    with pytest.raises(SerializationError, match="deeper than"):
        payload.dumps({"a": deepest})


def test_a_value_that_holds_itself_is_refused():
    value = {}
    value["self"] = [value]
    with pytest.raises(SerializationError, match="holds itself"):
        payload.dumps(value)


@pytest.mark.parametrize(
    ("character", "size"), [("a", 1), ("é", 2), ("€", 3), ("😀", 4), ("\0", 6), ("\ud800", 5)], ids=shown
)
def test_size_limit_counts_bytes_of_what_is_written(character, size):
    # A NUL is escaped by JSON itself (six characters), a surrogate by the store (five).
    limit = 2 + 10 * size
    payload.dumps(character * 10, limit=limit)
    with pytest.raises(SerializationError, match=f"has {limit} bytes; this store takes at most {limit - 1}"):
        payload.dumps(character * 10, limit=limit - 1)


def test_default_size_limit():
    most = payload.MAX_BYTES - 2
    assert len(payload.dumps("a" * most)) == payload.MAX_BYTES
    with pytest.raises(SerializationError, match="takes at most"):
        payload.dumps("a" * (most + 1))


# --------------------------------------------------------------------------------------------------------------- equal


def test_equal_examples():
    for a, b in [(1, 1.0), (0.0, -0.0), ([1], [1.0]), ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}), (None, None)]:
        assert payload.equal(a, b)
    for a, b in [
        (1, True),
        (0, False),
        (1.0, True),
        ("1", 1),
        (None, False),
        (None, 0),
        ("", None),
        ([], {}),
        ([1], [True]),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {}),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        (2**53, 2**53 + 1),
        (2.0**53, 2**53 + 1),
        ("a", "a "),
    ]:
        assert not payload.equal(a, b)
        assert not payload.equal(b, a)


def respell(value, draw):
    """Return an equal value in another spelling: other number types where exact, other key order."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        items = [(key, respell(item, draw)) for key, item in value.items()]
        return dict(draw(st.permutations(items)))
    if isinstance(value, list):
        return [respell(item, draw) for item in value]
    other = int(value) if isinstance(value, float) else value
    if isinstance(value, int) and abs(value) < 2**53:
        other = float(value)
    return other if other == value and draw(st.booleans()) else value


@given(st.data(), JSON, JSON)
def test_equal_is_an_equivalence(data, a, b):
    assert payload.equal(a, a)
    assert payload.equal(a, b) == payload.equal(b, a)
    c = respell(a, data.draw)
    assert payload.equal(a, c)
    assert payload.equal(c, a)
    assert payload.equal(c, b) == payload.equal(a, b)


SMALL = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 0.0, 1.0, -0.0, "", "0", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["", "a"]), inner, max_size=2),
    max_leaves=3,
)


@given(SMALL, SMALL, SMALL)
def test_equal_is_transitive_and_tells_types_apart(a, b, c):
    if payload.equal(a, b) and payload.equal(b, c):
        assert payload.equal(a, c)

    def canonical(value):  # JSON text in which numbers have one spelling; booleans have another one anyway
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value) + 0.0
        if isinstance(value, list):
            return [canonical(item) for item in value]
        if isinstance(value, dict):
            return {key: canonical(item) for key, item in value.items()}
        return value

    texts = [json.dumps(canonical(value), sort_keys=True) for value in (a, b)]
    assert payload.equal(a, b) == (texts[0] == texts[1])


# ---------------------------------------------------------------------------------------------------- ids, keys, names

TEXT_IDS = ["a", " ", "../../x", "a/b", "a_b", "CON", "😀", "é", "e\u0301", "\n", "'; DROP TABLE x; --", "\x1a"]


@pytest.mark.parametrize("value", [*TEXT_IDS, "x" * 255, "😀" * 255], ids=shown)
def test_ids(value):
    assert payload.check_id(value) == value
    assert payload.check_optional_id(value, "user_id") == value


@pytest.mark.parametrize("value", ["", "x" * 256, "a\0b", "\ud800", "a\udfffb", 1, True, b"a", ["a"]], ids=shown)
def test_refused_ids(value):
    with pytest.raises(InvalidValueError, match="^user_id ") as caught:
        payload.check_optional_id(value, "user_id")
    assert isinstance(caught.value, ValueError)


def test_none_is_an_id_only_where_it_is_optional():
    assert payload.check_optional_id(None, "user_id") is None
    with pytest.raises(InvalidValueError):
        payload.check_id(None)


@pytest.mark.parametrize("value", [*TEXT_IDS, "x" * 1024, "é" * 512, "😀" * 256], ids=shown)
def test_keys(value):
    assert payload.check_key(value) == value


@pytest.mark.parametrize(
    "value", ["", "x" * 1025, "é" * 513, "😀" * 257, "\0", "a\0", "\ud83d", None, 1, b"a"], ids=shown
)
def test_refused_keys(value):
    with pytest.raises(InvalidValueError, match="^field "):
        payload.check_key(value, "field")


@given(ANY_TEXT)
def test_a_key_is_storable_or_refused(text):
    storable = 1 <= len(text.encode("utf-8", "surrogatepass")) <= 1024 and "\0" not in text
    storable = storable and not any("\ud800" <= character <= "\udfff" for character in text)
    if storable:
        assert payload.check_key(text) == text
    else:
        with pytest.raises(InvalidValueError):
            payload.check_key(text)


@pytest.mark.parametrize("value", ["a", "_", "Praison_1", "x" * 31])
def test_identifiers(value):
    assert payload.check_identifier(value, "schema") == value


@pytest.mark.parametrize("value", ["", "a", "_", "praison_1", "x" * 31])
def test_prefixes(value):
    assert payload.check_prefix(value) == value


def test_prefixes_are_in_lower_case():
    with pytest.raises(InvalidIdentifierError, match="table_prefix must be in lower case"):
        payload.check_prefix("Praison_")


REFUSED_IDENTIFIERS = ["1a", "a b", "a.b", 'a"b', "a'b", "a;b", "é", "a\n", "a\0", "ſ", "٣", "a٣", None, 1, b"a", ["a"]]


@pytest.mark.parametrize("value", [*REFUSED_IDENTIFIERS, "x" * 32, "a-b", ""], ids=shown)
def test_refused_identifiers(value):
    with pytest.raises(InvalidIdentifierError, match="^schema must "):
        payload.check_identifier(value, "schema")
    if value != "":
        with pytest.raises(InvalidIdentifierError):
            payload.check_prefix(value)


def test_a_prefix_may_be_empty():
    assert payload.check_prefix("") == ""


def test_collections_may_have_hyphens_and_more_characters():
    for value in ("a-b", "x" * 48, "_-1"):
        assert payload.check_identifier(value, "collection") == value
    for value in [*REFUSED_IDENTIFIERS, "x" * 49, "-a", ""]:
        with pytest.raises(InvalidIdentifierError):
            payload.check_identifier(value, "collection")


# ------------------------------------------------------------------------------------------------------------- numbers


def test_counts():
    assert [payload.check_count(value, "limit") for value in (0, 1, 10**9)] == [0, 1, 10**9]
    assert payload.check_count(None, "limit", 7) == 7
    for value in (-1, 1.0, True, "1", None):
        with pytest.raises(InvalidValueError, match="^limit "):
            payload.check_count(value, "limit")


def test_seconds():
    for value, expected in ((1, 1.0), (0.5, 0.5), ("2.5", 2.5), (366 * 86400, 366 * 86400.0)):
        assert payload.check_seconds(value, "timeout") == expected
    for value in (0, -1, True, None, "", "soon", math.nan, math.inf, "inf", 10**400, 367 * 86400, [1]):
        with pytest.raises(ConfigurationError, match="^timeout "):
            payload.check_seconds(value, "timeout")


def test_times():
    assert payload.check_time(3, "created_at") == 3.0
    assert type(payload.check_time(3, "created_at")) is float
    assert payload.check_time(-1.5, "created_at") == -1.5
    for value in (math.nan, math.inf, -math.inf, 10**400, True, "1", None, 1j):
        with pytest.raises(InvalidValueError, match="^created_at "):
            payload.check_time(value, "created_at")


def test_bounds():
    assert payload.check_bound(None, "before") is None
    assert payload.check_bound(2, "before") == 2.0
    assert payload.check_bound(2, "before_seq", int) == 2
    for value, kind in [(math.nan, float), ("1", float), (True, float), (1.5, int), (True, int), ("1", int)]:
        with pytest.raises(InvalidValueError, match="^before "):
            payload.check_bound(value, "before", kind)


def test_times_to_live():
    assert payload.check_optional_ttl(None) is None
    assert payload.check_optional_ttl(3) == 3.0
    assert payload.check_ttl(2) == 2.0
    assert type(payload.check_ttl(2)) is float
    assert payload.check_ttl(0.25) == 0.25
    for value in (0, -1, 0.0, -0.5, math.nan, math.inf, -math.inf, 10**400, True, "1", [1]):
        with pytest.raises(InvalidValueError, match="ttl"):
            payload.check_ttl(value)
    with pytest.raises(InvalidValueError, match="ttl"):
        payload.check_ttl(None)


def test_updated_at_always_rises():
    assert payload.next_updated_at(100.0, 200.0) == 200.0
    for stored, now in [(1.8e9, 1.8e9), (1.8e9, 1.7e9), (0.0, -5.0)]:
        assert stored + 1e-6 < payload.next_updated_at(stored, now) < stored + 1e-5


@given(st.floats(-1e300, 2.0**1022) | st.integers(0, 1022).map(lambda n: 2.0**n))
def test_updated_at_rises_however_large_it_is(stored):
    for value in (stored, math.nextafter(stored, 0.0), math.nextafter(stored, math.inf)):
        assert value < payload.next_updated_at(value, 0.0) < math.inf


def test_updated_at_is_never_infinite():
    assert payload.next_updated_at(sys.float_info.max, 1.8e9) == sys.float_info.max


def test_updated_at_is_no_later_than_now():
    for moment in (time.time() + 1_000, 1.8e12, 1e300):
        row = payload.encode_session(ConversationSession("s", created_at=moment))
        assert (row.created_at, row.updated_at) == (moment, pytest.approx(time.time(), abs=60))


# ---------------------------------------------------------------------------------------------------------------- rows

SESSIONS = st.builds(
    ConversationSession,
    session_id=st.just("s"),
    user_id=st.none() | st.just("u"),
    agent_id=st.none() | st.just("a"),
    name=st.none() | ANY_TEXT,
    state=st.none() | st.dictionaries(ANY_TEXT, JSON, max_size=3),
    metadata=st.none() | st.dictionaries(ANY_TEXT, JSON, max_size=3),
    created_at=st.floats(0, 4e9),
    updated_at=st.floats(0, 1.7e9),
)
MESSAGES = st.builds(
    ConversationMessage,
    id=st.just("m"),
    session_id=st.just("s"),
    role=ANY_TEXT,
    content=st.none() | ANY_TEXT,
    tool_calls=st.none() | st.lists(st.dictionaries(ANY_TEXT, JSON, max_size=3), max_size=2),
    tool_call_id=st.none() | ANY_TEXT,
    metadata=st.none() | st.dictionaries(ANY_TEXT, JSON, max_size=3),
    created_at=st.floats(0, 4e9),
)


@given(SESSIONS)
def test_a_session_comes_back_from_its_row(session):
    row = payload.encode_session(session)
    assert payload.decode_session(row) == session
    assert payload.decode_session(tuple(row)) == session
    for text in (row.name, row.state, row.metadata):
        assert text is None or "\0" not in text.encode().decode()


@given(MESSAGES)
def test_a_message_comes_back_from_its_row(message):
    row = payload.encode_message("s", message)
    assert payload.decode_message("s", row) == message
    assert payload.decode_messages("s", [row, tuple(row)]) == [message, message]
    for text in (row.role, row.content, row.tool_calls, row.tool_call_id, row.metadata):
        assert text is None or "\0" not in text.encode().decode()


def test_none_empty_text_and_empty_list_stay_apart():
    for content in (None, ""):
        for calls in (None, [], [{}]):
            for call_id in (None, ""):
                message = ConversationMessage("m", "s", content=content, tool_calls=calls, tool_call_id=call_id)
                back = payload.decode_message("s", payload.encode_message("s", message))
                assert (back.content, back.tool_calls, back.tool_call_id) == (content, calls, call_id)


@pytest.mark.parametrize(
    "change",
    [
        {"session_id": ""},
        {"session_id": "\0"},
        {"user_id": ""},
        {"agent_id": "\ud800"},
        {"name": 5},
        {"name": b"x"},
        {"state": [1]},
        {"state": {"a": math.nan}},
        {"metadata": "text"},
        {"metadata": {1: 2}},
        {"created_at": math.nan},
        {"created_at": "now"},
        {"updated_at": math.inf},
    ],
    ids=shown,
)
def test_refused_sessions(change):
    session = ConversationSession(**{"session_id": "s", **change})
    with pytest.raises(PersistenceError) as caught:
        payload.encode_session(session)
    assert isinstance(caught.value, (InvalidValueError, SerializationError))


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "x" * 256},
        {"role": None},
        {"content": 5},
        {"content": b"x"},
        {"tool_calls": {}},
        {"tool_calls": ["x"]},
        {"tool_calls": [{"a": math.inf}]},
        {"tool_calls": ({},)},
        {"tool_call_id": 5},
        {"metadata": []},
        {"metadata": {"a": object()}},
        {"created_at": None},
        {"session_id": "another"},
    ],
    ids=shown,
)
def test_refused_messages(change):
    message = ConversationMessage(**{"id": "m", **change})
    with pytest.raises(PersistenceError) as caught:
        payload.encode_message("s", message)
    assert isinstance(caught.value, (InvalidValueError, SerializationError))


def test_the_size_of_a_record_is_the_sum_of_its_texts():
    message = ConversationMessage("m", role="r" * 10, content="c" * 40, tool_call_id="t" * 10)
    payload.encode_message("s", message, limit=60)
    with pytest.raises(SerializationError, match="the message has 60 bytes"):
        payload.encode_message("s", message, limit=59)
    session = ConversationSession("s", name="n" * 20, state={"a": "x" * 12}, metadata={})
    payload.encode_session(session, limit=42)
    with pytest.raises(SerializationError, match="the session has 42 bytes"):
        payload.encode_session(session, limit=41)


def test_a_batch_may_repeat_a_message_but_not_its_id():
    one, same = (ConversationMessage("m", content="x", metadata={"a": 1, "b": 2}, created_at=t) for t in (1.0, 2.0))
    same.metadata = {"b": 2.0, "a": 1}
    assert [row.id for row in payload.encode_messages("s", [one, same])] == ["m", "m"]
    for change in (
        {"content": "y"},
        {"content": None},
        {"role": "tool"},
        {"tool_calls": []},
        {"tool_call_id": ""},
        {"metadata": {"a": True, "b": 2}},
        {"metadata": None},
    ):
        other = ConversationMessage(**{**one.to_dict(), **change})
        with pytest.raises(DuplicateMessageError, match="'m'"):
            payload.encode_messages("s", [one, ConversationMessage("n"), other])
