"""Symphony, OpenAI's and Automattic's: audit logs, run stores, exports, ledgers and their logs."""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Later, Location, Source
from tallybook.values import names_in

SOURCE: Final = Source(
    name="symphony",
    title="Symphony",
    locations=(
        Location("SYMPHONY_LOGS_ROOT", ("~/Library/Logs/symphony",)),
        Location(
            "SYMPHONY_STATE_ROOT",
            (
                "~/Library/Application Support/symphony",
                "~/Library/Application Support/symphony/release",
            ),
            ("audit", "run_store"),
        ),
    ),
    patterns=names_in(
        "*.ndjson *.jsonl *.json symphony.log.[0-9]* symphony_run_store_*.DC[DL] LATEST.LOG"
    ),
    sniff=Later("tallybook.sources.symphony.sniff", "sniff"),
    begin=Later("tallybook.sources.symphony.reader", "begin"),
    read=Later("tallybook.sources.symphony.reader", "read"),
    finish=Later("tallybook.sources.symphony.reader", "finish"),
    own_ids=("symphony_run_store_*.DCD",),
    holds=("held",),
    ignores=("symphony_run_store_retries.*",),
    whole=Later("tallybook.sources.symphony.sniff", "is_whole"),
)
