"""C28: a session that is rewritten, or made with its messages, in one step."""

from __future__ import annotations

from typing import Any

import pytest

from praisonai_persistence.errors import (
    ConflictError,
    DuplicateMessageError,
    InvalidValueError,
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.testing.conversation._common import (
    BODIES,
    Message,
    Session,
    append,
    assert_unchanged,
    full_message,
    full_session,
    ids_of,
    same_message,
    same_session,
    seqs_of,
)
from praisonai_persistence.testing.corpus import REFUSED_IDS
from praisonai_persistence.testing.harness import Moments, OpenStore, Race, Spawn, Unsupported, declares, full_only

__all__ = ["Rewrites"]

_PARTS = 5


def _whole(found: list[str]) -> bool:
    """Whether texts are those of one round: ``_PARTS`` times the same number."""
    return found == [found[0]] * _PARTS if found else False


class Rewrites:
    """C28: a session that is rewritten, or made with its messages, in one step."""

    async def test_c28_fields_and_messages_change_together(self, store: Any, open_store: OpenStore) -> None:
        await store.create_session(full_session())
        await append(store, "s", *"abc")
        await store.update_session(full_session())
        old = await store.get_session("s")
        assert old.version == 2
        change = Session("s", user_id="other", name=None, state={"n": [1]}, metadata={"new": True}, created_at=1.0)
        new = [full_message("d"), Message(id="e", content=None)]
        found = await store.rewrite_session(change, new, expected_version=2, remove=["b", "not there"])
        assert same_session(found, change, created_at=old.created_at, updated_at=found.updated_at, version=3)
        assert found.updated_at > old.updated_at
        for other in (store, open_store()) if declares(store, "shared") else (store,):
            assert same_session(await other.get_session("s"), found)
            messages = await other.get_messages("s")
            assert (ids_of(messages), seqs_of(messages)) == (["a", "c", "d", "e"], [1, 3, 4, 5])
            assert same_message(messages[2], full_message("d"), session_id="s", seq=4)
            assert await other.count_messages("s") == 4
            assert ids_of(await other.get_messages("s", limit=2, before_seq=5)) == ["c", "d"]
        if declares(store, "search"):
            assert {message.id for message in await store.search_messages("content")} == {"a", "c", "d"}
        # Nothing but messages, nothing but fields, and everything.
        await store.rewrite_session(found, [], expected_version=3, remove=["a", "c", "d", "e"])
        assert await store.get_messages("s") == []
        await store.rewrite_session(found, expected_version=4)
        again = await store.rewrite_session(found, [Message(id="a", content="again")], expected_version=5)
        assert same_session(again, found, updated_at=again.updated_at, version=6)
        assert seqs_of(await append(store, "s", "f")) == [7]
        assert [(message.id, message.content) for message in await store.get_messages("s")] == [
            ("a", "again"),
            ("f", "content of f"),
        ]
        if declares(store, "search"):
            assert [message.id for message in await store.search_messages("again")] == ["a"]

    async def test_c28_a_message_given_again_takes_the_place_of_the_removed_one(self, store: Any) -> None:
        """With the same content, too: it is appended, and never taken for the one that goes."""
        await store.create_session(Session("s"))
        await append(store, "s", *"abc")
        new = [full_message("a"), Message(id="b", content="other"), Message(id="d", content="new")]
        same = (await store.get_messages("s"))[2]
        await store.rewrite_session(Session("s"), [*new, same], expected_version=1, remove=["c", "b", "x", "a"])
        messages = await store.get_messages("s")
        assert (ids_of(messages), seqs_of(messages)) == (["a", "b", "d", "c"], [4, 5, 6, 7])
        assert [message.content for message in messages] == [*(message.content for message in new), same.content]

    async def test_c28_a_session_is_made_with_its_messages(self, store: Any) -> None:
        new = [full_message(name) for name in "abc"]
        found = await store.rewrite_session(full_session(), new, expected_version=0)
        assert same_session(found, full_session(), version=1, updated_at=found.updated_at)
        assert same_session(await store.get_session("s"), found)
        messages = await store.get_messages("s")
        assert (ids_of(messages), seqs_of(messages)) == (list("abc"), [1, 2, 3])
        assert seqs_of(await append(store, "s", "d")) == [4]
        empty = await store.rewrite_session(Session("empty"), expected_version=0)
        assert (empty.version, await store.get_messages("empty")) == (1, [])
        # A second time, after it was deleted, it begins anew.
        await store.delete_session("s")
        await store.rewrite_session(Session("s"), [Message(id="z")], expected_version=0)
        assert seqs_of(await store.get_messages("s")) == [1]

    async def test_c28_a_rewrite_is_refused(self, store: Any, unsupported: Unsupported) -> None:
        await store.create_session(full_session())
        await append(store, "s", *"abc")
        session = await store.get_session("s")
        new = [Message(id="d")]
        for version in (2, 99):
            with pytest.raises(ConflictError):
                await store.rewrite_session(Session("s"), new, expected_version=version, remove=["a"])
        with pytest.raises(SessionExistsError):
            await store.rewrite_session(Session("s"), new, expected_version=0, remove=["a"])
        with pytest.raises(SessionNotFoundError):
            await store.rewrite_session(Session("unknown"), new, expected_version=1, remove=["a"])
        await assert_unchanged(store, session, 3)
        assert await store.get_session("unknown") is None
        if not declares(store, "rewrite"):
            unsupported("rewrite")
            return
        with pytest.raises(DuplicateMessageError):
            await store.rewrite_session(
                Session("s"), [*new, Message(id="b", content="other")], expected_version=1, remove=["a"]
            )
        for wrong in (None, -1, 1.0, "1", True):
            with pytest.raises(InvalidValueError):
                await store.rewrite_session(Session("s"), new, expected_version=wrong)
        for wrong in REFUSED_IDS:
            with pytest.raises(InvalidValueError):
                await store.rewrite_session(Session("s"), new, expected_version=1, remove=["a", wrong])
        with pytest.raises(SerializationError):
            await store.rewrite_session(Session("s"), [*new, Message(metadata={"x": {1}})], expected_version=1)
        await assert_unchanged(store, session, 3)

    async def test_c28_of_two_rewrites_one_wins_and_no_append_is_lost(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))

        async def body(worker: int) -> int:
            wins = 0
            for turn in range(5):
                session = await store.get_session("s")
                old = [message.id for message in await store.get_messages("s") if message.role == "summary"]
                new = [Message(id=f"{worker}-{turn}-{part}", role="summary") for part in range(3)]
                await store.add_message("s", Message(id=f"said {worker} {turn}"))
                try:
                    await store.rewrite_session(session, new, expected_version=session.version, remove=old)
                except ConflictError:
                    continue
                wins += 1
            return wins

        wins = await race(body, workers=4)
        assert all(isinstance(number, int) for number in wins), wins
        assert (await store.get_session("s")).version == 1 + sum(wins)
        messages = await store.get_messages("s")
        assert len([message for message in messages if message.role != "summary"]) == 20
        if declares(store, "rewrite"):
            assert len([message for message in messages if message.role == "summary"]) == 3
        assert sorted(seqs_of(messages)) == seqs_of(messages)

    async def test_c28_readers_see_the_old_or_the_new(self, store: Any, race: Race, unsupported: Unsupported) -> None:
        if not declares(store, "rewrite"):
            unsupported("rewrite")
            return
        ids = [f"{part}" for part in range(_PARTS)]
        await store.rewrite_session(Session("s"), [Message(id=item, content="0") for item in ids], expected_version=0)

        async def body(worker: int) -> list[list[Any]]:
            found = []
            for turn in range(1, 16):
                if worker == 0:
                    session = await store.get_session("s")
                    new = [Message(id=f"{turn}-{item}", content=str(turn)) for item in ids]
                    old = [message.id for message in await store.get_messages("s")]
                    await store.rewrite_session(session, new, expected_version=session.version, remove=old)
                else:
                    found.append([message.content for message in await store.get_messages("s")])
            return found

        for seen in (await race(body, workers=3))[1:]:
            assert isinstance(seen, list), seen
            assert all(_whole(found) for found in seen), "a reader saw half of a rewrite"

    @full_only
    @pytest.mark.crash
    async def test_c28_killed_while_rewriting(
        self, store: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported
    ) -> None:
        if not declares(store, "rewrite") or not declares(store, "durable"):
            unsupported("rewrite")
            return
        await store.close()
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{BODIES}:rewrite_forever", name=str(trial), parts=_PARTS)
            child.go()
            *_, last = await child.kill_after(reports, delay)
            survivor = open_store()
            for session_id, number in (last, [last[0].replace("old", "new"), last[1]]):
                session = await survivor.get_session(session_id)
                found = [message.content for message in await survivor.get_messages(session_id)]
                if session is None:  # the new one, which was about to be made
                    assert (found, session_id[:3]) == ([], "new")
                    continue
                assert _whole(found), "a killed rewrite is there in part"
                assert session.name == found[0], "fields and messages of two rewrites"
                assert int(found[0]) in {number, number + 1}
            assert await append(survivor, last[0], "goes on")
            await survivor.close()
