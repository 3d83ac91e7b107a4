"""DynamoDB against the conformance kit, and what the kit does not ask."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import engines
import pytest
from writers import RaceTests, assert_a_child_is_refused

from praisonai_persistence import ConversationMessage, ConversationSession, payload
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
    StoreNotFoundError,
)
from praisonai_persistence.testing import ConversationStoreSuite, Endpoint, StateStoreSuite, StoreSpec
from praisonai_persistence_dynamodb import AsyncDynamoDBStateStore, DynamoDBConversationStore, DynamoDBStateStore
from praisonai_persistence_dynamodb.engine import SPREAD


class OnDynamoDB:
    backend = "dynamodb"
    kind: str

    def spec_with(self, options):
        name = f"DynamoDB{self.kind.capitalize()}Store"
        module = "praisonai_persistence_dynamodb"
        return StoreSpec(self.kind, sync=f"{module}:{name}", async_=f"{module}:Async{name}", options=options)

    @pytest.fixture
    def spec(self, dynamodb):
        with dynamodb.space() as options:
            yield self.spec_with(options)

    @pytest.fixture
    def unreachable_spec(self, dynamodb):
        at = f"http://127.0.0.1:{engines.free_port()}"
        return self.spec_with(
            {"url": "dynamodb://nowhere", "endpoint_url": at, "region": "us-east-1", "connect_timeout": 1}
        )

    @pytest.fixture
    def server(self, dynamodb):
        return dynamodb

    @pytest.fixture
    def spec_through(self, spec):
        server = urlsplit(spec.options["endpoint_url"])
        return Endpoint(
            server.hostname,
            server.port,
            lambda host, port: spec.with_options(endpoint_url=f"http://{host}:{port}"),
        )


@pytest.mark.quick_operations
class TestDynamoDBState(OnDynamoDB, StateStoreSuite):
    kind = "state"
    many = 1_100  # a page has 1,000
    at_once = 300  # a request takes 100


class TestDynamoDBConversations(OnDynamoDB, ConversationStoreSuite):
    kind = "conversation"


@pytest.fixture
def options(dynamodb):
    with dynamodb.space() as options:
        yield options


@pytest.fixture
def refuse(dynamodb):
    """Has the next requests refused."""
    yield lambda code, count=10**6, **how: dynamodb.execute("POST /refuse", {"code": code, "count": count, **how})
    dynamodb.execute("POST /refuse", {"count": 0})


@pytest.fixture
def requests_of(dynamodb, options):
    """Returns how many requests a call makes; the store has been used, and has swept, already."""
    with DynamoDBStateStore(**options) as store:
        store.set("ready", 1, ttl=1000)

        def count(call):
            dynamodb.execute("GET /count")
            call(store)
            return dynamodb.execute("GET /count")[0][0]

        yield count


def table_of(options):
    return options["url"].partition("//")[2]


def items_of(dynamodb, options):
    return dynamodb.execute("Scan", {"TableName": table_of(options)})[0][0]["Items"]


def test_requests_of_each_call(requests_of):
    """The table in the README."""
    assert requests_of(lambda store: store.set("a", 1)) == 1
    assert requests_of(lambda store: store.set("a", 2, ttl=60)) == 1
    for read in (DynamoDBStateStore.get, DynamoDBStateStore.exists, DynamoDBStateStore.ttl):
        assert requests_of(lambda store, read=read: read(store, "a")) == 1
    for key in ("a", "new"):
        assert requests_of(lambda store, key=key: store.incr(key)) == 1
    assert requests_of(lambda store: store.expire("a", 50)) == 1
    assert requests_of(lambda store: store.expire("unknown", 50)) == 1
    assert requests_of(lambda store: store.compare_and_set("a", 3, 4)) == 1
    assert requests_of(lambda store: store.compare_and_set("a", 3, 4)) == 1
    assert requests_of(lambda store: store.compare_and_set("unknown", 3, 4)) == 1
    assert requests_of(lambda store: store.compare_and_set("a", 4.0, 5)) == 3
    assert requests_of(lambda store: store.set_if_absent("a", 1)) == 1
    assert requests_of(lambda store: store.set_if_absent("b", {"x": "y"})) == 1
    assert requests_of(lambda store: store.compare_and_set("b", {"x": "y"}, 1)) == 1
    assert requests_of(lambda store: store.delete("a")) == requests_of(lambda store: store.delete("a")) == 1
    assert requests_of(lambda store: store.hset("h", "f", 1)) == 2
    assert requests_of(lambda store: store.hget("h", "f")) == requests_of(lambda store: store.hgetall("h")) == 1
    assert requests_of(lambda store: store.hdel("h", "f")) == 2
    many = {f"k{number}": number for number in range(100)}
    assert requests_of(lambda store: store.set_many(many)) == 1
    assert requests_of(lambda store: store.get_many([*many])) == 1
    assert requests_of(lambda store: store.keys("k*")) == SPREAD
    assert requests_of(lambda store: store.delete_many(list(many))) == 2
    more = {f"k{number}": number for number in range(300)}
    assert requests_of(lambda store: store.set_many(more)) == 3 * 3 + 2
    assert requests_of(lambda store: store.get_many([*more, "unknown"])) == 4
    assert requests_of(lambda store: store.clear()) == SPREAD + 4
    assert requests_of(lambda store: store.set("large", "x" * 700_000)) == 1 + 3 + 2
    assert requests_of(lambda store: store.get("large")) == 1 + 1
    assert requests_of(lambda store: store.set("large", "x" * 5_000_000)) == 1 + 3 + 14 + 2 + 2
    assert requests_of(lambda store: store.get("large")) == 1 + 2
    assert requests_of(lambda store: store.set("n", 10**40)) == 1
    assert requests_of(lambda store: store.incr("n")) == 3


@pytest.fixture
def conversations(options):
    with DynamoDBConversationStore(**options) as store:
        store.create_session(ConversationSession("s", user_id="ada"))
        yield store


def messages(*contents):
    return [ConversationMessage(content=content) for content in contents]


def test_requests_of_each_call_about_conversations(dynamodb, conversations):
    """The table in the README."""

    def requests_of(method, *arguments, **named):
        dynamodb.execute("GET /count")
        getattr(conversations, method)(*arguments, **named)
        return dynamodb.execute("GET /count")[0][0]

    first, *others = messages(*map(str, range(98)))
    assert requests_of("add_message", "s", first) == 3
    assert requests_of("add_message", "s", first) == 3  # again: it is there
    assert requests_of("add_messages", "s", [first, *others]) == 4
    assert requests_of("add_messages", "s", messages(*map(str, range(98)))) == 3
    assert requests_of("add_messages", "s", messages(*map(str, range(1_000)))) == 1 + 10 + 1 + 10 + 1
    assert requests_of("get_messages", "s", limit=50) == 2
    assert requests_of("get_messages", "s", limit=50, before_seq=5) <= 2 + 3
    assert requests_of("get_session", "s") == requests_of("count_messages", "s") == 1
    assert requests_of("create_session", ConversationSession("t")) == 1
    assert requests_of("update_session", ConversationSession("t")) == 2
    assert requests_of("upsert_session", ConversationSession("t")) == 2
    assert requests_of("list_sessions") == SPREAD
    conversations.add_messages("t", messages(*map(str, range(98))))
    conversations.add_messages("t", messages("a", "b"))
    assert requests_of("fork_session", "t", new_session_id="u") == 8
    assert requests_of("rewrite_session", ConversationSession("u"), messages("c"), expected_version=1) == 14  # 101 ids
    assert requests_of("search_messages", "97", user_id="ada") == SPREAD + 2
    conversations.delete_session("t")
    conversations.create_session(ConversationSession("t"))
    conversations.add_message("t", first)
    large, small = messages("x" * 5_000_000, "y" * 1_000)
    assert requests_of("add_message", "s", large) == 3 + 14 + 2
    assert requests_of("get_messages", "s", limit=1) == 2 + 2
    assert requests_of("add_message", "s", small) == 3
    assert requests_of("delete_session", "t") == 6 + 2


def test_messages_of_five_megabytes(dynamodb, options, conversations):
    """Equal ones stay separate, and nothing of them is left when they are deleted."""
    large = "0123456789é" * 450_000
    conversations.add_messages("s", messages(large, "small", large))
    conversations.add_message("s", messages(large)[0])
    found = conversations.get_messages("s")
    assert [(message.seq, message.content) for message in found] == [(1, large), (2, "small"), (3, large), (4, large)]
    assert len({message.id for message in found}) == 4
    assert max(len(item["text"]["S"].encode()) for item in items_of(dynamodb, options) if "text" in item) <= 360_000
    assert conversations.delete_messages("s", [found[0].id, found[3].id]) == 2
    assert [message.content for message in conversations.get_messages("s")] == ["small", large]
    assert conversations.delete_session("s")
    left = {item["pk"]["S"].rpartition("/")[2] for item in items_of(dynamodb, options)}
    assert left <= {"notes"}


def test_a_batch_that_is_too_large_is_refused_before_it_is_written(dynamodb, options, conversations):
    with pytest.raises(SerializationError):
        conversations.add_messages("s", messages("small", "x" * payload.MAX_BYTES))
    assert conversations.count_messages("s") == 0
    assert len(items_of(dynamodb, options)) == 1


def test_a_busy_table_takes_an_append_once(conversations, refuse):
    refuse("TransactionConflictException", 3, only="TransactWriteItems")
    conversations.add_messages("s", messages("a", "b"))
    refuse("ThrottlingException", 4)
    conversations.add_message("s", messages("c")[0])
    assert [(message.seq, message.content) for message in conversations.get_messages("s")] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
    ]


def test_sessions_are_spread_and_share_a_table_with_state(dynamodb, options):
    with DynamoDBConversationStore(**options) as conversations, DynamoDBStateStore(**options) as state:
        for number in range(40):
            conversations.create_session(ConversationSession(f"session/{number}"))
            state.set(f"session/{number}", number)
        partitions = {item["pk"]["S"] for item in items_of(dynamodb, options)}
        assert partitions == {
            f"praison_{folder}/{number}"
            for folder in ("conversation/sessions", "state/keys")
            for number in range(SPREAD)
        }
        assert len(conversations.list_sessions(limit=100)) == len(state.keys()) == 40


def test_a_busy_table_is_asked_again(dynamodb, options, refuse):
    with DynamoDBStateStore(**options) as store:
        store.set("a", 1)
        for code in ("ProvisionedThroughputExceededException", "ThrottlingException", "TransactionConflictException"):
            refuse(code, 3)
            store.incr("a")
        refuse("RequestLimitExceeded", 3)
        store.set_many({"b": 1, "c": 2})
        assert store.get_many(["a", "b", "c"]) == {"a": 4, "b": 1, "c": 2}


def test_a_table_that_stays_busy_is_given_up_in_time(options, refuse):
    with DynamoDBStateStore(**options) as patient, DynamoDBStateStore(**options, timeout=2) as store:
        patient.set("a", 1)
        refuse("ThrottlingException")
        for call in (
            lambda: store.get("a"),
            lambda: store.set("a", 2),
            lambda: store.set_many({"a": 2, "b": 2}),
            lambda: store.keys(),
        ):
            begin = time.monotonic()
            with pytest.raises(ConnectionFailedError, match="too many requests"):
                call()
            assert time.monotonic() - begin < 10  # of two, on a machine that does other things
        refuse("", 0)
        assert patient.get("a") == 1


def test_what_a_batch_did_not_answer_is_asked_again(dynamodb, options):
    values = {f"k{number}": number for number in range(50)}
    with DynamoDBStateStore(**options) as store:
        store.set_many(values)
        dynamodb.execute("POST /few", 7)
        try:
            assert store.get_many(list(values)) == values
        finally:
            dynamodb.execute("POST /few", 0)


def test_a_table_that_is_not_there(options):
    with DynamoDBStateStore(**options, auto_create_table=False) as store:
        for call in (store.connect, lambda: store.set("a", 1), lambda: store.get_many(["a", "b"])):
            with pytest.raises(StoreNotFoundError, match=f"aws dynamodb create-table --table-name {table_of(options)}"):
                call()


def test_a_table_that_is_made(dynamodb, options):
    stores = [DynamoDBStateStore(**options) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(lambda store: store.incr("a"), stores)) == [1, 2, 3, 4]
    found = dynamodb.execute("DescribeTimeToLive", {"TableName": table_of(options)})[0][0]["TimeToLiveDescription"]
    assert (found["TimeToLiveStatus"], found["AttributeName"]) == ("ENABLED", "expires")
    dynamodb.drop(table_of(options))
    assert stores[0].incr("a") == 1
    for store in stores:
        store.close()


@pytest.mark.parametrize("keys", [{"id": "HASH"}, {"pk": "HASH"}, {"pk": "HASH", "when": "RANGE"}])
def test_a_table_with_another_key_schema(dynamodb, options, keys):
    request = {
        "TableName": table_of(options),
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in keys],
    }
    dynamodb.execute("CreateTable", request)
    with DynamoDBStateStore(**options) as store:
        for call in (store.connect, lambda: store.set("a", 1), store.keys):
            with pytest.raises(ConfigurationError, match="another key schema"):
                call()


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("ExpiredTokenException", ConnectionFailedError, "out of date"),
        ("UnrecognizedClientException", ConnectionFailedError, "does not know these credentials"),
        ("InvalidSignatureException", ConnectionFailedError, "does not know these credentials"),
        ("AccessDeniedException", ConnectionFailedError, "PutItem"),
        ("ValidationException", BackendError, "ValidationException"),
        ("UnknownOperationException", ConnectionFailedError, "check endpoint_url"),
    ],
)
def test_a_service_that_refuses(options, refuse, code, error, words):
    async def main():
        async with AsyncDynamoDBStateStore(**options) as store:
            await store.set("a", 1)
            refuse(code, only="PutItem")
            with pytest.raises(error, match=words) as caught:
                await store.set("a", 2)
            assert await store.get("a") == 1
            refuse("", 0)
            return caught.value

    with DynamoDBStateStore(**options) as store:
        store.set("a", 1)
        refuse(code, only="PutItem")
        with pytest.raises(error, match=words) as caught:
            store.set("a", 2)
        assert store.get("a") == 1
        refuse("", 0)
        for found in (caught.value, asyncio.run(main())):
            assert type(found) is error
            assert "s3cret" not in f"{found} {found.__cause__}"
            assert "test" not in str(found)


def test_a_service_in_trouble(options, refuse):
    with DynamoDBStateStore(**options) as store:
        store.set("a", 1)
        refuse("InternalServerError", 1, status=500)
        assert store.get("a") == 1
        refuse("InternalServerError", 1, status=500)
        with pytest.raises(ConnectionFailedError):
            store.incr("a")
        assert store.incr("a") == 2


def test_a_server_of_another_kind(gcs, options):
    with (
        DynamoDBStateStore(**{**options, "endpoint_url": gcs.url}) as store,
        pytest.raises(ConnectionFailedError, match="check endpoint_url"),
    ):
        store.connect()


def test_keys_are_spread_and_prefixes_are_apart(dynamodb, options):
    with DynamoDBStateStore(**options) as store, DynamoDBStateStore(**options, table_prefix="b_") as other:
        store.set_many({f"job:{number}": number for number in range(80)})
        other.set("job:1", 1)
        partitions = Counter(item["pk"]["S"] for item in items_of(dynamodb, options))
        assert partitions.pop(next(name for name in partitions if name.startswith("b_"))) == 1
        assert set(partitions) == {f"praison_state/keys/{number}" for number in range(SPREAD)}
        assert max(partitions.values()) < 20
        assert len(store.keys("job:*")) == 80
        assert store.keys("job:7") == ["job:7"]


def test_when_the_service_may_delete_an_item(dynamodb, options):
    """Only where nothing else hangs on it."""
    begin = time.time()
    with DynamoDBStateStore(**options) as store:
        store.set("short", 1, ttl=60)
        written = time.time()
        store.set("long", "x" * 500_000, ttl=60)
        store.set("never", 1)
        store.set("until", 1, ttl=1e300)
        store.set("expired", 1)
        assert store.expire("expired", 0.1)
        assert store.expire("never", 60)
        store.set("never", 2)
        items = {item["sk"]["S"]: item for item in items_of(dynamodb, options)}
        found = {key for key, item in items.items() if "expires" in item}
        assert found == {"short", "expired"}
        assert begin + 60 <= int(items["short"]["expires"]["N"]) <= written + 61
        assert store.ttl("until") > 1e99
        assert store.expire("until", 5)
        assert store.ttl("until") < 6


def test_numbers_beyond_those_of_the_service(options):
    with DynamoDBStateStore(**options) as store:
        for start in (0, -1, 2**63 - 1, 10**30, 10**36 - 1, 10**36, -(10**36), 10**40, -(10**50)):
            store.set("n", start)
            assert store.incr("n") == start + 1
            assert store.get("n") == start + 1
            assert store.incr("n", 10**37) == start + 1 + 10**37
            assert store.compare_and_set("n", start + 1 + 10**37, start)
            assert (store.get("n"), store.incr("n", -1)) == (start, start - 1)


def test_large_values_and_batches(dynamodb, options):
    value = "0123456789é" * 500_000
    with DynamoDBStateStore(**options) as store:
        store.set("large", value)
        assert store.get("large") == value
        assert store.set_if_absent("large", 1) is False
        assert store.compare_and_set("large", 1, 2) is False
        many = {f"k{number}": "x" * 200_000 for number in range(30)}  # more than a transaction may have
        store.set_many({**many, "large": 1})
        assert store.get_many([*many, "large"]) == {**many, "large": 1}
        assert store.delete_many([*many, "large", "unknown"]) == 31
        assert items_of(dynamodb, options) == []


def test_no_increment_is_lost(options):
    async def main():
        async with AsyncDynamoDBStateStore(**options) as store:
            await asyncio.gather(*(store.incr("n") for _ in range(64)))
            for number in range(10):
                won = await asyncio.gather(*(store.set_if_absent(f"key-{number}", racer) for racer in range(32)))
                assert won.count(True) == 1
            return await store.get("n")

    assert asyncio.run(main()) == 64


class TestRaces(RaceTests):
    backend, state, conversation = "async_dynamodb", DynamoDBStateStore, DynamoDBConversationStore

    @pytest.fixture
    def place(self, options):
        return options


def test_a_client_that_is_handed_in_stays_open(dynamodb, options):
    client = dynamodb.client()
    with DynamoDBStateStore(table_name=table_of(options), client=client) as store:
        store.set("a", 1)
        assert store.incr("a") == 2
    assert table_of(options) in client.list_tables()["TableNames"]
    client.close()


def test_a_client_that_is_handed_in_is_left_as_it_was(dynamodb, options):
    client = dynamodb.client()

    def checks():
        handlers = client.meta.events._emitter._handlers.prefix_search("after-call.dynamodb.PutItem")
        return [one for one in handlers if one.__module__.startswith("praisonai_persistence")]

    stores = [DynamoDBStateStore(table_name=table_of(options), client=client) for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: stores[number % 2].set("a", number), range(16)))
    assert checks()
    stores[0].close()
    assert checks()
    stores[0].close()
    stores.pop()  # it is dropped without being closed
    gc.collect()
    assert not checks()
    client.get_item(TableName=table_of(options), Key={"pk": {"S": "a"}, "sk": {"S": "b"}})
    client.close()


def test_a_client_that_is_handed_in_is_shared_by_threads_and_stores_but_not_with_a_child(dynamodb, options):
    client = dynamodb.client()
    given = {"table_name": table_of(options), "client": client}
    with DynamoDBStateStore(**given) as store, DynamoDBStateStore(**given) as other:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: (store, other)[number % 2].incr("a"), range(40)))
        assert store.get("a") == 40
        assert_a_child_is_refused(store)
        assert store.incr("a") == 41
    client.close()


def test_an_answer_that_is_cut_off_is_no_answer_of_a_client_that_is_handed_in(dynamodb, options):
    client = dynamodb.client()
    with DynamoDBStateStore(table_name=table_of(options), client=client) as store:
        store.set("a", 1)

        def cut(http_response, **_):
            http_response._content = b""

        client.meta.events.register_first("after-call.dynamodb", cut)
        with pytest.raises(ConnectionFailedError):
            store.get("a")
        client.meta.events.unregister("after-call.dynamodb", cut)
        assert store.get("a") == 1
    client.close()
