"""Every example runs as a user would run it, and says what it should."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from praisonai_persistence_sqlite import SQLiteConversationStore

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

SAID = {
    "custom_store": """\
['made by its class']
['made by its class', 'made by its name']
['made by its class', 'made by its name', 'made by a URL']
""",
    "langchain_memory": """\
[('user', 'When do cats sleep?'), ('assistant', 'Cats sleep all day.')]
""",
    "lightrag_memory": """\
All day.
['Cats'] 1
""",
    "llamaindex_memory": """\
['Cats sleep all day.']
[('user', 'When do cats sleep?'), ('assistant', 'text text')]
""",
    "quickstart_async": """\
numbered without a gap: [1, 2, 3, 4, 5, 6, 7, 8, 9]
ada's own order: ['ada says 0', 'ada says 1', 'ada says 2']
the latest two: 2
found by words: ['grace-2']
a fork has its own future: 4 messages
counted: 20 winners: 1
by prefix: ['job:1', 'job:2', 'job:3']
capitals, the nearest first: ['Lisbon', 'Madrid']
""",
    "quickstart_sync": """\
appended twice, stored once: seq 1 and seq 1
the latest two: ['in Porto', 'Your parcel is in Porto.']
the two before: ['question-1', 'call-1']
refused: session 'support-42' has version 2, not 1: read it again
a code that is text: '0123', for 300 seconds
exactly one leads: [True, False, False]
only if it is dark: True light
counted: 1 2
a hash: {'city': 'Lisbon', 'languages': ['pt', 'en']}
by pattern: ['user:ada']
near: cats 0.99
near: gatos 0.97
near, English, since 2022: ships 0.00
not English: 1
""",
}

COMMAND = [sys.executable, "-c", "from praisonai_persistence_cli import main; raise SystemExit(main())"]
FRAMEWORKS = {
    "langchain_memory": ["show", "ada", "--json", "--conversation-url", "langchain.db"],
    "lightrag_memory": ["knowledge", "collections", "--json", "--knowledge-url", "lightrag.db"],
    "llamaindex_memory": ["show", "ada", "--json", "--conversation-url", "llamaindex.db"],
}
"""Examples, and the commands that read what they have stored."""


def run(name: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # Every warning is shown, that of a connection left open among them.
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_every_example_has_a_test():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SAID, "demo", "lightrag_stand_ins"}


@pytest.mark.parametrize("name", sorted(SAID))
def test_example(name, tmp_path):
    ended = run(name, folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.sub(r"for 29\d seconds", "for 300 seconds", ended.stdout) == SAID[name]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_example_of_a_framework_is_short_and_goes_on_where_it_ended(name, tmp_path):
    docstring, *code = filter(None, (EXAMPLES / f"{name}.py").read_text("utf-8").splitlines())
    assert docstring.endswith('"""')
    assert len(code) <= 15
    for _ in range(2):
        ended = run(name, folder=tmp_path)
        assert (ended.returncode, ended.stderr) == (0, "")
    command = [*COMMAND, *FRAMEWORKS[name]]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120, check=True)
    found = json.loads(said.stdout)
    if name == "lightrag_memory":
        assert [(one["name"], one["documents"]) for one in found["collections"]] == [
            ("lightrag_chunks", 1),
            ("lightrag_entities", 1),
        ]
    else:
        assert [message["role"] for message in found["messages"]] == ["user", "assistant"] * 2
        assert found["messages"][:2] != found["messages"][2:]
    assert [path.name for path in tmp_path.glob("*.db")] == [FRAMEWORKS[name][-1]]


def test_the_demo_says_what_happened(tmp_path):
    ended = run("demo", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[-1] == "Nothing is missing."
    assert [line.split()[0] for line in lines[-8:-2]] == ["yes"] * 6
    assert "stand-in" in ended.stdout
    assert len(set(re.findall(r"process (\d+) finds", ended.stdout))) == 2
    killed = next(number for number, line in enumerate(lines) if "SIGKILL" in line)
    before, after = lines[:killed], lines[killed:]
    assert before[-1].endswith("7. tool      Lisbon has 17 degrees and light rain.")
    # What was there before the kill is shown again, word for word; then the open question is answered.
    shown = [line for line in before if re.match(r" +\d+\. ", line)]
    again = [line for line in after if re.match(r" +\d+\. ", line)]
    assert again[:7] == shown
    assert again[7].endswith("8. assistant Ada, Lisbon has 17 degrees and light rain.")
    assert [int(line.split(".")[0]) for line in again] == list(range(1, 15))
    assert re.search(r"0\.\d\d docs/contract\.md: C24 What was acknowledged survives a killed process", ended.stdout)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_keeps_a_file_that_it_is_given(tmp_path):
    file = tmp_path / "agent.db"
    assert run("demo", str(file), folder=tmp_path).returncode == 0
    with SQLiteConversationStore(path=file) as store:
        assert [message.seq for message in store.get_messages("ada-and-the-agent")] == list(range(1, 15))
    again = run("demo", str(file), folder=tmp_path)
    assert again.returncode == 1
    assert "exists; the demo starts with a new file" in again.stderr


def test_the_demo_notices_a_loss(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    watch = demo.watch

    def watch_and_lose(path, *words, **kwargs):
        reports = watch(path, *words, **kwargs)
        if kwargs:  # the first process
            with SQLiteConversationStore(path=path) as store:
                assert store.delete_messages(demo.SESSION, ["message-7"]) == 1
        return reports

    monkeypatch.setattr(demo, "watch", watch_and_lose)
    with pytest.raises(SystemExit, match="Something is missing"):
        demo.main(str(tmp_path / "agent.db"))
    assert "NO   all 7 messages of the first process" in capsys.readouterr().out
