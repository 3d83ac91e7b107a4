"""What vector engines that hold JSON store."""

from __future__ import annotations

import uuid
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps, encode_text, loads
from praisonai_persistence.stores.knowledge import DocumentRow
from praisonai_persistence.stores.vector_documents import (
    collection_facts,
    derived_uuids,
    document_candidate,
    encoded_facts,
    lowered,
    restored,
    written_facts,
)


def test_derived_uuids_are_those_of_version_5():
    derive = derived_uuids(uuid.NAMESPACE_OID)
    for key in [*map(str, range(100)), "", "ä", "日本語", "x" * 10_000]:
        assert derive(key) == str(uuid.uuid5(uuid.NAMESPACE_OID, key))


def test_encoded_facts_give_back_the_document():
    embedding, unit = array("f", [3.0, 4.0]), array("f", [0.6, 0.8])
    metadata = dumps({"a": '\0\x1a\ud800 \U0001f600 \u2028 "', "n": [10**30, -0.0, 0.1 + 0.2, None]})
    row = DocumentRow("x", encode_text("text\0"), embedding, metadata, encode_text("\x1a"), 0.1 + 0.2)
    for ranked in (embedding, unit):
        facts = loads(encoded_facts(row, ranked, "w"))
        assert facts["writer"] == "w"
        assert document_candidate(row.id, row.content, facts, lambda ranked=ranked: ranked)[:6] == row
    assert document_candidate("x", "", loads(encoded_facts(row._replace(metadata=None), unit)), lambda: unit)[3] is None


NAMES = st.text("abYZ019-_", max_size=8)


@given(NAMES, NAMES)
def test_names_stay_what_they_are_where_the_case_of_letters_is_lost(one, other):
    assert restored(lowered(one)) == one
    assert lowered(one) == lowered(one).lower()
    assert (lowered(one) == lowered(other)) == (one == other)
    for end in ("_0", "_2"):
        assert end not in lowered(one).replace("__", "")


def test_a_name_that_this_store_did_not_write_is_read_as_something():
    assert restored("old_") == "old"


def test_facts_nested_deeper_than_can_be_read_are_none():
    assert written_facts("[" * 100_000 + "]" * 100_000, "mark") is None


def test_facts_that_somebody_else_wrote_are_none():
    facts = {**collection_facts(CollectionInfo("docs", 3, "dot", None), None), "mark": "m"}
    assert written_facts(dumps(facts), "mark") == facts
    assert written_facts(dumps(facts), "key") is None


@pytest.mark.parametrize("text", [None, "", "a table", "[]", "3", '{"name": "docs"}', 5])
def test_what_is_no_facts(text):
    assert written_facts(text, "mark") is None
