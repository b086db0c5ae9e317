"""The log formats: every module here that holds a `SOURCE` is one, nothing else lists them."""

from __future__ import annotations

import importlib
import pkgutil
import re
from fnmatch import translate
from functools import cache

from tallybook.sources.contract import FileFacts, Location, Source
from tallybook.sources.lines import Head

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


def claims(head: Head, path: str = "") -> list[str]:
    """Names of the sources that recognise a file by its first bytes; more than one is an error.

    A file whose `path` (with slashes, without a compression suffix) one of them owns is that one's
    alone: what an answer looks like does not tell which program kept it.
    """
    owners = [name for name, owned in _owned() if owned.match(path)]
    return owners or marked(head) or sniffed(head)


def marked(head: Head) -> list[str]:
    """Names of the sources with whose mark a file begins, in nearly every case one."""
    return [name for name, mark in _marks() if head.begins(mark)]


def sniffed(head: Head) -> list[str]:
    """Names of the sources that recognise the first lines of a file, whatever it begins with."""
    return [name for name, source in sources().items() if source.sniff(head)]


@cache
def _owned() -> list[tuple[str, re.Pattern[str]]]:
    return [
        (name, re.compile("|".join(translate(f"*/{owned}") for owned in source.owns)))
        for name, source in sources().items()
        if source.owns
    ]


@cache
def _marks() -> list[tuple[str, re.Pattern[bytes]]]:
    return [(name, re.compile(source.mark)) for name, source in sources().items() if source.mark]
