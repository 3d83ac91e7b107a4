"""Makes the session files that ``test_session_files.py`` reads, with PraisonAI itself on one side.

Needs praisonaiagents, which the tests do not: they compare with what is written down here.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import tempfile
from pathlib import Path

from praisonaiagents.session import DefaultSessionStore as TheirDefault
from praisonaiagents.session import HierarchicalSessionStore as TheirHierarchical

from praisonai_persistence_json.sessions import DefaultSessionStore, HierarchicalSessionStore

HERE = Path(__file__).parent / "praisonai_sessions"
CALLS = [{"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]


def talk(store, session_id="chat-123"):
    store.set_agent_info(session_id, agent_name="Assistant", user_id="ada")
    store.add_user_message(session_id, "What time is it?", {"source": "test"})
    store.add_message(session_id, "assistant", "", tool_calls=CALLS)
    store.add_message(session_id, "tool", "12:00 \u2713 \U0001f600", tool_call_id="c1")
    store.add_assistant_message(session_id, "It is noon.\r\nExactly \0.")
    store.update_session_metadata(session_id, model="gpt", total_tokens=7, cost=0.5)
    store.set_gateway_info(session_id, gateway_session_id="g-1", agent_id="a-1")
    store.set_runtime_state(session_id, "native", "turn-1", {"calls": ["c1"]})
    store.append_compaction_checkpoint(session_id, "They spoke of the time.")
    store.add_user_message(session_id, "Thanks.")


def grow(store):
    """Make a tree with snapshots."""
    store.create_session("root", title="Main", metadata={"a": 1})
    for number in range(3):
        store.add_user_message("root", f"message {number}")
    first = store.create_snapshot("root", label="three")
    store.add_user_message("root", "message 3")
    second = store.create_snapshot("root")
    fork = store.fork_session("root", from_message_index=1, title="Fork")
    store.share_session("root")
    return {"snapshots": [first, second], "fork": fork}


def see(default, hierarchical, made):
    """What a reader says of a folder that ``talk`` and ``grow`` have filled, in words that both packages share."""
    session = default.get_session("chat-123")
    found = {
        "history": default.get_chat_history("chat-123"),
        "latest": default.get_chat_history("chat-123", 3),
        "working": default.get_working_history("chat-123"),
        "model": default.get_session_model("chat-123"),
        "session": [
            session.agent_name,
            session.user_id,
            session.gateway_session_id,
            session.agent_id,
            session.metadata,
            session.runtime_state,
            [message.to_dict() for message in session.messages],
        ],
        "listed": sorted(
            [item["session_id"], item["message_count"], item["model"]] for item in default.list_sessions()
        ),
        "tree": hierarchical.get_session_tree("root"),
        "children": hierarchical.get_children("root"),
        "parent": hierarchical.get_parent(made["fork"]),
        "fork": hierarchical.get_chat_history(made["fork"]),
        "shared": hierarchical.is_shared("root"),
        "snapshots": [[item.id, item.label, item.message_index] for item in hierarchical.get_snapshots("root")],
        "reverted": [],
    }
    for snapshot in (made["snapshots"][0], made["snapshots"][1], made["snapshots"][0]):
        hierarchical.revert_to_snapshot("root", snapshot)
        found["reverted"].append(hierarchical.get_chat_history("root"))
        hierarchical.clear_session("root")
    return found


def make(name, writers, readers):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    talk(writers[0](str(folder)))
    made = grow(writers[1](str(folder)))
    for lock in folder.glob("*.lock"):
        lock.unlink()
    seen = []
    for default, hierarchical in (readers, (DefaultSessionStore, HierarchicalSessionStore)):
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            seen.append(see(default(copy), hierarchical(copy), made))
    (HERE / f"{name}.json").write_text(json.dumps({"made": made, "seen": seen[0]}, indent=1) + "\n", encoding="utf-8")
    print(name, "both see the same" if seen[0] == seen[1] else "THEY DIFFER")


def write(package, folder, times):
    store = (TheirDefault if package == "theirs" else DefaultSessionStore)(folder, 10_000, 60)
    for number in range(times):
        assert store.add_message("busy", "user", f"{package} {number}")


def at_once(times=300):
    """Have two processes of each package write to one session."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        packages = ("theirs", "ours", "theirs", "ours")
        writers = [context.Process(target=write, args=(package, folder, times)) for package in packages]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        found = DefaultSessionStore(folder).get_chat_history("busy")
        print(f"at once: {len(found)} of {times * len(writers)} messages are there")


if __name__ == "__main__":
    ours, theirs = (DefaultSessionStore, HierarchicalSessionStore), (TheirDefault, TheirHierarchical)
    make("theirs", theirs, theirs)
    make("ours", ours, theirs)
    at_once()
