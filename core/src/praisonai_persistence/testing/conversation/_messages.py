"""C09 to C12: messages are appended, one by one and in batches."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import pytest

from praisonai_persistence.errors import (
    DuplicateMessageError,
    PersistenceError,
    SessionNotFoundError,
)
from praisonai_persistence.testing.conversation._common import (
    FAR_FUTURE,
    NOW,
    Message,
    Session,
    append,
    assert_unchanged,
    full_message,
    ids_of,
    same_message,
    seqs_of,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_TEXTS,
    identical,
    shorten,
)
from praisonai_persistence.testing.harness import (
    OpenStore,
    Race,
    split,
)

__all__ = ["Messages"]


class Messages:
    """C09 to C12: messages are appended, one by one and in batches."""

    # ------------------------------------------------------------------------------------------------------- messages

    async def test_c09_numbers_are_1_2_3(self, store: Any) -> None:
        await store.create_session(Session("s"))
        added = await append(store, "s", "a", "b", "c")
        added += await store.add_messages("s", [Message(id="d"), Message(id="e")])
        added += await append(store, "s", "f")
        assert seqs_of(added) == [1, 2, 3, 4, 5, 6]
        stored = await store.get_messages("s")
        assert ids_of(stored) == list("abcdef")
        assert seqs_of(stored) == [1, 2, 3, 4, 5, 6]

    async def test_c09_every_field_comes_back(self, store: Any) -> None:
        await store.create_session(Session("s"))
        message = full_message()
        added = await store.add_message("s", message)
        assert same_message(added, message, session_id="s", seq=1)
        assert same_message((await store.get_messages("s"))[0], added)
        batch = [full_message("m 2"), full_message("m 3", None)]
        both = await store.add_messages("s", batch)
        for found in (both, await store.get_messages("s", 2)):
            assert same_message(found[0], batch[0], session_id="s", seq=2)
            assert same_message(found[1], batch[1], session_id="s", seq=3)

    async def test_c09_the_callers_number_is_ignored(self, store: Any) -> None:
        await store.create_session(Session("s"))
        added = await store.add_message("s", Message(id="a", seq=17, session_id="s"))
        added_too = await store.add_messages("s", [Message(id="b", seq=1), Message(id="c", seq=1)])
        assert seqs_of([added, *added_too]) == [1, 2, 3]

    async def test_c09_another_sessions_message_is_refused(self, store: Any) -> None:
        created = await store.create_session(Session("s"))
        await store.create_session(Session("other"))
        with pytest.raises(ValueError):
            await store.add_message("s", Message(session_id="other"))
        await assert_unchanged(store, created, 0)

    async def test_c09_the_order_is_not_that_of_the_clock(self, store: Any) -> None:
        await store.create_session(Session("s"))
        for number, moment in enumerate([NOW, NOW - 10, NOW + 10, NOW, 0.0, FAR_FUTURE, NOW]):
            await store.add_message("s", Message(id=str(number), created_at=moment))
        await store.add_messages("s", [Message(id="7", created_at=9.0), Message(id="8", created_at=8.0)])
        assert ids_of(await store.get_messages("s")) == list("012345678")
        assert ids_of(await store.get_messages("s", limit=3)) == list("678")

    async def test_c09_each_session_counts_for_itself(self, store: Any) -> None:
        for session_id in ("s", "t"):
            await store.create_session(Session(session_id))
        added = [await store.add_message(session_id, Message()) for session_id in ("s", "t", "s", "t", "t")]
        assert seqs_of(added) == [1, 1, 2, 2, 3]

    async def test_c09_the_argument_is_left_alone(self, store: Any) -> None:
        await store.create_session(Session("s"))
        single, batch = full_message("1"), [full_message("2"), full_message("3")]
        returned = [await store.add_message("s", single), *await store.add_messages("s", batch)]
        assert identical(single.to_dict(), full_message("1").to_dict())
        assert [message.to_dict() for message in batch] == [full_message(n).to_dict() for n in "23"]
        assert not any(a is b for a, b in zip(returned, [single, *batch], strict=True))

    async def test_c09_what_was_returned_is_the_callers_own(self, store: Any) -> None:
        await store.create_session(Session("s"))
        message: Any = full_message()
        added = await store.add_message("s", message)
        again = await store.add_message("s", full_message())
        expected = {**full_message().to_dict(), "session_id": "s", "seq": 1}
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
                    numbers += seqs_of(await store.add_messages("s", batch))
            return numbers

        numbers, _ = split(await race(body))
        for own in numbers:
            assert own == sorted(own), "a writer's later message has a lower number"
        assert sorted(itertools.chain(*numbers)) == list(range(1, 8 * 18 + 1)), "numbers repeat or are left out"
        assert seqs_of(await store.get_messages("s")) == list(range(1, 8 * 18 + 1))

    async def test_c10_no_message_without_its_session(self, store: Any) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.add_message("s", full_message())
        with pytest.raises(SessionNotFoundError):
            await store.add_messages("s", [full_message(n) for n in "ab"])
        assert await store.get_session("s") is None
        assert await store.count_messages("s") == 0
        await store.create_session(Session("s"))
        assert await store.get_messages("s") == [], "a refused message was written"
        assert seqs_of(await append(store, "s", "a")) == [1]

    async def test_c10_nor_after_it_was_deleted(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", "a")
        await store.delete_session("s")
        with pytest.raises(SessionNotFoundError):
            await append(store, "s", "b")
        with pytest.raises(SessionNotFoundError):  # not even one that was there
            await append(store, "s", "a")
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
        first = await store.add_message("s", full_message())
        await append(store, "s", "b")
        retried = full_message()
        retried.created_at += 100  # a retry that builds its message anew
        for again in (await store.add_message("s", retried), *await store.add_messages("s", [retried])):
            assert same_message(again, first)
        assert ids_of(await store.get_messages("s")) == ["m", "b"]
        assert same_message((await store.get_messages("s"))[0], first)
        assert seqs_of(await append(store, "s", "c")) == [3], "a repeated append used up a number"

    async def test_c11_hostile_content_repeated_is_equal(self, store: Any) -> None:
        await store.create_session(Session("s"))
        for number, text in enumerate(HOSTILE_TEXTS):
            fields: dict[str, Any] = {
                "id": str(number), "role": text, "content": text, "tool_call_id": text,
                "tool_calls": [{text: text}], "metadata": {text: [text, None, 0.1 + 0.2, 10**30]},
            }  # fmt: skip
            first = await store.add_message("s", Message(**fields))
            assert same_message(await store.add_message("s", Message(**fields)), first), shorten(text)
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
        first = await store.add_message("s", full_message())
        session = await store.get_session("s")
        changes: list[dict[str, Any]] = [
            {"content": "other"}, {"content": "content "}, {"content": None}, {"content": ""}, {"role": "user"},
            {"tool_calls": None}, {"tool_calls": []}, {"tool_calls": [{"id": "call_2"}]},
            {"tool_call_id": None}, {"tool_call_id": ""}, {"tool_call_id": "call_1"},
            {"metadata": None}, {"metadata": {}}, {"metadata": {"model": "m", "tokens": "12"}},
        ]  # fmt: skip
        for change in changes:
            message = Message(**{**full_message().to_dict(), **change})
            with pytest.raises(DuplicateMessageError):
                await store.add_message("s", message)
            with pytest.raises(DuplicateMessageError):
                await store.add_messages("s", [Message(id="new"), message])
            await assert_unchanged(store, session, 1)
        assert same_message((await store.get_messages("s"))[0], first)

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
        assert ids_of(added) == list("abcd")
        assert seqs_of(added) == [3, 1, 4, 2]
        assert same_message(added[1], old[0])
        assert same_message(added[3], old[1])
        assert ids_of(await store.get_messages("s")) == list("bdac")
        assert seqs_of(await store.add_messages("s", batch)) == [3, 1, 4, 2]
        assert await store.count_messages("s") == 4

    async def test_c11_a_batch_may_hold_a_message_twice(self, store: Any) -> None:
        await store.create_session(Session("s"))
        batch = [Message(id=item, content=item) for item in "abab"]
        assert seqs_of(await store.add_messages("s", batch)) == [1, 2, 1, 2]
        assert ids_of(await store.get_messages("s")) == ["a", "b"]
        created = await store.get_session("s")
        with pytest.raises(DuplicateMessageError):
            await store.add_messages("s", [Message(id="c", content="one"), Message(id="c", content="other")])
        await assert_unchanged(store, created, 2)

    async def test_c11_a_racing_retry_adds_nothing(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        for message_id in ("1", "2", "3"):

            async def body(worker: int, message_id: str = message_id) -> Any:
                return await store.add_message("s", Message(id=message_id, content="same", metadata={"same": True}))

            added, _ = split(await race(body))
            assert set(seqs_of(added)) == {int(message_id)}
            assert len({message.created_at for message in added}) == 1, "the stored message was not returned"
        assert seqs_of(await store.get_messages("s")) == [1, 2, 3]

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
        added = await store.add_messages("s", tuple(Message(id=item, created_at=NOW - n) for n, item in enumerate(ids)))
        assert ids_of(added) == ids
        assert seqs_of(added) == list(range(1, 101))
        assert ids_of(await store.get_messages("s")) == ids

    async def test_c12_an_empty_batch_adds_nothing(self, store: Any) -> None:
        created = await store.create_session(Session("s"))
        assert await store.add_messages("s", []) == []
        await assert_unchanged(store, created, 0)

    async def test_c12_a_large_batch(self, store: Any) -> None:
        await store.create_session(Session("s"))
        added = await store.add_messages("s", [Message(id=str(n), content=f"content {n}") for n in range(5_000)])
        assert seqs_of(added) == list(range(1, 5_001))
        stored = await store.get_messages("s")
        assert ids_of(stored) == [str(n) for n in range(5_000)]
        assert stored[4_999].content == "content 4999"

    async def test_c12_a_refused_message_refuses_the_batch(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", "taken")
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
            await assert_unchanged(store, before, 1)
        assert seqs_of(await store.add_messages("s", good)) == [2, 3, 4], "a refused batch used up numbers"

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
                found = ids_of(await reader.get_messages("s"))
                whole = {item.rpartition("-")[0] for item in found}
                assert len(found) == 5 * len(whole), "a reader saw half a batch"
                assert await reader.count_messages("s") % 5 == 0

        split(await race(body))
        assert await store.count_messages("s") == 4 * 6 * 5
