"""The command line, a module a command; alone in knowing environment, clock and terminal.

All of them are imported at every start. So at its top a module here imports what the words of help
need, and within a function what does the work: readers, ledger, data frames, what writes a format.
Logs are read before data frames are loaded, for then processes can be forked at once.
"""

from __future__ import annotations

# The import registers them.
from tallybook.commands import (
    backfill,  # noqa: F401 - see above
    explain,  # noqa: F401 - see above
    export,  # noqa: F401 - see above
    ledger,  # noqa: F401 - see above
    prices,  # noqa: F401 - see above
    reconcile,  # noqa: F401 - see above
    sources,  # noqa: F401 - see above
    usage_report,  # noqa: F401 - see above
)
from tallybook.commands.program import app

__all__ = ["app"]
