"""Couchbase for tests: the key-value service, the Search service, and management, as ``couchbase.md`` says they are.

All are on one port. Search is exact, unless a test says otherwise, and has one partition. ``--delay`` seconds pass
until an index has a write.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import socket
import struct
import time
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import numpy as np
from _serving import Answer, Delayed, Fake, Refusal, Request, check_fields, main

USER = "Administrator"
BUCKET = "praisonai"
PARTS = 64
"""Of the bucket: ``vbuckets``."""
MOST_BYTES = 20 * 1024 * 1024
MOST_HITS = 10_000
MOST_CLAUSES = 1_024
MOST_DIMENSION = 4_096
NUMBER = (int, float)
_HEADER = struct.Struct("!BBHBBHIIQ")
_FEATURES = {0x03, 0x04, 0x06, 0x07, 0x08, 0x0B, 0x10, 0x11, 0x12}
_GET, _SET, _ADD, _REPLACE, _DELETE = range(5)
_NAMES = {_GET: "GET", _SET: "SET", _ADD: "ADD", _REPLACE: "REPLACE", _DELETE: "DELETE"}
_FAILURES = {
    "absent": 0x01,
    "exists": 0x02,
    "large": 0x03,
    "invalid": 0x04,
    "auth": 0x20,
    "more": 0x21,
    "access": 0x24,
    "unknown": 0x81,
    "busy": 0x86,
    "collection": 0x88,
    "scope": 0x8C,
    "level": 0xA0,
    "impossible": 0xA1,
}


class Failure(Exception):
    """What the key-value service refuses.

    Args:
        name: of the status.
        value: sent with it.
    """

    def __init__(self, name: str, value: bytes = b"") -> None:
        super().__init__(name)
        self.status = _FAILURES[name]
        self.value = value


class NotYet(Exception):
    """The index does not have the writes that a query asks for."""


class Packet(NamedTuple):
    """A request of the key-value service."""

    code: int
    part: int
    opaque: int
    version: int
    frames: bytes
    extras: bytes
    key: bytes
    value: bytes


class Session:
    """A connection to the key-value service: its bucket, and how far its login is."""

    def __init__(self) -> None:
        self.user = self.bucket = ""
        self.login: tuple[str, str, str, bytes] | None = None


class Type:
    """Documents of one type, as indexes see them."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.terms: dict[str, set[str]] = {}

    def remove(self, key: str) -> None:
        old = self.documents.pop(key, None)
        for term in old["tokens"] if old else ():
            self.terms[term].discard(key)

    def add(self, key: str, document: dict[str, Any]) -> None:
        self.remove(key)
        self.documents[key] = document
        for term in document["tokens"]:
            self.terms.setdefault(term, set()).add(key)


class Index:
    """A search index.

    Args:
        made: its definition.
    """

    def __init__(self, made: dict[str, Any]) -> None:
        self.made = made
        params = made["params"]
        ((name, mapping),) = params["mapping"]["types"].items()
        self.scope, self.collection, self.type = name.split(".", 2)
        self.field, self.vector = next(
            (field, child)
            for field, found in mapping["properties"].items()
            for child in found.get("fields", ())
            if child["type"] in {"vector", "vector_base64"}
        )
        self.ready_at = 0.0


class Couchbase(Fake):
    """The services.

    Args:
        arguments: of the program.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.port: int = arguments.port
        self.starting: float = arguments.starting
        self.quota: int = arguments.quota
        self.impossible = self.ignoring = self.partial = self.hanging = self.failover = False
        self.probed = self.unfed = 0
        self.rejecting: list[str] = []
        self.resent = ""
        self.histories = 0
        self.outside: list[int] = []
        self.collections = {"_default": 0}
        self.stored: dict[tuple[int, str], tuple[bytes, bytes, int]] = {}
        self.numbers = [0] * PARTS
        self.seen = [0] * PARTS
        self.last = time.time_ns()
        self.feed = Delayed()
        self.types: dict[tuple[int, str], Type] = {}
        self.kept: dict[tuple[int, str], str] = {}
        self.indexes: dict[str, Index] = {}
        super().__init__(arguments)

    def order(self, name: str, value: Any) -> Any:
        """Beside those of all fakes.

        ``quota`` of indexes, seconds of ``starting`` until an index is ready, whether durable writes are
        ``impossible``, whether filters of vector queries are ignored (``ignoring``), whether a part of each index is
        away (``partial``), and whether queries get no answer (``hanging``). ``probed``: how many vectors a query looks
        at, because it looks into some clusters only; 0: all. ``unfed``: how many of the next queries that wait for
        writes find an index that knows nothing of the parts of the bucket yet. ``rejecting``: with what the next
        requests to the Search service are refused. ``resent``: the end of a key whose next write arrives
        twice, as when the client has lost the first answer. ``failover``: behind the
        next write the parts of the bucket begin another history, so that the numbers of before mean nothing. ``keys``:
        all of a collection; ``indexes``: the names of all. ``outside``: a further port at which clients find the
        services, as those outside of a network do.
        """
        if name == "outside":
            return self.outside.append(value)
        if name in _SETTINGS:
            return setattr(self, name, value)
        if name == "keys":
            return sorted(key for number, key in self.stored if number == self.collections.get(value))
        if name == "indexes":
            return sorted(self.indexes)
        return super().order(name, value)

    def change(self, entry: Any, delay: float) -> Any:
        kind, *rest = entry
        if kind == "collection":
            self.collections[rest[0]] = len(self.collections) + 7
        elif kind == "index":
            self.indexes[rest[0]["name"]] = made = Index(rest[0])
            made.ready_at = time.monotonic() + self.starting
        elif kind == "no index":
            del self.indexes[rest[0]]
        else:
            self._store(*rest, delay=delay)
        return None

    # ------------------------------------------------------------------------------------------------------- key-value

    def converse(self, connection: socket.socket) -> bool:
        """Serve a connection whose first byte is that of a packet."""
        first = connection.recv(1, socket.MSG_PEEK)
        if first not in {b"\x80", b"\x08"}:
            return False
        session = Session()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as stream:
            while len(head := stream.read(_HEADER.size)) == _HEADER.size:
                magic, code, key, extras, _, part, length, opaque, version = _HEADER.unpack(head)
                frames, key = (key >> 8, key & 255) if magic == 0x08 else (0, key)
                body = stream.read(length)
                begin = frames + extras
                cut = (body[:frames], body[frames:begin], body[begin : begin + key], body[begin + key :])
                packet = Packet(code, part, opaque, version, *cut)
                status, more, value, made, kind = 0, b"", b"", 0, 0
                try:
                    with self._turn:
                        more, value, made, kind = self._serve_packet(session, packet)
                except Failure as failure:
                    status, value = failure.status, failure.value
                size = len(more) + len(value)
                answer = _HEADER.pack(0x81, code, 0, len(more), kind, status, size, opaque, made)
                connection.sendall(answer + more + value)
        return True

    def _serve_packet(self, session: Session, packet: Packet) -> tuple[bytes, bytes, int, int]:
        code, value = packet.code, packet.value
        if code == 0x1F:  # hello
            wanted = [number for (number,) in struct.iter_unpack("!H", value)]
            both = [number for number in wanted if number in _FEATURES]
            return b"", struct.pack(f"!{len(both)}H", *both), 0, 0
        if code == 0xFE:  # what errors mean
            return b"", json.dumps({"version": 1, "revision": 1, "errors": {}}).encode(), 0, 0
        if code == 0x20:
            return b"", b"SCRAM-SHA512 SCRAM-SHA256 SCRAM-SHA1", 0, 0
        if code in {0x21, 0x22}:
            return b"", self._login(session, packet), 0, 0
        if not session.user:
            raise Failure("access")
        if code == 0x89:
            if packet.key.decode() != BUCKET:
                raise Failure("access")
            session.bucket = BUCKET
            return b"", b"", 0, 0
        if code == 0xB5:
            return b"", json.dumps(self._cluster(session.bucket)).encode(), 0, 1
        if code == 0x0A:
            return b"", b"", 0, 0
        if not session.bucket:
            raise Failure("access")
        if code == 0xBB:
            scope, _, name = value.decode().partition(".")
            if scope != "_default":
                raise Failure("scope")
            if name not in self.collections:
                raise Failure("collection")
            return struct.pack("!QI", len(self.collections), self.collections[name]), b"", 0, 0
        if code not in _NAMES:
            raise Failure("unknown")
        return self._operate(packet)

    def _cluster(self, bucket: str) -> dict[str, Any]:
        """The configuration that says where services are."""
        services = {"kv": self.port, "mgmt": self.port, "fts": self.port}
        others = {
            f"n{port}": {"hostname": "127.0.0.1", "ports": dict.fromkeys(services, port)} for port in self.outside
        }
        node = {"services": services, "thisNode": True, "hostname": "127.0.0.1", "alternateAddresses": others}
        found: dict[str, Any] = {
            "rev": 1,
            "revEpoch": 1,
            "nodesExt": [node],
            "clusterCapabilitiesVer": [1, 0],
            "clusterCapabilities": {"search": ["vectorSearch", "scopedSearchIndex"]},
        }
        if bucket:
            place = f"127.0.0.1:{self.port}"
            found |= {
                "name": bucket,
                "uuid": "ab" * 16,
                "nodeLocator": "vbucket",
                "bucketCapabilitiesVer": "",
                "bucketCapabilities": ["collections", "durableWrite", "cccp", "nodesExt", "dcp", "cbhello", "xattr"],
                "nodes": [{"hostname": place, "ports": {"direct": self.port}}],
                "vBucketServerMap": {
                    "hashAlgorithm": "CRC",
                    "numReplicas": 0,
                    "serverList": [place],
                    "vBucketMap": [[0]] * PARTS,
                },
            }
        return found

    def _login(self, session: Session, packet: Packet) -> bytes:
        """SCRAM, RFC 5802."""
        said, name = packet.value.decode(), packet.key.decode()
        if packet.code == 0x21:
            bare = said.split(",", 2)[2]
            parts = dict(part.split("=", 1) for part in bare.split(","))
            salt = os.urandom(16)
            answer = f"r={parts['r']}{os.urandom(9).hex()},s={base64.b64encode(salt).decode()},i=1000"
            session.login = (parts["n"], bare, answer, salt)
            raise Failure("more", answer.encode())
        if session.login is None:
            raise Failure("auth")
        user, bare, asked, salt = session.login
        kind = name.partition("-")[2].lower()
        before, _, proof = said.rpartition(",p=")
        text = f"{bare},{asked},{before}".encode()
        salted = hashlib.pbkdf2_hmac(kind, self.key.encode(), salt, 1000)
        own = hmac.digest(salted, b"Client Key", kind)
        signed = hmac.digest(hashlib.new(kind, own).digest(), text, kind)
        wanted = base64.b64encode(bytes(one ^ other for one, other in zip(own, signed, strict=True))).decode()
        if user != USER or not hmac.compare_digest(wanted, proof):
            raise Failure("auth")
        session.user = user
        return b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", kind), text, kind))

    def _operate(self, packet: Packet) -> tuple[bytes, bytes, int, int]:
        number, key = _leb128(packet.key)
        if number not in self.collections.values():
            raise Failure("collection")
        if not 0 < len(key) <= 246 or packet.part >= PARTS:
            raise Failure("invalid")
        name = key.decode()
        self.asked.append(f"{_NAMES[packet.code]} {name}")
        if self.busy:
            self.busy -= 1
            raise Failure("busy")
        if packet.frames:
            self._check_durability(packet.frames)
        found = self.stored.get((number, name))
        if packet.code == _GET:
            if found is None:
                raise Failure("absent")
            return found[0], found[1], found[2], 0
        if packet.code == _ADD and found is not None:
            raise Failure("exists")
        if packet.code in {_REPLACE, _DELETE} and found is None:
            raise Failure("absent")
        if packet.version and (found is None or packet.version != found[2]):
            raise Failure("exists" if found else "absent")
        if len(packet.value) > MOST_BYTES:
            raise Failure("large")
        self.last = max(self.last + 1, time.time_ns())
        gone = packet.code == _DELETE
        texts = [None, None] if gone else [_text(packet.extras[:4]), _text(packet.value)]
        self.write(["store", number, name, packet.part, self.last, *texts])
        if self.resent and name.endswith(self.resent):
            self.resent = ""
            return self._operate(packet)
        token = struct.pack("!QQ", self._uuid(packet.part), self.numbers[packet.part])
        if self.failover:
            self.failover = False
            self.histories += 1
        return token, b"", self.last, 0

    def _uuid(self, part: int) -> int:
        return 7_000_000_000 + 1_000 * self.histories + part

    def _check_durability(self, frames: bytes) -> None:
        kind, size = frames[0] >> 4, frames[0] & 15
        if kind != 1 or size not in {1, 3}:
            raise Failure("invalid")
        if frames[1] not in {1, 2, 3}:
            raise Failure("level")
        if self.impossible:
            raise Failure("impossible")

    def _store(
        self, number: int, key: str, part: int, version: int, flags: str | None, value: str | None, *, delay: float
    ) -> None:
        self.numbers[part] += 1
        own, last = (number, key), self.numbers[part]
        self.last = max(self.last, version)
        document: Any = None
        if value is None or flags is None:
            self.stored.pop(own, None)
        else:
            data = base64.b64decode(value)
            self.stored[own] = (base64.b64decode(flags), data, version)
            try:
                document = json.loads(data)
            except ValueError:
                document = None

        def show(_: Any) -> None:
            self.seen[part] = last
            before = self.kept.pop(own, None)
            if before is not None:
                self.types[number, before].remove(key)
            if isinstance(document, dict) and isinstance(document.get("place"), str):
                self.kept[own] = document["place"]
                self.types.setdefault((number, document["place"]), Type()).add(key, document)

        self.feed.write(show, delay)

    # ------------------------------------------------------------------------------------------------------------ HTTP

    def answer(self, request: Request) -> Answer:
        """Answer a request, when the index has what it asks for."""
        end = None
        while True:
            try:
                return super().answer(request)
            except NotYet:
                if end is None:
                    end = time.monotonic() + request.json()["ctl"].get("timeout", 10_000) / 1000 + self.hanging
                if time.monotonic() > end:
                    return self.refuse(Refusal(412, "rest_index: Query, err: consistency wait timeout"), request)
                time.sleep(0.002)
                self.asked.pop()

    def refuse(self, refusal: Refusal, request: Request) -> Answer:
        body = {"error": refusal.message, "status": "fail"}
        if request.path[:1] == ("api",) and request.data:  # the Search service says what it was asked, too
            body["request"] = request.json()
        return Answer(body, refusal.status, refusal.headers)

    def serve(self, request: Request) -> Answer:
        wanted = "Basic " + base64.b64encode(f"{USER}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != wanted:
            raise Refusal(401, "unauthorized")
        scopes = ("pools", "default", "buckets", BUCKET, "scopes")
        if request.path[:5] == scopes:
            return self._manage(request)
        begin = ("api", "bucket", BUCKET, "scope", "_default", "index")
        if request.path[:6] == begin and len(request.path) > 6:
            self._admit()
            return self._search(request, request.path[6], request.path[7:])
        full = f"{BUCKET}._default."
        if len(request.path) == 4 and request.path[1] == "index" and request.path[2].startswith(full):
            self._admit()
            return self._search(request, request.path[2].removeprefix(full), request.path[3:], full)
        if request.path == begin and request.method == "GET":
            known = {name: index.made for name, index in self.indexes.items()}
            return Answer({"status": "ok", "indexDefs": {"uuid": "1", "indexDefs": known, "implVersion": "5.7.0"}})
        raise Refusal(404, "Object Not Found")

    def _admit(self) -> None:
        """Refuse a request to the Search service, if a test said so."""
        if self.rejecting:
            raise Refusal(429, self.rejecting.pop(0))
        self.throttle(Refusal(429, "num_concurrent_requests"))

    def _manage(self, request: Request) -> Answer:
        if request.method == "GET" and len(request.path) == 5:
            found = [{"name": name, "uid": f"{number:x}"} for name, number in self.collections.items()]
            return Answer({"uid": "1", "scopes": [{"name": "_default", "uid": "0", "collections": found}]})
        if request.method == "POST" and request.path[5:] == ("_default", "collections"):
            (name,) = parse_qs(request.data.decode())["name"]
            if name in self.collections:
                raise Refusal(400, f"Collection with name {name} in scope _default already exists")
            if not re.fullmatch(r"[A-Za-z0-9-][A-Za-z0-9_%-]{0,250}", name, re.ASCII):
                raise Refusal(400, "Collection name is not valid")
            self.write(["collection", name])
            return Answer({"uid": f"{len(self.collections):x}"})
        raise Refusal(404, "Object Not Found")

    def _search(self, request: Request, name: str, rest: tuple[str, ...], full: str = "") -> Answer:
        if request.method == "PUT" and not rest:
            return self._make(name, request.json())
        index = self.indexes.get(name)
        if index is None:
            raise Refusal(400, "rest_auth: preparePerms, err: index not found")
        if request.method == "DELETE" and not rest:
            self.write(["no index", name])
            return Answer({"status": "ok"})
        if request.method == "POST" and rest == ("query",):
            return self._query(index, request.json(), full + name)
        raise Refusal(404, "Object Not Found")

    def _make(self, name: str, made: dict[str, Any]) -> Answer:
        known = {"name": str, "type": str, "sourceName": str, "sourceType": str, "params": dict, "planParams": dict}
        check_fields(made, known, ("name", "type", "sourceName", "params"))
        if made["type"] != "fulltext-index" or made["sourceName"] != BUCKET or made["name"] != name:
            raise Refusal(400, "rest_create_index: error creating index")
        if not re.fullmatch(r"[A-Za-z][0-9A-Za-z_-]*", name):
            raise Refusal(400, "rest_create_index: index name is not valid")
        if name in self.indexes:
            raise Refusal(400, "rest_create_index: index with the same name already exists")
        if len(self.indexes) >= self.quota:
            raise Refusal(400, f"rest_create_index: {_FULL.format(len(self.indexes), self.quota)}")
        params = made["params"]
        if params["doc_config"].get("mode") != "scope.collection.type_field":
            raise Refusal(400, "this fake knows indexes by the field of a type only")
        for mapping in params["mapping"]["types"].values():
            for found in mapping["properties"].values():
                for field in found.get("fields", ()):
                    self._check_field(field)
        self.write(["index", {**made, "uuid": os.urandom(8).hex()}])
        return Answer({"status": "ok", "uuid": self.indexes[name].made["uuid"]})

    def _check_field(self, field: dict[str, Any]) -> None:
        if field["type"] in {"vector", "vector_base64"}:
            if not 1 <= field["dims"] <= MOST_DIMENSION:
                raise Refusal(400, "rest_create_index: error creating index: invalid dimension")
            if field["similarity"] not in {"dot_product", "l2_norm", "cosine"}:
                raise Refusal(400, "rest_create_index: error creating index: invalid similarity")
            if field.get("vector_index_optimized_for") not in {None, "recall", "latency", "memory-efficient"}:
                raise Refusal(400, "rest_create_index: error creating index: invalid optimization")
        elif field["type"] not in {"text", "number"}:
            raise Refusal(400, "rest_create_index: error creating index: unknown type of field")

    def _query(self, index: Index, asked: dict[str, Any], name: str) -> Answer:
        known: dict[str, Any] = dict.fromkeys(("query", "ctl"), dict)
        known |= dict.fromkeys(("knn", "sort", "search_after", "fields"), list)
        known |= dict.fromkeys(("explain", "showrequest", "includeLocations"), bool)
        known |= {"size": int, "from": int, "score": str}
        check_fields(asked, known, ("query",))
        if time.monotonic() < index.ready_at:
            raise Refusal(400, "rest_index: no planPIndexes for indexName")
        if self.hanging:
            raise NotYet
        size = asked.get("size", 10)
        if size + asked.get("from", 0) > MOST_HITS:
            raise Refusal(400, f"bleve: bleveMaxResultWindow exceeded, from: 0 + size: {size} > {MOST_HITS}")
        self.feed.catch_up()
        consistency = asked.get("ctl", {}).get("consistency", {})
        if consistency:
            if consistency.get("level") != "at_plus" or set(consistency["vectors"]) != {name}:
                raise Refusal(400, "rest_index: consistency is not valid")
            for part, number in consistency["vectors"][name].items():
                place, _, own = part.partition("/")
                if self.unfed:
                    self.unfed -= 1
                    raise Refusal(400, _OTHER.format(""))
                if int(own) != self._uuid(int(place)):
                    raise Refusal(400, _OTHER.format(self._uuid(int(place))))
                if self.seen[int(place)] < number:
                    raise NotYet
        collection = self.collections.get(index.collection)
        found = self.types.get((-1 if collection is None else collection, index.type), Type())
        scores = dict.fromkeys(self._select(found, asked["query"]), 1.0)
        for one in asked.get("knn", ()):
            scores.update(self._nearest(index, found, one))
        order = asked.get("sort") or ["-_score"]
        if order == ["_id"]:
            keys = sorted(scores)
            if "search_after" in asked:
                keys = [key for key in keys if key > asked["search_after"][0]]
        elif order == ["-_score"]:
            keys = sorted(scores, key=lambda key: -scores[key])
        else:
            raise Refusal(400, "this fake sorts by _id or by -_score")
        keys = keys[asked.get("from", 0) :][:size]
        hits = [{"index": index.made["name"], "id": key, "score": scores[key], "sort": [key]} for key in keys]
        status: dict[str, Any] = {"total": 1, "failed": 0, "successful": 1}
        if self.partial:
            status = {"total": 2, "failed": 1, "successful": 1, "errors": {"part": "no answer"}}
        body = {"status": status, "request": None, "hits": hits, "total_hits": len(scores), "cost": 0}
        return Answer({**body, "max_score": max(scores.values(), default=0.0), "took": 1000, "facets": None})

    def _nearest(self, index: Index, found: Type, asked: dict[str, Any]) -> dict[str, float]:
        check_fields(asked, {"field": str, "vector": list, "k": int, "filter": dict, "boost": NUMBER}, ("field", "k"))
        if asked["field"] != index.field:
            raise Refusal(400, "knn: the index has no such vector field")
        if not 0 < asked["k"] <= MOST_HITS:
            raise Refusal(400, "knn: k must be between 1 and 10000")
        query = np.asarray(asked["vector"], dtype=np.float32)
        keys = (
            list(found.documents)
            if self.ignoring or "filter" not in asked
            else list(self._select(found, asked["filter"]))
        )
        if query.size != index.vector["dims"] or not keys:
            return {}  # vectors of another dimension have no hits
        matrix = np.stack([self._vector(index, found.documents[key]) for key in keys])
        if index.vector["similarity"] == "l2_norm":
            distances = ((matrix - query) ** 2).sum(axis=1)
            ranks = 1 / np.maximum(distances, 1e-30)
        else:
            ranks = matrix @ query
        best = np.argsort(-ranks, kind="stable")[: min(asked["k"], self.probed or MOST_HITS)]
        return {keys[number]: float(ranks[number]) for number in best}

    def _vector(self, index: Index, document: dict[str, Any]) -> Any:
        value = document[index.field]
        if not isinstance(value, np.ndarray):
            value = np.frombuffer(base64.b64decode(value), dtype="<f4")
            document[index.field] = value
        return value

    def _select(self, found: Type, query: dict[str, Any]) -> set[str]:
        """Return the keys that a query selects."""
        names = set(query)
        everything = set(found.documents)
        if names == {"match_all"}:
            return everything
        if names == {"match_none"}:
            return set()
        if names == {"field", "term"}:
            if query["field"] != "tokens":
                raise Refusal(400, "this fake indexes terms of the field tokens")
            return set(found.terms.get(query["term"], ()))
        if "field" in names and names & {"min", "max"} and names <= {"field", "min", "max", *_INCLUSIVE}:
            return {key for key, document in found.documents.items() if _within(document, query)}
        if names == {"conjuncts"}:
            parts = [self._select(found, part) for part in query["conjuncts"]]
            return set.intersection(*parts) if parts else set()
        if names == {"disjuncts", "min"} or names == {"disjuncts"}:
            if len(query["disjuncts"]) > MOST_CLAUSES:
                raise Refusal(400, f"TooManyClauses[{len(query['disjuncts'])} > maxClauseCount, which is set to 1024]")
            if query.get("min", 1) != 1:
                raise Refusal(400, "this fake knows disjunctions of one at least")
            return set().union(*(self._select(found, part) for part in query["disjuncts"]))
        if names == {"must", "must_not"}:
            return self._select(found, query["must"]) - self._select(found, query["must_not"])
        raise Refusal(400, "rest_index: parse query: unknown query type")


_SETTINGS = {
    "quota",
    "starting",
    "impossible",
    "ignoring",
    "partial",
    "unfed",
    "hanging",
    "probed",
    "rejecting",
    "resent",
    "failover",
}
_OTHER = (
    "rest_index: Query, err: bleve: pindex_consistency mismatched partition, uuid: {}, cwr: &cbgt.ConsistencyWaitReq"
)
_FULL = "Exceeds indexes limit for scope: _default, num_fts_indexes (active + pending): ({} + 0), limit: {}"
_INCLUSIVE = ("inclusive_min", "inclusive_max")


def _within(document: dict[str, Any], query: dict[str, Any]) -> bool:
    value: Any = document
    for name in query["field"].split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, NUMBER):
        return False
    # As bleve: the lower bound belongs to the range unless something else is said, the upper one does not.
    low, high = query.get("min"), query.get("max")
    above = low is None or value > low or (value == low and query.get("inclusive_min", True))
    return above and (high is None or value < high or (value == high and query.get("inclusive_max", False)))


def _leb128(key: bytes) -> tuple[int, bytes]:
    """Return the number of a collection, and the key behind it."""
    number = shift = 0
    for place, byte in enumerate(key):
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, key[place + 1 :]
    raise Failure("invalid")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main(Couchbase, ("quota", 1_000), ("starting", 0.0))
