"""Upstash Vector for tests: the REST interface of one dense index, as ``upstash_vector.md`` says it is documented.

It is exact, and in one process. ``--delay`` seconds pass until queries see a write.
"""

from __future__ import annotations

import argparse
import base64
import fnmatch
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from _serving import Answer, Delayed, Fake, Refusal, Request, check_fields, main

MOST_METADATA = 48_000
MOST_DATA = 1_000_000
MOST_VECTORS = 1_000
NUMBER = (int, float)
_FUNCTIONS = {"COSINE", "DOT_PRODUCT", "EUCLIDEAN"}
_INCLUDED = {"includeMetadata": bool, "includeVectors": bool, "includeData": bool}
_NAMESPACE = re.compile(r"[A-Za-z0-9_.~-]{1,200}")  # what the client sends unquoted


class Namespace:
    """Records: as they are, and as queries see them."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}
        self.queried = Delayed()


class UpstashVector(Fake):
    """The service.

    Args:
        arguments: of the program.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.dimension: int = arguments.dimension
        self.function: str = arguments.function
        self.sparse = False
        self.budget: int = arguments.budget
        self.spent = False
        self.namespaces: dict[str, Namespace] = {"": Namespace()}
        super().__init__(arguments)

    def order(self, name: str, value: Any) -> Any:
        """Beside those of all fakes: what the index is, its ``budget`` of filters, whether the quota is ``spent``."""
        if name in {"dimension", "function", "sparse", "budget", "spent"}:
            return setattr(self, name, value)
        return super().order(name, value)

    # ------------------------------------------------------------------------------------------------------- requests

    def serve(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            raise Refusal(401, "Unauthorized: Invalid auth token")
        operations: dict[str, Callable[[str, Any], Any]] = {
            "upsert": self._upsert,
            "update": self._update,
            "query": self._query,
            "fetch": self._fetch,
            "range": self._range,
            "delete": self._delete,
            "reset": self._reset,
            "info": self._info,
            "list-namespaces": self._list,
            "delete-namespace": self._drop,
        }
        name = request.path[0] if request.path else ""
        if name not in operations or len(request.path) > 2:
            raise Refusal(404, "Not Found")
        if request.method not in {"GET", "POST", "PUT", "DELETE"}:
            raise Refusal(405, "Method Not Allowed")
        self.throttle(Refusal(429, "Too many requests", {"retry-after": "1"}))
        if self.spent:
            raise Refusal(429, "Exceeded daily request limit")
        namespace = request.path[1] if len(request.path) > 1 else ""
        if namespace and not _NAMESPACE.fullmatch(namespace):
            raise Refusal(400, "the namespace has characters that a path cannot have")
        body = request.json() if request.data else None
        return Answer({"result": operations[name](namespace, body)})

    def refuse(self, refusal: Refusal, request: Request) -> Answer:
        return Answer({"error": refusal.message, "status": refusal.status}, refusal.status, refusal.headers)

    def change(self, entry: Any, delay: float) -> Any:
        kind, name, what = entry
        if kind == "drop":
            return self.namespaces.pop(name, None)  # what reads have made is not in the log
        namespace = self.namespaces.setdefault(name, Namespace())
        if kind == "upsert":
            made = {one["id"]: _record(one) for one in what}
            namespace.records.update(made)
            return namespace.queried.write(lambda seen: seen.update(made), delay)
        for key in what:
            namespace.records.pop(key, None)
        return namespace.queried.write(lambda seen: [seen.pop(key, None) for key in what], delay)

    def _space(self, name: str) -> Namespace:
        """Return a namespace, which reads make too."""
        return self.namespaces.setdefault(name, Namespace())

    # --------------------------------------------------------------------------------------------------------- writes

    def _upsert(self, name: str, body: Any) -> str:
        made = body if isinstance(body, list) else [body]
        if not 1 <= len(made) <= MOST_VECTORS:
            raise Refusal(400, f"from 1 to {MOST_VECTORS} vectors are upserted at once, got {len(made)}")
        nothing = type(None)
        known = {
            "id": (str, int),
            "vector": list,
            "sparseVector": (dict, nothing),
            "metadata": (dict, nothing),
            "data": (str, nothing),
        }
        for one in made:
            check_fields(one, known, ("id", "vector"))
            if one["id"] == "":
                raise Refusal(400, "an id must not be empty")
            if one.get("sparseVector") is not None:
                raise Refusal(422, "This index takes no sparse vectors")
            values = self._values(one["vector"])
            _check_payload(one)
            one["id"] = str(one["id"])
            one["vector"] = base64.b64encode(values.tobytes()).decode()
        self.write(["upsert", name, made])
        return "Success"

    def _update(self, name: str, body: Any) -> dict[str, int]:
        known = {"id": str, "vector": list, "metadata": dict, "data": str, "metadataUpdateMode": str}
        check_fields(body, known, ("id",))
        mode = body.get("metadataUpdateMode", "OVERWRITE")
        if mode not in {"OVERWRITE", "PATCH"}:
            raise Refusal(400, "metadataUpdateMode must be OVERWRITE or PATCH")
        found = self._space(name).records.get(body["id"])
        if found is None:
            return {"updated": 0}
        metadata = body.get("metadata", found["metadata"])
        if "metadata" in body and mode == "PATCH":
            merged = {**(found["metadata"] or {}), **body["metadata"]}
            metadata = {key: value for key, value in merged.items() if value is not None}
        values = self._values(body["vector"]) if "vector" in body else found["vector"]
        one = {"id": body["id"], "metadata": metadata, "data": body.get("data", found["data"])}
        _check_payload(one)
        self.write(["upsert", name, [{**one, "vector": base64.b64encode(values.tobytes()).decode()}]])
        return {"updated": 1}

    def _delete(self, name: str, body: Any) -> dict[str, int]:
        if isinstance(body, (str, list)):  # as it was first documented
            body = {"ids": [body] if isinstance(body, str) else body}
        check_fields(body, {"ids": list, "prefix": str, "filter": str})
        if len(body) != 1:
            raise Refusal(400, "exactly one of ids, prefix and filter is needed")
        records = self._space(name).records
        if "ids" in body:
            gone = [key for key in dict.fromkeys(map(str, body["ids"])) if key in records]
        elif "prefix" in body:
            gone = [key for key in records if key.startswith(body["prefix"])]
        else:
            test = parse(body["filter"])
            gone = [key for key, record in records.items() if test(record["metadata"] or {})]
        if gone:
            self.write(["delete", name, gone])
        return {"deleted": len(gone)}

    def _reset(self, name: str, _: Any) -> str:
        self.write(["delete", name, list(self._space(name).records)])
        return "Success"

    def _drop(self, name: str, _: Any) -> str:
        if not name:
            raise Refusal(400, "The default namespace cannot be deleted")
        if name not in self.namespaces:
            raise Refusal(404, f"Namespace {name} for the index fake does not exist")
        self.write(["drop", name, None])
        return "Success"

    def _values(self, values: list[Any]) -> Any:
        """Return a vector as 32-bit floats."""
        if len(values) != self.dimension:
            raise Refusal(422, f"Invalid vector dimension: {len(values)}, expected: {self.dimension}")
        if not all(type(value) in NUMBER for value in values):
            raise Refusal(400, "a vector has numbers")
        with np.errstate(over="ignore"):
            found = np.array(values, dtype=np.float32)
        if not np.isfinite(found).all():
            raise Refusal(400, "a vector has numbers that are finite in 32 bits")
        length = float(np.linalg.norm(found))
        if self.function == "COSINE" and length == 0:
            raise Refusal(422, "a vector of zeros has no cosine")
        if self.function == "DOT_PRODUCT" and abs(length - 1) > 1e-3:
            raise Refusal(422, "the dot product is one of vectors of unit length")
        return found

    # ---------------------------------------------------------------------------------------------------------- reads

    def _query(self, name: str, body: Any) -> Any:
        if isinstance(body, list):
            found = [self._one_query(name, one) for one in body]
            return found[0] if len(found) == 1 else found
        return self._one_query(name, body)

    def _one_query(self, name: str, body: Any) -> list[dict[str, Any]]:
        check_fields(body, {"vector": list, "topK": int, "filter": str, **_INCLUDED}, ("vector",))
        limit = body.get("topK", 10)
        if not 1 <= limit <= MOST_VECTORS:
            raise Refusal(400, f"topK must be from 1 to {MOST_VECTORS}, got {limit}")
        query = self._values(body["vector"])
        test = parse(body["filter"]) if body.get("filter") else None
        ranked = self._ranked(query, self._space(name).queried.catch_up())
        if test is not None:
            # In-filtering compares so many candidates; the nearest are filtered afterwards.
            compared = max(self.budget, limit)
            ranked = [one for one in ranked[:compared] if test(one[2]["metadata"] or {})]
        return [{**_shown(key, record, body), "score": score} for score, key, record in ranked[:limit]]

    def _ranked(self, query: Any, records: dict[str, Any]) -> list[tuple[float, str, Any]]:
        if not records:
            return []
        matrix = np.stack([record["vector"] for record in records.values()]).astype(np.float64)
        vector = query.astype(np.float64)
        if self.function == "EUCLIDEAN":
            distances = ((matrix - vector) ** 2).sum(axis=1)
            order, scores = np.argsort(distances, kind="stable"), 1 / (1 + distances)
        else:
            products = matrix @ vector
            if self.function == "COSINE":
                products = products / (np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector))
            order, scores = np.argsort(-products, kind="stable"), (1 + products) / 2
        items = list(records.items())
        return [(float(np.float32(scores[number])), *items[number]) for number in order.tolist()]

    def _fetch(self, name: str, body: Any) -> list[Any]:
        check_fields(body, {"ids": list, "prefix": str, **_INCLUDED})
        if ("ids" in body) == ("prefix" in body):
            raise Refusal(400, "exactly one of ids and prefix is needed")
        records = self._space(name).records
        if "prefix" in body:
            keys = [key for key in sorted(records) if key.startswith(body["prefix"])][:MOST_VECTORS]
        else:
            keys = [str(key) for key in body["ids"]]
            if not 1 <= len(keys) <= MOST_VECTORS:
                raise Refusal(400, f"from 1 to {MOST_VECTORS} ids are fetched at once, got {len(keys)}")
        return [_shown(key, records[key], body) if key in records else None for key in keys]

    def _range(self, name: str, body: Any) -> dict[str, Any]:
        check_fields(body, {"cursor": (str, int), "limit": int, "prefix": str, **_INCLUDED}, ("cursor", "limit"))
        if not 1 <= body["limit"] <= MOST_VECTORS:
            raise Refusal(400, f"limit must be from 1 to {MOST_VECTORS}, got {body['limit']}")
        after = _cursor(str(body["cursor"]))
        records, prefix = self._space(name).records, body.get("prefix", "")
        keys = [key for key in sorted(records) if key > after and key.startswith(prefix)]
        page = keys[: body["limit"]]
        more = base64.urlsafe_b64encode(page[-1].encode()).decode() if len(keys) > len(page) else ""
        return {"nextCursor": more, "vectors": [_shown(key, records[key], body) for key in page]}

    def _info(self, _: str, __: Any) -> dict[str, Any]:
        namespaces = {}
        for name, found in self.namespaces.items():
            ready = len(found.queried.catch_up())
            pending = found.queried.last - found.queried.number
            namespaces[name] = {"vectorCount": ready, "pendingVectorCount": pending}
        dense = {"dimension": self.dimension, "similarityFunction": self.function, "embeddingModel": ""}
        return {
            "vectorCount": sum(one["vectorCount"] for one in namespaces.values()),
            "pendingVectorCount": sum(one["pendingVectorCount"] for one in namespaces.values()),
            "indexSize": 0,
            "dimension": self.dimension,
            "similarityFunction": self.function,
            "denseIndex": dense,
            **({"sparseIndex": {"embeddingModel": ""}} if self.sparse else {}),
            "namespaces": namespaces,
        }

    def _list(self, _: str, __: Any) -> list[str]:
        return list(self.namespaces)


def _record(one: dict[str, Any]) -> dict[str, Any]:
    vector = np.frombuffer(base64.b64decode(one["vector"]), dtype=np.float32)
    return {"vector": vector, "metadata": one.get("metadata"), "data": one.get("data")}


def _shown(key: str, record: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"id": key}
    if body.get("includeVectors"):  # the shortest decimals that are the same in 32 bits
        if "shown" not in record:
            record["shown"] = [float(str(value)) for value in record["vector"]]
        found["vector"] = record["shown"]
    for field, wanted in (("metadata", "includeMetadata"), ("data", "includeData")):
        if body.get(wanted) and record[field] is not None:
            found[field] = record[field]
    return found


def _check_payload(one: dict[str, Any]) -> None:
    if one.get("metadata") is not None:
        size = len(json.dumps(one["metadata"], separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))
        if size > MOST_METADATA:
            raise Refusal(400, f"Metadata size {size} exceeds the limit {MOST_METADATA}")
    if one.get("data") is not None and len(one["data"].encode("utf-8", "replace")) > MOST_DATA:
        raise Refusal(400, f"Data size exceeds the limit {MOST_DATA}")


def _cursor(text: str) -> str:
    if text in {"", "0"}:
        return ""
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise Refusal(400, "invalid cursor") from None


# ------------------------------------------------------------------------------------------------------------- filters

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<number>-?\d+(?:\.\d+)?(?![\w.]))|(?P<sign><=|>=|!=|=|<|>|\(|\)|,)"
    r"|(?P<name>[a-zA-Z_][a-zA-Z_0-9.\[\]#-]*))"
)
_STEP = re.compile(r"\.?([a-zA-Z_0-9-]+)|\[(#?-?\d+)\]")
_MISSING = object()

Test = Callable[[dict[str, Any]], bool]


def parse(text: str) -> Test:
    """Return the test of a filter, or refuse what the documentation does not know."""
    tokens: list[tuple[str, str]] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise Refusal(400, f"the filter cannot be read at {place}")
        tokens.append((str(match.lastgroup), match.group(str(match.lastgroup))))
        place = match.end()
    reader = _Reader(tokens)
    test = reader.any_of()
    if reader.tokens:
        raise Refusal(400, "the filter goes on behind its end")
    return test


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens[::-1]

    def _next(self, *kinds: str) -> str:
        if not self.tokens or self.tokens[-1][0] not in kinds:
            raise Refusal(400, f"the filter lacks a {' or '.join(kinds)}")
        return self.tokens.pop()[1]

    def _take(self, *words: str) -> bool:
        if self.tokens and self.tokens[-1][0] != "text" and self.tokens[-1][1].upper() in words:
            self.tokens.pop()
            return True
        return False

    def any_of(self) -> Test:
        tests = [self.all_of()]
        while self._take("OR"):
            tests.append(self.all_of())
        return lambda found: any(test(found) for test in tests)

    def all_of(self) -> Test:
        tests = [self.one()]
        while self._take("AND"):
            tests.append(self.one())
        return lambda found: all(test(found) for test in tests)

    def one(self) -> Test:
        if self._take("("):
            test = self.any_of()
            if not self._take(")"):
                raise Refusal(400, "the filter lacks a )")
            return test
        name = self._next("name")
        negated = self._take("NOT")
        word = self._next("name", "sign").upper()
        if word == "IN":
            if not self._take("("):
                raise Refusal(400, "IN has literals in parentheses")
            literals = [self._literal()]
            while self._take(","):
                literals.append(self._literal())
            if not self._take(")"):
                raise Refusal(400, "the filter lacks a )")
            return _test(name, lambda value: any(_same(value, one) for one in literals) is not negated, _scalar)
        if word == "CONTAINS":
            literal = self._literal()
            return _test(name, lambda value: any(_same(one, literal) for one in value) is not negated, list)
        if word == "GLOB":
            pattern = re.compile(fnmatch.translate(self._next("text")[1:-1].replace("[^", "[!")))
            return _test(name, lambda value: bool(pattern.match(value)) is not negated, str)
        literal = None if negated else self._literal()
        if word in {"=", "!="} and not negated:
            return _test(name, lambda value: _same(value, literal) is (word == "="), _scalar)
        compare = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}.get(word)
        if compare is None or negated or type(literal) not in NUMBER:
            raise Refusal(400, f"the filter has no operator {word} for this")
        bound = float(literal)
        return _test(name, lambda value: compare(float(value), bound), NUMBER)

    def _literal(self) -> Any:
        if not self.tokens:
            raise Refusal(400, "the filter lacks a literal")
        kind, text = self.tokens.pop()
        if kind == "text":
            return text[1:-1]
        if kind == "number":
            return float(text)
        if kind == "name" and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        raise Refusal(400, "the filter lacks a literal")


_scalar = (str, bool, *NUMBER)


def _test(name: str, holds: Callable[[Any], bool], kinds: Any) -> Test:
    """Return a test of the key's value; one that is not there, or of another kind, does not match."""

    def test(found: dict[str, Any]) -> bool:
        value = _at(found, name)
        if value is _MISSING or not isinstance(value, kinds) or (isinstance(value, bool) and kinds is NUMBER):
            return False
        return holds(value)

    return test


def _at(found: Any, name: str) -> Any:
    for step, index in _STEP.findall(name):
        if step:
            if not isinstance(found, dict) or step not in found:
                return _MISSING
            found = found[step]
        else:
            if not isinstance(found, list):
                return _MISSING
            number = int(index.lstrip("#"))
            if not (-len(found) <= number < len(found)) or (number < 0 and "#" not in index):
                return _MISSING
            found = found[number]
    return found


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) and type(other) is float:  # 1 and 0 are booleans too
        return other == float(one)
    if isinstance(one, (str, bool)) or isinstance(other, (str, bool)):
        return type(one) is type(other) and one == other
    return type(one) in NUMBER and math.isclose(float(one), float(other), rel_tol=0, abs_tol=0)


if __name__ == "__main__":
    main(UpstashVector, ("dimension", 1536), ("function", "COSINE"), ("budget", 200))
