"""The full-text index of SQL stores while it is being filled, and ``updated_at`` in SQL; a class for each engine."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.payload import encode_session, next_updated_at

Store = Any
Between = Callable[[], None]

LENGTH = 400_000
"""Characters of a message; a step indexes 1,000,000."""


def texts(number: int) -> Iterator[str]:
    """Long contents. Each has a first, a middle and a last word of its own, and few different words beside these."""
    filler = "filler words " * (LENGTH // 26)
    for n in range(number):
        yield f"first{n} {filler} middle{n} {filler} last{n}"


def ids(messages: list[ConversationMessage]) -> set[str]:
    return {message.id for message in messages}


def fill(store: Store, number: int = 8, session_id: str = "s") -> None:
    store.create_session(ConversationSession(session_id))
    for n, text in enumerate(texts(number)):
        store.add_message(session_id, ConversationMessage(id=str(n), content=text))


def observe(store: Store, *, inside: Between | None = None) -> list[Any]:
    """Let ``inside`` be called at the end of each step, before its commit; return the places, filled as they come."""
    steps = store._steps
    original = steps.update_index
    places: list[Any] = []

    @functools.wraps(original)
    def observed(user_id: str | None, place: Any) -> Any:
        places.append(place)
        found = yield from original(user_id, place)
        if inside is not None and place is not None:
            inside()
        return found

    steps.update_index = observed
    return places


def between(store: Store, work: Between) -> None:
    """Do something whenever a step has been committed and another one follows."""
    run = store._runner.run

    def observed(operation: Any, *arguments: Any) -> Any:
        found = run(operation, *arguments)
        if operation == store._steps.update_index and found is not None:
            work()
        return found

    store._runner.run = observed


class SearchTests:
    """A subclass has a fixture ``open_store``, which opens sync conversation stores on the data of the test."""

    def test_a_writer_gets_its_turn_between_two_steps(self, open_store: Callable[[], Store]) -> None:
        store, other = open_store(), open_store()
        fill(store)
        written = []

        def write() -> None:
            written.append(str(100 + len(written)))
            other.add_message("s", ConversationMessage(id=written[-1], content="a needle"))

        places = observe(store)
        between(store, write)
        assert ids(store.search_messages("middle5 first5")) == {"5"}
        assert len(written) >= 3, "one step did too much"
        assert len(written) == len(places) - 1
        assert ids(store.search_messages("needle", limit=100)) == set(written)

    def test_a_search_ends_while_others_go_on_writing(self, open_store: Callable[[], Store]) -> None:
        store, other = open_store(), open_store()
        fill(store)
        (text,) = texts(1)
        added = []

        def write() -> None:
            for _ in range(3):  # more than a step indexes
                added.append(f"new {len(added)}")
                other.add_message("s", ConversationMessage(id=added[-1], content=text))
            assert len(added) < 200, "it goes after what was not there when it began"

        between(store, write)
        assert ids(store.search_messages("last7")) == {"7"}

    @pytest.mark.parametrize("steps", [1, 3])
    def test_an_index_that_was_left_half_way_is_filled_by_the_next_search(
        self, open_store: Callable[[], Store], steps: int
    ) -> None:
        store = open_store()
        fill(store, 4)
        store.add_message("s", ConversationMessage(id="long", content=" ".join(texts(5)).replace("first", "start")))
        place = None
        for _ in range(steps):  # and then it is killed
            place = store._runner.run(store._steps.update_index, None, place)
        store.close()
        store = open_store()
        for n in range(4):
            assert ids(store.search_messages(f"first{n} last{n}")) == {str(n)}
            assert ids(store.search_messages(f"start{n} last{n} start4")) == {"long"}
        assert ids(store.search_messages("filler")) == {"0", "1", "2", "3", "long"}

    @pytest.mark.parametrize("steps", [1, 3])
    def test_what_is_half_indexed_can_be_deleted(self, open_store: Callable[[], Store], steps: int) -> None:
        store, other = open_store(), open_store()
        store.create_session(ConversationSession("s"))
        long = " ".join(texts(6))
        for _ in range(2):
            store.add_message("s", ConversationMessage(id="long", content=long))
            place = None
            for _ in range(steps):
                place = store._runner.run(store._steps.update_index, None, place)
            assert other.delete_messages("s", ["long"]) == 1
            store.add_message("s", ConversationMessage(id="other", content="another one"))
            assert ids(other.search_messages("another one")) == {"other"}
            assert store.search_messages("first0") == other.search_messages("filler words") == []
            store.delete_messages("s", ["other"])
            store.add_message("s", ConversationMessage(id="long", content=long))
            store._runner.run(store._steps.update_index, None, None)
            assert other.delete_session("s")
            store.create_session(ConversationSession("s"))
            store.add_message("s", ConversationMessage(id="1", content="made anew"))
            assert ids(store.search_messages("made anew")) == {"1"}
            assert store.search_messages("first0") == other.search_messages("filler words") == []
            store.delete_messages("s")

    def test_several_searches_at_once_find_everything_once(self, open_store: Callable[[], Store]) -> None:
        stores = [open_store() for _ in range(4)]
        fill(stores[0])
        fill(stores[0], 3, "t")
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda store: store.search_messages("filler words", limit=100), stores))
        for messages in found:
            places = [(message.session_id, message.id) for message in messages]
            assert sorted(places) == [*(("s", str(n)) for n in range(8)), *(("t", str(n)) for n in range(3))]

    def test_a_stored_updated_at_rises_however_large_it_is(self, open_store: Callable[[], Store]) -> None:
        store = open_store()
        for number, stored in enumerate(
            [-1e300, 5e-324, 2.0**33, 2.0**40, 1.8e12, 2.0**64, 1e300, math.nextafter(2.0**1022, 0)]
        ):
            row = encode_session(ConversationSession(str(number), created_at=1.0))._replace(updated_at=stored)
            store._runner.run(store._steps.create_session, row)
            seen = [store.get_session(str(number)).updated_at]
            assert seen == [stored]
            writes = [
                lambda s: store.add_message(s, ConversationMessage(id="a")),
                lambda s: store.add_messages(s, [ConversationMessage(id="b"), ConversationMessage(id="c")]),
                lambda s: store.update_session(ConversationSession(s)),
                lambda s: store.upsert_session(ConversationSession(s)),
                lambda s: store.delete_messages(s, ["a"]),
            ]
            for write in writes:
                write(str(number))
                seen.append(store.get_session(str(number)).updated_at)
                assert seen[-2] < seen[-1] < math.inf
                if stored > time.time():
                    assert seen[-1] == next_updated_at(seen[-2], 0.0)
        row = encode_session(ConversationSession("top"))._replace(updated_at=sys.float_info.max)
        store._runner.run(store._steps.create_session, row)
        store.add_message("top", ConversationMessage(id="a"))
        assert store.get_session("top").updated_at == sys.float_info.max


class ServerSearchTests(SearchTests):
    """For engines that have several writers at a time."""

    def test_an_append_waits_for_no_step(self, open_store: Callable[[], Store]) -> None:
        store, other = open_store(), open_store()
        fill(store)
        written = []

        def write() -> None:
            written.append(f"new {len(written)}")
            other.add_message("s", ConversationMessage(id=written[-1], content="while a step is under way"))
            other.upsert_session(ConversationSession("s", name=written[-1]))

        observe(store, inside=write)
        assert ids(store.search_messages("last7")) == {"7"}
        assert len(written) >= 2
        assert ids(store.search_messages("while way", limit=100)) == set(written)
