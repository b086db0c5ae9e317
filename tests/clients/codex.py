"""Plays Codex: `codex exec` and what it can be asked to do with a thread."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

from tests.clients.answers import PICTURE
from tests.clients.play import Play, succeed
from tests.clients.room import NotPlayed, Room, numbers
from tests.clients.upstream import (
    BUSY,
    CUT,
    CUT_EARLY,
    CUT_LATE,
    HANG,
    INCOMPLETE,
    LIMITED,
    SEARCH,
    SILENT,
    TEXT,
    TOOL,
    TWO_TOOLS,
    Step,
)

PACKAGE: Final = "@openai/codex"
VERSIONS: Final = ("0.80.0", "0.130.0")  # beside the newest

_MODEL: Final = "gpt-5.2-codex"
_LIMIT: Final = 120_000  # tokens of context, beyond which a thread is compacted
_CONFIG: Final = """
model = "{model}"
model_provider = "standin"
model_auto_compact_token_limit = {limit}
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.standin]
name = "standin"
base_url = "{url}/v1"
wire_api = "{wire}"
env_key = "STANDIN_KEY"
request_max_retries = 2
stream_max_retries = 3
stream_idle_timeout_ms = 20000
"""


class _Codex:
    """One installed version, at home in a folder."""

    def __init__(self, game: Play, version: str, wire: str = "responses") -> None:
        room, home = game.room, game.home
        self.game = game
        self.room = room
        self.version = numbers(version)
        self.home = home
        self.folder = folder = home / "codex"
        self.program = room.npm(PACKAGE, version) / "codex"
        folder.mkdir(exist_ok=True)
        url = room.upstream.url
        config = _CONFIG.format(model=_MODEL, limit=_LIMIT, url=url, wire=wire)
        (folder / "config.toml").write_text(config)
        self.environment = {"CODEX_HOME": str(folder), "STANDIN_KEY": "none"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of it."""
        return self.room.run([self.program, *words], self.home, self.environment, "")

    def kill(self, prompt: str) -> str:
        """Run `codex exec` on a prompt that hangs, and end it after a while; the thread's id."""
        words = ("exec", "--skip-git-repo-check", "--json", prompt)
        done = self.room.run([self.program, *words], self.home, self.environment, "", longest=6)
        self.game.keep(done.stdout)
        return self._thread(done)

    def move(self) -> None:
        """Go on in a copy of its folder, as a user does who moves to another place."""
        copy = self.home / "codex" / "moved"
        shutil.copytree(self.folder, copy)
        self.environment["CODEX_HOME"] = str(copy)

    def exec(self, *words: str, fails: bool = False) -> str:
        """Run `codex exec` on a prompt; the id of the thread."""
        done = self.run("exec", "--skip-git-repo-check", "--json", *words)
        self.game.keep(done.stdout)
        if not fails:
            succeed(done)
        return self._thread(done)

    def _thread(self, done: subprocess.CompletedProcess[str]) -> str:
        for line in done.stdout.splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("type") == "thread.started":
                return str(event["thread_id"])
        raise NotPlayed(f"no thread was started: {done.stderr.strip()[-160:]}")


def play(room: Room, version: str) -> Iterator[Play]:
    """Play every scenario with one version."""
    label = f"codex {version}"
    game, codex = _begin(room, version, label)
    thread = _turns(game, codex)
    _threads(game, codex, thread)
    _trouble(game, codex)
    _oddities(game, codex)
    yield game
    yield game.captures_alone()
    if numbers(version) <= (0, 80):
        game, codex = _begin(room, version, f"{label} chat", wire="chat")
        _turns(game, codex)
        yield game


def _begin(room: Room, version: str, label: str, wire: str = "responses") -> tuple[Play, _Codex]:
    home = room.home(label.replace(" ", "-"))
    # Cache writes are logged from 0.145 on; before, the providers that state them were not met.
    writes = numbers(version) >= (0, 145)
    room.upstream.script.writes = writes
    lacks = frozenset() if writes else frozenset({"cache_creation_input_tokens"})
    game = Play(label, room, home, (home / "codex", home / "captures"), lacks)
    return game, _Codex(game, version, wire)


def _turns(game: Play, codex: _Codex) -> str:
    """Play turns with text, tools and thought; the thread of the last."""
    thread = ""
    with game.scenario("turns"):
        codex.exec(game.script.prompt(TEXT))
    with game.scenario("tools"):
        steps = (Step("tool", thinking=True), TOOL, TEXT)
        thread = codex.exec(game.script.prompt(*steps))
    with game.scenario("resume"):
        for _ in range(2):
            codex.exec("resume", thread, game.script.prompt(TOOL, TEXT))
    return thread


def _threads(game: Play, codex: _Codex, thread: str) -> None:
    """Play what makes another thread of one, or a shorter one."""
    prompt = game.script.prompt
    with game.scenario("fork"):
        if codex.version < (0, 171):
            raise NotPlayed("it has no `exec fork`")
        fork = codex.exec("fork", thread, prompt(TOOL, TEXT))
        codex.exec("resume", thread, prompt(TEXT))
        codex.exec("resume", fork, prompt(TEXT))
    with game.scenario("review"):
        _repository(codex)
        succeed(codex.run("exec", "--skip-git-repo-check", "--json", "review", "--uncommitted"))
    with game.scenario("compaction"):
        full = Step("tool", more=_LIMIT)
        compacted = codex.exec(prompt(TOOL, full, TOOL, TEXT))
        codex.exec("resume", compacted, prompt(TEXT))
    with game.scenario("sub-agents"):
        if codex.version < (0, 130):
            raise NotPlayed("it has no sub-agents by default")
        first, second = prompt(TOOL, TEXT), prompt(TEXT)
        steps = (Step("agent", agent=first), Step("agent", agent=second), TOOL, TEXT)
        codex.exec(prompt(*steps))
    with game.scenario("ephemeral"):
        if codex.version < (0, 130):
            raise NotPlayed("it has no `--ephemeral`")
        codex.exec("--ephemeral", prompt(TOOL, TEXT))


def _trouble(game: Play, codex: _Codex) -> None:
    """Play what goes wrong on the provider's side."""
    prompt = game.script.prompt
    with game.scenario("broken streams"):
        codex.exec(prompt(CUT, TOOL, CUT_EARLY, TEXT))
    with game.scenario("broken after an item"):
        codex.exec(prompt(TOOL, CUT_LATE, TOOL, TEXT))
    with game.scenario("retries"):
        codex.exec(prompt(BUSY, TOOL, BUSY, TEXT))
    with game.scenario("incomplete"):
        thread = codex.exec(prompt(TOOL, INCOMPLETE), fails=True)
        codex.exec("resume", thread, prompt(TEXT))
    with game.scenario("no usage stated"):
        codex.exec(prompt(TOOL, SILENT))
    with game.scenario("killed"):
        words = ("exec", "--skip-git-repo-check", prompt(TOOL, HANG))
        codex.room.run([codex.program, *words], codex.home, codex.environment, "", longest=6)


def _oddities(game: Play, codex: _Codex) -> None:
    """Play what is less usual, and what a user does to the files."""
    prompt = game.script.prompt
    with game.scenario("two tools at once"):
        codex.exec(prompt(TWO_TOOLS, TEXT))
    with game.scenario("another model"):
        thread = codex.exec("-m", "gpt-5.1-codex", prompt(TOOL, TEXT))
        codex.exec("-m", "gpt-5.2", "resume", thread, prompt(TEXT))
        codex.exec("-m", "gpt-5.1-codex", "resume", thread, prompt(TEXT))
    with game.scenario("picture"):
        picture = codex.home / "work" / "picture.png"
        picture.write_bytes(base64.b64decode(PICTURE))
        codex.exec(prompt(TOOL, TEXT), "-i", str(picture))
    with game.scenario("search"):
        codex.exec(prompt(SEARCH, TOOL, TEXT))
    with game.scenario("limited"):
        codex.exec(prompt(LIMITED, TOOL, LIMITED, TEXT), fails=True)
    with game.scenario("killed, then resumed"):
        thread = codex.kill(prompt(TOOL, HANG))
        codex.exec("resume", thread, prompt(TOOL, TEXT))
    with game.scenario("fork of a fork"):
        if codex.version < (0, 171):
            raise NotPlayed("it has no `exec fork`")
        first = codex.exec(prompt(TOOL, TEXT))
        second = codex.exec("fork", first, prompt(TEXT))
        third = codex.exec("fork", second, prompt(TOOL, TEXT))
        for thread in (first, second, third):
            codex.exec("resume", thread, prompt(TEXT))
    with game.scenario("archived"):
        thread = codex.exec(prompt(TOOL, TEXT))
        succeed(codex.run("archive", thread))
        codex.game.read(ledger=True)
        succeed(codex.run("unarchive", thread))
        codex.exec("resume", thread, prompt(TEXT))
    with game.scenario("moved"):
        thread = codex.exec(prompt(TOOL, TEXT))
        codex.move()
        codex.exec("resume", thread, prompt(TEXT))


def _repository(codex: _Codex) -> None:
    work = codex.home / "work"
    (work / "change.txt").write_text("a change\n")
    for words in (("init", "-q"), ("add", ".")):
        succeed(codex.room.run(["git", *words], codex.home, {}))


def upgrade(room: Room, old: str, new: str) -> Iterator[Play]:
    """Play an older version, and go on with a newer one in the same home."""
    game, codex = _begin(room, old, f"codex {old} to {new}")
    prompt = game.script.prompt
    with game.scenario("before"):
        thread = codex.exec(prompt(TOOL, TEXT))
        compacted = codex.exec(prompt(TOOL, Step("tool", more=_LIMIT), TEXT))
    with game.scenario("sub-agents before"):
        if codex.version < (0, 130):
            raise NotPlayed("it has no sub-agents by default")
        codex.exec(prompt(Step("agent", agent=prompt(TOOL, TEXT)), TOOL, TEXT))
    codex = _Codex(game, new)
    with game.scenario("resumed after"):
        codex.exec("resume", thread, prompt(TOOL, TEXT))
        codex.exec("resume", compacted, prompt(TEXT))
    with game.scenario("forked after"):
        codex.exec("fork", thread, prompt(TOOL, TEXT))
    with game.scenario("migrated"):
        if codex.version < (0, 171):
            raise NotPlayed("it has no `migrate-rollouts`")
        succeed(codex.run("migrate-rollouts", "--apply"))
    with game.scenario("resumed after migration"):
        codex.exec("resume", thread, prompt(TOOL, TEXT))
    yield game
