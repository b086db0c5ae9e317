"""Folds the blocks of any of Symphony's files into reported rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from tallybook.schema import Reported
from tallybook.sources.contract import FileFacts
from tallybook.sources.lines import Head, line_count
from tallybook.sources.symphony import sniff
from tallybook.sources.symphony.application_log import read_log
from tallybook.sources.symphony.audit import read_audit
from tallybook.sources.symphony.documents import read_document, read_ledger, read_notifications
from tallybook.sources.symphony.mnesia import read_store
from tallybook.sources.symphony.state import State

# The name under which the interface offers an audit log that may lack records of other issues.
_EXPORT: Final = re.compile(r"symphony-audit")


def begin(facts: FileFacts) -> State:
    """The first state; the name tells an export from the log of a day."""
    state = State()
    state.chain.is_checked = not (facts.parts and _EXPORT.match(facts.parts[-1]))
    return state


def read(block: bytes, state: State) -> tuple[list[Reported], State]:
    """The rows of a block of whole lines, or of a whole file, and the state after them."""
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State)
    if block.isspace() and not state.held:
        state.records += line_count(block)
        return [], state
    if state.form is None:
        block, state.held = state.held + block, b""
        state.form = sniff.form_of(Head(block)) or sniff.form_of_lines(block)
    if state.form is None:
        state.held = block
        return [], state
    return list(_READERS[state.form](block, state)), state


def finish(state: State) -> list[Reported]:
    """What is said of lines that are no records."""
    return state.strays.rows()


_READERS: Final[dict[str, Callable[[bytes, State], Iterator[Reported]]]] = {
    sniff.AUDIT: read_audit,
    sniff.LEDGER: read_ledger,
    sniff.NOTIFICATIONS: read_notifications,
    sniff.DOCUMENT: read_document,
    sniff.APPLICATION_LOG: read_log,
    sniff.STORE: read_store,
}
