"""9router: its usage history and request details, in every storage it has had.

The source is named as the tool; a module's name cannot begin with a digit.
"""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Location, Source
from tallybook.sources.ninerouter.captures import STREAM, WHOLE
from tallybook.sources.ninerouter.database import query, recognise
from tallybook.sources.ninerouter.documents import begin, finish, read
from tallybook.sources.ninerouter.sniff import sniff

__all__ = ["SOURCE"]

SOURCE: Final = Source(
    name="9router",
    title="9router",
    locations=(Location(None, ("~/.9router", "~/AppData/Roaming/9router")),),
    patterns=(
        "data*.sqlite",
        "usage*.sqlite",
        "request-details*.sqlite",
        "usage.json",
        "request-details.json",
        STREAM,
        WHOLE,
    ),
    owns=(STREAM, WHOLE),
    sniff=sniff,
    begin=begin,
    read=read,
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
    whole=lambda _: True,
    recognise=recognise,
    query=query,
)
