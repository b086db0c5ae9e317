"""Which usage rows hold an estimate: only the detail of their request says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from tallybook.schema import Reported
from tallybook.sources.ninerouter.eras import Verdict
from tallybook.sources.ninerouter.usage_rows import Entry

ESTIMATED: Final = "estimated"
_PERHAPS: Final = "perhaps-estimated"
_APART: Final = 2_000_000  # microseconds between a row and its detail
_Counts = tuple[str | None, str | None, int | None, int | None]


class Estimates:
    """The details whose counts are estimates, by model, connection and those counts."""

    def __init__(self) -> None:
        self._found: dict[_Counts, list[tuple[int, list[str]]]] = {}

    def note(self, rows: Iterable[Reported]) -> None:
        """Take what these rows of details say."""
        for row in rows:
            if row.timestamp is not None and ESTIMATED in (row.problems or ()):
                counts = (row.reported_input_tokens, row.reported_output_tokens)
                when = int(row.timestamp.timestamp() * 1000) * 1000
                known = self._found.setdefault((row.model, row.connection_id, *counts), [])
                known.append((when, row.assumed or []))

    def said(self, entry: Entry, verdict: Verdict) -> Verdict:
        """The verdict on a row, with what its detail says of its counts."""
        counts = (entry.counts.prompt, entry.counts.completion)
        known = self._found.get((entry.model, entry.connection, *counts), ())
        found = next((words for when, words in known if abs(when - entry.when) <= _APART), None)
        if found is None:
            return verdict
        problems = [code for code in verdict.problems or () if code != _PERHAPS]
        return msgspec.structs.replace(
            verdict,
            assumed=sorted({*(verdict.assumed or ()), *found}),
            problems=[*problems, ESTIMATED],
        )

    def __bool__(self) -> bool:
        return bool(self._found)
