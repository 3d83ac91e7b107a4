"""Session stores with SQLite: PraisonAI's own and ours write to one place by turns, and each finds what is there."""

from __future__ import annotations

import pytest

CODE = """
import json
{first}
from praisonaiagents.session import DefaultSessionStore, {name}
store = {name}(session_dir="sessions")
store.add_message("s", "user", {text!r})
store.set_agent_info("s", agent_name="Agent")
store.set_gateway_info("s", gateway_session_id="gateway", agent_id="agent")
print(json.dumps([
    type(store).__module__.partition(".")[0],
    isinstance(store, DefaultSessionStore),
    [message["content"] for message in store.get_chat_history("s")],
    [hit.session_id for hit in store.search("needle")],
    store.list_sessions_by_agent("Agent"),
    store.list_sessions_by_gateway_agent("agent"),
    store.get_by_gateway_session("gateway").session_id,
    [(item["session_id"], item["message_count"]) for item in store.list_sessions()],
]))
"""
OURS = "import praisonai_persistence.compat"


@pytest.mark.parametrize("order", [["", OURS, ""], [OURS, "", OURS]], ids=["theirs first", "ours first"])
@pytest.mark.parametrize("name", ["SqliteSessionStore", "SqliteTranscriptStore"])
def test_one_place_by_turns(start, name, order):
    said = []
    for first in order:
        said.append(f"a needle {len(said)}")
        (found,) = start("-c", CODE.format(first=first, name=name, text=said[-1])).wait()
        package = "praisonai_persistence_json" if first else "praisonaiagents"
        assert found == [package, True, said, ["s"], ["s"], ["s"], "s", [["s", len(said)]]]
