"""The tables of conversations and state, and how they came to be."""

from __future__ import annotations

from praisonai_persistence_sql.migrations import Migration

__all__ = [
    "CONVERSATION",
    "CONVERSATION_TABLES",
    "INDEXED_CONVERSATION",
    "INDEXES",
    "NO_SEARCH",
    "SEARCH_TABLES",
    "STATE",
    "STATE_TABLES",
]

CONVERSATION_TABLES = ("sessions", "messages", "sessions_by_user", "sessions_by_time", "messages_by_id")
"""Names, without prefix, of the tables and of the indexes of ``CONVERSATION``."""

CONVERSATION = (
    Migration(
        1,
        "sessions and messages",
        up=(
            """CREATE TABLE {sessions} (
                session_id {t_id} NOT NULL PRIMARY KEY,
                user_id {t_id},
                agent_id {t_id},
                name {t_text},
                state {t_text},
                metadata {t_text},
                created_at {t_real} NOT NULL,
                updated_at {t_real} NOT NULL,
                version {t_int} NOT NULL,
                last_seq {t_int} NOT NULL
            )""",
            "CREATE INDEX {sessions_by_user} ON {sessions} (user_id, updated_at DESC, session_id)",
            "CREATE INDEX {sessions_by_time} ON {sessions} (updated_at DESC, session_id)",
            """CREATE TABLE {messages} ({t_row}
                session_id {t_id} NOT NULL,
                seq {t_int} NOT NULL,
                id {t_id} NOT NULL,
                role {t_text} NOT NULL,
                content {t_text},
                tool_calls {t_text},
                tool_call_id {t_text},
                metadata {t_text},
                created_at {t_real} NOT NULL,
                {t_key} (session_id, seq)
            )""",
            "CREATE UNIQUE INDEX {messages_by_id} ON {messages} (session_id, id)",
        ),
        down=("DROP TABLE {messages}", "DROP TABLE {sessions}"),
        drops=("sessions",),
    ),
)

SEARCH_TABLES = ("search_progress", "search_words")
"""Names, without prefix, of the tables of a full-text index, which the first search makes."""

NO_SEARCH = ("DROP TABLE IF EXISTS {search_words}", "DROP TABLE IF EXISTS {search_progress}")
"""Before messages are made or dropped: an index that is there is of other messages."""

INDEXED_CONVERSATION = tuple(
    Migration(step.version, step.name, (*NO_SEARCH, *step.up), (*NO_SEARCH, *(step.down or ())), step.drops)
    for step in CONVERSATION
)
"""``CONVERSATION`` of engines with such an index."""

STATE_TABLES = ("state", "state_fields", "state_by_end")
"""Names, without prefix, of the tables and of the indexes of ``STATE``."""

STATE = (
    Migration(
        1,
        "keys and fields",
        # A key with the value NULL is a hash; its fields stand in the second table.
        up=(
            "CREATE TABLE {state} (name {t_id} NOT NULL PRIMARY KEY, value {t_text}, ends_at {t_real})",
            "CREATE INDEX {state_by_end} ON {state} (ends_at)",
            """CREATE TABLE {state_fields} (
                name {t_id} NOT NULL, field {t_id} NOT NULL, value {t_text} NOT NULL, PRIMARY KEY (name, field)
            )""",
        ),
        down=("DROP TABLE {state_fields}", "DROP TABLE {state}"),
        drops=("state",),
    ),
)

INDEXES = frozenset({"messages_by_id", "sessions_by_time", "sessions_by_user", "state_by_end"})
"""Which of the names are indexes: where tables are written with their schema, an index is not when it is made."""
