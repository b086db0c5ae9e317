"""Symphony, OpenAI's and Automattic's: audit logs, run stores, exports, ledgers and their logs."""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Location, Source
from tallybook.sources.symphony.reader import begin, finish, read
from tallybook.sources.symphony.sniff import is_whole, sniff

__all__ = ["SOURCE"]

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
    patterns=(
        "*.ndjson",
        "*.jsonl",
        "*.json",
        "symphony.log.[0-9]*",
        "symphony_run_store_*.DC[DL]",
        "LATEST.LOG",
    ),
    sniff=sniff,
    begin=begin,
    read=read,
    finish=finish,
    holds=("held",),
    ignores=("symphony_run_store_retries.*",),
    whole=is_whole,
)
