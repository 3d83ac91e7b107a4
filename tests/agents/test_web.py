"""Sync stores and the adapter in the handlers of a real web server: no deadlock, no second loop, nothing lost."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from praisonai_persistence_sqlite import SQLiteConversationStore

WEB = str(Path(__file__).with_name("web.py"))
HANDLERS = ("inside-the-loop", "on-a-thread", "awaited")


def test_handlers_of_a_web_server(start, tmp_path):
    program = start(WEB)
    port = int(program.process.stdout.readline())

    def post(number: int) -> int:
        url = f"http://127.0.0.1:{port}/{HANDLERS[number % 3]}?text={number}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=120) as answer:
            return int(json.load(answer)["messages"])

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(post, range(60)))
    assert max(counts[0::3] + counts[1::3]) > 20
    assert sorted(counts[2::3]) == list(range(1, 21))
    program.process.terminate()
    _, err = program.process.communicate(timeout=120)
    assert "Traceback" not in err
    with SQLiteConversationStore(path=tmp_path / "web.db") as store:
        contents = [message.content for message in store.get_messages("s")]
    assert sorted(contents, key=int) == [str(number) for number in range(60)]
