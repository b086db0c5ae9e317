"""How many examples a costly property is tried with: few in a run, more where that is asked for."""

from __future__ import annotations

import os

from hypothesis import settings

TIMES = "TALLYBOOK_EXAMPLES"


def times() -> int:
    """How many times as many examples are asked for; `pytest --examples N` says so."""
    return int(os.environ.get(TIMES, "1"))


def tries(number: int) -> settings:
    """Settings of a test that tries so many examples, times what is asked for."""
    return settings(max_examples=number * times())
