"""What a program pays that uses the sync stores only."""

from __future__ import annotations

import subprocess
import sys


def test_asyncio_is_not_imported_for_sync_callers(tmp_path):
    code = """
import sys
from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence_sqlite import SQLiteConversationStore
with SQLiteConversationStore(path=sys.argv[1]) as store:
    store.create_session(ConversationSession("s"))
    store.add_message("s", ConversationMessage(content="text"))
print(sorted({"asyncio", "concurrent.futures", "urllib.parse"}.intersection(sys.modules)))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "agent.db")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
