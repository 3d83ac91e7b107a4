"""Google's ADK: ``DatabaseSessionService.append_event``, with the session object that an application keeps.

Where another writer was first, the service refuses and says: reload the session. The contestant does, and tries again.
"""

from __future__ import annotations

from typing import Any

from base import AsyncConversations, owner, postgres_durability, sqlite_settings

APP = "app"


class ADK(AsyncConversations):
    """Sessions and events."""

    imports = "from google.adk.sessions import DatabaseSessionService"
    scheme = ""

    async def open_async(self) -> None:
        from google.adk.sessions import DatabaseSessionService

        self.sessions: dict[str, Any] = {}
        self.service: Any = DatabaseSessionService(f"{self.scheme}{self.place.partition('://')[2] or self.place}")

    async def close_async(self) -> None:
        await self.service.close()

    async def durability_async(self) -> str:
        async with self.service.db_engine.connect() as connection:
            return await connection.run_sync(lambda on: self.settings(lambda query: on.exec_driver_sql(query).scalar()))

    def settings(self, ask: Any) -> str:
        """Read the settings of the engine."""
        raise NotImplementedError

    async def create_async(self, session: str, user: str) -> None:
        self.sessions[session] = await self.service.create_session(
            app_name=APP, user_id=owner(session), session_id=session
        )

    async def load(self, session: str, count: int) -> Any:
        """Read a session with its latest events."""
        from google.adk.sessions.base_session_service import GetSessionConfig

        return await self.service.get_session(
            app_name=APP,
            user_id=owner(session),
            session_id=session,
            config=GetSessionConfig(num_recent_events=count),
        )

    async def append_async(self, session: str, text: str) -> None:
        from google.adk.errors import StaleSessionError
        from google.adk.events import Event
        from google.genai import types

        event = Event(author="user", content=types.Content(role="user", parts=[types.Part(text=text)]))
        for attempt in range(100):
            if session not in self.sessions:
                self.sessions[session] = await self.load(session, 0)
            try:
                await self.service.append_event(self.sessions[session], event)
                return
            except StaleSessionError:
                if attempt == 99:
                    raise
                del self.sessions[session]

    async def last_async(self, session: str, count: int) -> list[str]:
        found = await self.load(session, count)
        return [event.content.parts[0].text for event in found.events]

    async def newest_sessions_async(self, user: str, count: int) -> list[str]:
        found = await self.service.list_sessions(app_name=APP, user_id=user)
        return [session.id for session in reversed(found.sessions[-count:])]


class ADKOnSQLite(ADK):
    """SQLite, with aiosqlite."""

    name = "Google ADK DatabaseSessionService (aiosqlite)"
    engine = "sqlite"
    requirements = ("google-adk>=2.13", "sqlalchemy[asyncio]>=2", "aiosqlite>=0.20")
    scheme = "sqlite+aiosqlite:///"

    def settings(self, ask: Any) -> str:
        return sqlite_settings(ask)


class ADKOnPostgres(ADK):
    """PostgreSQL, with asyncpg."""

    name = "Google ADK DatabaseSessionService (asyncpg)"
    engine = "postgres"
    requirements = ("google-adk>=2.13", "sqlalchemy[asyncio]>=2", "asyncpg>=0.30")
    scheme = "postgresql+asyncpg://"

    def settings(self, ask: Any) -> str:
        return postgres_durability(ask)
