"""An agent's words stay in the store that was asked for: no file outside it, no other session, no other database."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from model import call

from praisonai_persistence import FileMemoryWarning, db

MARKER = "xyzzy-7f3a"
ROOT = Path(__file__).parents[2]
TALK = str(Path(__file__).with_name("talk.py"))
COMMAND = "from praisonai_persistence_cli import main; raise SystemExit(main())"
WAYS = f"""
import asyncio
for how in ("chat", "start", "run"):
    getattr(agent, how)("{MARKER} by " + how)
list(agent.iter_stream("{MARKER} by iter_stream"))
for how in ("achat", "astart", "arun"):
    asyncio.run(getattr(agent, how)("{MARKER} by " + how))
"""
"""Every way to say something to an agent."""
RECIPE = re.compile(r"```python[^\n]*\n(.*?)```", re.DOTALL)


def recipes() -> list[Any]:
    """The examples of the documentation that make an agent."""
    pages = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("packages/*/README.md"))]
    return [
        pytest.param(code, id=f"{page.relative_to(ROOT)}-{number}")
        for page in pages
        for number, code in enumerate(RECIPE.findall(page.read_text(encoding="utf-8")))
        if "agent = Agent(" in code
    ]


@pytest.fixture
def run(start, tmp_path):
    """Run a program to its end, with folders of its own for all that is temporary or cached."""
    (tmp_path / "temporary").mkdir()

    def run(*arguments: str, **environment: str) -> str:
        process = start(*arguments, TMPDIR=str(tmp_path / "temporary"), **environment).process
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, f"{out}\n{err}"
        return err

    return run


def outside(folder: Path, marker: str = MARKER) -> list[str]:
    """The files that hold the marker and are not the store's."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("agent.db"):
            data = path.read_bytes()
            if marker.encode() in data or marker.encode("utf-16-le") in data or marker in str(path):
                found.append(str(path.relative_to(folder)))
    return found


def stored(folder: Path) -> list[str]:
    with db(database_url=f"sqlite:///{folder / 'agent.db'}") as store:
        (session,) = store.conversation.list_sessions()
        return [message.content or "" for message in store.conversation.get_messages(session.session_id)]


def test_there_are_recipes():
    assert len(recipes()) >= 2


@pytest.mark.parametrize("code", recipes())
def test_the_recipes_of_the_documentation(code, run, tmp_path):
    err = run("-c", f"{code}\n{WAYS}")
    assert outside(tmp_path) == []
    assert FileMemoryWarning.__name__ not in err
    said = stored(tmp_path)
    for how in ("chat", "start", "run", "iter_stream", "achat", "astart", "arun"):
        assert f"{MARKER} by {how}" in said, how


def test_the_command_line(run, tmp_path):
    where = ["--conversation-url", f"sqlite:///{tmp_path / 'agent.db'}", "--session-id", "s"]
    errors = run("-c", COMMAND, "run", f"{MARKER} one", "--user-id", "ada", *where)
    errors += run("-c", COMMAND, "resume", "--continue", f"{MARKER} two", "--show-history", *where)
    assert outside(tmp_path) == []
    assert FileMemoryWarning.__name__ not in errors
    assert [text for text in stored(tmp_path) if text.startswith(MARKER)] == [f"{MARKER} one", f"{MARKER} two"]


def test_nothing_is_told_to_another_session_or_database(run, model, tmp_path):
    def job(database: str, session: str, text: str) -> str:
        options = {"database_url": f"sqlite:///{tmp_path / database}"}
        return json.dumps({"options": options, "session": session, "say": [["chat", text], ["achat", text]]})

    run(TALK, job("agent.db", "one", MARKER))
    model.requests.clear()
    run(TALK, job("agent.db", "two", "Hello."))
    run(TALK, job("other.db", "one", "Hello."))
    assert len(model.requests) == 4
    assert MARKER not in json.dumps(model.requests)


def test_an_agent_with_a_session_store(run, tmp_path):
    code = f"""
import praisonai_persistence.compat
from praisonai_persistence.sessions import StoreBackedSessionStore, set_default_session_store
store = StoreBackedSessionStore.open("sqlite:///agent.db")
set_default_session_store(store)
from praisonaiagents import Agent, MemoryConfig
agent = Agent(name="assistant", memory=MemoryConfig(session_id="chat-1", backend="in_memory"))
{WAYS}
store.close()
"""
    run("-c", code)
    assert outside(tmp_path) == []
    assert f"{MARKER} by chat" in stored(tmp_path)


def with_a_table(messages: list[dict[str, Any]]) -> Any:
    if messages[-1]["role"] == "tool":
        return "Seen."
    return call("table", "call_1")


@pytest.mark.parametrize("limit", [None, 1_000_000])
def test_large_results_of_tools(run, model, tmp_path, limit):
    model.answer = with_a_table
    code = f"""
from praisonai_persistence import db
from praisonaiagents import Agent, MemoryConfig, OutputConfig

def table() -> dict:
    \"\"\"Make a table.\"\"\"
    return {{"rows": "{MARKER} " * 5000}}

with db(database_url="sqlite:///agent.db") as store:
    agent = Agent(
        name="Assistant",
        llm="gpt-4o-mini",
        tools=[table],
        memory=MemoryConfig(db=store, backend="in_memory", session_id="s", user_id="ada"),
        {"" if limit is None else f"context=False, output=OutputConfig(tool_output_limit={limit}),"}
    )
    agent.chat("The table!")
    list(agent.iter_stream("The table!"))
"""
    run("-c", code)
    # What the documentation says of the limit: without it PraisonAI keeps a copy, with it none.
    assert bool(outside(tmp_path)) == (limit is None)


WARNED = """
import asyncio, warnings
from praisonai_persistence import db
from praisonaiagents import Agent, MemoryConfig
store = db(database_url="sqlite:///agent.db")
agents = [Agent(name=name, llm="gpt-4o-mini", memory={memory}) for name in ("One", "Two")]
for agent in agents:
    for _ in range(2):
        {say}  # here
store.close()
"""


@pytest.mark.parametrize("say", ['agent.chat("Hello.")', 'asyncio.run(agent.achat("Hello."))'], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("memory", "warned"),
    [
        ('MemoryConfig(db=store, session_id="s", user_id="ada")', 1),
        ("store", 1),
        ('MemoryConfig(db=store, backend="in_memory", session_id="s", user_id="ada")', 0),
    ],
    ids=["by default", "db as memory", "in memory"],
)
def test_the_file_memory_of_an_agent_is_warned_of_once(run, tmp_path, memory, warned, say):
    program = tmp_path / "program.py"
    program.write_text(WARNED.format(memory=memory, say=say), encoding="utf-8")
    err = run(str(program))
    assert err.count(FileMemoryWarning.__name__) == warned
    if warned:
        where = WARNED.splitlines().index("        {say}  # here") + 1
        assert f"program.py:{where}: {FileMemoryWarning.__name__}: " in err
        assert 'backend="in_memory"' in err
