"""Tells apart different calls that a gateway wrote under one response id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from tallybook.derive.beside import instead

_EVIDENCE = ("record_id", "request_id", "chain_id", "timestamp")


def reused_identities(rows: pl.DataFrame) -> pl.DataFrame:
    """Narrows `identity` where records under it share neither model nor any id nor the time.

    A response can change its model in mid-stream, but then its records still hang together by
    request, by record or by chain. Where they do not, the id was used again, and the records that
    hang together are one call each.
    """
    key = ("source", "identity")
    is_named = pl.col("identity").is_not_null() & pl.col("model").is_not_null()
    named = pl.when(is_named).then(pl.col("identity").hash() + pl.col("source").hash(1))
    ids = rows.select(id=named, both=named + pl.col("model").hash(2))
    models = ids.filter(pl.col("both").ne_missing(pl.col("both").shift()))
    if models["id"].n_unique() == models["both"].n_unique():
        return rows
    models = models.drop_nulls().unique()
    reused = models.filter(pl.col("id").is_duplicated())["id"].unique()
    columns = ("row", *key, "model", "part", *_EVIDENCE)
    suspects = rows.select(columns).filter(ids["id"].is_in(reused.implode()))
    narrowed = pl.DataFrame(
        [pair for _, group in suspects.group_by(key) for pair in _narrow(group)],
        schema={"row": suspects.schema["row"], "identity": pl.String},
        orient="row",
    )
    return instead(rows, narrowed)


def _narrow(group: pl.DataFrame) -> Iterable[tuple[int, str]]:
    calls = _components(group.rows(named=True))
    if len(calls) < 2 or len({frozenset(row["model"] for row in call) for call in calls}) < 2:
        return
    for call in calls:
        for row in call:
            mark = min(
                str(each["chain_id"] or each["record_id"] or each["timestamp"]) for each in call
            )
            yield row["row"], f"{row['identity']}|{mark}"


def _components(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows in groups that are linked by any equal piece of evidence."""
    groups: list[tuple[set[tuple[str, Any]], list[dict[str, Any]]]] = []
    for row in rows:
        marks = {(name, row[name]) for name in _EVIDENCE if row[name] is not None}
        linked = [group for group in groups if group[0] & marks]
        groups = [group for group in groups if not group[0] & marks]
        groups.append(
            (
                marks.union(*(group[0] for group in linked)),
                [*(each for group in linked for each in group[1]), row],
            )
        )
    return [members for _, members in groups]
