"""The programs under comparison: how each is run offline, and how its totals are read."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .truth import Tally, Truth

Totals = dict[str, dict[str, int]]  # model without its date -> column of a tally -> tokens
Columns = dict[str, tuple[str, ...]]  # column of a tally -> fields of an answer that add up to it
# Nothing may leave the machine: what asks for a price list meets a closed port at once.
CLOSED = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Reader:
    """A program that reads a home folder: `arguments(scratch, warm)` follow its command."""

    name: str
    command: tuple[str, ...]
    arguments: Callable[[Path, bool], list[str]]
    totals: Callable[[bytes], Totals]

    def version(self) -> str:
        answer = subprocess.run(
            [*self.command, "--version"], capture_output=True, text=True, check=False, timeout=60
        )
        found = re.search(r"\d+(\.\d+)+\S*", answer.stdout)
        return found.group() if found else "?"


def undated(model: str) -> str:
    """Cut the date off a model name; some readers do."""
    return re.sub(r"-20\d{6}$", "", model)


def expected(truth: Truth) -> Totals:
    """Return the truth in the shape of a reader's totals."""
    return {undated(model): vars(tally).copy() for model, tally in truth.models.items()}


def differences(stated: Totals, true: Totals) -> list[str]:
    """Describe where a reader departs from the truth, in the columns that it states."""
    columns = {column for row in stated.values() for column in row}
    found = []
    for model in sorted(stated.keys() | true.keys()):
        for column in sorted(columns):
            got = stated.get(model, {}).get(column, 0)
            want = true.get(model, {}).get(column, 0)
            if got != want:
                found.append(f"{model} {column}: {got:,} instead of {want:,} ({got - want:+,})")
    return found


def environment(home: Path, scratch: Path) -> dict[str, str]:
    """Return the surroundings of a run: logs from `home`, every cache and setting in `scratch`."""
    kept = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), CLOSED)
    folders = {
        f"XDG_{name}_HOME": str(scratch / name) for name in ("CACHE", "CONFIG", "DATA", "STATE")
    }
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        **proxies,
        **folders,
        "HOME": str(home),
        "TZ": "UTC",
        "NO_COLOR": "1",
        "TOKSCALE_CONFIG_DIR": str(scratch / "tokscale"),
        "TOKSCALE_PRICING_CACHE_ONLY": "1",
    }


def _gather(rows: list[dict[str, Any]], model: str, columns: Columns) -> Totals:
    """Add up rows by model; `columns` says which fields of a row make up a column."""
    totals: Totals = defaultdict(lambda: dict.fromkeys(columns, 0))
    for row in rows:
        for column, names in columns.items():
            totals[undated(str(row[model]))][column] += sum(row[name] or 0 for name in names)
    return dict(totals)


TALLYBOOK_COLUMNS: Columns = {column.name: (column.name,) for column in fields(Tally)}
CCUSAGE_COLUMNS: Columns = {
    "uncached_input_tokens": ("inputTokens",),
    "cached_input_tokens": ("cacheReadTokens",),
    "cache_creation_input_tokens": ("cacheCreationTokens",),
    "output_tokens": ("outputTokens",),
}
TOKSCALE_COLUMNS: Columns = {
    "calls": ("messageCount",),
    "uncached_input_tokens": ("input",),
    "cached_input_tokens": ("cacheRead",),
    "cache_creation_input_tokens": ("cacheWrite",),
    # It takes reasoning out of output; every other reader has it within.
    "output_tokens": ("output", "reasoning"),
    "reasoning_output_tokens": ("reasoning",),
}


def _tallybook_totals(stdout: bytes) -> Totals:
    """Without the compactions, which are calls of unknown counts: the others pass them over."""
    rows = json.loads(stdout)["rows"]
    for row in rows:
        row["calls"] -= row["unknown"].get("output_tokens", 0)
    return _gather(rows, "model", TALLYBOOK_COLUMNS)


def _ccusage_totals(stdout: bytes) -> Totals:
    days = json.loads(stdout)["daily"]
    rows = [row for day in days for row in day["modelBreakdowns"]]
    return _gather(rows, "modelName", CCUSAGE_COLUMNS)


def _tokscale_totals(stdout: bytes) -> Totals:
    return _gather(json.loads(stdout)["entries"], "model", TOKSCALE_COLUMNS)


def _tallybook_arguments(scratch: Path, warm: bool) -> list[str]:
    ledger = ["--ledger", str(scratch / "ledger")] if warm else ["--no-ledger"]
    return ["usage-report", *ledger, "--json"]


def _tallybook_command(given: str | None) -> tuple[str, ...]:
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join((beside, os.environ.get("PATH", "")))
    found = given or shutil.which("tallybook", path=path)
    return (found,) if found else (sys.executable, "-m", "tallybook")


def _installed(name: str) -> str | None:
    """The program on PATH, else the native one of a package in `node_modules` here or in NODE_PATH.

    Measured without the launcher in front of it, which is the faster way to run it.
    """
    if found := shutil.which(name):
        return found
    folders = [*os.environ.get("NODE_PATH", "").split(os.pathsep), "node_modules"]
    for folder in filter(None, folders):
        for path in sorted(Path(folder).glob(f"@*/*/bin/{name}")):
            if os.access(path, os.X_OK):
                return str(path)
    return None


def find_readers(tallybook: str | None, ccusage: str | None, tokscale: str | None) -> list[Reader]:
    """Return tallybook and those of the others that are installed or named by path."""
    readers = [
        Reader("tallybook", _tallybook_command(tallybook), _tallybook_arguments, _tallybook_totals)
    ]
    if found := ccusage or _installed("ccusage"):
        arguments = ["daily", "--offline", "--json"]
        readers.append(Reader("ccusage", (found,), lambda *_: arguments, _ccusage_totals))
    if found := tokscale or _installed("tokscale"):
        options = ["models", "--json", "--no-spinner"]
        readers.append(Reader("tokscale", (found,), lambda *_: options, _tokscale_totals))
    return readers
