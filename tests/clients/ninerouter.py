"""Plays 9router: every kind of client it serves, before every kind of provider it asks."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import product
from pathlib import Path
from typing import Any, Final

from tests.clients.answers import Api
from tests.clients.play import Play
from tests.clients.room import NotPlayed, Room
from tests.clients.upstream import CUT, TEXT, Step

PACKAGE: Final = "9router"
VERSIONS: Final = ("0.5.18", "0.5.55")  # beside the newest

_SQL: Final = "1.14.1"  # of sql.js, which the router's own launcher installs beside it
_APIS: Final[tuple[Api, ...]] = ("chat", "responses", "messages")
_PATHS: Final[dict[Api, str]] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
_MODELS: Final[dict[Api, str]] = {
    "chat": "gpt-5",
    "responses": "gpt-5",
    "messages": "claude-sonnet-4-5",
}
# It has a 0 for what a provider of OpenAI's kind does not say, and no place for a lifetime.
_UNSAID_WRITES: Final = frozenset({"cache_creation_input_tokens", "cache_creation_1h_input_tokens"})
_PASSWORD: Final = "123456"  # noqa: S105 - the one that it is shipped with
_STARTED: Final = 60.0  # seconds that it may take to start
_FLUSHED: Final = 6.0  # seconds after which it has written its details


@dataclass
class _Router:
    """One installed version, with its data in a folder that outlives it."""

    game: Play
    version: str
    details: bool
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def started(self) -> Iterator[_Router]:
        """Run the server, and let it write all before it is ended."""
        room, home = self.game.room, self.game.home
        app = _installed(room, self.version)
        port = _free_port()
        self.url, self.headers = f"http://127.0.0.1:{port}", {"content-type": "application/json"}
        environment = {
            "DATA_DIR": str(home / "data"),
            "PORT": str(port),
            "HOSTNAME": "127.0.0.1",
            "NODE_ENV": "production",
            "NEXT_TELEMETRY_DISABLED": "1",
            "JWT_SECRET": "only for this run, on loopback alone",
            "INITIAL_PASSWORD": _PASSWORD,
            "ENABLE_REQUEST_LOGS": str(self.details).lower(),
        }
        line: list[str | Path] = ["node", app / "server.js"]
        server = room.start(line, home, environment, subprocess.DEVNULL)
        try:
            self._enter()
            yield self
            time.sleep(_FLUSHED)
        finally:
            server.terminate()
            server.wait(20)

    def _enter(self) -> None:
        """Wait for the server, and take a session and a key of it."""
        until = time.monotonic() + _STARTED
        while True:
            try:
                self.ask("/api/auth/status")
                break
            except OSError as error:
                if time.monotonic() > until:
                    raise NotPlayed("the server does not start") from error
                time.sleep(0.3)
        asked = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/api/auth/login",
            json.dumps({"password": _PASSWORD}).encode(),
            self.headers,
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 - as above
            self.headers["cookie"] = str(answer.headers["set-cookie"]).partition(";")[0]
        self.headers["authorization"] = f"Bearer {self.ask('/api/keys', {'name': 'bench'})['key']}"

    def connect(self) -> None:
        """Make a provider of each kind of the stand-in; its prefix is the name of its API."""
        for api in _APIS:
            kind = "anthropic-compatible" if api == "messages" else "openai-compatible"
            node = {"name": api, "prefix": api, "type": kind, "apiType": api}
            node["baseUrl"] = f"{self.game.room.upstream.url}/v1"
            made = self.ask("/api/provider-nodes", node)["node"]["id"]
            self.ask("/api/providers", {"provider": made, "apiKey": "none", "name": "one"})

    def ask(self, path: str, body: Any = None) -> Any:
        """Send a request, a POST where it has a body; the decoded answer, text where streamed."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, self.headers)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 - as above
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise NotPlayed(f"{path}: {error.code} {error.read().decode()[:120]}") from error
        return json.loads(text) if text.startswith("{") else text

    def say(self, client: Api, upstream: Api, *, stream: bool, step: Step = TEXT) -> None:
        """Ask for one answer as a client of an API does, of a provider of an API."""
        prompt = self.game.script.prompt(step)
        said = [{"role": "user", "content": prompt}]
        body: dict[str, Any] = {"model": f"{upstream}/{_MODELS[upstream]}", "stream": stream}
        body["input" if client == "responses" else "messages"] = said
        if client == "messages":
            body["max_tokens"] = 1000
        body["tools"] = [_tool(client)]
        self.ask(_PATHS[client], body)


def _tool(client: Api) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"command": {"type": "string"}}}
    if client == "messages":
        return {"name": "Bash", "description": "Run a command", "input_schema": schema}
    function = {"name": "Bash", "description": "Run a command", "parameters": schema}
    if client == "responses":
        return {"type": "function", **function}
    return {"type": "function", "function": function}


def _installed(room: Room, version: str) -> Path:
    """The folder of the server; its native driver would have to be built, so it takes sql.js."""
    app = room.npm(PACKAGE, version, scripts=False).parent / "9router" / "app"
    wasm = app / "node_modules" / "sql.js" / "dist" / "sql-wasm.wasm"
    if not wasm.exists():
        driver = room.npm("sql.js", _SQL).parent / "sql.js" / "dist" / "sql-wasm.wasm"
        wasm.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(driver, wasm)
    return app


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def play(room: Room, version: str) -> Iterator[Play]:
    """Play every client before every provider, with the router's details and without them."""
    for details in (True, False):
        label = f"9router {version}, {'with' if details else 'without'} details"
        game = _begin(room, label)
        router = _Router(game, version, details)
        with router.started():
            router.connect()
            _routes(game, router)
            if details:
                _writes(game, router)
                _aborted(game, router)
        yield game
        if details:
            yield from _backfilled(game)


def upgrade(room: Room, old: str, new: str) -> Iterator[Play]:
    """Play an older version, and go on with a newer one on the same data."""
    game = _begin(room, f"9router {old} to {new}")
    for version, when in ((old, "before"), (new, "after")):
        router = _Router(game, version, details=True)
        with router.started():
            if version == old:
                router.connect()
            _routes(game, router, f", {when}")
    yield game
    yield from _backfilled(game)


def _begin(room: Room, label: str) -> Play:
    home = room.home(label.replace(",", "").replace(" ", "-"))
    logs = (home / "data",)
    game = Play(label, room, home, logs, lacks=_UNSAID_WRITES, suffixes=(".sqlite",))
    for name in ("codex and claude accounts", "gemini"):
        game.left_out[name] = "their addresses cannot be set"
    return game


def _routes(game: Play, router: _Router, when: str = "") -> None:
    """Play each client before each provider, streamed and whole, without cache writes at OpenAI."""
    for upstream, client, stream in product(_APIS, _APIS, (True, False)):
        game.script.writes = upstream == "messages"
        how = "stream" if stream else "whole"
        endings = (True, False) if upstream == "chat" and stream else (True,)
        for trailing in endings:
            game.script.trailing = trailing
            where = "" if len(endings) == 1 else " last" if trailing else " in finish"
            with game.scenario(f"{upstream} to {client}, {how}{where}{when}", settle=False):
                _try(router, client, upstream, stream=stream)


def _try(router: _Router, client: Api, upstream: Api, *, stream: bool, step: Step = TEXT) -> None:
    try:
        router.say(client, upstream, stream=stream, step=step)
    except (OSError, HTTPException) as error:
        raise NotPlayed(f"{type(error).__name__}: {error}") from error


def _writes(game: Play, router: _Router) -> None:
    """Play providers of OpenAI's kind that state what was written to a cache."""
    game.script.writes = True
    for upstream, client in product(_APIS[:2], _APIS):
        with game.scenario(f"writes: {upstream} to {client}", settle=False):
            _try(router, client, upstream, stream=True)


def _aborted(game: Play, router: _Router) -> None:
    for upstream, client in product(_APIS, _APIS):
        game.script.writes = upstream == "messages"
        with game.scenario(f"broken: {upstream} to {client}", settle=False):
            _try(router, client, upstream, stream=True, step=CUT)


def _backfilled(game: Play) -> Iterator[Play]:
    """What the ledger says once the details were used, and what the database says then."""
    game.tallybook("backfill", "--apply")
    yield game.kept("backfilled")
    game.tallybook("backfill", "--apply", "--in-place")
    yield game.kept("backfilled in place")
