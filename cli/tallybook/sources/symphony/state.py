"""What the reader remembers between two blocks of a file."""

from __future__ import annotations

import msgspec

from tallybook.sources.strays import Strays
from tallybook.sources.symphony.tokens import Tokens


class Chain(msgspec.Struct, array_like=True):
    """Where the chain of an audit file's records stands."""

    is_checked: bool = True  # exports leave records out and redact others
    is_known: bool = True  # the record before was read, or there is none
    last: bytes | None = None  # its hash
    date: str | None = None  # of the last record that follows none


class State(msgspec.Struct, array_like=True):
    """The fold's state; its maps grow with the runs and threads of a file, not with its records."""

    form: str | None = None
    held: bytes = b""  # lines in front of the first that tells the form
    records: int = 0
    chain: Chain = msgspec.field(default_factory=Chain)
    agents: dict[str, str] = msgspec.field(default_factory=dict)  # by run, from its prompts
    highest: dict[str, list[int | None]] = msgspec.field(default_factory=dict)  # by stream
    strays: Strays = msgspec.field(default_factory=Strays)


def highest(state: State, stream: str, stated: Tokens) -> Tokens:
    """The highest of each count that the stream has come to, and of a missing one the last known.

    A thread's totals fall when its past is compacted, and are whole again with the next call.
    """
    counts = stated.counts()
    before = state.highest.get(stream) or [None] * len(counts)
    state.highest[stream] = [
        max((each for each in pair if each is not None), default=None)
        for pair in zip(before, counts, strict=True)
    ]
    return Tokens.of(state.highest[stream], stated.era)
