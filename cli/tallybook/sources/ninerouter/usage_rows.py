"""The usage rows of 9router, whichever storage they come from.

Before databases a document held them, and request details may lie beside it. These count the same
wherever they are stored: one that no usage row states is a call that some build failed to count, so
the rows of a document are looked up as those of a database are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import msgspec

from tallybook.sources.ninerouter.tokens import (
    COLUMNS,
    TokenCounts,
    Tokens,
    convert,
    counts,
    decode_sound,
)
from tallybook.sources.ninerouter.tokens import decode as decode_tokens
from tallybook.values import UNDECODABLE, count, decode, money, text

UNKNOWN: Final = -(2**63)  # as a time
_DEAREST: Final = 1_000_000  # dollars; no call costs that
Who = tuple[str | None, str | None, str | None]  # provider, model, connection


class Entry(msgspec.Struct, gc=False):
    """A usage row as stored, with what its neighbours say of it."""

    record: int
    timestamp: Any
    provider: str | None
    model: str | None
    connection: str | None
    key: str | None  # a secret: only ever compared or hashed
    endpoint: str | None
    cost: float | None
    counts: TokenCounts
    problems: list[str] | None
    nth: int  # how many records before it bear the same name
    when: int = UNKNOWN  # microseconds since 1970
    streamed: bool | None = None
    pair: str | None = None  # the name of the last record of a stream that was written twice
    served_by: str | None = None  # the provider, as the other record of the stream states it
    is_included: bool = False  # the other record of the stream proves that reads are included

    @property
    def name(self) -> str:
        """What the record says of itself, the same in every copy: neither path nor row number."""
        time = "" if self.timestamp is None else self.timestamp
        who = f"{self.provider or ''}/{self.model or ''}/{self.connection or ''}"
        return f"{time}/{who}{nth_word(self.nth)}"


def model_of(name: str | None) -> str | None:
    """The model that a record names; the router writes a word where it had none."""
    return None if name == "unknown" else name


def nth_word(nth: int) -> str:
    """What tells a record from those before it that say the same."""
    return f"/{nth}" if nth else ""


def join(twin: Entry, other: Entry) -> None:
    """Makes one call of the two records of a stream.

    A twin may bear the name of a format instead of the provider's, and never an endpoint.
    """
    twin.pair = other.pair = other.name
    twin.served_by = other.provider
    twin.endpoint = other.endpoint
    twin.is_included = other.counts.is_flat


class Numbering:
    """Counts the records that say the same.

    Rows keep their order in every copy, so the nth of them is the same row everywhere. Equal rows
    bear the same time and lie close together, so only the last rows are remembered.
    """

    def __init__(self) -> None:
        self._first: dict[Any, Who] = {}
        self._before: dict[Any, Who] = {}
        self._counts: dict[tuple[Any, Who], int] = {}

    def turn(self) -> None:
        """Forgets what came before the last turn."""
        self._before, self._first = self._first, {}
        self._counts = {k: n for k, n in self._counts.items() if k[0] in self._before}

    def nth(self, timestamp: Any, who: Who) -> int:
        """How many records before this one bear its time and are of the same."""
        first = self._first.get(timestamp) or self._before.get(timestamp)
        if first is None:
            self._first[timestamp] = who
            return 0
        self._counts.setdefault((timestamp, first), 1)
        nth = self._counts.get((timestamp, who), 0)
        self._counts[timestamp, who] = nth + 1
        return nth


def hashed(secret: str) -> str:
    """What a secret may be shown as: enough to tell it from others, nothing to get in with."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def from_database(rows: Iterable[tuple[Any, ...]], names: Numbering) -> list[Entry]:
    """The entries of rows: number, timestamp, then provider, model, connection, key and endpoint as
    texts or None, cost, tokens, prompt and completion as they stand there.
    """
    return [_from_database(row, names) for row in rows]


def _from_database(row: tuple[Any, ...], names: Numbering) -> Entry:
    record, timestamp, provider, model, connection, key, endpoint, cost, tokens, *columns = row
    problems: list[str] | None = None
    try:
        found = counts(decode_sound(tokens), has_endpoint=endpoint is not None)
    except (*UNDECODABLE, TypeError):
        problems = []
        found = _odd_counts(tokens, columns, problems, has_endpoint=endpoint is not None)
    if cost.__class__ is not float or not 0.0 < cost < _DEAREST:
        problems = problems or []
        cost = _dollars(cost, problems)
    who = (provider, model, connection)
    nth = names.nth(timestamp, who)
    return Entry(record, timestamp, *who, key, endpoint, cost, found, problems or None, nth)


def _odd_counts(
    stated: Any, columns: list[Any], problems: list[str], *, has_endpoint: bool
) -> TokenCounts:
    """The counts of a token object with odd numbers in it; where it is none, of the columns."""
    tokens = decode_tokens(stated, problems) if isinstance(stated, str | bytes) else None
    if tokens is not None:
        return counts(tokens, has_endpoint=has_endpoint)
    if stated is not None:
        problems.append("bad-tokens")
    prompt, completion = (count(value, problems) for value in columns)
    return TokenCounts(COLUMNS, prompt, completion)


def from_document(record: int, row: dict[str, Any], names: Numbering) -> Entry:
    """The entry of a row of `usage.json`."""
    problems: list[str] = []
    tokens = convert(row.get("tokens"), problems)
    if tokens is None:
        problems.append("no-counts")
    timestamp, endpoint = row.get("timestamp"), text(row.get("endpoint"))
    if not isinstance(timestamp, str | int | float):
        timestamp = None
    who = text(row.get("provider")), text(row.get("model")), text(row.get("connectionId"))
    return Entry(
        record,
        timestamp,
        *who,
        text(row.get("apiKey")),
        endpoint,
        _dollars(row.get("cost"), problems),
        counts(tokens or Tokens(), has_endpoint=endpoint is not None),
        problems or None,
        names.nth(timestamp, who),
    )


def _dollars(value: Any, problems: list[str]) -> float | None:
    """What the row says it cost; 0 is written where no price was found, and says nothing."""
    amount = money(value, problems)
    if amount is not None and amount >= _DEAREST:
        problems.append("bad-number")
        return None
    return float(amount) if amount else None


_CAP: Final = 10_000  # rows of a document, of which the oldest fall out
# Rows before the first are not known to be all: their numbers are missing.
_FIRST: Final = 2
_TABLE: Final = """
CREATE TABLE usageHistory (id INTEGER PRIMARY KEY, timestamp TEXT, model TEXT, connectionId TEXT,
    promptTokens INTEGER, completionTokens INTEGER);
CREATE INDEX idx_uh_ts ON usageHistory(timestamp);
"""


class UsageDocument(msgspec.Struct):
    """The document `usage.json`."""

    history: list[Any]
    dailySummary: Any = None  # noqa: N815 - the key of the log
    totalRequestsLifetime: Any = None  # noqa: N815


USAGE: Final = msgspec.json.Decoder(UsageDocument)


def table_of(content: bytes | None) -> sqlite3.Connection:
    """The rows of a document as a table; no table where it cannot tell that there is no row.

    So it is where it cannot be read, where it was begun anew, and where it has lost rows besides
    those that are too many, by the number that it keeps of all that were written.
    """
    connection = sqlite3.connect(":memory:")
    document = decode(content, USAGE) if content else None
    if document is None or not document.history:
        return connection
    ever, there = document.totalRequestsLifetime, len(document.history)
    if isinstance(ever, int) and ever > there and there < _CAP:
        return connection
    names = Numbering()
    found = (from_document(0, row, names) for row in document.history if isinstance(row, dict))
    connection.executescript(_TABLE)
    connection.executemany(
        "INSERT INTO usageHistory VALUES (?, ?, ?, ?, ?, ?)",
        (
            (
                number,
                str(row.timestamp),
                row.model,
                row.connection,
                row.counts.prompt or 0,
                row.counts.completion or 0,
            )
            for number, row in enumerate(found, _FIRST)
        ),
    )
    return connection
