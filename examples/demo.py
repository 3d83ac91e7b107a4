"""The main job: an agent is killed in the middle of a turn, and another process goes on where it stopped.

    python examples/demo.py               works in a temporary folder
    python examples/demo.py agent.db      keeps the file

Three processes, one SQLite file, no network and no key:

1. The first process is an agent. It takes in the documentation of this project as knowledge, talks with a user, calls
   tools and keeps state. Over a pipe it says which messages the store has acknowledged.
2. It is killed (SIGKILL) when the result of a tool is stored and the answer to the user is not.
3. The second process is the same program, started anew. It answers the open question from what it finds.
4. The third process played the user and did the killing. Now it reads the file through the async stores, and compares.

Two things are not real. `stand_in_model` is a handful of rules where a language model would be, `StandInEmbedder`
counts words where an embedding model would be. Everything else is what an application would do.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from praisonai_persistence import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.conversation import AsyncSQLiteConversationStore, SQLiteConversationStore
from praisonai_persistence.embed import Embedder
from praisonai_persistence.knowledge import AsyncSQLiteKnowledgeStore, SQLiteKnowledgeStore
from praisonai_persistence.records import text_of
from praisonai_persistence.state import AsyncSQLiteStateStore, SQLiteStateStore

ROOT = Path(__file__).resolve().parent.parent
SESSION = "ada-and-the-agent"
HOUR = 3600.0

# ---------------------------------------------------------------------------------------------------------- stand-ins


class StandInEmbedder:
    """Stands in for an embedding model: each longer word counts in one of 256 places; the whole gets the length 1."""

    dimension = 256

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the embedding of each text."""
        return [self._embed(text) for text in texts]

    def _embed(self, text: str) -> list[float]:
        places = [0.0] * self.dimension
        for word in re.findall(r"[a-z]{5,}", text.lower()):
            places[zlib.crc32(word.encode()) % self.dimension] += 1.0
        length = math.hypot(*places) or 1.0
        return [place / length for place in places]


def stand_in_model(history: list[ConversationMessage]) -> dict[str, Any]:
    """Stands in for a language model: a handful of rules that see the history and nothing else.

    Returns:
        The fields of the assistant's next message: an answer, or a call of a tool.
    """
    said = [text_of(message.content) for message in history if message.role == "user"]
    results = [text_of(message.content) for message in history if message.role == "tool"]
    name = next((found[1] for text in said if (found := re.search(r"I am (\w+)", text))), "stranger")
    if history[-1].role == "tool":
        return {"content": f"{name}, {results[-1]}"}
    if found := re.search(r"prefer (\w+) answers", said[-1]):
        return call("set_preference", name="answers", value=found[1])
    if found := re.search(r"weather in (\w+)", said[-1]):
        return call("weather", city=found[1])
    if "contract" in said[-1]:
        return call("search_documents", query=said[-1], filters={"file": "docs/contract.md"})
    weather = next((text for text in results if "degrees" in text), "I know of no weather")
    return {"content": f"you are {name}, and {weather}"}


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    """Return the fields of an assistant's message that calls a tool."""
    return {"content": None, "tool_calls": [{"id": f"call-of-{tool}", "name": tool, "arguments": arguments}]}


# ----------------------------------------------------------------------------------------------------------- the agent


class Agent:
    """An agent that keeps nothing to itself: what it knows is in three stores on one file."""

    def __init__(self, path: str) -> None:
        self.conversation = SQLiteConversationStore(path=path)
        self.state = SQLiteStateStore(path=path)
        self.knowledge = SQLiteKnowledgeStore(path=path)
        self.embedder: Embedder = StandInEmbedder()
        self.tools: dict[str, Callable[..., str]] = {
            "set_preference": self.set_preference,
            "weather": self.weather,
            "search_documents": self.search_documents,
        }
        if self.conversation.get_session(SESSION) is None:
            self.conversation.create_session(ConversationSession(SESSION, user_id="ada", agent_id="demo"))
        self.history: list[ConversationMessage] = self.conversation.get_messages(SESSION)
        report("resumed", pid=os.getpid(), messages=[message.to_dict() for message in self.history])

    def close(self) -> None:
        """Close the stores. An agent that is killed never comes here, and loses nothing by that."""
        for store in (self.conversation, self.state, self.knowledge):
            store.close()

    def learn(self) -> None:
        """Take in the documentation. A piece that is there already is replaced by itself."""
        self.knowledge.create_collection("documentation", self.embedder.dimension)
        found = [
            (f"{file}#{number}", text, {"file": file, "heading": heading})
            for file in ["README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
            for number, (heading, text) in enumerate(pieces(file))
        ]
        embeddings = self.embedder.embed([text for _, text, _ in found])
        documents = [
            KnowledgeDocument(name, text, embedding, metadata)
            for (name, text, metadata), embedding in zip(found, embeddings, strict=True)
        ]
        self.knowledge.upsert("documentation", documents)
        report("learned", pieces=self.knowledge.count("documentation"))

    def hear(self, words: str) -> None:
        """Do one turn: keep what the user says, then go on until there is an answer."""
        self.state.incr("turns")
        self.keep("user", content=words)
        self.go_on()

    def go_on(self) -> None:
        """Do what is left of a turn. The last message alone says what that is, so this works after any interruption."""
        while self.history:
            last = self.history[-1]
            if last.tool_calls:
                wanted = last.tool_calls[0]
                self.keep("tool", tool_call_id=wanted["id"], content=self.tools[wanted["name"]](**wanted["arguments"]))
            elif last.role != "assistant":
                self.keep("assistant", **stand_in_model(self.history))
            else:
                return

    def keep(self, role: str, **fields: Any) -> None:
        """Append a message. When `add_message` returns it is on the disk; only then is it reported."""
        message = ConversationMessage(id=f"message-{len(self.history) + 1}", role=role, **fields)
        self.history.append(self.conversation.add_message(SESSION, message))
        report("stored", message=self.history[-1].to_dict())

    # Tools, one for each of the things that state and knowledge are good for.

    def set_preference(self, name: str, value: str) -> str:
        """Keep a preference of the user: a field of a hash."""
        self.state.hset("preferences", name, value)
        return f"your {name} will be {value}."

    def weather(self, city: str) -> str:
        """Ask a weather service (here: a constant) unless it was asked within the hour: a value with a time to live."""
        known: str | None = self.state.get(f"weather:{city}")
        if known is None:
            self.state.incr("weather requests")
            known = f"{city} has 17 degrees and light rain."
            self.state.set(f"weather:{city}", known, ttl=HOUR)
        return known

    def search_documents(self, query: str, filters: dict[str, Any]) -> str:
        """Find the pieces of the documentation that are nearest to a question."""
        [embedding] = self.embedder.embed([query])
        found = self.knowledge.search("documentation", embedding, limit=3, filters=filters)
        report("found", filters=filters, documents=[document.to_dict() for document in found])
        return f"see {found[0].metadata['heading']!r}." if found else "I found nothing."


def pieces(file: str) -> Iterator[tuple[str, str]]:
    """Cut a document at its headings; yield each heading, and the text with it."""
    for text in re.split(r"^(?=##+ )", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE):
        if text.strip():
            yield text.splitlines()[0].lstrip("# "), text


def report(kind: str, **what: Any) -> None:
    """Tell the watching process, and wait for its leave to go on: so it can kill this one at an exact point."""
    print(json.dumps({"kind": kind, **what}), flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody is watching any more")


def be_the_agent(path: str, *words: str) -> None:
    """The first and the second process."""
    agent = Agent(path)
    agent.learn()
    agent.go_on()  # with the turn that was interrupted, if there is one
    for sentence in words:
        agent.hear(sentence)
    agent.close()


# ------------------------------------------------------------------------------------------------ the watching process

Report = dict[str, Any]


def watch(path: str, *words: str, kill_at: Callable[[Report], bool] | None = None) -> list[Report]:
    """Run the agent in a process of its own, show what it reports, and kill it where `kill_at` says so."""
    command = [sys.executable, str(Path(__file__).resolve()), "--agent", path, *words]
    reports: list[Report] = []
    killed = False
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            reports.append(json.loads(line))
            show(reports[-1])
            if kill_at is not None and kill_at(reports[-1]):
                process.kill()  # SIGKILL: no handler runs, nothing is flushed, nothing is closed
                killed = True
                break
            process.stdin.write("\n")
            process.stdin.flush()
    if killed != (kill_at is not None) or (not killed and process.returncode):
        sys.exit(f"the agent ended where it should not, with exit status {process.returncode}")
    return reports


def show(report: Report) -> None:
    """Print a report of the agent."""
    if report["kind"] == "resumed":
        print(f"   process {report['pid']} finds {len(report['messages'])} messages")
        for message in report["messages"]:
            show({"kind": "stored", "message": message})
    elif report["kind"] == "learned":
        print(f"   and has {report['pieces']} pieces of documentation in its knowledge; now it goes on:")
    elif report["kind"] == "found":
        print(f"           search with the filter {report['filters']}:")
        for document in report["documents"]:
            where = document["metadata"]
            print(f"           {document['score']:.2f} {where['file']}: {where['heading']}")
    else:
        message = report["message"]
        calls = [f"calls {wanted['name']}({wanted['arguments']})" for wanted in message["tool_calls"] or []]
        print(f"   {message['seq']:4}. {message['role']:9} {message['content'] or ', '.join(calls)}")


async def read_it_all(path: str) -> dict[str, Any]:
    """Read what the agent left. The async stores have the same methods, and work on the same file."""
    async with (
        AsyncSQLiteConversationStore(path=path) as conversation,
        AsyncSQLiteStateStore(path=path) as state,
        AsyncSQLiteKnowledgeStore(path=path) as knowledge,
    ):
        messages, pieces = await asyncio.gather(
            conversation.get_messages(SESSION),
            knowledge.count("documentation", {"file": {"$startswith": "docs/contract"}}),
        )
        return {
            "messages": [message.to_dict() for message in messages],
            "state": await state.get_many(["turns", "weather requests"]),
            "preferences": await state.hgetall("preferences"),
            "seconds left": await state.ttl("weather:Lisbon") or 0.0,
            "pieces": pieces,
        }


def main(path: str) -> None:
    """The third process: it plays the user, kills the agent, and compares."""
    print(f"Conversation, state and knowledge in one SQLite file: {path}")
    print("The model is a stand-in (rules over the history), and so is the embedding (it counts words).\n")

    print("1. An agent at work")
    first = watch(
        path,
        "Hello, I am Ada. I prefer short answers.",
        "What is the weather in Lisbon?",
        kill_at=lambda report: report["kind"] == "stored" and "degrees" in (report["message"]["content"] or ""),
    )
    acknowledged = [report["message"] for report in first if report["kind"] == "stored"]
    print(f"   SIGKILL. {len(acknowledged)} messages were acknowledged; Ada has no answer yet.\n")

    print("2. The same program, started anew")
    second = watch(
        path,
        "Who am I, and what did you find out for me?",
        "By the contract, what survives a killed process?",
    )
    resumed, said = second[0]["messages"], [report["message"] for report in second if report["kind"] == "stored"]
    found = [document for report in second if report["kind"] == "found" for document in report["documents"]]

    print("\n3. What is in the file, read through the async stores, against what was acknowledged")
    stored = asyncio.run(read_it_all(path))
    messages, state, left = stored["messages"], stored["state"], stored["seconds left"]
    nothing_is_missing = [
        check(
            f"all {len(acknowledged)} messages of the first process were there for the second, unchanged, in order",
            resumed == acknowledged,
        ),
        check(
            f"the whole conversation is there, numbered 1 to {len(messages)} without a gap",
            messages == acknowledged + said
            and [message["seq"] for message in messages] == list(range(1, len(messages) + 1)),
        ),
        check(
            "the open question was answered from the stored result, without asking the weather service again",
            "17 degrees" in said[0]["content"] and state.get("weather requests") == 1,
        ),
        check("the user's name was recalled from the history", "Ada" in said[2]["content"]),
        check(
            f"state: {state['turns']} turns, {stored['preferences']}, the weather is kept for {left:.0f} s more",
            state["turns"] == 4 and stored["preferences"] == {"answers": "short"} and 0 < left <= HOUR,
        ),
        check(
            f"the filtered search found {len(found)} of the {stored['pieces']} pieces of the contract, and no other",
            len(found) == 3 and all(document["metadata"]["file"] == "docs/contract.md" for document in found),
        ),
    ]
    if not all(nothing_is_missing):
        sys.exit("\nSomething is missing.")
    print("\nNothing is missing.")


def check(what: str, holds: bool) -> bool:
    """Print what should hold, and whether it does."""
    print(f"   {'yes' if holds else 'NO '}  {what}")
    return holds


if __name__ == "__main__":
    if sys.argv[1:2] == ["--agent"]:
        be_the_agent(*sys.argv[2:])
    elif len(sys.argv) == 1:
        with tempfile.TemporaryDirectory(prefix="praisonai-persistence-") as folder:
            main(os.path.join(folder, "agent.db"))
    elif os.path.exists(sys.argv[1]):
        sys.exit(f"{sys.argv[1]} exists; the demo starts with a new file")
    else:
        main(sys.argv[1])
