"""Pairs the calls that a router forwarded with those that its client logged: each is one call.

No id is common to both logs. What proves a pair is the request that the router kept: it names the
client's thread, brings the results of the tools that the call before asked for, or began in the
millisecond that the client was given as the id of the answer. Equal counts alone are no proof, yet
a whole session of them is strong evidence, and is said to be no more than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import polars as pl

from tallybook.derive.duplicates.requests import REQUEST
from tallybook.derive.duplicates.routes import (
    CLOCKS_MS,
    LONGEST_TOOL_MS,
    OUTPUT,
    STORED,
    TURN_MS,
    WHEN,
    at_client,
    at_router,
    bare_model,
    is_router,
    milliseconds,
)
from tallybook.derive.problems import has_problem
from tallybook.schema import CACHE_TWICE, CALL, COUNTED_KINDS, LOG, MOST_AT_BEGIN

SURPLUS: Final = 2000  # tokens that a router adds to the prompt that it shows a client
LEAST: Final = 3  # calls of a session with a cache that pair by their counts
_AFTER_MS: Final = 10_000  # a row is written so soon after the client's last line
_EARLY_MS: Final = 5
_FREE: Final = pl.col("kind").is_in(COUNTED_KINDS) & pl.col("duplicate_of").is_null()
_COUNTS: Final = (
    "uncached_input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)
_MESSAGE_MS: Final = r"^(\d{13})(?:\||$)"  # what a router puts in the place of a message's id


class Pair(NamedTuple):
    """Rows of a router and of its client that are one call; `words` say why it is no proof."""

    router: int
    client: int
    is_router_better: bool
    words: str | None = None


class _Call(NamedTuple):
    """A call of a client; `before` and `last` are when the call before and it itself were last
    written of, in milliseconds."""

    row: int
    session: str
    thread: str
    last: int
    before: int | None
    waits_for_tools: bool
    has_cache: bool
    states_counts: bool
    routed: bool


class _Edge(NamedTuple):
    """What speaks for a row and a call being one; less is better, field by field."""

    rank: int
    apart: int
    router: int
    client: int
    is_router_better: bool
    is_proof: bool
    in_order: bool  # a proof, if it lies between what the calls before and behind it are
    later: int  # how much later the row is than the call's last line
    surplus: int | None  # None where the counts are not equal


def pairs(rows: pl.DataFrame) -> list[Pair]:
    """The pairs among rows that count; `rows` carry `request`, see `with_requests`."""
    routed = _routed(rows)
    calls = routed if routed.is_empty() else _calls(rows, routed)
    if calls.is_empty():
        return []
    known = {call.row: call for call in map(_call, calls.iter_rows(named=True))}
    edges = sorted(_edges(rows, routed, calls))
    taken: dict[int, _Edge] = {}
    rows_taken: set[int] = set()
    _take((edge for edge in edges if edge.is_proof), taken, rows_taken)
    _take_in_order((edge for edge in edges if edge.in_order), known, taken, rows_taken)
    proved = set(taken)
    words = _take_sessions(edges, known, taken, rows_taken)
    return [
        Pair(edge.router, call, edge.is_router_better, None if call in proved else words[call])
        for call, edge in sorted(taken.items())
    ]


def _routed(rows: pl.DataFrame) -> pl.DataFrame:
    """The free rows of routers."""
    facts = pl.col(REQUEST).struct
    return at_router(rows.filter(_FREE, is_router())).select(
        *_numbered("router"),
        OUTPUT,
        WHEN,
        r_ms="_ms",
        r_twice=has_problem(CACHE_TWICE),
        asker=facts.field("asker"),
        brought=facts.field("tool_ids"),
        begun=facts.field("begun"),
        answer_id=facts.field("answer_id"),
    )


def _numbered(name: str) -> list[pl.Expr]:
    short = name[0]
    counts = [pl.col(column).alias(f"{short}_{column}") for column in _COUNTS]
    return [pl.col("row").alias(name), bare_model("model").alias(f"{short}_model"), *counts]


def _calls(rows: pl.DataFrame, routed: pl.DataFrame) -> pl.DataFrame:
    """The free calls of the threads that may have gone through a router, in order by thread."""
    askers = routed["asker"].drop_nulls().unique()
    own = (pl.col("kind") == CALL) & (pl.col("evidence") == LOG) & ~is_router()
    own &= pl.col("thread_id").is_not_null() & (pl.col("source") != STORED)
    session = pl.col("root_thread_id").fill_null(pl.col("thread_id"))
    named = rows.filter(own).filter(
        pl.col("routed").any().over("root_thread_id")
        | pl.col("thread_id").is_in(askers.implode())
        | pl.col("root_thread_id").is_in(askers.implode())
    )
    # Every record of a call counts here, those that yielded to another among them.
    last = named.group_by(_call=pl.coalesce("duplicate_of", "call_id")).agg(
        last=milliseconds().max(), asked=pl.col("tool_ids").explode(empty_as_null=False).unique()
    )
    return (
        named.filter(_FREE)
        .select(
            *_numbered("client"),
            "thread_id",
            "identity",
            "response_id",
            "routed",
            "finished",
            _output="reported_output_tokens",
            _call="call_id",
            session=session,
            c_requested=bare_model("requested_model"),
            waits_for_tools=pl.col("source") == "codex",
        )
        .join(last, on="_call", how="inner")
        .drop_nulls("last")
        .sort("thread_id", "last", "client")
        .with_columns(before=pl.col("last").shift().over("thread_id"))
        .with_columns(previous=pl.col("asked").shift().over("thread_id"))
    )


def _call(row: dict[str, Any]) -> _Call:
    return _Call(
        row["client"],
        row["session"],
        row["thread_id"],
        row["last"],
        row["before"],
        row["waits_for_tools"],
        bool(row["c_cached_input_tokens"] or row["c_cache_creation_input_tokens"]),
        row["c_output_tokens"] is not None,
        row["routed"],
    )


def _edges(rows: pl.DataFrame, routed: pl.DataFrame, calls: pl.DataFrame) -> Iterator[_Edge]:
    """Every pair that anything speaks for, once."""
    left, right = routed, calls
    where = at_client(rows.filter(pl.col("row").is_in(calls["client"].implode())))
    slots = where.select(OUTPUT, WHEN, client="row")
    asked = pl.col("asker").alias("thread_id")
    of_thread = right.with_columns(thread_id=pl.concat_list("thread_id", "session").list.unique())
    tools = right.with_columns(tool_ids="previous").explode("tool_ids")
    found = [
        left.select("router", OUTPUT, WHEN).join(slots, on=[OUTPUT, WHEN]),
        left.select("router", asked)
        .drop_nulls()
        .join(of_thread.explode("thread_id"), on="thread_id"),
        left.select("router", tool_ids="brought").explode("tool_ids").join(tools, on="tool_ids"),
        left.select("router", response_id="answer_id").join(right, on="response_id"),
    ]
    met = pl.concat([each.select("router", "client") for each in found]).unique()
    judged = (
        met.join(left, on="router")
        .join(right, on="client")
        .with_columns(**_signs())
        .filter(pl.any_horizontal("is_proof", "in_order", pl.col("surplus").is_not_null()))
        .select(*_Edge._fields)
    )
    for row in judged.iter_rows():
        yield _Edge(*row)


def _signs() -> dict[str, pl.Expr]:
    """The fields of an edge, of a router's row beside a client's call."""
    surplus = _surplus()
    same_output = (pl.col("r_output_tokens") == pl.col("c_output_tokens")).fill_null(value=False)
    few = pl.col("c_output_tokens").fill_null(0) <= MOST_AT_BEGIN
    doubtful = few | ~pl.col("finished").fill_null(value=True)
    later = pl.col("r_ms") - pl.col("last")
    same_model = (pl.col("r_model") == pl.col("c_model")) | (
        pl.col("r_model") == pl.col("c_requested")
    )
    near = later.is_between(-TURN_MS, LONGEST_TOOL_MS) | _within_turn()
    asker = (pl.col("asker") == pl.col("thread_id")) | (pl.col("asker") == pl.col("session"))
    by_answer = (pl.col("answer_id") == pl.col("response_id")).fill_null(value=False)
    shares = pl.col("brought").list.set_intersection("previous").list.len() > 0
    by_tool = (shares & (near | asker)).fill_null(value=False)
    minted = pl.col("identity").str.extract(_MESSAGE_MS).cast(pl.Int64)
    by_clock = ((minted - pl.col("begun")).abs() <= _EARLY_MS) & same_output & _same("cached")
    plain = surplus.is_not_null() | (same_output & near) | (doubtful & _soon(later))
    named = asker & same_model
    by_thread = (named & plain).fill_null(value=False)
    # The clocks of two machines may differ, those of a router and its client among them.
    in_order = named & (same_output | doubtful) & (later.abs() <= CLOCKS_MS)
    by_clock = by_clock.fill_null(value=False)
    grade = (
        pl.when(by_answer).then(0).when(by_tool).then(1).when(by_clock).then(2)
        .when(surplus.is_not_null()).then(3).when(same_output).then(4).otherwise(5)
    )  # fmt: skip
    worse = (surplus == SURPLUS) | ~same_output | pl.col("c_uncached_input_tokens").is_null()
    return {
        "rank": grade.cast(pl.Int64),
        "apart": later.abs(),
        "is_router_better": worse.fill_null(value=True) & ~pl.col("r_twice"),
        "is_proof": by_answer | by_tool | by_clock | by_thread,
        "in_order": in_order.fill_null(value=False),
        "later": later,
        "surplus": surplus,
    }


def _soon(later: pl.Expr) -> pl.Expr:
    return later.is_between(-_EARLY_MS, _AFTER_MS) | (pl.col("waits_for_tools") & _within_turn())


def _within_turn() -> pl.Expr:
    """Codex states counts when the tool has run, so its row lies between them and those before."""
    begun = pl.col("before").fill_null(pl.col("last") - LONGEST_TOOL_MS)
    return pl.col("r_ms").is_between(begun, pl.col("last") + CLOCKS_MS)


def _same(name: str) -> pl.Expr:
    column = f"{name}_input_tokens"
    return pl.col(f"r_{column}").fill_null(0) == pl.col(f"c_{column}").fill_null(0)


def _surplus() -> pl.Expr:
    """What the client was shown beyond the router's count, where the counts are equal but for it.

    Each was normalised by its own way of counting, so a prompt that holds its cache and one that
    does not are alike by now. Writes that the router did not find are in its uncached prompt.
    """
    unsaid = pl.col("r_cache_creation_input_tokens").is_null()
    within = pl.when(unsaid).then("c_cache_creation_input_tokens").fill_null(0)
    more = pl.col("c_uncached_input_tokens") + within - pl.col("r_uncached_input_tokens")
    same = _same("cached") & (unsaid | _same("cache_creation"))
    same &= pl.col("r_output_tokens") == pl.col("c_output_tokens")
    return pl.when(same & more.is_in([0, SURPLUS])).then(more)


def _take(edges: Iterable[_Edge], taken: dict[int, _Edge], rows: set[int]) -> None:
    """Takes edges, the best first, whose row and call are both still free."""
    for edge in edges:
        if edge.client not in taken and edge.router not in rows:
            taken[edge.client] = edge
            rows.add(edge.router)


def _take_in_order(
    edges: Iterable[_Edge], calls: dict[int, _Call], taken: dict[int, _Edge], rows: set[int]
) -> None:
    """Takes what requests name the thread of: no pair of it is crossed, and all clocks differ so.

    One that is alone is as far apart as two clocks may be.
    """
    for edge in edges:
        if edge.client in taken or edge.router in rows:
            continue
        call = calls[edge.client]
        others = [(calls[one], other.later) for one, other in taken.items()]
        beside = [(o.last, later) for o, later in others if o.thread == call.thread]
        if all(
            (last < call.last) == (last + later < call.last + edge.later)
            and (call.waits_for_tools or abs(later - edge.later) <= _AFTER_MS)
            for last, later in beside
        ):
            _take([edge], taken, rows)


def _take_sessions(
    edges: Iterable[_Edge], calls: dict[int, _Call], taken: dict[int, _Edge], rows: set[int]
) -> dict[int, str]:
    """Takes the sessions whose calls all pair, each with one row and in order, and says why.

    A call of a session that does not pair leaves its other calls alone as well.
    """
    fits: dict[int, list[_Edge]] = defaultdict(list)
    for edge in edges:
        call = calls[edge.client]
        if edge.surplus is not None and call.routed and _lies_right(edge, call):
            fits[edge.client].append(edge)
    for name in ("session", "thread"):
        groups: dict[str, list[_Call]] = defaultdict(list)
        for call in calls.values():
            if call.states_counts:
                groups[getattr(call, name)].append(call)
        whole = [g for g in groups.values() if _may_pair(g, fits, taken)]
        found = _assigned(whole, fits, taken, rows)
        for group in _undisputed(whole, found, fits, taken):
            for call in group:
                if call.row not in taken:
                    taken[call.row] = found[call.row]
                    rows.add(found[call.row].router)
    return {call: _words(edge) for call, edge in taken.items()}


def _lies_right(edge: _Edge, call: _Call) -> bool:
    """Whether the row was written when the router must have: as the call's answer ended."""
    if not call.waits_for_tools:
        return -_EARLY_MS <= edge.later <= _AFTER_MS
    begun = -LONGEST_TOOL_MS if call.before is None else call.before - call.last
    return begun <= edge.later <= TURN_MS


def _may_pair(group: list[_Call], fits: dict[int, list[_Edge]], taken: dict[int, _Edge]) -> bool:
    """Whether all calls of a session have a row, and enough of them say something."""
    return (
        all(call.row in taken or fits.get(call.row) for call in group)
        and any(call.row not in taken for call in group)
        and sum(call.has_cache for call in group) >= LEAST
    )


def _assigned(
    groups: list[list[_Call]],
    fits: dict[int, list[_Edge]],
    taken: dict[int, _Edge],
    rows: set[int],
) -> dict[int, _Edge]:
    """For the calls, the earliest first, the nearest row that is still free."""
    found: dict[int, _Edge] = {}
    used = set(rows)
    for call in sorted((c for group in groups for c in group), key=lambda c: (c.last, c.row)):
        free = [edge for edge in fits.get(call.row, ()) if edge.router not in used]
        if call.row not in taken and free:
            found[call.row] = min(free, key=lambda edge: edge.apart)
            used.add(found[call.row].router)
    return found


def _undisputed(
    groups: list[list[_Call]],
    found: dict[int, _Edge],
    fits: dict[int, list[_Edge]],
    taken: dict[int, _Edge],
) -> list[list[_Call]]:
    """The sessions for which all was found, and no row that another one, which lacks some, fits."""
    edges = found | taken
    whole = [_is_whole(group, edges) for group in groups]
    left = [group for group, is_whole in zip(groups, whole, strict=True) if is_whole]
    lacking = [group for group, is_whole in zip(groups, whole, strict=True) if not is_whole]
    while lacking:
        wanted = {
            edge.router for group in lacking for call in group for edge in fits.get(call.row, ())
        }
        disputed = [any(edges[call.row].router in wanted for call in group) for group in left]
        lacking = [group for group, is_so in zip(left, disputed, strict=True) if is_so]
        left = [group for group, is_so in zip(left, disputed, strict=True) if not is_so]
    return left


def _is_whole(group: list[_Call], edges: dict[int, _Edge]) -> bool:
    """Whether all calls of a session have a row, in order by thread."""
    times: dict[str, int] = {}
    for call in sorted(group, key=lambda c: (c.last, c.row)):
        edge = edges.get(call.row)
        if edge is None or call.last + edge.later < times.get(call.thread, 0):
            return False
        times[call.thread] = call.last + edge.later
    return True


def _words(edge: _Edge) -> str:
    more = f" but for the {SURPLUS:,} that the router adds" if edge.surplus else ""
    return f"counts equal{more}, {abs(edge.later) / 1000:.3f} s apart, as in all of the session"
