"""What the other children of the lifecycle suite do; see ``_child``. Imports neither pytest nor Hypothesis."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import PersistenceError, UnsupportedOperationError
from praisonai_persistence.records import ConversationMessage, KnowledgeDocument
from praisonai_persistence.testing._facade import SyncFacade, awaitable, drive
from praisonai_persistence.testing._lifecycle_work import PARTS, Work, work_on
from praisonai_persistence.testing.spec import StoreSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from praisonai_persistence.testing._child import Parent

__all__ = ["bounded", "forked", "forked_under_load", "look", "starved", "write"]

WORKED, REFUSED, FAILED, HUNG = "worked", "refused", "failed", "hung"
GROWTH = 10
"""How much longer four times the input may take: more than linear time does, less than quadratic time."""
CLEAR = 6
"""What takes so much longer at the most is measured once."""
LEAST = 0.1
"""Seconds below which a run says nothing about growth."""
CHILD_LIMIT = 45
"""Seconds until a forked child that has not ended is killed by its own alarm clock. Stores wait up to 30 by default."""
SAID_AT_MOST = 4000
"""Bytes at the most of what a forked child says when it fails: the end of its traceback."""


async def write(store: Any, parent: Parent, kind: str, name: str) -> None:
    """Write one thing."""
    work = work_on(kind)
    await work.prepare(store)
    await work.write(store, name)


async def look(store: Any, parent: Parent, kind: str) -> list[str]:
    """Return what this process finds."""
    return sorted(await work_on(kind).written(store))


# --------------------------------------------------------------------------------------------------------- L06: forks


class _Forked(NamedTuple):
    """A forked child, and where it writes what went wrong."""

    process: int
    said: int


def _fork(body: Callable[[], Coroutine[Any, Any, None]], *, sync: bool) -> _Forked:
    """Run a body in a forked child."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return _Forked(child, read)
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_LIMIT)
        faulthandler.dump_traceback_later(CHILD_LIMIT - 1, file=write)
        drive(body()) if sync else asyncio.run(body())
        code = 0
    except UnsupportedOperationError as error:
        code = 2 if "spawn" in str(error) else 1
        _say(write)
    except BaseException:
        _say(write)
    finally:
        os._exit(code)


def _say(write: int) -> None:
    # A pipe holds that much, though nobody reads it before this process has ended.
    os.write(write, traceback.format_exc().encode("utf-8", "backslashreplace")[-SAID_AT_MOST:])


def _ended(child: _Forked) -> str:
    """Wait for the end of a child; return how it ended, and what it said when it did not end well."""
    _, status = os.waitpid(child.process, 0)
    with open(child.said, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"{HUNG if number == signal.SIGALRM else f'killed by signal {number}'}\n{said}"
    end = {0: WORKED, 2: REFUSED}.get(os.WEXITSTATUS(status), FAILED)
    return f"{end}\n{said}" if end == FAILED else end


async def _use(work: Work, store: Any, name: str) -> None:
    await work.known(store)
    await work.write(store, name)
    assert await work.holds(store, name), f"{name} was written and is not there"
    await work.batch(store, f"{name}-batch")
    assert await work.parts(store, f"{name}-batch") == PARTS
    await work.known(store)


async def forked(store: Any, parent: Parent, kind: str, children: int) -> dict[str, Any]:
    """Use a store, fork, and use it on both sides at the same time; children also close it."""
    work = work_on(kind)
    sync = isinstance(store, SyncFacade)
    await work.prepare(store)
    await _use(work, store, "before")

    async def body(number: int) -> None:
        await _use(work, store, f"child-{number}")
        await store.close()

    started = [_fork(lambda number=number: body(number), sync=sync) for number in range(children)]  # type: ignore[misc]
    for turn in range(3):
        await _use(work, store, f"parent-{turn}")
    ends = [_ended(child) for child in started]
    await _use(work, store, "after")
    return {"children": ends, "written": sorted(await work.written(store))}


async def outlived(store: Any, parent: Parent, kind: str) -> dict[str, Any]:
    """Fork, close the store in the parent, and go on in the child: alone, and when the test has looked at the data."""
    work = work_on(kind)
    await work.prepare(store)
    await _use(work, store, "before")
    (told, tell), (heard, say) = os.pipe(), os.pipe()

    async def body() -> None:
        os.close(tell)
        await _use(work, store, "beside")
        for name in ("alone", "last"):
            os.write(say, b".")
            os.read(told, 1)
            await _use(work, store, name)
        await store.close()

    child = _fork(body, sync=isinstance(store, SyncFacade))
    os.close(told)
    os.close(say)
    os.read(heard, 1)  # nothing, when the child has ended
    await store.close()
    with contextlib.suppress(BrokenPipeError):
        os.write(tell, b".")
        os.read(heard, 1)
    parent.report("alone")
    parent.receive()
    with contextlib.suppress(BrokenPipeError):
        os.write(tell, b".")
    return {"child": _ended(child)}


async def forked_under_load(store: Any, parent: Parent, kind: str, children: int) -> dict[str, Any]:
    """Fork while other threads (or tasks) are in the middle of calls."""
    work = work_on(kind)
    sync = isinstance(store, SyncFacade)
    await work.prepare(store)
    stop = threading.Event()
    counts = [0] * 4
    failures: list[str] = []

    async def load(worker: int) -> None:
        while not stop.is_set() and counts[worker] < 2000:
            try:
                await work.write(store, f"load-{worker}-{counts[worker]}")
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
                return
            counts[worker] += 1

    async def body(number: int) -> None:
        await _use(work, store, f"child-{number}")

    ends: list[str] = []
    threads = [threading.Thread(target=lambda w=w: drive(load(w)), daemon=True) for w in range(4)] if sync else []
    for thread in threads:
        thread.start()
    tasks = [] if sync else [asyncio.ensure_future(load(worker)) for worker in range(4)]
    for number in range(children):
        before = sum(counts)
        while sum(counts) <= before + number and not failures and sum(counts) < 8000:
            if sync:
                time.sleep(0.0005)  # the moment of the fork is any moment of the others' calls
            else:
                await asyncio.sleep(0)
        ends.append(_ended(_fork(lambda number=number: body(number), sync=sync)))  # type: ignore[misc]
    stop.set()
    for thread in threads:
        thread.join(CHILD_LIMIT)
    if any(thread.is_alive() for thread in threads):
        failures.append("a thread of the parent has not ended")
    if tasks:
        await asyncio.wait(tasks, timeout=CHILD_LIMIT)
    return {"children": ends, "failures": failures, "loaded": sum(counts)}


# ----------------------------------------------------------------------------------------------------- L12: big input


async def bounded(store: Any, parent: Parent, kind: str, size: int) -> None:
    """Give the store each big input, of this size and four times as big; report what that took, and how it ended."""
    await work_on(kind).prepare(store)
    if kind == "state":
        await store.set(_text(1000), "a key that patterns nearly match")
    for case, make in BIG[kind].items():
        sys.stderr.write(f"{case}\n")
        sys.stderr.flush()
        seconds = [await _timed(make(store, times * size)) for times in (1, 4)]
        for _ in range(2):
            if seconds[1] <= CLEAR * max(seconds[0], LEAST):
                break
            # A busy machine makes a run slower, never faster, the small one as well: the best of three is what the
            # input costs.
            again = [await _timed(make(store, times * size)) for times in (1, 4)]
            seconds = [min(pair) for pair in zip(seconds, again, strict=True)]
        parent.report({"case": case, "seconds": seconds})


async def _timed(call: Callable[[], Awaitable[Any]]) -> float:
    begin = time.perf_counter()
    with contextlib.suppress(PersistenceError):  # a typed refusal is an answer
        await call()
    return time.perf_counter() - begin


Big = dict[str, "Callable[[Any, int], Callable[[], Awaitable[Any]]]"]


def _levels(operator: str, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "written"}
    for _ in range(depth):
        found = {operator: found} if operator == "$not" else {operator: [found, {"other": 1}]}
    return found


def _text(size: int) -> str:
    return "a" * size


def _search(store: Any, filters: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
    return lambda: store.search("docs", [1.0, 0.0, 0.0], limit=3, filters=filters)


BIG: dict[str, Big] = {
    "conversation": {
        "many ids to delete": lambda store, size: lambda: store.delete_messages("a", [f"m{n}" for n in range(size)]),
        "a long user id": lambda store, size: lambda: store.list_sessions(_text(size)),
        "a long query": lambda store, size: lambda: _searched(store, " ".join(f"w{n}" for n in range(size))),
        "one word of a query": lambda store, size: lambda: _searched(store, _text(size)),
        "a deep message": lambda store, size: lambda: store.add_message("a", ConversationMessage(metadata=_deep(size))),
    },
    "state": {
        "many keys": lambda store, size: lambda: store.get_many([f"k{n}" for n in range(size)]),
        "many keys to delete": lambda store, size: lambda: store.delete_many([f"k{n}" for n in range(size)]),
        "many fields": lambda store, size: lambda: store.hdel("hash", *[f"f{n}" for n in range(size)]),
        "a long pattern": lambda store, size: lambda: store.keys("*a" * (size // 2) + "b"),
        "a pattern of stars": lambda store, size: lambda: store.keys("*" * size),
        "a pattern of classes": lambda store, size: lambda: store.keys("*[a-z]?" * (size // 7)),
        "brackets that never close": lambda store, size: lambda: store.keys("[" * size),
        "stars and brackets that never close": lambda store, size: lambda: store.keys("*[" * (size // 2)),
        "negated brackets that never close": lambda store, size: lambda: store.keys("*[!a-z\\" * (size // 6) + "\\]"),
        "brackets in brackets": lambda store, size: lambda: store.keys("*" + "[[]" * (size // 3)),
        "one class of many members": lambda store, size: lambda: store.keys("*[" + _text(size) + "]b"),
        "a deep value": lambda store, size: lambda: store.set("deep", _deep(size)),
    },
    "knowledge": {
        "many values of $in": lambda store, size: _search(store, {"kind": {"$in": [f"v{n}" for n in range(size)]}}),
        "many values of $nin": lambda store, size: _search(store, {"kind": {"$nin": list(range(size))}}),
        "texts of $nin": lambda store, size: _search(store, {"kind": {"$nin": [f"v{n}" for n in range(size)]}}),
        "a wide $or": lambda store, size: _search(store, {"$or": [{"x": n} for n in range(size // 10)]}),
        "a wide $or of keys": lambda store, size: _search(store, {"$or": [{f"k{n}": n} for n in range(size // 10)]}),
        "a wide $and": lambda store, size: _search(store, {"$and": [{"x": {"$ne": n}} for n in range(size // 10)]}),
        "a wide $and of bounds": lambda store, size: _search(
            store, {"$and": [{f"k{n}": {"$gt": n}} for n in range(size // 10)]}
        ),
        "a wide $or to delete by": lambda store, size: (
            lambda: store.delete("docs", filters={"$or": [{"x": n} for n in range(size // 10)]})
        ),
        "many values of $in to count": lambda store, size: (
            lambda: store.count("docs", {"kind": {"$in": [f"v{n}" for n in range(size)]}})
        ),
        "many keys of a filter": lambda store, size: _search(store, {f"k{n}": n for n in range(size // 20)}),
        "a long value": lambda store, size: _search(store, {"kind": _text(size)}),
        "a long prefix": lambda store, size: _search(store, {"kind": {"$startswith": _text(size)}}),
        "many ids": lambda store, size: lambda: store.get("docs", [f"d{n}" for n in range(size)]),
        "many ids to delete": lambda store, size: lambda: store.delete("docs", [f"d{n}" for n in range(size)]),
        "deep metadata": lambda store, size: (
            lambda: store.upsert("docs", [KnowledgeDocument("deep", "", [1.0, 0.0, 0.0], {"x": _deep(size)})])
        ),
        **{
            f"{depth} levels of {operator}": lambda store, size, operator=operator, depth=depth: (  # type: ignore[misc]
                _search(store, _levels(operator, depth))
            )
            for operator in ("$and", "$or", "$not")
            for depth in (49, 60, 10_000)
        },
    },
}
"""Kind, then what is big, then what makes the call for a size."""


def _deep(size: int) -> Any:
    found: Any = 1
    for _ in range(size):
        found = [found]
    return {"x": found}


async def _searched(store: Any, query: str) -> Any:
    if "search" in store.capabilities:
        return await store.search_messages(query)
    return None


# ------------------------------------------------------------------------------------------- L11: starved of files


async def starved(store: Any, parent: Parent, opens: str, mode: str) -> list[str]:
    """Use stores while no descriptor is to be had: what they raise is ours, and they work when there are some again."""
    spec = StoreSpec.from_json(opens)
    work = work_on(spec.kind)
    await work.prepare(store)
    new = awaitable(spec.open(mode))
    findings: list[str] = []
    acknowledged: list[str] = []

    async def use(when: str) -> None:
        for name, one in (("used", store), ("new", new)):
            for operation in ("known", "write"):
                what = f"{name}-{when}"
                try:
                    await (work.known(one) if operation == "known" else work.write(one, what))
                except PersistenceError as error:
                    if when == "after":
                        findings.append(
                            f"{operation} of the {name} store, when there were descriptors again: {error!r}"
                        )
                except BaseException as error:  # it is the finding
                    findings.append(f"{operation} of the {name} store, {when}: {type(error).__name__}: {error}")
                else:
                    acknowledged.extend([what] if operation == "write" else [])

    with _no_descriptors():
        await use("without descriptors")
    await use("after")
    await new.close()
    written = await work.written(store)
    findings.extend(f"acknowledged, and not there: {name}" for name in acknowledged if name not in written)
    return findings


@contextlib.contextmanager
def _no_descriptors() -> Iterator[None]:
    """Take all descriptors that this process may have."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(highest + 1, limits[0]), limits[1]))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
