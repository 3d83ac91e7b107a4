"""What children of the conversation suite do; see ``_child``. Imports neither pytest nor Hypothesis."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.testing._facade import SyncFacade, drive

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from praisonai_persistence.testing._child import Parent


async def at_once(store: Any, body: Callable[[int], Coroutine[Any, Any, Any]], workers: int) -> None:
    """Run ``body(0)`` to ``body(workers - 1)`` in threads on a sync store, in tasks on an async one."""
    if not isinstance(store, SyncFacade):
        await asyncio.gather(*(body(worker) for worker in range(workers)))
        return
    errors: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            drive(body(worker))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


async def append_times(store: Any, parent: Parent, session_id: str, name: str, times: int) -> list[int]:
    """Append so many messages; return their numbers."""
    numbers = []
    for turn in range(times):
        added = await store.add_message(session_id, ConversationMessage(id=f"{name}-{turn}", content=f"{name} {turn}"))
        numbers.append(added.seq)
    return numbers


async def append_forever(
    store: Any, parent: Parent, session_id: str, name: str, writers: int = 1, batch: int = 0
) -> None:
    """Append until killed, single messages or batches; report the ids of what was acknowledged."""

    async def writer(worker: int) -> None:
        turn = 0
        while True:
            ids = [f"{name}-{worker}-{turn}-{part}" for part in range(batch or 1)]
            messages = [ConversationMessage(id=item, content=f"content of {item}") for item in ids]
            if batch:
                await store.add_messages(session_id, messages)
            else:
                await store.add_message(session_id, messages[0])
            parent.report(ids)
            turn += 1

    await at_once(store, writer, writers)


async def sessions_forever(store: Any, parent: Parent, name: str) -> None:
    """Create, update, upsert and empty sessions until killed; report what each should be now."""
    turn = 0
    while True:
        session_id = f"{name}-{turn}"
        await store.create_session(ConversationSession(session_id, state={"step": 1}))
        parent.report([session_id, 1, 0])
        await store.update_session(ConversationSession(session_id, state={"step": 2}))
        parent.report([session_id, 2, 0])
        await store.add_messages(session_id, [ConversationMessage(id=str(n)) for n in range(3)])
        parent.report([session_id, 2, 3])
        await store.delete_messages(session_id, ["1"])
        parent.report([session_id, 2, 2])
        await store.upsert_session(ConversationSession(session_id, state={"step": 3}))
        parent.report([session_id, 3, 2])
        if turn % 2:
            await store.delete_session(session_id)
            parent.report([session_id, 0, 0])
        turn += 1


async def write_and_wait(store: Any, parent: Parent, session_id: str) -> None:
    """Write one session with one message, say whether that worked, and wait."""
    try:
        await store.create_session(ConversationSession(session_id))
        await store.add_message(session_id, ConversationMessage(id="m", content="hello"))
    except PersistenceError:
        parent.report("refused")
    else:
        parent.report("written")
    parent.receive()


async def look(store: Any, parent: Parent, session_id: str) -> list[Any]:
    """Return what this process sees of a session: whether it is there, and the contents of its messages."""
    try:
        session = await store.get_session(session_id)
    except PersistenceError:  # an engine for one process at a time
        return [False, []]
    return [session is not None, [message.content for message in await store.get_messages(session_id)]]


async def converse(store: Any, parent: Parent, session_id: str) -> None:
    """Report what is visible when told to ``look``; else write a message, and a name, of what was said."""
    while (said := parent.receive()) is not None:
        if said == "look":
            session = await store.get_session(session_id)
            listed = await store.list_sessions()
            messages = await store.get_messages(session_id)
            parent.report(
                [
                    None if session is None else [session.name, session.version, session.updated_at],
                    [[item.session_id, item.version] for item in listed],
                    [message.id for message in messages],
                    await store.count_messages(session_id),
                ]
            )
        else:
            await store.add_message(session_id, ConversationMessage(id=said, content=said))
            await store.update_session(ConversationSession(session_id, name=said))
            parent.report("written")


async def rewrite_forever(store: Any, parent: Parent, name: str, parts: int) -> None:
    """Rewrite a session, and make others with their messages, until killed; report the number of what is there."""
    old, new = f"old{name}", f"new{name}"
    number = 0

    def messages() -> list[ConversationMessage]:
        return [ConversationMessage(id=f"{number} {part}", content=str(number)) for part in range(parts)]

    await store.rewrite_session(ConversationSession(old, name="0"), messages(), expected_version=0)
    while True:
        await store.delete_session(new)
        await store.rewrite_session(ConversationSession(new, name=str(number)), messages(), expected_version=0)
        parent.report([old, number])
        number += 1
        session = await store.get_session(old)
        gone = [message.id for message in await store.get_messages(old)]
        change = ConversationSession(old, name=str(number))
        await store.rewrite_session(change, messages(), expected_version=session.version, remove=gone)
