"""Recognises saved responses by the first bytes of a file, and no tool's own log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from tallybook.dialects.served import told_by_address
from tallybook.dialects.streams import decode_event, stream_events
from tallybook.sources.lines import ARRAY, Head
from tallybook.sources.responses.exchange import dumped
from tallybook.sources.responses.kinds import is_event, is_invocation, is_refusal, is_response
from tallybook.values import decode, one_by_one

_LOOKED_AT: Final = 20
_STREAM: Final = re.compile(rb"\s*(?:data:|event:|id:|retry:|:)")
_PRETTY: Final = re.compile(rb"\s*\{\s*\n")
# What stands before the content, where the first record is longer than the head.
_CUT: Final = (
    re.compile(rb'"object"\s*:\s*"(?:chat\.completion|text_completion|response)"'),
    re.compile(rb'"type"\s*:\s*"message"\s*,\s*"role"\s*:\s*"assistant"'),
    re.compile(rb'\A[\s\[]*\{\s*"candidates"\s*:\s*\['),
    re.compile(rb'\A[\s\[]*\{\s*"object"\s*:\s*"list"\s*,\s*"data"\s*:\s*\['),
)
_CUT_DUMP: Final = re.compile(
    rb'\A\s*\{\s*"req(?:uest)?"\s*:.{0,2000}?"url"\s*:\s*"([^"\s]+)"', re.DOTALL
)
_NEAR: Final = 1000  # bytes
_BEFORE: Final = re.compile(r"[\s,\[]*(?=\{)")  # what may stand before a value of an array


def sniff(head: Head) -> bool:
    """Whether the first bytes of a file are responses of providers, alone or in a proxy's dump."""
    if _STREAM.match(head.content):
        return any(is_ours(event) for event in islice(stream_events(head.content), _LOOKED_AT))
    ours = others = 0
    for value in islice(_values(head), _LOOKED_AT):
        if isinstance(value, Mapping):
            mine = is_ours(value)
            ours, others = ours + mine, others + (not mine)
        # A log of some tool may quote a response, so most of what is seen has to be one.
        if 2 * others >= _LOOKED_AT:
            return False
    return ours > others if ours or others else _is_ours_cut_off(head.content)


def is_ours(value: Mapping[str, Any]) -> bool:
    """Whether a record is a response, an event of a stream, an error, or a dump of one of these."""
    if any(tells(value) for tells in (is_response, is_event, is_refusal, is_invocation)):
        return True
    found = dumped(value)
    if found is None:
        return False
    # A provider's address and a model tell an exchange even where its body says nothing.
    asks_a_model = found.is_addressed and found.model is not None
    return asks_a_model or is_response(found.body) or is_refusal(found.body)


def _is_ours_cut_off(head: bytes) -> bool:
    """Quotes in strings are escaped, so keys show what they are; those of other tools do too."""
    near = head[:_NEAR]
    if b'"sessionId"' in near or b'"session_id"' in near:
        return False
    dump = _CUT_DUMP.match(head)
    address = dump[1].decode("utf-8", "replace") if dump else None
    return told_by_address(address) is not None or any(cut.search(near) for cut in _CUT)


def is_document(head: Head) -> bool:
    """Whether the file is one JSON value over several lines, or an array, and not lines of JSON."""
    if _STREAM.match(head.content):
        return False
    return any(form.match(head.content) for form in (ARRAY, _PRETTY))


def _values(head: Head) -> Iterator[object]:
    """The values on the first lines, or in the document that the head begins with."""
    if is_document(head):
        yield from values(head.content)
        return
    for line, value in zip(head.lines, head.values(len(head.lines)), strict=False):
        yield decode_event(line) if value is None else value


def values(content: bytes) -> Iterator[object]:
    """The JSON values that a text consists of, those of an array one by one, as far as it goes."""
    whole = decode(content)
    if whole is None:
        yield from one_by_one(content.decode("utf-8", "replace"), _BEFORE)
    else:
        yield from whole if isinstance(whole, list) else [whole]
