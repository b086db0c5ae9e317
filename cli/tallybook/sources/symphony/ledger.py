"""Reads `token_usage.jsonl`, the ledger of a branch: running totals of the threads of an issue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tallybook.schema import LOG, SUM, Reported
from tallybook.sources import lines
from tallybook.sources.symphony.agents import CODEX, PROVIDERS, Agent, session
from tallybook.sources.symphony.state import State, highest
from tallybook.sources.symphony.tokens import (
    add_problem,
    check_running_total,
    put_tokens,
    read_tokens,
)
from tallybook.values import decode, instant, text

_VERSION: Final = 1


def read_ledger(block: bytes, state: State) -> Iterator[Reported]:
    """One row a line; a total that the thread had before repeats an earlier row.

    The counters run on while the session id changes with every turn, so they belong to the thread.
    """
    found = block.split(b"\n")
    for index, line in enumerate(found):
        is_last = index == len(found) - 1
        if is_last and not line:
            return
        state.records += 1
        if not line.strip():
            continue
        value = decode(line)
        if not isinstance(value, dict):
            yield lines.unreadable(state.records, line, is_last=is_last)
        elif value.get("schema_version") != _VERSION:
            version = str(value.get("schema_version"))[:20]
            yield lines.problem(state.records, "unknown-version", f"schema version {version}")
        else:
            yield _row(value, state)


def _row(value: dict[str, Any], state: State) -> Reported:
    problems: list[str] = []
    stated = read_tokens(value, problems)
    where = session(value.get("session_id"))
    issue = text(value.get("issue_identifier"))
    row = Reported(
        record=state.records,
        kind=SUM,
        calls=None,
        evidence=LOG,
        thread_id=where.thread_id,
        log_source=CODEX,
        project=text(value.get("workspace_path")) or issue,
        provider=PROVIDERS[CODEX],
        timestamp=instant(value.get("observed_at")),
        problems=problems or None,
        running=True,
        series=f"ledger:{issue}|{where.thread_id}",
    )
    if stated is None:
        add_problem(row, "no-counts")
        return row
    put_tokens(row, highest(state, row.series or "", stated), Agent(CODEX, "ledger"))
    check_running_total(row, stated)
    return row
