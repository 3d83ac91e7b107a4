"""The storage of the documents' status, compared with LightRAG's own in files; racing writers."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import asdict

import pytest
from lightrag.base import (
    CURSOR_END,
    CURSOR_START,
    CursorAfter,
    DocStatus,
    SourceAbsent,
    SourceConflict,
    SourceUnique,
)
from lightrag.exceptions import SourceConflictRepairCASError, StorageRecordNotFoundError
from lightrag.kg.json_doc_status_impl import JsonDocStatusStorage
from lightrag.kg.shared_storage import finalize_share_data, initialize_share_data

from praisonai_persistence.errors import BackendError, InvalidValueError
from praisonai_persistence_lightrag import PersistentDocStatusStorage

IDS = [f"doc-{number}" for number in range(12)] + ["a/b/c", "*"]
FILES = ["a.txt", "b.txt", "unknown_source", "é" * 300]


def row(number, status=DocStatus.PENDING, **fields):
    return {
        "content_summary": f"summary {number}",
        "content_length": number,
        "file_path": "unknown_source",
        "status": status,
        "created_at": f"2026-01-01T00:00:{number % 60:02}+00:00",
        "updated_at": f"2026-02-01T00:00:{(7 * number) % 60:02}+00:00",
        **fields,
    }


def plain(value):
    return json.loads(json.dumps(value, default=lambda made: asdict(made)))


async def pages(storage, statuses, limit):
    """All pages, one after the other."""
    found, position = [], CURSOR_START
    while position is not CURSOR_END:
        page = await storage.get_docs_by_statuses_page(statuses, limit=limit, position=position, strict=True)
        found += list(page.docs.items())
        position = page.next_position
    return found


async def seen(storage):
    """Everything that the interface tells."""
    some = [DocStatus.PENDING, DocStatus.FAILED]
    sorted_by = [
        await storage.get_docs_paginated(
            status_filters=some, page_size=10, page=2, sort_field=field, sort_direction=way
        )
        for field, way in (("id", "asc"), ("id", "desc"))
    ]
    conflicts = await storage.list_source_conflicts_page(limit=1)
    if isinstance(conflicts.next_position, CursorAfter):
        again = await storage.list_source_conflicts_page(limit=1, position=conflicts.next_position)
        assert again.conflicts != conflicts.conflicts
    files = [await storage.resolve_doc_source_strict(name) for name in FILES]
    return plain(
        {
            "rows": await storage.get_by_ids(IDS),
            "missing": sorted(await storage.filter_keys(set(IDS))),
            "counts": await storage.get_all_status_counts(),
            "count": await storage.count_docs_by_statuses(some),
            "some": {key: asdict(doc) for key, doc in (await storage.get_docs_by_statuses(some, strict=True)).items()},
            "pages": await pages(storage, some, 3),
            "sorted": sorted_by,
            "tracks": [await storage.get_docs_by_track_id(name) for name in ("t0", "t1", "t2")],
            "hashes": [await storage.get_doc_by_content_hash(name) for name in ("h0", "h1", "h2", "")],
            "others": [await storage.get_doc_by_content_hash("h0", exclude_doc_id=name) for name in IDS],
            "files": [[type(one).__name__, getattr(one, "doc_id", None)] for one in files],
            "conflicts": [one.canonical_source_key for one in conflicts.conflicts],
            "records": await storage.get_docs_by_ids([*IDS, "never"], strict=True),
            "full": await storage.get_full_docs_by_ids(IDS, strict=True),
        }
    )


async def change(storage, chance):
    """Do what ``chance`` says."""
    some = chance.sample(range(len(IDS)), 3)
    status = chance.choice([DocStatus.PENDING, DocStatus.PROCESSED, DocStatus.FAILED])
    what = chance.randrange(5)
    if what < 3:
        fields = {
            "track_id": f"t{chance.randrange(3)}",
            "content_hash": f"h{chance.randrange(3)}",
            "file_path": chance.choice(FILES),
            "metadata": chance.choice([{}, {"is_duplicate": True, "original_doc_id": chance.choice(IDS)}]),
        }
        await storage.upsert({IDS[number]: row(number, status, **fields) for number in some})
    elif what == 3:
        fields = {"status": status, "error_msg": f"{chance.random()}", "content_hash": f"h{chance.randrange(3)}"}
        await storage.update_doc_status_fields(IDS[some[0]], fields, missing_ok=True)
    else:
        await storage.delete([IDS[some[0]], "never"])


def test_it_says_the_same_as_lightrags_own(run, tmp_path):
    async def work(stores):
        initialize_share_data()
        try:
            config = {"working_dir": str(tmp_path)}
            theirs = JsonDocStatusStorage(namespace="s", workspace="", global_config=config, embedding_func=None)
            await theirs.initialize()
            ours = stores.make(PersistentDocStatusStorage, "s")
            for number in range(60):
                await change(theirs, random.Random(number))
                await change(ours, random.Random(number))
                if number % 12 == 0:
                    assert await seen(ours) == await seen(theirs)
            assert await seen(stores.make(PersistentDocStatusStorage, "s")) == await seen(theirs)
        finally:
            finalize_share_data()

    run(work)


def test_pages_go_on_where_they_ended(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        await storage.upsert({f"{number:02}": row(number) for number in range(25)})
        page = await storage.get_docs_by_statuses_page([DocStatus.PENDING], limit=10)
        assert list(page.docs) == [f"{number:02}" for number in range(10)]
        await storage.update_doc_status_fields("10", {"status": DocStatus.PROCESSED})
        await storage.delete(["11"])
        page = await storage.get_docs_by_statuses_page([DocStatus.PENDING], limit=10, position=page.next_position)
        assert list(page.docs) == [f"{number:02}" for number in range(12, 22)]
        page = await storage.get_docs_by_statuses_page([DocStatus.PENDING], limit=10, position=page.next_position)
        assert (list(page.docs), page.next_position) == (["22", "23", "24"], CURSOR_END)
        page = await storage.get_docs_by_statuses_page([DocStatus.PENDING], limit=10, position=CURSOR_END)
        assert (page.docs, page.next_position) == ({}, CURSOR_END)

    run(work)


def test_racing_writers_of_one_document_lose_no_field_and_leave_one_status(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        await storage.upsert({"a": row(1)})

        async def write(writer):
            status = DocStatus.PROCESSED if writer % 2 else DocStatus.FAILED
            await storage.update_doc_status_fields("a", {f"field {writer}": writer, "status": status})

        await asyncio.gather(*map(write, range(16)))
        found = await storage.get_by_id("a")
        assert {found[f"field {writer}"] for writer in range(16)} == set(range(16))
        counts = await storage.get_all_status_counts()
        assert (counts["all"], counts[found["status"]]) == (1, 1)
        await asyncio.gather(*(storage.upsert({"a": row(1, status)}) for status in list(DocStatus) * 3))
        assert (await storage.get_all_status_counts())["all"] == 1
        found = await storage.get_by_id("a")
        assert list(await storage.get_docs_by_statuses([DocStatus(found["status"])])) == ["a"]

    run(work)


def test_64_tasks_lose_no_document(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)

        async def write(writer):
            for number in range(3):
                await storage.upsert({f"{writer}-{number}": row(number, track_id=f"t{writer}")})
            await storage.update_doc_status_fields(f"{writer}-0", {"status": DocStatus.PROCESSED})

        await asyncio.gather(*map(write, range(64)))
        counts = await storage.get_all_status_counts()
        assert (counts["processed"], counts["pending"], counts["all"]) == (64, 128, 192)
        assert len(await storage.get_docs_by_track_id("t63")) == 3

    run(work)


def test_what_a_killed_process_left_behind_in_an_index_finds_nothing(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        await storage.upsert({"a": row(1, content_hash="h"), "b": row(2)})
        marks = await storage._keys("s/")
        await storage.upsert({"a": row(1, DocStatus.PROCESSED), "b": row(2)})
        await storage._write(dict.fromkeys(marks, 1))
        assert list(await storage.get_docs_by_statuses([DocStatus.PENDING])) == ["b"]
        assert await storage.count_docs_by_statuses([DocStatus.PENDING]) == 1
        assert await pages(storage, [DocStatus.PENDING], 1) == [("b", (await storage.get_docs_by_ids(["b"]))["b"])]
        assert await storage.get_doc_by_content_hash("h") is None

    run(work)


def test_storages_of_two_processes_take_turns_with_one_document(run):
    async def work(stores):
        two = [stores.make(PersistentDocStatusStorage) for _ in range(2)]
        for turn, status in enumerate([*DocStatus, *DocStatus]):
            await two[turn % 2].upsert({"a": row(1, status), f"b{turn}": row(2)})
            for storage in two:
                assert await storage.get_by_id("a") == {**row(1, status), "chunks_list": []}
                assert "a" in await storage.get_docs_by_statuses([status])
                assert (await storage.get_all_status_counts())["all"] == turn + 2
        await two[0].upsert({"a": row(1, DocStatus.PROCESSED)})
        await two[1].delete(["a"])
        await two[0].upsert({"a": row(1, DocStatus.FAILED)})
        assert list(await two[1].get_docs_by_statuses([DocStatus.FAILED])) == ["a"]

    run(work)


def test_entries_of_former_statuses_are_removed_by_the_commit_or_a_list_and_do_not_pile_up_without_one(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        for status in [*DocStatus, *DocStatus]:
            await storage.upsert({"a": row(1, status)})
        await storage.index_done_callback()
        assert len(await storage._keys("s/")) == 1
        for status in [*DocStatus, *DocStatus]:
            await storage.upsert({"a": row(1, status)})
        assert len(await storage.get_docs_by_statuses([status])) == 1
        assert len(await storage._keys("s/")) == 1
        for _ in range(100):
            await storage.upsert({"a": row(1)})
        assert len(await storage._keys("s/")) < 40
        await storage.finalize()
        assert len(await storage._keys("s/")) == 1

    run(work)


def test_processes_that_end_without_finalize_leave_no_entries_of_former_statuses(run):
    async def work(stores):
        for start in range(5):
            storage = stores.make(PersistentDocStatusStorage)
            ids = [f"{start}/{number}" for number in range(3)]
            for status in (DocStatus.PENDING, DocStatus.PROCESSING, DocStatus.PROCESSED):
                await storage.upsert({id_: row(1, status) for id_ in ids})
            await storage.update_doc_status_fields(ids[0], {"track_id": "t"})
            await storage.index_done_callback()
        assert len(await storage._keys("s/")) == 15

    run(work)


def test_entries_of_former_statuses_go_with_their_documents(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        for status in (DocStatus.PENDING, DocStatus.PROCESSING, DocStatus.PROCESSED):
            await storage.upsert({id_: row(1, status, content_hash="h") for id_ in ("a", "a/b", "c")})
        await storage.delete(["a", "a/b", "nothing"])
        assert {mark.split("/", 4)[4] for mark in await storage._keys("s/")} == {"c"}
        assert len(await storage._keys("s/")) == 3
        await storage.delete(["c"])
        assert await storage._keys() == []
        assert storage._former == []

    run(work)


def test_more_documents_than_are_noted(run, monkeypatch):
    monkeypatch.setattr("praisonai_persistence_lightrag.doc_status._NOTED", 3)

    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        for status in (DocStatus.PENDING, DocStatus.PROCESSED):
            await storage.upsert({"0": row(0, status)})
            await storage.upsert({str(number): row(number, status) for number in range(5)})
        assert len(await storage.get_docs_by_statuses([DocStatus.PROCESSED])) == 5
        assert len(await storage._keys("s/")) == 5

    run(work)


def test_several_documents_from_one_file(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        assert await storage.resolve_doc_source_strict("a.txt") == SourceAbsent()
        await storage.upsert({"1": row(1, file_path="a.txt")})
        assert isinstance(await storage.resolve_doc_source_strict("a.txt"), SourceUnique)
        await storage.upsert({name: row(int(name), file_path="a.txt", metadata={"x": 1}) for name in ("3", "2")})
        assert await storage.resolve_doc_source_strict("a.txt") == SourceConflict(3, ("1", "2", "3"))
        assert (await storage.get_doc_by_file_path("a.txt"))["content_length"] == 1
        given = {"primary_doc_id": "2", "expected_candidate_count": 3}
        seen = await storage.repair_source_conflict("a.txt", **given, expected_candidate_fingerprint="")
        assert (seen.committed, seen.candidate_count, seen.demoted_sample_doc_ids) == (False, 3, ("1", "3"))
        with pytest.raises(SourceConflictRepairCASError):
            await storage.repair_source_conflict("a.txt", **given, expected_candidate_fingerprint="", dry_run=False)
        told = {**given, "expected_candidate_fingerprint": seen.fingerprint}
        assert (await storage.repair_source_conflict("a.txt", **told, dry_run=False)).committed
        assert (await storage.resolve_doc_source_strict("a.txt")).doc_id == "2"
        assert (await storage.get_by_id("3"))["metadata"] == {"x": 1, "is_duplicate": True, "original_doc_id": "2"}
        assert (await storage.get_doc_by_file_basename("a.txt"))[0] == "2"
        with pytest.raises(InvalidValueError, match="no document from that file"):
            await storage.repair_source_conflict("a.txt", **{**told, "primary_doc_id": "1"})

    run(work)


def test_bad_input(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        for wrong in (row(1, "unheard of"), {"status": None}):
            with pytest.raises(InvalidValueError, match="none of LightRAG's"):
                await storage.upsert({"a": row(1), "b": wrong})
        with pytest.raises(InvalidValueError, match="must be text"):
            await storage.upsert({1: row(1)})
        assert await storage.is_empty()
        with pytest.raises(StorageRecordNotFoundError):
            await storage.update_doc_status_fields("a", {})
        await storage.update_doc_status_fields("a", {}, missing_ok=True)
        with pytest.raises(InvalidValueError, match="created_at"):
            await storage.update_doc_status_fields("a", {"created_at": "x"})
        for page in (
            storage.get_docs_by_statuses_page([DocStatus.PENDING], limit=0),
            storage.list_source_conflicts_page(limit=0),
        ):
            with pytest.raises(InvalidValueError, match="limit"):
                await page
        await storage.upsert({"a": {"status": "pending"}, "b": row(2)})
        assert list(await storage.get_docs_by_statuses([DocStatus.PENDING])) == ["b"]
        with pytest.raises(BackendError, match="created_at"):
            await storage.get_docs_by_statuses([DocStatus.PENDING], strict=True)
        assert (await storage.drop())["status"] == "success"
        assert await storage.is_empty()

    run(work)


def test_fields_of_another_release_are_kept(run):
    async def work(stores):
        storage = stores.make(PersistentDocStatusStorage)
        await storage.upsert({"a": row(1, unheard_of={"x": [1]})})
        await storage.update_doc_status_fields("a", {"status": DocStatus.PROCESSED})
        assert (await storage.get_by_id("a"))["unheard_of"] == {"x": [1]}
        assert list(await storage.get_docs_by_statuses([DocStatus.PROCESSED], strict=True)) == ["a"]

    run(work)
