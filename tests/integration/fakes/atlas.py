"""Vector search of MongoDB Atlas for tests, before a server that has none, as ``atlas.md`` says that it is documented.

It is a proxy of MongoDB's protocol: commands of search indexes, and pipelines that begin with ``$vectorSearch`` or
``$listSearchIndexes``, are answered here, all else by the server behind it. An index has a copy of what it needs of
each document, which follows the collection ``--delay`` seconds late. A command ``fake`` gives the orders of tests.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import json
import signal
import socket
import socketserver
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import bson
import numpy as np
import pymongo
from bson.binary import Binary

_QUERY, _MSG = 2004, 2013
_MORE_TO_COME = 2
_SIMILARITIES = {"cosine", "dotProduct", "euclidean"}
_LOGICAL = {"$and", "$or", "$nor"}
_COMPARISONS = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$not"}
_VALUES = (bool, int, float, str, datetime.datetime, bson.ObjectId, uuid.UUID)
_STAGE = {"exact", "filter", "index", "limit", "numCandidates", "path", "queryVector"}
_WRITES = {"insert": "documents", "update": "updates", "delete": "deletes"}
MOST_CANDIDATES = 10_000
MOST_DIMENSION = 8_192


class Refusal(Exception):
    """What the service refuses.

    Args:
        message: what is wrong.
        code: of the error.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def check(holds: Any, message: str, code: int = 2) -> None:
    """Refuse unless something holds."""
    if not holds:
        raise Refusal(message, code)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class Index:
    """A vector search index, and what it has seen of its collection.

    Args:
        about: name and definition.
        ready_at: when it can be used.
    """

    def __init__(self, about: dict[str, Any], ready_at: float) -> None:
        self.about = about
        self.ready_at = ready_at
        fields = about["definition"]["fields"]
        (self.vector,) = [field for field in fields if field["type"] == "vector"]
        self.filters = {field["path"] for field in fields if field["type"] == "filter"}
        self._seen: dict[Any, tuple[Any, dict[str, Any]]] = {}
        self._waiting: list[tuple[float, Any, dict[str, Any] | None]] = []

    @property
    def ready(self) -> bool:
        return time.monotonic() >= self.ready_at

    def write(self, key: Any, document: dict[str, Any] | None, delay: float) -> None:
        """See a document as it is now (None: it is gone), after a delay."""
        self._waiting.append((time.monotonic() + delay, key, document))

    def seen(self) -> dict[Any, tuple[Any, dict[str, Any]]]:
        """Return vectors and fields of the documents, as they were some time ago."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, key, document = self._waiting.pop(0)
            vector = None if document is None else _vector(document.get(self.vector["path"]))
            if document is None or vector is None or len(vector) != self.vector["numDimensions"]:
                self._seen.pop(key, None)
            else:
                self._seen[key] = vector, {name: document.get(name) for name in self.filters}
        return self._seen

    def described(self) -> dict[str, Any]:
        """As ``$listSearchIndexes`` shows it."""
        return {
            "id": self.about["id"],
            "name": self.about["name"],
            "type": "vectorSearch",
            "status": "READY" if self.ready else "BUILDING",
            "queryable": self.ready,
            "latestDefinition": self.about["definition"],
        }

    def rank(self, stage: dict[str, Any]) -> list[tuple[Any, float]]:
        """Return ids and scores, the best first."""
        query = np.asarray(stage["queryVector"], dtype=np.float32).astype(np.float64)
        check(len(query) == self.vector["numDimensions"], "the query vector has another number of dimensions")
        found = [
            (key, vector)
            for key, (vector, fields) in self.seen().items()
            if "filter" not in stage or _matches(stage["filter"], fields)
        ]
        if not found:
            return []
        matrix = np.asarray([vector for _, vector in found], dtype=np.float64)
        similarity = self.vector["similarity"]
        if similarity == "euclidean":
            scores = 1 / (1 + np.linalg.norm(matrix - query, axis=1))
        else:
            products = matrix @ query
            if similarity == "cosine":
                products /= np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
            scores = np.maximum((1 + products) / 2, 0)
        order = np.argsort(-scores, kind="stable")[: stage["limit"]]
        return [(found[number][0], float(scores[number])) for number in order]


def _vector(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(one, float) for one in value):
        return value
    # The server behind it knows no vectors in binary data, so these come to it as plain ones; see `_plain`.
    if isinstance(value, bytes) and value[:2] == b"\x27\0":
        return np.frombuffer(value[2:], dtype="<f4")
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return Binary(bytes(value), 0) if isinstance(value, Binary) and value.subtype == 9 else value


def check_filter(tree: Any, paths: set[str]) -> None:
    """Refuse what a filter may not have."""
    check(isinstance(tree, dict) and tree, "filter must be a document that is not empty")
    for key, value in tree.items():
        if key in _LOGICAL:
            check(isinstance(value, list) and value, f"{key} takes a list that is not empty")
            for part in value:
                check_filter(part, paths)
            continue
        check(not key.startswith("$"), f"the operator {key} is not supported in a filter")
        check(key in paths, f"Path '{key}' needs to be indexed as filter")
        _check_comparison(value)


def _check_comparison(value: Any) -> None:
    if not isinstance(value, dict):
        check(isinstance(value, _VALUES), "a filter compares booleans, dates, ids, texts, numbers and UUIDs")
        return
    for operator, wanted in value.items():
        check(operator in _COMPARISONS, f"the operator {operator} is not supported in a filter")
        if operator == "$not":
            check(isinstance(wanted, dict), "$not takes a document")
            _check_comparison(wanted)
            continue
        many = operator in {"$in", "$nin"}
        check(not many or (isinstance(wanted, list) and wanted), f"{operator} takes a list that is not empty")
        for one in wanted if many else [wanted]:
            check(isinstance(one, _VALUES), "a filter compares booleans, dates, ids, texts, numbers and UUIDs")


def _matches(tree: dict[str, Any], fields: dict[str, Any]) -> bool:
    for key, value in tree.items():
        if key in _LOGICAL:
            parts = [_matches(part, fields) for part in value]
            holds = all(parts) if key == "$and" else any(parts) == (key == "$or")
        else:
            holds = _compares(value if isinstance(value, dict) else {"$eq": value}, fields.get(key))
        if not holds:
            return False
    return True


def _compares(comparison: dict[str, Any], stored: Any) -> bool:
    values = stored if isinstance(stored, list) else [stored]
    for operator, wanted in comparison.items():
        if operator == "$not":
            holds = not _compares(wanted, stored)
        elif operator in {"$ne", "$nin"}:
            holds = not any(value in (wanted if operator == "$nin" else [wanted]) for value in values)
        elif operator in {"$eq", "$in"}:
            holds = any(value in (wanted if operator == "$in" else [wanted]) for value in values)
        else:
            holds = any(_ordered(operator, value, wanted) for value in values)
        if not holds:
            return False
    return True


def _ordered(operator: str, value: Any, wanted: Any) -> bool:
    if type(value) is not type(wanted) and not all(isinstance(one, (int, float)) for one in (value, wanted)):
        return False
    above = value > wanted if operator[1] == "g" else value < wanted
    return bool(above or (operator.endswith("e") and value == wanted))


def check_definition(about: Any) -> None:
    """Refuse an index that cannot be made."""
    check(isinstance(about, dict) and set(about) <= {"name", "type", "definition"}, "Invalid index")
    check(about.get("type") == "vectorSearch", "only vectorSearch indexes are made here")
    definition = about.get("definition")
    check(isinstance(definition, dict) and set(definition) == {"fields"}, "the definition has fields")
    paths = []
    for field in definition["fields"]:
        kind, path = field.get("type"), field.get("path")
        check(kind in {"vector", "filter"}, "fields have the type vector or filter")
        check(isinstance(path, str) and path, "a field has a path")
        paths.append(path)
        if kind == "filter":
            check(set(field) == {"type", "path"}, "a filter has a type and a path")
            continue
        check(set(field) <= {"type", "path", "numDimensions", "similarity", "quantization"}, "unknown option")
        dimension = field.get("numDimensions")
        check(_whole(dimension) and 1 <= dimension <= MOST_DIMENSION, f"numDimensions is 1 to {MOST_DIMENSION}")
        check(field.get("similarity") in _SIMILARITIES, f"similarity is one of {sorted(_SIMILARITIES)}")
        check(field.get("quantization", "none") in {"none", "scalar", "binary"}, "quantization")
    check(any(field["type"] == "vector" for field in definition["fields"]), "there must be a vector field")
    check(len(set(paths)) == len(paths), "a field is indexed twice")


class Atlas:
    """The service.

    Args:
        arguments: of the program.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.delay: float = arguments.delay
        self.starting: float = arguments.starting
        self.quota: int = arguments.quota
        self.busy = 0
        self.failing = False
        self.asked: list[Any] = []
        self.address = pymongo.uri_parser.parse_uri(arguments.upstream)["nodelist"][0]
        self._server: Any = pymongo.MongoClient(arguments.upstream)
        self._indexes: dict[str, dict[str, Index]] = {}
        self._turn = threading.RLock()
        self._file = Path(arguments.path) / "indexes.json"
        if self._file.exists():
            for space, kept in json.loads(self._file.read_text("utf-8")).items():
                self._indexes[space] = {about["name"]: self._new(space, about, 0) for about in kept}

    def _new(self, space: str, about: dict[str, Any], starting: float) -> Index:
        index = Index(about, time.monotonic() + starting)
        database, _, name = space.partition(".")
        for document in self._server[database][name].find():
            index.write(document["_id"], document, 0)
        return index

    def _keep(self) -> None:
        kept = {space: [one.about for one in named.values()] for space, named in self._indexes.items() if named}
        self._file.write_text(json.dumps(kept), "utf-8")

    def answer(self, command: dict[str, Any]) -> dict[str, Any] | None:
        """Answer a command; None: the server does."""
        name, database = next(iter(command)), command.get("$db", "")
        space = f"{database}.{command[name]}"
        pipeline = command.get("pipeline") if name == "aggregate" else None
        try:
            with self._turn:
                if name == "fake":
                    return {"ok": 1.0, "answer": self.order(command["fake"], command.get("value"))}
                if name == "createSearchIndexes":
                    return {"ok": 1.0, "indexesCreated": self._create(space, command["indexes"])}
                if name == "dropSearchIndex":
                    gone = self._indexes.get(space, {}).pop(command["name"], None)
                    check(gone, "no such index", 27)
                    self._keep()
                    return {"ok": 1.0}
                if not isinstance(pipeline, list):
                    return None
                kinds = [next(iter(stage), "") for stage in pipeline]
                check("$vectorSearch" not in kinds[1:], "$vectorSearch is only valid as the first stage", 40602)
                if kinds[:1] == ["$listSearchIndexes"]:
                    found = self._list(space, pipeline[0]["$listSearchIndexes"])
                elif kinds[:1] == ["$vectorSearch"]:
                    found = self._search(database, command[name], pipeline)
                else:
                    return None
                return {"ok": 1.0, "cursor": {"id": bson.Int64(0), "ns": space, "firstBatch": found}}
        except Refusal as refusal:
            return {"ok": 0.0, "errmsg": refusal.message, "code": refusal.code}

    def order(self, name: str, value: Any) -> Any:
        """Do what a test says.

        ``delay``: seconds until an index sees a write; ``starting``: until a new one is ready; ``quota`` of indexes;
        ``busy``: how many of the next searches are refused; ``failing``: whether new indexes fail; ``asked``: return
        the searches since it was asked last.
        """
        if name == "asked":
            asked, self.asked = self.asked, []
            return asked
        check(name in {"delay", "starting", "quota", "busy", "failing"}, "no such order")
        return setattr(self, name, value)

    def _create(self, space: str, wanted: Any) -> list[dict[str, str]]:
        database, _, collection = space.partition(".")
        check(collection in self._server[database].list_collection_names(), "no such collection", 26)
        named = self._indexes.setdefault(space, {})
        made = []
        for about in wanted:
            check_definition(about)
            name = about.get("name", "default")
            check(name not in named, f"the index {name} exists already", 68)
            count = sum(map(len, self._indexes.values()))
            check(count < self.quota, "The maximum number of FTS indexes has been reached for this instance size", 8000)
            kept = {"id": uuid.uuid4().hex[:24], "name": name, "definition": about["definition"]}
            named[name] = self._new(space, kept, self.starting)
            made.append({"id": kept["id"], "name": name})
        self._keep()
        return made

    def _list(self, space: str, which: dict[str, Any]) -> list[dict[str, Any]]:
        found = [index.described() for index in self._indexes.get(space, {}).values()]
        if self.failing:
            found = [{**one, "status": "FAILED", "queryable": False} for one in found]
        return [one for one in found if which.get("name", one["name"]) == one["name"]]

    def _search(self, database: str, collection: str, pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
        stage = pipeline[0]["$vectorSearch"]
        self.asked.append({name: value for name, value in stage.items() if name != "queryVector"})
        if self.busy:
            self.busy -= 1
            raise Refusal("too many queries", 489)
        index = self._stage(f"{database}.{collection}", stage)
        ranked = dict(index.rank(stage)) if index is not None else {}
        return self._found(database, collection, ranked, pipeline[1:], "vectorSearchScore")

    def _stage(self, space: str, stage: dict[str, Any]) -> Index | None:
        """Check a stage, and return the index; None if there is none of the name."""
        unknown = set(stage) - _STAGE
        check(not unknown, f"unknown field {unknown}")
        check(
            {"index", "limit", "path", "queryVector"} <= set(stage), "index, limit, path and queryVector are required"
        )
        exact, limit, candidates = stage.get("exact", False), stage["limit"], stage.get("numCandidates")
        check(isinstance(exact, bool), "exact is a boolean")
        check(_whole(limit) and limit > 0, "limit is a positive int")
        check(exact == (candidates is None), "numCandidates is required unless exact is true")
        if candidates is not None:
            check(_whole(candidates) and candidates <= MOST_CANDIDATES, f"numCandidates is at most {MOST_CANDIDATES}")
            check(limit <= candidates, "limit is at most numCandidates")
        query = stage["queryVector"]
        check(isinstance(query, list) and all(isinstance(one, (int, float)) for one in query), "queryVector")
        index = self._indexes.get(space, {}).get(stage["index"])
        if index is not None:
            check(index.ready, "the index cannot be used yet")
            check(index.vector["path"] == stage["path"], f"{stage['path']} is not indexed as vector")
            if "filter" in stage:
                check_filter(stage["filter"], index.filters)
        return index

    def _found(
        self, database: str, collection: str, ranked: dict[Any, float], later: list[dict[str, Any]], meta: str
    ) -> list[dict[str, Any]]:
        """Return what is found as the collection has it now, and as the later stages show it."""
        stored = {one["_id"]: one for one in self._server[database][collection].find({"_id": {"$in": list(ranked)}})}
        found = [(stored[key], score) for key, score in ranked.items() if key in stored]
        for stage in later:
            check(set(stage) == {"$project"}, "this fake knows no such stage")
            found = [(_projected(one, score, stage["$project"], meta), score) for one, score in found]
        return [one for one, _ in found]

    def written(self, command: dict[str, Any], statements: list[dict[str, Any]]) -> None:
        """Have the indexes see a write that the server has done."""
        name = next(iter(command))
        database, collection = command["$db"], command[name]
        with self._turn:
            for space in list(self._indexes):
                if name == "dropDatabase" and space.startswith(f"{database}."):
                    del self._indexes[space]
            indexes = self._indexes.get(f"{database}.{collection}", {})
            if not indexes:
                return
            if name == "drop":
                del self._indexes[f"{database}.{collection}"]
                self._keep()
                return
            ids = list(_ids(statements))
            documents = self._server[database][collection]
            stored = {one["_id"]: one for one in documents.find({"_id": {"$in": ids}})}
            for index in indexes.values():
                for key in ids:
                    index.write(key, stored.get(key), self.delay)


def _ids(statements: Iterable[dict[str, Any]]) -> Iterator[Any]:
    for one in statements:
        key = one["q"]["_id"] if "q" in one else one["_id"]
        yield from key["$in"] if isinstance(key, dict) else [key]


def _projected(document: dict[str, Any], score: float, fields: dict[str, Any], meta: str) -> dict[str, Any]:
    found = {name: document[name] for name, wanted in fields.items() if wanted == 1 and name in document}
    if fields.get("_id", 1):
        found["_id"] = document["_id"]
    return found | {name: score for name, wanted in fields.items() if wanted == {"$meta": meta}}


class _Connection(socketserver.BaseRequestHandler):
    """One connection of a client, with one to the server behind."""

    def handle(self) -> None:
        with contextlib.suppress(OSError, EOFError), socket.create_connection(self.server.fake.address) as behind:
            for end in (self.request, behind):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                self._serve(_message(self.request), behind)

    def _serve(self, message: bytes, behind: socket.socket) -> None:
        fake: Atlas = self.server.fake
        code = struct.unpack_from("<i", message, 12)[0]
        command, listed = _read(message) if code == _MSG else ({}, {})
        name = next(iter(command), "")
        answer = fake.answer(command) if command else None
        if answer is not None:
            return self.request.sendall(_reply(message, answer))
        if name in {"insert", "update"}:
            command, listed = _plain(command), _plain(listed)
            message = _written(message, command, listed)
        behind.sendall(message)
        if code == _MSG and struct.unpack_from("<I", message, 16)[0] & _MORE_TO_COME:
            return None
        while True:
            reply = _message(behind)
            if name in _WRITES or name in {"drop", "dropDatabase"}:
                statements = listed.get(_WRITES.get(name, ""), command.get(_WRITES.get(name, ""), []))
                fake.written(command, statements)
            self.request.sendall(reply)
            if code != _MSG or not struct.unpack_from("<I", reply, 16)[0] & _MORE_TO_COME:
                return None


def _message(end: socket.socket) -> bytes:
    head = _exactly(end, 4)
    return head + _exactly(end, struct.unpack("<i", head)[0] - 4)


def _exactly(end: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = end.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _read(message: bytes) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the command of a message, and its lists of documents that stand beside it."""
    place, command, listed = 20, {}, {}
    while place < len(message):
        kind, size = message[place], struct.unpack_from("<i", message, place + 1)[0]
        part = message[place + 1 : place + 1 + size]
        if kind == 0:
            command = bson.decode(part)
        else:
            name, _, documents = part[4:].partition(b"\0")
            listed[name.decode()] = bson.decode_all(documents)
        place += 1 + size
    return command, listed


def _written(message: bytes, command: dict[str, Any], listed: dict[str, list[Any]]) -> bytes:
    body = message[4:20] + b"\0" + bson.encode(command)
    for name, documents in listed.items():
        part = name.encode() + b"\0" + b"".join(map(bson.encode, documents))
        body += b"\1" + struct.pack("<i", len(part) + 4) + part
    return struct.pack("<i", len(body) + 4) + body


def _reply(message: bytes, answer: dict[str, Any]) -> bytes:
    number = struct.unpack_from("<i", message, 4)[0]
    body = struct.pack("<iiiI", 0, number, _MSG, 0) + b"\0" + bson.encode(answer)
    return struct.pack("<i", len(body) + 4) + body


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = socket.SOMAXCONN


def main(kind: Callable[[argparse.Namespace], Atlas]) -> None:
    """Run a fake as a program, which ends with its parent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True, help="a folder")
    parser.add_argument("--upstream", required=True, help="the URL of the server behind it")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--starting", type=float, default=0.0)
    parser.add_argument("--quota", type=int, default=100_000)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    arguments = parser.parse_args()
    with _Server(("127.0.0.1", arguments.port), _Connection) as server:
        server.fake = kind(arguments)
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(Atlas)
