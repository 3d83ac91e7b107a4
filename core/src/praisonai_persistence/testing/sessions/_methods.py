"""The five methods, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
    PersistenceError,
    StoreClosedError,
)
from praisonai_persistence.sessions import SessionStoreProtocol
from praisonai_persistence.testing.corpus import (
    HOSTILE_IDS,
    HOSTILE_TEXTS,
    LARGE_TEXTS,
    REFUSED_IDS,
    REFUSED_JSON,
    shorten,
)
from praisonai_persistence.testing.harness import OpenStore, Race, Unsupported, raw, split
from praisonai_persistence.testing.sessions._common import (
    declares,
    fill,
    texts_of,
)

__all__ = ["Methods"]


class Methods:
    """The five methods, and what is refused."""

    # ----------------------------------------------------------------------------------------------- the five methods

    async def test_it_has_the_five_methods(self, store: Any) -> None:
        assert isinstance(raw(store), SessionStoreProtocol)

    async def test_an_unknown_session_is_empty(self, store: Any) -> None:
        assert await store.session_exists("nobody") is False
        assert await store.get_chat_history("nobody") == []
        assert await store.get_chat_history("nobody", 5) == []
        assert await store.session_exists("nobody") is False, "reading made a session"

    async def test_messages_come_back_in_order(self, store: Any) -> None:
        sent = [
            {"role": role, "content": f"{number}"}
            for number, role in enumerate(["system", "user", "assistant", "user", "assistant"] * 4)
        ]
        for message in sent:
            assert await store.add_message("s", message["role"], message["content"], {"n": 1}) is True
        assert await store.get_chat_history("s") == sent
        assert await store.session_exists("s") is True

    async def test_sessions_are_apart(self, store: Any) -> None:
        await fill(store, "a", "of a")
        await fill(store, "b", "of b")
        assert texts_of(await store.get_chat_history("a")) == ["of a"]
        assert texts_of(await store.get_chat_history("b")) == ["of b"]

    async def test_a_limit_means_the_latest(self, store: Any) -> None:
        texts = [str(number) for number in range(30)]
        await fill(store, "s", *texts)
        for limit in (1, 2, 7, 29, 30, 31, 10**6):
            assert texts_of(await store.get_chat_history("s", limit)) == texts[-limit:]
            assert texts_of(await store.get_chat_history("s", max_messages=limit)) == texts[-limit:]
        assert texts_of(await store.get_chat_history("s", None)) == texts

    async def test_clearing_keeps_the_session(self, store: Any) -> None:
        await fill(store, "s", "one", "two")
        await fill(store, "other", "stays")
        assert await store.clear_session("s") is True
        assert await store.get_chat_history("s") == []
        assert await store.session_exists("s") is True
        await fill(store, "s", "three")
        assert texts_of(await store.get_chat_history("s")) == ["three"]
        assert texts_of(await store.get_chat_history("other")) == ["stays"]

    async def test_each_write_raises_updated_at(
        self, store: Any, unsupported: Unsupported, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not hasattr(raw(store), "list_sessions"):
            assert not declares(store, "hierarchy")
            unsupported("hierarchy")
            return
        clocks = [0.0, 1_000.0, 1_000.0, 253_402_000_000.0 - time.time(), 0.0, 0.0, -1_000.0]
        moments = [""]
        for number, ahead in enumerate(clocks):
            with monkeypatch.context() as clock:
                now = time.time() + ahead
                clock.setattr(time, "time", lambda now=now: now)
                await fill(store, "s", str(number))
                await fill(store, "other", str(number))
            moments.append(next(s["updated_at"] for s in await store.list_sessions() if s["session_id"] == "s"))
            assert moments[-2] < moments[-1], f"write {number} did not raise updated_at, the clock was {ahead} s ahead"
        assert [item["session_id"] for item in await store.list_sessions(1)] == ["other"], "it was written to last"

    async def test_deleting_removes_the_session(self, store: Any) -> None:
        await fill(store, "s", "one", "two")
        await fill(store, "other", "stays")
        assert await store.delete_session("s") is True
        assert await store.session_exists("s") is False
        assert await store.get_chat_history("s") == []
        await fill(store, "s", "three")
        assert texts_of(await store.get_chat_history("s")) == ["three"]
        assert texts_of(await store.get_chat_history("other")) == ["stays"]

    async def test_what_is_not_there_can_be_cleared_and_deleted(self, store: Any) -> None:
        for method in (store.clear_session, store.delete_session):
            assert isinstance(await method("nobody"), bool)
            assert await store.get_chat_history("nobody") == []

    async def test_every_text_comes_back(self, store: Any) -> None:
        for text in HOSTILE_TEXTS:
            await store.add_message("s", "user", text)
        found = texts_of(await store.get_chat_history("s", 1_000))
        wrong = [shorten(text) for text, got in zip(HOSTILE_TEXTS, found, strict=True) if text != got]
        assert not wrong, f"came back as another text: {wrong[0]}"

    async def test_large_texts_come_back(self, store: Any) -> None:
        for text in LARGE_TEXTS:
            await store.add_message("s", "user", text)
        found = texts_of(await store.get_chat_history("s"))
        assert [text == got for text, got in zip(LARGE_TEXTS, found, strict=True)] == [True] * len(LARGE_TEXTS)

    async def test_every_text_is_a_role(self, store: Any) -> None:
        for role in HOSTILE_TEXTS:
            await store.add_message("s", role, "x")
        # Whether a role that is called "tool" has to follow a call is another matter.
        assert [message["role"] for message in await store.get_chat_history("s", 1_000)] == HOSTILE_TEXTS

    async def test_every_text_is_an_id_and_all_differ(self, store: Any) -> None:
        for session_id in HOSTILE_IDS:
            assert await store.session_exists(session_id) is False, shorten(session_id)
            await store.add_message(session_id, "user", session_id)
        for session_id in HOSTILE_IDS:
            assert texts_of(await store.get_chat_history(session_id)) == [session_id], shorten(session_id)
        for session_id in HOSTILE_IDS[::2]:
            await store.delete_session(session_id)
        for number, session_id in enumerate(HOSTILE_IDS):
            assert await store.session_exists(session_id) is bool(number % 2), shorten(session_id)

    async def test_what_was_given_and_what_was_returned_belong_to_the_caller(self, store: Any) -> None:
        metadata = {"list": [1]}
        await store.add_message("s", "user", "one", metadata)
        metadata["list"].append(2)
        found = await store.get_chat_history("s")
        found.append({"role": "user", "content": "never said"})
        assert texts_of(await store.get_chat_history("s")) == ["one"]

    async def test_threads_lose_nothing(self, store: Any, race: Race) -> None:
        async def body(worker: int) -> None:
            for number in range(20):
                await store.add_message("s", "user", f"{worker} {number}")

        split(await race(body))
        found = texts_of(await store.get_chat_history("s", 1_000))
        assert len(found) == 160
        for worker in range(8):
            mine = [text for text in found if text.startswith(f"{worker} ")]
            assert mine == [f"{worker} {number}" for number in range(20)]

    async def test_threads_make_one_session(self, store: Any, race: Race) -> None:
        for session in range(10):

            async def body(worker: int, session: int = session) -> None:
                await store.add_message(f"s{session}", "user", str(worker))

            split(await race(body))
            assert sorted(texts_of(await store.get_chat_history(f"s{session}"))) == list("01234567")

    # --------------------------------------------------------------------------------------------------- bad arguments

    async def test_what_is_no_id_is_refused(self, store: Any, unsupported: Unsupported) -> None:
        if not declares(store, "checks"):
            assert await store.add_message("", "user", "x") is True
            unsupported("checks")
            return
        calls = {
            "add_message": ("user", "x"),
            "get_chat_history": (),
            "clear_session": (),
            "delete_session": (),
            "session_exists": (),
        }
        for session_id in [*REFUSED_IDS, None]:
            for name, arguments in calls.items():
                with pytest.raises(InvalidValueError):
                    await getattr(store, name)(session_id, *arguments)

    async def test_what_cannot_be_stored_is_refused_before_anything_is_written(
        self, store: Any, unsupported: Unsupported
    ) -> None:
        if not declares(store, "checks"):
            assert await store.add_message("s", "user", 5) is True
            unsupported("checks")
            return
        await fill(store, "s", "one")
        for session_id in ("s", "new"):
            for value in (None, 1, 1.5, True, b"x", [1], {"x": 1}, object()):
                with pytest.raises(PersistenceError):
                    await store.add_message(session_id, "user", value)
                with pytest.raises(PersistenceError):
                    await store.add_message(session_id, value, "x")
            for value in (*({"x": value} for value in REFUSED_JSON), [], "x", 1):
                with pytest.raises(PersistenceError):
                    await store.add_message(session_id, "user", "x", value)
        assert await store.session_exists("new") is False
        assert texts_of(await store.get_chat_history("s")) == ["one"]

    async def test_content_in_parts_comes_back(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if not declares(store, "checks"):
            unsupported("checks")
            return
        parts = [{"type": "text", "text": "words"}, "more", {"type": "image_url", "image_url": {"url": "data:,x"}}]
        await store.add_message("s", "user", parts, {"a": 1})
        await store.add_message("s", "user", [])
        for reader in (store, open_store()) if declares(store, "shared") else (store,):
            assert [message["content"] for message in await reader.get_chat_history("s")] == [parts, []]

    async def test_what_is_no_limit_is_refused(self, store: Any, unsupported: Unsupported) -> None:
        if not declares(store, "checks"):
            unsupported("checks")
            return
        await fill(store, "s", "one")
        for limit in (-1, -(10**30), 1.5, "1", True, [1]):
            with pytest.raises(InvalidValueError):
                await store.get_chat_history("s", limit)
        assert await store.get_chat_history("s", 0) == []

    async def test_a_closed_store_says_so(self, store: Any, open_store: OpenStore, unsupported: Unsupported) -> None:
        if not declares(store, "checks"):
            unsupported("checks")
            return
        other = open_store()
        await other.add_message("s", "user", "x")
        await other.close()
        await other.close()
        with pytest.raises(StoreClosedError):
            await other.add_message("s", "user", "x")
        for name in ("get_chat_history", "clear_session", "delete_session", "session_exists"):
            with pytest.raises(StoreClosedError):
                await getattr(other, name)("s")
