"""What the reader remembers between two blocks of a file."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from tallybook.sources.claude_code.lines import Line
from tallybook.sources.claude_code.threads import FileIdentity, Link
from tallybook.sources.strays import Strays


class Answered(msgspec.Struct, array_like=True):
    """A response of the main loop in a saved standard output."""

    message_id: str | None
    chain_id: str | None
    request_id: str | None
    model: str | None
    prompt: list[int | None]  # input, cache reads, cache writes
    output: int  # as far as its messages state it


class Capture(msgspec.Struct, array_like=True):
    """The run whose standard output is being read."""

    session: str | None = None
    cwd: str | None = None
    announced_model: str | None = None  # by the first message; the responses name what was served
    models: list[str] = []  # of the main loop's responses since the last result
    last: Answered | None = None  # since the last result
    earlier: tuple[int, int, int, int] = (0, 0, 0, 0)  # prompts and output of those before it
    cost: Decimal | None = None  # running total of the last result
    version: str | None = None  # of the client, where the first message says it
    has_result: bool = False


class Held(msgspec.Struct, array_like=True):
    """A streamed response whose last event has not been seen yet."""

    record: int
    part: str | None
    line: Line
    chain_id: str | None = None


class State(msgspec.Struct, array_like=True):
    """Small, plain and serialisable."""

    place: FileIdentity = FileIdentity()
    records: int = 0  # lines read so far
    begun: datetime | None = None  # when the client began the file, where its first line says it
    form: Literal["lines", "document", "oversize"] | None = None  # None until a line is not blank
    pending: bytes = b""  # of a document that is not complete yet
    pending_record: int = 0  # where it begins
    measured: int = 0  # bytes of it, which open so many brackets more than they close:
    depth: int = 0
    links: dict[str, Link] = {}  # record id -> its place in a response
    capture_links: dict[str, Link] = {}  # thread -> its last message
    model: str | None = None  # that answered last, but for sub-agents within the session's file
    sidechain_run: int = 0  # inline sidechains begun so far
    in_sidechain: bool = False  # the last line that had a word on it belonged to one
    capture: Capture = msgspec.field(default_factory=Capture)
    held: dict[str, Held] = {}  # thread -> its streamed response
    strays: Strays = msgspec.field(default_factory=Strays)
