"""LangGraph: a graph of one node with a checkpointer, invoked with one message for each append.

The node answers nothing. An invocation writes the checkpoints that LangGraph writes by default; each holds the list of
messages so far. There is no list of conversations: ``list`` is one of checkpoints.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from typing import Any

from base import Conversations, living, postgres_durability, sqlite_durability


def graph(saver: Any) -> Any:
    """The smallest graph with the messages of a conversation."""
    from langgraph.graph import START, MessagesState, StateGraph

    def node(_state: MessagesState) -> dict[str, Any]:
        return {"messages": []}

    builder = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=saver)


def thread(session: str) -> dict[str, Any]:
    """The configuration that names a conversation."""
    return {"configurable": {"thread_id": session}}


def given(texts: list[str]) -> dict[str, Any]:
    """The input of an invocation."""
    from langchain_core.messages import HumanMessage

    return {"messages": [HumanMessage(text) for text in texts]}


class LangGraph(Conversations):
    """Graphs with a checkpointer."""

    tasks = True

    def make(self) -> Any:
        """The saver, as a context manager."""
        raise NotImplementedError

    def make_async(self) -> Any:
        """The saver for coroutines, likewise."""
        raise NotImplementedError

    def open(self) -> None:
        self.stack = ExitStack()
        saver = self.stack.enter_context(self.make())
        saver.setup()
        self.graph = graph(saver)

    def close(self) -> None:
        self.stack.close()

    async def open_async(self) -> None:
        self.async_stack = AsyncExitStack()
        saver = await self.async_stack.enter_async_context(self.make_async())
        await saver.setup()
        self.async_graph = graph(saver)

    async def close_async(self) -> None:
        await self.async_stack.aclose()

    def append(self, session: str, text: str) -> None:
        self.fill(session, [text])

    async def append_async(self, session: str, text: str) -> None:
        await self.async_graph.ainvoke(given([text]), thread(session))

    def fill(self, session: str, texts: list[str]) -> None:
        self.graph.invoke(given(texts), thread(session))

    def last(self, session: str, count: int) -> list[str]:
        return [found.content for found in self.graph.get_state(thread(session)).values["messages"][-count:]]


class LangGraphOnSQLite(LangGraph):
    """``SqliteSaver``."""

    name = "LangGraph SqliteSaver"
    engine = "sqlite"
    requirements = ("langgraph>=1", "langgraph-checkpoint-sqlite>=3", "aiosqlite>=0.20")
    imports = "import langgraph.graph, langgraph.checkpoint.sqlite"

    def make(self) -> Any:
        from langgraph.checkpoint.sqlite import SqliteSaver

        return SqliteSaver.from_conn_string(self.place)

    def make_async(self) -> Any:
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        return AsyncSqliteSaver.from_conn_string(self.place)

    def durability(self) -> str:
        return sqlite_durability(self.place)


class LangGraphOnPostgres(LangGraph):
    """``PostgresSaver``."""

    name = "LangGraph PostgresSaver"
    engine = "postgres"
    requirements = ("langgraph>=1", "langgraph-checkpoint-postgres>=3", "psycopg[binary]>=3.2")
    imports = "import langgraph.graph, langgraph.checkpoint.postgres"

    def make(self) -> Any:
        from langgraph.checkpoint.postgres import PostgresSaver

        return PostgresSaver.from_conn_string(self.place)

    def make_async(self) -> Any:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        return AsyncPostgresSaver.from_conn_string(self.place)

    def durability(self) -> str:
        import psycopg

        connection = next(one for one in living(psycopg.Connection) if not one.closed)
        return postgres_durability(lambda query: next(iter(connection.execute(query).fetchone().values())))
