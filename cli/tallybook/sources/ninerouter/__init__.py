"""9router: its usage history and request details, in every storage it has had.

The source is named as the tool; a module's name cannot begin with a digit.
"""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Later, Location, Source
from tallybook.values import names_in

__all__ = ["SOURCE", "STREAM", "WHOLE"]

# Captures of answers, a file each in a folder that is named by the time of its request.
STREAM: Final = "5_res_provider.txt"
WHOLE: Final = "5_res_provider.json"

SOURCE: Final = Source(
    name="9router",
    title="9router",
    locations=(Location(None, ("~/.9router", "~/AppData/Roaming/9router")),),
    patterns=(
        *names_in(
            "data*.sqlite usage*.sqlite request-details*.sqlite usage.json request-details.json"
        ),
        STREAM,
        WHOLE,
    ),
    owns=(STREAM, WHOLE),
    own_ids=("usage.json", "request-details.json"),
    sniff=Later("tallybook.sources.ninerouter.sniff", "sniff"),
    begin=Later("tallybook.sources.ninerouter.documents", "begin"),
    read=Later("tallybook.sources.ninerouter.documents", "read"),
    finish=Later("tallybook.sources.ninerouter.documents", "finish"),
    # Settings and their secrets, the log for the eye, and the requests as they came in.
    ignores=names_in(
        "db.json log.txt disabledModels.json [1-4]_re[qs]_*.json [67]_*.json [67]_*.txt"
    ),
    whole=lambda _: True,
    lists=("history", "records"),
    tables=(
        ("", ("usageHistory", "usage", "usage_history")),
        ("tokens", ("requestDetails", "request_details")),
        ("providerResponse", ("requestDetails", "request_details")),
        ("day", ("usageDaily",)),
    ),
    false_zeros=True,
    prompt_surplus=2000,
    began=(r"_(\d{8}_\d{6}_\d{3})[/\\]5_res_provider\.", "%Y%m%d_%H%M%S_%3f"),
    accompanied=("request-details.json", "request-details.sqlite", "data.sqlite"),
    neighbour=Later("tallybook.sources.ninerouter.sniff", "neighbour"),
    neighbour_bytes=32 << 20,
    copies=Later("tallybook.sources.ninerouter.sniff", "copies"),
    glance=Later("tallybook.sources.ninerouter.builds", "glance"),
    recognise=Later("tallybook.sources.ninerouter.sniff", "recognise"),
    query=Later("tallybook.sources.ninerouter.database", "query"),
)
