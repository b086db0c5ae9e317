"""Codex: rollouts of every era, plain or compressed, and saved output of `codex exec --json`."""

from __future__ import annotations

from tallybook.sources.codex.reader import begin, finish, read
from tallybook.sources.codex.sniff import sniff
from tallybook.sources.contract import Location, Source

__all__ = ["SOURCE"]

SOURCE = Source(
    name="codex",
    title="Codex",
    locations=(Location("CODEX_HOME", ("~/.codex",), ("sessions", "archived_sessions")),),
    patterns=("*.jsonl", "rollout-*.json"),
    sniff=sniff,
    begin=begin,
    read=read,
    finish=finish,
    holds=("document",),
    ignores=("history.jsonl", "session_index.jsonl"),
)
