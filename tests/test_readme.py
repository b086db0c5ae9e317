"""What the README claims: its table of sources, and the figures of the demo home."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.derive.chain import derive
from tallybook.files.find import walk
from tallybook.sources import sources
from tests.rows_of_files import read_files

ROOT = Path(__file__).parent.parent
BUCKETS = ("uncached_input_tokens", "cached_input_tokens", "output_tokens")


def table_of_sources() -> str:
    lines = ["| source | reads | looked for in |", "|---|---|---|"]
    for source in sources().values():
        places = [
            f"`{root.rstrip('/')}/{folder}`" if folder else f"`{root}`"
            for location in source.locations
            for root in (*([f"${location.variable}"] if location.variable else []), *location.roots)
            for folder in location.folders or ("",)
        ]
        lines.append(f"| `{source.name}` | {source.title} | {', '.join(places) or 'given paths'} |")
    return "\n".join(lines)


def test_the_table_of_sources_is_the_code_s() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme.split("<!-- sources -->\n")[1].split("\n<!-- end of sources -->")[0]
    assert shown == table_of_sources()


@pytest.fixture(scope="module")
def demo() -> pl.DataFrame:
    rows = derive(read_files(walk([ROOT / "fixtures" / "demo"]).files), None)
    return rows.filter(pl.col("duplicate_of").is_null(), pl.col("kind") == "call")


@pytest.mark.parametrize(("key", "column"), [("models", "model"), ("threads", "thread_id")])
def test_the_demo_adds_up_to_the_figures_worked_out_by_hand(
    demo: pl.DataFrame, key: str, column: str
) -> None:
    want: dict[str, dict[str, Any]] = json.loads(
        (ROOT / "fixtures" / "demo-expected.json").read_text("utf-8")
    )[key]
    got = {
        name: {"calls": group["calls"].sum(), **{b: group[b].sum() for b in BUCKETS}}
        for (name,), group in demo.group_by(column)
    }
    assert got == {
        name: {"calls": row["calls"], **{b: row[b] for b in BUCKETS}} for name, row in want.items()
    }


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HOME", str(tmp_path))
    (block,) = blocks("python")
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - our own README
    assert names["dear"].height > 0
    assert names["by_model"]["calls"].sum() == names["calls"].collect().height
    assert str(names["own"]["cost_usd"][0]) == "14.000000000000000"


def test_its_commands_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In their order: some need what an earlier one has left in the ledger."""
    shutil.copytree(ROOT / "fixtures" / "demo", tmp_path / "LOGS")
    shutil.copytree(ROOT / "fixtures" / "demo", tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines]
    for program, *arguments in filter(None, commands):
        if program == "tallybook" and arguments[:1] != ["reconcile"]:  # needs another tool's file
            done = CliRunner().invoke(app, arguments)
            assert done.exit_code == 0, f"{arguments}: {done.stderr}"
