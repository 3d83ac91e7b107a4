"""What the bridge adds to a call: of an async store from sync code, and of a sync store from async code.

    python benchmarks/bridge.py            prints medians of rounds
    python benchmarks/bridge.py --check    also exits with 1 if a target was missed

The store is the one in memory, so that next to nothing but the bridge is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Callable

from measuring import clock, interleaved, median

from praisonai_persistence import AsyncStateStore, as_async, as_sync
from praisonai_persistence.memory import AsyncMemoryStateStore, MemoryStateStore

BRIDGED = "async store, called over the bridge"
INSIDE = "the same inside a running loop"
TARGET = 150.0
"""Microseconds that a sync call through the bridge may cost more than awaiting it."""


def call(function: Callable[[], object], calls: int) -> float:
    """Return the seconds of that many calls."""
    start = clock()
    for _ in range(calls):
        function()
    return clock() - start


async def wait(store: AsyncStateStore, calls: int) -> float:
    """Return the seconds of that many awaited calls."""
    start = clock()
    for _ in range(calls):
        await store.get("key")
    return clock() - start


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=2000, help="in each round")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    options = parser.parse_args()

    plain, awaited = MemoryStateStore(), AsyncMemoryStateStore()
    bridged, threaded = as_sync(AsyncMemoryStateStore()), as_async(MemoryStateStore())
    bridged.set("key", 1)

    calls = options.calls

    async def inside() -> float:  # a handler whose loop stands still meanwhile
        return call(lambda: bridged.get("key"), calls)

    programs: dict[str, Callable[[], float]] = {
        "sync store, called": lambda: call(lambda: plain.get("key"), calls),
        "async store, awaited": lambda: asyncio.run(wait(awaited, calls)),
        BRIDGED: lambda: call(lambda: bridged.get("key"), calls),
        INSIDE: lambda: asyncio.run(inside()),
        "sync store, awaited over threads": lambda: asyncio.run(wait(threaded, calls)),
    }
    for program in programs.values():
        program()
    figures = {
        name: [seconds / calls * 1e6 for seconds in taken]
        for name, taken in interleaved(options.rounds, programs).items()
    }

    print(f"CPython {platform.python_version()}, {os.cpu_count()} processors, {options.rounds} rounds")
    for name, values in figures.items():
        print(f"{name:40} {median(values):8.1f} us  ({min(values):.1f} to {max(values):.1f})")
    added = {
        name: median(b - a for a, b in zip(figures["async store, awaited"], figures[name], strict=True))
        for name in (BRIDGED, INSIDE)
    }
    for name, microseconds in added.items():
        print(f"{name}: {microseconds:.1f} us more than awaiting it, at most {TARGET:.0f}")
    bridged.close()
    asyncio.run(threaded.close())
    return int(options.check and max(added.values()) > TARGET)


if __name__ == "__main__":
    sys.exit(main())
