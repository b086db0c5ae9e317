"""What the reader remembers between two blocks of a file."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tallybook.schema import Reported
from tallybook.sources.codex.inherited import Boundary
from tallybook.sources.codex.lines import Review
from tallybook.sources.codex.running_totals import Counter, Pairs
from tallybook.sources.codex.silence import Silence
from tallybook.sources.strays import Strays

REMEMBERED_IDS = 64


class Thread(msgspec.Struct, array_like=True):
    """Who the file's thread is, by its first header."""

    id: str | None = None
    segment_id: str | None = None
    parent_thread_id: str | None = None
    root_thread_id: str | None = None
    caller: str | None = None
    project: str | None = None
    provider: str | None = None
    begun: datetime | None = None
    headed: bool = False
    continues: bool = False  # the file goes on from another file of the thread


class Context(msgspec.Struct, array_like=True):
    """What is in force for the next call."""

    turn_model: str | None = None
    settings_model: str | None = None
    tier: str | None = None
    copied_model: str | None = None  # of the last turn that is not known to be the thread's own
    early_model: str | None = None  # settings heard before it was known whose they are
    early_tier: str | None = None
    in_review: bool = False
    turn_models: dict[str, str] = msgspec.field(default_factory=dict)
    compactions: list[str] = msgspec.field(default_factory=list)
    responses: list[str] = msgspec.field(default_factory=list)


class Capture(msgspec.Struct, array_like=True):
    """The thread that a saved standard output speaks of."""

    thread_id: str | None = None
    begun: datetime | None = None
    problems: list[str] = msgspec.field(default_factory=list)


class State(msgspec.Struct, array_like=True):
    """The fold's state: plain values, bounded whatever the size of the file."""

    records: int = 0  # lines read
    is_begun: bool = False  # one of them was not blank
    thread: Thread = msgspec.field(default_factory=Thread)
    boundary: Boundary = msgspec.field(default_factory=Boundary)
    context: Context = msgspec.field(default_factory=Context)
    counter: Counter = msgspec.field(default_factory=Counter)
    pairs: Pairs = msgspec.field(default_factory=Pairs)
    capture: Capture = msgspec.field(default_factory=Capture)
    held: list[Reported] = msgspec.field(default_factory=list)  # a record and the rows behind it
    is_bare: bool = False  # written before lines had an envelope, and counts
    is_document: bool = False  # one JSON document instead of lines
    document: bytes = b""  # its beginning
    is_closed: bool = False  # the document's last byte so far closes an object
    is_own: bool = True  # whose the last line was that could tell
    is_active: bool = False  # a model has answered in the thread's own part
    review: Review = "none"  # of another thread
    silence: Silence = msgspec.field(default_factory=Silence)
    keeps_records: bool = False  # a build that writes a usage record for each response
    tool_ids: list[str] = msgspec.field(default_factory=list)  # asked for since usage was stated
    searches: int = 0  # run for an answer whose usage is not stated yet
    is_undecided: bool = False  # a line was left out that may be the thread's own
    is_counted: bool = False  # some line states usage
    strays: Strays = msgspec.field(default_factory=Strays)
