"""Codex: rollouts of every era, plain or compressed, and saved output of `codex exec --json`."""

from __future__ import annotations

from tallybook.sources.contract import Later, Location, Source

__all__ = ["SOURCE"]

SOURCE = Source(
    name="codex",
    title="Codex",
    locations=(Location("CODEX_HOME", ("~/.codex",), ("sessions", "archived_sessions")),),
    patterns=("*.jsonl", "rollout-*.json"),
    sniff=Later("tallybook.sources.codex.sniff", "sniff"),
    begin=Later("tallybook.sources.codex.reader", "begin"),
    read=Later("tallybook.sources.codex.reader", "read"),
    finish=Later("tallybook.sources.codex.reader", "finish"),
    mark=rb'\{"timestamp": ?"[-\w:.]{1,40}", ?(?:"ordinal": ?\d+, ?)?"type": ?"session_meta", ?'
    rb'"payload": ?\{',
    holds=("document",),
    archives=("archived_",),
    ignores=("history.jsonl", "session_index.jsonl"),
)
