"""Makes an existing corpus longer, as more work in some of its conversations would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from . import claude_code, codex
from .material import Texts, build_texts
from .sink import Sink
from .truth import Tally, Truth

TAIL_BYTES = 64_000  # a turn closes on short lines, its last counts are among them
HEAD_BYTES = 64_000  # holds the header line of a rollout


def _records(path: Path, *, tail: bool) -> Iterator[dict[str, Any]]:
    """Yield whole records of the file's end, last one first, or of its beginning."""
    with path.open("rb") as file:
        size = path.stat().st_size
        start = max(0, size - TAIL_BYTES) if tail else 0
        file.seek(start)
        lines = file.read(TAIL_BYTES if tail else HEAD_BYTES).split(b"\n")
    whole = lines[bool(start) :] if tail else lines[:-1]
    for line in reversed(whole) if tail else whole:
        if line:
            yield json.loads(line)


def _milliseconds(record: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(record["timestamp"]).timestamp() * 1000)


def resume_session(path: Path) -> claude_code.Session:
    """Read from a transcript's end what it takes to continue it."""
    records = list(_records(path, tail=True))
    answer = next(record for record in records if record.get("type") == "assistant")
    last = next(record for record in records if "uuid" in record)
    usage = answer["message"]["usage"]
    split = usage["cache_creation"]
    return claude_code.Session(
        path=path,
        session_id=path.stem.encode(),
        cwd=answer["cwd"].encode(),
        version=answer["version"].encode(),
        model=answer["message"]["model"].encode(),
        clock=_milliseconds(last),
        last_uuid=last["uuid"].encode(),
        context=usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"],
        one_hour=split["ephemeral_1h_input_tokens"] > 0,
    )


def resume_thread(path: Path, rng: Random) -> codex.Thread:
    """Read from a rollout's two ends what it takes to continue it, under any model."""
    header = next(_records(path, tail=False))["payload"]
    records = list(_records(path, tail=True))
    info = next(
        record["payload"]["info"] for record in records if record["payload"].get("info") is not None
    )
    total, last = info["total_token_usage"], info["last_token_usage"]
    return codex.Thread(
        path=path,
        thread_id=header["id"].encode(),
        cwd=header["cwd"].encode(),
        model=rng.choice(codex.MODELS),
        clock=_milliseconds(records[0]),
        total=Tally(
            uncached_input_tokens=total["input_tokens"] - total["cached_input_tokens"],
            cached_input_tokens=total["cached_input_tokens"],
            output_tokens=total["output_tokens"],
            reasoning_output_tokens=total["reasoning_output_tokens"],
        ),
        context=last["total_tokens"],
        cached=last["input_tokens"] // 128 * 128,
    )


def _continue(path: Path, rng: Random, texts: Texts, truth: Truth, target: int) -> None:
    bodies = texts.upto(target)
    with Sink(path, truth, append=True) as sink:
        if path.name.startswith("rollout-"):
            thread = resume_thread(path, rng)
            codex.Writer(rng, texts, truth, sink, thread, bodies).turn(target)
        else:
            session = resume_session(path)
            claude_code.Writer(rng, texts, truth, sink, session, bodies).turn(target)


def append_to(home: Path, truth: Truth, percent: float) -> Truth:
    """Append turns to conversations drawn by seed until the corpus has grown by `percent`.

    Sub-agents and archived threads stay as they are: nobody continues them. The same corpus
    grows by the same bytes.
    """
    truth.appends += 1
    seed = truth.options["seed"]
    rng = Random(f"{seed}/append/{truth.appends}")
    texts = build_texts(seed)
    paths = sorted(home.glob(".claude/projects/*/*.jsonl"))
    paths += sorted(home.glob(".codex/sessions/*/*/*/*.jsonl"))
    rng.shuffle(paths)
    wanted = truth.size + int(truth.size * percent / 100)
    at = 0
    while truth.size < wanted and paths:
        _continue(paths[at % len(paths)], rng, texts, truth, wanted - truth.size)
        at += 1
    truth.save(home)
    return truth
