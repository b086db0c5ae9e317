"""Assigns evidence to calls one to one, and refuses where more than one assignment is possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl


def settle(edges: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The edges (`call`, `seen_group`, `fills`, times) that are certain, and those refused.

    A call and a group that have only each other belong together. In a larger cluster any
    assignment is right if all of its evidence states the same counts and there is enough of it.
    """
    shared = (pl.len().over("call") > 1) | (pl.len().over("seen_group") > 1)
    alone, crowded = edges.filter(~shared), edges.filter(shared)
    if crowded.is_empty():
        return alone, crowded
    clustered = crowded.with_columns(cluster=pl.Series(_clusters(crowded)))
    taken: list[tuple[Any, ...]] = []
    for _, cluster in clustered.group_by("cluster", maintain_order=True):
        taken += _assigned(cluster)
    keys = {"call": edges.schema["call"], "seen_group": edges.schema["seen_group"]}
    chosen = pl.DataFrame(taken, schema=keys, orient="row")
    matched = crowded.join(chosen, on=list(keys), how="semi")
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
    if cluster["fills"].n_unique() > 1:
        return []
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
