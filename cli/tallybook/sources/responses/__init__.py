"""Responses of providers as they came: saved bodies, dumps of a proxy, streams, batch results."""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Later, Source

SOURCE: Final = Source(
    name="responses",
    title="Provider responses, streams and batch results",
    locations=(),
    patterns=("*.jsonl", "*.json", "*.ndjson", "*.sse", "*.txt"),
    quiet=("*.txt",),
    sniff=Later("tallybook.sources.responses.sniff", "sniff"),
    begin=Later("tallybook.sources.responses.reader", "begin"),
    read=Later("tallybook.sources.responses.reader", "read"),
    finish=Later("tallybook.sources.responses.reader", "finish"),
    whole=Later("tallybook.sources.responses.sniff", "is_document"),
    holds=("parts",),
    has_pictures=True,
)
