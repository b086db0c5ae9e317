"""Fills outputs that a client never wrote from what it states of its agents and its sessions.

A client tells the thread that waits for an agent what the agent's last response took, and keeps
totals of each session. What a total states beyond its calls belongs to the one call of them whose
output is not the last; over several such calls it is only a bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import polars as pl

from tallybook.derive.corrections import COUNTS, INPUT_COUNTS, OUTPUT_COUNTS, at_begin, recorded
from tallybook.derive.reconcile import (
    ASSERTED,
    COMPARED,
    asserted,
    best_of,
    is_counted,
    running_totals,
)
from tallybook.schema import (
    AGENT_ENDS,
    AGENT_NOTICE,
    BOUND,
    CALL,
    CAPTURE_TOTAL,
    EVENT,
    INPUT,
    OUTPUT,
    RESPONSE,
    SUM,
)
from tallybook.sources import sources

# How the evidence was kept: told to the thread that waits for an agent, or in a total.
PARENT: Final = "parent"
TOTALS: Final = "totals"
_STATES_TOTALS: Final = tuple(name for name, source in sources().items() if source.states_totals)
_INPUTS: Final = COMPARED[:-1]
_OUTPUT: Final = COMPARED[-1]
_ONE_HOUR: Final = "cache_creation_1h_input_tokens"
_WHO: Final = ("source", "root_thread_id", "thread_id", "model", "requested_model")
_FREE: Final = pl.col("duplicate_of").is_null()


class Told(NamedTuple):
    """What bears on lost outputs, of all rows of the sources that state totals.

    `open` are the calls that state no more than their stream began with. `sums` has of each thread
    and model how many `calls` there are, what their prompts and outputs come to, when the `last`
    was, and how many state no output (`silent`); open calls are in all but the outputs. `copies`
    are calls of other conversations that a thread begins with, and those that count in another
    source. `cut` are the ids of calls that broke off, of which no total holds the output.
    """

    open: pl.DataFrame
    sums: pl.DataFrame
    copies: pl.DataFrame
    ends: pl.DataFrame
    totals: pl.DataFrame
    cut: pl.DataFrame


def told(rows: pl.LazyFrame) -> list[pl.LazyFrame]:
    """The frames of `Told` in one batch of USAGE rows."""
    rows = rows.filter(pl.col("source").is_in(_STATES_TOTALS))
    stated = pl.col("kind").is_in([CALL, SUM])
    is_open = at_begin()
    counted = rows.filter(stated & _FREE)
    place = ("path", "record", "part")
    # A turn's own total is one of the main conversation, whatever models answered in it.
    turn = (pl.col("evidence") == CAPTURE_TOTAL) & ~pl.col("running")
    turns = rows.filter(turn, pl.col("duplicate_reason") == "capture").with_columns(
        model=pl.lit(None, pl.String)
    )
    return [
        counted.filter(is_open, pl.col("kind") == CALL).select(
            "call_id",
            *_WHO,
            *COMPARED,
            "timestamp",
            recorded_input=recorded(tuple(COUNTS[name] for name in INPUT_COUNTS)),
            recorded_output=recorded(tuple(COUNTS[name] for name in OUTPUT_COUNTS)),
        ),
        counted.group_by(_WHO).agg(
            pl.len().cast(pl.Int64).alias("calls"),
            (~is_open & pl.col(_OUTPUT).is_null()).sum().cast(pl.Int64).alias("silent"),
            pl.col(_INPUTS).sum(),
            pl.col(_OUTPUT).filter(~is_open).sum(),
            last=pl.col("timestamp").max(),
        ),
        rows.filter(pl.col("kind") == CALL, ~_FREE, pl.col("is_copy") | is_counted())
        .select("duplicate_of", *_WHO, *COMPARED, "finished", own=is_counted())
        .unique(),
        rows.filter((pl.col("kind") == RESPONSE) & pl.col("part").is_in(AGENT_ENDS)).select(
            "thread_id", *COMPARED, _ONE_HOUR, "reasoning_output_tokens", "reported_total_tokens",
            "timestamp", *place,
        ),
        pl.concat([running_totals(rows), turns]).select(*ASSERTED, *place),
        rows.filter((pl.col("kind") == EVENT) & ~pl.col("finished")).select("call_id").unique(),
    ]  # fmt: skip


class Lost(msgspec.Struct):
    """What was found: `corrections` (CORRECTIONS) and why other calls are not filled, by id."""

    corrections: pl.DataFrame
    reasons: dict[str, str]


class _Search(msgspec.Struct):
    """The open calls by id, and what is known of each by now.

    `outputs` are last ones; `prompts`, `filled` and `bounded` corrections by the id of their call.
    """

    open: dict[str, dict[str, Any]]
    outputs: dict[str, int]
    cut: set[str]
    prompts: dict[str, dict[str, Any]] = {}
    filled: dict[str, dict[str, Any]] = {}
    bounded: dict[str, dict[str, Any]] = {}
    reasons: dict[str, str] = {}

    def fill(self, call: str, output: int, method: str, by: dict[str, Any], rule: str) -> None:
        """Settle a call; `by` is the row of the evidence."""
        row = self.open[call]
        self.outputs[call] = output
        self.bounded.pop(call, None)
        self.reasons.pop(call, None)
        self.filled[call] = _correction(row, method, output, by, rule)

    def fill_prompt(self, call: str, method: str, by: dict[str, Any], rule: str) -> None:
        """Put a prompt where there were zeros; `by` states it."""
        row = self.open[call]
        blank = dict.fromkeys((_OUTPUT, "reasoning_output_tokens"))
        self.prompts[call] = _correction(row, method, 0, by, rule) | blank | {
            "direction": INPUT,
            "recorded": row["recorded_input"],
            "unsplit_input_tokens": 0,
            **{name: by[name] or 0 for name in _INPUTS},
            _ONE_HOUR: by.get(_ONE_HOUR),
        }  # fmt: skip


def _correction(
    row: dict[str, Any], method: str, output: int, by: dict[str, Any], rule: str
) -> dict[str, Any]:
    return {
        "call_id": row["call_id"],
        "source": row["source"],
        "direction": OUTPUT,
        "method": method,
        "recorded": row["recorded_output"],
        _OUTPUT: output,
        "reasoning_output_tokens": by.get("reasoning_output_tokens"),
        **{f"evidence_{name}": by[name] for name in ("path", "record", "part")},
        "rule": rule,
    }


def lost_outputs(found: Told, calls: pl.DataFrame, known: pl.DataFrame, schema: pl.Schema) -> Lost:
    """What the client's own statements tell of the open calls that nothing else has filled.

    `calls` have the counts of all calls, `known` the corrections so far; `schema` is theirs.
    """
    outputs = known.filter(pl.col("direction") == OUTPUT).select("call_id", _OUTPUT)
    search = _Search(
        open={row["call_id"]: row for row in found.open.iter_rows(named=True)},
        outputs=dict(outputs.iter_rows()),
        cut=set(found.cut["call_id"]),
    )
    if search.open:
        _take_ends(search, found)
        _take_totals(search, found, calls)
    rows = [*search.prompts.values(), *search.filled.values(), *search.bounded.values()]
    return Lost(pl.DataFrame(rows, schema=schema), search.reasons)


def _take_ends(search: _Search, found: Told) -> None:
    """Fills the last call of an agent with what the waiting thread was told of it."""
    by_thread: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in search.open.values():
        by_thread[row["thread_id"]].append(row)
    alike = found.sums.group_by("thread_id").agg(pl.col("calls").sum(), pl.col("last").max())
    threads = {thread: (calls == 1, last) for thread, calls, last in alike.iter_rows()}
    told_of: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for end in found.ends.sort("path", "record").iter_rows(named=True):
        is_alone, last = threads.get(end["thread_id"], (False, None))
        met = [
            (row["call_id"], _last_output(row, end, is_alone, row["timestamp"] == last))
            for row in by_thread[end["thread_id"]]
        ]
        fits = [(call, output) for call, output in met if output is not None]
        if len(fits) == 1:
            told_of[fits[0][0]].append((fits[0][1], end))
    for call, said in told_of.items():
        if call in search.outputs or call in search.cut:
            continue
        if len({tuple(end[name] for name in COMPARED) for _, end in said}) > 1:
            search.reasons[call] = "evidence-disagrees"
            continue
        output, end = said[0]
        rule = "what the waiting thread was told of the agent"
        search.fill(call, output, PARENT, end, rule)
        if _is_blank(search.open[call]):
            search.fill_prompt(call, PARENT, end, rule)


def _is_blank(row: dict[str, Any]) -> bool:
    """Whether nothing of the call was ever written."""
    return not any(row[name] for name in COMPARED)


def _last_output(
    row: dict[str, Any], end: dict[str, Any], is_alone: bool, is_last: bool
) -> int | None:
    """The output of a call whose prompt is the one that the end of its agent states.

    It must have grown: a count that has not may be as much of a first one. Where only a total is
    stated, the call must be alone in its thread, or the last of an agent that ran aside; where the
    call states nothing, the last of it.
    """
    if None not in (row["timestamp"], end["timestamp"]) and end["timestamp"] < row["timestamp"]:
        return None
    output = end[_OUTPUT]
    if output is None:
        prompt = [row[name] for name in _INPUTS]
        is_told = is_alone or (is_last and end["part"] == AGENT_NOTICE)
        if not is_told or not any(prompt) or None in prompt:
            return None
        output = (end["reported_total_tokens"] or 0) - sum(prompt)
    elif (
        end[_INPUTS[0]] is None
        or (_is_blank(row) and not is_last)
        or (
            not _is_blank(row)
            and any(end[name] is not None and end[name] != (row[name] or 0) for name in _INPUTS)
        )
    ):
        return None
    return int(output) if output > (row[_OUTPUT] or 0) else None


class _Members(msgspec.Struct):
    """The calls of a conversation and model, and those that it had taken over from another one.

    `prompts` and `output` are sums, the latter of the last counts alone; `silent` state none.
    """

    prompts: list[int] = msgspec.field(default_factory=lambda: [0] * len(_INPUTS))
    output: int = 0
    silent: int = 0
    open: set[str] = set()
    copied: dict[str, list[int]] = {}

    def add(self, prompts: Iterable[int | None], output: int | None, silent: int = 0) -> None:
        """Put one more call, or the sums of several, to them."""
        added = zip(self.prompts, prompts, strict=True)
        self.prompts = [one + (other or 0) for one, other in added]
        self.output += output or 0
        self.silent += silent


class _Rest(NamedTuple):
    """What a total leaves to calls without a last output: those by id, and the total's row.

    `prompt` is what it leaves of the prompts to the one call that states nothing at all.
    """

    output: int
    calls: tuple[str, ...]
    by: dict[str, Any]
    prompt: dict[str, int] | None = None


def _take_totals(search: _Search, found: Told, calls: pl.DataFrame) -> None:
    """Fills what totals leave to one call, until they leave no more; the rest bounds several."""
    held = found.totals.with_row_index("row")
    places = held.select("row", "path", "record", "part")
    totals = asserted(best_of(held.select("row", *ASSERTED))).join(places, on="row")
    members = _members(search, found, calls)
    order = ("source", "thread", "model")
    rests = [
        rest
        for total in totals.sort(order).iter_rows(named=True)
        for rest in _rests(members.get(tuple(total[name] for name in order)), total, search)
    ]
    filled = -1
    while filled < len(search.filled):
        filled = len(search.filled)
        for rest in rests:
            _take_rest(search, rest)


_Key: TypeAlias = tuple[str | None, ...]


def _keys(row: dict[str, Any]) -> set[_Key]:
    """Whose totals a call is in: a client adds up by the model that it asked for."""
    models = {row["model"], row["requested_model"]} - {None}
    if row["thread_id"] == row["root_thread_id"]:
        models.add(None)
    return {(row["source"], row["root_thread_id"], model) for model in models}


def _members(search: _Search, found: Told, calls: pl.DataFrame) -> dict[_Key, _Members]:
    """The calls of each conversation and model."""
    every: dict[_Key, _Members] = defaultdict(_Members)
    for row in found.sums.iter_rows(named=True):
        for key in _keys(row):
            every[key].add([row[name] for name in _INPUTS], row[_OUTPUT], row["silent"])
    for call, row in search.open.items():
        for key in _keys(row):
            every[key].open.add(call)
    copied = found.copies["duplicate_of"].implode()
    counts = ("call_id", "uncached", "cached", "creation", "output")
    owners = calls.filter(pl.col("call_id").is_in(copied)).select(counts)
    owned = {call: [count or 0 for count in stated] for call, *stated in owners.iter_rows()}
    for row in found.copies.iter_rows(named=True):
        owner = owned.get(row["duplicate_of"])
        for key in _keys(row):
            if row["own"]:
                winner = owner[-1] if owner else None
                last = row[_OUTPUT] if row["finished"] is not False else winner
                every[key].add([row[name] for name in _INPUTS], last, int(last is None))
            elif owner is not None:
                every[key].copied[row["duplicate_of"]] = owner
    return every


def _rests(members: _Members | None, total: dict[str, Any], search: _Search) -> Iterator[_Rest]:
    """What a total leaves, where the prompts of just its calls come to what it states.

    They may be with what the conversation had taken over or without. A call that broke off is in
    the prompts of a total and not in its output.
    """
    if members is None or members.silent or total[_OUTPUT] is None:
        return
    for copied in ({}, members.copied):
        rest = {
            name: total[name] - members.prompts[at] - sum(counts[at] for counts in copied.values())
            for at, name in enumerate(_INPUTS)
            if total[name] is not None
        }
        left = sorted(members.open | (search.open.keys() & copied.keys()))
        blank = len(left) == 1 and _is_blank(search.open[left[0]])
        if not any(total[name] for name in rest) or (
            min(rest.values()) < 0 or not any(rest.values()) if blank else any(rest.values())
        ):
            continue
        last = sum(counts[-1] for call, counts in copied.items() if call not in search.open)
        if left and not search.cut.intersection(left):
            output = total[_OUTPUT] - members.output - last
            yield _Rest(output, tuple(left), total, rest if blank else None)
        return


def _take_rest(search: _Search, rest: _Rest) -> None:
    left = [call for call in rest.calls if call not in search.outputs]
    output = rest.output - sum(search.outputs.get(call, 0) for call in rest.calls)
    least = {call: search.open[call][_OUTPUT] or 0 for call in left}
    over = output - sum(least.values())
    if over < 0 or not left:
        return  # the total does not hold all of them
    if len(left) == 1 or over == 0:
        rule = "what the client's total leaves to the one call that lacks it"
        for call in left:
            search.fill(call, least[call] + over, TOTALS, rest.by, rule)
            if rest.prompt is not None:
                by = rest.by | dict.fromkeys(_INPUTS) | rest.prompt
                search.fill_prompt(call, TOTALS, by, rule)
        return
    for call in left:
        row, most = search.open[call], least[call] + over
        rule = f"at most what the client's total leaves to {len(left)} calls"
        if call not in search.bounded or most < search.bounded[call][_OUTPUT]:
            search.bounded[call] = _correction(row, BOUND, most, rest.by, rule)
            search.reasons.setdefault(call, "shared-remainder")
