"""Versioned documents as items of one table."""

from __future__ import annotations

import string
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.drivers import HttpErrors, Pauses, ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    PersistenceError,
    StoreNotFoundError,
)
from praisonai_persistence.stores import DocumentEngine, MovedError
from praisonai_persistence.stores.document_engine import new_token
from praisonai_persistence_dynamodb._driver import MissingTableError, TableExistsError
from praisonai_persistence_dynamodb._items import item_of, stored_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document, Stored
    from praisonai_persistence_dynamodb._items import Item

__all__ = ["SPREAD", "Call", "DynamoDBEngine", "failed"]

SPREAD = 8
"""Partitions of a store's keys. Another number would look for them elsewhere."""
_AT_ONCE = 100
"""Items of a batch or a transaction."""
_MOST_BYTES = 3_000_000
"""Text of a transaction, which may have 4 MiB."""


class Call:
    """A request: an operation of the client, and its parameters."""

    __slots__ = ("operation", "parameters")

    def __init__(self, operation: str, parameters: dict[str, Any]) -> None:
        self.operation = operation
        self.parameters = parameters


class DynamoDBEngine(DocumentEngine):
    """A document is an item. The folder of its key is the partition key ``pk``, the rest the sort key ``sk``.

    The folder ``spread`` has ``SPREAD`` partitions, over which the hash of the rest spreads its documents; their order
    in a scan is by partition.

    Args:
        table: its name.
        where: what errors call it.
        timeout: seconds for which a request is tried again that the service is too busy for, and in which a new table
            has to be ready.
        spread: the folder.
    """

    max_document_bytes: ClassVar[int] = 360_000  # an item may have 400 KiB
    max_key_bytes: ClassVar[int] = 1000
    key_characters: ClassVar[frozenset[str]] = frozenset(
        set(string.ascii_letters + string.digits + string.punctuation) - {"/", "="}
    )
    max_batch: ClassVar[int] = 1000
    max_atomic = _AT_ONCE

    def __init__(self, table: str, where: str, timeout: float, spread: str) -> None:
        self.table = table
        self._where = where
        self._timeout = timeout
        self._spread = spread
        self._creates = False

    # ----------------------------------------------------------------------------------------------------- operations

    def look(self, *, creates: bool) -> Steps[None]:
        """Look whether the table is there, and one of ours; make it, if that is wanted."""
        self._creates = creates
        key = self.key_of("probe/probe")
        answer = yield from self.ask("get_item", TableName=self.table, Key=key, ConsistentRead=True)
        # The SDK takes a web page for an answer that says nothing, and so for a write that was made.
        if "json" not in answer["ResponseMetadata"].get("HTTPHeaders", {}).get("content-type", "json"):
            raise HttpErrors(self._where).strange("DynamoDB", "endpoint_url")

    def read(self, key: str) -> Steps[Stored | None]:
        answer = yield from self.ask("get_item", TableName=self.table, Key=self.key_of(key), ConsistentRead=True)
        return stored_of(answer["Item"]) if "Item" in answer else None

    def read_many(self, keys: Sequence[str]) -> Steps[Mapping[str, Stored]]:
        found = {}
        for batch in _chunks(dict.fromkeys(keys, 0)):
            names = {tuple(part["S"] for part in self.key_of(key).values()): key for key in batch}
            left: dict[str, Any] = {self.table: {"Keys": [self.key_of(key) for key in batch], "ConsistentRead": True}}
            pauses = Pauses(self._timeout)
            while left:
                answer = yield from self.ask("batch_get_item", RequestItems=left)
                items = answer["Responses"].get(self.table, ())
                for item in items:
                    found[names[item["pk"]["S"], item["sk"]["S"]]] = stored_of(item)
                left = answer.get("UnprocessedKeys") or {}
                if left and not items:
                    yield from pauses.wait(ThrottledError(f"{self._where} has had too many requests for now"))
        return found

    def put(self, key: str, document: Document, version: Any) -> Steps[Any]:
        request, new = self._put(key, document, version)
        yield from self.ask("put_item", **request)
        return new

    def put_many(self, changes: Mapping[str, tuple[Document, Any]]) -> Steps[Mapping[str, Any]]:
        versions: dict[str, Any] = {}
        for batch in _chunks({key: len(document["text"].encode()) for key, (document, _) in changes.items()}):
            puts = {key: self._put(key, *changes[key]) for key in batch}
            try:
                yield from self.transact([{"Put": put} for put, _ in puts.values()])
                versions.update({key: version for key, (_, version) in puts.items()})
            except MovedError:
                versions.update((yield from super().put_many({key: changes[key] for key in batch})))
        return versions

    def delete(self, key: str, version: Any) -> Steps[None]:
        yield from self.ask("delete_item", **self._delete(key, version))

    def delete_many(self, versions: Mapping[str, Any]) -> Steps[set[str]]:
        moved = set()
        for batch in _chunks(dict.fromkeys(versions, 0)):
            try:
                yield from self.transact([{"Delete": self._delete(key, versions[key])} for key in batch])
            except (MovedError, BackendError):  # the latter for what is too large for a transaction
                moved |= yield from super().delete_many({key: versions[key] for key in batch})
        return moved

    def write_all(self, changes: Mapping[str, tuple[Document | None, Any]]) -> Steps[None]:
        yield from self.transact(
            [
                {"Delete": self._delete(key, version)}
                if document is None
                else {"Put": self._put(key, document, version)[0]}
                for key, (document, version) in changes.items()
            ]
        )

    def scan(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        folder, _, rest = prefix.rpartition("/")
        start = start_after.rpartition("/")[2] if start_after.startswith(f"{folder}/") else ""
        if f"{folder}/" != self._spread:
            return (yield from self._query(folder, folder, rest, start, limit))
        found: list[tuple[str, Stored | None]] = []
        for number in range(_shard(start) if start else 0, SPREAD):
            found += yield from self._query(f"{folder}/{number}", folder, rest, start, limit - len(found))
            start = ""
            if len(found) == limit:
                break
        return found

    def _query(
        self, partition: str, folder: str, rest: str, start: str, limit: int
    ) -> Steps[list[tuple[str, Stored | None]]]:
        # Nothing comes between a sort key and the same with a space; no sort key has characters beyond "~".
        low, high = max(f"{start} ", rest or " "), f"{rest}\x7f"
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :p AND sk BETWEEN :l AND :h",
            "ExpressionAttributeValues": {":p": {"S": partition}, ":l": {"S": low}, ":h": {"S": high}},
        }
        found: list[tuple[str, Stored | None]] = []
        while low <= high:
            answer = yield from self.ask("query", Limit=limit - len(found), **request)
            found += [(f"{folder}/{item['sk']['S']}", stored_of(item)) for item in answer["Items"]]
            if len(found) >= limit or "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return found

    # ------------------------------------------------------------------------------------------------------- requests

    def key_of(self, key: str) -> Item:
        """Return the key of a document's item."""
        folder, _, rest = key.rpartition("/")
        if f"{folder}/" == self._spread:
            folder = f"{folder}/{_shard(rest)}"
        return {"pk": {"S": folder}, "sk": {"S": rest}}

    def item(self, key: str, document: Document) -> Item:
        """Return the item of a document."""
        where = self.key_of(key)
        return {**where, **item_of(document, new_token(), where["sk"]["S"])}

    def _put(self, key: str, document: Document, version: Any) -> tuple[dict[str, Any], str]:
        item = self.item(key, document)
        return {"TableName": self.table, "Item": item, **_condition(version)}, item["v"]["S"]

    def _delete(self, key: str, version: Any) -> dict[str, Any]:
        condition = {} if version is None else _condition(version)
        return {"TableName": self.table, "Key": self.key_of(key), **condition}

    def transact(self, writes: list[dict[str, Any]]) -> Steps[None]:
        """Make writes, all or none."""
        yield from self.ask("transact_write_items", TransactItems=writes)

    def ask(self, operation: str, **parameters: Any) -> Steps[Any]:
        """Make a request; again after a while, if the service is too busy, or if the table has to be made."""
        pauses = Pauses(self._timeout)
        while True:
            try:
                return (yield Call(operation, parameters))
            except ThrottledError as error:
                busy = error
            except MissingTableError as error:
                if not self._creates:
                    raise self._no_table() from error
                yield from self._make_table(pauses)
                busy = ThrottledError(f"{self._where} is not ready yet; try again later")
            yield from pauses.wait(busy)

    def _make_table(self, pauses: Pauses) -> Steps[None]:
        """Make the table, and wait until it can be used."""
        keys = {"pk": "HASH", "sk": "RANGE"}
        with suppress(TableExistsError):
            yield Call(
                "create_table",
                {
                    "TableName": self.table,
                    "BillingMode": "PAY_PER_REQUEST",
                    "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
                    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in keys],
                },
            )
        status = ""
        while status != "ACTIVE":
            with suppress(MissingTableError):
                status = (yield Call("describe_table", {"TableName": self.table}))["Table"]["TableStatus"]
            if status != "ACTIVE":
                yield from pauses.wait(ThrottledError(f"{self._where} is not ready yet; try again later"))
        setting = {"Enabled": True, "AttributeName": "expires"}
        with suppress(PersistenceError):  # it was made by somebody else, or we may not: sweeping does it
            yield Call("update_time_to_live", {"TableName": self.table, "TimeToLiveSpecification": setting})

    def _no_table(self) -> PersistenceError:
        return StoreNotFoundError(
            f"{self._where} does not exist; make it with auto_create_table=True, or with: aws dynamodb create-table "
            f"--table-name {self.table} --billing-mode PAY_PER_REQUEST --key-schema AttributeName=pk,KeyType=HASH "
            f"AttributeName=sk,KeyType=RANGE --attribute-definitions AttributeName=pk,AttributeType=S "
            f"AttributeName=sk,AttributeType=S"
        )


def failed(error: MovedError) -> Item | None:
    """Return the item that did not fulfil the condition of a write."""
    item: Item | None = (getattr(error.__cause__, "response", None) or {}).get("Item") or None
    return item


def _condition(version: Any) -> dict[str, Any]:
    if version is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {"ConditionExpression": "v = :v", "ExpressionAttributeValues": {":v": {"S": version}}}


def _shard(rest: str) -> int:
    return zlib.crc32(rest.encode()) % SPREAD


def _chunks(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Return keys in parts that fit into a request each, by the bytes of their texts."""
    part: list[str] = []
    total = 0
    for key, size in sizes.items():
        if part and (len(part) == _AT_ONCE or total + size > _MOST_BYTES):
            yield part
            part, total = [], 0
        part.append(key)
        total += size
    if part:
        yield part
