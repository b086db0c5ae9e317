"""Verifiers: rollouts of evaluations, of the older generation (v0) and the newer (v1)."""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Source
from tallybook.sources.verifiers.reader import begin, finish, read
from tallybook.sources.verifiers.run import neighbours
from tallybook.sources.verifiers.sniff import is_description, sniff

__all__ = ["SOURCE"]

SOURCE: Final = Source(
    name="verifiers",
    title="Verifiers",
    locations=(),  # runs lie below whatever folder the program was started in
    patterns=("*.jsonl", "metadata.json"),
    sniff=sniff,
    begin=begin,
    read=read,
    finish=finish,
    ignores=tuple(f"configs/{name}.json" for name in ("debug", "eval", "gepa", "replay", "serve")),
    neighbour=neighbours,
    whole=is_description,
)
