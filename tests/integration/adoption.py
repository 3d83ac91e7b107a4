"""Databases that PraisonAI itself wrote, and what becomes of them: the tests, for a class of each SQL engine.

The tables are made with the columns and types that PraisonAI's own stores give them, today's and older ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from praisonai_persistence import (
    ConversationMessage,
    ConversationSession,
    SchemaError,
    SessionExistsError,
    StoreNotFoundError,
)
from praisonai_persistence.schema import LegacyTables

SESSION = ("session_id", "user_id", "agent_id", "name", "state", "metadata", "created_at", "updated_at")
MESSAGE = ("id", "session_id", "role", "content", "tool_calls", "tool_call_id", "metadata", "created_at")
OLDER = [("sessions.state",), ("messages.tool_calls", "messages.tool_call_id")]
OLDER.append(OLDER[0] + OLDER[1])
START = 1_700_000_000.125
KEPT = "praisonai_legacy"

# As a program that was written for PraisonAI.
PROGRAM = """
import json, sys
import praisonai_persistence.compat
from praisonai_persistence import SchemaError, create_conversation_store

backend, options = json.loads(sys.argv[1])
with create_conversation_store(backend, mode="sync", must_exist={must_exist}, **options) as store:
    try:
        found = [message.id for message in store.get_messages("s")]
    except SchemaError as error:
        found = [str(error)]
print(json.dumps(found))
"""

# Adopts; with a number, dies before that request to the driver. Waits for a line first, so that many start at once.
CHILD = """
import json, os, signal, sys
from importlib import import_module

module, name, options, last = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
store = getattr(import_module(module), name)(**options)
migrations = store._steps.migrations
adopt = migrations._adopt


def counted(prefix):
    steps, number = adopt(prefix), 0
    try:
        request = next(steps)
        while True:
            number += 1
            if number == last:
                os.kill(os.getpid(), signal.SIGKILL)
            request = steps.send((yield request))
    except StopIteration as stop:
        print(number)
        return stop.value


if last >= 0:
    migrations._adopt = counted
sys.stdin.readline()
with store:
    print(len(store.list_sessions()) if options.get("adopt_legacy") else store.adopt_legacy() and "adopted")
"""


class Old:
    """PraisonAI's two tables.

    Args:
        engine: whose.
        options: where.
        prefix: of the tables.
        missing: columns that they lack, as ``table.column``.
    """

    def __init__(
        self, engine: AdoptionTests, options: dict[str, Any], prefix: str = "praison_", missing: Sequence[str] = ()
    ) -> None:
        self._engine = engine
        self._options = options
        self.prefix = prefix
        self.columns = {
            "sessions": [name for name in SESSION if f"sessions.{name}" not in missing],
            "messages": [name for name in MESSAGE if f"messages.{name}" not in missing],
        }
        types = engine.types
        keys = {"session_id": " PRIMARY KEY"}
        columns = ", ".join(f"{name} {types[name]}{keys.get(name, '')}" for name in self.columns["sessions"])
        self.execute(f"CREATE TABLE {prefix}sessions ({columns})")
        keys = {"id": " PRIMARY KEY"}
        columns = ", ".join(f"{name} {types[name]}{keys.get(name, '')}" for name in self.columns["messages"])
        foreign = f", FOREIGN KEY (session_id) REFERENCES {prefix}sessions(session_id) ON DELETE CASCADE"
        self.execute(f"CREATE TABLE {prefix}messages ({columns}{foreign})")

    def execute(self, sql: str, rows: Sequence[Sequence[Any]] | None = None, first: Sequence[str] = ()) -> list[Any]:
        with contextlib.closing(self._engine.connect(self._options)) as connection:
            cursor = connection.cursor()
            for statement in first:
                cursor.execute(statement)
            if rows is None:
                cursor.execute(sql)
            else:
                cursor.executemany(sql, rows)
            found = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
            return found

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        names = self.columns[table]
        marks = ", ".join([self._engine.mark] * len(names))
        values = [[_column(name, row.get(name)) for name in names] for row in rows]
        self.execute(f"INSERT INTO {self.prefix}{table} ({', '.join(names)}) VALUES ({marks})", values)

    def orphan(self, message_id: str, session_id: str | None) -> None:
        """Let a message name another session, whatever the tables' keys say."""
        value = "NULL" if session_id is None else f"'{session_id}'"
        sql = f"UPDATE {self.prefix}messages SET session_id = {value} WHERE id = '{message_id}'"
        self.execute(sql, first=[self._engine.unchecked.format(prefix=self.prefix)])

    def count(self, table: str) -> int:
        return int(self.execute(f"SELECT COUNT(*) FROM {self.prefix}{table}")[0][0])

    def tables(self) -> set[str]:
        """The names of all tables there are."""
        return {row[0] for row in self.execute(self._engine.catalogue)}


def _column(name: str, value: Any) -> Any:
    is_json = name in {"state", "metadata", "tool_calls"} and not isinstance(value, str)
    return json.dumps(value) if is_json and value is not None else value


def session(session_id: str, **fields: Any) -> dict[str, Any]:
    return {"session_id": session_id, "created_at": START, "updated_at": START + 50, **fields}


def message(session_id: str | None, number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"{session_id}-{number:04}",
        "session_id": session_id,
        "role": "user",
        "content": f"text {number}",
        "created_at": START + number,
        **fields,
    }


def ids(messages: Sequence[ConversationMessage]) -> list[str]:
    return [item.id for item in messages]


class AdoptionTests(ABC):
    """Derived for each engine, with what differs."""

    sync: ClassVar[Any]
    async_: ClassVar[Any]
    mark: ClassVar[str] = "%s"
    catalogue: ClassVar[str]
    types: ClassVar[dict[str, str]]
    unchecked: ClassVar[str]
    """A statement after which the messages of ``{prefix}`` may name a session that is not there."""
    kill_before: ClassVar[tuple[int, int]] = (1, 3)
    """The first request to kill a child before, and every how many after it: fewer where all is one transaction."""
    keeps_order: ClassVar[bool] = True
    """Whether messages of one moment come in the order in which they were written."""

    @abstractmethod
    def connect(self, options: dict[str, Any]) -> Any:
        """A connection of the plain driver."""

    @pytest.fixture
    @abstractmethod
    def place(self) -> Iterator[dict[str, Any]]:
        """Options for stores on a part of the engine that is the test's own."""

    @pytest.fixture(params=["sync", "async"])
    def store(self, request, place):
        """Call methods of a store of each mode."""

        def call(method: str, *arguments: Any, **keywords: Any) -> Any:
            options = {**place, **keywords.pop("options", {})}
            if request.param == "sync":
                with self.sync(**options) as store:
                    return getattr(store, method)(*arguments, **keywords)

            async def main() -> Any:
                async with self.async_(**options) as store:
                    return await getattr(store, method)(*arguments, **keywords)

            return asyncio.run(main())

        return call

    # ------------------------------------------------------------------------------------------------------- all of it

    @pytest.mark.parametrize("missing", [(), *OLDER], ids=lambda names: "+".join(names) or "today")
    def test_every_row_is_taken_over(self, place, store, missing):
        old = Old(self, place, missing=missing)
        state, metadata = {"step": 1, "deep": {"a": [1, 2.5, None]}}, {"k": "é 😀"}
        old.add(
            "sessions",
            session("s", user_id="ada", agent_id="a", name="First", state=state, metadata=metadata),
            session("empty"),
        )
        calls = [{"id": "t1", "function": {"name": "f", "arguments": "{}"}}]
        old.add(
            "messages",
            message("s", 3, role="assistant", content=None, tool_calls=calls),
            message("s", 4, role="tool", content="\x1a0041 \u2028 \r\n", tool_call_id="t1", metadata={"n": 10**15}),
            message("s", 1, content=""),
        )
        legacy = LegacyTables("praison_", 2, 3, tuple(missing))
        status = store("schema_status")
        assert (status.version, status.legacy) == (0, (legacy,))

        adoption = store("adopt_legacy")
        assert (adoption.legacy, adoption.sessions, adoption.messages, adoption.dry_run) == (legacy, 2, 3, False)
        assert adoption.kept_as == ("praison_sessions_legacy", "praison_messages_legacy")
        state = None if "sessions.state" in missing else state
        first = ConversationSession("s", "ada", "a", "First", state, metadata, START, START + 50, 1)
        assert store("get_session", "s") == first
        assert store("get_session", "empty") == ConversationSession("empty", created_at=START, updated_at=START + 50)
        lacks = "messages.tool_calls" in missing
        text = "\x1a0041 \u2028 \r\n"
        found, call_id = (None, None) if lacks else (calls, "t1")
        assert store("get_messages", "s") == [
            ConversationMessage("s-0001", "s", "user", "", created_at=START + 1, seq=1),
            ConversationMessage("s-0003", "s", "assistant", None, found, None, None, START + 3, 2),
            ConversationMessage("s-0004", "s", "tool", text, None, call_id, {"n": 10**15}, START + 4, 3),
        ]

        assert store("adopt_legacy") is None
        status = store("schema_status")
        assert (status.version, status.pending, status.legacy) == (status.latest, (), ())
        assert {"praison_sessions_legacy", "praison_messages_legacy"} <= old.tables()
        assert not [name for name in old.tables() if "adopting" in name]
        assert store("add_message", "s", ConversationMessage("new")).seq == 4
        assert ids(store("search_messages", "text")) == []
        assert store("delete_session", "s") is True

    def test_messages_of_one_moment(self, place, store):
        old = Old(self, place)
        old.add("sessions", session("s"), session("t"))
        rows = [message("st"[n % 2], 2000 - n, created_at=START + n // 100) for n in range(1500)]
        old.add("messages", *rows)
        assert store("adopt_legacy").messages == 1500
        for name in "st":
            mine = [row for row in rows if row["session_id"] == name]
            if not self.keeps_order:
                mine.sort(key=lambda row: (row["created_at"], row["id"]))
            found = store("get_messages", name)
            assert ids(found) == [row["id"] for row in mine]
            assert [item.seq for item in found] == list(range(1, 751))
        page = store("get_messages", "s", 2)
        assert [item.seq for item in page] == [749, 750]

    def test_large_messages_come_in_small_batches(self, place, store):
        old = Old(self, place)
        old.add("sessions", session("s"))
        sizes = [3_000_000, 10, 3_000_000, 6_000_000, 1]
        for number, size in enumerate(sizes):
            old.add("messages", message("s", number, content="x" * size))
        assert store("adopt_legacy").messages == 5
        assert [len(item.content) for item in store("get_messages", "s")] == sizes

    # --------------------------------------------------------------------------------------------------- what is odd

    def test_messages_without_a_session_get_one(self, place, store):
        old = Old(self, place)
        old.add("sessions", session("s"))
        old.add("messages", message("s", 1), message("s", 2), message("s", 3, id="of nobody"))
        old.orphan("s-0002", "gone")
        old.orphan("of nobody", None)
        assert store("adopt_legacy", dry_run=True).sessions == 3
        adoption = store("adopt_legacy")
        assert (adoption.legacy.sessions, adoption.sessions, adoption.messages) == (1, 3, 3)
        assert ids(store("get_messages", "s")) == ["s-0001"]
        assert ids(store("get_messages", "gone")) == ["s-0002"]
        found = store("get_session", "gone")
        assert (found.metadata, found.created_at, found.updated_at) == (
            {KEPT: {"session": "missing"}},
            START + 2,
            START + 2,
        )
        nobody = store("get_messages", "praisonai-legacy-no-session")
        assert ids(nobody) == ["of nobody"]
        assert store("add_message", "gone", ConversationMessage("m")).seq == 2

    def test_values_without_a_place_are_kept_in_the_metadata(self, place, store):
        old = Old(self, place)
        old.add("sessions", session("s", user_id="", state=[1, 2], metadata={"a": 1}), session("t", metadata="7"))
        old.add("sessions", {"session_id": "u"})
        old.add(
            "messages",
            message("s", 1, tool_calls={"not": "a list"}, metadata=["not an object"], created_at=None),
            message("s", 2, tool_calls=["f"], metadata={KEPT: "mine"}),
            message("s", 3, metadata=json.dumps(json.dumps({"twice": True})), role=""),
            message("u", 4, created_at=None, tool_calls="null"),
        )
        assert store("adopt_legacy").messages == 4
        found = store("get_session", "s")
        assert (found.user_id, found.state) == (None, None)
        assert found.metadata["a"] == 1
        assert found.metadata[KEPT]["user_id"] == ""
        assert json.loads(found.metadata[KEPT]["state"]) == [1, 2]
        assert store("get_session", "t").metadata == {KEPT: {"metadata": "7"}}
        found = store("get_session", "u")
        assert (found.created_at, found.updated_at, found.metadata) == (0.0, 0.0, None)
        one, two, three = store("get_messages", "s")
        assert (one.tool_calls, one.created_at) == (None, START)
        assert json.loads(one.metadata[KEPT]["tool_calls"]) == {"not": "a list"}
        assert json.loads(one.metadata[KEPT]["metadata"]) == ["not an object"]
        assert two.metadata[KEPT] == "mine"
        assert json.loads(two.metadata[f"{KEPT}_"]["tool_calls"]) == ["f"]
        assert (three.metadata, three.role) == ({"twice": True}, "")
        (four,) = store("get_messages", "u")
        assert (four.tool_calls, four.created_at, four.metadata) == (None, 0.0, None)

    # ------------------------------------------------------------------------------------------------- on connecting

    def test_tables_of_praisonai_in_our_place_are_left_alone(self, place, store):
        old = Old(self, place)
        old.add("sessions", session("s"))
        for method, *arguments in (("get_session", "s"), ("connect",), ("migrate_schema",)):
            with pytest.raises(
                SchemaError, match=r"written by PraisonAI itself: adopt .* migrate --adopt.*adopt_legacy"
            ):
                store(method, *arguments)
        assert store("schema_status").version == 0
        assert (old.count("sessions"), old.tables()) == (1, {"praison_sessions", "praison_messages"})

    def test_they_are_adopted_by_the_first_call_if_wanted(self, place, store):
        old = Old(self, place)
        old.add("sessions", session("s"))
        old.add("messages", message("s", 1))
        wanted = {"adopt_legacy": True}
        assert ids(store("get_messages", "s", options=wanted)) == ["s-0001"]
        assert ids(store("get_messages", "s", options=wanted)) == ["s-0001"]
        assert store("get_session", "s").version == 1
        assert "praison_sessions_legacy" in old.tables()

    def test_they_are_adopted_where_nothing_else_may_be_made(self, place, store):
        withheld = {"create_schema": False}
        with pytest.raises((SchemaError, StoreNotFoundError)):
            store("get_messages", "s", options={**withheld, "adopt_legacy": True})
        old = Old(self, place)
        old.add("sessions", session("s"))
        old.add("messages", message("s", 1))
        with pytest.raises(SchemaError, match=r"written by PraisonAI itself: adopt .*adopt_legacy"):
            store("get_messages", "s", options=withheld)
        assert old.tables() == {"praison_sessions", "praison_messages"}
        assert ids(store("get_messages", "s", options={**withheld, "adopt_legacy": True})) == ["s-0001"]
        assert ids(store("get_messages", "s", options=withheld)) == ["s-0001"]

    @pytest.mark.parametrize("prefix", ["praison_", "praisonai_"])
    @pytest.mark.parametrize("mode", ["sync", "async"])
    def test_a_program_written_for_praisonai_goes_on_with_them(self, place, mode, prefix):
        old = Old(self, place, prefix=prefix)
        old.add("sessions", session("s"))
        old.add("messages", message("s", 1))
        with self.sync(**place) as store:
            backend = store.backend if mode == "sync" else f"async_{store.backend}"
        job = json.dumps([backend, {**place, "table_prefix": prefix}])

        def run(must_exist: bool) -> list[Any]:
            code = PROGRAM.format(must_exist=must_exist)
            ran = subprocess.run([sys.executable, "-c", code, job], capture_output=True, encoding="utf-8", timeout=60)
            assert not ran.returncode, ran.stderr
            return list(json.loads(ran.stdout))

        (refused,) = run(True)
        assert "praisonai-persistence migrate --adopt" in refused
        assert run(False) == run(True) == ["s-0001"]
        assert f"{prefix}sessions_legacy" in old.tables()

    def test_a_table_of_somebody_else_is_left_alone(self, place, store):
        old = Old(self, place)
        old.execute("ALTER TABLE praison_sessions DROP COLUMN agent_id")
        with pytest.raises(SchemaError, match="praison_sessions already, of somebody else"):
            store("connect")
        assert store("adopt_legacy") is None
        assert store("schema_status").legacy == ()

    def test_a_dry_run_changes_nothing(self, place, store):
        old = Old(self, place)
        old.add("sessions", session("s"))
        old.add("messages", message("s", 1))
        before = old.tables()
        adoption = store("adopt_legacy", dry_run=True)
        assert (adoption.sessions, adoption.messages, adoption.dry_run) == (1, 1, True)
        assert adoption.kept_as == ("praison_sessions_legacy", "praison_messages_legacy")
        assert old.tables() == before

    # ------------------------------------------------------------------------------------------------ another prefix

    @pytest.mark.parametrize("used", [True, False], ids=["used", "new"])
    def test_from_the_older_prefix(self, place, store, used):
        old = Old(self, place, "praisonai_", OLDER[-1])
        old.add("sessions", session("s"))
        old.add("messages", message("s", 1), message("s", 2))
        if used:
            store("create_session", ConversationSession("mine"))
            store("add_message", "mine", ConversationMessage("m"))
        adoption = store("adopt_legacy")
        assert (adoption.legacy.prefix, adoption.sessions, adoption.messages) == ("praisonai_", 1, 2)
        assert adoption.kept_as == ("praisonai_sessions_legacy", "praisonai_messages_legacy")
        assert store("adopt_legacy", "praisonai_") is None
        assert ids(store("get_messages", "s")) == ["s-0001", "s-0002"]
        if used:
            assert ids(store("get_messages", "mine")) == ["m"]

    @pytest.mark.parametrize("orphan", [False, True])
    def test_a_session_that_exists_refuses_all(self, place, store, orphan):
        store("create_session", ConversationSession("s"))
        old = Old(self, place, "praisonai_")
        old.add("sessions", session("a"), session("z" if orphan else "s"))
        old.add("messages", message("a", 1))
        if orphan:
            old.orphan("a-0001", "s")
        before = old.tables()
        for dry_run in (True, False):
            with pytest.raises(SessionExistsError, match="'s'"):
                store("adopt_legacy", dry_run=dry_run)
        assert store("get_session", "a") is None
        assert (old.tables(), old.count("sessions")) == (before, 2)

    def test_two_prefixes_have_to_be_named(self, place, store):
        for prefix in ("praison_", "praisonai_"):
            old = Old(self, place, prefix)
            old.add("sessions", session(prefix))
        with pytest.raises(SchemaError, match="'praison_' and 'praisonai_': name one"):
            store("adopt_legacy")
        for prefix in ("praison_", "praisonai_"):
            assert store("adopt_legacy", prefix).sessions == 1
        assert {item.session_id for item in store("list_sessions")} == {"praison_", "praisonai_"}
        Old(self, place, "praisonai_")
        assert store("adopt_legacy", "praisonai_").kept_as[0] == "praisonai_sessions_legacy2"

    # ----------------------------------------------------------------------------------------------------- the way back

    def test_the_way_back_of_the_documentation(self, place, store):
        old = Old(self, place)
        old.add("sessions", session("s"))
        old.add("messages", message("s", 1))
        text = (Path(__file__).parents[2] / "docs" / "adoption.md").read_text(encoding="utf-8")
        statements = [line for line in text.split("```sql\n")[1].split("```")[0].splitlines() if line]
        for _ in range(2):
            assert store("adopt_legacy").kept_as == ("praison_sessions_legacy", "praison_messages_legacy")
            assert ids(store("search_messages", "text")) == ["s-0001"]
            for statement in statements:
                old.execute(statement.rstrip(";"))
            assert store("schema_status").legacy == (LegacyTables("praison_", 1, 1),)
            assert old.execute("SELECT id FROM praison_messages")[0][0] == "s-0001"
            for name in ("messages", "sessions"):
                old.execute(f"DROP TABLE praison_{name}_new")

    # ---------------------------------------------------------------------------------------- many at once, and crashes

    def child(self, place: dict[str, Any], kill_before: int = 0, **options: Any) -> subprocess.Popen[str]:
        arguments = (self.sync.__module__, self.sync.__name__, json.dumps({**place, **options}), str(kill_before))
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("on_connect", [True, False], ids=["on-connect", "by-call"])
    def test_twenty_processes_adopt_once(self, place, on_connect):
        old = Old(self, place)
        old.add("sessions", *(session(f"s{n}") for n in range(30)))
        old.add("messages", *(message(f"s{n % 30}", n) for n in range(600)))
        more = {"adopt_legacy": True} if on_connect else {}
        children = [self.child(place, -1, **more) for _ in range(20)]
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        said = [child.communicate(timeout=300)[0].split() for child in children]
        assert [child.returncode for child in children] == [0] * 20
        expected = [["30"]] * 20 if on_connect else [["None"]] * 19 + [["adopted"]]
        assert sorted(said) == sorted(expected)
        assert sorted(old.tables() & {"praison_sessions_legacy", "praison_sessions_legacy2"}) == [
            "praison_sessions_legacy"
        ]
        with self.sync(**place) as store:
            assert [len(store.get_messages(f"s{n}")) for n in range(30)] == [20] * 30

    @pytest.mark.slow
    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
    @pytest.mark.parametrize("prefix", ["praison_", "praisonai_"])
    def test_a_killed_adoption_is_all_or_nothing_and_can_be_repeated(self, place, prefix):
        """Killed before one request to the server after the other; each time all of it is there, old or new."""
        total = None
        for last in itertools.count(*self.kill_before):
            if total is not None:
                break
            old = self._fill(place, prefix)
            child = self.child(place, last)
            out, _ = child.communicate("go\n", timeout=120)
            if child.returncode == 0:
                total = int(out.split()[0])
                assert total < last, "it was to die"
            else:
                assert child.returncode == -signal.SIGKILL
            with self.sync(**place) as store:
                found = [legacy for legacy in store.schema_status().legacy if legacy.prefix == prefix]
                if found:
                    assert (found[0].sessions, found[0].messages) == (3, 24)
                    assert old.count("messages") == 24
                again = store.adopt_legacy()
                assert (again is not None) == bool(found)
                for number in range(3):
                    messages = store.get_messages(f"s{number}")
                    assert ids(messages) == [f"s{number}-{n:04}" for n in range(number, 24, 3)]
                    assert [item.seq for item in messages] == list(range(1, 9))
                assert len(store.list_sessions()) == 3
                assert store.adopt_legacy() is None
                tables = old.tables()
                assert {f"{prefix}sessions_legacy", f"{prefix}messages_legacy"} <= tables
                assert not [name for name in tables if "adopting" in name]
            for table in sorted(tables):  # messages before sessions: of a key
                old.execute(f"DROP TABLE {table}")
        assert total > 10

    def _fill(self, place: dict[str, Any], prefix: str) -> Old:
        old = Old(self, place, prefix)
        old.add("sessions", *(session(f"s{n}") for n in range(3)))
        old.add("messages", *(message(f"s{n % 3}", n) for n in range(24)))
        return old

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak of a process without that of its parent")
    def test_two_hundred_megabytes_take_no_more_memory_than_few_messages(self, place):
        code = (
            "import json, sys\n"
            "from importlib import import_module\n"
            "def peak():\n"
            "    with open('/proc/self/status') as status:\n"
            "        return next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))\n"
            "store = getattr(import_module(sys.argv[1]), sys.argv[2])(**json.loads(sys.argv[3]))\n"
            "with store:\n"
            "    store.schema_status()\n"
            "    before = peak()\n"
            "    print(store.adopt_legacy().messages)\n"
            "    print((peak() - before) // 1024)\n"
        )
        old = Old(self, place)
        old.add("sessions", *(session(f"s{n}") for n in range(500)))
        text = "x" * 2000
        for start in range(0, 100_000, 10_000):
            old.add("messages", *(message(f"s{n % 500}", n, content=text) for n in range(start, start + 10_000)))
        arguments = (self.sync.__module__, self.sync.__name__, json.dumps(place))
        ran = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env=os.environ
        )
        messages, megabytes = map(int, ran.stdout.split())
        assert messages == 100_000
        assert megabytes < 40, "200 MB of text went through"
        with self.sync(**place) as store:
            assert store.get_messages("s7", 1)[0].seq == 200


class FileAdoptionTests(AdoptionTests):
    """The same in files of SQLite's form, where a column may hold anything."""

    mark = "?"
    catalogue = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    types: ClassVar[dict[str, str]] = {
        **dict.fromkeys((*SESSION, *MESSAGE), "TEXT"),
        **dict.fromkeys(("created_at", "updated_at"), "REAL"),
    }
    unchecked = "PRAGMA foreign_keys = OFF"

    @pytest.fixture
    def place(self, tmp_path: Path) -> dict[str, Any]:
        return {"path": str(tmp_path / "theirs.db")}

    def connect(self, options: dict[str, Any]) -> Any:
        return sqlite3.connect(options["path"])
