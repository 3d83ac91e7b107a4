"""The format: what stands in the file, what comes back, and how little of it is read."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from praisonai_persistence.errors import SchemaError
from praisonai_persistence.payload import decode_message, decode_session, encode_message, encode_session
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.stores.conversation import Selection, WholeSession
from praisonai_persistence_json import _document
from praisonai_persistence_json._document import CorruptError, newest_first, parse, parse_around, read_head, render

TEXTS = st.text(st.characters(), max_size=20) | st.text('\0\x1a\ud800\udc00d8001a\\u"\n\r\u2028😀', max_size=12)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e308, -0.0, 10**30])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.none() | st.dictionaries(TEXTS, JSON, max_size=3)
TIMES = st.floats(-1e12, 1e12)
MESSAGES = st.builds(
    ConversationMessage,
    role=TEXTS,
    content=st.none() | TEXTS,
    tool_calls=st.none() | st.lists(st.dictionaries(TEXTS, JSON, max_size=2), max_size=2),
    tool_call_id=st.none() | TEXTS,
    metadata=OBJECTS,
    created_at=TIMES,
)
SESSIONS = st.builds(
    ConversationSession,
    session_id=st.just("s"),
    name=st.none() | TEXTS,
    state=OBJECTS,
    metadata=OBJECTS,
    created_at=TIMES,
    updated_at=TIMES,
)


def whole(session: ConversationSession, messages: list[ConversationMessage]) -> WholeSession:
    found = WholeSession(encode_session(session))
    for message in messages:
        found.append([encode_message(session.session_id, message)], 1.0)
    return found


def same(a: Any, b: Any) -> bool:
    """Equal, with types: 1 is not 1.0, 0.0 is not -0.0."""
    return repr(a) == repr(b)


def records(session: WholeSession) -> Any:
    return decode_session(session.row), [decode_message("s", row) for row in session.messages], session.last_seq


@given(SESSIONS, st.lists(MESSAGES, max_size=4))
def test_everything_comes_back_equal(session: ConversationSession, messages: list[ConversationMessage]) -> None:
    stored = whole(session, messages)
    raw = render(stored)
    assert same(records(parse(raw)), records(stored))
    file = io.BytesIO(raw)
    head = read_head(file)
    assert head is not None
    assert same(decode_session(head.row), decode_session(stored.row))
    found = Selection(100, None, None, None, None).pick(newest_first(file, head.start))
    assert same([decode_message("s", row) for row in found], records(stored)[1])


@given(SESSIONS, st.lists(MESSAGES, max_size=4))
def test_a_file_that_was_laid_out_anew_is_the_same_document(
    session: ConversationSession, messages: list[ConversationMessage]
) -> None:
    stored = whole(session, messages)
    item = json.loads(render(stored))
    for raw in (
        json.dumps(item, indent=4).replace("\n", "\r\n").encode(),  # ASCII only
        b"\xef\xbb\xbf" + json.dumps(item, ensure_ascii=False).encode(),
    ):
        assert read_head(io.BytesIO(raw)) is None
        assert same(records(parse(raw)), records(stored))
        assert render(parse(raw)) == render(stored)


def test_the_layout() -> None:
    session = ConversationSession("chat-42", user_id="ada", name='Plan "B"', state={"step": 2}, created_at=1.5)
    message = ConversationMessage("m1", content="Hi\n\0é😀", metadata={"tokens": 3}, created_at=2.0)
    call = ConversationMessage("m2", role="assistant", content=None, tool_calls=[{"id": "c"}], created_at=3)
    expected = """{
  "format": 1,
  "session_id": "chat-42",
  "user_id": "ada",
  "agent_id": null,
  "name": "Plan \\"B\\"",
  "state": {"step":2},
  "metadata": null,
  "created_at": 1.5,
  "updated_at": 1.5,
  "version": 1,
  "last_seq": 0,
  "checksum": CHECKSUM,
  "messages": [
  ]
}
"""
    assert render(whole(session, [])).decode() == expected.replace("CHECKSUM", str(zlib.crc32(b"0")))
    stored = whole(session, [message, call])
    messages = (
        '\n    {"seq": 1, "id": "m1", "role": "user", "content": "Hi\\n\\u001a0000é😀", "tool_calls": null, '
        '"tool_call_id": null, "metadata": {"tokens":3}, "created_at": 2.0},'
        '\n    {"seq": 2, "id": "m2", "role": "assistant", "content": null, "tool_calls": [{"id":"c"}], '
        '"tool_call_id": null, "metadata": null, "created_at": 3.0}'
    )
    assert render(stored).decode() == expected.replace('"last_seq": 0', '"last_seq": 2').replace(
        '"updated_at": 1.5', f'"updated_at": {stored.row.updated_at}'
    ).replace("[", f"[{messages}").replace("CHECKSUM", str(zlib.crc32(f"{messages}2".encode())))


@given(SESSIONS, st.lists(MESSAGES, max_size=3), st.lists(MESSAGES, max_size=3))
def test_adding_to_messages_that_are_not_read(
    session: ConversationSession, old: list[ConversationMessage], new: list[ConversationMessage]
) -> None:
    stored = whole(session, old)
    raw = render(stored)
    rows = [encode_message("s", message) for message in new]
    found = parse_around(raw, [row.id for row in rows])
    assert found is not None
    added, kept = found
    assert added.append(rows, 5.0) == stored.append(rows, 5.0)
    assert render(added, kept) == render(stored)


def test_a_message_that_is_there_is_found_without_reading() -> None:
    ids = ["m", 'q"\\\n', "é😀", "x" * 255]
    raw = render(whole(ConversationSession("s"), [ConversationMessage(item) for item in ids]))
    for item in ids:
        assert parse_around(raw, ["new", item]) is None
    for item in ("M", 'q"', "é", "x" * 254, "s", "user"):
        assert parse_around(raw, [item]) is not None
    lookalike = ConversationMessage("1", content='"id": "m", "role": "', metadata={"id": "m", "role": "x"})
    assert parse_around(render(whole(ConversationSession("s"), [lookalike])), ["m"]) is not None


def test_a_file_that_was_edited_by_hand_is_read_whole() -> None:
    raw = render(whole(ConversationSession("s", name="old"), [ConversationMessage("m", content="one")]))
    assert parse_around(raw) is not None
    for old, new in (
        (b"one", b"two"),
        (b'"last_seq": 1', b'"last_seq": 0'),
        (b'"last_seq": 1', b'"last_seq": true'),
        (b'"checksum": ', b'"checksum": 1'),
        (b'"checksum"', b'"check"'),
        (b"\n  ]\n}\n", b"\n]\n}\n"),
    ):
        assert old in raw
        assert parse_around(raw.replace(old, new)) is None
    edited = parse_around(raw.replace(b'"old"', b'"new"'))
    assert edited is not None
    assert edited[0].row.name == "new"


def test_the_document_in_the_readme_is_one() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    raw = readme.split("```json\n")[1].split("```")[0].encode()
    assert render(parse(raw)) == raw
    assert parse_around(raw) is not None


class Counting(io.BytesIO):
    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_a_limit_reads_no_more_than_it_must() -> None:
    session = ConversationSession("s")
    few, many = (
        Counting(render(whole(session, [ConversationMessage(content="x" * 1000) for _ in range(n)])))
        for n in (200, 5000)
    )
    for file in (few, many):
        head = read_head(file)
        assert head is not None
        assert file.count < 5000, "what stands before the messages"
        assert len(Selection(50, None, None, None, None).pick(newest_first(file, head.start))) == 50
    assert few.count == many.count < 100_000


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 40))
def test_lines_are_found_wherever_blocks_end(sizes: list[int], block: int) -> None:
    stored = whole(ConversationSession("s"), [ConversationMessage(content="é" * size) for size in sizes])
    file = io.BytesIO(render(stored))
    head = read_head(file)
    assert head is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_document, "_BLOCK", block)
        assert list(newest_first(file, head.start)) == stored.messages[::-1]


def test_one_very_long_line_is_not_copied_for_every_block() -> None:
    stored = whole(ConversationSession("s"), [ConversationMessage(content="x" * 20_000_000)])
    file = Counting(render(stored))
    head = read_head(file)
    assert head is not None
    assert list(newest_first(file, head.start)) == stored.messages
    assert file.count < 30_000_000


def changed(**changes: Any) -> bytes:
    message = ConversationMessage("m", content="secret", metadata={"a": 1}, created_at=1.0)
    item = json.loads(render(whole(ConversationSession("s", created_at=1.0), [message, ConversationMessage("n")])))
    for key, value in changes.items():
        target = item["messages"][0] if key in item["messages"][0] and key not in {"created_at", "metadata"} else item
        if value is ...:
            del target[key]
        else:
            target[key] = value
    return json.dumps(item).encode()


CORRUPT: dict[str, bytes] = {
    "empty": b"",
    "zeros": b"\0" * 512,
    "not JSON": b"{",
    "cut": changed()[:-20],
    "not UTF-8": changed().replace(b"secret", b"\xff\xfe"),
    "two documents": changed() * 2,
    "null": b"null",
    "a list": b"[]",
    "empty object": b"{}",
    "format is missing": changed(format=...),
    "format is text": changed(format="1"),
    "format is true": changed(format=True),
    "session_id is missing": changed(session_id=...),
    "session_id is a number": changed(session_id=1),
    "name is a number": changed(name=1),
    "state is a list": changed(state=[]),
    "created_at is text": changed(created_at="1"),
    "created_at is true": changed(created_at=True),
    "created_at is huge": changed(created_at=10**400),
    "created_at is infinite": changed(created_at=123456).replace(b"123456", b"1e999"),
    "updated_at is NaN": changed(updated_at=123456).replace(b"123456", b"NaN"),
    "version is a float": changed(version=1.0),
    "last_seq is missing": changed(last_seq=...),
    "last_seq is behind": changed(last_seq=1),
    "messages are missing": changed(messages=...),
    "messages are an object": changed(messages={}),
    "a message is text": changed(messages=["m"]),
    "id is missing": changed(id=...),
    "id is there twice": changed(id="n"),
    "role is null": changed(role=None),
    "content is a number": changed(content=5),
    "tool_calls is an object": changed(tool_calls={}),
    "tool_calls holds text": changed(tool_calls=["call"]),
    "seq is 0": changed(seq=0),
    "seq is there twice": changed(seq=2),
    "seq is true": changed(seq=True),
}


@pytest.mark.parametrize("raw", CORRUPT.values(), ids=CORRUPT.keys())
def test_what_is_no_document_is_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptError) as caught:
        parse(raw)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("raw", CORRUPT.values(), ids=CORRUPT.keys())
def test_reading_a_part_never_fails(raw: bytes) -> None:
    assert read_head(io.BytesIO(raw)) is None
    assert parse_around(raw) is None


def test_an_end_that_is_missing_is_noticed_before_anything_is_returned() -> None:
    raw = render(whole(ConversationSession("s"), [ConversationMessage("m"), ConversationMessage("n")]))
    for end in range(len(raw)):
        assert read_head(io.BytesIO(raw[:end])) is None


def test_a_newer_format_is_no_corruption() -> None:
    for raw in (changed(format=2), b'{"format": 2}', b'{\n  "format": 2,\n  "messages": [\n  ]\n}\n'):
        with pytest.raises(SchemaError, match="pip install --upgrade praisonai-persistence-json"):
            parse(raw)


def test_whole_numbers_are_taken_for_times() -> None:
    assert decode_session(parse(changed(created_at=7)).row).created_at == 7.0


def test_numbers_that_this_interpreter_does_not_convert_are_no_corruption() -> None:
    with pytest.raises(ValueError, match="digits"):
        parse(changed(state={"n": 0}).replace(b'"n": 0', b'"n": ' + b"1" * 5000))
    with pytest.raises(RecursionError):
        parse(changed(state={"n": 0}).replace(b'"n": 0', b'"n": ' + b"[" * 100_000 + b"]" * 100_000))
