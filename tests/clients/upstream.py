"""A stand-in for a provider on loopback: it answers as asked to, and keeps what it answered.

A prompt names its steps (`Upstream.prompt`), and each request that holds that prompt last gets the
next of them, so that a client's side calls, retries and sub-agents take nobody else's. What was
answered, with which counts and how far the client was told, is the truth of a run.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

from tests.clients.answers import (
    Api,
    Counts,
    Event,
    Reply,
    Tool,
    counts_of,
    encoded,
    mark,
    stream,
    whole,
)

Told = Literal["all", "start", "nothing"]

_PROMPT: Final = re.compile(r"PLAY-(\d+)-")
_LIMITED: Final = {"error": {"type": "rate_limit_error", "message": "Slow down", "code": "slow"}}
_BUSY: Final = {"error": {"type": "overloaded_error", "message": "Overloaded", "code": "busy"}}
# Tools that run a command, by the names that clients have given them, and what they take.
_SHELLS: Final[dict[str, Any]] = {
    "Bash": {"command": "echo hello", "description": "Say hello"},
    "bash": {"command": "echo hello", "description": "Say hello"},
    "exec_command": {"cmd": "echo hello"},
    "shell_command": {"command": "echo hello"},
    "shell": {"command": ["bash", "-lc", "echo hello"]},
}
# What a provider that will not answer says: the status and the body.
_REFUSALS: Final[dict[str, dict[Api, tuple[int, dict[str, Any]]]]] = {
    "busy": {"messages": (529, _BUSY), "responses": (503, _BUSY), "chat": (503, _BUSY)},
    "limited": dict.fromkeys(("messages", "responses", "chat"), (429, _LIMITED)),
}
_BLOCK_ENDS: Final = frozenset({"content_block_stop", "response.output_item.done"})
_AGENTS: Final = ("Task", "Agent", "task", "spawn_agent")


@dataclass(frozen=True)
class Step:
    """What the model does in one call."""

    kind: Literal[
        "text",
        "tool",
        "two tools",
        "search",
        "agent",
        "cut",
        "cut-early",
        "cut-late",
        "busy",
        "limited",
        "incomplete",
        "silent",
        "hang",
    ]
    agent: str = ""  # the prompt of a sub-agent
    thinking: bool = False
    more: int = 0  # cached tokens beside the usual, to fill a context
    pause: float = 0  # seconds between the last block of a stream and its final count


TEXT: Final = Step("text")
TOOL: Final = Step("tool")
TWO_TOOLS: Final = Step("two tools")
SEARCH: Final = Step("search")
CUT: Final = Step("cut")
CUT_EARLY: Final = Step("cut-early")
CUT_LATE: Final = Step("cut-late", thinking=True)
BUSY: Final = Step("busy")
LIMITED: Final = Step("limited")
INCOMPLETE: Final = Step("incomplete")
SILENT: Final = Step("silent")
HANG: Final = Step("hang")


@dataclass(frozen=True)
class Answered:
    """One call that the stand-in answered: its counts, and how much of them the client was told."""

    number: int
    id: str
    api: Api
    model: str
    counts: Counts
    told: Told
    streamed: bool
    session: str | None  # the thread that the client named in its request
    during: str  # the scenario that was played
    start: int = 0  # tokens of output that the start of the stream stated
    aside: bool = False  # a tool of the client asked: what it was told comes back as its result


@dataclass
class Script:
    """The prompts of a run, the steps left of each, and what was answered."""

    writes: bool = True  # whether prompts are written to a cache, which old formats cannot say
    trailing: bool = True  # whether a chat stream states its usage behind the last choice
    during: str = ""
    answered: list[Answered] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    _steps: dict[int, list[Step]] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prompt(self, *steps: Step) -> str:
        """Make a prompt that is answered by these steps, and with text when they are done."""
        number = len(self._steps) + 1
        self._steps[number] = list(steps)
        return f"Please do PLAY-{number}- now."

    def next_step(self, body: dict[str, Any]) -> Step:
        """Take the step of a request: the next one of the last prompt in it."""
        named = _PROMPT.findall(_asked(body))
        if not named or not body.get("tools"):  # without tools: a title, a summary, a warm-up
            return TEXT
        with self._lock:
            steps = self._steps.get(int(named[-1]), [])
            return steps.pop(0) if steps else TEXT

    def reply(self, api: Api, body: dict[str, Any], step: Step) -> Reply:
        """Make the answer of a step."""
        with self._lock:
            self._number += 1
            number = self._number
        counts = counts_of(number, writes=self.writes)
        tool = _tool(body, step)
        by_provider = _is_search(body) or (step.kind == "search" and tool is None)
        return Reply(
            number=number,
            id=f"{'msg' if api == 'messages' else 'resp'}_{mark(number)}",
            model=str(body.get("model")),
            counts=replace(counts, cached=counts.cached + step.more),
            thinking=step.thinking,
            tool=tool,
            asked=2 if step.kind == "two tools" else 1,
            searches=int(by_provider),
            incomplete=step.kind == "incomplete",
            usage=step.kind != "silent",
            start=1 + number % 5,
        )

    def keep(self, answered: Answered) -> None:
        """Keep what was answered."""
        with self._lock:
            self.answered.append(answered)


def _asked(body: dict[str, Any]) -> str:
    """All that users said in a request; a tool call of the model may hold another's prompt."""
    said = body.get("input") or body.get("messages") or []
    if isinstance(said, str):
        return said
    own = (one for one in said if isinstance(one, dict) and one.get("role") != "assistant")
    return json.dumps([one for one in own if not str(one.get("type")).endswith("_call")])


def _tool(body: dict[str, Any], step: Step) -> Tool | None:
    for name, space in _tools(body):
        if step.kind in {"tool", "two tools"} and name in _SHELLS:
            return Tool(name, _SHELLS[name], space)
        if step.kind == "search" and name == "WebSearch":
            return Tool(name, {"query": "the news of today"}, space)
        if step.kind == "agent" and name in _AGENTS:
            return Tool(name, _agent(name, step.agent), space)
    return None


def _is_search(body: dict[str, Any]) -> bool:
    """Whether a client asks for nothing but a search that the provider is to run."""
    tools = body.get("tools") or []
    return bool(tools) and all(str(tool.get("type")).startswith("web_search") for tool in tools)


def _tools(body: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """The name of each tool that a client offers, and of the group that it stands in."""
    for tool in body.get("tools") or []:
        if "tools" in tool:
            yield from ((str(one.get("name")), tool["name"]) for one in tool["tools"])
        else:
            yield str(tool.get("name") or tool.get("function", {}).get("name")), None


def _agent(name: str, prompt: str) -> dict[str, Any]:
    if name == "spawn_agent":
        return {"message": prompt, "task_name": "look"}
    return {"description": "Look", "prompt": prompt, "subagent_type": "general-purpose"}


def session_of(headers: dict[str, str], body: dict[str, Any]) -> str | None:
    """Read which thread a client names in a request, where it names one."""
    named = ("thread-id", "thread_id", "x-claude-code-session-id", "conversation_id", "session_id")
    for name in named:
        if headers.get(name):
            return headers[name]
    user = (body.get("metadata") or {}).get("user_id")
    found = re.search(r"session(?:_id\W+|_)([0-9a-f-]{36})", user or "")
    return found[1] if found else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [], "models": []})

    def do_HEAD(self) -> None:
        self._send(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        path = self.path.split("?")[0].rstrip("/")
        if path.endswith("/count_tokens"):
            self._send(200, {"input_tokens": 1000})
            return
        apis: dict[str, Api] = {
            "/responses": "responses",
            "/chat/completions": "chat",
            "/messages": "messages",
        }
        api = next((apis[end] for end in apis if path.endswith(end)), None)
        if api is None:
            self._send(404, {"error": {"type": "not_found_error", "message": "not here"}})
        else:
            self._answer(api, body)

    def _answer(self, api: Api, body: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.script.requests.append({"path": self.path, "headers": headers, "body": body})
        step = self.script.next_step(body)
        if step.kind in _REFUSALS:
            self._send(*_REFUSALS[step.kind][api])
            return
        reply = self.script.reply(api, body, step)
        streamed = bool(body.get("stream"))
        self.script.keep(
            Answered(
                number=reply.number,
                id=reply.id,
                api=api,
                model=reply.model,
                counts=reply.counts,
                told=_told(api, step),
                streamed=streamed,
                session=session_of(headers, body),
                during=self.script.during,
                start=reply.start,
                aside=_is_search(body),
            )
        )
        if streamed:
            self._stream(api, reply, step)
        else:
            self._send(200, whole(api, reply))

    def _stream(self, api: Api, reply: Reply, step: Step) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.send_header("request-id", f"req_{reply.id}")
        self.end_headers()
        self.close_connection = True
        for event in stream(api, reply, trailing=self.script.trailing):
            name = event[0] or ""
            if step.kind == "cut-early" and name not in {"message_start", "response.created"}:
                return
            if name == "message_delta":
                time.sleep(step.pause)
            self.wfile.write(encoded(event))
            self.wfile.flush()
            if step.kind == "cut" and _brings_words(event):
                return
            if step.kind == "cut-late" and name in _BLOCK_ENDS:
                return
            if step.kind == "hang":
                self.script.closing.wait(60)  # until the client is gone, or the run is over
                return
        if api == "chat":
            self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, status: int, body: dict[str, Any]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.send_header("retry-after", "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)


def _brings_words(event: Event) -> bool:
    """Whether an event of a stream brings a piece of the answer."""
    name, data = event
    pieces = [choice["delta"] for choice in data.get("choices", ())]
    return "delta" in (name or "") or any(
        piece.get("content") or piece.get("tool_calls") for piece in pieces
    )


def _told(api: Api, step: Step) -> Told:
    if step.kind == "silent":
        return "nothing"
    if step.kind in {"cut", "cut-early", "cut-late", "hang"}:
        return "start" if api == "messages" else "nothing"
    return "all"


class Upstream:
    """The stand-in, listening on a free port of loopback within a `with` block."""

    def __init__(self) -> None:
        self.script = Script()
        handler = type("Handler", (_Handler,), {"script": self.script})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Upstream:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.script.closing.set()
        self._server.shutdown()
        self._server.server_close()
