"""Versioned documents as objects: the version is the object's generation."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from praisonai_persistence.drivers import Pauses
from praisonai_persistence.errors import BackendError, ConfigurationError
from praisonai_persistence.stores import DocumentEngine, MovedError
from praisonai_persistence_gcs._driver import MissingError, busy, is_refusal, is_throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document, Stored

__all__ = ["GCSEngine"]

T = TypeVar("T")

_METADATA = 7_500
"""Bytes of a document's fields that are kept with the object's metadata, which may have 8 KiB."""
_AT_ONCE = 16
"""Requests that one call makes at the same time."""
_FEW = 8
"""Objects that are read without a look at which there are."""
_FIELDS = "items(name,generation,metadata),nextPageToken"
_TYPE = "application/octet-stream"
_LAST_SECOND = 253_402_300_799  # of the year 9999


class GCSEngine(DocumentEngine):
    """An object holds a line of JSON with the fields of its document, and then the document's text.

    The fields stand in the object's metadata as well, so that they can be listed; so does, as its custom time, when it
    expires, so that a rule of the bucket can delete it.

    Args:
        bucket: its name.
        before: characters that all keys begin with, and that do not count for their length.
        connect_timeout: seconds.
        timeout: seconds for a request; also how long one that the service is too busy for is tried again.
    """

    max_document_bytes: ClassVar[int] = 8_000_000  # the client sends up to 8 MiB as one request
    max_batch: ClassVar[int] = 1000
    remembers: ClassVar[int] = 1000

    def __init__(self, bucket: str, before: int, connect_timeout: float, timeout: float) -> None:
        self._bucket = bucket
        self._where = f"the bucket {bucket}"
        self.max_key_bytes = before + 200  # type: ignore[misc]
        self._timeout = timeout
        self._how: dict[str, Any] = {"timeout": (connect_timeout, timeout), "retry": None}

    def look(self, space: str) -> Callable[[], Steps[None]]:
        """Return an operation that looks whether the bucket is there, and lets us in."""

        def operation() -> Steps[None]:
            try:
                yield from self._ask(lambda client: self._listed(client, space, space, 1))
            except MissingError as error:
                raise self._no_bucket() from error

        return operation

    def read(self, key: str) -> Steps[Stored | None]:
        try:
            return (yield from self._ask(partial(self._download, key=key)))
        except MissingError as error:
            self._need_bucket(error)
            return None

    def read_many(self, keys: Sequence[str]) -> Steps[Mapping[str, Stored]]:
        wanted = sorted(keys)
        if len(wanted) > _FEW:
            wanted = yield from self._present(wanted)
        answers = yield from self._together({key: partial(self._download, key=key) for key in wanted})
        return answers

    def _present(self, keys: list[str]) -> Steps[list[str]]:
        """Return those of sorted keys that are there, as far as a page of names tells; then all others."""
        folder = keys[0].rpartition("/")[0] + "/"
        page = yield from self.peek(folder, keys[0][:-1], self.max_batch)
        names = {name for name, _ in page}
        last = page[-1][0] if len(page) == self.max_batch else "\uffff"
        return [key for key in keys if key in names or key > last or not key.startswith(folder)]

    def put(self, key: str, document: Document, version: Any) -> Steps[Any]:
        try:
            return (yield from self._ask(self._upload(key, document, version)))
        except MissingError as error:
            self._need_bucket(error)
            if not version:
                raise self._no_bucket() from error
            raise MovedError("the object is gone") from error

    def put_many(self, changes: Mapping[str, tuple[Document, Any]]) -> Steps[Mapping[str, Any]]:
        return (yield from self._together({key: self._upload(key, *change) for key, change in changes.items()}))

    def delete(self, key: str, version: Any) -> Steps[None]:
        try:
            yield from self._ask(partial(self._remove, key=key, version=version))
        except MissingError as error:
            self._need_bucket(error)
            if version is not None:
                raise MovedError("the object is gone") from error

    def delete_many(self, versions: Mapping[str, Any]) -> Steps[set[str]]:
        calls = {key: partial(self._remove, key=key, version=version) for key, version in versions.items()}
        done = yield from self._together(calls)
        return {key for key, version in versions.items() if key not in done and version is not None}

    def scan(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        listed = yield from self.peek(prefix, start_after, limit)
        return [(key, None) for key, _ in listed]

    def peek(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        try:
            return (yield from self._ask(lambda client: self._listed(client, prefix, start_after, limit)))
        except MissingError as error:
            raise self._no_bucket() from error

    # -------------------------------------------------------------------------------------------------- the service

    def _ask(self, request: Callable[[Any], T]) -> Steps[T]:
        """Make a request; again after a while, if the service is too busy."""
        answer: T = yield from Pauses(self._timeout, first=0.5).ask(request)
        return answer

    def _together(self, calls: Mapping[str, Callable[[Any], T]]) -> Steps[dict[str, T]]:
        """Make requests at the same time; return the answers, without those of objects that have moved or are gone."""
        waiting, answers = dict(calls), {}
        pauses = Pauses(self._timeout, first=0.5)
        while waiting:
            outcomes = yield partial(_at_once, calls=waiting)
            answers.update({key: answer for key, (answer, error) in outcomes.items() if error is None})
            waiting = {key: waiting[key] for key, (_, error) in outcomes.items() if is_throttled(error)}
            if waiting:
                yield from pauses.wait(busy(self._where))
        return answers

    def _upload(self, key: str, document: Document, version: Any) -> Callable[[Any], int]:
        fields = _json({name: value for name, value in document.items() if name != "text"})
        data = f"{fields}\n{document['text']}".encode()

        def upload(client: Any) -> int:
            blob = client.bucket(self._bucket).blob(key)
            if len(fields) <= _METADATA:
                blob.metadata = {"fields": fields}
            ends = document.get("ends")
            if ends is not None and 0 < ends < _LAST_SECOND:
                blob.custom_time = datetime.fromtimestamp(ends, timezone.utc)
            blob.upload_from_string(data, _TYPE, if_generation_match=version or 0, **self._how)
            return int(blob.generation)

        return upload

    def _remove(self, client: Any, key: str, version: Any) -> None:
        client.bucket(self._bucket).blob(key).delete(if_generation_match=version, **self._how)

    def _download(self, client: Any, key: str) -> Stored:
        blob = client.bucket(self._bucket).blob(key)
        fields, _, text = blob.download_as_bytes(**self._how).partition(b"\n")
        return self._document(key, fields, text.decode()), int(blob.generation)

    def _listed(self, client: Any, prefix: str, start_after: str, limit: int) -> list[tuple[str, Stored | None]]:
        """Return names with fields and generations; where the metadata lack them, only names."""
        listed = client.list_blobs(
            self._bucket,
            prefix=prefix,
            start_offset=start_after,
            max_results=limit + 1,  # the offset itself is among them if it is there
            fields=_FIELDS,
            **self._how,
        )
        found: list[tuple[str, Stored | None]] = []
        for blob in listed:
            if blob.name > start_after:
                fields = (blob.metadata or {}).get("fields")
                stored = None if fields is None else (self._document(blob.name, fields, ""), int(blob.generation))
                found.append((blob.name, stored))
        return found[:limit]

    def _document(self, key: str, fields: str | bytes, text: str) -> Document:
        try:
            return {**json.loads(fields), "text": text}
        except (ValueError, TypeError) as error:
            raise BackendError(f"the object {key} of the bucket {self._bucket} is not one of this store's") from error

    def _need_bucket(self, error: MissingError) -> None:
        if str(error) == "bucket":
            raise self._no_bucket() from error

    def _no_bucket(self) -> ConfigurationError:
        return ConfigurationError(
            f"there is no bucket {self._bucket}, or these credentials may not see it; make it with: gcloud storage "
            f"buckets create gs://{self._bucket} --location=REGION"
        )


def _at_once(client: Any, calls: Mapping[str, Callable[[Any], T]]) -> dict[str, tuple[T | None, Exception | None]]:
    """Make requests on threads; return for each the answer, or the service's refusal of it alone."""
    from concurrent.futures import ThreadPoolExecutor

    def attempt(call: Callable[[Any], T]) -> tuple[T | None, Exception | None]:
        try:
            return call(client), None
        except Exception as error:
            if not is_refusal(error):
                raise
            return None, error

    with ThreadPoolExecutor(min(_AT_ONCE, len(calls))) as threads:
        return dict(zip(calls, threads.map(attempt, calls.values()), strict=True))


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"))
