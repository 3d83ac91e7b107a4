"""Changes that are there as a whole or not at all, whatever comes between: an exception, a kill, a reader."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from praisonai_persistence.errors import SessionExistsError
from praisonai_persistence.testing._places import Watched, Worker, visit
from praisonai_persistence.testing.harness import Moments, OpenStore, Race, Spawn, Unsupported, full_only, raw
from praisonai_persistence.testing.sessions._common import BODIES, declares, texts_of

__all__ = ["Atomic"]

_LIMIT = 1_000
_SECONDS = 30.0
_PLACES, _MANY_PLACES = 2, 25
"""How many places of each change the quick test visits, and the full one."""
_MESSAGES = 4

Change = Callable[[Any, str], Any]
_ANY: dict[str, Change] = {
    "add_message": lambda store, name: store.add_message(f"{name} new", "user", "first"),
    "clear_session": lambda store, name: store.clear_session(name),
    "delete_session": lambda store, name: store.delete_session(name),
}
_REPLACING: dict[str, Change] = {
    "set_chat_history": lambda store, name: store.set_chat_history(
        name, [{"role": "user", "content": f"new {number}"} for number in range(_MESSAGES)]
    ),
    "upsert_partial": lambda store, name: store.upsert_partial_assistant_message(name, "all of it", finalize=True),
    "compaction": lambda store, name: store.append_compaction_checkpoint(name, "summary"),
    "rename": lambda store, name: store.rename_session(name, "renamed"),
}
_HIERARCHY: dict[str, Change] = {
    "create_session": lambda store, name: store.create_session(f"{name} new", parent_id=name),
    "fork_session": lambda store, name: store.fork_session(name, title="fork"),
    "create_snapshot": lambda store, name: store.create_snapshot(name, label="new"),
    "revert_to_snapshot": lambda store, name: store.revert_to_snapshot(name, store.get_snapshots(name)[0].id),
    "revert_to_message": lambda store, name: store.revert_to_message(name, 1),
    "import_session": lambda store, name: store.import_session(store.export_session(name), f"{name} new"),
}


class _InterruptError(BaseException):
    """What a signal handler raises."""


def _changes(store: Any) -> dict[str, Change]:
    found = dict(_ANY)
    if hasattr(store, "set_chat_history"):
        found.update(_REPLACING)
    if declares(store, "hierarchy"):
        found.update(_HIERARCHY)
    return found


def _prepare(store: Any, name: str) -> None:
    """Make a session with messages, the last of them unfinished, and with a child and a snapshot."""
    for number in range(_MESSAGES - 1):
        store.add_message(name, "user", f"old {number}")
    if declares(store, "hierarchy"):
        store.create_snapshot(name, label="old")
        store.create_session(f"{name} child", parent_id=name)
    store.add_message(name, "assistant", "a part", {"partial": True})


def _session(store: Any, name: str) -> Any:
    """Describe one session: what a change can leave half done."""
    if not store.session_exists(name):
        return None
    found: dict[str, Any] = {"history": texts_of(store.get_chat_history(name, _LIMIT))}
    if hasattr(store, "get_session"):
        data = store.get_session(name)
        found["metadata"] = data.metadata
        found["compaction"] = data.last_compaction and [
            data.last_compaction.summary,
            data.last_compaction.message_index,
        ]
    if declares(store, "hierarchy"):
        found["parent"] = store.get_parent(name) is not None
        found["children"] = len(store.get_session(name).children_ids)  # also those that were never made
        found["snapshots"] = [
            [snapshot["label"], texts_of(snapshot["transcript"]["messages"])]
            for snapshot in store.export_session(name)["snapshots"]
        ]
        assert [snapshot.label for snapshot in store.get_snapshots(name)] == [item[0] for item in found["snapshots"]]
    return found


def _view(store: Any, name: str) -> Any:
    """Describe everything that a change of the session of this name may have changed."""
    found = {"session": _session(store, name), "new": _session(store, f"{name} new")}
    if declares(store, "hierarchy"):
        children = store.get_children(name)
        found["children"] = [_session(store, child) for child in children]
        named = [item["session_id"] for item in store.list_sessions(_LIMIT * 10) if item.get("parent_id") == name]
        if found["session"] is not None:
            assert sorted(named) == sorted(children), "a session has a parent that does not name it"
    return found


def _again(change: Change, store: Any, name: str) -> None:
    try:
        change(store, name)
    except SessionExistsError:
        return


def _remove(store: Any, name: str) -> None:
    children = store.get_children(name) if declares(store, "hierarchy") else []
    for session_id in (name, f"{name} new", f"{name} child", *children):
        store.delete_session(session_id)


class Atomic:
    """Changes that are there as a whole or not at all."""

    def _check_places(self, opened: Any, places: int, unsupported: Unsupported) -> None:
        store = raw(opened)
        if not declares(store, "atomic"):
            unsupported("atomic")
            return
        watched, chance, worker = Watched(store), random.Random(0), Worker()

        def interrupt() -> None:
            raise _InterruptError

        for title, change in _changes(store).items():
            _prepare(store, f"{title} 0")
            old = _view(store, f"{title} 0")
            count = visit(partial(change, store, f"{title} 0"), watched, None, interrupt).places
            new = _view(store, f"{title} 0")
            _remove(store, f"{title} 0")
            numbers = list(range(1, count + 1))
            for number in sorted(chance.sample(numbers, min(places, count))):
                name = f"{title} {number}"
                _prepare(store, name)
                visited = visit(partial(change, store, name), watched, number, interrupt)
                where = f"{title}, interrupted at place {number} of {count}: {visited.where}"
                if visited.where is not None:
                    assert isinstance(visited.error, _InterruptError), where
                found = worker.do(partial(_view, store, name), _SECONDS)
                assert found in (old, new), f"{where}: the change is there in part"
                if found != new:
                    worker.do(partial(_again, change, store, name), _SECONDS)
                    assert _view(store, name) == new, f"{where}: done again, it is not what it should be"
                _remove(store, name)  # a list of all sessions stays short

    async def test_an_interrupted_change_is_done_or_not_done(self, store: Any, unsupported: Unsupported) -> None:
        self._check_places(store, _PLACES, unsupported)

    @full_only
    async def test_a_change_that_is_interrupted_anywhere_is_done_or_not_done(
        self, store: Any, unsupported: Unsupported
    ) -> None:
        self._check_places(store, _MANY_PLACES, unsupported)

    async def test_readers_see_the_old_or_the_new(self, store: Any, race: Race, unsupported: Unsupported) -> None:
        if not declares(store, "atomic") or not hasattr(raw(store), "set_chat_history"):
            unsupported("atomic")
            return
        opened = raw(store)

        def turn(number: int) -> list[dict[str, Any]]:
            return [{"role": "user", "content": str(number)}] * _MESSAGES

        opened.set_chat_history("s", turn(0))

        async def body(worker: int) -> list[list[str]]:
            seen = []
            for number in range(1, 20):
                if worker == 0:
                    opened.set_chat_history("s", turn(number))
                else:
                    seen.append(texts_of(opened.get_chat_history("s")))
                    seen.append([message.content for message in opened.get_session("s").messages])
            return seen

        for seen in (await race(body, workers=3))[1:]:
            assert isinstance(seen, list), seen
            assert all(len(texts) == _MESSAGES and len(set(texts)) == 1 for texts in seen), "a reader saw half a change"

    async def test_two_who_replace_a_history_leave_one_of_the_two(
        self, store: Any, race: Race, unsupported: Unsupported
    ) -> None:
        if not declares(store, "atomic") or not hasattr(raw(store), "set_chat_history"):
            unsupported("atomic")
            return
        opened = raw(store)
        opened.add_message("s", "user", "before")

        async def body(worker: int) -> None:
            opened.set_chat_history("s", [{"role": "user", "content": f"of {worker}"}] * _MESSAGES)

        for _ in range(8):
            assert await race(body, workers=3) == [None] * 3
            found = texts_of(opened.get_chat_history("s"))
            assert len(found) == _MESSAGES, "what two wrote is mixed up"
            assert len(set(found)) == 1

    @full_only
    @pytest.mark.crash
    async def test_a_killed_change_is_done_or_not_done(
        self, store: Any, spawn: Spawn, moments: Moments, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        if not (declares(store, "atomic") and declares(store, "durable") and declares(store, "hierarchy")):
            unsupported("atomic")
            return
        for trial, (reports, delay) in enumerate(moments):
            name = f"s{trial}"
            child = await spawn(f"{BODIES}:change_for_ever", session_id=name, size=_MESSAGES)
            child.go()
            rounds = await child.kill_after(reports, delay)
            survivor = raw(open_store())
            last = rounds[-1] if rounds else 0
            listed = [item["session_id"] for item in survivor.list_sessions(_LIMIT * 10)]
            children = survivor.get_children(name)
            for session_id in listed:
                if session_id == name or survivor.get_parent(session_id) == name or session_id == f"{name} import":
                    found = texts_of(survivor.get_chat_history(session_id))
                    assert len(found) == _MESSAGES, f"a killed change of {session_id!r} is there in part"
                    assert len(set(found)) == 1
                    assert int(found[0]) <= last + 1
                    if survivor.get_parent(session_id) == name:
                        assert session_id in children, "a child that its parent does not name"
            for snapshot in survivor.export_session(name)["snapshots"]:
                assert len(snapshot["transcript"]["messages"]) == _MESSAGES
            survivor.set_chat_history(name, [{"role": "user", "content": "goes on"}])
            assert texts_of(survivor.get_chat_history(name)) == ["goes on"]
            survivor.delete_session(name)
            assert not survivor.session_exists(name)
