"""The words of backfill: how a call was found, why one could not be filled, whose zeros lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# How the evidence was kept, in the order in which it is believed.
TWIN: Final = "twin"  # a second record of the call, whose counts were not stripped
DETAIL: Final = "detail"  # the counts of a detail record, kept apart from any body
BODY: Final = "response"  # the provider's answer itself
EVENTS: Final = "events"  # the events of a run
METHODS: Final = (TWIN, DETAIL, BODY, EVENTS)

# Why a call keeps what is unknown, the reason nearest to a proof first.
REASONS: Final[Mapping[str, str]] = {
    "ambiguous-match": "several answers fit several calls, and they state different counts",
    "evidence-disagrees": "two records of the same answer state different counts",
    "input-disagrees": "an answer fits but for the prompt that both state",
    "output-disagrees": "an answer fits but for the output that both state",
    "estimated": "the counts of call and answer are estimates of the tool",
    "truncated-body": "the answer was cut before its counts",
    "body-altered": "the counts were taken out of the answer before it was kept",
    "ambiguous-dialect": "nothing proves whether a count holds the cached tokens",
    "response-without-counts": "the answer does not state the counts that are unknown",
    "outside-tolerance": "an answer with these counts lies too far away in time",
    "no-response-kept": "no answer to this call was kept",
}

# Sources that wrote a zero where they had dropped the count, and folded the cache in twice.
FALSE_ZEROS: Final = ("9router",)
# A router that adds to the prompt of the answer it passes on, and keeps the altered answer.
BUFFERED: Final[Mapping[str, int]] = {"9router": 2000}
