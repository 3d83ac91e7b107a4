"""Runs one contestant, in its environment: takes orders as lines of JSON, and answers each with one.

Standard library only. What a product prints goes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

from base import Contestant, content

clock = time.perf_counter
ENOUGH = 0.5
"""Seconds of reading, after which a slow read is not repeated."""
VALUE = {"step": 7, "plan": ["search", "read", "answer"], "notes": "what an agent keeps between two turns " * 4}


def timed(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Return the median of the seconds of a call, and what the last one returned; slow ones are repeated less."""
    taken: list[float] = []
    found = None
    while len(taken) < min(times, 3) or (len(taken) < times and sum(taken) < ENOUGH):
        began = clock()
        found = work()
        taken.append(clock() - began)
    return statistics.median(taken), found


class Worker:
    """What the orders do; a method each, whose answer is JSON."""

    def __init__(self, name: str, place: str) -> None:
        module, _, which = name.partition(":")
        self.make: Callable[[str], Contestant] = getattr(importlib.import_module(module), which)
        self.place = place
        # What kind it is, the orders know.
        self.one: Any = self.make(place)

    def open(self, name: str = "first") -> str:
        """Be ready, and write something of this name; return the versions."""
        self.one.open()
        self.one.first(name)
        return str(self.one.versions())

    def durability(self) -> str:
        """See the contestant."""
        return str(self.one.durability())

    def close(self) -> None:
        """Release everything."""
        self.one.close()

    # ------------------------------------------------------------------------------------------------- conversations

    def append(self, session: str, count: int, limit: float) -> dict[str, Any]:
        """Append to a new session, one at a time; return how many in how many seconds, about ``limit`` at most."""
        self.one.create(session, "someone")
        texts = [content(number) for number in range(count)]
        done = 0
        began = now = clock()
        while done < count and now - began <= limit:
            self.one.append(session, texts[done])
            done += 1
            now = clock()
        return {"done": done, "seconds": now - began}

    def fill(self, session: str, count: int, limit: float) -> int:
        """Bring a new session to so many messages, or as far as it gets in ``limit`` seconds; return how many."""
        self.one.create(session, "someone")
        done, piece, end = 0, 50, clock() + limit
        while done < count and clock() < end:
            some = min(piece, count - done)
            began = clock()
            self.one.fill(session, [content(number) for number in range(done, done + some)])
            done += some
            if clock() - began < min(0.5, limit / 10):
                piece *= 2
        return done

    def resume(self, session: str, length: int, count: int, times: int) -> dict[str, Any]:
        """Read the latest messages; return the median of the seconds, and whether they are the right ones."""
        seconds, found = timed(lambda: self.one.last(session, count), times)
        wanted = [content(number) for number in range(max(0, length - count), length)]
        return {"seconds": seconds, "right": found == wanted}

    def sessions(self, user: str, count: int, limit: float) -> int:
        """Make sessions with one message each; return how many there are after ``limit`` seconds at the latest."""
        self.one.newest_sessions(user, 1)  # who has no list need not make any
        end = clock() + limit
        for number in range(count):
            if clock() > end:
                return number
            self.one.create(f"{user}-{number}", user)
            self.one.append(f"{user}-{number}", content(number))
        return count

    def listing(self, user: str, total: int, count: int, times: int) -> dict[str, Any]:
        """Read the newest sessions; return the median of the seconds, and whether they are the right ones."""
        seconds, found = timed(lambda: self.one.newest_sessions(user, count), times)
        wanted = [f"{user}-{number}" for number in range(total - 1, max(-1, total - 1 - count), -1)]
        return {"seconds": seconds, "right": found == wanted}

    def at_once(self, how: str, sessions: list[str], count: int, limit: float) -> dict[str, Any]:
        """Append from many threads or tasks, each to its session; return seconds, and what was lost or misordered.

        A message counts as lost when its append returned, and it is not there; as misordered when a writer's earlier
        message stands after it.
        """
        for session in dict.fromkeys(sessions):
            self.one.create(session, "someone")
        errors: list[str] = []
        sure: list[list[str]] = [[] for _ in sessions]
        run = self._in_threads if how == "threads" else self._in_tasks
        seconds = run(sessions, count, limit, sure, errors)
        lost = doubled = misordered = 0
        for session in dict.fromkeys(sessions):
            places: dict[str, int] = {}
            for place, text in enumerate(self.one.last(session, count * len(sessions) + 1)):
                doubled += text in places
                places.setdefault(text, place)
            for texts, mine in zip(sure, sessions, strict=True):
                if mine == session:
                    there = [places[text] for text in texts if text in places]
                    lost += len(texts) - len(there)
                    misordered += sum(later < earlier for earlier, later in pairwise(there))
        written = sum(map(len, sure))
        return {
            "seconds": seconds,
            "written": written,
            "tried": written + len(errors),
            "error": errors[0][:200] if errors else "",
            "errors": len(errors),
            "lost": lost,
            "doubled": doubled,
            "misordered": misordered,
        }

    def _in_threads(
        self, sessions: list[str], count: int, limit: float, sure: list[list[str]], errors: list[str]
    ) -> float:
        gate = threading.Barrier(len(sessions) + 1)

        def work(number: int, session: str) -> None:
            one = self.one
            if not one.threads:
                one = self.make(self.place)
                one.open()
            gate.wait()
            end = clock() + limit
            for turn in range(count):
                text = content(f"{number}-{turn}")
                try:
                    one.append(session, text)
                except Exception as error:  # noqa: BLE001 - counted
                    errors.append(f"{type(error).__name__}: {error}")
                else:
                    sure[number].append(text)
                if clock() > end:
                    break
            done[number] = clock()
            if one is not self.one:
                one.close()

        done = [0.0] * len(sessions)
        threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(sessions)]
        for thread in threads:
            thread.start()
        gate.wait(60)
        began = clock()
        for thread in threads:
            thread.join()
        return max(done) - began

    def _in_tasks(
        self, sessions: list[str], count: int, limit: float, sure: list[list[str]], errors: list[str]
    ) -> float:
        one: Any = self.make(self.place)
        if not one.tasks:
            raise NotImplementedError

        async def work(number: int, session: str, end: float) -> None:
            for turn in range(count):
                text = content(f"{number}-{turn}")
                try:
                    await one.append_async(session, text)
                except Exception as error:  # noqa: BLE001 - counted
                    errors.append(f"{type(error).__name__}: {error}")
                else:
                    sure[number].append(text)
                if clock() > end:
                    break

        async def main() -> float:
            await one.open_async()
            try:
                await one.append_async(sessions[0], content("before"))  # connections and imports, as sync has them
                began = clock()
                await asyncio.gather(*(work(*pair, began + limit) for pair in enumerate(sessions)))
                return clock() - began
            finally:
                await one.close_async()

        return asyncio.run(main())

    # --------------------------------------------------------------------------------------------------------- state

    def state(self, what: str, count: int) -> float:
        """Set or get values; return the rate, calls a second."""
        self.one.set("key-0", VALUE)
        began = clock()
        for number in range(count):
            if what == "set":
                self.one.set(f"key-{number % 100}", VALUE)
            else:
                self.one.get("key-0")
        return count / (clock() - began)

    def state_end(self) -> None:
        """Leave nothing on the server."""
        for key in (
            "first",
            *(f"first-{number}" for number in range(100)),
            *(f"key-{number}" for number in range(100)),
        ):
            self.one.delete(key)

    def state_at_once(self, what: str, tasks: int, count: int) -> float:
        """Do the same from many tasks at once."""
        one: Any = self.make(self.place)
        if not one.tasks:
            raise NotImplementedError

        async def work(number: int) -> None:
            for _ in range(count):
                if what == "set":
                    await one.set_async(f"key-{number}", VALUE)
                else:
                    await one.get_async(f"key-{number}")

        async def main() -> float:
            await one.open_async()
            try:
                await asyncio.gather(*(one.set_async(f"key-{number}", VALUE) for number in range(tasks)))
                began = clock()
                await asyncio.gather(*map(work, range(tasks)))
                return tasks * count / (clock() - began)
            finally:
                await one.close_async()

        return asyncio.run(main())

    # ------------------------------------------------------------------------------------------------------- vectors

    @cache  # noqa: B019 - there is one worker, as long as its process
    def _documents(self, count: int, dimension: int) -> list[tuple[str, str, list[float], int]]:
        chance = random.Random(7)
        return [
            (f"document-{number}", content(number), [chance.gauss(0, 1) for _ in range(dimension)], number % 10)
            for number in range(count)
        ]

    def upsert(self, count: int, dimension: int, batch: int) -> float:
        """Store documents in batches in an empty collection; return the rate, documents a second."""
        documents = self._documents(count, dimension)
        self.one.create(dimension)
        began = clock()
        for start in range(0, count, batch):
            self.one.upsert(documents[start : start + batch])
        return count / (clock() - began)

    def search(self, count: int, dimension: int, group: int | None, times: int) -> dict[str, Any]:
        """Search for the ten nearest (of a group); return the median of the seconds, and how many are the true ones."""
        taken, right, wanted = [], 0, 0
        for query, nearest in self._queries(count, dimension, group, times):
            began = clock()
            found = self.one.search(query, 10, group)
            taken.append(clock() - began)
            right += len(nearest & set(found))
            wanted += len(nearest)
        return {"seconds": statistics.median(taken), "right": right, "wanted": wanted}

    @cache  # noqa: B019
    def _queries(self, count: int, dimension: int, group: int | None, times: int) -> list[tuple[list[float], set[str]]]:
        """Embeddings to search for, each with the ids of the ten nearest documents."""
        documents = [found for found in self._documents(count, dimension) if group is None or found[3] == group]
        lengths = {found[0]: sum(a * a for a in found[2]) ** 0.5 for found in documents}
        chance = random.Random(8)
        queries = []
        for _ in range(times):
            query = [chance.gauss(0, 1) for _ in range(dimension)]
            near = {
                found[0]: sum(a * b for a, b in zip(found[2], query, strict=True)) / lengths[found[0]]
                for found in documents
            }
            queries.append((query, set(sorted(near, key=lambda key: -near[key])[:10])))
        return queries


def main() -> None:
    """Serve ``python worker.py MODULE:CLASS PLACE``."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1], sys.argv[2])
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"answer": getattr(worker, order.pop("do"))(**order)}
        except NotImplementedError:
            answer = {"absent": True}
        except Exception as error:  # noqa: BLE001 - it stands in the table
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
