"""The words of backfill: how a call was found, why one could not be filled, whose zeros lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tallybook.sources import sources

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

# What a source says of its rows; see `Source`.
FALSE_ZEROS: Final = tuple(name for name, source in sources().items() if source.false_zeros)
BUFFERED: Final[Mapping[str, int]] = {
    name: source.prompt_surplus for name, source in sources().items() if source.prompt_surplus
}
EVENT_SOURCES: Final = tuple(name for name, source in sources().items() if source.keeps_events)
BEGAN: Final = tuple(source.began for source in sources().values() if source.began)
