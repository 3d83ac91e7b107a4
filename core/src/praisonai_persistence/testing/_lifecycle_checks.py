"""What the lifecycle suite looks with: descriptors, threads, event loops, rights of files, secrets, wrong arguments."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import shutil
import stat
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio.to_thread
import pytest

from praisonai_persistence.testing._lifecycle_bodies import GROWTH, LEAST
from praisonai_persistence.testing.spec import StoreSpec

__all__ = [
    "TAILS",
    "back_up",
    "check",
    "descriptors",
    "files_of",
    "malformed",
    "parts_of",
    "pickled",
    "put_in_place",
    "readable",
    "remove",
    "run_loops",
    "secrets_in",
    "short",
    "shown_by",
    "slowness",
    "thread_count",
    "uncollected",
    "wrong_arguments",
]

SLOWEST = 30.0
"""Seconds that a big input may take at the most."""


def check(found: dict[str, Any]) -> None:
    """Fail with what a child found, or when it tried nothing."""
    assert found["visited"] > 0, "nothing was tried: the store's own code was never entered"
    assert not found["findings"], "\n".join(found["findings"])


async def slowness(child: Any, size: int) -> str:
    """Return what is wrong with the next case that a child of ``bounded`` reports; nothing: an empty text."""
    found = await child.report()
    small, large = found["seconds"]
    if large <= GROWTH * max(small, LEAST) and large <= SLOWEST:
        return ""
    most = min(GROWTH * max(small, LEAST), SLOWEST)
    return f"{found['case']}: {small:.2f} s for {size}, {large:.2f} s for {4 * size}; expected: at most {most:.1f} s"


def descriptors() -> int:
    """How many descriptors this process has open, where that can be told."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect what was dropped before, and nothing meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def thread_count() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task")) if sys.platform == "linux" else threading.active_count()


async def run_loops(bodies: list[Any]) -> None:
    """Run each body on an event loop of its own, in a thread of its own, all at once."""
    errors: list[BaseException] = []

    def run(body: Any) -> None:
        try:
            asyncio.run(body())
        except BaseException as error:  # it is raised in the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(body,), daemon=True) for body in bodies]

    def join() -> None:
        for thread in threads:
            thread.start()
        end = time.monotonic() + 30
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    await anyio.to_thread.run_sync(join)
    if errors:
        raise errors[0]
    if any(thread.is_alive() for thread in threads):
        pytest.fail("a store that is used from several event loops keeps one of them waiting for ever")


def remove(place: Path) -> None:
    """Remove a file with its journals, or a folder."""
    for path in list(place.parent.iterdir()):
        if path.name == place.name or path.name.startswith((f"{place.name}-", f"{place.name}.")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def back_up(place: Path) -> Path:
    """Copy a file or a folder that nobody has open, to a place beside it."""
    backup = place.parent / f"backup-of-{place.name}"
    if place.is_dir():
        shutil.copytree(place, backup, symlinks=True)
    else:
        shutil.copy2(place, backup)
    return backup


def put_in_place(backup: Path, place: Path, *, linked: bool) -> None:
    """Replace a file in one step, and nothing beside it, or a folder in two; by a link to the backup, or by itself."""
    if linked:
        link = place.parent / f"link-to-{backup.name}"
        link.symlink_to(backup, target_is_directory=backup.is_dir())
        backup = link
    if place.is_dir():
        place.rename(place.parent / f"away-{place.name}")
    backup.replace(place)


def files_of(place: Path) -> Iterator[Path]:
    """Give a file and those beside it that belong to it, or what lies directly in a folder and is no folder."""
    for path in place.parent.iterdir() if not place.is_dir() else place.iterdir():
        if not path.is_dir() and (place.is_dir() or path.name.startswith(place.name)):
            yield path


def readable(place: Path) -> Iterator[str]:
    """Give what others have rights to: files, but for those in folders that only their owner may enter."""
    for path in place.parent.iterdir():
        if path.name == place.name or path.name.startswith((f"{place.name}-", f"{place.name}.")):
            yield from _open_to_others(path)


def _open_to_others(path: Path) -> Iterator[str]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield f"{path.name} ({mode:o})"
        for child in path.iterdir() if path.is_dir() else ():
            yield from _open_to_others(child)


TAILS = ("tail-0f-it", "head-0f-it")


def secrets_in(options: Mapping[str, Any]) -> Iterator[str]:
    """Give what is secret in the options of a store."""
    for name, value in options.items():
        if not isinstance(value, str):
            continue
        if any(word in name for word in ("password", "token", "secret", "key")):
            yield value
        with contextlib.suppress(ValueError):
            if password := urlsplit(value).password:
                yield from (password, unquote(password))


def parts_of(store: Any) -> Iterator[Any]:
    """Give a store, and every object of its own package and of this project's that it leads to."""
    own = {cls.__module__.partition(".")[0] for cls in type(store).__mro__} - {"builtins", "abc", "typing"}
    seen: set[int] = set()
    left = [store]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, (type, str, bytes, int, float)):
            continue
        seen.add(id(one))
        if isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, (list, tuple, set)):
            left += one
        elif type(one).__module__.partition(".")[0] in own or type(one).__module__.startswith("praisonai_persistence"):
            yield one
            slots = [name for cls in type(one).__mro__ for name in getattr(cls, "__slots__", ())]
            left += [*getattr(one, "__dict__", {}).values(), *(getattr(one, name, None) for name in slots)]


def pickled(value: Any) -> bytes:
    """Return a pickle, or nothing where that is refused."""
    try:
        return pickle.dumps(value)
    except Exception:
        return b""


def malformed(spec: StoreSpec) -> Iterator[StoreSpec]:
    """Give specs of which the URL has a password with a character that should have been escaped."""
    for name, value in spec.options.items():
        if isinstance(value, str) and "://" in value:
            scheme, _, rest = value.partition("://")
            where = rest.rpartition("@")[2]
            for between in ("/", "#", "?", "@", "%zz", "["):
                password = f"{TAILS[1]}{between}{TAILS[0]}"
                yield spec.with_options(**{name: f"{scheme}://user:{password}@{where}"})


def shown_by(error: BaseException | None) -> Iterator[str]:
    """Give what is shown of an exception, and of those that are shown as its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield f"{error!s} {error!r} {error.args!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def wrong_arguments() -> Iterator[Any]:
    """Give values that are right for hardly any argument."""
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    yield from (
        None,
        True,
        -1,
        10**400,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "\0",
        "\ud800",
        "x" * 2000,
        b"x",
        object(),
    )
    yield from (
        [],
        {},
        (),
        set(),
        [None],
        [1, "x"],
        {"x": object()},
        {1: 2},
        {"$x": 1},
        [{}],
        object,
        deep,
        {"x": deep},
    )


def short(value: Any) -> str:
    """Return a value as a message shows it."""
    try:
        return repr(value)[:40]
    except RecursionError:
        return "nested 50,000 deep"
