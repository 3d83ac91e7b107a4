"""Measures the stores of services and of document databases beside their bare clients, in one run, as ratios.

    python benchmarks/clouds.py [--rounds N] [--quick] [--check] [--seconds S] [--only WORK ...] [BACKEND ...]

Servers are found as for the integration tests. Ours and theirs take turns. The bare client makes the same durable
call with ``json.dumps`` and ``json.loads``; it checks nothing. In Firestore and Google Cloud Storage it writes
blindly; *not seen before* is a key that the store has neither read nor written, which both read first, and write on
the condition that nobody else did. In MongoDB both have their writes acknowledged by the majority, and a deadline for
each call; the bare client appends a message by counting and inserting, so a process that is killed in between leaves
a gap. In Turso and in SingleStore it appends as we do: without gaps, harmless when it is repeated, in one transaction
and one request. In DynamoDB it writes blindly, too; *items alike* have the attributes of ours and their condition,
because the emulator, which is written in Python, takes longer for these. Messages are written by one conditional write
behind a count of the program's own, and as we do, in one transaction behind what was read, so that retries add
nothing. In SurrealDB it appends as we do, in one transaction and one request; in Supabase, too,
by a function of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from measuring import Report, interleaved, servers
from redis_state import MANY, VALUE, add, timed
from singlestore_work import singlestore
from supabase_work import supabase
from surrealdb_work import surrealdb, surrealdb_server
from turso_work import turso, turso_file

Work = dict[str, tuple[Callable[[], Any], Callable[[], Any], int]]
"""What, then ours, the bare client's, and how many calls make a turn."""


def on_loop(
    loop: asyncio.AbstractEventLoop, ours: Callable[[], Any], theirs: Callable[[], Any], calls: int
) -> tuple[Callable[[], Any], Callable[[], Any], int]:
    """Return a piece of work of coroutine functions, both of which run on a loop that stays open."""

    async def awaited(call: Callable[[], Any]) -> Any:
        return await call()

    return lambda: loop.run_until_complete(awaited(ours)), lambda: loop.run_until_complete(awaited(theirs)), calls


@contextmanager
def upstash(engines: Any, times: int) -> Iterator[Work]:
    """The REST interface over Redis."""
    from upstash_redis import Redis

    from praisonai_persistence_upstash import UpstashStateStore

    server = engines.engine("upstash")
    parts = urlsplit(server.url)
    client = Redis(f"http://{parts.hostname}:{parts.port}", parts.password or "", rest_encoding=None)
    values = {f"key-{number}": VALUE for number in range(MANY)}
    names = [f"bare:{key}" for key in values]
    with server.space() as options, UpstashStateStore(**options) as store, client:
        store.set_many(values)
        client.mset({name: json.dumps(VALUE) for name in names})
        yield {
            "set": (lambda: store.set("key", VALUE), lambda: client.set("bare:key", json.dumps(VALUE)), times),
            "get": (lambda: store.get("key-1"), lambda: json.loads(client.get(names[1]) or ""), times),
            f"get_many of {MANY}": (
                lambda: store.get_many(list(values)),
                lambda: [json.loads(text or "") for text in client.mget(*names)],
                times // 5,
            ),
        }


@contextmanager
def gcs(engines: Any, times: int) -> Iterator[Work]:
    """An emulator of Google Cloud Storage."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client, transfer_manager  # type: ignore[import-untyped]

    from praisonai_persistence_gcs import GCSStateStore

    server = engines.engine("gcs")
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
    client = Client("bench", nobody, client_options={"api_endpoint": server.url})
    values = {f"key-{number}": VALUE for number in range(MANY)}
    with server.space() as options, GCSStateStore(**options) as store:
        bucket = client.bucket(options["url"].partition("//")[2])

        def write() -> None:
            bucket.blob("bare/key").upload_from_string(json.dumps(VALUE))

        def change() -> None:
            blob = bucket.blob("bare/key")
            blob.download_as_bytes()
            blob.upload_from_string(json.dumps(VALUE), if_generation_match=blob.generation)

        def unseen() -> None:
            steps: Any = store._steps
            steps._known.clear()  # as of another process
            store.set("key", VALUE)

        def read_many() -> list[Any]:
            pairs = [(bucket.blob(f"bare/{key}"), _Sink()) for key in values]
            transfer_manager.download_many(pairs, worker_type=transfer_manager.THREAD, max_workers=16)
            return [json.loads(sink.data) for _, sink in pairs]

        for key in ("key", *values):
            bucket.blob(f"bare/{key}").upload_from_string(json.dumps(VALUE))
        store.set_many(values)
        yield {
            "set": (lambda: store.set("key", VALUE), write, times),
            "set, not seen before": (unseen, change, times),
            "get": (
                lambda: store.get("key-1"),
                lambda: json.loads(bucket.blob("bare/key-1").download_as_bytes()),
                times,
            ),
            f"get_many of {MANY}": (lambda: store.get_many(list(values)), read_many, max(2, times // 50)),
        }


@contextmanager
def mongodb(engines: Any, times: int) -> Iterator[Work]:
    """MongoDB, or what speaks its protocol."""
    from pymongo import AsyncMongoClient, MongoClient, WriteConcern

    from praisonai_persistence import ConversationMessage, ConversationSession
    from praisonai_persistence_mongodb import AsyncMongoDBStateStore, MongoDBConversationStore, MongoDBStateStore

    server = engines.engine("mongodb")
    values = {f"key-{number}": VALUE for number in range(MANY)}
    with (
        server.space() as options,
        MongoDBStateStore(**options) as store,
        MongoDBConversationStore(**options) as conversations,
        MongoClient[dict[str, Any]](options["url"], timeoutMS=30_000) as client,
        closing(asyncio.new_event_loop()) as loop,
    ):
        majority = WriteConcern("majority")
        bare: Any = client.get_default_database().get_collection("bare", write_concern=majority)
        awaited = AsyncMongoDBStateStore(**options)
        async_client: Any = AsyncMongoClient(options["url"], timeoutMS=30_000)
        async_bare = async_client.get_default_database().get_collection("bare", write_concern=majority)
        bare.insert_many([{"_id": key, "text": json.dumps(VALUE)} for key in values])
        bare.insert_one({"_id": "number", "number": 0})
        store.set_many(values)
        wanted = {"_id": {"$in": list(values)}}
        conversations.create_session(ConversationSession("session"))

        def append() -> None:
            seq = bare.find_one_and_update({"_id": "seq"}, {"$inc": {"seq": 1}}, upsert=True, return_document=True)[
                "seq"
            ]
            bare.insert_one({"_id": f"message-{seq:09}", "seq": seq, "text": json.dumps(VALUE)})

        def latest() -> list[Any]:
            found = bare.find(
                {"_id": {"$gt": "message-", "$lt": "message."}}, sort=[("_id", -1)], limit=50, batch_size=51
            )
            return [json.loads(message["text"]) for message in found][::-1]

        turns = itertools.count()  # each write changes the value: one that changes nothing writes nothing

        def value() -> Any:
            return {**VALUE, "turn": next(turns)}

        def write() -> None:
            bare.replace_one({"_id": "key"}, {"text": json.dumps(value())}, upsert=True)

        async def async_write() -> None:
            await async_bare.replace_one({"_id": "key"}, {"text": json.dumps(value())}, upsert=True)

        async def async_read() -> Any:
            return json.loads((await async_bare.find_one({"_id": "key-1"}))["text"])

        async def async_read_many() -> Any:
            return [json.loads(found["text"]) async for found in async_bare.find(wanted, batch_size=MANY + 1)]

        yield {
            "set": (lambda: store.set("key", value()), write, times),
            "set, async": on_loop(loop, lambda: awaited.set("key", value()), async_write, times),
            "get": (lambda: store.get("key-1"), lambda: json.loads(bare.find_one({"_id": "key-1"})["text"]), times),
            "get, async": on_loop(loop, lambda: awaited.get("key-1"), async_read, times),
            f"get_many of {MANY}, async": on_loop(
                loop, lambda: awaited.get_many(list(values)), async_read_many, times // 5
            ),
            "incr": (
                lambda: store.incr("number"),
                lambda: bare.find_one_and_update({"_id": "number"}, {"$inc": {"number": 1}}, return_document=True),
                times,
            ),
            f"get_many of {MANY}": (
                lambda: store.get_many(list(values)),
                lambda: [json.loads(found["text"]) for found in bare.find(wanted, batch_size=MANY + 1)],
                times // 5,
            ),
            "add_message": (
                lambda: conversations.add_message("session", ConversationMessage(content=json.dumps(VALUE))),
                append,
                times // 3,
            ),
            "latest 50 messages": (lambda: conversations.get_messages("session", 50), latest, times // 3),
        }
        loop.run_until_complete(awaited.close())
        loop.run_until_complete(async_client.close())


@contextmanager
def dynamodb(engines: Any, times: int) -> Iterator[Work]:
    """An emulator of DynamoDB."""
    from aiobotocore.session import get_session  # type: ignore[import-untyped]

    from praisonai_persistence import ConversationMessage, ConversationSession
    from praisonai_persistence_dynamodb import (
        AsyncDynamoDBStateStore,
        DynamoDBConversationStore,
        DynamoDBStateStore,
    )

    server = engines.engine("dynamodb")
    client = server.client()
    values = {f"key-{number}": VALUE for number in range(MANY)}
    with (
        server.space() as options,
        DynamoDBStateStore(**options) as store,
        DynamoDBConversationStore(**options) as conversations,
        closing(asyncio.new_event_loop()) as loop,
    ):
        store.set_many(values)  # makes the table
        conversations.create_session(ConversationSession("session"))
        table = options["url"].partition("//")[2]
        texts = {"bare": "text", "like ours": "plain"}
        awaited = AsyncDynamoDBStateStore(**options)
        place = {"region_name": options["region"], "endpoint_url": options["endpoint_url"]}
        open_client = get_session().create_client("dynamodb", **place)
        async_client = loop.run_until_complete(open_client.__aenter__())

        def key(name: str, partition: str = "like ours") -> dict[str, Any]:
            return {"pk": {"S": partition}, "sk": {"S": name}}

        def write_plain(name: str) -> None:
            client.put_item(TableName=table, Item={**key(name, "bare"), "text": {"S": json.dumps(VALUE)}})

        def write(name: str) -> None:
            item = {**key(name), "plain": {"S": json.dumps(VALUE)}, "v": {"S": uuid.uuid4().hex}}
            client.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(kind)")

        def read(partition: str) -> Any:
            answer = client.get_item(TableName=table, Key=key("key-1", partition), ConsistentRead=True)
            return json.loads(answer["Item"][texts[partition]]["S"])

        def read_many(partition: str) -> list[Any]:
            wanted = {"Keys": [key(name, partition) for name in values], "ConsistentRead": True}
            answer = client.batch_get_item(RequestItems={table: wanted})
            return [json.loads(item[texts[partition]]["S"]) for item in answer["Responses"][table]]

        async def async_write() -> None:
            item = {**key("key", "bare"), "text": {"S": json.dumps(VALUE)}}
            await async_client.put_item(TableName=table, Item=item)

        async def async_read() -> Any:
            answer = await async_client.get_item(TableName=table, Key=key("key-1", "bare"), ConsistentRead=True)
            return json.loads(answer["Item"]["text"]["S"])

        async def async_read_many() -> list[Any]:
            wanted = {"Keys": [key(name, "bare") for name in values], "ConsistentRead": True}
            answer = await async_client.batch_get_item(RequestItems={table: wanted})
            return [json.loads(item["text"]["S"]) for item in answer["Responses"][table]]

        seqs = itertools.count(1)

        def append() -> None:
            item = {**key(f"{next(seqs):09}", "messages"), "text": {"S": json.dumps(VALUE)}}
            client.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(pk)")

        def append_safely() -> None:
            head = client.get_item(TableName=table, Key=key("head", "safe"), ConsistentRead=True).get("Item", {})
            seq, message = int(head.get("seq", {"N": "0"})["N"]), uuid.uuid4().hex
            client.get_item(TableName=table, Key=key(message, "safe ids"), ConsistentRead=True)
            items = (
                {**key(f"{seq + 1:09}", "safe"), "text": {"S": json.dumps(VALUE)}},
                {**key(message, "safe ids"), "seq": {"N": str(seq + 1)}},
            )
            puts: list[Any] = [
                {"Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}
                for item in items
            ]
            raised = {
                "TableName": table,
                "Item": {**key("head", "safe"), "seq": {"N": str(seq + 1)}},
                "ConditionExpression": "attribute_not_exists(pk) OR seq = :seq",
                "ExpressionAttributeValues": {":seq": {"N": str(seq)}},
            }
            client.transact_write_items(TransactItems=[*puts, {"Put": raised}])

        def latest() -> list[Any]:
            answer = client.query(
                TableName=table,
                ConsistentRead=True,
                KeyConditionExpression="pk = :p",
                ExpressionAttributeValues={":p": {"S": "messages"}},
                ScanIndexForward=False,
                Limit=50,
            )
            return [json.loads(item["text"]["S"]) for item in answer["Items"]][::-1]

        for name in values:
            write(name)
            write_plain(name)
        few = max(2, times // 20)

        def ours() -> Any:
            return conversations.add_message("session", ConversationMessage(content=json.dumps(VALUE)))

        yield {
            "set": (lambda: store.set("key", VALUE), lambda: write_plain("key"), times),
            "set, async": on_loop(loop, lambda: awaited.set("key", VALUE), async_write, times),
            "set, items alike": (lambda: store.set("key", VALUE), lambda: write("key"), times),
            "get": (lambda: store.get("key-1"), lambda: read("bare"), times),
            "get, async": on_loop(loop, lambda: awaited.get("key-1"), async_read, times),
            "get, items alike": (lambda: store.get("key-1"), lambda: read("like ours"), times),
            f"get_many of {MANY}": (lambda: store.get_many(list(values)), lambda: read_many("bare"), few),
            f"get_many of {MANY}, async": on_loop(loop, lambda: awaited.get_many(list(values)), async_read_many, few),
            f"get_many of {MANY}, alike": (lambda: store.get_many(list(values)), lambda: read_many("like ours"), few),
            "add_message": (ours, append, few),
            "add_message, as ours": (ours, append_safely, few),
            "latest 50 messages": (lambda: conversations.get_messages("session", 50), latest, few),
        }
        loop.run_until_complete(awaited.close())
        loop.run_until_complete(open_client.__aexit__(None, None, None))
    client.close()


class _Sink:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


@contextmanager
def firestore(engines: Any, times: int) -> Iterator[Work]:
    """The vendor's emulator of Firestore."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.firestore import Client

    from praisonai_persistence import ConversationMessage, ConversationSession
    from praisonai_persistence_firestore import FirestoreConversationStore, FirestoreStateStore

    server = engines.engine("firestore")
    values = {f"key-{number}": VALUE for number in range(MANY)}
    with (
        server.space() as options,
        FirestoreStateStore(**options) as store,
        FirestoreConversationStore(**options) as conversations,
    ):
        client = Client("bench", AnonymousCredentials())  # type: ignore[no-untyped-call]
        client._emulator_host = server.address
        bare = client.collection("bare")
        for key in ("key", *values):
            bare.document(key).set({"text": json.dumps(VALUE)})
        store.set_many(values)
        conversations.create_session(ConversationSession("session"))
        few = max(2, times // 20)
        turns = itertools.count()  # each write changes the value: one that changes nothing costs the emulator less

        def value() -> Any:
            return {**VALUE, "turn": next(turns)}

        def read_many() -> list[Any]:
            found = client.get_all([bare.document(key) for key in values])
            return [json.loads(snapshot.get("text")) for snapshot in found]

        def change() -> None:
            found = bare.document("key").get()
            unmoved = client.write_option(last_update_time=found.update_time)
            bare.document("key").update({"text": json.dumps(value())}, unmoved)

        def unseen() -> None:
            steps: Any = store._steps
            steps._known.clear()  # as of another process
            store.set("key", value())

        yield {
            "set": (
                lambda: store.set("key", value()),
                lambda: bare.document("key").set({"text": json.dumps(value())}),
                times,
            ),
            "set, not seen before": (unseen, change, times),
            "get": (
                lambda: store.get("key-1"),
                lambda: json.loads(bare.document("key-1").get().get("text")),
                times,
            ),
            f"get_many of {MANY}": (lambda: store.get_many(list(values)), read_many, few),
            "add_message": (
                lambda: conversations.add_message("session", ConversationMessage(content=json.dumps(VALUE))),
                lambda: bare.document(uuid.uuid4().hex).create({"text": json.dumps(VALUE)}),
                times // 3,
            ),
        }


BACKENDS: dict[str, Callable[[Any, int], Any]] = {
    "dynamodb": dynamodb,
    "firestore": firestore,
    "gcs": gcs,
    "mongodb": mongodb,
    "singlestore": singlestore,
    "supabase": supabase,
    "surrealdb": surrealdb,
    "surrealdb_server": surrealdb_server,
    "turso": turso,
    "turso_file": turso_file,
    "upstash": upstash,
}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description="Measures stores of services beside their bare clients.")
    parser.add_argument("backends", nargs="*", help=f"some of {', '.join(BACKENDS)}; by default all")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="5 rounds, and less in each")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    parser.add_argument("--seconds", type=float, help="about how long each piece of work is measured")
    parser.add_argument("--only", action="append", help="a word of the work to measure, as set; may be given again")
    arguments = parser.parse_args()
    rounds, times = (5, 100) if arguments.quick else (arguments.rounds, 300)
    engines: Any = servers()
    report = Report()
    try:
        for name in arguments.backends or BACKENDS:
            with BACKENDS[name](engines, times) as work:
                for what, (ours, bare, calls) in work.items():
                    if arguments.only and not set(arguments.only) & set(what.replace(",", "").split()):
                        continue
                    ours(), bare()
                    few = max(1, calls // 20)  # short turns, so that what else the machine does meets both alike
                    programs = {"ours": timed(ours, few), "bare": timed(bare, few)}
                    blocks = 5 * calls // few
                    if arguments.seconds:
                        taken_once = sum(program() for program in programs.values())
                        blocks = max(1, round(arguments.seconds / rounds / taken_once))
                    taken = interleaved(rounds, programs, blocks)
                    add(report, name, what, taken, few)
            report.show(name)
    finally:
        engines.shut_down()
    missed = [line.what for line in report.missed]
    print(f"\nmissed: {', '.join(missed) or 'nothing'}; {rounds} rounds")
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
