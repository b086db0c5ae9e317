"""How each provider counts: raw usage objects to counts, and which count lies inside which.

`read_usage` reads a usage object, `find_usage` finds one in a whole response together with the
model, ids, tier and time, `merge_stream` makes a whole response of a stream's events.
"""

from __future__ import annotations

from tallybook.dialects.bodies import Response, find_usage
from tallybook.dialects.containment import DIALECTS, Dialect
from tallybook.dialects.streams import merge_stream, stream_events
from tallybook.dialects.usage import Usage, read_usage, state

__all__ = [
    "DIALECTS",
    "Dialect",
    "Response",
    "Usage",
    "find_usage",
    "merge_stream",
    "read_usage",
    "state",
    "stream_events",
]
