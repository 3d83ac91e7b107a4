"""C13 to C16: messages are read, counted and deleted."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest

from praisonai_persistence.records import ConversationMessage
from praisonai_persistence.testing.conversation._common import (
    Message,
    Session,
    append,
    full_session,
    ids_of,
    same_message,
    same_session,
    seqs_of,
)
from praisonai_persistence.testing.harness import (
    OpenStore,
    Race,
    split,
)

__all__ = ["Reading"]


class Reading:
    """C13 to C16: messages are read, counted and deleted."""

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
            assert ids_of(found) == ids_of(expected), f"{limit=}, {before=}, {after=}"

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
            assert ids_of(found) == ids_of(expected), (
                f"{limit=}, before_seq={before}, after_seq={after}, before={until}"
            )

    async def test_c13_paging_backwards_reaches_every_message(self, store: Any) -> None:
        everything = await self._odd_messages(store)
        pages: list[Message] = []
        while page := await store.get_messages("s", 5, before_seq=pages[0].seq if pages else None):
            pages = page + pages
        assert ids_of(pages) == ids_of(everything)

    async def test_c13_a_limit_means_the_latest(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", *"abcdefgh")
        assert ids_of(await store.get_messages("s", limit=3)) == ["f", "g", "h"]
        assert ids_of(await store.get_messages("s", 3)) == ["f", "g", "h"]
        assert ids_of(await store.get_messages("s", limit=8)) == list("abcdefgh")
        assert ids_of(await store.get_messages("s", limit=9)) == list("abcdefgh")
        assert ids_of(await store.get_messages("s")) == list("abcdefgh")

    async def test_c13_a_limit_of_0_and_below(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", "a", "b")
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
        await append(store, "s", *"abcdef")
        assert await store.delete_messages("s", ["b", "e"]) == 2
        assert ids_of(await store.get_messages("s")) == list("acdf")
        assert await store.delete_messages("s", ["b", "a", "unknown", "a"]) == 1
        assert ids_of(await store.get_messages("s")) == list("cdf")
        assert seqs_of(await store.get_messages("s")) == [3, 4, 6]
        assert await store.delete_messages("s", ("c",)) == 1
        assert await store.count_messages("s") == 2

    async def test_c14_none_means_all_and_an_empty_list_none(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", *"abc")
        assert await store.delete_messages("s", []) == 0
        assert await store.count_messages("s") == 3
        assert await store.delete_messages("s") == 3
        assert await store.get_messages("s") == []
        assert await store.delete_messages("s") == 0

    async def test_c14_the_session_stays(self, store: Any) -> None:
        created = await store.create_session(full_session())
        await append(store, "s", "a")
        await store.delete_messages("s")
        found = await store.get_session("s")
        assert same_session(found, created, updated_at=found.updated_at)

    async def test_c14_other_sessions_stay(self, store: Any) -> None:
        for session_id in ("s", "t"):
            await store.create_session(Session(session_id))
            await append(store, session_id, "a", "b")
        await store.delete_messages("s", ["a"])
        await store.delete_messages("s")
        assert ids_of(await store.get_messages("t")) == ["a", "b"]
        assert await store.delete_messages("unknown") == 0
        assert await store.delete_messages("unknown", ["a"]) == 0
        assert await store.get_session("unknown") is None

    async def test_c14_a_number_is_never_given_twice(self, store: Any, open_store: OpenStore) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", *"abc")
        await store.delete_messages("s", ["c"])
        assert seqs_of(await append(store, "s", "d")) == [4], "the number of the deleted newest was given again"
        await store.delete_messages("s")
        other = open_store()
        assert seqs_of(await other.add_messages("s", [Message(id="e"), Message(id="f")])) == [5, 6]
        await other.delete_messages("s")
        await other.update_session(Session("s", name="x"))
        await store.upsert_session(Session("s", name="y"))
        assert seqs_of(await append(store, "s", "g")) == [7]
        assert seqs_of(await store.get_messages("s")) == [7]

    async def test_c14_a_deleted_id_is_free_again(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", "a", "b")
        await store.delete_messages("s", ["a"])
        again = await store.add_message("s", Message(id="a", content="another"))
        assert again.seq == 3
        assert [m.content for m in await store.get_messages("s")] == ["content of b", "another"]

    async def test_c14_many_at_once(self, store: Any) -> None:
        await store.create_session(Session("s"))
        await store.add_messages("s", [Message(id=str(n)) for n in range(2_000)])
        assert await store.delete_messages("s", [str(n) for n in range(5, 40_000)]) == 1_995
        assert ids_of(await store.get_messages("s")) == ["0", "1", "2", "3", "4"]

    async def test_c14_of_many_deleters_one_counts(self, store: Any, race: Race) -> None:
        await store.create_session(Session("s"))
        await append(store, "s", *"abcdefgh")

        async def body(worker: int) -> Any:
            return await store.delete_messages("s", list("abcdef") if worker % 2 else list("cdefgh"))

        counts, _ = split(await race(body))
        assert sum(counts) == 8

    async def test_c15_messages_are_counted(self, store: Any) -> None:
        assert await store.count_messages("s") == 0
        for session_id in ("s", "t"):
            await store.create_session(Session(session_id))
        assert await store.count_messages("s") == 0
        await append(store, "s", *"abc")
        await append(store, "t", "a")
        await store.add_messages("s", [Message(), Message()])
        assert await store.count_messages("s") == 5
        await append(store, "s", "a")  # once more
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
                assert same_message(message, expected, session_id="s", seq=number), expected.id

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
            assert same_message(
                await store.add_message("s", message), message, session_id="s", seq=int(message.id) // 2 + 1
            )
        await store.add_messages("s", messages[1::2])
        found = {message.id: message for message in await store.get_messages("s")}
        for message in messages:
            assert same_message(found[message.id], message, session_id="s", seq=found[message.id].seq)
