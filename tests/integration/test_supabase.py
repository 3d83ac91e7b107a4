"""Supabase against the conformance kit, and what the kit does not ask."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import engines
import httpx
import psycopg
import pytest
from lifecycles import Networked

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    DuplicateMessageError,
    SchemaError,
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.testing import ConversationStoreSuite, StoreSpec
from praisonai_persistence_supabase import (
    AsyncSupabaseConversationStore,
    SupabaseConversationStore,
    _schema,
    schema_script,
)
from praisonai_persistence_supabase._schema import FUNCTIONS, SCHEMA, SERVES

ADA, BOB = "1d0c2f6e-7a1b-4c8e-9d35-0a6f4b2e8c11", "7be5a930-3f52-4f0d-8a64-c2d9e1f70b22"
"""Users, as Supabase numbers them."""
STORES = {
    "sync": "praisonai_persistence_supabase:SupabaseConversationStore",
    "async_": "praisonai_persistence_supabase:AsyncSupabaseConversationStore",
}


class TestSupabase(Networked, ConversationStoreSuite):
    backend = "supabase"

    @pytest.fixture
    def spec(self, supabase):
        with supabase.space() as options:
            yield StoreSpec("conversation", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self):
        url = f"supabase://:k3y-s3cret@127.0.0.1:{engines.free_port()}?tls=false"
        return StoreSpec("conversation", **STORES, options={"url": url, "connect_timeout": 1})

    @pytest.fixture
    def server(self, supabase):
        return supabase


@pytest.fixture
def options(supabase):
    with supabase.space() as options:
        yield options


@pytest.fixture
def store(options):
    with SupabaseConversationStore(**options) as store:
        yield store


def texts(store, session_id="s"):
    return [message.content for message in store.get_messages(session_id)]


# -------------------------------------------------------------------------------------------------- row-level security


def policies():
    """The policies of the README."""
    readme = (Path(__file__).parents[2] / "packages" / "supabase" / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```sql\n(CREATE POLICY.*?)```", readme, re.DOTALL)[0]


@pytest.fixture
def users(supabase, options):
    """Stores of two users who are signed in, under the policies of the README."""
    supabase.execute(policies())
    with (
        SupabaseConversationStore(supabase.publishable, access_token=supabase.token(ADA)) as ada,
        SupabaseConversationStore(supabase.publishable, access_token=lambda: supabase.token(BOB)) as bob,
    ):
        yield ada, bob


REFUSED = "row-level security"


def test_users_have_their_own_sessions(users, store):
    ada, bob = users
    ada.create_session(ConversationSession("a", user_id=ADA))
    ada.add_messages("a", [ConversationMessage(id=str(n), role="user", content=str(n)) for n in range(3)])
    bob.upsert_session(ConversationSession("b", user_id=BOB))
    assert bob.add_message("b", ConversationMessage(role="user", content="hi")).seq == 1
    assert ([one.session_id for one in ada.list_sessions()], [one.session_id for one in bob.list_sessions()]) == (
        ["a"],
        ["b"],
    )
    assert (bob.get_session("a"), bob.get_messages("a"), bob.count_messages("a")) == (None, [], 0)
    assert ada.delete_messages("a", ["1"]) == 1
    assert texts(store, "a") == ["0", "2"]  # the secret key sees all
    assert {one.session_id for one in store.list_sessions()} == {"a", "b"}
    assert ada.delete_session("a") is True
    assert ada.delete_session("a") is False


def test_what_a_policy_refuses_is_an_error(users, store):
    ada, bob = users
    message = ConversationMessage(id="m", role="user", content="x")
    ada.create_session(ConversationSession("a", user_id=ADA))
    ada.add_message("a", message)
    before = (store.get_session("a"), store.get_messages("a"))
    for call in (
        lambda: bob.add_message("a", ConversationMessage(role="user", content="x")),
        lambda: bob.add_messages("a", [ConversationMessage(role="user", content="x")] * 2),
        lambda: bob.update_session(ConversationSession("a", user_id=BOB)),
        lambda: bob.update_session(ConversationSession("a", user_id=BOB), expected_version=1),
        lambda: bob.upsert_session(ConversationSession("a", user_id=BOB)),
        lambda: bob.delete_session("a"),
        lambda: bob.delete_messages("a"),
        lambda: bob.delete_messages("a", ["m"]),
        lambda: bob.fork_session("a", new_session_id="b"),
        lambda: bob.rewrite_session(ConversationSession("a", user_id=BOB), [message], expected_version=1),
        lambda: bob.create_session(ConversationSession("b", user_id=ADA)),  # in the name of another
        lambda: ada.update_session(ConversationSession("a", user_id=BOB)),  # given away
    ):
        with pytest.raises(BackendError, match=REFUSED):
            call()
    with pytest.raises(SessionExistsError):
        bob.create_session(ConversationSession("a", user_id=BOB))
    assert (store.get_session("a"), store.get_messages("a")) == before
    assert bob.delete_session("nobody's") is False
    with pytest.raises(SessionNotFoundError):
        bob.add_message("nobody's", message)


def test_policies_that_forbid_a_part_of_a_change_forbid_all_of_it(supabase, users, store):
    """Those who may read and write, but not delete or update: nothing is done by halves."""
    ada, _ = users
    ada.create_session(ConversationSession("a", user_id=ADA))
    ada.add_message("a", ConversationMessage(id="m", role="user", content="x"))
    before = (store.get_session("a"), store.get_messages("a"))
    for table, commands in (("messages", ("SELECT", "INSERT")), ("sessions", ("SELECT", "INSERT"))):
        supabase.execute(f"DROP POLICY own_{table} ON praison_{table}")
        for command in commands:
            check = "USING (true)" if command == "SELECT" else "WITH CHECK (true)"
            supabase.execute(f"CREATE POLICY p_{command} ON praison_{table} FOR {command} TO authenticated {check}")
        for call in (
            lambda: ada.delete_messages("a", ["m"]),
            lambda: ada.delete_messages("a"),
            lambda: ada.delete_session("a"),
        ):
            with pytest.raises(BackendError, match=REFUSED):
                call()
        assert (store.get_session("a"), store.get_messages("a")) == before
    for call in (  # the row of a session is the lock of its messages
        lambda: ada.add_message("a", ConversationMessage(role="user", content="x")),
        lambda: ada.update_session(ConversationSession("a", user_id=ADA)),
    ):
        with pytest.raises(BackendError, match=REFUSED):
            call()
    assert (store.get_session("a"), store.get_messages("a")) == before
    assert texts(ada, "a") == ["x"]


def test_without_a_policy_only_the_secret_key_works(supabase, options, store):
    store.create_session(ConversationSession("s"))
    with SupabaseConversationStore(supabase.publishable, access_token=supabase.token(ADA)) as ada:
        assert ada.get_session("s") is None
        for call in (
            lambda: ada.create_session(ConversationSession("x")),
            lambda: ada.add_message("s", ConversationMessage(role="user", content="x")),
        ):
            with pytest.raises(BackendError, match=REFUSED):
                call()
    with SupabaseConversationStore(supabase.publishable) as anonymous:
        for call in (anonymous.connect, lambda: anonymous.get_session("s")):
            with pytest.raises(BackendError, match=r"permission denied.*grant it"):
                call()


def test_who_is_under_policies_may_not_search(users, store):
    """The full-text index has words of all messages, and whoever fills it could leave some out."""
    ada, _ = users
    ada.create_session(ConversationSession("a", user_id=ADA))
    ada.add_message("a", ConversationMessage(role="user", content="apple"))
    assert "search" not in ada.capabilities
    with pytest.raises(UnsupportedOperationError, match="search"):
        ada.search_messages("apple")
    assert [message.session_id for message in store.search_messages("apple", ADA)] == ["a"]
    assert store.search_messages("apple", BOB) == []


def test_the_role_anon_has_no_rights_where_the_default_is_that_it_has_all(supabase, options):
    """As in Supabase. What it was granted it has until the script runs again, as the README says."""
    prefix, supabases = "anon_", "ALTER DEFAULT PRIVILEGES IN SCHEMA public {} ALL ON {} {} anon"
    tables = "SELECT relname FROM pg_class WHERE relname LIKE 'anon#_%' ESCAPE '#' AND relkind = 'r'"
    rights = (
        "SELECT grants.privilege_type FROM pg_class, aclexplode(relacl) AS grants "
        "WHERE relname LIKE 'anon#_%' ESCAPE '#' AND grants.grantee = 'anon'::regrole UNION ALL "
        "SELECT grants.privilege_type FROM pg_proc, aclexplode(proacl) AS grants "
        "WHERE proname LIKE 'anon#_%' ESCAPE '#' AND grants.grantee IN (0, 'anon'::regrole)"
    )
    for kind in ("TABLES", "FUNCTIONS"):
        supabase.execute(supabases.format("GRANT", kind, "TO"))
    try:
        supabase.execute(schema_script(prefix))
        assert len(supabase.execute(tables)) == 5
        assert supabase.execute(rights) == []
        supabase.execute("GRANT SELECT ON anon_sessions TO anon; GRANT EXECUTE ON FUNCTION anon_info TO anon")
        assert sorted(supabase.execute(rights)) == [("EXECUTE",), ("SELECT",)]
        supabase.execute(schema_script(prefix))
        assert supabase.execute(rights) == []
    finally:
        for kind in ("TABLES", "FUNCTIONS"):
            supabase.execute(supabases.format("REVOKE", kind, "FROM"))


# --------------------------------------------------------------------------------------------------------- what is said


def test_wrong_keys_and_tokens(supabase, options):
    wrong = options["url"].replace("s3cret", "wr0ng")
    expired, forged = supabase.token(ADA, seconds=-60), supabase.token(ADA, secret="another-secret" * 4)
    for url, token, said in (
        (wrong, None, "check its key"),
        (supabase.publishable, expired, "does not let this client in"),
        (supabase.publishable, forged, "does not let this client in"),
        (supabase.publishable, lambda: expired, "does not let this client in"),
    ):

        async def main(url=url, token=token, said=said):
            async with AsyncSupabaseConversationStore(url, access_token=token) as store:
                with pytest.raises(ConnectionFailedError, match=said) as caught:
                    await store.get_session("s")
                return str(caught.value)

        with SupabaseConversationStore(url, access_token=token) as store:
            with pytest.raises(ConnectionFailedError, match=said) as caught:
                store.connect()
            for text in (str(caught.value), repr(store), asyncio.run(main())):
                assert not any(secret in text for secret in ("wr0ng", expired, forged))


def test_a_token_of_a_coroutine_function(supabase, options):
    supabase.execute(policies())

    async def token():
        await asyncio.sleep(0)
        return supabase.token(ADA)

    async def main():
        async with AsyncSupabaseConversationStore(supabase.publishable, access_token=token) as store:
            await store.create_session(ConversationSession("a", user_id=ADA))
            return [one.session_id for one in await store.list_sessions()]

    assert asyncio.run(main()) == ["a"]


def _fails(error):
    raise error


async def _later(error):
    await asyncio.sleep(0)
    raise error


class SignInError(Exception):
    """As a client for signing in raises it."""


SignInError.__module__ = "somewhere.else"


@pytest.mark.parametrize(
    ("token", "error", "said"),
    [
        (lambda: None, ConfigurationError, "something else than a token"),
        (lambda: "a b", ConfigurationError, "something else than a token"),
        (lambda: _fails(ValueError("t0ken")), ConfigurationError, "access_token failed: ValueError"),
        (lambda: _fails(httpx.ConnectError("t0ken")), ConfigurationError, "access_token failed: ConnectError"),
        (lambda: _fails(SignInError("t0ken")), SignInError, "t0ken"),
    ],
)
def test_a_function_that_returns_no_token_gives_nobody_the_rights_of_the_key(options, token, error, said):
    """With the secret key, which may do everything."""

    async def main():
        async with AsyncSupabaseConversationStore(**options, access_token=token) as store:
            with pytest.raises(error, match=said) as caught:
                await store.list_sessions()
            return caught.value

    with SupabaseConversationStore(**options, access_token=token) as store:
        with pytest.raises(error, match=said) as caught:
            store.list_sessions()
        for raised in (caught.value, asyncio.run(main())):
            assert type(raised) is error
            assert error is SignInError or "t0ken" not in str(raised)


@pytest.mark.parametrize("kind", [ValueError, httpx.ReadError])
def test_a_coroutine_function_that_fails_is_not_blamed_on_the_service(options, kind):
    async def main():
        async with AsyncSupabaseConversationStore(**options, access_token=lambda: _later(kind("t0ken"))) as store:
            with pytest.raises(ConfigurationError, match=f"access_token failed: {kind.__name__}") as caught:
                await store.list_sessions()
            assert isinstance(caught.value.__cause__, kind)

    asyncio.run(main())


def test_a_user_who_signs_out_has_no_rights_any_more(supabase, options):
    supabase.execute(policies())
    tokens = [supabase.token(ADA)]
    with SupabaseConversationStore(**options, access_token=lambda: tokens[-1]) as store:
        store.create_session(ConversationSession("a", user_id=ADA))
        tokens.append(None)
        for call in (store.list_sessions, lambda: store.create_session(ConversationSession("b"))):
            with pytest.raises(ConfigurationError):
                call()
        tokens.pop()
        assert [one.session_id for one in store.list_sessions()] == ["a"]


def test_missing_functions_are_a_schema_error_that_says_what_to_do(options):
    with SupabaseConversationStore(**options, table_prefix="missing_") as store:
        for call in (store.connect, lambda: store.get_session("s")):
            with pytest.raises(SchemaError, match="migrate --print.*--table-prefix missing_") as caught:
                call()
            assert "s3cret" not in str(caught.value)
            assert caught.value.script == store.schema_script() == schema_script("missing_")
    with SupabaseConversationStore(**options, table_prefix="missing_") as store:
        store.expect_existing()
        with pytest.raises(StoreNotFoundError, match="migrate --print"):
            store.get_session("s")


@pytest.fixture
def of_release(supabase):
    """Installs the tables and functions as a release makes them; afterwards those of this one are there again."""

    def install(tables=SCHEMA, functions=FUNCTIONS, serves=SERVES, made_for=SCHEMA):
        supabase.execute("DROP FUNCTION IF EXISTS praison_info()")
        supabase.execute(f"UPDATE praison_schema SET version = {SCHEMA} WHERE component = 'conversation'")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_schema, "FUNCTIONS", functions)
            patch.setattr(_schema, "SERVES", serves)
            script = schema_script("praison_").replace(f"'tables', {SCHEMA})", f"'tables', {made_for})")
        supabase.execute(script)
        supabase.execute(f"UPDATE praison_schema SET version = {tables} WHERE component = 'conversation'")

    yield install
    install()


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ({"tables": SCHEMA + 1}, "upgrade it"),
        ({"tables": SCHEMA - 1}, "migrate --print"),
        ({"functions": FUNCTIONS - 1}, "migrate --print"),
        ({"functions": FUNCTIONS + 1, "serves": FUNCTIONS + 1}, "upgrade it"),
        ({"functions": FUNCTIONS + 1, "tables": SCHEMA + 1}, "upgrade it"),  # which the functions do not know either
    ],
)
def test_other_versions(of_release, options, release, said):
    of_release(**release)
    with SupabaseConversationStore(**options) as store, pytest.raises(SchemaError, match=said):
        store.get_session("s")


@pytest.mark.parametrize(
    "release",
    [
        {"functions": FUNCTIONS + 1},
        {"functions": FUNCTIONS + 7, "tables": SCHEMA + 2, "made_for": SCHEMA + 2},
    ],
)
def test_functions_of_a_newer_release_serve_this_one(of_release, supabase, options, release):
    """A deployment is upgraded while it runs: first the functions, then one client after the other."""
    with SupabaseConversationStore(**options) as before:
        before.create_session(ConversationSession("s"))
        of_release(**release)
        before.add_message("s", ConversationMessage(content="open since before"))
        with SupabaseConversationStore(**options) as store:
            store.add_message("s", ConversationMessage(content="opened now"))
            assert [one.content for one in store.get_messages("s")] == ["open since before", "opened now"]
    with pytest.raises(psycopg.errors.RaiseException, match="upgrade it"):
        supabase.execute(schema_script("praison_"))  # the older release would take functions away from newer clients


def test_what_the_script_refuses(supabase):
    for sql, said in (
        ("CREATE TABLE own_sessions (id text)", "written by PraisonAI itself"),
        ("CREATE TABLE own_schema AS SELECT 'conversation' AS component, 99 AS version", "upgrade it"),
    ):
        supabase.execute(sql)
        try:
            with pytest.raises(psycopg.errors.RaiseException, match=said):
                supabase.execute(schema_script("own_"))
            assert len(supabase.tables("own_")) == 1
        finally:
            supabase.execute("DROP TABLE IF EXISTS own_sessions, own_schema")


# ------------------------------------------------------------------------------------------------------------- requests


def test_requests_of_each_call(options):
    """One each, whatever there is to say; the table in the README."""
    with SupabaseConversationStore(**options) as store:
        store.connect()
        asked = []
        client = store._runner._held().client
        client.event_hooks = {"request": [lambda request: asked.append(request.url.path)]}

        def message(**fields):
            return ConversationMessage(role="user", content="x", **fields)

        for call in (
            lambda: store.create_session(ConversationSession("s")),
            lambda: store.upsert_session(ConversationSession("s")),
            lambda: store.update_session(ConversationSession("s"), expected_version=2),
            lambda: store.add_message("s", message(id="m")),
            lambda: store.add_message("s", message(id="m")),
            lambda: store.add_messages("s", [message(id=f"m{n}") for n in range(1500)]),
            lambda: store.get_session("s"),
            lambda: store.get_messages("s"),
            lambda: store.get_messages("s", limit=5),
            lambda: store.count_messages("s"),
            lambda: store.list_sessions(),
            lambda: store.fork_session("s", new_session_id="f"),
            lambda: store.rewrite_session(ConversationSession("s"), [message()], expected_version=3, remove=["m"]),
            lambda: store.delete_messages("s", ["m1", "m2"]),
            lambda: store.delete_session("s"),
        ):
            asked.clear()
            call()
            assert len(asked) == 1, asked
        assert asked == ["/rest/v1/rpc/praison_delete_session"]


def test_requests_of_a_search(options):
    with SupabaseConversationStore(**options) as store:
        store.create_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage(role="user", content="apple"))
        asked = []
        client = store._runner._held().client
        client.event_hooks = {"request": [lambda request: asked.append(request.url.path.rpartition("praison_")[2])]}
        assert texts_of(store.search_messages("apple")) == ["apple"]
        assert asked == ["search_behind", "search_add", "search_messages"]
        asked.clear()
        assert texts_of(store.search_messages("apple")) == ["apple"]
        assert asked == ["search_behind", "search_messages"]


@pytest.mark.parametrize("change", ["delete", "anew", "deleted", "indexed", "append"])
def test_what_changes_while_it_is_indexed(options, change, monkeypatch):
    """Between reading the messages and adding their words."""

    def changed(other):
        if change in {"delete", "anew", "deleted"}:
            other.delete_session("s")
        if change in {"anew", "deleted"}:
            other.create_session(ConversationSession("s"))
        if change == "anew":
            other.add_messages("s", [message("cherry"), message("apple")])
        if change == "indexed":
            assert texts_of(other.search_messages("plum")) == ["plum"]
        if change == "append":
            other.add_message("s", message("grape"))

    def message(text):
        return ConversationMessage(role="user", content=text, created_at=1.0)

    made = json.dumps
    with SupabaseConversationStore(**options) as store, SupabaseConversationStore(**options) as other:
        store.create_session(ConversationSession("s"))
        store.add_messages("s", [message("apple"), message("plum")])
        other.connect()
        left = [None]

        def dumps(*arguments, **named):
            if left and isinstance(arguments[0], list):  # the words of the first round
                left.pop()
                changed(other)
            return made(*arguments, **named)

        monkeypatch.setattr("praisonai_persistence_supabase._steps.json.dumps", dumps)
        there = {"delete": [], "deleted": [], "anew": ["cherry", "apple"], "append": ["apple", "plum", "grape"]}
        expected = there.get(change, ["apple", "plum"])
        assert texts_of(store.search_messages("apple")) == [text for text in expected if text == "apple"]
        assert left == []
        if change == "deleted":
            store.add_messages("s", [message("fig"), message("lime")])
            expected = ["fig", "lime"]
        for text in ("apple", "plum", "cherry", "grape", "fig", "lime"):
            assert texts_of(store.search_messages(text)) == [one for one in expected if one == text], text


def test_messages_that_are_indexed_in_several_requests(store):
    """Many, and some that are longer than what one request indexes."""
    filler = " ".join(f"{number}picture" for number in range(120_000))
    for session_id in ("a", "b", "c"):
        store.create_session(ConversationSession(session_id))
        store.add_messages(session_id, [ConversationMessage(role="user", content=f"w{n}") for n in range(400)])
    store.add_message("b", ConversationMessage(role="user", content=f"first {filler} last"))
    store.add_message("b", ConversationMessage(role="user", content="behind"))
    assert [len(store.search_messages(word)) for word in ("w0", "w399", "last", "behind", "119999picture")] == [
        3, 3, 1, 1, 1,
    ]  # fmt: skip
    assert len(store.search_messages("first last 60000picture")) == 1


def texts_of(messages):
    return [message.content for message in messages]


def test_more_messages_than_the_api_returns_rows(store):
    """PostgREST gives at most ``max-rows`` rows, 1,000 in Supabase, and says nothing of it."""
    store.create_session(ConversationSession("s"))
    store.add_messages("s", [ConversationMessage(id=str(n), role="user", content=str(n)) for n in range(2500)])
    assert [message.seq for message in store.get_messages("s")] == list(range(1, 2501))
    assert len(store.get_messages("s", limit=1800)) == 1800
    assert store.delete_messages("s", [str(n) for n in range(2000)]) == 2000


def test_a_message_that_is_there_in_another_order_of_json(supabase, store):
    """Equal as JSON, not as text: it takes a second request, and adds nothing."""
    store.create_session(ConversationSession("s"))
    store.add_message("s", ConversationMessage(id="m", role="user", content="x", metadata={"a": 1, "b": 2.0}))
    turned = ConversationMessage(id="m", role="user", content="x", metadata={"b": 2, "a": 1})
    new = ConversationMessage(id="n", role="user", content="y")
    assert [message.seq for message in store.add_messages("s", [turned, new, turned])] == [1, 2, 1]
    session = store.get_session("s")
    changed = store.rewrite_session(session, [turned, ConversationMessage(id="o", role="user", content="z")],
                                    expected_version=session.version)  # fmt: skip
    assert changed.version == session.version + 1
    assert texts(store) == ["x", "y", "z"]
    with pytest.raises(DuplicateMessageError):
        store.rewrite_session(changed, [ConversationMessage(id="m", role="user", content="other")],
                              expected_version=changed.version, remove=["n"])  # fmt: skip
    assert store.get_session("s") == changed
    assert texts(store) == ["x", "y", "z"]


def test_many_tasks_on_one_session(options):
    async def main():
        async with AsyncSupabaseConversationStore(**options) as store:
            await store.create_session(ConversationSession("s"))
            added = await asyncio.gather(
                *(store.add_message("s", ConversationMessage(id=str(n), role="user", content="x")) for n in range(64))
            )
            return sorted(message.seq for message in added), [m.seq for m in await store.get_messages("s")]

    assert asyncio.run(main()) == (list(range(1, 65)), list(range(1, 65)))


# ------------------------------------------------------------------------------------------------------ not ready yet


class Gateway(ThreadingHTTPServer):
    """What stands before the API: gives the answers that it was told to give, and passes on what comes after them.

    The codes are those of PostgREST's documentation, and of Supabase's.
    """

    daemon_threads = True

    def __init__(self, url):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(url)
        self.url = url.replace(f":{self.behind.port}?", f":{self.server_address[1]}?")
        self.answers = []
        self.asked = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        gateway = self.server
        gateway.asked.append(self.path.rpartition("/")[2])
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if gateway.answers:
            status, answer = gateway.answers.pop(0)
        else:
            connection = HTTPConnection(gateway.behind.hostname, gateway.behind.port)
            connection.request(
                "POST", self.path, body, {name: self.headers[name] for name in ("apikey", "Content-Type")}
            )
            response = connection.getresponse()
            status, answer = response.status, response.read()
            connection.close()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


def refusal(code, message="said by the service"):
    return json.dumps({"code": code, "message": message, "details": None, "hint": None}).encode()


NO_CACHE = (503, refusal("PGRST002", "Could not query the database for the schema cache. Retrying."))
NO_CONNECTION = (504, refusal("PGRST003", "Timed out acquiring connection from connection pool."))
GATEWAY = (502, b"<html>Bad Gateway</html>")
BROKEN = (503, refusal("PGRST001", "Database client error. Retrying the connection."))
"""While a statement ran; the last of a transaction is COMMIT."""


@pytest.fixture
def gateway(options):
    with Gateway(options["url"]) as gateway:
        thread = threading.Thread(target=gateway.serve_forever, args=(0.01,))
        thread.start()
        yield gateway
        gateway.shutdown()
        thread.join()


def test_a_database_that_starts_is_waited_for(gateway):
    gateway.answers = [NO_CACHE, NO_CONNECTION]
    with SupabaseConversationStore(gateway.url, retry_delay=0.01) as store:
        store.connect()
        assert gateway.asked == ["praison_info"] * 3
        gateway.answers = [NO_CONNECTION, NO_CACHE, NO_CACHE]
        store.create_session(ConversationSession("s"))
        assert gateway.asked[3:] == ["praison_create_session"] * 4
        gateway.answers = [GATEWAY]
        assert store.add_message("s", ConversationMessage(id="m", role="user", content="x")).seq == 1
        gateway.answers = [GATEWAY]
        assert texts(store) == ["x"]
        gateway.answers = [BROKEN]
        assert store.add_message("s", ConversationMessage(id="n", role="user", content="y")).seq == 2


def test_a_database_that_starts_is_waited_for_by_tasks(gateway):
    async def main():
        gateway.answers = [NO_CACHE, NO_CONNECTION, NO_CACHE]
        async with AsyncSupabaseConversationStore(gateway.url, retry_delay=0.01) as store:
            await store.create_session(ConversationSession("s"))
            gateway.answers = [NO_CACHE, GATEWAY]
            return (await store.add_message("s", ConversationMessage(role="user", content="x"))).seq

    assert asyncio.run(main()) == 1


def test_waiting_ends(gateway):
    for options, times in (({"max_retries": 2}, 3), ({"max_retries": 0}, 1)):
        with SupabaseConversationStore(gateway.url, retry_delay=0.01, **options) as store:
            store.connect()
            gateway.answers, gateway.asked = [NO_CACHE] * 9, []
            with pytest.raises(ConnectionFailedError, match="PGRST002"):
                store.create_session(ConversationSession("s"))
            assert len(gateway.asked) == times
            gateway.answers = []
    with SupabaseConversationStore(gateway.url, retry_delay=0.05, max_retries=1000, timeout=0.5) as store:
        store.connect()
        gateway.answers = [NO_CACHE] * 1000
        begun = time.monotonic()
        with pytest.raises(ConnectionFailedError):
            store.get_session("s")
        assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize("answer", [GATEWAY, BROKEN])
def test_what_may_have_been_done_is_not_done_again(gateway, answer):
    """Only appends, which have ids, and reads."""
    with SupabaseConversationStore(gateway.url, retry_delay=0.01) as store:
        store.create_session(ConversationSession("s"))
        for call in (
            lambda: store.create_session(ConversationSession("t")),
            lambda: store.upsert_session(ConversationSession("s")),
            lambda: store.update_session(ConversationSession("s")),
            lambda: store.delete_messages("s"),
            lambda: store.delete_session("s"),
        ):
            gateway.answers, gateway.asked = [answer], []
            with pytest.raises(ConnectionFailedError, match="not ready") as caught:
                call()
            assert len(gateway.asked) == 1
            assert str(answer[0]) in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((540, b""), ConnectionFailedError, "restore the project"),
        ((200, b"<html>Welcome</html>"), ConnectionFailedError, "check the URL"),
        ((404, b"<html>not here</html>"), ConnectionFailedError, "check the URL"),
        ((301, b""), ConnectionFailedError, "check the URL"),
        ((401, refusal("PGRST303", "JWT expired")), ConnectionFailedError, "expired: sign in again"),
        ((401, b'{"message":"Invalid API key"}'), ConnectionFailedError, "check its key"),
        ((403, refusal("42501")), BackendError, "write a policy"),
        ((500, refusal("57014")), BackendError, "statement_timeout"),
        ((405, refusal("25006")), BackendError, "read-only"),
        ((413, b""), SerializationError, "write less"),
        ((404, refusal("PGRST202")), SchemaError, "migrate --print"),
        ((404, refusal("42P01")), SchemaError, "migrate --print"),
        ((400, refusal("22P02")), BackendError, "22P02"),
    ],
)
def test_refusals(gateway, answer, error, said):
    with SupabaseConversationStore(gateway.url, retry_delay=0.01) as store:
        store.connect()
        gateway.answers, gateway.asked = [answer], []
        with pytest.raises(error, match=said) as caught:
            store.create_session(ConversationSession("s"))
        assert type(caught.value) is error
        assert len(gateway.asked) == 1
