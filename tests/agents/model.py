"""A language model as far as an agent can tell: a local server with the interface of OpenAI's, and scripted answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ModelServer", "call"]

Answer = dict[str, Any]


def call(name: str, call_id: str, **arguments: Any) -> Answer:
    """The answer of a model that wants a tool called."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}


def said(messages: list[dict[str, Any]]) -> str:
    """What the user said last."""
    return next(str(message["content"]) for message in reversed(messages) if message["role"] == "user")


class ModelServer:
    """Serves until the end of its ``with`` block.

    Attributes:
        url: for ``OPENAI_BASE_URL``.
        requests: the bodies of all requests, in order.
        answer: makes the answer to the messages of a request: text, or a message; it may wait.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer: Callable[[list[dict[str, Any]]], str | Answer] = lambda messages: f"I heard: {said(messages)}"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.path.endswith("/chat/completions"):
                    self.send_error(404)
                    return
                outer.requests.append(body)
                answer = outer.answer(body["messages"])
                message = {"content": answer} if isinstance(answer, str) else answer
                try:
                    self.reply({"role": "assistant", **message}, streamed=bool(body.get("stream")))
                except ConnectionError:
                    self.close_connection = True  # the agent was killed

            def reply(self, message: Answer, *, streamed: bool) -> None:
                why = "tool_calls" if message.get("tool_calls") else "stop"
                about = {"id": "answer", "created": 1, "model": "test-model"}
                if streamed:
                    kind = {**about, "object": "chat.completion.chunk"}
                    deltas = [{**message, **({"tool_calls": []} if message.get("tool_calls") else {})}]
                    for index, one in enumerate(message.get("tool_calls") or ()):  # the name first, then arguments
                        function = one["function"]
                        begun = {**one, "index": index, "function": {**function, "arguments": ""}}
                        deltas.append({"tool_calls": [begun]})
                        more = {"index": index, "function": {"arguments": function["arguments"]}}
                        deltas.append({"tool_calls": [more]})
                    parts = [
                        *(
                            {**kind, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
                            for delta in deltas
                        ),
                        {**kind, "choices": [{"index": 0, "delta": {}, "finish_reason": why}]},
                    ]
                    text = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
                    self.send("text/event-stream", text)
                else:
                    choice = {"index": 0, "message": message, "finish_reason": why}
                    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                    whole = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
                    self.send("application/json", json.dumps(whole))

            def send(self, kind: str, text: str) -> None:
                data = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
