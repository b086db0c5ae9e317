"""9router: its usage history and request details, in every storage it has had.

The source is named as the tool; a module's name cannot begin with a digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallybook.sources.contract import Location, Source
from tallybook.sources.ninerouter.documents import State, begin, finish, read_document
from tallybook.sources.ninerouter.shape import sniff, whole
from tallybook.sources.ninerouter.store import query, recognise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SOURCE"]


def _read(block: bytes, state: State) -> tuple[pa.Table, State]:
    return read_document(block, is_copy=state.is_copy), State(state.is_copy, is_read=True)


SOURCE: Final = Source(
    name="9router",
    title="9router",
    version=1,
    locations=(Location(None, ("~/.9router", "~/AppData/Roaming/9router")),),
    patterns=(
        "data*.sqlite",
        "usage*.sqlite",
        "request-details*.sqlite",
        "usage.json",
        "request-details.json",
    ),
    sniff=sniff,
    begin=begin,
    read=_read,
    finish=finish,
    # Settings and their secrets, the log for the eye, and the requests as they came in.
    ignores=(
        "db.json",
        "log.txt",
        "disabledModels.json",
        "[1-4]_re[qs]_*.json",
        "[67]_*.json",
        "[67]_*.txt",
    ),
    whole=whole,
    recognise=recognise,
    query=query,
)
