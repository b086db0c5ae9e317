"""Puts the counts of a call or a rollout on its row, and names the rule that reads them.

The program subtracts cache reads from the prompt before it writes, cache writes stay in it. Where
the provider did not state its cache reads there was nothing to subtract, and the prompt is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, Literal

from tallybook.schema import Reported
from tallybook.sources.verifiers.records import Usage
from tallybook.sources.verifiers.run import Run
from tallybook.sources.verifiers.values import is_claude
from tallybook.values import count, money

# What a request went through, as far as it decides how its counts are to be read.
Api = Literal["openai", "messages", "unknown"]

WHOLE_PROMPT: Final = "openai"  # the dialect of a prompt that nothing was taken from
READS_OUTSIDE: Final = "reads-outside"
WRITES_HIDDEN: Final = "writes-hidden"
ANTHROPIC: Final = "anthropic"
INPUT: Final = "input"

# (api, whether cache reads are stated) -> (dialect, how that reading is called)
_READINGS: Final = {
    ("openai", True): (READS_OUTSIDE, "reads-outside"),
    ("openai", False): (WHOLE_PROMPT, "reads-unstated"),
    # Anthropic's cache writes were added to its input, and nothing tells them apart again.
    ("messages", True): (WRITES_HIDDEN, "writes-hidden"),
    ("messages", False): (WRITES_HIDDEN, "writes-hidden"),
    ("unknown", True): (WRITES_HIDDEN, "api-unstated"),
    ("unknown", False): (WHOLE_PROMPT, "reads-unstated"),
}


def api_of(endpoint: str | None, model: str | None) -> Api:
    """How a call was made: by its endpoint, else by whose model answered."""
    if endpoint is not None:
        return "messages" if endpoint.endswith("/messages") else "openai"
    if model is None:
        return "unknown"
    return "messages" if is_claude(model) else "openai"


def put_usage(row: Reported, usage: Usage, era: str, api: Api) -> None:
    """Put the counts of one call on its row."""
    problems: list[str] = []
    row.reported_input_tokens = count(usage.prompt_tokens, problems)
    row.reported_cached_tokens = count(usage.cached_input_tokens, problems)
    row.reported_output_tokens = count(usage.completion_tokens, problems)
    row.reported_reasoning_tokens = count(usage.reasoning_tokens, problems)
    if usage.cost is not None:
        row.reported_cost_usd = money(usage.cost, problems)
    row.dialect, row.rule = _reading(era, api, usage.cached_input_tokens is not None)
    if problems:
        add_problems(row, problems)


@cache
def _reading(era: str, api: Api, has_reads: bool) -> tuple[str, str]:
    dialect, reading = _READINGS[api, has_reads]
    return dialect, f"{era}/{reading}"


def put_bridged(row: Reported, usage: Usage, era: str, run: Run) -> None:
    """Put the counts of a call that the older generation made for the newer one.

    It never had a place for cache reads, and wrote 0 for reasoning that it did not count.
    """
    put_usage(row, usage, era, "openai")
    if usage.cached_input_tokens is None:
        put_dialect(row, f"{era}/bridged", run, None)
    row.reported_reasoning_tokens = row.reported_reasoning_tokens or None


def put_dialect(row: Reported, rule: str, run: Run, response_id: str | None) -> None:
    """Say how counts of the older generation are to be read: it states an input and an output.

    Through OpenAI's protocol the input is the whole prompt. Its client for Anthropic kept what
    Anthropic calls input and dropped cache reads and writes, so that is a part of the prompt only.
    """
    row.dialect, row.rule = WHOLE_PROMPT, f"{rule}/openai"
    if run.is_openai_only:
        return
    if run.provider == ANTHROPIC or (response_id or "").startswith("msg_"):
        row.dialect, row.rule = ANTHROPIC, f"{rule}/anthropic"
    elif is_claude(row.model) and response_id is None:
        if not run.has_endpoint:
            row.rule = f"{rule}/ambiguous"
            add_problems(row, ("ambiguous-dialect",))
        else:
            # A gateway: most speak OpenAI's protocol, some Anthropic's as well.
            row.assumed = [INPUT]


def put_no_counts(row: Reported, era: str) -> None:
    """Say that a request was made, and that its counts were not written down."""
    row.rule = f"{era}/no-usage"
    add_problems(row, ("no-counts",))


def add_problems(row: Reported, problems: Sequence[str]) -> None:
    """Add to the problems of a row, each once and in a fixed order."""
    if problems:
        row.problems = sorted({*(row.problems or ()), *problems})
