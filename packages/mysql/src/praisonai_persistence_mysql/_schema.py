"""The tables of MySQL and MariaDB; each step can be repeated."""

from __future__ import annotations

from praisonai_persistence_sql import Migration
from praisonai_persistence_sql.schema import NO_SEARCH

__all__ = ["CONVERSATION", "STATE"]

CONVERSATION = (
    Migration(
        1,
        "sessions and messages",
        up=(
            """CREATE TABLE IF NOT EXISTS {sessions} (
                session_id {t_id} NOT NULL PRIMARY KEY,
                user_id {t_id},
                agent_id {t_id},
                name {t_text},
                state {t_text},
                metadata {t_text},
                created_at {t_real} NOT NULL,
                updated_at {t_real} NOT NULL,
                version {t_int} NOT NULL,
                last_seq {t_int} NOT NULL,
                KEY {sessions_by_user} (user_id, updated_at DESC, session_id),
                KEY {sessions_by_time} (updated_at DESC, session_id)
            ) ENGINE=InnoDB""",
            """CREATE TABLE IF NOT EXISTS {messages} (
                session_id {t_id} NOT NULL,
                seq {t_int} NOT NULL,
                id {t_id} NOT NULL,
                role {t_text} NOT NULL,
                content {t_text},
                tool_calls {t_text},
                tool_call_id {t_text},
                metadata {t_text},
                created_at {t_real} NOT NULL,
                PRIMARY KEY (session_id, seq),
                UNIQUE KEY {messages_by_id} (session_id, id)
            ) ENGINE=InnoDB""",
        ),
        down=(*NO_SEARCH, "DROP TABLE IF EXISTS {messages}", "DROP TABLE IF EXISTS {sessions}"),
        drops=("sessions",),
    ),
)

STATE = (
    Migration(
        1,
        "keys and fields",
        up=(
            """CREATE TABLE IF NOT EXISTS {state} (
                name {t_id} NOT NULL PRIMARY KEY, value {t_text}, ends_at {t_real}, KEY {state_by_end} (ends_at)
            ) ENGINE=InnoDB""",
            """CREATE TABLE IF NOT EXISTS {state_fields} (
                name {t_id} NOT NULL, field {t_id} NOT NULL, value {t_text} NOT NULL, PRIMARY KEY (name, field)
            ) ENGINE=InnoDB""",
        ),
        down=("DROP TABLE IF EXISTS {state_fields}", "DROP TABLE IF EXISTS {state}"),
        drops=("state",),
    ),
)
