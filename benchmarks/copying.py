"""Measures `praisonai-persistence copy`: its rate, its peak memory, and what three SIGKILLs leave behind.

    python benchmarks/copying.py [--to postgres] [--url URL] [--sessions N] [--messages N] [--kills N] [--check]

Builds a source in SQLite, copies it in a process of its own, then copies it again to another place, kills that with
SIGKILL at random moments, and starts it again until it is through. Source and targets are then read by this program,
and their digests compared. Without a URL a server is found as for the integration tests.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from measuring import Report, clock, machine, median, servers

from praisonai_persistence import ConversationMessage, ConversationSession, ConversationStore, open_conversation_store
from praisonai_persistence_cli._reading import SessionDigest, Total, all_sessions, canonical_message, message_pages

COMMAND = [sys.executable, "-c", "from praisonai_persistence_cli import main; raise SystemExit(main())"]
ROOT = Path(__file__).resolve().parent.parent
TEXT = "A sentence of an agent that has something to say about its work. " * 3
RATE, MEMORY, START = 10_000, 200, 250
"""What it should reach: messages a second at least; megabytes, and milliseconds to show its help, at the most."""


class Ended(NamedTuple):
    """A process that ran to its end, or was killed.

    Attributes:
        code: its exit code, or minus the number of the signal.
        output: what it printed.
        seconds: how long it ran.
        megabytes: the most memory that it had.
    """

    code: int
    output: str
    seconds: float
    megabytes: float


def build(path: Path, sessions: int, messages: int) -> None:
    """Make the source: turns of a user, an assistant that calls a tool, and the tool."""
    start = time.time() - sessions
    store = open_conversation_store(f"sqlite:///{path}", synchronous="NORMAL")
    assert isinstance(store, ConversationStore)
    with store:
        for number in range(sessions):
            session = ConversationSession(
                f"session-{number:06d}",
                user_id=f"user-{number % 50}",
                state={"turn": number},
                created_at=start + number,
            )
            store.create_session(session)
            store.add_messages(session.session_id, [message(number, turn) for turn in range(messages)])


def message(number: int, turn: int) -> ConversationMessage:
    """A message of the usual size."""
    role = ("user", "assistant", "tool")[turn % 3]
    call = {"id": f"call-{turn}", "function": {"name": "look_up", "arguments": f'{{"order": {number}}}'}}
    return ConversationMessage(
        id=f"{number:06d}-{turn:06d}",
        role=role,
        content=f"{turn}: {TEXT}",
        tool_calls=[call] if role == "assistant" else None,
        tool_call_id=f"call-{turn - 1}" if role == "tool" else None,
        metadata={"model": "m", "tokens": turn, "tags": ["a", "b"]},
    )


def copy(arguments: list[str], kill_after: float | None = None) -> Ended:
    """Run the command in a process; kill it after so many seconds."""
    start = clock()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([*COMMAND, "copy", *arguments, "--json"], stdout=output, cwd=ROOT)
        if kill_after is not None:
            try:
                process.wait(kill_after)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        # wait4 tells the memory of this child alone. One that wait() has met already tells it no more.
        if process.returncode is None:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            megabytes = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
        else:
            megabytes = 0.0
        output.seek(0)
        return Ended(process.returncode, output.read().decode(), clock() - start, megabytes)


def digest(url: str, **options: Any) -> tuple[str, int]:
    """Read a store; return its digest and how many messages it has."""
    total, messages = Total(), 0
    store = open_conversation_store(url, "sync", **options)
    assert isinstance(store, ConversationStore)
    with store:
        for session in all_sessions(store):
            one = SessionDigest(session)
            for page in message_pages(store, session.session_id):
                one.add(*map(canonical_message, page))
            total.add(one.hexdigest())
            messages += one.messages
    return total.hexdigest(), messages


def drop(url: str, prefix: str) -> None:
    """Delete the tables that a copy made."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT tablename FROM pg_tables WHERE starts_with(tablename, %s)"
        for (name,) in connection.execute(query, (prefix,)).fetchall():
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


def measure(source: Path, url: str, options: argparse.Namespace, report: Report, prefix: str) -> bool:
    """Copy without and with kills; return whether nothing was lost."""
    from_url = f"sqlite:///{source}"
    section = f"copy sqlite -> {options.to}, {options.sessions:,} sessions of {options.messages} messages"
    expected, count = digest(from_url)

    base = ["--from", from_url, "--to", url, "--workers", str(options.workers)]
    first = f"{prefix}a_"
    whole = copy([*base, "--to-prefix", first])
    if whole.code:
        raise SystemExit(f"the copy ended with {whole.code}")
    said = json.loads(whole.output)["conversation"]
    report.state(section, "messages copied and verified", "1/s", count / said["seconds"], at_least=RATE)
    report.state(section, "messages, with the start of the process", "1/s", count / whole.seconds)
    report.state(section, "peak memory", "MB", whole.megabytes, at_most=MEMORY)
    starts = []
    for _ in range(11):
        start = clock()
        subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
        starts.append((clock() - start) * 1000)
    report.state(section, "praisonai-persistence --help, whole process", "ms", median(starts), at_most=START)
    again = copy([*base, "--to-prefix", first])
    report.state(
        section,
        "messages compared, when all is there",
        "1/s",
        count / json.loads(again.output)["conversation"]["seconds"],
    )

    second, starting = f"{prefix}b_", whole.seconds - said["seconds"]
    left = []
    for _ in range(options.kills):
        ended = copy([*base, "--to-prefix", second], kill_after=starting + random.uniform(0.1, 0.6) * said["seconds"])
        left.append(f"{digest(url, table_prefix=second)[1]:,}" if ended.code == -signal.SIGKILL else "it was through")
    ended = copy([*base, "--to-prefix", second])
    if ended.code:
        raise SystemExit(f"the copy ended with {ended.code}")
    report.note(section, f"messages in the target after each of {options.kills} kills: {', '.join(left)}")
    digests = {"source": expected, "copied at once": digest(url, table_prefix=first)[0]}
    digests["copied with kills"] = digest(url, table_prefix=second)[0]
    for name, value in digests.items():
        report.note(section, f"digest, {name}: {value}")
    equal = len({*digests.values(), said["digest"]}) == 1
    report.note(section, "all digests are equal" if equal else "THE DIGESTS DIFFER")
    report.show(section)
    return equal


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description="Measures the copying of conversations.")
    parser.add_argument("--to", choices=["postgres", "sqlite"], default="postgres", help="the target's backend")
    parser.add_argument("--url", help="of a PostgreSQL server; tables of a prefix of their own are dropped at the end")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--messages", type=int, default=100, help="in each session")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    options = parser.parse_args()
    engines: Any = None
    report = Report()
    prefix = f"copy{uuid.uuid4().hex[:6]}_"
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        folder = Path(name)
        facts = machine(folder)
        for what, value in facts.items():
            print(f"{what}: {value}")
        url = options.url
        if options.to == "sqlite":
            url = f"sqlite:///{folder / 'target.db'}"
        elif url is None:
            engines = servers()
            url = engines.engine("postgres").url
        try:
            build(folder / "source.db", options.sessions, options.messages)
            equal = measure(folder / "source.db", url, options, report, prefix)
        finally:
            if options.to == "postgres":
                drop(url, prefix)
            if engines is not None:
                engines.shut_down()
    if options.json:
        report.write(options.json, facts)
    return 1 if not equal or (report.missed and options.check) else 0


if __name__ == "__main__":
    raise SystemExit(main())
