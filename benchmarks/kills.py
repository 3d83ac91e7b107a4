"""Kills writers with SIGKILL at random moments, again and again, and looks for anything that was lost.

    python benchmarks/kills.py [--backend sqlite|json] [--kills 200] [--writers 8]

Writer processes append messages with known ids, alone and in batches, to sessions of their own and to shared ones,
through the public API, and tell the parent over a pipe what they are about to do and what was acknowledged. The parent
kills one of them, now and then all at once, and starts it anew; a new writer first repeats what its predecessor had
begun and not finished, under the same ids. In the end a process that took no part reads everything back:

* lost: an acknowledged message is missing, or has another number than was acknowledged;
* doubled: an id stands twice in its session;
* torn: a part of a batch is there without the rest, or a content is not what was written;
* gaps: a session is not numbered 1 to n, though nothing was ever deleted;
* disorder: a writer's messages do not stand in the order in which it wrote them;
* time: a session's updated_at is before its last acknowledged write, or after the moment of reading.

Exits with 1 if there is any of it, or if a writer ran into an error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from praisonai_persistence import (
    ConversationMessage,
    ConversationSession,
    ConversationStore,
    SessionExistsError,
    create_conversation_store,
)

_PLACES = {"sqlite": "kills.db", "json": "kills"}
_FAULTS = ("lost", "doubled", "torn", "gaps", "disorder", "time")
_SHARED_SECONDS = 2.0
"""How long writers stay with a shared session, so that sessions of stores that rewrite them stay short."""
_OWN_MESSAGES = 500
"""After how many messages a writer goes on with another session of its own."""
_PAUSE = 0.15
"""The longest time between two kills in seconds, once the next victim writes."""
_EVERYBODY = 0.04
"""How likely it is that all are killed at once."""
_PATIENCE = 120.0
"""Seconds that a writer may take to start."""


def _open(backend: str, place: str) -> ConversationStore:
    store = create_conversation_store(backend, path=place)
    assert isinstance(store, ConversationStore)
    return store


def _content(message_id: str) -> str:
    """Return the content that belongs to an id, so that anyone can tell whether it is whole: up to 16 KB."""
    number = int.from_bytes(message_id.encode(), "big") % 1_000_003
    times = 1 + number % (1600 if number % 7 == 0 else 40)
    return f"{message_id}|" * times


# -------------------------------------------------------------------------------------------------------------- writer


class _Writer:
    """One process that writes until it is killed. Its message ids count upwards over all its lives."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.store = _open(job["backend"], job["place"])
        self.name: str = job["writer"]
        self.next: int = job["next"]
        self.left: dict[str, Any] | None = job["left"]
        self.random = random.Random(f"{self.name} {self.next} {time.time_ns()}")
        self.known: set[str] = set()

    def work(self) -> None:
        self.store.connect()
        tell({"ready": os.getpid()})
        if self.left is not None:
            self.append(self.left["session"], self.left["ids"])
        while True:
            count = 1 if self.random.random() < 0.6 else self.random.randint(2, 10)
            ids = [f"{self.name}-{number:07}" for number in range(self.next, self.next + count)]
            self.next += count
            if self.random.random() < 0.5:
                session = f"own-{self.name}-{self.next // _OWN_MESSAGES}"
            else:
                session = f"shared-{int(time.time() / _SHARED_SECONDS)}-{self.random.randint(0, 1)}"
            self.append(session, ids)
            # An agent thinks between two turns; and the parent gets the time to start others.
            time.sleep(self.random.uniform(0.0, 0.004))

    def append(self, session: str, ids: list[str]) -> None:
        if session not in self.known:
            # Nobody knows who comes first: creating may race, and may have been cut off.
            with suppress(SessionExistsError):
                self.store.create_session(ConversationSession(session_id=session))
            self.known.add(session)
        messages = [ConversationMessage(id=id, content=_content(id), metadata={"id": id}) for id in ids]  # noqa: A001
        tell({"try": {"session": session, "ids": ids, "at": time.time()}})
        if len(messages) == 1:
            stored = [self.store.add_message(session, messages[0])]
        else:
            stored = self.store.add_messages(session, messages)
        tell({"done": [message.seq for message in stored]})


def tell(message: dict[str, Any]) -> None:
    """Send a line to the parent, at once and in one piece."""
    os.write(1, json.dumps(message).encode() + b"\n")


# ---------------------------------------------------------------------------------------------------------------- crew


class _Seat:
    """The place of one writer: its process now, and what all of its processes told."""

    def __init__(self, writer: str, backend: str, place: str) -> None:
        self.writer = writer
        self.job = {"writer": writer, "backend": backend, "place": place}
        self.tries: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.ready = threading.Event()
        self.begun = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin the next life, with what the last one left undone."""
        left = None
        if self.tries and self.tries[-1]["seqs"] is None:
            left = {"session": self.tries[-1]["session"], "ids": self.tries[-1]["ids"]}
        given = 1 + sum(len(tried["ids"]) for tried in self.tries if not tried["again"])
        job = {**self.job, "next": given, "left": left}
        self.ready.clear()
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--writer", json.dumps(job)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.thread = threading.Thread(target=self.listen, args=(self.process.stdout, left is not None), daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Wait until the writer writes, or has ended."""
        end = self.begun + _PATIENCE
        while not self.ready.wait(0.1):
            if time.monotonic() > end:
                raise RuntimeError(f"writer {self.writer} has not started in {_PATIENCE:.0f} seconds")

    def listen(self, pipe: IO[bytes], again: bool) -> None:
        """Note what the writer tells, until it is dead."""
        for line in pipe:
            if not line.endswith(b"\n"):  # it was killed here
                break
            message = json.loads(line)
            if "ready" in message:
                self.ready.set()
            elif "try" in message:
                tried = {**message["try"], "seqs": None, "again": again}
                if again:  # it may have been written then, and a repetition changes nothing
                    tried["at"] = self.tries[-1]["at"]
                self.tries.append(tried)
                again = False
            else:
                self.tries[-1]["seqs"] = message["done"]
        self.ready.set()  # for who waits for a writer that ended by itself

    def kill(self) -> bool:
        """Kill it and hear the rest of what it told; return whether it was still alive."""
        assert self.process is not None
        assert self.thread is not None
        self.process.kill()
        code = self.process.wait()
        self.thread.join()
        assert self.process.stderr is not None
        said = self.process.stderr.read().decode(errors="replace").strip()
        self.process.stderr.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        if code >= 0:  # it ended by itself, and nothing but an error makes it do so
            self.errors.append(said.splitlines()[-1] if said else f"it ended with {code}")
            print(f"writer {self.writer}:\n{said}", file=sys.stderr)
        return code < 0


def _run(backend: str, place: str, kills: int, writers: int) -> tuple[list[_Seat], Counter[str]]:
    seats = [_Seat(f"w{number}", backend, place) for number in range(writers)]
    counts: Counter[str] = Counter()
    try:
        for seat in seats:
            seat.start()
        while counts["kills"] < kills and not any(seat.errors for seat in seats):
            left = kills - counts["kills"]
            everybody = left <= writers or random.random() < _EVERYBODY
            if everybody:
                for seat in seats:
                    seat.wait()
            else:
                random.choice(seats).wait()
            time.sleep(random.uniform(0.0, _PAUSE))
            ready = [seat for seat in seats if seat.ready.is_set()]
            chosen = random.sample(ready, min(len(ready), left)) if everybody else [random.choice(ready)]
            for seat in chosen:  # all first, so that they die together
                assert seat.process is not None
                seat.process.kill()
            for seat in chosen:
                counts["kills"] += seat.kill()
                counts["in the middle"] += bool(seat.tries) and seat.tries[-1]["seqs"] is None
            counts["all at once"] += len(chosen) == writers
            for seat in chosen:
                if not seat.errors and counts["kills"] < kills:
                    seat.start()
                    counts["started again"] += 1
            _progress(counts["kills"], kills, seats)
    finally:
        for seat in seats:
            if seat.process is not None and seat.process.returncode is None:
                seat.kill()
        _progress(None, kills, seats)
    return seats, counts


def _progress(count: int | None, kills: int, seats: list[_Seat]) -> None:
    if not sys.stderr.isatty():
        return
    if count is None:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    else:
        operations = sum(len(seat.tries) for seat in seats)
        print(f"\r{count} of {kills} kills, {operations} operations", end="", file=sys.stderr, flush=True)


# --------------------------------------------------------------------------------------------------------------- check


def _check(backend: str, place: str, journal: Path) -> dict[str, int]:
    """Read everything back and compare it with what the writers told."""
    sessions: dict[str, list[dict[str, Any]]] = {}
    for tried in json.loads(journal.read_text(encoding="utf-8")):
        sessions.setdefault(tried["session"], []).append(tried)
    counts = Counter(dict.fromkeys((*_FAULTS, "found", "unacknowledged"), 0))
    with _open(backend, place) as store:
        for session_id, tries in sessions.items():
            session = store.get_session(session_id)
            messages = store.get_messages(session_id)
            _check_messages(messages, tries, counts)
            acknowledged = [tried["at"] for tried in tries if tried["seqs"] is not None]
            if session is None:  # it was about to be created; then it has no messages
                counts["torn"] += len(messages)
            else:
                low = max([session.created_at, *acknowledged])
                counts["time"] += not low <= session.updated_at <= time.time() + 1
        counts["sessions"] = len(sessions)
    return dict(counts)


def _check_messages(messages: list[ConversationMessage], tries: list[dict[str, Any]], counts: Counter[str]) -> None:
    seqs: dict[str, int] = {}
    for message in messages:
        counts["doubled"] += message.id in seqs
        seqs[message.id] = message.seq
        counts["torn"] += message.content != _content(message.id) or message.metadata != {"id": message.id}
    counts["found"] += len(seqs)
    counts["gaps"] += [message.seq for message in messages] != list(range(1, len(messages) + 1))
    told: set[str] = set()
    sure: set[str] = set()
    last: dict[str, int] = {}
    for tried in tries:
        ids = tried["ids"]
        there = [item in seqs for item in ids]
        told.update(ids)
        counts["torn"] += any(there) and not all(there)
        if tried["seqs"] is not None:
            sure.update(ids)
            counts["lost"] += sum(seqs.get(item) != seq for item, seq in zip(ids, tried["seqs"], strict=True))
        for item in ids:
            writer = item.partition("-")[0]
            if item in seqs and not tried["again"]:
                counts["disorder"] += seqs[item] < last.get(writer, 0)
                last[writer] = seqs[item]
    counts["unacknowledged"] += len(seqs.keys() - sure)
    counts["torn"] += len(seqs.keys() - told)  # nobody wrote that


# ---------------------------------------------------------------------------------------------------------------- main


def main() -> int:
    """Run one backend."""
    if sys.argv[1:2] == ["--writer"]:
        _Writer(json.loads(sys.argv[2])).work()
    if sys.argv[1:2] == ["--check"]:
        print(json.dumps(_check(sys.argv[2], sys.argv[3], Path(sys.argv[4]))))
        return 0
    parser = argparse.ArgumentParser(
        description="Kills writers at random moments and looks for anything that was lost."
    )
    parser.add_argument("--backend", choices=sorted(_PLACES), default="sqlite")
    parser.add_argument("--kills", type=int, default=200, help="how many processes to kill (default 200)")
    parser.add_argument("--writers", type=int, default=8, help="how many write at a time (default 8)")
    parser.add_argument("--keep", action="store_true", help="keep the files, and say where they are")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent.parent / "build")
    arguments = parser.parse_args()
    if arguments.kills < 1 or arguments.writers < 1:
        parser.error("--kills and --writers must be 1 or more")

    arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"kills-{arguments.backend}-", dir=arguments.folder))
    try:
        place = str(folder / _PLACES[arguments.backend])
        began = time.monotonic()
        seats, counts = _run(arguments.backend, place, arguments.kills, arguments.writers)
        seconds = time.monotonic() - began
        tries = [tried for seat in seats for tried in seat.tries]
        journal = folder / "journal.json"
        journal.write_text(json.dumps(tries), encoding="utf-8")
        checked = subprocess.run(
            [sys.executable, __file__, "--check", arguments.backend, place, str(journal)],
            check=True,
            capture_output=True,
            text=True,
        )
    finally:
        if arguments.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    found: dict[str, int] = json.loads(checked.stdout)
    errors = [error for seat in seats for error in seat.errors]
    acknowledged = {(tried["session"], item) for tried in tries if tried["seqs"] is not None for item in tried["ids"]}
    rows: list[tuple[str, Any]] = [
        ("backend", arguments.backend),
        ("writers", arguments.writers),
        ("kills", counts["kills"]),
        ("  all writers at once", counts["all at once"]),
        ("  in the middle of a write", counts["in the middle"]),
        ("seconds", round(seconds)),
        ("operations", len(tries)),
        ("  batches", sum(len(tried["ids"]) > 1 for tried in tries)),
        ("  repeated after a kill", sum(tried["again"] for tried in tries)),
        ("sessions", found["sessions"]),
        ("acknowledged messages", len(acknowledged)),
        ("found messages", found["found"]),
        ("  of them not acknowledged", found["unacknowledged"]),
        *((fault, found[fault]) for fault in _FAULTS),
        ("errors of writers", len(errors)),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {f'{value:,}' if isinstance(value, int) else value:>10}")
    for error in errors:
        print(f"error: {error}")
    return 1 if errors or any(found[fault] for fault in _FAULTS) else 0


if __name__ == "__main__":
    raise SystemExit(main())
