"""The log formats: every module here that holds a `SOURCE` is one, nothing else lists them."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from tallybook.sources.contract import FileFacts, Location, Source

__all__ = ["FileFacts", "Location", "Source", "claims", "sources"]


@cache
def sources() -> dict[str, Source]:
    """Every source by name, in the order of the names."""
    modules = (
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    )
    found = (getattr(module, "SOURCE", None) for module in modules)
    return {
        source.name: source
        for source in sorted(filter(None, found), key=lambda source: source.name)
    }


def claims(head: bytes) -> list[str]:
    """Names of the sources that recognise a file by its first bytes; more than one is an error."""
    return [name for name, source in sources().items() if source.sniff(head)]
