"""State in DynamoDB: what one conditional request can do, in one request; the rest as documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.payload import dumps, equal, loads
from praisonai_persistence.steps import writes
from praisonai_persistence.stores import DocumentStateSteps, MovedError
from praisonai_persistence.stores.document_engine import new_token
from praisonai_persistence.stores.document_state import end_of, is_over, new_document, plain_of
from praisonai_persistence_dynamodb._items import MOST, coded, end_fields, stored_of
from praisonai_persistence_dynamodb.engine import failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document
    from praisonai_persistence_dynamodb.engine import DynamoDBEngine

__all__ = ["DynamoDBStateSteps"]

_ATOMIC_BYTES = 3_000_000
_ALONE = "attribute_not_exists(#pending) AND attribute_not_exists(#owner)"
"""It takes part in no batch, and has no parts."""
_LIVE = f"{_ALONE} AND (attribute_not_exists(#ends) OR #ends > :now)"
_FREE = f"attribute_not_exists(pk) OR ({_ALONE} AND #ends <= :now)"
"""There is no such key, or its time is up."""
_PLAIN = "attribute_not_exists(kind)"
"""There is no such key, or a plain value that takes part in no batch, and has no parts."""
_CURRENT = f"{_PLAIN} AND (attribute_not_exists(#ends) OR #ends > :now)"
_NUMBER = f"attribute_not_exists(pk) OR ({_CURRENT} AND n BETWEEN :least AND :most)"


class DynamoDBStateSteps(DocumentStateSteps):
    """Writes try with one conditional request.

    Where the condition does not hold, because a key takes part in a batch, or has parts, or another type, they go the
    way of [DocumentStateSteps][].

    Args:
        engine: the engine.
        space: where the keys begin.
    """

    engine: DynamoDBEngine

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        document = new_document(key, "value", text, end_of(ttl, now))
        if ttl is not None:
            yield from self.sweep(now)
        done = not self.documents.is_long(text)
        if done:
            done, _ = yield from self._put(document, _PLAIN, now)
        if not done:
            yield from super().set(key, text, ttl, now)

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        if 1 < len(texts) <= self.engine.max_atomic and self._fits(texts):
            yield from self.sweep(now)
            ends = end_of(ttl, now)
            documents = [new_document(key, "value", text, ends) for key, text in texts.items()]
            try:
                yield from self.engine.transact([{"Put": self._request(one, _PLAIN, now)} for one in documents])
                return
            except MovedError:
                pass
        yield from super().set_many(texts, ttl, now)

    def _change_at_once(
        self, token: str, texts: Mapping[str, str | None], ends: float | None, now: float
    ) -> Steps[int]:
        way = super()._change_at_once if self._fits(texts) else self._batch
        return (yield from way(token, texts, ends, now))

    def _fits(self, texts: Mapping[str, str | None]) -> bool:
        """Whether they fit into a transaction, and each into a document."""
        sizes = [len(text.encode()) for text in texts.values() if text is not None]
        return sum(sizes) <= _ATOMIC_BYTES and max(sizes, default=0) <= self.engine.max_document_bytes

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        if len(keys) == 1:
            done, answer = yield from self._try("delete_item", keys[0], _ALONE, {}, ReturnValues="ALL_OLD")
            if done:
                return int("Attributes" in answer and not is_over(stored_of(answer["Attributes"])[0], now))
        return (yield from super().delete(keys, now))

    @writes
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        fields = end_fields(new_document(key, "value", "", now + ttl))
        sets = "SET v = :v, " + ", ".join(f"#{name} = :{name}" for name in fields)
        change = sets if "expires" in fields else f"{sets} REMOVE #expires"
        values = {":v": coded(new_token()), ":now": coded(now), **{f":{name}": end for name, end in fields.items()}}
        condition = f"attribute_exists(pk) AND {_LIVE}"
        done, old = yield from self._try("update_item", key, condition, values, UpdateExpression=change)
        if done or old is None:
            return done
        return (yield from super().expire(key, ttl, now))

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        if not self.documents.is_long(text):
            document = new_document(key, "value", text, end_of(ttl, now))
            done, old = yield from self._put(document, _FREE, now)
            if done:
                return True
            if old is not None and not old["pending"] and not is_over(old, now):
                plain_of(old, key)
                return False
        return (yield from super().set_if_absent(key, text, ttl, now))

    @writes
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        was = dumps(expected)
        if not self.documents.is_long(text) and not self.documents.is_long(was):
            document = new_document(key, "value", text, end_of(ttl, now))
            whole = type(expected) is int and abs(expected) < MOST
            condition = f"{_CURRENT} AND {'n' if whole else 'plain'} = :was"
            was_coded = coded(expected if whole else was)
            done, old = yield from self._put(document, condition, now, {":was": was_coded})
            if done or old is None:
                return done
            if not old["pending"] and not old["owner"]:
                live = None if is_over(old, now) else old
                if plain_of(live, key) is None or not equal(loads(old["text"]), expected):
                    return False
        return (yield from super().compare_and_set(key, expected, text, ttl, now))

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        if abs(by) < MOST:
            values = {
                ":v": coded(new_token()),
                ":by": {"N": str(by)},
                ":now": coded(now),
                ":least": {"N": str(-MOST)},
                ":most": {"N": str(MOST)},
            }
            change = "SET v = :v"
            if self.engine.key_of(self._key(key))["sk"]["S"] != key:
                change, values[":key"] = "SET v = :v, #key = :key", coded(key)
            how = {"UpdateExpression": f"{change} ADD n :by", "ReturnValues": "ALL_NEW"}
            done, answer = yield from self._try("update_item", key, _NUMBER, values, **how)
            if done:
                return int(stored_of(answer["Attributes"])[0]["text"])
        return (yield from super().incr(key, by, now))

    # ------------------------------------------------------------------------------------------------------- requests

    def _put(
        self, document: Document, condition: str, now: float, values: Mapping[str, Any] | None = None
    ) -> Steps[tuple[bool, Document | None]]:
        """Write a document on a condition; return whether it was done, and if not what stands there."""
        request = self._request(document, condition, now, values)
        try:
            yield from self.engine.ask("put_item", **request, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except MovedError as error:
            return False, _document(error)
        return True, None

    def _request(
        self, document: Document, condition: str, now: float, values: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        item = self.engine.item(self._key(document["key"]), document)
        named = {":now": coded(now)} if ":now" in condition else {}
        return {"TableName": self.engine.table, "Item": item, **_expressions(condition, {**named, **(values or {})})}

    def _try(
        self, operation: str, key: str, condition: str, values: Mapping[str, Any], **how: Any
    ) -> Steps[tuple[bool, Any]]:
        """Change an item on a condition; return whether it was done, with the answer or with what stands there."""
        request = {
            "TableName": self.engine.table,
            "Key": self.engine.key_of(self._key(key)),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **_expressions(condition, values, how.get("UpdateExpression", "")),
            **how,
        }
        try:
            return True, (yield from self.engine.ask(operation, **request))
        except MovedError as error:
            return False, _document(error)


def _document(error: MovedError) -> Document | None:
    item = failed(error)
    return None if item is None else stored_of(item)[0]


_NAMES = ("pending", "owner", "ends", "expires", "key")


def _expressions(condition: str, values: Mapping[str, Any], change: str = "") -> dict[str, Any]:
    """Return the parameters of a condition; names that the service might reserve are written ``#name``."""
    used = f"{condition} {change} "
    names = {f"#{name}": name for name in _NAMES if any(f"#{name}{end}" in used for end in ") ,")}
    found = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": dict(values)}
    return {"ConditionExpression": condition, **{name: given for name, given in found.items() if given}}
