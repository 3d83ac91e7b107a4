"""PraisonAI's modules, classes and constructors: each leads to a store of this project that is constructed as there."""

from __future__ import annotations

import json

import pytest
from programs import without

from praisonai_persistence._praisonai import ATTRIBUTES, BACKENDS, MEANINGS, NO_MEANING, backend_of
from praisonai_persistence._praisonai_names import installed_here

OURS = [(kind, row) for kind, rows in BACKENDS.items() for row in rows if backend_of(kind, row)]
MISSING = sorted({backend_of(kind, row) for kind, row in OURS if not installed_here(kind, row)})
needs_all = pytest.mark.skipif(bool(MISSING), reason=f"needs every backend; not installed: {', '.join(MISSING)}")
START = "import json, warnings\nimport praisonai_persistence.compat\n"


def test_the_tables_have_every_backend_and_name_once():
    assert [len(BACKENDS[kind]) for kind in ("conversation", "knowledge", "state")] == [12, 20, 9]
    for rows in BACKENDS.values():
        names = [name for row in rows for name in row.names]
        assert len(names) == len(set(names))
        assert all(row.parameters for row in rows)


@needs_all
def test_every_module_and_class_of_a_backend_that_is_here_resolves(program):
    rows = [(kind, row.module, row.store, row.name) for kind, row in OURS]
    code = (
        START
        + f"""
from importlib import import_module
import praisonai_persistence
for kind, module, store, name in {rows!r}:
    own = import_module(f"praisonai.persistence.{{kind}}.{{module}}")
    found = getattr(own, store)
    assert found is getattr(import_module(f"praisonai.persistence.{{kind}}"), store), store
    assert found.__name__ == store and found.__module__ == own.__name__
    base = getattr(praisonai_persistence, kind.capitalize() + "Store")
    assert issubclass(found, (base, getattr(praisonai_persistence, "Async" + base.__name__)))
    assert issubclass(import_module(f"praisonai.persistence.{{kind}}.{{name}}").__getattr__(store), found)
print(json.dumps("resolved"))
"""
    )
    assert program(code) == ["resolved"]


class Code:
    """What stands in a program as it is."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


NEEDED = {
    "CosmosDBVectorKnowledgeStore": {"connection_string": "AccountEndpoint=https://c:443/;AccountKey=c2VjcmV0"},
    "LangChainKnowledgeStore": {
        "vectorstore": Code("import_module('langchain_core.vectorstores').InMemoryVectorStore(None)")
    },
    "LlamaIndexKnowledgeStore": {
        "vector_store": Code("import_module('llama_index.core.vector_stores.simple').SimpleVectorStore()")
    },
    "GCSStateStore": {"bucket_name": "agents"},
    "PineconeKnowledgeStore": {"api_key": "secret"},
    "SupabaseConversationStore": {"url": "https://agents.supabase.co", "key": "secret"},
    "UpstashStateStore": {"url": "https://agents.upstash.io", "token": "secret"},
    "UpstashVectorKnowledgeStore": {"url": "https://agents-vector.upstash.io", "token": "secret"},
}
"""What has no default there."""


@needs_all
def test_every_parameter_is_accepted_by_position_and_by_name(program):
    """With its default, which means what is said when nothing is said; a store touches nothing when it is made."""
    rows = [(kind, row.module, row.store, row.parameters) for kind, row in OURS]
    code = (
        START
        + f"""
warnings.simplefilter("error")
from importlib import import_module
for kind, module, store, parameters in {rows!r}:
    found = getattr(import_module(f"praisonai.persistence.{{kind}}.{{module}}"), store)
    place = {NEEDED!r}.get(store, {{}})
    parameters = {{**parameters, **place}}
    found(**place)
    found(*parameters.values())
    found(**parameters)
    for name, value in parameters.items():
        found(**{{**place, name: value}})
    try:
        found(*parameters.values(), 1)
    except TypeError:
        pass
    else:
        raise AssertionError(store)
    try:
        found(**{{list(parameters)[-1] + "x": 1}})
    except TypeError as error:
        assert "did you mean" in str(error), error
    else:
        raise AssertionError(store)
import os
print(json.dumps(sorted(name for name in os.listdir() if name not in ("site", "program.py"))))
"""
    )
    assert program(code) == [[]]


@needs_all
def test_registries_have_every_name_and_alias_of_praisonai(program):
    """Each leads to the class of that name, also where it is one more name of a backend here."""
    rows = [(kind, row.name, row.aliases.split(), row.store, NEEDED.get(row.store, {})) for kind, row in OURS]
    code = (
        START
        + f"""
from importlib import import_module
from praisonai.persistence.config import list_available_backends
from praisonai.persistence.registry import StoreRegistry, get_default_registry
own = {{kind: StoreRegistry(kind, entry_point_group="a.program") for kind in ("conversation", "knowledge", "state")}}
for kind, name, aliases, store, place in {rows!r}:
    found = getattr(import_module(f"praisonai.persistence.{{kind}}"), store)
    for registry in (get_default_registry(kind), own[kind]):
        assert name in registry.list_names() and name in registry.list_registered(), name
        assert name not in registry.list_aliases(), name
        assert {{name, *aliases}} <= set(registry.list_all_names()) and name in list_available_backends()[kind], name
        for other in (name, *aliases):
            assert registry.canonical(other) == name and registry.is_available(other), other
            assert registry.resolve(other)() is found, other
            assert type(registry.create(other, **place)) is found, other
from praisonai.persistence import registry
print(json.dumps([own["state"].group, registry.STATE_STORES.list_aliases().get("valkeys")]))
"""
    )
    assert program(code) == [["a.program", "redis"]]


@needs_all
def test_every_parameter_means_something_or_is_told_once(program):
    code = (
        START
        + """
from praisonai.persistence.conversation import MySQLConversationStore, PostgresConversationStore
from praisonai.persistence.conversation.json_store import JSONConversationStore
from praisonai.persistence.conversation.sqlite import SQLiteConversationStore
from praisonai.persistence.knowledge.pgvector import PGVectorKnowledgeStore
from praisonai.persistence.state import RedisStateStore
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for _ in range(2):
        PostgresConversationStore(max_retries=9, retry_delay=2, pool_size=3, auto_create_tables=False)
        SQLiteConversationStore("x.db", check_same_thread=True)
        JSONConversationStore("y", pretty=False)
        RedisStateStore(decode_responses=False, socket_timeout=3, max_connections=4, prefix="mine:")
        PGVectorKnowledgeStore(auto_create_extension=False)
for one in told:
    print(json.dumps([one.category.__name__, str(one.message).partition(":")[0], str(one.message).split()[1]]))
"""
    )
    assert program(code) == [
        ["IgnoredArgumentWarning", "PostgresConversationStore", "max_retries"],
        ["IgnoredArgumentWarning", "PostgresConversationStore", "retry_delay"],
        ["IgnoredArgumentWarning", "SQLiteConversationStore", "check_same_thread"],
        ["IgnoredArgumentWarning", "JSONConversationStore", "pretty"],
        ["IgnoredArgumentWarning", "RedisStateStore", "decode_responses"],
        ["IgnoredArgumentWarning", "PGVectorKnowledgeStore", "auto_create_extension"],
    ]
    parameters = {name for _, row in OURS for name in row.parameters}
    assert set(NO_MEANING) <= parameters
    assert set(MEANINGS) <= parameters


@needs_all
def test_what_arguments_mean(program):
    code = (
        START
        + """
from praisonai_persistence.compat._stores import _bound, _options, _translated
from praisonai_persistence._praisonai import by_class
def of(kind, store, *args, **kwargs):
    from importlib import import_module
    base = getattr(import_module("praisonai.persistence." + kind), store).__mro__[1]
    options = list(_options(base))
    row = by_class(kind, store)
    print(json.dumps(_translated(row, _bound(row, args, kwargs, options), options)))
of("conversation", "PostgresConversationStore", None, "h", password="", pool_size=3, auto_create_tables=False)
of("conversation", "PostgresConversationStore", "postgresql://h/d", pool_size=3)
of("conversation", "MySQLConversationStore", port=1)
of("conversation", "SQLiteConversationStore", "sqlite:///a.db")
of("conversation", "SQLiteConversationStore", url="b.db")
of("conversation", "SQLiteConversationStore")
of("conversation", "JSONConversationStore")
of("knowledge", "ChromaKnowledgeStore")
of("knowledge", "ChromaKnowledgeStore", "p", persistent=False)
of("knowledge", "ChromaKnowledgeStore", host="h")
of("knowledge", "LanceDBKnowledgeStore", uri="u")
of("knowledge", "QdrantKnowledgeStore", "https://h:1")
of("knowledge", "QdrantKnowledgeStore")
of("state", "RedisStateStore", socket_timeout=3, max_connections=4, prefix="praison:")
of("state", "ValkeyStateStore", "h", 1, "p")
of("state", "RedisStateStore", "redis://a", host="localhost", port=6379, db=0)
of("state", "RedisStateStore", "redis://a/1", "a", 6379, 1, "secret")
"""
    )
    assert program(code) == [
        {
            "host": "h",
            "max_size": 3,
            "create_schema": False,
            "port": 5432,
            "database": "praisonai",
            "user": "postgres",
        },
        {"url": "postgresql://h/d", "max_size": 3},
        {"port": 1, "host": "localhost", "database": "praisonai", "user": "root"},
        {"url": "sqlite:///a.db"},
        {"path": "b.db"},
        {"path": "praisonai_conversations.db"},
        {"path": "./praisonai_conversations"},
        {"url": "chroma://"},
        {"url": "chroma://"},
        {"host": "h", "port": 8000},
        {"path": "u"},
        {"url": "qdrant://h:1", "https": True},
        {"host": "localhost", "port": 6333},
        {"timeout": 3, "max_size": 4, "host": "localhost", "port": 6379},
        {"host": "h", "port": 1, "password": "p"},
        {"url": "redis://a"},
        {"url": "redis://a/1", "password": "secret"},
    ]


@needs_all
def test_public_attributes_are_what_was_given_or_the_default(program):
    rows = [(kind, row.module, row.store, row.parameters, ATTRIBUTES.get(row.store, "")) for kind, row in OURS]
    code = (
        START
        + f"""
from importlib import import_module
from pathlib import Path
warnings.simplefilter("ignore")
for kind, module, store, parameters, named in {rows!r}:
    found = getattr(import_module(f"praisonai.persistence.{{kind}}.{{module}}"), store)
    place = {NEEDED!r}.get(store, {{}})
    for made, given in ((found(**place), {{**parameters, **place}}), (found(**{{**parameters, **place}}), None)):
        given = given or {{**parameters, **place}}
        for pair in named.split():
            name, _, parameter = pair.partition("=")
            value = getattr(made, name)
            if (parameter or name) in parameters:
                own = given[parameter or name]
                own = Path(own) if (store, name) == ("JSONConversationStore", "path") else own
                assert value == own, (store, name)
            try:
                setattr(made, name, "other")
            except AttributeError:
                continue
            assert name == "SCHEMA_VERSION", (store, name)
from praisonai.persistence.conversation import PostgresConversationStore, SQLiteConversationStore
from praisonai.persistence.factory import create_conversation_store
from praisonai.persistence.state import MemoryStateStore, RedisStateStore
one = PostgresConversationStore("postgresql://u:secret@h/d", schema="mine", table_prefix="a_", password="secret")
print(json.dumps([one.url, one.sessions_table, one.messages_table, one.password, one.pool_size, one.SCHEMA_VERSION]))
assert "secret" not in repr(vars(one)), vars(one)
two = SQLiteConversationStore("x.db", table_prefix="b_")
print(json.dumps([two.path, two.table_prefix, two.sessions_table]))
print(json.dumps([create_conversation_store("sqlite", "sqlite:///a%20b.db").path, RedisStateStore(prefix="p:").prefix]))
print(json.dumps([MemoryStateStore("s.json", save_interval=3).path, MemoryStateStore().path]))
with MemoryStateStore() as state:
    state.set("a:1", 1), state.set("b", 2)
    print(json.dumps([list(state.scan_prefix("a:", batch=10)), list(state.scan_prefix("a:", 10))]))
"""
    )
    assert program(code) == [
        ["postgresql://u:secret@h/d", "mine.a_sessions", "mine.a_messages", "secret", 5, "1.0.0"],
        ["x.db", "b_", "b_sessions"],
        ["a b.db", "p:"],
        ["s.json", None],
        [["a:1"], ["a:1"]],
    ]


@needs_all
def test_arguments_from_the_environment(program):
    code = (
        START
        + """
import os
from praisonai_persistence.compat._stores import _from_environment
from praisonai_persistence._praisonai import ENVIRONMENT, by_class
from praisonai.persistence.knowledge import PineconeKnowledgeStore, WeaviateKnowledgeStore
from praisonai.persistence.state import UpstashStateStore
for kind in ("conversation", "knowledge", "state"):
    for row in filter(None, (by_class(kind, name) for name in ENVIRONMENT)):
        assert set(ENVIRONMENT[row.store]) <= set(row.parameters), row
def show(kind, name, **given):
    print(json.dumps(_from_environment(by_class(kind, name), given)))
show("knowledge", "WeaviateKnowledgeStore")
WeaviateKnowledgeStore()
os.environ.update(
    WEAVIATE_URL="http://w:1", PINECONE_INDEX="i", PINECONE_API_KEY="k", TURSO_DATABASE_URL="libsql://t",
    UPSTASH_REDIS_URL="https://u.upstash.io", UPSTASH_REDIS_TOKEN="t", AWS_REGION="r", TURSO_AUTH_TOKEN="",
)
show("knowledge", "WeaviateKnowledgeStore", api_key="mine")
show("knowledge", "WeaviateKnowledgeStore", host="h")
show("knowledge", "PineconeKnowledgeStore", index_name="mine")
show("conversation", "TursoConversationStore")
show("conversation", "TursoConversationStore", path="a.db")
show("conversation", "SQLiteConversationStore", path="a.db")
show("state", "DynamoDBStateStore")
PineconeKnowledgeStore(), UpstashStateStore()
"""
    )
    assert program(code) == [
        {"url": "http://localhost:8080"},
        {"url": "http://w:1", "api_key": "mine"},
        {"host": "h"},
        {"api_key": "k", "index_name": "mine"},
        {"url": "libsql://t"},
        {"path": "a.db"},
        {"path": "a.db"},
        {"region": "r"},
    ]


@needs_all
def test_contradictions_are_refused_and_prefixes_stay_apart(program):
    code = (
        START
        + """
from praisonai_persistence.compat._stores import _identifier
from praisonai.persistence.knowledge import LanceDBKnowledgeStore
from praisonai.persistence.state import RedisStateStore
from praisonai_persistence import ConfigurationError
from praisonai.persistence.conversation import MySQLConversationStore, PostgresConversationStore
from praisonai.persistence.knowledge import QdrantKnowledgeStore
for call in (
    lambda: LanceDBKnowledgeStore("a", "b"),
    lambda: RedisStateStore(prefix="a_", table_prefix="b_"),
    lambda: RedisStateStore("redis://a", host="b"),
    lambda: RedisStateStore("redis://a/1", db=2),
    lambda: RedisStateStore("redis://:secret@a", password="other"),
    lambda: PostgresConversationStore("postgresql://h/d", database="other"),
    lambda: MySQLConversationStore("mysql://h:1/d", port=2),
    lambda: QdrantKnowledgeStore("http://h:6333", host="other"),
):
    try:
        call()
    except ConfigurationError as error:
        assert "secret" not in str(error)
        print(json.dumps(str(error).partition(":")[0]))
PostgresConversationStore("postgresql://h/d", password="secret"), QdrantKnowledgeStore("http://h:1", "localhost")
prefixes = ["a:", "a", "a_", "a::", "a.", ":a", "0", "a" * 99 + ":"]
assert len({_identifier(one) for one in prefixes}) == len(prefixes)
for one in prefixes:
    RedisStateStore(prefix=one)
"""
    )
    redis = ["RedisStateStore"] * 4
    others = ["PostgresConversationStore", "MySQLConversationStore", "QdrantKnowledgeStore"]
    assert program(code) == ["LanceDBKnowledgeStore", *redis, *others]


@pytest.mark.needs_packages("sqlite")
def test_default_places_and_further_methods(program):
    code = (
        START
        + """
import asyncio, os
from praisonai.persistence.conversation import ConversationMessage, ConversationSession
from praisonai.persistence.conversation.async_sqlite import AsyncSQLiteConversationStore
from praisonai.persistence.conversation.sqlite import SQLiteConversationStore
from praisonai.persistence.conversation.sync_sqlite import SyncSQLiteConversationStore
from praisonai_persistence import StoreNotFoundError
with SQLiteConversationStore() as store:
    store.init()
    store.create_session(ConversationSession("s"))
    store.add_messages("s", [ConversationMessage(content=str(n)) for n in range(5)])
    print(json.dumps(os.path.exists("praisonai_conversations.db")))
    for arguments in ({"offset": 1, "limit": 2}, {"offset": 3}, {"limit": 2}, {"offset": 0, "limit": 0}):
        print(json.dumps([m.content for m in store.get_messages("s", **arguments)]))
    print(json.dumps([m.content for m in store.get_messages("s", after_seq=4)]))
with SyncSQLiteConversationStore() as store:
    cleared = [store.clear_session("s"), store.clear_session("s")]
    print(json.dumps([*map(str, cleared), store.get_session("s").session_id]))
try:
    SQLiteConversationStore("none.db", auto_create_tables=False).get_session("s")
except StoreNotFoundError:
    print(json.dumps(os.path.exists("none.db")))
async def work():
    async with AsyncSQLiteConversationStore() as store:
        await store.init()
        await store.add_message("s", ConversationMessage(content="x"))
        print(json.dumps([m.content for m in await store.get_messages("s", offset=0)]))
asyncio.run(work())
"""
    )
    assert program(code) == [
        True,
        ["1", "2"],
        ["3", "4"],
        ["3", "4"],
        [],
        ["4"],
        ["True", "False", "s"],
        False,
        ["x"],
    ]


@pytest.mark.needs_packages("sqlite")
def test_old_tables_are_gone_on_with_where_none_are_to_be_made(program):
    code = (
        START
        + """
import sqlite3
from praisonai.persistence import PersistenceConfig, create_stores_from_config
from praisonai.persistence.conversation import SQLiteConversationStore
from praisonai_persistence import PersistenceError, PersistenceOrchestrator, open_conversation_store
def old(name):
    with sqlite3.connect(name) as db:
        db.execute("CREATE TABLE praison_sessions (session_id TEXT PRIMARY KEY, user_id TEXT, agent_id TEXT, name TEXT,"
            " state TEXT, metadata TEXT, created_at REAL, updated_at REAL)")
        db.execute("CREATE TABLE praison_messages (id TEXT PRIMARY KEY, session_id TEXT, role TEXT, content TEXT,"
            " tool_calls TEXT, tool_call_id TEXT, metadata TEXT, created_at REAL)")
        db.execute("INSERT INTO praison_sessions (session_id, created_at) VALUES ('s', 1.0)")
        db.execute("INSERT INTO praison_messages (id, session_id, role, content) VALUES ('m', 's', 'user', 'x')")
def show(store):
    with store:
        try:
            print(json.dumps([m.content for m in store.get_messages("s")]))
        except PersistenceError as error:
            print(json.dumps(type(error).__name__))
for name in ("a.db", "b.db", "c.db"):
    old(name)
config = PersistenceConfig(conversation_store="sqlite", conversation_options={"path": "b.db"}, auto_create_tables=False)
show(open_conversation_store("a.db", must_exist=True))  # as commands that only read
show(SQLiteConversationStore("a.db", auto_create_tables=False))
show(create_stores_from_config(config)["conversation"])
config.conversation_options = {"path": "c.db"}
show(PersistenceOrchestrator.from_config(config))
sqlite3.connect("empty.db").execute("CREATE TABLE t (x)").connection.close()
show(SQLiteConversationStore("empty.db", auto_create_tables=False))
show(SQLiteConversationStore("none.db", auto_create_tables=False))
config.conversation_options = {"path": "none.db"}
show(create_stores_from_config(config)["conversation"])
"""
    )
    assert program(code) == [
        "SchemaError",
        ["x"],
        ["x"],
        ["x"],
        "SchemaError",
        "StoreNotFoundError",
        "StoreNotFoundError",
    ]


@needs_all
def test_registries_and_factories_construct_as_there(program):
    code = (
        START
        + """
from praisonai.persistence.factory import create_conversation_store, create_knowledge_store, create_state_store
from praisonai.persistence.registry import CONVERSATION_STORES, KNOWLEDGE_STORES
from praisonai.persistence.conversation import SyncSQLiteConversationStore
from praisonai_persistence import ConfigurationError, db
store = create_conversation_store("sync_sqlite", "place.db", table_prefix="praison_")
assert isinstance(store, SyncSQLiteConversationStore), store
assert isinstance(CONVERSATION_STORES.resolve("sqlite_sync")()(path="p.db"), SyncSQLiteConversationStore)
create_state_store("memory", path="state.json", save_interval=0).set("k", 1)
print(json.dumps(create_state_store("memory", path="state.json").get("k")))
knowledge = create_knowledge_store("chroma", persistent=False)
knowledge.create_collection("c", 2)
print(json.dumps([knowledge.delete_collection("c"), knowledge.delete_collection("c")]))
create_knowledge_store("qdrant", "http://localhost:6333")
try:
    CONVERSATION_STORES.create("sqlite", pth="x")
except ConfigurationError as error:
    print(json.dumps("it takes" in str(error)))
class Mine:
    pass
CONVERSATION_STORES.register_store("sqlite", lambda **options: Mine())
assert isinstance(CONVERSATION_STORES.create("sqlite"), Mine)
print(json.dumps([CONVERSATION_STORES.unregister("sqlite"), CONVERSATION_STORES.unregister("sqlite")]))
adapter = db(database_url="sqlite:///adapter.db")
adapter.on_agent_start("a", "s")
print(json.dumps(type(adapter.conversation).__name__))
"""
    )
    assert program(code) == [1, [True, False], True, [True, False], "SQLiteConversationStore"]


def test_the_file_of_the_memory_store(program, tmp_path):
    code = (
        START
        + """
import os, pathlib, time
def read(name):
    return json.loads(pathlib.Path(name).read_text())
from praisonai.persistence.state.memory import MemoryStateStore
from praisonai_persistence import BackendError, StoreClosedError
with open("old.json", "w") as file:
    json.dump({"data": {"k": [1], "gone": 1, "late": 2}, "ttls": {"gone": 5.0, "late": time.time() + 100}}, file)
with MemoryStateStore("old.json") as store:
    print(json.dumps([store.get("k"), store.get("gone"), store.ttl("late") > 90]))
    store.hset("h", "f", {"x": None})
    store.decr("n")
    print(json.dumps("h" in read("old.json")["data"]))  # 60 seconds have not passed
    store.flush()
    print(json.dumps(read("old.json")["data"]))
    print(json.dumps(os.stat("old.json").st_mode & 0o77))
    store.incr("n", amount=5)
again = MemoryStateStore(path="old.json", auto_save=False)
print(json.dumps([again.get("n"), again.hgetall("h"), again.exists("late")]))
again.clear()
again.close()
print(json.dumps(read("old.json")))
try:
    store.flush()
except StoreClosedError:
    print(json.dumps("closed"))
with open("bad.json", "w") as file:
    file.write("[1")
try:
    MemoryStateStore("bad.json").set("k", 1)
except BackendError:
    print(json.dumps(pathlib.Path("bad.json").read_text()))
MemoryStateStore().set("k", 1)
MemoryStateStore(path="late/end.json").set("k", 1)  # written at the end of the process
"""
    )
    assert program(code) == [
        [[1], None, True],
        False,
        {"k": [1], "late": 2, "h": {"f": {"x": None}}, "n": -1},
        0,
        [4, {"f": {"x": None}}, True],
        {"data": {}, "ttls": {}, "hashes": [], "either": []},
        "closed",
        "[1",
    ]
    late = (tmp_path / "late" / "end.json").read_text(encoding="utf-8")
    assert json.loads(late) == {"data": {"k": 1}, "ttls": {}, "hashes": [], "either": []}


PRAISONAI = {
    "praisonai/__init__.py": "",
    "praisonai/persistence/__init__.py": "",
    "praisonai/persistence/_valkey_client.py": "mine = 'client'\n",
    "praisonai/persistence/hooks/__init__.py": "from ..orchestrator import PersistenceOrchestrator\nmine = 'hooks'\n",
    "praisonai/persistence/migrations/__init__.py": "mine = 'migrations'\n",
    "praisonai/persistence/knowledge/__init__.py": "",
    "praisonai/persistence/knowledge/couchbase.py": (
        "from .base import KnowledgeStore\nclass CouchbaseKnowledgeStore(KnowledgeStore): pass\n"
    ),
}


def test_objects_that_praisonai_wrote_to_a_file_answer_as_hashes_and_as_values(program):
    code = (
        START
        + """
from praisonai.persistence.state.memory import MemoryStateStore
from praisonai_persistence import WrongTypeError
with open("old.json", "w") as file:
    json.dump({"data": {"a": {"f": 1}, "b": {"f": [2]}, "c": {}, "text": "x"}, "ttls": {}}, file)
for _ in range(2):
    with MemoryStateStore("old.json") as store:
        print(json.dumps([store.hgetall("a"), store.get("a"), store.hget("b", "f"), store.hgetall("c")]))
        store.expire("a", 100)
        try:
            store.hget("text", "f")
        except WrongTypeError:
            print(json.dumps("text"))
with MemoryStateStore("old.json") as store:
    store.hset("a", "g", 3)
    store.set("b", {"f": 4})
    print(json.dumps([store.hgetall("a"), store.ttl("a") > 90]))
with MemoryStateStore("old.json") as store:
    for call in (lambda: store.get("a"), lambda: store.hgetall("b")):
        try:
            call()
        except WrongTypeError as error:
            print(json.dumps("WrongTypeError"))
"""
    )
    both = [[{"f": 1}, {"f": 1}, [2], {}], "text"]
    assert program(code) == [*both, *both, [{"f": 1, "g": 3}, True], "WrongTypeError", "WrongTypeError"]


def test_what_is_not_replaced_stays_praisonais_own(program):
    code = (
        without("couchbase")
        + START
        + """
import praisonai_persistence
from praisonai.persistence import hooks, migrations
from praisonai.persistence._valkey_client import mine
print(json.dumps([mine, hooks.mine, migrations.mine]))
assert hooks.PersistenceOrchestrator is praisonai_persistence.PersistenceOrchestrator
from praisonai.persistence.knowledge.couchbase import CouchbaseKnowledgeStore
from praisonai.persistence.knowledge import CouchbaseKnowledgeStore as Same
assert issubclass(Same, praisonai_persistence.KnowledgeStore) and Same is CouchbaseKnowledgeStore
praisonai_persistence.compat.install()
from praisonai.persistence.hooks import mine
assert hooks is __import__("sys").modules["praisonai.persistence.hooks"]
"""
    )
    assert program(code, real=PRAISONAI) == [["client", "hooks", "migrations"]]


@pytest.mark.parametrize("name", ["knowledge.couchbase", "_valkey_client"])
def test_a_name_that_nobody_provides_says_which_package_has_it(program, name):
    code = (
        without("couchbase")
        + START
        + f"""
own = "from praisonai.persistence.knowledge import CouchbaseKnowledgeStore"
package, _, module = "praisonai.persistence.{name}".rpartition(".")
for statement in ("import praisonai.persistence.{name}", own, f"from {{package}} import {{module}}"):
    try:
        exec(statement)
    except ModuleNotFoundError as error:
        print(json.dumps("pip install praisonai" in str(error)))
try:
    from praisonai.persistence.knowledge import NoSuchKnowledgeStore
except ImportError as error:
    print(json.dumps("NoSuchKnowledgeStore" in str(error)))
"""
    )
    assert program(code) == [True, True, True, True]


NOBODYS = {
    "from praisonai.persistence.conversation import PostgreConversationStore": "conversation.PostgresConversationStore",
    "import praisonai.persistence.conversation.postgre": "No module named",
    "import praisonai.persistence.conversation.PostgresConversationStore": "No module named",
    "from praisonai.persistence.knowledge import QdrantStore": "knowledge.QdrantKnowledgeStore",
    "from praisonai.persistence.state import MemStateStore": "state.MemoryStateStore",
    "from praisonai.persistence.hooks import PersistedAgent": "hooks.PersistentAgent",
    "from praisonai.persistence.migrations import MigrationsManager": "migrations.MigrationManager",
    "from praisonai.persistence.config import PersistentConfig": "config.PersistenceConfig",
    "from praisonai.persistence.config import PersistenceOrchestrator": "praisonai.persistence has it",
    "from praisonai.persistence.orchestrator import QdrantKnowledgeStore": "praisonai.persistence.knowledge has it",
    "from praisonai.persistence.factory import create_conversation_stores": "cannot import name",
    "from praisonai.persistence import MigrationManager": "praisonai.persistence.migrations has it",
    "import praisonai.gateways": "pip install praisonai",
    "from praisonai import PraisonAI": "pip install praisonai",
}


def test_names_that_nobody_provides_are_answered_by_who_has_them_or_what_was_meant(program):
    code = (
        START
        + f"""
for statement in {list(NOBODYS)!r}:
    try:
        exec(statement)
        print(json.dumps(statement))
    except ImportError as error:
        print(json.dumps(str(error)))
import praisonai.persistence.conversation as conversation
# made-up names, with which programs get a module by the name of it
for name in ("x", "*", "", "cls", "test", "None", "none", "sql", "store", "base", "redi"):
    found = __import__("praisonai.persistence.conversation", fromlist=[name])
    __import__("praisonai.persistence", fromlist=[name])
    print(json.dumps([found is conversation, hasattr(found, "PostgreConversationStore")]))
import importlib.util
for name in ("state.redi", "knowledge.chrome", "stores"):
    assert importlib.util.find_spec(f"praisonai.persistence.{{name}}") is None
"""
    )
    answers = program(code)
    told, made_up = answers[: len(NOBODYS)], answers[len(NOBODYS) :]
    assert made_up == [[True, False]] * 11
    assert [part for part, text in zip(NOBODYS.values(), told, strict=True) if part not in text] == []


NEVER = {
    "SessionStore(max_message=3)": "max_messages",
    'HierarchicalSessionStore(retntion="compact")': "retention",
    'SqliteSessionStore(dbpath="x.db")': "db_path",
    'SqliteTranscriptStore(sessiondir="x")': "session_dir",
    'wrap_agent_with_persistence(object(), None, sesion_id="s")': "session_id",
    'create_persistent_session(None, sesion_id="s")': "session_id",
    "PersistentAgent(object(), None, autoresume=True)": "auto_resume",
    "MigrationManager(adapter=None)": "db_adapter",
    'PersistenceConfig(conversation_ur="x")': "conversation_url",
    "PersistenceOrchestrator(conversation=None)": "conversation_store",
    'PraisonAIDB(databse_url="memory://")': "database_url",
    'create_state_store("memory", pth="x")': "path",
}


@pytest.mark.needs_packages("json")
def test_arguments_that_praisonai_never_had_are_answered_by_the_nearest_name(program):
    code = (
        START
        + f"""
from praisonai.db import PraisonAIDB
from praisonai.persistence import PersistenceConfig, PersistenceOrchestrator, create_state_store
from praisonai.persistence.hooks import PersistentAgent, create_persistent_session, wrap_agent_with_persistence
from praisonai.persistence.migrations import MigrationManager
from praisonai_persistence.sessions import DefaultSessionStore as SessionStore, HierarchicalSessionStore
from praisonai_persistence.sessions import SqliteSessionStore, SqliteTranscriptStore
for call in {list(NEVER)!r}:
    try:
        eval(call)
    except TypeError as error:
        print(json.dumps(str(error).partition("did you mean")[2]))
"""
    )
    assert program(code) == [f" {name!r}?" for name in NEVER.values()]


def test_a_backend_that_is_not_installed_here_stays_praisonais_own(program):
    code = (
        START
        + """
from praisonai_persistence import CONVERSATION_STORES
CONVERSATION_STORES.has = lambda name: False  # as without the plugin
from praisonai.persistence.conversation.mysql import MySQLConversationStore, mine
from praisonai.persistence.conversation import MySQLConversationStore as Same
print(json.dumps([mine, MySQLConversationStore is Same]))
"""
    )
    files = {
        "praisonai/__init__.py": "",
        "praisonai/persistence/__init__.py": "",
        "praisonai/persistence/conversation/__init__.py": "",
        "praisonai/persistence/conversation/mysql.py": "mine = 'mysql'\nclass MySQLConversationStore: pass\n",
    }
    assert program(code, real=files) == [["mysql", True]]


def test_agents_that_are_wrapped_and_sessions_that_are_filled(program):
    code = (
        START
        + """
import asyncio
from praisonai.persistence import PersistenceOrchestrator, PersistentAgent
from praisonai.persistence.hooks import create_persistent_session, wrap_agent_with_persistence
from praisonai_persistence.memory import MemoryConversationStore
class Agent:
    name, chat_history = "echo", []
    def chat(self, prompt, loud=False):
        return prompt.upper() if loud else prompt
    async def achat(self, prompt):
        return prompt + "!"
orchestrator = PersistenceOrchestrator(conversation_store=MemoryConversationStore())
agent = wrap_agent_with_persistence(Agent(), orchestrator, "s", "u")
print(json.dumps([agent.chat("a", loud=True), asyncio.run(agent.achat("b"))]))
agent.end_session()
print(json.dumps([[m.role, m.content] for m in agent.get_messages()]))
again = PersistentAgent(Agent(), orchestrator, session_id="s")
again.chat("c")
print(json.dumps([again.chat_history, again.name, again.session_id, again.get_session().user_id]))
asyncio.run(again.aend_session())
fresh = PersistentAgent(Agent(), orchestrator, session_id="s", auto_resume=False)
asyncio.run(fresh.achat("d"))
print(json.dumps([fresh.chat_history, len(fresh.get_messages()), len(fresh.get_messages(limit=2))]))
with create_persistent_session(orchestrator, "t") as session:
    session.persist_message("user", "hello")
print(json.dumps([session.get_messages()[0].content, "ended_at" in session.get_session().metadata]))
"""
    )
    turns = [["user", "a"], ["assistant", "A"], ["user", "b"], ["assistant", "b!"]]
    assert program(code) == [
        ["A", "b!"],
        turns,
        [[{"role": role, "content": content} for role, content in turns], "echo", "s", "u"],
        [[], 8, 2],
        ["hello", True],
    ]


@pytest.mark.needs_packages("sqlite")
def test_migrations_of_a_program(program):
    code = (
        START
        + """
from praisonai.persistence.migrations import MigrationManager, SchemaVersion
from praisonai.persistence.migrations.manager import Migration
from praisonai_persistence import InvalidValueError, UnsupportedOperationError, db
done = []
def manager(adapter):
    found = MigrationManager(adapter)
    for version in ("1.10.0", "1.9"):
        up, down = (lambda _, v=version: done.append(v)), (lambda _, v=version: done.append("-" + v))
        found.register_migration(version, "change", up, down)
    return found
adapter = db(database_url="sqlite:///m.db")
first = manager(adapter)
applied = [first.get_current_version(), first.migrate_up("1.9")]
print(json.dumps([*applied, first.get_migration_status()["pending_versions"]]))
second = manager(adapter)
applied = [second.get_current_version(), second.migrate_up(), second.migrate_up()]
print(json.dumps([*applied, second.migrate_down("1.0.0")]))
print(json.dumps([done, manager(adapter).get_current_version()]))
second.register_migration("2", "for good", lambda _: None)
second.migrate_up()
for call in (lambda: second.migrate_down("1.0.0"), lambda: second.register_migration("new", "", None)):
    try:
        call()
    except (InvalidValueError, UnsupportedOperationError) as error:
        print(json.dumps(type(error).__name__))
print(json.dumps([second.get_current_version(), len(MigrationManager().get_pending_migrations())]))
assert SchemaVersion("1.9") < SchemaVersion("1.10") and SchemaVersion("1") == SchemaVersion("1", "x")
"""
    )
    assert program(code) == [
        [None, ["1.0.0", "1.9"], ["1.10.0"]],
        ["1.9", ["1.10.0"], [], ["1.10.0", "1.9"]],
        [["1.9", "1.10.0", "-1.10.0", "-1.9"], "1.0.0"],
        "UnsupportedOperationError",
        "InvalidValueError",
        ["2", 1],
    ]


def test_migrations_of_what_has_no_state_store(program):
    """As of a connection, on which PraisonAI's own example runs statements: nothing is kept, which is said."""
    code = (
        START
        + """
import sqlite3
from praisonai.persistence.migrations import MigrationManager
manager = MigrationManager(sqlite3.connect(":memory:"))
manager.register_migration("1.1.0", "tables", lambda db: db.execute("CREATE TABLE t (a)"))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    applied = manager.migrate_up()
print(json.dumps([applied, manager.get_current_version(), manager.get_migration_status()["pending_count"]]))
print(json.dumps(["has no state store" in str(warning.message) for warning in told]))
"""
    )
    assert program(code) == [[["1.0.0", "1.1.0"], None, 2], [True, True]]


@pytest.mark.needs_packages("sqlite")
def test_stores_of_a_configuration_are_a_dict(program):
    code = (
        START
        + """
from praisonai.persistence import create_stores_from_config as one
from praisonai.persistence.factory import create_stores_from_config
from praisonai.persistence.config import PersistenceConfig
assert one is create_stores_from_config
config = PersistenceConfig(conversation_store="sqlite", conversation_options={"path": "a.db"})
stores = create_stores_from_config(config)
assert isinstance(stores, dict) and stores.conversation is stores["conversation"]
print(json.dumps([[kind, type(store).__name__] for kind, store in stores.items()]))
print(json.dumps(["state" in stores, stores["state"] is None, stores.get("knowledge", 1), list(stores)]))
for store in stores.values():
    if store:
        store.close()
"""
    )
    assert program(code) == [
        [["conversation", "SQLiteConversationStore"], ["knowledge", "NoneType"], ["state", "NoneType"]],
        [True, True, None, ["conversation", "knowledge", "state"]],
    ]


@pytest.mark.needs_packages("sqlite")
def test_the_name_of_the_arguments_of_a_tool(program):
    code = (
        START
        + """
import asyncio
from praisonai.db.adapter import PraisonAIDB
from praisonai_persistence import ConfigurationError
async def main(adapter):
    await adapter.aon_agent_start("A", "s")
    await adapter.aon_tool_call(session_id="s", tool_name="t", arguments={"a": 1})
    await adapter.aon_tool_call("s", "t", {"a": 1}, "r")
    await adapter.aon_tool_call("s", "t", args={"a": 1}, result="r")
    try:
        await adapter.aon_tool_call("s", "t", {"a": 1}, args={"a": 1})
    except ConfigurationError:
        pass
    else:
        raise AssertionError
    calls = [call["function"]["arguments"] for message in adapter.conversation.get_messages("s")
             for call in message.tool_calls or ()]
    await adapter.aclose()
    return calls
print(json.dumps(asyncio.run(main(PraisonAIDB(database_url="sqlite:///a.db")))))
"""
    )
    assert program(code) == [['{"a": 1}'] * 3]


def test_identifiers_are_what_they_are_there(program):
    code = (
        START
        + """
from praisonai.persistence.conversation.base import validate_identifier as of_conversations
from praisonai.persistence.knowledge.base import validate_identifier as of_knowledge
def taken(check, value):
    try:
        return check(value, "table_prefix") == value
    except ValueError as error:
        assert "table_prefix" in str(error)
        return False
values = ["praison_", "2024_a", "a" * 99, "", "a b", "a\\n", "é", "x;--", None]
print(json.dumps([[taken(check, value) for value in values] for check in (of_conversations, of_knowledge)]))
"""
    )
    assert program(code) == [[[True, True, True, empty, *[False] * 5] for empty in (True, False)]]


@needs_all
def test_settings_and_checks(program):
    code = (
        START
        + """
import os
from praisonai.persistence.config import ENV_VARS, get_env_var, list_available_backends
from praisonai.persistence.conversation.base import validate_identifier
from praisonai.persistence.knowledge.base import validate_dimension
os.environ["REDIS_URL"], os.environ["OTHER"] = "redis://h", "o"
print(json.dumps([get_env_var("redis_url"), get_env_var("other"), get_env_var("none", "d"), ENV_VARS["state_url"]]))
from praisonai.persistence.config import PersistenceConfig
from praisonai.persistence import PersistenceConfig as Same
config = PersistenceConfig("sqlite", "sqlite:///a.db", {"table_prefix": "x_"}, state_store="memory")
config.user_id = "u"
assert Same is PersistenceConfig and PersistenceConfig.from_dict(config.to_dict()) == config
print(json.dumps([config.validate(), config.conversation_url, config.conversation_options, config.user_id]))
found = list_available_backends()
print(json.dumps(["sync_sqlite" in found["conversation"], "qdrant" in found["knowledge"], "memory" in found["state"]]))
print(json.dumps([validate_identifier("praison_"), validate_dimension(65536), validate_dimension(9, max_dim=9)]))
for call in (lambda: validate_identifier("a b"), lambda: validate_dimension(0), lambda: validate_dimension(True)):
    try:
        call()
    except ValueError as error:
        print(json.dumps(type(error).__name__))
"""
    )
    assert program(code) == [
        ["redis://h", "o", "d", "PRAISONAI_STATE_URL"],
        [True, "sqlite:///a.db", {"table_prefix": "x_"}, "u"],
        [True, True, True],
        ["praison_", 65536, 9],
        "InvalidIdentifierError",
        "InvalidValueError",
        "InvalidValueError",
    ]
