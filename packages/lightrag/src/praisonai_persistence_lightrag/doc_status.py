"""LightRAG's storage of its documents' status in a state store.

A document is one key, written in one step with its entries in two indexes. That of the status has a name of its own for
each writing, so that nobody removes the entry of a newer one. What an index says is believed when the document says the
same: an entry that a killed process has left behind finds nothing. So those of former statuses may wait, and are
removed together: when LightRAG commits, when there are some, or when documents are listed; with their document at last.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from lightrag.base import (
    CURSOR_END,
    CURSOR_START,
    CursorAfter,
    CursorPosition,
    DocProcessingStatus,
    DocSchedulingRecord,
    DocStatus,
    DocStatusPage,
    DocStatusStorage,
    SourceAbsent,
    SourceConflict,
    SourceConflictPage,
    SourceConflictRepairResult,
    SourceConflictSummary,
    SourceResolution,
    SourceUnique,
)
from lightrag.exceptions import SourceConflictRepairCASError, StorageRecordNotFoundError
from lightrag.utils import get_pinyin_sort_key

from praisonai_persistence.errors import BackendError, InvalidValueError, PersistenceError
from praisonai_persistence_lightrag._storage import KeyStorage, digest

__all__ = ["PersistentDocStatusStorage"]

_INDEXED = ("content_hash", "file_path", "track_id")
_NO_FILES = {"", "unknown_source", "no-file-path"}
_FORMER = 32
"""Entries of former statuses that wait."""
_NOTED = 10_000
"""Documents of which the name of their entry in the index of status is known, so that it is not read."""
_SAMPLE = 32
"""How many of the documents that are from one file are named."""
_SORTED_BY = ("updated_at", "created_at", "id", "file_path")


def _index(field: str, value: Any) -> str:
    return f"i/{digest(f'{field}={value}')}/"


def _entry(id_: Any, row: dict[str, Any]) -> dict[str, Any]:
    """Return the value of a document's key: what LightRAG gave, and the name of its entry in the index of status."""
    if not isinstance(id_, str):
        raise InvalidValueError(f"an id must be text, not {type(id_).__name__}")
    try:
        status = DocStatus(row.get("status")).value
    except ValueError:
        raise InvalidValueError(f"the status of document {id_!r} is none of LightRAG's") from None
    created = str(row.get("created_at") or "").replace("/", "_")
    row = {"chunks_list": [], **row, "status": status}
    return {"row": row, "mark": f"s/{status}/{created}/{uuid.uuid4().hex}/{id_}"}


def _keys_of(id_: str, entry: dict[str, Any]) -> list[str]:
    """Return the keys of a document's entries in both indexes."""
    values = ((field, entry["row"].get(field)) for field in _INDEXED)
    return [entry["mark"], *(_index(*one) + id_ for one in values if one[1] and one[1] not in _NO_FILES)]


def _id_of(mark: str) -> str:
    return mark.split("/", 4)[4]


def _full(row: dict[str, Any]) -> DocProcessingStatus:
    known = {"metadata": {}, "error_msg": None, **row, "status": DocStatus(row["status"])}
    known["file_path"] = row.get("file_path") or "no-file-path"
    return DocProcessingStatus.from_stored(known)


def _order(id_: str, row: dict[str, Any]) -> tuple[str, str]:
    return str(row.get("created_at") or ""), id_


def _is_duplicate(row: dict[str, Any]) -> bool:
    return bool((row.get("metadata") or {}).get("is_duplicate"))


@dataclass
class PersistentDocStatusStorage(KeyStorage, DocStatusStorage):  # type: ignore[misc]
    """How far LightRAG has got with each document."""

    supports_strict_point_reads: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._marks: dict[str, str] = {}
        self._former: list[str] = []

    async def _entries(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = await self._values(f"d/{id_}" for id_ in dict.fromkeys(ids))
        entries = {key[2:]: entry for key, entry in found.items()}
        self._note(entries)
        return entries

    def _note(self, entries: dict[str, dict[str, Any]]) -> None:
        """Remember what is stored, or was: a writing of another process leaves an entry that finds nothing."""
        if len(self._marks) + len(entries) > _NOTED:
            self._marks.clear()
        self._marks.update((id_, entry["mark"]) for id_, entry in entries.items())

    async def _tidy(self) -> None:
        """Remove what the index of status has of former statuses."""
        gone, self._former = self._former, []
        try:
            await self._remove(gone)
        except BaseException:
            self._former += gone
            raise

    async def index_done_callback(self) -> None:
        """Remove what waits, if that can be done now. All else is durable; after an error LightRAG gives a batch up."""
        with suppress(PersistenceError):
            await self._tidy()

    async def finalize(self) -> None:
        """Do the same."""
        await self._tidy()

    async def _rows(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        return {id_: entry["row"] for id_, entry in (await self._entries(ids)).items()}

    # ------------------------------------------------------------------------------------------------------ key-value

    async def get_by_id(self, id: str) -> dict[str, Any] | None:  # noqa: A002
        """Return what is stored of a document, or None."""
        return (await self._rows([id])).get(id)

    async def get_by_id_strict(self, id: str) -> dict[str, Any] | None:  # noqa: A002
        """Do the same: what cannot be read is an error there, too."""
        return await self.get_by_id(id)

    async def get_by_ids(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return what is stored of documents in the order of their ids, None for one that is not there."""
        found = await self._rows(ids)
        return [found.get(id_) for id_ in ids]  # type: ignore[misc]

    async def filter_keys(self, keys: set[str]) -> set[str]:
        """Return those ids that no document has."""
        return set(keys) - set(await self._rows(list(keys)))

    async def is_empty(self) -> bool:
        """Return whether there is no document."""
        return not await self._keys("d/")

    async def upsert(self, data: dict[str, dict[str, Any]]) -> None:
        """Add or replace documents, in one step where the engine can."""
        made = {id_: _entry(id_, row) for id_, row in data.items()}
        # All of it is from before the writing: what another task writes meanwhile is not to be removed.
        known = {id_: self._marks[id_] for id_ in made if id_ in self._marks}
        found = await self._entries([id_ for id_ in made if id_ not in known])
        values: dict[str, Any] = {f"d/{id_}": entry for id_, entry in made.items()}
        await self._write(values | {key: 1 for id_, entry in made.items() for key in _keys_of(id_, entry)})
        self._note(made)
        self._former += [*known.values(), *(entry["mark"] for entry in found.values())]
        if len(self._former) > _FORMER:
            await self._tidy()

    async def update_doc_status_fields(self, doc_id: str, fields: dict[str, Any], *, missing_ok: bool = False) -> None:
        """Change some fields of a document; what others change meanwhile stays."""
        if "created_at" in fields:
            raise InvalidValueError("created_at stays what it was: documents are read in its order")
        while True:
            old = (await self._entries([doc_id])).get(doc_id)
            if old is None and missing_ok:
                return
            if old is None:
                raise StorageRecordNotFoundError(doc_id)
            new = _entry(doc_id, {**old["row"], **fields})
            await self._write(dict.fromkeys(_keys_of(doc_id, new), 1))
            if await self._call("compare_and_set", f"{self._prefix}d/{doc_id}", old, new):
                self._note({doc_id: new})
                self._former.append(old["mark"])
                return
            await self._remove([new["mark"]])

    async def delete(self, ids: list[str]) -> None:
        """Remove documents; ids that are not there are passed over."""
        found = await self._entries(ids)
        gone = set(ids)
        waiting = [mark for mark in self._former if _id_of(mark) in gone]
        keys = [key for id_, entry in found.items() for key in (f"d/{id_}", *_keys_of(id_, entry))]
        await self._remove(dict.fromkeys([*keys, *waiting]))
        removed = set(waiting)
        self._former = [mark for mark in self._former if mark not in removed]

    # -------------------------------------------------------------------------------------------------------- by status

    async def _listed(self, statuses: Sequence[str] | None) -> dict[tuple[str, str], set[str]]:
        """Return the index's entries by time and id, in this order; None: of every status."""
        await self._tidy()
        found: dict[tuple[str, str], set[str]] = {}
        starts = ["s/"] if statuses is None else [f"s/{status}/" for status in statuses]
        for marks in (await self._keys_of(starts)).values():
            for mark in marks:
                _, _, created, _, id_ = mark.split("/", 4)
                found.setdefault((created, id_), set()).add(mark)
        return dict(sorted(found.items()))

    async def _matching(
        self, listed: dict[tuple[str, str], set[str]], *, strict: bool = True
    ) -> dict[str, dict[str, Any]]:
        """Return what is stored of those documents of which the index is right."""
        entries = await self._entries([id_ for _, id_ in listed])
        if strict and any(not entry["row"].get("created_at") for entry in entries.values()):
            raise BackendError("a document's status has no created_at: it was written by something else than LightRAG")
        return {
            id_: entries[id_]["row"]
            for (_, id_), marks in listed.items()
            if id_ in entries and entries[id_]["mark"] in marks
        }

    @staticmethod
    def _made(rows: dict[str, dict[str, Any]], make: Any, *, strict: bool) -> dict[str, Any]:
        made = {}
        for id_, row in rows.items():
            try:
                made[id_] = make(id_, row)
            except (KeyError, TypeError, ValueError) as error:  # an older release wrote it
                if strict:
                    raise BackendError(f"the status of document {id_!r} lacks what LightRAG needs of it") from error
        return made

    async def get_docs_by_statuses(
        self, statuses: list[DocStatus], strict: bool = False
    ) -> dict[str, DocProcessingStatus]:
        """Return all documents with one of these statuses, the oldest first."""
        rows = await self._matching(await self._listed([status.value for status in statuses]), strict=strict)
        return self._made(rows, lambda _, row: _full(row), strict=strict)

    async def get_docs_by_statuses_page(
        self,
        statuses: list[DocStatus],
        *,
        limit: int,
        position: CursorPosition = CURSOR_START,
        strict: bool = False,
    ) -> DocStatusPage:
        """Return the next documents with one of these statuses, the oldest first."""
        if limit <= 0:
            raise InvalidValueError(f"limit must be positive, not {limit}")
        if position is CURSOR_END:
            return DocStatusPage({}, CURSOR_END)
        listed = list((await self._listed([status.value for status in statuses])).items())
        if isinstance(position, CursorAfter):
            after = tuple(json.loads(position.opaque))
            listed = [one for one in listed if one[0] > after]
        page = dict(listed[:limit])
        docs = self._made(await self._matching(page, strict=strict), self._scheduling_record_from_raw, strict=strict)
        more = len(listed) > limit
        return DocStatusPage(docs, CursorAfter(json.dumps(listed[limit - 1][0])) if more else CURSOR_END)

    async def count_docs_by_statuses(self, statuses: list[DocStatus], *, strict: bool = True) -> int:
        """Return how many documents have one of these statuses."""
        return len(await self._matching(await self._listed([status.value for status in statuses]), strict=strict))

    async def get_status_counts(self) -> dict[str, int]:
        """Return how many documents have each status."""
        counts = {status.value: 0 for status in DocStatus}
        for row in (await self._matching(await self._listed(None), strict=False)).values():
            counts[row["status"]] += 1
        return counts

    async def get_all_status_counts(self) -> dict[str, int]:
        """Return the same, and the number of all of them as ``all``."""
        counts = await self.get_status_counts()
        return {**counts, "all": sum(counts.values())}

    async def get_docs_paginated(
        self,
        status_filter: DocStatus | None = None,
        status_filters: list[DocStatus] | None = None,
        page: int = 1,
        page_size: int = 50,
        sort_field: str = "updated_at",
        sort_direction: str = "desc",
    ) -> tuple[list[tuple[str, DocProcessingStatus]], int]:
        """Return a page of the documents, without their chunks, and how many there are; reads all of them."""
        wanted = self.resolve_status_filter_values(status_filter, status_filters)
        field = sort_field if sort_field in _SORTED_BY else _SORTED_BY[0]
        rows = await self._matching(await self._listed(None if wanted is None else sorted(wanted)), strict=False)
        docs = self._made(rows, lambda _, row: _full({**row, "chunks_list": []}), strict=False)

        def key(item: tuple[str, DocProcessingStatus]) -> Any:
            value = item[0] if field == "id" else getattr(item[1], field)
            return (get_pinyin_sort_key(value) if field == "file_path" else value), item[0]

        ordered = sorted(docs.items(), key=key, reverse=sort_direction.lower() != "asc")
        size = min(max(page_size, 10), 200)
        start = (max(page, 1) - 1) * size
        return ordered[start : start + size], len(ordered)

    # ------------------------------------------------------------------------------------------------- by other things

    async def _having(self, field: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
        """Return the documents with this value of an indexed field, the oldest first."""
        if not value or value in _NO_FILES:
            return []
        start = _index(field, value)
        rows = await self._rows([key[len(start) :] for key in (await self._keys_of([start]))[start]])
        return sorted(
            ((id_, row) for id_, row in rows.items() if row.get(field) == value), key=lambda one: _order(*one)
        )

    async def get_docs_by_track_id(self, track_id: str) -> dict[str, DocProcessingStatus]:
        """Return the documents that were inserted together."""
        return self._made(dict(await self._having("track_id", track_id)), lambda _, row: _full(row), strict=False)

    async def get_doc_by_file_path(self, file_path: str) -> dict[str, Any] | None:
        """Return what is stored of the oldest document from a file, or None."""
        return next((row for _, row in await self._having("file_path", file_path)), None)

    async def get_doc_by_file_basename(self, basename: str) -> tuple[str, dict[str, Any]] | None:
        """Return the oldest document from a file that is no duplicate, or None."""
        return next((one for one in await self._having("file_path", basename) if not _is_duplicate(one[1])), None)

    async def get_doc_by_content_hash(
        self, content_hash: str, *, exclude_doc_id: str | None = None
    ) -> tuple[str, dict[str, Any]] | None:
        """Return the oldest document with this content, other than one and its duplicates, or None."""
        for id_, row in await self._having("content_hash", content_hash):
            if id_ != exclude_doc_id and not self._row_points_at_as_duplicate(row, exclude_doc_id):
                return id_, row
        return None

    async def resolve_doc_source_strict(self, canonical_source_key: str) -> SourceResolution:
        """Return which document is from a file: none, one, or several."""
        found = await self._primary(canonical_source_key)
        if len(found) > 1:
            return SourceConflict(len(found), tuple(found)[:_SAMPLE])
        one = next(iter(found.items()), None)
        return SourceUnique(one[0], self._scheduling_record_from_raw(*one)) if one else SourceAbsent()

    async def _primary(self, file_path: str) -> dict[str, dict[str, Any]]:
        """Return the documents from a file that are no duplicates, by id."""
        return dict(sorted(one for one in await self._having("file_path", file_path) if not _is_duplicate(one[1])))

    async def list_source_conflicts_page(
        self, *, limit: int, position: CursorPosition = CURSOR_START
    ) -> SourceConflictPage:
        """Return the next files of which there are several documents, by name; reads all documents."""
        if limit <= 0:
            raise InvalidValueError(f"limit must be positive, not {limit}")
        if position is CURSOR_END:
            return SourceConflictPage((), CURSOR_END)
        files: dict[str, list[str]] = {}
        for id_, row in (await self._matching(await self._listed(None))).items():
            if row.get("file_path") and row["file_path"] not in _NO_FILES and not _is_duplicate(row):
                files.setdefault(row["file_path"], []).append(id_)
        after = position.opaque if isinstance(position, CursorAfter) else ""
        names = sorted(name for name, ids in files.items() if len(ids) > 1 and name > after)
        found = [SourceConflictSummary(name, len(files[name]), tuple(sorted(files[name])[:_SAMPLE])) for name in names]
        more = len(names) > limit
        return SourceConflictPage(tuple(found[:limit]), CursorAfter(names[limit - 1]) if more else CURSOR_END)

    async def repair_source_conflict(
        self,
        canonical_source_key: str,
        *,
        primary_doc_id: str,
        expected_candidate_count: int,
        expected_candidate_fingerprint: str,
        dry_run: bool = True,
    ) -> SourceConflictRepairResult:
        """Mark all documents from a file but one as its duplicates, unless there are others by now."""
        found = await self._primary(canonical_source_key)
        fingerprint = hashlib.sha256(b"".join(id_.encode() + b"\0" for id_ in found)).hexdigest()
        if primary_doc_id not in found:
            raise InvalidValueError(f"{primary_doc_id!r} is no document from that file, or a duplicate")
        if not dry_run and (len(found), fingerprint) != (expected_candidate_count, expected_candidate_fingerprint):
            raise SourceConflictRepairCASError("there are other documents from that file by now: look again")
        others = [id_ for id_ in found if id_ != primary_doc_id]
        for id_ in () if dry_run else others:
            says = {"is_duplicate": True, "original_doc_id": primary_doc_id}
            await self.update_doc_status_fields(id_, {"metadata": {**(found[id_].get("metadata") or {}), **says}})
        return SourceConflictRepairResult(
            canonical_source_key, primary_doc_id, len(found), fingerprint, tuple(others[:_SAMPLE]), not dry_run
        )

    async def get_docs_by_ids(self, doc_ids: Sequence[str], *, strict: bool = False) -> dict[str, DocSchedulingRecord]:
        """Return what the pipeline needs to know of those documents that exist."""
        return self._made(await self._rows(doc_ids), self._scheduling_record_from_raw, strict=strict)

    async def get_full_docs_by_ids(
        self, doc_ids: Sequence[str], *, strict: bool = False
    ) -> dict[str, DocProcessingStatus]:
        """Return those documents that exist."""
        return self._made(await self._rows(doc_ids), lambda _, row: _full(row), strict=strict)
