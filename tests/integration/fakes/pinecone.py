"""Pinecone for tests: control plane and data plane of the API 2026-07, as ``pinecone.md`` says they are documented.

It is exact, and in one process. ``--delay`` seconds pass until a query sees a write; fetches, listings and counts see
it after half of them.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import re
import time
from typing import Any

import numpy as np
from _serving import Answer, Delayed, Fake, Refusal, Request, check_fields, main

_REGIONS = {
    ("aws", "us-east-1"),
    ("aws", "us-west-2"),
    ("aws", "eu-west-1"),
    ("gcp", "us-central1"),
    ("azure", "eastus2"),
}
_METRICS = {"cosine", "dotproduct", "euclidean"}
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 413: 11, 429: 8, 503: 14}
_NAMES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "FORBIDDEN", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}
_NAMES |= {422: "UNPROCESSABLE_ENTITY", 429: "RESOURCE_EXHAUSTED"}
MOST_BYTES = 2 * 1024 * 1024
MOST_RESULT = 4 * 1024 * 1024
MOST_METADATA = 40_960
NUMBER = (int, float)


class Namespace:
    """Records of one index: as queries see them, and as fetches see them."""

    def __init__(self) -> None:
        self.queried, self.fetched = Delayed(), Delayed()

    def change(self, change: Any, delay: float) -> int:
        self.fetched.write(change, delay / 2)
        return self.queried.write(change, delay)


class Index:
    """An index.

    Args:
        made: what it was made with.
    """

    def __init__(self, made: dict[str, Any]) -> None:
        self.made = made
        (self.field,) = made["schema"]["fields"].values()
        self.dimension, self.metric = self.field["dimension"], self.field["metric"]
        self.pod = made["deployment"]["deployment_type"] == "pod"
        self.namespaces: dict[str, Namespace] = {}
        self.ready_at = 0.0


class Pinecone(Fake):
    """The service.

    Args:
        arguments: of the program.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.indexes: dict[str, Index] = {}
        self.quota: int = arguments.quota
        self.starting: float = arguments.starting
        super().__init__(arguments)

    def order(self, name: str, value: Any) -> Any:
        """Beside those of all fakes: ``quota`` of indexes, seconds of ``starting`` until an index is ready."""
        if name in {"quota", "starting"}:
            return setattr(self, name, value)
        if name == "records":  # of a namespace, as they were written
            index, namespace = value
            found = self.indexes[index].namespaces.get(namespace)
            return (
                {} if found is None else {key: record["metadata"] for key, record in found.fetched.catch_up().items()}
            )
        return super().order(name, value)

    # ------------------------------------------------------------------------------------------------------------ both

    def serve(self, request: Request) -> Answer:
        control = request.path[:1] == ("indexes",)
        if request.headers.get("api-key") != self.key:
            raise Refusal(401, "Invalid API Key" if control else "Unauthorized")
        if not re.fullmatch(r"20\d\d-\d\d", request.headers.get("x-pinecone-api-version", "")):
            raise Refusal(400, "X-Pinecone-Api-Version is missing")
        self.throttle(Refusal(429, "Too many requests. Please retry later.", {"retry-after": "1"}))
        if control:
            return self._control(request)
        if request.path[:1] == ("data",) and len(request.path) > 2:
            index = self.indexes.get(request.path[1])
            if index is None:
                raise Refusal(404, "there is no such host")
            if time.monotonic() < index.ready_at:
                raise Refusal(503, "the index is not ready")
            return self._data(index, request, request.path[2:])
        raise Refusal(404, "Not Found")

    def refuse(self, refusal: Refusal, request: Request) -> Answer:
        status, message = refusal.status, refusal.message
        if request.path[:1] == ("indexes",):
            body: Any = {"error": {"code": _NAMES.get(status, "UNKNOWN"), "message": message}, "status": status}
        elif status == 401:
            body = message
        else:
            body = {"code": _CODES.get(status, 2), "message": message, "details": []}
        return Answer(body, status, refusal.headers)

    def change(self, entry: Any, delay: float) -> Any:
        kind, name, *rest = entry
        if kind == "create":
            self.indexes[name] = Index(rest[0])
            return None
        if kind == "delete_index":
            return self.indexes.pop(name)
        index, (namespace, what) = self.indexes[name], rest
        if kind == "drop":
            del index.namespaces[namespace]
            return 1
        records = index.namespaces.setdefault(namespace, Namespace())
        if kind == "create_namespace":
            return 0
        if kind == "upsert":
            made = {key: _record(record) for key, record in what.items()}
            return records.change(lambda seen: seen.update(made), delay)
        if kind == "delete_all":
            return records.change(lambda seen: seen.clear(), delay)
        return records.change(lambda seen: [seen.pop(key, None) for key in what], delay)

    # --------------------------------------------------------------------------------------------------- control plane

    def _control(self, request: Request) -> Answer:
        method, path = request.method, request.path
        if method == "GET" and len(path) == 1:
            return Answer({"indexes": [self._described(index, request.host) for index in self.indexes.values()]})
        if method == "POST" and len(path) == 1:
            return self._create(request)
        if len(path) != 2 or method not in {"GET", "DELETE"}:
            raise Refusal(404, "Not Found")
        if path[1] not in self.indexes:
            raise Refusal(404, f"Resource {path[1]} not found")
        if method == "DELETE":
            if self.indexes[path[1]].made.get("deletion_protection") == "enabled":
                raise Refusal(403, "Deletion protection is enabled for this index.")
            self.write(["delete_index", path[1]])
            return Answer("", 202)
        return Answer(self._described(self.indexes[path[1]], request.host))

    def _described(self, index: Index, host: str) -> dict[str, Any]:
        ready = time.monotonic() >= index.ready_at
        return {
            **index.made,
            "deletion_protection": index.made.get("deletion_protection", "disabled"),
            "host": f"{host}/data/{index.made['name']}",
            "status": {"ready": ready, "state": "Ready" if ready else "Initializing"},
        }

    def _create(self, request: Request) -> Answer:
        body = request.json()
        known = {"name": str, "schema": dict, "deployment": dict, "deletion_protection": str, "tags": dict}
        check_fields(body, {**known, "read_capacity": dict, "cmek_id": str}, ("name", "schema"))
        if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,43}[a-z0-9])?", body["name"]):
            raise Refusal(400, "Name must consist of lower case alphanumeric characters or '-', at most 45")
        check_fields(body["schema"], {"fields": dict}, ("fields",))
        if list(body["schema"]["fields"]) != ["_values"]:
            raise Refusal(400, "this fake knows indexes of dense vectors only, whose one field is _values")
        field = body["schema"]["fields"]["_values"]
        check_fields(field, {"type": str, "dimension": int, "metric": str}, ("type", "dimension", "metric"))
        if field["type"] != "dense_vector" or field["metric"] not in _METRICS:
            raise Refusal(400, "the metric must be one of cosine, dotproduct, euclidean")
        if not 1 <= field["dimension"] <= 20_000:
            raise Refusal(400, "Dimension must be between 1 and 20000")
        place = body.setdefault("deployment", {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"})
        if place.get("deployment_type") == "managed":
            if (place.get("cloud"), place.get("region")) not in _REGIONS:
                raise Refusal(404, f"Resource cloud: {place.get('cloud')} region: {place.get('region')} not found")
        elif place.get("deployment_type") == "pod":
            fields = {"deployment_type": str, "environment": str, "pod_type": str, "replicas": int, "shards": int}
            check_fields(place, fields, ("environment", "pod_type"))
            place.setdefault("replicas", 1)
            place.setdefault("shards", 1)
        else:
            raise Refusal(400, "deployment_type must be managed or pod")
        if body["name"] in self.indexes:
            raise Refusal(409, "Resource  already exists")
        if len(self.indexes) >= self.quota:
            raise Refusal(403, f"You've reached the max serverless indexes allowed in project ({self.quota}).")
        self.write(["create", body["name"], body])
        index = self.indexes[body["name"]]
        index.ready_at = time.monotonic() + self.starting
        return Answer(self._described(index, request.host), 201)

    # ------------------------------------------------------------------------------------------------------ data plane

    def _data(self, index: Index, request: Request, path: tuple[str, ...]) -> Answer:
        if path[0] == "namespaces":
            if index.pod:
                raise Refusal(400, "namespaces operations are not supported for pod-based indexes")
            return self._namespaces(index, request, path)
        operations = {
            ("POST", "vectors", "upsert"): self._upsert,
            ("POST", "vectors", "delete"): self._delete,
            ("POST", "query"): self._query,
            ("GET", "vectors", "fetch"): self._fetch,
            ("POST", "vectors", "fetch_by_metadata"): self._fetch_by_metadata,
            ("GET", "vectors", "list"): self._list,
            ("POST", "describe_index_stats"): self._stats,
        }
        operation = operations.get((request.method, *path))
        if operation is None:
            raise Refusal(404, "Not Found")
        return operation(index, request)

    def _committed(self, index: Index, number: int) -> dict[str, str]:
        return {} if index.pod else {"x-pinecone-request-lsn": str(number)}

    def _upsert(self, index: Index, request: Request) -> Answer:
        if len(request.data) > MOST_BYTES:
            size = len(request.data)
            raise Refusal(413, f"Request size {size} exceeds the maximum supported size of {MOST_BYTES} bytes")
        body = request.json()
        check_fields(body, {"vectors": list, "namespace": str}, ("vectors",))
        if not 1 <= len(body["vectors"]) <= 1_000:
            raise Refusal(400, f"Number of vectors must be from 1 to 1000, got {len(body['vectors'])}")
        made = {}
        for vector in body["vectors"]:
            check_fields(vector, {"id": str, "values": list, "metadata": dict}, ("id", "values"))
            check_id(vector["id"])
            values = check_values(vector["values"], index.dimension)
            metadata = vector.get("metadata", {})
            check_metadata(metadata)
            made[vector["id"]] = [base64.b64encode(values.tobytes()).decode(), metadata]
        number = self.write(["upsert", index.made["name"], _namespace(body), made])
        return Answer({"upsertedCount": len(body["vectors"])}, headers=self._committed(index, number))

    def _delete(self, index: Index, request: Request) -> Answer:
        body = request.json()
        check_fields(body, {"ids": list, "deleteAll": bool, "namespace": str, "filter": dict})
        if bool(body.get("ids")) + bool(body.get("deleteAll")) + bool(body.get("filter")) != 1:
            raise Refusal(400, "exactly one of ids, deleteAll and filter is needed")
        name = _namespace(body)
        if name not in index.namespaces:
            raise Refusal(404, "Namespace not found")
        if body.get("deleteAll"):
            number = self.write(["delete_all", index.made["name"], name, None])
            return Answer({}, headers=self._committed(index, number))
        if body.get("filter"):
            check_filter(body["filter"])
            records = index.namespaces[name].queried.catch_up()
            ids = [key for key, record in records.items() if selects(body["filter"], record["metadata"])]
        else:
            ids = body["ids"]
            if len(ids) > 1_000:
                raise Refusal(400, f"Number of ids must be at most 1000, got {len(ids)}")
            for key in ids:
                check_id(key)
        number = self.write(["delete", index.made["name"], name, ids])
        return Answer({}, headers=self._committed(index, number))

    def _query(self, index: Index, request: Request) -> Answer:
        body = request.json()
        known = {"namespace": str, "topK": int, "vector": list, "id": str, "filter": dict}
        check_fields(body, {**known, "includeValues": bool, "includeMetadata": bool}, ("topK",))
        if not 1 <= body["topK"] <= 10_000:
            raise Refusal(400, f"topK must be from 1 to 10000, got {body['topK']}")
        if ("vector" in body) == ("id" in body):
            raise Refusal(400, "exactly one of vector and id is needed")
        if body.get("filter"):
            check_filter(body["filter"])
        name = _namespace(body)
        usage: dict[str, Any] = {"namespace": name, "usage": {"readUnits": 1}}
        if "vector" in body:
            query = check_values(body["vector"], index.dimension)
        records = index.namespaces[name].queried.catch_up() if name in index.namespaces else {}
        if "id" in body:
            if body["id"] not in records:
                return Answer({"matches": [], **usage})
            query = records[body["id"]]["values"]
        found = [(k, r) for k, r in records.items() if not body.get("filter") or selects(body["filter"], r["metadata"])]
        matches = [self._match(key, record, score, body) for score, key, record in _ranked(index.metric, query, found)]
        matches = matches[: body["topK"]]
        _check_result(matches)
        headers = {}
        if name in index.namespaces and not index.pod:
            headers = {"x-pinecone-max-indexed-lsn": str(index.namespaces[name].queried.number)}
        return Answer({"matches": matches, **usage}, headers=headers)

    def _match(self, key: str, record: dict[str, Any], score: float, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"id": key, "score": score}
        if body.get("includeValues"):
            found["values"] = record["values"].tolist()
        if body.get("includeMetadata"):
            found["metadata"] = record["metadata"]
        return found

    def _fetch(self, index: Index, request: Request) -> Answer:
        _check_parameters(request, {"ids", "namespace"})
        ids = request.query.get("ids", [])
        if not 1 <= len(ids) <= 1_000:
            raise Refusal(400, f"Number of ids must be from 1 to 1000, got {len(ids)}")
        for key in ids:
            check_id(key)
        name = request.query.get("namespace", [""])[0]
        records = index.namespaces[name].fetched.catch_up() if name in index.namespaces else {}
        found = {key: _whole(key, records[key]) for key in ids if key in records}
        return Answer({"vectors": found, "namespace": name, "usage": {"readUnits": 1}})

    def _fetch_by_metadata(self, index: Index, request: Request) -> Answer:
        if index.pod:
            raise Refusal(400, "fetch_by_metadata is not supported for pod-based indexes")
        body = request.json()
        check_fields(body, {"namespace": str, "filter": dict, "limit": int, "paginationToken": str}, ("filter",))
        if not body["filter"]:
            raise Refusal(400, "filter must not be empty")
        check_filter(body["filter"])
        limit = body.get("limit", 100)
        if not 1 <= limit <= 10_000:
            raise Refusal(400, f"limit must be from 1 to 10000, got {limit}")
        name = _namespace(body)
        records = index.namespaces[name].fetched.catch_up() if name in index.namespaces else {}
        after = _place(body.get("paginationToken"))
        keys = [k for k in sorted(records) if k > after and selects(body["filter"], records[k]["metadata"])]
        found = {key: _whole(key, records[key]) for key in keys[:limit]}
        _check_result(found)
        return Answer({"vectors": found, "namespace": name, "usage": {"readUnits": 1}, **_next(keys, limit)})

    def _list(self, index: Index, request: Request) -> Answer:
        if index.pod:
            raise Refusal(400, "list is supported only for serverless indexes")
        _check_parameters(request, {"prefix", "limit", "paginationToken", "namespace"})
        limit, prefix = _limit(request), request.query.get("prefix", [""])[0]
        name = request.query.get("namespace", [""])[0]
        records = index.namespaces[name].fetched.catch_up() if name in index.namespaces else {}
        after = _place(request.query.get("paginationToken", [None])[0])
        keys = [key for key in sorted(records) if key > after and key.startswith(prefix)]
        page = {"vectors": [{"id": key} for key in keys[:limit]], "namespace": name, "usage": {"readUnits": 1}}
        return Answer({**page, **_next(keys, limit)})

    def _stats(self, index: Index, request: Request) -> Answer:
        body = request.json() if request.data else {}
        check_fields(body, {"filter": dict})
        if body.get("filter") and not index.pod:
            raise Refusal(400, "Serverless indexes do not support describing index stats with metadata filtering")
        counts = {name: len(found.fetched.catch_up()) for name, found in index.namespaces.items()}
        return Answer(
            {
                "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
                "dimension": index.dimension,
                "indexFullness": 0,
                "totalVectorCount": sum(counts.values()),
                "metric": index.metric,
                "vectorType": "dense",
            }
        )

    def _namespaces(self, index: Index, request: Request, path: tuple[str, ...]) -> Answer:
        if len(path) == 1 and request.method == "GET":
            _check_parameters(request, {"limit", "paginationToken", "prefix"})
            after, prefix = (
                _place(request.query.get("paginationToken", [None])[0]),
                request.query.get("prefix", [""])[0],
            )
            names = [name for name in sorted(index.namespaces) if name > after and name.startswith(prefix)]
            limit = _limit(request)
            page = [self._space(index, name) for name in names[:limit]]
            return Answer({"namespaces": page, "total_count": len(names), **_next(names, limit)})
        if len(path) == 1 and request.method == "POST":
            body = request.json()
            check_fields(body, {"name": str, "schema": dict}, ("name",))
            if not re.fullmatch(r"[\x01-\x7f]{1,512}", body["name"]) or body["name"] == "__default__":
                raise Refusal(400, "a namespace has a name of 1 to 512 ASCII characters")
            if body["name"] in index.namespaces:
                raise Refusal(409, "Namespace already exists")
            self.write(["create_namespace", index.made["name"], body["name"], None])
            return Answer(self._space(index, body["name"]))
        if len(path) != 2 or path[1] not in index.namespaces:
            raise Refusal(404, "Namespace not found")
        if request.method == "DELETE":
            self.write(["drop", index.made["name"], path[1], None])
            return Answer({})
        return Answer(self._space(index, path[1]))

    def _space(self, index: Index, name: str) -> dict[str, Any]:
        return {"name": name, "record_count": str(len(index.namespaces[name].fetched.catch_up()))}


# ------------------------------------------------------------------------------------------------------------- records


def _record(made: Any) -> dict[str, Any]:
    values, metadata = made
    return {"values": np.frombuffer(base64.b64decode(values), dtype=np.float32), "metadata": metadata}


def _whole(key: str, record: dict[str, Any]) -> dict[str, Any]:
    return {"id": key, "values": record["values"].tolist(), "metadata": record["metadata"]}


def _namespace(body: dict[str, Any]) -> str:
    name = str(body.get("namespace", ""))
    if not re.fullmatch(r"[\x01-\x7f]{0,512}", name):
        raise Refusal(400, "a namespace has a name of at most 512 ASCII characters")
    return "" if name == "__default__" else name


def check_id(key: Any) -> None:
    """Refuse what is no id."""
    if not isinstance(key, str) or not re.fullmatch(r"[\x01-\x7f]{1,512}", key):
        raise Refusal(400, "Vector ID must be ASCII, and have from 1 to 512 characters")


def check_values(values: list[Any], dimension: int) -> Any:
    """Return a dense vector as an array of 32-bit floats."""
    if len(values) != dimension:
        raise Refusal(400, f"Vector dimension {len(values)} does not match the dimension of the index {dimension}")
    if not all(type(value) in NUMBER for value in values):
        raise Refusal(400, "values must be numbers")
    with np.errstate(over="ignore"):
        found = np.array(values, dtype=np.float32)
    if not np.isfinite(found).all():
        raise Refusal(400, "values must be finite in 32 bits")
    if not found.any():
        raise Refusal(400, "Dense vectors must contain at least one non-zero value.")
    return found


def check_metadata(metadata: dict[str, Any]) -> None:
    """Refuse metadata of a type that is not supported, and what is too large."""
    for field, value in metadata.items():
        if field.startswith("$"):
            raise Refusal(400, f"metadata keys must not start with $: '{field}'")
        listed = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if not (isinstance(value, (str, bool, *NUMBER)) or listed):
            got = "null" if value is None else json.dumps(value)[:12]
            message = "Metadata value must be a string, number, boolean or list of strings"
            raise Refusal(400, f"{message}, got '{got}' for field '{field}'")
        if type(value) in NUMBER and not math.isfinite(float(value)):
            raise Refusal(400, f"metadata number of field '{field}' is not finite")
    size = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
    if size > MOST_METADATA:
        raise Refusal(
            400, f"Metadata size is {size} bytes, which exceeds the limit of {MOST_METADATA} bytes per vector"
        )


def _ranked(
    metric: str, query: Any, found: list[tuple[str, dict[str, Any]]]
) -> list[tuple[float, str, dict[str, Any]]]:
    if not found:
        return []
    matrix = np.stack([record["values"] for _, record in found]).astype(np.float64)
    vector = query.astype(np.float64)
    if metric == "euclidean":
        scores = ((matrix - vector) ** 2).sum(axis=1)
        order = np.argsort(scores, kind="stable")
    else:
        scores = matrix @ vector
        if metric == "cosine":
            scores = scores / (np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector))
        order = np.argsort(-scores, kind="stable")
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float32)
    if not np.isfinite(scores).all():
        raise Refusal(400, "a score is not finite in 32 bits")
    return [(float(scores[number]), *found[number]) for number in order.tolist()]


def _check_result(found: Any) -> None:
    size = len(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    if size > MOST_RESULT:
        raise Refusal(400, f"The result has {size} bytes, which exceeds the limit of {MOST_RESULT} bytes")


# --------------------------------------------------------------------------------------------------------------- pages


def _check_parameters(request: Request, known: set[str]) -> None:
    for name in request.query:
        if name not in known:
            raise Refusal(400, f"unknown parameter {name!r}")


def _limit(request: Request) -> int:
    text = request.query.get("limit", ["100"])[0]
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise Refusal(400, "limit must be from 1 to 100")
    return int(text)


def _place(token: str | None) -> str:
    try:
        return "" if token is None else base64.b64decode(token, validate=True).decode()
    except ValueError:
        raise Refusal(400, "invalid pagination token") from None


def _next(keys: list[str], limit: int) -> dict[str, Any]:
    if len(keys) <= limit:
        return {}
    return {"pagination": {"next": base64.b64encode(keys[limit - 1].encode()).decode()}}


# ------------------------------------------------------------------------------------------------------------- filters


def check_filter(tree: Any) -> None:
    """Refuse a filter that the documentation does not know."""
    if not isinstance(tree, dict) or not tree:
        raise Refusal(400, "a filter must be an object, not an empty one")
    for name, value in tree.items():
        if name in {"$and", "$or"}:
            if not isinstance(value, list) or not value:
                raise Refusal(400, f"{name} must have a list of filters")
            for part in value:
                check_filter(part)
        elif name.startswith("$"):
            raise Refusal(400, f"the operator {name} is not supported here")
        else:
            _check_condition(name, value if isinstance(value, dict) else {"$eq": value})


def _check_condition(name: str, condition: dict[str, Any]) -> None:
    if not condition:
        raise Refusal(400, f"the condition of {name} is empty")
    for operator, value in condition.items():
        if operator in {"$eq", "$ne"}:
            right = isinstance(value, (str, bool, *NUMBER))
        elif operator in {"$gt", "$gte", "$lt", "$lte"}:
            right = type(value) in NUMBER
        elif operator in {"$in", "$nin"}:
            right = isinstance(value, list) and all(type(item) in {str, *NUMBER} for item in value)
            if right and not 1 <= len(value) <= 10_000:
                raise Refusal(400, f"{operator} takes from 1 to 10000 values, got {len(value)}")
        elif operator == "$exists":
            right = isinstance(value, bool)
        else:
            raise Refusal(400, f"the operator {operator} is not supported")
        if not right:
            raise Refusal(400, f"{operator} does not take this value")


def selects(tree: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether a filter selects a record. A list has all of its values; what is not there is not compared."""
    for name, value in tree.items():
        if name == "$and":
            if not all(selects(part, metadata) for part in value):
                return False
        elif name == "$or":
            if not any(selects(part, metadata) for part in value):
                return False
        elif not all(
            _holds(metadata, name, *condition)
            for condition in (value if isinstance(value, dict) else {"$eq": value}).items()
        ):
            return False
    return True


def _holds(metadata: dict[str, Any], name: str, operator: str, wanted: Any) -> bool:
    if operator == "$exists":
        return (name in metadata) is wanted
    if name not in metadata:
        return False
    value = metadata[name]
    items = value if isinstance(value, list) else [value]
    if operator in {"$eq", "$in"}:
        return any(_same(item, one) for item in items for one in (wanted if operator == "$in" else [wanted]))
    if operator in {"$ne", "$nin"}:
        return not any(_same(item, one) for item in items for one in (wanted if operator == "$nin" else [wanted]))
    comparable = [float(item) for item in items if type(item) in NUMBER]
    compare = {"$gt": float.__gt__, "$gte": float.__ge__, "$lt": float.__lt__, "$lte": float.__le__}[operator]
    return any(compare(item, float(wanted)) for item in comparable)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (str, bool)) or isinstance(other, (str, bool)):
        return type(one) is type(other) and one == other
    return float(one) == float(other)


if __name__ == "__main__":
    main(Pinecone, ("quota", 20), ("starting", 0.0))
