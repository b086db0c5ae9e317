"""The state of the program and of its prices, by which kept answers are told from stale ones."""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b
from pathlib import Path

from tallybook.ledger.asked import Asked
from tallybook.pricing.version import installed_version


def state(asked: Asked) -> str:
    """Changes with what an answer depends on besides the logs."""
    return f"{code_digest()} {installed_version()} {asked.price_file} {_own_prices(asked)!r}"


def _own_prices(asked: Asked) -> bytes:
    if asked.price_file is None:
        return b""
    from tallybook.files.prices import read_price_file  # noqa: PLC0415 - loads the readers

    return read_price_file(asked.price_file)


@cache
def code_digest() -> str:
    """Changes with the program itself, so that nothing older than it is taken for derived by it."""
    package = Path(__file__).parent.parent
    facts = []
    for folder, _, names in os.walk(package):
        for name in sorted(names):
            if name.endswith(".py"):
                state = Path(folder, name).stat()
                facts.append((folder, name, state.st_size, state.st_mtime_ns))
    return blake2b(repr(sorted(facts)).encode(), digest_size=8).hexdigest()
