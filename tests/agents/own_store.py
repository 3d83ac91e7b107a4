"""A store of a program's own, with what PraisonAI asks of one; this file knows nothing of this project."""

from __future__ import annotations

from praisonai.persistence.conversation import AsyncConversationStore, ConversationMessage, ConversationSession


class CustomAsyncStore(AsyncConversationStore):
    def __init__(self):
        self.sessions, self.messages = {}, {}

    async def create_session(self, session: ConversationSession) -> ConversationSession:
        self.sessions[session.session_id] = session
        return session

    async def get_session(self, session_id):
        return self.sessions.get(session_id)

    async def update_session(self, session):
        self.sessions[session.session_id] = session
        return session

    async def delete_session(self, session_id):
        return self.sessions.pop(session_id, None) is not None

    async def list_sessions(self, user_id=None, agent_id=None, limit=50, offset=0):
        return list(self.sessions.values())[offset : offset + limit]

    async def add_message(self, session_id: str, message: ConversationMessage) -> ConversationMessage:
        self.messages.setdefault(session_id, []).append(message)
        return message

    async def get_messages(self, session_id, limit=None, before=None, after=None):
        return self.messages.get(session_id, [])[-(limit or 0) :]

    async def delete_messages(self, session_id, message_ids=None):
        return len(self.messages.pop(session_id, []))

    async def close(self) -> None:
        pass
