"""Agno: what its agents do at the end of a run, with one message in each run.

They write the session's row (``upsert_session``) and then the run's (``upsert_run``). The position of the run is left
to the database, which is Agno's way to keep it right beside other writers.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

from base import Conversations, owner, postgres_durability, sqlite_settings

_ids = itertools.count()


class Agno(Conversations):
    """Sessions and runs."""

    tasks = True

    def make(self) -> Any:
        """The database of an agent."""
        raise NotImplementedError

    def make_async(self) -> Any:
        """That of an agent on asyncio."""
        raise NotImplementedError

    def open(self) -> None:
        self.db = self.make()

    def close(self) -> None:
        self.db.close()

    async def open_async(self) -> None:
        self.async_db = self.make_async()

    async def close_async(self) -> None:
        await self.async_db.close()

    def ask(self, query: str) -> Any:
        """Ask on a connection of its engine."""
        with self.db.db_engine.connect() as connection:
            return connection.exec_driver_sql(query).scalar()

    def session(self, session: str, user: str) -> Any:
        """The row of a session."""
        from agno.session import AgentSession

        return AgentSession(
            session_id=session,
            user_id=user,
            agent_id="agent",
            session_data={"session_state": {}},
            created_at=int(time.time()),
        )

    def run(self, session: str, text: str, user: str) -> Any:
        """A run with a message."""
        from agno.models.message import Message
        from agno.run.agent import RunOutput
        from agno.run.base import RunStatus

        return RunOutput(
            run_id=f"run-{next(_ids)}",
            session_id=session,
            agent_id="agent",
            user_id=user,
            messages=[Message(role="user", content=text)],
            status=RunStatus.completed,
        )

    def create(self, session: str, user: str) -> None:
        self.db.upsert_session(self.session(session, user))

    def append(self, session: str, text: str) -> None:
        user = owner(session)
        self.db.upsert_session(self.session(session, user))
        self.db.upsert_run(self.run(session, text, user), session_id=session, user_id=user)

    async def append_async(self, session: str, text: str) -> None:
        user = owner(session)
        await self.async_db.upsert_session(self.session(session, user))
        await self.async_db.upsert_run(self.run(session, text, user), session_id=session, user_id=user)

    def last(self, session: str, count: int) -> list[str]:
        found = self.db.get_session(session_id=session, runs_limit=count)
        return [] if found is None else [message.content for message in found.get_messages(limit=count)]

    def newest_sessions(self, user: str, count: int) -> list[str]:
        from agno.db.base import SessionType

        found = self.db.get_sessions(
            session_type=SessionType.AGENT,
            user_id=user,
            limit=count,
            sort_by="updated_at",
            sort_order="desc",
            include_runs=False,
        )
        return [session.session_id for session in found]


class AgnoOnSQLite(Agno):
    """SQLite."""

    name = "Agno SqliteDb"
    engine = "sqlite"
    requirements = ("agno>=3.1", "sqlalchemy[asyncio]>=2", "aiosqlite>=0.20")
    imports = "from agno.db.sqlite import SqliteDb"

    def make(self) -> Any:
        from agno.db.sqlite import SqliteDb

        return SqliteDb(db_file=self.place)

    def make_async(self) -> Any:
        from agno.db.sqlite import AsyncSqliteDb

        return AsyncSqliteDb(db_file=self.place)

    def durability(self) -> str:
        return sqlite_settings(self.ask)


class AgnoOnPostgres(Agno):
    """PostgreSQL."""

    name = "Agno PostgresDb"
    engine = "postgres"
    requirements = ("agno>=3.1", "sqlalchemy[asyncio]>=2", "psycopg[binary]>=3.2")
    imports = "from agno.db.postgres import PostgresDb"

    def make(self) -> Any:
        from agno.db.postgres import PostgresDb

        return PostgresDb(db_url=self.place.replace("postgresql:", "postgresql+psycopg:"))

    def make_async(self) -> Any:
        from agno.db.postgres import AsyncPostgresDb

        return AsyncPostgresDb(db_url=self.place.replace("postgresql:", "postgresql+psycopg_async:"))

    def durability(self) -> str:
        return postgres_durability(self.ask)
