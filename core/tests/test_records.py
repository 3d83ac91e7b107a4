"""Records: defaults, dictionaries, slots."""

import dataclasses
import time
import uuid

import pytest

from praisonai_persistence._ids import new_id
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument

RECORDS = [ConversationSession, ConversationMessage, KnowledgeDocument]

FIELDS = {
    ConversationSession: (
        ["session_id", "user_id", "agent_id", "name", "state", "metadata", "created_at", "updated_at", "version"]
    ),
    ConversationMessage: (
        ["id", "session_id", "role", "content", "tool_calls", "tool_call_id", "metadata", "created_at", "seq"]
    ),
    KnowledgeDocument: ["id", "content", "embedding", "metadata", "content_hash", "created_at", "score"],
}


@pytest.mark.parametrize("record", RECORDS)
def test_field_names_and_their_order_are_public(record):
    assert [field.name for field in dataclasses.fields(record)] == FIELDS[record]


@pytest.mark.parametrize("record", RECORDS)
def test_defaults(record):
    before = time.time()
    one, other = record(), record()
    after = time.time()
    key = FIELDS[record][0]
    assert uuid.UUID(getattr(one, key))
    assert getattr(one, key) != getattr(other, key)
    assert before <= one.created_at <= other.created_at <= after


def test_other_defaults():
    session = ConversationSession()
    assert session.updated_at == session.created_at
    assert ConversationSession(created_at=5.0).updated_at == 5.0
    assert ConversationSession(created_at=5.0, updated_at=7.0).updated_at == 7.0
    assert ConversationSession(updated_at=0.0).updated_at == 0.0
    assert session.version == 1
    message = ConversationMessage()
    assert (message.role, message.content, message.tool_calls, message.seq) == ("user", "", None, 0)
    document = KnowledgeDocument()
    assert (document.content, document.embedding, document.metadata, document.score) == ("", None, None, None)


@pytest.mark.parametrize("record", RECORDS)
def test_dictionaries(record):
    values = {name: f"value of {name}" for name in FIELDS[record]}
    made = record.from_dict({**values, "unknown": 1, "to_dict": 2, "__class__": 3})
    assert type(made) is record
    assert made.to_dict() == values
    assert list(made.to_dict()) == FIELDS[record]
    assert record.from_dict(made.to_dict()) == made
    assert record(**values) == made


@pytest.mark.parametrize("record", RECORDS)
def test_missing_keys_get_their_defaults(record):
    key = FIELDS[record][0]
    made = record.from_dict({key: "x"})
    assert made == record(**{key: "x", "created_at": made.created_at})


def test_a_dictionary_holds_what_is_none_too():
    assert ConversationMessage("m", content=None).to_dict()["content"] is None


@pytest.mark.parametrize("record", RECORDS)
def test_records_are_mutable_slotted_and_compared_by_value(record):
    made = record()
    made.created_at = 1.0
    assert made.created_at == 1.0
    assert not hasattr(made, "__dict__")
    with pytest.raises(AttributeError):
        made.content_hsah = "a misspelt field"
    assert record.from_dict(made.to_dict()) == made
    made.metadata = {"a": 1}
    assert record.from_dict({**made.to_dict(), "metadata": {"a": 2}}) != made


def test_made_up_ids_are_random_uuids():
    made = [new_id() for _ in range(2000)]
    assert len(set(made)) == 2000
    for text in made:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
    assert {text[19] for text in made} == set("89ab")
