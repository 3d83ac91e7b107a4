"""Runs an agent: ``talk.py '{"options": {...}, "session": "s", "say": [["chat", "Hello"]]}'``; prints its answers."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from praisonaiagents import Agent, MemoryConfig

from praisonai_persistence import db


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: 17 degrees"


def report(days: int) -> str:
    """Write a long report."""
    return "sun, " * days


def wait() -> str:
    """Wait for ever."""
    print("waiting", flush=True)
    return sys.stdin.read()


TOOLS = {tool.__name__: tool for tool in (weather, report, wait)}


def say(agent: Any, how: str, text: str) -> str:
    """Say something to the agent in one of its ways."""
    if how == "stream":
        return "".join(str(part) for part in agent.iter_stream(text))
    if how == "achat":
        return str(asyncio.run(agent.achat(text)))
    return str(getattr(agent, how)(text))


def main(options: dict[str, Any], session: str, say_: list[list[str]], name: str, tools: list[str]) -> None:
    with db(**options) as store:
        agent = Agent(
            name=name,
            instructions="You help.",
            llm="gpt-4o-mini",
            tools=[TOOLS[tool] for tool in tools],
            memory=MemoryConfig(db=store, backend="in_memory", session_id=session, user_id="ada"),
        )
        for how, text in say_:
            print(json.dumps(say(agent, how, text)), flush=True)


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    main(job["options"], job["session"], job["say"], job.get("name", "Assistant"), job.get("tools", []))
