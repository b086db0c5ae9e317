"""What a question to the ledger says; naming it loads nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tallybook.files.engine import HERE, Engine


class Question(msgspec.Struct, frozen=True):
    """What the command line knows and nothing below it may ask for.

    `paths`: files and folders, None for the known places, with what lay there and is gone; with
    `everything` also what was once named as a path. `ledger` and `cache` are folders, None to keep
    nothing.
    """

    paths: Sequence[Path] | None
    environment: Mapping[str, str]
    home: Path
    ledger: Path | None = None
    cache: Path | None = None
    price_file: Path | None = None
    prices_at: str | None = None  # a digest or a day: the price table of then
    as_recorded: bool = False
    everything: bool = False
    apart: bool = False  # records that are probably one call count both
    engine: Engine = HERE  # who reads what is new; the answer is the same
