"""Responses of providers as they came: saved bodies, dumps of a proxy, streams, batch results."""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Source
from tallybook.sources.responses.reader import begin, finish, read
from tallybook.sources.responses.sniff import is_document, sniff

__all__ = ["SOURCE"]

SOURCE: Final = Source(
    name="responses",
    title="Provider responses, streams and batch results",
    locations=(),
    patterns=("*.jsonl", "*.json", "*.ndjson", "*.sse", "*.txt"),
    quiet=("*.txt",),
    sniff=sniff,
    begin=begin,
    read=read,
    finish=finish,
    whole=is_document,
    holds=("parts",),
    has_pictures=True,
)
