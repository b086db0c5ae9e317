"""How each provider counts: raw usage objects to counts, and which count lies inside which.

`read_usage` reads a usage object, `find_usage` finds one in a whole response together with the
model, ids, tier and time, `merge_stream` makes a whole response of a stream's events, `restated`
one usage object of an earlier and a later one. `left_out` gives the calls within an answer that
its usage does not count.
"""

from __future__ import annotations

from tallybook.dialects.containment import DIALECTS
from tallybook.dialects.responses import Response, find_usage
from tallybook.dialects.streams import merge_stream, restated, stream_events
from tallybook.dialects.usage import (
    Iteration,
    Usage,
    fallback_model,
    left_out,
    put_usage,
    read_usage,
)

__all__ = [
    "DIALECTS",
    "Iteration",
    "Response",
    "Usage",
    "fallback_model",
    "find_usage",
    "left_out",
    "merge_stream",
    "put_usage",
    "read_usage",
    "restated",
    "stream_events",
]
