"""One database, reached by Supabase's API and by PostgreSQL's own protocol; and the command that prints its tables."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.errors import ConflictError, SchemaError
from praisonai_persistence_cli import main
from praisonai_persistence_postgres import PostgresConversationStore
from praisonai_persistence_supabase import SupabaseConversationStore, schema_script


@pytest.fixture
def options(supabase):
    with supabase.space() as options:
        yield options


@pytest.fixture
def store(options):
    with SupabaseConversationStore(**options) as store:
        yield store


@pytest.fixture
def plain(supabase, options):
    """The same tables, reached by PostgreSQL's own protocol."""
    with PostgresConversationStore(supabase.postgres_url(), schema="public", create_schema=False) as store:
        yield store


def texts(store, session_id="s"):
    return [message.content for message in store.get_messages(session_id)]


def test_both_backends_see_the_same_data(store, plain):
    state = {"n": 10**30, "f": -0.0, "t": "\0\ud800"}
    store.create_session(ConversationSession("s", user_id="ada", state=state, created_at=5.0))
    plain.add_message("s", ConversationMessage(id="m1", role="user", content="by postgres\0", metadata=state))
    second = store.add_message("s", ConversationMessage(id="m2", role="assistant", content="by supabase\ud800"))
    assert second.seq == 2
    assert store.get_messages("s") == plain.get_messages("s")
    assert store.get_session("s") == plain.get_session("s")
    assert plain.get_session("s").state == state
    plain.update_session(ConversationSession("s", user_id="bob", name="new"), expected_version=1)
    with pytest.raises(ConflictError):
        store.update_session(ConversationSession("s"), expected_version=1)
    assert store.list_sessions("bob") == plain.list_sessions("bob")
    assert store.delete_messages("s", ["m1"]) == 1
    assert texts(plain) == ["by supabase\ud800"]
    assert plain.delete_session("s") is True
    assert store.get_session("s") is None


def test_appends_of_both_at_once_have_no_gaps(store, plain):
    store.create_session(ConversationSession("s"))
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(
                (store, plain)[n % 2].add_message, "s", ConversationMessage(id=f"m{n}", role="user", content="x")
            )
            for n in range(80)
        ]
        numbers = sorted(future.result().seq for future in futures)
    assert numbers == list(range(1, 81))
    assert [message.seq for message in plain.get_messages("s")] == numbers


def test_both_make_the_same_tables(supabase, store, plain):
    names = ["praison_schema", "praison_sessions", "praison_messages"]

    def described(schema):
        columns = supabase.execute(
            "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = ANY (%s) ORDER BY 1, ordinal_position",
            *(schema, names),
        )
        indexes = supabase.execute(
            "SELECT replace(indexdef, %s, '') FROM pg_indexes WHERE schemaname = %s AND tablename = ANY (%s) "
            "ORDER BY 1",
            *(f"{schema}.", schema, names),
        )
        return columns, indexes

    schema = f"t{uuid.uuid4().hex[:10]}"
    with PostgresConversationStore(supabase.postgres_url(), schema=schema) as other:
        other.connect()
    try:
        ours = described("public")
        assert len(ours[0]) > 20
        assert ours == described(schema)
        versions = [
            supabase.execute(f"SELECT component, version FROM {where}.praison_schema") for where in ("public", schema)
        ]
        assert versions[0] == versions[1]
    finally:
        supabase.execute(f"DROP SCHEMA {schema} CASCADE")


def test_what_is_deleted_leaves_the_index_of_the_other_backend(supabase, store):
    """The index is made by a search of the backend ``postgres``, and would find what has the numbers of the deleted."""
    with PostgresConversationStore(supabase.postgres_url(), schema="public") as plain:
        store.create_session(ConversationSession("s"))
        for n, word in enumerate(("apple", "pear", "plum")):
            store.add_message("s", ConversationMessage(id=f"m{n}", role="user", content=word))
        assert [message.content for message in plain.search_messages("pear")] == ["pear"]
        store.delete_messages("s", ["m1"])
        words = "SELECT seq FROM praison_search_words WHERE session_id = 's' ORDER BY 1"
        assert supabase.execute(words) == [(1,), (3,)]
        store.delete_session("s")
        assert supabase.execute(words) == []
        store.create_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage(role="user", content="cherry"))
        assert [message.content for message in plain.search_messages("cherry")] == ["cherry"]


def test_both_backends_search_with_one_index(supabase, store):
    """What one has indexed the other finds, without indexing it once more."""
    words = "SELECT session_id, seq, part, created_at, words::text FROM praison_search_words ORDER BY 1, 2, 3"
    long = " ".join(["caf\u00e9", "x" * 300, *(f"n{n}" for n in range(30_000)), "M\u00dcNCHEN"])
    found = {"m\u00fcnchen": [2], "x" * 300: [2], "b": [5], "\u4f60\u597d": [6], "quick": [1]}
    contents = ["The quick brown fox", long, None, "", "a\0b \ud800 c", "\u4f60\u597d"]
    indexed = []
    with PostgresConversationStore(supabase.postgres_url(), schema="public") as plain:
        for first, second in ((store, plain), (plain, store)):
            store.create_session(ConversationSession("s"))
            store.add_messages(
                "s", [ConversationMessage(role="user", content=text, created_at=1.0) for text in contents]
            )
            assert [m.seq for m in first.search_messages("quick fox")] == [1]
            indexed.append(supabase.execute(words))
            for text, seqs in found.items():
                assert [m.seq for m in second.search_messages(text)] == seqs
            assert supabase.execute(words) == indexed[-1]
            second.delete_session("s")
            assert supabase.execute(words) == []
    assert indexed[0] == indexed[1]
    assert len(indexed[0]) > 4


def test_what_is_installed_is_found_at_once(supabase, options, capsys):
    """The script tells the API of what it has made; a store that found nothing goes on."""
    prefix = f"t{uuid.uuid4().hex[:8]}_"
    with SupabaseConversationStore(**options, table_prefix=prefix) as store:
        with pytest.raises(SchemaError):
            store.get_session("s")
        assert main(["migrate", "--print", "--conversation-url", supabase.url, "--table-prefix", prefix]) == 0
        printed = capsys.readouterr().out
        assert printed.strip() == store.schema_script().strip()
        supabase.execute(printed)
        while not supabase.has(f"{prefix}info"):  # it is told, and takes a moment
            time.sleep(0.01)
        assert store.upsert_session(ConversationSession("s")).version == 1


def test_what_praisonai_kept_in_supabase_is_adopted_by_the_other_backend(supabase, options):
    """Its store has the columns and types of PraisonAI's for PostgreSQL. Afterwards the script runs."""
    prefix = f"t{uuid.uuid4().hex[:8]}_"
    supabase.execute(
        f"CREATE TABLE {prefix}sessions (session_id TEXT PRIMARY KEY, user_id TEXT, agent_id TEXT, name TEXT,"
        " state JSONB, metadata JSONB, created_at DOUBLE PRECISION, updated_at DOUBLE PRECISION)"
    )
    supabase.execute(
        f"CREATE TABLE {prefix}messages (id TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES {prefix}sessions,"
        " role TEXT NOT NULL, content TEXT, tool_calls JSONB, tool_call_id TEXT, metadata JSONB,"
        " created_at DOUBLE PRECISION)"
    )
    supabase.execute(f"INSERT INTO {prefix}sessions (session_id, metadata) VALUES ('s', '{{\"a\": 1}}')")
    said = f"INSERT INTO {prefix}messages (id, session_id, role, content, created_at) VALUES (%s, 's', 'user', %s, %s)"
    for number in (2, 1):
        supabase.execute(said, f"m{number}", f"text {number}", float(number))
    with pytest.raises(psycopg.errors.RaiseException, match="postgres"):
        supabase.execute(schema_script(prefix))
    with PostgresConversationStore(supabase.postgres_url(), schema="public", table_prefix=prefix) as plain:
        assert plain.adopt_legacy().messages == 2
    supabase.execute(schema_script(prefix))
    while not supabase.has(f"{prefix}info"):
        time.sleep(0.01)
    with SupabaseConversationStore(**options, table_prefix=prefix) as store:
        assert [message.content for message in store.get_messages("s")] == ["text 1", "text 2"]
        assert store.get_session("s").metadata == {"a": 1}
        assert [message.id for message in store.search_messages("2")] == ["m2"]


def test_status_says_whether_the_tables_are_current_missing_or_newer(supabase, capsys):
    def status(*more):
        code = main(["status", "--conversation-url", supabase.url, *more])
        shown = capsys.readouterr()
        assert "s3cret" not in shown.out + shown.err
        return code, shown.out + shown.err

    code, said = status()
    assert (code, "'migrate --print' prints is there, up to date" in said) == (0, True)
    code, said = status("--table-prefix", "missing_")
    assert (code, "lacks tables or functions" in said, "migrate --print" in said) == (0, True, True)
    try:
        supabase.execute("UPDATE praison_schema SET version = 99 WHERE component = 'conversation'")
        code, said = status()
        assert (code, "upgrade it" in said) == (1, True)
        supabase.execute("UPDATE praison_schema SET version = 0 WHERE component = 'conversation'")
        code, said = status()
        assert (code, "migrate --print" in said) == (1, True)
    finally:
        supabase.execute("UPDATE praison_schema SET version = 1 WHERE component = 'conversation'")


def test_doctor_writes_beside_the_data_because_nobody_made_tables_for_it(supabase, options, capsys):
    with SupabaseConversationStore(**options) as store:
        store.create_session(ConversationSession("mine"))
        assert main(["doctor", "--json", "--conversation-url", supabase.url]) == 0
        (checked,) = json.loads(capsys.readouterr().out)["stores"]
        assert checked["scratch_prefix"] is None
        steps = {step["step"]: step["result"] for step in checked["steps"]}
        assert [steps[name] for name in ("schema", "write", "read", "search", "delete")] == ["ok"] * 5
        assert [session.session_id for session in store.list_sessions()] == ["mine"]
    assert main(["doctor", "--conversation-url", supabase.url, "--scratch-prefix", "missing_"]) == 1
    assert "--table-prefix missing_" in capsys.readouterr().out


def test_migrate_says_who_makes_the_tables(supabase, capsys):
    assert main(["migrate", "--conversation-url", supabase.url]) == 0
    said = capsys.readouterr().out
    assert "migrate --print" in said
    assert "s3cret" not in said
