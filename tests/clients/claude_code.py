"""Plays Claude Code: `claude -p` and what it can be asked to do with a session."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.clients.answers import PICTURE
from tests.clients.play import Play
from tests.clients.room import NotPlayed, Room
from tests.clients.upstream import (
    BUSY,
    CUT,
    CUT_EARLY,
    CUT_LATE,
    HANG,
    INCOMPLETE,
    LIMITED,
    SEARCH,
    TEXT,
    TOOL,
    TWO_TOOLS,
    Step,
)

PACKAGE: Final = "@anthropic-ai/claude-code"
VERSIONS: Final = ("1.0.100", "2.0.60")  # beside the newest

_SWITCHES: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_BUG_COMMAND": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "IS_SANDBOX": "1",  # nobody is asked before a tool runs
    "ANTHROPIC_API_KEY": "none",
}
_SLOW: Final = 0.4  # seconds; the lines of an answer are written before its final count comes


class _Claude:
    """One installed version, at home in a folder."""

    def __init__(self, game: Play, version: str) -> None:
        room, home = game.room, game.home
        self.game = game
        self.room = room
        self.home = home
        self.begin: list[str | Path] = []  # of each command
        self.program = room.npm(PACKAGE, version) / "claude"
        folder = str(home / "claude")
        url = {"ANTHROPIC_BASE_URL": room.upstream.url, "CLAUDE_CONFIG_DIR": folder}
        self.environment = {**_SWITCHES, **url}
        self.help = self.room.run([self.program, "--help"], home, self.environment, "").stdout

    def say(self, prompt: str, *words: str, longest: float = 120) -> str:
        """Ask for an answer and keep what is printed as a capture; the id of the session."""
        line = [*self.begin, self.program, "-p", "--output-format", "stream-json", "--verbose"]
        line += ["--dangerously-skip-permissions", *words, prompt]
        done = self.room.run(line, self.home, self.environment, "", longest)
        self.game.keep(done.stdout)
        found = [event.get("session_id") for event in _events(done.stdout)]
        if not found:
            raise NotPlayed(f"it says nothing: {(done.stderr or done.stdout).strip()[-160:]}")
        return str(found[-1])

    def say_all(self, *prompts: str, picture: bool = False) -> None:
        """Ask for several answers in one run, each prompt a message on its standard input."""
        line = [*self.begin, self.program, "-p", "--output-format", "stream-json", "--verbose"]
        line += ["--input-format", "stream-json", "--dangerously-skip-permissions"]
        shown = [_PICTURE] if picture else []
        said = "".join(
            json.dumps(
                {
                    "type": "user",
                    "message": {
                        "role": "user",
                        "content": [*shown, {"type": "text", "text": prompt}],
                    },
                }
            )
            + "\n"
            for prompt in prompts
        )
        done = self.room.run(line, self.home, self.environment, said)
        self.game.keep(done.stdout)
        if not _events(done.stdout):
            raise NotPlayed(f"it says nothing: {(done.stderr or done.stdout).strip()[-160:]}")

    def move(self) -> None:
        """Move the folder of the project, and copy what belongs to it, as a user does by hand."""
        work, moved = self.home / "work", self.home / "moved"
        shutil.copytree(work, moved)
        projects = self.home / "claude" / "projects"
        [old] = [each for each in projects.iterdir() if each.name.endswith("-work")]
        shutil.copytree(old, projects / f"{old.name.removesuffix('work')}moved")
        self.begin = ["env", "-C", moved]

    def offers(self, option: str) -> None:
        """Raise `NotPlayed` where its help does not name an option."""
        if option not in self.help:
            raise NotPlayed(f"it has no `{option}`")


_PICTURE: Final = {
    "type": "image",
    "source": {
        "type": "base64",
        "media_type": "image/png",
        "data": PICTURE,
    },
}


def _events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines() if line.startswith('{"')]


def play(room: Room, version: str) -> Iterator[Play]:
    """Play every scenario with one version."""
    game, claude = _begin(room, version, f"claude-code {version}")
    session = _turns(game, claude)
    _sessions(game, claude, session)
    _trouble(game, claude)
    _oddities(game, claude)
    for name in ("/btw", "/branch", "/clear and Esc"):
        game.left_out[name] = "it needs a terminal"
    yield game
    yield game.captures_alone()


def upgrade(room: Room, old: str, new: str) -> Iterator[Play]:
    """Play an older version, and go on with a newer one in the same home."""
    game, claude = _begin(room, old, f"claude-code {old} to {new}")
    prompt = game.script.prompt
    first, second = "", ""
    with game.scenario("before"):
        first = claude.say(prompt(TOOL, TEXT))
        second = claude.say(prompt(Step("agent", agent=prompt(TOOL, TEXT)), TEXT))
    claude = _Claude(game, new)
    with game.scenario("resumed after"):
        claude.say(prompt(TOOL, TEXT), "--resume", first)
        claude.say(prompt(TEXT), "--resume", second)
    with game.scenario("forked after"):
        fork = claude.say(prompt(TOOL, TEXT), "--resume", first, "--fork-session")
        claude.say(prompt(TEXT), "--resume", first)
        claude.say(prompt(TEXT), "--resume", fork)
    yield game


def _begin(room: Room, version: str, label: str) -> tuple[Play, _Claude]:
    room.upstream.script.writes = True
    home = room.home(label.replace(" ", "-"))
    game = Play(label, room, home, (home / "claude" / "projects", home / "captures"))
    return game, _Claude(game, version)


def _turns(game: Play, claude: _Claude) -> str:
    """Play turns with text, tools and thought; the session of the last."""
    prompt = game.script.prompt
    session = ""
    with game.scenario("turns"):
        claude.say(prompt(TEXT))
    with game.scenario("tools"):
        session = claude.say(prompt(Step("tool", thinking=True), TOOL, TEXT))
    with game.scenario("slow streams"):
        slow = Step("tool", thinking=True, pause=_SLOW)
        agent = prompt(slow, Step("text", pause=_SLOW))
        claude.say(prompt(slow, Step("agent", agent=agent), Step("text", pause=_SLOW)))
    with game.scenario("resume"):
        for _ in range(2):
            claude.say(prompt(TOOL, TEXT), "--resume", session)
    with game.scenario("continue"):
        claude.say(prompt(TEXT), "--continue")
    return session


def _sessions(game: Play, claude: _Claude, session: str) -> None:
    """Play what makes another session of one, or a shorter one."""
    prompt = game.script.prompt
    with game.scenario("fork"):
        claude.offers("--fork-session")
        fork = claude.say(prompt(TOOL, TEXT), "--resume", session, "--fork-session")
        claude.say(prompt(TEXT), "--resume", session)
        claude.say(prompt(TEXT), "--resume", fork)
    with game.scenario("sub-agents"):
        first, second = prompt(TOOL, TEXT), prompt(TEXT)
        claude.say(prompt(Step("agent", agent=first), Step("agent", agent=second), TOOL, TEXT))
    with game.scenario("compaction"):
        long = claude.say(prompt(TOOL, TOOL, TEXT))
        claude.say("/compact", "--resume", long)
        claude.say(prompt(TOOL, TEXT), "--resume", long)


def _trouble(game: Play, claude: _Claude) -> None:
    """Play what goes wrong on the provider's side."""
    prompt = game.script.prompt
    with game.scenario("broken streams"):
        claude.say(prompt(CUT, TEXT))
    with game.scenario("broken after a tool"):
        claude.say(prompt(TOOL, CUT, TOOL, TEXT))
    with game.scenario("broken early"):
        claude.say(prompt(CUT_EARLY, TEXT))
    with game.scenario("broken after a block"):
        claude.say(prompt(TOOL, CUT_LATE, TOOL, TEXT))
    with game.scenario("retries"):
        claude.say(prompt(BUSY, TOOL, BUSY, TEXT))
    with game.scenario("incomplete"):
        claude.say(prompt(INCOMPLETE, TEXT))
    with game.scenario("killed"):
        claude.say(prompt(TOOL, HANG), longest=8)


def _oddities(game: Play, claude: _Claude) -> None:
    """Play what is less usual, and what a user does to the files."""
    prompt = game.script.prompt
    with game.scenario("two tools at once"):
        claude.say(prompt(TWO_TOOLS, TEXT))
    with game.scenario("another model"):
        session = claude.say(prompt(TOOL, TEXT), "--model", "claude-sonnet-4-5")
        claude.say(prompt(TEXT), "--resume", session, "--model", "claude-haiku-4-5")
        claude.say(prompt(TEXT), "--resume", session, "--model", "claude-sonnet-4-5")
    with game.scenario("picture, and two turns in one run"):
        claude.say_all(prompt(TOOL, TEXT), prompt(TEXT), picture=True)
    with game.scenario("search"):
        claude.say(prompt(SEARCH, TEXT))
    with game.scenario("limited"):
        claude.say(prompt(LIMITED, TOOL, LIMITED, TEXT))
    with game.scenario("killed, then resumed"):
        session = claude.say(prompt(TOOL, HANG), longest=8)
        claude.say(prompt(TOOL, TEXT), "--resume", session)
    with game.scenario("fork of a fork"):
        claude.offers("--fork-session")
        first = claude.say(prompt(TOOL, TEXT))
        second = claude.say(prompt(TEXT), "--resume", first, "--fork-session")
        third = claude.say(prompt(TOOL, TEXT), "--resume", second, "--fork-session")
        for session in (first, second, third):
            claude.say(prompt(TEXT), "--resume", session)
    with game.scenario("moved"):
        session = claude.say(prompt(TOOL, TEXT))
        claude.move()
        claude.say(prompt(TEXT), "--resume", session)
