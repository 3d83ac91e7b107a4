"""The folder goes away in the middle of a write: what the engine makes of it in the new folder is no collection."""

import contextlib

import pyarrow as pa
import pytest

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.errors import PersistenceError
from praisonai_persistence_lancedb import LanceDBKnowledgeStore, knowledge


def document(name):
    return KnowledgeDocument(name, f"text of {name}", [1.0, 0.0, 0.0])


def filled(path):
    store = LanceDBKnowledgeStore(path=str(path))
    store.create_collection("docs", 3)
    for number in range(3):
        store.upsert("docs", [document(f"before-{number}")])
    return store


@pytest.mark.parametrize("gone", ["the folder", "the folder of the table"])
def test_a_folder_that_goes_away_in_the_middle_of_a_write_leaves_no_half_collection(tmp_path, monkeypatch, gone):
    place = tmp_path / "knowledge"
    batch = knowledge._batch

    def struck(*args):
        """Give LanceDB what is to be written in pieces, and strike when it asks for them: it is writing then."""
        made = batch(*args)

        def pieces():
            victim = place if gone == "the folder" else next(place.glob("*.docs.*.lance"))
            victim.rename(tmp_path / "away")
            yield from made.to_batches()

        return pa.RecordBatchReader.from_batches(made.schema, pieces())

    with filled(place) as store, LanceDBKnowledgeStore(path=str(place)) as other:
        assert store.count("docs") == other.count("docs") == 3
        with monkeypatch.context() as patch:
            patch.setattr(knowledge, "_batch", struck)
            with contextlib.suppress(PersistenceError):
                store.insert("docs", [document("during")])
        assert list(place.glob("*.docs.*.lance")), "LanceDB made no half table; then this test shows nothing"
        for number, each in enumerate((store, other, store)):
            assert each.list_collections() == ["docs"] * bool(number)
            each.create_collection("docs", 3)
            each.upsert("docs", [document(f"after-{number}")])
            assert each.get("docs", [f"after-{number}"])
        assert {row.id for row in store.search("docs", [1.0, 0.0, 0.0], limit=20)} == {"after-0", "after-1", "after-2"}
        store.compact("docs", 0)
        assert store.count("docs") == 3
    assert len(list(place.glob("*.lance"))) == 1, "what was half made is still there"


def test_a_collection_of_before_there_was_the_mark_is_read(tmp_path):
    place = tmp_path / "knowledge"
    with filled(place):
        pass
    (table,) = place.glob("*.docs.*.lance")
    (table / "praisonai-whole").unlink()
    prefix, name, unique, suffix = table.name.split(".")
    table.rename(place / f"{prefix}.{name}.{unique.removeprefix('m')}.{suffix}")
    with LanceDBKnowledgeStore(path=str(place)) as store:
        assert store.list_collections() == ["docs"]
        store.create_collection("others", 3)
        assert store.count("docs") == 3
        store.delete_collection("docs")
        assert store.list_collections() == ["others"]
