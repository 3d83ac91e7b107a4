"""Azure Cosmos DB for NoSQL for tests: the REST interface of an account, as ``cosmosdb.md`` says it is documented.

It is exact, in one region and with one physical partition, its consistency is ``Session``, and it is one process.
``--delay`` seconds pass until reads without a session token see a write.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import math
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import numpy as np
from _serving import Answer, Delayed, Fake, Refusal, Request, check_fields, main

MOST_ITEM = 2 * 1024 * 1024
MOST_ANSWER = 4 * 1024 * 1024
MOST_QUERY = 512 * 1024
MOST_BATCH = 100
NUMBER = (int, float)
_FUNCTIONS = {"cosine", "dotproduct", "euclidean"}
_TYPES = {"float32", "float16", "int8", "uint8"}
_DIMENSIONS = {"flat": 505, "quantizedFlat": 4_096, "diskANN": 4_096}
_CODES = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict"}
_CODES |= {412: "PreconditionFailed", 413: "RequestEntityTooLarge", 424: "FailedDependency", 429: "TooManyRequests"}
_NAME = re.compile(r"[^/\\?#\x00]{1,255}")
_MISSING = object()
_NO_FEATURE = "A Container Vector Policy has been provided, but the capability has not been enabled on your account."
_NO_THROUGHPUT = (
    "Your account is currently configured with a total throughput limit of 1000 RU/s. This operation failed because it "
    "would have increased the total throughput to 1200 RU/s."
)
_REASONS = {
    "firewall": (403, "", "Request originated from client IP 192.0.2.1 through public internet"),
    "incapable": (400, "", _NO_FEATURE),
    "shared": (400, "", "Vector Indexing is not supported for shared throughput offer."),
    "throughput": (400, "", _NO_THROUGHPUT),
    "full": (403, "1014", "Partition key reached maximum size of 20 GB"),
    "region": (403, "3", "The requested operation cannot be performed at this region"),
}
"""What a test can have refused: the status, the sub-status, and the message, as users report them."""


class Container:
    """Items by partition key and id.

    Args:
        made: its properties.
    """

    def __init__(self, made: dict[str, Any]) -> None:
        self.made = made
        self.path = made["partitionKey"]["paths"][0].strip("/")
        self.items: dict[str, dict[str, Any]] = {}
        self.read = Delayed()

    def seen(self, token: int) -> dict[str, Any]:
        """Return the items that a read sees which has a session token: the writes up to that one, none behind it."""
        return self.items if token == self.read.last else self.read.at(token)

    def vectors(self) -> dict[str, dict[str, Any]]:
        """The vector policies by path."""
        policy = self.made.get("vectorEmbeddingPolicy") or {"vectorEmbeddings": []}
        return {one["path"].strip("/"): one for one in policy["vectorEmbeddings"]}


class CosmosDB(Fake):
    """The service.

    Args:
        arguments: of the program.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.databases: dict[str, dict[str, Container]] = {}
        self.quota: int = arguments.quota
        self.consistency = "Session"
        self.inside: list[int] = []
        self.refusing = ""
        self.making = 0
        self.numbers = 0
        super().__init__(arguments)

    def order(self, name: str, value: Any) -> Any:
        """Beside those of all fakes: the ``quota`` of containers in an account, and its ``consistency``.

        ``inside``: the statuses with which the first operations of the next batches are refused, one for each batch;
        ``refusing``: why requests of a kind are refused, a key of ``_REASONS``; ``making``: how many requests to a new
        container find it not made to its end.
        """
        if name in {"quota", "consistency", "inside", "refusing", "making"}:
            return setattr(self, name, value)
        return super().order(name, value)

    # ------------------------------------------------------------------------------------------------------- requests

    def serve(self, request: Request) -> Answer:
        self._admit(request)
        self._check_reason("firewall")
        path, method = request.path, request.method
        if not path and method == "GET":
            return self._account(request)
        self.throttle(Refusal(429, "Request rate is large. More Request Units may be needed", _throttled()))
        if path[:1] != ("dbs",):
            raise Refusal(404, "Resource Not Found")
        if len(path) <= 2:
            return self._on_databases(request)
        containers = self.databases.get(path[1])
        if containers is None:
            raise Refusal(404, "Resource Not Found", {"x-ms-substatus": "1003"})
        if path[2] != "colls" or len(path) > 6:
            raise Refusal(404, "Resource Not Found")
        if len(path) <= 4:
            return self._on_containers(request, containers)
        container = containers.get(path[3])
        if container is None:
            raise Refusal(404, "Owner resource does not exist", {"x-ms-substatus": "1003"})
        if path[4] == "pkranges" and method == "GET":
            return self._ranges(container, request)
        if path[4] != "docs":
            raise Refusal(404, "Resource Not Found")
        if self.making:
            self.making -= 1
            raise Refusal(404, "The container is being created", {"x-ms-substatus": "1013"})
        answer = self._on_items(request, container)
        headers = {"x-ms-session-token": f"0:-1#{container.read.last}", "x-ms-request-charge": "1"}
        return answer._replace(headers={**headers, **answer.headers})

    def _check_reason(self, *reasons: str) -> None:
        """Refuse the request, if a test said so."""
        if self.refusing in reasons:
            status, code, message = _REASONS[self.refusing]
            raise Refusal(status, message, {"x-ms-substatus": code} if code else {})

    def _admit(self, request: Request) -> None:
        """Check the signature, which the master key makes."""
        found = unquote(request.headers.get("authorization", ""))
        parts = request.path
        link, kind = ("/".join(parts), parts[-2]) if parts and len(parts) % 2 == 0 else ("/".join(parts[:-1]), "")
        kind = kind or (parts[-1] if parts else "")
        date = request.headers.get("x-ms-date", "")
        text = f"{request.method.lower()}\n{kind}\n{link}\n{date.lower()}\n\n"
        digest = hmac.new(self.key.encode(), text.encode(), hashlib.sha256).digest()
        if found != f"type=master&ver=1.0&sig={base64.b64encode(digest).decode()}":
            raise Refusal(401, "The input authorization token can't serve the request. The wrong key is being used")
        if not request.headers.get("x-ms-version"):
            raise Refusal(400, "x-ms-version is missing")

    def refuse(self, refusal: Refusal, request: Request) -> Answer:
        body = {"code": _CODES.get(refusal.status, "Unknown"), "message": f"Message: {refusal.message}"}
        return Answer(body, refusal.status, refusal.headers)

    def change(self, entry: Any, delay: float) -> Any:
        kind, name, *rest = entry
        if kind == "database":
            return self.databases.setdefault(name, {})
        if kind == "drop_database":
            return self.databases.pop(name)
        if kind == "container":
            self.databases[name][rest[0]["id"]] = Container(rest[0])
            return None
        if kind == "drop":
            return self.databases[name].pop(rest[0])
        container = self.databases[name][rest[0]]
        for key, item in rest[1]:
            if item is None:
                container.items.pop(key, None)
            else:
                self.numbers = max(self.numbers, int(item["_etag"].strip('"'), 16))
                container.items[key] = item

        def change(seen: dict[str, Any]) -> None:
            for key, item in rest[1]:
                seen.pop(key, None) if item is None else seen.update({key: item})

        return container.read.write(change, delay)

    # ----------------------------------------------------------------------------------------- account, and containers

    def _account(self, request: Request) -> Answer:
        place = {"name": "West Europe", "databaseAccountEndpoint": f"http://{request.host}/"}
        return Answer(
            {
                "id": "fake",
                "_self": "",
                "_dbs": "//dbs/",
                "media": "//media/",
                "writableLocations": [place],
                "readableLocations": [place],
                "enableMultipleWriteLocations": False,
                "userConsistencyPolicy": {"defaultConsistencyLevel": self.consistency},
                "queryEngineConfiguration": "{}",
            }
        )

    def _on_databases(self, request: Request) -> Answer:
        if len(request.path) == 1 and request.method == "POST":
            body = request.json()
            check_fields(body, {"id": str}, ("id",))
            if not _NAME.fullmatch(body["id"]):
                raise Refusal(400, "the id has characters that it cannot have")
            if body["id"] in self.databases:
                raise Refusal(409, "Resource with specified id or name already exists.")
            self.write(["database", body["id"]])
            return Answer(_resource(body, _rid(body["id"])), 201)
        if len(request.path) == 1:
            return Answer({"Databases": [_resource({"id": name}, _rid(name)) for name in self.databases], "_count": 1})
        if request.path[1] not in self.databases:
            raise Refusal(404, "Resource Not Found")
        if request.method == "DELETE":
            self.write(["drop_database", request.path[1]])
            return Answer("", 204)
        return Answer(_resource({"id": request.path[1]}, _rid(request.path[1])))

    def _on_containers(self, request: Request, containers: dict[str, Container]) -> Answer:
        database = request.path[1]
        if len(request.path) == 3 and request.method == "POST":
            body = request.json()
            self._check_container(body)
            if body["id"] in containers:
                raise Refusal(409, "Resource with specified id or name already exists.")
            self._check_reason("throughput")
            if "vectorEmbeddingPolicy" in body:
                self._check_reason("incapable", "shared")
            if sum(map(len, self.databases.values())) >= self.quota:
                raise Refusal(403, "Your account has reached the maximum number of databases and containers")
            body = {**body, "_rid": _rid(f"{database}/{body['id']}/{time.time_ns()}")}
            self.write(["container", database, body])
            return Answer(_resource(body, body["_rid"]), 201)
        if len(request.path) == 3:
            found = [_resource(one.made, one.made["_rid"]) for one in containers.values()]
            return Answer({"DocumentCollections": found, "_count": len(found)})
        if request.path[3] not in containers:
            raise Refusal(404, "Resource Not Found", {"x-ms-substatus": "1003"})
        if request.method == "DELETE":
            self.write(["drop", database, request.path[3]])
            return Answer("", 204)
        made = containers[request.path[3]].made
        return Answer(_resource(made, made["_rid"]))

    def _check_container(self, body: Any) -> None:
        known = {"id": str, "partitionKey": dict, "indexingPolicy": dict, "vectorEmbeddingPolicy": dict}
        check_fields(body, {**known, "defaultTtl": int}, ("id", "partitionKey"))
        if not _NAME.fullmatch(body["id"]):
            raise Refusal(400, "the id has characters that it cannot have")
        check_fields(body["partitionKey"], {"paths": list, "kind": str, "version": int}, ("paths",))
        policy = body.get("vectorEmbeddingPolicy", {"vectorEmbeddings": []})
        check_fields(policy, {"vectorEmbeddings": list}, ("vectorEmbeddings",))
        paths = {}
        for one in policy["vectorEmbeddings"]:
            fields = {"path": str, "dataType": str, "dimensions": int, "distanceFunction": str}
            check_fields(one, fields, tuple(fields))
            if one["distanceFunction"] not in _FUNCTIONS or one["dataType"] not in _TYPES:
                raise Refusal(400, "the vector policy has a function or a type that there is not")
            if not 1 <= one["dimensions"] <= 4_096:
                raise Refusal(400, "a vector has from 1 to 4096 dimensions")
            paths[one["path"]] = one["dimensions"]
        indexing = body.get("indexingPolicy", {})
        known = {"indexingMode": str, "automatic": bool, "includedPaths": list, "excludedPaths": list}
        check_fields(indexing, {**known, "vectorIndexes": list, "compositeIndexes": list})
        for one in indexing.get("vectorIndexes", []):
            check_fields(one, {"path": str, "type": str}, ("path", "type"))
            if one["path"] not in paths or one["type"] not in _DIMENSIONS:
                raise Refusal(400, "a vector index has a path of the vector policy, and one of three types")
            if paths[one["path"]] > _DIMENSIONS[one["type"]]:
                raise Refusal(400, f"an index {one['type']} has vectors of up to {_DIMENSIONS[one['type']]} dimensions")

    def _ranges(self, container: Container, request: Request) -> Answer:
        etag = '"1"'
        if request.headers.get("if-none-match") == etag:
            return Answer("", 304, {"etag": etag})
        one = {"id": "0", "minInclusive": "", "maxExclusive": "FF", "_rid": container.made["_rid"], "status": "online"}
        return Answer({"PartitionKeyRanges": [{**one, "parents": []}], "_count": 1}, headers={"etag": etag})

    # ---------------------------------------------------------------------------------------------------------- items

    def _on_items(self, request: Request, container: Container) -> Answer:
        headers = request.headers
        token = _number_of(headers.get("x-ms-session-token"))
        if self.consistency == "Strong":
            token = container.read.last
        if token > container.read.last:
            raise Refusal(404, "The read session is not available", {"x-ms-substatus": "1002"})
        if request.method == "POST" and headers.get("x-ms-documentdb-isquery", "").lower() == "true":
            return self._query(request, container, container.seen(token))
        partition = _partition(headers.get("x-ms-documentdb-partitionkey"))
        if request.method == "POST" and headers.get("x-ms-cosmos-is-batch-request", "").lower() == "true":
            return self._batch(request, container, partition)
        name = request.path[5] if len(request.path) > 5 else None
        if request.method == "GET":
            found = container.seen(token).get(_key(partition, str(name)))
            if found is None:
                raise Refusal(404, "Entity with the specified id does not exist in the system.")
            return Answer(found)
        kinds = {"POST": "Create", "PUT": "Replace", "DELETE": "Delete"}
        kind = kinds.get(request.method, "")
        if headers.get("x-ms-documentdb-is-upsert", "").lower() == "true":
            kind = "Upsert"
        body = request.json() if request.data else None
        changes: dict[str, Any] = {}
        status, found = self._one(container, partition, kind, name, body, headers.get("if-match"), changes)
        if status >= 400:
            raise Refusal(status, "the operation failed")
        self.write(["items", request.path[1], request.path[3], list(changes.items())])
        more = {"x-ms-alt-content-path": f"dbs/{request.path[1]}/colls/{request.path[3]}"}
        return Answer(found if found is not None else "", status, more)

    def _one(
        self,
        container: Container,
        partition: str,
        kind: str,
        name: str | None,
        body: Any,
        match: str | None,
        changes: dict[str, Any],
    ) -> tuple[int, Any]:
        """Note what one write changes; return its status, and the item."""
        self._check_reason("region", *(() if kind == "Delete" else ("full",)))
        if kind in {"Create", "Upsert", "Replace"}:
            self._check_item(container, partition, body)
            name = body["id"] if name is None else name
        key = _key(partition, str(name))
        before = changes[key] if key in changes else container.items.get(key)
        if kind == "Create" and before is not None:
            return 409, None
        if kind in {"Replace", "Delete"} and before is None:
            return 404, None
        if match is not None and before is not None and match not in {"*", before["_etag"]}:
            return 412, None
        if kind == "Delete":
            changes[key] = None
            return 204, None
        if kind not in {"Create", "Upsert", "Replace"}:
            raise Refusal(400, f"there is no operation {kind}")
        self.numbers += 1
        etag = f'"{self.numbers:08x}"'
        body = json.loads(json.dumps(body), parse_int=float)  # numbers are doubles
        changes[key] = {**_whole(body), "_rid": _rid(key), "_self": f"dbs/{container.made['_rid']}/", "_etag": etag}
        return 201 if before is None else 200, changes[key]

    def _check_item(self, container: Container, partition: str, body: Any) -> None:
        if not isinstance(body, dict) or not isinstance(body.get("id"), str):
            raise Refusal(400, "an item has an id, which is text")
        if not _NAME.fullmatch(body["id"]) or len(body["id"].encode()) > 1_023:
            raise Refusal(400, "the id has characters that it cannot have, or is too long")
        if json.dumps([body.get(container.path)]) != partition:
            raise Refusal(400, "the partition key is not that of the item", {"x-ms-substatus": "1001"})
        if len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")) > MOST_ITEM:
            raise Refusal(413, "Request size is too large")
        _check_depth(body, 128)

    def _batch(self, request: Request, container: Container, partition: str) -> Answer:
        operations = request.json()
        if not isinstance(operations, list) or not 1 <= len(operations) <= MOST_BATCH:
            raise Refusal(400, f"a batch has from 1 to {MOST_BATCH} operations")
        if len(request.data) > MOST_ITEM:
            raise Refusal(413, "Request size is too large")
        changes: dict[str, Any] = {}
        results: list[dict[str, Any]] = []
        for number, one in enumerate(operations):
            known = {"operationType": str, "id": str, "resourceBody": dict, "ifMatch": str, "ifNoneMatch": str}
            check_fields(one, {**known, "partitionKey": str}, ("operationType",))
            kind, body = one["operationType"], one.get("resourceBody")
            if self.inside:
                status, found = self.inside.pop(0), None
            else:
                status, found = self._one(container, partition, kind, one.get("id"), body, one.get("ifMatch"), changes)
            if status >= 400:  # nothing of it is done
                others = [{"statusCode": 424, "requestCharge": 0} for _ in operations]
                others[number] = {"statusCode": status, "requestCharge": 1}
                return Answer(others, 207)
            results.append({"statusCode": status, "requestCharge": 1, "resourceBody": found})
        self.write(["items", request.path[1], request.path[3], list(changes.items())])
        return Answer(results)

    # -------------------------------------------------------------------------------------------------------- queries

    def _query(self, request: Request, container: Container, items: dict[str, Any]) -> Answer:
        headers = request.headers
        if headers.get("content-type") != "application/query+json":
            raise Refusal(400, "the content type of a query is application/query+json")
        body = request.json()
        check_fields(body, {"query": str, "parameters": list}, ("query",))
        if len(body["query"].encode()) > MOST_QUERY:
            raise Refusal(400, f"a query has up to {MOST_QUERY} bytes")
        if "x-ms-documentdb-partitionkey" not in headers:
            raise Refusal(400, "this fake knows queries of one partition only")
        partition = _partition(headers["x-ms-documentdb-partitionkey"])
        parameters = {one["name"]: one["value"] for one in body.get("parameters", [])}
        parsed = _Parser(body["query"], parameters, container.vectors()).query()
        found = parsed.run([item for key, item in items.items() if key.startswith(f"{partition}/")])
        start = _number_of(headers.get("x-ms-continuation"))
        limit = int(headers.get("x-ms-max-item-count", 100))
        limit = 1_000 if limit == -1 else limit
        page, size = [], 0
        for one in found[start : start + limit]:
            size += len(json.dumps(one))
            if page and size > MOST_ANSWER:
                break
            page.append(one)
        more = {"x-ms-item-count": str(len(page))}
        if start + len(page) < len(found):
            more["x-ms-continuation"] = f"-RID:~fake#{start + len(page)}"
        return Answer({"_rid": container.made["_rid"], "Documents": page, "_count": len(page)}, 200, more)


def _throttled() -> dict[str, str]:
    return {"x-ms-retry-after-ms": "20", "x-ms-substatus": "3200"}


def _rid(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode().replace("/", "-")


def _resource(made: dict[str, Any], rid: str) -> dict[str, Any]:
    return {**made, "_rid": rid, "_self": f"dbs/{rid}/", "_etag": '"1"', "_ts": 1}


def _number_of(token: str | None) -> int:
    """Return the number of a session token, or of a continuation."""
    found = re.search(r"#(\d+)$", (token or "").partition(",")[0])
    return int(found.group(1)) if found else 0


def _partition(header: str | None) -> str:
    try:
        values = json.loads(header or "")
    except ValueError:
        values = None
    if not isinstance(values, list) or len(values) != 1:
        raise Refusal(400, "the partition key is missing")
    return json.dumps(values)


def _key(partition: str, name: str) -> str:
    return f"{partition}/{name}"


def _whole(value: Any) -> Any:
    """Return a value with whole numbers as such, as they are printed."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {key: _whole(item) for key, item in value.items()} if isinstance(value, dict) else value


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise Refusal(400, "an item has up to 128 levels")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(item, left - 1)


# ------------------------------------------------------------------------------------------------------------------ SQL

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<sign><=|>=|!=|<>|[=<>(),.*\[\]])|(?P<name>@?[A-Za-z_]\w*))"
)
_WORDS = {"SELECT", "TOP", "VALUE", "FROM", "WHERE", "ORDER", "BY", "AND", "OR", "NOT", "IN", "AS", "ASC", "DESC"}
Expression = Callable[[Any], Any]


class _Query:
    def __init__(self) -> None:
        self.top: int | None = None
        self.columns: list[tuple[str, Expression]] | None = None
        self.value: Expression | None = None
        self.counts = False
        self.where: Expression | None = None
        self.order: Expression | None = None
        self.falling = False

    def run(self, items: list[Any]) -> list[Any]:
        chosen = [item for item in items if self.where is None or self.where(item) is True]
        if self.counts:
            return [len(chosen)]
        if self.order is not None:
            keyed = [(self.order(item), number) for number, item in enumerate(chosen)]
            keyed = [pair for pair in keyed if pair[0] is not _MISSING]
            keyed.sort(key=lambda pair: pair[0], reverse=self.falling)
            chosen = [chosen[number] for _, number in keyed]
        found = [self._shown(item) for item in chosen[: self.top]]
        return [one for one in found if one is not _MISSING]

    def _shown(self, item: Any) -> Any:
        if self.value is not None:
            return self.value(item)
        if self.columns is None:
            return item
        made = {name: column(item) for name, column in self.columns}
        return {name: value for name, value in made.items() if value is not _MISSING}


class _Parser:
    """Reads the part of the query language that is used here, and refuses the rest."""

    def __init__(self, text: str, parameters: dict[str, Any], vectors: dict[str, dict[str, Any]]) -> None:
        self._parameters = parameters
        self._vectors = vectors
        self._alias = "c"
        self._functions: dict[int, str] = {}
        self._tokens: list[tuple[str, str]] = []
        place, text = 0, text.rstrip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._wrong(f"syntax error at {place}")
            kind = str(match.lastgroup)
            self._tokens.append((kind, match.group(kind)))
            place = match.end()
        self._tokens.reverse()

    def _wrong(self, what: str) -> Refusal:
        return Refusal(400, f"Syntax error: {what}")

    def _take(self, *words: str) -> bool:
        if self._tokens and self._tokens[-1][0] != "text" and self._tokens[-1][1].upper() in words:
            self._tokens.pop()
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._wrong(f"expected {word}")

    def _name(self) -> str:
        if not self._tokens or self._tokens[-1][0] != "name" or self._tokens[-1][1].upper() in _WORDS:
            raise self._wrong("expected a name")
        return self._tokens.pop()[1]

    def query(self) -> _Query:
        made = _Query()
        self._need("SELECT")
        if self._take("TOP"):
            top = self._primary()(None)
            if type(top) is not int or top < 1:
                raise self._wrong("TOP takes a positive whole number")
            made.top = top
        if self._take("VALUE"):
            if self._take("COUNT"):
                for word in ("(", "1", ")"):
                    self._need(word)
                made.counts = True
            else:
                made.value = self._any_of()
        elif not self._take("*"):
            made.columns = [self._column()]
            while self._take(","):
                made.columns.append(self._column())
        self._need("FROM")
        if self._name() != self._alias:
            raise self._wrong("this fake knows FROM c only")
        if self._take("WHERE"):
            made.where = self._any_of()
        if self._take("ORDER"):
            self._need("BY")
            before = len(self._tokens)
            made.order = self._any_of()
            function = self._functions.get(before)
            if function is not None:
                if made.top is None:
                    raise Refusal(400, "ORDER BY VectorDistance needs TOP")
                made.falling = function != "euclidean"  # the most similar first
            else:
                made.falling = self._take("DESC") or (self._take("ASC") and False)
        if self._tokens:
            raise self._wrong(f"unexpected {self._tokens[-1][1]}")
        return made

    def _column(self) -> tuple[str, Expression]:
        name = self._tokens[-3][1] if len(self._tokens) > 2 else ""
        column = self._any_of()
        return (self._name() if self._take("AS") else name), column

    def _any_of(self) -> Expression:
        parts = [self._all_of()]
        while self._take("OR"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else lambda item: _either([part(item) for part in parts], True)

    def _all_of(self) -> Expression:
        parts = [self._negation()]
        while self._take("AND"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else lambda item: _either([part(item) for part in parts], False)

    def _negation(self) -> Expression:
        if self._take("NOT"):
            part = self._negation()
            return lambda item: (not part(item)) if isinstance(part(item), bool) else _MISSING
        return self._comparison()

    def _comparison(self) -> Expression:
        left = self._primary()
        negated = self._take("NOT")
        if self._take("IN"):
            self._need("(")
            items = [self._primary()]
            while self._take(","):
                items.append(self._primary())
            self._need(")")
            values = frozenset(json.dumps(item(None)) for item in items)

            def among(item: Any) -> Any:
                value = left(item)
                return _MISSING if value is _MISSING else (json.dumps(value) in values) is not negated

            return among
        if negated:
            raise self._wrong("expected IN")
        for sign in ("<=", ">=", "!=", "<>", "=", "<", ">"):
            if self._take(sign):
                right = self._primary()
                return lambda item: _compared(sign, left(item), right(item))
        return left

    def _primary(self) -> Expression:
        if self._take("("):
            part = self._any_of()
            self._need(")")
            return part
        if not self._tokens:
            raise self._wrong("unexpected end")
        kind, text = self._tokens[-1]
        if kind == "text":
            self._tokens.pop()
            value: Any = json.loads(f'"{text[1:-1]}"') if text[0] == '"' else text[1:-1].replace("\\'", "'")
            return lambda _: value
        if kind == "number":
            self._tokens.pop()
            number = float(text) if re.search(r"[.eE]", text) else int(text)
            return lambda _: number
        before = len(self._tokens)
        name = self._name()
        if name.startswith("@"):
            if name not in self._parameters:
                raise self._wrong(f"there is no parameter {name}")
            given = self._parameters[name]
            return lambda _: given
        if name.lower() in {"true", "false", "null"}:
            constant = {"true": True, "false": False, "null": None}[name.lower()]
            return lambda _: constant
        if name == self._alias:
            return self._path()
        return self._call(name.upper(), before)

    def _path(self) -> Expression:
        steps: list[str] = []
        while True:
            if self._take("."):
                steps.append(self._name())
            elif self._take("["):
                kind, text = self._tokens.pop()
                if kind != "text":
                    raise self._wrong("this fake knows names in brackets only")
                steps.append(text[1:-1])
                self._need("]")
            else:
                break

        def at(item: Any) -> Any:
            for step in steps:
                if not isinstance(item, dict) or step not in item:
                    return _MISSING
                item = item[step]
            return item

        at.steps = steps  # type: ignore[attr-defined]
        return at

    def _call(self, name: str, before: int) -> Expression:
        self._need("(")
        parts = [self._any_of()]
        while self._take(","):
            parts.append(self._any_of())
        self._need(")")
        if name == "IS_DEFINED" and len(parts) == 1:
            return lambda item: parts[0](item) is not _MISSING
        if name == "ARRAY_CONTAINS" and len(parts) == 2:

            def contains(item: Any) -> Any:
                found, wanted = parts[0](item), parts[1](item)
                return _MISSING if found is _MISSING else isinstance(found, list) and wanted in found

            return contains
        if name == "STARTSWITH" and len(parts) == 2:
            return lambda item: str(parts[0](item)).startswith(str(parts[1](item)))
        if name == "VECTORDISTANCE" and len(parts) in {2, 3}:
            return self._distance(parts, before)
        raise self._wrong(f"'{name}' is not a recognized built-in function name")

    def _distance(self, parts: list[Expression], before: int) -> Expression:
        steps = getattr(parts[0], "steps", [])
        policy = self._vectors.get("/".join(steps))
        if policy is None:
            raise Refusal(400, "VectorDistance needs a vector policy of the path")
        if len(parts) == 3 and not isinstance(parts[2](None), bool):
            raise Refusal(400, "the third argument of VectorDistance is a boolean")
        query = np.array(parts[1](None), dtype=np.float32).astype(np.float64)
        if query.shape != (policy["dimensions"],):
            raise Refusal(400, f"the vector has another dimension than {policy['dimensions']}")
        self._functions[before] = policy["distanceFunction"]

        def distance(item: Any) -> Any:
            value = parts[0](item)
            if not isinstance(value, list) or len(value) != policy["dimensions"]:
                return _MISSING
            vector = np.array(value, dtype=np.float32).astype(np.float64)
            if policy["distanceFunction"] == "euclidean":
                found = float(np.linalg.norm(vector - query))
            else:
                found = float(vector @ query)
                if policy["distanceFunction"] == "cosine":
                    found /= float(np.linalg.norm(vector) * np.linalg.norm(query)) or math.nan
            return found if math.isfinite(found) else _MISSING

        return distance


def _either(values: list[Any], found: bool) -> Any:
    """Return OR (found=True) or AND of values, which may be undefined."""
    if found in [value for value in values if isinstance(value, bool)]:
        return found
    return (not found) if all(isinstance(value, bool) for value in values) else _MISSING


def _compared(sign: str, left: Any, right: Any) -> Any:
    if left is _MISSING or right is _MISSING:
        return _MISSING
    numbers = type(left) in NUMBER and type(right) in NUMBER
    if sign in {"=", "!=", "<>"}:
        same = left == right if numbers or type(left) is type(right) else False
        return same is (sign == "=")
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        return _MISSING
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


if __name__ == "__main__":
    main(CosmosDB, ("quota", 500))
