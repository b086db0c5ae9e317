"""The command line, a module a command; alone in knowing environment, clock and terminal."""

from __future__ import annotations

# The import registers them.
from tallybook.commands import (
    backfill,  # noqa: F401 - see above
    export,  # noqa: F401 - see above
    ledger,  # noqa: F401 - see above
    prices,  # noqa: F401 - see above
    sources,  # noqa: F401 - see above
    usage_report,  # noqa: F401 - see above
)
from tallybook.commands.program import app

__all__ = ["app"]
