"""Matches calls and evidence one to one, and only where no other way to do so is left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tallybook.backfill.agreement import AGREES, DIFFERS, MISSING
from tallybook.backfill.evidence import METHODS, TWIN
from tallybook.derive.corrections import INPUT_COUNTS, OUTPUT_COUNTS, or_zero


@dataclass(slots=True)
class Search:
    """The calls and evidence still free, and the edges found so far.

    `every` are all calls, with their `names`. `matched` are certain; `refused` could be assigned in
    more than one way, `rejected` fit but for the prompt, `silent` belong to their calls and fill
    nothing.
    """

    every: pl.DataFrame
    names: pl.DataFrame
    evidence: pl.DataFrame
    calls: pl.DataFrame = field(init=False)
    matched: list[pl.DataFrame] = field(default_factory=list)
    refused: list[pl.DataFrame] = field(default_factory=list)
    rejected: list[pl.DataFrame] = field(default_factory=list)
    silent: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.calls = self.every

    def take(self, found: pl.DataFrame, proof: str) -> None:
        """Settle some edges, and leave calls and evidence of the settled ones out from now on."""
        matched, refused = settle(found, self.every.select("call", "alike"))
        order = pl.when("unordered").then(pl.lit(", in whichever order")).otherwise(pl.lit(""))
        self.matched.append(matched.with_columns(proof=pl.lit(proof) + order).drop("unordered"))
        self.refused.append(refused)
        for gone in (matched, refused):
            self.calls = self.calls.join(gone, on="call", how="anti")
            self.evidence = self.evidence.join(gone, on="seen_group", how="anti")

    def lend(self, found: pl.DataFrame, proof: str) -> None:
        """Settle some edges of calls that are free, and leave the evidence to its own calls."""
        kept = self.evidence
        self.take(found.join(self.calls, on="call", how="semi"), proof)
        self.evidence = kept

    def own(self, found: pl.DataFrame) -> None:
        """Leave out the evidence of these edges: it belongs to a call, and to no other one."""
        self.evidence = self.evidence.join(found, on="seen_group", how="anti")

    def left(self, found: pl.DataFrame) -> pl.DataFrame:
        """Those edges whose call and evidence are both still free."""
        return found.join(self.calls, on="call", how="semi").join(
            self.evidence, on="seen_group", how="semi"
        )


INPUT_FILLS: Final = tuple(f"fill_{name}" for name in INPUT_COUNTS)
OUTPUT_FILLS: Final = tuple(f"fill_{name}" for name in OUTPUT_COUNTS)
_PLACE: Final = ("evidence", "seen_method")
_GUARDS: Final = {AGREES: 0, MISSING: 1, DIFFERS: 2}


def edges(pairs: pl.DataFrame) -> pl.DataFrame:
    """One row for each call and record of evidence, from judged pairs of call and member.

    `input_fill` and `output_fill` are what would be filled, and from where; the first is null where
    nothing follows. `fills` is all of it in one text, by which two answers are told apart.
    """
    ruled, known = pl.col("rule").is_not_null(), pl.col("fill_output").is_not_null()
    by_reach: list[str | pl.Expr] = [
        pl.col("_cache") == 0,
        pl.col("seen_creation").is_null(),
        pl.col("fill_creation_1h").is_null(),
        "_rank",
        "evidence",
    ]
    return (
        _ranked(pairs)
        .sort("call", "seen_group", *by_reach)
        .group_by("call", "seen_group", maintain_order=True)
        .agg(
            pl.struct(*INPUT_FILLS, "rule", *_PLACE).filter(ruled).first().alias("input_fill"),
            pl.struct(*OUTPUT_FILLS, *_PLACE).filter(known).first().alias("output_fill"),
            pl.col("_input_rank").min(),
            pl.col("_output_rank").min(),
            pl.col("distance").abs().min(),
            pl.col("time", "seen_time").first(),
            clash=_clash(ruled) | pl.col("seen_disagrees").any(),
            disagrees=pl.col("seen_disagrees").any(),
            torn=pl.col("torn").any(),
            is_twin=(pl.col("seen_method") == TWIN).all(),
            # The prompt may be the same number and yet be read in another way on both sides.
            contradicts=(
                ~ruled
                & ~pl.col("open")
                & ~pl.col("seen_open")
                & pl.all_horizontal(pl.col("seen_uncached", "seen_cached").is_not_null())
            ).any(),
            unproved=(
                (pl.col("open") | pl.col("seen_open")) & pl.col("seen_cached").is_not_null()
            ).any(),
            codes=pl.col("seen_problems").list.explode(empty_as_null=False).unique(),
        )
        .with_columns(
            input_fill=pl.when(~pl.col("clash")).then("input_fill"),
            output_fill=pl.when(~pl.col("disagrees")).then("output_fill"),
        )
        .drop("disagrees")
        .with_columns(fills=_fills())
        .collect()
    )


def _clash(ruled: pl.Expr) -> pl.Expr:
    """Whether the members of one record of evidence split the prompt in two ways.

    They do not where one merely knows less: no lifetime of the writes, or no writes, which are then
    beside its uncached prompt or within it.
    """
    positive = ruled & (pl.col("_cache") > 0)

    def differs(count: pl.Expr) -> pl.Expr:
        return count.filter(positive).drop_nulls().n_unique() > 1

    uncached, cached = pl.col("fill_uncached"), pl.col("fill_cached")
    whole = uncached + cached + or_zero(pl.col("fill_creation"))
    return differs(cached) | differs(pl.col("seen_creation")) | (differs(uncached) & differs(whole))


def _ranked(pairs: pl.DataFrame) -> pl.LazyFrame:
    return pairs.lazy().with_columns(
        # A member that lost the cached count states a zero or nothing, so more is better.
        _cache=or_zero(pl.col("fill_cached")) + or_zero(pl.col("fill_creation")),
        _rank=pl.col("seen_method").replace_strict({m: n for n, m in enumerate(METHODS)}),
        _input_rank=pl.col("input_guard").replace_strict(_GUARDS, return_dtype=pl.Int64),
        _output_rank=pl.col("output_guard").replace_strict(_GUARDS, return_dtype=pl.Int64),
    )


def _fills() -> pl.Expr:
    inputs = [pl.col("input_fill").struct.field(name) for name in INPUT_FILLS]
    outputs = [pl.col("output_fill").struct.field(name) for name in OUTPUT_FILLS]
    texts = [count.cast(pl.String).fill_null("-") for count in (*inputs, *outputs)]
    return pl.concat_str(texts, separator="/")


def agrees(direction: str) -> pl.Expr:
    """Whether call and evidence state the same of a direction."""
    return pl.col(f"_{direction}_rank") == _GUARDS[AGREES]


def differs(direction: str) -> pl.Expr:
    """Whether call and evidence contradict each other in a direction."""
    return pl.col(f"_{direction}_rank") == _GUARDS[DIFFERS]


def settle(edges: pl.DataFrame, alike: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The edges (`call`, `seen_group`, `fills`, times) that are certain, and those refused.

    A call and a group that have only each other belong together. In a larger cluster any
    assignment is right if all of its evidence states the same counts and there is enough of it. It
    is right for their sum where calls that are `alike` and their evidence are as many, and any of
    it fits any of them: nobody can tell which is whose, and nothing depends on it (`unordered`).
    """
    shared = (pl.len().over("call") > 1) | (pl.len().over("seen_group") > 1)
    alone, crowded = edges.filter(~shared), edges.filter(shared)
    alone = alone.with_columns(unordered=pl.lit(value=False))
    if crowded.is_empty():
        return alone, crowded
    clustered = crowded.join(alike, on="call", how="left", maintain_order="left").with_columns(
        cluster=pl.Series(_clusters(crowded))
    )
    taken: list[tuple[int, int, bool]] = []
    for _, cluster in clustered.group_by("cluster", maintain_order=True):
        is_one = cluster["fills"].n_unique() == 1
        found = _assigned(cluster) if is_one else _assigned_to_alike(cluster)
        taken += [(call, group, not is_one) for call, group in found]
    keys = {"call": edges.schema["call"], "seen_group": edges.schema["seen_group"]}
    chosen = pl.DataFrame(taken, schema={**keys, "unordered": pl.Boolean}, orient="row")
    matched = crowded.join(chosen, on=list(keys), how="inner", maintain_order="left")
    refused = crowded.join(matched, on="call", how="anti").join(
        matched, on="seen_group", how="anti"
    )
    return pl.concat([alone, matched]), refused


def _clusters(edges: pl.DataFrame) -> list[int]:
    """For every edge the number of the cluster of calls and groups that hang together."""
    parents: dict[int, int] = {}

    def top(node: int) -> int:
        while (parent := parents.setdefault(node, node)) != node:
            parents[node] = parents[parent]
            node = parent
        return node

    # Calls are counted upwards from nothing and groups downwards, so that no two nodes are one.
    pairs = [(call, -group) for call, group in edges.select("call", "seen_group").iter_rows()]
    for call, group in pairs:
        parents[top(call)] = top(group)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(top(call), len(numbers)) for call, _ in pairs]


def _assigned(cluster: pl.DataFrame) -> Iterable[tuple[int, int]]:
    """A group for each call of the cluster in the order of time; nothing where one is left out."""
    calls: dict[int, list[int]] = {}
    for call, group in (
        cluster.sort("time", "call", "seen_time", "seen_group")
        .select("call", "seen_group")
        .iter_rows()
    ):
        calls.setdefault(call, []).append(group)
    used: dict[int, int] = {}
    for call, groups in calls.items():
        free = next((group for group in groups if group not in used), None)
        if free is None:
            return []
        used[free] = call
    return [(call, group) for group, call in used.items()]


def _assigned_to_alike(cluster: pl.DataFrame) -> Iterable[tuple[int, int]]:
    """A group for each call, where only their order is unknown; else nothing."""
    calls = cluster.sort("time", "call")["call"].unique(maintain_order=True).to_list()
    groups = cluster.sort("seen_time", "seen_group")["seen_group"].unique(maintain_order=True)
    fits_any = cluster.height == len(calls) * len(groups) and len(calls) == len(groups)
    is_whole = cluster["input_fill"].struct.field("rule").null_count() == 0
    if not (fits_any and is_whole and cluster["alike"].n_unique() == 1):
        return []
    return list(zip(calls, groups, strict=True))
