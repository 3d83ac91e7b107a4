"""The folder goes away in the middle of a write: what the engine makes of it in the new folder is no collection."""

import contextlib
import os
import shutil

import pyarrow as pa
import pytest

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.errors import BackendError, ConnectionFailedError, PersistenceError
from praisonai_persistence_lancedb import LanceDBKnowledgeStore, knowledge


def document(name):
    return KnowledgeDocument(name, f"text of {name}", [1.0, 0.0, 0.0])


def filled(path):
    store = LanceDBKnowledgeStore(path=str(path))
    store.create_collection("docs", 3)
    for number in range(3):
        store.upsert("docs", [document(f"before-{number}")])
    return store


def striking(batch, strike):
    """Give LanceDB what is to be written in pieces, and strike when it asks for them: it is writing then."""

    def struck(*args):
        made = batch(*args)

        def pieces():
            strike()
            yield from made.to_batches()

        return pa.RecordBatchReader.from_batches(made.schema, pieces())

    return struck


@pytest.mark.parametrize("gone", ["the folder", "the folder of the table"])
def test_a_folder_that_goes_away_in_the_middle_of_a_write_leaves_no_half_collection(tmp_path, monkeypatch, gone):
    place = tmp_path / "knowledge"

    def strike():
        victim = place if gone == "the folder" else next(place.glob("*.docs.*.lance"))
        victim.rename(tmp_path / "away")

    with filled(place) as store, LanceDBKnowledgeStore(path=str(place)) as other:
        assert store.count("docs") == other.count("docs") == 3
        with monkeypatch.context() as patch:
            patch.setattr(knowledge, "_batch", striking(knowledge._batch, strike))
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


@pytest.mark.parametrize("since", [0, 1, 3])
@pytest.mark.parametrize("replaced", ["the folder", "the folder of the table"])
def test_a_backup_that_is_put_in_place_in_the_middle_of_a_write_stays_whole(tmp_path, monkeypatch, replaced, since):
    place = tmp_path / "knowledge"

    def strike():
        victim = place if replaced == "the folder" else next(place.glob("*.docs.*.lance"))
        victim.rename(tmp_path / "away")
        (tmp_path / "backup").rename(victim)

    with filled(place) as store, LanceDBKnowledgeStore(path=str(place)) as other:
        shutil.copytree(place if replaced == "the folder" else next(place.glob("*.lance")), tmp_path / "backup")
        for number in range(since):
            store.upsert("docs", [document(f"since-{number}")])
        assert other.count("docs") == 3 + since
        expected = {f"before-{number}" for number in range(3)}
        with monkeypatch.context() as patch:
            patch.setattr(knowledge, "_batch", striking(knowledge._batch, strike))
            if since:  # a version of the table that the backup does not have
                with pytest.raises(ConnectionFailedError, match="replaced during a write"):
                    store.insert("docs", [document("during")])
            else:
                store.insert("docs", [document("during")])
                expected.add("during")
        for number, each in enumerate((store, other, store)):
            each.upsert("docs", [document(f"after-{number}")])
            expected.add(f"after-{number}")
            assert {row.id for row in each.search("docs", [1.0, 0.0, 0.0], limit=20)} == expected
        with LanceDBKnowledgeStore(path=str(place)) as new:
            assert {row.id for row in new.search("docs", [1.0, 0.0, 0.0], limit=20)} == expected


def test_versions_of_a_backup_are_not_removed_whatever_it_lacks(tmp_path, monkeypatch):
    place = tmp_path / "knowledge"
    with filled(place) as store:
        shutil.copytree(place, tmp_path / "backup")
        for file in (tmp_path / "backup").glob("*/data/*"):
            file.unlink()
        for file in (tmp_path / "backup").glob("*/_versions/*"):
            os.utime(file, (1e9, 1e9))
        kept = {file.name for file in (tmp_path / "backup").glob("*/_versions/*.manifest")}

        def strike():
            place.rename(tmp_path / "away")
            (tmp_path / "backup").rename(place)

        monkeypatch.setattr(knowledge, "_batch", striking(knowledge._batch, strike))
        with pytest.raises(BackendError):
            store.insert("docs", [document("during")])
    assert kept <= {file.name for file in place.glob("*/_versions/*.manifest")}
