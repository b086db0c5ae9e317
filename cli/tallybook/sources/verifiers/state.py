"""What the reader remembers between two blocks of a file."""

from __future__ import annotations

from math import isclose

import msgspec

from tallybook.sources.verifiers.lines import TokenUsage
from tallybook.sources.verifiers.run import Run


class Sums(msgspec.Struct):
    """What the rollouts of a file state in sum, to check what the run says of their mean."""

    rollouts: int = 0  # that state any counts
    input: float = 0.0
    output: float = 0.0

    def add(self, usage: TokenUsage) -> None:
        """One more rollout; what is no number counts nothing, as it did when the run was saved."""
        self.rollouts += 1
        self.input += _number(usage.input_tokens)
        self.output += _number(usage.output_tokens)

    def has_mean(self, stated_input: float | None, stated_output: float | None) -> bool:
        """Whether the stated means are those of these rollouts; nothing stated is no claim."""
        pairs = ((stated_input, self.input), (stated_output, self.output))
        return all(
            mean is None or isclose(mean * self.rollouts, total, rel_tol=1e-9, abs_tol=1e-6)
            for mean, total in pairs
        )


def _number(value: object) -> float:
    """As a float at once: a sum that was saved and loaded again must read the same in words."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= 2**53:
        return 0.0
    return float(value)


class State(msgspec.Struct):
    """Small, plain and serialisable."""

    run: Run = Run()
    run_id: str | None = None  # the folder's, else made of the first line that can be read
    records: int = 0  # lines read so far
    is_description: bool | None = None  # None until a line is not blank
    is_open: bool = False  # a description whose end is missing
    sums: Sums = msgspec.field(default_factory=Sums)
