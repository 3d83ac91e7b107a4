"""This project on JSON files: its conversation store, and its session store in the format that PraisonAI shares."""

from __future__ import annotations

from _ours import Ours
from base import Conversations, content, files_durability

from praisonai_persistence_json import AsyncJSONConversationStore, JSONConversationStore
from praisonai_persistence_json.sessions import DefaultSessionStore


class OnFiles(Ours):
    """The conversation store."""

    name = "praisonai-persistence (json)"
    engine = "files"
    role = "ours"
    packages = ("json",)
    imports = "from praisonai_persistence_json import JSONConversationStore"

    def make(self) -> JSONConversationStore:
        return JSONConversationStore(path=self.place)

    def make_async(self) -> AsyncJSONConversationStore:
        return AsyncJSONConversationStore(path=self.place)

    def durability(self) -> str:
        return files_durability(lambda: self.append("first", content(1)))


class OnSessionFiles(Conversations):
    """The session store; it keeps the latest 100 messages at hand and the rest in an archive."""

    name = "praisonai-persistence (session files)"
    engine = "files"
    role = "ours"
    packages = ("json",)
    imports = "from praisonai_persistence_json.sessions import DefaultSessionStore"

    sync = True

    def open(self) -> None:
        self.store = DefaultSessionStore(session_dir=self.place, sync=self.sync)

    def durability(self) -> str:
        return files_durability(lambda: self.append("first", content(1)))

    def append(self, session: str, text: str) -> None:
        self.store.add_message(session, "user", text)

    def last(self, session: str, count: int) -> list[str]:
        if count > 100:
            found = self.store.get_session(session)
            messages = [*found.archived_messages, *found.messages]
            return [item.content for item in messages if not item.metadata.get("compaction")][-count:]
        return [found["content"] for found in self.store.get_chat_history(session, max_messages=count)]

    def newest_sessions(self, user: str, count: int) -> list[str]:
        return [found["session_id"] for found in self.store.list_sessions(limit=count)]


class OnSessionFilesWithoutSync(OnSessionFiles):
    """For a comparison at equal durability; it runs only beside a product that syncs no more."""

    name = "praisonai-persistence (session files, no sync)"
    sync = False
    on_demand = True
    beside = "OnSessionFiles"
