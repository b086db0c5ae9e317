"""A search for the evidence of calls: what is still free, what was matched, what was refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from tallybook.backfill.matching import settle


@dataclass(slots=True)
class Search:
    """The calls and evidence still free, and the edges found so far.

    `matched` are certain; `refused` could be assigned in more than one way, `rejected` fit but for
    the prompt, `silent` belong to their calls and fill nothing.
    """

    calls: pl.DataFrame
    evidence: pl.DataFrame
    matched: list[pl.DataFrame] = field(default_factory=list)
    refused: list[pl.DataFrame] = field(default_factory=list)
    rejected: list[pl.DataFrame] = field(default_factory=list)
    silent: list[pl.DataFrame] = field(default_factory=list)

    def take(self, found: pl.DataFrame, proof: str) -> None:
        """Settle some edges, and leave calls and evidence of the settled ones out from now on."""
        matched, refused = settle(found)
        self.matched.append(matched.with_columns(proof=pl.lit(proof)))
        self.refused.append(refused)
        for gone in (matched, refused):
            self.calls = self.calls.join(gone, on="call", how="anti")
            self.evidence = self.evidence.join(gone, on="seen_group", how="anti")

    def left(self, found: pl.DataFrame) -> pl.DataFrame:
        """Those edges whose call and evidence are both still free."""
        return found.join(self.calls, on="call", how="semi").join(
            self.evidence, on="seen_group", how="semi"
        )
