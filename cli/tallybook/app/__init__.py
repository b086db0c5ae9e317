"""The command line, a module a command; alone in knowing environment, clock and terminal."""

from __future__ import annotations

from tallybook.app import (  # noqa: F401 - the import registers them
    export,
    ledger,
    sources,
    usage_report,
)
from tallybook.app.program import app

__all__ = ["app"]
