"""Measures every case that matters, one table for all: first and further looks, size, memory.

    python -m tests.bench.cases [--corpus DIR] [--large DIR] [--single DIR] [--many DIR]
        [--dask DIR] [--memory DIR] [--questions DIR] [--runs N]

The corpora are made by `tests.bench.corpus`: one of ordinary size, one ten times as large
(`--megabytes 10000`), one of a single log (`--single-file`), one of 50,000 small logs
(`--files 50000`), one of 2 GB for two Dask workers beside one (`--megabytes 2000`), and one of
100,000 small logs of which each view is to take no more than 400 MB (`--files 100000`); any of them
for questions that are asked for the first time over a filled ledger. Cases whose corpus is not
named are left out. Totals are checked in every case but the last two.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .compare import COLD, FIRST, GROWN, WARM, Result, compare, machine
from .dask_workers import by_workers
from .measure import MEMORY_METHOD, measure
from .readers import environment, find_readers
from .truth import load_truth

WORDS = {
    COLD: "read afresh, nothing kept",
    FIRST: "first look, which fills what is kept",
    WARM: "second look, nothing changed",
    GROWN: "look after 1 % was appended",
}
CASES = (
    ("corpus", (COLD, FIRST, WARM, GROWN)),
    ("large", (FIRST, WARM)),
    ("single", (FIRST, WARM)),
    ("many", (FIRST, WARM)),
)

MOST_BYTES = 400_000_000
VIEWS = (
    ("--no-ledger", "--json"),
    ("--no-ledger", "--json", "--by", "thread"),
    ("--no-ledger", "--format", "html", "--by", "thread"),
    ("--ledger", "ledger", "--json"),
    ("--ledger", "ledger", "--json", "--by", "thread"),
)

QUESTIONS = (
    ("--by", "day,model"),
    ("--by", "thread", "--since", "2026-04-01"),
    ("--source", "codex"),
    ("--by", "project"),
    ("--by", "model,caller", "--until", "2026-05-01"),
    ("--by", "week"),
    ("--by", "thread"),
    ("--by", "source"),
    ("--by", "hour", "--source", "claude-code"),
    ("--by", "day"),
    ("--by", "provider,month"),
)


def asked(command: Sequence[str], home: Path) -> bool:
    """What questions take over a filled ledger that had not been asked; whether all were answered.

    The time is printed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        words = [*command, "usage-report", "--json", "--ledger", "ledger"]
        every = [
            measure([*words, *question], environment(home, Path(name)), Path(name))
            for question in ((), *QUESTIONS)
        ]
    walls = [run.wall_seconds for run in every[1:]]
    print(
        f"- {len(walls)} questions over {load_truth(home).size / 1e6:,.0f} MB: median "
        f"{statistics.median(walls):.2f} s ({min(walls):.2f}-{max(walls):.2f})",
        flush=True,
    )
    return not any(run.exit_code for run in every)


def too_large(command: Sequence[str], home: Path) -> list[str]:
    """What a report takes in memory, by view; printed, and those that take too much given back."""
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for view in VIEWS:
            words = [*command, "usage-report", *view]
            run = measure(words, environment(home, Path(name)), Path(name))
            print(f"- {' '.join(view)}: {run.peak_bytes / 1e6:,.0f} MB", flush=True)
            if run.exit_code or run.peak_bytes > MOST_BYTES:
                found.append(" ".join(view))
    return found


def rows(name: str, state: str, results: list[Result]) -> list[str]:
    """A line a reader, ratios to the peer: above 1 the peer takes less."""
    own = results[0]
    lines = []
    for result in results:
        wall, cpu = result.median("wall_seconds"), result.median("cpu_seconds")
        cells = [
            f"{name}: {WORDS[state]}",
            f"{result.reader.name} {result.version}",
            f"{wall:.2f}",
            f"{own.median('wall_seconds') / wall:.2f}" if wall else "",
            f"{cpu:.2f}",
            f"{own.median('cpu_seconds') / cpu:.2f}" if cpu else "",
            f"{result.median('peak_bytes') / 1e6:,.0f}",
            "wrong" if result.faults else "equal",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cases", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name, _ in CASES:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    parser.add_argument("--dask", type=Path, metavar="DIR")
    parser.add_argument("--memory", type=Path, metavar="DIR")
    parser.add_argument("--questions", type=Path, metavar="DIR", action="append", default=[])
    parser.add_argument("--runs", type=int, default=3)
    for name in ("tallybook", "ccusage", "tokscale"):
        parser.add_argument(f"--{name}", metavar="PATH", dest=f"{name}_path")
    options = parser.parse_args(arguments)
    readers = find_readers(options.tallybook_path, options.ccusage_path, options.tokscale_path)
    print(f"- Machine: {machine()}")
    print(f"- {options.runs} runs each, taking turns; medians, logs in the page cache")
    print(f"- Memory: {MEMORY_METHOD}\n")
    print("| case | reader | wall s | ratio | CPU s | ratio | peak MB | totals |")
    print("|---|---|---:|---:|---:|---:|---:|---|")
    wrong = False
    for name, states in CASES:
        home = getattr(options, name)
        if home is None:
            continue
        size = f"{name}, {load_truth(home).size / 1e6:,.0f} MB"
        for state in states:
            results = compare(readers, home.resolve(), options.runs, state)
            print(*rows(size, state, results), sep="\n", flush=True)
            wrong = wrong or bool(results[0].faults)
    if options.dask is not None:
        size = f"dask, {load_truth(options.dask).size / 1e6:,.0f} MB"
        with by_workers(readers[0]) as two_and_one:
            results = compare(two_and_one, options.dask.resolve(), options.runs, COLD)
        print(*rows(size, COLD, results), sep="\n", flush=True)
        wrong = wrong or any(result.faults for result in results)
    if options.memory is not None:
        wrong = bool(too_large(readers[0].command, options.memory.resolve())) or wrong
    answered = [asked(readers[0].command, each.resolve()) for each in options.questions]
    return int(wrong or not all(answered))


if __name__ == "__main__":
    raise SystemExit(main())
