"""A reading of a few made-up rows, in the place of what the ledger gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from tallybook.ledger.question import Question

T = TypeVar("T")


@dataclass
class StatedPrices:
    """What a report says of its prices."""

    sources: list[str]
    digest: str


class MadeReading:
    """What a command sees of a reading; `asked` is the question, once there was one."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.rows = rows
        self.files = 2
        self.gone = 0
        self.older: list[str] = []
        self.older_deleted = 0
        self.removed = 0
        self.not_looked_at: dict[str, int] = {}
        self.searched = [Path("/home/u/.codex/sessions")]
        self.rates: Any = StatedPrices(["list 2026-11-20"], "d1")
        self.notes: list[str] = []
        self.is_settled = False
        self.question: Question | None = None

    def with_usage(self, question: Question, work: Callable[[MadeReading], T], _: Any = None) -> T:
        """Stands for `tallybook.ledger.open.with_usage`."""
        self.question = question
        return work(self)

    def derive_aside(self) -> None:
        """Its rows are derived already."""

    def batches(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        yield self.rows.with_columns(component=pl.lit("all"))

    def each(self, work: Callable[[pl.DataFrame], T]) -> Iterator[T]:
        return map(work, self.batches())
