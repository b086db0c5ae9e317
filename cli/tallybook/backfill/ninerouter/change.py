"""Works out what a proved correction makes of a usage row of 9router."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from tallybook.backfill.ninerouter.rates import Overrides, RowCounts, cost_of, rates_of
from tallybook.schema import OUTPUT
from tallybook.sources.ninerouter import tokens as shapes
from tallybook.sources.ninerouter.eras import states_writes, upstream_of
from tallybook.sources.ninerouter.tokens import SHORT, TWIN, convert
from tallybook.values import MAX_COUNT

DAY_REASONS: Final[Mapping[str, str]] = {
    "unreadable": "its sums cannot be read",
    "other-rows": "its sums are not those of the rows that are there",
}


class DayLeft(NamedTuple):
    """A day whose sums were not adjusted to its rows; `reason` is a key of DAY_REASONS."""

    day: str
    reason: str


class PlannedChanges(msgspec.Struct):
    """What would change, row by row, and the records left as they are with the reason.

    `days` counts the sums that follow, `days_left` are those that cannot.
    """

    rows: list[Change] = []
    skipped: list[Skipped] = []
    days: int = 0
    days_left: list[DayLeft] = []


class AppliedChanges(msgspec.Struct):
    """What was changed: the records of the rows, and how many days' sums followed.

    `backup` is the copy that was made, or the one that the file was given back. `passed_over` are
    copies that are not whole; where `lost`, the oldest is one of them, and what was changed before
    the next cannot be taken back. `names` are those that the file has beside the one it was
    changed under: these still lead to what was there.
    """

    backup: Path | None = None
    records: list[int] = []
    days: int = 0
    days_left: list[DayLeft] = []
    skipped: list[Skipped] = []
    passed_over: list[Path] = []
    lost: bool = False
    names: int = 0

    @property
    def rows(self) -> int:
        """How many rows were changed."""
        return len(self.records)


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of one call, with the record it stands in; columns of tables.CORRECTIONS."""

    record: int
    part: str | None = None  # of the call; a usage row has none
    direction: str
    recorded: str = ""  # the buckets of the direction as they were when it was proved
    uncached_input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    unsplit_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_output_tokens: int | None = None


class RowState(NamedTuple):
    """What a row states that a correction may change; `cost` is None where the row has none."""

    tokens: str | None
    prompt: int | None
    completion: int | None
    cost: float | None


class Row(NamedTuple):
    """A usage row with what it says of its request."""

    record: int
    timestamp: str
    provider: str
    model: str
    connection: str | None
    key: str | None
    endpoint: str | None
    state: RowState


class Change(NamedTuple):
    """What becomes of a row."""

    row: Row
    after: RowState


class Skipped(NamedTuple):
    """A record that is left as it is, and why."""

    record: int
    reason: str


REASONS: Final[Mapping[str, str]] = {
    "no-usage-row": "the call stands in a request's detail, and no usage row states it",
    "gone": "the file has no such row any more",
    "changed-since": "the row was changed by others since, and is left",
    "not-whole": "the correction does not say all of the prompt",
    "written-twice": "the stream was written twice, and the counts would no longer fit together",
    "unreadable": "the row's counts cannot be read",
    "stated": "the row states already what it has a place for",
    "cost-unknown": "no rates are known that make the stored cost; the cost stays as it is",
}


def plan_rows(
    changes: PlannedChanges,
    wanted: Mapping[int, Sequence[Correction]],
    row_of: Callable[[int], Row | None],
    overrides: Overrides,
) -> None:
    """Put into `changes` what the corrections make of their rows, and why of some nothing.

    `row_of` gives the row of a record as it stands now, None where it is gone.
    """
    for record, own in wanted.items():
        row = row_of(record)
        if row is None:
            changes.skipped.append(Skipped(record, "gone"))
            continue
        change, skipped = _change_row(row, own, overrides)
        changes.skipped += skipped
        if change is not None:
            changes.rows.append(change)


def _change_row(
    row: Row, corrections: Iterable[Correction], overrides: Overrides
) -> tuple[Change | None, list[Skipped]]:
    """What the corrections of a row make of it; None where that is nothing."""
    skipped: list[Skipped] = []
    stated = _stated(row.state.tokens, has_endpoint=bool(row.endpoint)) if is_sound(row) else None
    if stated is None:
        return None, [Skipped(row.record, "unreadable")]
    made = stated
    for correction in corrections:
        result = _corrected(made, stated, correction, row)
        if isinstance(result, str):
            skipped.append(Skipped(row.record, result))
        else:
            made = result
    if made == stated:
        return None, skipped or [Skipped(row.record, "stated")]
    tokens = _tokens(made)
    whole = made.prompt if made.whole is None else made.whole
    counts = RowCounts(whole or 0, made.completion or 0, *_extra(made))
    old = RowCounts(stated.prompt or 0, stated.completion or 0, *_extra(stated))
    cost, reason = _cost(row, old, counts, overrides)
    if reason:
        skipped.append(Skipped(row.record, reason))
    after = RowState(tokens, made.prompt or 0, made.completion or 0, cost)
    if after == row.state:
        return None, [*skipped, Skipped(row.record, "stated")]
    return Change(row, after), skipped


def is_sound(row: Row) -> bool:
    """Whether everything of a row is of its kind; a database takes any value in any column."""
    words = (row.timestamp, row.provider, row.model)
    names = (row.connection, row.key, row.endpoint, row.state.tokens)
    counts = (row.state.prompt, row.state.completion)
    cost = row.state.cost
    return (
        all(isinstance(each, str) for each in words)
        and all(each is None or isinstance(each, str) for each in names)
        and all(each is None or is_count(each) for each in counts)
        and (cost is None or (isinstance(cost, int | float) and isfinite(cost)))
    )


def is_count(value: object) -> bool:
    """Whether a value is a number of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def by_record(
    corrections: Iterable[Correction],
) -> tuple[dict[int, list[Correction]], list[Skipped]]:
    """The corrections of each usage row, and those that are of none."""
    found: dict[int, list[Correction]] = {}
    skipped = []
    for correction in corrections:
        if correction.part is None:
            found.setdefault(correction.record, []).append(correction)
        else:
            skipped.append(Skipped(correction.record, "no-usage-row"))
    return dict(sorted(found.items())), skipped


class _Stated(shapes.TokenCounts):
    """A token object taken apart; `shape` is the form in which it is to be written."""

    raw: Mapping[str, Any] = {}
    whole: int | None = None  # the prompt with its cache, where a correction proved it


def _stated(text: str | None, *, has_endpoint: bool) -> _Stated | None:
    try:
        raw = msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    problems: list[str] = []
    tokens = convert(raw, problems)
    if tokens is None or problems or not isinstance(raw, dict):
        return None
    counts = shapes.counts(tokens, has_endpoint=has_endpoint)
    return _Stated(**msgspec.structs.asdict(counts), raw=raw)


def _corrected(made: _Stated, before: _Stated, correction: Correction, row: Row) -> _Stated | str:
    """The object with one direction corrected, or the reason why it is not."""
    if correction.direction == OUTPUT:
        return _with_output(made, before, correction)
    unknown = correction.cache_creation_input_tokens is None and made.written is None
    # The form has a 0 for what is not known, which of such a provider would say too much.
    if unknown and states_writes(upstream_of(row.provider)):
        return "not-whole"
    return _with_input(made, before, correction)


def _with_output(made: _Stated, before: _Stated, correction: Correction) -> _Stated | str:
    output, reasoning = correction.output_tokens, correction.reasoning_output_tokens
    if output is None:
        return "not-whole"
    if made.completion == output and (reasoning or None) == (made.reasoning or None):
        return made
    recorded = _recorded(correction)
    if recorded and recorded[0] not in _outputs(before):
        return "changed-since"
    if made.shape == SHORT:
        return "not-whole"  # it can only be written anew as a whole
    if made.shape == TWIN and output != made.completion:
        return "written-twice"
    return replace(made, completion=output, reasoning=reasoning)


def _with_input(made: _Stated, before: _Stated, correction: Correction) -> _Stated | str:
    uncached, cached = correction.uncached_input_tokens, correction.cached_input_tokens
    written = correction.cache_creation_input_tokens
    if uncached is None or cached is None or correction.unsplit_input_tokens:
        return "not-whole"
    whole = uncached + cached + (written or 0)
    recorded = _recorded(correction)
    if _says_so_already(made, recorded, (uncached, cached, written or 0)):
        return made
    if recorded and (before.prompt or 0) not in _prompts(recorded):
        return "changed-since"
    if made.shape == TWIN:
        # Its other record is known by the same prompt, so only the cache may change.
        unchanged = (made.read or 0, made.written or 0) == (cached, written or 0)
        if made.prompt not in (whole, uncached) or unchanged:
            return "written-twice"
        return replace(made, read=cached, written=written or 0, whole=whole)
    shape = shapes.CANONICAL
    return replace(made, shape=shape, prompt=whole, read=cached, written=written or 0, whole=whole)


def _says_so_already(
    made: _Stated, recorded: list[int | None], wanted: tuple[int, int, int]
) -> bool:
    """Whether the object needs no change.

    Only a canonical one tells whether its prompt holds the cache. Where another was read otherwise
    than it is to be, the same numbers do not say so.
    """
    uncached, cached, written = wanted
    if (made.read, made.written or 0) != (cached, written) or made.shape == SHORT:
        return False
    whole = uncached + cached + written
    if made.shape == shapes.CANONICAL:
        return made.prompt == whole
    if recorded and recorded[0] != uncached:
        return False
    return made.prompt == whole or (made.shape == TWIN and made.prompt == uncached)


def _outputs(before: _Stated) -> set[int]:
    """The outputs of a row, with and without its reasoning."""
    completion = before.completion or 0
    return {completion, completion + (before.reasoning or 0)}


def _recorded(correction: Correction) -> list[int | None]:
    """The buckets that were recorded, uncached first and unsplit last, or output and reasoning."""
    parts = correction.recorded.split("/") if correction.recorded else []
    return [int(part) if part.isdigit() else None for part in parts]


def _prompts(recorded: list[int | None]) -> set[int]:
    """The prompts that a row may state whose buckets were these, be its cache in it twice."""
    uncached, cached, creation, _, unsplit = (*recorded, None, None, None, None, None)[:5]
    cache = (cached or 0) + (creation or 0)
    whole = (uncached or 0) + cache + (unsplit or 0)
    return {whole, whole + cache, uncached or 0, unsplit or 0}


def _tokens(made: _Stated) -> str:
    """The token object in the form in which 9router would write it."""
    prompt, completion = made.prompt or 0, made.completion or 0
    found: dict[str, Any]
    if made.shape == shapes.CANONICAL:
        found = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "cached_tokens": made.read or 0,
            "cache_creation_input_tokens": made.written or 0,
        }
        if made.reasoning:
            found["reasoning_tokens"] = made.reasoning
    elif made.shape == TWIN:
        found = {
            **made.raw,
            "cache_read_input_tokens": made.read or 0,
            "cache_creation_input_tokens": made.written or 0,
            "reasoning_tokens": made.reasoning or 0,
        }
    else:
        found = {**made.raw, "completion_tokens": completion}
        if made.reasoning is not None:
            found["reasoning_tokens"] = made.reasoning
        if "total_tokens" in found:
            found["total_tokens"] = prompt + completion
    return msgspec.json.encode(found).decode()


def _extra(stated: _Stated) -> tuple[int, int, int]:
    return stated.read or 0, stated.written or 0, stated.reasoning or 0


def _cost(
    row: Row, before: RowCounts, after: RowCounts, overrides: Overrides
) -> tuple[float | None, str | None]:
    """What the corrected counts cost at the row's own rates; the stored cost where none fits."""
    stored = row.state.cost
    rates = rates_of(row.provider, row.model, row.timestamp, (before, stored or 0.0), overrides)
    if rates is not None:
        return cost_of(rates, after), None
    return stored, "cost-unknown" if stored else None
