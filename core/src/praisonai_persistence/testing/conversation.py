"""The suite of conversation stores: the clauses C01 to C27; see ``harness`` for how to use it."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from praisonai_persistence.errors import (
    ConflictError,
    ConnectionFailedError,
    DuplicateMessageError,
    InvalidIdentifierError,
    InvalidValueError,
    PersistenceError,
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.testing._conversation_model import run_conversation_model
from praisonai_persistence.testing._schema import check_schema
from praisonai_persistence.testing._watch import Watch
from praisonai_persistence.testing.corpus import (
    HOSTILE_IDS,
    HOSTILE_JSON,
    HOSTILE_OBJECTS,
    HOSTILE_TEXTS,
    LARGE_TEXTS,
    REFUSED_IDENTIFIERS,
    REFUSED_IDS,
    REFUSED_JSON,
    REFUSED_NUMBERS,
    identical,
    nested,
    shorten,
)
from praisonai_persistence.testing.harness import (
    Moments,
    OpenStore,
    Race,
    Spawn,
    Unsupported,
    declares,
    needs_fixture,
    only,
    raw,
    split,
)
from praisonai_persistence.testing.lifecycle import LifecycleSuite
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["ConversationStoreSuite"]

_BODIES = "praisonai_persistence.testing._conversation_bodies"
_NOW = 1_700_000_000.25
_FAR_FUTURE = 4_102_444_800.0  # the year 2100
_EVERYTHING = 10_000

Message = ConversationMessage
Session = ConversationSession


def _full_session(session_id: str = "s") -> ConversationSession:
    """A session with a value in every field."""
    return Session(
        session_id,
        user_id="user",
        agent_id="agent",
        name="a name",
        state={"step": 1, "nested": {"list": [1, 2.5, None, True, "x"]}},
        metadata={"tags": ["a", "b"], "count": 3},
        created_at=_NOW,
        updated_at=_NOW + 5,
    )


def _full_message(message_id: str = "m", content: str | None = "content") -> ConversationMessage:
    """A message with a value in every field."""
    return Message(
        id=message_id,
        role="assistant",
        content=content,
        tool_calls=[{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        tool_call_id="call_0",
        metadata={"model": "m", "tokens": 12, "nested": {"list": [1, 2.5, None, True, "x"]}},
        created_at=_NOW,
    )


def _same_session(found: ConversationSession | None, expected: ConversationSession, **changes: Any) -> bool:
    if found is None:
        return False
    return identical(found.to_dict(), {**expected.to_dict(), **changes})


def _same_message(found: ConversationMessage, expected: ConversationMessage, **changes: Any) -> bool:
    return identical(found.to_dict(), {**expected.to_dict(), **changes})


def _ids(messages: list[ConversationMessage]) -> list[str]:
    return [message.id for message in messages]


def _seqs(messages: list[ConversationMessage]) -> list[int]:
    return [message.seq for message in messages]


async def _append(store: Any, session_id: str, *ids: str) -> list[ConversationMessage]:
    """Append small messages one by one."""
    return [await store.add_message(session_id, Message(id=item, content=f"content of {item}")) for item in ids]


async def _unchanged(store: Any, session: ConversationSession, messages: int) -> None:
    """Assert that refused calls left a session as it was."""
    assert _same_session(await store.get_session(session.session_id), session), "a refused call changed the session"
    assert await store.count_messages(session.session_id) == messages, "a refused call changed the messages"


class ConversationStoreSuite(LifecycleSuite, suite=True):
    """What every conversation store promises."""

    kind = "conversation"
    model_examples: ClassVar[int] = 30
    """How many random walks the model test takes on each colour."""
    model_steps: ClassVar[int] = 40
    """How many operations a walk has at most."""

    # ------------------------------------------------------------------------------------------------------- sessions

    async def test_c01_every_field_comes_back(self, store: Any) -> None:
        session = _full_session()
        created = await store.create_session(session)
        assert _same_session(created, session, version=1)
        assert _same_session(await store.get_session("s"), created)

    async def test_c01_absent_and_empty_fields_stay_what_they_are(self, store: Any) -> None:
        values: list[Any] = [None, {}, {"x": {}}]
        for number, (name, value) in enumerate(itertools.product([None, "", "x"], values)):
            session = Session(str(number), name=name, state=value, metadata=value)
            assert _same_session(await store.create_session(session), session)
            assert _same_session(await store.get_session(str(number)), session)

    async def test_c01_the_store_sets_the_version(self, store: Any) -> None:
        created = await store.create_session(Session("s", version=7))
        assert created.version == 1
        assert (await store.get_session("s")).version == 1

    async def test_c01_times_are_kept_to_the_last_digit(self, store: Any) -> None:
        times = [0.0, 0.1 + 0.2, 1.0, 1_700_000_000.123456, 1_700_000_000.1234567, 4_102_444_800.999999, -1.5]
        for number, moment in enumerate(times):
            session = Session(str(number), created_at=moment, updated_at=moment)
            await store.create_session(session)
            await store.add_message(str(number), Message(id="m", created_at=moment))
            assert (await store.get_session(str(number))).created_at == moment
            assert (await store.get_messages(str(number)))[0].created_at == moment
        # updated_at too, where nothing was written since
        await store.create_session(Session("u", created_at=1.0, updated_at=1_700_000_000.1234567))
        assert (await store.get_session("u")).updated_at == 1_700_000_000.1234567

    async def test_c01_whole_seconds_come_back_as_floats(self, store: Any) -> None:
        created = await store.create_session(Session("s", created_at=1_700_000_000, updated_at=1_700_000_001))
        for session in (created, await store.get_session("s")):
            assert isinstance(session.created_at, float)
            assert session.created_at == 1_700_000_000.0
            assert session.updated_at == 1_700_000_001.0

    async def test_c01_the_argument_is_left_alone(self, store: Any) -> None:
        session = _full_session()
        before = _full_session().to_dict()
        for call in (store.create_session, store.update_session, store.upsert_session):
            returned = await call(session)
            assert identical(session.to_dict(), before), f"{call.__name__} changed its argument"
            assert returned is not session, "a call returned the caller's own record"

    async def test_c01_what_was_returned_is_the_callers_own(self, store: Any) -> None:
        session: Any = _full_session()
        created = await store.create_session(session)
        expected = created.to_dict()
        expected["state"], expected["metadata"] = _full_session().state, _full_session().metadata
        for touched in (session, created, await store.get_session("s"), (await store.list_sessions())[0]):
            touched.name = "changed by the caller"
            touched.state["step"] = "changed by the caller"
            touched.state["nested"]["list"].append("changed by the caller")
            touched.metadata.clear()
            assert identical((await store.get_session("s")).to_dict(), expected), (
                "the caller's record is the stored one"
            )

    async def test_c02_an_existing_session_is_left_alone(self, store: Any) -> None:
        created = await store.create_session(_full_session())
        with pytest.raises(SessionExistsError):
            await store.create_session(Session("s", user_id="other", name="other", state={"other": 1}))
        assert _same_session(await store.get_session("s"), created)

    async def test_c02_its_messages_too(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", "a", "b")
        with pytest.raises(SessionExistsError):
            await store.create_session(Session("s"))
        assert _ids(await store.get_messages("s")) == ["a", "b"]

    async def test_c02_of_many_creators_one_wins(self, store: Any, race: Race) -> None:
        async def body(worker: int) -> Any:
            return await store.create_session(Session("s", name=str(worker)))

        created, refused = split(await race(body), SessionExistsError)
        assert len(created) == 1
        assert len(refused) == 7
        assert _same_session(await store.get_session("s"), created[0])

    async def test_c03_an_unknown_session_is_none(self, store: Any) -> None:
        assert await store.get_session("unknown") is None
        await store.create_session(Session("known"))
        assert await store.get_session("unknown") is None
        assert await store.get_session("know") is None
        assert await store.get_session("known ") is None

    async def test_c04_five_fields_are_replaced_and_the_rest_kept(self, store: Any) -> None:
        created = await store.create_session(_full_session())
        change = Session(
            "s",
            user_id="user 2",
            agent_id="agent 2",
            name="name 2",
            state={"step": 2},
            metadata=None,
            created_at=1.0,
            updated_at=2.0,
            version=99,
        )
        updated = await store.update_session(change)
        assert updated.version == 2
        assert updated.created_at == created.created_at
        assert updated.updated_at > created.updated_at
        assert _same_session(updated, change, created_at=created.created_at, updated_at=updated.updated_at, version=2)
        assert _same_session(await store.get_session("s"), updated)

    async def test_c04_fields_can_be_emptied(self, store: Any) -> None:
        await store.create_session(_full_session())
        await store.update_session(Session("s"))
        found = await store.get_session("s")
        assert (found.user_id, found.agent_id, found.name, found.state, found.metadata) == (None,) * 5

    async def test_c04_each_update_raises_version_and_updated_at(self, store: Any) -> None:
        last = await store.create_session(_full_session())
        for _ in range(5):
            updated = await store.update_session(last)
            assert updated.version == last.version + 1
            assert updated.updated_at > last.updated_at
            last = updated
        assert _same_session(await store.get_session("s"), last)

    async def test_c04_an_unknown_session_is_an_error(self, store: Any) -> None:
        for expected_version in (None, 1):
            with pytest.raises(SessionNotFoundError):
                await store.update_session(Session("unknown"), expected_version=expected_version)
        assert await store.get_session("unknown") is None
        assert await store.list_sessions() == []

    async def test_c04_messages_and_other_sessions_stay(self, store: Any) -> None:
        await store.create_session(Session("s"))
        other = await store.create_session(_full_session("other"))
        await _append(store, "s", "a", "b")
        await store.update_session(Session("s", name="new"))
        assert _ids(await store.get_messages("s")) == ["a", "b"]
        assert _same_session(await store.get_session("other"), other)

    async def test_c04_no_update_is_lost(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))

        async def body(worker: int) -> list[int]:
            return [(await store.update_session(Session("s", name=f"{worker} {n}"))).version for n in range(5)]

        versions, _ = split(await race(body))
        assert sorted(itertools.chain(*versions)) == list(range(2, 42)), "two updates returned the same version"
        assert (await store.get_session("s")).version == 41

    async def test_c05_another_version_is_a_conflict(self, store: Any) -> None:
        await store.create_session(_full_session())
        current = await store.update_session(_full_session())
        for wrong in (0, 1, 3, -1, 10**6):
            with pytest.raises(ConflictError):
                await store.update_session(Session("s", name="lost"), expected_version=wrong)
            assert _same_session(await store.get_session("s"), current)

    async def test_c05_the_stored_version_is_none(self, store: Any) -> None:
        session = await store.create_session(Session("s"))
        for _ in range(3):
            session = await store.update_session(session, expected_version=session.version)
        assert session.version == 4

    async def test_c05_a_message_does_not_change_the_version(self, store: Any) -> None:
        session = await store.create_session(Session("s"))
        await _append(store, "s", "a")
        await store.delete_messages("s")
        updated = await store.update_session(Session("s", name="x"), expected_version=session.version)
        assert updated.version == 2

    async def test_c05_of_racing_writers_exactly_one_wins(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        for version in range(1, 6):

            async def body(worker: int, version: int = version) -> Any:
                return await store.update_session(Session("s", name=str(worker)), expected_version=version)

            won, lost = split(await race(body), ConflictError)
            assert len(won) == 1, f"{len(won)} writers won"
            assert len(lost) == 7
            assert _same_session(await store.get_session("s"), won[0])

    async def test_c06_creates_then_updates(self, store: Any) -> None:
        session = _full_session()
        created = await store.upsert_session(session)
        assert _same_session(created, session, version=1)
        await _append(store, "s", "a")
        change = Session("s", user_id="user 2", name="name 2", state=None, created_at=1.0, updated_at=2.0, version=9)
        updated = await store.upsert_session(change)
        assert updated.updated_at > created.updated_at
        assert _same_session(updated, change, created_at=created.created_at, updated_at=updated.updated_at, version=2)
        assert _same_session(await store.get_session("s"), updated)
        assert _ids(await store.get_messages("s")) == ["a"]
        assert len(await store.list_sessions()) == 1

    async def test_c06_racing_upserts_all_succeed(self, store: Any, race: Race) -> None:
        for session_id in ("first", "second", "third"):

            async def body(worker: int, session_id: str = session_id) -> Any:
                return await store.upsert_session(Session(session_id, name=str(worker)))

            sessions, _ = split(await race(body))
            assert sorted(session.version for session in sessions) == list(range(1, 9))
            last = max(sessions, key=lambda session: session.version)
            assert _same_session(await store.get_session(session_id), last)
        assert len(await store.list_sessions()) == 3

    async def test_c07_true_once(self, store: Any) -> None:
        await store.create_session(_full_session())
        assert await store.delete_session("s") is True
        assert await store.delete_session("s") is False
        assert await store.delete_session("unknown") is False
        assert await store.get_session("s") is None
        assert await store.list_sessions() == []

    async def test_c07_the_messages_go_too(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", "a", "b", "c")
        await store.delete_session("s")
        assert await store.get_messages("s") == []
        assert await store.count_messages("s") == 0
        await store.create_session(Session("s"))
        assert await store.get_messages("s") == [], "a new session has the messages of a deleted one"
        assert await store.count_messages("s") == 0
        again = await _append(store, "s", "b")
        assert _seqs(again) == [1]

    async def test_c07_other_sessions_stay(self, store: Any) -> None:
        for session_id in ("s", "s2", "S", "s_", "s%"):
            await store.create_session(Session(session_id))
            await _append(store, session_id, "a")
        await store.delete_session("s")
        for session_id in ("s2", "S", "s_", "s%"):
            assert await store.get_session(session_id) is not None
            assert _ids(await store.get_messages(session_id)) == ["a"]

    async def test_c07_of_many_deleters_one_wins(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", "a", "b")

        async def body(worker: int) -> Any:
            return await store.delete_session("s")

        deleted, _ = split(await race(body))
        assert sorted(deleted) == [False] * 7 + [True]

    async def _many_sessions(self, store: Any) -> list[ConversationSession]:
        """Sessions of several users and agents, some with the same updated_at; in the order that a list must have."""
        chance = random.Random(8)
        ids = ["a", "B", "b", "A", "_", "-", "1", "10", "2", "\u00e9", "z", "~", "\uffee", "\U0001f600", " "]
        sessions = [
            Session(
                f"{name}{number}",
                user_id=chance.choice([None, "u1", "u2", "U1", "u%", "u_"]),
                agent_id=chance.choice([None, "a1", "a2"]),
                created_at=_NOW,
                updated_at=_NOW + chance.randint(0, 9) / 2,
            )
            for number in range(4)
            for name in ids
        ]
        for session in sessions:
            await store.create_session(session)
        return sorted(sessions, key=lambda session: (-session.updated_at, session.session_id))

    async def test_c08_newest_first_and_ties_by_id(self, store: Any) -> None:
        expected = await self._many_sessions(store)
        assert [s.session_id for s in await store.list_sessions()] == [s.session_id for s in expected]
        assert all(map(_same_session, await store.list_sessions(), expected))

    async def test_c08_filters_are_anded(self, store: Any) -> None:
        everything = await self._many_sessions(store)
        users = [None, "u1", "u2", "U1", "u%", "u_", "u", "unknown"]
        for user, agent in itertools.product(users, [None, "a1", "a2", "unknown"]):
            expected = [
                session.session_id
                for session in everything
                if user in {None, session.user_id} and agent in {None, session.agent_id}
            ]
            found = [s.session_id for s in await store.list_sessions(user_id=user, agent_id=agent)]
            assert found == expected, f"user_id={user!r}, agent_id={agent!r}"
            assert [s.session_id for s in await store.list_sessions(user, agent)] == expected

    async def test_c08_pages_follow_the_filters(self, store: Any) -> None:
        everything = await self._many_sessions(store)
        for user in (None, "u1"):
            expected = [s.session_id for s in everything if user in {None, s.user_id}]
            for limit, offset in itertools.product([1, 2, 7, 1000], [0, 1, 3, 59, 60, 1000]):
                found = await store.list_sessions(user_id=user, limit=limit, offset=offset)
                assert [s.session_id for s in found] == expected[offset : offset + limit], f"{limit=}, {offset=}"

    async def test_c08_a_limit_of_0_is_an_empty_list(self, store: Any) -> None:
        await store.create_session(Session("s", user_id="u"))
        assert await store.list_sessions(limit=0) == []
        assert await store.list_sessions("u", limit=0, offset=0) == []

    async def test_c08_negative_numbers_are_refused(self, store: Any) -> None:
        await store.create_session(Session("s"))
        for page in ({"limit": -1}, {"offset": -1}, {"limit": -1, "offset": -1}, {"limit": -(2**70)}):
            with pytest.raises(ValueError):
                await store.list_sessions(**page)

    async def test_c08_a_hundred_by_default(self, store: Any) -> None:
        for number in range(103):
            await store.create_session(Session(str(number), created_at=float(number)))
        assert [s.session_id for s in await store.list_sessions()] == [str(n) for n in range(102, 2, -1)]
        assert [s.session_id for s in await store.list_sessions(offset=100)] == ["2", "1", "0"]

    async def test_c08_a_write_moves_a_session_to_the_front(self, store: Any) -> None:
        for number in range(4):
            await store.create_session(Session(str(number), created_at=_NOW + number))
        await store.update_session(Session("1"))
        await _append(store, "0", "a")
        await store.add_messages("2", [Message(id="a")])
        assert [s.session_id for s in await store.list_sessions()] == ["2", "0", "1", "3"]

    # ------------------------------------------------------------------------------------------------------- messages

    async def test_c09_numbers_are_1_2_3(self, store: Any) -> None:
        await store.create_session(Session("s"))
        added = await _append(store, "s", "a", "b", "c")
        added += await store.add_messages("s", [Message(id="d"), Message(id="e")])
        added += await _append(store, "s", "f")
        assert _seqs(added) == [1, 2, 3, 4, 5, 6]
        stored = await store.get_messages("s")
        assert _ids(stored) == list("abcdef")
        assert _seqs(stored) == [1, 2, 3, 4, 5, 6]

    async def test_c09_every_field_comes_back(self, store: Any) -> None:
        await store.create_session(Session("s"))
        message = _full_message()
        added = await store.add_message("s", message)
        assert _same_message(added, message, session_id="s", seq=1)
        assert _same_message((await store.get_messages("s"))[0], added)
        batch = [_full_message("m 2"), _full_message("m 3", None)]
        both = await store.add_messages("s", batch)
        for found in (both, await store.get_messages("s", 2)):
            assert _same_message(found[0], batch[0], session_id="s", seq=2)
            assert _same_message(found[1], batch[1], session_id="s", seq=3)

    async def test_c09_the_callers_number_is_ignored(self, store: Any) -> None:
        await store.create_session(Session("s"))
        added = await store.add_message("s", Message(id="a", seq=17, session_id="s"))
        added_too = await store.add_messages("s", [Message(id="b", seq=1), Message(id="c", seq=1)])
        assert _seqs([added, *added_too]) == [1, 2, 3]

    async def test_c09_another_sessions_message_is_refused(self, store: Any) -> None:
        created = await store.create_session(Session("s"))
        await store.create_session(Session("other"))
        with pytest.raises(ValueError):
            await store.add_message("s", Message(session_id="other"))
        await _unchanged(store, created, 0)

    async def test_c09_the_order_is_not_that_of_the_clock(self, store: Any) -> None:
        await store.create_session(Session("s"))
        for number, moment in enumerate([_NOW, _NOW - 10, _NOW + 10, _NOW, 0.0, _FAR_FUTURE, _NOW]):
            await store.add_message("s", Message(id=str(number), created_at=moment))
        await store.add_messages("s", [Message(id="7", created_at=9.0), Message(id="8", created_at=8.0)])
        assert _ids(await store.get_messages("s")) == list("012345678")
        assert _ids(await store.get_messages("s", limit=3)) == list("678")

    async def test_c09_each_session_counts_for_itself(self, store: Any) -> None:
        for session_id in ("s", "t"):
            await store.create_session(Session(session_id))
        added = [await store.add_message(session_id, Message()) for session_id in ("s", "t", "s", "t", "t")]
        assert _seqs(added) == [1, 1, 2, 2, 3]

    async def test_c09_the_argument_is_left_alone(self, store: Any) -> None:
        await store.create_session(Session("s"))
        single, batch = _full_message("1"), [_full_message("2"), _full_message("3")]
        returned = [await store.add_message("s", single), *await store.add_messages("s", batch)]
        assert identical(single.to_dict(), _full_message("1").to_dict())
        assert [message.to_dict() for message in batch] == [_full_message(n).to_dict() for n in "23"]
        assert not any(a is b for a, b in zip(returned, [single, *batch], strict=True))

    async def test_c09_what_was_returned_is_the_callers_own(self, store: Any) -> None:
        await store.create_session(Session("s"))
        message: Any = _full_message()
        added = await store.add_message("s", message)
        again = await store.add_message("s", _full_message())
        expected = {**_full_message().to_dict(), "session_id": "s", "seq": 1}
        for touched in (message, added, again, (await store.get_messages("s"))[0]):
            touched.content = "changed by the caller"
            touched.tool_calls[0]["function"]["name"] = "changed by the caller"
            touched.tool_calls.append({})
            touched.metadata["nested"]["list"].clear()
            stored = (await store.get_messages("s"))[0]
            assert identical(stored.to_dict(), expected), "the caller's record is the stored one"

    async def test_c09_concurrent_writers_leave_no_gaps(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))

        async def body(worker: int) -> list[int]:
            numbers = []
            for turn in range(10):
                if turn % 3:
                    numbers.append((await store.add_message("s", Message(content=f"{worker} {turn}"))).seq)
                else:
                    batch = [Message(content=f"{worker} {turn} {part}") for part in range(3)]
                    numbers += _seqs(await store.add_messages("s", batch))
            return numbers

        numbers, _ = split(await race(body))
        assert all(own == sorted(own) for own in numbers)
        assert sorted(itertools.chain(*numbers)) == list(range(1, 8 * 18 + 1)), "numbers repeat or are left out"
        assert _seqs(await store.get_messages("s")) == list(range(1, 8 * 18 + 1))

    async def test_c10_no_message_without_its_session(self, store: Any) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.add_message("s", _full_message())
        with pytest.raises(SessionNotFoundError):
            await store.add_messages("s", [_full_message(n) for n in "ab"])
        assert await store.get_session("s") is None
        assert await store.count_messages("s") == 0
        await store.create_session(Session("s"))
        assert await store.get_messages("s") == [], "a refused message was written"
        assert _seqs(await _append(store, "s", "a")) == [1]

    async def test_c10_nor_after_it_was_deleted(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", "a")
        await store.delete_session("s")
        with pytest.raises(SessionNotFoundError):
            await _append(store, "s", "b")
        with pytest.raises(SessionNotFoundError):  # not even one that was there
            await _append(store, "s", "a")
        assert await store.get_messages("s") == []

    async def test_c10_racing_with_its_deletion(self, store: Any, race: Race) -> None:
        for turn in range(3):
            session_id = f"s{turn}"
            await store.create_session(Session(session_id))

            async def body(worker: int, session_id: str = session_id) -> Any:
                if worker == 4:
                    return await store.delete_session(session_id)
                return [await store.add_message(session_id, Message()) for _ in range(3)]

            split(await race(body), SessionNotFoundError)
            assert await store.get_messages(session_id) == []
            await store.create_session(Session(session_id))
            assert await store.get_messages(session_id) == [], "a message was written without its session"

    async def test_c11_a_repeated_append_adds_nothing(self, store: Any) -> None:
        await store.create_session(Session("s"))
        first = await store.add_message("s", _full_message())
        await _append(store, "s", "b")
        retried = _full_message()
        retried.created_at += 100  # a retry that builds its message anew
        for again in (await store.add_message("s", retried), *await store.add_messages("s", [retried])):
            assert _same_message(again, first)
        assert _ids(await store.get_messages("s")) == ["m", "b"]
        assert _same_message((await store.get_messages("s"))[0], first)
        assert _seqs(await _append(store, "s", "c")) == [3], "a repeated append used up a number"

    async def test_c11_hostile_content_repeated_is_equal(self, store: Any) -> None:
        await store.create_session(Session("s"))
        for number, text in enumerate(HOSTILE_TEXTS):
            fields: dict[str, Any] = {
                "id": str(number), "role": text, "content": text, "tool_call_id": text,
                "tool_calls": [{text: text}], "metadata": {text: [text, None, 0.1 + 0.2, 10**30]},
            }  # fmt: skip
            first = await store.add_message("s", Message(**fields))
            assert _same_message(await store.add_message("s", Message(**fields)), first), shorten(text)
        assert await store.count_messages("s") == len(HOSTILE_TEXTS)

    async def test_c11_the_order_of_keys_is_no_difference(self, store: Any) -> None:
        await store.create_session(Session("s"))
        one: dict[str, Any] = {"a": 1, "b": {"c": 2, "d": 3}}
        other: dict[str, Any] = {"b": {"d": 3, "c": 2}, "a": 1}
        await store.add_message("s", Message(id="m", metadata=one, tool_calls=[one]))
        await store.add_message("s", Message(id="m", metadata=other, tool_calls=[other]))
        assert await store.count_messages("s") == 1

    async def test_c11_other_content_is_refused(self, store: Any) -> None:
        await store.create_session(Session("s"))
        first = await store.add_message("s", _full_message())
        session = await store.get_session("s")
        changes: list[dict[str, Any]] = [
            {"content": "other"}, {"content": "content "}, {"content": None}, {"content": ""}, {"role": "user"},
            {"tool_calls": None}, {"tool_calls": []}, {"tool_calls": [{"id": "call_2"}]},
            {"tool_call_id": None}, {"tool_call_id": ""}, {"tool_call_id": "call_1"},
            {"metadata": None}, {"metadata": {}}, {"metadata": {"model": "m", "tokens": "12"}},
        ]  # fmt: skip
        for change in changes:
            message = Message(**{**_full_message().to_dict(), **change})
            with pytest.raises(DuplicateMessageError):
                await store.add_message("s", message)
            with pytest.raises(DuplicateMessageError):
                await store.add_messages("s", [Message(id="new"), message])
            await _unchanged(store, session, 1)
        assert _same_message((await store.get_messages("s"))[0], first)

    async def test_c11_absent_is_not_empty(self, store: Any) -> None:
        await store.create_session(Session("s"))
        absent: dict[str, Any] = {"content": None, "tool_calls": None, "tool_call_id": None, "metadata": None}
        empty: dict[str, Any] = {"content": "", "tool_calls": [], "tool_call_id": "", "metadata": {}}
        for name, value in empty.items():
            await store.add_message("s", Message(id=name, **absent))
            with pytest.raises(DuplicateMessageError):
                await store.add_message("s", Message(id=name, **{**absent, name: value}))
        assert await store.count_messages("s") == 4

    async def test_c11_ids_are_unique_per_session_only(self, store: Any) -> None:
        for session_id in ("s", "t"):
            await store.create_session(Session(session_id))
            added = await store.add_message(session_id, Message(id="m", content=f"of {session_id}"))
            assert added.seq == 1
        for session_id in ("s", "t"):
            assert [m.content for m in await store.get_messages(session_id)] == [f"of {session_id}"]

    async def test_c11_a_batch_may_hold_old_and_new(self, store: Any) -> None:
        await store.create_session(Session("s"))
        batch = [Message(id=item, content=item) for item in "abcd"]
        old = [await store.add_message("s", batch[1]), await store.add_message("s", batch[3])]
        added = await store.add_messages("s", batch)
        assert _ids(added) == list("abcd")
        assert _seqs(added) == [3, 1, 4, 2]
        assert _same_message(added[1], old[0])
        assert _same_message(added[3], old[1])
        assert _ids(await store.get_messages("s")) == list("bdac")
        assert _seqs(await store.add_messages("s", batch)) == [3, 1, 4, 2]
        assert await store.count_messages("s") == 4

    async def test_c11_a_batch_may_hold_a_message_twice(self, store: Any) -> None:
        await store.create_session(Session("s"))
        batch = [Message(id=item, content=item) for item in "abab"]
        assert _seqs(await store.add_messages("s", batch)) == [1, 2, 1, 2]
        assert _ids(await store.get_messages("s")) == ["a", "b"]
        created = await store.get_session("s")
        with pytest.raises(DuplicateMessageError):
            await store.add_messages("s", [Message(id="c", content="one"), Message(id="c", content="other")])
        await _unchanged(store, created, 2)

    async def test_c11_a_racing_retry_adds_nothing(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        for message_id in ("1", "2", "3"):

            async def body(worker: int, message_id: str = message_id) -> Any:
                return await store.add_message("s", Message(id=message_id, content="same", metadata={"same": True}))

            added, _ = split(await race(body))
            assert set(_seqs(added)) == {int(message_id)}
            assert len({message.created_at for message in added}) == 1, "the stored message was not returned"
        assert _seqs(await store.get_messages("s")) == [1, 2, 3]

    async def test_c11_of_racing_contents_one_wins(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))

        async def body(worker: int) -> Any:
            return await store.add_message("s", Message(id="m", content=str(worker)))

        won, lost = split(await race(body), DuplicateMessageError)
        assert len(won) == 1
        assert len(lost) == 7
        assert [m.content for m in await store.get_messages("s")] == [won[0].content]

    async def test_c12_a_batch_in_its_order(self, store: Any) -> None:
        await store.create_session(Session("s"))
        ids = [f"{n * 7919 % 100:02}" for n in range(100)]
        added = await store.add_messages(
            "s", tuple(Message(id=item, created_at=_NOW - n) for n, item in enumerate(ids))
        )
        assert _ids(added) == ids
        assert _seqs(added) == list(range(1, 101))
        assert _ids(await store.get_messages("s")) == ids

    async def test_c12_an_empty_batch_adds_nothing(self, store: Any) -> None:
        created = await store.create_session(Session("s"))
        assert await store.add_messages("s", []) == []
        await _unchanged(store, created, 0)

    async def test_c12_a_large_batch(self, store: Any) -> None:
        await store.create_session(Session("s"))
        added = await store.add_messages("s", [Message(id=str(n), content=f"content {n}") for n in range(5_000)])
        assert _seqs(added) == list(range(1, 5_001))
        stored = await store.get_messages("s")
        assert _ids(stored) == [str(n) for n in range(5_000)]
        assert stored[4_999].content == "content 4999"

    async def test_c12_a_refused_message_refuses_the_batch(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", "taken")
        before = await store.get_session("s")
        good = [Message(id=item) for item in "abc"]
        bad = [
            Message(id="taken", content="other"),
            Message(id="a", content="not the same a"),
            Message(id=""),
            Message(metadata={"x": math.nan}),
            Message(metadata={"x": (1, 2)}),
            Message(content=b"bytes"),  # type: ignore[arg-type]
            Message(created_at=math.inf),
            Message(session_id="another"),
        ]
        for message, position in itertools.product(bad, (0, 1, 3)):
            with pytest.raises(PersistenceError):
                await store.add_messages("s", [*good[:position], message, *good[position:]])
            await _unchanged(store, before, 1)
        assert _seqs(await store.add_messages("s", good)) == [2, 3, 4], "a refused batch used up numbers"

    async def test_c12_nobody_sees_half_a_batch(self, store: Any, open_store: OpenStore, race: Race) -> None:
        await store.create_session(Session("s"))
        other = open_store()
        ended: list[int] = []
        limit = time.monotonic() + 10  # for tasks: a store's reads may never let other tasks run

        async def body(worker: int) -> None:
            if worker < 4:
                try:
                    for turn in range(6):
                        await store.add_messages("s", [Message(id=f"{worker}-{turn}-{part}") for part in range(5)])
                finally:
                    ended.append(worker)
                return
            for turn in itertools.count():
                if turn >= 12 and (len(ended) == 4 or time.monotonic() > limit):
                    return
                reader = (store, other)[turn % 2]
                found = _ids(await reader.get_messages("s"))
                whole = {item.rpartition("-")[0] for item in found}
                assert len(found) == 5 * len(whole), "a reader saw half a batch"
                assert await reader.count_messages("s") % 5 == 0

        split(await race(body))
        assert await store.count_messages("s") == 4 * 6 * 5

    async def _odd_messages(self, store: Any) -> list[ConversationMessage]:
        """Messages whose created_at jump about and repeat, some numbers missing in between."""
        chance = random.Random(13)
        await store.create_session(Session("s"))
        batch = [Message(id=str(n), created_at=float(chance.randint(-3, 12))) for n in range(40)]
        added: list[Message] = await store.add_messages("s", batch)
        gone = {str(n) for n in chance.sample(range(40), 8)}
        await store.delete_messages("s", sorted(gone))
        return [message for message in added if message.id not in gone]

    async def test_c13_bounds_and_limits(self, store: Any) -> None:
        everything = await self._odd_messages(store)
        moments = [None, -4.0, 0.0, 3.0, 3.5, 13.0]
        for before, after, limit in itertools.product(moments, moments, [None, 1, 2, 5, 1_000]):
            expected = [
                message
                for message in everything
                if (before is None or message.created_at < before) and (after is None or message.created_at > after)
            ]
            expected = expected if limit is None else expected[-limit:]
            found = await store.get_messages("s", limit=limit, before=before, after=after)
            assert _ids(found) == _ids(expected), f"{limit=}, {before=}, {after=}"

    async def test_c13_cursors(self, store: Any) -> None:
        everything = await self._odd_messages(store)
        numbers = [None, -1, 0, 1, 2, 17, 40, 41, 2**63 - 1]
        for before, after, limit, until in itertools.product(numbers, numbers, [None, 1, 5], [None, 7.0]):
            expected = [
                message
                for message in everything
                if (before is None or message.seq < before)
                and (after is None or message.seq > after)
                and (until is None or message.created_at < until)
            ]
            expected = expected if limit is None else expected[-limit:]
            found = await store.get_messages("s", limit, until, before_seq=before, after_seq=after)
            assert _ids(found) == _ids(expected), f"{limit=}, before_seq={before}, after_seq={after}, before={until}"

    async def test_c13_paging_backwards_reaches_every_message(self, store: Any) -> None:
        everything = await self._odd_messages(store)
        pages: list[Message] = []
        while page := await store.get_messages("s", 5, before_seq=pages[0].seq if pages else None):
            pages = page + pages
        assert _ids(pages) == _ids(everything)

    async def test_c13_a_limit_means_the_latest(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", *"abcdefgh")
        assert _ids(await store.get_messages("s", limit=3)) == ["f", "g", "h"]
        assert _ids(await store.get_messages("s", 3)) == ["f", "g", "h"]
        assert _ids(await store.get_messages("s", limit=8)) == list("abcdefgh")
        assert _ids(await store.get_messages("s", limit=9)) == list("abcdefgh")
        assert _ids(await store.get_messages("s")) == list("abcdefgh")

    async def test_c13_a_limit_of_0_and_below(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", "a", "b")
        assert await store.get_messages("s", limit=0) == []
        for limit in (-1, -(2**70)):
            with pytest.raises(ValueError):
                await store.get_messages("s", limit=limit)

    async def test_c13_an_unknown_session_has_none(self, store: Any) -> None:
        assert await store.get_messages("unknown") == []
        assert await store.get_messages("unknown", limit=3, before=9.0, after=1.0, before_seq=9, after_seq=1) == []

    async def test_c13_bounds_that_are_no_numbers(self, store: Any) -> None:
        await store.create_session(Session("s"))
        bounds: list[dict[str, Any]] = [
            {"before": math.nan}, {"after": math.nan}, {"before": "1"}, {"after": "1"}, {"before": True},
            {"before_seq": 1.5}, {"after_seq": "1"}, {"before_seq": True}, {"limit": 1.5}, {"limit": "1"},
        ]  # fmt: skip
        for bound in bounds:
            with pytest.raises(ValueError):
                await store.get_messages("s", **bound)

    async def test_c14_the_named_ones_go(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", *"abcdef")
        assert await store.delete_messages("s", ["b", "e"]) == 2
        assert _ids(await store.get_messages("s")) == list("acdf")
        assert await store.delete_messages("s", ["b", "a", "unknown", "a"]) == 1
        assert _ids(await store.get_messages("s")) == list("cdf")
        assert _seqs(await store.get_messages("s")) == [3, 4, 6]
        assert await store.delete_messages("s", ("c",)) == 1
        assert await store.count_messages("s") == 2

    async def test_c14_none_means_all_and_an_empty_list_none(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", *"abc")
        assert await store.delete_messages("s", []) == 0
        assert await store.count_messages("s") == 3
        assert await store.delete_messages("s") == 3
        assert await store.get_messages("s") == []
        assert await store.delete_messages("s") == 0

    async def test_c14_the_session_stays(self, store: Any) -> None:
        created = await store.create_session(_full_session())
        await _append(store, "s", "a")
        await store.delete_messages("s")
        found = await store.get_session("s")
        assert _same_session(found, created, updated_at=found.updated_at)

    async def test_c14_other_sessions_stay(self, store: Any) -> None:
        for session_id in ("s", "t"):
            await store.create_session(Session(session_id))
            await _append(store, session_id, "a", "b")
        await store.delete_messages("s", ["a"])
        await store.delete_messages("s")
        assert _ids(await store.get_messages("t")) == ["a", "b"]
        assert await store.delete_messages("unknown") == 0
        assert await store.delete_messages("unknown", ["a"]) == 0
        assert await store.get_session("unknown") is None

    async def test_c14_a_number_is_never_given_twice(self, store: Any, open_store: OpenStore) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", *"abc")
        await store.delete_messages("s", ["c"])
        assert _seqs(await _append(store, "s", "d")) == [4], "the number of the deleted newest was given again"
        await store.delete_messages("s")
        other = open_store()
        assert _seqs(await other.add_messages("s", [Message(id="e"), Message(id="f")])) == [5, 6]
        await other.delete_messages("s")
        await other.update_session(Session("s", name="x"))
        await store.upsert_session(Session("s", name="y"))
        assert _seqs(await _append(store, "s", "g")) == [7]
        assert _seqs(await store.get_messages("s")) == [7]

    async def test_c14_a_deleted_id_is_free_again(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", "a", "b")
        await store.delete_messages("s", ["a"])
        again = await store.add_message("s", Message(id="a", content="another"))
        assert again.seq == 3
        assert [m.content for m in await store.get_messages("s")] == ["content of b", "another"]

    async def test_c14_many_at_once(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await store.add_messages("s", [Message(id=str(n)) for n in range(2_000)])
        assert await store.delete_messages("s", [str(n) for n in range(5, 40_000)]) == 1_995
        assert _ids(await store.get_messages("s")) == ["0", "1", "2", "3", "4"]

    async def test_c14_of_many_deleters_one_counts(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", *"abcdefgh")

        async def body(worker: int) -> Any:
            return await store.delete_messages("s", list("abcdef") if worker % 2 else list("cdefgh"))

        counts, _ = split(await race(body))
        assert sum(counts) == 8

    async def test_c15_messages_are_counted(self, store: Any) -> None:
        assert await store.count_messages("s") == 0
        for session_id in ("s", "t"):
            await store.create_session(Session(session_id))
        assert await store.count_messages("s") == 0
        await _append(store, "s", *"abc")
        await _append(store, "t", "a")
        await store.add_messages("s", [Message(), Message()])
        assert await store.count_messages("s") == 5
        await _append(store, "s", "a")  # once more
        assert await store.count_messages("s") == 5
        await store.delete_messages("s", ["a"])
        assert await store.count_messages("s") == 4
        assert await store.count_messages("t") == 1
        await store.delete_session("s")
        assert await store.count_messages("s") == 0

    async def test_c16_a_tool_turn_survives(self, store: Any) -> None:
        await store.create_session(Session("s"))
        calls: list[dict[str, Any]] = [
            {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": '{"q": "caf\\u00e9"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}, "index": 1},
        ]
        turn = [
            Message(id="1", role="user", content="question"),
            Message(id="2", role="assistant", content=None, tool_calls=calls),
            Message(id="3", role="tool", content='{"result": [1, 2.0, null]}', tool_call_id="call_1"),
            Message(id="4", role="tool", content="", tool_call_id="call_2"),
            Message(id="5", role="assistant", content="answer", tool_calls=[]),
            Message(id="6", role="system", content=None),
        ]
        added = [await store.add_message("s", turn[0]), *await store.add_messages("s", turn[1:])]
        for found in (added, await store.get_messages("s")):
            for number, (message, expected) in enumerate(zip(found, turn, strict=True), 1):
                assert _same_message(message, expected, session_id="s", seq=number), expected.id

    async def test_c16_none_and_empty_stay_what_they_are(self, store: Any) -> None:
        await store.create_session(Session("s"))
        calls: list[Any] = [None, [], [{}]]
        objects: list[Any] = [None, {}]
        fields = itertools.product([None, ""], calls, [None, "", "x"], objects)
        messages = [
            Message(id=str(n), content=content, tool_calls=tool_calls, tool_call_id=call, metadata=metadata)
            for n, (content, tool_calls, call, metadata) in enumerate(fields)
        ]
        for message in messages[::2]:
            assert _same_message(
                await store.add_message("s", message), message, session_id="s", seq=int(message.id) // 2 + 1
            )
        await store.add_messages("s", messages[1::2])
        found = {message.id: message for message in await store.get_messages("s")}
        for message in messages:
            assert _same_message(found[message.id], message, session_id="s", seq=found[message.id].seq)

    # --------------------------------------------------------------------------------------------------------- values

    async def test_c17_every_text_of_a_message(self, store: Any) -> None:
        await store.create_session(Session("s"))
        batch = []
        for number, text in enumerate(HOSTILE_TEXTS):
            single = Message(id=f"s{number}", role=text, content=text, tool_call_id=text)
            batch.append(Message(id=f"b{number}", role=text, content=text, tool_call_id=text))
            added = await store.add_message("s", single)
            assert _same_message(added, single, session_id="s", seq=number + 1), shorten(text)
        await store.add_messages("s", batch)
        stored = await store.get_messages("s")
        assert len(stored) == 2 * len(HOSTILE_TEXTS)
        for message, text in zip(stored, HOSTILE_TEXTS * 2, strict=True):
            assert (message.role, message.content, message.tool_call_id) == (text,) * 3, shorten(text)

    async def test_c17_every_text_of_a_session(self, store: Any) -> None:
        for number, text in enumerate(HOSTILE_TEXTS):
            session = Session(str(number), name=text, state={text: text}, metadata={"list": [text, {text: [text]}]})
            await store.create_session(session)
            assert _same_session(await store.get_session(str(number)), session), shorten(text)
            await store.update_session(Session(str(number), name=text[::-1], state={"x": text}))
            found = await store.get_session(str(number))
            assert (found.name, found.state, found.metadata) == (text[::-1], {"x": text}, None), shorten(text)
            await store.upsert_session(Session(str(number), name=text, metadata={"x": text}))
            found = await store.get_session(str(number))
            assert (found.name, found.state, found.metadata) == (text, None, {"x": text}), shorten(text)

    async def test_c17_every_json_value_of_a_message(self, store: Any) -> None:
        await store.create_session(Session("s"))
        values = [*HOSTILE_OBJECTS, {"everything": HOSTILE_JSON}, *({"value": value} for value in HOSTILE_JSON)]
        batch = [Message(id=str(n), metadata=value, tool_calls=[value, value]) for n, value in enumerate(values)]
        for message in (await store.add_messages("s", batch)) + (await store.get_messages("s")):
            expected = values[int(message.id)]
            assert identical(message.metadata, expected), shorten(expected)
            assert identical(message.tool_calls, [expected, expected]), shorten(expected)

    async def test_c17_every_json_value_of_a_session(self, store: Any) -> None:
        for number, value in enumerate([*HOSTILE_OBJECTS, {"everything": HOSTILE_JSON}]):
            session = Session(str(number), state=value, metadata={"value": value})
            assert _same_session(await store.create_session(session), session), shorten(value)
            assert _same_session(await store.get_session(str(number)), session), shorten(value)
        for value in HOSTILE_JSON:
            await store.update_session(Session("0", state={"value": value}, metadata={"list": [value, value]}))
            found = await store.get_session("0")
            assert identical(found.state, {"value": value}), shorten(value)
            assert identical(found.metadata, {"list": [value, value]}), shorten(value)

    async def test_c17_large_texts(self, store: Any) -> None:
        await store.create_session(Session("s"))
        for number, text in enumerate(LARGE_TEXTS):
            message = Message(id=str(number), content=text)
            assert _same_message(await store.add_message("s", message), message, session_id="s", seq=number + 1)
            assert (await store.get_messages("s", 1))[0].content == text
        session = Session("large", name=LARGE_TEXTS[0], state={"text": LARGE_TEXTS[1]})
        await store.create_session(session)
        assert _same_session(await store.get_session("large"), session)

    async def test_c17_up_to_the_size_limit(self, store: Any) -> None:
        created = await store.create_session(Session("s"))
        limit = getattr(store, "max_message_bytes", None)
        size = 10_000_000 if limit is None else min(10_000_000, limit - 1_000)
        content = "m" * (size - 100_000) + "\u00fc" * 50_000
        await store.add_message("s", Message(id="large", content=content, metadata={"x": 1}))
        assert (await store.get_messages("s"))[0].content == content
        if limit is None:
            return
        before = await store.get_session("s")
        assert before.updated_at > created.updated_at
        for too_large in (Message(content="m" * (limit + 1)), Message(metadata={"x": "m" * limit})):
            with pytest.raises(SerializationError):
                await store.add_message("s", too_large)
            with pytest.raises(SerializationError):
                await store.add_messages("s", [Message(id="small"), too_large])
        with pytest.raises(SerializationError):
            await store.update_session(Session("s", state={"x": "m" * limit}))
        await _unchanged(store, before, 1)

    async def test_c17_what_is_no_json_is_refused(self, store: Any) -> None:
        created = await store.create_session(_full_session())
        for value in REFUSED_JSON:
            for place in ({"x": value}, {"x": [1, {"y": value}]}):
                calls: list[tuple[Any, ...]] = [
                    (store.create_session, Session("new", state=place)),
                    (store.create_session, Session("new", metadata=place)),
                    (store.update_session, Session("s", state=place)),
                    (store.upsert_session, Session("s", metadata=place)),
                    (store.upsert_session, Session("new", metadata=place)),
                    (store.add_message, "s", Message(metadata=place)),
                    (store.add_message, "s", Message(tool_calls=[place])),
                    (store.add_messages, "s", [Message(), Message(tool_calls=[{}, place])]),
                ]
                for call, *arguments in calls:
                    with pytest.raises(SerializationError):
                        await call(*arguments)
        await _unchanged(store, created, 0)
        assert await store.get_session("new") is None

    async def test_c17_other_types_are_refused(self, store: Any) -> None:
        created = await store.create_session(_full_session())
        wrong: dict[str, list[Any]] = {
            "content": [b"x", 1, ["x"], {"x": 1}, True],
            "role": [None, b"x", 1],
            "tool_call_id": [b"x", 1],
            "tool_calls": [{}, "x", ({},), ["x"], [[]], [None], 1],
            "metadata": [[], "x", 1, [("a", 1)], True],
        }
        for fields in ({name: value} for name, values in wrong.items() for value in values):
            with pytest.raises(SerializationError):
                await store.add_message("s", Message(**fields))
        wrong = {"name": [b"x", 1, ["x"]], "state": [[], "x", 1, True], "metadata": [[], "x", 1, True]}
        for fields in ({name: value} for name, values in wrong.items() for value in values):
            with pytest.raises(SerializationError):
                await store.create_session(Session("new", **fields))
            with pytest.raises(SerializationError):
                await store.update_session(Session("s", **fields))
        await _unchanged(store, created, 0)
        assert await store.get_session("new") is None

    async def test_c17_what_is_no_record_is_refused(self, store: Any) -> None:
        created = await store.create_session(Session("s"))
        calls: list[tuple[Any, ...]] = [
            (store.create_session, {"session_id": "new"}),
            (store.create_session, None),
            (store.create_session, Message(session_id="new")),
            (store.update_session, "s"),
            (store.upsert_session, {"session_id": "s"}),
            (store.add_message, "s", {"content": "x"}),
            (store.add_message, "s", "x"),
            (store.add_message, "s", Session("s")),
            (store.add_messages, "s", "x"),
            (store.add_messages, "s", None),
            (store.add_messages, "s", [Message(), None]),
            (store.delete_messages, "s", "x"),
            (store.delete_messages, "s", 1),
        ]
        for call, *arguments in calls:
            with pytest.raises(InvalidValueError):
                await call(*arguments)
        await _unchanged(store, created, 0)
        assert await store.get_session("new") is None

    async def test_c17_times_that_are_none(self, store: Any) -> None:
        created = await store.create_session(_full_session())
        for value in (*REFUSED_NUMBERS, "1", None, True, 10**400):
            wrong: Any = value
            with pytest.raises(ValueError):
                await store.add_message("s", Message(created_at=wrong))
            with pytest.raises(ValueError):
                await store.create_session(Session("new", created_at=wrong, updated_at=1.0))
        await _unchanged(store, created, 0)
        assert await store.get_session("new") is None

    async def test_c17_deep_values_come_back_or_are_refused(self, store: Any) -> None:
        await store.create_session(Session("s"))
        for depth in (60, 100, 190, 250):
            message = Message(id=str(depth), metadata={"x": nested(depth, "leaf")})
            try:
                await store.add_message("s", message)
            except SerializationError:
                assert depth > 50, "50 levels are promised"
                break
            assert identical((await store.get_messages("s", 1))[0].metadata, message.metadata)

    # ----------------------------------------------------------------------------------------------------- updated_at

    async def _each_write(self, store: Any) -> list[float]:
        """Do every kind of write to the messages of s; return updated_at before, between and after."""
        moments = [(await store.get_session("s")).updated_at]
        writes: list[tuple[Any, ...]] = [
            (store.add_message, "s", Message(id="a", created_at=1.0)),
            (store.add_messages, "s", [Message(id="b", created_at=1.0), Message(id="c")]),
            (store.delete_messages, "s", ["b"]),
            (store.delete_messages, "s"),
            (store.add_message, "s", Message(id="d", created_at=_FAR_FUTURE + 1_000_000)),
            (store.update_session, Session("s", updated_at=1.0)),
            (store.upsert_session, Session("s", updated_at=1.0)),
            (store.add_message, "s", Message(id="e")),
        ]
        for write, *arguments in writes:
            await write(*arguments)
            moments.append((await store.get_session("s")).updated_at)
        return moments

    async def test_c18_each_write_raises_updated_at(self, store: Any) -> None:
        await store.create_session(Session("s", created_at=_NOW))
        start = time.time()
        moments = await self._each_write(store)
        assert all(a < b for a, b in itertools.pairwise(moments)), moments
        assert moments[1] >= start - 1, "updated_at is not the time of the write"
        assert (await store.get_session("s")).created_at == _NOW

    async def test_c18_it_never_goes_back(self, store: Any) -> None:
        await store.create_session(Session("s", created_at=_NOW, updated_at=_FAR_FUTURE))
        moments = await self._each_write(store)
        assert moments[0] == _FAR_FUTURE
        assert all(a < b for a, b in itertools.pairwise(moments)), moments

    async def test_c18_also_under_racing_writers(self, store: Any, open_store: OpenStore, race: Race) -> None:
        await store.create_session(Session("s"))
        other = open_store()

        async def body(worker: int) -> list[float]:
            seen = []
            for turn in range(8):
                if worker == 0:
                    await store.update_session(Session("s", name=str(turn)))
                elif worker < 4:
                    await (store, other)[turn % 2].add_message("s", Message())
                seen.append((await other.get_session("s")).updated_at)
            return seen

        for seen in split(await race(body, workers=6))[0]:
            assert seen == sorted(seen), "a reader saw updated_at go back"

    async def test_c18_other_sessions_keep_theirs(self, store: Any) -> None:
        other = await store.create_session(_full_session("other"))
        await store.create_session(Session("s"))
        await self._each_write(store)
        assert _same_session(await store.get_session("other"), other)

    # ------------------------------------------------------------------------------------------------------- together

    async def test_c19_a_shared_store_loses_nothing(self, store: Any, race: Race) -> None:
        await store.create_session(Session("shared"))

        async def body(worker: int) -> None:
            own = f"own {worker}"
            await store.create_session(Session(own, user_id=f"user {worker}"))
            for turn in range(10):
                await store.add_message("shared", Message(id=f"{worker}-{turn}", content=str(turn)))
                await store.add_messages(own, [Message(id=f"{turn}-{part}") for part in range(2)])
                await store.update_session(Session(own, user_id=f"user {worker}", state={"turn": turn}))
                assert await store.count_messages(own) == 2 * (turn + 1)
                assert (await store.get_session(own)).state == {"turn": turn}
                assert [s.session_id for s in await store.list_sessions(f"user {worker}")] == [own]
                assert f"{worker}-{turn}" in _ids(await store.get_messages("shared"))
            await store.delete_messages(own, ["0-0"])

        split(await race(body))
        shared = await store.get_messages("shared")
        assert _seqs(shared) == list(range(1, 81))
        for worker in range(8):
            mine = [message.content for message in shared if message.id.startswith(f"{worker}-")]
            assert mine == [str(turn) for turn in range(10)], "the order of one writer was not kept"
            assert _seqs(await store.get_messages(f"own {worker}")) == list(range(2, 21))
            assert (await store.get_session(f"own {worker}")).version == 11

    async def test_c19_the_first_call_may_be_many(self, store: Any, race: Race) -> None:
        async def body(worker: int) -> Any:
            return await store.create_session(Session(str(worker)))

        split(await race(body, workers=12))
        assert len(await store.list_sessions()) == 12

    async def test_c19_store_objects_side_by_side(self, open_store: OpenStore, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        stores = [store, *(open_store() for _ in range(3))]

        async def body(worker: int) -> list[int]:
            mine = stores[worker % 4]
            return [(await mine.add_message("s", Message(content=f"{worker} {n}"))).seq for n in range(8)]

        numbers, _ = split(await race(body))
        assert sorted(itertools.chain(*numbers)) == list(range(1, 65))

    @only("async")
    async def test_c19_a_cancelled_task_does_no_harm(self, store: Any) -> None:
        await store.create_session(Session("s"))
        finished = 0
        for rounds in range(30):
            # A batch, so that half of one would show.
            batch = [Message(id=f"{rounds}-{part}") for part in range(3)]
            task = asyncio.create_task(store.add_messages("s", batch))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            if isinstance(result, Exception):
                raise result
            finished += not isinstance(result, BaseException)
        await _append(store, "s", "after")
        stored = await store.get_messages("s")
        assert _seqs(stored) == list(range(1, len(stored) + 1))
        assert len(stored) % 3 == 1, "a cancelled call left half a batch"
        assert len(stored) >= 3 * finished + 1

    async def test_c20_another_store_object_sees_every_write(self, store: Any, open_store: OpenStore) -> None:
        other = open_store()
        assert await other.get_session("s") is None  # whatever it caches, it has it now
        assert await other.list_sessions() == []
        session = await store.create_session(_full_session())
        assert _same_session(await other.get_session("s"), session)
        assert len(await other.list_sessions()) == 1
        for turn in range(1, 9):
            # Each writes twice in a row, so that no write of its own makes the reader forget what it remembers.
            writer, reader = (store, other) if turn % 4 < 2 else (other, store)
            await _append(writer, "s", f"{turn}")
            assert _ids(await reader.get_messages("s")) == [str(n) for n in range(1, turn + 1)]
            assert _ids(await reader.get_messages("s", 1)) == [str(turn)]
            assert await reader.count_messages("s") == turn
            session = await writer.update_session(Session("s", name=str(turn)), expected_version=turn)
            assert _same_session(await reader.get_session("s"), session)
            assert [s.name for s in await reader.list_sessions()] == [str(turn)]
        await other.delete_messages("s", ["1"])
        assert await store.count_messages("s") == 7
        await store.delete_session("s")
        assert await other.get_session("s") is None
        assert await other.get_messages("s") == []
        assert await other.list_sessions() == []

    async def test_c20_another_process_sees_every_write(
        self, store: Any, spawn: Spawn, unsupported: Unsupported
    ) -> None:
        await store.create_session(Session("s", name="0"))
        if not declares(store, "shared"):
            child = await spawn(f"{_BODIES}:look", session_id="s")
            child.go()
            assert await child.result() == [False, []], "two processes share data, but 'shared' is not declared"
            unsupported("two processes")
            return
        child = await spawn(f"{_BODIES}:converse", session_id="s")
        child.go()
        expected: list[str] = []
        for turn in range(1, 9):
            await _append(store, "s", f"parent {turn}")
            session = await store.update_session(Session("s", name=f"parent {turn}"))
            expected.append(f"parent {turn}")
            child.send("look")
            assert await child.report() == [
                [session.name, session.version, session.updated_at],
                [["s", session.version]],
                expected,
                len(expected),
            ]
            if turn % 3 == 0:
                child.send(f"child {turn}")
                assert await child.report() == "written"
                expected.append(f"child {turn}")
                assert _ids(await store.get_messages("s")) == expected
                found = await store.get_session("s")
                assert (found.name, found.version) == (f"child {turn}", session.version + 1)
        child.send(None)
        await child.result()

    async def test_c20_processes_append_without_gaps(self, store: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        await store.create_session(Session("s"))
        if not declares(store, "shared"):
            child = await spawn(f"{_BODIES}:write_and_wait", session_id="child's")
            child.go()
            await child.report()
            assert await store.get_session("child's") is None, "processes share data, but 'shared' is not declared"
            unsupported("two processes")
            return
        children = [await spawn(f"{_BODIES}:append_times", session_id="s", name=str(n), times=25) for n in range(3)]
        for child in children:
            child.go()
        numbers = _seqs([await store.add_message("s", Message(id=f"parent-{n}")) for n in range(25)])
        for child in children:
            own = await child.result()
            assert own == sorted(own)
            numbers += own
        assert sorted(numbers) == list(range(1, 101))
        assert _seqs(await store.get_messages("s")) == list(range(1, 101))

    async def test_c21_every_call_after_close_says_so(self, store: Any, open_store: OpenStore) -> None:
        await store.create_session(Session("s"))
        unused = open_store()
        for closed in (store, unused):
            await closed.close()
            await closed.close()
            calls: list[tuple[Any, ...]] = [
                ("connect",),
                ("create_session", Session("t")),
                ("get_session", "s"),
                ("update_session", Session("s")),
                ("upsert_session", Session("s")),
                ("delete_session", "s"),
                ("list_sessions",),
                ("list_sessions", None, None, 0),
                ("add_message", "s", Message()),
                ("add_messages", "s", [Message()]),
                ("add_messages", "s", []),
                ("get_messages", "s"),
                ("get_messages", "s", 0),
                ("delete_messages", "s"),
                ("delete_messages", "s", []),
                ("count_messages", "s"),
                *([("search_messages", "x"), ("search_messages", "")] if declares(closed, "search") else []),
                *([("fork_session", "s")] if declares(closed, "fork") else []),
            ]
            for name, *arguments in calls:
                try:
                    await getattr(closed, name)(*arguments)
                except StoreClosedError:
                    continue
                pytest.fail(f"{name}{tuple(arguments)} worked on a closed store")
            await closed.close()
        with pytest.raises(StoreClosedError):
            await store.get_session("s")

    async def test_c21_one_closed_store_closes_no_other(self, store: Any, open_store: OpenStore) -> None:
        other = open_store()
        await store.create_session(Session("s"))
        assert await other.get_session("s") is not None
        await store.close()
        await _append(other, "s", "a")
        assert _ids(await other.get_messages("s")) == ["a"]

    async def test_c21_a_store_is_a_context_manager(self, open_store: OpenStore) -> None:
        store = open_store()
        async with store as entered:
            assert raw(entered) is raw(store)
            await entered.create_session(Session("s"))
        with pytest.raises(StoreClosedError):
            await store.get_session("s")
        another = open_store()
        with pytest.raises(LookupError, match="the caller's own"):
            async with another:
                raise LookupError("the caller's own")
        with pytest.raises(StoreClosedError):
            await another.get_session("s")

    async def test_c21_a_closed_store_leaves_nothing_open(self, open_store: OpenStore) -> None:
        async def use_and_close(session_id: str) -> None:
            store = open_store()
            await store.create_session(Session(session_id))
            await _append(store, session_id, "a")
            await store.close()

        def held() -> tuple[int, int]:
            files = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
            return threading.active_count(), len(files)

        await use_and_close("first")  # what is opened once for the process may stay
        before = held()
        for number in range(10):
            await use_and_close(str(number))
        deadline = time.monotonic() + 5
        while any(now > was for now, was in zip(held(), before, strict=True)) and time.monotonic() < deadline:
            await anyio.sleep(0.01)  # threads and sockets may need a moment to end
        threads, files = (now - was for now, was in zip(held(), before, strict=True))
        assert threads <= 0, f"10 closed stores left {threads} threads"
        assert files <= 0, f"10 closed stores left {files} open files or connections"

    async def test_c21_racing_calls_and_closes(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))

        async def body(worker: int) -> None:
            if worker >= 6:
                await store.close()
                return
            for _ in range(20):
                await store.add_message("s", Message())

        split(await race(body), StoreClosedError)
        with pytest.raises(StoreClosedError):
            await store.count_messages("s")

    async def test_c22_prefixes_see_nothing_of_each_other(
        self, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if not self._has_prefix(open_store, unsupported):
            return
        prefixes = ["", "a_", "a_b_", "aa_", "a"]
        stores = [open_store(table_prefix=prefix) for prefix in prefixes]
        for store, prefix in zip(stores, prefixes, strict=True):
            assert await store.get_session("s") is None
            await store.create_session(Session("s", user_id="u", name=prefix))
            await store.create_session(Session(f"only {prefix}"))
            assert (await store.add_message("s", Message(id="m", content=f"word {prefix}"))).seq == 1
        for store, prefix in zip(stores, prefixes, strict=True):
            assert (await store.get_session("s")).name == prefix
            assert {s.session_id for s in await store.list_sessions()} == {"s", f"only {prefix}"}
            assert [m.content for m in await store.get_messages("s")] == [f"word {prefix}"]
            assert await store.count_messages("s") == 1
            if declares(store, "search"):
                assert [m.content for m in await store.search_messages("word")] == [f"word {prefix}"]
        assert await stores[0].delete_messages("s") == 1
        assert await stores[1].delete_session("s") is True
        assert [await store.count_messages("s") for store in stores] == [0, 0, 1, 1, 1]
        assert [await store.get_session("s") is None for store in stores] == [False, True, False, False, False]

    async def test_c22_prefixes_that_differ_in_case(self, open_store: OpenStore, unsupported: Unsupported) -> None:
        if not self._has_prefix(open_store, unsupported):
            return
        lower = open_store(table_prefix="case_")
        await lower.create_session(Session("s", name="lower"))
        try:
            upper = open_store(table_prefix="CASE_")
            found = await upper.get_session("s")
        except InvalidIdentifierError:  # an engine that cannot tell them apart refuses, rather than mix them up
            return
        assert found is None, "two prefixes that differ in case are one"

    def _has_prefix(self, open_store: OpenStore, unsupported: Unsupported) -> bool:
        """Whether the store declares prefixes; if not, assert that it takes none and record that."""
        if declares(open_store(), "prefix"):
            return True
        with pytest.raises((TypeError, PersistenceError)):
            open_store(table_prefix="other_")
        unsupported("prefix")
        return False

    async def test_c23_identifiers_are_checked_before_connecting(
        self, open_store: OpenStore, unreachable_spec: StoreSpec | None, unsupported: Unsupported
    ) -> None:
        if not self._has_prefix(open_store, unsupported):
            return
        for prefix in REFUSED_IDENTIFIERS:
            for spec in (None, unreachable_spec) if unreachable_spec else (None,):
                with pytest.raises(InvalidIdentifierError):
                    await open_store(spec, table_prefix=prefix).connect()

    # -------------------------------------------------------------------------------------------------------- crashes

    async def test_c24_a_reopened_store_has_everything(
        self, store: Any, open_store: OpenStore, spawn: Spawn, unsupported: Unsupported
    ) -> None:
        if await self._not_durable(store, open_store, spawn, unsupported):
            return
        session = await store.create_session(_full_session())
        await store.add_messages("s", [_full_message("a"), _full_message("b")])
        await store.delete_messages("s", ["b"])
        session = await store.get_session("s")
        await store.close()
        again = open_store()
        assert _same_session(await again.get_session("s"), session)
        assert _same_message((await again.get_messages("s"))[0], _full_message("a"), session_id="s", seq=1)
        assert _seqs(await _append(again, "s", "c")) == [3]

    @pytest.mark.crash
    async def test_c24_killed_while_appending(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported
    ) -> None:
        if await self._not_durable(store, open_store, spawn, unsupported):
            return
        await store.create_session(Session("s"))
        await store.close()  # not every durable engine can be open in two processes
        acknowledged: list[str] = []
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{_BODIES}:append_forever", session_id="s", name=str(trial))
            child.go()
            for ids in await child.kill_after(reports, delay):
                acknowledged += ids
            survivor = open_store()
            stored = await survivor.get_messages("s")
            await survivor.close()
            # What was under way when the child was killed may be there or not.
            known = set(acknowledged)
            assert [item for item in _ids(stored) if item in known] == acknowledged
            assert len(stored) <= len(acknowledged) + trial + 1
            assert _seqs(stored) == list(range(1, len(stored) + 1)), "a killed writer left a gap"
            assert all(message.content == f"content of {message.id}" for message in stored)

    @pytest.mark.crash
    async def test_c24_killed_while_appending_batches(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported
    ) -> None:
        if await self._not_durable(store, open_store, spawn, unsupported):
            return
        await store.create_session(Session("s"))
        await store.close()
        acknowledged: set[str] = set()
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{_BODIES}:append_forever", session_id="s", name=str(trial), writers=4, batch=5)
            child.go()
            for ids in await child.kill_after(reports, delay):
                acknowledged.update(ids)
            survivor = open_store()
            stored = await survivor.get_messages("s")
            await survivor.close()
            assert acknowledged <= set(_ids(stored)), "an acknowledged batch is lost"
            parts: dict[str, list[str]] = {}
            for item in _ids(stored):
                parts.setdefault(item.rpartition("-")[0], []).append(item)
            for name, ids in parts.items():
                assert ids == [f"{name}-{part}" for part in range(5)], "a batch is there in part, or out of order"
            assert _seqs(stored) == list(range(1, len(stored) + 1)), "a killed writer left a gap"

    @pytest.mark.crash
    async def test_c24_killed_while_changing_sessions(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported
    ) -> None:
        if await self._not_durable(store, open_store, spawn, unsupported):
            return
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{_BODIES}:sessions_forever", name=str(trial))
            child.go()
            *earlier, last = await child.kill_after(reports, delay)
            survivor = open_store()
            for session_id, step, count in ({report[0]: report for report in earlier} | {last[0]: last}).values():
                session = await survivor.get_session(session_id)
                found = [session.state["step"] if session else 0, await survivor.count_messages(session_id)]
                allowed = [[step, count]]
                if session_id == last[0]:  # the next step may have been under way
                    steps = [[1, 0], [2, 0], [2, 3], [2, 2], [3, 2], *([[0, 0]] if int(session_id[-1]) % 2 else [])]
                    following = steps.index([step, count]) + 1
                    allowed += steps[following : following + 1]
                assert found in allowed, session_id
            await survivor.close()

    async def _not_durable(self, store: Any, open_store: OpenStore, spawn: Spawn, unsupported: Unsupported) -> bool:
        """Whether the store does not declare durability; if so, assert that there is none and record that."""
        if declares(store, "durable"):
            return False
        child = await spawn(f"{_BODIES}:write_and_wait", session_id="killed")
        child.go()
        await child.kill_after(1)
        assert await open_store().get_session("killed") is None, "data outlive a process, but 'durable' is not declared"
        unsupported("durable")
        return True

    # ------------------------------------------------------------------------------------------------------------ ids

    async def test_c25_every_id_is_a_session_of_its_own(self, store: Any, tmp_path: Path) -> None:
        outside = self._outside(tmp_path)
        for session_id in HOSTILE_IDS:
            await store.create_session(Session(session_id, name=session_id))
            await store.add_message(session_id, Message(id="m", content=session_id))
        listed = await store.list_sessions(limit=_EVERYTHING)
        assert sorted(s.session_id for s in listed) == sorted(HOSTILE_IDS)
        for session_id in HOSTILE_IDS:
            found = await store.get_session(session_id)
            assert (found.session_id, found.name) == (session_id, session_id)
            messages = await store.get_messages(session_id)
            assert [(m.session_id, m.content) for m in messages] == [(session_id, session_id)], shorten(session_id)
        for number, session_id in enumerate(HOSTILE_IDS):
            assert await store.delete_session(session_id) is True, shorten(session_id)
            assert len(await store.list_sessions(limit=_EVERYTHING)) == len(HOSTILE_IDS) - number - 1
            if number == 0:
                assert self._outside(tmp_path) == outside, "written outside of the store's own space"

    def _outside(self, tmp_path: Path) -> set[str]:
        """What is there under the names of the ids, seen from folders that are none of the store's business."""
        found = {os.path.join(folder, name) for folder in ("/", os.getcwd(), tmp_path.parent) for name in HOSTILE_IDS}
        return {path for path in found if os.path.lexists(path)} | {str(path) for path in tmp_path.parent.iterdir()}

    async def test_c25_every_id_is_a_message_of_its_own(self, store: Any) -> None:
        await store.create_session(Session("s"))
        for session_id in HOSTILE_IDS[::2]:
            await store.add_message("s", Message(id=session_id, content=session_id))
        await store.add_messages("s", [Message(id=item, content=item) for item in HOSTILE_IDS[1::2]])
        stored = await store.get_messages("s")
        assert _ids(stored) == HOSTILE_IDS[::2] + HOSTILE_IDS[1::2]
        assert all(message.content == message.id for message in stored)
        for number, item in enumerate(HOSTILE_IDS):
            assert await store.delete_messages("s", [item]) == 1, shorten(item)
            assert await store.count_messages("s") == len(HOSTILE_IDS) - number - 1

    async def test_c25_every_id_is_a_user_and_an_agent(self, store: Any) -> None:
        for number, item in enumerate(HOSTILE_IDS):
            await store.create_session(Session(str(number), user_id=item, agent_id=item))
        for number, item in enumerate(HOSTILE_IDS):
            for filters in ({"user_id": item}, {"agent_id": item}, {"user_id": item, "agent_id": item}):
                found = [s.session_id for s in await store.list_sessions(**filters)]
                assert found == [str(number)], f"{shorten(item)} found {found}"

    async def test_c25_what_is_no_id_is_refused(self, store: Any) -> None:
        created = await store.create_session(_full_session())
        for wrong in REFUSED_IDS:
            calls: list[tuple[Any, ...]] = [
                (store.create_session, Session(wrong)),
                (store.create_session, Session("new", user_id=wrong)),
                (store.create_session, Session("new", agent_id=wrong)),
                (store.get_session, wrong),
                (store.update_session, Session(wrong)),
                (store.update_session, Session("s", user_id=wrong)),
                (store.upsert_session, Session(wrong)),
                (store.upsert_session, Session("s", agent_id=wrong)),
                (store.delete_session, wrong),
                (store.list_sessions, wrong),
                (store.list_sessions, None, wrong),
                (store.add_message, wrong, Message()),
                (store.add_message, "s", Message(id=wrong)),
                (store.add_messages, wrong, [Message()]),
                (store.add_messages, "s", [Message(), Message(id=wrong)]),
                (store.get_messages, wrong),
                (store.delete_messages, wrong),
                (store.delete_messages, "s", [wrong]),
                (store.count_messages, wrong),
            ]
            for call, *arguments in calls:
                with pytest.raises(InvalidValueError):
                    await call(*arguments)
        await _unchanged(store, created, 0)
        assert len(await store.list_sessions()) == 1

    # ----------------------------------------------------------------------------------------------------- connecting

    async def test_c26_constructing_touches_nothing(self, open_store: OpenStore, tmp_path: Path) -> None:
        open_store()  # imports what is imported once
        before = sorted(tmp_path.rglob("*"))
        with Watch() as watch:
            store = open_store()
        assert watch.events == [], "the constructor connects, or writes a file"
        await store.close()
        assert sorted(tmp_path.rglob("*")) == before, "a store that was never used left a file"

    async def test_c26_connecting_is_eager_and_harmless(self, store: Any, race: Race) -> None:
        async def body(worker: int) -> None:
            await store.connect()

        assert split(await race(body, workers=4))[0] == [None] * 4
        await store.create_session(Session("s"))
        await store.connect()
        assert await store.get_session("s") is not None

    @needs_fixture("unreachable_spec")
    async def test_c26_an_engine_out_of_reach_is_reported(
        self, open_store: OpenStore, unreachable_spec: StoreSpec
    ) -> None:
        store = open_store(unreachable_spec)
        secrets = [
            str(value) for name, value in unreachable_spec.options.items() if "password" in name or "token" in name
        ]
        for url in (str(value) for value in unreachable_spec.options.values() if "://" in str(value)):
            credentials = url.partition("://")[2].rpartition("@")[0]
            secrets += [part for part in credentials.partition(":")[2:] if part]
        start = time.monotonic()
        for attempt in (
            store.connect,
            store.connect,
            lambda: store.get_session("s"),
            lambda: store.delete_session("s"),
        ):
            with pytest.raises(ConnectionFailedError) as caught:
                await attempt()
            assert not any(secret in str(caught.value) for secret in secrets), "the error shows a secret"
        assert time.monotonic() - start < 60, "an engine out of reach is reported within the connect timeout"
        await store.close()
        with pytest.raises(StoreClosedError):
            await store.get_session("s")

    @needs_fixture("server")
    async def test_c26_the_same_store_works_after_a_restart(self, store: Any, server: Any) -> None:
        await store.create_session(Session("s"))
        await _append(store, "s", "a")
        server.stop()
        with pytest.raises(ConnectionFailedError):
            await store.get_session("s")
        with pytest.raises(ConnectionFailedError):
            await _append(store, "s", "b")
        server.start()
        assert await store.get_session("s") is not None
        await _append(store, "s", "b")
        assert _ids(await store.get_messages("s")) == ["a", "b"]

    # ------------------------------------------------------------------------------------------------------- optional

    async def _cannot_search(self, store: Any, unsupported: Unsupported) -> bool:
        if declares(store, "search"):
            return False
        await store.create_session(Session("s"))
        for arguments in (("x",), ("x", "user", 3), ("",)):
            with pytest.raises(UnsupportedOperationError):
                await store.search_messages(*arguments)
        unsupported("search")
        return True

    async def test_c27_search_finds_every_word(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_search(store, unsupported):
            return
        contents: list[str | None] = [
            "The quick brown fox",
            "the QUICK brown fox jumps over the lazy dog",
            "quickly, brownish foxes",
            "brown.quick;fox!",
            "snake_case_name and kebab-case-name",
            "caf\u00e9 M\u00dcNCHEN",
            "cafe Munchen",
            "42 is the answer, a1b2 is not",
            "C++ and C# and .NET",
            "nothing of it",
            "\u4f60\u597d world",
            "",
            None,
        ]
        await store.create_session(Session("s"))
        for number, content in enumerate(contents):
            await store.add_message("s", Message(id=str(number), content=content, created_at=float(number)))
        expected = {
            "quick": [3, 1, 0],
            "QUICK": [3, 1, 0],
            "fox quick": [3, 1, 0],
            "quick fox quick": [3, 1, 0],
            "lazy quick": [1],
            "quic": [],
            "snake name": [4],
            "snake_case": [4],
            "caf\u00e9": [5],
            "CAF\u00c9": [5],
            "cafe": [6],
            "m\u00fcnchen": [5],
            "42": [7],
            "a1b2": [7],
            "a1": [],
            "c": [8],
            "\u4f60\u597d": [10],
            "quick nothing": [],
        }
        for query, numbers in expected.items():
            found = await store.search_messages(query)
            assert _ids(found) == [str(n) for n in numbers], f"{query!r}"
            for message in found:
                assert message.content == contents[int(message.id)]
                assert message.session_id == "s"
                assert message.seq == int(message.id) + 1

    async def test_c27_search_finds_words_beside_hostile_characters(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_search(store, unsupported):
            return
        await store.create_session(Session("s"))
        for number, between in enumerate(["\0", "\ud800", "\x1a", "\x1a0000 ", "\r", "\u2028", "\U0001f600", "'", '"']):
            await store.add_message("s", Message(id=str(number), content=f"left{between}right{number}"))
            assert _ids(await store.search_messages(f"right{number}")) == [str(number)], shorten(between)
            assert len(await store.search_messages("left")) == number + 1, shorten(between)
        for word in ("d800", "0000right0", "u2028", "x1a"):
            assert await store.search_messages(word) == [], f"{word!r} is no word of any message"

    async def test_c27_search_takes_any_query(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_search(store, unsupported):
            return
        await store.create_session(Session("s"))
        await store.add_message("s", Message(id="m", content="alpha beta and or not near"))
        for query in ("", " ", "\0", "\ud800", "!!!", "***", '"', "''", "_", "%", "()"):
            assert await store.search_messages(query) == [], shorten(query)
        queries = [
            'alpha"', '"alpha', "alpha*", "*alpha", "alpha AND beta", "alpha OR", "NOT alpha", "alpha NEAR beta",
            "(alpha", "alpha)", "and:alpha", "-alpha", "+alpha", "^alpha", "alpha:", "{alpha}", "alpha\0",
            "alpha\ud800", "alpha; beta", "'alpha'", "alpha -- beta", "%alpha%", "\\alpha", "alpha~",
        ]  # fmt: skip
        for query in queries:
            assert _ids(await store.search_messages(query)) == ["m"], shorten(query)
        for query in HOSTILE_TEXTS:
            await store.search_messages(query)

    async def test_c27_search_in_sessions_of_a_user(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_search(store, unsupported):
            return
        for number in range(12):
            user = ["u", "U", None][number % 3]
            await store.create_session(Session(str(number), user_id=user))
            await store.add_message(
                str(number), Message(id="m", content=f"word {number}", created_at=float(number * 5 % 12))
            )
        newest_first = sorted(range(12), key=lambda number: -(number * 5 % 12))
        everything = [message.session_id for message in await store.search_messages("word")]
        assert everything == [str(n) for n in newest_first]
        for user in ("u", "U"):
            found = [message.session_id for message in await store.search_messages("word", user)]
            assert found == [str(n) for n in newest_first if ["u", "U", None][n % 3] == user]
        assert await store.search_messages("word", "unknown") == []
        assert [m.session_id for m in await store.search_messages("word", limit=3)] == everything[:3]
        assert [m.session_id for m in await store.search_messages("word", "u", 2)] == [
            str(n) for n in newest_first if n % 3 == 0
        ][:2]
        assert await store.search_messages("word", limit=0) == []
        with pytest.raises(ValueError):
            await store.search_messages("word", limit=-1)

    async def test_c27_search_forgets_what_is_deleted(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if await self._cannot_search(store, unsupported):
            return
        for session_id in ("s", "t"):
            await store.create_session(Session(session_id))
            await store.add_messages(session_id, [Message(id=n, content=f"word {n}") for n in "abc"])
        assert len(await store.search_messages("word")) == 6
        await store.delete_messages("s", ["a"])
        assert len(await open_store().search_messages("word")) == 5
        assert [m.session_id for m in await store.search_messages("a")] == ["t"]
        await store.delete_session("t")
        assert {m.id for m in await store.search_messages("word")} == {"b", "c"}
        await store.delete_messages("s")
        assert await store.search_messages("word") == []
        await store.add_message("s", Message(id="a", content="word again"))
        assert [m.content for m in await store.search_messages("word")] == ["word again"]

    async def _cannot_fork(self, store: Any, unsupported: Unsupported) -> bool:
        if declares(store, "fork"):
            return False
        await store.create_session(Session("s"))
        for arguments in ((), (1,), (None, "new")):
            with pytest.raises(UnsupportedOperationError):
                await store.fork_session("s", *arguments)
        assert len(await store.list_sessions()) == 1
        unsupported("fork")
        return True

    async def test_c27_a_fork_is_a_copy(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_fork(store, unsupported):
            return
        await store.create_session(_full_session())
        await store.update_session(_full_session())
        await store.add_messages("s", [_full_message(n) for n in "abcde"])
        await store.delete_messages("s", ["b"])
        source = await store.get_session("s")
        fork = await store.fork_session("s", new_session_id="t")
        assert _same_session(
            fork, source, session_id="t", version=1, created_at=fork.created_at, updated_at=fork.updated_at
        )
        assert _same_session(await store.get_session("t"), fork)
        assert _same_session(await store.get_session("s"), source)
        for copied, message in zip(await store.get_messages("t"), await store.get_messages("s"), strict=True):
            assert _same_message(copied, message, session_id="t")
        # From here on they have nothing in common.
        assert _seqs(await _append(store, "t", "of t")) == [6]
        await store.delete_messages("s", ["a"])
        await store.update_session(Session("t", name="t"))
        assert _ids(await store.get_messages("t")) == ["a", "c", "d", "e", "of t"]
        assert _ids(await store.get_messages("s")) == ["c", "d", "e"]
        assert (await store.get_session("s")).name == source.name
        await store.delete_session("s")
        assert await store.count_messages("t") == 5

    async def test_c27_a_fork_up_to_a_message(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_fork(store, unsupported):
            return
        await store.create_session(Session("s"))
        await _append(store, "s", *"abcde")
        await store.delete_messages("s", ["c"])
        for up_to, expected in ((0, ""), (1, "a"), (3, "ab"), (4, "abd"), (5, "abde"), (99, "abde"), (-1, "")):
            fork = await store.fork_session("s", up_to)
            assert fork.session_id not in {"", "s"}
            assert _ids(await store.get_messages(fork.session_id)) == list(expected), up_to
            again = await _append(store, fork.session_id, "f")
            last = "abcde".index(expected[-1]) + 1 if expected else 0
            assert _seqs(again) == [last + 1]

    async def test_c27_a_fork_is_refused(self, store: Any, race: Race, unsupported: Unsupported) -> None:
        if await self._cannot_fork(store, unsupported):
            return
        with pytest.raises(SessionNotFoundError):
            await store.fork_session("unknown", new_session_id="t")
        assert await store.get_session("t") is None
        await store.create_session(Session("s"))
        taken = await store.create_session(_full_session("taken"))
        with pytest.raises(SessionExistsError):
            await store.fork_session("s", new_session_id="taken")
        with pytest.raises(SessionExistsError):
            await store.fork_session("s", new_session_id="s")
        assert _same_session(await store.get_session("taken"), taken)
        for wrong in REFUSED_IDS:
            with pytest.raises(InvalidValueError):
                await store.fork_session("s", new_session_id=wrong)
        await _append(store, "s", "a", "b")

        async def body(worker: int) -> Any:
            return await store.fork_session("s", new_session_id="raced")

        assert len(split(await race(body), SessionExistsError)[0]) == 1
        assert _ids(await store.get_messages("raced")) == ["a", "b"]

    async def test_c27_the_schema_is_told_and_changed(self, store: Any) -> None:
        async def write() -> None:
            await store.create_session(Session("s"))

        await check_schema(store, write, lambda: store.get_session("s"))

    # ---------------------------------------------------------------------------------------------------------- model

    def test_model_agrees_with_the_reference(self, spec: StoreSpec, colour: str) -> None:
        run_conversation_model(spec, colour, examples=self.model_examples, steps=self.model_steps)
