"""One usage row of 9router, whichever storage it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b, sha256
from typing import Any, Final

import msgspec

from tallybook.sources.ninerouter.tokens import (
    COLUMNS,
    TWIN,
    Counts,
    Tokens,
    convert,
    counts,
    decode,
)

_WHO: Final = ("timestamp", "provider", "model", "connectionId")
_DEAREST: Final = 1_000_000.0  # dollars; no call costs that


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
    counts: Counts
    problems: list[str]
    record_id: str = ""
    when: int = 0  # milliseconds; 0 where the time is not known
    partner: Any = None  # the other record of the same stream, an Entry
    streamed: bool | None = None

    @property
    def identity(self) -> str:
        """The call's name: of a pair that of its last record, and such a name comes first."""
        if self.partner is None:
            return f"sole-{self.record_id}"
        last = self if self.counts.shape != TWIN else self.partner
        return f"pair-{last.record_id}"


class Numbering:
    """Names records by what they say, and tells apart those that say the same.

    Rows keep their order in every copy, so the nth of them is the same row everywhere. Equal rows
    bear the same time and lie close together, so only the last rows are remembered.
    """

    def __init__(self) -> None:
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def turn(self) -> None:
        """Forgets all but what was named since the last turn."""
        self._before, self._now = self._now, {}

    def name(self, *values: Any) -> str:
        """The name of the next record with these values; a digest, the same in every file."""
        text = "\0".join("" if value is None else str(value) for value in values)
        nth = self._now.get(text, self._before.get(text, 0))
        self._now[text] = nth + 1
        return digest(f"{text}\0{nth}" if nth else text)


def digest(text: str) -> str:
    """A short name for a text that is long."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def hashed(secret: str) -> str:
    """What a secret may be shown as: enough to tell it from others, nothing to get in with."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def from_database(rows: Iterable[tuple[Any, ...]], names: Numbering) -> list[Entry]:
    """The entries of rows: id, timestamp, provider, model, connection, key, endpoint, cost, tokens,
    prompt, completion.
    """
    return [_from_database(row, names) for row in rows]


def _from_database(row: tuple[Any, ...], names: Numbering) -> Entry:
    record, timestamp, provider, model, connection, key, endpoint, cost, text, *columns = row
    problems: list[str] = []
    tokens = decode(text, problems) if isinstance(text, (str, bytes)) else None
    if tokens is None:
        if text is not None:
            problems.append("bad-tokens")
        found = Counts(COLUMNS, *_columns(columns, problems))
    else:
        found = counts(tokens, has_endpoint=bool(endpoint))
    return Entry(
        record,
        timestamp,
        _text(provider),
        _text(model),
        _text(connection),
        _text(key),
        _text(endpoint),
        _dollars(cost, problems),
        found,
        problems,
        names.name(timestamp, provider, model, connection),
    )


def _columns(values: list[Any], problems: list[str]) -> tuple[int | None, int | None]:
    stated = dict(zip(("prompt_tokens", "completion_tokens"), values, strict=False))
    tokens = convert(stated, problems) or Tokens()
    return tokens.prompt_tokens, tokens.completion_tokens


def from_document(record: int, row: dict[str, Any], names: Numbering) -> Entry:
    """The entry of a row of `usage.json`."""
    problems: list[str] = []
    tokens = convert(row.get("tokens"), problems)
    if tokens is None:
        problems.append("no-counts")
    endpoint = _text(row.get("endpoint"))
    timestamp, provider, model, connection = (row.get(name) for name in _WHO)
    return Entry(
        record,
        timestamp,
        _text(provider),
        _text(model),
        _text(connection),
        _text(row.get("apiKey")),
        endpoint,
        _dollars(row.get("cost"), problems),
        counts(tokens or Tokens(), has_endpoint=bool(endpoint)),
        problems,
        names.name(timestamp, provider, model, connection),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _dollars(value: Any, problems: list[str]) -> float | None:
    """What the row says it cost; 0 is written where no price was found, and says nothing."""
    if value is None or value == 0:
        return None
    if isinstance(value, (int, float)) and 0 < value < _DEAREST and not isinstance(value, bool):
        return float(value)
    problems.append("bad-number")
    return None
