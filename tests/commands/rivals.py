"""What another tool or a provider would say of generated logs: the truth, or with a known fault.

Nothing here reads or prices as tallybook does: lines are taken from the logs as they stand, prices
are those of the makers' lists on the days of the corpus.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from tests.bench.corpus import Plan, build

# Dollars per million: uncached, cached, written for five minutes and an hour, output.
PRICES = {
    "gpt-5.1-codex": (1.25, 0.125, 0, 0, 10),
    "gpt-5.1-codex-mini": (0.25, 0.025, 0, 0, 2),
    "gpt-5.2-codex": (1.75, 0.175, 0, 0, 14),
    "gpt-5.3-codex": (1.75, 0.175, 0, 0, 14),
    "gpt-5.4": (2.5, 0.25, 0, 0, 15),
    "claude-opus-4-5-20251101": (5, 0.5, 6.25, 10, 25),
    "claude-sonnet-4-5-20250929": (3, 0.3, 3.75, 6, 15),
    "claude-haiku-4-5-20251001": (1, 0.1, 1.25, 2, 5),
}
LONG_PROMPT = 272_000  # of gpt-5.4: beyond it the prompt costs twice, the output half more


@dataclass(frozen=True)
class Line:
    """A statement of counts in a log, as it stands there."""

    call: str
    path: str
    source: str
    at: datetime
    model: str
    uncached: int
    cached: int
    written: int
    hour: int  # of `written`, what lives for an hour
    output: int
    reasoning: int
    final: bool = True  # whether the log ever has the true output

    @property
    def tokens(self) -> int:
        return self.uncached + self.cached + self.written + self.output


def cost(line: Line, *, tiers: bool = True, lifetimes: bool = True) -> float:
    """Dollars by the list; without tiers of long prompts, or with all writes for five minutes."""
    uncached, cached, written, hour, output = map(float, PRICES[line.model])
    times = 1.0
    if line.model == "gpt-5.4" and line.uncached + line.cached > LONG_PROMPT and tiers:
        times, output = 2.0, output * 1.5
    long = line.hour if lifetimes else 0
    prompt = line.uncached * uncached + line.cached * cached + (line.written - long) * written
    return (times * (prompt + long * hour) + line.output * output) / 1e6


def make(home: Path, seed: int = 3) -> None:
    """Logs of all kinds that a fault needs: copies, long prompts, counts that never came."""
    build(home, Plan(megabytes=3, seed=seed, files=60))
    (home / "truth.json").unlink()
    _long_prompts(home / ".codex" / "sessions" / "2026" / "04" / "11")
    _placeholders(home / ".claude" / "projects" / "-home-dev-project-99")


def _long_prompts(folder: Path) -> None:
    thread = "019d7a00-0000-7000-8000-00000000abcd"
    folder.mkdir(parents=True, exist_ok=True)
    head = {"id": thread, "timestamp": "2026-04-11T09:00:00.000Z", "cwd": "/home/dev/project-99"}
    head |= {"originator": "codex_cli_rs", "cli_version": "0.130.0", "model_provider": "openai"}
    lines: list[tuple[str, Any]] = [("session_meta", head | {"source": "cli"})]
    lines.append(("turn_context", {"model": "gpt-5.4", "cwd": "/home/dev/project-99"}))
    total = dict.fromkeys(("input_tokens", "cached_input_tokens", "output_tokens"), 0)
    for prompt, cached, output in ((60_000, 0, 800), (290_000, 59_904, 700), (310_000, 0, 900)):
        last = {"input_tokens": prompt, "cached_input_tokens": cached, "output_tokens": output}
        total = {name: total[name] + last[name] for name in total}
        more = {"reasoning_output_tokens": 0}
        usages = [each | more | {"total_tokens": each["input_tokens"] + each["output_tokens"]}
                  for each in (total, last)]  # fmt: skip
        names = ("total_token_usage", "last_token_usage")
        info = dict(zip(names, usages, strict=True))
        lines.append(("event_msg", {"type": "token_count", "info": info}))
    text = [
        json.dumps({"timestamp": f"2026-04-11T09:{n:02d}:00.000Z", "type": kind, "payload": body})
        for n, (kind, body) in enumerate(lines)
    ]
    path = folder / f"rollout-2026-04-11T09-00-00-{thread}.jsonl"
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def _placeholders(folder: Path) -> None:
    """Answers of which the log has the first line alone: the provider counted 600 each."""
    folder.mkdir(parents=True, exist_ok=True)
    session = "5e551011-0000-4000-8000-000000000099"
    made = []
    for n in range(8):
        usage: dict[str, Any] = {
            "input_tokens": 5,
            "cache_creation_input_tokens": 900 + n,
            "output_tokens": 3,
        }
        usage |= {"cache_read_input_tokens": 21_000}
        message: dict[str, Any] = {
            "model": "claude-haiku-4-5-20251001",
            "id": f"msg_01first{n}",
            "type": "message",
        }
        message |= {"role": "assistant", "stop_reason": None, "usage": usage}
        message |= {"content": [{"type": "text", "text": "so"}]}
        line: dict[str, Any] = {
            "parentUuid": None,
            "isSidechain": False,
            "cwd": "/home/dev/project-99",
        }
        line |= {"sessionId": session, "version": "2.0.70", "type": "assistant", "uuid": f"u{n}"}
        line |= {"timestamp": f"2026-02-2{n}T10:00:00.000Z", "requestId": f"req_011{n}"}
        made.append(json.dumps(line | {"message": message}))
    (folder / f"{session}.jsonl").write_text("\n".join(made) + "\n", encoding="utf-8")


def lines(home: Path) -> list[Line]:
    """Every statement of counts in the logs, in the order of the files and lines."""
    found = list(_transcripts(home)) + list(_rollouts(home))
    assert found
    return found


def _records(home: Path, pattern: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(home.glob(pattern)):
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield str(path), json.loads(line)


def _transcripts(home: Path) -> Iterator[Line]:
    for path, record in _records(home, ".claude/projects/**/*.jsonl"):
        if record["type"] != "assistant":
            continue
        message, usage = record["message"], record["message"]["usage"]
        yield Line(
            call=message["id"],
            path=path,
            source="claude-code",
            at=datetime.fromisoformat(record["timestamp"]),
            model=message["model"],
            uncached=usage["input_tokens"],
            cached=usage["cache_read_input_tokens"],
            written=usage["cache_creation_input_tokens"],
            hour=usage.get("cache_creation", {}).get("ephemeral_1h_input_tokens", 0),
            output=usage["output_tokens"],
            reasoning=0,
            final="first" not in message["id"],
        )


def _rollouts(home: Path) -> Iterator[Line]:
    model = ""
    for path, record in _records(home, ".codex/**/*.jsonl"):
        payload = record["payload"]
        if record["type"] == "turn_context":
            model = payload["model"]
        if not payload.get("info"):
            continue
        total, usage = (payload["info"][f"{name}_token_usage"] for name in ("total", "last"))
        yield Line(
            call=json.dumps(total),
            path=path,
            source="codex",
            at=datetime.fromisoformat(record["timestamp"]),
            model=model,
            uncached=usage["input_tokens"] - usage["cached_input_tokens"],
            cached=usage["cached_input_tokens"],
            written=0,
            hour=0,
            output=usage["output_tokens"],
            reasoning=usage["reasoning_output_tokens"],
        )


def calls(stated: Iterable[Line]) -> list[Line]:
    """Each call once: at the time of its first statement, with the output of its last."""
    return _once(stated, lambda found: max(found, key=lambda line: line.output))


def first_counts(stated: Iterable[Line]) -> list[Line]:
    """Each call once, with the count that its answer began with."""
    return _once(stated, lambda found: found[0])


def _once(stated: Iterable[Line], best: Callable[[Sequence[Line]], Line]) -> list[Line]:
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in stated:
        groups[line.call].append(line)
    made = []
    for found in groups.values():
        # Copies in another file come later, or at the same time.
        own = min(found, key=lambda line: (line.at, line.path)).path
        held = [line for line in found if line.path == own]
        made.append(replace(best(held), at=held[-1].at))
    return made


# ---- what is said of them


@dataclass(frozen=True)
class Said:
    """What is said of one day and model, in disjoint counts."""

    day: str
    model: str
    source: str
    uncached: int
    cached: int
    written: int
    output: int
    reasoning: int
    cost: float


def said(
    counted: Iterable[Line], zone: tzinfo = UTC, price: Callable[[Line], float] = cost
) -> list[Said]:
    """Sums by day and model."""
    sums: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0] * 6)
    for line in counted:
        key = (line.at.astimezone(zone).date().isoformat(), line.model, line.source)
        parts = (line.uncached, line.cached, line.written, line.output, line.reasoning)
        for n, value in enumerate((*parts, price(line))):
            sums[key][n] += value
    return [said_of(key, parts) for key, parts in sorted(sums.items())]


def said_of(key: tuple[str, str, str], sums: Sequence[float]) -> Said:
    """A day, model and source with the sums of `Said`, in its order."""
    uncached, cached, written, output, reasoning = map(int, sums[:5])
    return Said(*key, uncached, cached, written, output, reasoning, sums[5])


def as_ccusage(rows: Iterable[Said]) -> str:
    """`ccusage daily --json`, as version 20 writes it."""
    days: dict[str, list[Said]] = defaultdict(list)
    for row in rows:
        days[row.day].append(row)
    agents = {"claude-code": "claude", "codex": "codex"}
    daily = [
        {
            "period": day,
            "agent": "all",
            "metadata": {"agents": sorted({agents[row.source] for row in found})},
            "modelBreakdowns": [
                {
                    "modelName": row.model,
                    "inputTokens": row.uncached,
                    "cacheReadTokens": row.cached,
                    "cacheCreationTokens": row.written,
                    "outputTokens": row.output,
                    "cost": row.cost,
                }
                for row in found
            ],
        }
        for day, found in days.items()
    ]
    return json.dumps({"daily": daily, "totals": {}})


def as_openai_usage(rows: Iterable[Said]) -> str:
    """The usage of completions, as the dashboard of OpenAI exports it."""
    head = "start_time,end_time,start_time_iso,num_model_requests,model,input_tokens,output_tokens,"
    head += "input_cached_tokens,input_uncached_tokens"
    made = [
        f"{_seconds(row.day)},{_seconds(row.day) + 86_400},{row.day}T00:00:00+00:00,1.0,"
        f"{row.model},{row.uncached + row.cached}.0,{row.output}.0,{row.cached}.0,{row.uncached}.0"
        for row in rows
        if row.source == "codex"
    ]
    return "\n".join([head, *made]) + "\n"


def _seconds(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def parts(line: Line) -> dict[str, tuple[int, float]]:
    """Tokens and dollars of a line by the words of OpenAI's costs."""
    uncached, cached, _, _, output = map(float, PRICES[line.model])
    times, more = 1.0, 1.0
    if line.model == "gpt-5.4" and line.uncached + line.cached > LONG_PROMPT:
        times, more = 2.0, 1.5
    tokens = {"input": line.uncached, "cached input": line.cached, "output": line.output}
    prices = {"input": times * uncached, "cached input": times * cached, "output": more * output}
    return {kind: (count, count * prices[kind] / 1e6) for kind, count in tokens.items()}


def as_openai_costs(
    counted: Iterable[Line],
    price: Callable[[str], float | None] = lambda _: 1,
    *,
    quantities: bool = False,
) -> str:
    """The costs as OpenAI's API groups them by line item; a kind is `price` times the list's."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for line in counted:
        if line.source != "codex":
            continue
        for kind, (tokens, dollars) in parts(line).items():
            times = 1 if price(kind) is None else price(kind) or 0
            of = sums[line.at.date().isoformat(), f"{line.model}, {kind}"]
            of[0] += tokens
            of[1] += dollars * times
    buckets = [
        {
            "object": "bucket",
            "start_time": _seconds(day),
            "end_time": _seconds(day) + 86_400,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": dollars, "currency": "usd"},
                    "line_item": item,
                    "quantity": tokens if quantities else None,
                }
            ],
        }
        for (day, item), (tokens, dollars) in sorted(sums.items())
    ]
    return json.dumps({"object": "page", "data": buckets, "has_more": False})


def as_anthropic_usage(rows: Iterable[Said]) -> str:
    """The usage of messages, as the API of Anthropic reports it."""
    buckets = [
        {
            "starting_at": f"{row.day}T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": row.uncached,
                    "cache_read_input_tokens": row.cached,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": row.written,
                        "ephemeral_1h_input_tokens": 0,
                    },
                    "output_tokens": row.output,
                    "model": row.model,
                }
            ],
        }
        for row in rows
        if row.source == "claude-code"
    ]
    return json.dumps({"data": buckets, "has_more": False})


def as_anthropic_costs(rows: Iterable[Said]) -> str:
    """The costs, as the API of Anthropic reports them: in cents."""
    buckets = [
        {
            "starting_at": f"{row.day}T00:00:00Z",
            "results": [{"currency": "USD", "amount": f"{row.cost * 100:.9f}", "model": row.model}],
        }
        for row in rows
        if row.source == "claude-code"
    ]
    return json.dumps({"data": buckets, "has_more": False})
