"""Runs one contestant, in its environment: takes orders as lines of JSON, and answers each with one.

Standard library only. What a product prints goes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from base import Conversations, content

clock = time.perf_counter


class Worker:
    """What the orders do; a method each, whose answer is JSON."""

    def __init__(self, name: str, place: str) -> None:
        self.make: Callable[[str], Conversations] = importlib.import_module(name).CONTESTANT
        self.place = place
        self.one = self.make(place)

    def open(self) -> dict[str, Any]:
        start = clock()
        self.one.open()
        self.one.create("first", "nobody")
        self.one.append("first", content(0))
        return {"seconds": clock() - start, "versions": self.one.versions()}

    def durability(self) -> str:
        return self.one.durability()

    def close(self) -> None:
        self.one.close()

    def create(self, session: str, user: str = "someone") -> None:
        self.one.create(session, user)

    def append(self, session: str, count: int, limit: float) -> dict[str, Any]:
        """Append one at a time; return how many in how many seconds, no more than about ``limit``."""
        texts = [content(number) for number in range(count)]
        began = clock()
        for done, text in enumerate(texts, 1):
            self.one.append(session, text)
            if clock() - began > limit:
                break
        return {"done": done, "seconds": clock() - began}

    def fill(self, session: str, count: int, limit: float) -> int:
        """Bring a session to so many messages, or as far as it gets in ``limit`` seconds; return how many it has."""
        done, piece, end = 0, 50, clock() + limit
        while done < count and clock() < end:
            some = min(piece, count - done)
            began = clock()
            self.one.fill(session, [content(number) for number in range(done, done + some)])
            done += some
            if clock() - began < 0.5:
                piece *= 2
        return done

    def resume(self, session: str, length: int, count: int, times: int) -> dict[str, Any]:
        """Read the latest messages; return the median of the seconds, and whether they are the right ones."""
        taken = []
        for _ in range(times):
            began = clock()
            found = self.one.last(session, count)
            taken.append(clock() - began)
        wanted = [content(number) for number in range(max(0, length - count), length)]
        return {"seconds": statistics.median(taken), "right": found == wanted}

    def sessions(self, user: str, count: int, limit: float) -> int:
        """Make sessions with one message each; return how many there are after ``limit`` seconds at the latest."""
        end = clock() + limit
        for number in range(count):
            if clock() > end:
                return number
            self.one.create(f"{user}-{number}", user)
            self.one.append(f"{user}-{number}", content(number))
        return count

    def listing(self, user: str, total: int, count: int, times: int) -> dict[str, Any]:
        """Read the newest sessions; return the median of the seconds, and whether they are the right ones."""
        taken = []
        for _ in range(times):
            began = clock()
            found = self.one.newest_sessions(user, count)
            taken.append(clock() - began)
        wanted = [f"{user}-{number}" for number in range(total - 1, total - 1 - count, -1)]
        return {"seconds": statistics.median(taken), "right": found == wanted}

    def at_once(self, how: str, sessions: list[str], count: int) -> dict[str, Any]:
        """Append from many threads or tasks, each to its session; return seconds, and what was lost or misordered."""
        for session in dict.fromkeys(sessions):
            self.one.create(session, "someone")
        errors: list[str] = []
        sure: list[list[str]] = [[] for _ in sessions]
        run = self._in_threads if how == "threads" else self._in_tasks
        seconds = run(sessions, count, sure, errors)
        lost = doubled = misordered = 0
        for session in dict.fromkeys(sessions):
            found = self.one.last(session, count * len(sessions))
            places: dict[str, int] = {}
            for place, text in enumerate(found):
                doubled += text in places
                places.setdefault(text, place)
            for texts, mine in zip(sure, sessions, strict=True):
                if mine == session:
                    there = [places[text] for text in texts if text in places]
                    lost += len(texts) - len(there)
                    misordered += sum(b < a for a, b in zip(there, there[1:], strict=False))
        tried = count * len(sessions)
        return {
            "seconds": seconds,
            "written": sum(map(len, sure)),
            "errors": len(errors),
            "error": errors[0][:200] if errors else "",
            "lost": lost,
            "doubled": doubled,
            "misordered": misordered,
            "tried": tried,
        }

    def _in_threads(self, sessions: list[str], count: int, sure: list[list[str]], errors: list[str]) -> float:
        gate = threading.Barrier(len(sessions) + 1)

        def work(number: int, session: str) -> None:
            one = self.one
            if not one.threads:
                one = self.make(self.place)
                one.open()
            gate.wait()
            for turn in range(count):
                text = content(f"{number}-{turn}")
                try:
                    one.append(session, text)
                except Exception as error:  # noqa: BLE001 - counted
                    errors.append(f"{type(error).__name__}: {error}")
                else:
                    sure[number].append(text)
            if one is not self.one:
                one.close()

        threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(sessions)]
        for thread in threads:
            thread.start()
        gate.wait()
        began = clock()
        for thread in threads:
            thread.join()
        return clock() - began

    def _in_tasks(self, sessions: list[str], count: int, sure: list[list[str]], errors: list[str]) -> float:
        if not self.one.tasks:
            raise NotImplementedError

        async def work(number: int, session: str) -> None:
            for turn in range(count):
                text = content(f"{number}-{turn}")
                try:
                    await self.one.append_async(session, text)
                except Exception as error:  # noqa: BLE001 - counted
                    errors.append(f"{type(error).__name__}: {error}")
                else:
                    sure[number].append(text)

        async def main() -> float:
            await self.one.open_async()
            try:
                began = clock()
                await asyncio.gather(*(work(*pair) for pair in enumerate(sessions)))
                return clock() - began
            finally:
                await self.one.close_async()

        return asyncio.run(main())


def main() -> None:
    """Serve ``python worker.py CONTESTANT PLACE``."""
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
