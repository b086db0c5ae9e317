"""Who reads logs: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Final, NamedTuple

from tallybook.errors import TallybookError, UsageError

_LOCAL: Final = re.compile(r"local:([1-9]\d{0,2})")
_DASK: Final = re.compile(r"dask://([^\s/?#@]+:\d{1,5})/?")


class Engine(NamedTuple):
    """So many processes here (None: one a core), or the cluster of a scheduler by HOST:PORT."""

    workers: int | None = None
    scheduler: str | None = None


HERE: Final = Engine()


def engine_of(text: str) -> Engine:
    """The engine that an option names. Raises UsageError, TallybookError where Dask is missing."""
    if here := _LOCAL.fullmatch(text):
        return Engine(workers=int(here[1]))
    if there := _DASK.fullmatch(text):
        if find_spec("distributed") is None:
            raise TallybookError(
                "--engine dask:// needs Dask, which is not installed",
                hint="pip install 'tallybook[dask]'",
            )
        return Engine(scheduler=there[1])
    raise UsageError(
        "--engine names nobody who could read",  # its text may hold a password
        hint="local:4 are four processes here, dask://HOST:8786 the workers of a Dask scheduler",
    )
