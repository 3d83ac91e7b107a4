"""PraisonAI's import paths: what is replaced, and that nothing else is.

Each test is a program of its own, because what it does to imports lasts. Distributions named praisonai and
praisonaiagents stand in a temporary folder; the tests of agents use the real one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
from programs import REAL, without


def test_documents_have_the_hash_that_praisonai_gives_them(program):
    code = """
import praisonai_persistence.compat
import copy, dataclasses, hashlib, json
from praisonai.persistence import KnowledgeDocument
from praisonai.persistence.knowledge import KnowledgeDocument as Same
from praisonai.persistence.knowledge.base import KnowledgeDocument as AndHere
from praisonai_persistence import KnowledgeDocument as Own, open_knowledge_store
assert KnowledgeDocument is Same is AndHere
wanted = hashlib.sha256("é".encode()).hexdigest()[:16]
made = [KnowledgeDocument(content="é", embedding=[1.0]), KnowledgeDocument("i", "é"),
        KnowledgeDocument.from_dict({"content": "é", "other": 1}), KnowledgeDocument(content="é", content_hash="")]
assert [one.content_hash for one in made] == [wanted] * 4
given = KnowledgeDocument("i", "x", content_hash="mine")
assert KnowledgeDocument().content_hash is None and given.content_hash == "mine"
assert len(KnowledgeDocument(content="\\ud800").content_hash) == 16
class Mine(KnowledgeDocument):
    pass
assert Mine(content="é").content_hash == wanted and isinstance(Mine(), (KnowledgeDocument, Own))
assert not isinstance(made[0], Mine) and not isinstance(1, KnowledgeDocument) and issubclass(Mine, KnowledgeDocument)
assert isinstance(Own(), KnowledgeDocument) and copy.copy(made[0]) == dataclasses.replace(made[0]) == made[0]
assert [field.name for field in dataclasses.fields(KnowledgeDocument)][:2] == ["id", "content"]
with open_knowledge_store("memory://") as store:
    store.create_collection("c", 1)
    store.insert("c", made[:1])
    (found,) = store.search("c", [1.0])
assert isinstance(found, KnowledgeDocument) and found.content_hash == wanted
print(json.dumps("done"))
"""
    assert program(code) == ["done"]


def test_every_path_of_praisonai_leads_here(program):
    code = """
        import json
        import praisonai_persistence, praisonai_persistence.compat
        import praisonai.persistence.state, praisonai.persistence.knowledge, praisonai.persistence.conversation.base
        from praisonai.persistence import ConversationStore, PersistenceOrchestrator, create_stores_from_config
        from praisonai.persistence.config import PersistenceConfig
        from praisonai.persistence.conversation import AsyncConversationStore, ConversationMessage
        from praisonai.persistence.conversation.base import ConversationSession
        from praisonai.persistence.conversation.postgres import ConversationStore as Same
        from praisonai.persistence.factory import create_state_store
        from praisonai.persistence.knowledge.base import KnowledgeDocument
        from praisonai.persistence.orchestrator import PersistenceOrchestrator as Again
        from praisonai.persistence.registry import CONVERSATION_STORES, get_default_registry
        from praisonai.db import DB, CockroachDB, NeonDB, PostgresDB, PraisonAIDB, PraisonDB, RedisDB, SQLiteDB
        from praisonai.db.adapter import TursoDB, XataDB
        from praisonai.persistence.state import *
        own = praisonai_persistence
        assert ConversationStore is Same is own.ConversationStore and Again is own.PersistenceOrchestrator
        assert CONVERSATION_STORES is own.CONVERSATION_STORES and isinstance(own.KnowledgeDocument(), KnowledgeDocument)
        assert StateStore is own.StateStore and DB is PraisonDB is PraisonAIDB is own.Db
        assert create_state_store is own.create_state_store and issubclass(PersistenceConfig, own.PersistenceConfig)
        assert "StateStore" in dir(praisonai.persistence.state)
        for name in ("praisonai.persistence.nonsense", "praisonai.persistence.conversation.nonsense", "praisonai.x"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                print(json.dumps(error.name))
        for module in (praisonai.persistence, praisonai.persistence.conversation):
            try:
                module.Nonsense
            except AttributeError as error:
                print(json.dumps(str(error)))
    """
    assert program(code) == [
        "praisonai.persistence.nonsense",
        "praisonai.persistence.conversation.nonsense",
        "praisonai.x",
        "module 'praisonai.persistence' has no attribute 'Nonsense'",
        "module 'praisonai.persistence.conversation' has no attribute 'Nonsense'",
    ]


@pytest.mark.needs_packages("json")
@pytest.mark.parametrize("imported_before", [False, True])
def test_of_an_installed_praisonai_only_these_are_replaced(program, tmp_path, imported_before):
    code = f"""
        import json
        if {imported_before}:
            import praisonai.persistence.conversation, praisonai.persistence.registry, praisonai.db
            import praisonaiagents.session.store
            assert praisonai.persistence.mine == "persistence"
        import praisonai_persistence, praisonai_persistence.compat
        praisonai_persistence.compat.install()
        import praisonai, praisonai.persistence, praisonai.persistence.conversation, praisonai.db
        import praisonaiagents.session.store
        print(json.dumps([praisonai.mine, praisonai.cli.mine]))
        assert praisonai.persistence.StateStore is praisonai_persistence.StateStore
        from praisonai.persistence.registry import StoreRegistry
        assert StoreRegistry is praisonai_persistence.StoreRegistry
        for module in (praisonai.persistence, praisonai.persistence.conversation, praisonai.db):
            assert not hasattr(module, "mine"), module
        try:
            praisonai.cli.late()
        except ImportError:
            print(json.dumps("late"))
        print(json.dumps([
            praisonaiagents.session.Other.__module__, praisonaiagents.session.store.DefaultSessionStore.__module__
        ]))
    """
    assert program(code, real=True) == [
        ["praisonai", "cli"],
        "late",
        ["praisonaiagents.session", "praisonai_persistence_json.sessions"],
    ]
    site = tmp_path / "site"
    files = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*") if path.is_file()}
    assert files == REAL


OWN_BACKEND = {
    "praisonai/__init__.py": "",
    "praisonai/persistence/__init__.py": "",
    "praisonai/persistence/knowledge/__init__.py": "",
    "praisonai/persistence/knowledge/base.py": "raise AssertionError",
    "praisonai/persistence/knowledge/couchbase.py": (
        "from .base import KnowledgeStore\n"
        "class CouchbaseKnowledgeStore:\n"
        "    base = KnowledgeStore\n"
        "    def __init__(self, connection_string=None, bucket_name='praisonai'): self.bucket_name = bucket_name\n"
    ),
}


@pytest.mark.parametrize("read_before", [False, True])
def test_registries_have_the_backends_that_stay_praisonais_own(program, read_before):
    code = (
        without("couchbase", "singlestore")
        + f"""
import json, sys
from praisonai_persistence.registry import KNOWLEDGE_STORES
if {read_before}:
    print(json.dumps("couchbase" in KNOWLEDGE_STORES.list_registered()))
import praisonai_persistence.compat
from praisonai.persistence.factory import create_knowledge_store
assert "couchbase" in KNOWLEDGE_STORES.list_registered() and KNOWLEDGE_STORES.is_available("couchbase")
made = KNOWLEDGE_STORES.create("couchbase", url="of no use to it", bucket_name="b")
assert made.base.__module__ == "praisonai_persistence.knowledge"
print(json.dumps([type(made).__module__, made.bucket_name, [b.distribution for b in KNOWLEDGE_STORES.backends()
    if b.name == "couchbase"]]))
try:
    KNOWLEDGE_STORES.create("singlestore_vector")
except ValueError as error:
    assert isinstance(error, ImportError)
    print(json.dumps(str(error)))
"""
    )
    assert program(code, real=OWN_BACKEND) == [
        *([False] if read_before else []),
        ["praisonai.persistence.knowledge.couchbase", "b", ["praisonai"]],
        "the knowledge backend 'singlestore_vector' is PraisonAI's own: pip install praisonai",
    ]


@pytest.mark.needs_packages("redis")
def test_a_backend_that_has_its_name_as_an_alias_here_is_ours(program):
    code = """
        import json
        import praisonai_persistence.compat
        from praisonai.persistence.registry import STATE_STORES
        found = STATE_STORES.resolve("valkey")()
        print(json.dumps([STATE_STORES.canonical("valkey"), "valkey" in STATE_STORES.list_registered()]))
        print(json.dumps([found.__name__, found.__base__.__module__]))
    """
    real = {
        "praisonai/__init__.py": "",
        "praisonai/persistence/__init__.py": "",
        "praisonai/persistence/state/__init__.py": "",
        "praisonai/persistence/state/valkey.py": "raise AssertionError",
    }
    assert program(code, real=real) == [["valkey", True], ["ValkeyStateStore", "praisonai_persistence_redis"]]


AGENTS = {
    "praisonaiagents/__init__.py": "",
    "praisonaiagents/session/__init__.py": (
        "from .store import DefaultSessionStore, get_default_session_store\n"
        "from .hierarchy import HierarchicalSessionStore, get_hierarchical_session_store\n"
    ),
    "praisonaiagents/session/store.py": (
        "class DefaultSessionStore:\n    _private = 1\n"
        "_default_store = None\ndef get_default_session_store(): return _default_store\n"
    ),
    "praisonaiagents/session/hierarchy.py": (
        "from .store import DefaultSessionStore\n"
        "class HierarchicalSessionStore(DefaultSessionStore): pass\n"
        "def get_hierarchical_session_store(): return HierarchicalSessionStore()\n"
    ),
    "praisonaiagents/session/late.py": (
        "from .store import DefaultSessionStore\nclass Late(DefaultSessionStore): pass\n"
    ),
}


@pytest.mark.needs_packages("json")
@pytest.mark.parametrize("imported_before", [False, True])
def test_session_stores_of_agents(program, imported_before):
    code = f"""
        import json, os
        os.environ["PRAISONAI_HOME"] = os.getcwd()
        if {imported_before}:
            import praisonaiagents.session
        import praisonai_persistence.compat
        from praisonai_persistence.registry import KNOWLEDGE_STORES
        KNOWLEDGE_STORES.list_registered()  # of which compat has a part
        from praisonai_persistence.sessions import DefaultSessionStore as ours
        from praisonaiagents.session import HierarchicalSessionStore, get_default_session_store
        from praisonaiagents.session import get_hierarchical_session_store
        from praisonaiagents.session.store import DefaultSessionStore
        from praisonaiagents.session.late import Late
        from praisonaiagents.session import store
        assert DefaultSessionStore is store.DefaultSessionStore is ours
        assert isinstance(get_default_session_store(), DefaultSessionStore)
        assert isinstance(get_hierarchical_session_store(), HierarchicalSessionStore)
        assert get_hierarchical_session_store() is get_hierarchical_session_store()
        assert issubclass(HierarchicalSessionStore, DefaultSessionStore)
        from praisonaiagents.session import ExtendedSessionData, SessionData, SessionStoreProtocol
        from praisonaiagents.session import SqliteSessionStore, SqliteTranscriptStore
        for made in (SqliteSessionStore(), SqliteTranscriptStore(db_path=":memory:"), HierarchicalSessionStore()):
            assert isinstance(made, DefaultSessionStore) and isinstance(made, SessionStoreProtocol)
            assert isinstance(made.get_session("s"), SessionData)
        assert isinstance(made.get_extended_session("s"), ExtendedSessionData)
        store._default_store = injected = DefaultSessionStore(os.getcwd())
        assert get_default_session_store() is store.get_default_session_store() is injected
        print(json.dumps([getattr(Late, "_private", None), Late.__mro__[1].__module__]))
    """
    own = [1, "praisonaiagents.session.store"]
    # What is imported after the replacement derives from theirs, too.
    assert program(code, real=AGENTS) == [own]


RECORDS = {
    **AGENTS,
    "praisonaiagents/session/store.py": (
        "from dataclasses import dataclass\n"
        "@dataclass\nclass SessionMessage:\n    role: str\n    content: str\n"
        "@dataclass\nclass SessionData:\n    session_id: str\n    messages: list = None\n"
        "@dataclass\nclass CompactionCheckpoint:\n    summary: str\n    newer: int = 0\n"
        "class DefaultSessionStore:\n    _private = 1\n    def get_session(self, id): return SessionData(id)\n"
        "_default_store = None\ndef get_default_session_store(): return _default_store\n"
    ),
    "praisonaiagents/session/protocols.py": (
        "from dataclasses import dataclass\n@dataclass\nclass SessionHit:\n    session_id: str\n"
    ),
    "praisonaiagents/session/late.py": (
        "from .store import DefaultSessionStore, SessionData\n"
        "class More(SessionData): pass\n"
        "class Late(DefaultSessionStore): pass\n"
    ),
}


@pytest.mark.needs_packages("json")
@pytest.mark.parametrize("imported_before", [False, True])
def test_records_of_sessions_are_ours_by_every_name_and_its_own_for_itself(program, imported_before):
    code = f"""
        import json, os
        if {imported_before}:
            import praisonaiagents.session.store, praisonaiagents.session.protocols
        import praisonai_persistence.compat
        from praisonai_persistence import sessions as ours
        from praisonaiagents.session import DefaultSessionStore, SessionData
        from praisonaiagents.session import store as module
        from praisonaiagents.session.protocols import SessionHit
        from praisonaiagents.session.store import CompactionCheckpoint, SessionData as Same, SessionMessage
        from praisonaiagents.session.late import Late, More
        assert Same is SessionData is module.SessionData is ours.SessionData and SessionHit is ours.SessionHit
        assert SessionMessage is ours.SessionMessage
        store = DefaultSessionStore(os.path.join(os.getcwd(), "sessions"))
        store.add_message("s", "user", "red fox")
        found = store.get_session("s")
        assert isinstance(found, Same) and isinstance(found.messages[0], SessionMessage)
        assert isinstance(store.search("fox")[0], SessionHit)
        assert CompactionCheckpoint.__module__ == "praisonaiagents.session.store"  # it has a field that ours lacks
        own = vars(module)["SessionData"]
        assert own is not Same and type(Late().get_session("x")) is own is More.__mro__[1]
        module.SessionData = int
        from praisonaiagents.session.store import SessionData as mine
        assert mine is int
        del module.SessionData
        print(json.dumps(hasattr(module, "SessionData")))
    """
    assert program(code, real=RECORDS) == [False]


def test_without_the_opt_in_everything_is_praisonais_own(program):
    code = """
        import json, praisonai_persistence, praisonai.persistence.conversation, praisonai.db
        print(json.dumps([praisonai.persistence.mine, praisonai.persistence.conversation.mine, praisonai.db.mine]))
    """
    assert program(code, real=True) == [["persistence", "conversation", "db"]]


def test_a_program_is_run_with_its_arguments(program, tmp_path):
    (tmp_path / "beside.py").write_text("value = 1\n")
    code = """
        import json, sys
        import beside
        from praisonai.persistence import StateStore
        print(json.dumps([__name__, sys.argv[1:], StateStore.__module__, beside.value]))
        raise SystemExit(len(sys.argv))
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(code), encoding="utf-8")
    command = [sys.executable, "-m", "praisonai_persistence.compat"]
    ended = subprocess.run(
        [*command, "../" + tmp_path.name + "/program.py", "-x", "y"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert json.loads(ended.stdout) == ["__main__", ["-x", "y"], "praisonai_persistence.state", 1]
    assert (ended.returncode, ended.stderr) == (3, "")
    for arguments in ([], ["no such file.py"], [str(tmp_path)]):
        ended = subprocess.run([*command, *arguments], capture_output=True, encoding="utf-8")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("usage: python -m praisonai_persistence.compat")


@pytest.mark.needs_packages("redis")
def test_adapters_of_one_backend(program):
    code = """
        import json
        import praisonai_persistence.compat
        from praisonai.db import CockroachDB, NeonDB, PostgresDB, RedisDB, SQLiteDB, TursoDB, XataDB
        print(json.dumps([
            PostgresDB(host="h", password="a/b@c").database_url,
            SQLiteDB("sqlite:///x.db").database_url,
            SQLiteDB(database_url="sqlite:///x.db").database_url,
            RedisDB("h", 1).state_url,
            NeonDB("postgresql://h/d").database_url,
        ]))
        for kind in (CockroachDB, NeonDB, TursoDB, XataDB):
            try:
                kind()
            except ValueError as error:
                print(json.dumps(str(error)))
        assert RedisDB(state_url="redis://a", db=3).state_url == "redis://a"
        assert PostgresDB(database_url="postgresql://a/b").database_url == "postgresql://a/b"
        SQLiteDB("a.db", "a.db")
        for call in (
            lambda: SQLiteDB("a.db", "sqlite:///b.db"),
            lambda: SQLiteDB("sqlite:///a.db", "sqlite:///b.db"),
            lambda: RedisDB("h", state_url="redis://a"),
            lambda: RedisDB(port=1, state_url="redis://a"),
            lambda: PostgresDB(password="secret", database_url="postgresql://a/b"),
            lambda: RedisDB("h", dbb=3),
        ):
            try:
                call()
            except ValueError as error:
                assert "secret" not in str(error)
                print(json.dumps(str(error)))
    """
    first, *refused = program(code)
    assert first == [
        "postgresql://postgres:a%2Fb%40c@h:5432/praisonai",
        None,
        "sqlite:///x.db",
        "redis://h:1",
        "postgresql://h/d",
    ]
    *refused, misspelt = refused
    refused, contradictions = refused[:4], refused[4:]
    assert [text.partition(" ")[0] for text in refused] == ["CockroachDB", "NeonDB", "TursoDB", "XataDB"]
    assert "COCKROACHDB_URL" in refused[0]
    assert ["give one" in text for text in contradictions] == [True] * 5
    assert "did you mean 'db'" in misspelt


def test_the_command_line_is_a_distribution_of_its_own(tmp_path):
    """``python -m praisonai_persistence`` tells how to get it, or runs it."""
    code = """
        import importlib.util, runpy
        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name, package=None: None if name.endswith("_cli") else real(name, package)
        runpy.run_module("praisonai_persistence", run_name="__main__")
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, encoding="utf-8")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "pip install praisonai-persistence-cli" in ended.stderr
    (tmp_path / "praisonai_persistence_cli.py").write_text("def main():\n    print('runs')\n    return 7\n")
    ended = subprocess.run(
        [sys.executable, "-m", "praisonai_persistence"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "runs\n", "")


def test_of_a_prompt_in_parts_its_text_is_kept(program):
    code = """
import asyncio, json
from praisonai_persistence.compat._agents import _remembered
class Agent:
    _db, kept = object(), []
    def _init_db_session(self):
        pass
    def _persist_message(self, *message):
        self.kept.append(message)
    async def achat(self, prompt):
        return "yes"
Agent.achat = _remembered(Agent.achat)
picture = {"type": "image_url", "image_url": {"url": "data:,x"}}
for prompt in ("hi", [picture, {"type": "text", "text": "see"}], [picture]):
    asyncio.run(Agent().achat(prompt))
print(json.dumps(Agent.kept))
"""
    yes = ["assistant", "yes"]
    assert program(code) == [[["user", "hi"], yes, ["user", "see"], yes, ["user", ""], yes]]
