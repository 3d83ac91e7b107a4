"""The SQL that makes the tables and functions, which the owner of the project runs once."""

from __future__ import annotations

from pathlib import Path

from praisonai_persistence.payload import check_prefix
from praisonai_persistence_sql import Dialect, tsvector
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS, SESSION_COLUMNS
from praisonai_persistence_sql.schema import CONVERSATION, CONVERSATION_TABLES, INDEXES, SEARCH_TABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar

__all__ = ["EACH", "FUNCTIONS", "SCHEMA", "SERVES", "function_of", "schema_script"]

SCHEMA = len(CONVERSATION)
"""The version of the tables that this release reads and writes; the backend ``postgres`` has the same tables."""
FUNCTIONS = 2
"""The version of the functions that this release calls. One more with each change of them."""
SERVES = 2
"""The oldest version for which clients were written that these functions serve, too.

Raised only where a function that those call is gone, has other parameters, or returns something else. A new function
beside the old one keeps them going while a deployment has clients of two releases.
"""

_INNER = ("session_is_there", "messages_are_there", "forget_words", "refuse", "lock_session")
_CALLED = (
    "info", "create_session", "get_session", "update_session", "upsert_session", "delete_session", "list_sessions",
    "fork_session", "add_messages", "get_messages", "count_messages", "delete_messages", "rewrite_session",
)  # fmt: skip
_SEARCHING = ("search_behind", "search_add", "search_messages")
"""Functions for roles that see all rows only: the full-text index has words of all messages."""
_SESSION, _MESSAGE = SESSION_COLUMNS.split(", ")[:-1], MESSAGE_COLUMNS.split(", ")[:-1]
"""What callers say of a session and of a message: all but the version, and all but the seq."""
EACH = [f"each_{column}" for column in _MESSAGE]
"""The same of messages, in arrays."""
_INSTEAD = "use the backend 'postgres' to adopt them, or choose another table_prefix"

_BEGIN = """\
-- Tables and functions of praisonai-persistence-supabase for the table_prefix "{prefix}".
-- Run all of it, as the owner of the project, in the SQL editor or with psql. It may be run again: it removes no data.
BEGIN;

DO $check$
DECLARE
  v_version bigint := 0;
BEGIN
  IF to_regclass('{sessions}') IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('{sessions}') AND attname = 'last_seq'
  ) THEN
    RAISE EXCEPTION 'the table {sessions} was written by PraisonAI itself, or by somebody else: %', '{instead}';
  END IF;
  IF to_regclass('{schema}') IS NOT NULL THEN
    EXECUTE 'SELECT version FROM {schema} WHERE component = ''conversation''' INTO v_version;
  END IF;
  IF v_version > {version} THEN
    RAISE EXCEPTION 'the tables have version %, and this release reads up to {version}: upgrade it', v_version;
  END IF;
  IF to_regclass('{schema}') IS NOT NULL AND to_regprocedure('{info}()') IS NOT NULL THEN
    EXECUTE 'SELECT ({info}() ->> ''functions'')::bigint' INTO v_version;
    IF v_version > {newest} THEN
      RAISE EXCEPTION 'the functions have version %, and this release makes version {newest}: upgrade it', v_version;
    END IF;
  END IF;
  IF to_regclass('{messages}') IS NULL THEN  -- an index that is there is of other messages
    DROP TABLE IF EXISTS {search_words}, {search_progress};
  END IF;
END
$check$;

CREATE TABLE IF NOT EXISTS {schema} (component {t_id} PRIMARY KEY, version {t_int}, applied_at {t_real});
"""
_END = """
INSERT INTO {schema} (component, version, applied_at) VALUES ('conversation', {version}, extract(epoch FROM now()))
  ON CONFLICT (component) DO NOTHING;

-- Without a policy nobody but the owner and `service_role` sees or writes a row.
ALTER TABLE {schema} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {sessions} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {messages} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {search_words} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {search_progress} ENABLE ROW LEVEL SECURITY;
"""
_RIGHTS = """
REVOKE ALL ON FUNCTION {functions}, {searching} FROM PUBLIC;
DO $rights$
DECLARE
  v_role text;
BEGIN
  FOR v_role IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role') LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION {functions}, {searching} FROM %I', v_role);
    EXECUTE format('REVOKE ALL ON TABLE {schema}, {search_words}, {search_progress} FROM %I', v_role);
    IF v_role = 'anon' THEN  -- by default it has all rights on new tables in Supabase
      REVOKE ALL ON TABLE {sessions}, {messages} FROM anon;
    ELSE
      EXECUTE format('GRANT EXECUTE ON FUNCTION {functions} TO %I', v_role);
      EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {sessions}, {messages} TO %I', v_role);
    END IF;
    IF v_role = 'service_role' THEN  -- the full-text index has words of all messages, whatever policies say
      GRANT EXECUTE ON FUNCTION {searching} TO service_role;
      GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {search_words}, {search_progress} TO service_role;
    END IF;
  END LOOP;
END
$rights$;

NOTIFY pgrst, 'reload schema';
COMMIT;
"""


class _Dialect(Dialect):
    """PostgreSQL, as the backend ``postgres`` has it, whose drivers are not needed here; all in the schema public."""

    types: ClassVar[dict[str, str]] = {**Dialect.types, "id": 'TEXT COLLATE "C"'}

    def tables(self, prefix: str, names: Sequence[str]) -> dict[str, str]:
        check_prefix(prefix)
        indexes = {*INDEXES, tsvector.INDEX}
        return {name: self.quote(prefix + name) if name in indexes else self.table(prefix + name) for name in names}

    def table(self, name: str) -> str:
        return f"public.{self.quote(name)}"


def function_of(prefix: str, name: str) -> str:
    """Return the name of a function, as it is called."""
    return prefix + name


def schema_script(prefix: str) -> str:
    """Return the SQL that makes the tables and functions of a prefix."""
    dialect = _Dialect()
    tables = dialect.tables(prefix, (*CONVERSATION_TABLES, *SEARCH_TABLES, tsvector.INDEX, "schema"))
    functions = {name: dialect.table(function_of(prefix, name)) for name in (*_INNER, *_CALLED)}
    searching = {name: dialect.table(function_of(prefix, name)) for name in _SEARCHING}
    types = {f"t_{name}": value for name, value in dialect.types.items()}
    names = {
        **tables,
        **functions,
        **searching,
        **types,
        "prefix": prefix,
        "instead": _INSTEAD.replace("'", "''"),
        "version": SCHEMA,
        "newest": FUNCTIONS,
        "functions": ", ".join(functions.values()),
        "searching": ", ".join(searching.values()),
        "later": dialect.next_updated_at("s.updated_at", "p_now"),
        "session_columns": SESSION_COLUMNS,
        "session_parameters": _parameters(_SESSION),
        "session_arguments": _arguments(_SESSION),
        "message_columns": MESSAGE_COLUMNS,
        "message_parameters": _parameters(EACH, "[]"),
        "message_arguments": _arguments(EACH),
        "given_columns": ", ".join(_MESSAGE),
        "stored_columns": ", ".join(f"m.{column}" for column in MESSAGE_COLUMNS.split(", ")),
    }
    made = [sql for step in CONVERSATION for sql in step.up]
    for word in ("TABLE", "UNIQUE INDEX", "INDEX"):
        made = [sql.replace(f"CREATE {word} ", f"CREATE {word} IF NOT EXISTS ", 1) for sql in made]
    statements = "".join(f"{sql};\n" for sql in (*made, *tsvector.TABLES))
    body = Path(__file__).with_name("functions.sql").read_text(encoding="utf-8")
    of_functions = body.format_map({**names, "version": FUNCTIONS, "serves": SERVES, "tables": SCHEMA})
    head, tail, rights = (part.format_map(names) for part in (_BEGIN + statements, _END, _RIGHTS))
    return f"{head}{tail}\n{of_functions}{rights}"


def _parameters(columns: Sequence[str], suffix: str = "") -> str:
    """Return columns as parameters of a function, with their types."""
    types = {"created_at": "float8", "updated_at": "float8"}
    return ", ".join(f"p_{column} {types.get(column.removeprefix('each_'), 'text')}{suffix}" for column in columns)


def _arguments(columns: Sequence[str]) -> str:
    return ", ".join(f"p_{column}" for column in columns)
