"""The corpus is what its truth says, whatever its shape, and the same for a seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .append import append_to
from .corpus import Plan, build
from .truth import Tally, Truth, load_truth

SHAPES = {
    "mixed": Plan(megabytes=3, seed=3, files=60),
    "plain": Plan(megabytes=2, seed=4, files=30, plain=True),
    "many-small": Plan(megabytes=4, seed=5, files=200),
    "single-transcript": Plan(megabytes=2, seed=6, single_file=True),
    "single-rollout": Plan(megabytes=2, seed=6, single_file=True, claude=0),
}


def digests(home: Path) -> dict[str, str]:
    files = sorted(path for path in home.rglob("*") if path.is_file())
    return {str(f.relative_to(home)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def records(home: Path, pattern: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(home.glob(pattern)):
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield path, json.loads(line)


def transcript_calls(home: Path) -> dict[str, tuple[str, Tally]]:
    """Read the largest statement of every response, by its id."""
    calls: dict[str, tuple[str, Tally]] = {}
    for _, record in records(home, ".claude/projects/**/*.jsonl"):
        if record["type"] != "assistant":
            continue
        message, usage = record["message"], record["message"]["usage"]
        if message["id"] in calls:
            usage["output_tokens"] = max(
                usage["output_tokens"], calls[message["id"]][1].output_tokens
            )
        calls[message["id"]] = (
            message["model"],
            Tally(
                calls=1,
                uncached_input_tokens=usage["input_tokens"],
                cached_input_tokens=usage["cache_read_input_tokens"],
                cache_creation_input_tokens=usage["cache_creation_input_tokens"],
                cache_creation_1h_input_tokens=usage["cache_creation"]["ephemeral_1h_input_tokens"],
                output_tokens=usage["output_tokens"],
            ),
        )
    return calls


def rollout_calls(home: Path) -> dict[str, tuple[str, Tally]]:
    """Read every advance of a running total once; no two lineages reach the same total."""
    calls: dict[str, tuple[str, Tally]] = {}
    model = ""
    for _, record in records(home, ".codex/**/*.jsonl"):
        payload = record["payload"]
        if record["type"] == "turn_context":
            model = payload["model"]
        if not payload.get("info"):
            continue
        total, usage = (payload["info"][f"{name}_token_usage"] for name in ("total", "last"))
        call = Tally(
            calls=1,
            uncached_input_tokens=usage["input_tokens"] - usage["cached_input_tokens"],
            cached_input_tokens=usage["cached_input_tokens"],
            output_tokens=usage["output_tokens"],
            reasoning_output_tokens=usage["reasoning_output_tokens"],
        )
        calls.setdefault(json.dumps(total), (model, call))
    return calls


def recount(home: Path) -> dict[str, Tally]:
    truth = Truth()
    for model, call in (*transcript_calls(home).values(), *rollout_calls(home).values()):
        truth.count(model.encode(), call)
    return truth.models


@pytest.mark.parametrize("shape", SHAPES)
def test_truth_is_what_the_logs_add_up_to(shape: str, tmp_path: Path) -> None:
    truth = build(tmp_path, SHAPES[shape])
    assert recount(tmp_path) == truth.models
    assert truth.size == sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl"))
    assert truth.size == pytest.approx(SHAPES[shape].megabytes * 1e6, rel=0.25)


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for home in (first, second):
        append_to(home, build(home, SHAPES["mixed"]), 1.0)
    assert digests(first) == digests(second)


def test_appending_only_adds_to_existing_logs(tmp_path: Path) -> None:
    build(tmp_path, SHAPES["mixed"])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    append_to(tmp_path, load_truth(tmp_path), 1.0)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    assert before.keys() == after.keys()
    assert all(after[path].startswith(text) for path, text in before.items())
    assert sum(map(len, after.values())) > sum(map(len, before.values()))
    assert recount(tmp_path) == load_truth(tmp_path).models


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        build(tmp_path, Plan(megabytes=1))
