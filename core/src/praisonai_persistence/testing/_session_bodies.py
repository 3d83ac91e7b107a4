"""What children of the session suite do; see ``_child``. Imports neither pytest nor Hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from praisonai_persistence.testing._child import Parent


async def add_many(store: Any, parent: Parent, session_id: str, writer: str, times: int) -> None:
    """Append so many numbered messages to one session."""
    for number in range(times):
        await store.add_message(session_id, "user", f"{writer} {number}")


async def add_for_ever(store: Any, parent: Parent, session_id: str, padding: int) -> None:
    """Append numbered messages until killed, and report each when it is acknowledged."""
    number = 0
    while True:
        await store.add_message(session_id, "user", f"{number} {'x' * padding}", {"number": number})
        parent.report(number)
        number += 1


async def history(store: Any, parent: Parent, session_id: str) -> list[dict[str, Any]]:
    """Return what this process sees."""
    found: list[dict[str, Any]] = await store.get_chat_history(session_id)
    return found


async def change_for_ever(store: Any, parent: Parent, session_id: str, size: int) -> None:
    """Replace a history, fork, keep snapshots, import and delete until killed; report the number of each round."""
    number = 0
    while True:
        await store.set_chat_history(session_id, [{"role": "user", "content": str(number)}] * size)
        if number % 2:
            await store.fork_session(session_id)
        await store.create_snapshot(session_id)
        await store.delete_session(f"{session_id} import")
        await store.import_session(await store.export_session(session_id), f"{session_id} import")
        if number % 5 == 4:
            for child in await store.get_children(session_id):
                await store.delete_session(child)
        parent.report(number)
        number += 1
