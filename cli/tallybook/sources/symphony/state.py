"""What the reader remembers between two blocks of a file."""

from __future__ import annotations

import msgspec


class Chain(msgspec.Struct):
    """Where the chain of an audit file's records stands."""

    is_checked: bool = True  # exports leave records out and redact others
    is_known: bool = True  # the record before was read, or there is none
    last: str | None = None  # its hash
    date: str | None = None


class State(msgspec.Struct):
    """The fold's state; its maps grow with the runs and threads of a file, not with its records."""

    form: str | None = None
    records: int = 0
    chain: Chain = msgspec.field(default_factory=Chain)
    agents: dict[str, str] = msgspec.field(default_factory=dict)  # by run, from its prompts
    highest: dict[str, list[int | None]] = msgspec.field(default_factory=dict)  # by stream
