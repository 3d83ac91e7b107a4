from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, open_conversation_store
from praisonai_persistence.testing.corpus import HOSTILE_IDS, HOSTILE_JSON, HOSTILE_OBJECTS, HOSTILE_TEXTS, LARGE_TEXTS
from praisonai_persistence_cli import main

COMMAND = [sys.executable, "-c", "from praisonai_persistence_cli import main; raise SystemExit(main())"]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that an error is."""
        (line,) = self.err.splitlines()
        assert line.startswith("Error: ")
        return line.removeprefix("Error: ")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a folder and an environment of its own."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("PRAISON_", "PRAISONAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "home"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """The command in this process."""

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """The command in a process of its own, which is gone when the test is over."""
    started = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **options.pop("env", {})}
        running = subprocess.Popen([*COMMAND, *arguments], env=environment, **options)
        started.append(running)
        return running

    yield start
    for running in started:
        running.kill()
        running.wait()
        for stream in (running.stdin, running.stdout, running.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def on_a_terminal(process: Callable[..., subprocess.Popen[bytes]]) -> Callable[..., tuple[int, str]]:
    """The command on a terminal of its own, where somebody answers a prompt: the exit code, and what it showed."""
    import fcntl
    import pty
    import select
    import termios

    def call(*arguments: str, prompt: str = "", keys: str = "", **environment: str) -> tuple[int, str]:
        leader, follower = pty.openpty()
        running = process(
            *arguments,
            **dict.fromkeys(("stdin", "stdout", "stderr"), follower),
            env={"TERM": "xterm", **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # else there is nobody whom Ctrl-C interrupts
        )
        os.close(follower)
        shown, deadline = b"", time.monotonic() + 240
        try:
            while time.monotonic() < deadline:
                if select.select([leader], [], [], 1)[0]:
                    part = os.read(leader, 65536)
                    if not part:
                        break
                    shown += part
                    if not prompt or prompt.encode() not in part:
                        continue
                # Pressed again when nothing happens: Ctrl-C is lost on a Python that is just about to read.
                if prompt and prompt.encode() in shown:
                    os.write(leader, keys.encode())
        except OSError:  # this is how a terminal says that everybody has gone
            pass
        os.close(leader)
        return running.wait(120), shown.decode()

    return call


@pytest.fixture
def fill() -> Callable[..., None]:
    """Fills a store: so many sessions ``s0``, ``s1`` … with so many messages each."""

    def call(url: str = "a.db", sessions: int = 3, messages: int = 4, **fields: Any) -> None:
        with open_conversation_store(url) as store:
            for number in range(sessions):
                store.create_session(
                    ConversationSession(f"s{number}", user_id=f"u{number % 2}", name=f"name {number}", **fields)
                )
                store.add_messages(
                    f"s{number}",
                    [
                        ConversationMessage(id=f"m{turn}", role="user", content=f"message {turn} of session {number}")
                        for turn in range(messages)
                    ],
                )

    return call


@pytest.fixture
def read() -> Callable[[str], dict[str, Any]]:
    """Reads a store: session id to the fields that a copy keeps, of it and of its messages."""

    def call(url: str) -> dict[str, Any]:
        with open_conversation_store(url) as store:
            found = {}
            for session in store.list_sessions(limit=100_000):
                fields = session.to_dict()
                del fields["updated_at"], fields["version"]
                messages = [message.to_dict() for message in store.get_messages(session.session_id)]
                for message in messages:
                    del message["seq"]
                found[session.session_id] = (fields, messages)
            return found

    return call


@pytest.fixture
def hostile() -> Callable[[str], None]:
    """Fills a store with every text and value that breaks stores."""

    def call(url: str) -> None:
        with open_conversation_store(url) as store:
            for number, text in enumerate(HOSTILE_TEXTS):
                session_id = f"text {number}"
                store.create_session(
                    ConversationSession(session_id, name=text, state={text: text}, metadata={"v": [text]})
                )
                store.add_messages(
                    session_id,
                    [
                        ConversationMessage(
                            id="1", role=text, content=text, tool_call_id=text, tool_calls=[{text: [text]}]
                        ),
                        ConversationMessage(id="2", content=None, tool_calls=[], tool_call_id="", metadata={}),
                        ConversationMessage(id="3", content="", created_at=0.1 + 0.2, metadata={text: {text: None}}),
                    ],
                )
            parts = [{"type": "text", "text": HOSTILE_TEXTS[0]}, {"type": "image_url", "image_url": {"url": "data:,"}}]
            store.create_session(ConversationSession("parts"))
            store.add_messages(
                "parts",
                [
                    ConversationMessage(id=f"{n}", content=content, metadata=metadata)
                    for n, (content, metadata) in enumerate(
                        [
                            ([*parts, *HOSTILE_TEXTS], {"praisonai_parts": None}),
                            ([], None),
                            ("", {"praisonai_parts": [1]}),
                        ]
                    )
                ],
            )
            store.create_session(ConversationSession("large"))
            store.add_message("large", ConversationMessage(content=LARGE_TEXTS[0], metadata={"text": LARGE_TEXTS[0]}))
            store.create_session(ConversationSession("values", state={"v": HOSTILE_JSON}, created_at=-1.5))
            store.add_messages(
                "values", [ConversationMessage(id=f"{n}", metadata=value) for n, value in enumerate(HOSTILE_OBJECTS)]
            )
            for session_id in HOSTILE_IDS:
                store.create_session(ConversationSession(session_id, user_id=session_id, agent_id=session_id))
                store.add_message(session_id, ConversationMessage(id=session_id))

    return call
