"""Versioned documents in Firestore: the version is the time of the last change, which the service checks."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from praisonai_persistence.drivers import Pauses
from praisonai_persistence.errors import BackendError, ConfigurationError
from praisonai_persistence.stores import DocumentEngine, MovedError
from praisonai_persistence.stores.document_engine import expiry_of, new_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document, Stored

__all__ = ["FirestoreEngine"]

T = TypeVar("T")

_REQUEST = 9_000_000
"""Bytes of text that one request writes; it may have 10 MiB."""
_LAST_SECOND = 253_402_300_799  # of the year 9999
_END = "~"  # comes after every character of a key
_BLANK: dict[str, Any] = {"parts": "", "owner": "", "pending": "", "ends": None, "held": None}
"""Fields that stand for these values where a document lacks them."""
_KINDS = {str: "string", int: "integer", float: "double", bool: "boolean"}
_MARK = "k."  # before every key, for ids like __x__ are the service's own


class FirestoreEngine(DocumentEngine):
    """A document has three fields: ``text``; ``fields``, a map of the others; and ``expires``, for the service's TTL.

    Its id is the key, with ``.`` for ``/``, which sorts in the same place. ``write`` is another text with each write,
    because a write that changes nothing would leave the version as it is.

    Args:
        collection: of all documents.
        timeout: seconds for a request; also how long one that the service is too busy for is tried again.
    """

    max_document_bytes: ClassVar[int] = 900_000  # 1 MiB, with all other fields
    max_key_bytes: ClassVar[int] = 1_000
    max_batch: ClassVar[int] = 200
    remembers: ClassVar[int] = 1_000
    max_atomic = 10  # of the largest documents in one request

    def __init__(self, collection: str, timeout: float) -> None:
        self._collection = collection
        self._how: dict[str, Any] = {"retry": None, "timeout": timeout}
        self._timeout = timeout

    def look(self, seconds: float) -> Steps[None]:
        """Look whether the database is there, and lets us in."""
        how = {**self._how, "timeout": seconds}
        try:
            yield from self._ask(lambda client: self._document(client, "look").get(["fields"], **how), seconds)
        except MovedError as error:  # NOT_FOUND, and a document that is not there is no error of a read
            raise ConfigurationError(
                "there is no such Firestore project or database: check project= and database="
            ) from error

    def read(self, key: str) -> Steps[Stored | None]:
        snapshot = yield from self._ask(lambda client: self._document(client, key).get(**self._how))
        return self._stored(snapshot) if snapshot.exists else None

    def read_many(self, keys: Sequence[str]) -> Steps[Mapping[str, Stored]]:
        def get_all(client: Any) -> list[Any]:
            return list(client.get_all([self._document(client, key) for key in keys], **self._how))

        found = yield from self._ask(get_all)
        return {_key(snapshot): self._stored(snapshot) for snapshot in found if snapshot.exists}

    def put(self, key: str, document: Document, version: Any) -> Steps[Any]:
        return (yield from self._commit({key: (document, version)}))[key]

    def put_many(self, changes: Mapping[str, tuple[Document, Any]]) -> Steps[Mapping[str, Any]]:
        versions: dict[str, Any] = {}
        for some in _requests(changes):
            try:
                versions.update((yield from self._commit(some)))
            except MovedError:  # one is enough
                versions.update((yield from super().put_many(some)))
        return versions

    def delete(self, key: str, version: Any) -> Steps[None]:
        yield from self._commit({key: (None, version)})

    def delete_many(self, versions: Mapping[str, Any]) -> Steps[set[str]]:
        with suppress(MovedError):
            yield from self._commit({key: (None, version) for key, version in versions.items()})
            return set()
        return (yield from super().delete_many(versions))

    def write_all(self, changes: Mapping[str, tuple[Document | None, Any]]) -> Steps[None]:
        yield from self._commit(changes)

    def scan(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        return (yield from self._scan(prefix, start_after, limit, None))

    def peek(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        return (yield from self._scan(prefix, start_after, limit, ["fields"]))

    def _scan(
        self, prefix: str, start_after: str, limit: int, fields: list[str] | None
    ) -> Steps[Sequence[tuple[str, Stored | None]]]:
        def query(client: Any) -> list[Any]:
            from google.cloud.firestore import FieldFilter

            after = (">", start_after) if start_after >= prefix else (">=", prefix)
            wanted = client.collection(self._collection)
            for operator, key in (after, ("<", prefix + _END)):
                wanted = wanted.where(filter=FieldFilter("__name__", operator, self._document(client, key)))
            wanted = wanted.order_by("__name__").limit(limit)
            return list((wanted if fields is None else wanted.select(fields)).get(**self._how))

        found = yield from self._ask(query)
        return [(_key(snapshot), self._stored(snapshot)) for snapshot in found]

    # -------------------------------------------------------------------------------------------------- the service

    def _ask(self, request: Callable[[Any], T], seconds: float | None = None) -> Steps[T]:
        """Make a request; again after a while, if the service is too busy."""
        answer: T = yield from Pauses(self._timeout if seconds is None else seconds).ask(request)
        return answer

    def _commit(self, changes: Mapping[str, tuple[Document | None, Any]]) -> Steps[dict[str, Any]]:
        """Write and delete documents, all or none; return the new versions."""

        def commit(client: Any) -> dict[str, Any]:
            from google.cloud.firestore_v1.types import CommitRequest

            # The client's own batches make an object for each value, which takes longer than all else here.
            request = CommitRequest(database=client._database_string)
            writes = CommitRequest.pb(request).writes
            for key, (document, version) in changes.items():
                write, name = writes.add(), f"{client._database_string}/documents/{self._collection}/{_id(key)}"
                if document is None:
                    write.delete = name
                else:
                    write.update.name = name
                    _fill(write.update.fields, document)
                if version is not None:
                    write.current_document.update_time.CopyFrom(version.timestamp_pb())
                elif document is not None:
                    write.current_document.exists = False
            answer = client._firestore_api.commit(request=request, metadata=client._rpc_metadata, **self._how)
            return {key: result.update_time for key, result in zip(changes, answer.write_results, strict=True)}

        return (yield from self._ask(commit))

    def _document(self, client: Any, key: str) -> Any:
        return client.collection(self._collection).document(_id(key))

    def _stored(self, snapshot: Any) -> Stored:
        found = snapshot.to_dict()
        try:
            return {**_BLANK, **found["fields"], "text": found.get("text", "")}, snapshot.update_time
        except (KeyError, TypeError) as error:
            raise BackendError(
                f"a document of the collection {self._collection} is not one of this store's; name another collection"
            ) from error


def _id(key: str) -> str:
    return _MARK + key.replace("/", ".")


def _key(snapshot: Any) -> str:
    return str(snapshot.id)[len(_MARK) :].replace(".", "/")


def _fill(fields: Any, document: Document) -> None:
    """Write a document into the fields of a message."""
    ends = expiry_of(document)
    if ends is not None and 0 < ends < _LAST_SECOND:
        fields["expires"].timestamp_value.FromMicroseconds(int(ends * 1_000_000))
    fields["text"].string_value = document["text"]
    fields["write"].string_value = new_token()
    fields["fields"].map_value.SetInParent()  # also if there are none
    others = fields["fields"].map_value.fields
    for name, value in document.items():
        if name == "text" or _BLANK.get(name, document) == value:
            continue
        kind = "null" if value is None else _KINDS[type(value)]
        setattr(others[name], f"{kind}_value", 0 if value is None else value)


def _requests(changes: Mapping[str, tuple[Document, Any]]) -> list[dict[str, tuple[Document, Any]]]:
    """Divide changes into those of requests that the service takes."""
    parts: list[dict[str, tuple[Document, Any]]] = [{}]
    size = 0
    for key, change in changes.items():
        size += 4_000 + len(change[0]["text"].encode())
        if parts[-1] and size > _REQUEST:
            parts.append({})
            size = 0
        parts[-1][key] = change
    return parts
