"""Exceptions from outside, and calls in the middle of calls, at every place where the interpreter can let them in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from praisonai_persistence.errors import PersistenceError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.testing._places import Watched, Worker, visit
from praisonai_persistence_json import JSONConversationStore
from praisonai_persistence_json.sessions import HierarchicalSessionStore

# An object that is interrupted before the `with` that would close it says so when it is freed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*FileIO:pytest.PytestUnraisableExceptionWarning"),
]


class SoftLimit(Exception):
    """What a framework raises into a call that takes too long."""


def message(name: str) -> ConversationMessage:
    return ConversationMessage(name, content=name, created_at=1.0)


WRITES: dict[str, Callable[[JSONConversationStore], Any]] = {
    "create": lambda store: store.create_session(ConversationSession("new")),
    "update": lambda store: store.update_session(ConversationSession("s", name="updated")),
    "upsert": lambda store: store.upsert_session(ConversationSession("s", name="updated")),
    "delete": lambda store: store.delete_session("s"),
    "append": lambda store: store.add_message("s", message("outer")),
    "batch": lambda store: store.add_messages("s", [message(name) for name in "xyz"]),
    "delete messages": lambda store: store.delete_messages("s", ["1"]),
    "fork": lambda store: store.fork_session("s", None, "new"),
}
READS: dict[str, Callable[[JSONConversationStore], Any]] = {
    "get": lambda store: store.get_session("s"),
    "messages": lambda store: store.get_messages("s", 1),
    "list": lambda store: store.list_sessions(),
}
SESSIONS: dict[str, Callable[[HierarchicalSessionStore], Any]] = {
    "append": lambda store: store.add_message("s", "user", "outer"),
    "metadata": lambda store: store.update_session_metadata("s", key="value"),
    "delete": lambda store: store.delete_session("s"),
    "list": lambda store: store.list_sessions(),
}


def opened(path: Path) -> JSONConversationStore:
    store = JSONConversationStore(path=path, lock_timeout=2, sync=False)
    store.upsert_session(ConversationSession("s"))
    store.add_messages("s", [message("1"), message("2")])
    return store


def seen(store: JSONConversationStore) -> Any:
    """What is there, without the times."""
    return [
        (
            session.session_id,
            session.name,
            session.version,
            [(item.id, item.content, item.seq) for item in store.get_messages(session.session_id)],
        )
        for session in sorted(store.list_sessions(), key=lambda session: session.session_id)
    ]


def left_over(path: Path) -> list[str]:
    return [str(item) for item in path.rglob("*") if ".tmp" in item.name or "corrupt" in item.name]


def every_place(tmp_path: Path, make: Callable[[Path], Any], call: Callable[[Any], Any], check: Any) -> int:
    """Have ``check(store, path, visit_place)`` called for one place after the other, each time on a new store."""
    number = 0
    while True:
        number += 1
        path = tmp_path / str(number)
        store = make(path)
        watched = Watched(store)

        def visit_place(
            act: Callable[[], None], store: Any = store, watched: Watched = watched, number: int = number
        ) -> Any:
            return visit(lambda: call(store), watched, number, act)

        if not check(store, path, visit_place):
            return number - 1


@pytest.mark.parametrize("name", [*WRITES, *READS])
def test_an_interrupted_call_is_done_or_not_done_and_leaves_nothing_locked(tmp_path: Path, name: str) -> None:
    call = {**WRITES, **READS}[name]
    before = seen(opened(tmp_path / "before"))
    whole = opened(tmp_path / "after")
    call(whole)
    after = seen(whole)
    other = Worker()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def check(store: JSONConversationStore, path: Path, visit_place: Any) -> bool:
        exception = SoftLimit()

        def act() -> None:
            raise exception

        found = visit_place(act)
        if found.where is None:
            assert found.error is None
            return False
        assert found.error is exception, found.where
        found = found._replace(error=None)
        exception.__traceback__ = None
        assert other.do(lambda: seen(store), 5) in (before, after), found.where
        other.do(lambda: store.upsert_session(ConversationSession("s")), 5)
        other.do(lambda: store.add_message("s", message("3")), 5)
        store.add_message("s", message("4"))
        assert left_over(path) == [], found.where
        return True

    assert every_place(tmp_path, opened, call, check) > 20
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 2


@pytest.mark.parametrize("same_store", [True, False], ids=["same store", "another store"])
@pytest.mark.parametrize("name", [*WRITES, *READS])
def test_a_call_in_the_middle_of_a_call_works(tmp_path: Path, name: str, same_store: bool) -> None:
    call = {**WRITES, **READS}[name]

    def check(store: JSONConversationStore, path: Path, visit_place: Any) -> bool:
        inner = store if same_store else JSONConversationStore(path=path, lock_timeout=2, sync=False)
        acknowledged: list[str] = []

        def act() -> None:
            try:
                inner.add_message("s", message("inner"))
                acknowledged.append("inner")
                inner.upsert_session(ConversationSession("inner"))
            except SessionNotFoundError:
                assert name == "delete"

        found = visit_place(act)
        if found.where is None:
            return False
        assert found.error is None, found.where
        assert "inner" in {session.session_id for session in store.list_sessions()} or name == "delete", found.where
        if name == "delete":
            assert store.get_session("s") is None
            return True
        messages = {item.id: item.seq for item in store.get_messages("s")}
        assert acknowledged == ["inner"], found.where
        assert "inner" in messages, found.where
        if name == "append":
            assert "outer" in messages, found.where
        elif name == "batch":
            assert [messages[item] - messages["x"] for item in "xyz"] == [0, 1, 2], found.where
        elif name == "delete messages":
            assert "1" not in messages, found.where
        elif name in {"update", "upsert"}:
            session = store.get_session("s")
            assert session is not None
            assert session.name == "updated", found.where
        assert left_over(path) == [], found.where
        return True

    assert every_place(tmp_path, opened, call, check) > 20


def test_of_two_calls_in_the_middle_of_each_other_one_creates_the_session(tmp_path: Path) -> None:
    def make(path: Path) -> JSONConversationStore:
        return JSONConversationStore(path=path, lock_timeout=2, sync=False)

    def check(store: JSONConversationStore, path: Path, visit_place: Any) -> bool:
        made: list[str] = []

        def act() -> None:
            try:
                store.create_session(ConversationSession("new", name="inner"))
                made.append("inner")
            except SessionExistsError:
                pass

        found = visit_place(act)
        if found.where is None:
            return False
        if found.error is None:
            made.append("outer")
        else:
            assert isinstance(found.error, SessionExistsError), found.where
        assert len(made) == 1, found.where
        session = store.get_session("new")
        assert session is not None
        assert session.name == (None if made == ["outer"] else "inner"), found.where
        return True

    every_place(tmp_path, make, WRITES["create"], check)


def test_calls_that_never_stop_coming_into_the_middle_are_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    directory = store._steps._directory  # type: ignore[attr-defined]
    write = directory.write
    depth = 0

    def interfering(*arguments: Any) -> None:
        nonlocal depth
        depth += 1
        if depth == 1:
            store.add_message("s", ConversationMessage(content="inner"))
        depth -= 1
        write(*arguments)

    directory.write = interfering
    with pytest.raises(PersistenceError, match="middle"):
        store.add_message("s", message("outer"))
    directory.write = write
    assert "outer" not in {item.id for item in store.get_messages("s")}
    assert store.add_message("s", message("outer")).id == "outer"


# -------------------------------------------------------------------------------------------------------- session files


def opened_sessions(path: Path) -> HierarchicalSessionStore:
    store = HierarchicalSessionStore(path, lock_timeout=2, sync=False)
    store.add_message("s", "user", "one")
    return store


def contents(store: HierarchicalSessionStore) -> list[Any]:
    return [item["content"] for item in store.get_chat_history("s")]


@pytest.mark.parametrize("name", SESSIONS)
def test_an_interrupted_call_leaves_session_files_whole(tmp_path: Path, name: str) -> None:
    other = Worker()

    def check(store: HierarchicalSessionStore, path: Path, visit_place: Any) -> bool:
        exception = SoftLimit()

        def act() -> None:
            raise exception

        found = visit_place(act)
        if found.where is None:
            assert found.error is None
            return False
        assert found.error is exception, found.where
        exception.__traceback__ = None
        assert other.do(lambda: contents(store), 5) in ([], ["one"], ["one", "outer"]), found.where
        other.do(lambda: store.add_message("s", "user", "then"), 5)
        assert contents(store)[-1] == "then"
        assert left_over(path) == [], found.where
        for document in path.glob("*.json"):
            json.loads(document.read_text(encoding="utf-8"))
        return True

    assert every_place(tmp_path, opened_sessions, SESSIONS[name], check) > 20


@pytest.mark.parametrize("name", SESSIONS)
def test_a_call_in_the_middle_of_a_call_works_on_session_files(tmp_path: Path, name: str) -> None:
    def check(store: HierarchicalSessionStore, path: Path, visit_place: Any) -> bool:
        found = visit_place(lambda: store.add_message("s", "user", "inner"))
        if found.where is None:
            return False
        assert found.error is None, found.where
        after = contents(store)
        if name == "delete":
            assert after in ([], ["inner"]), found.where  # deleted before it was added, or after
        elif name == "append":
            assert sorted(after) == ["inner", "one", "outer"], found.where
        else:
            assert after == ["one", "inner"], found.where
        if name == "metadata":
            assert store.get_session("s").metadata["key"] == "value", found.where
        return True

    assert every_place(tmp_path, opened_sessions, SESSIONS[name], check) > 20
