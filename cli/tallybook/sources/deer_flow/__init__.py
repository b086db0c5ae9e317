"""DeerFlow: its database of runs and events, its event files, its checkpoints and its log.

The spans of Monocle, an opt-in, are not read: they repeat the calls of the events without their
caches, and nothing in them leads to a run. Nor are the log's lines per call, which name neither
model nor run.
"""

from __future__ import annotations

from tallybook.sources.contract import Later, Location, Source

SOURCE = Source(
    name="deer-flow",
    title="DeerFlow",
    locations=(
        Location("DEER_FLOW_HOME", ("~/deer-flow/backend/.deer-flow", "~/.deer-flow")),
        Location(None, ("~/deer-flow/logs",)),
    ),
    patterns=("deerflow.db", "app.db", "checkpoints.db", "*.jsonl", "gateway.log"),
    sniff=Later("tallybook.sources.deer_flow.sniff", "sniff"),
    begin=Later("tallybook.sources.deer_flow.reader", "begin"),
    read=Later("tallybook.sources.deer_flow.reader", "read"),
    finish=Later("tallybook.sources.deer_flow.reader", "finish"),
    # What agents work on is no log, whatever it is called.
    ignores=("threads/*/user-data/*",),
    keeps_events=True,
    recognise=Later("tallybook.sources.deer_flow.sniff", "recognise"),
    unpack=Later("tallybook.sources.deer_flow.checkpoints", "unpack"),
    query=Later("tallybook.sources.deer_flow.database", "query"),
)
