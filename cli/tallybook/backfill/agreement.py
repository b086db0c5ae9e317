"""Judges a call beside its evidence: do they agree on what both state, and what would follow.

Every rule is an equality of whole numbers. Counts are compared after both were brought to disjoint
buckets, so that it does not matter which of the two held the cached tokens in its prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from typing import Final, NamedTuple

import polars as pl
import polars.selectors as cs

from tallybook.backfill.evidence import BODY, BUFFERED, FALSE_ZEROS
from tallybook.derive.corrections import of_call, of_evidence, or_zero, true
from tallybook.derive.normalize import dialect_holds

AGREES: Final = "agrees"
MISSING: Final = "missing"  # one of the two does not state it
DIFFERS: Final = "differs"
_AT_ONCE: Final = 20_000  # pairs; every rule takes its own columns while it is tried


class Rule(NamedTuple):
    """One way in which a call and its evidence can speak of the same prompt.

    `uncached`, `cached` and `creation` are what follows for the call where `holds`. A `silent` rule
    compares nothing, since one of the two does not state the prompt.
    """

    name: str
    holds: pl.Expr
    uncached: pl.Expr
    creation: pl.Expr
    silent: bool = False


def judge(pairs: pl.DataFrame) -> pl.DataFrame:
    """Adds `rule`, `fill_<count>`, `input_guard` and `output_guard` to pairs of call and evidence.

    `rule` is null where nothing follows for the prompt, and where two rules hold that lead to
    different counts (`torn`).
    """
    parts = [_judged(part.lazy()).collect() for part in pairs.iter_slices(_AT_ONCE)]
    return pl.concat(parts) if parts else _judged(pairs.lazy()).collect()


def _judged(pairs: pl.LazyFrame) -> pl.LazyFrame:
    return (
        pairs.with_columns(_states())
        .pipe(_with_rule)
        .pipe(_with_input_guard)
        .pipe(_with_output)
        .drop(cs.starts_with("_"))
    )


def _states() -> list[pl.Expr]:
    """What kind of statement the call's record makes of its prompt."""
    summed = or_zero(of_call("unsplit")) > 0
    split = ~summed & of_call("uncached").is_not_null()
    counts = [of_call(name) for name in ("uncached", "cached", "creation", "unsplit")]
    total = pl.when(pl.any_horizontal(count.is_not_null() for count in counts))
    no_writes = split & (or_zero(of_call("creation")) == 0) & of_call("source").is_in(FALSE_ZEROS)
    more = of_evidence("output") >= of_call("output")
    altered = of_call("source").is_in(list(BUFFERED))
    return [
        total.then(pl.sum_horizontal(counts)).alias("_total"),
        summed.alias("_summed"),
        (split & of_call("cached").is_null()).alias("_exclusive"),
        (split & of_call("cached").is_not_null()).alias("_whole"),
        # A split with no cache at all, from a tool that is known to have lost such counts.
        (no_writes & true(of_call("cached") == 0)).alias("_zero"),
        # As above, of what was written to the cache.
        no_writes.alias("_no_writes"),
        ((of_evidence("method") == BODY) & altered).alias("_is_body"),
        # The counts that a stream begins with, beside those that it ended with.
        (of_call("begun") & ~altered & more).alias("_begun"),
    ]


@cache
def _tried() -> list[pl.Expr]:
    """What follows of each rule where it holds, made once: they are long, and always the same."""
    rules = [*_rules(of_evidence("uncached")), *_buffered(), *_without_prompt()]
    return [
        pl.when(true(rule.holds))
        .then(
            pl.struct(
                rule=pl.lit(rule.name),
                uncached=rule.uncached,
                cached=of_evidence("cached"),
                creation=rule.creation,
                silent=pl.lit(rule.silent),
            )
        )
        .alias(f"_rule{number}")
        for number, rule in enumerate(rules)
    ]


def _with_rule(pairs: pl.LazyFrame) -> pl.LazyFrame:
    tried = _tried()
    found = [pl.col(rule.meta.output_name()) for rule in tried]
    return (
        pairs.with_columns(tried)
        .with_columns(_first=pl.coalesce(found), torn=_torn(found))
        .with_columns(pl.when(~pl.col("torn")).then("_first").alias("_first"))
        .with_columns(
            rule=pl.col("_first").struct.field("rule"),
            silent=true(pl.col("_first").struct.field("silent")),
            fill_uncached=pl.col("_first").struct.field("uncached"),
            fill_cached=pl.col("_first").struct.field("cached"),
            fill_creation=pl.col("_first").struct.field("creation"),
            fill_creation_1h=_lifetime(),
        )
        .with_columns(fill_unsplit=pl.when(pl.col("rule").is_not_null()).then(pl.lit(0, pl.Int64)))
        .drop("_first")
    )


def _torn(found: Iterable[pl.Expr]) -> pl.Expr:
    """Whether two rules hold that lead to different counts."""
    uncached = [rule.struct.field("uncached") for rule in found]
    return true(pl.max_horizontal(uncached) != pl.min_horizontal(uncached))


def _lifetime() -> pl.Expr:
    """Cache writes of one hour: as the evidence splits them, else as the record did."""
    found = pl.col("_first").struct.field("creation")
    return (
        pl.when(found == 0)
        .then(0)
        .when(found.is_not_null())
        .then(pl.coalesce(of_evidence("creation_1h"), of_call("creation_1h")))
    )


def _rules(uncached: pl.Expr, buffered: str = "") -> list[Rule]:
    """The rules for evidence that states its whole prompt; `uncached` may lack a known surplus."""
    complete = (
        uncached.is_not_null()
        & (uncached >= 0)
        & of_evidence("cached").is_not_null()
        & (or_zero(of_evidence("unsplit")) == 0)
        & ~of_evidence("open")
    )
    if buffered:
        complete &= pl.col(buffered)
    creation = pl.coalesce(of_evidence("creation"), of_call("creation"))
    cache = of_evidence("cached") + or_zero(of_evidence("creation"))
    total = uncached + of_evidence("cached") + or_zero(creation)
    same_cache = _same("cached") & _same("creation")
    more = cache > 0
    name = " without the surplus of the body" if buffered else ""
    sums = complete & pl.col("_summed") & same_cache
    split = complete & pl.col("_exclusive")
    bare = of_call("cached").is_null() & of_call("creation").is_null()
    same, same_uncached = pl.col("_total") == total, of_call("uncached") == uncached
    open_and_bare = of_call("open") & bare & more
    states = {
        "same prompt": sums & same,
        "same uncached prompt": split & same_uncached & _same("creation"),
        "same split": complete & pl.col("_whole") & same_uncached & same_cache,
        "false zero": complete & pl.col("_zero") & more & same,
        "false zero of the writes": complete & pl.col("_no_writes") & _states_writes() & same,
        "prompt without its cache": sums & open_and_bare & (of_call("unsplit") == uncached),
        "prompt with its cache": split & open_and_bare & (of_call("uncached") == total),
        "counts of the stream's begin": complete & _began(total),
        "cache added twice": complete & _folded_twice(uncached, cache),
        "cache taken from the prompt too often": complete & _held_once(uncached, cache),
    }
    return [Rule(f"{words}{name}", holds, uncached, creation) for words, holds in states.items()]


def _states_writes() -> pl.Expr:
    """Whether the same was read, and what was written is stated where it was not, or was at 0."""
    more = (of_evidence("creation") > 0) | (
        of_call("creation").is_null() & of_evidence("creation").is_not_null()
    )
    return (of_call("cached") == of_evidence("cached")) & more


def _began(total: pl.Expr) -> pl.Expr:
    """Whether the call states its first counts; the last ones replace them as a whole."""
    return true(pl.col("_begun")) & (or_zero(pl.col("_total")) <= total)


def _same_cache(cache: pl.Expr) -> pl.Expr:
    same = (of_call("cached") == of_evidence("cached")) & (
        or_zero(of_call("creation")) == or_zero(of_evidence("creation"))
    )
    return pl.col("_whole") & (cache > 0) & same


def _folded_twice(uncached: pl.Expr, cache: pl.Expr) -> pl.Expr:
    from_such = of_call("source").is_in(FALSE_ZEROS)
    return _same_cache(cache) & from_such & (of_call("uncached") == uncached + cache)


def _held_once(uncached: pl.Expr, cache: pl.Expr) -> pl.Expr:
    """Whether too much cache was taken from a prompt: it held that once only, or not at all."""
    return _same_cache(cache) & of_call("open") & (of_call("uncached") == uncached - cache)


def _buffered() -> list[Rule]:
    """The rules again, for bodies whose prompt a router had raised by a fixed number."""
    surplus = of_call("source").replace_strict(dict(BUFFERED), default=None, return_dtype=pl.Int64)
    return _rules(of_evidence("uncached") - surplus, "_is_body")


def _without_prompt() -> list[Rule]:
    """Rules where one of the two does not state its prompt at all."""
    cached = of_evidence("cached")
    creation = pl.coalesce(of_evidence("creation"), of_call("creation"))
    cache = cached + or_zero(creation)
    no_prompt = (
        of_evidence("uncached").is_null() & of_evidence("unsplit").is_null() & cached.is_not_null()
    )
    usable = no_prompt & ~of_evidence("open")
    rest = pl.col("_total") - cache
    agreed = _same("cached") & _same("creation")
    whole = of_evidence("uncached").is_not_null() & cached.is_not_null() & ~of_evidence("open")
    unstated = ~pl.col("_summed") & ~pl.col("_exclusive") & ~pl.col("_whole")
    summed = pl.col("_summed") & ~of_call("open")
    no_writes = pl.col("_no_writes") & ~pl.col("_zero") & _states_writes()
    states = (
        ("cache of a stated prompt", summed & agreed & (rest >= 0), rest),
        ("cache beside a prompt", pl.col("_exclusive") & ~of_call("open"), of_call("uncached")),
        ("cache beside a smaller prompt", of_call("open") & (rest < 0), pl.col("_total")),
        ("false zero", pl.col("_zero") & (cache > 0) & (rest >= 0), rest),
        ("false zero of the writes", no_writes & (rest >= 0), rest),
    )
    found = [(name, usable & holds, uncached) for name, holds, uncached in states]
    found.append(("only the answer states it", whole & unstated, of_evidence("uncached")))
    return [Rule(*rule, creation, silent=True) for rule in found]


def _same(name: str) -> pl.Expr:
    """Whether a count is the same, or one of the two does not state it."""
    return (
        of_call(name).is_null() | of_evidence(name).is_null() | (of_call(name) == of_evidence(name))
    )


def _with_input_guard(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """Whether the two state the same prompt, whatever may follow from it for its buckets."""
    stated = [of_evidence(name) for name in ("uncached", "cached", "creation", "unsplit")]
    total = pl.sum_horizontal(stated)
    unstated = of_evidence("uncached").is_null() & of_evidence("unsplit").is_null()
    surplus = pl.when(pl.col("_is_body")).then(
        of_call("source").replace_strict(dict(BUFFERED), default=0, return_dtype=pl.Int64)
    )
    readings = [total, of_evidence("uncached"), or_zero(of_evidence("unsplit"))]
    same = [pl.col("_total") == reading - more for reading in readings for more in (0, surplus)]
    equal = reduce(or_, (true(one) for one in same))
    ruled = pl.col("rule").is_not_null() & ~pl.col("silent")
    return pairs.with_columns(
        input_guard=pl.when(ruled | (equal & ~unstated))
        .then(pl.lit(AGREES))
        .when(pl.col("silent") | unstated | pl.col("_total").is_null())
        .then(pl.lit(MISSING))
        .otherwise(pl.lit(DIFFERS))
    )


def _with_output(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """The guard of the output, and the output with its reasoning as they would be filled."""
    outside = ~dialect_holds("output_holds_reasoning", "seen_dialect")
    same = of_call("output") == of_evidence("output")
    first = true(pl.col("_begun"))
    # Two first counts that agree do not make a last one.
    begun_twice = true(same) & of_evidence("is_first")
    # A record that leaves out the reasoning which the answer counts beside the text.
    bare = outside & (of_call("output") == of_evidence("output") - of_evidence("reasoning"))
    unstated = of_call("output").is_null() | of_evidence("output").is_null() | first
    lost = (
        first
        | of_call("reasoning").is_null()
        | ((of_call("reasoning") == 0) & of_call("source").is_in(FALSE_ZEROS))
    )
    reasoning = pl.when(lost).then(pl.coalesce(of_evidence("reasoning"), of_call("reasoning")))
    return pairs.with_columns(
        output_guard=pl.when(true(same | bare))
        .then(pl.lit(AGREES))
        .when(unstated)
        .then(pl.lit(MISSING))
        .otherwise(pl.lit(DIFFERS)),
        fill_output=pl.when(
            (true(same | bare) | of_call("output").is_null() | first) & ~begun_twice
        ).then(of_evidence("output")),
        fill_reasoning=pl.coalesce(reasoning, of_call("reasoning")),
    )
