"""C17, C18, C25: what goes in comes out, any text is an id, and updated_at never goes back."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
    SerializationError,
)
from praisonai_persistence.testing.conversation._common import (
    CLOCKS,
    EVERYTHING,
    FAR_FUTURE,
    FAR_TIMES,
    NOW,
    Message,
    Session,
    assert_unchanged,
    clock_at,
    full_session,
    ids_of,
    same_message,
    same_session,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_IDS,
    HOSTILE_JSON,
    HOSTILE_OBJECTS,
    HOSTILE_TEXTS,
    REFUSED_IDS,
    REFUSED_JSON,
    REFUSED_NUMBERS,
    identical,
    large_texts,
    nested,
    shorten,
)
from praisonai_persistence.testing.harness import (
    ByTier,
    OpenStore,
    Race,
    full_only,
    split,
)

__all__ = ["Values"]


class Values:
    """C17, C18, C25: what goes in comes out, any text is an id, and updated_at never goes back."""

    # --------------------------------------------------------------------------------------------------------- values

    async def test_c17_every_text_of_a_message(self, store: Any) -> None:
        await store.create_session(Session("s"))
        batch = []
        for number, text in enumerate(HOSTILE_TEXTS):
            single = Message(id=f"s{number}", role=text, content=text, tool_call_id=text)
            batch.append(Message(id=f"b{number}", role=text, content=text, tool_call_id=text))
            added = await store.add_message("s", single)
            assert same_message(added, single, session_id="s", seq=number + 1), shorten(text)
        await store.add_messages("s", batch)
        stored = await store.get_messages("s")
        assert len(stored) == 2 * len(HOSTILE_TEXTS)
        for message, text in zip(stored, HOSTILE_TEXTS * 2, strict=True):
            assert (message.role, message.content, message.tool_call_id) == (text,) * 3, shorten(text)

    async def test_c17_every_text_of_a_session(self, store: Any) -> None:
        for number, text in enumerate(HOSTILE_TEXTS):
            session = Session(str(number), name=text, state={text: text}, metadata={"list": [text, {text: [text]}]})
            await store.create_session(session)
            assert same_session(await store.get_session(str(number)), session), shorten(text)
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
            assert same_session(await store.create_session(session), session), shorten(value)
            assert same_session(await store.get_session(str(number)), session), shorten(value)
        for value in HOSTILE_JSON:
            await store.update_session(Session("0", state={"value": value}, metadata={"list": [value, value]}))
            found = await store.get_session("0")
            assert identical(found.state, {"value": value}), shorten(value)
            assert identical(found.metadata, {"list": [value, value]}), shorten(value)

    async def test_c17_large_texts(self, store: Any) -> None:
        await store.create_session(Session("s"))
        texts = large_texts(getattr(store, "max_message_bytes", None))
        for number, text in enumerate(texts):
            message = Message(id=str(number), content=text)
            assert same_message(await store.add_message("s", message), message, session_id="s", seq=number + 1)
            assert (await store.get_messages("s", 1))[0].content == text
        session = Session("large", name=texts[0], state={"text": texts[-1]})
        await store.create_session(session)
        assert same_session(await store.get_session("large"), session)

    @full_only
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
        await assert_unchanged(store, before, 1)

    async def test_c17_what_is_no_json_is_refused(self, store: Any) -> None:
        created = await store.create_session(full_session())
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
        await assert_unchanged(store, created, 0)
        assert await store.get_session("new") is None

    async def test_c17_other_types_are_refused(self, store: Any) -> None:
        created = await store.create_session(full_session())
        wrong: dict[str, list[Any]] = {
            "content": [b"x", 1, [1], [None], {"x": 1}, True],
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
        await assert_unchanged(store, created, 0)
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
        await assert_unchanged(store, created, 0)
        assert await store.get_session("new") is None

    async def test_c17_times_that_are_none(self, store: Any) -> None:
        created = await store.create_session(full_session())
        for value in (*REFUSED_NUMBERS, "1", None, True, 10**400):
            wrong: Any = value
            with pytest.raises(ValueError):
                await store.add_message("s", Message(created_at=wrong))
            with pytest.raises(ValueError):
                await store.create_session(Session("new", created_at=wrong, updated_at=1.0))
        await assert_unchanged(store, created, 0)
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

    async def _each_write(self, store: Any, session_id: str = "s") -> list[float]:
        """Do every kind of write to a session and its messages; return updated_at before, between and after."""
        moments = [(await store.get_session(session_id)).updated_at]
        writes: list[tuple[Any, ...]] = [
            (store.add_message, session_id, Message(id="a", created_at=1.0)),
            (store.add_messages, session_id, [Message(id="b", created_at=1.0), Message(id="c")]),
            (store.delete_messages, session_id, ["b"]),
            (store.delete_messages, session_id),
            (store.add_message, session_id, Message(id="d", created_at=FAR_FUTURE + 1_000_000)),
            (store.update_session, Session(session_id, updated_at=1.0)),
            (store.upsert_session, Session(session_id, updated_at=1.0)),
            (store.add_message, session_id, Message(id="e")),
        ]
        for write, *arguments in writes:
            await write(*arguments)
            moments.append((await store.get_session(session_id)).updated_at)
        return moments

    async def test_c18_each_write_raises_updated_at(self, store: Any) -> None:
        await store.create_session(Session("s", created_at=NOW))
        start = time.time()
        moments = await self._each_write(store)
        for number, (before, after) in enumerate(itertools.pairwise(moments), 1):
            assert before < after, f"write {number} did not raise updated_at"
        assert moments[1] >= start - 1, "updated_at is not the time of the write"
        assert (await store.get_session("s")).created_at == NOW

    async def test_c18_whatever_time_a_caller_gave(self, store: Any) -> None:
        for number, moment in enumerate(FAR_TIMES):
            for make in ("create_session", "upsert_session"):
                session_id = f"{number} {make}"
                for session in (
                    await getattr(store, make)(Session(session_id, created_at=moment)),
                    await store.get_session(session_id),
                ):
                    assert session.created_at == moment
                    assert session.updated_at <= time.time() + 60, f"created_at={moment!r} is no time of a write"
            moments = await self._each_write(store, session_id)
            for write, (before, after) in enumerate(itertools.pairwise(moments), 1):
                assert before < after, f"write {write} did not raise updated_at, created_at is {moment!r}"

    async def test_c18_whatever_the_clock_says(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        await store.connect()
        for number, moment in enumerate((time.time() + 1_000, *CLOCKS)):
            session_id = str(number)
            with monkeypatch.context() as clock:
                clock.setattr(time, "time", clock_at(moment))
                await store.create_session(Session(session_id, created_at=NOW, updated_at=moment))
                moments = await self._each_write(store, session_id)
            for last in ("f", "g"):
                await store.add_message(session_id, Message(id=last))
                moments.append((await store.get_session(session_id)).updated_at)
            for write, (before, after) in enumerate(itertools.pairwise(moments), 1):
                assert before < after, f"write {write} did not raise updated_at, the clock was at {moment!r}"

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
        other = await store.create_session(full_session("other"))
        await store.create_session(Session("s"))
        await self._each_write(store)
        assert same_session(await store.get_session("other"), other)

    # ------------------------------------------------------------------------------------------------------------ ids

    async def test_c25_every_id_is_a_session_of_its_own(self, store: Any, tmp_path: Path, by_tier: ByTier) -> None:
        step = by_tier(quick=8, full=1)  # after so many deletions the rest is listed
        outside = self._outside(tmp_path)
        for session_id in HOSTILE_IDS:
            await store.create_session(Session(session_id, name=session_id))
            await store.add_message(session_id, Message(id="m", content=session_id))
        listed = await store.list_sessions(limit=EVERYTHING)
        assert sorted(s.session_id for s in listed) == sorted(HOSTILE_IDS)
        for session_id in HOSTILE_IDS:
            found = await store.get_session(session_id)
            assert (found.session_id, found.name) == (session_id, session_id)
            messages = await store.get_messages(session_id)
            assert [(m.session_id, m.content) for m in messages] == [(session_id, session_id)], shorten(session_id)
        for number, session_id in enumerate(HOSTILE_IDS):
            assert await store.delete_session(session_id) is True, shorten(session_id)
            if number % step == 0 or number + 1 == len(HOSTILE_IDS):
                assert len(await store.list_sessions(limit=EVERYTHING)) == len(HOSTILE_IDS) - number - 1
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
        assert ids_of(stored) == HOSTILE_IDS[::2] + HOSTILE_IDS[1::2]
        assert all(message.content == message.id for message in stored)
        for number, item in enumerate(HOSTILE_IDS):
            assert await store.delete_messages("s", [item]) == 1, shorten(item)
            assert await store.count_messages("s") == len(HOSTILE_IDS) - number - 1

    async def test_c25_every_id_is_a_user_and_an_agent(self, store: Any, by_tier: ByTier) -> None:
        step = by_tier(quick=3, full=1)  # one of the filters for each id, in turn, or all of them
        for number, item in enumerate(HOSTILE_IDS):
            await store.create_session(Session(str(number), user_id=item, agent_id=item))
        for number, item in enumerate(HOSTILE_IDS):
            filters = [{"user_id": item}, {"agent_id": item}, {"user_id": item, "agent_id": item}]
            for chosen in filters[number % step :: step]:
                found = [s.session_id for s in await store.list_sessions(**chosen)]
                assert found == [str(number)], f"{shorten(item)} found {found}"

    async def test_c25_what_is_no_id_is_refused(self, store: Any) -> None:
        created = await store.create_session(full_session())
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
        await assert_unchanged(store, created, 0)
        assert len(await store.list_sessions()) == 1
