"""What only the detail of a request says of its usage row: an estimate, or that it is final."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from tallybook.dialects import DIALECTS
from tallybook.schema import MOST_AT_BEGIN, PLACEHOLDER_OUTPUT, Reported
from tallybook.sources.ninerouter.eras import Verdict
from tallybook.sources.ninerouter.usage_rows import Entry

ESTIMATED: Final = "estimated"
_PERHAPS: Final = "perhaps-estimated"
_APART: Final = 2_000_000  # microseconds between a row and its detail
_Counts = tuple[str | None, str | None, int | None, int | None]


class Estimates:
    """Details by model, connection and the counts that a usage row of the same request states.

    Of each its time, and the directions that are estimates; none where its output is a final one of
    few tokens.
    """

    def __init__(self) -> None:
        self._found: dict[_Counts, list[tuple[int, list[str] | None]]] = {}

    def note(self, rows: Iterable[Reported]) -> None:
        """Take what these rows of details say."""
        for row in rows:
            if row.timestamp is None:
                continue
            if ESTIMATED in (row.problems or ()):
                self._add(row, row.reported_input_tokens, row.assumed or [])
            elif row.finished and (row.reported_output_tokens or 0) <= MOST_AT_BEGIN:
                for prompt in _prompts(row):
                    self._add(row, prompt, None)

    def _add(self, row: Reported, prompt: int | None, directions: list[str] | None) -> None:
        when = int(row.timestamp.timestamp() * 1000) * 1000 if row.timestamp else 0
        who = (row.model, row.connection_id, prompt, row.reported_output_tokens)
        self._found.setdefault(who, []).append((when, directions))

    def revised(self, entry: Entry, verdict: Verdict) -> Verdict:
        """The verdict on a row, with what its detail says of its counts."""
        counts = (entry.counts.prompt, entry.counts.completion)
        known = self._found.get((entry.model, entry.connection, *counts), ())
        near = [words for when, words in known if abs(when - entry.when) <= _APART]
        if not near:
            return verdict
        if near[0] is None:
            problems = [code for code in verdict.problems or () if code != PLACEHOLDER_OUTPUT]
            return msgspec.structs.replace(verdict, problems=problems or None)
        problems = [code for code in verdict.problems or () if code != _PERHAPS]
        return msgspec.structs.replace(
            verdict,
            assumed=sorted({*(verdict.assumed or ()), *near[0]}),
            problems=[*problems, ESTIMATED],
        )

    def __bool__(self) -> bool:
        return bool(self._found)


def _prompts(row: Reported) -> set[int]:
    """The prompts that the usage row may state: with its cache, or with that once more."""
    dialect = DIALECTS[row.dialect or "openai"]
    read, written = row.reported_cached_tokens or 0, row.reported_cache_creation_tokens or 0
    outside = 0 if dialect.input_holds_cached else read
    outside += 0 if dialect.input_holds_cache_creation else written
    whole = (row.reported_input_tokens or 0) + outside
    return {whole, whole + read + written}
