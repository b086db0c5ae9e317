"""The command line, a module a command; alone in knowing environment, clock and terminal."""

from __future__ import annotations

# The import registers them.
from tallybook.app import backfill, export, ledger, sources, usage_report  # noqa: F401 - see above
from tallybook.app.program import app

__all__ = ["app"]
