"""Verifiers: rollouts of evaluations, of the older generation (v0) and the newer (v1)."""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Later, Source

SOURCE: Final = Source(
    name="verifiers",
    title="Verifiers",
    locations=(),  # runs lie below whatever folder the program was started in
    patterns=("*.jsonl", "metadata.json"),
    sniff=Later("tallybook.sources.verifiers.sniff", "sniff"),
    begin=Later("tallybook.sources.verifiers.reader", "begin"),
    read=Later("tallybook.sources.verifiers.reader", "read"),
    finish=Later("tallybook.sources.verifiers.reader", "finish"),
    ignores=(
        *(f"configs/{name}.json" for name in ("debug", "eval", "gepa", "replay", "serve")),
        "configs/resolved/*.json",
        "configs/*.toml",
    ),
    own_ids=("traces.jsonl",),
    accompanied=("results.jsonl", "traces.jsonl"),
    neighbour=Later("tallybook.sources.verifiers.sniff", "neighbours"),
    whole=Later("tallybook.sources.verifiers.sniff", "is_description"),
)
