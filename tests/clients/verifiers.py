"""Plays verifiers: evaluations with tools and a judge, resumed and replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.clients.play import Play, succeed
from tests.clients.room import NotPlayed, Room, numbers
from tests.clients.upstream import BUSY, TEXT, TOOL, Step

PACKAGE: Final = "verifiers"
REGISTRY: Final = "pip"
VERSIONS: Final = ("0.1.14", "0.3.1")  # beside the newest

# An environment of our own: verifiers has none that needs no network. Its harness asks the model
# through the endpoint that verifiers gives it, as every harness does, and its task asks a judge.
_FILES: Final = {
    "__init__.py": """
from standin_v1.harness import StandinHarness
from standin_v1.taskset import StandinTaskset

__all__ = ["StandinHarness", "StandinTaskset"]
""",
    "taskset.py": """
import os

import verifiers.v1 as vf


class Verdict(vf.Judge[bool]):
    prompt = "Is this done? {response}"

    def parse(self, response):
        return bool(response.text)


class StandinTask(vf.Task[vf.TaskData]):
    @vf.reward(weight=1.0)
    async def reward(self, trace: vf.Trace) -> float:
        where = {"base_url": os.environ["STANDIN_URL"], "api_key_var": "STANDIN_KEY"}
        judge = Verdict(vf.JudgeConfig(model="gpt-5-mini", **where))
        result = await judge.evaluate(trace=trace, response=trace.last_reply)
        return float(bool(result.parsed))


class StandinTaskset(vf.Taskset[StandinTask, vf.TasksetConfig]):
    def load(self):
        prompts = enumerate(os.environ["STANDIN_PROMPTS"].split("|"))
        return [StandinTask(vf.TaskData(idx=i, prompt=p), self.config.task) for i, p in prompts]
""",
    "harness.py": """
import sys
from pathlib import Path

import verifiers.v1 as vf


class StandinHarnessConfig(vf.HarnessConfig):
    pass


class StandinHarness(vf.Harness[StandinHarnessConfig]):
    NEEDS_CONTAINER = False
    EXECUTES_CODE = False

    async def launch(
        self, ctx, trace, runtime, endpoint, secret, mcp_urls, data, tool_interception_url=None
    ):
        program = str(Path(__file__).with_name("agent.py"))
        words = [endpoint, secret, ctx.model, str(data.prompt)]
        return await runtime.run_program([sys.executable, program, *words], {})
""",
    "agent.py": """
import json
import sys
import urllib.request

endpoint, key, model, prompt = sys.argv[1:]
said = [{"role": "user", "content": prompt}]
schema = {"type": "object", "properties": {}}
tool = {"name": "Bash", "description": "Run a command", "parameters": schema}
while True:
    body = {"model": model, "messages": said, "tools": [{"type": "function", "function": tool}]}
    head = {"content-type": "application/json", "authorization": "Bearer " + key}
    where = endpoint.rstrip("/") + "/chat/completions"
    asked = urllib.request.Request(where, json.dumps(body).encode(), head)
    message = json.load(urllib.request.urlopen(asked))["choices"][0]["message"]
    said.append(message)
    if not message.get("tool_calls"):
        break
    for call in message["tool_calls"]:
        said.append({"role": "tool", "tool_call_id": call["id"], "content": "hello"})
""",
}


# The same for the older generation, whose environments ask the model themselves.
_OLD: Final = """
import os

import verifiers as vf
from datasets import Dataset


def Bash(command: str, description: str = "") -> str:
    \"\"\"Run a command.\"\"\"
    return "hello"


def done(completion, **more) -> float:
    return 1.0


def load_environment(**more):
    prompts = os.environ["STANDIN_PROMPTS"].split("|")
    rows = [{"prompt": [{"role": "user", "content": one}], "answer": ""} for one in prompts]
    rubric = vf.Rubric(funcs=[done])
    return vf.ToolEnv(dataset=Dataset.from_list(rows), tools=[Bash], rubric=rubric, max_turns=9)
"""
_WHOLE: Final = ("vf-eval",)  # names of programs as they are
_FIRST_NEW: Final = (0, 2)  # the first version of the newer generation


class _Verifiers:
    """One installed version, with an environment of our own to evaluate."""

    def __init__(self, game: Play, version: str) -> None:
        self.game = game
        more = ("anthropic<1",) if numbers(version) < _FIRST_NEW else ()
        self.programs = game.room.pip(PACKAGE, version, *more)
        # From 0.4 on `vf-eval` is what was `eval` in 0.3, where it still ran the older kind.
        self.old = numbers(version) < (0, 4)
        package = game.home / "environment" / "standin_v1"
        package.mkdir(parents=True, exist_ok=True)
        for name, text in _FILES.items():
            (package / name).write_text(text.lstrip())
        (package.parent / "standin_v0.py").write_text(_OLD.lstrip())

    def run(self, name: str, *words: str, prompts: tuple[str, ...] = ()) -> None:
        """Run a command of it on an evaluation of these prompts."""
        program = self.programs / (name if self.old or name in _WHOLE else f"vf-{name}")
        if not program.exists():
            raise NotPlayed(f"it has no `{program.name}`")
        url = f"{self.game.room.upstream.url}/v1"
        given = {"STANDIN_URL": url, "STANDIN_KEY": "none", "STANDIN_PROMPTS": "|".join(prompts)}
        given["PYTHONPATH"] = str(self.game.home / "environment")
        given["PATH"] = f"{self.programs}:/usr/bin:/bin"
        line: list[str | Path] = [program, *words]
        succeed(self.game.room.run(line, self.game.home, given, ""))

    def eval(self, *prompts: str, rollouts: int = 1) -> Path:
        """Evaluate prompts; the folder of the run."""
        before = set(self._runs())
        words = ["standin-v1", "-m", "gpt-5", "-r", str(rollouts), "--no-push"]
        words += ["--env.agent.harness.id", "standin-v1"]
        words += ["--env.agent.runtime.type", "subprocess"]
        words += ["--client.base-url", f"{self.game.room.upstream.url}/v1"]
        words += ["--client.api-key-var", "STANDIN_KEY"]
        self.run("eval", *words, prompts=prompts)
        new = set(self._runs()) - before
        if not new:
            raise NotPlayed("the evaluation left no run")
        return new.pop()

    def eval_old(self, *prompts: str, words: Sequence[str] = ()) -> None:
        """Evaluate prompts with an environment of the older generation."""
        line = ["standin-v0", "-m", "gpt-5", "-n", str(len(prompts)), "-r", "1", "-s", "-d"]
        line += ["-b", f"{self.game.room.upstream.url}/v1", "-k", "STANDIN_KEY"]
        line += ["--disable-env-server", "--output-dir", "outputs", *words]
        self.run("vf-eval", *line, prompts=prompts)

    def _runs(self) -> Iterator[Path]:
        for file in (self.game.home / "work" / "outputs").rglob("traces.jsonl"):
            yield file.parent


def play(room: Room, version: str) -> Iterator[Play]:
    """Play every scenario with one version."""
    label = f"verifiers {version}"
    home = room.home(label.replace(" ", "-"))
    lacks = frozenset({"cache_creation_input_tokens"})
    game = Play(label, room, home, (home / "work" / "outputs",), lacks)
    client = _Verifiers(game, version)
    prompt, run = game.script.prompt, Path()
    game.script.writes = False
    if numbers(version) < _FIRST_NEW:
        _play_old(game, client)
        yield game
        return
    with game.scenario("evaluation"):
        run = client.eval(prompt(TOOL, TEXT), prompt(TOOL, TOOL, TEXT))
    with game.scenario("rollouts"):
        client.eval(prompt(TOOL, TEXT, TEXT), rollouts=2)
    with game.scenario("replay"):
        client.run("replay", str(run), "--no-rich")
    with game.scenario("resume"):
        _resumed(game, client)
    with game.scenario("cache writes"):
        game.script.writes = True
        client.eval(prompt(TOOL, TEXT))
    yield game


def _play_old(game: Play, client: _Verifiers) -> None:
    """Play the older generation: a sum for each rollout, or its answers where they are saved."""
    prompt = game.script.prompt
    with game.scenario("evaluation"):
        client.eval_old(prompt(TOOL, TEXT), prompt(TOOL, TOOL, TEXT))
    with game.scenario("answers saved"):
        client.eval_old(prompt(TOOL, TEXT), words=("-C", "trajectory"))
    with game.scenario("refused"):
        client.eval_old(prompt(*(BUSY,) * 30), prompt(TEXT))
    game.script.writes = True
    with game.scenario("Claude"):
        url = game.room.upstream.url
        words = ("--api-client-type", "anthropic_messages", "-m", "claude-sonnet-4-5", "-b", url)
        client.eval_old(prompt(TOOL, TEXT), words=words)


def _resumed(game: Play, client: _Verifiers) -> None:
    """Play a run of which one episode fails, and which is then gone on with."""
    refused: tuple[Step, ...] = (BUSY,) * 12  # more than anything between tries again
    prompts = (game.script.prompt(TOOL, *refused), game.script.prompt(TEXT))
    run = client.eval(*prompts)
    found = sorted(run.glob("configs/**/eval.json")) or sorted(run.glob("config*"))
    if not found:
        raise NotPlayed("the run keeps no configuration to go on from")
    client.run("eval", "@", str(found[-1]), "--resume", prompts=prompts)


def upgrade(room: Room, old: str, new: str) -> Iterator[Play]:
    """Nothing: a run is never gone on with by another version."""
    del room, old, new
    yield from ()
