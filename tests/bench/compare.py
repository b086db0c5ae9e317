"""Compares tallybook with ccusage and tokscale over one corpus: time, memory and totals.

    python -m tests.bench.compare --corpus DIR --runs 5

The readers take turns, so that a busy machine slows all of them alike. `--state cold` gives every
run empty caches, `first` has it fill them, `warm` measures a second look at unchanged logs,
`grown` a look after the corpus has become one per cent longer (it stays longer). Readers that are
not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from .append import append_to
from .measure import MEMORY_METHOD, Measurement, measure
from .readers import Reader, differences, environment, expected, find_readers
from .truth import Truth, load_truth

COLD, FIRST, WARM, GROWN = "cold", "first", "warm", "grown"


@dataclass
class Result:
    """All measured runs of one reader, and what was wrong with its latest answer."""

    reader: Reader
    version: str
    runs: list[Measurement] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def median(self, name: str) -> float:
        return float(statistics.median(getattr(run, name) for run in self.runs))


def _faults(reader: Reader, run: Measurement, truth: Truth) -> list[str]:
    if run.exit_code:
        said = run.stderr.decode(errors="replace").strip().splitlines()
        return [f"exit code {run.exit_code}: {said[-1] if said else 'nothing on stderr'}"]
    try:
        return differences(reader.totals(run.stdout), expected(truth))
    except (ValueError, KeyError, TypeError) as error:
        return [f"unreadable answer: {error!r}"]


def _run(reader: Reader, home: Path, scratch: Path, state: str) -> Measurement:
    folder = scratch / reader.name
    if state in {COLD, FIRST}:
        shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True, exist_ok=True)
    command = [*reader.command, *reader.arguments(folder, state != COLD)]
    return measure(command, environment(home, folder), folder / "work")


def compare(readers: list[Reader], home: Path, runs: int, state: str) -> list[Result]:
    """Run every reader in turn, once unmeasured and then `runs` times."""
    results = [Result(reader, reader.version()) for reader in readers]
    truth = load_truth(home)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for number in range(runs + 1):
            if state == GROWN and number:
                truth = append_to(home, truth, 1.0)
            for result in results:
                run = _run(result.reader, home, Path(name), state)
                # The first round only brings the logs into memory, and fills what is kept.
                if number:
                    result.runs.append(run)
                    result.faults = _faults(result.reader, run, truth)
    return results


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def machine() -> str:
    """What the runs were made on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{_cpu()}, {cores} cores, {gigabytes:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def _preamble(truth: Truth, runs: int, state: str) -> list[str]:
    totals = truth.totals()
    tokens = totals.uncached_input_tokens + totals.cached_input_tokens
    tokens += totals.cache_creation_input_tokens + totals.output_tokens
    made = ", ".join(f"{name} {value}" for name, value in truth.options.items() if value)
    corpus = (
        f"{truth.size / 1e6:,.0f} MB, {truth.files:,} files, {truth.lines:,} lines, "
        f"{totals.calls:,} calls, {tokens:,} tokens ({made}; appended to {truth.appends} times)"
    )
    return [
        f"- Corpus: {corpus}",
        f"- Machine: {machine()}",
        f"- {runs} runs each, taking turns, {state} caches, logs in the page cache; medians",
        f"- Memory: {MEMORY_METHOD}",
    ]


def _row(result: Result, base: Result) -> str:
    cells = [result.reader.name, result.version]
    for name, unit in (("wall_seconds", 1.0), ("cpu_seconds", 1.0), ("peak_bytes", 1e6)):
        value = result.median(name) / unit
        ratio = result.median(name) / base.median(name) if base.median(name) else float("nan")
        cells += [f"{value:,.0f}" if unit > 1 else f"{value:.2f}", f"{ratio:.2f}"]
        if name == "wall_seconds":
            walls = [run.wall_seconds for run in result.runs]
            cells[-2] += f" ({min(walls):.2f}-{max(walls):.2f})"
    cells.append("wrong" if result.faults else "equal")
    return "| " + " | ".join(cells) + " |"


def report(results: list[Result], truth: Truth, runs: int, state: str) -> str:
    """Render the comparison as Markdown; ratios are to the first reader."""
    lines = _preamble(truth, runs, state)
    lines += [
        "",
        "| reader | version | wall s (range) | ratio | CPU s | ratio | peak MB | ratio | totals |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [_row(result, results[0]) for result in results]
    for result in results:
        lines += ["", f"{result.reader.name} departs from the truth:"] if result.faults else []
        lines += [f"- {fault}" for fault in result.faults]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--corpus", type=Path, required=True, help="folder made by corpus")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--state", choices=(COLD, FIRST, WARM, GROWN), default=COLD)
    for name in ("tallybook", "ccusage", "tokscale"):
        parser.add_argument(f"--{name}", metavar="PATH", help=f"the program, if not {name} on PATH")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    home = options.corpus.resolve()
    try:
        load_truth(home)
    except FileNotFoundError as error:
        print(f"{home} holds no corpus: {error}", file=sys.stderr)
        return 2
    readers = find_readers(options.tallybook, options.ccusage, options.tokscale)
    results = compare(readers, home, options.runs, options.state)
    print(report(results, load_truth(home), options.runs, options.state))
    return 1 if results[0].faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
