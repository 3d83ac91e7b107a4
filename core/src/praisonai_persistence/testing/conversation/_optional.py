"""C27: search, forks and the schema."""

from __future__ import annotations

from typing import Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
    SessionExistsError,
    SessionNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.testing._schema import check_schema
from praisonai_persistence.testing.conversation._common import (
    Message,
    Session,
    append,
    full_message,
    full_session,
    ids_of,
    same_message,
    same_session,
    seqs_of,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_TEXTS,
    REFUSED_IDS,
    shorten,
)
from praisonai_persistence.testing.harness import (
    OpenStore,
    Race,
    Unsupported,
    declares,
    split,
)

__all__ = ["Optional"]


class Optional:
    """C27: search, forks and the schema."""

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
            assert ids_of(found) == [str(n) for n in numbers], f"{query!r}"
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
            assert ids_of(await store.search_messages(f"right{number}")) == [str(number)], shorten(between)
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
            assert ids_of(await store.search_messages(query)) == ["m"], shorten(query)
        for query in HOSTILE_TEXTS:
            await store.search_messages(query)

    async def test_c27_search_finds_the_words_of_long_messages(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_search(store, unsupported):
            return
        await store.create_session(Session("s"))
        # Many different words, as encoded pictures and logs have them.
        filler = " ".join(f"{number}picture" for number in range(100_000, 125_000))
        await store.add_message(
            "s", Message(id="long", content=f"first {filler} middle\0{filler} last", created_at=1.0)
        )
        await store.add_message("s", Message(id="short", content="first and last", created_at=2.0))
        expected = {
            "first": ["short", "long"],
            "first middle last": ["long"],
            "100000picture 124999picture last": ["long"],
            "first nowhere": [],
        }
        for query, found in expected.items():
            assert ids_of(await store.search_messages(query)) == found, query
        await store.delete_messages("s", ["long"])
        assert ids_of(await store.search_messages("first")) == ["short"]
        assert await store.search_messages("100000picture") == []

    async def test_c27_search_for_too_many_words_is_refused(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_search(store, unsupported):
            return
        with pytest.raises(InvalidValueError):
            await store.search_messages(" ".join(f"w{number}" for number in range(10_001)))

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
        await store.create_session(full_session())
        await store.update_session(full_session())
        await store.add_messages("s", [full_message(n) for n in "abcde"])
        await store.delete_messages("s", ["b"])
        source = await store.get_session("s")
        fork = await store.fork_session("s", new_session_id="t")
        assert same_session(
            fork, source, session_id="t", version=1, created_at=fork.created_at, updated_at=fork.updated_at
        )
        assert same_session(await store.get_session("t"), fork)
        assert same_session(await store.get_session("s"), source)
        for copied, message in zip(await store.get_messages("t"), await store.get_messages("s"), strict=True):
            assert same_message(copied, message, session_id="t")
        # From here on they have nothing in common.
        assert seqs_of(await append(store, "t", "of t")) == [6]
        await store.delete_messages("s", ["a"])
        await store.update_session(Session("t", name="t"))
        assert ids_of(await store.get_messages("t")) == ["a", "c", "d", "e", "of t"]
        assert ids_of(await store.get_messages("s")) == ["c", "d", "e"]
        assert (await store.get_session("s")).name == source.name
        await store.delete_session("s")
        assert await store.count_messages("t") == 5

    async def test_c27_a_fork_up_to_a_message(self, store: Any, unsupported: Unsupported) -> None:
        if await self._cannot_fork(store, unsupported):
            return
        await store.create_session(Session("s"))
        await append(store, "s", *"abcde")
        await store.delete_messages("s", ["c"])
        for up_to, expected in ((0, ""), (1, "a"), (3, "ab"), (4, "abd"), (5, "abde"), (99, "abde"), (-1, "")):
            fork = await store.fork_session("s", up_to)
            assert fork.session_id not in {"", "s"}
            assert ids_of(await store.get_messages(fork.session_id)) == list(expected), up_to
            again = await append(store, fork.session_id, "f")
            last = "abcde".index(expected[-1]) + 1 if expected else 0
            assert seqs_of(again) == [last + 1]

    async def test_c27_a_fork_is_refused(self, store: Any, race: Race, unsupported: Unsupported) -> None:
        if await self._cannot_fork(store, unsupported):
            return
        with pytest.raises(SessionNotFoundError):
            await store.fork_session("unknown", new_session_id="t")
        assert await store.get_session("t") is None
        await store.create_session(Session("s"))
        taken = await store.create_session(full_session("taken"))
        with pytest.raises(SessionExistsError):
            await store.fork_session("s", new_session_id="taken")
        with pytest.raises(SessionExistsError):
            await store.fork_session("s", new_session_id="s")
        assert same_session(await store.get_session("taken"), taken)
        for wrong in REFUSED_IDS:
            with pytest.raises(InvalidValueError):
                await store.fork_session("s", new_session_id=wrong)
        await append(store, "s", "a", "b")

        async def body(worker: int) -> Any:
            return await store.fork_session("s", new_session_id="raced")

        assert len(split(await race(body), SessionExistsError)[0]) == 1
        assert ids_of(await store.get_messages("raced")) == ["a", "b"]

    async def test_c27_the_schema_is_told_and_changed(self, store: Any) -> None:
        async def write() -> None:
            await store.create_session(Session("s"))

        await check_schema(store, write, lambda: store.get_session("s"))
