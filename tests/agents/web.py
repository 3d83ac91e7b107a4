"""A web server whose handlers call sync methods of async stores, and an adapter, inside its running loop."""

from __future__ import annotations

import socket
import sys

import uvicorn
from fastapi import FastAPI

from praisonai_persistence import create_state_store, db, open_conversation_store

state = create_state_store("async_sqlite", "sqlite:///web.db", mode="sync")  # native, threads and loop alike
bridged = db(conversation_store=open_conversation_store("sqlite+aiosqlite:///web.db"))  # an async store, bridged
app = FastAPI()


@app.post("/inside-the-loop")
async def inside_the_loop(text: str) -> dict[str, object]:
    bridged.on_user_message("s", text)
    return {"messages": bridged.conversation.count_messages("s")}


@app.post("/on-a-thread")
def on_a_thread(text: str) -> dict[str, object]:
    bridged.on_user_message("s", text)
    return {"messages": bridged.conversation.count_messages("s")}


@app.post("/awaited")
async def awaited(text: str) -> dict[str, object]:
    await bridged.aon_user_message("s", text)
    return {"messages": state.incr("awaited")}


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
    sys.exit(0)
