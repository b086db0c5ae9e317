"""Tells by structure which of Symphony's files a file is, if any."""

from __future__ import annotations

import re
from typing import Any, Final

from tallybook.sources.lines import Head
from tallybook.values import decode

AUDIT: Final = "audit"
LEDGER: Final = "ledger"
NOTIFICATIONS: Final = "notifications"
DOCUMENT: Final = "document"
APPLICATION_LOG: Final = "application-log"
STORE: Final = "store"

# Of a line of the application log, and of a file that Erlang's disk_log wrote.
LINE: Final = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d) "
    rb"(?:debug|info|notice|warning|error|critical|alert|emergency): "
)
_MAGIC: Final = b"\x01\x02\x03\x04"
_STATES: Final = (b"\x63\x58\x4d\x0b", b"\x06\x07\x08\x09")  # closed, still open or left so
_DISK_LOG_HEAD: Final = 8

_LOOKED_AT: Final = 50  # lines; the first of a cut log may be broken
_DECODED: Final = 12
_NO_ROW: Final = 256  # no table's row fits into this; a table without rows is but a header
_STORE_NAME: Final = b"symphony_run_store"
_LEDGER_KEYS: Final = frozenset(
    {"schema_version", "observed_at", "issue_identifier", "session_id", "turn_count"}
)
_NOTIFICATION_KEYS: Final = frozenset({"event", "issue_identifier", "tokens"})
_LOG_WORDS: Final = re.compile(
    rb"issue_identifier=|issue_id=|Ignoring message while waiting for response: "
    rb"|aily token budget|ClaudeCode (?:unparseable line|stdout)|Codex (?:notification|stdout)"
    rb"|[Ss]ymphony"
)
# Keys of a served document that stand in no other tool's, each set alone enough.
_DOCUMENTS: Final = tuple(
    tuple(re.compile(rb'"' + name + rb'"\s*:') for name in names)
    for names in (
        (b"codex_totals", b"running", b"retrying"),
        (b"generated_at", b"runs", b"agent_kind"),
        (b"generated_at", b"runs", b"pr_opened_rate"),
        (b"issue_identifier", b"restart_count", b"running"),
        (b"issue_identifier", b"executor_tokens", b"events"),
        (b"issue_identifier", b"event", b"tokens", b"metadata"),
    )
)
_NOT_BLANK: Final = re.compile(rb"\S[^\n]*")
_CUT_AUDIT: Final = re.compile(rb'\{"[^\n]*"event_type":"[^\n]*"issue_identifier":"')


def sniff(head: Head) -> bool:
    """Whether a file begins like one of Symphony's."""
    return form_of(head) is not None


def form_of(head: Head) -> str | None:
    """Which of Symphony's files begins like this; None for every other tool's."""
    content = head.content
    if is_disk_log(content):
        ours = len(content) < _NO_ROW or _STORE_NAME in content
        return STORE if ours else None
    if any(LINE.match(line) for line in head.lines[:_LOOKED_AT]):
        return APPLICATION_LOG if _LOG_WORDS.search(content) else None
    values = list(head.objects(_DECODED))
    forms = [form for value in values if (form := _form_of_line(value))]
    if forms or len(values) == _DECODED:
        # No document has so many objects in a row, each on its line.
        return forms[0] if 2 * len(forms) > len(values) else None
    if not content.lstrip().startswith(b"{"):
        return None
    if any(all(key.search(content) for key in keys) for keys in _DOCUMENTS):
        return DOCUMENT
    return AUDIT if _CUT_AUDIT.match(content) else None


def form_of_lines(block: bytes) -> str | None:
    """Which of Symphony's files it is that has one of its lines in a block, behind others."""
    values = (decode(found[0]) for found in _NOT_BLANK.finditer(block))
    forms = (_form_of_line(value) for value in values if isinstance(value, dict))
    return next(filter(None, forms), None)


def is_disk_log(data: bytes) -> bool:
    """Whether the bytes begin as a disk_log file does."""
    return data.startswith(_MAGIC) and data[4:_DISK_LOG_HEAD] in _STATES


def is_whole(head: Head) -> bool:
    """Whether a file that begins like this is read in one block."""
    return form_of(head) in (STORE, DOCUMENT)


def _form_of_line(value: dict[str, Any]) -> str | None:
    if "event_type" in value and ("record_hash" in value or "token_usage_delta" in value):
        return AUDIT
    if value.keys() >= _LEDGER_KEYS:
        return LEDGER
    return NOTIFICATIONS if value.keys() >= _NOTIFICATION_KEYS else None
