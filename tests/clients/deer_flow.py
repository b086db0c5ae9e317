"""Plays deer-flow's harness: runs with tools, sub-agents and titles, their events kept or not.

DeerFlow itself is in no registry. Its harness is, as others pack it: the program's own modules for
runs, events, checkpoints and agents, without its gateway's users and pages.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.clients.play import Play, succeed
from tests.clients.room import NotPlayed, Room
from tests.clients.upstream import HANG, TEXT, TOOL, Step

PACKAGE: Final = "deerflow-kernel"
REGISTRY: Final = "pip"
VERSIONS: Final = ("0.1.3", "0.1.5")  # beside the newest
_PYTHON: Final = (3, 12)  # the oldest that the harness runs with

# What a run needs of all that the package asks for, and what it needs and does not ask for.
_NEEDED: Final = (
    "langgraph",
    "langgraph-prebuilt",
    "langgraph-checkpoint-sqlite",
    "langchain",
    "langchain-anthropic",
    "langchain-openai",
    "httpx",
    "pyyaml",
)
_UNASKED: Final = ("sqlalchemy[asyncio]", "aiosqlite", "alembic", "python-dotenv")
_REQUIRES: Final = """
import importlib.metadata, re, sys
for line in importlib.metadata.requires(sys.argv[1]) or ():
    if "extra ==" not in line and re.split(r"[^A-Za-z0-9-]", line)[0] in sys.argv[2:]:
        print(line)
"""

# What the program's gateway does for a run, one run after the other.
_RUNS: Final = """
import asyncio, json, sys
from contextlib import AsyncExitStack

from deerflow.agents.lead_agent.agent import make_lead_agent
from deerflow.config.app_config import get_app_config
from deerflow.persistence.engine import close_engine, get_session_factory, init_engine_from_config
from deerflow.persistence.run import RunRepository
from deerflow.persistence.thread_meta import make_thread_store
from deerflow.runtime import RunContext, RunManager, make_store, make_stream_bridge, run_agent
from deerflow.runtime.checkpointer.async_provider import make_checkpointer
from deerflow.runtime.events.store import make_run_event_store
from deerflow.runtime.user_context import set_current_user
from langchain_core.messages import HumanMessage


class User:
    id = "standin"


async def main(asked):
    set_current_user(User())
    config = get_app_config()
    await init_engine_from_config(config.database)
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(make_stream_bridge(config))
        checkpointer = await stack.enter_async_context(make_checkpointer(config))
        store = await stack.enter_async_context(make_store(config))
        sessions = get_session_factory()
        manager = RunManager(store=RunRepository(sessions))
        ctx = RunContext(
            checkpointer=checkpointer,
            store=store,
            event_store=make_run_event_store(config.run_events),
            run_events_config=config.run_events,
            thread_store=make_thread_store(sessions, store),
            app_config=config,
        )
        for thread, prompt, model, modes in asked:
            record = await manager.create_or_reject(thread, "lead_agent", model_name=model)
            options = {"thread_id": thread, "model_name": model, "subagent_enabled": True}
            await run_agent(
                bridge,
                manager,
                record,
                ctx=ctx,
                agent_factory=make_lead_agent,
                graph_input={"messages": [HumanMessage(prompt)]},
                config={"recursion_limit": 100, "configurable": options},
                stream_modes=modes,
            )
            if record.status.value != "success":
                sys.exit(f"the run ended as {record.status.value}: {record.error}")
    await close_engine()


asyncio.run(main(json.loads(sys.argv[1])))
"""


class _DeerFlow:
    """One installed version, with a folder of its own for each way to keep events."""

    def __init__(self, game: Play, version: str) -> None:
        self.game = game
        programs = game.room.pip(PACKAGE, version, "--no-deps", python=python())
        self.python = programs / "python"
        self._install()

    def _install(self) -> None:
        room, home = self.game.room, self.game.home
        words: list[str | Path] = [self.python, "-c", _REQUIRES, PACKAGE, *_NEEDED]
        wanted = [*succeed(room.run(words, home, {})).splitlines(), *_UNASKED]
        words = [self.python, "-m", "pip", "install", "-q", "--no-cache-dir", *wanted]
        succeed(room.run(words, home, {}, longest=900))

    def run(self, events: str, *asked: tuple[str, str, str], **options: Any) -> bool:
        """Run prompts in a thread with a model each; whether all of it came to its end.

        Answers are streamed, unless they are to be `whole`; `longest` is the time it may take.
        """
        room, home = self.game.room, self.game.home
        folder = home / "work" / events
        folder.mkdir(exist_ok=True)
        config = folder / "config.yaml"
        settings = _config(room.upstream.url, folder, events, asked[0][0])
        config.write_text(json.dumps(settings), "utf-8")
        (folder / "extensions_config.json").write_text("{}", "utf-8")
        given = {"DEER_FLOW_CONFIG_PATH": str(config), "DEER_FLOW_HOME": str(folder / ".deer-flow")}
        given["DEER_FLOW_EXTENSIONS_CONFIG_PATH"] = str(folder / "extensions_config.json")
        modes = ["values"] if options.get("whole") else ["values", "messages-tuple"]
        runs = json.dumps([(*one, modes) for one in asked])
        line: Sequence[str | Path] = [self.python, "-c", _RUNS, runs]
        done = room.run(line, home, given, "", options.get("longest", 120))
        if done.returncode != -9:
            succeed(done)
        return done.returncode == 0


def _config(url: str, folder: Path, events: str, thread: str) -> dict[str, Any]:
    """Settings as YAML has them, of which JSON is a part; each request names the thread."""
    openai = {"use": "langchain_openai:ChatOpenAI", "base_url": f"{url}/v1"}
    anthropic = {"use": "langchain_anthropic:ChatAnthropic", "base_url": url}
    key = {"api_key": "none", "max_retries": 0, "default_headers": {"thread-id": thread}}
    return {
        "log_level": "warning",
        "models": [
            {"name": "lead", "model": "gpt-5", **openai, **key},
            {"name": "small", "model": "gpt-5-mini", **openai, **key},
            {"name": "claude", "model": "claude-sonnet-4-5", **anthropic, **key},
        ],
        "sandbox": {
            "use": "deerflow.sandbox.local:LocalSandboxProvider",
            "allow_host_bash": True,
        },
        "tool_groups": [{"name": "bash"}],
        "tools": [{"name": "bash", "group": "bash", "use": "deerflow.sandbox.tools:bash_tool"}],
        "skills": {"path": str(folder / "skills")},
        "title": {"enabled": True, "model_name": "small"},
        "memory": {"enabled": False},
        "summarization": {"enabled": False},
        "database": {"backend": "sqlite", "sqlite_dir": str(folder / ".deer-flow" / "data")},
        "run_events": {"backend": events},
    }


def python() -> str:
    """An interpreter that the harness runs with. Raises NotPlayed."""
    if sys.version_info >= _PYTHON:
        return sys.executable
    names = [f"python3.{minor}" for minor in range(14, _PYTHON[1] - 1, -1)]
    kept = sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3.1[2-4]"))
    found = [*map(str, kept), *filter(None, map(shutil.which, names))]
    if not found:
        raise NotPlayed("there is no Python 3.12, which it needs")
    return found[0]


def play(room: Room, version: str) -> Iterator[Play]:
    """Play every scenario with one version."""
    label = f"deer-flow {version}"
    home = room.home(label.replace(" ", "-"))
    lacks = frozenset({"cache_creation_input_tokens"})
    suffixes = (".db", ".db-wal", ".jsonl")
    game = Play(label, room, home, (home / "work",), lacks, suffixes=suffixes)
    client = _DeerFlow(game, version)
    for events in ("memory", "db", "jsonl"):
        _scenarios(game, client, events)
    yield game


def _scenarios(game: Play, client: _DeerFlow, events: str) -> None:
    """Play one way to keep events: `memory`, which is the default, keeps none."""
    kept = "" if events == "memory" else f", events as {events}"
    prompt = game.script.prompt
    game.script.writes = False
    thread = f"thread-{events}"
    with game.scenario(f"runs{kept}"):
        first, second = prompt(TOOL, TEXT), prompt(TEXT)
        client.run(events, (f"{thread}-1", first, "lead"), (f"{thread}-1", second, "lead"))
    with game.scenario(f"sub-agent{kept}"):
        agent = Step("agent", prompt(TOOL, TEXT))
        client.run(events, (f"{thread}-2", prompt(agent, TEXT), "lead"))
    with game.scenario(f"killed{kept}"):
        asked = (f"{thread}-3", prompt(TOOL, HANG), "lead")
        if client.run(events, asked, longest=30):
            raise NotPlayed("the run came to its end")
    game.script.writes = True
    with game.scenario(f"Claude{kept}"):
        client.run(events, (f"{thread}-4", prompt(TOOL, TEXT), "claude"), whole=True)
    with game.scenario(f"Claude, streamed{kept}"):
        client.run(events, (f"{thread}-5", prompt(TOOL, TEXT), "claude"))


def upgrade(room: Room, old: str, new: str) -> Iterator[Play]:
    """Go on in the home of an older version with a newer one."""
    label = f"deer-flow {old} to {new}"
    home = room.home(label.replace(" ", "-"))
    lacks = frozenset({"cache_creation_input_tokens"})
    suffixes = (".db", ".db-wal", ".jsonl")
    game = Play(label, room, home, (home / "work",), lacks, suffixes=suffixes)
    prompt = game.script.prompt
    game.script.writes = False
    for version in (old, new):
        client = _DeerFlow(game, version)
        with game.scenario(f"runs of {version}"):
            client.run("db", ("thread-1", prompt(TOOL, TEXT), "lead"))
    yield game
