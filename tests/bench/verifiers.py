"""Makes runs of verifiers' newer generation whose true totals are known, and times their reading.

    python -m tests.bench.verifiers --out DIR --calls 1000000 --runs 8
    python -m tests.bench.verifiers --out DIR --measure

The same options give the same bytes. The truth is printed as JSON and kept in `DIR/truth.json`.
`--measure` reads such a folder and says how long that took and whether the totals are the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from random import Random

from .material import Texts, build_texts
from .measure import measure
from .readers import environment
from .sink import Sink
from .truth import Tally, Truth, load_truth

MODELS = (b"openai/gpt-5.2", b"openai/gpt-5-mini", b"deepseek/deepseek-v4-flash")
FIRST_SECOND = 1_785_542_400  # 2026-08-01
URL = "https://api.pinference.ai/api/v1"
CALLS_PER_TRACE = 40

NODE = b'{"parent":%d,"message":{"role":"%b","content":"%b"},"sampled":%b,"timestamp":%d.25,'
NODE_REST = b'"token_ids":[],"mask":[],"is_content":[],"logprobs":[]}'
CALL = (
    b'{"node":%d,"model":"%b","sampling":{"temperature":0.0},"endpoint":"/chat/completions",'
    b'"finish_reason":"stop","usage":{"prompt_tokens":%d,"completion_tokens":%d,'
    b'"cached_input_tokens":%d,"reasoning_tokens":%d},"time":{"start":%d.5,"end":%d.75}}'
)
TRACE = (
    b'{"version":1,"id":"%032x","verifiers":{"version":"0.3.0"},"task":{"type":"BenchTask","data":'
    b'{"idx":%d,"prompt":"%b","timeout":{},"resources":{}}},"agent":{"config":{"harness":{"id":'
    b'"bash"},"model":"%b","client":{"base_url":"https://api.pinference.ai/api/v1","type":"eval"}},'
    b'"name":"agent","trainable":true},"tools":[],"nodes":[%b],"calls":[%b],"rewards":{"correct":'
    b'{"score":1.0,"weight":1.0}},"metrics":{},"info":{},"extra_usage":[],"is_completed":true,"ok":'
    b'true,"stop_condition":"agent_completed","errors":[],"timing":{"start":%d.0,"scoring":'
    b'{"start":0.0,"end":0.0}}}'
)
EPISODE = b'{"id":"%032x","env":{"id":"bench"},"ok":true,"errors":[],"traces":[%b]}\n'


class Runs:
    """Runs under construction: one file each, an episode with one rollout a line."""

    def __init__(self, home: Path, options: argparse.Namespace) -> None:
        self.home = home
        self.options = options
        self.truth = Truth(options={"calls": options.calls, "runs": options.runs})
        self.texts: Texts = build_texts(options.seed)

    def build(self) -> Truth:
        """Write all runs and the truth beside them."""
        share = self.options.calls // self.options.runs
        for number in range(self.options.runs):
            self._run(Random(f"{self.options.seed}/{number}"), number, share)
        self.truth.save(self.home)
        return self.truth

    def _run(self, rng: Random, number: int, calls: int) -> None:
        model = MODELS[number % len(MODELS)]
        name = f"bench--{model.decode().replace('/', '--')}--bash"
        folder = self.home / name / f"00000000-0000-4000-8000-{number:012d}"
        with Sink(folder / "traces.jsonl", self.truth) as sink:
            while calls > 0:
                here = min(calls, CALLS_PER_TRACE)
                trace = self._trace(rng, model, here)
                sink.line(EPISODE % (rng.getrandbits(128), trace), usage=True)
                calls -= here
        settings = f'model = "{model.decode()}"\n[client]\nbase_url = "{URL}"\n'
        (folder / "config.toml").write_text(settings, encoding="utf-8")

    def _trace(self, rng: Random, model: bytes, calls: int) -> bytes:
        begun = FIRST_SECOND + rng.randrange(86_400 * 20)
        nodes, records = [], []
        for index in range(calls):
            now = begun + 7 * index
            for offset, (role, sampled) in enumerate(
                ((b"user", b"false"), (b"assistant", b"true"))
            ):
                text = rng.choice(self.texts.notes)
                head = NODE % (2 * index + offset - 1, role, text, sampled, now)
                nodes.append(head + NODE_REST)
            records.append(self._call(rng, model, 2 * index + 1, now))
        return TRACE % (
            rng.getrandbits(128), rng.randrange(1000), rng.choice(self.texts.notes), model,
            b",".join(nodes), b",".join(records), begun,
        )  # fmt: skip

    def _call(self, rng: Random, model: bytes, node: int, now: int) -> bytes:
        call = Tally(
            calls=1,
            uncached_input_tokens=rng.randrange(20, 4000),
            cached_input_tokens=64 * rng.randrange(400),
            output_tokens=rng.randrange(200, 900),
            reasoning_output_tokens=rng.randrange(200),
        )
        self.truth.count(model, call)
        return CALL % (
            node, model, call.uncached_input_tokens, call.output_tokens, call.cached_input_tokens,
            call.reasoning_output_tokens, now, now + 5,
        )  # fmt: skip


def build(home: Path, options: argparse.Namespace) -> Truth:
    """Make runs in a new or empty folder; FileExistsError if it holds anything."""
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()):
        raise FileExistsError(f"{home} is not empty")
    return Runs(home, options).build()


def read_only(home: Path) -> dict[str, float]:
    """Seconds to read every file of the folder in worker processes, and how many rows came out."""
    from tallybook.files.find import walk  # noqa: PLC0415 - only to measure
    from tests.rows_of_files import read_files  # noqa: PLC0415 - only to measure

    files = walk([home]).files
    begun = time.perf_counter()
    rows = read_files(files).num_rows
    return {"seconds": time.perf_counter() - begun, "rows": rows}


def report(home: Path, scratch: Path) -> dict[str, object]:
    """Seconds and peak bytes of a whole report over the folder, and whether its totals are true."""
    command = [sys.executable, "-m", "tallybook", "usage-report", str(home), "--json"]
    found = measure(command, environment(scratch, scratch), home)
    rows = json.loads(found.stdout)["rows"]
    got = {row["model"]: {c.name: row[c.name] or 0 for c in fields(Tally)} for row in rows}
    want = {name: asdict(tally) for name, tally in load_truth(home).models.items()}
    return {"seconds": found.wall_seconds, "peak_bytes": found.peak_bytes, "is_true": got == want}


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.verifiers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=8, help="how many files")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--measure", action="store_true", help="read what is there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _arguments(arguments)
    if options.measure:
        scratch = options.out.with_name(f"{options.out.name}-scratch")
        print(json.dumps({"read": read_only(options.out), "report": report(options.out, scratch)}))
        return 0
    print(json.dumps(build(options.out, options).document(), indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
