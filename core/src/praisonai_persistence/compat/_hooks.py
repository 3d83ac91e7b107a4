"""``praisonai.persistence.hooks``: agents whose turns an orchestrator stores, for where PraisonAI itself is missing."""

from __future__ import annotations

import asyncio
import functools
import uuid
from typing import TYPE_CHECKING, Any

from praisonai_persistence._arguments import named_arguments
from praisonai_persistence._closing import Closing

if TYPE_CHECKING:
    from praisonai_persistence.orchestrator import PersistenceOrchestrator
    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = ["PersistentAgent", "create_persistent_session", "wrap_agent_with_persistence"]


class _Turns:
    """Stores the turns of one agent in one session."""

    def __init__(
        self,
        agent: Any,
        orchestrator: PersistenceOrchestrator,
        session_id: str | None,
        user_id: str | None,
        resume: bool,
    ) -> None:
        self.agent = agent
        self.orchestrator = orchestrator
        self.session_id = session_id or f"session-{uuid.uuid4()}"
        own = getattr(agent, "user_id", None)
        self.user_id = user_id or (own if isinstance(own, str) and own else "default")
        self._resume = resume
        self._started = False

    def _resumed(self, history: list[ConversationMessage]) -> None:
        if self._resume and history:
            self.agent.chat_history = [{"role": message.role, "content": message.content} for message in history]
        self._started = True

    def chat(self, chat: Any, prompt: Any, args: Any, kwargs: Any) -> Any:
        call = self.orchestrator
        if not self._started:
            self._resumed(call.on_agent_start(self.agent, self.session_id, self.user_id, resume=self._resume))
        call.on_message(self.session_id, "user", _text(prompt))
        answer = chat(prompt, *args, **kwargs)
        if answer:
            call.on_message(self.session_id, "assistant", _text(answer))
        return answer

    async def achat(self, chat: Any, prompt: Any, args: Any, kwargs: Any) -> Any:
        call = self.orchestrator
        if not self._started:
            self._resumed(await call.aon_agent_start(self.agent, self.session_id, self.user_id, resume=self._resume))
        await call.aon_message(self.session_id, "user", _text(prompt))
        answer = await chat(prompt, *args, **kwargs)
        if answer:
            await call.aon_message(self.session_id, "assistant", _text(answer))
        return answer


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


@named_arguments
class PersistentAgent:
    """An agent whose ``chat`` and ``achat`` store what was said. Everything else of it is the agent's own.

    Args:
        agent: anything with ``chat(prompt, ...)``, and possibly ``achat``; its ``chat_history`` is set when a session
            is resumed.
        orchestrator: stores; it is not closed here.
        session_id: made up when it is not given.
        user_id: whose session it is; None: the agent's ``user_id``, or ``default``.
        auto_resume: whether what the session holds already becomes the agent's history.
    """

    def __init__(
        self,
        agent: Any,
        orchestrator: PersistenceOrchestrator,
        session_id: str | None = None,
        user_id: str | None = None,
        auto_resume: bool = True,
    ) -> None:
        self._turns = _Turns(agent, orchestrator, session_id, user_id, auto_resume)

    def __getattr__(self, name: str) -> Any:
        if name == "_turns":  # while this object is being made
            raise AttributeError(name)
        return getattr(self._turns.agent, name)

    @property
    def session_id(self) -> str:
        """The session."""
        return self._turns.session_id

    def chat(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """Have the agent answer; store the prompt before, and the answer after."""
        return self._turns.chat(self._turns.agent.chat, prompt, args, kwargs)

    async def achat(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """[chat][PersistentAgent.chat], awaited; an agent without ``achat`` answers on a thread."""
        agent = self._turns.agent
        chat = agent.achat if hasattr(agent, "achat") else functools.partial(asyncio.to_thread, agent.chat)
        return await self._turns.achat(chat, prompt, args, kwargs)

    def get_session(self) -> ConversationSession | None:
        """Return the session, or None before the first turn."""
        return self._turns.orchestrator.get_session(self.session_id)

    def get_messages(self, limit: int | None = None) -> list[ConversationMessage]:
        """Return the messages, oldest first; ``limit``: the latest ones."""
        return self._turns.orchestrator.get_messages(self.session_id, limit)

    def end_session(self) -> None:
        """Note the end in the session's metadata."""
        self._turns.orchestrator.on_agent_end(self._turns.agent, self.session_id)

    async def aend_session(self) -> None:
        """[end_session][PersistentAgent.end_session], awaited."""
        await self._turns.orchestrator.aon_agent_end(self._turns.agent, self.session_id)


@named_arguments
def wrap_agent_with_persistence(
    agent: Any,
    orchestrator: PersistenceOrchestrator,
    session_id: str | None = None,
    user_id: str | None = None,
    auto_resume: bool = True,
) -> Any:
    """Give an agent the methods of a [PersistentAgent][] and return it; arguments as there."""
    turns = _Turns(agent, orchestrator, session_id, user_id, auto_resume)
    chat, achat = agent.chat, getattr(agent, "achat", None)

    @functools.wraps(chat)
    def stored_chat(prompt: Any, *args: Any, **kwargs: Any) -> Any:
        return turns.chat(chat, prompt, args, kwargs)

    agent.chat = stored_chat
    if achat is not None:

        @functools.wraps(achat)
        async def stored_achat(prompt: Any, *args: Any, **kwargs: Any) -> Any:
            return await turns.achat(achat, prompt, args, kwargs)

        agent.achat = stored_achat
    persistent = PersistentAgent(agent, orchestrator, turns.session_id, turns.user_id, auto_resume)
    for name in ("get_session", "get_messages", "end_session", "aend_session"):
        setattr(agent, name, getattr(persistent, name))
    agent._persistence_orchestrator, agent._persistence_session_id = orchestrator, turns.session_id
    return agent


class _SessionAgent:
    name = "session-agent"


class PersistentSession(Closing):
    """A session that a program fills by itself; ``with`` starts and ends it."""

    def __init__(self, orchestrator: PersistenceOrchestrator, session_id: str | None, user_id: str | None) -> None:
        self.orchestrator = orchestrator
        self.session_id = session_id or f"session-{uuid.uuid4()}"
        self.user_id = user_id or "default"
        self._started = False

    def start(self, agent: Any = None) -> None:
        """Create the session unless it exists; calling it again is harmless."""
        if not self._started:
            self.orchestrator.on_agent_start(agent or _SessionAgent(), self.session_id, self.user_id)
            self._started = True

    def end(self, agent: Any = None) -> None:
        """Note the end in the session's metadata, if it was started."""
        if self._started:
            self.orchestrator.on_agent_end(agent or _SessionAgent(), self.session_id)
            self._started = False

    def persist_message(self, role: str, content: str) -> None:
        """Append a message."""
        self.orchestrator.on_message(self.session_id, role, content)

    def get_messages(self, limit: int | None = None) -> list[ConversationMessage]:
        """Return the messages, oldest first; ``limit``: the latest ones."""
        return self.orchestrator.get_messages(self.session_id, limit)

    def get_session(self) -> ConversationSession | None:
        """Return the session, or None."""
        return self.orchestrator.get_session(self.session_id)

    def __enter__(self) -> PersistentSession:
        self.start()
        return self

    def close(self) -> None:
        """Do the same as ``end``."""
        self.end()


@named_arguments
def create_persistent_session(
    orchestrator: PersistenceOrchestrator, session_id: str | None = None, user_id: str | None = None
) -> PersistentSession:
    """Return a session that a program fills by itself.

    Args:
        orchestrator: stores; it is not closed here.
        session_id: made up when it is not given.
        user_id: whose session it is; ``default`` when it is not given.
    """
    return PersistentSession(orchestrator, session_id, user_id)
