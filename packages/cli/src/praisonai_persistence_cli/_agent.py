"""``run`` and ``resume``: a real agent of PraisonAI, whose conversation is stored."""

from __future__ import annotations

import sys
import uuid
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from praisonai_persistence.errors import BackendNotInstalledError, SessionNotFoundError
from praisonai_persistence_cli._app import Failed, complain
from praisonai_persistence_cli._options import (
    KINDS,
    Command,
    Target,
    as_json,
    configured,
    filter_options,
    known_session,
    needed,
    point_out_old,
    prefix_option,
    stdin_is_taken,
    url_options,
)
from praisonai_persistence_cli._output import document, line, plain
from praisonai_persistence_cli._sessions import print_history

if TYPE_CHECKING:
    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.records import ConversationSession

__all__ = ["resume_command", "run_command"]

_NAME, _INSTRUCTIONS = "Assistant", "You are a helpful assistant."


@click.command("run", cls=Command)
@click.argument("prompt", required=False)
@click.option("--session-id", metavar="ID", help="The session to go on with, or to begin. [default: a new id]")
@click.option("--user-id", metavar="ID", help="Whose session it is.")
@url_options(*KINDS)
@prefix_option
@click.option("--agent-name", metavar="NAME", default=_NAME, show_default=True, help="The agent's name.")
@click.option("--agent-instructions", metavar="TEXT", default=_INSTRUCTIONS, show_default=True, help="What it is told.")
@click.option("--model", metavar="NAME", help="The language model. [default: what PraisonAI takes]")
@click.option("--dry-run", is_flag=True, help="Show what would happen: check the stores' URLs, ask no model.")
def run_command(
    prompt: str | None,
    session_id: str | None,
    user_id: str | None,
    conversation_url: str | None,
    knowledge_url: str | None,
    state_url: str | None,
    table_prefix: str | None,
    agent_name: str,
    agent_instructions: str,
    model: str | None,
    dry_run: bool,
) -> None:
    """Let an agent answer PROMPT, and store the conversation. - is standard input, as is none on no terminal.

    The answer goes to stdout, the id of the session to stderr. Any endpoint that speaks the OpenAI protocol will do:
    OPENAI_BASE_URL, OPENAI_API_KEY. Needs the extra praisonai-persistence-cli[agent].
    """
    prompt = _prompt(prompt)
    stores = {"conversation": needed("conversation", conversation_url, table_prefix)}
    for kind, url in (("knowledge", knowledge_url), ("state", state_url)):
        if (target := configured(kind, url, table_prefix)) is not None:
            stores[kind] = target
    session = uuid.uuid4().hex if session_id is None else session_id
    if dry_run:
        _dry_run(stores, session, user_id, agent_name)
        return
    agent = {"name": agent_name, "instructions": agent_instructions, "model": model}
    answer = _ask(prompt, stores, session, user_id, agent)
    if as_json():
        document({"session_id": session, "user_id": user_id, "agent": agent_name, "answer": answer})
    else:
        line(plain(answer, multiline=True))
        complain(f"session {session}")


def _dry_run(stores: dict[str, Target], session_id: str, user_id: str | None, agent_name: str) -> None:
    from praisonai_persistence.payload import check_id, check_optional_id

    check_id(session_id)
    check_optional_id(user_id, "user_id")
    for target in stores.values():
        if target.default is None:
            target.open().close()  # nothing is connected: that is what doctor is for
    _show_dry({"session_id": session_id, "user_id": user_id, "agent": agent_name}, stores)


def _show_dry(shown: dict[str, Any], stores: dict[str, Target]) -> None:
    shown = {**shown, **{f"{kind}_url": target.shown for kind, target in stores.items()}}
    if as_json():
        document({"dry_run": True, **shown})
    else:
        line("dry run: no model is asked, nothing is stored")
        for name, value in shown.items():
            if value is not None:
                line(f"{name} {plain(str(value))}")


def _ask(prompt: str, stores: dict[str, Target], session_id: str, user_id: str | None, agent: dict[str, Any]) -> str:
    """Return the answer of an agent that remembers the session.

    Raises:
        BackendNotInstalledError: PraisonAI is not installed.
    """
    from praisonai_persistence.payload import check_id, check_optional_id

    check_id(session_id)
    check_optional_id(user_id, "user_id")
    try:
        praisonai: Any = import_module("praisonaiagents")
    except ModuleNotFoundError as error:
        raise BackendNotInstalledError(
            'an agent needs praisonaiagents, which is not installed: pip install "praisonai-persistence-cli[agent]"'
        ) from error
    for target in stores.values():  # an agent goes on without a store that it cannot reach, and remembers nothing
        with target.open() as store:
            store.connect()
    before = _count(stores["conversation"], session_id)
    core: Any = import_module("praisonai_persistence")
    urls = {
        option: stores[kind].url
        for kind, option in (("conversation", "database_url"), ("knowledge", "knowledge_url"), ("state", "state_url"))
        if kind in stores
    }
    prefixes = {
        f"{kind}_options": {"table_prefix": target.prefix}
        for kind, target in stores.items()
        if target.prefix is not None
    }
    adapter = core.db(**urls, **prefixes)
    options = {} if agent["model"] is None else {"llm": agent["model"]}
    try:
        with redirect_stdout(sys.stderr):  # what it prints of itself is no answer
            who = praisonai.Agent(
                name=agent["name"],
                instructions=agent["instructions"],
                # In memory: PraisonAI would keep what is said in files of its own as well, outside the store.
                memory=praisonai.MemoryConfig(db=adapter, backend="in_memory", session_id=session_id, user_id=user_id),
                output="silent",
                **options,
            )
            answer = who.chat(prompt)
    finally:
        adapter.close()
    if answer is None:
        complain("Error: the model gave no answer: look at OPENAI_BASE_URL, OPENAI_API_KEY and --model")
        raise Failed
    if _count(stores["conversation"], session_id) <= before:
        line(plain(str(answer), multiline=True))
        complain("Error: this was the answer, but the conversation could not be stored; 'doctor' tells more")
        raise Failed
    return str(answer)


def _count(target: Target, session_id: str) -> int:
    with target.open() as store:
        count: int = store.count_messages(session_id)
        return count


def _prompt(given: str | None) -> str:
    """Return the prompt, which may come from standard input.

    Raises:
        click.UsageError: there is none.
    """
    if given is None or given == "-":
        if given is None and sys.stdin and sys.stdin.isatty():
            raise click.UsageError("give a prompt, or - to read it from standard input")
        if stdin_is_taken():
            raise click.UsageError("the prompt and an option for a URL both read standard input: give one a file")
        try:
            given = sys.stdin.read() if sys.stdin else ""
        except UnicodeDecodeError as error:
            raise click.UsageError("standard input is not text in UTF-8") from error
        given = given.removesuffix("\n")
    if not given.strip():
        raise click.UsageError("the prompt is empty")
    return given


def _latest(store: ConversationStore, user_id: str | None, agent_id: str | None) -> ConversationSession:
    found = store.list_sessions(user_id, agent_id, limit=1)
    if not found:
        point_out_old(store)
        raise SessionNotFoundError("there is no such session; 'sessions' lists those that are there")
    return found[0]


@click.command("resume", cls=Command)
@click.option("--session-id", metavar="ID", help="The session.")
@click.option("--latest", is_flag=True, help="The session that was written to last.")
@filter_options
@url_options("conversation")
@prefix_option
@click.option("--show-history", is_flag=True, help="Print its messages.")
@click.option(
    "--continue", "prompt", metavar="PROMPT", help="Let an agent answer this (- is stdin), and store the turn."
)
@click.option("--limit", type=click.IntRange(0), metavar="N", help="Only the latest N messages of the history.")
@click.option("--agent-name", metavar="NAME", default=_NAME, show_default=True, help="The agent's name.")
@click.option("--agent-instructions", metavar="TEXT", default=_INSTRUCTIONS, show_default=True, help="What it is told.")
@click.option("--model", metavar="NAME", help="The language model. [default: what PraisonAI takes]")
@click.option("--dry-run", is_flag=True, help="Show which session it is that would go on, ask no model.")
def resume_command(
    session_id: str | None,
    latest: bool,
    user_id: str | None,
    agent_id: str | None,
    conversation_url: str | None,
    table_prefix: str | None,
    show_history: bool,
    prompt: str | None,
    limit: int | None,
    agent_name: str,
    agent_instructions: str,
    model: str | None,
    dry_run: bool,
) -> None:
    """Show a session, or let an agent go on with it."""
    from praisonai_persistence_cli._reading import message_pages

    if prompt is not None:
        prompt = _prompt(prompt)
    if (session_id is None) != latest:
        raise click.UsageError("give either --session-id or --latest")
    if session_id is not None and (user_id is not None or agent_id is not None):
        raise click.UsageError("--user-id and --agent-id go with --latest")
    target = needed("conversation", conversation_url, table_prefix)
    store: ConversationStore
    with target.open(must_exist=True) as store:
        session = _latest(store, user_id, agent_id) if session_id is None else known_session(store, session_id)
        session_id = session.session_id
        count = store.count_messages(session_id)
        history = []
        if show_history:
            pages = message_pages(store, session_id) if limit is None else [store.get_messages(session_id, limit=limit)]
            if as_json():
                history = [message.to_dict() for page in pages for message in page]
            else:
                print_history(message for page in pages for message in page)
    if dry_run:
        known: dict[str, Any] = {
            "session_id": session_id,
            "user_id": session.user_id,
            "agent": agent_name,
            "messages": count,
        }
        if show_history and as_json():
            known["history"] = history
        _show_dry(known, {"conversation": target})
        return
    answer = None
    if prompt is not None:
        agent = {"name": agent_name, "instructions": agent_instructions, "model": model}
        answer = _ask(prompt, {"conversation": target}, session_id, session.user_id, agent)
    if as_json():
        shown: dict[str, Any] = {"session": session.to_dict(), "messages": count}
        if show_history:
            shown["history"] = history
        document({**shown, "answer": answer})
    elif answer is not None:
        line(plain(answer, multiline=True))
    elif not show_history:
        line(f"session {plain(session_id)} has {count} messages; see them with --show-history, go on with --continue")
