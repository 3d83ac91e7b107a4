"""A stand-in for Qdrant's server: its REST interface in front of Qdrant's own engine.

The engine (qdrant-edge-py) is the part of Qdrant that stores, indexes and searches the points of one shard: segments,
payload indexes, filters, and the log that outlives SIGKILL. Here it is one shard for each collection. What the server
has around its shards is written anew in this file, as far as the stores use it: HTTP, the API key, collections, error
codes, the limit of a request's size. Requests are checked against the client's own models of the interface, which allow
no field that the interface does not have.

It is strict: a write that does not ask to wait for its end is refused; and a filter of a field without a payload index,
unless the collection was created to allow that, as hosted servers do.

What it is not: a cluster, gRPC, snapshots, aliases, the optimizer that builds vector indexes in the background.

    python qdrant_server.py --port 6333 --path FOLDER --api-key KEY
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import signal
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import qdrant_edge as edge
from pydantic import BaseModel, ValidationError
from qdrant_client import models

__all__ = ["MOST", "Server"]

MOST = 32 * 1024 * 1024
"""Bytes that a request may have: the server's default."""
VERSION = "1.17.0"
OPEN_PATHS = {"/", "/healthz", "/livez", "/readyz"}
"""What is answered without an API key."""
DISTANCES = {
    models.Distance.COSINE: edge.Distance.Cosine,
    models.Distance.DOT: edge.Distance.Dot,
    models.Distance.EUCLID: edge.Distance.Euclid,
    models.Distance.MANHATTAN: edge.Distance.Manhattan,
}
MODES = {
    None: edge.UpdateMode.Upsert,
    models.UpdateMode.UPSERT: edge.UpdateMode.Upsert,
    models.UpdateMode.INSERT_ONLY: edge.UpdateMode.InsertOnly,
    models.UpdateMode.UPDATE_ONLY: edge.UpdateMode.UpdateOnly,
}
INDEXES = {
    models.PayloadSchemaType.KEYWORD: edge.PayloadSchemaType.Keyword,
    models.PayloadSchemaType.INTEGER: edge.PayloadSchemaType.Integer,
    models.PayloadSchemaType.FLOAT: edge.PayloadSchemaType.Float,
    models.PayloadSchemaType.BOOL: edge.PayloadSchemaType.Bool,
}
HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1_000,
    "default_segment_number": 0,
    "flush_interval_sec": 5,
}

T = TypeVar("T", bound=BaseModel)


class RefusedError(Exception):
    """A request is answered with an error.

    Args:
        code: the HTTP status.
        reason: its text.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


# --------------------------------------------------------------------------------------------- to and from the engine


def _unspoken(what: object) -> RefusedError:
    return RefusedError(501, f"this stand-in does not know {type(what).__name__}")


def _known(request: BaseModel, *names: str) -> None:
    """Refuse a request with fields that would be ignored."""
    if unknown := {name for name, value in request if value is not None} - set(names):
        raise RefusedError(501, f"this stand-in does not know {', '.join(sorted(unknown))}")


def _filter(given: models.Filter | None) -> Any:
    if given is None:
        return None
    _known(given, "must", "should", "must_not")
    parts = (given.must, given.should, given.must_not)
    must, should, must_not = (
        None if part is None else [_condition(one) for one in (part if isinstance(part, list) else [part])]
        for part in parts
    )
    return edge.Filter(must=must, should=should, must_not=must_not)


def _condition(given: Any) -> Any:
    if isinstance(given, models.Filter):
        return _filter(given)
    if isinstance(given, models.HasIdCondition):
        return edge.HasIdCondition({_id(one) for one in given.has_id})
    if not isinstance(given, models.FieldCondition):
        raise _unspoken(given)
    _known(given, "key", "match", "range")
    if isinstance(given.match, models.MatchValue):
        return edge.FieldCondition(given.key, match=edge.MatchValue(given.match.value))
    if isinstance(given.match, models.MatchAny):
        return edge.FieldCondition(given.key, match=edge.MatchAny(given.match.any))
    if isinstance(given.range, models.Range):
        return edge.FieldCondition(given.key, range=edge.RangeFloat(**given.range.model_dump()))
    raise _unspoken(given.match or given.range)


def _keys(given: Any) -> set[str]:
    """The fields that a filter looks at."""
    if isinstance(given, models.FieldCondition):
        return {given.key}
    if not isinstance(given, models.Filter):
        return set()
    parts = [part for part in (given.must, given.should, given.must_not) if part is not None]
    return {key for part in parts for one in (part if isinstance(part, list) else [part]) for key in _keys(one)}


def _id(given: int | str | uuid.UUID) -> int | str:
    if isinstance(given, int):
        return given
    try:
        return str(uuid.UUID(str(given)))
    except ValueError:
        raise RefusedError(400, "a point's id is a number or a UUID") from None


def _vector(given: Any) -> list[float]:
    if not (isinstance(given, list) and all(isinstance(part, float | int) for part in given)):
        raise _unspoken(given)
    return given


def _payload(given: Any) -> Any:
    return edge.PayloadSelector.Include(given) if isinstance(given, list) else bool(given)


def _number(value: float) -> float | None:
    """What becomes of a number in the server's JSON, which has no infinity."""
    return value if math.isfinite(value) else None


def _record(found: Any) -> dict[str, Any]:
    vector = found.vector
    return {
        "id": found.id if isinstance(found.id, int) else str(found.id),
        "payload": found.payload,
        "vector": None if vector is None else [_number(part) for part in vector],
    }


# -------------------------------------------------------------------------------------------------------- collections


class Collection:
    """A collection: a shard of the engine, and the request that created it.

    Args:
        folder: of its own.
        request: what it was created with, as JSON.
        shard: the engine's.
    """

    def __init__(self, folder: Path, request: dict[str, Any], shard: Any) -> None:
        self.folder = folder
        self.shard = shard
        self.config = {
            "params": {"vectors": request["vectors"]},
            "hnsw_config": {**HNSW, **request.get("hnsw_config", {})},
            "optimizer_config": {**OPTIMIZERS, **request.get("optimizers_config", {})},
            "strict_mode_config": {"enabled": True, **request.get("strict_mode_config", {})},
            "metadata": request.get("metadata"),
        }

    def filter(self, given: models.Filter | None, purpose: str) -> Any:
        """A filter in the engine's words, if the strict mode lets it pass; ``purpose``: ``retrieve`` or ``update``."""
        if given is not None and not self.config["strict_mode_config"].get(f"unindexed_filtering_{purpose}"):
            for key in sorted(_keys(given) - set(self.shard.info().payload_schema)):
                raise RefusedError(400, f'Bad request: Index required but not found for "{key}"')
        return _filter(given)


class Collections:
    """All collections of a folder.

    A collection is there once its file ``collection.json`` is there. The shard does not like to be moved, so its folder
    has a name of its own; what a killed process left half made or half deleted is removed by the next one.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._found: dict[str, Collection] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for own in folder.iterdir():
            file = own / "collection.json"
            if not file.exists():
                shutil.rmtree(own)
                continue
            facts = json.loads(file.read_text(encoding="utf-8"))
            self._found[facts["name"]] = Collection(own, facts["request"], edge.EdgeShard.load(str(own / "shard")))

    def names(self) -> list[str]:
        """Of all collections."""
        return list(self._found)

    def get(self, name: str) -> Collection:
        """The collection of that name."""
        try:
            return self._found[name]
        except KeyError:
            raise RefusedError(404, f"Not found: Collection `{name}` doesn't exist!") from None

    def has(self, name: str, collection: Collection) -> bool:
        """Whether that is still the collection of that name."""
        return self._found.get(name) is collection

    def create(self, name: str, request: models.CreateCollection) -> None:
        """Make a new one."""
        _known(request, "vectors", "hnsw_config", "optimizers_config", "strict_mode_config", "metadata")
        if not isinstance(request.vectors, models.VectorParams):
            raise _unspoken(request.vectors)
        _known(request.vectors, "size", "distance", "on_disk")
        vectors = edge.EdgeVectorParams(
            request.vectors.size, DISTANCES[request.vectors.distance], on_disk=request.vectors.on_disk
        )
        # One thread is enough for what a test stores; the default is one for each core, in each of many shards.
        config = edge.EdgeConfig(vectors=vectors, max_search_threads=1)
        with self._lock:
            if name in self._found:
                raise RefusedError(409, f"Wrong input: Collection `{name}` already exists!")
            own = self._folder / uuid.uuid4().hex
            own.mkdir()
            shard = edge.EdgeShard.create(str(own / "shard"), config)
            facts: dict[str, Any] = {"name": name, "request": request.model_dump(mode="json", exclude_none=True)}
            draft = own / "draft"
            draft.write_text(json.dumps(facts), encoding="utf-8")
            draft.rename(own / "collection.json")
            self._found[name] = Collection(own, facts["request"], shard)

    def drop(self, name: str) -> bool:
        """Delete one; returns whether it was there."""
        with self._lock:
            collection = self._found.pop(name, None)
            if collection is None:
                return False
            (collection.folder / "collection.json").unlink()
        collection.shard.close()
        shutil.rmtree(collection.folder)
        return True

    def flush(self) -> None:
        """Write down what only the log has, and shorten the log."""
        for name, collection in list(self._found.items()):
            try:
                collection.shard.flush()
            except Exception:  # the engine knows no other type
                if self.has(name, collection):
                    raise

    def flush_until(self, end: threading.Event) -> None:
        """Flush as often as the server does, and at the end."""
        while not end.wait(OPTIMIZERS["flush_interval_sec"]):
            self.flush()
        self.flush()


# ---------------------------------------------------------------------------------------------------------------- HTTP


class Server(ThreadingHTTPServer):
    """The stand-in.

    Args:
        address: host and port to listen at.
        folder: for the data.
        api_key: that requests have to have; None: any may come.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], folder: Path, api_key: str | None) -> None:
        self.collections = Collections(folder)
        self.api_key = api_key
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """Answer a request, of whatever method."""
        parts = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(size, MOST))
        left = size - len(body)
        while left > 0 and (rest := self.rfile.read(min(left, MOST))):  # the connection goes on behind it
            left -= len(rest)
        try:
            self._check(parts.path, size)
            result = self._perform(parts, body)
            code, answer = 200, result if parts.path in OPEN_PATHS else {"result": result, "status": "ok", "time": 0.0}
        except RefusedError as error:
            code, answer = error.code, {"status": {"error": str(error)}, "time": 0.0}
        text = json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_DELETE = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _check(self, path: str, size: int) -> None:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        key = self.server.api_key
        if key is not None and path not in OPEN_PATHS and key not in {self.headers.get("api-key"), bearer}:
            raise RefusedError(401, "Must provide an API key or an Authorization bearer token")
        if size > MOST:
            raise RefusedError(400, f"JSON payload ({size} bytes) is larger than allowed (limit: {MOST} bytes).")

    def _perform(self, parts: Any, body: bytes) -> Any:
        routes = ((re.fullmatch(pattern, parts.path), own) for method, pattern, own in ROUTES if method == self.command)
        found, function = next((route for route in routes if route[0] is not None), (None, None))
        if found is None or function is None:
            raise RefusedError(404, "there is nothing at this address")
        if function in WRITES and parse_qs(parts.query).get("wait") != ["true"]:
            raise RefusedError(400, "this stand-in takes no writes that do not wait")
        names = [unquote(name) for name in found.groups()]
        collections = self.server.collections
        if not names or function in ON_NAMES:
            return function(collections, *names, body)
        collection = collections.get(names[0])
        try:
            return function(collection, body)
        except RefusedError:
            raise
        except Exception as error:  # the engine knows no other type
            if not collections.has(names[0], collection):
                collections.get(names[0])
            raise RefusedError(400, f"Wrong input: {type(error).__name__}: {error}") from error


def _read(kind: type[T], body: bytes) -> T:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise RefusedError(400, f"Format error in JSON body: {error.error_count()} errors") from error


def _version(_collections: Collections, _body: bytes) -> Any:
    return {"title": "a stand-in for qdrant", "version": VERSION}


def _names(collections: Collections, _body: bytes) -> Any:
    return {"collections": [{"name": name} for name in collections.names()]}


def _exists(collections: Collections, name: str, _body: bytes) -> Any:
    return {"exists": name in collections.names()}


def _create(collections: Collections, name: str, body: bytes) -> Any:
    collections.create(name, _read(models.CreateCollection, body))
    return True


def _drop(collections: Collections, name: str, _body: bytes) -> Any:
    return collections.drop(name)


def _tell(collection: Collection, _body: bytes) -> Any:
    info = collection.shard.info()
    return {
        "status": "green",
        "optimizer_status": "ok",
        "points_count": info.points_count,
        "indexed_vectors_count": info.indexed_vectors_count,
        "segments_count": info.segments_count,
        "payload_schema": {name: _told(index) for name, index in info.payload_schema.items()},
        "config": collection.config,
    }


def _told(index: Any) -> dict[str, Any]:
    kinds = [kind.value for kind, own in INDEXES.items() if own == index.data_type]
    return {"data_type": kinds[0], "points": index.points}


def _done() -> Any:
    return {"operation_id": 0, "status": "completed"}


def _upsert(collection: Collection, body: bytes) -> Any:
    request = _read(models.PointsList, body)
    _known(request, "points", "update_mode")
    points = [edge.Point(_id(point.id), _vector(point.vector), point.payload or {}) for point in request.points]
    collection.shard.update(edge.UpdateOperation.upsert_points(points, update_mode=MODES[request.update_mode]))
    return _done()


def _delete(collection: Collection, body: bytes) -> Any:
    chosen = collection.filter(_read(models.FilterSelector, body).filter, "update")
    collection.shard.update(edge.UpdateOperation.delete_points_by_filter(chosen))
    return _done()


def _index(collection: Collection, body: bytes) -> Any:
    request = _read(models.CreateFieldIndex, body)
    if request.field_schema not in INDEXES:
        raise _unspoken(request.field_schema)
    kind = INDEXES[models.PayloadSchemaType(request.field_schema)]
    collection.shard.update(edge.UpdateOperation.create_field_index(request.field_name, kind))
    return _done()


def _retrieve(collection: Collection, body: bytes) -> Any:
    request = _read(models.PointRequest, body)
    _known(request, "ids", "with_payload", "with_vector")
    ids = [_id(one) for one in request.ids]
    found = collection.shard.retrieve(ids, _payload(request.with_payload), bool(request.with_vector))
    return [_record(one) for one in found]


def _count(collection: Collection, body: bytes) -> Any:
    request = _read(models.CountRequest, body)
    _known(request, "filter", "exact")
    chosen = collection.filter(request.filter, "retrieve")
    return {"count": collection.shard.count(edge.CountRequest(bool(request.exact), chosen))}


def _scroll(collection: Collection, body: bytes) -> Any:
    request = _read(models.ScrollRequest, body)
    _known(request, "offset", "limit", "filter", "with_payload", "with_vector")
    found, offset = collection.shard.scroll(
        edge.ScrollRequest(
            offset=None if request.offset is None else _id(request.offset),
            limit=request.limit,
            filter=collection.filter(request.filter, "retrieve"),
            with_payload=_payload(request.with_payload),
            with_vector=bool(request.with_vector),
        )
    )
    following = offset if offset is None or isinstance(offset, int) else str(offset)
    return {"points": [_record(one) for one in found], "next_page_offset": following}


def _query(collection: Collection, body: bytes) -> Any:
    request = _read(models.QueryRequest, body)
    _known(request, "query", "filter", "params", "limit", "with_payload", "with_vector")
    query = request.query.nearest if isinstance(request.query, models.NearestQuery) else request.query
    if request.params is not None:
        _known(request.params, "exact", "indexed_only")
    found = collection.shard.query(
        edge.QueryRequest(
            limit=request.limit or 10,
            query=edge.Query.Nearest(_vector(query)),
            filter=collection.filter(request.filter, "retrieve"),
            params=edge.SearchParams(exact=bool(request.params and request.params.exact)),
            with_payload=_payload(request.with_payload),
            with_vector=bool(request.with_vector),
        )
    )
    return {"points": [{**_record(one), "version": one.version, "score": _number(one.score)} for one in found]}


NAMED = r"/collections/([^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", r"/|/healthz|/livez|/readyz", _version),
    ("GET", r"/collections", _names),
    ("GET", NAMED, _tell),
    ("PUT", NAMED, _create),
    ("DELETE", NAMED, _drop),
    ("GET", f"{NAMED}/exists", _exists),
    ("PUT", f"{NAMED}/index", _index),
    ("PUT", f"{NAMED}/points", _upsert),
    ("POST", f"{NAMED}/points", _retrieve),
    ("POST", f"{NAMED}/points/delete", _delete),
    ("POST", f"{NAMED}/points/count", _count),
    ("POST", f"{NAMED}/points/scroll", _scroll),
    ("POST", f"{NAMED}/points/query", _query),
]
ON_NAMES = {_create, _drop, _exists}
WRITES = {_index, _upsert, _delete}


def main() -> None:
    """Run it until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6333)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--api-key")
    options = parser.parse_args()
    server = Server((options.host, options.port), options.path, options.api_key)
    # shutdown() waits for the loop that the signal interrupts, so it needs another thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    ended = threading.Event()
    flushing = threading.Thread(target=server.collections.flush_until, args=(ended,))
    flushing.start()
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    ended.set()
    flushing.join()


if __name__ == "__main__":
    main()
