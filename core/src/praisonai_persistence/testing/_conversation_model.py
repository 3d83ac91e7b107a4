"""Random walks through a conversation store, each step compared with the in-memory reference."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.memory import MemoryConversationStore
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.testing._facade import Portal
from praisonai_persistence.testing.corpus import HOSTILE_JSON, HOSTILE_TEXTS, identical, shorten

if TYPE_CHECKING:
    from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["run_conversation_model"]

_EVERYTHING = 10_000
_SECONDS_TO_SHORTEN = 20
"""How long a failing walk is made shorter. The default of Hypothesis, five minutes, is long for a store that syncs."""

# The small ones: what is large is tested elsewhere, and would only slow the walks down.
_HOSTILE_JSON = [value for value in HOSTILE_JSON if len(ascii(value)) <= 100]

# Few ids, so that steps meet; all of them hostile to something.
_SESSION_IDS = ["s", "S", "\u00e9", "e\u0301"]
_session_ids = st.sampled_from(_SESSION_IDS)
_message_ids = st.sampled_from(["m", "M", "%", "\U0001f600"])
_users = st.sampled_from([None, "u", "U"])
_texts = st.none() | st.sampled_from(HOSTILE_TEXTS) | st.text(st.characters(), max_size=20)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_objects = st.none() | st.dictionaries(
    st.sampled_from(HOSTILE_TEXTS), _json | st.sampled_from(_HOSTILE_JSON), max_size=3
)
# To the microsecond; and no clock shows a negative zero.
_times = st.sampled_from([0.0, -1.0, 1.5, 1_700_000_000.25, 4e9]) | st.integers(-(10**15), 4 * 10**15).map(
    lambda n: n / 1e6
)
_rarely = st.integers(0, 2).map(lambda n: n == 1)
_seqs = st.none() | st.integers(-1, 5)

_sessions = st.builds(
    ConversationSession,
    session_id=_session_ids,
    user_id=_users,
    agent_id=_users,
    name=_texts,
    state=_objects,
    metadata=_objects,
    created_at=_times,
    updated_at=_times,
)
# Contents repeat, so that an append is sometimes the same one again.
_messages = st.builds(
    ConversationMessage,
    id=_message_ids,
    role=st.sampled_from(["user", "assistant"]),
    content=st.sampled_from(["", "same", None]) | _texts,
    tool_calls=st.sampled_from([None, [], [{"id": "c"}]]),
    tool_call_id=st.sampled_from([None, ""]),
    metadata=st.none() | st.just({}) | _objects,
    created_at=_times,
)


def run_conversation_model(spec: StoreSpec, mode: str, *, examples: int, steps: int) -> None:
    """Take ``examples`` walks of at most ``steps`` operations; the same ones in every run.

    Raises:
        AssertionError: the store and the reference differ; Hypothesis prints the shortest walk that shows it.
    """
    portal = Portal(spec, mode)
    stores = [portal.open(), portal.open()]
    options = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        with mock.patch.object(engine, "MAX_SHRINKING_SECONDS", _SECONDS_TO_SHORTEN, create=True):
            run_state_machine_as_test(lambda: _Walk(portal, stores), settings=options)  # type: ignore[arg-type]
    finally:
        portal.close()


class _Walk(RuleBasedStateMachine):
    """One walk. Two store objects take turns, so that neither may rely on what it remembers."""

    def __init__(self, portal: Portal, stores: list[Any]) -> None:
        super().__init__()
        self._portal = portal
        self._stores = stores
        self._chance = random.Random(0)  # the same turns in every walk, or none could be repeated
        self._reference = MemoryConversationStore()
        self._forked: dict[str, float] = {}  # created_at of the forks, which is the time of their making
        self._updated_at: dict[str, float] = {}
        self._count = 0

    @initialize()
    def start(self) -> None:
        for left in self._ask("list_sessions", limit=_EVERYTHING):
            self._ask("delete_session", left.session_id)
        for number, session_id in enumerate(_SESSION_IDS[:3]):
            session = ConversationSession(session_id, user_id="u", created_at=0.0)
            self.create_session(session)
            self.append_new(session_id, [1.0, 0.0, 2.0][:number])

    def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        store = self._chance.choice(self._stores)
        return self._portal.run(getattr(store, name)(*args, **kwargs))

    def _both(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Do a call on both; they return comparable values, or raise errors of one type."""
        found = expected = error = wanted = None
        try:
            expected = getattr(self._reference, name)(*args, **kwargs)
        except PersistenceError as raised:
            wanted = raised
        try:
            found = self._ask(name, *args, **kwargs)
        except PersistenceError as raised:
            error = raised
        assert type(error) is type(wanted), f"{name} raised {error!r}, the reference {wanted!r}"
        return found, expected

    def _same_sessions(self, found: Any, expected: Any) -> None:
        """Compare records; only times that are those of a call may differ."""
        assert (found is None) == (expected is None), f"{shorten(found)} is not {shorten(expected)}"
        if found is not None:
            was, wanted = found.to_dict(), expected.to_dict()
            del was["updated_at"], wanted["updated_at"]
            wanted["created_at"] = self._forked.get(expected.session_id, expected.created_at)
            assert identical(was, wanted), f"{was!a} is not {wanted!a}"

    def _same_messages(self, found: Any, expected: Any) -> None:
        was, wanted = ([message.to_dict() for message in messages or []] for messages in (found, expected))
        assert identical(was, wanted), f"{was!a} is not {wanted!a}"

    def _check(self, session_id: str, *, written: bool) -> None:
        """Compare all there is of one session, a part of it, and a page of the list of sessions."""
        found, expected = self._both("get_session", session_id)
        self._same_sessions(found, expected)
        stored, wanted = self._both("get_messages", session_id)
        self._same_messages(stored, wanted)
        count, number = self._both("count_messages", session_id)
        assert count == number
        before = self._updated_at.pop(session_id, None)
        if found is not None:
            self._updated_at[session_id] = after = found.updated_at
            if before is not None:
                assert after >= before, "updated_at goes back"
                assert after > before or not written, "a write did not raise updated_at"
        self._check_part(session_id, [message.created_at for message in wanted], [m.seq for m in wanted])
        self._check_page()

    def _check_part(self, session_id: str, times: list[float], seqs: list[int]) -> None:
        chance = self._chance
        bounds = {
            "limit": chance.choice([None, 0, 1, 2, 3]),
            "before": chance.choice([None, None, 0.0, *times]),
            "after": chance.choice([None, None, 0.0, *times]),
            "before_seq": chance.choice([None, None, 0, *seqs]),
            "after_seq": chance.choice([None, None, 0, *seqs]),
        }
        found, expected = self._both("get_messages", session_id, **bounds)
        assert [m.seq for m in found] == [m.seq for m in expected], f"get_messages with {bounds}"

    def _check_page(self) -> None:
        chance = self._chance
        user, agent = chance.choice([None, None, "u", "U"]), chance.choice([None, None, "u", "U"])
        found, expected = self._both("list_sessions", user, agent, _EVERYTHING)
        by_id = {session.session_id: session for session in expected}
        assert sorted(session.session_id for session in found) == sorted(by_id)
        for session in found:
            self._same_sessions(session, by_id[session.session_id])
        order = [(-session.updated_at, session.session_id) for session in found]
        assert order == sorted(order), "not the newest first, or ties not by id"
        limit, offset = chance.randint(0, 3), chance.randint(0, 2)
        page = self._ask("list_sessions", user, agent, limit, offset)
        assert [s.session_id for s in page] == [s.session_id for s in found][offset : offset + limit]

    def _stored(self, session_id: str) -> list[ConversationMessage]:
        return self._reference.get_messages(session_id)

    @rule(session=_sessions)
    def create_session(self, session: ConversationSession) -> None:
        self._same_sessions(*self._both("create_session", session))
        self._check(session.session_id, written=False)

    @rule(session=_sessions, off=st.sampled_from([None, 0, 0, 1, -1]))
    def update_session(self, session: ConversationSession, off: int | None) -> None:
        known = self._reference.get_session(session.session_id)
        version = None if off is None else (known.version if known else 1) + off
        found, expected = self._both("update_session", session, expected_version=version)
        self._same_sessions(found, expected)
        self._check(session.session_id, written=found is not None)

    @rule(session=_sessions)
    def upsert_session(self, session: ConversationSession) -> None:
        self._same_sessions(*self._both("upsert_session", session))
        self._check(session.session_id, written=True)

    @rule(session_id=_session_ids, really=_rarely)
    def delete_session(self, session_id: str, really: bool) -> None:
        if not really:
            return
        found, expected = self._both("delete_session", session_id)
        assert found is expected
        self._forked.pop(session_id, None)
        self._check(session_id, written=False)

    @rule(session_id=_session_ids, message=_messages)
    def add_message(self, session_id: str, message: ConversationMessage) -> None:
        count = len(self._stored(session_id))
        found, expected = self._both("add_message", session_id, message)
        self._same_messages(found and [found], expected and [expected])
        self._check(session_id, written=len(self._stored(session_id)) > count)

    @rule(session_id=_session_ids, messages=st.lists(_messages, min_size=1, max_size=4))
    def add_messages(self, session_id: str, messages: list[ConversationMessage]) -> None:
        count = len(self._stored(session_id))
        self._same_messages(*self._both("add_messages", session_id, messages))
        self._check(session_id, written=len(self._stored(session_id)) > count)

    @rule(session_id=_session_ids, times=st.lists(_times, max_size=3))
    def append_new(self, session_id: str, times: list[float]) -> None:
        for moment in times:
            self._count += 1
            self.add_message(session_id, ConversationMessage(id=str(self._count), created_at=moment))

    @rule(session_id=_session_ids, which=st.integers(0, 3), change=st.sampled_from([{}, {}, {"content": "other"}]))
    def add_again(self, session_id: str, which: int, change: dict[str, Any]) -> None:
        if stored := self._stored(session_id):
            again = stored[which % len(stored)].to_dict() | {"created_at": 7.0} | change
            batch = [ConversationMessage(**again), ConversationMessage(id="new", created_at=0.0)]
            self.add_message(session_id, batch[0])
            self.add_messages(session_id, batch)

    @rule(session_id=_session_ids, which=st.none() | st.lists(st.integers(0, 4), max_size=3))
    def delete_messages(self, session_id: str, which: list[int] | None) -> None:
        known = ["m", *(message.id for message in reversed(self._stored(session_id)))]
        ids = None if which is None else [known[number % len(known)] for number in which]
        found, expected = self._both("delete_messages", session_id, ids)
        assert found == expected
        self._check(session_id, written=found > 0)

    @rule(session_id=_session_ids, new=_session_ids, up_to=_seqs, free=st.booleans())
    def fork_session(self, session_id: str, new: str, up_to: int | None, free: bool) -> None:
        if "fork" not in self._stores[0].capabilities:
            return
        if free and new != session_id:
            self.delete_session(new, True)
        found, expected = self._both("fork_session", session_id, up_to, new)
        if found is not None:
            self._forked[new] = found.created_at
        self._same_sessions(found, expected)
        self._check(new, written=False)
        self._check(session_id, written=False)
