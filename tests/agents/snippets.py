"""The programs on PraisonAI's pages about persistence: where each stands, how it is run, and what it does then.

The pages are not part of this repository. ``PERSISTENCE_PRAISONAI_PAGES`` names a folder with them; a program is found
by the beginning of its file's name and its lines, and recognised by its digest. What is said here is only what a page
leaves to its reader: names that a program takes as given, addresses of servers, and a look at what it has done.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HEARD", "SNIPPETS", "Snippet", "is_code", "page"]

ADDRESSES = (
    (r'"postgresql://[^"]*"', "POSTGRES"),
    (r"(\w+PostgresConversationStore)\(\)", r"\1(url=POSTGRES)"),
    (r'"redis://[^"]*"', "REDIS"),
    (r'"/[a-z/]+"', 'os.path.abspath("elsewhere")'),
)
"""Servers and folders of the pages -> those of the test."""
ELLIPSIS = re.compile(r"^ *# \.\.\. .*$", re.MULTILINE)
"""A comment that stands for methods which a page leaves out."""

AGENT = "from praisonaiagents import Agent, db"
CONVERSATION = "from praisonai.persistence.conversation import *"
STORE = """
from praisonai.persistence.conversation import AsyncPostgresConversationStore, ConversationMessage, ConversationSession
store = AsyncPostgresConversationStore(url=POSTGRES)
"""
METHODS = """
    async def update_session(self, session):
        return session

    async def delete_session(self, session_id):
        return False

    async def list_sessions(self, user_id=None, agent_id=None, limit=100, offset=0):
        return []

    async def get_messages(self, session_id, limit=None, before=None, after=None):
        return []

    async def delete_messages(self, session_id, message_ids=None):
        return 0
"""
"""The abstract methods of ``AsyncConversationStore`` that a page leaves out."""
SAID_IN_POSTGRES = """
from praisonai.persistence.conversation import PostgresConversationStore
with PostgresConversationStore(url=POSTGRES) as kept:
    (session,) = kept.list_sessions()
    show(session.session_id, *[message.content for message in kept.get_messages(session.session_id)])
"""
RUNS_IN_REDIS = """
import redis
show(bool(redis.Redis.from_url(REDIS).keys("*")))
"""
FIVE_METHODS = """
from praisonaiagents.session import SessionStoreProtocol
store = {name}()
show(isinstance(store, SessionStoreProtocol), store.session_exists("s"), store.add_message("s", "user", "Hi"))
show(store.get_chat_history("s"), store.clear_session("s"), store.delete_session("s"))
"""


@dataclass(frozen=True)
class Snippet:
    """One program.

    Attributes:
        page: what the name of its file begins with.
        lines: its first and its last line, counted from 1.
        digest: of these lines.
        name: what it shows.
        prints: the lines that it prints.
        before: what the page takes as given.
        after: looks at what was done.
        raises: the exception that it ends with, by name; empty: none.
        servers: what it needs.
        depths: how deep each line stands, on a page that has lost its indentation; its texts have got blanks, too.
        column: where it begins in its first line.
        completed: whether the methods are put in that a comment stands for.
        package: whether it needs PraisonAI's own package, which is for its newest agents.
    """

    page: str
    lines: tuple[int, int]
    digest: str
    name: str
    prints: tuple[str, ...] = ()
    before: str = ""
    after: str = ""
    raises: str = ""
    servers: tuple[str, ...] = ()
    depths: str = ""
    column: int = 0
    completed: bool = False
    package: bool = False

    def text(self, folder: Path) -> str:
        """Return what stands on the page."""
        first, last = self.lines
        lines = page(folder, self.page)[first - 1 : last]
        return "\n".join([lines[0][self.column :], *lines[1:]])

    def digest_of(self, folder: Path) -> str:
        """Return the digest of what stands on the page."""
        return hashlib.sha256(self.text(folder).encode()).hexdigest()[:16]

    def program(self, folder: Path) -> str:
        """Return what is run of it."""
        lines = self.text(folder).split("\n")
        if self.depths:
            lines = [f"{'    ' * int(depth)}{_closed_up(line)}" for depth, line in zip(self.depths, lines, strict=True)]
        else:
            margin = len(lines[0]) - len(lines[0].lstrip())
            lines = [line[margin:] for line in lines]
        text = "\n".join(lines)
        for address, own in ADDRESSES:
            text = re.sub(address, own, text)
        if self.completed:
            text, found = ELLIPSIS.subn(lambda _: METHODS, text)
            assert found == 1
        return f"{self.before}\n{text}\n{self.after}"


def page(folder: Path, name: str) -> list[str]:
    """Return the lines of a page."""
    (path,) = folder.glob(f"{name}_*")
    return path.read_text(encoding="utf-8").splitlines()


def is_code(line: str) -> bool:
    """Whether a line of a page begins a statement."""
    return bool(re.match(r" *(from \S+ (\. \S+ )?import|import |class \w+ ?[(:]|a(sync|wait) |\w+ = )", line))


def _closed_up(line: str) -> str:
    return re.sub(r'(?<!")" ([^"]*) "(?!")', r'"\1"', line)


HEARD = "I heard: "
SNIPPETS = (
    Snippet(
        *("002", (37, 46), "3d3d8d745ebdc929", "an agent on SQLite"),
        after='with db(database_url="sqlite:///conversations.db") as kept:\n'
        '    show(*[message.content for message in kept.on_agent_start("Assistant", "my-session")])',
        prints=(f'["Hello!", "{HEARD}Hello!"]',),
    ),
    Snippet(
        *("002", (52, 62), "cb5b688413c70b43", "an agent on PostgreSQL"),
        after=f"show(response){SAID_IN_POSTGRES}",
        prints=(
            f'["{HEARD}Remember my preferences"]',
            f'["production-session", "Remember my preferences", "{HEARD}Remember my preferences"]',
        ),
        servers=("postgres",),
    ),
    Snippet(
        *("002", (145, 155), "63a5ea2b15c59c1a", "conversations in PostgreSQL, state in Redis"),
        after=f'show(agent.chat("Hello!")){SAID_IN_POSTGRES}{RUNS_IN_REDIS}',
        prints=(f'["{HEARD}Hello!"]', f'["hybrid-session", "Hello!", "{HEARD}Hello!"]', "[true]"),
        servers=("postgres", "redis"),
    ),
    Snippet(
        *("002", (161, 167), "b7766b04bff253d7", "a session is resumed"),
        before=f'{AGENT}\ndb_instance = db(database_url="sqlite:///resumed.db")',
        after='show(*[message["content"] for message in agent2.chat_history if message["role"] != "system"])',
        prints=(f'["My name is Alice", "{HEARD}My name is Alice", "What\'s my name?", "{HEARD}What\'s my name?"]',),
    ),
    Snippet(
        *("002", (173, 184), "f3cdd674cf277169", "servers named by the environment"),
        before="user_id = 7\nos.environ.update(DATABASE_URL=POSTGRES, REDIS_URL=REDIS)",
        after=f'show(agent.chat("Hello!")){SAID_IN_POSTGRES}{RUNS_IN_REDIS}',
        prints=(f'["{HEARD}Hello!"]', f'["user-7", "Hello!", "{HEARD}Hello!"]', "[true]"),
        servers=("postgres", "redis"),
    ),
    Snippet(
        *("003", (11, 29), "b8f16074abf0c919", "an agent with an async store"),
        after="from praisonai.persistence.conversation import PostgresConversationStore\n"
        "with PostgresConversationStore(url=POSTGRES) as kept:\n"
        "    (session,) = kept.list_sessions()\n"
        "    show(*[message.content for message in kept.get_messages(session.session_id)])",
        prints=(f"{HEARD}Hello, how are you?", f'["Hello, how are you?", "{HEARD}Hello, how are you?"]'),
        servers=("postgres",),
    ),
    Snippet(
        *("003", (35, 59), "b541deeabec23be7", "an async store of one's own, with what the page leaves out"),
        before=AGENT,
        after='show(agent.start("Hello!"))',
        prints=(f'["{HEARD}Hello!"]',),
        completed=True,
    ),
    Snippet(
        *("003", (35, 59), "b541deeabec23be7", "an async store of one's own, without it"),
        before=AGENT,
        raises="TypeError",
    ),
    Snippet(
        *("003", (80, 88), "02f4cee24f53c84a", "a store in a block of its own"),
        before=f"{STORE}await store.upsert_session(ConversationSession('session_123'))\nawait store.close()",
        after="async with AsyncPostgresConversationStore(url=POSTGRES) as store:\n"
        "    show(*[message.content for message in await store.get_messages('session_123')])",
        prints=('["Hello"]',),
        servers=("postgres",),
    ),
    Snippet(
        *("003", (93, 94), "09f815495d0c6af5", "a session is created or updated"),
        before=STORE,
        after="show(updated_session.user_id, (await store.upsert_session(session)).session_id)\nawait store.close()",
        prints=('["user_123", "new_session"]',),
        servers=("postgres",),
    ),
    Snippet(
        *("003", (99, 105), "a51ebfa24300a9f9", "the beginning of an async store"),
        before="from praisonai.persistence.conversation import ConversationSession",
        after="show(issubclass(MyAsyncStore, AsyncConversationStore))",
        prints=("[true]",),
    ),
    Snippet(
        *("003", (110, 112), "267f677ff6fd0bdb", "a store is closed by its block, and by nothing else"),
        before=STORE,
        after="""
try:
    await store.get_session("id")
except Exception as error:
    show(type(error).__name__)
""",
        prints=('["StoreClosedError"]',),
        servers=("postgres",),
    ),
    Snippet(
        *("003", (114, 118), "7a0a848278e282a7", "a store is closed by hand"),
        before=STORE,
        servers=("postgres",),
    ),
    Snippet(
        *("003", (120, 127), "5f0c7cec8430bbc0", "which class a store derives from"),
        before=CONVERSATION,
        after="show(issubclass(MyStore, AsyncConversationStore))",
        prints=("[false]",),
    ),
    Snippet(
        *("003", (129, 131), "f01e4a1659e55b26", "awaited throughout"),
        before=STORE,
        after="show(session)",
        prints=("[null]",),
        servers=("postgres",),
    ),
    Snippet(
        *("003", (133, 135), "2e686cc545b0da30", "not awaited"),
        before=STORE,
        after="import inspect\nshow(inspect.iscoroutine(session))\nsession.close()\nawait store.close()",
        prints=("[true]",),
        servers=("postgres",),
    ),
    Snippet(
        *("003", (138, 139), "57e26e649f2386d7", "the methods with a prefix are gone"),
        before=f"{STORE}session_id = 's'",
        raises="AttributeError",
        servers=("postgres",),
    ),
    Snippet(
        *("003", (141, 142), "634d2b62b36cdf7d", "the methods without a prefix"),
        before=f"{STORE}session_id = 's'",
        after="show(session)\nawait store.close()",
        prints=("[null]",),
        servers=("postgres",),
    ),
    Snippet(
        *("004", (6, 11), "a3ad16e7456f0504", "an agent with a session of its own"),
        after='show(sorted(os.listdir(os.path.expanduser("~/.praisonai/sessions"))))',
        prints=('[["chat-123.json", "chat-123.json.lock"]]',),
        depths="000000",
    ),
    Snippet(
        *("004", (14, 32), "20bf2e34cc2ab048", "five methods are a session store"),
        after=FIVE_METHODS.format(name="RedisSessionStore"),
        prints=("[true, false, true]", '[[{"role": "user", "content": "Hi"}], true, true]'),
        depths="0011222122121212000",
    ),
    Snippet(
        *("004", (38, 42), "4c0496df8e41fdd9", "sessions in a folder"),
        column=104,
        after="show(os.path.exists('elsewhere'))\n"
        "store.add_message('s', 'user', 'Hi')\nshow(store.get_chat_history('s'), sorted(os.listdir('elsewhere')))",
        prints=("[false]", '[[{"role": "user", "content": "Hi"}], ["s.json", "s.json.lock"]]'),
        depths="00000",
    ),
    Snippet(
        *("004", (43, 46), "708d40d98f30b496", "a session is forked"),
        column=98,
        raises="InvalidValueError",  # as PraisonAI's own: the page leaves out what is said before
        depths="0000",
    ),
    Snippet(
        *("004", (49, 56), "92827773e50607bb", "a bot"),
        before="from praisonaiagents import Agent\nmy_agent = Agent(name='Assistant')",
        after="""
from praisonai.bots import BotSessionManager
import asyncio
sessions = BotSessionManager(store=get_default_session_store(), platform="telegram")
show(await sessions.chat(my_agent, "12345", "Hello!"))
show(*[message["content"] for message in get_default_session_store().get_chat_history("bot_telegram_12345")])
show(os.path.exists(os.path.expanduser("~/.praisonai/sessions/bot_telegram_12345.json")))
""",
        prints=(f'["{HEARD}Hello!"]', f'["Hello!", "{HEARD}Hello!"]', "[true]"),
        depths="00000000",
        package=True,
    ),
    Snippet(
        *("004", (60, 85), "aedc1bc0956bc6af", "a session store in memory"),
        after=FIVE_METHODS.format(name="InMemorySessionStore"),
        prints=("[true, false, true]", '[[{"role": "user", "content": "Hi"}], true, true]'),
        depths="00112111122221112212212212",
    ),
)
