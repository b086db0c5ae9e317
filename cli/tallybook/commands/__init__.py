"""The command line, a module a command; alone in knowing environment, clock and terminal.

A run imports the one that it is asked for, help all of them. So at its top a module here imports
what the words of help need, and within a function what does the work: readers, ledger, data frames,
what writes a format. Logs are read before data frames are loaded, for then processes can be forked
at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typer import Typer

# Command -> module, in the order of help.
_MODULES: Final = {
    "backfill": "backfill",
    "explain": "explain",
    "export": "export",
    "prices": "prices",
    "reconcile": "reconcile",
    "sources": "sources",
    "usage-report": "usage_report",
    "ledger": "ledger",
}


def app_of(words: Sequence[str]) -> Typer:
    """The program for a command line; it knows all commands unless one is the first word."""
    found = _MODULES.get(words[0]) if words else None
    for module in [found] if found else _MODULES.values():
        import_module(f"{__name__}.{module}")  # which registers it
    return import_module(f"{__name__}.program").app  # type: ignore[no-any-return] # of a module


def __getattr__(name: str) -> Any:
    """`app`, the program with all commands."""
    if name == "app":
        return app_of(())
    raise AttributeError(name)
