"""Recognises the files of 9router by their first bytes."""

from __future__ import annotations

import re
from typing import Final

from tallybook.sources.lines import Head

_EMPTY: Final = re.compile(rb'\A\s*\{\s*"(?:history|records)"\s*:\s*\[\s*\]\s*\}\s*\Z')
_USAGE: Final = re.compile(
    rb'\A\s*\{\s*(?:"totalRequestsLifetime"\s*:\s*\d+\s*,\s*)?"history"\s*:\s*\[\s*(?:\{|\])'
)
_DETAILS: Final = re.compile(rb'\A\s*\{\s*"records"\s*:\s*\[\s*\{')
# Keys that no other log has together.
_OF_USAGE: Final = re.compile(rb'"(?:totalRequestsLifetime|dailySummary)"\s*:')
_OF_ROWS: Final = re.compile(rb'"tokens"\s*:\s*\{')
_OF_DETAILS: Final = re.compile(rb'"latency"\s*:\s*\{\s*"ttft"\s*:')


def sniff(head: Head) -> bool:
    """Whether a file that begins so is one of 9router's JSON documents."""
    content = head.content
    if _EMPTY.match(content):
        return True
    if _DETAILS.match(content):
        return _OF_DETAILS.search(content) is not None
    if _USAGE.match(content):
        in_rows = _OF_ROWS.search(content) is not None and b'"timestamp"' in content
        return in_rows or _OF_USAGE.search(content) is not None
    return False
