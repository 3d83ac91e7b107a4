"""Eight processes that append to one SQLite file. Run as a program it is one of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import bare
from conversations import METADATA, make_session, messages, texts
from measuring import Options, Report, clock, interleaved

from praisonai_persistence_sqlite import SQLiteConversationStore

__all__ = ["processes"]

_TITLE = "Eight processes, one file, durable"
_COUNT = 8


def processes(report: Report, options: Options) -> str:
    """Measure, count refusals, and look for gaps; return the section's title."""
    each = 25 if options.quick else 50
    sessions = [f"session-{number}" for number in range(_COUNT)]
    layouts = {"own session each": sessions, "one session": [sessions[0]] * _COUNT}
    refused = {"ours": 0, "bare": 0}
    rates: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        crews: dict[tuple[str, str], list[subprocess.Popen[str]]] = {}
        for layout, names in layouts.items():
            for who in ("ours", "bare"):
                path = options.folder / f"{who} {layout}.db"
                for session_id in sessions:
                    make_session(path, session_id, 0, None)
                crews[who, layout] = [stack.enter_context(_worker(who, path, name, each)) for name in names]
        taken = interleaved(
            options.rounds,
            {f"{who} {layout}": _round(crew, who, refused) for (who, layout), crew in crews.items()},
        )
        for key in crews:
            rates[key] = [each * _COUNT / seconds for seconds in taken[" ".join(key)]]
        for crew in crews.values():
            for worker in crew:
                worker.stdin.close()  # type: ignore[union-attr]
                if worker.wait(60):
                    raise RuntimeError(f"a process ended with {worker.returncode}")
    gaps = 0
    for layout, names in layouts.items():
        report.compare(_TITLE, layout, "msg/s", rates["ours", layout], rates["bare", layout])
        with SQLiteConversationStore(path=options.folder / f"ours {layout}.db") as store:
            for session_id in set(names):
                seqs = [message.seq for message in store.get_messages(session_id)]
                expected = each * options.rounds * names.count(session_id)
                gaps += seqs != list(range(1, expected + 1))
    report.state(
        _TITLE, "'database is locked', or any other refusal", "errors", refused["ours"], bare=refused["bare"], at_most=0
    )
    report.state(_TITLE, "sessions whose seq is not 1 to n", "sessions", gaps, at_most=0)
    report.note(
        _TITLE, f"{each} messages a process in a round; bare: BEGIN IMMEDIATE with SQLite's own waiting, 60 seconds"
    )
    return _TITLE


def _worker(who: str, path: Path, session_id: str, each: int) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, __file__, who, str(path), session_id, str(each)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _hear(worker)
    return worker


def _hear(worker: subprocess.Popen[str]) -> Any:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a process ended early")
    return json.loads(line)


def _round(crew: list[subprocess.Popen[str]], who: str, refused: dict[str, int]) -> Callable[[], float]:
    def run() -> float:
        start = clock()
        for worker in crew:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in crew:
            refused[who] += _hear(worker)
        return clock() - start

    return run


def _main() -> None:
    who, path, session_id, each = sys.argv[1:]
    with ExitStack() as stack:
        if who == "ours":
            store = stack.enter_context(SQLiteConversationStore(path=path))
            store.connect()
        else:
            connection = stack.enter_context(closing(bare.connect(Path(path))))
        new = texts(int(each), METADATA)
        print(json.dumps("ready"), flush=True)
        for _ in sys.stdin:
            errors = 0
            for text, message in zip(new, messages(new), strict=True):
                try:
                    if who == "ours":
                        store.add_message(session_id, message)
                    else:
                        bare.append(connection, session_id, text)
                except Exception as error:  # noqa: BLE001 - counted, and shown
                    errors += 1
                    print(f"{who}: {error}", file=sys.stderr)
            new = texts(int(each), METADATA)
            print(json.dumps(errors), flush=True)


if __name__ == "__main__":
    _main()
