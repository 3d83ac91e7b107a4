"""The orchestrator over stores of both modes: who is awaited, who runs on a thread, what a missing store means."""

from __future__ import annotations

import asyncio
import inspect
import threading
from types import SimpleNamespace

import pytest

from praisonai_persistence import (
    CollectionNotFoundError,
    ConfigurationError,
    DuplicateMessageError,
    KnowledgeDocument,
    PersistenceConfig,
    PersistenceOrchestrator,
    SessionNotFoundError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.memory import (
    AsyncMemoryConversationStore,
    AsyncMemoryKnowledgeStore,
    AsyncMemoryStateStore,
    MemoryConversationStore,
    MemoryKnowledgeStore,
    MemoryStateStore,
)

AGENT = SimpleNamespace(name="Assistant")


class Calls:
    """Calls an orchestrator's methods in one mode."""

    def __init__(self, orchestrator, awaited):
        self.orchestrator = orchestrator
        self._awaited = awaited
        self._loop = asyncio.new_event_loop() if awaited else None

    def __getattr__(self, name):
        if not self._awaited:
            return getattr(self.orchestrator, name)
        method = getattr(self.orchestrator, f"a{name}")
        assert inspect.iscoroutinefunction(method)
        return lambda *args, **kwargs: self._loop.run_until_complete(method(*args, **kwargs))

    def end(self):
        if self._loop is not None:
            self._loop.close()


@pytest.fixture(params=["sync", "awaited"])
def mode(request):
    made = []

    def mode(orchestrator):
        made.append(Calls(orchestrator, request.param == "awaited"))
        return made[-1]

    yield mode
    for calls in made:
        calls.end()


@pytest.fixture(params=["sync stores", "async stores"])
def calls(request, mode):
    if request.param == "sync stores":
        stores = MemoryConversationStore(), MemoryKnowledgeStore(), MemoryStateStore()
    else:
        stores = AsyncMemoryConversationStore(), AsyncMemoryKnowledgeStore(), AsyncMemoryStateStore()
    return mode(PersistenceOrchestrator(*stores))


def test_the_stores_are_at_hand_as_they_were_given_or_named(tmp_path):
    given = AsyncMemoryConversationStore(), MemoryKnowledgeStore(), AsyncMemoryStateStore()
    made = PersistenceOrchestrator(*given)
    assert (made.conversation, made.knowledge, made.state) == given
    with PersistenceOrchestrator.from_config(PersistenceConfig(state_url="memory://")) as named:
        named.set_state("k", 1)
        assert (named.conversation, named.knowledge, named.state.get("k")) == (None, None, 1)
        state = named.state
    with pytest.raises(StoreClosedError):
        state.get("k")


def test_a_conversation(calls):
    assert calls.on_agent_start(AGENT, "s", "ada") == []
    first = calls.on_message("s", "user", "hello", metadata={"a": 1}, message_id="m1")
    assert (first.seq, first.id) == (1, "m1")
    assert calls.on_message("s", "user", "hello", metadata={"a": 1}, message_id="m1").seq == 1
    with pytest.raises(DuplicateMessageError):
        calls.on_message("s", "user", "other", message_id="m1")
    calls.on_message("s", "assistant", None, [{"id": "c"}])
    calls.on_message("s", "tool", "r", None, "c")
    assert [message.role for message in calls.on_agent_start(AGENT, "s")] == ["user", "assistant", "tool"]
    assert calls.on_agent_start(AGENT, "s", resume=False) == []
    assert [message.tool_call_id for message in calls.get_messages("s", limit=1)] == ["c"]
    calls.on_agent_end(AGENT, "s", {"x": 1})
    session = calls.get_session("s")
    assert (session.user_id, session.agent_id, session.metadata["x"]) == ("ada", "Assistant", 1)
    assert [found.session_id for found in calls.list_sessions("ada")] == ["s"]
    assert calls.list_sessions("grace") == []
    assert calls.delete_session("s") is True
    assert calls.get_session("s") is None
    with pytest.raises(SessionNotFoundError):
        calls.on_agent_end(AGENT, "s")
    calls.on_agent_start(AGENT)
    made_up = calls.orchestrator.current_session_id
    assert calls.get_session(made_up).session_id == made_up


def test_state_and_knowledge(calls):
    calls.set_state("k", [1], ttl=60)
    assert calls.get_state("k") == [1]
    assert (calls.delete_state("k"), calls.delete_state("k")) == (True, False)
    with pytest.raises(CollectionNotFoundError):
        calls.add_knowledge([KnowledgeDocument("d", "text", [1.0, 0.0])])


def test_a_context():
    knowledge = MemoryKnowledgeStore()
    knowledge.create_collection("default", 2)
    one = PersistenceOrchestrator(MemoryConversationStore(), knowledge)
    one.add_knowledge([KnowledgeDocument("a", "near", [1.0, 0.0], {"n": 1}), KnowledgeDocument("b", "far", [0.0, 1.0])])
    for number in range(3):
        one.on_message("s", "user", str(number))
    assert [found.id for found in one.retrieve_knowledge([1.0, 0.0], filters={"n": 1})] == ["a"]
    assert one.build_context("s", [1.0, 0.0], history_limit=2, knowledge_limit=1) == {
        "history": [{"role": "user", "content": "1"}, {"role": "user", "content": "2"}],
        "knowledge": [{"content": "near", "metadata": {"n": 1}}],
    }
    assert one.build_context("s")["knowledge"] == []


def test_without_stores(mode):
    calls = mode(PersistenceOrchestrator())
    assert calls.on_agent_start(AGENT, "s") == []
    assert calls.on_message("s", "user", "x") is None
    assert calls.on_agent_end(AGENT, "s") is None
    assert calls.get_session("s") is None
    assert calls.get_messages("s") == calls.list_sessions() == calls.retrieve_knowledge([1.0]) == []
    assert calls.get_state("k") is None
    assert not calls.delete_state("k")
    for refused in (lambda: calls.set_state("k", 1), lambda: calls.add_knowledge([])):
        with pytest.raises(UnsupportedOperationError, match="has no"):
            refused()


def test_isinstance_decides_who_is_awaited_and_who_runs_on_a_thread():
    seen = {}

    class Sync(MemoryConversationStore):
        def get_session(self, session_id):
            seen["sync"] = threading.get_ident()
            return super().get_session(session_id)

    class Async(AsyncMemoryConversationStore):
        async def get_session(self, session_id):
            seen["async"] = threading.get_ident()
            return await super().get_session(session_id)

    async def main():
        for store in (Sync(), Async()):
            await PersistenceOrchestrator(store).aget_session("s")

    asyncio.run(main())
    assert seen["async"] == threading.get_ident() != seen["sync"]
    PersistenceOrchestrator(Async()).get_session("s")
    assert seen["async"] != threading.get_ident()


def test_from_the_environment():
    environ = {"PRAISON_CONVERSATION_URL": "memory://orchestrator-test", "PRAISON_STATE_URL": "memory://"}
    with MemoryConversationStore(name="orchestrator-test") as store:
        with PersistenceOrchestrator.from_env(environ) as one:
            one.on_message("s", "user", "x")
            one.set_state("k", 1)
            assert store.count_messages("s") == 1
        with pytest.raises(StoreClosedError):
            one.get_state("k")

        async def main():
            config = PersistenceConfig.from_env(environ)
            async with PersistenceOrchestrator.from_config(config) as other:
                await other.aon_message("s", "user", "y")
                with pytest.raises(UnsupportedOperationError, match=r"await aclose\(\)"):
                    other.close()
            with pytest.raises(StoreClosedError):
                await other.aget_session("s")
            await other.aclose()

        asyncio.run(main())
        assert store.count_messages("s") == 2


def test_what_cannot_be():
    with pytest.raises(ConfigurationError, match="MemoryStateStore is no conversation store"):
        PersistenceOrchestrator(MemoryStateStore())
    with pytest.raises(ConfigurationError, match="was given, and a URL"):
        PersistenceOrchestrator(state_store=MemoryStateStore(), config=PersistenceConfig(state_url="memory://"))
