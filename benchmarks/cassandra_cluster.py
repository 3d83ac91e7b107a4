"""Conversations and state on a cluster of Cassandra nodes: the rate, and one node killed while everybody writes.

``python benchmarks/cassandra_cluster.py 3`` starts three nodes with Docker, on 127.0.0.1 to 127.0.0.3 (so on Linux),
writes for a while, kills the last one in the middle and writes on; ``1`` measures one node. Writers are threads: each
appends to a session of its own, one message and a batch of three by turns, and now and then to one that all share, and
counts in one counter. What a writer is told by an error it repeats under the same ids.

At the end the program reads everything back, and fails if something that was acknowledged is missing or stands under
another number, stands there twice, or is a part of what was written as one. An increment whose outcome was not known
may count or not.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence_cassandra import CassandraConversationStore, CassandraStateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGE = "cassandra:5.0"
SHARED = "shared"
START = 300.0
"""Seconds in which a node has to start."""


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def _log(name: str) -> str:
    done = subprocess.run(["docker", "logs", name], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[list[str]]:
    """Start nodes, one after the other; gives their containers' ids."""
    started: list[str] = []
    try:
        for number in range(1, nodes + 1):
            address = f"127.0.0.{number}"
            settings = {
                "CASSANDRA_LISTEN_ADDRESS": address,
                "CASSANDRA_RPC_ADDRESS": address,
                "CASSANDRA_SEEDS": "127.0.0.1",
                "JMX_PORT": f"719{number}",
                "MAX_HEAP_SIZE": "512M",
                "HEAP_NEWSIZE": "128M",
            }
            words = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
            started.append(_docker("run", "-d", "--network", "host", *words, IMAGE))
            end = time.monotonic() + START
            while "Startup complete" not in _log(started[-1]):
                if time.monotonic() > end:
                    raise SystemExit(f"node {number} has not started within {START:g} seconds")
                time.sleep(1)
            print(f"node {number} is up", flush=True)
        yield started
    finally:
        for one in started:
            _docker("rm", "-f", "-v", one)


@dataclass
class Told:
    """What writers were told."""

    appended: dict[str, dict[str, int]] = field(default_factory=dict)  # by session: seq by message id
    tried: dict[str, list[str]] = field(default_factory=dict)  # by batch's first id: all its ids
    counted: int = 0
    perhaps: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    gap: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


def _write(
    number: int, conversations: CassandraConversationStore, state: CassandraStateStore, told: Told, end: float
) -> None:
    own, before = f"session-{number}", time.monotonic()
    for turn in itertools.count():
        if time.monotonic() > end:
            return
        session = SHARED if turn % 10 == 9 else own
        size = 1 if turn % 2 == 0 else 3
        messages = [ConversationMessage(id=f"{number}-{turn}-{item}", content="x" * 200) for item in range(size)]
        with told.lock:
            told.tried[messages[0].id] = [message.id for message in messages]
        while True:
            try:
                stored = conversations.add_messages(session, messages)
                break
            except ConnectionFailedError as error:
                with told.lock:
                    told.errors[type(error.__cause__).__name__] += 1
        with told.lock:
            told.appended.setdefault(session, {}).update((message.id, message.seq or 0) for message in stored)
            now = time.monotonic()
            told.times.append(now)
            told.gap, before = max(told.gap, now - before), now
        if turn % 10 == 5:
            try:
                state.incr("counter")
                with told.lock:
                    told.counted += 1
            except ConnectionFailedError as error:
                with told.lock:
                    told.perhaps += 1
                    told.errors[type(error.__cause__).__name__] += 1


def _check(conversations: CassandraConversationStore, state: CassandraStateStore, told: Told) -> list[str]:
    """Return what is wrong."""
    wrong: list[str] = []
    for session, acknowledged in told.appended.items():
        messages = conversations.get_messages(session)
        ids = [message.id for message in messages]
        seqs = {message.id: message.seq for message in messages}
        if [message.seq for message in messages] != list(range(1, len(messages) + 1)):
            wrong.append(f"{session}: gaps in seq")
        if len(set(ids)) < len(ids):
            wrong.append(f"{session}: {len(ids) - len(set(ids))} doubled")
        lost = [one for one, seq in acknowledged.items() if seqs.get(one) != seq]
        if lost:
            wrong.append(f"{session}: {len(lost)} lost or under another number")
        for first, batch in told.tried.items():
            if first in seqs and [seqs.get(one) for one in batch] != list(range(seqs[first], seqs[first] + len(batch))):
                wrong.append(f"{session}: a batch is torn")
    counter = state.get("counter", 0)
    if not told.counted <= counter <= told.counted + told.perhaps:
        wrong.append(f"the counter is {counter}, of {told.counted} increments and {told.perhaps} unknown ones")
    return wrong


def _threads(work: Callable[[int], Any], writers: int) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    return threads


def _rate(times: list[float], start: float, end: float) -> str:
    return f"{sum(start <= at < end for at in times) / (end - start):.0f} appends a second"


def measure(nodes: int, containers: list[str], writers: int, seconds: float) -> list[str]:
    """Write, kill a node if there are three, read back; return what is wrong."""
    options: dict[str, Any] = {
        "hosts": [f"127.0.0.{number}" for number in range(1, nodes + 1)],
        "keyspace": "cluster",
        "replicas": nodes,
        "timeout": 15.0,
    }
    told = Told()
    with CassandraConversationStore(**options) as conversations, CassandraStateStore(**options) as state:
        for name in (SHARED, *(f"session-{number}" for number in range(writers))):
            conversations.create_session(ConversationSession(name))
        state.set("ready", 1)
        start = time.monotonic()
        end = start + seconds * (3 if nodes == 3 else 1)
        threads = _threads(lambda number: _write(number, conversations, state, told, end), writers)
        time.sleep(seconds)
        if nodes == 3:
            struck = time.monotonic()
            _docker("kill", "-s", "KILL", containers[-1])
        for thread in threads:
            thread.join()
        print(f"{nodes} nodes, {writers} writers: {_rate(told.times, start, start + seconds)}", flush=True)
        if nodes == 3:
            print(f"after one was killed: {_rate(told.times, struck, end)}; longest wait {told.gap:.1f} s")
        print(f"{len(told.times)} appends acknowledged, errors: {dict(told.errors)}", flush=True)
    with CassandraConversationStore(**options) as conversations, CassandraStateStore(**options) as state:
        return _check(conversations, state, told)


def main() -> None:
    """Measure, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nodes", type=int, choices=(1, 3))
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="of writing before the kill; twice as many after it"
    )
    given = parser.parse_args()
    with cluster(given.nodes) as containers:
        wrong = measure(given.nodes, containers, given.writers, given.seconds)
    print("\n".join(wrong) or "nothing lost, doubled or torn")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
