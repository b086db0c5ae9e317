"""Reads what the interfaces of both projects serve as one JSON document, and notifications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from tallybook.dialects.served import mapping
from tallybook.schema import LOG, SNAPSHOT, SUM, SUMMARY, Reported
from tallybook.sources import jsonl, lines
from tallybook.sources.strays import watch
from tallybook.sources.symphony import tokens
from tallybook.sources.symphony.runs import moment, part_of_run, run_row, totals_row
from tallybook.sources.symphony.state import State, highest
from tallybook.sources.symphony.transcripts import event_rows
from tallybook.values import decode, instant, text

_VERSION: Final = 1


def read_ledger(block: bytes, state: State) -> Iterator[Reported]:
    """One row a line; a total that the thread had before repeats an earlier row.

    The counters run on while the session id changes with every turn, so they belong to the thread.
    """
    return jsonl.rows(block, state, lambda value, record: [_ledger_row(value, record, state)])


def _ledger_row(value: dict[str, Any], record: int, state: State) -> Reported:
    if value.get("schema_version") == _VERSION:
        return _row(value, record, state)
    version = str(value.get("schema_version"))[:20]
    return lines.problem(record, "unknown-version", f"schema version {version}")


def _row(value: dict[str, Any], record: int, state: State) -> Reported:
    problems: list[str] = []
    stated = tokens.read_tokens(value, problems)
    where = tokens.session(value.get("session_id"))
    issue = text(value.get("issue_identifier"))
    row = Reported(
        record=record,
        kind=SUM,
        calls=None,
        evidence=LOG,
        thread_id=where.thread_id,
        log_source=tokens.CODEX,
        project=text(value.get("workspace_path")) or issue,
        provider=tokens.PROVIDERS[tokens.CODEX],
        timestamp=instant(value.get("observed_at")),
        problems=problems or None,
        running=True,
        series=f"ledger:{issue}|{where.thread_id}",
    )
    if stated is None:
        tokens.add_problem(row, "no-counts")
        return row
    tokens.put_tokens(
        row, highest(state, row.series or "", stated), tokens.Agent(tokens.CODEX, "ledger")
    )
    tokens.check_running_total(row, stated)
    return row


# Lists of runs in a document, and how good a witness of a run their entries are.
_LISTS: Final = {
    "running": SNAPSHOT,
    "blocked": SNAPSHOT,
    "retrying": SNAPSHOT,
    "run_history": SUMMARY,
    "runs": SUMMARY,
}
_PARTS: Final = {"executor_tokens": None, "reviewer_tokens": "reviewer"}
_RECORD: Final = 1  # a document is one record


def read_document(block: bytes, state: State) -> Iterator[Reported]:
    """The rows of a document; each run in it is a part of its one record."""
    state.records = _RECORD
    value = decode(block)
    if isinstance(value, dict):
        yield from _document_rows(value, _RECORD)
    else:
        ends = block.rstrip().endswith(b"}")
        words = "not a JSON document" if ends else "the JSON document does not end"
        yield lines.problem(_RECORD, "bad-line" if ends else "truncated", words)


def read_notifications(block: bytes, state: State) -> Iterator[Reported]:
    """The rows of notification bodies, one a line."""
    look = watch(state.strays, block, "symphony", ())
    return jsonl.rows(block, state, _document_rows, look=look)


def _document_rows(value: Mapping[str, Any], record: int) -> Iterator[Reported]:
    """The rows of one served document or one notification."""
    stated = _notification if "event" in value else _document
    return (row for row in stated(value, record) if row is not None)


def _document(value: Mapping[str, Any], record: int) -> Iterator[Reported | None]:
    for name, evidence in _LISTS.items():
        listed = value.get(name)
        for index, run in enumerate(listed if isinstance(listed, list) else ()):
            yield run_row(mapping(run), record, f"{name}[{index}]", evidence)
    if isinstance(value.get("running"), dict):
        yield run_row({**value, **value["running"]}, record, "running", SNAPSHOT)
    for name in ("codex_totals", "token_usage"):
        yield totals_row(value.get(name), record, name, _time(value))
    used = {"total_tokens": mapping(value.get("budget")).get("daily_used")}
    yield totals_row(used, record, "budget", _time(value))
    if isinstance(value.get("events"), list):
        yield run_row(value, record, "tokens", SNAPSHOT)
        for name, caller in _PARTS.items():
            yield part_of_run(value, name, record, name, caller)
        yield from event_rows(value, value["events"], record, "events")


def _notification(value: Mapping[str, Any], record: int) -> Iterator[Reported | None]:
    """A notification's counts are those of its run so far, but for a day's budget: all runs'."""
    if mapping(value.get("metadata")).get("scope") == "day":
        yield totals_row(value.get("tokens"), record, None, _time(value))
    else:
        yield run_row(value, record, None, SNAPSHOT)


def _time(value: Mapping[str, Any]) -> datetime | None:
    return moment(value.get("generated_at")) or moment(value.get("timestamp"))
