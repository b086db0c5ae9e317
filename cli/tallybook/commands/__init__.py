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

# In the order of help; each is a module.
_COMMANDS: Final = (
    "backfill",
    "explain",
    "export",
    "prices",
    "reconcile",
    "sources",
    "usage-report",
    "ledger",
)


def app_of(words: Sequence[str]) -> Typer:
    """The program for a command line; it knows all commands unless one is the first word."""
    for name in words[:1] if words and words[0] in _COMMANDS else _COMMANDS:
        import_module(f"{__name__}.{name.replace('-', '_')}")  # which registers it
    return import_module(f"{__name__}.program").app  # type: ignore[no-any-return] # of a module


def __getattr__(name: str) -> Any:
    """`app`, the program with all commands."""
    if name == "app":
        return app_of(())
    raise AttributeError(name)
