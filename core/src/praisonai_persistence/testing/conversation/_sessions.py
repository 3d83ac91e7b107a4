"""C01 to C08: sessions are created, updated, deleted and listed."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from praisonai_persistence.errors import (
    ConflictError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.records import ConversationSession
from praisonai_persistence.testing.conversation._common import (
    NOW,
    Message,
    Session,
    append,
    full_session,
    ids_of,
    same_session,
    seqs_of,
)
from praisonai_persistence.testing.corpus import (
    identical,
)
from praisonai_persistence.testing.harness import (
    Race,
    split,
)

__all__ = ["Sessions"]


class Sessions:
    """C01 to C08: sessions are created, updated, deleted and listed."""

    # ------------------------------------------------------------------------------------------------------- sessions

    async def test_c01_every_field_comes_back(self, store: Any) -> None:
        session = full_session()
        created = await store.create_session(session)
        assert same_session(created, session, version=1)
        assert same_session(await store.get_session("s"), created)

    async def test_c01_absent_and_empty_fields_stay_what_they_are(self, store: Any) -> None:
        values: list[Any] = [None, {}, {"x": {}}]
        for number, (name, value) in enumerate(itertools.product([None, "", "x"], values)):
            session = Session(str(number), name=name, state=value, metadata=value)
            assert same_session(await store.create_session(session), session)
            assert same_session(await store.get_session(str(number)), session)

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
        session = full_session()
        before = full_session().to_dict()
        for call in (store.create_session, store.update_session, store.upsert_session):
            returned = await call(session)
            assert identical(session.to_dict(), before), f"{call.__name__} changed its argument"
            assert returned is not session, "a call returned the caller's own record"

    async def test_c01_what_was_returned_is_the_callers_own(self, store: Any) -> None:
        session: Any = full_session()
        created = await store.create_session(session)
        expected = created.to_dict()
        expected["state"], expected["metadata"] = full_session().state, full_session().metadata
        for touched in (session, created, await store.get_session("s"), (await store.list_sessions())[0]):
            touched.name = "changed by the caller"
            touched.state["step"] = "changed by the caller"
            touched.state["nested"]["list"].append("changed by the caller")
            touched.metadata.clear()
            assert identical((await store.get_session("s")).to_dict(), expected), (
                "the caller's record is the stored one"
            )

    async def test_c02_an_existing_session_is_left_alone(self, store: Any) -> None:
        created = await store.create_session(full_session())
        with pytest.raises(SessionExistsError):
            await store.create_session(Session("s", user_id="other", name="other", state={"other": 1}))
        assert same_session(await store.get_session("s"), created)

    async def test_c02_its_messages_too(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", "a", "b")
        with pytest.raises(SessionExistsError):
            await store.create_session(Session("s"))
        assert ids_of(await store.get_messages("s")) == ["a", "b"]

    async def test_c02_of_many_creators_one_wins(self, store: Any, race: Race) -> None:
        async def body(worker: int) -> Any:
            return await store.create_session(Session("s", name=str(worker)))

        created, refused = split(await race(body), SessionExistsError)
        assert len(created) == 1
        assert len(refused) == 7
        assert same_session(await store.get_session("s"), created[0])

    async def test_c03_an_unknown_session_is_none(self, store: Any) -> None:
        assert await store.get_session("unknown") is None
        await store.create_session(Session("known"))
        assert await store.get_session("unknown") is None
        assert await store.get_session("know") is None
        assert await store.get_session("known ") is None

    async def test_c04_five_fields_are_replaced_and_the_rest_kept(self, store: Any) -> None:
        created = await store.create_session(full_session())
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
        assert same_session(updated, change, created_at=created.created_at, updated_at=updated.updated_at, version=2)
        assert same_session(await store.get_session("s"), updated)

    async def test_c04_fields_can_be_emptied(self, store: Any) -> None:
        await store.create_session(full_session())
        await store.update_session(Session("s"))
        found = await store.get_session("s")
        assert (found.user_id, found.agent_id, found.name, found.state, found.metadata) == (None,) * 5

    async def test_c04_each_update_raises_version_and_updated_at(self, store: Any) -> None:
        last = await store.create_session(full_session())
        for _ in range(5):
            updated = await store.update_session(last)
            assert updated.version == last.version + 1
            assert updated.updated_at > last.updated_at
            last = updated
        assert same_session(await store.get_session("s"), last)

    async def test_c04_an_unknown_session_is_an_error(self, store: Any) -> None:
        for expected_version in (None, 1):
            with pytest.raises(SessionNotFoundError):
                await store.update_session(Session("unknown"), expected_version=expected_version)
        assert await store.get_session("unknown") is None
        assert await store.list_sessions() == []

    async def test_c04_messages_and_other_sessions_stay(self, store: Any) -> None:
        await store.create_session(Session("s"))
        other = await store.create_session(full_session("other"))
        await append(store, "s", "a", "b")
        await store.update_session(Session("s", name="new"))
        assert ids_of(await store.get_messages("s")) == ["a", "b"]
        assert same_session(await store.get_session("other"), other)

    async def test_c04_no_update_is_lost(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))

        async def body(worker: int) -> list[int]:
            return [(await store.update_session(Session("s", name=f"{worker} {n}"))).version for n in range(5)]

        versions, _ = split(await race(body))
        assert sorted(itertools.chain(*versions)) == list(range(2, 42)), "two updates returned the same version"
        assert (await store.get_session("s")).version == 41

    async def test_c05_another_version_is_a_conflict(self, store: Any) -> None:
        await store.create_session(full_session())
        current = await store.update_session(full_session())
        for wrong in (0, 1, 3, -1, 10**6):
            with pytest.raises(ConflictError):
                await store.update_session(Session("s", name="lost"), expected_version=wrong)
            assert same_session(await store.get_session("s"), current)

    async def test_c05_the_stored_version_is_none(self, store: Any) -> None:
        session = await store.create_session(Session("s"))
        for _ in range(3):
            session = await store.update_session(session, expected_version=session.version)
        assert session.version == 4

    async def test_c05_a_message_does_not_change_the_version(self, store: Any) -> None:
        session = await store.create_session(Session("s"))
        await append(store, "s", "a")
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
            assert same_session(await store.get_session("s"), won[0])

    async def test_c06_creates_then_updates(self, store: Any) -> None:
        session = full_session()
        created = await store.upsert_session(session)
        assert same_session(created, session, version=1)
        await append(store, "s", "a")
        change = Session("s", user_id="user 2", name="name 2", state=None, created_at=1.0, updated_at=2.0, version=9)
        updated = await store.upsert_session(change)
        assert updated.updated_at > created.updated_at, "the second upsert did not raise updated_at"
        assert same_session(updated, change, created_at=created.created_at, updated_at=updated.updated_at, version=2)
        assert same_session(await store.get_session("s"), updated)
        assert ids_of(await store.get_messages("s")) == ["a"]
        assert len(await store.list_sessions()) == 1

    async def test_c06_racing_upserts_all_succeed(self, store: Any, race: Race) -> None:
        for session_id in ("first", "second", "third"):

            async def body(worker: int, session_id: str = session_id) -> Any:
                return await store.upsert_session(Session(session_id, name=str(worker)))

            sessions, _ = split(await race(body))
            assert sorted(session.version for session in sessions) == list(range(1, 9))
            last = max(sessions, key=lambda session: session.version)
            assert same_session(await store.get_session(session_id), last)
        assert len(await store.list_sessions()) == 3

    async def test_c07_true_once(self, store: Any) -> None:
        await store.create_session(full_session())
        assert await store.delete_session("s") is True
        assert await store.delete_session("s") is False
        assert await store.delete_session("unknown") is False
        assert await store.get_session("s") is None
        assert await store.list_sessions() == []

    async def test_c07_the_messages_go_too(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", "a", "b", "c")
        await store.delete_session("s")
        assert await store.get_messages("s") == []
        assert await store.count_messages("s") == 0
        await store.create_session(Session("s"))
        assert await store.get_messages("s") == [], "a new session has the messages of a deleted one"
        assert await store.count_messages("s") == 0
        again = await append(store, "s", "b")
        assert seqs_of(again) == [1]

    async def test_c07_other_sessions_stay(self, store: Any) -> None:
        for session_id in ("s", "s2", "S", "s_", "s%"):
            await store.create_session(Session(session_id))
            await append(store, session_id, "a")
        await store.delete_session("s")
        for session_id in ("s2", "S", "s_", "s%"):
            found = await store.get_session(session_id)
            assert found is not None, f"the session {session_id!r} was deleted with the session 's'"
            assert ids_of(await store.get_messages(session_id)) == ["a"]

    async def test_c07_of_many_deleters_one_wins(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", "a", "b")

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
                created_at=NOW,
                updated_at=NOW + chance.randint(0, 9) / 2,
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
        assert all(map(same_session, await store.list_sessions(), expected))

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
            await store.create_session(Session(str(number), created_at=NOW + number))
        await store.update_session(Session("1"))
        await append(store, "0", "a")
        await store.add_messages("2", [Message(id="a")])
        assert [s.session_id for s in await store.list_sessions()] == ["2", "0", "1", "3"]
